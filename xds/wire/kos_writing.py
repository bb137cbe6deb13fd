"""Writing Key Object Selection documents: the manifest of XDS-I.b, and that of MADO, which describes what it lists.

Spec: DICOM PS3.3 A.35.4, C.17.6; PS3.16 TID 2010, TID 1600 to 1602; RAD TF-2 4.68.4.1.2.2; IHE RAD MADO 6.X.2.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from xds.model.identifiers import PatientIdentifier, is_oid
from xds.model.imaging import ImagingOrder, Instance, ManifestForm, OrderNumber, Series, Study
from xds.model.imaging_manifest import KeyObjectDetail, SeriesDetail, StudyManifest
from xds.model.metadata import Code
from xds.model.vocabulary import DCM, KEY_OBJECT_SELECTION
from xds.wire.dicom import EXPLICIT_LITTLE
from xds.wire.dicom_study import CODING_SCHEMES
from xds.wire.dicom_values import Value, write_element, write_file_meta

MANIFEST: Final = Code("113030", DCM, "Manifest")

#: Characters of LO, and of a component group of PN.
_LONG_STRING: Final = 64
_DATE: Final = re.compile(r"[0-9]{8}")
_TIME: Final = re.compile(r"[0-9]{2}([0-9]{2}([0-9]{2}(\.[0-9]{1,6})?)?)?")
#: Spec: PS3.3 C.7.1.1; anything else is nothing that is known.
_SEXES: Final = frozenset({"M", "F", "O"})

_WAVEFORMS: Final = "1.2.840.10008.5.1.4.1.1.9."
#: MR Spectroscopy and RT Dose have rows and columns, and are no images: dcmtk reads no document that calls them so.
_NO_IMAGES: Final = frozenset({"1.2.840.10008.5.1.4.1.1.4.2", "1.2.840.10008.5.1.4.1.1.481.2"})
_IHE: Final = "99IHE"
_DESIGNATORS: Final = {oid: name for name, oid in reversed(CODING_SCHEMES.items())}

_KEY_OBJECT_DESCRIPTION: Final = Code("113012", DCM, "Key Object Description")
_IMAGE_LIBRARY: Final = Code("111028", DCM, "Image Library")
_LIBRARY_GROUP: Final = Code("126200", DCM, "Image Library Group")
_MODALITY: Final = Code("121139", DCM, "Modality")
_TARGET_REGION: Final = Code("123014", DCM, "Target Region")
_SERIES_NUMBER: Final = Code("113607", DCM, "Series Number")
_SERIES_UID: Final = Code("112002", DCM, "Series Instance UID")
_INSTANCE_NUMBER: Final = Code("113609", DCM, "Instance Number")
_FRAMES: Final = Code("121140", DCM, "Number of Frames")
_DOCUMENT_TITLE: Final = Code("121144", DCM, "Document Title")


@dataclass(frozen=True, slots=True)
class DescribingCodes:
    """The concepts that MADO adds to DICOM: under temporary codes in its trial implementation, later in DCM by CP-2595."""

    title: Code
    series_description: Code
    series_date: Code
    series_time: Code
    series_instances: Code
    study_series: Code


#: The title has no final code yet.
_MADO_TITLE: Final = Code("MADOTEMP001", _IHE, "Manifest with Description")
TRIAL_CODES: Final = DescribingCodes(
    _MADO_TITLE,
    Code("MADOTEMP002", _IHE, "Series Description"),
    Code("MADOTEMP003", _IHE, "Series Date"),
    Code("MADOTEMP004", _IHE, "Series Time"),
    Code("MADOTEMP007", _IHE, "Number of Series Related Instances"),
    Code("MADOTEMP009", _IHE, "Number of Study Related Series"),
)
FINAL_CODES: Final = DescribingCodes(
    _MADO_TITLE,
    Code("131563", DCM, "Series Description"),
    Code("131561", DCM, "Series Date"),
    Code("131562", DCM, "Series Time"),
    Code("131564", DCM, "Number of Series Related Instances"),
    Code("131565", DCM, "Number of Study Related Series"),
)
CODES: Final = {"99IHE": TRIAL_CODES, "DCM": FINAL_CODES}


def write_kos(
    manifest: StudyManifest,
    form: ManifestForm = ManifestForm.XDS_I,
    *,
    codes: DescribingCodes = TRIAL_CODES,
    text: bool = False,
) -> bytes:
    """A manifest as a Part 10 file: every instance as evidence and again in the content tree.

    With `text` a description in words goes with it, as the DRIMbox has it. All times share the offset of `manifest.created`.

    Spec: TID 2010; the series is a new one, Modality KO, in the study of the images.
    """
    study, created = manifest.study, manifest.created
    date, time = created.strftime("%Y%m%d"), created.strftime("%H%M%S")
    content: list[bytes] = []
    if text:
        content.append(_text(_KEY_OBJECT_DESCRIPTION, "\r\n".join(_words(study)), "CONTAINS"))
    if form is ManifestForm.MADO:
        content.append(_library(manifest, codes))
    content += (_reference_item(instance) for series in study.series for instance in series.instances)
    title = codes.title if form is ManifestForm.MADO else MANIFEST
    values: dict[int, tuple[str, Value]] = {
        0x00080005: ("CS", "ISO_IR 192"),
        0x00080012: ("DA", date),
        0x00080013: ("TM", time),
        0x00080016: ("UI", KEY_OBJECT_SELECTION),
        0x00080018: ("UI", manifest.sop_instance_uid),
        0x00080023: ("DA", date),
        0x00080033: ("TM", time),
        0x00080060: ("CS", "KO"),
        0x00080070: ("LO", manifest.manufacturer),
        0x00080201: ("SH", created.strftime("%z")),
        0x00081111: ("SQ", []),
        0x0020000D: ("UI", study.study_instance_uid),
        0x0020000E: ("UI", manifest.series_instance_uid),
        0x00200011: ("IS", "1"),
        0x00200013: ("IS", "1"),
        0x0040A040: ("CS", "CONTAINER"),
        0x0040A043: ("SQ", [_code(title)]),
        0x0040A050: ("CS", "SEPARATE"),
        0x0040A375: ("SQ", [_evidence(manifest)]),
        0x0040A504: ("SQ", [write_element(0x00080105, "CS", "DCMR") + write_element(0x0040DB00, "CS", "2010")]),
        0x0040A730: ("SQ", content),
    }
    values.update(_study_and_patient(manifest))
    if manifest.requests:
        values[0x0040A370] = ("SQ", [_request(study, order) for order in manifest.requests])
    body = b"".join(write_element(tag, *values[tag]) for tag in sorted(values))
    return write_file_meta(KEY_OBJECT_SELECTION, manifest.sop_instance_uid, EXPLICIT_LITTLE) + body


def _study_and_patient(manifest: StudyManifest) -> dict[int, tuple[str, Value]]:
    study, patient, accession = manifest.study, manifest.study.patient, manifest.accession
    values: dict[int, tuple[str, Value]] = {
        0x00080020: ("DA", study.study_date if _DATE.fullmatch(study.study_date) else ""),
        0x00080030: ("TM", study.study_time if _TIME.fullmatch(study.study_time) else ""),
        0x00080050: ("SH", accession.value),
        0x00080090: ("PN", _name(study.referring_physician)),
        0x00100010: ("PN", _name(patient.name)),
        0x00100020: ("LO", patient.patient_id),
        0x00100030: ("DA", patient.birth_date if _DATE.fullmatch(patient.birth_date) else ""),
        0x00100040: ("CS", patient.sex if patient.sex in _SEXES else ""),
        0x00200010: ("SH", study.study_id),
    }
    # The words of images are cut to what may stand here; identifiers are not: a part of one would be another one.
    institution = manifest.institution or study.institution[:_LONG_STRING]
    if institution:
        values[0x00080080] = ("LO", institution)
    if study.description:
        values[0x00081030] = ("LO", study.description[:_LONG_STRING])
    if accession and accession.issuer_oid:
        values[0x00080051] = ("SQ", [_entity(accession.issuer_oid)])
    if patient.issuer_namespace:
        values[0x00100021] = ("LO", patient.issuer_namespace)
    if patient.issuer_oid:
        values[0x00100024] = ("SQ", [_entity(patient.issuer_oid)])
    if manifest.other_patient_ids:
        values[0x00101002] = ("SQ", [_other_patient_id(each) for each in manifest.other_patient_ids])
    return values


def _name(text: str) -> str:
    """A person name, each component group of it cut to its length. Spec: PS3.5 6.2 (PN)."""
    return "=".join(group[:_LONG_STRING].rstrip("^") for group in text.split("=")[:3])


def _other_patient_id(identifier: PatientIdentifier) -> bytes:
    authority = identifier.authority
    return b"".join(
        (
            write_element(0x00100020, "LO", identifier.value),
            write_element(0x00100021, "LO", authority.namespace) if authority.namespace else b"",
            write_element(0x00100022, "CS", "TEXT"),
            write_element(0x00100024, "SQ", [_entity(authority.oid)]) if authority.oid else b"",
        )
    )


def _entity(oid: str) -> bytes:
    return write_element(0x00400032, "UT", oid) + write_element(0x00400033, "CS", "ISO")


def _order_entity(number: OrderNumber) -> list[bytes]:
    """An assigning authority of orders: HL7v2 Hierarchic Designator Macro. Spec: PS3.3 Table 10-17."""
    local = write_element(0x00400031, "UT", number.issuer_namespace) if number.issuer_namespace else b""
    universal = _entity(number.issuer_oid) if number.issuer_oid else b""
    return [local + universal] if local or universal else []


def _code(code: Code) -> bytes:
    designator = _DESIGNATORS.get(code.scheme, code.scheme)
    # What is no designator (16 characters at most) is named by its OID beside a local one.
    is_short = len(designator) <= 16 and not is_oid(designator)
    return b"".join(
        (
            write_element(0x00080100, "SH", code.code),
            write_element(0x00080102, "SH", designator if is_short else "99LOCAL"),
            write_element(0x00080104, "LO", code.display[:_LONG_STRING] or code.code),
            b"" if is_short else write_element(0x0008010C, "UI", designator),
        )
    )


def _request(study: Study, order: ImagingOrder) -> bytes:
    """An item of the Referenced Request Sequence: what is not known is there and empty (type 2)."""
    issuer = [_entity(order.accession.issuer_oid)] if order.accession.issuer_oid else []
    placer, filler = _order_entity(order.placer), _order_entity(order.filler)
    return b"".join(
        (
            write_element(0x00080050, "SH", order.accession.value),
            write_element(0x00080051, "SQ", issuer) if issuer else b"",
            write_element(0x00081110, "SQ", []),
            write_element(0x0020000D, "UI", study.study_instance_uid),
            write_element(0x00321060, "LO", order.description[:_LONG_STRING]),
            write_element(0x00321064, "SQ", [_code(order.procedure)] if order.procedure else []),
            write_element(0x00400026, "SQ", placer) if order.placer and placer else b"",
            write_element(0x00400027, "SQ", filler) if order.filler and filler else b"",
            write_element(0x00401001, "SH"),
            write_element(0x00402016, "LO", order.placer.value),
            write_element(0x00402017, "LO", order.filler.value),
        )
    )


def _reference(instance: Instance) -> bytes:
    return write_element(0x00081150, "UI", instance.sop_class_uid) + write_element(0x00081155, "UI", instance.sop_instance_uid)


def _evidence(manifest: StudyManifest) -> bytes:
    series = [_referenced_series(manifest, item) for item in manifest.study.series]
    return write_element(0x00081115, "SQ", series) + write_element(0x0020000D, "UI", manifest.study.study_instance_uid)


def _referenced_series(manifest: StudyManifest, series: Series) -> bytes:
    retrieve = manifest.retrieve_of(series)
    url = retrieve.series_url(manifest.study.study_instance_uid, series.series_instance_uid)
    return b"".join(
        (
            write_element(0x00080054, "AE", retrieve.ae_title),
            write_element(0x00081190, "UR", url) if url else b"",
            write_element(0x00081199, "SQ", [_reference(instance) for instance in series.instances]),
            write_element(0x0020000E, "UI", series.series_instance_uid),
            write_element(0x0040E011, "UI", retrieve.location_uid),
        )
    )


def _reference_item(instance: Instance, children: list[bytes] | None = None) -> bytes:
    return b"".join(
        (
            write_element(0x00081199, "SQ", [_reference(instance)]),
            write_element(0x0040A010, "CS", "CONTAINS"),
            write_element(0x0040A040, "CS", _value_type(instance)),
            write_element(0x0040A730, "SQ", children) if children else b"",
        )
    )


def _value_type(instance: Instance) -> str:
    if instance.sop_class_uid.startswith(_WAVEFORMS):
        return "WAVEFORM"
    is_image = instance.rows is not None and instance.sop_class_uid not in _NO_IMAGES
    return "IMAGE" if is_image else "COMPOSITE"


# ---- the description of MADO: TID 1600, of which each item has ascending tags


def _item(name: Code, value_type: str, relationship: str, **elements: tuple[str, Value]) -> bytes:
    """A content item; `elements` are named by their tags, such as `t0040A160`."""
    values: dict[int, tuple[str, Value]] = {
        0x0040A010: ("CS", relationship),
        0x0040A040: ("CS", value_type),
        0x0040A043: ("SQ", [_code(name)]),
    }
    values.update({int(tag[1:], 16): value for tag, value in elements.items()})
    return b"".join(write_element(tag, *values[tag]) for tag in sorted(values))


def _text(name: Code, value: str, relationship: str = "HAS ACQ CONTEXT") -> bytes:
    return _item(name, "TEXT", relationship, t0040A160=("UT", value))


def _coded(name: Code, value: Code) -> bytes:
    return _item(name, "CODE", "HAS ACQ CONTEXT", t0040A168=("SQ", [_code(value)]))


def _number(name: Code, value: int, unit: str) -> bytes:
    measured = write_element(0x004008EA, "SQ", [_code(Code(unit, CODING_SCHEMES["UCUM"], unit))])
    return _item(name, "NUM", "HAS ACQ CONTEXT", t0040A300=("SQ", [measured + write_element(0x0040A30A, "DS", str(value))]))


def _container(name: Code, children: list[bytes]) -> bytes:
    return _item(name, "CONTAINER", "CONTAINS", t0040A050=("CS", "SEPARATE"), t0040A730=("SQ", children))


def _library(manifest: StudyManifest, codes: DescribingCodes) -> bytes:
    study = manifest.study
    regions = {str(code): code for detail in manifest.series.values() if (code := detail.target_region)}
    children = [_coded(_MODALITY, _modality(name)) for name in study.modalities]
    children += [_coded(_TARGET_REGION, region) for region in regions.values()]
    children.append(_number(codes.study_series, len(study.series), "{series}"))
    children += [_group(manifest, series, codes) for series in study.series]
    return _container(_IMAGE_LIBRARY, children)


def _group(manifest: StudyManifest, series: Series, codes: DescribingCodes) -> bytes:
    detail = manifest.series.get(series.series_instance_uid, SeriesDetail())
    children = [_coded(_MODALITY, _modality(series.modality))] if series.modality else []
    if detail.date:
        children.append(_item(codes.series_date, "DATE", "HAS ACQ CONTEXT", t0040A121=("DA", detail.date)))
    if detail.time:
        children.append(_item(codes.series_time, "TIME", "HAS ACQ CONTEXT", t0040A122=("TM", detail.time)))
    if series.description:
        children.append(_text(codes.series_description, series.description))
    if series.number is not None:
        children.append(_text(_SERIES_NUMBER, str(series.number)))
    if detail.target_region:
        children.append(_coded(_TARGET_REGION, detail.target_region))
    children.append(_item(_SERIES_UID, "UIDREF", "HAS ACQ CONTEXT", t0040A124=("UI", series.series_instance_uid)))
    children.append(_number(codes.series_instances, len(series.instances), "{instances}"))
    for instance in series.instances:
        described = list(_described(instance, manifest.key_objects.get(instance.sop_instance_uid)))
        children.append(_reference_item(instance, described))
    return _container(_LIBRARY_GROUP, children)


def _described(instance: Instance, key_object: KeyObjectDetail | None) -> Iterator[bytes]:
    if instance.instance_number is not None:
        yield _text(_INSTANCE_NUMBER, str(instance.instance_number))
    if instance.frames > 1:
        yield _number(_FRAMES, instance.frames, "{frames}")
    if key_object is not None:
        yield _coded(_DOCUMENT_TITLE, key_object.title)
        if key_object.description:
            yield _text(_KEY_OBJECT_DESCRIPTION, key_object.description)


def _modality(name: str) -> Code:
    return Code(name, DCM, name)


def _words(study: Study) -> Iterator[str]:
    """The study in words, one line for each series. Spec: DRIMbox (Key Object Description)."""
    yield f"Examen : {study.description}"
    for series in study.series:
        region = series.region.display if series.region else series.body_part
        yield f"Série-{series.series_instance_uid} : {series.modality} @ {region} : {series.description}"
