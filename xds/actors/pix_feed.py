"""One identity feed applied inside one transaction: identifiers, demographics, merges, links.

Spec: ITI TF-2 3.8.4.1.3 (add, revise), 3.8.4.2.3 (merge), 3.8.4.2.4 (the Document Registry's part), 3.30 (link, unlink).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import fields, replace

from xds.actors.pix_clusters import Clusters
from xds.model.identifiers import AssigningAuthority, PatientIdentifier
from xds.model.patient import Demographics, FeedKind, IdentityFeed, IdentityProblem, IdentityProblemKind, StatedDemographics
from xds.rules import linkage
from xds.rules.linkage import LinkReason
from xds.store import affinity_patients
from xds.store.patients import Identity, Patients

_NOBODY = Demographics()


class RefusedError(Exception):
    """The feed cannot take effect; whatever the transaction wrote is to be undone."""

    def __init__(self, problems: Sequence[IdentityProblem]) -> None:
        super().__init__("; ".join(problem.text for problem in problems))
        self.problems = tuple(problems)


def revised(known: Demographics, feed: IdentityFeed) -> Demographics:
    """What a source states after a feed: absent fields stay, deleted ones go, national identifiers change by authority."""
    given = feed.demographics
    values = {}
    for item in fields(Demographics):
        new, old = getattr(given, item.name), getattr(known, item.name)
        empty = getattr(_NOBODY, item.name)
        values[item.name] = new if new != empty else (empty if item.name in feed.deleted else old)
    stated = (*given.national_identifiers, *(item for item in feed.identifiers if linkage.is_national(item)))
    kept = () if "national_identifiers" in feed.deleted else known.national_identifiers
    authorities = {item.authority for item in stated}
    values["national_identifiers"] = tuple(
        dict.fromkeys((*stated, *(item for item in kept if item.authority not in authorities)))
    )
    return Demographics(**values)


class FeedTransaction:
    """Applies one feed whose authorities are completed and allowed. `now` is in milliseconds since 1970."""

    def __init__(self, patients: Patients, affinity: AssigningAuthority, now: int, new_value: Callable[[], str]) -> None:
        self._patients = patients
        self._affinity = affinity
        self._now = now
        self._clusters = Clusters(patients, affinity, now, new_value)

    def apply(self, feed: IdentityFeed) -> None:
        """Errors: RefusedError, after which the transaction must be rolled back."""
        if feed.kind is FeedKind.MERGE:
            self._merge(feed)
        elif feed.kind is FeedKind.LINK:
            self._link(feed)
        elif feed.kind is FeedKind.UNLINK:
            self._unlink(feed)
        else:
            self._upsert(feed)

    def _domain_key(self, authority: AssigningAuthority) -> int:
        return self._patients.add_domain(authority).domain_key

    def _upsert(self, feed: IdentityFeed) -> int:
        named = [((self._domain_key(item.authority), item.value), item) for item in feed.identifiers]
        # One identifier may stand there twice, under another name of its authority or with another type.
        entries = [(key[0], item) for key, item in dict(reversed(named)).items()][::-1]
        own = [entry for entry in entries if not linkage.is_national(entry[1])] or entries
        known = {entry: self._patients.identity(entry[0], entry[1].value) for entry in entries}
        persons = [self._patients.surviving(identity).person_key for entry in own if (identity := known[entry])]
        person = persons[0] if persons else self._patients.add_person(self._now)
        for (domain_key, identifier), identity in known.items():
            if identity is None:
                added = Identity(person, domain_key, identifier.value, identifier.type_code, False, None, None, self._now)
                self._patients.add_identity(added)
            if domain_key == self._clusters.affinity_key and feed.kind is FeedKind.ADD:
                affinity_patients.add(self._patients.connection, PatientIdentifier(identifier.value, self._affinity))
        self._state(person, feed)
        for other in persons[1:]:
            self._clusters.link(person, other, LinkReason.STATED)
        self._clusters.relink(person)
        self._clusters.regroup([person])
        return person

    def _state(self, person: int, feed: IdentityFeed) -> None:
        stated = self._patients.stated([person]).get(person, ())
        known = next((item.demographics for item in stated if item.source == feed.source), _NOBODY)
        demographics = revised(known, feed)
        keys = linkage.traits(demographics).match_keys
        search = linkage.search_text(demographics)
        self._patients.state(person, StatedDemographics(feed.source, demographics), search, keys, self._now)

    def _merge(self, feed: IdentityFeed) -> None:
        pairs, problems = self._pairs(feed)
        for number, old, new in pairs:
            text = self._obstacle(old, new)
            if text:
                problems.append(IdentityProblem(IdentityProblemKind.UNKNOWN_IDENTIFIER, "subsumed", text, number))
        if problems:
            raise RefusedError(problems)
        surviving = tuple(dict.fromkeys(new for _, _, new in pairs))
        # What is said of the survivor is said of the identifiers that survive, and of no other in the list.
        self._upsert(replace(feed, kind=FeedKind.REVISE, identifiers=surviving, subsumed=()))
        for _, old, new in pairs:
            self._replace(old, new)

    def _pairs(self, feed: IdentityFeed) -> tuple[list[tuple[int, PatientIdentifier, PatientIdentifier]], list[IdentityProblem]]:
        """Each prior identifier with the surviving one of its authority, and those that have none."""
        by_domain: dict[int, PatientIdentifier] = {}
        for item in feed.identifiers:
            by_domain.setdefault(self._domain_key(item.authority), item)
        pairs, problems = [], []
        for number, old in enumerate(feed.subsumed, 1):
            new = by_domain.get(self._domain_key(old.authority))
            if new:
                pairs.append((number, old, new))
            else:
                text = "the surviving patient has no identifier of the prior identifier's assigning authority"
                problems.append(IdentityProblem(IdentityProblemKind.INVALID, "subsumed", text, number, 4))
        return pairs, problems

    def _obstacle(self, old: PatientIdentifier, new: PatientIdentifier) -> str | None:
        """Why one identifier cannot be merged into the other.

        A merge of which nothing at all is known is learned: its source is older than this PIX Manager.
        """
        if old.value == new.value:
            return "the prior and the surviving identifier are the same"
        key = self._domain_key(new.authority)
        prior, survivor = self._patients.identity(key, old.value), self._patients.identity(key, new.value)
        if survivor and survivor.subsumed_by is not None:
            return "the surviving identifier was itself subsumed by a merge"
        if prior and prior.subsumed_by is not None:
            return "the prior identifier was already subsumed by a merge"
        if key == self._clusters.affinity_key:
            found = [affinity_patients.find(self._patients.connection, item) for item in self._in_registry(old, new)]
            if not all(item and item.is_active for item in found):
                return "the prior or the surviving identifier is no active identifier of the affinity domain"
        elif prior is None and survivor is not None:
            return "the prior identifier is unknown"
        return None

    def _in_registry(
        self, old: PatientIdentifier | Identity, new: PatientIdentifier | Identity
    ) -> tuple[PatientIdentifier, PatientIdentifier]:
        return PatientIdentifier(old.value, self._affinity), PatientIdentifier(new.value, self._affinity)

    def _replace(self, old: PatientIdentifier, new: PatientIdentifier) -> None:
        key = self._domain_key(new.authority)
        survivor = self._patients.identity(key, new.value)
        if survivor is None:
            raise LookupError("a surviving identifier was fed and is not stored")
        prior = self._patients.identity(key, old.value)
        if prior is None:
            prior = Identity(survivor.person_key, key, old.value, old.type_code, False, None, None, self._now)
            self._patients.add_identity(prior)
        if key == self._clusters.affinity_key:
            affinity_patients.merge(self._patients.connection, *self._in_registry(old, new))
        self._patients.set_subsumed(prior, new.value)
        self._clusters.link(prior.person_key, survivor.person_key, LinkReason.MERGED)
        self._clusters.relink(survivor.person_key)
        self._clusters.regroup([survivor.person_key])

    # Links

    def _link(self, feed: IdentityFeed) -> None:
        """Join two records, known or not. The registry is told when each has an identifier that the affinity domain issued."""
        described = replace(feed, kind=FeedKind.REVISE, linked=())
        one, other = (self._upsert(replace(described, identifiers=given)) for given in (feed.identifiers, feed.linked))
        kept, joined = (self._issued(given) for given in (feed.identifiers, feed.linked))
        if kept and joined and affinity_patients.merge(self._patients.connection, *self._in_registry(joined, kept)):
            self._patients.set_joined(joined, kept.value)
        self._clusters.link(one, other, LinkReason.LINKED)

    def _unlink(self, feed: IdentityFeed) -> None:
        """End what linking these two records did; when nobody had linked them, nothing happens."""
        one, other = (self._issued(given) for given in (feed.identifiers, feed.linked))
        for joined, kept in ((one, other), (other, one)):
            if joined and kept and joined.joined_to == kept.value:
                affinity_patients.unmerge(self._patients.connection, PatientIdentifier(joined.value, self._affinity))
                self._patients.set_joined(joined, None)
        for first in self._persons(feed.identifiers):
            for second in self._persons(feed.linked):
                self._clusters.unlink(first, second, LinkReason.LINKED)

    def _known(self, identifiers: Sequence[PatientIdentifier]) -> list[Identity]:
        found = (self._patients.identity(self._domain_key(item.authority), item.value) for item in identifiers)
        return [item for item in found if item]

    def _persons(self, identifiers: Sequence[PatientIdentifier]) -> list[int]:
        persons = (self._patients.surviving(item).person_key for item in self._known(identifiers))
        return list(dict.fromkeys(persons))

    def _issued(self, identifiers: Sequence[PatientIdentifier]) -> Identity | None:
        """The identifier of the affinity domain that its own source fed. Those assigned here follow the clusters anyway."""
        own = (item for item in self._known(identifiers) if item.domain_key == self._clusters.affinity_key)
        return next((item for item in own if not item.assigned), None)
