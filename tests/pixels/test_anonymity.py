"""Images without whose they are. Spec: DICOM PS3.18 9.4.1.2.1; PS3.15 E.1, E.3.1."""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom import Dataset, dcmread
from pydicom.pixels import pixel_array
from pydicom.uid import ExplicitVRLittleEndian, JPEG2000Lossless

from tests.pixels.conftest import sample
from tests.presentation import as_file, item
from xds.pixels.jobs import PixelError
from xds.pixels.pool import Pool

MARK = "SECRETMARK"


def nothing(_dataset: Dataset) -> None:
    """Leave it as it is."""


def given(
    pool: Pool,
    path: Path,
    name: str = "CT_small.dcm",
    change: Callable[[Any], None] = nothing,
    target: str = ExplicitVRLittleEndian,
    key: str = "1.2.3",
) -> bytes:
    dataset = dcmread(sample(name))
    change(dataset)
    path.write_bytes(as_file(dataset))
    made = pool.anonymize(path, target, key)
    octets = b"".join(made.chunks())
    made.release()
    return octets


def mark_everything(dataset: Dataset, depth: int = 0) -> None:
    """Write the mark wherever a text may stand, and dates and numbers that can be told from others."""
    texts = ("AE", "LO", "LT", "PN", "SH", "ST", "UC", "UT", "UR")
    for element in list(dataset):
        if element.VR in texts:
            element.value = MARK
        elif element.VR == "DA":
            element.value = "19420229"
        elif element.VR == "SQ":
            for inner in element.value:
                mark_everything(inner, depth + 1)
    if depth == 0:
        dataset.PatientName = f"{MARK}^{MARK}"
        dataset.ImageComments = dataset.OperatorsName = dataset.StationName = MARK
        dataset.OtherPatientIDsSequence = [item(PatientID=MARK)]
        dataset.ReferencedImageSequence = [item(ReferencedSOPInstanceUID="1.2.42.42")]
        dataset.ContrastBolusAgentSequence = [item(CodeValue="1", CodingSchemeDesignator="DCM", CodeMeaning=MARK)]
        dataset.private_block(0x0011, MARK, create=True).add_new(1, "LO", MARK)
        dataset.add_new(0x60003000, "OW", MARK.encode())
        dataset.DataSetTrailingPadding = MARK.encode()


def test_nothing_is_left_of_whose_it_is(pool: Pool, tmp_path: Path) -> None:
    octets = given(pool, tmp_path / "a.dcm", change=mark_everything)
    assert MARK.encode() not in octets
    assert b"19420229" not in octets
    before, after = dcmread(sample("CT_small.dcm")), dcmread(BytesIO(octets))
    for name in ("PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyDate", "AccessionNumber", "StudyID"):
        assert after[name].is_empty
    for uid in (
        before.StudyInstanceUID,
        before.SeriesInstanceUID,
        before.SOPInstanceUID,
        before.FrameOfReferenceUID,
        "1.2.42.42",
    ):
        assert uid.encode() not in octets
    assert not any(element.tag.is_private or 0x6000 <= element.tag.group < 0x7FE0 for element in after)
    assert (after.PatientIdentityRemoved, after.BurnedInAnnotation) == ("YES", "NO")
    assert [code.CodeValue for code in after.DeidentificationMethodCodeSequence] == ["113100", "113101"]
    assert after.file_meta.MediaStorageSOPInstanceUID == after.SOPInstanceUID
    assert after.file_meta.FileMetaInformationGroupLength > 0
    assert after.file_meta.ImplementationClassUID
    for name in ("Rows", "PixelSpacing", "RescaleIntercept", "SliceThickness", "ImagePositionPatient", "SOPClassUID", "KVP"):
        assert after[name].value == before[name].value
    assert np.array_equal(pixel_array(after), pixel_array(before))


def test_the_same_object_has_the_same_other_uids(pool: Pool, tmp_path: Path) -> None:
    path = tmp_path / "a.dcm"
    first, again, elsewhere = (dcmread(BytesIO(given(pool, path, key=key))) for key in ("1.2.3", "1.2.3", "1.2.4"))
    assert first.SOPInstanceUID == again.SOPInstanceUID != elsewhere.SOPInstanceUID
    assert first.StudyInstanceUID == again.StudyInstanceUID != elsewhere.StudyInstanceUID


@pytest.mark.parametrize("name", ["MR_small_jp2klossless.dcm", "MR_small_RLE.dcm", "MR_small_bigendian.dcm", "MR_small.dcm"])
def test_pixels_are_written_anew(pool: Pool, tmp_path: Path, name: str) -> None:
    """Comments of a codec stand in compressed pixels."""

    def acquired(dataset: Any) -> None:
        dataset.ImageType = ["ORIGINAL", "PRIMARY", "OTHER"]

    found = dcmread(BytesIO(given(pool, tmp_path / "a.dcm", name, acquired)))
    assert found.file_meta.TransferSyntaxUID == ExplicitVRLittleEndian
    assert np.array_equal(pixel_array(found), pixel_array(dcmread(sample(name))))
    packed = dcmread(BytesIO(given(pool, tmp_path / "a.dcm", name, acquired, JPEG2000Lossless)))
    assert packed.file_meta.TransferSyntaxUID == JPEG2000Lossless
    assert np.array_equal(pixel_array(packed), pixel_array(found))


def test_bits_that_are_no_pixels_are_gone(pool: Pool, tmp_path: Path) -> None:
    def overlaid(dataset: Any) -> None:
        values = np.frombuffer(dataset.PixelData, "<u2") & 0x0FFF | 0x1000
        dataset.PixelData = values.astype("<u2").tobytes()
        dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 12, 11, 0

    found = dcmread(BytesIO(given(pool, tmp_path / "a.dcm", change=overlaid)))
    assert not (np.frombuffer(found.PixelData, "<u2") & 0xF000).any()


def said_to_be_clean(dataset: Any) -> None:
    dataset.BurnedInAnnotation = "NO"


@pytest.mark.parametrize(
    ("name", "change", "is_given"),
    [
        ("CT_small.dcm", nothing, True),
        ("CT_small.dcm", lambda dataset: setattr(dataset, "BurnedInAnnotation", "YES"), False),
        ("CT_small.dcm", lambda dataset: setattr(dataset, "ImageType", ["DERIVED", "SECONDARY"]), False),
        ("CT_small.dcm", lambda dataset: setattr(dataset, "SOPClassUID", "1.2.840.10008.5.1.4.1.1.7"), False),
        ("CT_small.dcm", lambda dataset: setattr(dataset, "HighBit", 14), False),
        ("SC_rgb_small_odd.dcm", nothing, False),
        ("SC_rgb_small_odd.dcm", said_to_be_clean, True),
        ("reportsi.dcm", said_to_be_clean, False),
    ],
)
def test_what_may_name_somebody_in_its_pixels_is_not_given(
    pool: Pool, tmp_path: Path, name: str, change: Callable[[Any], None], is_given: bool
) -> None:
    if is_given:
        assert given(pool, tmp_path / "a.dcm", name, change)
        return
    with pytest.raises(PixelError):
        given(pool, tmp_path / "a.dcm", name, change)


@pytest.mark.parametrize("name", ["examples_palette.dcm", "examples_ybr_color.dcm", "examples_jpeg2k.dcm", "liver_1frame.dcm"])
def test_images_of_every_kind_stay_readable(pool: Pool, tmp_path: Path, name: str) -> None:
    found = dcmread(BytesIO(given(pool, tmp_path / "a.dcm", name, said_to_be_clean)))
    assert np.array_equal(pixel_array(found), pixel_array(dcmread(sample(name))))
