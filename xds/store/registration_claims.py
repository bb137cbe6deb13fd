"""Which documents a registry elsewhere has not settled: those whose ITI-42 is under way, or whose answer was lost.

A document becomes retrievable before its metadata are sent, so that whoever finds it in the registry gets it. Each attempt to
register claims its documents until the registry has decided; documents that were refused go, unless another attempt needs them.
"""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection, delete, insert, select

from xds.store import documents, locks
from xds.store.documents import StoredDocument
from xds.store.schema.documents import registration_claim

#: Stands for the documents of an attempt that has none.
_NO_DOCUMENT = ""


def make(connection: Connection, claim: str, wanted: Sequence[StoredDocument]) -> bool:
    """Store documents under a claim, and tell whether the same attempt was made before and is not settled.

    A document that was registered before is not claimed. Errors: `xds.store.documents.OtherContentError`.
    """
    unique_ids = [document.unique_id for document in wanted]
    _take_turn(connection, unique_ids)
    known = bool(unsettled(connection, claim))
    there = documents.find(connection, unique_ids)
    contested = _claimed(connection, unique_ids)
    documents.add(connection, wanted)
    if not known:
        claimed = [item for item in unique_ids if item not in there or item in contested] or [_NO_DOCUMENT]
        connection.execute(insert(registration_claim), [{"claim": claim, "unique_id": item} for item in claimed])
    return known


def confirm(connection: Connection, claim: str, registered: Sequence[StoredDocument]) -> None:
    """The registry has these documents: they stay, whoever else claimed them."""
    unique_ids = [document.unique_id for document in registered]
    _take_turn(connection, unique_ids)
    # Another attempt at the same submission may have been refused and have taken them with it.
    documents.add(connection, registered)
    _settle(connection, claim, unique_ids)


def confirm_stored(connection: Connection, claim: str) -> None:
    """The registry has the documents of a claim."""
    unique_ids = [item for item in unsettled(connection, claim) if item != _NO_DOCUMENT]
    _settle(connection, claim, unique_ids)


def withdraw(connection: Connection, claim: str) -> None:
    """The registry has refused: the documents of the claim go, unless another claim or a registration needs them."""
    claimed = list(unsettled(connection, claim))
    _take_turn(connection, claimed)
    mine = list(unsettled(connection, claim))
    connection.execute(delete(registration_claim).where(registration_claim.c.claim == claim))
    contested = _claimed(connection, mine)
    documents.remove(connection, [item for item in mine if item not in contested and item != _NO_DOCUMENT])


def unsettled(connection: Connection, claim: str) -> Sequence[str]:
    """The uniqueIds of a claim that is open; empty when there is no such claim."""
    return connection.execute(select(registration_claim.c.unique_id).where(registration_claim.c.claim == claim)).scalars().all()


def _settle(connection: Connection, claim: str, unique_ids: Sequence[str]) -> None:
    connection.execute(delete(registration_claim).where(registration_claim.c.claim == claim))
    for some in documents.portions(unique_ids):
        connection.execute(delete(registration_claim).where(registration_claim.c.unique_id.in_(some)))


def _claimed(connection: Connection, unique_ids: Sequence[str]) -> frozenset[str]:
    found: set[str] = set()
    for some in documents.portions(unique_ids):
        statement = select(registration_claim.c.unique_id).where(registration_claim.c.unique_id.in_(some)).distinct()
        found.update(connection.execute(statement).scalars())
    return frozenset(found)


def _take_turn(connection: Connection, unique_ids: Sequence[str]) -> None:
    locks.take(connection, (f"document^{item}" for item in unique_ids))
