"""What worker processes can do, and how they fail."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

#: Transfer syntaxes whose pixels can be decoded: native, RLE, JPEG, JPEG-LS, JPEG 2000, HTJ2K.
DECODED: Final = frozenset(
    {f"1.2.840.10008.1.2{form}" for form in ("", ".1", ".1.98", ".1.99", ".2", ".5")}
    | {f"1.2.840.10008.1.2.4.{number}" for number in (50, 51, 57, 70, 80, 81, 90, 91, 201, 202, 203)}
)
#: Transfer syntaxes in which objects can be written; all of them keep every pixel.
ENCODED: Final = frozenset(
    {
        "1.2.840.10008.1.2",
        "1.2.840.10008.1.2.1",
        "1.2.840.10008.1.2.1.99",
        "1.2.840.10008.1.2.5",
        "1.2.840.10008.1.2.4.80",
        "1.2.840.10008.1.2.4.90",
    }
)


class PixelError(ValueError):
    """The pixels of an object cannot be given as asked for. The message carries no value of the data set."""


class PixelTimeoutError(PixelError):
    """No worker was free, or the work took longer than its limit."""


class Operation(StrEnum):
    """What a worker can do."""

    TRANSCODE = "transcode"
    FRAMES = "frames"
    RENDER = "render"
    ANONYMIZE = "anonymize"
