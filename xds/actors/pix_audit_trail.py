"""Audit events of identity queries, gathered: queries come in thousands a second, and nobody waits for their events.

They are written together with what else is written a moment later, in their order.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable
from typing import Final

from xds.store import audit
from xds.store.audit import Written
from xds.store.database import Connection, Database

#: So many events at most wait to be written; whoever adds more waits for them.
_WAITING: Final = 4096


class AuditTrail:
    """Adds events to the trail of one database. One object serves all threads."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._lock = threading.Lock()
        self._waiting: list[Written] = []

    def add(self, events: Iterable[Written]) -> None:
        """Have events written a moment later."""
        with self._lock:
            is_first = not self._waiting
            self._waiting += events
            is_full = len(self._waiting) >= _WAITING
        if is_full:
            self._database.write(_Batch(self))
        elif is_first:
            self._database.write_later(_Batch(self))

    def take(self) -> list[Written]:
        """What waits."""
        with self._lock:
            waiting, self._waiting = self._waiting, []
        return waiting


class _Batch:
    """Writes what waits when its turn comes; run again, it writes the same."""

    def __init__(self, trail: AuditTrail) -> None:
        self._trail = trail
        self._events: list[Written] | None = None

    def __call__(self, connection: Connection) -> None:
        if self._events is None:
            self._events = self._trail.take()
        if self._events:
            audit.append_written(connection, self._events)
