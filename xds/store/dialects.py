"""Statements that the two databases write differently."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from sqlalchemy import Column, Connection, Integer, Select, Table, bindparam, func, select
from sqlalchemy.dialects import postgresql, sqlite


def put(connection: Connection, table: Table, key: Sequence[str], values: Mapping[str, Any]) -> None:
    """Insert a row, or give the row of that key these values."""
    changed = {name: value for name, value in values.items() if name not in key}
    make = postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert
    statement = make(table).values(dict(values))
    connection.execute(statement.on_conflict_do_update(index_elements=list(key), set_=changed))


def next_keys(connection: Connection, column: Column[int], number: int) -> Sequence[int]:
    """So many new keys in ascending order for rows of that column's table, which nobody else gets.

    PostgreSQL draws them from the column's sequence. The embedded database goes on from the last: only one transaction writes
    at a time.
    """
    if connection.dialect.name == "postgresql":
        return connection.execute(_drawn(column), {"number": number}).scalars().all()
    last = connection.execute(_last(column)).scalar_one()
    return range(last + 1, last + number + 1)


@lru_cache
def _drawn(column: Column[int]) -> Select[tuple[int]]:
    sequence = f"{column.table.name}_{column.name}_seq"
    return select(func.nextval(sequence)).select_from(func.generate_series(1, bindparam("number", type_=Integer)))


@lru_cache
def _last(column: Column[int]) -> Select[tuple[int]]:
    return select(func.coalesce(func.max(column), 0))
