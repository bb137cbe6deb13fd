"""The walker against pydicom as the oracle, its limits, and values. Spec: DICOM PS3.5, PS3.10."""

from __future__ import annotations

import contextlib
import struct
import zlib
from collections.abc import Iterator
from datetime import UTC
from io import BytesIO
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pydicom
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.data import get_charset_files

from tests.archive import image, packaged
from xds.wire.dicom import DEFLATED_LITTLE, EXPLICIT_LITTLE, IMPLICIT_LITTLE, MAX_DEPTH, DicomError
from xds.wire.dicom_header import read_header
from xds.wire.dicom_study import SHARED, read_study, shared_of
from xds.wire.dicom_transcoding import can_convert, convert
from xds.wire.dicom_values import read_dtm, write_element, write_file_meta

PACKAGED = (
    "CT_small.dcm",
    "MR_small_implicit.dcm",
    "MR_small_bigendian.dcm",
    "MR_small_RLE.dcm",
    "MR_small_jp2klossless.dcm",
    "image_dfl.dcm",
    "SC_rgb_jpeg.dcm",
    "rtplan.dcm",
    "rtstruct.dcm",
    "reportsi.dcm",
    "test-SR.dcm",
    "nested_priv_SQ.dcm",
    "UN_sequence.dcm",
    "liver_1frame.dcm",
    "waveform_ecg.dcm",
)


def in_pieces(octets: bytes, size: int = 700) -> list[bytes]:
    return [octets[start : start + size] for start in range(0, len(octets), size)]


@pytest.mark.parametrize("name", [name for name in PACKAGED if name != "rtstruct.dcm"])
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_the_walker_finds_the_elements_that_pydicom_finds(name: str) -> None:
    octets = packaged(name)
    oracle = pydicom.dcmread(BytesIO(octets), stop_before_pixels=True)
    header = read_header(in_pieces(octets))
    expected = {int(element.tag) for element in oracle if int(element.tag) & 0xFFFF}
    assert all(tag in header.elements for tag in expected)
    assert header.elements.text(0x0020000D) == str(oracle.get("StudyInstanceUID", ""))
    assert header.transfer_syntax == oracle.file_meta.TransferSyntaxUID


CHARSETS = [Path(str(path)) for path in get_charset_files("*.dcm") if "SQ" not in str(path)]


@pytest.mark.parametrize("path", CHARSETS, ids=lambda path: path.stem)
def test_person_names_in_every_character_set(path: Path) -> None:
    """Spec: PS3.5 6.1.2, annexes H, I, J, K."""
    octets = path.read_bytes()
    oracle = pydicom.dcmread(BytesIO(octets))
    assert read_header([octets]).elements.text(0x00100010).rstrip("=") == str(oracle.PatientName).rstrip("=")


@pytest.mark.parametrize("name", ["chrSQEncoding.dcm", "chrSQEncoding1.dcm"])
def test_items_inherit_the_character_set_or_state_their_own(name: str) -> None:
    path = next(Path(str(path)) for path in get_charset_files(name))
    oracle = pydicom.dcmread(path).RequestedProcedureCodeSequence[0].PatientName
    item = read_header([path.read_bytes()]).elements.item(0x00321064)
    assert item.text(0x00100010) == str(oracle)


def test_an_undeclared_character_set_is_read_as_what_it_is() -> None:
    for encoding in ("utf-8", "latin-1"):
        octets = write_file_meta("1.2", "1.3", EXPLICIT_LITTLE) + write_element(0x00100010, "PN", "Léa^Zoé".encode(encoding))
        assert read_header([octets]).elements.text(0x00100010) == "Léa^Zoé"


def test_nothing_is_read_beyond_the_wanted_part() -> None:
    taken: list[int] = []

    def chunks() -> Any:
        for number, piece in enumerate(in_pieces(packaged("CT_small.dcm"), 4096)):
            taken.append(number)
            yield piece

    read_study(chunks())
    assert len(taken) < 6


def test_a_header_becomes_a_study() -> None:
    study = read_study([packaged("CT_small.dcm")], source="CT1", size=7)
    instance = study.series[0].instances[0]
    assert (study.patient.patient_id, study.study_date, study.timezone_offset) == ("1CT1", "20040119", "-0500")
    assert (study.series[0].modality, instance.rows, instance.columns, instance.size) == ("CT", 128, 128, 7)


def test_zero_octets_inside_a_text_are_no_part_of_it() -> None:
    study = read_study([image(PatientName="Do\0e^Jane", StudyDescription="CT\0\0")])
    assert (study.patient.name, study.description) == ("Doe^Jane", "CT")


