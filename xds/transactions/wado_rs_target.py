"""What a path of WADO-RS names. Spec: DICOM PS3.18 10.4.1."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from xds.wire.http import HttpReply


class Kind(Enum):
    """The kinds of resources."""

    OBJECTS = "objects"
    METADATA = "metadata"
    FRAMES = "frames"
    RENDERED = "rendered"
    THUMBNAIL = "thumbnail"
    BULK_DATA = "bulkdata"


@dataclass(frozen=True, slots=True)
class Target:
    """Study, series and instance as far as the path goes, its frames (from 1), and the path of bulk data inside the object."""

    kind: Kind
    uids: tuple[str, ...]
    frames: tuple[int, ...] = ()
    bulk: str = ""


def plain(status: int, text: str) -> HttpReply:
    """An answer in words."""
    body = f"{text}\n".encode()
    return HttpReply(status, (("Content-Type", "text/plain; charset=utf-8"),), (body,), len(body))
