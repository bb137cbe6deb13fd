"""The embedded database: many readers, one writer that commits for several callers at once.

Readers see a snapshot and never wait. Writes go through one thread, because SQLite's own waiting for the write lock starves
callers: it takes whatever stands in the queue, runs each piece of work inside a savepoint, and answers all of them after one
durable COMMIT. A piece of work that fails is rolled back alone.
"""

from __future__ import annotations

import queue
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Any, Final, cast

import structlog
from sqlalchemy import Connection, Engine, NullPool, create_engine, event
from sqlalchemy.engine import make_url
from sqlalchemy.exc import OperationalError

from xds.store.database.interface import Database, DatabaseClosedError, DatabaseFullError, Result, Work
from xds.store.database.joint import Joint, Loan
from xds.store.migrations import migrate

#: How many pieces of work one COMMIT carries at most, and how many may wait before callers are held back.
WORK_PER_COMMIT = 64
WAITING_WORK = 4096
#: How long work that nobody waits for may gather before it is committed.
GATHERING_SECONDS = 0.02

#: What SQLite says when the disk has no room for the log or for its index.
_NO_SPACE: Final = (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_SHMSIZE)

_log = structlog.get_logger()

_PRAGMAS = (
    "PRAGMA page_size = 8192",
    "PRAGMA journal_mode = WAL",
    "PRAGMA synchronous = FULL",
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
        if connection.get_execution_options().get("writing", False):
            _driver(connection).execute("BEGIN IMMEDIATE")


def _driver(connection: Connection) -> sqlite3.Connection:
    """The driver's own connection, for the statements around transactions: they are many, and need nothing of SQLAlchemy."""
    return cast(sqlite3.Connection, connection.connection.driver_connection)


class _Item:
    __slots__ = ("future", "work")

    def __init__(self, work: Work[Any], future: Future[Any] | None) -> None:
        self.work = work
        self.future = future


class SqliteDatabase(Database):
    """One SQLite file, written by this process alone. `url` is a SQLAlchemy URL such as `sqlite:////var/lib/xds/xds.sqlite`.

    Errors: ValueError for the URL of another kind of database.
    """

    def __init__(self, url: str) -> None:
        if make_url(url).get_backend_name() != "sqlite" or make_url(url).database in (None, "", ":memory:"):
            raise ValueError("the database must be an SQLite file: sqlite:////path/to/file")
        super().__init__()
        self._engine = create_engine(url, poolclass=NullPool, connect_args={"check_same_thread": False})
        _configure(self._engine)
        self._idle: deque[Connection] = deque()
        self._queue: queue.Queue[_Item | None] = queue.Queue(WAITING_WORK)
        self._closed = False
        self._closing = threading.Lock()
        self._writing = self._engine.connect().execution_options(writing=True)
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
        driver.execute("BEGIN")
        try:
            yield connection
        finally:
            connection.rollback()
            driver.rollback()
            self._idle.append(connection)

    def write(self, work: Work[Result]) -> Result:
        """Run `work` inside a transaction and return its result once it is durable.

        `work` must not open another transaction, and must not wait for anything.
        Errors: whatever `work` raised (nothing of it is stored then); DatabaseFullError; SQLAlchemyError when the commit failed;
        RuntimeError when it is called from inside another piece of work, which would wait for itself.
        """
        if self._joint is not None:
            return self._joint.run(work)
        if threading.current_thread() is self._writer:
            raise RuntimeError("a piece of work must not open another transaction")
        future: Future[Result] = Future()
        self._submit(_Item(work, future))
        return future.result()

    def write_later(self, work: Work[object]) -> None:
        """Run `work` like `write` does, without waiting for it. Callers wait when too much of it has piled up."""
        if self._joint is not None:
            self._joint.run(work)
        else:
            self._submit(_Item(work, None))

    def flush(self) -> None:
        """Wait until what was to be written later is stored."""
        self.write(lambda _connection: None)

    def close(self) -> None:
        """Finish what was submitted, then release the file. Idempotent."""
        with self._closing:
            if self._closed:
                return
            self._closed = True
            self._queue.put(None)
        self._writer.join()
        self._writing.close()
        while self._idle:
            self._idle.pop().close()
        self._engine.dispose()

    def _open_joint(self) -> Joint:
        return Loan(lambda work, future: self._submit(_Item(work, future)))

    def _submit(self, item: _Item) -> None:
        # Under the lock nothing can slip into the queue behind the sentinel, where it would never be answered.
        with self._closing:
            if self._closed:
                raise DatabaseClosedError
            self._queue.put(item)

    def _write_until_closed(self) -> None:
        item = self._queue.get()
        while item is not None:
            batch, item = self._take_waiting(item)
            self._commit(batch)
            if item is _NOTHING_WAITING:
                item = self._queue.get()

    def _take_waiting(self, first: _Item) -> tuple[list[_Item], _Item | None]:
        """What one COMMIT is to carry. As long as nobody waits for it, more may gather for a moment."""
        batch = [first]
        somebody_waits = first.future is not None
        until = time.monotonic() + GATHERING_SECONDS
        while len(batch) < WORK_PER_COMMIT:
            remaining = 0.0 if somebody_waits else until - time.monotonic()
            try:
                item = self._queue.get(timeout=remaining) if remaining > 0 else self._queue.get_nowait()
            except queue.Empty:
                break
            if item is None:
                return batch, None
            batch.append(item)
            somebody_waits = somebody_waits or item.future is not None
        return batch, _NOTHING_WAITING

    def _commit(self, batch: list[_Item]) -> None:
        outcomes: list[tuple[_Item, Any, BaseException | None]] = []
        try:
            with self._writing.begin():
                outcomes.extend((item, *self._attempt(item.work)) for item in batch)
        except BaseException as error:
            # Carried to everybody who took part, for whom nothing happened; this thread must go on in any case.
            outcomes = [(item, None, _as_told(error)) for item in batch]
        for item, result, failure in outcomes:
            self._answer(item, result, failure)

    def _attempt(self, work: Work[Any]) -> tuple[Any, BaseException | None]:
        driver = _driver(self._writing)
        driver.execute("SAVEPOINT work")
        # Whatever the work raises belongs to its caller, who waits in another thread: it is carried there, not handled here.
        try:
            result = work(self._writing)
        except BaseException as error:
            if not driver.in_transaction:
                # A full disk or a failing one undoes the whole transaction, with the work of the others in it.
                raise
            driver.execute("ROLLBACK TO work")
            driver.execute("RELEASE work")
            return None, _as_told(error)
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


def _as_told(error: BaseException) -> BaseException:
    """What the caller is told: a full disk is not the statement's fault."""
    if isinstance(error, OperationalError) and getattr(error.orig, "sqlite_errorcode", None) in _NO_SPACE:
        return DatabaseFullError()
    return error


_NOTHING_WAITING = _Item(lambda _connection: None, None)
