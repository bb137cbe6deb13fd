"""What follows from the comparisons: which group of records a new one joins, and what somebody should look at.

A record does not join two groups into one by merely being between them (no chaining): it joins the group that it fits best, and
another one only when it fits well and the two groups also speak for one another; what else fits goes to review. A veto of any
record of a group keeps it out of that group, and so does a record of its own domain, which should have known: there, only a
qualified identifier or the agreement of everything joins two.

Two records of one domain that are joined are a duplicate of it, which stands in the queue all the same: somebody looks at it, and
the establishment merges what it filed twice. They are joined meanwhile: a national identifier would mean nobody while two records
that have it are apart, and records of other domains could join neither of them.

Spec: ITI TF-2 3.9 leaves the algorithm to the PIX Manager; 3.9.4.2.2.6, case 6 (several identifiers of one domain).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from xds.rules.linkage.comparison import Evidence, Veto, compare, review_threshold
from xds.rules.linkage.given_comparison import borne
from xds.rules.linkage.traits import Traits
from xds.rules.linkage.weights import LEVELS, BirthDate, Family, Frequencies, Given, Weights


@dataclass(frozen=True, slots=True)
class Member:
    """A person for linkage: the traits that each source states, and the domains that issued her an identifier of her own.

    `exclusive` are domains (the affinity domain) whose identifiers are never joined by a rule; `apart` are persons who were
    declared to be somebody else.
    """

    person_key: int
    traits: tuple[Traits, ...] = ()
    domains: frozenset[int] = frozenset()
    exclusive: frozenset[int] = frozenset()
    apart: frozenset[int] = field(default_factory=frozenset)


Group = Sequence[Member]
#: Odds of two groups that lie closer together than this do not tell which of them it is.
_CLEAR_BITS = 4.0
#: The level of addresses that have more in common than the town.
_SAME_STREET = 3
#: Odds below which two people of one name who were born on other days are two.
_NAMESAKES = -6.0
#: How far below the threshold of links the odds between two groups may lie that a record joins into one.
_BETWEEN_BITS = 8.0


@dataclass(frozen=True, slots=True)
class Scored:
    """A group of candidates that matters: its place in what was asked, its member who agrees best, and why."""

    group: int
    person_key: int
    evidence: Evidence


@dataclass(frozen=True, slots=True)
class Decision:
    """`link`: groups that the record joins; `review`: what somebody should look at, the likeliest first.

    That are groups that it does not join, and records of its own domain in those that it does.
    """

    link: tuple[Scored, ...] = ()
    review: tuple[Scored, ...] = ()


def compare_members(
    one: Member, other: Member, weights: Weights, frequencies: Frequencies, own: Mapping[str, int] | None = None
) -> Evidence | None:
    """The evidence between two persons: their best pair of records, with a veto if any pair has one. None without traits.

    `own` is how often each given name occurs in the records of all who are one person with either, where that is known.
    """
    best: Evidence | None = None
    veto: str | None = None
    for a in one.traits:
        for b in other.traits:
            evidence = compare(a, b, weights, frequencies, own)
            veto = _stronger(veto, evidence.veto)
            if best is None or evidence.total > best.total:
                best = evidence
    if best is None:
        return None
    penalty = weights.same_domain if one.domains & other.domains else 0.0
    if veto == best.veto and not penalty:
        return best
    bits = {**best.weights, "same_domain": -penalty} if penalty else best.weights
    rule = "veto" if veto else best.rule
    return Evidence(best.levels, bits, best.total - penalty, veto, rule)


_STRENGTH = {
    code: rank
    for rank, code in enumerate(
        (
            Veto.UNNAMED,
            Veto.SUFFIX,
            Veto.BIRTH_DATE,
            Veto.GIVEN_NAME_ALIKE,
            Veto.GIVEN_NAME,
            Veto.BIRTH_ORDER,
            Veto.NATIONAL_IDENTIFIER,
        )
    )
}


def _stronger(one: str | None, other: str | None) -> str | None:
    if one is None or other is None:
        return one or other
    return max(one, other, key=_STRENGTH.__getitem__)


def links_alone(evidence: Evidence, weights: Weights) -> bool:
    """True when the evidence between two persons says by itself that they are one."""
    return evidence.veto is None and (evidence.rule == "qualified identifier" or evidence.total >= weights.link)


def needs_review(evidence: Evidence, weights: Weights) -> bool:
    """True when somebody should look at two persons whom no rule joins."""
    if evidence.is_certainly_two:
        # The same number under two names of one birth: an error of somebody, and a dangerous one.
        return evidence.levels.get("national") == 2
    if "family" not in evidence.levels and "given" not in evidence.levels:
        # Tests and unknown persons: nobody can say who they are.
        return False
    return evidence.total >= review_threshold(weights, evidence.weights["prior"]) and not _are_namesakes(evidence)


def _are_namesakes(evidence: Evidence) -> bool:
    """True for birth dates that have nothing in common, where no address or number makes up for it: the more people a register
    has, the more of them bear one name."""
    levels = evidence.levels
    if levels.get("birth_date") != BirthDate.DIFFERENT or levels.get("national", 0) > 0:
        return False
    if levels.get("given") == Given.DIFFERENT_KNOWN:
        return True
    contact = levels.get("address", 0) >= _SAME_STREET or levels.get("telephone") == 1 or levels.get("email") == 1
    return not contact and evidence.total < _NAMESAKES


def decide(record: Member, candidates: Sequence[Group], weights: Weights, frequencies: Frequencies, own: Group = ()) -> Decision:
    """Which groups a person joins and which are for review.

    `own` are the persons with whom she is one already: what contradicts them, she does not join.
    """
    others = [one for one in own if one.person_key != record.person_key]
    linkable: list[Scored] = []
    review: list[Scored] = []
    for number, group in enumerate(candidates):
        scored, blocked = _best(record, number, group, weights, frequencies, _borne(others, group))
        if scored is None:
            continue
        if not blocked and links_alone(scored.evidence, weights) and not _contradict(others, group, weights, frequencies):
            linkable.append(scored)
        elif _is_for_review(record, group) and (needs_review(scored.evidence, weights) or links_alone(scored.evidence, weights)):
            review.append(scored)
    linkable.sort(key=_rank, reverse=True)
    joined = _chosen(linkable, candidates, weights, frequencies)
    review += [item for item in linkable if item not in joined]
    for item in joined:
        group = candidates[item.group]
        review += _duplicates(record, item.group, group, weights, frequencies, _borne(others, group))
    review.sort(key=_rank, reverse=True)
    return Decision(tuple(joined), tuple(review))


def _duplicates(
    record: Member, number: int, group: Group, weights: Weights, frequencies: Frequencies, own: Mapping[str, int]
) -> Iterator[Scored]:
    """The records of a group that the record's own domain has beside it."""
    for member in group:
        if record.domains & member.domains:
            evidence = compare_members(record, member, weights, frequencies, own)
            if evidence is not None:
                yield Scored(number, member.person_key, evidence)


