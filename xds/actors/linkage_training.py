"""Learning the weights of linkage from the records of the register itself.

Spec: ITI TF-2 3.9 leaves the algorithm to the PIX Manager.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Final

from xds.rules import linkage
from xds.rules.linkage import Traits, Weights
from xds.store import patients_terms
from xds.store.database import Database
from xds.store.patients import Patients

#: Fewer records than this tell nothing.
LEAST_RECORDS: Final = 1000
_PAGE: Final = 5000


@dataclass(frozen=True, slots=True)
class Training:
    """A new version of the weights. `changes` are (trait, level, bits in force, new bits)."""

    version: str
    records: int
    changes: tuple[tuple[str, int, float, float], ...]


def train(database: Database, in_force: Weights, records: int, now: datetime) -> Training | None:
    """Learn from at most so many records, and store what was learned. None when there are too few.

    Of a larger register those born on some days are taken: records of one person stay together.
    """
    with database.read() as connection:
        total = Patients(connection).last_person()
    share = max(1, -(-total // records))
    sample = [item for item in _traits(database) if zlib.crc32(item.birth_date.encode()) % share == 0]
    if len(sample) < LEAST_RECORDS:
        return None
    version = now.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    learned = replace(linkage.train(sample, in_force), version=version)
    stamp = int(now.timestamp() * 1000)
    database.write(lambda connection: patients_terms.add_weights(connection, version, learned.to_json(), stamp))
    changes = (
        (trait, level, old, new)
        for trait, bits in learned.bits.items()
        for level, (old, new) in enumerate(zip(in_force.bits[trait], bits, strict=True))
        if round(old, 2) != round(new, 2)
    )
    return Training(version, len(sample), tuple(changes))


def _traits(database: Database) -> Iterator[Traits]:
    """What every source states of every record, page by page, so that no snapshot is held for long."""
    after = (0, "")
    while True:
        with database.read() as connection:
            rows = Patients(connection).packed_traits(after, _PAGE)
        for row in rows:
            yield Traits.unpack(row[2])
        if len(rows) < _PAGE:
            return
        after = (rows[-1][0], rows[-1][1])
