"""Answers in the DICOM JSON model become headers like those of files."""

from __future__ import annotations

import pytest

from tests.archive import packaged
from xds.wire import dicom_json
from xds.wire.dicom import DicomError
from xds.wire.dicom_header import read_header
from xds.wire.dicom_json_reading import header_of, number_of, text_of
from xds.wire.dicom_study import study_of


@pytest.mark.parametrize("name", ["CT_small.dcm", "MR_small.dcm", "reportsi.dcm", "JPEG2000.dcm"])
def test_a_header_is_the_same_after_going_through_json(name: str) -> None:
    header = read_header((packaged(name),))
    item = dicom_json.read_header(dicom_json.write_header(header), "https://example.org/dicomweb")
    again = header_of(item)
    assert study_of(again).patient == study_of(header).patient
    kept = {key: value for key, value in item.items() if "BulkDataURI" not in value and value["vr"] != "UN"}
    stored_as = text_of(item, "00083002")
    found = dicom_json.read_header(dicom_json.write_header(again, stored_as), "https://example.org/dicomweb")
    assert {key: found.get(key) for key in kept if key != "00080005"} == {
        key: value for key, value in kept.items() if key != "00080005"
    }


def test_numbers_and_names_in_other_forms_are_read() -> None:
    item = {"00201208": {"vr": "IS", "Value": ["12"]}, "00100010": {"vr": "PN", "Value": ["Doe^Jane"]}, "00100020": {"vr": "LO"}}
    assert number_of(item, "00201208") == 12
    assert header_of(item).elements.text(0x00100010) == "Doe^Jane"
    assert text_of(item, "00100020") == ""


@pytest.mark.parametrize(
    "element", [{"vr": "US", "Value": ["many"]}, {"vr": "US", "Value": [-1]}, {"vr": "OB", "InlineBinary": "*"}]
)
def test_what_is_no_value_is_refused(element: dict[str, object]) -> None:
    with pytest.raises(DicomError):
        header_of({"00280010": element})
