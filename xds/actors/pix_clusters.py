"""Records joined into clusters: regrouping, and keeping one affinity identifier in use for each cluster.

Nothing is ever moved. A cluster is the connected part of the links in force, so that ending a link separates what it joined. An
identifier that the PIX Manager itself assigned gives way to one that the affinity domain's own source fed, or to an older one:
the registry is told to join the two, and to release them again when the persons separate. Of two that the source fed, one gives
way to the other when somebody says that they mean one person (a source, the desk); no rule does that.

Spec: ITI TF-2 3.9 (cross-referencing), 3.8.4.2.4 (what joining two affinity identifiers means in the registry).
"""

from __future__ import annotations

import secrets
from collections import deque
from collections.abc import Callable, Collection, Iterable, Sequence
from functools import lru_cache
from typing import Protocol

from xds.model.identifiers import AssigningAuthority, PatientIdentifier
from xds.model.identity_review import AUTOMATIC, DecisionAction, LinkEvidence, LinkReason, ReviewKind
from xds.store import affinity_patients
from xds.store.patients import Identity, Patients, StoredLink

_NUMBER_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_PAIRS = tuple(one + other for one in _NUMBER_ALPHABET for other in _NUMBER_ALPHABET)
#: Of the characters of a patient number, how many tell the time, and what that counts from: 2020, in seconds.
_TIME_CHARACTERS, _EPOCH = 7, 1_577_836_800


def new_patient_number(now: int) -> str:
    """A number of 14 characters without letters that read like digits; CX.1 has 15. `now` is in milliseconds since 1970.

    It begins with the time, so that the indexes grow at one end, and ends with six random characters.
    """
    chance = secrets.randbits(30)
    return f"{_time_part(now // 1000)}{_PAIRS[chance & 1023]}{_PAIRS[chance >> 10 & 1023]}{_PAIRS[chance >> 20]}"


@lru_cache(1)
def _time_part(moment: int) -> str:
    """What the numbers of one second begin with; `moment` is in seconds since 1970."""
    seconds = max(moment - _EPOCH, 0)
    return "P" + "".join(_NUMBER_ALPHABET[seconds >> 5 * place & 31] for place in reversed(range(_TIME_CHARACTERS)))


#: Links that do not speak against a decision of the desk: they give way to it.
_REVOCABLE = AUTOMATIC | {LinkReason.APART}

#: Makes patient numbers of the time (milliseconds since 1970).
NewValue = Callable[[int], str]


class Watcher(Protocol):
    """Is told before the identifiers that mean one person change."""

    def before(self, patients: Patients, person_keys: Collection[int]) -> None:
        """These records are about to join, to separate, or to get or lose identifiers."""


def connected(keys: Iterable[int], links: Iterable[StoredLink]) -> list[list[int]]:
    """The connected parts of persons, each in ascending order; links to persons outside `keys` are left out."""
    root = {key: key for key in keys}

    def find(key: int) -> int:
        while root[key] != key:
            key = root[key]
        return key

    for link in links:
        if link.lower_key in root and link.higher_key in root:
            one, other = find(link.lower_key), find(link.higher_key)
            root[max(one, other)] = min(one, other)
    parts: dict[int, list[int]] = {}
    for key in sorted(root):
        parts.setdefault(find(key), []).append(key)
    return list(parts.values())


def path_between(one: int, other: int, links: Iterable[StoredLink]) -> list[StoredLink]:
    """The links on a shortest way from one record to another; empty when there is none."""
    neighbours: dict[int, list[tuple[int, StoredLink]]] = {}
    for link in links:
        neighbours.setdefault(link.lower_key, []).append((link.higher_key, link))
        neighbours.setdefault(link.higher_key, []).append((link.lower_key, link))
    came: dict[int, tuple[int, StoredLink] | None] = {one: None}
    waiting = deque((one,))
    while waiting and other not in came:
        key = waiting.popleft()
        for neighbour, link in neighbours.get(key, ()):
            if neighbour not in came:
                came[neighbour] = (key, link)
                waiting.append(neighbour)
    way = []
    step = came.get(other)
    while step is not None:
        way.append(step[1])
        step = came[step[0]]
    return way


def affinity_in_use(patients: Patients, affinity: AssigningAuthority, identities: Sequence[Identity]) -> list[Identity]:
    """The active ones of a cluster's affinity identifiers, the preferred one first.

    Those that the registry knows go before others, fed before assigned, older before younger.
    """
    domain = patients.domain(affinity)
    held = [item for item in identities if domain and item.domain_key == domain.domain_key and item.is_active]
    return _preferred(patients, affinity, held)


