"""Linking by rule inside the transaction of a feed: candidates, decision, evidence, and what a correction withdraws.

A record that changes is compared anew with everybody it is linked with by rule, and with everybody who shares a key. It joins the
one group that it fits best; it never joins two groups by standing between them. Whatever is decided is kept with its evidence.

Spec: ITI TF-2 3.9 leaves the algorithm to the PIX Manager.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Final

from xds.actors.pix_clusters import Clusters
from xds.model.identity_review import AUTOMATIC, DecisionAction, LinkEvidence, LinkReason, ReviewKind
from xds.rules import linkage
from xds.rules.linkage import Decision, Evidence, Glimpse, Group, Member, Scored, Traits, Weights
from xds.rules.linkage.screening import Screen, look_like_strangers
from xds.store.database import Connection
from xds.store.patients import StoredLink
from xds.store.patients_terms import RECORDS, TermCounts, term_of

#: More records under one key than this are no help to a decision: a placeholder that everybody types, an institution's address.
MOST_PER_KEY: Final = 50
#: How many candidates are compared at most: those that share the most keys.
_MOST_CANDIDATES: Final = 64
#: Rules join nobody to a group that has more records than this: nobody has so many, so what they share is a placeholder, too.
_MOST_MEMBERS: Final = 50

#: Keys of a record, each with its kind.
Keys = Mapping[int, str]
#: The traits that sources state of one record, and its keys.
Stated = tuple[Sequence[Traits], Keys]
#: Clusters of records that may be the same person, each with the packed traits of its records.
Candidates = Mapping[int, Mapping[int, Sequence[bytes]]]

_RECORDS_TERM: Final = term_of(RECORDS, "")
#: What a record is called that has no key yet.
_NEW: Final = 0


@dataclass(frozen=True, slots=True)
class Placement:
    """Where a record belongs that is alone: what was decided, by which weights, among which candidates.

    It holds as long as nothing of what it depends on changes: the keys of the record, and the records that were looked at.
    """

    member: Member
    decision: Decision
    candidates: Mapping[int, Member]
    depends_on: frozenset[int]
    weights: Weights

    @property
    def stays_alone(self) -> bool:
        """True when the record joins nobody."""
        return not self.decision.link


class StoredFrequencies:
    """How often names occur, as one transaction sees it."""

    def __init__(self, connection: Connection, counts: TermCounts) -> None:
        self._connection = connection
        self._counts = counts

    @property
    def records(self) -> int:
        """The number of records."""
        return self._counts.frequency(self._connection, _RECORDS_TERM)

    def frequency(self, kind: str, value: str) -> int:
        """The number of records in which a value occurs."""
        return self._counts.frequency(self._connection, term_of(kind, value))


def counted_record() -> int:
    """The term under which every record is counted."""
    return _RECORDS_TERM


def kept(evidence: Evidence, version: str) -> LinkEvidence:
    """Evidence as it is stored."""
    weights = {name: round(bits, 3) for name, bits in evidence.weights.items()}
    levels = {name: int(level) for name, level in evidence.levels.items()}
    return LinkEvidence(levels, weights, round(evidence.total, 3), evidence.veto, evidence.rule, version)


def reason_of(evidence: Evidence) -> LinkReason:
    """Why the rules join two records."""
    return LinkReason.NATIONAL_IDENTIFIER if evidence.rule == "qualified identifier" else LinkReason.DEMOGRAPHICS


def _under(found: Mapping[int, Collection[int]], keys: Iterable[int]) -> set[int] | None:
    """The records that stand under one of these keys; None where not all of them were looked up."""
    under = [found.get(key, ()) for key in keys]
    return {key for records in under for key in records} if all(len(records) < MOST_PER_KEY for records in under) else None


class Linker:
    """The rules at work in one transaction."""

    def __init__(self, clusters: Clusters, weights: Weights, counts: TermCounts) -> None:
        self._clusters = clusters
        self._patients = clusters.patients
        self._weights = weights
        self._frequencies = StoredFrequencies(clusters.patients.connection, counts)

    @cached_property
    def _screen(self) -> Screen:
        return Screen(self._weights, self._frequencies)

    def place(self, keys: Keys, traits: Traits, domains: frozenset[int]) -> Placement:
        """Decide where a record belongs that is not stored yet, among all who share a selective key with it."""
        return self._placed(Member(_NEW, (traits,), domains, domains & {self._clusters.affinity_key}), keys)

    def place_again(self, person_key: int, keys: Keys, traits: Traits, packed: bytes) -> Placement | None:
        """Decide where a record belongs that is known, once these are its keys and traits. None when it is not alone."""
        cluster = self._patients.cluster_of((person_key,))[person_key]
        if self._patients.members((cluster,))[cluster] != (person_key,) or self._patients.links((person_key,)):
            return None
        member = self.members((person_key,), {person_key: (packed,)})[person_key]
        return self._placed(member, keys) if member.traits else None

    def _placed(self, member: Member, keys: Keys) -> Placement:
        shared, strangers = self._sharing(keys, member.traits, member.person_key)
        shared.pop(member.person_key, None)
        around = self._around(shared)
        found = self._likely(around, member.traits, are_all=True)
        candidates, decision = self._decided(member, (member,), found) if found else ({}, Decision())
        depends_on = frozenset(keys).union((member.person_key,), strangers, *around.values())
        return Placement(member, decision, candidates, depends_on, self._weights)

    def holds(self, placement: Placement, since: int, person_key: int = _NEW) -> bool:
        """True when this would be decided again of a record (a new one, if none is named) that was decided as of that change."""
        if placement.member.person_key != person_key or placement.weights is not self._weights:
            return False
        return self._patients.is_unchanged(placement.depends_on, since)

    def carry_out(self, person_key: int, placement: Placement) -> None:
        """Join a record, as it is stored now, with whom it was decided, and have somebody look at the rest."""
        is_new = placement.member.person_key == _NEW
        member = replace(placement.member, person_key=person_key) if is_new else placement.member
        self._carry_out(member, placement.candidates, placement.decision, is_new=is_new)

    def relink(self, person_key: int, stated: Stated | None = None) -> None:
        """Withdraw the rules' links that a record's traits no longer support, and join those whom they do.

        `stated`: all that is stated of the record, if that is known.
        """
        separated = self._withdraw(person_key)
        self._seek(person_key, stated)
        for other in separated:
            # They may have been joined through this record alone.
            self._seek(other)

    def compare(self, one: int, other: int) -> LinkEvidence:
        """How two records compare now."""
        members = self.members((one, other))
        evidence = linkage.compare_members(members[one], members[other], self._weights, self._frequencies)
        return kept(evidence, self._weights.version) if evidence else LinkEvidence(version=self._weights.version)

    def members(self, person_keys: Collection[int], packed: Mapping[int, Sequence[bytes]] | None = None) -> dict[int, Member]:
        """Records as the rules see them. `packed` are their traits, when they are known."""
        issued = self._patients.ask_issued(person_keys)
        if packed is None:
            statements = self._patients.statements(person_keys)
            packed = {key: [item.traits for item in rows] for key, rows in statements.items()}
        apart: dict[int, set[int]] = {}
        for item in self._patients.links(person_keys):
            if item.reason == LinkReason.APART:
                apart.setdefault(item.lower_key, set()).add(item.higher_key)
                apart.setdefault(item.higher_key, set()).add(item.lower_key)
        domains: dict[int, set[int]] = {key: set() for key in person_keys}
        active: set[int] = set()
        for key, domain_key, national_state in issued():
            active.add(key)
            if national_state is None:
                domains[key].add(domain_key)
        affinity = {self._clusters.affinity_key}
        members = {}
        for key in person_keys:
            # Whoever has no identifier of her own left is history: what was said of her counts no more.
            traits = tuple([Traits.unpack(item) for item in packed.get(key, ())]) if key in active else ()
            own = frozenset(domains[key])
            members[key] = Member(key, traits, own, own & affinity, frozenset(apart.get(key, ())))
        return members

    def _stated(self, person_key: int) -> Stated:
        statements = self._patients.statements((person_key,)).get(person_key, ())
        traits = [Traits.unpack(item.traits) for item in statements]
        return traits, {key: kind for item in traits for key, kind in linkage.blocking_keys(item).items()}

    def _seek(self, person_key: int, stated: Stated | None = None) -> None:
        traits, keys = stated or self._stated(person_key)
        shared, _ = self._sharing(keys, traits, person_key)
        shared.pop(person_key, None)
        found: Candidates = {}
        own: Sequence[int] = ()
        if shared:
            own_cluster = self._patients.cluster_of((person_key,))[person_key]
            own = self._patients.members((own_cluster,))[own_cluster]
            for key in own:
                shared.pop(key, None)
            around = self._around(shared) if len(own) <= _MOST_MEMBERS else {}
            found = self._likely(around, traits, are_all=len(own) == 1)
        members = self.members(own) if found else {}
        if found and members[person_key].traits:
            self._join(members[person_key], [members[key] for key in own], found)
        else:
            self._dismiss(person_key, (), ())

    def _sharing(self, keys: Keys, traits: Sequence[Traits], person_key: int) -> tuple[Counter[int], set[int]]:
        """The records that share a selective key with this one, which need not be stored under it yet.

        Those whom a glimpse rules out stand apart: that takes a tenth of the time that fetching them does.
        """
        shared: Counter[int] = Counter()
        seen: dict[int, bytes] = {}
        found = self._patients.candidates(keys, MOST_PER_KEY)
        for records in found.values():
            if len(records) + (person_key != _NEW and person_key not in records) < MOST_PER_KEY:
                for key, glimpse in records.items():
                    shared[key] += 1
                    if glimpse is not None:
                        seen[key] = glimpse
        glimpses = {key: told for key, item in seen.items() if (told := Glimpse.unpack(item)) is not None}
        ruled_out = {key for key, glimpse in glimpses.items() if look_like_strangers(traits, glimpse)}
        left = glimpses.keys() - ruled_out - {person_key}
        if left and self._screen.is_of_many:
            near, numbers = _under(found, linkage.home_keys(keys)), _under(found, linkage.number_keys(keys))
            for key in left:
                is_near, has_number = near is None or key in near, numbers is None or key in numbers
                if self._screen.looks_far(traits, glimpses[key], is_near=is_near, has_number=has_number):
                    ruled_out.add(key)
        for key in ruled_out:
            del shared[key]
        return shared, ruled_out

    def _around(self, shared: Counter[int]) -> Candidates:
        """The clusters of the records that share the most keys."""
        nearest = [key for key, _ in shared.most_common(_MOST_CANDIDATES)] if shared else ()
        return self._patients.traits_around(nearest)

    def _likely(self, around: Candidates, traits: Sequence[Traits], *, are_all: bool) -> Candidates:
        """The clusters without those of whom nobody need look at anyone, and without those that nobody joins.

        `are_all`: the record is alone, and these are all of its traits.
        """
        found = {}
        for cluster, records in around.items():
            if len(records) <= _MOST_MEMBERS:
                group = [Traits.unpack(item) for packed in records.values() for item in packed]
                if not self._screen.rules_out(traits, group, are_all=are_all):
                    found[cluster] = records
        return found

    def _join(self, member: Member, own: Group, found: Candidates) -> None:
        """Decide about candidates of a record that is known, and carry that out."""
        candidates, decision = self._decided(member, own, found)
        self._carry_out(member, candidates, decision, is_new=False)

    def _decided(self, member: Member, own: Group, found: Candidates) -> tuple[Mapping[int, Member], Decision]:
        packed = {key: stated for records in found.values() for key, stated in records.items()}
        candidates = self.members(list(packed), packed)
        groups = [[candidates[key] for key in found[cluster]] for cluster in sorted(found)]
        return candidates, linkage.decide(member, groups, self._weights, self._frequencies, own)

    def _carry_out(self, member: Member, candidates: Mapping[int, Member], decision: Decision, *, is_new: bool) -> None:
        """`is_new`: it has no case yet."""
        for scored in decision.link:
            self._link(member.person_key, scored)
        self._review(member, candidates, decision.review)
        if not is_new:
            self._dismiss(member.person_key, decision.link, decision.review)
        if decision.link:
            self._clusters.regroup([member.person_key, *(scored.person_key for scored in decision.link)])

    def _link(self, person_key: int, scored: Scored) -> None:
        now, reason = self._clusters.now, reason_of(scored.evidence)
        self._clusters.touch((person_key, scored.person_key))
        self._patients.add_link(person_key, scored.person_key, reason, now)
        evidence = kept(scored.evidence, self._weights.version)
        self._patients.decide(person_key, scored.person_key, DecisionAction.LINK, reason, now, evidence)
        self._patients.close_case(person_key, scored.person_key)

    def _review(self, member: Member, candidates: Mapping[int, Member], review: Iterable[Scored]) -> None:
        for scored in review:
            other = candidates[scored.person_key]
            kind = ReviewKind.DUPLICATE if member.domains & other.domains else ReviewKind.CANDIDATE
            evidence, now = kept(scored.evidence, self._weights.version), self._clusters.now
            known = self._patients.case(member.person_key, other.person_key)
            if known is None or known.evidence != evidence:
                self._patients.decide(member.person_key, other.person_key, DecisionAction.REVIEW, evidence.rule, now, evidence)
                self._patients.open_case(member.person_key, other.person_key, kind, evidence, known.opened if known else now)

    def _dismiss(self, person_key: int, linked: Iterable[Scored], review: Iterable[Scored]) -> None:
        """Take cases out of the queue that the record's traits no longer suggest."""
        still = {scored.person_key for scored in (*linked, *review)}
        for other in self._patients.cases_of(person_key) - still:
            evidence = self.compare(person_key, other)
            self._patients.decide(person_key, other, DecisionAction.DISMISS, evidence.rule, self._clusters.now, evidence)
            self._patients.close_case(person_key, other)

    # Withdrawing

    def _withdraw(self, person_key: int) -> list[int]:
        """End the rules' links of a record that do not hold any more. Gives the records that they separated from it."""
        links = [item for item in self._patients.links((person_key,)) if item.reason in AUTOMATIC]
        if not links:
            return []
        cluster = self._patients.cluster_of((person_key,))[person_key]
        keys = self._patients.members((cluster,))[cluster]
        members = self.members(keys)
        group = [members[key] for key in keys if key != person_key]
        compared = linkage.compare_with(members[person_key], group, self._weights, self._frequencies)
        doubtful = {key for key, (_, forbids) in compared.items() if forbids}
        behind = self._behind(person_key, keys, links)
        ended = []
        for item in links:
            other = item.lower_key if item.higher_key == person_key else item.higher_key
            evidence, _ = compared[other]
            holds = evidence is not None and linkage.links_alone(evidence, self._weights)
            if not holds or doubtful & behind[other]:
                self._end(item, evidence)
                ended.append(other)
        if ended:
            self._clusters.regroup(keys)
        return ended

    def _behind(self, person_key: int, keys: Collection[int], links: Iterable[StoredLink]) -> dict[int, set[int]]:
        """For each record that a rule linked with this one, everybody who is in the cluster through it."""
        others = [key for key in keys if key != person_key]
        every = [item for item in self._patients.links(others) if item.reason != LinkReason.APART]
        root = {key: key for key in others}

        def find(key: int) -> int:
            while root[key] != key:
                key = root[key]
            return key

        for item in every:
            if item.lower_key in root and item.higher_key in root:
                root[find(item.lower_key)] = find(item.higher_key)
        parts: dict[int, set[int]] = {}
        for key in others:
            parts.setdefault(find(key), set()).add(key)
        ends = {item.lower_key if item.higher_key == person_key else item.higher_key for item in links}
        return {key: parts[find(key)] for key in ends}

    def _end(self, link: StoredLink, evidence: Evidence | None) -> None:
        now = self._clusters.now
        self._clusters.touch((link.lower_key, link.higher_key))
        self._patients.end_link(link, now)
        stored = kept(evidence, self._weights.version) if evidence else LinkEvidence(version=self._weights.version)
        self._patients.decide(link.lower_key, link.higher_key, DecisionAction.UNLINK, link.reason, now, stored)
