"""Search parameters of Patient. Spec: FHIR R4 3.1.1; PDQm 2:3.78.4.1.2."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qsl

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xds.model.demographics_query import Comparison, DateRange, IdentifierPattern, NamePattern, TextPattern
from xds.model.identifiers import AssigningAuthority
from xds.wire.fhir_identifiers import IdentifierSystems
from xds.wire.fhir_search import PARAMETERS, PatientSearch, read_search
from xds.wire.fhir_structure import Issue

BASE = "https://xds.example/fhir"
SYSTEMS = IdentifierSystems(BASE)


def _both(query: str, *, strict: bool = False) -> tuple[PatientSearch, list[Issue]]:
    parameters: dict[str, tuple[str, ...]] = {}
    for name, value in parse_qsl(query, keep_blank_values=True):
        parameters[name] = (*parameters.get(name, ()), value)
    return read_search(parameters, SYSTEMS, strict=strict)


def _read(query: str) -> PatientSearch:
    search, issues = _both(query)
    assert issues == []
    return search


def _prefix(value: str) -> TextPattern:
    return TextPattern(value, Comparison.PREFIX)


@pytest.mark.parametrize(
    ("value", "alternatives"),
    [
        ("a", ["a"]),
        ("a,b", ["a", "b"]),
        ("a\\,b", ["a,b"]),
        ("a\\\\,b", ["a\\", "b"]),
        ("a\\|b\\$c", ["a|b$c"]),
        ("a\\nb", ["a\\nb"]),
        (",a,,b,", ["a", "b"]),
        ("a\\", ["a\\"]),
        ("a b", ["a b"]),
    ],
)
def test_commas_and_escapes(value: str, alternatives: list[str]) -> None:
    search, _ = read_search({"family": (value,)}, SYSTEMS, strict=False)
    assert search.query.names == (tuple(NamePattern(family=_prefix(item)) for item in alternatives),)


def test_or_within_and_between() -> None:
    query = _read("family=A,B&family=C&given=D").query
    assert query.names == (
        (NamePattern(family=_prefix("A")), NamePattern(family=_prefix("B"))),
        (NamePattern(family=_prefix("C")),),
        (NamePattern(given=_prefix("D")),),
    )


@pytest.mark.parametrize(
    ("value", "ranges"),
    [
        ("1990-02-03", [("19900203", "19900203")]),
        ("eq1990-02", [("19900201", "19900228")]),
        ("1992-02", [("19920201", "19920229")]),
        ("1990", [("19900101", "19901231")]),
        ("gt1990", [("19910101", None)]),
        ("sa1990-02", [("19900301", None)]),
        ("ge1990", [("19900101", None)]),
        ("lt1990-02", [(None, "19900131")]),
        ("eb1990", [(None, "19891231")]),
        ("le1990", [(None, "19901231")]),
        ("ne1990", [(None, "19891231"), ("19910101", None)]),
        ("1990,1995-01-01", [("19900101", "19901231"), ("19950101", "19950101")]),
        ("1990-02-03T10:00:00+01:00", [("19900203", "19900203")]),
        ("ge0001-01-01", [(None, None)]),
        ("ap1990-02-03", [("19890805", "19900804")]),
        ("ap0001", [(None, "00020701")]),
        ("ap9999-12", [("99990602", None)]),
    ],
)
def test_dates(value: str, ranges: list[tuple[str | None, str | None]]) -> None:
    overlaps = value[:2] in ("gt", "ge", "lt", "le", "ne", "ap")
    assert read_search({"birthdate": (value,)}, SYSTEMS, strict=False)[0].query.birth_dates == tuple(
        DateRange(*item, overlaps) for item in ranges
    )


def test_dates_are_intersected() -> None:
    assert _read("birthdate=ge1990&birthdate=lt1991-03,1995&birthdate=ne1990-06").query.birth_dates == (
        DateRange("19900101", "19900531", True),
        DateRange("19900701", "19910228", True),
        DateRange("19950101", "19951231"),
    )
    assert _read("birthdate=gt9999&family=x").finds_nobody
    assert _read("birthdate=1990&birthdate=1991").finds_nobody


def test_identifiers() -> None:
    search = _read("identifier=urn:oid:2.999.1|7,8&identifier=urn:oid:2.999.2|")
    assert search.query.identifiers == (
        (IdentifierPattern("7", AssigningAuthority(oid="2.999.1")), IdentifierPattern("8")),
        (IdentifierPattern(None, AssigningAuthority(oid="2.999.2")),),
    )
    assert search.query.domains == (AssigningAuthority(oid="2.999.2"),)
    assert _read("identifier=http://a.example/x\\|y|7\\|8").query.identifiers == (
        (IdentifierPattern("7|8", AssigningAuthority("http://a.example/x|y")),),
    )
    assert _read(f"identifier={BASE}|Patient/5").query.keys == (5,)
    assert _read("identifier=|7").finds_nobody


def test_keys() -> None:
    assert _read("_id=1,2,x").query.keys == (1, 2)
    assert _read("_id=1,2&_id=2,3").query.keys == (2,)
    assert _read("_id=x").finds_nobody
    assert _read("_id=1&_id=2").finds_nobody


def test_telecom() -> None:
    assert _read("telecom=tel:%2B331,phone|2&email=mailto:a@b.example").query.telephones == (
        (TextPattern("+331"), TextPattern("2")),
        (TextPattern("a@b.example"),),
    )


def test_genders() -> None:
    assert _read("gender=other").query.sexes == ("A", "N", "O")
    assert _read("gender=male,female&gender=female").query.sexes == ("F",)
    assert _read("gender=male&gender=female").finds_nobody
    assert _read("active=true&active=false").finds_nobody


def test_empty_parameters_are_none() -> None:
    search = _read("family=&given=&_count=&birthdate=")
    assert search.query == _read("").query
    assert search.used == ()


def test_a_criterion_is_not_lost() -> None:
    """Without it the search would find others."""
    for query in ("family=,&birthdate=1990", "gender=,,", "identifier=,"):
        assert [issue.code for issue in _both(query)[1]] == ["value"]


def test_count() -> None:
    assert _read("_count=7").page.limit == 7
    assert _read("_count=999999").page.limit == 1000
    assert _read("_count=0").summary == "count"


def test_every_parameter_that_is_offered_is_read() -> None:
    good = {"birthdate": "1990", "active": "true", "gender": "male", "_id": "1", "email": "a@b.fr", "_lastUpdated": "2026"}
    for name in PARAMETERS:
        search, issues = read_search({name: (good.get(name, "abc"),)}, SYSTEMS, strict=True)
        assert issues == []
        assert search.query != _read("").query, name
        assert search.used


_NAMES = st.sampled_from(
    [*PARAMETERS, "family:exact", "family:contains", "family:missing", "_count", "_summary", "_page", "x", ""]
)


@settings(max_examples=300, deadline=None)
@given(st.dictionaries(_NAMES, st.lists(st.text(max_size=12), max_size=3).map(tuple), max_size=4))
def test_nothing_breaks(parameters: dict[str, Any]) -> None:
    search, issues = read_search(parameters, SYSTEMS, strict=False)
    assert isinstance(search, PatientSearch)
    assert all(issue.diagnostics for issue in issues)
