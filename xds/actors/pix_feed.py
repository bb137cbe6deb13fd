"""One identity feed applied inside one transaction: identifiers, demographics, merges, links.

Spec: ITI TF-2 3.8.4.1.3 (add, revise), 3.8.4.2.3 (merge), 3.8.4.2.4 (the Document Registry's part), 3.30 (change, link, unlink).
"""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from xds.actors.pix_clusters import Clusters
from xds.actors.pix_linking import Linker, counted_record
from xds.actors.pix_preparation import NOBODY, PreparedDemographics, PreparedFeed, prepare_demographics, revised, terms_of
from xds.model.demographics_index import IndexEntries
from xds.model.identifiers import AssigningAuthority, PatientIdentifier
from xds.model.identity_review import LinkReason
from xds.model.patient import FeedKind, IdentityFeed, IdentityProblem, IdentityProblemKind
from xds.rules import linkage
from xds.rules.demographics_index import entries, sound_codes
from xds.rules.linkage import Traits
from xds.store import affinity_patients, demographics_index
from xds.store.patients import Identity, Patients, Statement

NO_ENTRIES: Final = IndexEntries(frozenset(), frozenset(), {})

#: What tells of no visit by itself: HL7 requires it in every message.
_NO_VISIT: Final = frozenset({"PV1.2"})


class RefusedError(Exception):
    """The feed cannot take effect; whatever the transaction wrote is to be undone."""

    def __init__(self, problems: Sequence[IdentityProblem]) -> None:
        super().__init__("; ".join(problem.text for problem in problems))
        self.problems = tuple(problems)


@dataclass(slots=True)
class Effects:
    """What must follow the commit: names to be counted or no longer, and keys of domains that became known.

    `is_repeated`: the message had taken effect before, and did nothing.
    """

    counted: list[int] = field(default_factory=list)
    uncounted: list[int] = field(default_factory=list)
    domain_keys: dict[AssigningAuthority, int] = field(default_factory=dict)
    changed: list[int] = field(default_factory=list)
    words: set[tuple[str, str]] = field(default_factory=set)
    is_repeated: bool = False


