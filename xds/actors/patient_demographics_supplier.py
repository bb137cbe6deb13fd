"""The Patient Demographics Supplier: finds persons by their traits and answers their golden record, in every wire form.

A query is looked up by the criterion that leaves fewest candidates; who is found so is held against all of it. An answer of more
than one page is kept for an hour, so that its pages fit together whatever changes meanwhile.

Spec: ITI TF-1 8 (PDQ); ITI TF-2 3.21, 3.22, 3.47; PDQm (ITI-78, ITI-119).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Final

from xds.actors import pix_audit
from xds.actors.demographics_answers import Answers
from xds.actors.demographics_mothers import Mothers, told
from xds.actors.demographics_rate import QueryRate
from xds.actors.demographics_search import DemographicsSearch, Found
from xds.actors.pix_domains import Domains
from xds.model.audit import AuditEvent
from xds.model.caller import Action, Caller, Resource
from xds.model.demographics_query import DemographicsAnswer, DemographicsQuery, PageRequest, PatientMatch
from xds.model.domain_identity import DomainIdentity
from xds.model.identifiers import AssigningAuthority, PatientIdentifier
from xds.model.patient import Demographics, IdentityDomain, IdentityProblem, IdentityProblemKind, IdentityQuery, PersonName
from xds.ports import AccessRule, Clock
from xds.rules import demographics_criteria
from xds.rules.golden_record import GoldenRecord
from xds.rules.identity_domains import DomainTable
from xds.store import audit, demographics, demographics_results
from xds.store.database import Connection, Database
from xds.store.demographics_results import Result

#: So many patients found are counted, that is, the access rule is asked about all of them at once; of more, page by page.
_COUNTED: Final = 250
_UNKNOWN_PAGE: Final = "no answer goes on from here: it was delivered, cancelled, or asked for more than an hour ago"


@dataclass(frozen=True, slots=True)
class _Asker:
    """Who asked, and under which name: what a continuation or a cancellation must give again."""

    source: str
    query_tag: str


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
        known_domains: Domains | None = None,
        minimum_criteria: int = 1,
        page_size: int = 100,
        max_results: int = 1000,
        queries_per_minute: int = 0,
    ) -> None:
        """`known_domains` are those of a PIX Manager on the same database: what a feed tells of a domain counts here at once.

        `minimum_criteria` is how many traits a query must name, `max_results` the most patients that one query gives.

        `queries_per_minute` is how many one caller may ask (0: any number); what is not asked from outside does not count.
        """
        self._database = database
        self._identity = identity
        self._access = access
        self._clock = clock
        configured = AssigningAuthority(identity.assigning_authority_namespace or None, identity.assigning_authority)
        known = known_domains or Domains(DomainTable(domains, configured), creates=False)
        self._affinity = known.table.complete(configured)
        self._answers = Answers(known, tuple(source for each in domains for source in each.sources))
        self._search = DemographicsSearch(self._answers, max_results)
        self._rate = QueryRate(queries_per_minute)
        self._minimum_criteria = minimum_criteria
        self._page_size = min(page_size, max_results)
        self._max_results = max_results

    def search(
        self,
        query: DemographicsQuery,
        page: PageRequest,
        caller: Caller,
        asked: IdentityQuery | None = None,
        *,
        instead: DemographicsQuery | None = None,
    ) -> DemographicsAnswer:
        """The persons who meet every criterion, those who meet them best first. `asked` is what the audit trail keeps.

        `instead` is answered when nobody meets the query.

        A page of the same answer is asked for with the same query and the pointer of the page before it.
        Spec: ITI TF-2 3.21.4.2.3, 3.21.4.1.3 (continuation), 3.47.4.2.3.
        Errors: problems with `criteria` and each unknown one of `domains`, all at once; with `page`; with the `caller`.
        """
        if refused := self._refused(asked, caller, max(1, len(query.keys), *map(len, query.identifiers))):
            return refused
        asker = _asker(page, caller, asked)
        first = page.after is None
        answer = self._first_page(query, page, asker, caller) if first else self._page_after(page, asker, caller)
        if first and instead is not None and not (answer.matches or answer.problems):
            other = self._first_page(instead, page, asker, caller)
            # Nobody asked that: whatever is wrong with it is nobody's fault.
            answer = answer if other.problems else other
        self._audit(asked, caller, answer)
        return answer

    def resume(
        self, page: PageRequest, caller: Caller, asked: IdentityQuery | None = None, *, start: int | None = None
    ) -> DemographicsAnswer:
        """Go on with the last answer to the query of that tag, for wire forms that do not send the query again.

        `start` counts patients from 0; without it `page.after` tells where to go on.
        Spec: ITI TF-2 3.47.4.3 (QUQI_IN000003UV01).
        Errors: a problem with `page` or with the `caller`.
        """
        if refused := self._refused(asked, caller):
            return refused
        asker = _asker(page, caller, asked)
        if page.after is None:
            with self._database.read() as connection:
                pointer = demographics_results.pointer_of(connection, asker.source, asker.query_tag, self._now())
            page = replace(page, after=f"{pointer or ''}.{start or 0}")
        answer = self._page_after(page, asker, caller)
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

        `only_certain`: the one person who is meant beyond doubt, and nobody when there are several or none.
        Spec: PDQm 2:3.119.4.1.3.
        Errors: a problem with `criteria` when the record says too little to compare, with the `caller`.
        """
        if refused := self._refused(asked, caller):
            return refused
        limit = min(count or self._page_size, self._max_results)
        with self._database.read() as connection:
            found, problems = self._search.alike(connection, demographics, identifiers, only_certain=only_certain)
            found = self._permitted(connection, found, caller)
            matches = self._matches(connection, found.ranked[:limit], (), self._mothers(caller)) if not problems else ()
        answer = DemographicsAnswer(matches, None if problems else len(found.ranked), problems=problems)
        self._audit(asked, caller, answer)
        return answer

    def person(self, key: int, caller: Caller) -> PatientMatch | None:
        """The person of that key; None when there is none whom the caller may see.

        A key of a record that is part of another person by now gives that record, inactive, with the key of that person.
        """
        with self._database.read() as connection:
            matches = self._by_keys(connection, DemographicsQuery(keys=(key,)), caller)
        return matches[0] if matches else None

    def golden(self, key: int, caller: Caller) -> GoldenRecord | None:
        """The golden record of a person with the source of each attribute; None when there is none whom the caller may see."""
        with self._database.read() as connection:
            found = self._permitted(connection, Found(((key, None),)), caller)
            persons = demographics.load(connection, [person for person, _ in found.ranked])
        return self._answers.golden(persons[key]) if key in persons else None

    def names_of(self, identifier: PatientIdentifier, caller: Caller | None = None) -> tuple[PersonName, ...]:
        """The names of the person who has an identifier, for a PIX Consumer who is told of it; empty when there is none whom the
        caller may see. Without a caller it is a subscriber who is told.

        Spec: ITI TF-2 3.45.4.2.2.1, 3.46.4.1.2.1 (the name of the patient for verification).
        """
        with self._database.read() as connection:
            domain_key = self._answers.domain_key(connection, identifier.authority)
            keys = demographics.bearers(connection, identifier.value, domain_key, 1) if domain_key is not None else []
            if caller is not None:
                keys = [key for key, _ in self._permitted(connection, Found(tuple((key, None) for key in keys)), caller).ranked]
            persons = demographics.load(connection, keys)
        return next((self._answers.golden(known).demographics.names for known in persons.values()), ())

    def cancel(self, query_tag: str, source: str, caller: Caller) -> bool:
        """Forget the rest of a query, whose pages nobody will ask for any more. False when there is nothing to forget.

        Spec: ITI TF-2 3.21.4.1.4 (QCN^J01), 3.47.4.3.
        """
        asker = source or caller.node or caller.address
        return self._database.write(lambda connection: demographics_results.forget(connection, asker, query_tag))

    def _by_keys(self, connection: Connection, query: DemographicsQuery, caller: Caller) -> tuple[PatientMatch, ...]:
        """The persons of these keys who meet the rest of the query; who became part of another one is answered, too."""
        current = demographics.current_keys(connection, query.keys)
        rest, mothers = replace(query, keys=(), active=None), self._mothers(caller)
        meeting = self._search.meeting(connection, rest, sorted(set(current.values())), mothers)
        found = self._permitted(connection, meeting, caller)
        persons = {item.key: item for item in self._matches(connection, found.ranked, query.domains, mothers)}
        return tuple(
            persons[now] if now == key else replace(persons[now], key=key, identifiers=(), active=False, replaced_by=now)
            for key in dict.fromkeys(query.keys)
            if (now := current.get(key)) in persons and query.active in (None, now == key)
        )

    # Pages

    def _first_page(self, query: DemographicsQuery, page: PageRequest, asker: _Asker, caller: Caller) -> DemographicsAnswer:
        limit, mothers = self._limit(page), self._mothers(caller)
        with self._database.read() as connection:
            problems = (
                *demographics_criteria.check(query, self._minimum_criteria),
                *self._answers.unknown_domains(connection, query.domains),
            )
            if query.keys and not problems:
                matches = self._by_keys(connection, query, caller)[:limit]
                return DemographicsAnswer(matches, len(matches))
            found, more = (Found(()), ()) if problems else self._search.find(connection, query, mothers)
            if problems or more:
                return DemographicsAnswer(problems=(*problems, *more))
            is_counted = found.is_complete and len(found.ranked) <= max(limit, _COUNTED)
            if is_counted:
                found = self._permitted(connection, found, caller)
            shown = replace(found, ranked=found.ranked[:limit])
            if not is_counted:
                shown = self._permitted(connection, shown, caller)
            matches = self._matches(connection, shown.ranked, query.domains, mothers)
        total = len(found.ranked) if is_counted else None
        if len(found.ranked) <= limit:
            return DemographicsAnswer(matches, total, incomplete=not found.is_complete)
        result = Result(asker.source, asker.query_tag, found.ranked, query.domains, found.is_complete, is_counted, page.text)
        pointer = self._database.write(lambda connection: demographics_results.add(connection, result, self._now()))
        return DemographicsAnswer(matches, total, f"{pointer}.{limit}", incomplete=not found.is_complete)

    def _page_after(self, page: PageRequest, asker: _Asker, caller: Caller) -> DemographicsAnswer:
        pointer, _, place = (page.after or "").rpartition(".")
        with self._database.read() as connection:
            result = demographics_results.find(connection, pointer, self._now())
            is_theirs = result is not None and (result.source, result.query_tag) == (asker.source, asker.query_tag)
            if result is None or not is_theirs or not (place.isascii() and place.isdigit()) or int(place) > len(result.found):
                problem = IdentityProblem(IdentityProblemKind.UNKNOWN_IDENTIFIER, "page", _UNKNOWN_PAGE)
                return DemographicsAnswer(problems=(problem,))
            start, limit = int(place), self._limit(page)
            rest = self._still_there(connection, result, start, start + limit)
            allowed = self._permitted(connection, rest, caller).ranked
            matches = self._matches(connection, allowed, result.domains, self._mothers(caller))
        total = len(result.found) if result.is_counted else None
        following = f"{pointer}.{start + limit}" if start + limit < len(result.found) else None
        return DemographicsAnswer(matches, total, following, incomplete=not result.is_complete, text=result.text)

    def _still_there(self, connection: Connection, result: Result, start: int, end: int) -> Found:
        """A part of an answer without those whom a merge or a link has made one with somebody else of the answer."""
        part = result.found[start:end]
        current = demographics.current_keys(connection, [key for key, _ in part])
        listed = {key for key, _ in result.found}
        found: dict[int, int | None] = {}
        for key, score in part:
            now = current.get(key)
            if now is not None and (now == key or now not in listed):
                found.setdefault(now, score)
        return Found(tuple(found.items()))

    def _limit(self, page: PageRequest) -> int:
        return min(page.limit or self._page_size, self._max_results)

    # Persons

    def _permitted(self, connection: Connection, found: Found, caller: Caller) -> Found:
        """Those whom the caller may see. The rule is asked for each of them, by her identifier in the affinity domain."""
        if not found.ranked:
            return found
        key = self._answers.domain_key(connection, self._affinity)
        keys = [person for person, _ in found.ranked]
        values = demographics.active_values(connection, key, keys) if key is not None else {}
        # Somebody with two of them is seen by those alone who may see both.
        about = [(person, value) for person in keys for value in values.get(person, [""])]
        resources = [Resource(PatientIdentifier(value, self._affinity).to_cx() if value else "") for _, value in about]
        verdicts = self._access.permits(caller, Action.IDENTITY, resources)
        refused = {person for (person, _), permitted in zip(about, verdicts, strict=True) if not permitted}
        return replace(found, ranked=tuple(item for item in found.ranked if item[0] not in refused)) if refused else found

    def _mothers(self, caller: Caller) -> Mothers:
        def may_see(connection: Connection, keys: Sequence[int]) -> list[int]:
            return [key for key, _ in self._permitted(connection, Found(tuple((key, None) for key in keys)), caller).ranked]

        return Mothers(self._answers, may_see)

    def _matches(
        self,
        connection: Connection,
        ranked: Sequence[tuple[int, int | None]],
        domains: Sequence[AssigningAuthority],
        mothers: Mothers,
    ) -> tuple[PatientMatch, ...]:
        persons = demographics.load(connection, [key for key, _ in ranked])
        names = self._answers.names(connection, persons.values())
        found = [self._answers.match(persons[key], names, domains, score) for key, score in ranked if key in persons]
        silent = [persons[item.key] for item in found if not item.demographics.mother_maiden_name]
        called = mothers.names(connection, silent)
        return tuple(told(item, called) for item in found) if called else tuple(found)

    def _now(self) -> int:
        return int(self._clock().timestamp() * 1000)

    def _refused(self, asked: IdentityQuery | None, caller: Caller, persons: int = 1) -> DemographicsAnswer | None:
        """The answer to somebody who asks too much; `persons` is how many a query names."""
        if asked is None or not (problems := self._rate.refusal(caller, self._clock().timestamp(), persons)):
            return None
        answer = DemographicsAnswer(problems=problems)
        self._audit(asked, caller, answer)
        return answer

    def _audit(self, asked: IdentityQuery | None, caller: Caller, answer: DemographicsAnswer) -> None:
        if asked is not None:
            found = tuple(item.identifiers[0] for item in answer.matches if item.identifiers)
            event = pix_audit.demographics_query_event(asked, found, caller, self._identity, self._clock(), answer.problems)
            self._database.write_later(partial(_append, event))


def _asker(page: PageRequest, caller: Caller, asked: IdentityQuery | None) -> _Asker:
    source = asked.source if asked and asked.source else caller.node or caller.address
    return _Asker(source, page.query_tag)


def _append(event: AuditEvent, connection: Connection) -> None:
    audit.append(connection, event)
