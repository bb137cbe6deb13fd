"""Key Object Selection documents: the manifest that announces a study, and the notes that reject instances.

Tolerated when reading: Retrieve AE Title, location or URL stated once for the study; several AE titles (the first counts);
references in the pertinent other evidence; titles of any scheme.

Spec: DICOM PS3.3 A.35.4, C.17.6; PS3.16 TID 2010, CID 7010; RAD TF-2 4.68.4.1.2.2 and TF-3 manifest.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone, tzinfo
from typing import Final

from xds.model.imaging import Manifest, ReferencedInstance, Study
from xds.model.imaging_manifest import RetrieveInformation, StudyManifest, requests_of
from xds.model.metadata import Code
from xds.model.vocabulary import DCM, KEY_OBJECT_SELECTION
from xds.wire.dicom import DicomError, Elements
from xds.wire.dicom_header import read_header
from xds.wire.dicom_study import read_code, read_patient
from xds.wire.dicom_values import read_moment
from xds.wire.kos_writing import MANIFEST, write_kos

__all__ = [
    "MANIFEST",
    "ManifestIdentifiers",
    "RetrieveInformation",
    "created_in_study_time",
    "is_rejection",
    "read_manifest",
    "write_manifest",
]

#: Instances that a note with one of these titles refers to must be neither shared nor returned. Spec: RAD TF IOCM.
REJECTION_TITLES: Final = frozenset({"113001", "113037", "113038", "113039"})


@dataclass(frozen=True, slots=True)
class ManifestIdentifiers:
    """The new UIDs of one manifest."""

    sop_instance_uid: str
    series_instance_uid: str


def write_manifest(
    study: Study,
    uids: ManifestIdentifiers,
    retrieve: RetrieveInformation,
    when: datetime,
    zone: tzinfo,
    manufacturer: str = "XDS",
) -> bytes:
    """The manifest of a study of which nothing is known beside the images, as a Part 10 file. See `kos_writing.write_kos`.

    `when` is its creation time; `zone` the local time of images that state no offset.
    """
    manifest = StudyManifest(
        study,
        uids.sop_instance_uid,
        uids.series_instance_uid,
        retrieve,
        created_in_study_time(study, when, zone),
        manufacturer,
        requests=requests_of(study),
    )
    return write_kos(manifest)


def created_in_study_time(study: Study, when: datetime, zone: tzinfo) -> datetime:
    """All times of one object share one offset, so that a creation time is written in that of the study."""
    found = read_moment(study.study_date, study.study_time, study.timezone_offset, zone)
    moment = found[0] if found else when.astimezone(zone)
    return when.astimezone(timezone(moment.utcoffset() or timedelta(0)))


def read_manifest(chunks: Iterable[bytes]) -> Manifest:
    """Read a Key Object Selection document of any origin.

    Errors: DicomError when it is broken or another kind of object.
    """
    elements = read_header(chunks).elements
    if elements.text(0x00080016) != KEY_OBJECT_SELECTION:
        raise DicomError("the object is no Key Object Selection document (SOP Class UID (0008,0016))")
    references: list[ReferencedInstance] = []
    for sequence in (0x0040A375, 0x0040A385):
        for study in elements.items(sequence):
            for series in study.items(0x00081115):
                references.extend(_references(study, series))
    return Manifest(
        sop_instance_uid=elements.text(0x00080018),
        title=read_code(elements.item(0x0040A043)) or Code("", "", ""),
        patient=read_patient(elements),
        study_instance_uid=elements.text(0x0020000D),
        accession_number=elements.text(0x00080050),
        references=tuple(references),
    )


def _references(study: Elements, series: Elements) -> Iterable[ReferencedInstance]:
    study_uid, series_uid = study.text(0x0020000D), series.text(0x0020000E)
    ae_title = series.text(0x00080054) or study.text(0x00080054) or None
    location = series.text(0x0040E011) or study.text(0x0040E011) or None
    url = series.whole_text(0x00081190) or study.whole_text(0x00081190) or None
    for item in series.items(0x00081199):
        yield ReferencedInstance(study_uid, series_uid, item.text(0x00081155), item.text(0x00081150), ae_title, location, url)


def is_rejection(title: Code) -> bool:
    """True when instances that a note with this title refers to are to be withheld."""
    return title.scheme == DCM and title.code in REJECTION_TITLES
