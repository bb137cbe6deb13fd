"""What a feed says of one patient applied inside one transaction: her identifiers, traits and keys, and where she belongs.

Spec: ITI TF-2 3.8.4.1.3 (add, revise), 3.8.4.2.4 (the Document Registry's part).
"""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

import structlog

from xds.actors.pix_clusters import Clusters
from xds.actors.pix_linking import Linker, Placement, counted_record
from xds.actors.pix_preparation import (
    NOBODY,
    PreparedDemographics,
    PreparedFeed,
    keys_of,
    prepare_demographics,
    restated,
    terms_of,
)
from xds.model.demographics_index import IndexEntries
from xds.model.identifiers import AssigningAuthority, PatientIdentifier
from xds.model.identity_review import LinkReason
from xds.model.patient import Demographics, FeedKind, IdentityFeed, IdentityProblem, IdentityProblemKind
from xds.rules import linkage
from xds.rules.demographics_index import entries, sound_codes
from xds.rules.linkage import NationalStatus, Traits
from xds.store import affinity_patients, demographics_index
from xds.store.patients import Identity, Patients, Statement

NO_ENTRIES: Final = IndexEntries(frozenset(), frozenset(), {})

#: What tells of no visit by itself: HL7 requires it in every message.
_NO_VISIT: Final = frozenset({"PV1.2"})

_log = structlog.get_logger()


class RefusedError(Exception):
    """The feed cannot take effect; whatever the transaction wrote is to be undone."""

    def __init__(self, problems: Sequence[IdentityProblem]) -> None:
        super().__init__("; ".join(problem.text for problem in problems))
        self.problems = tuple(problems)


def subsumed_problem(field: str, number: int) -> IdentityProblem:
    """A feed says something of an identifier that is not in use any more."""
    text = "the identifier was replaced by another one: what is said of it would be said of the survivor"
    return IdentityProblem(IdentityProblemKind.UNKNOWN_IDENTIFIER, field, text, number)


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


