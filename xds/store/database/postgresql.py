"""A PostgreSQL server: pooled connections, one transaction for each piece of work, and coming back after the server was away.

Reads are REPEATABLE READ READ ONLY: one snapshot. Writes are READ COMMITTED, and those whose decision depends on what they read
take the locks of `xds.store.locks` first; SERIALIZABLE would fail most submissions on a young database, because all of them
touch the same few index pages. What collides all the same (a deadlock, a uniqueness that two met at once) is undone and run
again: the second time it sees what the other one left.
"""

from __future__ import annotations

import select
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final, Self, TypeVar, cast

import psycopg
import structlog
from psycopg.pq import Format
from sqlalchemy import Connection, Engine, QueuePool, create_engine, event
from sqlalchemy import exc as sql
from sqlalchemy.engine import URL, make_url

from xds.store.database.gathering import Gathering
from xds.store.database.interface import Database, DatabaseClosedError, DatabaseUnavailableError, Result, Work
from xds.store.database.joint import Joint
from xds.store.dialects import RAW
from xds.store.migrations import migrate

#: Connections of this process at most, for reads and for writes each; one more writes what nobody waits for.
CONNECTIONS: Final = 16
#: How long a request waits for a connection to become free.
POOL_SECONDS: Final = 10
#: How often a piece of work is run before its collisions are given up.
ATTEMPTS: Final = 5

#: Limits of a session. A lock that is held longer than this belongs to somebody who hangs.
_SESSION: Final = (
    "SET lock_timeout = '10s'",
    "SET statement_timeout = '60s'",
    "SET idle_in_transaction_session_timeout = '60s'",
    # Whoever configured more than `on` keeps it.
    "SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') IN ('off', 'local')",
)
_CONNECT: Final = {
    "application_name": "xds",
    "connect_timeout": 5,
    # A server that vanished without a word is noticed within this time.
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 20_000,
}

_COLLISIONS: Final = frozenset(
    (
        "40001",  # serialization_failure
        "40P01",  # deadlock_detected
        "23505",  # unique_violation: the other one was first; it is seen at the next attempt
    )
)
_UNAVAILABLE: Final = frozenset(
    (
        "25006",  # read_only_sql_transaction: a standby, in the middle of a switch
        "53000",
        "53100",  # disk_full
        "53200",  # out_of_memory
        "53300",  # too_many_connections
        "55P03",  # lock_not_available
        "57014",  # query_canceled: statement_timeout
        "57P01",  # admin_shutdown
        "57P02",  # crash_shutdown
        "57P03",  # cannot_connect_now
        "57P05",  # idle_session_timeout
    )
)

_log = structlog.get_logger()
Returned = TypeVar("Returned")


class _Connection(psycopg.Connection[Any]):
    """A connection that can send statements without waiting for each of them."""

    pipeline_in_use: psycopg.Pipeline | None = None

    @contextmanager
    def deferring(self) -> Iterator[None]:
        """Until the block ends, statements without an answer travel together with the next that has one, or with the COMMIT."""
        with self.pipeline() as pipeline:
            self.pipeline_in_use = pipeline
            try:
                yield
            finally:
                self.pipeline_in_use = None


#: What begins so answers nothing that anybody looks at.
_ANSWERLESS: Final = (RAW, "INSERT ")


class _Cursor(psycopg.Cursor[Any]):
    """Fetches values as the server has them: a fragment is not written in hexadecimal and read back."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self.format = Format.BINARY

    def execute(self, query: Any, params: Any = None, **named: Any) -> Self:
        if isinstance(query, str) and query.startswith(RAW):
            psycopg.RawCursor(self.connection).execute(query, params)
        else:
            super().execute(query, params, **named)
        pipeline = cast(_Connection, self.connection).pipeline_in_use
        if pipeline is not None and (not query.startswith(_ANSWERLESS) or " RETURNING " in query):
            pipeline.sync()
        return self


def _is_silent(driver: psycopg.Connection[Any]) -> bool:
    """False when the server has said something since: that it shut down, or that the connection is closed.

    Costs no round trip, unlike asking.
    """
    poll = select.poll()
    poll.register(driver.fileno(), select.POLLIN)
    return not poll.poll(0)


def _engine(url: URL, *, reading: bool) -> Engine:
    engine = create_engine(
        url,
        poolclass=QueuePool,
        pool_size=CONNECTIONS,
        max_overflow=0,
        pool_timeout=POOL_SECONDS,
        pool_use_lifo=True,
        connect_args={name: value for name, value in _CONNECT.items() if name not in url.query} | {"cursor_factory": _Cursor},
    )

    @event.listens_for(engine, "do_connect")
    def connect(_dialect: Any, _record: Any, arguments: Any, named: Any) -> _Connection:
        return _Connection.connect(*arguments, **named)

    @event.listens_for(engine, "connect")
    def connected(driver: psycopg.Connection[Any], _record: Any) -> None:
        driver.autocommit = True
        for statement in _SESSION:
            driver.execute(statement.encode())
        driver.autocommit = False
        driver.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ if reading else psycopg.IsolationLevel.READ_COMMITTED
        driver.read_only = reading

    @event.listens_for(engine, "checkout")
    def checked_out(driver: psycopg.Connection[Any], _record: Any, _proxy: Any) -> None:
        if driver.closed or not _is_silent(driver):
            raise sql.InvalidatePoolError

    return engine


def _state(error: sql.DBAPIError) -> str | None:
    return cast(str | None, getattr(error.orig, "sqlstate", None))


def _is_lost(error: sql.DBAPIError) -> bool:
    """True when there is no connection (any more)."""
    state = _state(error)
    if state is None:
        return isinstance(error.orig, psycopg.OperationalError | psycopg.InterfaceError)
    return error.connection_invalidated or state.startswith("08")


def _unavailable(error: sql.DBAPIError) -> DatabaseUnavailableError | None:
    if _is_lost(error) or _state(error) in _UNAVAILABLE:
        return DatabaseUnavailableError(f"the database does not answer now ({type(error.orig).__name__})")
    return None


@contextmanager
def _refusing() -> Iterator[None]:
    """Makes the driver's words for an absent or overloaded server those of the interface."""
    try:
        yield
    except sql.TimeoutError as error:
        raise DatabaseUnavailableError("all connections to the database are in use") from error
    except sql.DBAPIError as error:
        refusal = _unavailable(error)
        if refusal is None:
            raise
        raise refusal from error