def _chosen(
    linkable: Sequence[Scored], candidates: Sequence[Group], weights: Weights, frequencies: Frequencies
) -> Sequence[Scored]:
    """The best group, and every other one that has the same national identifier or belongs to those chosen.

    None when another one fits nearly as well and cannot be the same person: twins, one of whom is badly written.
    """
    same = [item for item in linkable if item.evidence.levels.get("national") == 2]
    for other in linkable[1:]:
        near = other in same or other.evidence.total > linkable[0].evidence.total - _CLEAR_BITS
        if near and _contradict(candidates[linkable[0].group], candidates[other.group], weights, frequencies):
            return ()
    chosen = list(same if linkable[:1] == same[:1] else linkable[:1])
    for other in linkable[1:]:
        around = [candidates[item.group] for item in chosen]
        if other not in chosen and all(_belong(group, candidates[other.group], weights, frequencies) for group in around):
            chosen.append(other)
    return chosen


def _rank(item: Scored) -> tuple[bool, float]:
    return (item.evidence.rule == "qualified identifier", item.evidence.total)


def _is_for_review(record: Member, group: Group) -> bool:
    return not any(member.person_key in record.apart or record.person_key in member.apart for member in group)


def _borne(*groups: Group) -> dict[str, int]:
    """How often each given name occurs in the records of these persons."""
    return borne(traits for group in groups for member in group for traits in member.traits)


