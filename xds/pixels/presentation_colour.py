"""Colours of presentation states: palettes for grey images, and the colour of a shutter. Runs in worker processes.

Spec: DICOM PS3.4 N.2.2 (pseudo-colour), N.2.3 (true colour), N.2.4 (colours); PS3.3 C.7.9 (palettes), C.10.7.1.1 (CIELab values).
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from pydicom import Dataset
from pydicom.pixels import apply_color_lut
from pydicom.uid import UID

from xds.pixels.jobs import PixelError

#: Entries of each of the palettes that DICOM itself defines. Spec: PS3.6 B.1.
_WELL_KNOWN_ENTRIES: Final = 256
#: White of D50, to which CIELab values refer, and from its XYZ to linear sRGB.
_WHITE: Final = np.array([0.9642, 1.0, 0.8249])
_TO_SRGB: Final = np.array(
    [[3.1338561, -1.6168667, -0.4906146], [-0.9787684, 1.9161415, 0.0334540], [0.0719453, -0.2289914, 1.4052427]]
)


def pseudo_coloured(shades: Any, state: Dataset) -> Any:
    """Red, green and blue (0 to 255) that the palette of a state gives shades 0 to 255. Errors: PixelError without a palette."""
    if "RedPaletteColorLookupTableDescriptor" in state:
        count, first, _ = (int(part) for part in state.RedPaletteColorLookupTableDescriptor)
        entries, palette = count & 0xFFFF or 0x10000, None
    elif state.get("PaletteColorLookupTableUID"):
        entries, first, palette = _WELL_KNOWN_ENTRIES, 0, UID(state.PaletteColorLookupTableUID)
    else:
        raise PixelError("the presentation state has no palette")
    places = np.rint(shades * ((entries - 1) / 255.0)).astype(np.int32) + first
    try:
        found = apply_color_lut(places, palette=palette) if palette else apply_color_lut(places, state)
    except (ValueError, KeyError):
        raise PixelError("the palette of the presentation state is broken or unknown") from None
    if found.dtype == np.uint8:
        return found
    return np.rint(found.astype(np.float64) / 257.0).astype(np.uint8)


def shutter_colour(state: Dataset) -> Any:
    """Red, green and blue (0 to 255) of what a shutter covers: black unless the state says otherwise."""
    stated = state.get("ShutterPresentationColorCIELabValue")
    if stated is None or len(stated) != 3:
        return np.zeros(3)
    lightness, red_green, yellow_blue = (int(part) / 65535.0 for part in stated)
    middle = (lightness * 100 + 16) / 116
    parts = np.array([middle + (red_green * 255 - 128) / 500, middle, middle - (yellow_blue * 255 - 128) / 200])
    linear = _TO_SRGB @ (np.where(parts > 6 / 29, parts**3, (parts - 4 / 29) * 3 * (6 / 29) ** 2) * _WHITE)
    linear = np.clip(linear, 0, 1)
    return np.rint(255 * np.where(linear > 0.0031308, 1.055 * linear ** (1 / 2.4) - 0.055, 12.92 * linear))
