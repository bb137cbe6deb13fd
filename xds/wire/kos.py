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

from xds.model.imaging import Instance, Manifest, ReferencedInstance, Series, Study
from xds.model.metadata import Code
from xds.model.vocabulary import DCM, KEY_OBJECT_SELECTION
from xds.wire.dicom import EXPLICIT_LITTLE, DicomError, Elements, read_header
from xds.wire.dicom_study import read_code, read_patient
from xds.wire.dicom_values import Value, read_moment, write_element, write_file_meta

MANIFEST: Final = Code("113030", DCM, "Manifest")
#: Instances that a note with one of these titles refers to must be neither shared nor returned. Spec: RAD TF IOCM.
REJECTION_TITLES: Final = frozenset({"113001", "113037", "113038", "113039"})

_WAVEFORMS: Final = "1.2.840.10008.5.1.4.1.1.9."


@dataclass(frozen=True, slots=True)
class ManifestIdentifiers:
    """The new UIDs of one manifest."""

    sop_instance_uid: str
    series_instance_uid: str


@dataclass(frozen=True, slots=True)
class RetrieveInformation:
    """Where the instances of a manifest are to be had. `url` is the base URI of the WADO-RS service."""

    ae_title: str
    location_uid: str
    url: str | None = None


def write_manifest(
    study: Study,
    uids: ManifestIdentifiers,
    retrieve: RetrieveInformation,
    when: datetime,
    zone: tzinfo,
    manufacturer: str = "XDS",
) -> bytes:
    """The manifest of a study as a Part 10 file: every instance as evidence and again in the content tree.

    `when` is its creation time; `zone` the local time of images that state no offset. All times of one object share one offset,
    so the creation time is written in that of the study.

    Spec: TID 2010; the series is a new one, Modality KO, in the study of the images.
    """
    offset = _offset(study, zone, when)
    created = when.astimezone(offset)
    date, time = created.strftime("%Y%m%d"), created.strftime("%H%M%S")
    values: dict[int, tuple[str, Value]] = {
        0x00080005: ("CS", "ISO_IR 192"),
        0x00080012: ("DA", date),
        0x00080013: ("TM", time),
        0x00080016: ("UI", KEY_OBJECT_SELECTION),
        0x00080018: ("UI", uids.sop_instance_uid),
        0x00080023: ("DA", date),
        0x00080033: ("TM", time),
        0x00080060: ("CS", "KO"),
        0x00080070: ("LO", manufacturer),
        0x00080201: ("SH", created.strftime("%z")),
        0x00081111: ("SQ", []),
        0x0020000D: ("UI", study.study_instance_uid),
        0x0020000E: ("UI", uids.series_instance_uid),
        0x00200011: ("IS", "1"),
        0x00200013: ("IS", "1"),
        0x0040A040: ("CS", "CONTAINER"),
        0x0040A043: ("SQ", [_code(MANIFEST)]),
        0x0040A050: ("CS", "SEPARATE"),
        0x0040A375: ("SQ", [_evidence(study, retrieve)]),
        0x0040A504: ("SQ", [write_element(0x00080105, "CS", "DCMR") + write_element(0x0040DB00, "CS", "2010")]),
        0x0040A730: ("SQ", [_content_item(instance) for series in study.series for instance in series.instances]),
    }
    values.update(_study_and_patient(study))
    if study.accession_number:
        values[0x0040A370] = ("SQ", [_request(study)])
    body = b"".join(write_element(tag, *values[tag]) for tag in sorted(values))
    return write_file_meta(KEY_OBJECT_SELECTION, uids.sop_instance_uid, EXPLICIT_LITTLE) + body


def _offset(study: Study, zone: tzinfo, when: datetime) -> tzinfo:
    found = read_moment(study.study_date, study.study_time, study.timezone_offset, zone)
    moment = found[0] if found else when.astimezone(zone)
    return timezone(moment.utcoffset() or timedelta(0))


def _study_and_patient(study: Study) -> dict[int, tuple[str, Value]]:
    patient = study.patient
    values: dict[int, tuple[str, Value]] = {
        0x00080020: ("DA", study.study_date),
        0x00080030: ("TM", study.study_time),
        0x00080050: ("SH", study.accession_number),
        0x00080090: ("PN", study.referring_physician),
        0x00100010: ("PN", patient.name),
        0x00100020: ("LO", patient.patient_id),
        0x00100030: ("DA", patient.birth_date),
        0x00100040: ("CS", patient.sex),
        0x00200010: ("SH", study.study_id),
    }
    if study.institution:
        values[0x00080080] = ("LO", study.institution)
    if study.description:
        values[0x00081030] = ("LO", study.description)
    if study.accession_number and study.accession_issuer_oid:
        values[0x00080051] = ("SQ", [_entity(study.accession_issuer_oid)])
    if patient.issuer_namespace:
        values[0x00100021] = ("LO", patient.issuer_namespace)
    if patient.issuer_oid:
        values[0x00100024] = ("SQ", [_entity(patient.issuer_oid)])
    return values


def _entity(oid: str) -> bytes:
    return write_element(0x00400032, "UT", oid) + write_element(0x00400033, "CS", "ISO")


def _code(code: Code) -> bytes:
    return (
        write_element(0x00080100, "SH", code.code)
        + write_element(0x00080102, "SH", "DCM")
        + write_element(0x00080104, "LO", code.display)
    )


def _request(study: Study) -> bytes:
    """Referenced Request Sequence: what is not known is there and empty (type 2)."""
    issuer = [_entity(study.accession_issuer_oid)] if study.accession_issuer_oid else []
    return b"".join(
        (
            write_element(0x00080050, "SH", study.accession_number),
            write_element(0x00080051, "SQ", issuer) if issuer else b"",
            write_element(0x00081110, "SQ", []),
            write_element(0x0020000D, "UI", study.study_instance_uid),
            write_element(0x00321060, "LO"),
            write_element(0x00321064, "SQ", []),
            write_element(0x00401001, "SH"),
            write_element(0x00402016, "LO"),
            write_element(0x00402017, "LO"),
        )
    )


def _reference(instance: Instance) -> bytes:
    return write_element(0x00081150, "UI", instance.sop_class_uid) + write_element(0x00081155, "UI", instance.sop_instance_uid)


def _evidence(study: Study, retrieve: RetrieveInformation) -> bytes:
    series = [_referenced_series(item, retrieve) for item in study.series]
    return write_element(0x00081115, "SQ", series) + write_element(0x0020000D, "UI", study.study_instance_uid)


def _referenced_series(series: Series, retrieve: RetrieveInformation) -> bytes:
    return b"".join(
        (
            write_element(0x00080054, "AE", retrieve.ae_title),
            write_element(0x00081190, "UR", retrieve.url) if retrieve.url else b"",
            write_element(0x00081199, "SQ", [_reference(instance) for instance in series.instances]),
            write_element(0x0020000E, "UI", series.series_instance_uid),
            write_element(0x0040E011, "UI", retrieve.location_uid),
        )
    )


def _content_item(instance: Instance) -> bytes:
    return b"".join(
        (
            write_element(0x00081199, "SQ", [_reference(instance)]),
            write_element(0x0040A010, "CS", "CONTAINS"),
            write_element(0x0040A040, "CS", _value_type(instance)),
        )
    )


def _value_type(instance: Instance) -> str:
    if instance.sop_class_uid.startswith(_WAVEFORMS):
        return "WAVEFORM"
    return "IMAGE" if instance.rows is not None else "COMPOSITE"


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
