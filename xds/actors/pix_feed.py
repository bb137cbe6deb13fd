"""One identity feed applied inside one transaction: what it says of a patient, merges, changed identifiers, links.

Spec: ITI TF-2 3.8.4.1.3 (add, revise), 3.8.4.2.3 (merge), 3.8.4.2.4 (the Document Registry's part), 3.30 (change, link, unlink).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from xds.actors.pix_description import Effects, RefusedError, subsumed_problem
from xds.actors.pix_preparation import PreparedFeed
from xds.actors.pix_removal import RemovingTransaction
from xds.model.identifiers import PatientIdentifier
from xds.model.identity_review import LinkReason
from xds.model.patient import FeedKind, IdentityFeed, IdentityProblem, IdentityProblemKind
from xds.store import affinity_patients
from xds.store.patients import Identity


class FeedTransaction(RemovingTransaction):
    """Applies one feed whose authorities are completed and allowed."""

    def apply(self, prepared: PreparedFeed) -> Effects:
        """Errors: RefusedError, after which the transaction must be rolled back."""
        feed = prepared.feed
        if self._is_repeated(prepared):
            self.effects.is_repeated = True
        elif feed.kind is FeedKind.MERGE:
            self._merge(prepared)
        elif feed.kind is FeedKind.CHANGE:
            self._change(prepared)
        elif feed.kind is FeedKind.LINK:
            self._link(prepared)
        elif feed.kind is FeedKind.UNLINK:
            self._unlink(prepared)
        elif feed.kind is FeedKind.REMOVE:
            self._remove(prepared)
        else:
            self._upsert(prepared, feed.identifiers)
        return self.effects

    def _is_repeated(self, prepared: PreparedFeed) -> bool:
        """True when this very message took effect before. Upserts look themselves, at what they read anyway."""
        if prepared.feed.kind in (FeedKind.ADD, FeedKind.REVISE):
            return False
        persons = self._persons((*prepared.feed.identifiers, *prepared.feed.linked))
        statements = self._patients.statements(persons)
        mine = (item for some in statements.values() for item in some if item.source == prepared.feed.source)
        return any(item.knows(prepared.digest) for item in mine)

    # Merge and change

    def _merge(self, prepared: PreparedFeed) -> None:
        feed = prepared.feed
        pairs, problems = self._pairs(feed)
        if feed.is_lenient:
            pairs = [pair for pair in pairs if self._patients.identity(pair[1], pair[2].value)]
            if not pairs and not problems:
                return
        if pairs and not problems and all(self._is_renaming(feed, pair) for pair in pairs):
            self._replace_all(prepared, pairs)
            return
        for number, key, old, new_one in pairs:
            text = self._obstacle(key, old, new_one)
            if text:
                problems.append(IdentityProblem(IdentityProblemKind.UNKNOWN_IDENTIFIER, "subsumed", text, number))
        if problems:
            raise RefusedError(problems)
        # What is said of the survivor is said of the identifiers that survive, and of no other in the list.
        described = replace(prepared, feed=replace(feed, kind=FeedKind.REVISE))
        self._upsert(described, tuple(dict.fromkeys(new for _, _, _, new in pairs)))
        for _, key, old, new_one in pairs:
            self._subsume(key, old, new_one, feed.source)

    def _is_renaming(self, feed: IdentityFeed, pair: tuple[int, int, PatientIdentifier, PatientIdentifier]) -> bool:
        """True when a known patient gets an identifier that nobody had. The Document Registry knows no such merge."""
        _, key, old, new = pair
        prior = self._patients.identity(key, old.value)
        is_allowed = feed.is_lenient or key != self._clusters.affinity_key
        return is_allowed and prior is not None and prior.subsumed_by is None and self._patients.identity(key, new.value) is None

    def _pairs(
        self, feed: IdentityFeed
    ) -> tuple[list[tuple[int, int, PatientIdentifier, PatientIdentifier]], list[IdentityProblem]]:
        """Each prior identifier with its number, domain and surviving one, and those that have no surviving one."""
        by_domain: dict[int, PatientIdentifier] = {}
        for item in feed.identifiers:
            by_domain.setdefault(self._domain_key(item.authority), item)
        pairs, problems = [], []
        for number, old in enumerate(feed.subsumed, 1):
            key = self._domain_key(old.authority)
            new = by_domain.get(key)
            if new:
                pairs.append((number, key, old, new))
            else:
                text = "the surviving patient has no identifier of the prior identifier's assigning authority"
                problems.append(IdentityProblem(IdentityProblemKind.INVALID, "subsumed", text, number, 4))
        return pairs, problems

    def _obstacle(self, key: int, old: PatientIdentifier, new: PatientIdentifier) -> str | None:
        """Why one identifier cannot be merged into the other.

        A merge of which nothing at all is known is learned: its source is older than this PIX Manager.
        """
        if old.value == new.value:
            return "the prior and the surviving identifier are the same"
        prior, survivor = self._patients.identity(key, old.value), self._patients.identity(key, new.value)
        if survivor and survivor.subsumed_by is not None:
            return "the surviving identifier was itself subsumed by a merge"
        if prior and prior.subsumed_by is not None:
            return "the prior identifier was already subsumed by a merge"
        if key == self._clusters.affinity_key:
            found = [affinity_patients.find(self._patients.connection, item) for item in self._in_registry(old, new)]
            joined = [item is not None and item.joined_to is not None for item in (prior, survivor)]
            if not all(item and (item.is_active or is_joined) for item, is_joined in zip(found, joined, strict=True)):
                return "the prior or the surviving identifier is no active identifier of the affinity domain"
        elif prior is None and survivor is not None:
            return "the prior identifier is unknown"
        return None

    def _in_registry(
        self, old: PatientIdentifier | Identity, new: PatientIdentifier | Identity
    ) -> tuple[PatientIdentifier, PatientIdentifier]:
        affinity = self._clusters.affinity
        return PatientIdentifier(old.value, affinity), PatientIdentifier(new.value, affinity)

    def _subsume(self, key: int, old: PatientIdentifier, new: PatientIdentifier, source: str) -> None:
        survivor = self._patients.identity(key, new.value)
        if survivor is None:
            raise LookupError("a surviving identifier was fed and is not stored")
        prior = self._patients.identity(key, old.value)
        if prior is None:
            prior = self._patients.add_identity(self._identity(survivor.person_key, key, old))
        self._clusters.touch((prior.person_key, survivor.person_key))
        if not self._clusters.link(prior.person_key, survivor.person_key, LinkReason.MERGED, by=source):
            # The desk said that they are two: it is asked again, and nothing is mixed up meanwhile.
            return
        if key == self._clusters.affinity_key:
            self._subsume_in_registry(key, old, new)
        self._patients.set_subsumed(prior, new.value)
        self._linker.relink(survivor.person_key)
        self._clusters.regroup([survivor.person_key])
        self.effects.changed += [prior.person_key, survivor.person_key]

    def _subsume_in_registry(self, key: int, old: PatientIdentifier, new: PatientIdentifier) -> None:
        """What links had joined before is released first: a merge counts more, and in the direction that it names."""
        held = [self._patients.identity(key, item.value) for item in (old, new)]
        joined_to = held[1].joined_to if held[1] else None
        for item in held:
            if item and item.joined_to is not None:
                self._clusters.release(item)
        affinity_patients.merge(self._patients.connection, *self._in_registry(old, new))
        if held[1] and joined_to not in (None, old.value):
            self._clusters.join(held[1], joined_to or "")

    def _change(self, prepared: PreparedFeed) -> None:
        """Put new identifiers in the place of old ones. Spec: ITI TF-2 3.30 (A47)."""
        pairs, problems = self._pairs(prepared.feed)
        known = []
        for number, key, old, new in pairs:
            prior, target = self._patients.identity(key, old.value), self._patients.identity(key, new.value)
            if prior is None or old.value == new.value:
                # Nothing is known of it, so that nothing changes.
                continue
            if prior.subsumed_by is not None and prior.subsumed_by != new.value:
                problems.append(subsumed_problem("subsumed", number))
            if target is not None and (target.person_key != prior.person_key or target.subsumed_by is not None):
                text = "the new identifier belongs to another patient: that would be a merge"
                problems.append(IdentityProblem(IdentityProblemKind.DUPLICATE, "identifiers", text, number))
            known.append((number, key, old, new))
        if problems:
            raise RefusedError(problems)
        if known:
            self._replace_all(prepared, known)

    def _replace_all(
        self, prepared: PreparedFeed, pairs: Sequence[tuple[int, int, PatientIdentifier, PatientIdentifier]]
    ) -> None:
        for _, key, old, new in pairs:
            prior = self._patients.identity(key, old.value)
            target = self._patients.identity(key, new.value)
            if prior is None:
                continue
            person = self._patients.surviving(prior).person_key
            self._clusters.touch((person,))
            if target is None:
                self._patients.add_identity(self._identity(person, key, new))
            if key == self._clusters.affinity_key:
                kept, fresh = self._in_registry(old, new)
                affinity_patients.add(self._patients.connection, fresh)
                affinity_patients.merge(self._patients.connection, kept, fresh)
            self._patients.set_subsumed(prior, new.value)
        described = replace(prepared, feed=replace(prepared.feed, kind=FeedKind.REVISE))
        person_key = self._upsert(described, tuple(dict.fromkeys(new for _, _, _, new in pairs)))
        if person_key is not None:
            self._clusters.regroup([person_key])
            self.effects.changed.append(person_key)

    # Links

    def _link(self, prepared: PreparedFeed) -> None:
        """Join two records, known or not. The registry is told when each has an identifier that the affinity domain issued."""
        feed = prepared.feed
        described = replace(prepared, feed=replace(feed, kind=FeedKind.REVISE, linked=()))
        one = self._upsert(described, feed.identifiers)
        other = self._upsert(described, feed.linked, note=False, field="linked")
        if one is None or other is None:
            return
        if self._clusters.link(one, other, LinkReason.LINKED, by=feed.source):
            self._clusters.join_issued(one)

    def _unlink(self, prepared: PreparedFeed) -> None:
        """End what linking these two records did; when nobody had linked them, nothing happens."""
        feed = prepared.feed
        self._clusters.touch(self._persons((*feed.identifiers, *feed.linked)))
        for first in self._persons(feed.identifiers):
            for second in self._persons(feed.linked):
                self._clusters.unlink(first, second, LinkReason.LINKED, by=feed.source)
        self._note(prepared)

    def _note(self, prepared: PreparedFeed) -> None:
        """Remember a message that states nothing."""
        statements = self._patients.statements(self._persons(prepared.feed.identifiers))
        for item in (each for some in statements.values() for each in some if each.source == prepared.feed.source):
            self._patients.note_message(item, prepared.digest)
