"""Candidates of whom one look says that they are somebody else.

In a large register most of those who share a key are strangers who were born on one day in one region. What `decide` would say of
them is known before they are compared trait by trait: given names that have nothing in common are two people, and nobody is asked
about them, unless the sex of one is not known, or a common address or number speaks against it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Final

from xds.rules.linkage.folding import joined
from xds.rules.linkage.given_comparison import Bearers, given_level
from xds.rules.linkage.slips import is_slip
from xds.rules.linkage.traits import Traits, packed_fields
from xds.rules.linkage.weights import Given, Register

#: How often names occur tells names that differ from one another, not whether they do.
_NO_BEARERS: Final = Bearers(Register())
_NONE: Final[frozenset[str]] = frozenset()


def are_strangers(records: Sequence[Traits], packed: bytes) -> bool:
    """True when each of these records and the one with these packed traits are certainly two people, whom nobody need look at.

    What it says is never otherwise than what `compare` and `needs_review` say.
    """
    fields = packed_fields(packed)
    return bool(records) and all(_are_two(item, fields) for item in records)


def _are_two(one: Traits, other: Sequence[Sequence[str]]) -> bool:
    families, givens, further, sex, emails, nationals = other
    if not (one.sex and sex and one.givens and givens):
        return False
    if (one.nationals and nationals) or not set(one.emails).isdisjoint(emails):
        return False
    own_further, others = one.further or _NONE, frozenset(further) if further else _NONE
    if not all(_differ(a, b, own_further, others) for a in one.givens for b in givens):
        return False
    return not (_cross(one.givens, families) or _cross(givens, one.families))


@lru_cache(1 << 17)
def _differ(one: str, other: str, further: frozenset[str], other_further: frozenset[str]) -> bool:
    return given_level(one, other, further, other_further, _NO_BEARERS) <= Given.DIFFERENT


def _cross(givens: Iterable[str], families: Iterable[str]) -> bool:
    """True when a given name may stand in the field of the other's family name."""
    return any(_is_near(given, family) for given in givens for family in families)


@lru_cache(1 << 16)
def _is_near(given: str, family: str) -> bool:
    return (
        joined(given) == joined(family)
        or given.split(" ")[0] == family
        or family.split(" ")[0] == given
        or is_slip(given, family)
    )
