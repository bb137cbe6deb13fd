"""Objects on their way from the thread that receives them to the one that asked for them."""

from __future__ import annotations

import os
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from queue import Empty, Full, Queue

from xds.model.foreign_images import PullError, PullProblem

_CHUNK = 1024 * 1024
#: Objects that wait to be taken; the source is held up when there are more.
_WAITING = 4


class Delivery:
    """A short queue of received files, which ends with success or with what went wrong."""

    def __init__(self, seconds: float) -> None:
        """`seconds` is how long nothing may arrive."""
        self._queue: Queue[tuple[str, Path] | PullError | None] = Queue(_WAITING)
        self._seconds = seconds
        self._abandoned = threading.Event()

    @property
    def is_abandoned(self) -> bool:
        """True when nobody takes any more."""
        return self._abandoned.is_set()

    def put(self, sop_instance_uid: str, file: Path) -> bool:
        """Hand over a received file, of which its name may be removed afterwards; False when nobody wants it any more."""
        descriptor, name = tempfile.mkstemp(suffix=".dcm", dir=file.parent)
        os.close(descriptor)
        kept = Path(name)
        kept.unlink()
        os.link(file, kept)
        if self._offer((sop_instance_uid, kept)):
            return True
        kept.unlink(missing_ok=True)
        return False

    def end(self, problem: PullError | None = None) -> None:
        """Nothing follows."""
        self._offer(problem)

    def _offer(self, item: tuple[str, Path] | PullError | None) -> bool:
        while not self._abandoned.is_set():
            try:
                self._queue.put(item, timeout=0.5)
            except Full:
                continue
            return True
        return False

    def files(self) -> Iterator[tuple[str, Path]]:
        """SOP Instance UID and file of each object; the taker removes the file. Errors: PullError."""
        try:
            while True:
                try:
                    item = self._queue.get(timeout=self._seconds)
                except Empty:
                    raise PullError(PullProblem.TIMEOUT) from None
                if item is None:
                    return
                if isinstance(item, PullError):
                    raise item
                yield item
        finally:
            self.abandon()

    def abandon(self) -> None:
        """Nothing more is taken; what waits is removed. Idempotent."""
        self._abandoned.set()
        while True:
            try:
                item = self._queue.get_nowait()
            except Empty:
                return
            if isinstance(item, tuple):
                item[1].unlink(missing_ok=True)


def taken(file: Path) -> Iterator[bytes]:
    """The octets of a delivered file, which is removed when they were read or nobody reads on."""
    try:
        with file.open("rb", buffering=0) as stream:
            while chunk := stream.read(_CHUNK):
                yield chunk
    finally:
        file.unlink(missing_ok=True)
