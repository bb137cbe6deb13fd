"""What transactions changed of late: whoever looked in a snapshot learns in its turn whether that still holds.

Every change of a record is noted by those who write it, its identifiers, statements, links and cluster alike, and so is every
identifier and every key under which a record is found or found no more. One row tells of a whole transaction. The rows are
numbered in the order of the commits without gaps, because the embedded database has one writer at a time; on a server nobody
asks, and nothing is stored.
"""

from __future__ import annotations

from array import array
from collections.abc import Collection
from typing import Final
from zlib import crc32

from sqlalchemy import Connection, text

from xds.store.patients_keys import KeyRows
from xds.store.schema.identity import identity_change
from xds.store.statements import Prepared, prepared_insert, server_driver

#: How many transactions are kept, and how many may be forgotten together.
KEPT: Final = 1024
_FORGOTTEN_TOGETHER: Final = 256

_LAST: Final = Prepared(text("SELECT coalesce(max(change_key), 0) FROM identity_change"))
_SINCE: Final = Prepared(text("SELECT change_key, changed FROM identity_change WHERE change_key > :since ORDER BY change_key"))
_INSERT: Final = prepared_insert(identity_change)
_FORGET: Final = Prepared(text("DELETE FROM identity_change WHERE change_key <= :last"))


def identifier_key(domain_key: int, value: str) -> int:
    """What is noted when something about an identifier changes. Others may have the same: that they change, too, does no harm."""
    return domain_key << 32 | crc32(value.encode())


class ChangeRows(KeyRows):
    """The changes as one transaction sees them, with its own. `connection` is that transaction's."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self._changed: set[int] = set()
        #: The newest change of each record and key, of those after `_recalled`.
        self._newest: dict[int, int] = {}
        self._recalled: int | None = None

    def note(self, *keys: int) -> None:
        """Remember that these records or keys are changed by this transaction."""
        self._changed.update(keys)

    def last_change(self) -> int:
        """The number of the last transaction that changed anything, which this one can see."""
        ((number,),) = _LAST.rows(self.connection, {})
        return int(number)

    def recall(self, since: int) -> None:
        """Read what was changed after that transaction, for `is_unchanged`."""
        if server_driver(self.connection) is not None:
            return
        rows = _SINCE.rows(self.connection, {"since": since})
        # Who waited very long finds that some are forgotten.
        self._recalled = rows[0][0] - 1 if rows else since
        for number, changed in rows:
            self._newest |= dict.fromkeys(array("q", changed), int(number))

    def is_unchanged(self, keys: Collection[int], since: int) -> bool:
        """True when none of these records and keys was changed after that transaction, neither by this one so far.

        What was not recalled counts as changed.
        """
        if self._recalled is None or since < self._recalled or not self._changed.isdisjoint(keys):
            return False
        return self._newest.keys().isdisjoint(keys) or all(self._newest.get(key, 0) <= since for key in keys)

    def tell_changes(self) -> None:
        """Store what this transaction has changed, at its end."""
        if not self._changed or server_driver(self.connection) is not None:
            return
        number = self.new_key(identity_change.c.change_key)
        _INSERT.run(self.connection, ({"change_key": number, "changed": array("q", self._changed).tobytes()},))
        self._changed = set()
        if number % _FORGOTTEN_TOGETHER == 0:
            _FORGET.run(self.connection, ({"last": number - KEPT},))
