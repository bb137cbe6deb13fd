"""Statements that the two databases write differently."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Table
from sqlalchemy.dialects import postgresql, sqlite


def _insert(connection: Connection, table: Table) -> postgresql.Insert | sqlite.Insert:
    return postgresql.insert(table) if connection.dialect.name == "postgresql" else sqlite.insert(table)


def put(connection: Connection, table: Table, key: Sequence[str], values: Mapping[str, Any]) -> None:
    """Insert a row, or give the row of that key these values."""
    changed = {name: value for name, value in values.items() if name not in key}
    statement = _insert(connection, table).values(dict(values))
    connection.execute(statement.on_conflict_do_update(index_elements=list(key), set_=changed))


def put_new(connection: Connection, table: Table, values: Mapping[str, Any]) -> bool:
    """Insert a row unless one with its key is there already. True when it was inserted."""
    statement = _insert(connection, table).values(dict(values)).on_conflict_do_nothing()
    return bool(connection.execute(statement).rowcount)
