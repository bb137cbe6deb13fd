"""Data sets in the JSON model; pydicom is the second opinion. Spec: DICOM PS3.18 F."""

from __future__ import annotations

import json
import math
import struct
import warnings
from base64 import b64encode
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import pydicom
import pytest
from pydicom import Dataset, dcmread
from pydicom.dataset import FileMetaDataset
from pydicom.uid import ImplicitVRLittleEndian

from xds.wire import dicom_json
from xds.wire.dicom import DicomError
from xds.wire.dicom_header import read_header

#: No Part 10 files, and one that ends in the middle.
_UNREADABLE = frozenset(
    f"{name}.dcm"
    for name in ("ExplVR_BigEndNoMeta", "ExplVR_LitEndNoMeta", "meta_missing_tsyntax", "no_meta", "rtplan_truncated", "rtstruct")
)
_FILES = sorted((Path(pydicom.__file__).parent / "data" / "test_files").glob("*.dcm"))


def _written(octets: bytes) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(dicom_json.write_header(read_header(iter((octets,)))))
    return found


def _file(dataset: Dataset, *, implicit: bool = False) -> bytes:
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian if implicit else "1.2.840.10008.1.2.1"
    dataset.SOPClassUID, dataset.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.7", "1.2.3.4"
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = "1.2.3", "1.2.3.5"
    written = BytesIO()
    dataset.save_as(written, enforce_file_format=True)
    return written.getvalue()


def _comparable(item: dict[str, Any], path: str = "") -> Iterator[tuple[str, Any]]:
    """What both write: a text of blanks is nothing, and numbers compare as numbers."""
    for tag, element in item.items():
        if tag in ("00080005", "7FE00010") or tag.endswith("0000"):
            continue
        if element["vr"] == "SQ":
            for number, inner in enumerate(element.get("Value", ())):
                yield from _comparable(inner, f"{path}{tag}/{number}/")
            continue
        if "BulkDataURI" in element or element["vr"] in ("UN", "OB", "OW"):
            continue
        values = [_plain(value) for value in element.get("Value", ())]
        yield f"{path}{tag}", [value for value in values if value not in (None, "", {})]


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: part.rstrip("^ ") for name, part in value.items() if part.strip("^ ")}
    if isinstance(value, (int, float)) or (isinstance(value, str) and _is_number(value)):
        return pytest.approx(float(value)) if math.isfinite(float(value)) else str(value)
    return value.rstrip(" ") if isinstance(value, str) else value


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _by_pydicom(octets: bytes) -> dict[str, Any]:
    with warnings.catch_warnings():
        # Some samples declare another encoding than they have.
        warnings.simplefilter("ignore")
        dataset = dcmread(BytesIO(octets), stop_before_pixels=True)
    return dict(dataset.to_json_dict(bulk_data_threshold=10**9, suppress_invalid_tags=True))


