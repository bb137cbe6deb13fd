"""A decoder of JPEG Extended with 12 bits for pydicom, which has none under a permissive licence. Runs in worker processes.

Spec: DICOM PS3.5 8.2.1; ISO/IEC 10918-1 (process 4).
"""

from __future__ import annotations

from typing import Any, Final

import imagecodecs
import numpy as np
from pydicom.pixels.common import PhotometricInterpretation
from pydicom.pixels.decoders import JPEGExtended12BitDecoder
from pydicom.uid import JPEGExtended12Bit

#: What pydicom asks of a plugin: the packages that it needs for each transfer syntax.
DECODER_DEPENDENCIES: Final = {JPEGExtended12Bit: ("imagecodecs",)}
_LABEL: Final = "imagecodecs"


def is_available(uid: str) -> bool:
    """Whether frames of that transfer syntax can be decoded."""
    return uid in DECODER_DEPENDENCIES


def decode_frame(source: bytes, runner: Any) -> bytes:
    """The decoded samples of one frame, little endian. `runner` is told how many bits each sample has."""
    pixels = imagecodecs.jpeg_decode(source)
    runner.set_option("bits_allocated", pixels.dtype.itemsize * 8)
    if runner.samples_per_pixel > 1:
        runner.set_option("photometric_interpretation", PhotometricInterpretation.RGB)
    return bytes(np.ascontiguousarray(pixels).astype(pixels.dtype.newbyteorder("<"), copy=False).tobytes())


def install() -> None:
    """Let pydicom use this decoder. Idempotent."""
    if _LABEL not in JPEGExtended12BitDecoder.available_plugins:
        JPEGExtended12BitDecoder.add_plugin(_LABEL, (__name__, "decode_frame"))
