"""Care of what is stored: reads every blob again, compares it with its name and with the tables, and removes what nobody needs.

It works beside a running server, of which it needs no knowledge: what changes meanwhile is looked at once more before it counts.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from itertools import islice
from threading import Lock

from xds.actors import document_repository
from xds.ports import BlobStore
from xds.store import blob_references
from xds.store.blob_references import Reference
from xds.store.database import Database

#: Blobs of one page: so many are in memory at a time, and between two pages no snapshot of the database is held.
_PAGE = 500


class Defect(Enum):
    """What can be wrong with a blob."""

    MISSING = "missing"
    UNREADABLE = "unreadable"
    DAMAGED = "damaged"
    SIZE_DIFFERS = "size differs"
    UNREFERENCED = "unreferenced"

    @property
    def is_damage(self) -> bool:
        """False for what a submission that failed leaves behind, and a sweep removes."""
        return self is not Defect.UNREFERENCED


@dataclass(frozen=True, slots=True)
class Finding:
    """One defect of one blob. `detail` says it in words, `references` what is affected."""

    defect: Defect
    blob: str
    detail: str
    references: tuple[Reference, ...] = ()


@dataclass(slots=True)
class Scrubbed:
    """How far a scrub has come: it may be read while the scrub goes on."""

    blobs: int = 0
    octets: int = 0
    findings: Counter[Defect] = field(default_factory=Counter)

    @property
    def is_clean(self) -> bool:
        """True when no damage was found so far."""
        return not any(count for defect, count in self.findings.items() if defect.is_damage)


@dataclass(frozen=True, slots=True)
class _Content:
    """What reading a blob gave. `sha256` is None when there is none; `problem` why it could not be read."""

    blob: str
    size: int = 0
    sha256: str | None = None
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class _Reading:
    """Reads blobs in the threads of a pool and counts."""

    blobs: BlobStore
    pool: ThreadPoolExecutor
    scrubbed: Scrubbed
    advanced: Callable[[int], None]
    counting: Lock = field(default_factory=Lock)

    def read(self, keys: Sequence[str]) -> Iterator[_Content]:
        """What is in these blobs, in their order. Errors: OSError when it is the store that cannot be read."""
        return self.pool.map(self._read, keys)

    def _read(self, key: str) -> _Content:
        digest = hashlib.sha256()
        size = 0
        try:
            for chunk in self.blobs.open(key):
                digest.update(chunk)
                size += len(chunk)
                self.advanced(len(chunk))
        except KeyError:
            return _Content(key)
        except (ConnectionError, TimeoutError, PermissionError):
            # That is the store, or how it was asked; every other blob would look as bad.
            raise
        except OSError as problem:
            return _Content(key, problem=problem.strerror or "it cannot be read")
        with self.counting:
            self.scrubbed.blobs += 1
            self.scrubbed.octets += size
        return _Content(key, size, digest.hexdigest())


class RepositoryCare:
    """The blobs of a repository and an image archive, with the tables that refer to them."""

    def __init__(self, blobs: BlobStore, database: Database) -> None:
        self._blobs = blobs
        self._database = database

    def totals(self) -> tuple[int, int]:
        """How many blobs the tables need, and how many octets these are."""
        with self._database.read() as connection:
            return blob_references.totals(connection)

    def scrub(
        self, scrubbed: Scrubbed, *, readers: int = 2, advanced: Callable[[int], None] = lambda octets: None
    ) -> Iterator[Finding]:
        """Read every blob, each once, and yield what is wrong; `scrubbed` is brought up to date on the way.

        Nothing is changed. Memory does not grow with the number of blobs or with their size. `readers` blobs are read at a time,
        and each thread that reads calls `advanced` with the octets it has just read.
        Errors: OSError when the store as a whole cannot be read.
        """
        with ThreadPoolExecutor(readers, thread_name_prefix="scrub") as pool:
            for finding in self._findings(_Reading(self._blobs, pool, scrubbed, advanced)):
                scrubbed.findings[finding.defect] += 1
                yield finding

    def sweep(self, *, committed_before: datetime, rehearse: bool = False) -> int:
        """Remove the blobs that nobody needs and tell how many; with `rehearse` only tell.

        `committed_before` must lie further back than the longest submission takes. Errors: OSError.
        """
        if not rehearse:
            return document_repository.sweep(self._blobs, (self._surely_needed,), committed_before=committed_before)
        unneeded = (key for page in self._listed() for key in _without(page, self.needed(page)))
        return sum(self._is_older(key, committed_before) for key in unneeded)

    def needed(self, keys: Sequence[str]) -> Mapping[str, tuple[Reference, ...]]:
        """Those of these blobs that something needs, looked up in one snapshot: what needs a blob may change its kind."""
        with self._database.read() as connection:
            return blob_references.find(connection, keys)

    # ---- scrub

    def _findings(self, reading: _Reading) -> Iterator[Finding]:
        for page in self._referenced():
            references = self.needed(page)
            for content in reading.read(page):
                yield from self._judge(content, references.get(content.blob, ()))
        for page in self._listed():
            for content in reading.read(_without(page, self.needed(page))):
                yield from self._judge_unreferenced(content)

    def _judge(self, content: _Content, references: tuple[Reference, ...]) -> Iterator[Finding]:
        key = content.blob
        if content.problem is not None:
            yield Finding(Defect.UNREADABLE, key, content.problem, references)
        elif content.sha256 is None:
            still = self._references(key)
            if still and not self._is_there(key):
                yield Finding(Defect.MISSING, key, "there is no such blob", still)
        else:
            if content.sha256 != key:
                detail = f"its {content.size} octets have the SHA-256 {content.sha256}"
                yield Finding(Defect.DAMAGED, key, detail, references)
            wrong = tuple(item for item in references if any(size not in (None, content.size) for size in _sizes(item)))
            if wrong:
                stated = sorted({size for item in wrong for size in _sizes(item) if size is not None})
                detail = f"it has {content.size} octets, {' and '.join(map(str, stated))} are stated"
                yield Finding(Defect.SIZE_DIFFERS, key, detail, wrong)

    def _judge_unreferenced(self, content: _Content) -> Iterator[Finding]:
        if content.problem is not None:
            yield Finding(Defect.UNREADABLE, content.blob, content.problem)
        elif content.sha256 is not None:
            if content.sha256 != content.blob:
                detail = f"its {content.size} octets have the SHA-256 {content.sha256}"
                yield Finding(Defect.DAMAGED, content.blob, detail)
            if not self._references(content.blob):
                yield Finding(Defect.UNREFERENCED, content.blob, f"nothing needs its {content.size} octets")

    def _is_there(self, key: str) -> bool:
        try:
            self._blobs.size(key)
        except KeyError:
            return False
        return True

    # ---- who needs what

    def _referenced(self) -> Iterator[Sequence[str]]:
        page: Sequence[str] = [""]
        while page:
            with self._database.read() as connection:
                page = blob_references.after(connection, page[-1], _PAGE)
            if page:
                yield page

    def _listed(self) -> Iterator[Sequence[str]]:
        keys = self._blobs.keys()
        while page := list(islice(keys, _PAGE)):
            yield page

    def _surely_needed(self, keys: Sequence[str]) -> Mapping[str, tuple[Reference, ...]]:
        """As `needed`; what the snapshot did not show because somebody removed it stays removed if the power fails now."""
        needed = self.needed(keys)
        self._database.flush()
        return needed

    def _references(self, key: str) -> tuple[Reference, ...]:
        return self.needed([key]).get(key, ())

    def _is_older(self, key: str, than: datetime) -> bool:
        try:
            return self._blobs.committed_at(key) < than
        except KeyError:
            return False


def _without(page: Sequence[str], needed: Mapping[str, object]) -> Sequence[str]:
    return [key for key in page if key not in needed]


def _sizes(reference: Reference) -> tuple[int | None, int | None]:
    return reference.smallest, reference.largest