def _read(read: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Nothing, for what is no object."""
    try:
        return read()
    except (DicomError, ValueError, AttributeError, TypeError):
        return {}


@pytest.mark.parametrize("path", _FILES, ids=lambda path: path.name)
def test_every_file_reads_as_pydicom_reads_it(path: Path) -> None:
    octets = path.read_bytes()
    if path.name in _UNREADABLE:
        with pytest.raises(DicomError):
            _written(octets)
        return
    got = dict(_comparable(_written(octets)))
    expected = dict(_comparable(_read(lambda: _by_pydicom(octets))))
    assert {tag: got.get(tag) for tag, value in expected.items() if value} == {
        tag: value for tag, value in expected.items() if value
    }


def test_a_sequence_whose_writer_did_not_know_it_is_read_implicit() -> None:
    """Spec: PS3.5 6.2.2, note 3."""
    element = struct.pack("<HHI", 0x0008, 0x1155, 6) + b"1.2.3\0"
    inside = struct.pack("<HHI", 0xFFFE, 0xE000, len(element)) + element
    for value, found in (
        (inside, {"vr": "SQ", "Value": [{"00081155": {"vr": "UI", "Value": ["1.2.3"]}}]}),
        (b"no sequence.", {"vr": "UN", "InlineBinary": b64encode(b"no sequence.").decode()}),
    ):
        octets = _file(Dataset()) + struct.pack("<HH2sHI", 0x300C, 0x0002, b"UN", 0, len(value)) + value
        assert _written(octets)["300C0002"] == found


@pytest.mark.parametrize("implicit", [False, True])
def test_values_of_every_kind(implicit: bool) -> None:
    dataset = Dataset()
    dataset.PatientName = "Yamada^Tarou=山田^太郎=やまだ^たろう"
    dataset.SpecificCharacterSet = "ISO_IR 192"
    dataset.OtherPatientNames = ["Élise^Æ", "", "B"]
    dataset.SeriesNumber = "007"
    dataset.RescaleSlope, dataset.PixelSpacing = "1.50", ["0.5", "2"]
    dataset.Rows = 512
    dataset.FrameIncrementPointer = 0x00181063
    dataset.ReferencePixelX0 = -5
    dataset.FrameReferenceDateTime = "20260101"
    dataset.PatientComments = "a\\b \r\nc "
    dataset.StudyDescription = ""
    found = _written(_file(dataset, implicit=implicit))
    assert found["00100010"] == {
        "vr": "PN",
        "Value": [{"Alphabetic": "Yamada^Tarou", "Ideographic": "山田^太郎", "Phonetic": "やまだ^たろう"}],
    }
    assert found["00101001"]["Value"] == [{"Alphabetic": "Élise^Æ"}, None, {"Alphabetic": "B"}]
    assert found["00200011"] == {"vr": "IS", "Value": [7]}
    assert found["00281053"] == {"vr": "DS", "Value": [1.5]}
    assert found["00280030"]["Value"] == [0.5, 2]
    assert found["00280010"] == {"vr": "US", "Value": [512]}
    assert found["00280009"] == {"vr": "AT", "Value": ["00181063"]}
    assert found["00186020"] == {"vr": "SL", "Value": [-5]}
    assert found["00104000"] == {"vr": "LT", "Value": ["a\\b \r\nc"]}
    assert found["00081030"] == {"vr": "LO"}
    assert found["00080005"] == {"vr": "CS", "Value": ["ISO_IR 192"]}


def test_numbers_that_json_has_not_become_strings() -> None:
    dataset = Dataset()
    dataset.add_new(0x00189073, "FD", [float("nan"), float("inf"), 1.25])
    found = _written(_file(dataset))
    assert found["00189073"]["Value"] == ["nan", "inf", 1.25]


def test_long_values_and_pixels_are_named_by_a_uri() -> None:
    dataset = Dataset()
    dataset.Rows = 1
    dataset.EncapsulatedDocument = b"x" * 5000
    dataset.ICCProfile = b"short."
    inner = Dataset()
    inner.add_new(0x00420011, "OB", b"y" * 2000)
    dataset.SourceImageSequence = [inner]
    stored = dicom_json.write_header(read_header(iter((_file(dataset),))))
    found = json.loads(dicom_json.with_address(stored, 'https://pacs.example/dicom"web'))
    base = 'https://pacs.example/dicom"web/studies/1.2.3/series/1.2.3.5/instances/1.2.3.4/bulkdata'
    assert found["00420011"] == {"vr": "OB", "BulkDataURI": f"{base}/00420011"}
    assert found["00082112"]["Value"][0]["00420011"]["BulkDataURI"] == f"{base}/00082112/0/00420011"
    assert found["7FE00010"]["BulkDataURI"] == f"{base}/7FE00010"
    assert found["00282000"]["InlineBinary"] == "c2hvcnQu"


def test_private_elements_keep_their_creator() -> None:
    dataset = Dataset()
    block = dataset.private_block(0x0029, "SOMEBODY", create=True)
    block.add_new(0x10, "LO", "value")
    explicit, implicit = _written(_file(dataset)), _written(_file(dataset, implicit=True))
    assert explicit["00290010"] == implicit["00290010"] == {"vr": "LO", "Value": ["SOMEBODY"]}
    assert explicit["00291010"] == {"vr": "LO", "Value": ["value"]}
    assert implicit["00291010"]["vr"] == "UN"


def test_the_same_octets_in_another_repertoire_are_another_text() -> None:
    def named(repertoire: str, letters: bytes = b"\xc4\xee") -> str:
        dataset = Dataset()
        dataset.SpecificCharacterSet = "ISO_IR 100"
        octets = _file(dataset).replace(b"ISO_IR 100", repertoire.encode())
        # Behind the UIDs of the identification module, before those of the study.
        end = octets.index(b"\x20\0\x0d\0UI")
        name = b"\x10\0\x10\0PN\x04\0" + letters + b"^B"
        return str(_written(octets[:end] + name + octets[end:])["00100010"]["Value"][0]["Alphabetic"])

    assert (named("ISO_IR 100"), named("ISO_IR 144"), named("ISO_IR 100")) == ("Äî^B", "Фю^B", "Äî^B")
    assert named("ISO_IR 203", b"\xbc\xa4") == "Œ€^B"
