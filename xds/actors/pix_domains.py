"""The patient identification domains as the PIX Manager uses them: completed, checked, and found without asking the database.

Domains are few and hardly ever change, so that what was read of them once is kept: those that are known by both of their names
for good, others for a moment.

Spec: ITI TF-2 Appendix E.1 (CX, HD), 3.8.4.1.2.3 (one source for a domain).
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from xds.model.identifiers import AssigningAuthority, PatientIdentifier
from xds.model.patient import IdentityFeed, IdentityProblem, IdentityProblemKind
from xds.rules.identity_domains import DomainTable
from xds.store.patients import Patients

#: Longer values do not fit into an index of every database, and no establishment issues them. In characters.
LONGEST_IDENTIFIER: Final = 255
#: How much of the name of a sender is told.
_SHOWN: Final = 80
#: How long a domain that lacks one of its names may be out of date, in seconds: another process may have learned it, or
#: made it one with another one.
INCOMPLETE_SECONDS: Final = 2.0

#: Under how many names domains are remembered.
_MOST_NAMES: Final = 4096

_NO_AUTHORITY: Final = AssigningAuthority()


@dataclass(frozen=True, slots=True)
class _Named:
    authority: AssigningAuthority
    until: float | None


class Domains:
    """Configured and learned domains of one PIX Manager. One object serves all threads."""

    def __init__(self, table: DomainTable, *, creates: bool) -> None:
        """`creates`: feeds of authorities that are not configured make them known."""
        self.table = table
        self._creates = creates
        self._fed: dict[AssigningAuthority, int] = {}
        self._asked: dict[AssigningAuthority, int] = {}
        self._certain: dict[AssigningAuthority, int] = {}
        self._names: dict[int, _Named] = {}
        #: Until when what is kept of domains that lack a name holds; None when nothing is.
        self._until: float | None = None

    def completed(self, feed: IdentityFeed) -> tuple[IdentityFeed, list[IdentityProblem]]:
        """A feed whose identifiers stand under the full names of their domains, and what forbids its source to send them."""
        identifiers, problems = self._complete(feed.identifiers, feed.source, "identifiers")
        if not (feed.subsumed or feed.linked):
            return replace(feed, identifiers=identifiers), problems
        subsumed, more = self._complete(feed.subsumed, feed.source, "subsumed")
        linked, others = self._complete(feed.linked, feed.source, "linked")
        named = replace(feed, identifiers=identifiers, subsumed=subsumed, linked=linked)
        return named, [*problems, *more, *others]

    def _complete(
        self, identifiers: Sequence[PatientIdentifier], source: str, field: str
    ) -> tuple[tuple[PatientIdentifier, ...], list[IdentityProblem]]:
        completed: list[PatientIdentifier] = []
        problems: list[IdentityProblem] = []
        for number, item in enumerate(identifiers, 1):
            authority = item.authority if item.authority != _NO_AUTHORITY else self.table.of_source(source)
            problem = self._problem(authority, source)
            if problem:
                kind, text = problem
                problems.append(IdentityProblem(kind, field, text, number, 4))
            elif len(item.value) > LONGEST_IDENTIFIER:
                text = f"the identifier has {len(item.value)} characters; {LONGEST_IDENTIFIER} are allowed"
                problems.append(IdentityProblem(IdentityProblemKind.INVALID, field, text, number, 1))
            elif authority:
                full = self.table.complete(authority)
                completed.append(item if full == item.authority else replace(item, authority=full))
        return tuple(dict.fromkeys(completed)) if len(completed) > 1 else tuple(completed), problems

    def _problem(self, authority: AssigningAuthority | None, source: str) -> tuple[IdentityProblemKind, str] | None:
        kinds = IdentityProblemKind
        if authority is None:
            shown = source[:_SHOWN]
            return kinds.REQUIRED_MISSING, f"the identifier has no assigning authority, and none is configured for {shown}"
        if self.table.is_contradictory(authority):
            return kinds.INVALID, "the namespace and the universal id of the assigning authority name different authorities"
        if max(len(authority.namespace or ""), len(authority.oid or "")) > LONGEST_IDENTIFIER:
            return kinds.INVALID, f"the name of the assigning authority has more than {LONGEST_IDENTIFIER} characters"
        if self.table.find(authority) is None and not self._creates:
            return kinds.UNKNOWN_DOMAIN, "the assigning authority is not known here"
        if not self.table.may_issue(authority, source):
            return kinds.NOT_ISSUER, f"the sender ({source[:_SHOWN]}) may not issue identifiers of this assigning authority"
        return None

    # Keys

    def known(self) -> Mapping[AssigningAuthority, int]:
        """The keys of domains that feeds have used, by their completed names."""
        self._forget_in_time()
        return self._fed

    def learn(self, keys: Mapping[AssigningAuthority, int]) -> None:
        """Remember the keys of domains that a feed used, once it is durable."""
        self._fed.update(keys)
        for authority, key in keys.items():
            self._names.pop(key, None)
            self._remember(authority)

    def key_of(self, patients: Patients, authority: AssigningAuthority) -> int | None:
        """The key of a domain that is asked for; None when no feed ever used it."""
        self._forget_in_time()
        full = self.table.complete(authority)
        key = self._asked.get(full)
        if key is None:
            domain = patients.domain(full)
            if domain is None:
                return None
            key = self._asked[full] = domain.domain_key
            # It may have got this name after it was remembered without.
            self._names.pop(key, None)
        if len(self._certain) < _MOST_NAMES and not self.table.is_contradictory(authority):
            self._certain[authority] = key
            self._remember(authority)
        return key

    def _remember(self, authority: AssigningAuthority) -> None:
        if self._until is None and not self._is_whole(authority):
            self._until = time.monotonic() + INCOMPLETE_SECONDS

    def _is_whole(self, authority: AssigningAuthority) -> bool:
        full = self.table.complete(authority)
        return bool(full.namespace and full.oid)

    def _forget_in_time(self) -> None:
        if self._until is not None and time.monotonic() > self._until:
            self.forget()

    def forget(self) -> None:
        """Look for domains anew that are known by one of their names alone."""
        self._until = None
        self._fed, self._asked, self._certain = (
            {authority: key for authority, key in tuple(kept.items()) if self._is_whole(authority)}
            for kept in (self._fed, self._asked, self._certain)
        )
        self._names = {}

    def key_at_once(self, authority: AssigningAuthority) -> int | None:
        """The same from memory: None when it has to be looked for, or when its names contradict each other."""
        self._forget_in_time()
        return self._certain.get(authority)

    def is_known(self, patients: Patients, authority: AssigningAuthority) -> bool:
        """True for a domain that is configured or that a feed made known."""
        if self.table.is_contradictory(authority):
            return False
        return self.table.find(authority) is not None or self.key_of(patients, authority) is not None

    def names(self, patients: Patients, keys: Iterable[int]) -> dict[int, AssigningAuthority]:
        """The full names of domains by their keys."""
        wanted = set(keys)
        now = time.monotonic()
        found = {key: named for key in wanted if (named := self._names.get(key)) and (named.until is None or named.until > now)}
        missing = wanted - found.keys()
        if missing:
            for key, authority in patients.domains(missing).items():
                full = self.table.complete(authority)
                until = None if full.namespace and full.oid else now + INCOMPLETE_SECONDS
                found[key] = self._names[key] = _Named(full, until)
        return {key: named.authority for key, named in found.items()}
