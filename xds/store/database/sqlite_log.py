"""The write-ahead log of the embedded database: forced to the disk, and emptied, beside the writer.

SQLite would do that inside each COMMIT, while it keeps the only lock for writing: nobody writes until the disk has answered. Here
a COMMIT hands its pages to the kernel alone, the next transaction begins at once, and whatever was committed until then is forced
with one call, after which all of it is acknowledged: by a thread of this module, or by the writer itself where other processes go
on with the next. The order of the log makes this safe: whoever is durable, everything that was committed before is durable too,
by whichever process.
"""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Final

import structlog

from xds.store.database import placement
from xds.store.database.interface import DatabaseUnavailableError

_log = structlog.get_logger()

#: Told that something is durable, or why that is unknown.
Durable = Callable[[BaseException | None], None]
_SUFFIX: Final = "-wal"

#: A checkpoint is due when so many rows were changed, and that is looked at so often at least.
CHECKPOINT_ROWS: Final = 1000
CHECKPOINT_SECONDS: Final = 1.0
#: It is to take about so long of a processor (in seconds): the more pages it has to move, the sooner the next one comes, but no
#: sooner than after the shortest pause.
_CHECKPOINT_GOAL: Final = 0.03
_SHORTEST_PAUSE: Final = 0.2
#: Pages in the log after which it is to begin anew, and after which a COMMIT does not wait for the thread to see to that.
RESTART_PAGES: Final = 65536
CHECKPOINT_PAGES: Final = 2 * RESTART_PAGES
_CHECKPOINT: Final = "PRAGMA wal_checkpoint(PASSIVE)"
#: Seconds after which a checkpoint that gives way to everything else has waited too long for a processor, and seconds for which
#: none gives way then.
_PATIENCE: Final = 1.0
_IMPATIENCE: Final = 60.0


class WriteAheadLog:
    """Forces the log of one database file. The database must stay open as long as this is used."""

    def __init__(self, database: str) -> None:
        self._path = database + _SUFFIX
        self._file: int | None = None
        self._failed = False
        self._changed = threading.Condition()
        self._committed: list[Durable] = []
        self._is_closed = False
        self._thread = threading.Thread(target=self._sync_until_closed, name="database-log", daemon=True)
        self._thread.start()

    def when_durable(self, action: Durable) -> None:
        """Call `action`, in another thread, when all that is committed by now is durable. It must not raise, and not wait."""
        with self._changed:
            self._committed.append(action)
            self._changed.notify()

    def force(self) -> BaseException | None:
        """Make all that is committed by now durable, and wait for it. Gives back why that is unknown, if it is."""
        try:
            self.check()
            os.fdatasync(self._opened())
        except DatabaseUnavailableError as error:
            return error
        except OSError as error:
            self._failed = True
            _log.critical("database.log.failed", error=error.strerror)
            return _unknown()
        return None

    def check(self) -> None:
        """Errors: DatabaseUnavailableError once the disk has failed, until the server is started again.

        The kernel forgets what it could not write, and would call the next attempt a success.
        """
        if self._failed:
            raise _unknown()

    def close(self) -> None:
        """Make durable what was committed, and end."""
        with self._changed:
            self._is_closed = True
            self._changed.notify()
        self._thread.join()
        if self._file is not None:
            os.close(self._file)

    def _sync_until_closed(self) -> None:
        placement.keep()
        while actions := self._take():
            failure = self.force()
            for action in actions:
                action(failure)

    def _take(self) -> list[Durable]:
        with self._changed:
            self._changed.wait_for(lambda: self._committed or self._is_closed)
            actions, self._committed = self._committed, []
            return actions

    def _opened(self) -> int:
        with self._changed:
            if self._file is None:
                # It exists since the first commit, and stays the same file until the last connection is closed.
                self._file = os.open(self._path, os.O_RDWR | os.O_CLOEXEC)
            return self._file


def _unknown() -> DatabaseUnavailableError:
    return DatabaseUnavailableError("the disk failed below the database, and what it holds is unknown: start the server again")


