"""Which blobs the tables need, for what, and of which size: what a scrub compares the store with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

from sqlalchemy import BigInteger, Connection, Select, cast, func, literal, null, select, union, union_all

from xds.store.schema.asynchronous import asynchronous_blob
from xds.store.schema.documents import repository_document
from xds.store.schema.imaging import imaging_instance, imaging_manifest, imaging_report


class Holder(Enum):
    """A kind of thing that is made of a blob."""

    DOCUMENT = "document"
    IMAGE = "image"
    MANIFEST = "manifest"
    REPORT = "report"
    REQUEST = "asynchronous request"


@dataclass(frozen=True, slots=True)
class Reference:
    """What needs a blob: `count` things of one kind, one of which is `unique_id`, and the octets they say it has (if they do)."""

    holder: Holder
    unique_id: str
    count: int
    smallest: int | None
    largest: int | None


#: Kind, columns of the blob and of its name outside, and of its size where the table has one.
_SOURCES: tuple[tuple[Holder, Any, Any, Any], ...] = (
    (Holder.DOCUMENT, repository_document.c.blob, repository_document.c.unique_id, repository_document.c.size),
    (Holder.IMAGE, imaging_instance.c.blob, imaging_instance.c.sop_instance_uid, imaging_instance.c.size),
    (Holder.MANIFEST, imaging_manifest.c.blob, imaging_manifest.c.unique_id, cast(null(), BigInteger)),
    (Holder.REPORT, imaging_report.c.blob, imaging_report.c.report_id, imaging_report.c.size),
    (Holder.REQUEST, asynchronous_blob.c.blob, asynchronous_blob.c.message, cast(null(), BigInteger)),
)


def totals(connection: Connection) -> tuple[int, int]:
    """How many blobs the tables need, and how many octets they say these have. It looks at every row."""
    each = union_all(
        *(select(blob, size.label("size")).where(blob.is_not(None)) for _, blob, _, size in _SOURCES),
    ).subquery()
    of_one = select(func.max(each.c.size).label("size")).group_by(each.c.blob).subquery()
    row = connection.execute(select(func.count(), func.coalesce(func.sum(of_one.c.size), 0)).select_from(of_one)).one()
    return int(row[0]), int(row[1])


def after(connection: Connection, blob: str, limit: int) -> Sequence[str]:
    """The next blobs that the tables need, in ascending order: for reading all of them a page at a time."""
    pages = [select(column).where(column > blob).distinct().order_by(column).limit(limit) for _, column, _, _ in _SOURCES]
    each = union(*(select(page.subquery()) for page in pages)).subquery()
    return connection.execute(select(each.c.blob).order_by(each.c.blob).limit(limit)).scalars().all()


def find(connection: Connection, blobs: Sequence[str]) -> Mapping[str, tuple[Reference, ...]]:
    """What needs these blobs, at most some hundreds; those that nothing needs are absent."""
    found: dict[str, tuple[Reference, ...]] = {}
    for holder, blob, unique_id, size in _SOURCES:
        statement: Select[Any] = (
            select(blob, func.min(unique_id), func.count(literal(1)), func.min(size), func.max(size))
            .where(blob.in_(blobs))
            .group_by(blob)
        )
        for key, *facts in connection.execute(statement):
            found[key] = (*found.get(key, ()), Reference(holder, *facts))
    return found
