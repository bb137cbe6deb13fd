"""The PIX Manager: takes identity feeds, cross-references them, and answers which identifiers mean the same person.

Every person has an identifier of the affinity domain: the one that a feed brings, or one that is assigned here. The registry's
own list of patients follows in the same transaction, and so do the notifications of those who subscribed.

Spec: ITI TF-1 5 (PIX); ITI TF-2 3.8, 3.9, 3.10, 3.30, 3.44, 3.45.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Literal

from xds.actors import pix_audit, pix_turns
from xds.actors.identity_desk import IdentityDesk
from xds.actors.linkage_training import Training, train
from xds.actors.pix_audit_trail import AuditTrail
from xds.actors.pix_batches import FeedBatches
from xds.actors.pix_clusters import NewValue, affinity_in_use, new_patient_number
from xds.actors.pix_description import RefusedError
from xds.actors.pix_domain_joining import Joined, join_domains
from xds.actors.pix_feed import FeedTransaction
from xds.actors.pix_preparation import PreparedFeed, prepare
from xds.actors.pix_register import Register
from xds.model.caller import Action, Caller, Resource
from xds.model.domain_identity import DomainIdentity
from xds.model.identifiers import AssigningAuthority, PatientIdentifier
from xds.model.patient import (
    CrossReference,
    Demographics,
    IdentityDomain,
    IdentityFeed,
    IdentityProblem,
    IdentityProblemKind,
    IdentityQuery,
    IdentitySubscriber,
    Person,
)
from xds.ports import AccessRule, Clock
from xds.rules import linkage
from xds.rules.access import AllowAll
from xds.rules.identity_domains import DomainTable
from xds.store import audit, patients_terms
from xds.store.database import Database
from xds.store.patients import Identity, Patients, Transaction
from xds.store.patients_terms import StoredWeights


class PixManager:
    """Cross-references patients. `unknown_domains` decides about assigning authorities that are not configured."""

    def __init__(
        self,
        database: Database,
        identity: DomainIdentity,
        access: AccessRule,
        clock: Clock,
        *,
        domains: Sequence[IdentityDomain] = (),
        unknown_domains: Literal["create", "refuse"] = "create",
        subscribers: Sequence[IdentitySubscriber] = (),
        new_value: NewValue = new_patient_number,
    ) -> None:
        self._database = database
        self._identity = identity
        self._access = access
        self._is_open = isinstance(access, AllowAll)
        self.clock = clock
        configured = AssigningAuthority(identity.assigning_authority_namespace or None, identity.assigning_authority)
        table = DomainTable(domains, configured)
        self._register = Register(
            database, table, table.complete(configured), creates=unknown_domains == "create", new_value=new_value
        )
        self._register.subscribers = tuple(subscribers)
        #: For other actors on the same database.
        self.known_domains = self._domains = self._register.domains
        self._affinity = self._register.affinity
        self._trail = AuditTrail(database)
        turns = pix_turns.FeedTurns(self._register, clock)
        self._batches = FeedBatches(database, turns.apply, turns.foresee)
        #: The identity desk on the same register.
        self.desk = IdentityDesk(database, self._register, identity, access, clock)

    def feed(self, feed: IdentityFeed, caller: Caller) -> tuple[IdentityProblem, ...]:
        """Let a feed take effect, durably; empty when it did, or when the same message already had.

        Spec: ITI TF-2 3.8.4, 3.30.4.
        Errors: problems with `identifiers` (PID-3), `subsumed` (MRG-1) or `linked` (the second PID-3); nothing is stored then but
        the audit event.
        """
        return self.begin_feed(feed, caller)()

    def begin_feed(self, feed: IdentityFeed, caller: Caller) -> Callable[[], tuple[IdentityProblem, ...]]:
        """Begin what `feed` does, so that several feeds of one partner become durable together.

        What is returned waits for the end and gives the problems. It must be called in the same thread, soon, and in the order in
        which feeds were begun: other feeds may wait for it.
        """
        completed, problems = self._domains.completed(feed)
        if problems:
            refused = self._refused(feed, caller, problems)
            return lambda: refused
        self._register.refresh()
        prepared = prepare(completed, self._domains.known())
        events = pix_audit.accepted_events(completed, caller, self._identity, self.clock())
        waiting = self._batches.begin(prepared, events)

        def finish() -> tuple[IdentityProblem, ...]:
            try:
                self._register.follow(self._batches.wait(waiting))
            except RefusedError as error:
                return self._refused(feed, caller, error.problems)
            return ()

        return finish

    def objections(self, feed: IdentityFeed, caller: Caller) -> tuple[IdentityProblem, ...]:
        """Why a feed could not take effect which is refused for other reasons anyway: the problems that `feed` would give.

        Of the feed there is what could be read. Nothing is stored but the audit event, when there are problems.
        """
        completed, problems = self._domains.completed(feed)
        if not problems and completed.identifiers:
            prepared = prepare(replace(completed, demographics=Demographics()), self._domains.known())
            try:
                self._database.write(partial(self._rehearse, prepared=prepared))
            except RefusedError as error:
                problems = list(error.problems)
        return self._refused(feed, caller, problems) if problems else ()

    def _rehearse(self, connection: Transaction, prepared: PreparedFeed) -> None:
        """Apply a feed whose effect is undone. Errors: RefusedError, always, with the problems that there are."""
        change = self._register.begin(connection, self.clock())
        FeedTransaction(change.clusters, change.linker, prepared.domain_keys, self._register.words).apply(prepared)
        raise RefusedError(())

    def _refused(self, feed: IdentityFeed, caller: Caller, problems: Sequence[IdentityProblem]) -> tuple[IdentityProblem, ...]:
        events = pix_audit.feed_events(feed, caller, self._identity, self.clock(), problems)
        self._trail.add([audit.write(item) for item in events])
        return tuple(problems)

    def cross_reference(
        self,
        identifier: PatientIdentifier,
        domains: Sequence[AssigningAuthority],
        caller: Caller,
        query: IdentityQuery | None = None,
    ) -> CrossReference:
        """The active identifiers of the same person in those domains (none given: in every domain but the queried one).

        `query` is what the audit trail keeps.
        Spec: ITI TF-2 3.9.4.2.2.6.
        Errors: problems with `identifier` (component 1 or 4) and each unknown one of `domains`, all at once. An identifier that a
        merge or a change put another one in the place of is unknown to those who ask.
        """
        with self._database.read() as connection:
            patients = Patients(connection)
            answer = self._simply(patients, identifier, domains) or self._look_up(patients, identifier, domains, caller)
        if query is not None:
            event = pix_audit.query_event(query, identifier, caller, self._identity, self.clock(), answer.problems)
            self._trail.add((event,))
        return answer

    def affinity_identifier(self, identifier: PatientIdentifier) -> PatientIdentifier | None:
        """The affinity domain's identifier of the person whom this one means; None when it was never fed."""
        with self._database.read() as connection:
            patients = Patients(connection)
            cluster = self._cluster(patients, identifier)
            return self._affinity_of(patients, cluster[1]) if cluster else None

    def issuer_of(self, value: str, demographics: Demographics) -> AssigningAuthority | None:
        """Who issued an identifier that came without its assigning authority: None unless exactly one domain can have.

        A bare number means nothing, since every hospital has a patient 4711. It counts only when the demographics beside it
        confirm the one person who has that number somewhere.
        """
        described = linkage.traits(demographics)
        with self._database.read() as connection:
            patients = Patients(connection)
            confirmed = {
                item.domain_key
                for item in patients.identities_of_value(value)
                if any(
                    self._register.confirms(described, linkage.traits(each.demographics))
                    for each in patients.stated([item.person_key]).get(item.person_key, ())
                )
            }
            if len(confirmed) != 1:
                return None
            return next(iter(self._domains.names(patients, confirmed).values()))

    def authority(self, namespace: str) -> AssigningAuthority | None:
        """The assigning authority of that namespace with its OID, as configuration or a feed told of it; None when nobody did."""
        authority = self._domains.table.complete(AssigningAuthority(namespace))
        with self._database.read() as connection:
            domain = Patients(connection).domain(authority)
        found = self._domains.table.complete(domain.authority) if domain else authority
        return found if found.oid else None

    def persons(self, caller: Caller, *, search: str = "", page: int = 200) -> Iterator[Person]:
        """Every person whom the caller may see, in the order in which they became known.

        `search`: words that her names, birth date or telephone numbers must contain, in any spelling of case and accents.
        Each page of `page` persons is read by itself.
        """
        words = [folded for word in search.split() if (folded := linkage.fold(word))]
        after = 0
        while True:
            with self._database.read() as connection:
                patients = Patients(connection)
                clusters = patients.clusters_after(after, words, page)
                every = [self._person(patients, key, members) for key, members in patients.members(clusters).items()]
            # Of somebody whom her source removed there is nothing but a key.
            found = [item for item in every if item.identifiers or item.stated]
            resources = [Resource(item.affinity_identifier.to_cx() if item.affinity_identifier else "") for item in found]
            allowed = self._access.permits(caller, Action.IDENTITY, resources) if found else ()
            yield from (item for item, permitted in zip(found, allowed, strict=True) if permitted)
            if len(clusters) < page:
                return
            after = clusters[-1]

    def separate(self, one: PatientIdentifier, other: PatientIdentifier, caller: Caller) -> bool:
        """Declare that two identifiers mean two persons: their direct links end and no rule joins them again.

        False, and nothing changes, when one of them is unknown or both came with one record. A merge of their source is undone
        by `undo_merge`.
        """
        keys = []
        with self._database.read() as connection:
            for item in (one, other):
                cluster = self._cluster(Patients(connection), item)
                keys.append(cluster[0].person_key if cluster else None)
        if keys[0] is None or keys[1] is None or keys[0] == keys[1]:
            return False
        return self.desk.refuse(keys[0], keys[1], caller) is not None

    def undo_merge(self, subsumed: PatientIdentifier, caller: Caller) -> bool:
        """Give an identifier that a merge subsumed back to the person it belonged to, in the registry too.

        False, and nothing changes, when no merge subsumed it.
        """
        return self.desk.undo_merge(replace(subsumed, authority=self._domains.table.complete(subsumed.authority)), caller)

    # Domains and weights

    def domains(self) -> tuple[IdentityDomain, ...]:
        """Every patient identification domain: those of the configuration, then those that feeds made known."""
        configured = self._domains.table.domains
        with self._database.read() as connection:
            known = [item.authority for item in Patients(connection).every_domain()]
        return (*configured, *(IdentityDomain(item) for item in known if self._domains.table.find(item) is None))

    def join_domains(self, authority: AssigningAuthority, caller: Caller) -> Joined:
        """Make one domain of that known by this namespace alone and that known by this OID alone: see `pix_domain_joining`.

        Errors: CannotJoinError, after which nothing has changed.
        """
        return join_domains(self._database, self._register, self._identity, self.clock, authority, caller)

    def train(self, records: int) -> Training | None:
        """Learn weights from at most so many records of the register, and store them as a version that is not in force.

        None when the register has too few records.
        """
        return train(self._database, self._register.current_weights(), records, self.clock())

    def weights(self) -> tuple[StoredWeights, ...]:
        """Every stored version of the weights, the one in force first."""
        with self._database.read() as connection:
            return patients_terms.weights(connection)

    def activate_weights(self, version: str) -> bool:
        """Put a stored version of the weights in force; False when there is none of that name."""
        now = int(self.clock().timestamp() * 1000)
        done = self._database.write(lambda connection: patients_terms.activate_weights(connection, version, now))
        self._register.current_weights()
        return done

    def flush(self) -> None:
        """Have everything stored that waits to be written later."""
        self._register.store_counts()
        self._database.flush()

    def _cluster(self, patients: Patients, identifier: PatientIdentifier) -> tuple[Identity, tuple[Identity, ...]] | None:
        """The identity that stands for an identifier now, and every one of her person. None when nobody has it for certain.

        Of an identifier that a state issues, several records may have the same: it means somebody only when all that are sure of
        it are one person.
        """
        key = self._domains.key_of(patients, identifier.authority)
        if key is None:
            return None
        simple = patients.cluster_of_value(key, identifier.value)
        for item in simple:
            if item.value == identifier.value and item.domain_key == key:
                return item, simple
        bearers = patients.bearers(key, identifier.value)
        issued = next((item for item in bearers if item.national_state is None), None)
        if issued is not None:
            found = patients.surviving(issued)
            return found, patients.cluster(found.person_key)
        told = [item for item in bearers if item.is_told]
        if not told:
            return None
        cluster = patients.cluster(told[0].person_key)
        members = {item.person_key for item in cluster}
        return (told[0], cluster) if all(item.person_key in members for item in told) else None

    def _affinity_of(self, patients: Patients, identities: Sequence[Identity]) -> PatientIdentifier | None:
        held = [item for item in identities if item.domain_key == self._register.affinity_key and item.is_active]
        found = held if len(held) < 2 else affinity_in_use(patients, self._affinity, identities)
        return PatientIdentifier(found[0].value, self._affinity, found[0].type_code) if found else None

    def _identifiers(self, patients: Patients, identities: Sequence[Identity]) -> tuple[PatientIdentifier, ...]:
        """Identifiers that others may be told, grouped by domain, in the order in which the domains became known."""
        told = sorted((item for item in identities if item.is_told), key=lambda item: item.domain_key)
        names = self._domains.names(patients, {item.domain_key for item in told})
        found = (PatientIdentifier(item.value, names[item.domain_key], item.type_code) for item in told)
        return tuple(dict.fromkeys(found))

    def _person(self, patients: Patients, key: int, members: Sequence[int]) -> Person:
        identities = patients.identities(members)
        stated = patients.stated(members)
        sources = tuple(item for member in members for item in stated.get(member, ()))
        return Person(key, self._affinity_of(patients, identities), self._identifiers(patients, identities), sources)

    def _simply(
        self, patients: Patients, identifier: PatientIdentifier, domains: Sequence[AssigningAuthority]
    ) -> CrossReference | None:
        """What `_look_up` answers where everybody may see everybody, everything is known and nothing was subsumed; else None."""
        own = self._domains.key_at_once(identifier.authority) if self._is_open else None
        wanted = [self._domains.key_at_once(item) for item in domains]
        if own is None or None in wanted:
            return None
        held = patients.told_beside(own, identifier.value, wanted)
        if held is None:
            return None
        names = self._domains.names(patients, {item[0] for item in held})
        return CrossReference(tuple([PatientIdentifier(value, names[key], type_code) for key, value, type_code in held]))

    def _look_up(
        self, patients: Patients, identifier: PatientIdentifier, domains: Sequence[AssigningAuthority], caller: Caller
    ) -> CrossReference:
        kinds = IdentityProblemKind
        problems = []
        found = None
        if not self._domains.is_known(patients, identifier.authority):
            text = "the assigning authority of the identifier is not known here"
            problems.append(IdentityProblem(kinds.UNKNOWN_DOMAIN, "identifier", text, component=4))
        else:
            found = self._cluster(patients, identifier)
            # What was subsumed means somebody in this house alone: whoever still uses it outside must learn that it is gone.
            if found is None or found[0].value != identifier.value or not self._may_read(patients, found[1], caller):
                text = "the identifier is not known in its domain"
                problems.append(IdentityProblem(kinds.UNKNOWN_IDENTIFIER, "identifier", text, component=1))
        for number, authority in enumerate(domains, 1):
            if not self._domains.is_known(patients, authority):
                text = "the domain is not known here"
                problems.append(IdentityProblem(kinds.UNKNOWN_DOMAIN, "domains", text, number, 4))
        if problems or found is None:
            return CrossReference(problems=tuple(problems))
        own, cluster = found
        if domains:
            keys = {self._domains.key_of(patients, authority) for authority in domains}
            named = [item for item in cluster if item.domain_key in keys]
        else:
            named = [item for item in cluster if item.domain_key != own.domain_key]
        asked = (own.domain_key, own.value)
        return CrossReference(self._identifiers(patients, [item for item in named if (item.domain_key, item.value) != asked]))

    def _may_read(self, patients: Patients, cluster: Sequence[Identity], caller: Caller) -> bool:
        affinity = self._affinity_of(patients, cluster)
        resource = Resource(affinity.to_cx() if affinity else "")
        return all(self._access.permits(caller, Action.IDENTITY, (resource,)))
