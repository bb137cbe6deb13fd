"""Connections to PostgreSQL by psycopg: how they are made, kept and given up, and what their errors mean."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final, cast

import psycopg
from sqlalchemy import Connection, Dialect, Engine, QueuePool, create_engine, event
from sqlalchemy import exc as sql
from sqlalchemy.dialects.postgresql.psycopg import PGDialect_psycopg
from sqlalchemy.engine import URL

from xds.store.database.interface import DatabaseFullError, DatabaseUnavailableError
from xds.store.database.postgresql_cursor import Cursor
from xds.store.database.postgresql_exchange import Exchange

#: Connections of this process at most, for reads and for writes each.
CONNECTIONS: Final = 16
#: How long a request waits for a connection to become free, in seconds.
POOL_SECONDS: Final = 10

_CONNECT: Final = {
    "application_name": "xds",
    "client_encoding": "UTF8",
    "connect_timeout": 5,
    # A server that vanished without a word is noticed within this time.
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 20_000,
}
#: Limits of a session. A lock that is held longer than this belongs to somebody who hangs.
_SESSION: Final = (
    "SET lock_timeout = '10s'",
    "SET statement_timeout = '60s'",
    "SET idle_in_transaction_session_timeout = '60s'",
    # Whoever configured more than `on` keeps it.
    "SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') IN ('off', 'local')",
)

_BEGIN_READING: Final = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"
_BEGIN_WRITING: Final = "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE"

_DIALECT: Final[Dialect] = cast(Any, PGDialect_psycopg)()
_COLLISIONS: Final = frozenset(
    (
        "40001",  # serialization_failure
        "40P01",  # deadlock_detected
        "23505",  # unique_violation: another was first, and is seen at the next attempt
    )
)
_NO_SPACE: Final = "53100"
_UNAVAILABLE: Final = frozenset(
    (
        "25006",  # read_only_sql_transaction: a standby, in the middle of a switch
        "53000",  # insufficient_resources
        "53200",  # out_of_memory
        "53300",  # too_many_connections
        "55P03",  # lock_not_available
        "57014",  # query_canceled: it took too long
        "57P01",  # admin_shutdown
        "57P02",  # crash_shutdown
        "57P03",  # cannot_connect_now
        "57P05",  # idle_session_timeout
    )
)


class DriverConnection(psycopg.Connection[Any]):
    """A connection whose statements travel together, until one of them is to be answered."""

    exchange: Exchange
    #: Without the right to write, what tries it is told at once: its transaction is never committed.
    is_reading: bool

    def cursor(self, *_arguments: Any, **_named: Any) -> Any:
        """What SQLAlchemy runs statements by."""
        return Cursor(self.exchange, may_defer=not self.is_reading)

    def check(self) -> None:
        """See that the connection has not broken, without a round trip. Errors: psycopg.OperationalError."""
        if self.closed or not self.exchange.is_silent():
            self.close()
            raise psycopg.OperationalError("the server has left")

    def commit(self) -> None:
        """Run what waits, and end the transaction, which is undone when that fails. Errors: psycopg.Error."""
        self.exchange.commit()

    def rollback(self) -> None:
        """Forget what waits, and undo the transaction. Errors: psycopg.Error."""
        self.exchange.rollback()

    def rows(self, text: str, values: Sequence[Any]) -> Sequence[tuple[Any, ...]]:
        """Run a statement without SQLAlchemy; every row of its answer. Errors: DBAPIError, as SQLAlchemy would raise it."""
        return self.ask(text, values)()

    def ask(self, text: str, values: Sequence[Any]) -> Callable[[], Sequence[tuple[Any, ...]]]:
        """Put a statement, without waiting; what this returns gives its rows, once. Errors: DBAPIError."""
        exchange = self.exchange
        try:
            statement = exchange.put(text, values)
        except psycopg.Error as error:
            raise _as_usual(text, error) from error

        def rows() -> Sequence[tuple[Any, ...]]:
            try:
                return exchange.rows(statement)
            except psycopg.Error as error:
                raise _as_usual(text, error) from error

        return rows

    def run(self, text: str, rows: Sequence[Sequence[Any]]) -> None:
        """Put a statement whose answer nobody needs, once for each of these. Errors: DBAPIError."""
        try:
            for values in rows:
                self.exchange.put(text, values)
            if self.is_reading:
                self.exchange.settle()
        except psycopg.Error as error:
            raise _as_usual(text, error) from error


def _as_usual(text: str, error: psycopg.Error) -> BaseException:
    usual = sql.DBAPIError.instance(text, None, error, psycopg.Error, dialect=_DIALECT, hide_parameters=True)
    return cast(BaseException, usual)


def make_engine(url: URL, *, reading: bool) -> Engine:
    """A pool of connections whose transactions are snapshots that cannot write, or ordinary ones."""
    engine = create_engine(
        url,
        poolclass=QueuePool,
        pool_size=CONNECTIONS,
        max_overflow=0,
        pool_timeout=POOL_SECONDS,
        pool_use_lifo=True,
        connect_args={name: value for name, value in _CONNECT.items() if name not in url.query},
        # It would be asked for on each engine's first connection.
        use_native_hstore=False,
    )

    @event.listens_for(engine, "do_connect")
    def connect(_dialect: Any, _record: Any, arguments: Any, named: Any) -> DriverConnection:
        driver = DriverConnection.connect(*arguments, autocommit=True, **named)
        driver.is_reading = reading
        driver.exchange = Exchange(driver, _BEGIN_READING if reading else _BEGIN_WRITING)
        try:
            driver.exchange.run(_SESSION)
        except psycopg.Error:
            driver.close()
            raise
        return driver

    @event.listens_for(engine, "checkout")
    def checked_out(driver: DriverConnection, _record: Any, _proxy: Any) -> None:
        try:
            driver.check()
        except psycopg.OperationalError as error:
            # The others have most likely met the same fate.
            raise sql.InvalidatePoolError from error

    return engine


def driver_of(connection: Connection) -> DriverConnection:
    """The driver's own connection."""
    return cast(DriverConnection, connection.connection.driver_connection)


