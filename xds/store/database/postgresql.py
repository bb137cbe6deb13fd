"""A PostgreSQL server: one transaction for each piece of work, and coming back after the server was away.

Reads are REPEATABLE READ READ ONLY: one snapshot. Writes are READ COMMITTED, and those whose decision depends on what they read
take the locks of `xds.store.locks` first; SERIALIZABLE would fail most submissions on a young database, because all of them
touch the same few index pages. What collides all the same (a deadlock, a uniqueness that two met at once) is undone and run
again: the second time it sees what the other one left.

A transaction for each thread was measured against one thread that commits for all: twice as many submissions a second, because
the server works on several of them while this process prepares the next.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Final, TypeVar

import psycopg
import structlog
from sqlalchemy import Connection, Engine
from sqlalchemy import exc as sql
from sqlalchemy.engine import make_url

from xds.store.database import turns
from xds.store.database.gathering import Gathering
from xds.store.database.interface import Database, DatabaseClosedError, DatabaseUnavailableError, Result, Work
from xds.store.database.joint import Joint
from xds.store.database.postgresql_driver import borrowed, driver_of, is_collision, is_lost, make_engine, refusing
from xds.store.migrations import SchemaError, migrate

#: How often a piece of work is run before its collisions are given up.
ATTEMPTS: Final = 5
#: Transactions that run while their callers do something else.
_ASIDE: Final = 32
#: The oldest server that this is tested with.
OLDEST_SERVER: Final = (13,)

_log = structlog.get_logger()
Returned = TypeVar("Returned")


class PostgresqlDatabase(Database):
    """A database on a PostgreSQL server. Several processes on several machines may use it together.

    `url` is a SQLAlchemy URL such as `postgresql://xds@db.example/xds`; its query may hold any parameter of libpq.
    """

    def __init__(self, url: str) -> None:
        super().__init__()
        server = make_url(url).set(drivername="postgresql+psycopg")
        self._readers = make_engine(server, reading=True)
        self._writers = make_engine(server, reading=False)
        self._closed = False
        self._inside = threading.local()
        self._later = Gathering(self._commit_later)
        self._aside = ThreadPoolExecutor(_ASIDE, thread_name_prefix="database")

    def create_schema(self) -> None:
        """Bring the tables to what this version needs. Errors: as the interface says; SchemaError for an unsuitable server."""
        with self.read() as connection:
            _check_server(connection)
        self.write(migrate)

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A connection that sees one snapshot until the block ends."""
        if self._closed:
            raise DatabaseClosedError
        turns.end()
        with refusing(), borrowed(self._readers) as connection:
            yield connection

    def write(self, work: Work[Result], *, beforehand: Work[bool] | None = None) -> Result:
        """Run `work` in a transaction of its own; again, when it collides with another."""
        if self._closed:
            raise DatabaseClosedError
        if self._joint is not None:
            return self._joint.run(work)
        return self._write(work)

    def begin_write(self, work: Work[Result]) -> Future[Result]:
        """Run `work` in a transaction of its own, in another thread."""
        if self._closed:
            raise DatabaseClosedError
        if self._joint is not None or getattr(self._inside, "work", False):
            raise RuntimeError("a piece of work must not open another transaction")
        return self._aside.submit(self._write, work)

    def write_later(self, work: Work[object]) -> None:
        """Run `work` some milliseconds later, together with others."""
        if self._closed:
            raise DatabaseClosedError
        if self._joint is not None:
            self._joint.run(work)
        else:
            self._later.put(work)

    def flush(self) -> None:
        """Wait until what was to be written later is stored."""
        self._later.flush()

    def close(self) -> None:
        """Finish what was submitted, then leave the server. Idempotent."""
        if self._closed:
            return
        self._closed = True
        self._aside.shutdown()
        self._later.close()
        self._readers.dispose()
        self._writers.dispose()

    def _write(self, work: Work[Result]) -> Result:
        if getattr(self._inside, "work", False):
            raise RuntimeError("a piece of work must not open another transaction")
        self._inside.work = True
        turns.end()
        try:
            with refusing():
                return _again(lambda: self._transaction(work))
        except _CommitError as error:
            raise DatabaseUnavailableError("the connection to the database broke during the commit") from error
        finally:
            self._inside.work = False

    def _open_joint(self) -> Joint:
        if self._closed:
            raise DatabaseClosedError
        return _OwnTransaction(self._writers)

    def _transaction(self, work: Work[Result]) -> Result:
        with borrowed(self._writers) as connection, connection.begin() as transaction:
            result = work(connection)
            driver_of(connection).check()
            try:
                transaction.commit()
            except sql.DBAPIError as error:
                if is_lost(error):
                    # It may have taken effect: running it again could do it twice.
                    raise _CommitError from error
                raise
            return result

    def _commit_later(self, batch: list[Work[object]]) -> None:
        """Errors: DatabaseUnavailableError, after which nothing of the batch is stored."""

        def together(connection: Connection) -> None:
            for work in batch:
                work(connection)

        try:
            self._write(together)
        except DatabaseUnavailableError:
            raise
        except Exception as failure:
            # Nobody waits for it. One piece that fails must not take the others with it.
            if len(batch) == 1:
                _log.error("database.write_later.failed", error=type(failure).__name__)
                return
            for work in batch:
                self._commit_later([work])


def _again(transaction: Callable[[], Returned]) -> Returned:
    """Run it until it does not collide; once more only when its connection had been lost since the last use."""
    for attempt in range(1, ATTEMPTS):
        try:
            return transaction()
        except (sql.DBAPIError, psycopg.Error) as error:
            if not (is_collision(error) or (attempt == 1 and is_lost(error))):
                raise
    return transaction()


def _check_server(connection: Connection) -> None:
    version = connection.dialect.server_version_info or ()
    if version < OLDEST_SERVER:
        raise SchemaError(f"PostgreSQL {OLDEST_SERVER[0]} or newer is needed, not {'.'.join(map(str, version))}")
    encoding = connection.exec_driver_sql("SHOW server_encoding").scalar_one()
    if encoding != "UTF8":
        raise SchemaError(f"the database must have been created with the encoding UTF8, not {encoding}")
    for setting in ("fsync", "full_page_writes"):
        if connection.exec_driver_sql(f"SHOW {setting}").scalar_one() != "on":
            _log.warning(
                "database.not_durable", note=f"the PostgreSQL server has {setting} off: a power cut loses what was stored"
            )


class _OwnTransaction(Joint):
    """A transaction on a connection of its own."""

    def __init__(self, engine: Engine) -> None:
        super().__init__()
        self._engine = engine

    def run(self, work: Work[Result]) -> Result:
        with refusing():
            return super().run(work)

    def begin(self) -> Connection:
        connection = self._engine.connect()
        connection.begin()
        return connection

    def commit(self) -> None:
        if self._connection is not None:
            with refusing(), self._connection as connection:
                connection.commit()

    def undo(self, cause: BaseException) -> None:
        if self._connection is not None:
            # Closing undoes; a connection that is lost has undone it already.
            self._connection.close()


class _CommitError(Exception):
    """The connection broke during COMMIT: nobody knows whether it took effect."""
