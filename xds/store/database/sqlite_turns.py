"""Processes that write to one embedded database: whose turn it is, and whether there are others at all."""

from __future__ import annotations

import fcntl
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

import structlog

#: After so many transactions of other processes in between they count as writing, too.
WRITTEN_BY_OTHERS: Final = 16

_log = structlog.get_logger()


class Turn:
    """The turn to write, among processes. SQLite's own way of waiting would let one of them starve for seconds.

    Two locks, because whoever lets one go could take it again before those who wait for it are awake: the first is held while
    waiting for the second, so that its last holder must queue behind.
    """

    def __init__(self, path: str) -> None:
        self._file = open(path, "ab")  # noqa: SIM115 - open as long as the database is

    @contextmanager
    def taken(self, meanwhile: Callable[[], bool]) -> Iterator[None]:
        """Within this it is this process's turn. As long as it is not, `meanwhile` is called, until it finds nothing to do."""
        for lock in range(2):
            while not self._is_free(lock):
                if not meanwhile():
                    fcntl.lockf(self._file, fcntl.LOCK_EX, 1, lock)
                    break
        fcntl.lockf(self._file, fcntl.LOCK_UN, 1, 0)
        try:
            yield
        finally:
            fcntl.lockf(self._file, fcntl.LOCK_UN, 1, 1)

    def _is_free(self, lock: int) -> bool:
        """True when the lock was free: it is ours then."""
        try:
            fcntl.lockf(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, lock)
        except (BlockingIOError, PermissionError):
            # What the system calls it is left to it.
            return False
        return True

    def close(self) -> None:
        self._file.close()


class Others:
    """Notices other processes that write.

    Where there are any, the writer maps the file no more: SQLite gives up the whole mapping whenever another process has written,
    and touching every page anew costs more than reading it.
    """

    def __init__(self, driver: sqlite3.Connection) -> None:
        self._driver = driver
        self._seen = 0
        self._version: int | None = None

    @property
    def are_writing(self) -> bool:
        """True once other processes have written again and again."""
        return self._seen == WRITTEN_BY_OTHERS

    def notice(self) -> None:
        """To be called at the beginning of each turn. A disk that fails says nothing here: the transaction that follows does."""
        if self.are_writing:
            return
        try:
            (version,) = self._driver.execute("PRAGMA data_version").fetchone()
            self._seen += self._version not in (None, version)
            self._version = version
            if self._seen == WRITTEN_BY_OTHERS:
                self._driver.execute("PRAGMA mmap_size = 0")
        except sqlite3.Error as error:
            _log.warning("database.notice.failed", error=type(error).__name__)
