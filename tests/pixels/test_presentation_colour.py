"""Images by presentation states of colour and pseudo-colour. Spec: DICOM PS3.4 N.2.2, N.2.3; PS3.3 C.7.9, C.10.7.1.1, C.11.15."""

from __future__ import annotations

from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageCms
from pydicom import Dataset, dcmread
from pydicom.pixels import pixel_array

from tests.pixels.conftest import sample
from tests.presentation import as_file, item, presentation_state
from xds.model.rendering import Rendering, Window
from xds.pixels.jobs import PixelError
from xds.pixels.pool import Pool
from xds.pixels.rendering import windowed

COLOUR = "1.2.840.10008.5.1.4.1.1.11.2"
PSEUDO = "1.2.840.10008.5.1.4.1.1.11.3"
HOT_IRON = "1.2.840.10008.1.5.1"
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
GREY = sample("CT_small.dcm")
RGB = sample("SC_rgb_small_odd.dcm")
SHADES = {"SoftcopyVOILUTSequence": [item(WindowCenter=40, WindowWidth=400)], "RescaleSlope": 1, "RescaleIntercept": -1024}


def _shown(pool: Pool, path: Path, octets: bytes, **how: Any) -> np.ndarray[Any, Any]:
    made = pool.render(path, Rendering("image/png", presentation_state=octets, **how))
    found = np.asarray(Image.open(BytesIO(b"".join(made.chunks())))).astype(int)
    made.release()
    return found


def _state(path: Path, kind: str, **attributes: Any) -> Dataset:
    return presentation_state(dcmread(path), SOPClassUID=kind, PresentationLUTShape=None, **attributes)


def _shades() -> np.ndarray[Any, Any]:
    values: Any = pixel_array(dcmread(GREY)).astype(float) - 1024
    shades: np.ndarray[Any, Any] = np.rint(windowed(values, Window(40, 400))).astype(int)
    return shades


def _palette(state: Dataset, bits: int) -> Iterator[np.ndarray[Any, Any]]:
    """Give it a palette; its entries as 8 bits, red, green and blue."""
    for name, turn in (("Red", 0), ("Green", 50), ("Blue", 200)):
        entries = np.roll(np.arange(256), turn)
        octets = (entries * 257).astype("<u2").tobytes() if bits == 16 else entries.astype("u1").tobytes()
        setattr(state, f"{name}PaletteColorLookupTableDescriptor", [256, 0, bits])
        setattr(state, f"{name}PaletteColorLookupTableData", octets)
        yield entries


@pytest.mark.parametrize("bits", [8, 16])
def test_a_palette_colours_the_shades_of_a_grey_image(pool: Pool, bits: int) -> None:
    state = _state(GREY, PSEUDO, **SHADES)
    tables = list(_palette(state, bits))
    found = _shown(pool, GREY, as_file(state))
    assert np.array_equal(found, np.stack([table[_shades()] for table in tables], -1))


def test_a_palette_of_dicom_itself(pool: Pool) -> None:
    found = _shown(pool, GREY, as_file(_state(GREY, PSEUDO, PaletteColorLookupTableUID=HOT_IRON, **SHADES)))
    darkest, brightest = _shades() == 0, _shades() == 255
    assert (found[darkest] == 0).all()
    assert (found[brightest] == 255).all()
    middle = (_shades() > 100) & (_shades() < 150)
    assert (found[middle][:, 0] > found[middle][:, 2] + 100).all()


def test_a_colour_image_stays_as_it_is_and_turns(pool: Pool) -> None:
    pixels: Any = pixel_array(dcmread(RGB)).astype(int)
    assert np.array_equal(_shown(pool, RGB, as_file(_state(RGB, COLOUR))), pixels)
    turned = _shown(pool, RGB, as_file(_state(RGB, COLOUR, ImageRotation=90)))
    assert np.array_equal(turned, np.rot90(pixels, -1))


def test_the_profile_of_a_state(pool: Pool) -> None:
    """The one of screens changes nothing; one that is none is not passed over."""
    pixels: Any = pixel_array(dcmread(RGB)).astype(int)
    found = _shown(pool, RGB, as_file(_state(RGB, COLOUR, ICCProfile=SRGB)))
    assert np.abs(found - pixels).max() <= 2
    with pytest.raises(PixelError, match="profile"):
        _shown(pool, RGB, as_file(_state(RGB, COLOUR, ICCProfile=b"no profile")))


def test_a_shutter_in_colour(pool: Pool) -> None:
    shutter = {"ShutterShape": "CIRCULAR", "CenterOfCircularShutter": [60, 60], "RadiusOfCircularShutter": 20}
    pure_red = [34857, 53464, 50174]
    state = _state(GREY, PSEUDO, PaletteColorLookupTableUID=HOT_IRON, **SHADES, **shutter)
    assert not _shown(pool, GREY, as_file(state))[:30].any()
    state.ShutterPresentationColorCIELabValue = pure_red
    red = _shown(pool, GREY, as_file(state))[0, 0]
    assert red[0] > 245
    assert red[1:].max() < 30


@pytest.mark.parametrize(
    ("path", "kind", "attributes"),
    [
        (GREY, COLOUR, {}),
        (RGB, PSEUDO, {"PaletteColorLookupTableUID": HOT_IRON}),
        (GREY, PSEUDO, {}),
        (GREY, PSEUDO, {"PaletteColorLookupTableUID": "1.2.3"}),
        (GREY, "1.2.840.10008.5.1.4.1.1.11.1", {"PaletteColorLookupTableUID": HOT_IRON}),
        (GREY, "1.2.840.10008.5.1.4.1.1.11.4", {}),
    ],
    ids=["grey by colour", "colour by palette", "no palette", "unknown palette", "palette of a grey state", "blending"],
)
def test_states_that_do_not_fit_are_not_applied(pool: Pool, path: Path, kind: str, attributes: dict[str, Any]) -> None:
    with pytest.raises(PixelError):
        _shown(pool, path, as_file(_state(path, kind, **attributes)))
