"""Statements that the two databases write differently."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from itertools import count
from typing import Any, Final, NamedTuple

from sqlalchemy import Column, Connection, Table, func, select, text

from xds.store.statements import Prepared, ServerDriver, insert_embedded, server_driver


def put(connection: Connection, table: Table, key: Sequence[str], values: Mapping[str, Any]) -> None:
    """Insert a row, or give the row of that key these values, which every driver must take as they are."""
    _put(table, tuple(key), tuple(values)).run(connection, (values,))


@lru_cache(maxsize=256)
def _put(table: Table, key: tuple[str, ...], columns: tuple[str, ...]) -> Prepared:
    changed = ", ".join(f"{name} = excluded.{name}" for name in columns if name not in key)
    places = ", ".join(f":{name}" for name in columns)
    insertion = f"INSERT INTO {table.name} ({', '.join(columns)}) VALUES ({places}) ON CONFLICT ({', '.join(key)}) DO"
    return Prepared(text(f"{insertion} UPDATE SET {changed}" if changed else f"{insertion} NOTHING"))


#: Parameters of one statement at most; PostgreSQL has room for 65 535.
_PARAMETERS: Final = 10_000


class Columns(NamedTuple):
    """A table, and those of its columns that rows have values for, in their order.

    `skips_known`: rows that are there already stay as they are; else they are an IntegrityError.
    """

    table: Table
    names: tuple[str, ...]
    skips_known: bool = False


def every_column(table: Table, *, skips_known: bool = False) -> Columns:
    """All columns of a table, in their order."""
    return Columns(table, tuple(column.name for column in table.columns), skips_known)


def insert_rows(connection: Connection, rows: Sequence[tuple[Columns, Sequence[tuple[Any, ...]]]]) -> None:
    """Insert rows of values that every driver takes as they are, into one or several tables.

    PostgreSQL gets everything in one statement: each one costs more than the rows that it carries. The embedded database takes
    tuples quicker than names. Errors: DBAPIError of SQLAlchemy.
    """
    rows = [(columns, some) for columns, some in rows if some]
    if not rows:
        return
    server = server_driver(connection)
    if server is None:
        for columns, some in rows:
            insert_embedded(connection, _text(columns), some)
        return
    if sum(len(some) * len(columns.names) for columns, some in rows) <= _PARAMETERS:
        _send(server, rows)
        return
    for columns, some in rows:
        most = _PARAMETERS // len(columns.names)
        for start in range(0, len(some), most):
            _send(server, [(columns, some[start : start + most])])


def _send(server: ServerDriver, rows: Sequence[tuple[Columns, Sequence[tuple[Any, ...]]]]) -> None:
    shape = tuple([(columns.table.name, columns.names, _end(columns), len(some)) for columns, some in rows])
    server.run(_insertion(shape), ([value for _, some in rows for row in some for value in row],))


def _end(columns: Columns) -> str:
    return " ON CONFLICT DO NOTHING" if columns.skips_known else ""


@lru_cache
def _text(columns: Columns) -> str:
    places = ",".join("?" * len(columns.names))
    return f"INSERT INTO {columns.table.name} ({','.join(columns.names)}) VALUES ({places}){_end(columns)}"


@lru_cache(maxsize=512)
def _insertion(shape: tuple[tuple[str, tuple[str, ...], str, int], ...]) -> str:
    inserts = []
    places = count(1)
    for table, columns, end, number in shape:
        rows = ("(" + ",".join(f"${next(places)}" for _ in columns) + ")" for _ in range(number))
        inserts.append(f"INSERT INTO {table} ({','.join(columns)}) VALUES {','.join(rows)}{end}")
    *others, last = inserts
    parts = ",".join(f"part{number} AS ({text})" for number, text in enumerate(others))
    return f"WITH {parts} {last}" if parts else last


def next_keys(connection: Connection, column: Column[int], number: int) -> Sequence[int]:
    """So many new keys in ascending order for rows of that column's table, which nobody else gets.

    PostgreSQL draws them from the column's sequence. The embedded database goes on from the last: only one transaction writes
    at a time.
    """
    return ask_keys(connection, column, number)()


def ask_keys(connection: Connection, column: Column[int], number: int) -> Callable[[], Sequence[int]]:
    """The same without waiting for them: they come from what this returns."""
    if server_driver(connection):
        rows = _drawn(column, number).ask(connection, {})
        return lambda: [row[0] for row in rows()]
    ((last,),) = _last(column).rows(connection, {})
    return lambda: range(last + 1, last + number + 1)


@lru_cache(maxsize=256)
def _drawn(column: Column[int], number: int) -> Prepared:
    # With parameters the server would plan it anew each time, and look the sequence up for each key.
    sequence = f"{column.table.name}_{column.name}_seq"
    return Prepared(text(f"SELECT nextval('{sequence}') FROM generate_series(1, {number})"))


@lru_cache
def _last(column: Column[int]) -> Prepared:
    return Prepared(select(func.coalesce(func.max(column), 0)))
