"""The embedded database: many readers, one writer that commits for several callers at once.

Readers see a snapshot and never wait. Writes go through one thread, because SQLite's own waiting for the write lock starves
callers: it takes whatever stands in the queue, runs one piece of work after another, and commits all of them at once. A piece of
work that fails is rolled back alone. They are answered when the log is on the disk (`sqlite_log`), while the writer goes
on with the next, or the writers of other processes do.
"""

from __future__ import annotations

import sqlite3
import threading
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from functools import partial
from typing import Any, Final, cast

import structlog
from sqlalchemy import Connection, Engine, NullPool, create_engine, event
from sqlalchemy.engine import make_url
from sqlalchemy.exc import OperationalError, SQLAlchemyError

from xds.store.database import placement, turns
from xds.store.database.interface import Database, DatabaseClosedError, DatabaseFullError, DatabaseUrlError, Result, Work
from xds.store.database.joint import Joint, Loan
from xds.store.database.sqlite_log import CHECKPOINT_PAGES, Checkpoints, Durable, WriteAheadLog
from xds.store.database.sqlite_turns import Others, Turn
from xds.store.database.warming import Warming
from xds.store.migrations import migrate

#: How many pieces of work one COMMIT carries at most, and how many may wait before callers are held back.
WORK_PER_COMMIT: Final = 64
WAITING_WORK: Final = 4096
#: How long work that nobody waits for may gather before it is committed.
GATHERING_SECONDS: Final = 0.02

#: What SQLite says when the disk has no room for the log or for its index.
_NO_SPACE: Final = (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_SHMSIZE)

_log = structlog.get_logger()

_PRAGMAS = (
    "PRAGMA page_size = 4096",
    "PRAGMA journal_mode = WAL",
    # The log is forced by `sqlite_log`; this still orders it before a checkpoint, and that before the log begins anew.
    "PRAGMA synchronous = NORMAL",
    f"PRAGMA wal_autocheckpoint = {CHECKPOINT_PAGES}",
    "PRAGMA busy_timeout = 30000",
    "PRAGMA mmap_size = 8589934592",
    "PRAGMA cache_size = -16384",
    "PRAGMA temp_store = MEMORY",
    "PRAGMA case_sensitive_like = ON",
)


def _configure(engine: Engine) -> None:
    @event.listens_for(engine, "connect")
    def connected(driver: sqlite3.Connection, _record: Any) -> None:
        # The driver's own transactions begin too late for savepoints and for snapshots: this module begins them.
        driver.isolation_level = None
        for pragma in _PRAGMAS:
            driver.execute(pragma)

    @event.listens_for(engine, "begin")
    def begun(connection: Connection) -> None:
        # Those that read have begun already, for statements that do not come this way.
        if connection.get_execution_options().get("writing", False) and not _driver(connection).in_transaction:
            _driver(connection).execute("BEGIN IMMEDIATE")


def _driver(connection: Connection) -> sqlite3.Connection:
    """The driver's own connection, for the statements around transactions: they are many, and need nothing of SQLAlchemy."""
    return cast(sqlite3.Connection, connection.connection.driver_connection)


class _Item:
    __slots__ = ("beforehand", "future", "work")

    def __init__(self, work: Work[Any], future: Future[Any] | None, beforehand: Work[bool] | None = None) -> None:
        self.work = work
        self.future = future
        #: To be run before the turn, if there are any: again, until it finds nothing to do.
        self.beforehand = beforehand


