"""The cursor by which SQLAlchemy runs statements over the exchange of a connection. Spec: PEP 249."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, Final

from psycopg.pq.abc import PGresult

from xds.store.database.postgresql_exchange import Exchange, Statement

Row = tuple[Any, ...]

#: What begins so answers nothing that anybody looks at, unless it says RETURNING: it waits for what has an answer.
_ANSWERLESS: Final = "INSERT "
_PLACE: Final = re.compile(r"%(?:%|\((\w+)\)s)")


class Cursor:
    """Runs one statement after the other; parameters are named `%(name)s`. Errors: psycopg.Error."""

    def __init__(self, exchange: Exchange, *, may_defer: bool) -> None:
        """`may_defer`: statements without an answer wait for what comes behind them."""
        self._exchange = exchange
        self._may_defer = may_defer
        self._rows: list[Row] = []
        self._position = 0
        self.arraysize = 1
        #: Name and type of each column of the answer; None when there are no rows to be fetched.
        self.description: Sequence[tuple[Any, ...]] | None = None
        #: Rows that were found or changed; -1 when nobody knows.
        self.rowcount = -1

    def execute(self, query: str, parameters: Mapping[str, Any] | None = None) -> None:
        """Run a statement."""
        statement = self._put(query, parameters or {})
        self._forget()
        if self._waits(query):
            return
        self._exchange.settle()
        result = statement.result
        if result is None:
            return
        self.rowcount = _count(result)
        if result.nfields:
            self.description = [(result.fname(i).decode(), result.ftype(i), *_UNKNOWN) for i in range(result.nfields)]  # type: ignore[union-attr]
            self._rows = self._exchange.rows(statement)

    def executemany(self, query: str, parameters: Sequence[Mapping[str, Any]]) -> None:
        """Run a statement, whose answer nobody looks at, with each of these."""
        statements = [self._put(query, values) for values in parameters]
        self._forget()
        if self._waits(query):
            return
        self._exchange.settle()
        self.rowcount = sum(_count(item.result) for item in statements if item.result is not None)

    def fetchone(self) -> Row | None:
        """The next row; None behind the last."""
        return next(iter(self.fetchmany(1)), None)

    def fetchmany(self, size: int = 0) -> list[Row]:
        """So many of the next rows."""
        start = self._position
        self._position += size or self.arraysize
        return self._rows[start : self._position]

    def fetchall(self) -> list[Row]:
        """All further rows."""
        return self.fetchmany(len(self._rows))

    def close(self) -> None:
        """Let go of the rows."""
        self._forget()

    def _put(self, query: str, parameters: Mapping[str, Any]) -> Statement:
        text, names = _numbered(query)
        return self._exchange.put(text, [parameters[name] for name in names])

    def _waits(self, query: str) -> bool:
        return self._may_defer and query.startswith(_ANSWERLESS) and " RETURNING " not in query

    def _forget(self) -> None:
        self._rows, self._position, self.description, self.rowcount = [], 0, None, -1


#: What else PEP 249 lets a driver tell about a column.
_UNKNOWN: Final = (None,) * 5


def _count(result: PGresult) -> int:
    return -1 if result.command_tuples is None else result.command_tuples


@lru_cache(maxsize=1024)
def _numbered(query: str) -> tuple[str, tuple[str, ...]]:
    """A text with $1, $2, … instead of %(name)s, and the names in this order."""
    names: dict[str, str] = {}

    def number(place: re.Match[str]) -> str:
        return names.setdefault(place[1], f"${len(names) + 1}") if place[1] else "%"

    return _PLACE.sub(number, query), tuple(names)
