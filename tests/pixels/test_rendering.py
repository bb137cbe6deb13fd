"""Images for browsers. Spec: DICOM PS3.3 C.11; PS3.18 8.3.5."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pydicom import Dataset, dcmread
from pydicom.sequence import Sequence

from tests.pixels.conftest import sample
from xds.model.rendering import Rendering, Window
from xds.pixels.jobs import PixelError
from xds.pixels.pool import Pool
from xds.pixels.rendering import windowed

PNG = "image/png"


def _image(pool: Pool, source: Path, how: Rendering) -> Image.Image:
    made = pool.render(source, how)
    octets = b"".join(made.chunks())
    made.release()
    picture = Image.open(BytesIO(octets))
    picture.load()
    return picture


def _saved(path: Path, dataset: Dataset) -> Path:
    dataset.save_as(path, enforce_file_format=True)
    return path


@pytest.fixture
def ramp(tmp_path: Path) -> Dataset:
    """Stored values 0 to 4095 in 64 columns and rows; rescaled to -1024 and above."""
    dataset = dcmread(sample("CT_small.dcm"))
    dataset.Rows = dataset.Columns = 64
    dataset.PixelRepresentation = 0
    dataset.BitsStored, dataset.HighBit = 12, 11
    dataset.RescaleSlope, dataset.RescaleIntercept = 1, -1024
    dataset.PixelData = np.arange(4096, dtype="<u2").tobytes()
    for name in ("PixelPaddingValue", "WindowCenter", "WindowWidth"):
        if name in dataset:
            delattr(dataset, name)
    return dataset


def test_the_window_of_the_object_counts(pool: Pool, ramp: Dataset, tmp_path: Path) -> None:
    ramp.WindowCenter, ramp.WindowWidth = 0, 200
    pixels = np.asarray(_image(pool, _saved(tmp_path / "a.dcm", ramp), Rendering(media_type=PNG))).reshape(-1)
    assert pixels[1024 - 110] == 0
    assert pixels[1024 + 110] == 255
    assert 120 <= pixels[1024] <= 135


def test_a_window_asked_for_goes_before_that_of_the_object(pool: Pool, ramp: Dataset, tmp_path: Path) -> None:
    ramp.WindowCenter, ramp.WindowWidth = 0, 200
    how = Rendering(media_type=PNG, window=Window(1000, 10))
    pixels = np.asarray(_image(pool, _saved(tmp_path / "a.dcm", ramp), how)).reshape(-1)
    assert (pixels[2000], pixels[2050]) == (0, 255)


def test_without_any_window_the_values_are_spanned(pool: Pool, ramp: Dataset, tmp_path: Path) -> None:
    pixels = np.asarray(_image(pool, _saved(tmp_path / "a.dcm", ramp), Rendering(media_type=PNG))).reshape(-1)
    assert (pixels[0], pixels[-1]) == (0, 255)


def test_an_empty_slope_says_nothing(pool: Pool, ramp: Dataset, tmp_path: Path) -> None:
    ramp.RescaleSlope, ramp.RescaleIntercept = "1", ""
    pixels = np.asarray(_image(pool, _saved(tmp_path / "a.dcm", ramp), Rendering(media_type=PNG))).reshape(-1)
    assert (pixels[0], pixels[-1]) == (0, 255)


def test_padding_does_not_count_and_is_black(pool: Pool, ramp: Dataset, tmp_path: Path) -> None:
    values = np.full(4096, 1000, dtype="<u2")
    values[:10], values[10:20] = 4095, 1100
    ramp.PixelData, ramp.PixelPaddingValue = values.tobytes(), 4095
    ramp["PixelPaddingValue"].VR = "US"
    pixels = np.asarray(_image(pool, _saved(tmp_path / "a.dcm", ramp), Rendering(media_type=PNG))).reshape(-1)
    assert (pixels[0], pixels[15], pixels[100]) == (0, 255, 0)


def test_monochrome_1_is_shown_inverted(pool: Pool, ramp: Dataset, tmp_path: Path) -> None:
    ramp.PhotometricInterpretation = "MONOCHROME1"
    pixels = np.asarray(_image(pool, _saved(tmp_path / "a.dcm", ramp), Rendering(media_type=PNG))).reshape(-1)
    assert (pixels[0], pixels[-1]) == (255, 0)


def test_frames_have_windows_of_their_own(pool: Pool, ramp: Dataset, tmp_path: Path) -> None:
    ramp.NumberOfFrames = 2
    ramp.PixelData = ramp.PixelData * 2
    groups = []
    for center in (0, 2000):
        voi, transformation, group = Dataset(), Dataset(), Dataset()
        voi.WindowCenter, voi.WindowWidth = center, 2
        transformation.RescaleSlope, transformation.RescaleIntercept = 1, -1024
        group.FrameVOILUTSequence = Sequence([voi])
        group.PixelValueTransformationSequence = Sequence([transformation])
        groups.append(group)
    ramp.PerFrameFunctionalGroupsSequence = Sequence(groups)
    source = _saved(tmp_path / "a.dcm", ramp)
    whites = []
    for frame in (1, 2):
        pixels = np.asarray(_image(pool, source, Rendering(media_type=PNG, frames=(frame,)))).reshape(-1)
        whites.append(int((pixels == 255).sum()))
    assert abs(whites[0] - 3072) < 3
    assert abs(whites[1] - 1072) < 3


@pytest.mark.parametrize("function", ["LINEAR", "LINEAR_EXACT", "SIGMOID"])
def test_the_center_of_a_window_is_grey(function: str) -> None:
    values = np.array([-1000.0, 50.0, 1100.0])
    low, middle, high = windowed(values, Window(50, 400, function))
    assert low < 1
    assert abs(middle - 127.5) < 1
    assert high > 254


@pytest.mark.parametrize(
    ("name", "mode"),
    [
        ("CT_small.dcm", "L"),
        ("SC_rgb_jpeg_dcmtk.dcm", "RGB"),
        ("examples_palette.dcm", "RGB"),
        ("examples_ybr_color.dcm", "RGB"),
        ("MR_small_bigendian.dcm", "L"),
        ("liver_1frame.dcm", "L"),
        ("SC_rgb_rle_32bit.dcm", "RGB"),
        ("rtdose.dcm", "L"),
        ("JPEG-lossy.dcm", "L"),
        ("SC_ybr_full_422_uncompressed.dcm", "RGB"),
    ],
)
def test_images_of_every_kind(pool: Pool, name: str, mode: str) -> None:
    dataset = dcmread(sample(name), stop_before_pixels=True)
    picture = _image(pool, sample(name), Rendering())
    assert (picture.mode, picture.size) == (mode, (dataset.Columns, dataset.Rows))
    assert len(set(np.asarray(picture).reshape(-1).tolist())) > 1


def test_the_viewport_keeps_the_proportions(pool: Pool) -> None:
    picture = _image(pool, sample("JPEG-lossy.dcm"), Rendering(size=(100, 100)))
    assert picture.size == (25, 100)


def test_a_region_is_cut_and_flipped(pool: Pool, ramp: Dataset, tmp_path: Path) -> None:
    source = _saved(tmp_path / "a.dcm", ramp)
    whole = np.asarray(_image(pool, source, Rendering(media_type=PNG)))
    part = np.asarray(_image(pool, source, Rendering(media_type=PNG, region=(10, 20, -8, 4))))
    assert np.array_equal(part, whole[20:24, 10:18][:, ::-1])
    with pytest.raises(PixelError, match="outside"):
        pool.render(source, Rendering(region=(100, 0, 10, 10)))


def test_several_frames_are_an_animation(pool: Pool, frames: Path) -> None:
    picture = _image(pool, frames, Rendering(media_type="image/gif", frames=tuple(range(1, 11))))
    assert getattr(picture, "n_frames", 1) == 10
    with pytest.raises(PixelError, match="one frame"):
        pool.render(frames, Rendering(media_type=PNG, frames=(1, 2)))


def test_an_object_without_an_image(pool: Pool) -> None:
    with pytest.raises(PixelError, match="no image"):
        pool.render(sample("reportsi.dcm"), Rendering())
