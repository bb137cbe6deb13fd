"""Answers of which pages are left. They are kept for a while, so that the pages of one answer fit together whatever changes."""

from __future__ import annotations

import json
import secrets
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection, delete, insert, select

from xds.model.identifiers import AssigningAuthority
from xds.store.schema.demographics import demographics_result

#: How long an answer is kept, in milliseconds: one hour.
RETENTION: Final = 3600 * 1000
_NO_SCORE: Final = -1


@dataclass(frozen=True, slots=True)
class Result:
    """The keys of all patients found, with their scores, and what the asker wants of them.

    `source` and `query_tag` name the query for its continuation and its cancellation. `is_complete`: nobody was left out.
    `is_counted`: the asker may see all of them. `text` is the query as it was asked, if its pages repeat it.
    """

    source: str
    query_tag: str
    found: tuple[tuple[int, int | None], ...]
    domains: tuple[AssigningAuthority, ...] = ()
    is_complete: bool = True
    is_counted: bool = True
    text: str = ""


def add(connection: Connection, result: Result, now: int) -> str:
    """Keep an answer, and forget those that are too old. Gives the pointer under which it is continued."""
    connection.execute(delete(demographics_result).where(demographics_result.c.created < now - RETENTION))
    pointer = secrets.token_urlsafe(16)
    domains = [[item.namespace, item.oid] for item in result.domains]
    wanted = {"domains": domains, "complete": result.is_complete, "counted": result.is_counted, "text": result.text}
    values = {
        "pointer": pointer,
        "source": result.source,
        "query_tag": result.query_tag,
        "found": _packed(result.found),
        "wanted": json.dumps(wanted),
        "created": now,
    }
    connection.execute(insert(demographics_result).values(values))
    return pointer


def find(connection: Connection, pointer: str, now: int) -> Result | None:
    """The answer of a pointer; None when it is too old, was cancelled or never existed."""
    table = demographics_result
    where = (table.c.pointer == pointer, table.c.created >= now - RETENTION)
    row = connection.execute(select(table).where(*where)).first()
    if row is None:
        return None
    wanted = json.loads(row.wanted)
    domains = tuple(AssigningAuthority(*item) for item in wanted["domains"])
    found = _unpacked(row.found)
    return Result(row.source, row.query_tag, found, domains, wanted["complete"], wanted["counted"], wanted["text"])


def pointer_of(connection: Connection, source: str, query_tag: str, now: int) -> str | None:
    """The pointer of the last answer to the query of that name; None when there is none."""
    table = demographics_result
    where = (table.c.source == source, table.c.query_tag == query_tag, table.c.created >= now - RETENTION)
    row = connection.execute(select(table.c.pointer).where(*where).order_by(table.c.result_key.desc()).limit(1)).first()
    return str(row[0]) if row else None


def forget(connection: Connection, source: str, query_tag: str) -> bool:
    """Forget the answers to the query of that name; False when there are none."""
    table = demographics_result
    return bool(connection.execute(delete(table).where(table.c.source == source, table.c.query_tag == query_tag)).rowcount)


def _packed(found: Sequence[tuple[int, int | None]]) -> bytes:
    number = len(found)
    scores = (_NO_SCORE if score is None else score for _, score in found)
    return struct.pack(f"<{number}q{number}b", *(key for key, _ in found), *scores)


def _unpacked(stored: bytes) -> tuple[tuple[int, int | None], ...]:
    number = len(stored) // 9
    values = struct.unpack(f"<{number}q{number}b", stored)
    scores = (None if score == _NO_SCORE else score for score in values[number:])
    return tuple(zip(values[:number], scores, strict=True))
