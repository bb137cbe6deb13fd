"""Keys of the rows that one transaction adds to the tables of the PIX Manager."""

from __future__ import annotations

from collections.abc import Callable

from sqlalchemy import Column, Connection

from xds.store.dialects import ask_keys
from xds.store.statements import server_driver


class KeyRows:
    """New keys, as one transaction draws them. `connection` is that transaction's."""

    connection: Connection
    _last_keys: dict[str, int] | None = None

    def new_key(self, column: Column[int]) -> int:
        """The key of one more row."""
        return self.ask_key(column)()

    def ask_key(self, column: Column[int]) -> Callable[[], int]:
        """The key of one more row, without waiting for it: it comes from what this returns, and may stay unused.

        The embedded database has one writer at a time, who asks once and counts on alone.
        """
        if self._last_keys is None:
            self._last_keys = {}
        last = self._last_keys.get(column.name)
        if last is None:
            keys = ask_keys(self.connection, column, 1)
            if server_driver(self.connection) is not None:
                return lambda: keys()[0]
            last = keys()[0] - 1
        key = self._last_keys[column.name] = last + 1
        return lambda: key
