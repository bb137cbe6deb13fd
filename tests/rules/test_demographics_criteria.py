"""Which queries are answered at all."""

from __future__ import annotations

import pytest

from xds.model.demographics_query import (
    AddressPattern,
    Comparison,
    DateRange,
    DemographicsQuery,
    IdentifierPattern,
    NamePattern,
    TextPattern,
)
from xds.model.identifiers import AssigningAuthority
from xds.model.patient import IdentityProblemKind
from xds.rules.demographics_criteria import check

HOSPITAL = AssigningAuthority("HOSP", "1.2.3")


def text(value: str, comparison: str = "exact") -> TextPattern:
    return TextPattern(value, Comparison(comparison))


def named(*patterns: NamePattern) -> tuple[tuple[NamePattern, ...], ...]:
    return (patterns,)


SMITH = named(NamePattern(text("Smith")))
DAY = (DateRange("19400101", "19400101"),)

ENOUGH = {
    "a name": {"names": SMITH},
    "the beginning of a name": {"names": named(NamePattern(text("SM*", "wildcard")))},
    "a name without Latin letters": {"names": named(NamePattern(text("山田")))},
    "a name of one letter": {"names": named(NamePattern(text("O")))},
    "the beginning of a name of few characters": {"names": named(NamePattern(text("王*", "wildcard")))},
    "a given name": {"names": named(NamePattern(given=text("Mary")))},
    "a day": {"birth_dates": DAY, "sexes": ("F",)},
    "a month": {"birth_dates": (DateRange("19400201", "19400231"),)},
    "a year": {"birth_dates": (DateRange("19400101", "19401231"),)},
    "an identifier": {"identifiers": ((IdentifierPattern("4711", HOSPITAL),),)},
    "keys": {"keys": (1,)},
    "a telephone": {"telephones": ((text("0238112233"),),)},
    "the mother": {"mothers_maiden_names": (text("Le Goff"),)},
    "an account": {"account_number": IdentifierPattern("A1")},
    "a bed": {"visit": {"PV1.3.2": text("389"), "PV1.3.3": text("2")}},
    "a street with its town": {"addresses": ((AddressPattern(street=text("4 rue A"), city=text("Tours")),),)},
}
TOO_LITTLE = {
    "nothing": {},
    "a sex": {"sexes": ("F",)},
    "a letter": {"names": named(NamePattern(text("S*", "wildcard")))},
    "any name": {"names": named(NamePattern(text("*", "wildcard")))},
    "two years": {"birth_dates": (DateRange("19400101", "19411231"),)},
    "an open range": {"birth_dates": (DateRange("19400101"),)},
    "a domain": {"identifiers": ((IdentifierPattern(None, HOSPITAL),),)},
    "an identifier or anybody": {"identifiers": ((IdentifierPattern("1", HOSPITAL), IdentifierPattern(None, HOSPITAL)),)},
    "a name or anybody": {"names": named(NamePattern(text("Smith")), NamePattern(text("*", "wildcard")))},
    "a title": {"names": named(NamePattern(prefix=text("Doctor")))},
    "a town": {"addresses": ((AddressPattern(city=text("Tours")),),)},
    "a class of patients": {"visit": {"PV1.2": text("I")}},
    "being active": {"active": True},
    "a few digits": {"telephones": ((text("0238", "prefix"),),)},
}


@pytest.mark.parametrize("criteria", ENOUGH.values(), ids=ENOUGH)
def test_one_trait_is_enough(criteria: dict[str, object]) -> None:
    assert check(DemographicsQuery(**criteria)) == ()


@pytest.mark.parametrize("criteria", TOO_LITTLE.values(), ids=TOO_LITTLE)
def test_the_register_is_not_read_out(criteria: dict[str, object]) -> None:
    (problem,) = check(DemographicsQuery(**criteria))
    assert (problem.kind, problem.field) == (IdentityProblemKind.REQUIRED_MISSING, "criteria")
    assert "one of these: an identifier, a name" in problem.text


def test_a_stricter_house_wants_two_traits() -> None:
    assert check(DemographicsQuery(names=SMITH), 2)
    assert not check(DemographicsQuery(names=SMITH, birth_dates=DAY), 2)
    assert not check(DemographicsQuery(names=named(NamePattern(text("Smith"), text("Mary")))), 2)
    assert not check(DemographicsQuery(identifiers=((IdentifierPattern("4711"),),)), 2)


def test_all_that_is_invalid_is_told_at_once() -> None:
    query = DemographicsQuery(
        names=named(NamePattern(text("---"))),
        birth_dates=(DateRange("19401301"), DateRange("19400201", "19400101")),
        identifiers=((IdentifierPattern(),),),
        minimum_score=101,
        keys=tuple(range(100)),
    )
    found = check(query)
    assert {item.kind for item in found} == {IdentityProblemKind.INVALID}
    assert len(found) == 6
