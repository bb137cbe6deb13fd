"""Rows that every feed adds to tables of few columns, several at a time.

To a server they travel in one statement: each one costs more there than the rows that it carries. The embedded database takes
tuples quicker than names.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from itertools import count
from typing import Final, cast

from sqlalchemy import Connection, Table

from xds.store.statements import Row, ServerDriver, insert_embedded

#: Rows of one statement at most: a server keeps a text prepared for each number of them.
_MOST: Final = 16


class ManyRows:
    """An insert into all columns of a table, in their order, of values that every driver takes as they are.

    `is_known_skipped`: rows that are there already stay as they are; else they are an IntegrityError.
    Errors: DBAPIError of SQLAlchemy.
    """

    __slots__ = ("_embedded", "_insertion", "_text")

    def __init__(self, table: Table, *, is_known_skipped: bool) -> None:
        names = [column.name for column in table.columns]
        self._insertion = f"INSERT INTO {table.name} ({', '.join(names)}) VALUES "
        end = " ON CONFLICT DO NOTHING" if is_known_skipped else ""
        self._embedded = f"{self._insertion}({', '.join('?' * len(names))}){end}"

        def text(number: int) -> str:
            places = count(1)
            rows = ("(" + ", ".join(f"${next(places)}" for _ in names) + ")" for _ in range(number))
            return self._insertion + ", ".join(rows) + end

        self._text = lru_cache(_MOST)(text)

    def run(self, connection: Connection, rows: Sequence[Row]) -> None:
        """Insert these rows."""
        if connection.dialect.name == "sqlite":
            insert_embedded(connection, self._embedded, rows)
            return
        server = cast(ServerDriver, connection.connection.dbapi_connection)
        for start in range(0, len(rows), _MOST):
            some = rows[start : start + _MOST]
            server.run(self._text(len(some)), ([value for row in some for value in row],))