class DescribingTransaction:
    """Applies what feeds say of patients, one after another."""

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

    def _domain_key(self, authority: AssigningAuthority) -> int:
        key = self._known_keys.get(authority) or self.effects.domain_keys.get(authority)
        if key is None:
            domain = self._patients.add_domain(authority)
            key = self.effects.domain_keys[authority] = domain.domain_key
            if authority.namespace and authority.oid and domain.authority.namespace is None:
                # Somebody must say whether they are one: namespaces are unique locally, and no message can decide it.
                _log.warning("identity.domain_known_twice", namespace=authority.namespace, oid=authority.oid)
        return key

    # Add and revise

    def _upsert(
        self, prepared: PreparedFeed, identifiers: Sequence[PatientIdentifier], *, note: bool = True, field: str = "identifiers"
    ) -> int | None:
        """Describe the patient of these identifiers; gives her record, or None when the message had done so before.

        `note`: the message is remembered with what it states. `field` of the feed is where the identifiers stand.
        Errors: RefusedError for identifiers that are not in use any more.
        """
        feed = prepared.feed
        keys = [(self._domain_key(item.authority), item) for item in identifiers]
        # One identifier may stand there twice, under another name of its authority or with another type.
        named = [((key, item.value), item) for key, item in keys]
        entries = [(key[0], item) for key, item in dict(reversed(named)).items()][::-1] if len(named) > 1 else keys
        own = [entry for entry in entries if not linkage.is_national(entry[1])]
        known = {entry: self._patients.identity(entry[0], entry[1].value) for entry in own}
        gone = [identity for identity in known.values() if identity and identity.subsumed_by is not None]
        if gone and self._said_before(prepared, gone):
            self.effects.is_repeated = True
            return None
        persons = self._described(known, identifiers, field) if gone else [item.person_key for item in known.values() if item]
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
        placement = self._foreseen(prepared, person)
        self._clusters.touch(persons)
        added = [entry for entry, identity in known.items() if identity is None]
        if added:
            self._patients.add_identities([self._identity(person, key, item) for key, item in added])
        others = [item for item in statements if item is not mine]
        after = prepared.foreseen.after if placement and prepared.foreseen else None
        changed = self._restate(person, prepared, others, mine, note=note, after=after)
        is_otherwise_known = self._state_nationals(person, prepared, entries)
        self._announce(entries, feed)
        for other in persons[1:]:
            self._clusters.link(person, other, LinkReason.STATED, by=feed.source)
        if changed and placement:
            self._linker.carry_out(person, placement)
        elif changed or is_otherwise_known:
            self._linker.relink(person, ((changed.traits,), changed.kinds) if changed and not others else None)
        if changed or is_otherwise_known:
            self.effects.changed.append(person)
        if added or is_otherwise_known or (changed and feed.kind is FeedKind.ADD):
            # What a revision says of her traits regroups nobody but by links, which see to it themselves.
            self._clusters.regroup([person])
        if feed.visit:
            demographics_index.put_visit(self._patients.connection, person, feed.visit, self._clusters.now)
        return person

    def _foreseen(self, prepared: PreparedFeed, *known: int) -> Placement | None:
        """What was decided before the turn of a record, known or new, if that still holds. To be asked before it is written."""
        foreseen = prepared.foreseen
        if foreseen is None or foreseen.placement is None:
            return None
        return foreseen.placement if self._linker.holds(foreseen.placement, foreseen.since, *known) else None

    def _said_before(self, prepared: PreparedFeed, gone: Sequence[Identity]) -> bool:
        """True when the message took effect before its identifiers were subsumed."""
        rows = self._patients.statements({item.person_key for item in gone})
        mine = (item for some in rows.values() for item in some if item.source == prepared.feed.source)
        return any(item.knows(prepared.digest) for item in mine)

    def _described(
        self,
        known: Mapping[tuple[int, PatientIdentifier], Identity | None],
        identifiers: Sequence[PatientIdentifier],
        field: str,
    ) -> list[int]:
        """The records of identifiers some of which were subsumed.

        Whoever still uses such a one means the patient of before the merge: her traits must not overwrite those of the survivor.
        Beside the survivor's own identifier it does no harm.
        Errors: RefusedError, naming each that stands alone.
        """
        persons = [item.person_key for item in known.values() if item and item.subsumed_by is None]
        problems = [
            subsumed_problem(field, identifiers.index(entry[1]) + 1)
            for entry, item in known.items()
            if item and item.subsumed_by is not None and self._patients.surviving(item).person_key not in persons
        ]
        if problems:
            raise RefusedError(problems)
        return persons

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
        own = [(key, item) for key, item in entries if not linkage.is_national(item)]
        domains = frozenset(key for key, _ in own)
        needs_one = self._clusters.affinity_key not in domains
        described = self._unknown(stated.entries)
        # What is needed later is asked for with the candidates: a server answers it in one turn.
        person_key = patients.ask_person_key()
        assigned = self._clusters.ask_assigned() if needs_one else None
        words = demographics_index.ask_words(patients.connection, described.words)
        placement = self._foreseen(prepared) or self._linker.place(stated.kinds, stated.traits, domains)
        person = patients.add_person(self._clusters.now, person_key())
        self._clusters.touch((person,))
        identities = [self._identity(person, key, item) for key, item in own] + self._nationals(person, stated, entries)
        # Whoever is alone needs an identifier of the affinity domain, so that nobody else's can stand for her.
        if assigned and placement.stays_alone:
            identities.append(assigned(person))
        patients.add_identities(identities)
        messages = prepared.digest[:8] if note else b""
        patients.state(
            Statement(person, feed.source, stated.text, stated.packed, messages, self._clusters.now), stated.search, is_new=True
        )
        if stated.keys:
            patients.add_keys(person, stated.keys)
        demographics_index.replace(patients.connection, person, NO_ENTRIES, described, sound_codes, words)
        if feed.visit.keys() - _NO_VISIT:
            demographics_index.put_visit(patients.connection, person, feed.visit, self._clusters.now)
        self.effects.counted += [counted_record(), *stated.terms]
        self.effects.changed.append(person)
        self._announce(entries, feed)
        self._linker.carry_out(person, placement)
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
        self,
        person: int,
        prepared: PreparedFeed,
        others: Sequence[Statement],
        mine: Statement | None,
        *,
        note: bool,
        after: PreparedDemographics | None,
    ) -> PreparedDemographics | None:
        """Store what the source states now, and give it; None when nothing that is compared has changed.

        `others` are the statements of other sources, `mine` is what this one stated before, `after` what it states now, if that
        is known.
        """
        feed = prepared.feed
        before = mine.stated().demographics if mine is not None and mine.demographics != prepared.stated.text else None
        if after is None:
            after = restated(before, prepared) if before is not None else prepared.stated
        if mine is not None and mine.demographics == after.text:
            if note:
                self._patients.note_message(mine, prepared.digest)
            return None
        base = mine or Statement(person, feed.source, "", b"")
        row = replace(
            base,
            demographics=after.text,
            traits=after.packed,
            messages=base.after(prepared.digest) if note else base.messages,
            updated=self._clusters.now,
        )
        self._patients.state(row, after.search, is_new=mine is None)
        self._reindex(person, others, before, after)
        self._rekey(person, others, mine, after)
        return after if mine is None or mine.traits != after.packed else None

    def _reindex(
        self, person: int, others: Sequence[Statement], before: Demographics | None, after: PreparedDemographics
    ) -> None:
        unchanged = [item.stated().demographics for item in others]
        was = entries([*unchanged, *([before] if before else [])])
        now = self._unknown(entries([*unchanged, after.demographics]) if unchanged else after.entries)
        demographics_index.replace(self._patients.connection, person, was, now, sound_codes)

    def _rekey(self, person: int, others: Sequence[Statement], mine: Statement | None, after: PreparedDemographics) -> None:
        kept = {item.traits: Traits.unpack(item.traits) for item in others}
        former = {mine.traits: Traits.unpack(mine.traits)} if mine else {}
        old = keys_of(kept | former) if kept or former else {}
        new = keys_of(kept | {after.packed: after.traits}) if kept else after.keys
        if added := {key: glimpse for key, glimpse in new.items() if key not in old}:
            self._patients.add_keys(person, added)
        if seen := {key: glimpse for key, glimpse in new.items() if key in old and old[key] != glimpse}:
            self._patients.show(person, seen)
        if gone := old.keys() - new.keys():
            self._patients.remove_keys(person, sorted(gone))
        self.effects.counted += after.terms
        self.effects.uncounted += [term for item in former.values() for term in terms_of(item)]

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
        if not given:
            return False
        held = [item for item in self._patients.identities((person,)) if item.national_state is not None]
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

    def _known(self, identifiers: Sequence[PatientIdentifier]) -> list[Identity]:
        found = (self._patients.identity(self._domain_key(item.authority), item.value) for item in identifiers)
        return [item for item in found if item]

    def _persons(self, identifiers: Sequence[PatientIdentifier]) -> list[int]:
        persons = (self._patients.surviving(item).person_key for item in self._known(identifiers))
        return list(dict.fromkeys(persons))


def _state(identifier: PatientIdentifier, stated: PreparedDemographics) -> str:
    """How far a record's national identifier is to be trusted, as it is stored.

    Of an INS without a word about the identity nobody knows that it is qualified: provisional is what the RNIV makes of it.
    """
    authority = identifier.authority.oid or identifier.authority.namespace or ""
    found = linkage.nationals_of(replace(NOBODY, national_identifiers=(identifier,), reliability=stated.demographics.reliability))
    for item in found:
        if item.authority == authority:
            is_doubtful = item.status is NationalStatus.STATED and not item.is_told
            return (NationalStatus.PROVISIONAL if is_doubtful else item.status).name.lower()
    return "invalid"
