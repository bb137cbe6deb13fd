"""Parameters of rendered images over DICOMweb and WADO-URI.

Spec: DICOM PS3.18 8.3.5 (query parameters of rendered resources), 9.1.2.2 (WADO-URI).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Final

from xds.model.rendering import Rendering, Window
from xds.wire.dicomweb import MediaType

#: What images are rendered as, the first one where any will do.
IMAGE_TYPES: Final = ("image/jpeg", "image/png", "image/gif")
#: What objects that are no images are given as, by their SOP Class UID; the first one where any will do. Spec: PS3.18 8.7.4.
_ENCAPSULATED: Final = {
    "1.2.840.10008.5.1.4.1.1.104.1": ("application/pdf",),
    "1.2.840.10008.5.1.4.1.1.104.2": ("text/xml", "application/xml"),
    "1.2.840.10008.5.1.4.1.1.104.3": ("model/stl",),
    "1.2.840.10008.5.1.4.1.1.104.4": ("model/obj",),
    "1.2.840.10008.5.1.4.1.1.104.5": ("model/mtl",),
}
_REPORTS: Final = "1.2.840.10008.5.1.4.1.1.88."
_REPORT_TYPES: Final = ("text/html", "text/plain")
#: Every type that an object may be given as when it is no image.
DOCUMENT_TYPES: Final = frozenset({*_REPORT_TYPES, *(name for names in _ENCAPSULATED.values() for name in names)})
_SANDBOX: Final = ("Content-Security-Policy", "sandbox; default-src 'none'; style-src 'unsafe-inline'")
#: Without a profile, with that of the object, or in the colours of screens and with their profile. Spec: PS3.18 8.3.5.1.6.
_PROFILES: Final = ("no", "yes", "srgb")
_ANNOTATIONS: Final = ("patient", "technique")
_WINDOW_FUNCTIONS: Final = {"linear": "LINEAR", "linear-exact": "LINEAR_EXACT", "sigmoid": "SIGMOID"}
_MAX_SIDE: Final = 16384
#: Side of a thumbnail when the caller does not say.
THUMBNAIL: Final = 128


class RenderingError(ValueError):
    """A parameter of a rendered image that is none. The message names each with its rule."""


def image_type(ranges: Sequence[MediaType], *, animated: bool = False) -> str | None:
    """Which kind of image these ranges want most; None when they want none. Spec: PS3.18 8.7.4."""
    for item in ranges:
        if item.name in IMAGE_TYPES:
            return item.name
        if item.name in ("*/*", "image/*"):
            offered = ("image/gif", *IMAGE_TYPES) if animated and item.name == "image/*" else IMAGE_TYPES
            found = next((name for name in offered if name not in item.excepted), None)
            if found is not None:
                return found
    return None


def document_types(sop_class_uid: str) -> tuple[str, ...]:
    """What an object of that class is given as when it is a text; empty for all others."""
    return _REPORT_TYPES if sop_class_uid.startswith(_REPORTS) else _ENCAPSULATED.get(sop_class_uid, ())


def document_type(ranges: Sequence[MediaType], sop_class_uid: str) -> str | None:
    """Which of these types the ranges want most; None when they want none of them."""
    offered = document_types(sop_class_uid)
    for item in ranges:
        for name in offered:
            if item.name in (name, "*/*", name.partition("/")[0] + "/*") and name not in item.excepted:
                return name
    return None


def document_headers(media_type: str) -> tuple[tuple[str, str], ...]:
    """The header fields of such a text. What a browser might execute in it stays in a sandbox."""
    if media_type in _REPORT_TYPES:
        return ("Content-Type", f"{media_type}; charset=utf-8"), _SANDBOX
    return (("Content-Type", media_type), _SANDBOX) if media_type.endswith("/xml") else (("Content-Type", media_type),)


def read_rendering(query: Mapping[str, tuple[str, ...]], media_type: str, frames: tuple[int, ...]) -> Rendering:
    """`window`, `viewport`, `quality`, `annotation` and `iccprofile`. Errors: RenderingError, for all of them at once."""
    problems: list[str] = []
    window = _window(query.get("window", ("",))[-1], problems)
    size, region = _viewport(query.get("viewport", ("",))[-1], problems)
    quality = _quality(query.get("quality", ("",))[-1], "quality", problems)
    annotation = _annotation(",".join(query.get("annotation", ())), problems)
    profile = query.get("iccprofile", ("",))[-1].strip().lower() or "no"
    if profile not in _PROFILES:
        problems.append(f"iccprofile is one of {', '.join(_PROFILES)}")
    if problems:
        raise RenderingError("; ".join(problems))
    return Rendering(media_type, frames, window, size, region, quality, annotation=annotation, icc_profile=profile)


def check_region(how: Rendering, columns: int, rows: int) -> None:
    """Errors: RenderingError when the source part of the viewport begins outside of an image of that size."""
    if how.region is not None and columns and rows and (how.region[0] >= columns or how.region[1] >= rows):
        raise RenderingError(f"the source of a viewport begins outside of the image, which has {columns} columns and {rows} rows")


def read_wado_uri(parameters: Mapping[str, tuple[str, ...]], media_type: str, frame_count: int) -> Rendering:
    """`rows`, `columns`, `region`, `windowCenter`, `windowWidth`, `frameNumber`, `imageQuality`, `annotation`.

    The names are in lower case. Errors: RenderingError, for all of them at once.
    """
    problems: list[str] = []
    values = {name: texts[-1].strip() for name, texts in parameters.items() if texts and texts[-1].strip()}
    frame = _whole(values.get("framenumber", "1"), "frameNumber", 1, frame_count, problems)
    height, width = (
        _whole(values[name], name, 1, _MAX_SIDE, problems) if name in values else None for name in ("rows", "columns")
    )
    window = None
    if "windowcenter" in values or "windowwidth" in values:
        if not ("windowcenter" in values and "windowwidth" in values):
            problems.append("windowCenter and windowWidth belong together")
        else:
            numbers = _numbers(f"{values['windowcenter']},{values['windowwidth']}", 2)
            if numbers is None or not all(map(math.isfinite, numbers)) or numbers[1] < 1:
                problems.append("windowCenter and windowWidth are numbers, the width is 1 or more")
            else:
                window = Window(numbers[0], numbers[1])
    region = _numbers(values["region"], 4) if "region" in values else None
    if "region" in values and not (
        region and all(0 <= part <= 1 for part in region) and region[0] < region[2] and region[1] < region[3]
    ):
        problems.append("region is left,top,right,bottom between 0 and 1, right and bottom behind left and top")
    annotation = _annotation(values.get("annotation", ""), problems)
    quality = _quality(values.get("imagequality", ""), "imageQuality", problems)
    if problems:
        raise RenderingError("; ".join(problems))
    size = (width or _MAX_SIDE, height or _MAX_SIDE) if width or height else None
    part = (region[0], region[1], region[2], region[3]) if region else None
    return Rendering(media_type, (frame or 1,), window, size, None, quality, part, annotation)


def _annotation(text: str, problems: list[str]) -> tuple[str, ...]:
    """Spec: PS3.18 8.3.5.1.1."""
    words = [word.strip() for word in text.split(",") if word.strip()]
    if any(word not in _ANNOTATIONS for word in words):
        problems.append("annotation is patient, technique or both with a comma between")
        return ()
    return tuple(dict.fromkeys(words))


def _window(text: str, problems: list[str]) -> Window | None:
    """Spec: PS3.18 8.3.5.1.4."""
    if not text:
        return None
    parts = text.split(",")
    values = _numbers(",".join(parts[:2]), 2)
    named = parts[2].strip().lower().replace("_", "-") if len(parts) == 3 else "linear"
    function = _WINDOW_FUNCTIONS.get(named) if len(parts) in (2, 3) else None
    lowest = 1.0 if function == "LINEAR" else math.ulp(0)
    if values is None or function is None or not all(map(math.isfinite, values)) or values[1] < lowest:
        problems.append("a window is center,width,function; function is linear, linear-exact or sigmoid, width above 0")
        return None
    return Window(values[0], values[1], function)


def _viewport(text: str, problems: list[str]) -> tuple[tuple[int, int] | None, tuple[float, float, float, float] | None]:
    """`vw,vh[,sx,sy,sw,sh]`; of the source part, empty places mean all of the image. Spec: PS3.18 8.3.5.1.3."""
    if not text:
        return None, None
    parts = [part.strip() for part in text.split(",")]
    size = _numbers(",".join(parts[:2]), 2)
    if len(parts) not in (2, 6) or size is None or not all(1 <= side <= _MAX_SIDE for side in size):
        problems.append(f"a viewport is width,height of 1 to {_MAX_SIDE} pixels, and may go on with sx,sy,sw,sh")
        return None, None
    found = (int(size[0]), int(size[1]))
    if len(parts) == 2 or not any(parts[2:]):
        return found, None
    region = _numbers(",".join(part or default for part, default in zip(parts[2:], ("0", "0", "inf", "inf"), strict=True)), 4)
    if region is None or region[0] < 0 or region[1] < 0 or 0 in region[2:]:
        problems.append("the source of a viewport is left,top,width,height in pixels of the image")
        return found, None
    return found, (region[0], region[1], region[2], region[3])


def _quality(text: str, name: str, problems: list[str]) -> int:
    return (_whole(text, name, 1, 100, problems) or 90) if text else 90


def _whole(text: str, name: str, low: int, high: int, problems: list[str]) -> int | None:
    if text.isascii() and text.isdecimal() and len(text) < 10 and low <= int(text) <= high:
        return int(text)
    problems.append(f"{name} is a number from {low} to {high}")
    return None


def _numbers(text: str, count: int) -> tuple[float, ...] | None:
    try:
        values = tuple(float(part) for part in text.split(","))
    except ValueError:
        return None
    return values if len(values) == count and not any(math.isnan(value) for value in values) else None