def _forbids(evidence: Evidence, one: Member, other: Member, *groups: Group) -> bool:
    """True for a veto that stands. Two given names are one person's when a record of these groups lists both as hers."""
    if evidence.veto != Veto.GIVEN_NAME or evidence.levels.get("birth_date") != BirthDate.EXACT:
        return evidence.veto is not None
    firsts = {name.split(" ", 1)[0] for member in (one, other) for traits in member.traits for name in traits.givens}
    return not any(
        firsts <= traits.further.union(*(name.split(" ") for name in traits.givens))
        for group in groups
        for member in group
        for traits in member.traits
    )


def compare_with(
    record: Member, group: Group, weights: Weights, frequencies: Frequencies
) -> dict[int, tuple[Evidence | None, bool]]:
    """How a record compares with each of a group, and whether that forbids that they are one person, as `decide` sees it."""
    own = _borne(group)
    found = {}
    for member in group:
        evidence = compare_members(record, member, weights, frequencies, own)
        forbids = evidence is not None and _forbids(evidence, record, member, (record,), group)
        found[member.person_key] = (evidence, forbids)
    return found


def _best(
    record: Member, number: int, group: Group, weights: Weights, frequencies: Frequencies, own: Mapping[str, int]
) -> tuple[Scored | None, bool]:
    """The member of a group who agrees best, and whether any member keeps the record out."""
    best: Scored | None = None
    blocked = False
    same, forms = 0, Counter[tuple[str, ...]]()
    for member in group:
        if member.person_key in record.apart or record.person_key in member.apart or record.exclusive & member.exclusive:
            blocked = True
        evidence = compare_members(record, member, weights, frequencies, own)
        if evidence is None:
            continue
        blocked |= _forbids(evidence, record, member, (record,), group) or _is_repeated(record, member, evidence)
        same += evidence.levels.get("given") == Given.EXACT
        if evidence.levels.get("given") in _MISSPELT:
            forms[member.traits[0].givens] += 1
        if best is None or (evidence.veto is None, evidence.total) > (best.evidence.veto is None, best.evidence.total):
            best = Scored(number, member.person_key, evidence)
    return best, blocked or (same > 0 and max(forms.values(), default=0) > 1)


def _is_repeated(one: Member, other: Member, evidence: Evidence) -> bool:
    """True when one domain has both and neither a qualified identifier nor everything that they state says that they are one."""
    if not one.domains & other.domains or evidence.rule == "qualified identifier":
        return False
    levels = evidence.levels
    agrees = all(levels.get(trait) == count - 1 for trait, count in _WHOLE.items() if trait in levels or trait in _NAMED)
    return not (agrees and any(trait in levels for trait in ("address", "telephone", "email", "national")))


#: One slip is one; two records that agree in it against two others are twins whose names are alike.
_MISSPELT = frozenset({Given.SLIP, Given.SOUND})
_NAMED = ("family", "given", "birth_date")
#: The traits with one level more than the one that says they are equal.
_WHOLE = {**LEVELS, "family": Family.EXACT + 1, "given": Given.EXACT + 1}


def _belong(one: Group, other: Group, weights: Weights, frequencies: Frequencies) -> bool:
    """True when two groups may be one person and their best pair says so, if not loudly enough for a link."""
    own = _borne(one, other)
    compared = (compare_members(a, b, weights, frequencies, own) for a in one for b in other)
    found = [evidence for evidence in compared if evidence is not None]
    if min(len(one), len(other)) > 1 and all(evidence.levels.get("given") in _MISSPELT for evidence in found):
        return False
    best = max((evidence.total for evidence in found), default=-math.inf)
    return best >= weights.link - _BETWEEN_BITS and not _contradict(one, other, weights, frequencies)


def _contradict(one: Group, other: Group, weights: Weights, frequencies: Frequencies) -> bool:
    """True when two groups cannot be one person."""
    own = _borne(one, other)
    for a in one:
        for b in other:
            if b.person_key in a.apart or a.person_key in b.apart or a.exclusive & b.exclusive:
                return True
            evidence = compare_members(a, b, weights, frequencies, own)
            if evidence is not None and (_forbids(evidence, a, b, one, other) or _is_repeated(a, b, evidence)):
                return True
    return False
