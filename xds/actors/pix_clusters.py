"""Persons joined into clusters: evaluating links, regrouping, and keeping one affinity identifier in use for each cluster.

Nothing is ever moved. A cluster is the connected part of the links in force, so that ending a link separates what it joined. An
identifier that the PIX Manager itself assigned gives way to one that the affinity domain's own source fed, or to an older one:
the registry is told to join the two, and to release them again when the persons separate.

Spec: ITI TF-2 3.9 (cross-referencing), 3.8.4.2.4 (what joining two affinity identifiers means in the registry).
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Collection, Iterable, Sequence

from xds.model.identifiers import AssigningAuthority, PatientIdentifier
from xds.rules import linkage
from xds.rules.linkage import AUTOMATIC, LinkReason, Member
from xds.store import affinity_patients
from xds.store.patients import Identity, Patients, StoredLink

_NUMBER_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
#: More records under one key than this are no help to a decision: a placeholder that everybody types.
_MAX_CANDIDATES = 50
#: Rules join nobody to a group that has more records than this: nobody has so many, so what they share is a placeholder, too.
_MAX_GROUP = 50


def new_patient_number() -> str:
    """A random number of 14 characters without letters that read like digits; CX.1 has 15."""
    return "P" + "".join(secrets.choice(_NUMBER_ALPHABET) for _ in range(13))


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


def affinity_in_use(patients: Patients, affinity: AssigningAuthority, identities: Sequence[Identity]) -> list[Identity]:
    """The active ones of a cluster's affinity identifiers, the preferred one first.

    Those that the registry knows go before others, fed before assigned, older before younger.
    """

    def rank(item: Identity) -> tuple[bool, bool]:
        known = affinity_patients.find(patients.connection, PatientIdentifier(item.value, affinity))
        return (known is None or not known.is_active, item.assigned)

    domain = patients.domain(affinity)
    return sorted((item for item in identities if domain and item.domain_key == domain.domain_key and item.is_active), key=rank)


def _is_national(identity: Identity, authority: AssigningAuthority) -> bool:
    return linkage.is_national(PatientIdentifier(identity.value, authority, identity.type_code))


class Clusters:
    """The clusters of one transaction. `now` is in milliseconds since 1970."""

    def __init__(self, patients: Patients, affinity: AssigningAuthority, now: int, new_value: Callable[[], str]) -> None:
        self._patients = patients
        self._affinity = affinity
        self._now = now
        self._new_value = new_value
        self.affinity_key = patients.add_domain(affinity).domain_key

    def relink(self, person_key: int) -> None:
        """Withdraw the rules' links that a person's traits no longer support, and join those whom they do."""
        own = self._cluster_members(person_key)
        if self._withdraw(person_key):
            self.regroup(own)
            own = self._cluster_members(person_key)
        others = set(self._patients.matching(person_key, _MAX_CANDIDATES)) - set(own)
        if not others or len(own) > _MAX_GROUP:
            return
        group = self._group(own)
        person = next(member for member in group if member.person_key == person_key)
        clusters = self._patients.members(set(self._patients.cluster_of(others).values()))
        clusters = {key: persons for key, persons in clusters.items() if len(persons) <= _MAX_GROUP}
        members = {item.person_key: item for item in self._group([key for keys in clusters.values() for key in keys])}
        found = linkage.links(person, group, [[members[key] for key in clusters[cluster]] for cluster in sorted(clusters)])
        for link in found:
            self._patients.add_link(link.one, link.other, link.reason, self._now)
        if found:
            self.regroup([*own, *(link.other for link in found)])

    def link(self, one: int, other: int, reason: LinkReason) -> None:
        """Join two persons."""
        if one != other:
            self._patients.add_link(one, other, reason, self._now)
            self.regroup([one, other])

    def separate(self, one: int, other: int) -> None:
        """End every link between two persons, and keep the rules from joining them again."""
        for item in self._patients.links([one]):
            if {item.lower_key, item.higher_key} == {one, other}:
                self._patients.end_link(item, self._now)
        self._patients.add_link(one, other, LinkReason.APART, self._now)
        self.regroup([one, other])

    def unlink(self, one: int, other: int, reason: LinkReason) -> None:
        """End the link of that reason between two persons; those of other reasons stay."""
        lower, higher = sorted((one, other))
        self._patients.end_link(StoredLink(lower, higher, reason), self._now)
        self.regroup([one, other])

    def regroup(self, person_keys: Collection[int]) -> None:
        """Compute the clusters of those persons and of everybody with them anew."""
        before = set(self._patients.cluster_of(person_keys).values())
        keys = [key for members in self._patients.members(before).values() for key in members]
        links = [item for item in self._patients.links(keys) if item.reason != LinkReason.APART]
        for part in connected(keys, links):
            self._patients.set_cluster(part, part[0])
            self._settle(part)

    def _cluster_members(self, person_key: int) -> tuple[int, ...]:
        cluster = self._patients.cluster_of([person_key])[person_key]
        return self._patients.members([cluster])[cluster]

    def _withdraw(self, person_key: int) -> bool:
        ended = False
        for item in self._patients.links([person_key]):
            if item.reason in AUTOMATIC:
                one, other = self._group((item.lower_key, item.higher_key))
                if linkage.holds(one, other) is None:
                    self._patients.end_link(item, self._now)
                    ended = True
        return ended

    def _group(self, person_keys: Sequence[int]) -> tuple[Member, ...]:
        identities = self._patients.identities(person_keys)
        names = self._patients.domains(item.domain_key for item in identities)
        stated = self._patients.stated(person_keys)
        apart = [item for item in self._patients.links(person_keys) if item.reason == LinkReason.APART]
        members = []
        for key in person_keys:
            active = [item for item in identities if item.person_key == key and item.is_active and not item.assigned]
            own = frozenset(item.domain_key for item in active if not _is_national(item, names[item.domain_key]))
            # Whoever has no identifier of her own left is history: what was said of her counts no more.
            traits = tuple(linkage.traits(item.demographics) for item in stated.get(key, ())) if active else ()
            pairs = [{item.lower_key, item.higher_key} for item in apart]
            enemies = frozenset().union(*(pair - {key} for pair in pairs if key in pair))
            members.append(Member(key, traits, own, own & {self.affinity_key}, enemies))
        return tuple(members)

    def _registered(self, identity: Identity) -> bool:
        known = affinity_patients.find(self._patients.connection, self._identifier(identity.value))
        return known is not None and known.is_active

    def _identifier(self, value: str) -> PatientIdentifier:
        return PatientIdentifier(value, self._affinity)

    def _settle(self, person_keys: Sequence[int]) -> None:
        """Have exactly one assigned identifier in use where none was fed, and none beside one that was."""
        held = [item for item in self._patients.identities(person_keys) if item.domain_key == self.affinity_key]
        held = [item for item in held if item.subsumed_by is None]
        if not held:
            held = [self._assign(person_keys[0])]
        fed = [item for item in held if not item.assigned and self._registered(item)]
        assigned = [item for item in held if item.assigned]
        if not assigned:
            return
        first = fed[0] if fed else assigned[0]
        changed = [(item, None if item is first else first.value) for item in assigned]
        changed = [(item, value) for item, value in changed if item.joined_to != value]
        connection = self._patients.connection
        for item, _ in changed:
            if item.joined_to is not None:
                affinity_patients.unmerge(connection, self._identifier(item.value))
        for item, value in changed:
            if value is not None:
                affinity_patients.merge(connection, self._identifier(item.value), self._identifier(value))
            self._patients.set_joined(item, value)

    def _assign(self, person_key: int) -> Identity:
        connection = self._patients.connection
        value = self._new_value()
        while self._patients.identity(self.affinity_key, value) or affinity_patients.find(connection, self._identifier(value)):
            value = self._new_value()
        affinity_patients.add(connection, self._identifier(value))
        return self._patients.add_identity(Identity(person_key, self.affinity_key, value, None, True, None, None, self._now))
