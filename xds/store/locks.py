"""Taking turns: whoever decides on what it reads holds the names that its decision is about until its transaction ends.

The embedded database has one writer at a time, so nothing needs to be done there. On PostgreSQL names become advisory locks.
"""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import blake2b
from typing import Final

from sqlalchemy import Connection

from xds.store.statements import server_driver

#: Held shared by everybody who holds names, and alone by whoever needs more of them than the server has room for.
_ALL: Final = 0x58445331
_NAMES: Final = 256

_TAKE: Final = (
    f"SELECT pg_advisory_xact_lock_shared({_ALL}) UNION ALL SELECT pg_advisory_xact_lock(key) FROM unnest($1::bigint[]) AS key"
)
_TAKE_ALL: Final = "SELECT pg_advisory_xact_lock($1)"


def are_taken(connection: Connection) -> bool:
    """Whether this database needs them."""
    return server_driver(connection) is not None


def take(connection: Connection, names: Iterable[str]) -> None:
    """Wait until no other transaction holds any of these names, and hold them until this one ends.

    Call it once in a transaction, before anything is read: names taken one after another can wait for each other.
    """
    server = server_driver(connection)
    if server is None:
        return
    # In one order everywhere, so that two transactions never hold what the other waits for.
    keys = sorted({int.from_bytes(blake2b(name.encode(), digest_size=8).digest(), "big", signed=True) for name in names})
    if len(keys) > _NAMES:
        server.run(_TAKE_ALL, ((_ALL,),))
    else:
        server.run(_TAKE, ((keys,),))