def test_issuers_and_codes() -> None:
    def qualify(dataset: Any) -> None:
        issuer = pydicom.Dataset()
        issuer.UniversalEntityID, issuer.UniversalEntityIDType = "1.2.250.1.213.1.4.10", "ISO"
        dataset.IssuerOfPatientIDQualifiersSequence = [issuer]
        dataset.IssuerOfAccessionNumberSequence = [issuer]
        code = pydicom.Dataset()
        code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = "RPID13", "RADLEX", "CT Abdomen"
        dataset.ProcedureCodeSequence = [code]

    study = read_study([image(qualify, IssuerOfPatientID="ASIP-SANTE-INS-NIR", AccessionNumber="A1")])
    assert study.patient.issuer_oid == study.accession_issuer_oid == "1.2.250.1.213.1.4.10"
    assert study.patient.issuer_namespace == "ASIP-SANTE-INS-NIR"
    assert study.procedure_code is not None
    assert (str(study.procedure_code), study.procedure_code.display) == ("RPID13^^2.16.840.1.113883.6.256", "CT Abdomen")


@pytest.mark.parametrize("name", ["CT_small.dcm", "MR_small_implicit.dcm", "MR_small_bigendian.dcm", "reportsi.dcm"])
def test_what_a_series_shares_follows_from_what_is_compared(name: str) -> None:
    def qualify(dataset: Any) -> None:
        issuer, code = pydicom.Dataset(), pydicom.Dataset()
        issuer.UniversalEntityID, issuer.UniversalEntityIDType = "1.2.250.1.213.1.4.10", "ISO"
        code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = "RPID13", "RADLEX", "CT Abdomen"
        dataset.IssuerOfPatientIDQualifiersSequence = dataset.IssuerOfAccessionNumberSequence = [issuer]
        dataset.ProcedureCodeSequence = dataset.AnatomicRegionSequence = [code]
        for keyword in TEXTS:
            setattr(dataset, keyword, "12")

    whole = read_header([image(qualify, name)])
    for tag in whole.elements:
        if tag in (0x00080016, 0x00080018):
            continue
        other = read_header([image(lambda dataset, tag=tag: (qualify(dataset), dataset.pop(tag)), name)])  # type: ignore[misc]
        is_same = other.elements.same(SHARED) == whole.elements.same(SHARED)
        assert is_same == (tag not in SHARED and tag != 0x00080005), f"{tag:08X}"
        assert not is_same or shared_of(other) == shared_of(whole), f"{tag:08X}"


#: Every text of a study and its series.
TEXTS = (
    *("StudyDate", "StudyTime", "AccessionNumber", "InstitutionName", "ReferringPhysicianName", "TimezoneOffsetFromUTC"),
    *("StudyDescription", "SeriesDescription", "PatientName", "PatientID", "IssuerOfPatientID", "PatientBirthDate"),
    *("PatientSex", "BodyPartExamined", "StudyID", "SeriesNumber"),
)


def test_an_object_that_nobody_could_ask_for_is_refused() -> None:
    with pytest.raises(DicomError, match=r"Study Instance UID.*Series Instance UID"):
        read_study([image(StudyInstanceUID="", SeriesInstanceUID="")])


@pytest.mark.parametrize(
    ("octets", "reason"),
    [
        (b"", "no DICOM file"),
        (b"<html>" + b" " * 500, "no DICOM file"),
        (b"\0" * 128 + b"DICM", "Transfer Syntax UID"),
        (write_file_meta("1.2", "1.3", EXPLICIT_LITTLE) + b"\x08\x00\x05\x00CS\xff\xff12", "ends inside"),
        (write_file_meta("1.2", "1.3", DEFLATED_LITTLE) + b"no deflate stream", "broken"),
    ],
)
def test_what_is_broken_is_refused(octets: bytes, reason: str) -> None:
    with pytest.raises(DicomError, match=reason):
        read_header([octets])


def test_deep_nesting_is_refused_and_not_followed() -> None:
    opening = b"\x08\x00\x40\x11SQ\0\0\xff\xff\xff\xff\xfe\xff\x00\xe0\xff\xff\xff\xff"
    octets = write_file_meta("1.2", "1.3", EXPLICIT_LITTLE) + opening * 100_000
    with pytest.raises(DicomError, match=f"more than {MAX_DEPTH} deep"):
        read_header([octets])


