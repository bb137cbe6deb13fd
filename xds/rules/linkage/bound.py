"""What the odds of two records are at most, found with less work than comparing them takes."""

from __future__ import annotations

import math
from typing import Final

from xds.rules.linkage.comparison import (
    NO_BIRTH_DATE,
    WOMAN,
    are_swapped,
    date_level,
    family_level,
    place_level,
    rarity,
)
from xds.rules.linkage.folding import joined
from xds.rules.linkage.given_comparison import Bearers, given_level
from xds.rules.linkage.traits import Traits
from xds.rules.linkage.weights import Family, Frequencies, Given, Register, Weights

_NO_BEARERS: Final = Bearers(Register())


def most_odds(one: Traits, other: Traits, weights: Weights, frequencies: Frequencies, prior_bits: float) -> float:
    """No less than the total of `compare`, found with less work; infinite where that needs all of it.

    `prior_bits` are the odds before anything is compared. This tells those who were born on one day and called by one name from
    those who may be one person.
    """
    if one.nationals and other.nationals:
        return math.inf
    family = max((family_level(a, b) for a in one.families for b in other.families), default=-1)
    if family > Family.ALIKE:
        return math.inf
    bits = weights.bits
    total = prior_bits
    if family == Family.DIFFERENT and {one.sex, other.sex} in WOMAN:
        total += max(bits["family"][: Family.ALIKE])
    elif family >= 0:
        total += bits["family"][family]
    if one.givens and other.givens:
        total += _most_of_given(one, other, weights, frequencies)
    if one.birth_date and other.birth_date:
        total += bits["birth_date"][date_level(one, other)]
    else:
        total += NO_BIRTH_DATE
    if one.sex and other.sex:
        total += bits["sex"][one.sex == other.sex]
    if one.addresses and other.addresses:
        place = max(place_level(a, b)[0] for a in one.addresses for b in other.addresses)
        # How frequent a town is takes away from what is above nothing.
        total += max(bits["address"][place], 0.0 if place else -math.inf) if place >= 0 else 0.0
    for trait, mine, others in (("telephone", one.telephones, other.telephones), ("email", one.emails, other.emails)):
        if mine and others:
            total += bits[trait][not set(mine).isdisjoint(others)]
    if one.mother and other.mother:
        total += max(bits["mother"])
    return total


def _most_of_given(one: Traits, other: Traits, weights: Weights, frequencies: Frequencies) -> float:
    """No less than what given names weigh, beside family names that are not the same; infinite where fields may be exchanged."""
    bits = weights.bits["given"]
    firsts, others = ({name.split(" ", 1)[0] for name in item.givens} for item in (one, other))
    if not set(one.givens).isdisjoint(other.givens):
        return bits[Given.EXACT] + max(rarity("given", name, weights, frequencies) for name in firsts)
    if any("?" in name for name in (*firsts, *others)) or any(joined(a) == joined(b) for a in one.givens for b in other.givens):
        return math.inf
    if (
        not set(one.givens).isdisjoint(other.families)
        or not set(other.givens).isdisjoint(one.families)
        or are_swapped(one, other)
    ):
        return math.inf
    parts = [bits[Given.PART] + rarity("given", name, weights, frequencies) for name in firsts & others]
    # Names that others bear too are less alike, never more.
    levels = (given_level(a, b, one.further, other.further, _NO_BEARERS) for a in one.givens for b in other.givens)
    return max(*(bits[level] for level in levels if level < Given.PART), *parts, bits[Given.DIFFERENT_KNOWN])
