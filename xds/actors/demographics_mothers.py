"""Mothers who are known here, for children whose records tell no more of them than an identifier (PID-21).

A newborn is fed with the mother's identifier and hardly any other trait. The child is found by the mother's name all the same,
and is answered with it, to those who may see the mother.

Spec: ITI TF-1 8.2.1 (Pediatric Demographics); HL7 v2.5 3.4.2.6 (PID-6), 3.4.2.21 (PID-21).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Final

from xds.actors.demographics_answers import SURE, Answers
from xds.model.demographics_index import Search, TermKind, TermSearch
from xds.model.demographics_query import DemographicsQuery, NamePattern, PatientMatch
from xds.model.identifiers import PatientIdentifier
from xds.model.patient import PersonName
from xds.store import demographics
from xds.store.database import Connection
from xds.store.demographics import KnownPerson
from xds.store.patients import Patients

#: Which of somebody's names is that of her birth: maiden, birth, legal.
_OF_BIRTH: Final = ("M", "B", "L")
#: Values of one search.
_VALUES: Final = 50

#: The names of mothers by the keys of their children, that of birth first.
MothersNames = Mapping[int, tuple[PersonName, ...]]
#: Those of these persons whom somebody may see.
MaySee = Callable[[Connection, Sequence[int]], Collection[int]]


class Mothers:
    """The mothers whom one caller may see."""

    def __init__(self, answers: Answers, may_see: MaySee) -> None:
        self._answers = answers
        self._may_see = may_see

    def names(self, connection: Connection, children: Iterable[KnownPerson]) -> dict[int, tuple[PersonName, ...]]:
        """What the mothers of these persons are called, as far as a record names the mother's identifier and she is known."""
        stated = {known.key: tuple(dict.fromkeys(_stated(known))) for known in children}
        found = {item: self._bearer(connection, item) for item in {each for items in stated.values() for each in items}}
        keys = sorted({key for key in found.values() if key is not None})
        mothers = demographics.load(connection, sorted(self._may_see(connection, keys))) if keys else {}
        names = {key: self._names(known) for key, known in mothers.items()}
        return {
            child: tuple(dict.fromkeys(name for key in own if key != child for name in names.get(key or 0, ())))
            for child, items in stated.items()
            if (own := [found[item] for item in items])
        }

    def children(self, connection: Connection, mothers: Sequence[int]) -> tuple[Search, ...]:
        """The searches for whoever may be a child of one of these persons."""
        patients = Patients(connection)
        members = patients.members(sorted(self._may_see(connection, mothers))) if mothers else {}
        records = [record for some in members.values() for record in some]
        values = sorted({item.value for item in patients.identities(records)})
        portions = (tuple(values[start : start + _VALUES]) for start in range(0, len(values), _VALUES))
        return tuple(TermSearch(TermKind.MOTHER_IDENTIFIER, portion) for portion in portions)

    def _bearer(self, connection: Connection, identifier: PatientIdentifier) -> int | None:
        """The one person who certainly has an identifier."""
        domain_key = self._answers.domain_key(connection, identifier.authority)
        if domain_key is None:
            return None
        keys = demographics.bearers(connection, identifier.value, domain_key, 2)
        known = demographics.load(connection, keys).values() if len(keys) == 1 else ()
        own = (item for each in known for item in each.identities if item.value == identifier.value)
        return keys[0] if any(item.domain_key == domain_key and item.national_state in SURE for item in own) else None

    def _names(self, mother: KnownPerson) -> tuple[PersonName, ...]:
        golden = self._answers.golden(mother).demographics.names
        every = (*golden, *(name for item in mother.stated for name in item.demographics.names))
        return tuple(sorted(dict.fromkeys(every), key=_rank))


def told(match: PatientMatch, names: MothersNames) -> PatientMatch:
    """A person as she is answered, with the name of the mother where no source states it."""
    stated = match.demographics
    name = next((item for item in names.get(match.key, ()) if item.family), None)
    if name is None or stated.mother_maiden_name or stated.mother_given_name:
        return match
    called = replace(stated, mother_maiden_name=name.family, mother_given_name=name.given or None)
    return replace(match, demographics=called)


def named_mothers(query: DemographicsQuery) -> DemographicsQuery:
    """Who may be the mother that a query names."""
    givens = query.mothers_given_names or (None,)
    names = tuple(NamePattern(family=family, given=given) for family in query.mothers_maiden_names for given in givens)
    return DemographicsQuery(names=(names,) if names else ())


def _stated(known: KnownPerson) -> Iterator[PatientIdentifier]:
    for item in known.stated:
        for identifier in item.demographics.mother_identifiers:
            if identifier.authority.oid or identifier.authority.namespace:
                yield identifier


def _rank(name: PersonName) -> int:
    return _OF_BIRTH.index(name.use) if name.use in _OF_BIRTH else len(_OF_BIRTH)
