"""Work that nobody waits for: it gathers for a moment, and one thread does it together."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from typing import Final

import structlog
from sqlalchemy import Connection

from xds.store.database.interface import DatabaseClosedError, DatabaseUnavailableError

Later = Callable[[Connection], object]

WORK_PER_COMMIT: Final = 256
WAITING_WORK: Final = 4096
GATHERING_SECONDS: Final = 0.02
#: How long the thread waits before it tries again what a database that is away did not take, and callers for room.
PAUSE_SECONDS: Final = 0.5
ROOM_SECONDS: Final = 10.0

_log = structlog.get_logger()


class Gathering:
    """A queue with its thread. `commit` takes a batch; after DatabaseUnavailableError the same batch is tried again and again."""

    def __init__(self, commit: Callable[[list[Later]], None]) -> None:
        self._commit = commit
        self._waiting: deque[Later] = deque()
        self._added = 0
        self._done = 0
        self._changed = threading.Condition()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="database-later", daemon=True)
        self._thread.start()

    def put(self, work: Later) -> None:
        """Add work. Errors: DatabaseUnavailableError when too much is waiting, DatabaseClosedError."""
        with self._changed:
            if not self._changed.wait_for(lambda: self._closing.is_set() or len(self._waiting) < WAITING_WORK, ROOM_SECONDS):
                raise DatabaseUnavailableError("too much work waits for a database that does not answer")
            if self._closing.is_set():
                raise DatabaseClosedError
            self._waiting.append(work)
            self._added += 1
            self._changed.notify_all()

    def flush(self) -> None:
        """Wait until everything that was added is done."""
        with self._changed:
            added = self._added
            self._changed.wait_for(lambda: self._done >= added)

    def close(self) -> None:
        """Finish what was added; what a database that is away does not take at once is lost, and logged."""
        with self._changed:
            self._closing.set()
            self._changed.notify_all()
        self._thread.join()

    def _run(self) -> None:
        while batch := self._gather():
            self._do(batch)
            with self._changed:
                self._done += len(batch)
                self._changed.notify_all()

    def _gather(self) -> list[Later]:
        """The next batch; empty at the end."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._closing.is_set())
        self._closing.wait(GATHERING_SECONDS)
        with self._changed:
            return [self._waiting.popleft() for _ in range(min(len(self._waiting), WORK_PER_COMMIT))]

    def _do(self, batch: list[Later]) -> None:
        while True:
            try:
                self._commit(batch)
                return
            except DatabaseUnavailableError:
                if self._closing.wait(PAUSE_SECONDS):
                    _log.error("database.write_later.lost", pieces=len(batch))
                    return
