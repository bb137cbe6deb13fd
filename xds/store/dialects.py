"""Statements that the two databases write differently."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from itertools import count
from typing import Any, Final

from sqlalchemy import Column, Connection, Integer, Table, bindparam, func, select, text

from xds.store.statements import Prepared, prepared_insert, server_driver


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


def insert_rows(connection: Connection, rows: Mapping[Table, Sequence[Mapping[str, Any]]]) -> None:
    """Insert into several tables; all rows of one table have the same columns.

    PostgreSQL gets everything in one statement: each one costs more than the rows that it carries.
    """
    server = server_driver(connection)
    if server and sum(len(some) * len(some[0]) for some in rows.values()) <= _PARAMETERS:
        shape = tuple((table.name, tuple(some[0]), len(some)) for table, some in rows.items())
        values = tuple(value for some in rows.values() for row in some for value in row.values())
        server.send(_insertion(shape), values)
        return
    for table, some in rows.items():
        _insert(table, tuple(some[0])).run(connection, some)


@lru_cache
def _insert(table: Table, columns: tuple[str, ...]) -> Prepared:
    return prepared_insert(table, *columns)


@lru_cache(maxsize=512)
def _insertion(shape: tuple[tuple[str, tuple[str, ...], int], ...]) -> str:
    inserts = []
    places = count(1)
    for table, columns, number in shape:
        rows = ("(" + ",".join(f"${next(places)}" for _ in columns) + ")" for _ in range(number))
        inserts.append(f"INSERT INTO {table} ({','.join(columns)}) VALUES {','.join(rows)}")
    *others, last = inserts
    parts = ",".join(f"part{number} AS ({text})" for number, text in enumerate(others))
    return f"WITH {parts} {last}" if parts else last


def next_keys(connection: Connection, column: Column[int], number: int) -> Sequence[int]:
    """So many new keys in ascending order for rows of that column's table, which nobody else gets.

    PostgreSQL draws them from the column's sequence. The embedded database goes on from the last: only one transaction writes
    at a time.
    """
    if server_driver(connection):
        return [row[0] for row in _drawn(column).rows(connection, {"number": number})]
    ((last,),) = _last(column).rows(connection, {})
    return range(last + 1, last + number + 1)


@lru_cache
def _drawn(column: Column[int]) -> Prepared:
    sequence = f"{column.table.name}_{column.name}_seq"
    drawn = select(func.nextval(sequence)).select_from(func.generate_series(1, bindparam("number", type_=Integer)))
    return Prepared(drawn)


@lru_cache
def _last(column: Column[int]) -> Prepared:
    return Prepared(select(func.coalesce(func.max(column), 0)))
