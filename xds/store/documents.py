"""The documents of the repository: what was stored under which uniqueId. The octets themselves are blobs.

Spec: ITI TF-2 3.41.4.1.3 (a repeated uniqueId), 3.43.4.2.2 (what a retrieve answers).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import Connection, Row, delete, insert, select

from xds.store.schema.documents import repository_document

#: Values of one IN list: far below what the databases allow, and enough to make the number of statements irrelevant.
_VALUES_PER_STATEMENT = 500


@dataclass(frozen=True, slots=True)
class StoredDocument:
    """One document. `blob` is the key of its octets, `sha1` lower-case hex, `patient_id` a CX of the affinity domain,
    `class_code` and `confidentiality` have the form `code^^scheme`."""

    unique_id: str
    blob: str
    size: int
    sha1: str
    mime_type: str
    patient_id: str
    stored: datetime
    class_code: str | None = None
    confidentiality: tuple[str, ...] = ()


def find(connection: Connection, unique_ids: Sequence[str]) -> Mapping[str, StoredDocument]:
    """The documents of these uniqueIds; those that are not there are absent."""
    found: dict[str, StoredDocument] = {}
    for some in portions(unique_ids):
        rows = connection.execute(select(repository_document).where(repository_document.c.unique_id.in_(some)))
        found.update((row.unique_id, _document(row)) for row in rows)
    return found


class AlreadyStoredError(Exception):
    """A document that was to be stored for the first time is there already."""


class OtherContentError(Exception):
    """A uniqueId is taken by another content. `taken` are the documents that were there before."""

    def __init__(self, taken: Sequence[StoredDocument]) -> None:
        super().__init__(f"{len(taken)} uniqueIds are taken by another content")
        self.taken = tuple(taken)


def add(connection: Connection, documents: Sequence[StoredDocument], *, only_new: bool = False) -> None:
    """Store documents. Nothing changes where identical content stands under the same uniqueId.

    Errors, raised so that the whole transaction is undone: OtherContentError; with `only_new` AlreadyStoredError for a uniqueId
    that is there, whatever its content.
    """
    there = find(connection, [document.unique_id for document in documents])
    if only_new and there:
        raise AlreadyStoredError
    taken = [there[item.unique_id] for item in documents if item.unique_id in there and there[item.unique_id].sha1 != item.sha1]
    if taken:
        raise OtherContentError(taken)
    fresh = [_values(document) for document in documents if document.unique_id not in there]
    if fresh:
        connection.execute(insert(repository_document), fresh)


def remove(connection: Connection, unique_ids: Sequence[str]) -> None:
    """Forget the documents of these uniqueIds. Their blobs stay; others may need them."""
    for some in portions(unique_ids):
        connection.execute(delete(repository_document).where(repository_document.c.unique_id.in_(some)))


def referenced(connection: Connection, blobs: Sequence[str]) -> frozenset[str]:
    """Those of these blobs that some document needs."""
    needed: set[str] = set()
    for some in portions(blobs):
        statement = select(repository_document.c.blob).where(repository_document.c.blob.in_(some)).distinct()
        needed.update(connection.execute(statement).scalars())
    return frozenset(needed)


def portions(values: Sequence[str]) -> Iterator[Sequence[str]]:
    """The values in portions that fit into one IN list."""
    for start in range(0, len(values), _VALUES_PER_STATEMENT):
        yield values[start : start + _VALUES_PER_STATEMENT]


def _values(document: StoredDocument) -> dict[str, object]:
    return {
        "unique_id": document.unique_id,
        "blob": document.blob,
        "size": document.size,
        "sha1": document.sha1,
        "mime_type": document.mime_type,
        "patient_id": document.patient_id,
        "class_code": document.class_code,
        "confidentiality": json.dumps(document.confidentiality, ensure_ascii=False),
        "stored": int(document.stored.timestamp() * 1000),
    }


def _document(row: Row[tuple[object, ...]]) -> StoredDocument:
    return StoredDocument(
        unique_id=row.unique_id,
        blob=row.blob,
        size=row.size,
        sha1=row.sha1,
        mime_type=row.mime_type,
        patient_id=row.patient_id,
        stored=datetime.fromtimestamp(row.stored / 1000, UTC),
        class_code=row.class_code,
        confidentiality=tuple(json.loads(row.confidentiality)),
    )