class _Queue:
    """The work that waits for the writer, which is woken only when there is a reason to."""

    def __init__(self) -> None:
        lock = threading.Lock()
        self._changed = threading.Condition(lock)
        self._room = threading.Condition(lock)
        self._items: deque[_Item] = deque()
        #: How many of them somebody waits for.
        self._awaited = 0
        self._is_closed = False

    def put(self, item: _Item) -> None:
        """Add one; wait when there are too many. Errors: DatabaseClosedError."""
        with self._changed:
            self._room.wait_for(lambda: len(self._items) < WAITING_WORK or self._is_closed)
            if self._is_closed:
                raise DatabaseClosedError
            self._items.append(item)
            if item.future is not None:
                self._awaited += 1
            if item.future is not None or len(self._items) in (1, WORK_PER_COMMIT):
                self._changed.notify()

    def wait(self) -> bool:
        """Wait for work; as long as nobody waits for it, more may gather for a moment. False: there will be none."""
        with self._changed:
            self._changed.wait_for(lambda: self._items or self._is_closed)
            if not self._awaited:
                self._changed.wait_for(self._has_waited_enough, GATHERING_SECONDS)
            return bool(self._items)

    def early(self) -> list[_Item]:
        """What waits now and is to be begun before the turn."""
        with self._changed:
            return [item for item in self._items if item.beforehand is not None]

    def take(self) -> list[_Item]:
        """What one COMMIT is to carry."""
        with self._changed:
            batch = [self._items.popleft() for _ in range(min(len(self._items), WORK_PER_COMMIT))]
            self._awaited -= sum(item.future is not None for item in batch)
            self._room.notify_all()
            return batch

    def close(self) -> None:
        """Refuse what comes from now on."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()
            self._room.notify_all()

    def _has_waited_enough(self) -> bool:
        return self._awaited > 0 or self._is_closed or len(self._items) >= WORK_PER_COMMIT


class SqliteDatabase(Database):
    """One SQLite file, which processes of one machine may share: each writes through a thread of its own, and they take turns.

    `url` is a SQLAlchemy URL such as `sqlite:////var/lib/xds/xds.sqlite`.

    Errors: DatabaseUrlError for the URL of another kind of database.
    """

    def __init__(self, url: str) -> None:
        if make_url(url).get_backend_name() != "sqlite" or make_url(url).database in (None, "", ":memory:"):
            raise DatabaseUrlError("the database must be an SQLite file: sqlite:////path/to/file")
        super().__init__()
        self._engine = create_engine(url, poolclass=NullPool, connect_args={"check_same_thread": False})
        _configure(self._engine)
        self._idle: deque[Connection] = deque()
        self._queue = _Queue()
        self._closed = False
        self._writing = self._engine.connect().execution_options(writing=True)
        self._others = Others(_driver(self._writing))
        path = str(make_url(url).database)
        turn = f"{path}-turn"
        self._turn = Turn(turn)
        self._log = WriteAheadLog(path)
        self._checkpoints = Checkpoints(path, stamp=turn)
        self._path = path
        self._warming: Warming | None = None
        self._writer = threading.Thread(target=self._write_until_closed, name="database-writer", daemon=True)
        self._writer.start()

    def create_schema(self) -> None:
        self.write(migrate)

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A connection that sees one snapshot until the block ends. It must not write."""
        if self._closed:
            raise DatabaseClosedError
        try:
            connection = self._idle.pop()
        except IndexError:
            connection = self._engine.connect()
        driver = _driver(connection)
        with turns.taken():
            try:
                driver.execute("BEGIN")
                yield connection
            finally:
                connection.rollback()
                driver.rollback()
                self._idle.append(connection)

    def write(self, work: Work[Result], *, beforehand: Work[bool] | None = None) -> Result:
        """Run `work` inside a transaction and return its result once it is durable.

        `work` must not open another transaction, and must not wait for anything.
        Errors: whatever either raised (nothing of it is stored then); DatabaseFullError; SQLAlchemyError when the commit failed;
        RuntimeError when it is called from inside another piece of work, which would wait for itself.
        """
        if self._joint is not None:
            return self._joint.run(work)
        return self._begin_write(work, beforehand).result()

    def begin_write(self, work: Work[Result]) -> Future[Result]:
        """Hand `work` to the writer; the future waits until it is durable.

        Errors: DatabaseClosedError, DatabaseUnavailableError, RuntimeError.
        """
        return self._begin_write(work)

    def _begin_write(self, work: Work[Result], beforehand: Work[bool] | None = None) -> Future[Result]:
        self._log.check()
        if self._joint is not None or threading.current_thread() is self._writer:
            raise RuntimeError("a piece of work must not open another transaction")
        future: Future[Result] = Future()
        turns.end()
        self._queue.put(_Item(work, future, beforehand))
        return future

    def write_later(self, work: Work[object]) -> None:
        """Run `work` like `write` does, without waiting for it. Callers wait when too much of it has piled up."""
        if self._joint is not None:
            self._joint.run(work)
        else:
            self._queue.put(_Item(work, None))

    def flush(self) -> None:
        """Wait until what was to be written later, and all that a snapshot has shown, is durable."""
        self.write(lambda _connection: None)

    def warm_up(self, patience: float) -> None:
        self._warming = self._warming or Warming(self._path)
        self._warming.wait(patience)

    def close(self) -> None:
        """Finish what was submitted, then release the file. Idempotent."""
        if self._closed:
            return
        self._closed = True
        self._queue.close()
        self._writer.join()
        self._log.close()
        self._checkpoints.close()
        self._writing.close()
        self._turn.close()
        while self._idle:
            self._idle.pop().close()
        self._engine.dispose()
        if self._warming is not None:
            self._warming.close()

    def _open_joint(self) -> Joint:
        return Loan(lambda work, future: self._queue.put(_Item(work, future)))

    def _write_until_closed(self) -> None:
        placement.keep()
        while self._queue.wait():
            self._look_ahead()
            # What comes while others have their turn is looked at, too, and goes along.
            with self._turn.taken(self._look_ahead):
                self._others.notice()
                answer = self._commit(self._queue.take())
                if answer is not None and not self._others.are_writing:
                    self._log.when_durable(answer)
                self._checkpoints.after_commit(_driver(self._writing))
            if answer is not None and self._others.are_writing:
                # They have the processor meanwhile; to wake a thread for it costs more than it takes.
                answer(self._log.force())

    def _look_ahead(self) -> bool:
        """Run what may be run before the turn, in a snapshot on the writer's own connection, whose pages are at hand.

        True when there was something to do. Alone, nobody waits for this process meanwhile.
        """
        items = self._queue.early() if self._others.are_writing else ()
        if not items:
            return False
        driver = _driver(self._writing)
        try:
            with turns.taken(first=True):
                driver.execute("BEGIN")
                try:
                    return True in [self._begin_early(item) for item in items]
                finally:
                    self._end_snapshot(driver)
        except (sqlite3.Error, SQLAlchemyError) as error:
            # A disk that fails: whoever waits learns it from the turn, and this thread must go on in any case.
            _log.warning("database.look_ahead.failed", error=type(error).__name__)
            return False

    def _end_snapshot(self, driver: sqlite3.Connection) -> None:
        try:
            self._writing.rollback()
        finally:
            driver.rollback()

    def _begin_early(self, item: _Item) -> bool:
        try:
            return item.beforehand is not None and item.beforehand(self._writing)
        except BaseException as error:
            # It belongs to its caller, as what the work itself raises does.
            item.work = partial(_raise, _as_told(error))
            item.beforehand = None
            return False

    def _commit(self, batch: list[_Item]) -> Durable | None:
        """Commit them; what is returned tells each what became of it, to be called when that is durable, or unknown.

        None when nothing was committed, which everybody has been told.
        """
        outcomes: list[tuple[_Item, Any, BaseException | None]] = []
        try:
            with self._writing.begin(), turns.taken(first=True):
                outcomes.extend((item, *self._attempt(item.work, is_first=item is batch[0])) for item in batch)
        except BaseException as error:
            # Carried to everybody who took part, for whom nothing happened; this thread must go on in any case.
            for item in batch:
                self._answer(item, None, _as_told(error))
            return None

        def answer(undurable: BaseException | None) -> None:
            for item, result, failure in outcomes:
                self._answer(item, result, failure or undurable)

        return answer

    def _attempt(self, work: Work[Any], *, is_first: bool) -> tuple[Any, BaseException | None]:
        """Run a piece of work. One that fails is undone alone; `is_first`: nothing precedes it in the transaction.

        Inside a savepoint SQLite keeps a copy of every page that is changed.
        """
        driver = _driver(self._writing)
        if not is_first:
            driver.execute("SAVEPOINT work")
        # Whatever the work raises belongs to its caller, who waits in another thread: it is carried there, not handled here.
        try:
            result = work(self._writing)
        except BaseException as error:
            if not driver.in_transaction:
                # A full disk or a failing one undoes the whole transaction, with the work of the others in it.
                raise
            if is_first:
                driver.execute("ROLLBACK")
                driver.execute("BEGIN IMMEDIATE")
            else:
                driver.execute("ROLLBACK TO work")
                driver.execute("RELEASE work")
            return None, _as_told(error)
        if not is_first:
            driver.execute("RELEASE work")
        return result, None

    @staticmethod
    def _answer(item: _Item, result: Any, failure: BaseException | None) -> None:
        if item.future is None:
            if failure is not None:
                _log.error("database.write_later.failed", error=type(failure).__name__)
        elif failure is not None:
            item.future.set_exception(failure)
        else:
            item.future.set_result(result)


def _raise(error: BaseException, _connection: Connection) -> None:
    raise error


def _as_told(error: BaseException) -> BaseException:
    """What the caller is told: a full disk is not the statement's fault."""
    cause = error.orig if isinstance(error, OperationalError) else error
    if getattr(cause, "sqlite_errorcode", None) in _NO_SPACE:
        return DatabaseFullError()
    return error
