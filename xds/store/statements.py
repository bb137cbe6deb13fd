"""Statements that are run in every request.

SQLAlchemy describes them, for every database alike. SQLite answers most of them in a few microseconds, and the way of a statement
through SQLAlchemy costs several times that, on a PostgreSQL server as much as the statement itself: the driver runs the text that
SQLAlchemy made of it once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from operator import itemgetter
from sqlite3 import Connection as SqliteConnection
from sqlite3 import Error as SqliteError
from typing import Any, Final, NamedTuple, Protocol, cast

from sqlalchemy import Connection, Dialect, Executable, Table, insert
from sqlalchemy.dialects import sqlite
from sqlalchemy.dialects.postgresql.psycopg import PGDialect_psycopg
from sqlalchemy.exc import DBAPIError
from sqlalchemy.sql.elements import BindParameter
from sqlalchemy.sql.visitors import iterate

Row = tuple[Any, ...]
Values = Mapping[str, Any]

# By position, as the values of a long list take SQLite a time in the square of their number when they have names.
_SQLITE: Final = sqlite.dialect(paramstyle="qmark")
_POSTGRESQL: Final[Dialect] = cast(Any, PGDialect_psycopg)(paramstyle="numeric_dollar")
#: Lengths of its lists for which one statement keeps its text.
_TEXTS: Final = 32


class ServerDriver(Protocol):
    """What a driver other than SQLite's does with a text and its values, those of $1, $2, … Errors: DBAPIError of SQLAlchemy."""

    def rows(self, text: str, values: Sequence[Any]) -> Sequence[Row]:
        """Every row of the answer."""

    def ask(self, text: str, values: Sequence[Any]) -> Callable[[], Sequence[Row]]:
        """Ask without waiting; what comes back waits, and gives every row of the answer, once."""

    def run(self, text: str, rows: Sequence[Sequence[Any]]) -> None:
        """Run it once for each of these. There is no answer: whoever asks for one next, or commits, learns that it failed."""


def server_driver(connection: Connection) -> ServerDriver | None:
    """The driver of a database that is a server; None for the embedded one."""
    driver: Any = connection.connection.dbapi_connection
    return None if isinstance(driver, SqliteConnection) else cast(ServerDriver, driver)


class Prepared:
    """A statement, ready to be run often. Values are bound by name, lists as expanding parameters.

    A value must be what every driver takes as it is: a number, text, octets, or None. `columns` are those of an insert.
    Errors: of every method, DBAPIError of SQLAlchemy, whoever runs the statement.
    """

    __slots__ = ("_expanding", "_text", "statement")

    def __init__(self, statement: Executable, *, columns: Sequence[str] | None = None) -> None:
        self.statement = statement
        binds = [item for item in iterate(cast(Any, statement)) if isinstance(item, BindParameter) and item.required]
        named = dict.fromkeys(item.key for item in binds if not item.expanding)
        self._expanding = tuple(dict.fromkeys(item.key for item in binds if item.expanding))

        def text(dialect: Dialect, *sizes: int) -> _Text:
            lists = {name: [None] * size for name, size in zip(self._expanding, sizes, strict=True)}
            return _text(cast(Any, statement), {**named, **lists}, columns, dialect)

        self._text = lru_cache(_TEXTS)(text)

    def rows(self, connection: Connection, values: Values) -> Sequence[Row]:
        """Every row of the answer."""
        driver: Any = connection.connection.dbapi_connection
        if not isinstance(driver, SqliteConnection):
            return cast(ServerDriver, driver).rows(*self._bound(_POSTGRESQL, values))
        text, bound = self._bound(_SQLITE, values)
        try:
            return driver.execute(text, bound).fetchall()
        except SqliteError as error:
            raise _as_usual(text, error) from error

    def row(self, connection: Connection, values: Values) -> Row | None:
        """The first row of the answer, if there is one."""
        driver: Any = connection.connection.dbapi_connection
        if not isinstance(driver, SqliteConnection):
            return next(iter(cast(ServerDriver, driver).rows(*self._bound(_POSTGRESQL, values))), None)
        text, bound = self._bound(_SQLITE, values)
        try:
            return cast(Row | None, driver.execute(text, bound).fetchone())
        except SqliteError as error:
            raise _as_usual(text, error) from error

    def ask(self, connection: Connection, values: Values) -> Callable[[], Sequence[Row]]:
        """Ask without waiting for the answer: every row of it comes from what this returns. To a server several of them travel
        together."""
        driver: Any = connection.connection.dbapi_connection
        if isinstance(driver, SqliteConnection):
            found = self.rows(connection, values)
            return lambda: found
        return cast(ServerDriver, driver).ask(*self._bound(_POSTGRESQL, values))

    def run(self, connection: Connection, rows: Sequence[Values]) -> None:
        """Run it once for each of these, which all have the same names. There is no answer."""
        driver: Any = connection.connection.dbapi_connection
        is_server = not isinstance(driver, SqliteConnection)
        text, constants, _, in_order = self._text(_POSTGRESQL if is_server else _SQLITE)
        found = ({**constants, **values} for values in rows) if constants else rows
        bound = [in_order(values) for values in found]
        if is_server:
            cast(ServerDriver, driver).run(text, bound)
            return
        try:
            driver.executemany(text, bound)
        except SqliteError as error:
            raise _as_usual(text, error) from error

    def _bound(self, dialect: Dialect, values: Values) -> tuple[str, Sequence[Any]]:
        """The text for a database, and the values in the order of its parameters."""
        sizes = [len(values[name]) for name in self._expanding] if self._expanding else ()
        text, constants, names, in_order = self._text(dialect, *sizes)
        every: Values = {**constants, **values} if constants else values
        if not sizes:
            return text, in_order(every)
        bound: list[Any] = []
        for name in names:
            if name in self._expanding:
                bound += every[name]
            else:
                bound.append(every[name])
        return text, bound


