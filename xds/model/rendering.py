"""How an image is to be rendered. Spec: DICOM PS3.18 8.3.5."""

from __future__ import annotations

from dataclasses import dataclass


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
    `region` is (left, top, width, height) in pixels of the image, negative extents flip; `part` is (left, top, right, bottom) in
    fractions of it. `quality` is 1..100 (JPEG). `annotation` says what is written into it: `patient`, `technique`.
    `presentation_state` is the Part 10 file of a state that the image is shown by, instead of a window.

    `icc_profile` says which profile goes with a colour image: `no`, `yes` (that of the object) or `srgb` (its colours made
    those).

    `media_type` may be one of a text, for objects that are no images; nothing else counts then.
    """

    media_type: str = "image/jpeg"
    frames: tuple[int, ...] = (1,)
    window: Window | None = None
    size: tuple[int, int] | None = None
    region: tuple[float, float, float, float] | None = None
    quality: int = 90
    part: tuple[float, float, float, float] | None = None
    annotation: tuple[str, ...] = ()
    presentation_state: bytes = b""
    icc_profile: str = "no"
