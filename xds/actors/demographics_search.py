"""Finds the persons who meet a demographics query, and those whom a record may describe.

Spec: ITI TF-2 3.21.4.1.3, 3.47.4.1.3; PDQm 2:3.119.4.1.3 ($match).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from xds.actors.demographics_answers import Answers
from xds.actors.demographics_mothers import Mothers, named_mothers
from xds.actors.pix_linking import MOST_PER_KEY, StoredFrequencies
from xds.model.demographics_index import Search, TermKind, TermSearch, WordKind
from xds.model.demographics_query import DemographicsQuery, IdentifierPattern
from xds.model.identifiers import PatientIdentifier
from xds.model.patient import Demographics, IdentityProblem, IdentityProblemKind
from xds.rules import linkage
from xds.rules.demographics_index import sound_codes
from xds.rules.demographics_match import is_graded, quality
from xds.rules.demographics_plan import plan
from xds.rules.linkage import DEFAULT_WEIGHTS, Evidence, Member, Traits, Weights, phonetic_codes
from xds.store import demographics, demographics_index, patients_terms
from xds.store.database import Connection
from xds.store.patients import Patients
from xds.store.patients_terms import TermCounts

#: Persons that are looked at together.
_BATCH: Final = 200
#: Candidates that are looked at for each person who may be answered.
_CANDIDATES_PER_RESULT: Final = 5
#: Words of the register that are tried in the place of one that is misspelled.
_MOST_ALIKE: Final = 64
#: Mothers of one name whose children are looked for.
_MOST_MOTHERS: Final = 500
#: Beyond so many records nobody is searched by a criterion that makes the whole register be read.
_MOST_SCANNED: Final = 100_000
#: A forbidden match is never likelier than this, in percent.
_MOST_VETOED: Final = 49
_CERTAIN: Final = 100

_TOO_WIDE: Final = (
    "a query of a register of this size must say how a name begins, or name a birth date, a telephone number, or something else "
    "that few have in common"
)
_TOO_LITTLE: Final = "the patient must have an identifier, or a name together with a birth date, an address or a telephone number"


@dataclass(frozen=True, slots=True)
class Found:
    """Persons by their keys with their scores (0..100), the best first. `is_complete`: nobody was left out."""

    ranked: tuple[tuple[int, int | None], ...]
    is_complete: bool = True


class DemographicsSearch:
    """Searches what feeds told. One object serves all threads."""

    def __init__(self, answers: Answers, max_results: int) -> None:
        self._answers = answers
        self._max_results = max_results
        self._counts = TermCounts()

    def find(
        self, connection: Connection, query: DemographicsQuery, mothers: Mothers
    ) -> tuple[Found, tuple[IdentityProblem, ...]]:
        """Those who meet every criterion of a query that names enough of them.

        Errors: a problem with `criteria` when the query makes the whole of a large register be read.
        """
        direct = self._direct(connection, query)
        if direct is not None:
            return self._held_against(connection, query, direct, mothers, is_complete=True), ()
        planned = plan(query, lambda kind, word: self._alike(connection, kind, word))
        if planned.scans and demographics_index.last_record(connection) > _MOST_SCANNED:
            return Found(()), (IdentityProblem(IdentityProblemKind.INVALID, "criteria", _TOO_WIDE),)
        most = self._max_results + 1
        if not planned.is_exact:
            most *= _CANDIDATES_PER_RESULT
        searches, is_complete = self._with_children(connection, query, planned.searches, mothers)
        found = demographics_index.find(connection, searches, most)
        if not planned.is_exact:
            is_complete = is_complete and len(found) < most
            return self._held_against(connection, query, sorted(found), mothers, is_complete=is_complete), ()
        doubtful = [key for key, is_certain in found.items() if not is_certain]
        checked = {key for key, _ in self._held_against(connection, query, doubtful, mothers, is_complete=True).ranked}
        keys = sorted(key for key, is_certain in found.items() if is_certain or key in checked)
        return self._limited(((key, None) for key in keys), len(found) < most), ()

    def alike(
        self,
        connection: Connection,
        described: Demographics,
        identifiers: Sequence[PatientIdentifier],
        *,
        only_certain: bool,
    ) -> tuple[Found, tuple[IdentityProblem, ...]]:
        """Those whom a record may describe, by the rules by which records are linked, the likeliest first.

        Errors: a problem with `criteria` when there is nothing to compare.
        """
        nationals = (*described.national_identifiers, *(item for item in identifiers if linkage.is_national(item)))
        traits = linkage.traits(replace(described, national_identifiers=tuple(dict.fromkeys(nationals))))
        keys = linkage.blocking_keys(traits)
        own = (item for item in identifiers if not linkage.is_national(item))
        named = [item for item in own if item.authority.oid or item.authority.namespace]
        if not keys and not named:
            if _is_comparable(described):
                # A name of which nothing is indexed: nobody is alike.
                return Found(()), ()
            return Found(()), (IdentityProblem(IdentityProblemKind.REQUIRED_MISSING, "criteria", _TOO_LITTLE),)
        patients = Patients(connection)
        holders = {key for item in named for key in self._bearers(connection, IdentifierPattern(item.value, item.authority))}
        sharing = {record for records in patients.candidates(keys, MOST_PER_KEY).values() for record in records}
        persons = sorted(holders | set(patients.cluster_of(sharing).values()))[: self._max_results]
        weights = self._weights(connection)
        evidence = self._evidence(connection, traits, persons, weights)
        return _ranked(holders, persons, evidence, weights, only_certain=only_certain), ()

    def meeting(self, connection: Connection, query: DemographicsQuery, keys: Sequence[int], mothers: Mothers) -> Found:
        """Those of these persons who meet every criterion."""
        return self._held_against(connection, query, keys, mothers, is_complete=True)

    # Queries

    def _direct(self, connection: Connection, query: DemographicsQuery) -> list[int] | None:
        """Who may meet a query that names identifiers; None when it names none."""
        for alternatives in query.identifiers:
            if alternatives and all(item.value for item in alternatives):
                return sorted({key for item in alternatives for key in self._bearers(connection, item)})
        return None

    def _bearers(self, connection: Connection, pattern: IdentifierPattern) -> Iterable[int]:
        domain_key = None
        if pattern.authority is not None:
            domain_key = self._answers.domain_key(connection, pattern.authority)
            if domain_key is None:
                return ()
        return demographics.bearers(connection, pattern.value or "", domain_key, self._max_results)

    def _alike(self, connection: Connection, kind: WordKind, word: str) -> Sequence[str]:
        return demographics_index.alike(connection, kind, sound_codes(word), _MOST_ALIKE)

    def _with_children(
        self, connection: Connection, query: DemographicsQuery, searches: Sequence[Search], mothers: Mothers
    ) -> tuple[Sequence[Search], bool]:
        """Searches by the name of the mother with those for children of whom the mother's identifier alone is known.

        And whether all of the mothers so named are looked at.
        """
        if not any(isinstance(item, TermSearch) and item.kind is TermKind.MOTHER for item in searches):
            return searches, True
        named = plan(named_mothers(query), lambda kind, word: self._alike(connection, kind, word))
        found = demographics_index.find(connection, named.searches, _MOST_MOTHERS) if not named.scans else {}
        return (*searches, *mothers.children(connection, sorted(found))), len(found) < _MOST_MOTHERS

    def _held_against(
        self, connection: Connection, query: DemographicsQuery, keys: Sequence[int], mothers: Mothers, *, is_complete: bool
    ) -> Found:
        """Those of these persons who meet every criterion, the best first."""
        scored = sorted(self._scored(connection, query, keys, mothers), key=lambda item: (-(item[1] or 0), item[0]))
        return self._limited(scored, is_complete)

    def _scored(
        self, connection: Connection, query: DemographicsQuery, keys: Sequence[int], mothers: Mothers
    ) -> Iterator[tuple[int, int | None]]:
        graded = is_graded(query) or query.minimum_score is not None
        for start in range(0, len(keys), _BATCH):
            persons = demographics.load(connection, keys[start : start + _BATCH])
            names = self._answers.names(connection, persons.values())
            by_mother = query.mothers_maiden_names or query.mothers_given_names
            called = mothers.names(connection, persons.values()) if by_mother else {}
            for known in persons.values():
                found = quality(query, self._answers.sought(known, names, called.get(known.key, ())), phonetic_codes)
                if found is not None and round(_CERTAIN * found) >= (query.minimum_score or 0):
                    yield known.key, round(_CERTAIN * found) if graded else None

    def _limited(self, scored: Iterable[tuple[int, int | None]], is_complete: bool) -> Found:
        ranked = tuple(scored)
        return Found(ranked[: self._max_results], is_complete and len(ranked) <= self._max_results)

    # Matches

    def _weights(self, connection: Connection) -> Weights:
        """The weights in force."""
        stored = next(iter(patients_terms.weights(connection)), None)
        return Weights.from_json(stored.weights) if stored and stored.activated is not None else DEFAULT_WEIGHTS

    def _evidence(
        self, connection: Connection, traits: Traits, persons: Sequence[int], weights: Weights
    ) -> Mapping[int, Evidence]:
        """How the record compares with each person: with the record of hers that it resembles most, and any veto."""
        patients = Patients(connection)
        frequencies = StoredFrequencies(connection, self._counts)
        asked = Member(0, (traits,))
        members = patients.members(persons)
        everybody = [record for records in members.values() for record in records]
        statements = patients.statements(everybody)
        # What was said of a record that has no identifier of its own left is history, unless there is nothing else.
        in_use = {item.person_key for item in patients.identities(everybody) if item.is_active and not item.assigned}
        evidence: dict[int, Evidence] = {}
        for key, records in members.items():
            current = [record for record in records if record in in_use] or records
            stated = tuple(Traits.unpack(item.traits) for record in current for item in statements.get(record, ()))
            found = linkage.compare_members(asked, Member(key, stated), weights, frequencies)
            if found is not None:
                evidence[key] = found
        return evidence


def _ranked(
    holders: set[int], persons: Sequence[int], evidence: Mapping[int, Evidence], weights: Weights, *, only_certain: bool
) -> Found:
    """Persons by their likelihood: at the same one those who have the identifier first, those who are certainly somebody else
    left out. Nobody is certain when the identifier is that of a person who cannot be meant.
    """
    scored: list[tuple[int, int, bool]] = []
    is_contradictory = any((found := evidence.get(key)) is not None and found.veto is not None for key in holders)
    for key in persons:
        found = evidence.get(key)
        if key in holders:
            # The same number under traits that cannot be hers is no certainty.
            vetoed = found is not None and found.veto is not None
            scored.append((_MOST_VETOED if vetoed else _CERTAIN, key, not vetoed))
        elif found is not None and not found.is_certainly_two:
            score = probability(found)
            if found.veto is not None:
                score = min(score, _MOST_VETOED)
            if score > 0:
                scored.append((score, key, not is_contradictory and linkage.links_alone(found, weights)))
    scored.sort(key=lambda item: (-item[0], item[1] not in holders, item[1]))
    if only_certain:
        certain = [item for item in scored if item[2]]
        scored = certain if len(certain) == 1 else []
    return Found(tuple((key, score) for score, key, _ in scored))


def _is_comparable(described: Demographics) -> bool:
    """Whether a record states what persons are compared by."""
    reached = (described.birth_date, described.addresses, described.telephones, described.work_telephones, described.emails)
    return any(name.family or name.given for name in described.names) and any(reached)


def probability(evidence: Evidence) -> int:
    """The probability, in percent, that two records describe one person. 100 is kept for a qualified identifier."""
    if evidence.rule == "qualified identifier":
        return _CERTAIN
    bits = max(min(evidence.total, 60.0), -60.0)
    return min(round(_CERTAIN / (1.0 + math.exp2(-bits))), _CERTAIN - 1)
