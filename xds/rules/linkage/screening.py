"""Candidates of whom one look says that they are somebody else.

In a large register most of those who share a key are strangers who were born on one day in one region. What `decide` would say of
them is known before they are compared trait by trait: given names that have nothing in common are two people, and nobody is asked
about them, unless the sex of one is not known, or a common address or number speaks against it. So are those who have a day of
birth and a given name in common and nothing else, in a register so large that it has many such.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Final

from xds.rules.linkage.blocking import given_codes, tells_street
from xds.rules.linkage.bound import most_odds
from xds.rules.linkage.comparison import compare, prior, review_threshold
from xds.rules.linkage.folding import joined
from xds.rules.linkage.given_comparison import Bearers, borne, given_level
from xds.rules.linkage.given_names import are_related, given_words
from xds.rules.linkage.phonetics import english_code, french_code
from xds.rules.linkage.slips import is_slip, similarity
from xds.rules.linkage.traits import Glimpse, Traits
from xds.rules.linkage.weights import Frequencies, Given, Register, Weights

#: How often names occur tells names that differ from one another, not whether they do.
_NO_BEARERS: Final = Bearers(Register())
#: Words that are less alike than this are no slips of each other; shorter ones may be initials.
_FAR: Final = 0.65
_SHORTEST: Final = 4
#: The level of addresses from which on more agrees than one of their parts.
_SEVERAL_PARTS: Final = 2
#: ... and that from which on the street is among them, or looks so.
_SAME_STREET: Final = 4
#: What another order of a sum may make of it.
_ROUNDING: Final = 1e-6
_NONE: Final[frozenset[str]] = frozenset()


def are_strangers(records: Sequence[Traits], other: Traits) -> bool:
    """True when each of these records and the other one are certainly two people, whom nobody need look at.

    What it says is never otherwise than what `compare` and `needs_review` say.
    """
    return _is_strange(records, Glimpse.of(other))


def look_like_strangers(records: Sequence[Traits], seen: Iterable[Glimpse]) -> bool:
    """The same of a record of which this much is seen, before it is fetched."""
    return all(_is_strange(records, item) for item in seen)


def _is_strange(records: Sequence[Traits], other: Glimpse) -> bool:
    # Every feed asks this of several: a loop costs half of what `all` does.
    for item in records:
        if not _are_two(item, other):
            return False
    return bool(records)


def _are_two(one: Traits, other: Glimpse) -> bool:
    if not (one.sex and other.sex and one.givens and other.givens) or (one.nationals and other.has_nationals):
        return False
    if one.emails and other.emails and not set(one.emails).isdisjoint(other.emails):
        return False
    further = frozenset(other.further) if other.further else _NONE
    for a in one.givens:
        for b in other.givens:
            if not differ(a, b, one.further, further):
                return False
    return not (_cross(one.givens, other.families) or _cross(other.givens, one.families))


class Screen:
    """Who agrees with a record in too little for anybody to look at them, in a register as large as this one is now."""

    def __init__(self, weights: Weights, frequencies: Frequencies) -> None:
        self._weights = weights
        self._frequencies = frequencies
        self._prior = prior(weights, frequencies)
        self._limit = review_threshold(weights, self._prior) - _ROUNDING

    @property
    def is_of_many(self) -> bool:
        """True for a register so large that those who agree in little are strangers mostly."""
        return self._limit > self._weights.review

    def rules_out(self, records: Sequence[Traits], group: Sequence[Traits], *, are_all: bool) -> bool:
        """True when each of these records and each of a group are two people, whom nobody need look at.

        What it says is never otherwise than what `decide` says of a person with these records and the persons of the group.
        `are_all`: nobody has more records than these, so that it is known how often they bear a name.
        """
        own = borne(group) if are_all else None
        return bool(records) and all(
            are_strangers(records, other) or all(self._are_far_from_one(item, other, own) for item in records) for other in group
        )

    def looks_far(self, records: Sequence[Traits], seen: Iterable[Glimpse], *, is_near: bool, has_number: bool) -> bool:
        """The same of a record of which this much is seen, before it is fetched.

        `is_near`, `has_number`: it shares one of `home_keys`, one of `number_keys`. Who shares none has another number and
        lives in another street; in another region, if both were born on one day. There, streets and houses agree by chance.
        """
        others = [(glimpse.traits(), glimpse.has_nationals) for glimpse in seen]
        return bool(records) and all(
            not (one.nationals and has_nationals)
            and most_odds(one, other, self._weights, self._frequencies, self._prior)
            + self._most_of_unseen(one, other, is_near=is_near, has_number=has_number)
            < self._limit
            for other, has_nationals in others
            for one in records
        )

    def _most_of_unseen(self, one: Traits, other: Traits, *, is_near: bool, has_number: bool) -> float:
        """What traits may add at most that no glimpse shows."""
        bits = self._weights.bits
        # Records with several names have more keys than are kept; keys stand beside names of one sound.
        has_keys = max(map(len, (one.families, one.givens, other.families, other.givens, one.addresses, one.telephones))) == 1
        would_share = has_keys and not set(given_codes(one)).isdisjoint(given_codes(other))
        total = max(bits["mother"]) if one.mother else 0.0
        if one.addresses:
            most = None
            if would_share and not is_near and tells_street(one.addresses[0]):
                are_of_one_day = len(one.birth_date) == 8 and one.birth_date == other.birth_date and one.sex == other.sex
                most = _SEVERAL_PARTS if are_of_one_day else _SAME_STREET
            total += max(bits["address"][:most])
        if one.telephones and (has_number or not would_share):
            total += max(bits["telephone"])
        return total

    def _are_far_from_one(self, one: Traits, other: Traits, own: Mapping[str, int] | None) -> bool:
        most = most_odds(one, other, self._weights, self._frequencies, self._prior)
        if most == math.inf and own is not None and not (one.nationals and other.nationals):
            most = compare(one, other, self._weights, self._frequencies, own).total
        return most < self._limit


def differ(one: str, other: str, further: frozenset[str] = _NONE, other_further: frozenset[str] = _NONE) -> bool:
    """True when two given names (with the further ones beside them) have nothing in common, however frequent they are."""
    return _differ(one, other, further, other_further) if further or other_further else _differ_alone(one, other)


# Given names are few, and the frequent ones meet again and again.
@lru_cache(1 << 16)
def _differ_alone(one: str, other: str) -> bool:
    if not _are_far_apart(one, other):
        return _differ(one, other, _NONE, _NONE)
    mine, others = _sounds(one), _sounds(other)
    return mine[0] != others[0] and mine[1] != others[1] and not are_related(one, other)


def _are_far_apart(one: str, other: str) -> bool:
    """True for two words that no slip of the pen explains and that no initial stands for.

    Every slip leaves words more alike than that, but for those that change letters which look alike: digits, and RN for M.
    """
    return _is_plain(one) and _is_plain(other) and similarity(one, other) < _FAR


@lru_cache(1 << 16)
def _is_plain(word: str) -> bool:
    return len(word) >= _SHORTEST and word.isalpha() and "RN" not in word


@lru_cache(1 << 15)
def _sounds(name: str) -> tuple[str, str]:
    return french_code(name), english_code(name)


@lru_cache(1 << 17)
def _differ(one: str, other: str, further: frozenset[str], other_further: frozenset[str]) -> bool:
    return given_level(one, other, further, other_further, _NO_BEARERS) <= Given.DIFFERENT


def _cross(givens: Iterable[str], families: Iterable[str]) -> bool:
    """True when a given name may stand in the field of the other's family name."""
    for given in givens:
        is_plain = _is_plain(given)
        for family in families:
            are_far_apart = is_plain and _is_plain(family) and similarity(given, family) < _FAR
            if not are_far_apart and _is_near(given, given_words(family)):
                return True
    return False


def _is_near(given: str, family: str) -> bool:
    if joined(given) == joined(family) or is_slip(given, family):
        return True
    return given.split(" ")[0] == family or family.split(" ")[0] == given
