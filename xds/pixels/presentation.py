"""Softcopy presentation states, grey, in colour and pseudo-colour: how somebody wanted an image to be shown.

Runs in worker processes.

A state is applied whole or not at all: without a part of it the image would be another one than its author saw.

Spec: DICOM PS3.4 N.2 (pipelines); PS3.3 A.33.1 to A.33.3, C.10.4 (displayed area), C.10.5 (graphics), C.10.6 (rotation), C.7.6.11
(shutter), C.11.6 (presentation LUT), C.11.8 (VOI LUT).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from io import BytesIO
from typing import Any, Final

import numpy as np
from PIL import Image, ImageDraw
from pydicom import Dataset, dcmread
from pydicom.pixels import apply_modality_lut

from xds.pixels.jobs import PixelError
from xds.pixels.lookup import looked_up, reshaded
from xds.pixels.presentation_colour import pseudo_coloured, shutter_colour
from xds.pixels.presentation_graphics import draw_graphics
from xds.pixels.profiles import in_srgb, profile_of

GRAYSCALE: Final = "1.2.840.10008.5.1.4.1.1.11.1"
COLOUR: Final = "1.2.840.10008.5.1.4.1.1.11.2"
PSEUDO_COLOUR: Final = "1.2.840.10008.5.1.4.1.1.11.3"
#: Attributes of a state that change the image and are not applied here.
_NOT_APPLIED: Final = ("MaskSubtractionSequence",)
_MAX_STATE: Final = 16 * 1024 * 1024
_MAX_SIDE: Final = 16384
#: By quarters of a turn clockwise.
_TURNED: Final = {1: Image.Transpose.ROTATE_270, 2: Image.Transpose.ROTATE_180, 3: Image.Transpose.ROTATE_90}

Place = Callable[[float, float], tuple[float, float]]


class Presentation:
    """One state, for one frame of one image."""

    def __init__(self, octets: bytes, image: Dataset, frame: int) -> None:
        """`octets` are the state as a Part 10 file; `frame` counts from 1.

        Errors: PixelError when the state is of another kind, is not about this image, or holds what is not applied here.
        """
        if len(octets) > _MAX_STATE:
            raise PixelError("the presentation state is too large")
        self._state = dcmread(BytesIO(octets))
        self._uid, self._frame = str(image.SOPInstanceUID), frame
        self._kind = str(self._state.get("SOPClassUID") or "")
        if self._kind not in (GRAYSCALE, COLOUR, PSEUDO_COLOUR):
            raise PixelError(
                "presentation states other than grayscale, color and pseudo-color softcopy ones are not applied here"
            )
        series = self._state.get("ReferencedSeriesSequence") or ()
        if not any(self._is_named(item.get("ReferencedImageSequence") or ()) for item in series):
            raise PixelError("the presentation state is not about that image and frame")
        unsupported = [name for name in _NOT_APPLIED if self._state.get(name)]
        if self._kind == GRAYSCALE and self._state.get("PaletteColorLookupTableUID"):
            unsupported.append("palettes")
        if any(0x6000 <= element.tag.group <= 0x601E for element in self._state):
            unsupported.append("overlays")
        if "BITMAP" in self._words("ShutterShape"):
            unsupported.append("bitmap shutters")
        if unsupported:
            raise PixelError(f"presentation states with {', '.join(unsupported)} are not applied here")

    def _words(self, keyword: str) -> tuple[str, ...]:
        return tuple(map(str, _several(self._state.get(keyword))))

    def _is_named(self, references: Iterable[Dataset]) -> bool:
        for item in references:
            frames = _several(item.get("ReferencedFrameNumber"))
            if item.get("ReferencedSOPInstanceUID") == self._uid and (not frames or self._frame in map(int, frames)):
                return True
        return False

    def _item(self, keyword: str) -> Dataset | None:
        """The item of a sequence that is for this image: the one that names it, or else one that names none."""
        for item in self._state.get(keyword) or ():
            references = item.get("ReferencedImageSequence") or ()
            if not references or self._is_named(references):
                found: Dataset = item
                return found
        return None

    @property
    def is_for_colour(self) -> bool:
        """Whether the state is one of images that have colours of their own."""
        return self._kind == COLOUR

    def of_grey(self, stored: Any, bits: tuple[int, bool], windowed: Callable[[Any, Dataset], Any]) -> Any:
        """A picture of stored grey values, as `grey` has them, in the colours of the palette where the state has one."""
        shades = np.clip(np.rint(self.grey(stored, bits, windowed)), 0, 255)
        if self._kind == GRAYSCALE:
            return Image.fromarray(self._shuttered(shades).astype(np.uint8), "L")
        coloured = self._shuttered(pseudo_coloured(shades, self._state))
        return in_srgb(Image.fromarray(coloured.astype(np.uint8), "RGB"), profile_of(self._state))

    def of_colour(self, picture: Any) -> Any:
        """The picture behind the shutter, its colours as the state explains them. Spec: PS3.4 N.2.3."""
        covered = self._shuttered(np.asarray(in_srgb(picture, profile_of(self._state))))
        return Image.fromarray(covered.astype(np.uint8), "RGB")

    def grey(self, stored: Any, bits: tuple[int, bool], windowed: Callable[[Any, Dataset], Any]) -> Any:
        """The shades 0 to 255 of stored values; `bits` are how many of them are used and whether they have a sign.

        `windowed` maps values to shades as the window in a data set wants. What the image says of its own is not looked at.
        Spec: PS3.4 N.2.1.
        """
        values = apply_modality_lut(stored, self._state)
        voi = self._item("SoftcopyVOILUTSequence")
        if voi is not None and voi.get("VOILUTSequence"):
            shades = looked_up(values, voi.VOILUTSequence[0])
        elif voi is not None and voi.get("WindowWidth") is not None:
            shades = windowed(values.astype(np.float64), voi)
        else:
            low, high = self._range(*bits)
            shades = (values.astype(np.float64) - low) * (255.0 / max(high - low, 1))
        shades = np.clip(shades, 0, 255)
        if self._state.get("PresentationLUTSequence"):
            shades = reshaded(shades, self._state.PresentationLUTSequence[0])
        elif self._state.get("PresentationLUTShape") == "INVERSE":
            shades = 255.0 - shades
        return shades

    def _range(self, count: int, has_sign: bool) -> tuple[float, float]:
        """What the values can be after the modality LUT."""
        ends = (-(2 ** (count - 1)), 2 ** (count - 1) - 1) if has_sign else (0, 2**count - 1)
        if self._state.get("ModalityLUTSequence"):
            return 0.0, float(2 ** int(self._state.ModalityLUTSequence[0].LUTDescriptor[2]) - 1)
        slope, intercept = float(self._state.get("RescaleSlope") or 1), float(self._state.get("RescaleIntercept") or 0)
        low, high = sorted(end * slope + intercept for end in ends)
        return low, high

    def _shuttered(self, shades: Any) -> Any:
        """Spec: PS3.3 C.7.6.11; positions are rows and columns from 1."""
        shapes = self._words("ShutterShape")
        if not shapes:
            return shades
        rows, columns = np.mgrid[1 : shades.shape[0] + 1, 1 : shades.shape[1] + 1]
        seen = np.ones(shades.shape[:2], bool)
        if "RECTANGULAR" in shapes:
            left, right, top, bottom = (
                int(self._state[f"Shutter{side}Edge"].value)
                for side in ("LeftVertical", "RightVertical", "UpperHorizontal", "LowerHorizontal")
            )
            seen &= (columns > left) & (columns < right) & (rows > top) & (rows < bottom)
        if "CIRCULAR" in shapes:
            row, column = map(int, self._state.CenterOfCircularShutter)
            seen &= (rows - row) ** 2 + (columns - column) ** 2 <= int(self._state.RadiusOfCircularShutter) ** 2
        if "POLYGONAL" in shapes:
            corners = list(map(int, self._state.VerticesOfThePolygonalShutter))
            mask = Image.new("1", (shades.shape[1], shades.shape[0]))
            outline = [(corners[place + 1] - 1, corners[place] - 1) for place in range(0, len(corners) - 1, 2)]
            ImageDraw.Draw(mask).polygon(outline, fill=1, outline=1)
            seen &= np.asarray(mask, bool)
        if shades.ndim == 3:
            return np.where(seen[:, :, None], shades, shutter_colour(self._state))
        return np.where(seen, shades, round(int(self._state.get("ShutterPresentationValue") or 0) * 255.0 / 65535))

    def shown(self, picture: Any, size: tuple[int, int] | None) -> Any:
        """The displayed area of the picture, rotated, flipped, fitted into `size` (columns, rows), and drawn upon."""
        corners = self._displayed(picture)
        picture = picture.crop(corners)
        turns = int(self._state.get("ImageRotation") or 0) // 90 % 4
        flips = self._state.get("ImageHorizontalFlip") == "Y"
        area = picture.size
        if turns:
            picture = picture.transpose(_TURNED[turns])
        if flips:
            picture = picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        if size is not None:
            scale = min(size[0] / picture.width, size[1] / picture.height)
            wanted = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
            picture = picture.resize(wanted, Image.Resampling.BILINEAR)
        place = _placing(corners, area, turns, picture.size, flips=flips)
        draw_graphics(picture, self._graphics(), place)
        return picture

    def _displayed(self, picture: Any) -> tuple[int, int, int, int]:
        """Left, top, right and bottom of the displayed area in the image; it may reach beyond. Spec: PS3.3 C.10.4."""
        item = self._item("DisplayedAreaSelectionSequence")
        if item is None:
            return 0, 0, picture.width, picture.height
        first, second = (
            [int(part) for part in item[f"DisplayedArea{corner}HandCorner"].value] for corner in ("TopLeft", "BottomRight")
        )
        left, right = sorted((first[0], second[0]))
        top, bottom = sorted((first[1], second[1]))
        if right - left >= _MAX_SIDE or bottom - top >= _MAX_SIDE:
            raise PixelError("the displayed area of the presentation state is too large")
        return left - 1, top - 1, right, bottom

    def _graphics(self) -> list[Dataset]:
        items = self._state.get("GraphicAnnotationSequence") or ()
        return [item for item in items if not item.get("ReferencedImageSequence") or self._is_named(item.ReferencedImageSequence)]


def _several(value: Any) -> list[Any]:
    if value is None or value == "":
        return []
    return list(value) if not isinstance(value, str) and hasattr(value, "__iter__") else [value]


def _placing(
    corners: tuple[int, int, int, int], area: tuple[int, int], turns: int, size: tuple[int, int], *, flips: bool
) -> tuple[Place, Place]:
    """Where a position stands in the picture that is shown: one in pixels of the image, one in parts of the display.

    The corner of the first pixel is 0\\0. Spec: PS3.3 C.10.5.1.2.
    """
    angle = turns * math.pi / 2
    cosine, sine = round(math.cos(angle)), round(math.sin(angle))
    turned = (area[1], area[0]) if turns % 2 else area

    def in_pixels(column: float, row: float) -> tuple[float, float]:
        across, down = column - corners[0] - area[0] / 2, row - corners[1] - area[1] / 2
        x, y = across * cosine - down * sine + turned[0] / 2, across * sine + down * cosine + turned[1] / 2
        if flips:
            x = turned[0] - x
        return x * size[0] / turned[0] - 0.5, y * size[1] / turned[1] - 0.5

    def in_parts(across: float, down: float) -> tuple[float, float]:
        return across * size[0], down * size[1]

    return in_pixels, in_parts
