"""Objects in other transfer syntaxes: the pixels stay, and so does everything that does not describe them.

Spec: DICOM PS3.5 8.2, A.4.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from pydicom import Dataset, dcmread
from pydicom.encaps import encapsulate
from pydicom.pixels import pixel_array
from pydicom.uid import UID, ExplicitVRLittleEndian

from tests.pixels.conftest import sample
from xds.pixels.jobs import PixelError
from xds.pixels.pool import Pool

EXPLICIT, IMPLICIT = "1.2.840.10008.1.2.1", "1.2.840.10008.1.2"
RLE, JPEG_LS, JPEG_2000 = "1.2.840.10008.1.2.5", "1.2.840.10008.1.2.4.80", "1.2.840.10008.1.2.4.90"
_PIXEL_GROUP = 0x0028


def _transcoded(pool: Pool, name: str, target: str) -> Dataset:
    made = pool.transcode(sample(name), target)
    dataset = dcmread(made.path)
    for element in dataset.iterall():
        assert element is not None
    made.release()
    assert dataset.file_meta.TransferSyntaxUID == target == made.transfer_syntax_uid
    return dataset


@pytest.mark.parametrize("target", [RLE, JPEG_LS, JPEG_2000, IMPLICIT, EXPLICIT])
@pytest.mark.parametrize("name", ["CT_small.dcm", "SC_rgb_rle_16bit_2frame.dcm", "MR_small_bigendian.dcm"])
def test_what_is_lossless_gives_the_same_pixels(pool: Pool, name: str, target: str) -> None:
    original = dcmread(sample(name))
    dataset = _transcoded(pool, name, target)
    assert np.array_equal(pixel_array(dataset), pixel_array(original))
    assert dataset.SOPInstanceUID == original.SOPInstanceUID
    described = [item.tag for item in original if item.tag.group != _PIXEL_GROUP and item.tag != 0x7FE00010]
    assert [str(dataset[tag].value) for tag in described] == [str(original[tag].value) for tag in described]


@pytest.mark.parametrize(
    "name",
    [
        "JPEG2000.dcm",
        "MR_small_RLE.dcm",
        "MR_small_jpeg_ls_lossless.dcm",
        "SC_rgb_jpeg_dcmtk.dcm",
        "examples_ybr_color.dcm",
        "693_J2KI.dcm",
        "rtdose_rle.dcm",
        "liver_expb_1frame.dcm",
    ],
)
def test_every_common_form_is_decoded(pool: Pool, name: str) -> None:
    original = dcmread(sample(name))
    dataset = _transcoded(pool, name, EXPLICIT)
    assert dataset.get("NumberOfFrames", 1) == original.get("NumberOfFrames", 1)
    assert np.array_equal(pixel_array(dataset), pixel_array(original))


def test_native_frames_in_fragments(pool: Pool, tmp_path: Path) -> None:
    """Encapsulated Uncompressed; a frame of odd length has an octet more in its fragment. Spec: PS3.5 A.4.11."""
    dataset = dcmread(sample("CT_small.dcm"))
    values = [bytes(range(start, start + 9)) for start in (0, 100)]
    dataset.Rows = dataset.Columns = 3
    dataset.BitsAllocated = dataset.BitsStored = 8
    dataset.HighBit, dataset.PixelRepresentation, dataset.NumberOfFrames = 7, 0, 2
    dataset.PixelData = encapsulate(values)
    dataset["PixelData"].VR, dataset["PixelData"].is_undefined_length = "OB", True
    dataset.file_meta.TransferSyntaxUID = UID("1.2.840.10008.1.2.1.98")
    dataset.save_as(tmp_path / "a.dcm", implicit_vr=False, little_endian=True)
    made = pool.transcode(tmp_path / "a.dcm", EXPLICIT)
    found = dcmread(made.path)
    made.release()
    assert found.PixelData == b"".join(values)
    assert found.file_meta.TransferSyntaxUID == EXPLICIT


def test_jpeg_extended_with_12_bits(pool: Pool) -> None:
    dataset = _transcoded(pool, "JPEG-lossy.dcm", EXPLICIT)
    pixels = pixel_array(dataset)
    assert (pixels.shape, pixels.dtype.itemsize, pixels.max()) == ((1024, 256), 2, 264)


def test_an_image_that_the_target_cannot_hold_is_refused(pool: Pool) -> None:
    with pytest.raises(PixelError, match="no form"):
        pool.transcode(sample("liver_1frame.dcm"), RLE)


def test_an_object_without_pixels_has_no_compressed_form(pool: Pool) -> None:
    with pytest.raises(PixelError, match="without pixels"):
        pool.transcode(sample("reportsi.dcm"), JPEG_LS)
    assert _transcoded(pool, "reportsi.dcm", IMPLICIT).Modality == "SR"


def test_big_endian_is_not_written(pool: Pool) -> None:
    with pytest.raises(PixelError, match="retired"):
        pool.transcode(sample("CT_small.dcm"), "1.2.840.10008.1.2.2")


def test_frames_are_given_one_by_one(pool: Pool, frames: Path) -> None:
    expected = pixel_array(dcmread(frames))
    packed = pool.transcode(frames, RLE)
    made = pool.frames(packed.path, [3, 1])
    packed.release()
    octets = b"".join(made.chunks())
    made.release()
    assert made.lengths == (expected[2].nbytes, expected[0].nbytes)
    assert octets == expected[2].astype("<u2").tobytes() + expected[0].astype("<u2").tobytes()


def test_a_frame_that_is_not_there_is_an_error(pool: Pool, frames: Path) -> None:
    with pytest.raises(PixelError, match="frame 11 does not exist"):
        pool.frames(frames, [1, 11])


def test_native_frames_are_given_as_they_are_stored(pool: Pool, frames: Path) -> None:
    dataset = dcmread(frames)
    assert dataset.file_meta.TransferSyntaxUID == ExplicitVRLittleEndian
    length = dataset.Rows * dataset.Columns * 2
    made = pool.frames(frames, [2])
    assert b"".join(made.chunks()) == dataset.PixelData[length : 2 * length]
    made.release()
