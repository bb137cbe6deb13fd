"""Notifications that wait for their subscribers: rows written in the transaction whose effect they tell of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection, bindparam, delete, func, select

from xds.store.schema.identity import identity_notification
from xds.store.statements import Prepared, prepared_insert

_TABLE = identity_notification
_INSERT: Final = prepared_insert(_TABLE, "subscriber", "body")
_NEXT: Final = Prepared(
    select(_TABLE.c.sequence, _TABLE.c.body)
    .where(_TABLE.c.subscriber == bindparam("subscriber"))
    .order_by(_TABLE.c.sequence)
    .limit(bindparam("most"))
)


@dataclass(frozen=True, slots=True)
class Waiting:
    """A notification that waits. `body` is what the actor wrote."""

    sequence: int
    body: str


def add(connection: Connection, subscriber: str, bodies: Sequence[str]) -> None:
    """Have a subscriber notified, in this order and after what waits already."""
    _INSERT.run(connection, [{"subscriber": subscriber, "body": body} for body in bodies])


def waiting(connection: Connection, subscriber: str, most: int) -> tuple[Waiting, ...]:
    """What waits longest for a subscriber."""
    return tuple(Waiting(*row) for row in _NEXT.rows(connection, {"subscriber": subscriber, "most": most}))


def remove(connection: Connection, subscriber: str, last: int) -> None:
    """A subscriber has taken everything up to that sequence number."""
    connection.execute(delete(_TABLE).where(_TABLE.c.subscriber == subscriber, _TABLE.c.sequence <= last))


def count(connection: Connection) -> dict[str, int]:
    """How many notifications wait for each subscriber."""
    rows = connection.execute(select(_TABLE.c.subscriber, func.count()).group_by(_TABLE.c.subscriber))
    return {row[0]: row[1] for row in rows}
