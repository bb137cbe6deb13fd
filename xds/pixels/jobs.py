"""What is asked of a worker process, and what comes back: plain values that pass through a pipe as JSON.

Spec: DICOM PS3.18 8.3.5 (rendering parameters).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class PixelError(ValueError):
    """The pixels of an object cannot be given as asked for. The message carries no value of the data set."""


class PixelTimeoutError(PixelError):
    """No worker was free, or the work took longer than its limit."""


class Operation(StrEnum):
    """What a worker can do."""

    TRANSCODE = "transcode"
    FRAMES = "frames"
    RENDER = "render"


@dataclass(frozen=True, slots=True)
class Window:
    """VOI window; `function` is LINEAR, LINEAR_EXACT or SIGMOID. Spec: PS3.3 C.11.2.1.2."""

    center: float
    width: float
    function: str = "LINEAR"


@dataclass(frozen=True, slots=True)
class Rendering:
    """How an image is rendered.

    `frames` count from 1; several of them need `image/gif`. `size` is the viewport (columns, rows) that the result fits into;
    `region` is (left, top, width, height) in pixels of the image, negative extents flip. `quality` is 1..100 (JPEG).
    """

    media_type: str = "image/jpeg"
    frames: tuple[int, ...] = (1,)
    window: Window | None = None
    size: tuple[int, int] | None = None
    region: tuple[float, float, float, float] | None = None
    quality: int = 90