class FeedTransaction:
    """Applies one feed whose authorities are completed and allowed."""

    def __init__(
        self,
        clusters: Clusters,
        linker: Linker,
        domain_keys: Mapping[AssigningAuthority, int],
        words: Container[tuple[str, str]] = (),
    ) -> None:
        """`domain_keys` and `words` (by which names are searched) are those that were known before."""
        self._clusters = clusters
        self._patients: Patients = clusters.patients
        self._linker = linker
        self._known_keys = domain_keys
        self._words = words
        self.effects = Effects()

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
        else:
            self._upsert(prepared, feed.identifiers)
        return self.effects

    def _domain_key(self, authority: AssigningAuthority) -> int:
        key = self._known_keys.get(authority) or self.effects.domain_keys.get(authority)
        if key is None:
            key = self.effects.domain_keys[authority] = self._patients.add_domain(authority).domain_key
        return key

    def _is_repeated(self, prepared: PreparedFeed) -> bool:
        """True when this very message took effect before. Upserts look themselves, at what they read anyway."""
        if prepared.feed.kind in (FeedKind.ADD, FeedKind.REVISE):
            return False
        persons = self._persons((*prepared.feed.identifiers, *prepared.feed.linked))
        statements = self._patients.statements(persons)
        mine = (item for some in statements.values() for item in some if item.source == prepared.feed.source)
        return any(item.knows(prepared.digest) for item in mine)

    # Add and revise

    def _upsert(self, prepared: PreparedFeed, identifiers: Sequence[PatientIdentifier], *, note: bool = True) -> int | None:
        """Describe the patient of these identifiers; gives her record, or None when the message had done so before.

        `note`: the message is remembered with what it states.
        """
        feed = prepared.feed
        keys = [(self._domain_key(item.authority), item) for item in identifiers]
        # One identifier may stand there twice, under another name of its authority or with another type.
        named = [((key, item.value), item) for key, item in keys]
        entries = [(key[0], item) for key, item in dict(reversed(named)).items()][::-1] if len(named) > 1 else keys
        own = [entry for entry in entries if not linkage.is_national(entry[1])]
        known = {entry: self._patients.identity(entry[0], entry[1].value) for entry in own}
        persons = [self._patients.surviving(identity).person_key for identity in known.values() if identity]
        if not own:
            persons = self._nameless(entries, feed.source)
        if not persons:
            return self._create(prepared, entries, note=note)
        person = persons[0]
        statements = self._patients.statements((person,)).get(person, ())
        mine = next((item for item in statements if item.source == feed.source), None)
        if note and mine and mine.knows(prepared.digest):
            self.effects.is_repeated = True
            return None
        self._clusters.touch(persons)
        added = [entry for entry, identity in known.items() if identity is None]
        self._patients.add_identities([self._identity(person, key, item) for key, item in added])
        changed = self._restate(person, prepared, statements, mine, note=note)
        changed |= self._state_nationals(person, prepared, entries)
        self._announce(entries, feed)
        for other in persons[1:]:
            self._clusters.link(person, other, LinkReason.STATED, by=feed.source)
        if changed:
            self._linker.relink(person)
            self.effects.changed.append(person)
        if added or changed:
            self._clusters.regroup([person])
        if feed.visit:
            demographics_index.put_visit(self._patients.connection, person, feed.visit, self._clusters.now)
        return person

    def _nameless(self, entries: Sequence[tuple[int, PatientIdentifier]], source: str) -> list[int]:
        """The record of a source that names its patient by national identifiers alone."""
        for key, item in entries:
            bearers = [each.person_key for each in self._patients.bearers(key, item.value)]
            bare = [person for person in bearers if not self._has_own(person)]
            statements = self._patients.statements(bare)
            for person in bare:
                if any(each.source == source for each in statements.get(person, ())):
                    return [person]
        return []

    def _has_own(self, person: int) -> bool:
        return any(not item.assigned and item.national_state is None for item in self._patients.identities((person,)))

    def _create(self, prepared: PreparedFeed, entries: Sequence[tuple[int, PatientIdentifier]], *, note: bool) -> int:
        """A record that nobody knew."""
        feed, stated, patients = prepared.feed, prepared.stated, self._patients
        found = self._linker.candidates(stated.keys)
        person = patients.add_person(self._clusters.now)
        own = [(key, item) for key, item in entries if not linkage.is_national(item)]
        domains = frozenset(key for key, _ in own)
        self._clusters.touch((person,))
        identities = [self._identity(person, key, item) for key, item in own] + self._nationals(person, stated, entries)
        # Whoever is alone needs an identifier of the affinity domain, so that nobody else's can stand for her.
        needs_one = self._clusters.affinity_key not in domains
        if needs_one and not found:
            identities.append(self._clusters.assigned(person))
        patients.add_identities(identities)
        messages = prepared.digest[:8] if note else b""
        patients.state(
            Statement(person, feed.source, stated.text, stated.packed, messages, self._clusters.now), stated.search, is_new=True
        )
        if stated.keys:
            patients.add_keys(person, stated.keys)
        demographics_index.replace(patients.connection, person, NO_ENTRIES, self._unknown(stated.entries), sound_codes)
        if feed.visit.keys() - _NO_VISIT:
            demographics_index.put_visit(patients.connection, person, feed.visit, self._clusters.now)
        self.effects.counted += [counted_record(), *stated.terms]
        self.effects.changed.append(person)
        self._announce(entries, feed)
        if found and not self._linker.place(person, stated.traits, domains, found) and needs_one:
            self._clusters.assign(person)
        return person

    def _identity(self, person: int, domain_key: int, item: PatientIdentifier, state: str | None = None) -> Identity:
        return Identity(person, domain_key, item.value, item.type_code, False, None, None, self._clusters.now, state)

    def _announce(self, entries: Sequence[tuple[int, PatientIdentifier]], feed: IdentityFeed) -> None:
        """Let the registry know an identifier of the affinity domain. Spec: ITI TF-2 3.8.4.2.4: it ignores revisions."""
        if feed.kind is FeedKind.ADD:
            for key, item in entries:
                if key == self._clusters.affinity_key:
                    affinity_patients.add(self._patients.connection, PatientIdentifier(item.value, self._clusters.affinity))

    def _restate(
        self, person: int, prepared: PreparedFeed, statements: Sequence[Statement], mine: Statement | None, *, note: bool
    ) -> bool:
        """Store what the source states now. False when that is what it stated before."""
        feed = prepared.feed
        after = prepared.stated
        if mine is not None and mine.demographics != after.text:
            stated = revised(mine.stated().demographics, feed)
            if stated != after.demographics:
                after = prepare_demographics(stated)
        if mine is not None and mine.demographics == after.text:
            if note:
                self._patients.note_message(mine, prepared.digest)
            return False
        base = mine or Statement(person, feed.source, "", b"")
        row = replace(
            base,
            demographics=after.text,
            traits=after.packed,
            messages=base.after(prepared.digest) if note else base.messages,
            updated=self._clusters.now,
        )
        self._patients.state(row, after.search, is_new=mine is None)
        self._rekey(person, statements, mine, after)
        return True

    def _rekey(self, person: int, statements: Sequence[Statement], mine: Statement | None, after: PreparedDemographics) -> None:
        unchanged = [item.stated().demographics for item in statements if item is not mine]
        before = entries([*unchanged, *([mine.stated().demographics] if mine else [])])
        now = self._unknown(entries([*unchanged, after.demographics]))
        demographics_index.replace(self._patients.connection, person, before, now, sound_codes)
        others = [Traits.unpack(item.traits) for item in statements if item is not mine]
        former = [Traits.unpack(mine.traits)] if mine else []
        kept = {key for item in others for key in linkage.blocking_keys(item)}
        old = {key for item in former for key in linkage.blocking_keys(item)} | kept
        new = {*after.keys} | kept
        if new - old:
            self._patients.add_keys(person, sorted(new - old))
        if old - new:
            self._patients.remove_keys(person, sorted(old - new))
        self.effects.counted += after.terms
        self.effects.uncounted += [term for item in former for term in terms_of(item)]

    def _unknown(self, found: IndexEntries) -> IndexEntries:
        """The entries, with those words alone that may be new to the register."""
        words = {key: written for key, written in found.words.items() if key not in self._words}
        self.effects.words.update(words)
        return replace(found, words=words)

    # National identifiers

    def _nationals(
        self, person: int, stated: PreparedDemographics, entries: Sequence[tuple[int, PatientIdentifier]]
    ) -> list[Identity]:
        """The identifiers of PID-3 that a state issued, as this record states them."""
        given = ((key, item) for key, item in entries if linkage.is_national(item))
        return [self._identity(person, key, item, _state(item, stated)) for key, item in given]

    def _state_nationals(self, person: int, prepared: PreparedFeed, entries: Sequence[tuple[int, PatientIdentifier]]) -> bool:
        """Bring the national identifiers of a known record up to date. True when others may be told something else now."""
        given = [(key, item) for key, item in entries if linkage.is_national(item)]
        held = [item for item in self._patients.identities((person,)) if item.national_state is not None]
        if not given and not held:
            return False
        statements = self._patients.statements((person,)).get(person, ())
        mine = next((item for item in statements if item.source == prepared.feed.source), None)
        stated = prepare_demographics(mine.stated().demographics) if mine else prepared.stated
        changed = False
        for key, item in given:
            state = _state(item, stated)
            same = next((each for each in held if (each.domain_key, each.value) == (key, item.value)), None)
            if same is None:
                # A source has one number of each authority for a patient: the new one takes the place of the old.
                for old in (each for each in held if each.domain_key == key):
                    self._patients.remove_identity(old)
                self._patients.add_identity(self._identity(person, key, item, state))
                changed = True
            elif same.national_state != state:
                self._patients.set_national_state(same, state)
                changed = True
        return changed

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
            if not all(item and item.is_active for item in found):
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
        if key == self._clusters.affinity_key:
            affinity_patients.merge(self._patients.connection, *self._in_registry(old, new))
        self._patients.set_subsumed(prior, new.value)
        self._clusters.link(prior.person_key, survivor.person_key, LinkReason.MERGED, by=source)
        self._linker.relink(survivor.person_key)
        self._clusters.regroup([survivor.person_key])
        self.effects.changed += [prior.person_key, survivor.person_key]

    def _change(self, prepared: PreparedFeed) -> None:
        """Put new identifiers in the place of old ones. Spec: ITI TF-2 3.30 (A47)."""
        pairs, problems = self._pairs(prepared.feed)
        known = []
        for number, key, old, new in pairs:
            prior, target = self._patients.identity(key, old.value), self._patients.identity(key, new.value)
            if prior is None or old.value == new.value:
                # Nothing is known of it, so that nothing changes.
                continue
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
        other = self._upsert(described, feed.linked, note=False)
        if one is None or other is None:
            return
        if not self._clusters.link(one, other, LinkReason.LINKED, by=feed.source):
            return
        kept, joined = (self._issued(given) for given in (feed.identifiers, feed.linked))
        if kept and joined and affinity_patients.merge(self._patients.connection, *self._in_registry(joined, kept)):
            self._patients.set_joined(joined, kept.value)

    def _unlink(self, prepared: PreparedFeed) -> None:
        """End what linking these two records did; when nobody had linked them, nothing happens."""
        feed = prepared.feed
        one, other = (self._issued(given) for given in (feed.identifiers, feed.linked))
        self._clusters.touch(self._persons((*feed.identifiers, *feed.linked)))
        for joined, kept in ((one, other), (other, one)):
            if joined and kept and joined.joined_to == kept.value:
                affinity_patients.unmerge(self._patients.connection, PatientIdentifier(joined.value, self._clusters.affinity))
                self._patients.set_joined(joined, None)
        for first in self._persons(feed.identifiers):
            for second in self._persons(feed.linked):
                self._clusters.unlink(first, second, LinkReason.LINKED, by=feed.source)
        self._note(prepared)

    def _note(self, prepared: PreparedFeed) -> None:
        """Remember a message that states nothing."""
        statements = self._patients.statements(self._persons(prepared.feed.identifiers))
        for item in (each for some in statements.values() for each in some if each.source == prepared.feed.source):
            self._patients.note_message(item, prepared.digest)

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


def _state(identifier: PatientIdentifier, stated: PreparedDemographics) -> str:
    """How far a record's national identifier is to be trusted, as it is stored."""
    authority = identifier.authority.oid or identifier.authority.namespace or ""
    found = linkage.nationals_of(replace(NOBODY, national_identifiers=(identifier,), reliability=stated.demographics.reliability))
    return next((item.status.name.lower() for item in found if item.authority == authority), "invalid")
