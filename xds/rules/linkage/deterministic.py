"""Deterministic rules on normalised traits: what linked records before weights did, kept while callers move to `decide`.

Two records are linked when their national identifier is the same, or when family name, given name, day of birth and sex are the
same and their addresses do not contradict. A veto (different day of birth, sex, national identifier, name suffix, order of
birth) counts between any two records of the groups that a link would join. A domain issues one identifier to one person: two
records of one domain are joined only when their addresses positively agree, and never when the domain is the affinity domain.

Spec: ITI TF-2 3.9 leaves the algorithm to the PIX Manager.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from xds.rules.linkage.decision import Group, Member
from xds.rules.linkage.traits import Traits


class LinkReason(StrEnum):
    """Why two persons are one. The values are stored."""

    DEMOGRAPHICS = "demographics"
    NATIONAL_IDENTIFIER = "national identifier"
    STATED = "stated by source"
    MERGED = "merged by source"
    LINKED = "linked by source"
    #: The opposite: somebody decided that they are two, and no rule may join them.
    APART = "apart"


#: Reasons that rules find, and that rules may withdraw when the traits change.
AUTOMATIC = frozenset({LinkReason.DEMOGRAPHICS, LinkReason.NATIONAL_IDENTIFIER})


def is_vetoed(one: Traits, other: Traits) -> bool:
    """True when two records cannot describe one person."""
    dates = (one.birth_date, other.birth_date)
    if all(dates) and not (dates[0].startswith(dates[1]) or dates[1].startswith(dates[0])):
        return True
    if {one.sex, other.sex} == {"F", "M"}:
        return True
    if one.suffixes and other.suffixes and not one.suffixes & other.suffixes:
        return True
    if None not in (one.birth_order, other.birth_order) and one.birth_order != other.birth_order:
        return True
    shared = {authority for authority, _ in one.national} & {authority for authority, _ in other.national}
    return any(
        not {item for item in one.national if item[0] == authority} & {item for item in other.national if item[0] == authority}
        for authority in shared
    )


def confirms(image: Traits, stated: Traits) -> bool:
    """True when the patient named in an image and a known person have a name and the full day of birth in common, and no veto."""
    dated = len(image.birth_date) == 8 and image.birth_date == stated.birth_date
    return dated and bool(image.names & stated.names) and not is_vetoed(image, stated)


def addresses_agree(one: Traits, other: Traits) -> bool:
    """True when both live in the same street of the same place."""
    return any(street and (place, street) in other.places for place, street in one.places)


def _addresses_contradict(one: Traits, other: Traits) -> bool:
    return bool(one.places and other.places) and not {place for place, _ in one.places} & {place for place, _ in other.places}


def reason_to_link(one: Traits, other: Traits) -> LinkReason | None:
    """Why two records describe the same person, or None. Vetoes are not asked here."""
    if one.national & other.national:
        return LinkReason.NATIONAL_IDENTIFIER
    same = len(one.birth_date) == 8 and one.birth_date == other.birth_date and one.sex == other.sex != ""
    if same and one.names & other.names and not _addresses_contradict(one, other):
        return LinkReason.DEMOGRAPHICS
    return None


@dataclass(frozen=True, slots=True)
class Link:
    """Two persons to be joined."""

    one: int
    other: int
    reason: LinkReason


def _best_reason(one: Member, other: Member) -> LinkReason | None:
    reasons = {reason_to_link(a, b) for a in one.traits for b in other.traits}
    if LinkReason.NATIONAL_IDENTIFIER in reasons:
        return LinkReason.NATIONAL_IDENTIFIER
    return LinkReason.DEMOGRAPHICS if LinkReason.DEMOGRAPHICS in reasons else None


def _are_compatible(one: Member, other: Member) -> bool:
    if other.person_key in one.apart or one.exclusive & other.exclusive:
        return False
    pairs = [(a, b) for a in one.traits for b in other.traits]
    if any(is_vetoed(a, b) for a, b in pairs):
        return False
    if not one.domains & other.domains:
        return True
    return any(addresses_agree(a, b) or a.national & b.national for a, b in pairs)


def may_be_one(one: Group, other: Group) -> bool:
    """True when nothing speaks against joining two groups of persons."""
    return all(_are_compatible(a, b) for a in one for b in other)


def holds(one: Member, other: Member) -> LinkReason | None:
    """Why a link between two persons still holds; None when it does not any more."""
    return _best_reason(one, other) if _are_compatible(one, other) else None


def links(person: Member, own: Group, candidates: Sequence[Group]) -> tuple[Link, ...]:
    """The links that join a person's group with the candidates that are her.

    When several candidates fit her but cannot be one person among themselves, the traits do not tell which one she is, and
    nothing is joined.
    """
    found: list[tuple[Group, Link]] = []
    for group in candidates:
        reasons = [(other, reason) for other in group if (reason := _best_reason(person, other))]
        if reasons and may_be_one(own, group):
            other, reason = reasons[0]
            found.append((group, Link(person.person_key, other.person_key, reason)))
    agreeing = all(may_be_one(one, other) for index, (one, _) in enumerate(found) for other, _ in found[index + 1 :])
    return tuple(link for _, link in found) if agreeing else ()
