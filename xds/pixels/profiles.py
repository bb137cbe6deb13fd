"""Colour profiles of images. Runs in worker processes. Spec: DICOM PS3.3 C.11.15 (ICC profile); PS3.18 8.3.5.1.6."""

from __future__ import annotations

from io import BytesIO
from typing import Any, Final

from PIL import ImageCms
from pydicom import Dataset

from xds.pixels.jobs import PixelError

_MAX_PROFILE: Final = 8 * 1024 * 1024


def profile_of(dataset: Dataset) -> bytes:
    """The profile of an object, of its first optical path in microscopy; empty when it has none. Errors: PixelError."""
    paths = dataset.get("OpticalPathSequence") or [Dataset()]
    profile = bytes(dataset.get("ICCProfile") or paths[0].get("ICCProfile") or b"")
    if len(profile) > _MAX_PROFILE:
        raise PixelError("the colour profile is too large")
    return profile


def in_srgb(picture: Any, profile: bytes) -> Any:
    """The picture, whose colours the profile explains, as screens show it; as it is without one. Errors: PixelError."""
    if not profile or picture.mode != "RGB":
        return picture
    try:
        return ImageCms.profileToProfile(picture, ImageCms.ImageCmsProfile(BytesIO(profile)), ImageCms.createProfile("sRGB"))
    except (ImageCms.PyCMSError, OSError):
        raise PixelError("the colour profile cannot be applied") from None


def srgb() -> bytes:
    """The profile of screens."""
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