def _cause(error: BaseException) -> psycopg.Error | None:
    found = error.orig if isinstance(error, sql.DBAPIError) else error
    return found if isinstance(found, psycopg.Error) else None


def is_collision(error: BaseException) -> bool:
    """True when the same transaction may succeed if it is run again at once."""
    cause = _cause(error)
    return cause is not None and cause.sqlstate in _COLLISIONS


def is_lost(error: BaseException) -> bool:
    """True when there is no connection (any more)."""
    cause = _cause(error)
    if cause is None:
        return False
    if cause.sqlstate is None:
        return isinstance(cause, psycopg.OperationalError | psycopg.InterfaceError)
    return cause.sqlstate.startswith(("08", "57P"))


@contextmanager
def refusing() -> Iterator[None]:
    """Makes the driver's words for an absent, overloaded or full server those of the interface."""
    try:
        yield
    except sql.TimeoutError as error:
        raise DatabaseUnavailableError("all connections to the database are in use") from error
    except (sql.DBAPIError, psycopg.Error) as error:
        cause = _cause(error)
        if cause is not None and cause.sqlstate == _NO_SPACE:
            raise DatabaseFullError from error
        if cause is not None and (is_lost(error) or cause.sqlstate in _UNAVAILABLE):
            raise DatabaseUnavailableError(f"the database does not answer now: {_reason(error, cause)}") from error
        raise


@contextmanager
def borrowed(engine: Engine) -> Iterator[Connection]:
    """A connection of the pool. Errors: those of the driver; DatabaseUnavailableError when even new connections are dead."""
    try:
        connection = engine.connect()
    except sql.InvalidRequestError as error:
        raise DatabaseUnavailableError("the database ends connections as soon as they are made") from error
    with connection:
        try:
            yield connection
        finally:
            if not connection.invalidated and driver_of(connection).closed:
                # What ran without SQLAlchemy broke without its knowledge.
                connection.invalidate()


def _reason(error: BaseException, cause: psycopg.Error) -> str:
    """Why, in words that hold no data: what the server says to a statement may quote its values."""
    if isinstance(error, sql.DBAPIError) and error.statement is None and cause.sqlstate is None:
        return str(cause).strip().splitlines()[0]
    return type(cause).__name__