def _preferred(patients: Patients, affinity: AssigningAuthority, held: list[Identity]) -> list[Identity]:
    def rank(item: Identity) -> tuple[bool, bool]:
        known = affinity_patients.find(patients.connection, PatientIdentifier(item.value, affinity))
        return (known is None or not known.is_active, item.assigned)

    return sorted(held, key=rank) if len(held) > 1 else held


class Clusters:
    """The clusters of one transaction. `now` is in milliseconds since 1970."""

    def __init__(
        self,
        patients: Patients,
        affinity: AssigningAuthority,
        affinity_key: int,
        now: int,
        new_value: NewValue,
        watcher: Watcher | None = None,
    ) -> None:
        """`affinity_key` is the key of the affinity domain. `watcher` is told before something changes."""
        self.patients = patients
        self.affinity = affinity
        self.affinity_key = affinity_key
        self.now = now
        self._new_value = new_value
        self._watcher = watcher

    def touch(self, person_keys: Collection[int]) -> None:
        """Say that the identifiers of these records are about to change."""
        if self._watcher is not None:
            self._watcher.before(self.patients, person_keys)

    def link(self, one: int, other: int, reason: LinkReason, *, by: str = "", note: str = "") -> bool:
        """Join two records on somebody's word.

        False, and a case for the desk, when somebody there declared two records two persons which would become one by that.
        """
        if one == other:
            return True
        if self._contradicts(one, other):
            evidence = LinkEvidence(rule=reason)
            self.patients.decide(one, other, DecisionAction.REVIEW, reason, self.now, evidence, by=by)
            self.patients.open_case(one, other, ReviewKind.CANDIDATE, evidence, self.now)
            return False
        self.patients.add_link(one, other, reason, self.now)
        self.patients.close_case(one, other)
        self.patients.decide(one, other, DecisionAction.LINK, reason, self.now, by=by, note=note)
        self.regroup([one, other])
        return True

    def unlink(self, one: int, other: int, reason: LinkReason, *, by: str = "", note: str = "") -> None:
        """End the link of that reason between two records; those of other reasons stay."""
        lower, higher = sorted((one, other))
        held = [item for item in self.patients.links([one]) if (item.lower_key, item.higher_key) == (lower, higher)]
        if any(item.reason == reason for item in held):
            self.patients.decide(one, other, DecisionAction.UNLINK, reason, self.now, by=by, note=note)
            self.touch([one, other])
            self.patients.end_link(StoredLink(lower, higher, reason), self.now)
            self.regroup([one, other])

    def separate(self, one: int, other: int, *, by: str = "", note: str = "") -> int:
        """End every link between two records, and keep rules and sources from joining them again. Gives the decision's key."""
        self.touch([one, other])
        for item in self.patients.links([one]):
            if {item.lower_key, item.higher_key} == {one, other}:
                self.patients.end_link(item, self.now)
        self.give_back(one, other)
        self.patients.add_link(one, other, LinkReason.APART, self.now)
        self.patients.close_case(one, other)
        decision = self.patients.decide(one, other, DecisionAction.REFUSE, LinkReason.APART, self.now, by=by, note=note)
        self.regroup([one, other])
        return decision

    def _contradicts(self, one: int, other: int) -> bool:
        """True when joining these records would join two that were declared two persons, and not by the rules' own links."""
        clusters = self.patients.cluster_of((one, other))
        keys = [key for some in self.patients.members(set(clusters.values())).values() for key in some]
        links = self.patients.links(keys)
        apart = [item for item in links if item.reason == LinkReason.APART]
        if not apart:
            return False
        firm = [item for item in links if item.reason not in _REVOCABLE]
        firm.append(StoredLink(min(one, other), max(one, other), ""))
        return any(path_between(item.lower_key, item.higher_key, firm) for item in apart)

    def _without_contradictions(self, links: Sequence[StoredLink]) -> list[StoredLink]:
        """The links that join, with those of the rules ended that join two records which were declared two persons."""
        joining = [item for item in links if item.reason != LinkReason.APART]
        for pair in (item for item in links if item.reason == LinkReason.APART):
            while way := path_between(pair.lower_key, pair.higher_key, joining):
                found = [item for item in way if item.reason in AUTOMATIC]
                if not found:
                    break
                weakest = max(found, key=lambda item: (item.higher_key, item.lower_key))
                joining.remove(weakest)
                self.patients.end_link(weakest, self.now)
                one, other = weakest.lower_key, weakest.higher_key
                evidence = LinkEvidence(rule=LinkReason.APART)
                self.patients.decide(one, other, DecisionAction.UNLINK, weakest.reason, self.now, evidence)
                self.patients.open_case(one, other, ReviewKind.CANDIDATE, evidence, self.now)
        return joining

    def regroup(self, person_keys: Collection[int]) -> None:
        """Compute the clusters of those records and of everybody with them anew."""
        self.touch(person_keys)
        members = self.patients.clusters_around(person_keys)
        cluster_of = {key: cluster for cluster, keys in members.items() for key in keys}
        links = self._without_contradictions(self.patients.links(list(cluster_of)))
        for part in connected(cluster_of, links):
            moved = [key for key in part if cluster_of[key] != part[0]]
            if moved:
                self.patients.set_cluster(moved, part[0])
            self.settle(part)

    def _registered(self, identity: Identity) -> bool:
        known = affinity_patients.find(self.patients.connection, self._identifier(identity.value))
        return known is not None and known.is_active

    def _identifier(self, value: str) -> PatientIdentifier:
        return PatientIdentifier(value, self.affinity)

    def settle(self, person_keys: Sequence[int]) -> None:
        """Have exactly one assigned identifier in use where none was fed, and none beside one that was."""
        everything = [item for item in self.patients.identities(person_keys) if item.domain_key == self.affinity_key]
        values = {item.value for item in everything}
        held = [item for item in everything if item.subsumed_by is None]
        for item in held:
            if item.joined_to is not None and item.joined_to not in values and not item.assigned:
                # Whom it was joined to is somebody else by now.
                self.release(item)
        if not held:
            self.assign(person_keys[0])
            return
        assigned = [item for item in held if item.assigned]
        if not assigned:
            return
        fed = [item for item in held if not item.assigned and self._registered(item)]
        first = fed[0] if fed else assigned[0]
        changed = [(item, None if item is first else first.value) for item in assigned]
        changed = [(item, value) for item, value in changed if item.joined_to != value]
        connection = self.patients.connection
        for item, _ in changed:
            if item.joined_to is not None:
                affinity_patients.unmerge(connection, self._identifier(item.value))
        for item, value in changed:
            if value is not None:
                affinity_patients.merge(connection, self._identifier(item.value), self._identifier(value))
            self.patients.set_joined(item, value)

    def join_issued(self, first: int) -> None:
        """Have one identifier of the affinity domain in use for a person to whom its source gave several.

        It is one of the record `first`, if she has one, and the oldest otherwise.
        """
        cluster = self.patients.cluster_of((first,))[first]
        held = self.patients.identities(self.patients.members((cluster,))[cluster])
        issued = [item for item in held if item.domain_key == self.affinity_key and item.is_active and not item.assigned]
        issued = sorted((item for item in issued if self._registered(item)), key=lambda item: item.person_key != first)
        for item in issued[1:]:
            self.join(item, issued[0].value)

    def join(self, one: Identity, value: str) -> None:
        """Have the registry answer the documents of an identifier of the affinity domain under another one."""
        if affinity_patients.merge(self.patients.connection, self._identifier(one.value), self._identifier(value)):
            self.patients.set_joined(one, value)

    def release(self, one: Identity) -> None:
        """Have an identifier of the affinity domain stand for itself again."""
        affinity_patients.unmerge(self.patients.connection, self._identifier(one.value))
        self.patients.set_joined(one, None)

    def give_back(self, one: int, other: int) -> None:
        """Undo merges of a source between two records: each has the identifiers again that it had."""
        for item in self.patients.identities((one, other)):
            survivor = self.patients.identity(item.domain_key, item.subsumed_by) if item.subsumed_by else None
            if survivor is not None and {item.person_key, survivor.person_key} == {one, other}:
                self.restore(item)

    def restore(self, one: Identity) -> None:
        """Undo the merge that put another identifier in the place of this one, in the registry too."""
        self.patients.set_subsumed(one, None)
        if one.domain_key == self.affinity_key:
            affinity_patients.unmerge(self.patients.connection, self._identifier(one.value))

    def assign(self, person_key: int) -> Identity:
        """Give a record an identifier of the affinity domain, which the registry learns."""
        return self.patients.add_identity(self.assigned(person_key))

    def assigned(self, person_key: int) -> Identity:
        """An identifier of the affinity domain that the registry has learned, still to be stored with its record."""
        return self.ask_assigned()(person_key)

    def ask_assigned(self) -> Callable[[int], Identity]:
        """`assigned` in two steps, so that nobody waits between them: what this returns is for one record, or for none."""
        value = self._new_value(self.now)
        is_added = affinity_patients.ask_to_add(self.patients.connection, self._identifier(value))

        def assigned(person_key: int) -> Identity:
            if not is_added():
                # Somebody has it.
                return self.assigned(person_key)
            return Identity(person_key, self.affinity_key, value, None, True, None, None, self.now)

        return assigned
