"""Work that nobody waits for: it gathers for a moment, and one thread does it together."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from typing import Final

import structlog
from sqlalchemy import Connection

from xds.store.database.interface import DatabaseClosedError, DatabaseUnavailableError

Later = Callable[[Connection], object]

WORK_PER_COMMIT: Final = 64
WAITING_WORK: Final = 4096
GATHERING_SECONDS: Final = 0.02
#: How long the thread waits before it tries again what a database that is away did not take, and callers for room.
PAUSE_SECONDS: Final = 0.5
ROOM_SECONDS: Final = 10.0

_log = structlog.get_logger()


class Gathering:
    """A queue with its thread. `commit` takes a batch; when it raises `retry_on`, the same batch is tried again and again."""

    def __init__(self, commit: Callable[[list[Later]], None], retry_on: type[Exception]) -> None:
        self._commit = commit
        self._retry_on = retry_on
        self._queue: queue.Queue[Later | None] = queue.Queue(WAITING_WORK)
        self._closing = threading.Event()
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._run, name="database-later", daemon=True)
        self._thread.start()

    def put(self, work: Later) -> None:
        """Add work. Errors: DatabaseUnavailableError when too much is waiting, DatabaseClosedError."""
        with self._lock:
            if self._closing.is_set():
                raise DatabaseClosedError
            try:
                self._queue.put_nowait(work)
                return
            except queue.Full:
                pass
        try:
            self._queue.put(work, timeout=ROOM_SECONDS)
        except queue.Full:
            raise DatabaseUnavailableError("too much work waits for a database that does not answer") from None

    def close(self) -> None:
        """Finish what was added; what a database that is away does not take at once is lost, and logged."""
        with self._lock:
            self._closing.set()
            self._queue.put(None)
        self._thread.join()

    def _run(self) -> None:
        while (work := self._queue.get()) is not None:
            batch, ended = self._gather(work)
            self._do(batch)
            if ended:
                return

    def _gather(self, first: Later) -> tuple[list[Later], bool]:
        batch = [first]
        until = time.monotonic() + GATHERING_SECONDS
        while len(batch) < WORK_PER_COMMIT:
            try:
                work = self._queue.get(timeout=max(until - time.monotonic(), 0.0))
            except queue.Empty:
                break
            if work is None:
                return batch, True
            batch.append(work)
        return batch, False

    def _do(self, batch: list[Later]) -> None:
        while True:
            try:
                self._commit(batch)
                return
            except self._retry_on:
                if self._closing.wait(PAUSE_SECONDS):
                    _log.error("database.write_later.lost", pieces=len(batch))
                    return