class PostgresqlDatabase(Database):
    """A database on a PostgreSQL server. Several processes on several machines may use it together.

    `url` is a SQLAlchemy URL such as `postgresql://xds@db.example/xds`; its query may hold any parameter of libpq.
    """

    def __init__(self, url: str) -> None:
        super().__init__()
        self._url = make_url(url).set(drivername="postgresql+psycopg")
        self._readers = _engine(self._url, reading=True)
        self._writers = _engine(self._url, reading=False)
        self._closed = False
        self._inside = threading.local()
        self._later = Gathering(self._commit_later)

    def create_schema(self) -> None:
        """Bring the tables to what this version needs."""
        self.write(migrate)

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A connection that sees one snapshot until the block ends."""
        if self._closed:
            raise DatabaseClosedError
        with _refusing(), self._readers.connect() as connection:
            yield connection

    def write(self, work: Work[Result]) -> Result:
        """Run `work` in a transaction of its own; again, when it collides with another."""
        if self._closed:
            raise DatabaseClosedError
        if self._joint is not None:
            return self._joint.run(work)
        return self._write(work)

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
        self._later.close()
        self._readers.dispose()
        self._writers.dispose()

    def _write(self, work: Work[Result]) -> Result:
        if getattr(self._inside, "work", False):
            raise RuntimeError("a piece of work must not open another transaction")
        self._inside.work = True
        try:
            with _refusing():
                return self._again(lambda: self._transaction(work))
        finally:
            self._inside.work = False

    def _open_joint(self) -> Joint:
        if self._closed:
            raise DatabaseClosedError
        return _OwnTransaction(self._writers)

    def _again(self, transaction: Callable[[], Returned]) -> Returned:
        for attempt in range(1, ATTEMPTS):
            try:
                return transaction()
            except _CommitError as error:
                raise error.cause from None
            except sql.DBAPIError as error:
                if _state(error) not in _COLLISIONS and not _is_lost(error):
                    raise
                _log.info("database.again", attempt=attempt, state=_state(error))
        try:
            return transaction()
        except _CommitError as error:
            raise error.cause from None

    def _transaction(self, work: Work[Result]) -> Result:
        with self._writers.connect() as connection:
            with connection.begin() as transaction, cast(_Connection, connection.connection.driver_connection).deferring():
                result = work(connection)
                try:
                    transaction.commit()
                except sql.DBAPIError as error:
                    if _is_lost(error):
                        # It may have taken effect: running it again could do it twice.
                        raise _CommitError(error) from error
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
            if len(batch) == 1:
                _log.error("database.write_later.failed", error=type(failure).__name__)
                return
            for work in batch:
                self._commit_later([work])


class _OwnTransaction(Joint):
    """A transaction on a connection of its own."""

    def __init__(self, engine: Engine) -> None:
        super().__init__()
        self._engine = engine

    def run(self, work: Work[Result]) -> Result:
        with _refusing():
            return super().run(work)

    def begin(self) -> Connection:
        connection = self._engine.connect()
        connection.begin()
        return connection

    def commit(self) -> None:
        if self._connection is not None:
            with _refusing(), self._connection as connection:
                connection.commit()

    def undo(self, cause: BaseException) -> None:
        if self._connection is not None:
            # Closing undoes; a connection that is lost has undone it already.
            self._connection.close()


class _CommitError(Exception):
    """The connection broke during COMMIT."""

    def __init__(self, cause: sql.DBAPIError) -> None:
        super().__init__()
        self.cause = cause
