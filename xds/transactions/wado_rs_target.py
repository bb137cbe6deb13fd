"""What a path of WADO-RS names. Spec: DICOM PS3.18 10.4.1."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import Enum
from typing import Final

from xds.model.foreign_images import PullError, PullProblem
from xds.wire.http import HttpReply

_STATUS: Final = {
    PullProblem.GONE: 410,
    PullProblem.TIMEOUT: 504,
    PullProblem.BUSY: 503,
}


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


def not_pulled(problem: PullError) -> HttpReply:
    """The answer when a source outside does not give an object. Spec: PS3.18 Table 8.5-1."""
    return plain(_STATUS.get(problem.problem, 502), str(problem))


def noted(reply: HttpReply, note: Callable[[bool], None]) -> HttpReply:
    """The reply, at whose end `note` is told as well whether all of it was sent."""
    release = reply.finished

    def finished(complete: bool) -> None:
        if release is not None:
            release(complete)
        note(complete)

    return replace(reply, finished=finished)
