"""The Patient Demographics Supplier: finds persons by their traits and answers their golden record, in every wire form.

Spec: ITI TF-1 8 (PDQ); ITI TF-2 3.21, 3.22, 3.47; PDQm (ITI-78, ITI-119).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Final

from xds.actors import pix_audit
from xds.actors.pix_clusters import affinity_in_use
from xds.model.audit import AuditEvent
from xds.model.caller import Action, Caller, Resource
from xds.model.demographics_query import (
    Comparison,
    DateRange,
    DemographicsAnswer,
    DemographicsQuery,
    IdentifierPattern,
    NamePattern,
    PageRequest,
    PatientMatch,
    TextPattern,
)
from xds.model.domain_identity import DomainIdentity
from xds.model.identifiers import AssigningAuthority, PatientIdentifier
from xds.model.patient import Demographics, IdentityDomain, IdentityProblem, IdentityProblemKind, IdentityQuery
from xds.ports import AccessRule, Clock
from xds.rules import demographics_criteria
from xds.rules.demographics_match import Sought, is_graded, quality
from xds.rules.demographics_match import days as days_of
from xds.rules.golden_record import golden_record
from xds.rules.identity_domains import DomainTable
from xds.store import audit, demographics
from xds.store.database import Connection, Database
from xds.store.demographics import KnownPerson
from xds.store.patients import Patients

#: Candidates that are looked at together.
_BATCH: Final = 500


class PatientDemographicsSupplier:
    """Answers demographics queries over what the PIX Manager keeps. One object serves all threads."""

    def __init__(
        self,
        database: Database,
        identity: DomainIdentity,
        access: AccessRule,
        clock: Clock,
        *,
        domains: Sequence[IdentityDomain] = (),
        minimum_criteria: int = 1,
        page_size: int = 100,
        max_results: int = 1000,
    ) -> None:
        """`minimum_criteria` is how many traits a query must name, `max_results` the most patients that one query gives."""
        self._database = database
        self._identity = identity
        self._access = access
        self._clock = clock
        configured = AssigningAuthority(identity.assigning_authority_namespace or None, identity.assigning_authority)
        self._domains = DomainTable(domains, configured)
        self._affinity = self._domains.complete(configured)
        self._minimum_criteria = minimum_criteria
        self._page_size = page_size
        self._max_results = max_results

    def search(
        self, query: DemographicsQuery, page: PageRequest, caller: Caller, asked: IdentityQuery | None = None
    ) -> DemographicsAnswer:
        """The persons who meet every criterion. `asked` is what the audit trail keeps.

        Spec: ITI TF-2 3.21.4.2.3, 3.47.4.2.3.
        Errors: problems with `criteria`, each unknown one of `domains`, and `page`, all at once.
        """
        with self._database.read() as connection:
            problems = [*demographics_criteria.check(query, self._minimum_criteria), *self._unknown(connection, query.domains)]
            answer = DemographicsAnswer(problems=tuple(problems))
            if not problems:
                answer = self._answer(connection, query, page, caller)
        self._audit(asked, caller, answer)
        return answer

    def match(
        self,
        demographics: Demographics,
        identifiers: Sequence[PatientIdentifier],
        caller: Caller,
        *,
        count: int | None = None,
        only_certain: bool = False,
        asked: IdentityQuery | None = None,
    ) -> DemographicsAnswer:
        """The persons whom a record may describe, the likeliest first, each with its score.

        Spec: PDQm 2:3.119.4.1.3.
        """
        names = tuple(
            NamePattern(*(TextPattern(part, Comparison.FUZZY) if part else None for part in (name.family, name.given)))
            for name in demographics.names
        )
        days = (DateRange(*days_of(demographics.birth_date)),) if demographics.birth_date else ()
        alternatives = tuple(IdentifierPattern(item.value, item.authority) for item in identifiers)
        query = DemographicsQuery(
            identifiers=(alternatives,) if alternatives and not names else (), names=(names,) if names else (), birth_dates=days
        )
        answer = self.search(query, PageRequest(), caller, asked)
        ranked = tuple(sorted(answer.matches, key=lambda item: -(item.score or 0)))[:count]
        certain = ranked if len(ranked) == 1 and (ranked[0].score or 100) == 100 else ()
        return replace(answer, matches=certain if only_certain else ranked, next_page=None)

    def person(self, key: int, caller: Caller) -> PatientMatch | None:
        """The person of that key; None when there is none whom the caller may see."""
        answer = self.search(DemographicsQuery(keys=(key,)), PageRequest(), caller)
        return answer.matches[0] if answer.matches else None

    def cancel(self, query_tag: str, source: str, caller: Caller) -> bool:
        """Forget the rest of a query, whose pages nobody will ask for any more. False when there is nothing to forget."""
        return False

    def _answer(self, connection: Connection, query: DemographicsQuery, page: PageRequest, caller: Caller) -> DemographicsAnswer:
        limit = min(page.limit or self._page_size, self._max_results)
        matches: list[PatientMatch] = []
        for match in self._matches(connection, query, int(page.after or 0), caller):
            if len(matches) == limit:
                return DemographicsAnswer(tuple(matches), None, str(matches[-1].key))
            matches.append(match)
        return DemographicsAnswer(tuple(matches), len(matches) if page.after is None else None)

    def _matches(self, connection: Connection, query: DemographicsQuery, after: int, caller: Caller) -> Iterator[PatientMatch]:
        graded = is_graded(query)
        patients = Patients(connection)
        while keys := demographics.candidates(connection, query, after, _BATCH):
            after = keys[-1]
            persons = demographics.load(connection, keys)
            names = self._names(patients, persons)
            for known in persons.values():
                found = quality(query, self._sought(known, names))
                if found is None or not self._may_read(patients, known, caller):
                    continue
                score = round(100 * found) if graded else None
                if score is None or score >= (query.minimum_score or 0):
                    yield self._match(known, names, query.domains, score)
            if len(keys) < _BATCH:
                return

    def _names(self, patients: Patients, persons: dict[int, KnownPerson]) -> dict[int, AssigningAuthority]:
        keys = {item.domain_key for known in persons.values() for item in known.identities}
        return {key: self._domains.complete(found) for key, found in patients.domains(keys).items()}

    def _sought(self, known: KnownPerson, names: dict[int, AssigningAuthority]) -> Sought:
        identifiers = (PatientIdentifier(item.value, names[item.domain_key], item.type_code) for item in known.identities)
        return Sought(known.key, tuple(item.stated.demographics for item in known.statements), tuple(identifiers), known.visit)

    def _match(
        self,
        known: KnownPerson,
        names: dict[int, AssigningAuthority],
        domains: Sequence[AssigningAuthority],
        score: int | None,
    ) -> PatientMatch:
        active = sorted((item for item in known.identities if item.is_active), key=lambda item: item.domain_key)
        identifiers = tuple(PatientIdentifier(item.value, names[item.domain_key], item.type_code) for item in active)
        wanted = [self._domains.complete(item) for item in domains]
        if wanted:
            identifiers = tuple(item for item in identifiers if any(_same(item.authority, one) for one in wanted))
        missing = tuple(one for one in wanted if not any(_same(item.authority, one) for item in identifiers))
        golden = golden_record(item.stated for item in known.statements)
        updated = max((item.stated.updated for item in known.statements), default=0)
        return PatientMatch(known.key, identifiers, golden.demographics, score, missing, known.visit, updated=updated)

    def _may_read(self, patients: Patients, known: KnownPerson, caller: Caller) -> bool:
        found = affinity_in_use(patients, self._affinity, known.identities)
        resource = Resource(PatientIdentifier(found[0].value, self._affinity).to_cx() if found else "")
        return all(self._access.permits(caller, Action.IDENTITY, (resource,)))

    def _unknown(self, connection: Connection, domains: Sequence[AssigningAuthority]) -> Iterator[IdentityProblem]:
        patients = Patients(connection)
        for number, authority in enumerate(domains, 1):
            known = not self._domains.is_contradictory(authority) and (
                self._domains.find(authority) is not None or patients.domain(authority) is not None
            )
            if not known:
                text = "the domain is not known here"
                yield IdentityProblem(IdentityProblemKind.UNKNOWN_DOMAIN, "domains", text, number, 4)

    def _audit(self, asked: IdentityQuery | None, caller: Caller, answer: DemographicsAnswer) -> None:
        if asked is None:
            return
        found = tuple(item.identifiers[0] for item in answer.matches if item.identifiers)
        event = pix_audit.demographics_query_event(asked, found, caller, self._identity, self._clock(), answer.problems)
        self._database.write_later(partial(_append, event))


def _same(one: AssigningAuthority, other: AssigningAuthority) -> bool:
    return one.oid == other.oid if one.oid and other.oid else one.namespace is not None and one.namespace == other.namespace


def _append(event: AuditEvent, connection: Connection) -> None:
    audit.append(connection, event)
