"""What each level of agreement weighs: numbers learned from records, kept as data with a version.

A weight is log2 of how much more often a level is seen between two records of one person than between records of two (Fellegi and
Sunter). The sum over independent traits and the prior is the log2 odds that two records are one person.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from importlib.resources import files
from typing import Any, Final, Protocol


class Family(IntEnum):
    """How two records' family names agree."""

    DIFFERENT = 0
    #: A woman may use her husband's name.
    DIFFERENT_WOMAN = 1
    ALIKE = 2
    SOUND = 3
    SLIP = 4
    PART = 5
    EXACT = 6
    SWAPPED = 7


class Given(IntEnum):
    """How two records' given names agree. `KNOWN`: both are established names, so that neither is a slip of the pen."""

    DIFFERENT_KNOWN = 0
    DIFFERENT = 1
    ALIKE_KNOWN = 2
    ALIKE = 3
    SOUND = 4
    SLIP = 5
    VARIANT = 6
    OTHER = 7
    PART = 8
    EXACT = 9
    SWAPPED = 10


class BirthDate(IntEnum):
    """How two birth dates agree."""

    DIFFERENT = 0
    SAME_YEAR = 1
    #: All that is known of one of them agrees: a year alone, or the first of January that stands for one.
    COMPATIBLE = 2
    TWO_DIGITS = 3
    SLIP = 4
    EXACT_DEFAULT = 5
    EXACT = 6


#: The compared traits and how many levels each has, the worst first.
LEVELS: Final[Mapping[str, int]] = {
    "family": len(Family),
    "given": len(Given),
    "birth_date": len(BirthDate),
    "sex": 2,
    "address": 6,
    "telephone": 2,
    "email": 2,
    "mother": 3,
    "national": 3,
}


class Frequencies(Protocol):
    """How often values occur in a register. `kind` is `family`, `given` or `place`, the value as `frequency_values` gives it."""

    @property
    def records(self) -> int:
        """The number of records."""

    def frequency(self, kind: str, value: str) -> int:
        """The number of records in which a value occurs."""


@dataclass(frozen=True, slots=True)
class Register:
    """Frequencies held in memory; without values, those of an unknown register of that size."""

    records: int = 0
    counts: Mapping[tuple[str, str], int] = field(default_factory=dict)

    def frequency(self, kind: str, value: str) -> int:
        """The number of records in which a value occurs."""
        return self.counts.get((kind, value), 0)


@dataclass(frozen=True, slots=True)
class Weights:
    """`bits[trait][level]` are weights, `chance[trait]` is how often two records of different persons agree exactly.

    `matches_per_record`: how many other records of the same person a record has on average. `link` and `review` are thresholds
    in log2 odds: at or above `link` two records are one person, at or above `review` somebody should look.
    `same_domain` is subtracted when both records are of one domain, which should have seen itself that they are one. Who was
    born in the year `children_since` or later is too young to bear a husband's name.
    """

    version: str
    bits: Mapping[str, tuple[float, ...]]
    chance: Mapping[str, float]
    matches_per_record: float = 0.7
    link: float = 6.7
    review: float = 0.0
    same_domain: float = 5.0
    children_since: int = 2006

    def to_json(self) -> str:
        """The stored form."""
        values: dict[str, Any] = {
            "version": self.version,
            "link": self.link,
            "review": self.review,
            "same_domain": self.same_domain,
            "children_since": self.children_since,
            "matches_per_record": self.matches_per_record,
            "chance": dict(self.chance),
            "bits": {trait: list(levels) for trait, levels in self.bits.items()},
        }
        return json.dumps(values, indent=1)

    @staticmethod
    def from_json(text: str) -> Weights:
        """Read the stored form. Errors: ValueError when it does not fit the compared traits."""
        try:
            values = json.loads(text)
            bits = {trait: tuple(float(item) for item in values["bits"][trait]) for trait in LEVELS}
            numbers = {name: float(values[name]) for name in ("matches_per_record", "link", "review", "same_domain")}
            chance = {trait: float(values["chance"][trait]) for trait in ("family", "given", "place")}
            version, children = str(values["version"]), int(values["children_since"])
        except (KeyError, TypeError) as error:
            raise ValueError(f"no weights of linkage: {error!r}") from error
        if any(len(bits[trait]) != count for trait, count in LEVELS.items()):
            raise ValueError("weights of linkage with another number of levels")
        if not all(math.isfinite(item) for levels in bits.values() for item in levels):
            raise ValueError("a weight of linkage is no number")
        return Weights(version, bits, chance, children_since=children, **numbers)


DEFAULT_WEIGHTS: Final = Weights.from_json(files(__package__).joinpath("weights.json").read_text(encoding="utf-8"))
