"""Graphics and texts of a presentation state, drawn on a picture. Spec: DICOM PS3.3 C.10.5."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, Final

from PIL import ImageDraw, ImageFont
from pydicom import Dataset

from xds.pixels.annotation import plain_text
from xds.pixels.jobs import PixelError

Place = Callable[[float, float], tuple[float, float]]
Point = tuple[float, float]
#: Points of one graphic object, and objects of a state.
_MAX_POINTS: Final = 100_000
_MAX_OBJECTS: Final = 10_000
_STEPS: Final = 180


def draw_graphics(picture: Any, annotations: Sequence[Dataset], placing: tuple[Place, Place]) -> None:
    """Draw the objects of these items of the Graphic Annotation Sequence. Errors: PixelError for what is not known."""
    draw = ImageDraw.Draw(picture)
    white = 255 if picture.mode == "L" else (255, 255, 255)
    count = sum(len(item.get(name) or ()) for item in annotations for name in ("GraphicObjectSequence", "TextObjectSequence"))
    if count > _MAX_OBJECTS:
        raise PixelError("the presentation state has too many graphic objects")
    font = ImageFont.load_default(max(9, round(min(picture.size) / 28)))
    for item in annotations:
        for graphic in item.get("GraphicObjectSequence") or ():
            _draw(draw, graphic, placing, white)
        for text in item.get("TextObjectSequence") or ():
            _letter(draw, text, placing, (white, font))


def _place(units: Any, placing: tuple[Place, Place]) -> Place:
    if units == "PIXEL":
        return placing[0]
    if units == "DISPLAY":
        return placing[1]
    raise PixelError("positions of a presentation state are in pixels of an image or parts of the display")


def _draw(draw: Any, graphic: Dataset, placing: tuple[Place, Place], colour: Any) -> None:
    numbers = [float(number) for number in graphic.get("GraphicData") or ()]
    if len(numbers) > _MAX_POINTS:
        raise PixelError("a graphic object of the presentation state has too many points")
    points = list(zip(numbers[::2], numbers[1::2], strict=False))
    kind, is_filled = str(graphic.get("GraphicType") or ""), graphic.get("GraphicFilled") == "Y"
    place = _place(graphic.get("GraphicAnnotationUnits"), placing)
    if kind == "CIRCLE" and len(points) == 2:
        points = _ring(points[0], math.dist(*points), math.dist(*points), 0.0)
    elif kind == "ELLIPSE" and len(points) == 4:
        (left, right, top, bottom) = points
        centre = ((left[0] + right[0]) / 2, (left[1] + right[1]) / 2)
        angle = math.atan2(right[1] - left[1], right[0] - left[0])
        points = _ring(centre, math.dist(left, right) / 2, math.dist(top, bottom) / 2, angle)
    elif kind not in ("POINT", "POLYLINE", "INTERPOLATED"):
        raise PixelError(f"graphic objects of type {kind[:16] or 'unknown'} are not drawn here")
    shown = [place(*point) for point in points]
    if kind == "POINT":
        for x, y in shown:
            draw.line([(x - 2, y), (x + 2, y)], fill=colour)
            draw.line([(x, y - 2), (x, y + 2)], fill=colour)
    elif is_filled and len(shown) > 2:
        draw.polygon(shown, fill=colour)
    elif len(shown) > 1:
        draw.line(shown, fill=colour, width=1)


def _ring(centre: Point, across: float, along: float, angle: float) -> list[Point]:
    """A closed curve of points around an ellipse; `angle` is that of its first axis, in radians."""
    found = []
    for step in range(_STEPS + 1):
        turn = 2 * math.pi * step / _STEPS
        x, y = across * math.cos(turn), along * math.sin(turn)
        found.append(
            (
                centre[0] + x * math.cos(angle) - y * math.sin(angle),
                centre[1] + x * math.sin(angle) + y * math.cos(angle),
            )
        )
    return found


def _letter(draw: Any, text: Dataset, placing: tuple[Place, Place], style: tuple[Any, Any]) -> None:
    """A text in its box, or else beside its anchor. Spec: PS3.3 C.10.5.1.1."""
    lines = [plain_text(line) for line in str(text.get("UnformattedTextValue") or "").splitlines()]
    colour, font = style
    corner = text.get("BoundingBoxTopLeftHandCorner")
    if corner is not None:
        place = _place(text.get("BoundingBoxAnnotationUnits"), placing)
        # After rotation another corner of the box may be the upper left one.
        ends = [place(*map(float, end)) for end in (corner, text.get("BoundingBoxBottomRightHandCorner") or corner)]
        start = (min(end[0] for end in ends), min(end[1] for end in ends))
    elif text.get("AnchorPoint") is not None:
        start = _place(text.get("AnchorPointAnnotationUnits"), placing)(*map(float, text.AnchorPoint))
    else:
        raise PixelError("a text of the presentation state has no place")
    draw.multiline_text(start, "\n".join(lines), fill=colour, font=font, spacing=2)
    if corner is not None and text.get("AnchorPointVisibility") == "Y" and text.get("AnchorPoint") is not None:
        anchor = _place(text.get("AnchorPointAnnotationUnits"), placing)(*map(float, text.AnchorPoint))
        draw.line([start, anchor], fill=colour)
