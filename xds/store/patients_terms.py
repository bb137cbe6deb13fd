"""Weights of linkage, and how often each name occurs.

Names are counted incrementally, but not in the transaction of each feed: everybody would wait for the row of the most frequent
name. Each process gathers what it counted and adds it in small portions, because the rows of a portion lie on as many pages, and
feeds wait while they are written; what a crash loses of the last seconds changes no decision.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from hashlib import blake2b
from itertools import islice
from typing import Final

from sqlalchemy import Connection, bindparam, select, text, update

from xds.store.dialects import put
from xds.store.schema.identity import linkage_weights, term_frequency
from xds.store.statements import Prepared

#: The term under which all records are counted.
RECORDS: Final = "records"
#: How many terms are added in one piece of work, which other work waits for.
PORTION: Final = 64
#: How many frequencies are kept in memory; when there are more, all are read again.
_KEPT: Final = 400_000

_NUMBER: Final = Prepared(select(term_frequency.c.number).where(term_frequency.c.term == bindparam("term")))
_ADD: Final = Prepared(
    text(
        "INSERT INTO term_frequency (term, number) VALUES (:term, :number)"
        " ON CONFLICT (term) DO UPDATE SET number = term_frequency.number + excluded.number"
    )
)


@lru_cache(maxsize=1 << 17)
def term_of(kind: str, value: str) -> int:
    """The key of a term."""
    return int.from_bytes(blake2b(f"{kind}|{value}".encode(), digest_size=8).digest(), "big", signed=True)


def add_terms(connection: Connection, numbers: Mapping[int, int]) -> None:
    """Add to the frequencies of terms."""
    # In one order everywhere, so that two processes never wait for each other in a circle.
    _ADD.run(connection, [{"term": term, "number": number} for term, number in sorted(numbers.items())])


class TermCounts:
    """The frequencies as this process sees them: those stored, and what it counted since. One object serves all threads.

    What was counted gathers until it is released, and is then taken in portions.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._stored: dict[int, int] = {}
        self._counted: Counter[int] = Counter()
        self._released: dict[int, int] = {}

    def frequency(self, connection: Connection, term: int) -> int:
        """How often a term occurs."""
        stored = self._stored.get(term)
        if stored is None:
            row = _NUMBER.row(connection, {"term": term})
            stored = int(row[0]) if row else 0
            if len(self._stored) >= _KEPT:
                self._stored.clear()
            self._stored[term] = stored
        return stored + self._counted.get(term, 0) + self._released.get(term, 0)

    def count(self, terms: Iterable[int], number: int = 1) -> int:
        """Count terms once more (`number` -1: once less). Tells how many have gathered."""
        with self._lock:
            for term in terms:
                self._counted[term] += number
            return len(self._counted)

    def release(self) -> None:
        """Let what has gathered be taken."""
        with self._lock:
            for term, number in self._counted.items():
                if total := self._released.get(term, 0) + number:
                    self._released[term] = total
                else:
                    self._released.pop(term, None)
            self._counted = Counter()

    def portion(self) -> Mapping[int, int]:
        """Take some of what was released, to be stored now; empty when all of it was taken."""
        with self._lock:
            taken = {term: self._released.pop(term) for term in list(islice(self._released, PORTION))}
            for term, number in taken.items():
                if term in self._stored:
                    self._stored[term] += number
        return taken

    def forget(self) -> None:
        """Read the frequencies again when they are asked for: other processes count, too."""
        self._stored = {}


@dataclass(frozen=True, slots=True)
class StoredWeights:
    """One version of the weights. `weights` is JSON; times are in milliseconds since 1970."""

    version: str
    weights: str
    created: int
    activated: int | None


def add_weights(connection: Connection, version: str, weights: str, now: int) -> None:
    """Store a version, or replace it as long as it is not in force."""
    values = {"version": version, "weights": weights, "created": now, "activated": None}
    put(connection, linkage_weights, ("version",), values)


def activate_weights(connection: Connection, version: str, now: int) -> bool:
    """Put a version in force; False when there is none of that name."""
    where = linkage_weights.c.version == version
    return bool(connection.execute(update(linkage_weights).where(where).values(activated=now)).rowcount)


def weights(connection: Connection) -> tuple[StoredWeights, ...]:
    """Every version, the one in force first."""
    order = (linkage_weights.c.activated.is_(None), linkage_weights.c.activated.desc(), linkage_weights.c.created.desc())
    rows = connection.execute(select(linkage_weights).order_by(*order))
    return tuple(StoredWeights(row.version, row.weights, row.created, row.activated) for row in rows)