def test_a_deflate_bomb_is_refused() -> None:
    element = write_element(0x00091001, "OB", b"\0" * 4_000_000)
    bomb = zlib.compressobj(9, wbits=-15)
    octets = write_file_meta("1.2", "1.3", DEFLATED_LITTLE) + bomb.compress(element) + bomb.flush()
    with pytest.raises(DicomError, match="more than"):
        read_header([octets], limit=1_000_000)


def test_the_meta_information_is_read_before_more_is_waited_for() -> None:
    taken: list[str] = []

    def chunks(meta: bytes) -> Iterator[bytes]:
        taken.append("meta")
        yield meta
        taken.append("data set")
        yield write_element(0x00100020, "LO", "P1")

    whole = write_file_meta("1.2", "1.3", EXPLICIT_LITTLE)
    assert read_header(chunks(whole)).elements.text(0x00100020) == "P1"
    assert taken == ["meta", "data set"]
    taken.clear()
    with pytest.raises(DicomError):
        read_header(chunks(b"\0" * 132))
    assert taken == ["meta"]


def test_a_header_without_end_is_refused() -> None:
    octets = write_file_meta("1.2", "1.3", EXPLICIT_LITTLE) + struct.pack("<HH2sHI", 9, 0x1001, b"OB", 0, 3_000_000)
    with pytest.raises(DicomError, match="octets before the pixels"):
        read_header([octets, b"\0" * 3_000_000], limit=1_000_000)


# What escapes to a character set that nobody knows is read as it stands, and pydicom says so.
@pytest.mark.filterwarnings("ignore:Found unknown escape sequence")
@given(st.binary(max_size=300), st.integers(0, 900))
def test_any_octets_are_read_or_refused(noise: bytes, position: int) -> None:
    octets = bytearray(packaged("CT_small.dcm")[:1200])
    octets[132 + position : 132 + position + len(noise)] = noise
    with contextlib.suppress(DicomError):
        read_study([bytes(octets)])


@pytest.mark.parametrize(
    ("date", "time", "offset", "expected"),
    [
        ("20240701", "101530.123", "+0200", "20240701081530"),
        ("20240701", "101530", "", "20240701081530"),
        ("20240101", "101530", "", "20240101091530"),
        ("2024.07.01", "10:15:30", "-0500", "20240701151530"),
        ("20240701", "", "", "20240701"),
        ("20240701", "1015", "", "202407010815"),
        ("20240701", "10", "", "202407010800"),
        ("20241331", "101530", "", None),
        ("", "", "", None),
        ("20240701", "101530", "+9900", "20240701081530"),
    ],
)
def test_times_in_utc(date: str, time: str, offset: str, expected: str | None) -> None:
    assert read_dtm(date, time, offset, ZoneInfo("Europe/Paris")) == expected


def test_the_configured_zone_is_an_argument() -> None:
    assert read_dtm("20240701", "101530", "", UTC) == "20240701101530"


@pytest.mark.parametrize("name", ["CT_small.dcm", "MR_small_implicit.dcm", "image_dfl.dcm", "rtplan.dcm", "reportsi.dcm"])
@pytest.mark.parametrize("target", [IMPLICIT_LITTLE, EXPLICIT_LITTLE, DEFLATED_LITTLE])
def test_conversion_keeps_every_value(name: str, target: str) -> None:
    octets = packaged(name)
    before = pydicom.dcmread(BytesIO(octets))
    after = pydicom.dcmread(BytesIO(b"".join(convert(lambda: iter(in_pieces(octets)), target))))
    assert after.file_meta.TransferSyntaxUID == target
    assert {element.tag: element.value for element in before} == {element.tag: element.value for element in after}


def test_compressed_pixels_are_not_decoded() -> None:
    assert not can_convert("1.2.840.10008.1.2.4.70", EXPLICIT_LITTLE, 1000)
    assert can_convert("1.2.840.10008.1.2.4.70", "1.2.840.10008.1.2.4.70", 1 << 40)
    with pytest.raises(DicomError):
        list(convert(lambda: iter([packaged("MR_small_RLE.dcm")]), EXPLICIT_LITTLE))


def test_the_meta_information_is_what_pydicom_reads() -> None:
    octets = write_file_meta("1.2.840.10008.5.1.4.1.1.2", "1.2.3", EXPLICIT_LITTLE) + write_element(0x00100020, "LO", "P1")
    read = pydicom.dcmread(BytesIO(octets))
    assert (read.file_meta.MediaStorageSOPInstanceUID, read.PatientID) == ("1.2.3", "P1")
