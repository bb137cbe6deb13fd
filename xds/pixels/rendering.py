"""Images, and texts, that a browser can show, made from DICOM objects. Runs in worker processes.

The window is the one asked for, else the one that the object states (for the frame, where frames have their own), else what spans
the values of the image. Monochrome 1 is shown inverted, palettes are applied.

Spec: DICOM PS3.3 C.11.1 (modality LUT), C.11.2 (VOI LUT), C.7.6.3.1.5 (palette); PS3.18 8.3.5 (parameters).
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, Final

import numpy as np
from PIL import Image
from pydicom import Dataset
from pydicom.pixels import apply_color_lut, apply_modality_lut

from xds.model.rendering import Rendering, Window
from xds.pixels.annotation import annotated
from xds.pixels.documents import write_document
from xds.pixels.jobs import PixelError
from xds.pixels.lookup import looked_up
from xds.pixels.presentation import Presentation
from xds.pixels.profiles import in_srgb, profile_of, srgb
from xds.pixels.transcoding import array, frame_count, read

#: Pixels of what is given out, and of what is decoded for it.
_MAX_PIXELS: Final = 64_000_000
_FORMATS: Final = {"image/jpeg": "JPEG", "image/png": "PNG", "image/gif": "GIF"}
#: Milliseconds that a frame of an animation stands when the object does not tell.
_FRAME_TIME: Final = 100


def render(source: Path, output: Path, how: Rendering) -> None:
    """Write the image, or a text that is no image, to `output`. Errors: PixelError."""
    dataset = read(source)
    if how.media_type not in _FORMATS:
        output.write_bytes(write_document(dataset, how.media_type))
        return
    if "PixelData" not in dataset and "FloatPixelData" not in dataset and "DoubleFloatPixelData" not in dataset:
        raise PixelError("the object has no image")
    if int(dataset.get("Rows") or 0) * int(dataset.get("Columns") or 0) > _MAX_PIXELS:
        raise PixelError("the image is too large to be rendered whole")
    count = frame_count(dataset)
    missing = [number for number in how.frames if not 1 <= number <= count]
    if missing:
        raise PixelError(f"frame {missing[0]} does not exist: the object has {count}")
    _save([_shown(dataset, number - 1, how) for number in how.frames], output, how, dataset)


def _shown(dataset: Dataset, index: int, how: Rendering) -> Any:
    """One frame (from 0). Annotations come last, when all else was done to the image. Spec: PS3.18 8.3.5.1.1."""
    picture = _presented(dataset, index, how) if how.presentation_state else _fitted(_picture(dataset, index, how.window), how)
    if how.icc_profile == "srgb":
        picture = in_srgb(picture, profile_of(dataset))
    return annotated(picture, dataset, how.annotation)


def _presented(dataset: Dataset, index: int, how: Rendering) -> Any:
    """As a presentation state wants it. Spec: PS3.18 9.5.1.2.7; PS3.4 N.2."""
    state = Presentation(how.presentation_state, dataset, index + 1)
    is_grey = str(dataset.get("PhotometricInterpretation", "")).startswith("MONOCHROME")
    if is_grey and not state.is_for_colour:
        stored, _ = array(dataset, index)
        bits = int(dataset.BitsStored), bool(int(dataset.get("PixelRepresentation") or 0))
        picture = state.of_grey(stored, bits, _windowed_by)
    elif not is_grey and state.is_for_colour:
        picture = state.of_colour(_picture(dataset, index, None))
    else:
        raise PixelError(f"the presentation state is for {'colour' if state.is_for_colour else 'grey'} images")
    if how.part is None and how.region is None:
        return state.shown(picture, how.size)
    return _fitted(state.shown(picture, None), how)


def _windowed_by(values: Any, voi: Dataset) -> Any:
    return windowed(values, _stored_window(voi) or Window(127.5, 255.0))


def _save(images: list[Any], output: Path, how: Rendering, dataset: Dataset) -> None:
    first, *others = images
    options: dict[str, Any] = {}
    if how.media_type == "image/jpeg":
        options = {"quality": how.quality}
    elif others:
        if how.media_type != "image/gif":
            raise PixelError(f"{how.media_type} holds one frame")
        duration = float(dataset.get("FrameTime") or _FRAME_TIME)
        options = {"save_all": True, "append_images": others, "duration": max(20, round(duration)), "loop": 0}
    if first.mode == "RGB" and how.icc_profile != "no" and how.media_type != "image/gif":
        options["icc_profile"] = srgb() if how.icc_profile == "srgb" else profile_of(dataset) or None
    first.save(output, format=_FORMATS[how.media_type], **options)


def _picture(dataset: Dataset, index: int, window: Window | None) -> Any:
    pixels, description = array(dataset, index)
    interpretation = str(description.get("photometric_interpretation", dataset.get("PhotometricInterpretation", "MONOCHROME2")))
    if interpretation == "PALETTE COLOR":
        pixels = apply_color_lut(pixels, dataset)
        interpretation = "RGB"
    if interpretation.startswith("MONOCHROME"):
        return Image.fromarray(_grey(dataset, pixels, index, window, inverted=interpretation == "MONOCHROME1"), "L")
    if pixels.ndim != 3 or pixels.shape[2] < 3:
        raise PixelError(f"images of photometric interpretation {interpretation} are not rendered")
    return Image.fromarray(_eight_bits(pixels[:, :, :3], dataset), "RGB")


def _eight_bits(pixels: Any, dataset: Dataset) -> Any:
    if pixels.dtype == np.uint8:
        return np.ascontiguousarray(pixels)
    # The palette of PS3.3 C.7.9 has its own depth; the object's own bits count otherwise.
    top = 65535 if dataset.get("PhotometricInterpretation") == "PALETTE COLOR" else 2 ** int(dataset.BitsStored) - 1
    return np.clip(pixels.astype(np.float64) * (255.0 / top), 0, 255).astype(np.uint8)


def _groups(dataset: Dataset, index: int) -> list[Dataset]:
    """The functional groups of a frame, its own before the shared ones. Spec: PS3.3 C.7.6.16."""
    found = []
    own = dataset.get("PerFrameFunctionalGroupsSequence") or []
    if index < len(own):
        found.append(own[index])
    found.extend((dataset.get("SharedFunctionalGroupsSequence") or [])[:1])
    return found


def _macro(dataset: Dataset, index: int, sequence: str) -> Dataset | None:
    for group in _groups(dataset, index):
        items = group.get(sequence) or []
        if items:
            item: Dataset = items[0]
            return item
    return None


def _grey(dataset: Dataset, stored: Any, index: int, window: Window | None, *, inverted: bool) -> Any:
    padded = _padding(dataset, stored)
    values = _rescaled(stored, _macro(dataset, index, "PixelValueTransformationSequence") or dataset)
    voi = _macro(dataset, index, "FrameVOILUTSequence") or dataset
    wanted = window or _stored_window(voi)
    if window is None and voi.get("VOILUTSequence"):
        grey = looked_up(values, voi.VOILUTSequence[0])
    elif wanted is not None:
        grey = windowed(values.astype(np.float64), wanted)
    else:
        grey = _spanned(values.astype(np.float64), padded)
    if inverted != (str(dataset.get("PresentationLUTShape", "")) == "INVERSE"):
        grey = 255.0 - grey
    if padded is not None:
        grey = np.where(padded, 0.0, grey)
    return np.clip(np.rint(grey), 0, 255).astype(np.uint8)


def _rescaled(stored: Any, described: Dataset) -> Any:
    """Through the modality LUT. A slope or intercept that is there and empty says nothing. Spec: PS3.3 C.11.1."""
    is_empty = any(name in described and described.get(name) is None for name in ("RescaleSlope", "RescaleIntercept"))
    return stored if is_empty and not described.get("ModalityLUTSequence") else apply_modality_lut(stored, described)


def _padding(dataset: Dataset, stored: Any) -> Any:
    """Which pixels are padding. Spec: PS3.3 C.7.5.1.1.2."""
    value = dataset.get("PixelPaddingValue")
    if value is None or isinstance(value, bytes):
        return None
    limit = dataset.get("PixelPaddingRangeLimit")
    low, high = sorted((int(value), int(limit if isinstance(limit, int) else value)))
    mask = (stored >= low) & (stored <= high)
    # Some state a value that real tissue has: a padding that covers everything is none.
    return None if mask.all() else mask


def _stored_window(dataset: Dataset) -> Window | None:
    center, width = (_first(dataset.get(name)) for name in ("WindowCenter", "WindowWidth"))
    if center is None or width is None or width < 1 or not math.isfinite(center + width):
        return None
    return Window(center, width, str(dataset.get("VOILUTFunction") or "LINEAR"))


def _first(value: Any) -> float | None:
    if isinstance(value, (list, tuple)) or (hasattr(value, "__iter__") and not isinstance(value, str)):
        value = next(iter(value), None)
    return None if value in (None, "") else float(str(value))


def windowed(values: Any, window: Window) -> Any:
    """Values 0 to 255 as a VOI window maps them. Spec: PS3.3 C.11.2.1.2, C.11.2.1.3."""
    center, width = window.center, window.width
    if window.function == "SIGMOID":
        return 255.0 / (1.0 + np.exp(np.clip(-4.0 * (values - center) / width, -700, 700)))
    if window.function == "LINEAR_EXACT":
        return np.clip((values - center) / width + 0.5, 0, 1) * 255.0
    if width <= 1:
        return np.where(values > center - 0.5, 255.0, 0.0)
    return np.clip((values - (center - 0.5)) / (width - 1) + 0.5, 0, 1) * 255.0


def _spanned(values: Any, padded: Any) -> Any:
    seen = values if padded is None else values[~padded]
    seen = seen[np.isfinite(seen)]
    if seen.size == 0:
        return np.zeros(values.shape)
    low, high = float(seen.min()), float(seen.max())
    return np.zeros(values.shape) if high <= low else np.nan_to_num((values - low) * (255.0 / (high - low)))


def _fitted(picture: Any, how: Rendering) -> Any:
    """The region asked for, within the viewport asked for. Spec: PS3.18 8.3.5.1.3."""
    if how.region is not None:
        picture = _cut(picture, how.region)
    if how.part is not None:
        left, top, right, bottom = how.part
        width, height = picture.width, picture.height
        picture = _cut(picture, (left * width, top * height, (right - left) * width, (bottom - top) * height))
    if how.size is not None:
        scale = min(how.size[0] / picture.width, how.size[1] / picture.height)
        size = max(1, round(picture.width * scale)), max(1, round(picture.height * scale))
        if size[0] * size[1] > _MAX_PIXELS:
            raise PixelError("the viewport is too large")
        picture = picture.resize(size, Image.Resampling.BILINEAR)
    return picture


def _cut(picture: Any, region: tuple[float, float, float, float]) -> Any:
    left, top, width, height = region
    right, bottom = min(left + abs(width), picture.width), min(top + abs(height), picture.height)
    if left < 0 or top < 0 or right - left < 1 or bottom - top < 1:
        raise PixelError("the region lies outside of the image")
    picture = picture.crop((round(left), round(top), max(round(right), round(left) + 1), max(round(bottom), round(top) + 1)))
    if width < 0:
        picture = picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    return picture.transpose(Image.Transpose.FLIP_TOP_BOTTOM) if height < 0 else picture
