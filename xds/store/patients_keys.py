"""Keys of the rows that one transaction adds to the tables of the PIX Manager."""

from __future__ import annotations

from sqlalchemy import Column, Connection

from xds.store.dialects import next_keys
from xds.store.statements import server_driver


class KeyRows:
    """New keys, as one transaction draws them. `connection` is that transaction's."""

    connection: Connection
    _last_keys: dict[str, int] | None = None

    def new_key(self, column: Column[int]) -> int:
        """The key of one more row. The embedded database has one writer at a time, who asks once and counts on alone."""
        if self._last_keys is None:
            self._last_keys = {}
        last = self._last_keys.get(column.name)
        if last is not None:
            key = last + 1
        else:
            (key,) = next_keys(self.connection, column, 1)
            if server_driver(self.connection) is not None:
                return key
        self._last_keys[column.name] = key
        return key
