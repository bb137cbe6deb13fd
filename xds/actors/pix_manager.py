"""The PIX Manager: takes identity feeds, cross-references them, and answers which identifiers mean the same person.

Every person has an identifier of the affinity domain: the one that a feed brings, or one that is assigned here. The registry's
own list of patients follows in the same transaction.

Spec: ITI TF-1 5 (PIX); ITI TF-2 3.8, 3.9, 3.30, 3.44, 3.45.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, replace
from functools import partial
from typing import Final, Literal

from xds.actors import pix_audit
from xds.actors.pix_clusters import Clusters, affinity_in_use, new_patient_number
from xds.actors.pix_feed import FeedTransaction, RefusedError
from xds.model.audit import AuditEvent
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
    Person,
)
from xds.ports import AccessRule, Clock
from xds.rules import linkage
from xds.rules.identity_domains import DomainTable
from xds.rules.linkage import LinkReason
from xds.store import affinity_patients, audit, jobs
from xds.store.database import Database
from xds.store.patients import Identity, Patients, Transaction

#: The kind of job that follows every feed: whatever waits for a patient to become known is looked at again.
IDENTITIES_CHANGED: Final = "identities-changed"

#: How long a message is remembered so that sending it again has no second effect.
_REMEMBERED_MS = 30 * 24 * 3600 * 1000


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
        new_value: Callable[[], str] = new_patient_number,
    ) -> None:
        self._database = database
        self._identity = identity
        self._access = access
        self.clock = clock
        configured = AssigningAuthority(identity.assigning_authority_namespace or None, identity.assigning_authority)
        self._domains = DomainTable(domains, configured)
        self._affinity = self._domains.complete(configured)
        self._creates_domains = unknown_domains == "create"
        self._new_value = new_value

    def feed(self, feed: IdentityFeed, caller: Caller) -> tuple[IdentityProblem, ...]:
        """Let a feed take effect, durably; empty when it did, or when the same message already had.

        Spec: ITI TF-2 3.8.4.
        Errors: problems with `identifiers` (PID-3), `subsumed` (MRG-1) or `linked` (the second PID-3); nothing is stored then but
        the audit event.
        """
        identifiers, problems = self._complete(feed.identifiers, feed.source, "identifiers")
        subsumed, more = self._complete(feed.subsumed, feed.source, "subsumed")
        linked, others = self._complete(feed.linked, feed.source, "linked")
        problems += (*more, *others)
        if not problems:
            digest = _digest(feed)
            completed = replace(feed, identifiers=identifiers, subsumed=subsumed, linked=linked)
            try:
                self._database.write(lambda connection: self._apply(connection, completed, digest, caller))
            except RefusedError as refused:
                problems = list(refused.problems)
        if problems:
            self._audit_later(pix_audit.feed_events(feed, caller, self._identity, self.clock(), problems))
        return tuple(problems)

    def cross_reference(
        self,
        identifier: PatientIdentifier,
        domains: Sequence[AssigningAuthority],
        caller: Caller,
        query: IdentityQuery | None = None,
    ) -> CrossReference:
        """The active identifiers of the same person in those domains (none given: in every domain but the queried one).

        An identifier that a merge subsumed is answered for the surviving one. `query` is what the audit trail keeps.
        Spec: ITI TF-2 3.9.4.2.2.6.
        Errors: problems with `identifier` (component 1 or 4) and each unknown one of `domains`, all at once.
        """
        with self._database.read() as connection:
            answer = self._look_up(Patients(connection), identifier, domains, caller)
        if query is not None:
            event = pix_audit.query_event(query, identifier, caller, self._identity, self.clock(), answer.problems)
            self._audit_later((event,))
        return answer

    def affinity_identifier(self, identifier: PatientIdentifier) -> PatientIdentifier | None:
        """The affinity domain's identifier of the person whom this one means; None when it was never fed."""
        with self._database.read() as connection:
            patients = Patients(connection)
            found = self._find(patients, identifier)
            return self._affinity_of(patients, self._cluster(patients, found)) if found else None

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
                    linkage.confirms(described, linkage.traits(each.demographics))
                    for each in patients.stated([item.person_key]).get(item.person_key, ())
                )
            }
            if len(confirmed) != 1:
                return None
            return self._domains.complete(next(iter(patients.domains(confirmed).values())))

    def authority(self, namespace: str) -> AssigningAuthority | None:
        """The assigning authority of that namespace with its OID, as configuration or a feed told of it; None when nobody did."""
        authority = self._domains.complete(AssigningAuthority(namespace))
        with self._database.read() as connection:
            domain = Patients(connection).domain(authority)
        found = self._domains.complete(domain.authority) if domain else authority
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
                found = [self._person(patients, key, members) for key, members in patients.members(clusters).items()]
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

        def work(connection: Transaction) -> bool:
            patients = Patients(connection)
            patients.take_turn()
            found = (self._find(patients, one), self._find(patients, other))
            if found[0] is None or found[1] is None or found[0].person_key == found[1].person_key:
                return False
            self._clusters(patients).separate(found[0].person_key, found[1].person_key)
            for event in pix_audit.desk_events((one, other), caller, self._identity, self.clock()):
                audit.append(connection, event)
            return True

        return self._database.write(work)

    def undo_merge(self, subsumed: PatientIdentifier, caller: Caller) -> bool:
        """Give an identifier that a merge subsumed back to the person it belonged to, in the registry too.

        False, and nothing changes, when no merge subsumed it.
        """

        def work(connection: Transaction) -> bool:
            patients = Patients(connection)
            patients.take_turn()
            domain = patients.domain(self._domains.complete(subsumed.authority))
            prior = patients.identity(domain.domain_key, subsumed.value) if domain else None
            if domain is None or prior is None or prior.subsumed_by is None:
                return False
            survivor = patients.identity(domain.domain_key, prior.subsumed_by)
            patients.set_subsumed(prior, None)
            clusters = self._clusters(patients)
            if domain.domain_key == clusters.affinity_key:
                affinity_patients.unmerge(connection, PatientIdentifier(prior.value, self._affinity))
            clusters.unlink(prior.person_key, survivor.person_key if survivor else prior.person_key, LinkReason.MERGED)
            for event in pix_audit.desk_events((subsumed,), caller, self._identity, self.clock()):
                audit.append(connection, event)
            return True

        return self._database.write(work)

    def _now(self) -> int:
        return int(self.clock().timestamp() * 1000)

    def _clusters(self, patients: Patients) -> Clusters:
        return Clusters(patients, self._affinity, self._now(), self._new_value)

    def _audit_later(self, events: Sequence[AuditEvent]) -> None:
        for event in events:
            self._database.write_later(partial(_append, event))

    def _complete(
        self, identifiers: Sequence[PatientIdentifier], source: str, field: str
    ) -> tuple[tuple[PatientIdentifier, ...], list[IdentityProblem]]:
        """Identifiers under the full names of their domains, and what forbids the source to send them."""
        completed, problems = [], []
        for number, item in enumerate(identifiers, 1):
            authority = item.authority if item.authority != AssigningAuthority() else self._domains.of_source(source)
            problem = self._authority_problem(authority, source)
            if problem:
                kind, text = problem
                problems.append(IdentityProblem(kind, field, text, number, 4))
            elif authority:
                completed.append(replace(item, authority=self._domains.complete(authority)))
        return tuple(dict.fromkeys(completed)), problems

    def _authority_problem(self, authority: AssigningAuthority | None, source: str) -> tuple[IdentityProblemKind, str] | None:
        kinds = IdentityProblemKind
        if authority is None:
            return kinds.REQUIRED_MISSING, "the identifier has no assigning authority, and none is configured for its source"
        if self._domains.is_contradictory(authority):
            return kinds.INVALID, "the namespace and the universal id of the assigning authority name different authorities"
        if self._domains.find(authority) is None and not self._creates_domains:
            return kinds.UNKNOWN_DOMAIN, "the assigning authority is not known here"
        if not self._domains.may_issue(authority, source):
            return kinds.NOT_ISSUER, "the sender may not issue identifiers of this assigning authority"
        return None

    def _apply(self, connection: Transaction, feed: IdentityFeed, digest: bytes, caller: Caller) -> None:
        patients = Patients(connection)
        patients.take_turn()
        if patients.is_known_message(feed.source, feed.message_id, digest):
            return
        moment = self.clock()
        now = int(moment.timestamp() * 1000)
        FeedTransaction(patients, self._affinity, now, self._new_value).apply(feed)
        patients.add_message(feed.source, feed.message_id, digest, now, now - _REMEMBERED_MS)
        for event in pix_audit.feed_events(feed, caller, self._identity, moment):
            audit.append(connection, event)
        jobs.add(connection, IDENTITIES_CHANGED, "", {}, moment)

    def _find(self, patients: Patients, identifier: PatientIdentifier) -> Identity | None:
        domain = patients.domain(self._domains.complete(identifier.authority))
        found = patients.identity(domain.domain_key, identifier.value) if domain else None
        return patients.surviving(found) if found else None

    def _is_known_domain(self, patients: Patients, authority: AssigningAuthority) -> bool:
        if self._domains.is_contradictory(authority):
            return False
        return self._domains.find(authority) is not None or patients.domain(authority) is not None

    def _cluster(self, patients: Patients, found: Identity) -> tuple[Identity, ...]:
        cluster = patients.cluster_of([found.person_key])[found.person_key]
        return patients.identities(patients.members([cluster])[cluster])

    def _affinity_of(self, patients: Patients, identities: Sequence[Identity]) -> PatientIdentifier | None:
        found = affinity_in_use(patients, self._affinity, identities)
        return PatientIdentifier(found[0].value, self._affinity, found[0].type_code) if found else None

    def _identifiers(self, patients: Patients, identities: Sequence[Identity]) -> tuple[PatientIdentifier, ...]:
        """Active identifiers grouped by domain, in the order in which the domains became known."""
        active = sorted((item for item in identities if item.is_active), key=lambda item: item.domain_key)
        names = patients.domains(item.domain_key for item in active)
        return tuple(
            PatientIdentifier(item.value, self._domains.complete(names[item.domain_key]), item.type_code) for item in active
        )

    def _person(self, patients: Patients, key: int, members: Sequence[int]) -> Person:
        identities = patients.identities(members)
        stated = patients.stated(members)
        sources = tuple(item for member in members for item in stated.get(member, ()))
        return Person(key, self._affinity_of(patients, identities), self._identifiers(patients, identities), sources)

    def _look_up(
        self, patients: Patients, identifier: PatientIdentifier, domains: Sequence[AssigningAuthority], caller: Caller
    ) -> CrossReference:
        kinds = IdentityProblemKind
        problems = []
        found: Identity | None = None
        cluster: tuple[Identity, ...] = ()
        if not self._is_known_domain(patients, identifier.authority):
            text = "the assigning authority of the identifier is not known here"
            problems.append(IdentityProblem(kinds.UNKNOWN_DOMAIN, "identifier", text, component=4))
        else:
            found = self._find(patients, identifier)
            cluster = self._cluster(patients, found) if found else ()
            if not cluster or not self._may_read(patients, cluster, caller):
                text = "the identifier is not known in its domain"
                problems.append(IdentityProblem(kinds.UNKNOWN_IDENTIFIER, "identifier", text, component=1))
        for number, authority in enumerate(domains, 1):
            if not self._is_known_domain(patients, authority):
                text = "the domain is not known here"
                problems.append(IdentityProblem(kinds.UNKNOWN_DOMAIN, "domains", text, number, 4))
        if problems or found is None:
            return CrossReference(problems=tuple(problems))
        wanted = [patients.domain(self._domains.complete(authority)) for authority in domains]
        keys = (
            {item.domain_key for item in wanted if item}
            if domains
            else {item.domain_key for item in cluster} - {found.domain_key}
        )
        asked = (found.domain_key, identifier.value)
        named = [item for item in cluster if item.domain_key in keys and (item.domain_key, item.value) != asked]
        return CrossReference(self._identifiers(patients, named))

    def _may_read(self, patients: Patients, cluster: Sequence[Identity], caller: Caller) -> bool:
        affinity = self._affinity_of(patients, cluster)
        resource = Resource(affinity.to_cx() if affinity else "")
        return all(self._access.permits(caller, Action.IDENTITY, (resource,)))


def _append(event: AuditEvent, connection: Transaction) -> None:
    audit.append(connection, event)


def _digest(feed: IdentityFeed) -> bytes:
    text = json.dumps(asdict(feed), ensure_ascii=False, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).digest()