def insert_embedded(connection: Connection, text: str, rows: Sequence[Row]) -> None:
    """Run an insert, whose values stand in the order of its `?`, on the embedded database. Errors: DBAPIError."""
    try:
        cast(SqliteConnection, connection.connection.dbapi_connection).executemany(text, rows)
    except SqliteError as error:
        raise _as_usual(text, error) from error


def prepared_insert(table: Table, *columns: str) -> Prepared:
    """An insert of these columns; of all when none is named."""
    return Prepared(insert(table), columns=columns or tuple(table.columns.keys()))


class _Text(NamedTuple):
    """The text for one database, the constants that stand in the statement itself, and the order of its parameters.

    A list is named once. `in_order` gives the values of parameters that are none.
    """

    text: str
    constants: Values
    names: Sequence[str]
    in_order: Callable[[Values], Sequence[Any]]


def _text(statement: Any, samples: Mapping[str, Any], columns: Sequence[str] | None, dialect: Dialect) -> _Text:
    """Made with sample values."""
    if samples:
        statement = statement.params(samples)
    compiled = statement.compile(dialect=dialect, column_keys=columns, compile_kwargs={"render_postcompile": True})
    constants: dict[str, Any] = {}
    for bind, name in compiled.bind_names.items():
        if name in samples or bind.required:
            continue
        if bind.expanding:
            constants.update((f"{name}_{number}", item) for number, item in enumerate(bind.value, 1))
        else:
            constants[name] = bind.value
    names = _with_lists(compiled.positiontup or (), {name: len(item) for name, item in samples.items() if isinstance(item, list)})
    return _Text(str(compiled), constants, names, _in_order(names))


def _with_lists(names: Sequence[str], sizes: Mapping[str, int]) -> tuple[str, ...]:
    """The names of parameters, in which those of the items of a list (`keys_1`, `keys_2`, …) are the one of the list."""
    lists = {f"{name}_{number}": name for name, size in sizes.items() for number in range(1, size + 1)}
    # They always stand together.
    further = {f"{name}_{number}" for name, size in sizes.items() for number in range(2, size + 1)}
    return tuple(lists.get(name, name) for name in names if name not in further)


def _in_order(names: Sequence[str]) -> Callable[[Values], Sequence[Any]]:
    """Gives the values of these names."""
    if len(names) > 1:
        return cast(Callable[[Values], Sequence[Any]], itemgetter(*names))
    return lambda values: [values[name] for name in names]


def _as_usual(text: str, error: SqliteError) -> BaseException:
    return cast(BaseException, DBAPIError.instance(text, None, error, SqliteError, dialect=_SQLITE, hide_parameters=True))
