"""The header of one SOP instance read as a study that holds just this instance; names, codes and identifiers in it.

Spec: DICOM PS3.3 C.7 (patient, study, series), C.7.1.1 (issuer of patient ID), C.12.1 (SOP common).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime
from typing import Final

from xds.model.identifiers import is_oid
from xds.model.imaging import Instance, Series, Study, StudyPatient
from xds.model.metadata import Code
from xds.model.vocabulary import DCM, LOINC, SNOMED_CT
from xds.wire.dicom import DicomError, Elements
from xds.wire.dicom_header import Header, read_header

#: Coding Scheme Designator -> OID, for schemes that images name by their short form. Spec: PS3.16 Table 8-1.
CODING_SCHEMES: Final = {
    "DCM": DCM,
    "LN": LOINC,
    "SCT": SNOMED_CT,
    "SRT": "2.16.840.1.113883.6.96",
    "SNM3": "2.16.840.1.113883.6.51",
    "99SDM": "2.16.840.1.113883.6.53",
    "RADLEX": "2.16.840.1.113883.6.256",
    "UCUM": "2.16.840.1.113883.6.8",
    "I10": "2.16.840.1.113883.6.3",
}

_UID: Final = re.compile(r"[0-9]+(?:\.[0-9]+)*")

#: What a header must have to be stored: without it nobody could ask for the object again.
_REQUIRED: Final = (
    (0x00080016, "SOP Class UID (0008,0016)"),
    (0x00080018, "SOP Instance UID (0008,0018)"),
    (0x0020000D, "Study Instance UID (0020,000D)"),
    (0x0020000E, "Series Instance UID (0020,000E)"),
)

#: What `shared_of` reads.
SHARED: Final = (
    *(0x00080020, 0x00080030, 0x00080050, 0x00080051, 0x00080060, 0x00080080, 0x00080090, 0x00080201, 0x00081030, 0x00081032),
    *(0x0008103E, 0x00082218, 0x00100010, 0x00100020, 0x00100021, 0x00100024, 0x00100030, 0x00100040, 0x00180015),
    *(0x0020000D, 0x0020000E, 0x00200010, 0x00200011),
)


def read_study(chunks: Iterable[bytes], *, source: str = "", received: datetime | None = None, size: int = 0) -> Study:
    """The study that the header of a Part 10 file describes: one series with one instance, whose blob is still to be named.

    `source` is where it came from (an AE title), `size` the octets of the whole file.
    Errors: DicomError, also when an identifier that the object is found by is absent or no UID.
    """
    return study_of(read_header(chunks, until=0x00280012), source=source, received=received, size=size)


def study_of(header: Header, *, source: str = "", received: datetime | None = None, size: int = 0) -> Study:
    """The same of a header that is read already, at least up to (0028,0011)."""
    instance, shared = instance_of(header, size), shared_of(header, source)
    return replace(shared, received=received, series=(replace(shared.series[0], instances=(instance,)),))


def instance_of(header: Header, size: int = 0) -> Instance:
    """The instance alone. Errors: DicomError when an identifier of it, its study or its series is absent or no UID."""
    elements = header.elements
    # A null octet pads the end; inside, it would make two identifiers out of one that others read.
    wrong = [name for tag, name in _REQUIRED if not is_uid(elements.text(tag)) or b"\0" in elements.value(tag).rstrip(b"\0 ")]
    if wrong:
        raise DicomError(f"no valid UID in {', '.join(wrong)}")
    return Instance(
        sop_instance_uid=elements.text(0x00080018),
        sop_class_uid=elements.text(0x00080016),
        transfer_syntax_uid=header.transfer_syntax,
        size=size,
        blob="",
        instance_number=elements.number(0x00200013),
        frames=max(elements.number(0x00280008) or 1, 1),
        rows=elements.short(0x00280010),
        columns=elements.short(0x00280011),
    )


def shared_of(header: Header, source: str = "") -> Study:
    """What an instance has in common with the others of its series: the study and the series, without any instance."""
    elements = header.elements
    series = Series(
        series_instance_uid=elements.text(0x0020000E),
        modality=elements.text(0x00080060),
        instances=(),
        number=elements.number(0x00200011),
        description=elements.text(0x0008103E),
        body_part=elements.text(0x00180015),
        region=read_code(elements.item(0x00082218)),
    )
    return Study(
        study_instance_uid=elements.text(0x0020000D),
        patient=read_patient(elements),
        series=(series,),
        accession_number=elements.text(0x00080050),
        accession_issuer_oid=_entity_oid(elements.item(0x00080051)),
        study_id=elements.text(0x00200010),
        study_date=elements.text(0x00080020).replace(".", ""),
        study_time=elements.text(0x00080030).replace(":", ""),
        timezone_offset=elements.text(0x00080201),
        description=elements.text(0x00081030),
        referring_physician=elements.text(0x00080090),
        institution=elements.text(0x00080080),
        procedure_code=read_code(elements.item(0x00081032)),
        source=source,
    )


def read_patient(elements: Elements) -> StudyPatient:
    """Patient module: identifier with its issuer, and demographics. The name keeps its component groups (`=`)."""
    return StudyPatient(
        patient_id=elements.text(0x00100020),
        issuer_oid=_entity_oid(elements.item(0x00100024)),
        issuer_namespace=elements.text(0x00100021) or None,
        name=elements.text(0x00100010).rstrip("="),
        birth_date=elements.text(0x00100030).replace(".", ""),
        sex=elements.text(0x00100040),
    )


def read_code(item: Elements) -> Code | None:
    """A code sequence item; its scheme becomes an OID where one is stated or known. Spec: PS3.3 8.8."""
    value = item.text(0x00080100) or item.whole_text(0x00080119) or item.whole_text(0x00080120)
    designator = item.text(0x00080102)
    if not value or not designator:
        return None
    scheme = item.text(0x0008010C) or CODING_SCHEMES.get(designator, designator)
    return Code(value, scheme, item.text(0x00080104) or value)


def is_uid(text: str) -> bool:
    """A UID as far as one is needed as an identifier: digits and dots, at most 64 of them (leading zeros happen in practice)."""
    return len(text) <= 64 and _UID.fullmatch(text) is not None


def _entity_oid(item: Elements) -> str | None:
    """Universal Entity ID, when it is an OID."""
    identifier = item.text(0x00400032)
    return identifier if is_oid(identifier) and item.text(0x00400033) in ("ISO", "") else None