class Checkpoints:
    """Moves committed pages from the log to the database file, in a thread of its own, so that no COMMIT has to.

    Of several processes one does it at a time, as long as it has reason to; the log is one for all.

    A log can begin anew only when all of it was moved, which never happens beside a writer without pauses: when nearly all is
    done, the writer moves the rest between two of its transactions.

    It gives way to whatever else wants the processor (`_Aside`): without that every feed that came meanwhile waited for half of
    it, and the slowest of a hundred answers came 2 to 5 ms later. Where something wants the processor all the time, it does not.
    """

    def __init__(self, database: str, stamp: str) -> None:
        """`stamp`: see `claim_checkpoint`."""
        self._stamp = stamp
        self._connection = sqlite3.connect(database, check_same_thread=False, isolation_level=None)
        self._changed_rows = 0
        self._seen_rows = 0
        self._is_nearly_done = False
        self._pause = CHECKPOINT_SECONDS
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._move_until_closed, name="database-checkpoints", daemon=True)
        self._thread.start()

    def after_commit(self, writer: sqlite3.Connection) -> None:
        """To be called by the writer between two transactions."""
        self._changed_rows = writer.total_changes
        if self._is_nearly_done:
            self._is_nearly_done = False
            _move(writer)

    def close(self) -> None:
        """End, leaving what was not moved to the next who opens the database, or to the last who closes it."""
        self._closing.set()
        # Not to wait for the disk.
        self._connection.interrupt()
        self._thread.join()
        self._connection.close()

    def _move_until_closed(self) -> None:
        impatient_until = time.monotonic()
        while not self._closing.wait(self._pause):
            if self._changed_rows - self._seen_rows < CHECKPOINT_ROWS or not claim_checkpoint(self._stamp, self._pause):
                continue
            self._seen_rows = self._changed_rows
            began = time.monotonic()
            checkpoint = _Aside(self._connection, gives_way=began >= impatient_until)
            checkpoint.join()
            if time.monotonic() - began > _PATIENCE:
                impatient_until = time.monotonic() + _IMPATIENCE
            self._pause = next_pause(self._pause, checkpoint.took)
            if checkpoint.pages >= RESTART_PAGES:
                # Once more, so that the writer finds no more than what was committed in a moment.
                self._is_nearly_done = _move(self._connection) > 0


class _Aside(threading.Thread):
    """One checkpoint, in a thread for it alone: a thread that gives way to all others is not allowed to stop doing so."""

    def __init__(self, connection: sqlite3.Connection, *, gives_way: bool) -> None:
        super().__init__(name="database-checkpoint", daemon=True)
        self._connection = connection
        self._gives_way = gives_way
        #: Pages in the log, all of them moved; 0 when they were not.
        self.pages = 0
        #: Seconds of a processor.
        self.took = 0.0
        self.start()

    def run(self) -> None:
        if self._gives_way:
            placement.give_way()
        self.pages = _move(self._connection)
        self.took = time.thread_time()


def next_pause(pause: float, took: float) -> float:
    """How long to wait for the next checkpoint, after one that came after that pause and took so much of a processor; in seconds.

    At one million people feeds often change the same pages, and fewer checkpoints have less to move. At ten million every feed
    changes pages of its own, and fewer ones only take longer.
    """
    wanted = pause * min(max(_CHECKPOINT_GOAL / max(took, 1e-6), 0.5), 2.0)
    return min(max(wanted, _SHORTEST_PAUSE), CHECKPOINT_SECONDS)


def claim_checkpoint(stamp: str, pause: float) -> bool:
    """Take the next checkpoint for this process. False when another process has done one less than that pause ago.

    `stamp` is a file that all of them have: the time of its last change is that of the last checkpoint. `pause` is in seconds.
    """
    with suppress(OSError):
        if 0 <= time.time() - os.stat(stamp).st_mtime < pause:
            return False
        os.utime(stamp)
    return True


def _move(connection: sqlite3.Connection) -> int:
    """How many pages the log has, all of them moved as far as it reached then; 0 when they were not.

    A failure is the next one's to mend: nothing is lost by it.
    """
    try:
        busy, pages, _ = connection.execute(_CHECKPOINT).fetchone()
    except sqlite3.Error as error:
        # `close` interrupts what would keep it waiting.
        if error.sqlite_errorcode != sqlite3.SQLITE_INTERRUPT:
            _log.warning("database.checkpoint.failed", error=error.sqlite_errorname)
        return 0
    return 0 if busy else int(pages)
