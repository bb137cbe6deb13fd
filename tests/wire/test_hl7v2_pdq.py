"""Demographics queries and visits in HL7 v2, as values.

Spec: ITI TF-2 3.21.4.1.2, 3.22.4.1.2, 3.31.7.
"""

from __future__ import annotations

import fnmatch
import string
import time
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xds.model.demographics_query import (
    AddressPattern,
    Comparison,
    DateRange,
    DemographicsQuery,
    IdentifierPattern,
    NamePattern,
    PageRequest,
    PatientMatch,
    TextPattern,
)
from xds.model.identifiers import AssigningAuthority, PatientIdentifier
from xds.model.patient import Demographics, PersonName
from xds.wire import hl7v2
from xds.wire.hl7v2 import Message
from xds.wire.hl7v2_feed import read_visit, write_visit
from xds.wire.hl7v2_pdq import DemographicsSearch, days_of, read_cancellation, read_demographics_query
from xds.wire.hl7v2_pdq_answers import (
    meets,
    pointer_of,
    read_demographics_answer,
    write_cancellation,
    write_demographics_answer,
    write_demographics_query,
)
from xds.wire.hl7v2_query_names import Criterion, text_pattern

NOW = datetime(2026, 1, 15, 10, tzinfo=UTC)
WORD = (
    st.text(st.characters(codec="utf-8", exclude_categories=("Cs", "Cc")), min_size=1, max_size=10)
    .map(str.strip)
    .filter(lambda text: text not in ("", '""') and "*" not in text)
)
TEXT = st.builds(TextPattern, WORD, st.sampled_from([Comparison.EXACT, Comparison.PREFIX, Comparison.CONTAINS]))
MAYBE = st.one_of(st.none(), TEXT)
AUTHORITY = st.builds(AssigningAuthority, st.one_of(st.none(), WORD), st.sampled_from(["1.2.3", "2.25.99"]))
NAME = st.builds(NamePattern, family=TEXT, given=MAYBE, suffix=MAYBE, prefix=MAYBE)
ADDRESS = st.builds(AddressPattern, street=MAYBE, city=TEXT, state=MAYBE, postal_code=MAYBE, country=MAYBE)
DAYS = st.sampled_from(["1962", "196203", "19620314"]).map(days_of)
QUERY = st.builds(
    DemographicsQuery,
    identifiers=st.lists(st.builds(IdentifierPattern, WORD, AUTHORITY).map(lambda item: (item,)), max_size=2).map(tuple),
    names=st.one_of(st.just(()), NAME.map(lambda item: ((item,),))),
    birth_dates=st.lists(DAYS, max_size=2).map(tuple),
    sexes=st.one_of(st.just(()), st.sampled_from("FMOU").map(lambda item: (item,))),
    addresses=st.one_of(st.just(()), ADDRESS.map(lambda item: ((item,),))),
    telephones=st.one_of(st.just(()), TEXT.map(lambda item: ((item,),))),
    mothers_maiden_names=st.lists(TEXT, max_size=1).map(tuple),
    mothers_given_names=st.lists(TEXT, max_size=1).map(tuple),
    mother_identifiers=st.lists(st.builds(IdentifierPattern, WORD, AUTHORITY).map(lambda item: (item,)), max_size=2).map(tuple),
    account_number=st.one_of(st.none(), st.builds(IdentifierPattern, WORD, AUTHORITY)),
    visit=st.dictionaries(st.sampled_from(["PV1.2", "PV1.3.2", "PV2.3.2", "PD1.4"]), TEXT, max_size=3),
    domains=st.lists(AUTHORITY, max_size=2).map(tuple),
    minimum_score=st.none(),
).filter(lambda query: query != DemographicsQuery(domains=query.domains))
VISIT = st.dictionaries(
    st.builds(
        lambda name, field, part: f"{name}.{field}{part}",
        st.sampled_from(["PV1", "PV2", "PD1"]),
        st.integers(3, 20),
        st.sampled_from(["", ".2", ".4", ".4.2", ".4.3"]),
    ),
    WORD,
    max_size=8,
)


@given(QUERY, st.integers(1, 999), st.one_of(st.none(), st.text(string.ascii_letters, min_size=1, max_size=20)))
def test_a_query_survives_the_wire(query: DemographicsQuery, limit: int, pointer: str | None) -> None:
    page = PageRequest(limit, pointer, "tag-1")
    message = write_demographics_query(query, page, event="ZV1", source="A|B", destination="C|D", control_id="1", now=NOW)
    read = read_demographics_query(hl7v2.read(hl7v2.write(message)))
    assert read == DemographicsSearch("tag-1", query, page)


@given(VISIT)
def test_a_visit_survives_the_wire(values: dict[str, str]) -> None:
    visit = {"PV1.2": "I", **values}
    segments = [write_visit(visit, name, {}) for name in ("PV1", "PV2", "PD1")]
    message = Message((hl7v2.segment("MSH", {1: "|", 2: "^~\\&", 12: "2.5"}), *(item for item in segments if item)))
    assert read_visit(hl7v2.read(hl7v2.write(message))) == visit


@pytest.mark.parametrize("pv1", ["PV1||N|MED", "PV1", "PV1||", 'PV1||""|MED'])
def test_no_visit(pv1: str) -> None:
    assert read_visit(hl7v2.read(f"MSH|^~\\&|A|B|C|D|1||ADT^A01|1|P|2.5\r{pv1}\r".encode())) == {}


def test_a_visit_of_a_hostile_sender_is_bounded() -> None:
    pv1 = "PV1||I|" + "^".join(["x"] * 5000) + "|" + "y" * 5000 + "|" + "&".join(["z"] * 500) + "|" * 500 + "end"
    visit = read_visit(hl7v2.read(f"MSH|^~\\&|A|B|C|D|1||ADT^A01|1|P|2.5\r{pv1}\r".encode()))
    assert len(visit) < 40
    assert max(map(len, visit.values())) <= 250


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("Weber", TextPattern("Weber")),
        ("Web*", TextPattern("Web", Comparison.PREFIX)),
        ("*ebe*", TextPattern("ebe", Comparison.CONTAINS)),
        ("*eber", TextPattern("*eber", Comparison.WILDCARD)),
        ("W*r", TextPattern("W*r", Comparison.WILDCARD)),
        ("W*b*", TextPattern("W*b*", Comparison.WILDCARD)),
    ],
)
def test_wildcards(value: str, expected: TextPattern) -> None:
    assert text_pattern(value) == expected
    assert text_pattern("Weber", fuzzy=True).comparison is Comparison.FUZZY


@pytest.mark.parametrize(
    ("text", "low", "high"),
    [
        ("1962", "19620101", "19621231"),
        ("1962*", "19620101", "19621231"),
        ("196200", "19620101", "19621231"),
        ("19620000", "19620101", "19621231"),
        ("196202", "19620201", "19620231"),
        ("19620300", "19620301", "19620331"),
        ("19620314", "19620314", "19620314"),
        ("19620314083000", "19620314", "19620314"),
    ],
)
def test_partial_dates(text: str, low: str, high: str) -> None:
    assert days_of(text) == DateRange(low, high)


@pytest.mark.parametrize("text", ["", "62", "196", "19621301", "19620230", "1962-03-14", "today", "²962"])
def test_no_dates(text: str) -> None:
    assert days_of(text) is None


def match(score: int | None = None) -> PatientMatch:
    stated = Demographics(
        names=(PersonName("Lefèvre", "Zoé", use="L"), PersonName("Martin", use="D")), birth_place="Saint-Étienne"
    )
    identifier = PatientIdentifier("A|1", AssigningAuthority("H", "1.2.3"), "PI")
    return PatientMatch(1, (identifier,), stated, score, visit={"PV1.2": "I", "PV1.3.2": "9"}, updated=1_768_471_200_000)


@pytest.mark.parametrize(
    ("place", "value", "expected"),
    [
        ((23, 1, 1), "saint-etienne", True),
        ((23, 1, 1), "Saint*", True),
        ((23, 1, 1), "*Étienne", True),
        ((23, 1, 1), "*tie*", True),
        ((23, 1, 1), "Lyon", False),
        ((5, 7, 1), "D", True),
        ((5, 7, 1), "M", False),
        ((10, 1, 1), "X", False),
        ((3, 4, 2), "1.2.3", True),
    ],
)
def test_criteria_that_are_compared_with_the_patient(place: tuple[int, int, int], value: str, expected: bool) -> None:
    assert meets(match(), [Criterion(1, "PID", *place, (value,))]) is expected
    assert meets(match(), [Criterion(1, "PID", *place, ("nothing", value))]) is expected


@given(st.text("ab", max_size=8), st.text("ab*", min_size=1, max_size=6))
def test_wildcards_mean_what_they_mean_in_a_shell(text: str, value: str) -> None:
    patient = PatientMatch(1, match().identifiers, Demographics(birth_place=text))
    assert meets(patient, [Criterion(1, "PID", 23, 1, 1, (value,))]) is fnmatch.fnmatchcase(text, value)


def test_a_hostile_pattern_takes_no_time() -> None:
    patient = PatientMatch(1, match().identifiers, Demographics(birth_place="a" * 200))
    started = time.process_time()
    assert not meets(patient, [Criterion(1, "PID", 23, 1, 1, ("a*" * 80 + "b",))])
    assert time.process_time() - started < 1


def test_an_answer_survives_the_wire() -> None:
    request = hl7v2.read(b"MSH|^~\\&|A|B|C|D|1||QBP^ZV1^QBP_Q21|1|P|2.5\rQPD|IHE PDQ Query|T\\F\\1|@PV1.2^I\r")
    message = write_demographics_answer(request, (match(87), match()), pointer="E1", now=NOW, control_id="c")
    again = hl7v2.read(hl7v2.write(message))
    assert (again.get("QAK-1"), pointer_of(again), again.get("PID-33")) == ("T|1", "E1", "20260115100000+0000")
    found = read_demographics_answer(again)
    assert [item.score for item in found] == [87.0, 100.0]
    assert [item.identifiers for item in found] == [match().identifiers] * 2
    assert [item.demographics for item in found] == [match().demographics] * 2
    assert [item.visit for item in found] == [match().visit] * 2


def test_a_cancellation() -> None:
    message = write_cancellation("T|1", source="A|B", destination="C|D", control_id="1", now=NOW)
    assert read_cancellation(hl7v2.read(hl7v2.write(message))) == ("T|1", ())


@given(st.text('@PIDV13.5^&~*\\"0 x', max_size=60), st.sampled_from(["Q22", "ZV1"]))
def test_any_criteria_are_read_or_refused(criteria: str, event: str) -> None:
    data = f"MSH|^~\\&|A|B|C|D|1||QBP^{event}|1|P|2.5\rQPD|IHE PDQ Query|T1|{criteria}\r".encode()
    read = read_demographics_query(hl7v2.read(data))
    assert isinstance(read, DemographicsSearch) or read


def test_other_separators() -> None:
    head = "MSH#*!?%#A#B#C#D#1##QBP*Q22#1#P#2.5"
    qpd = "QPD#IHE PDQ Query#T1#@PID.5.1*O?T?Brien%Smith!@PID.8*F#####***%1.2.3%ISO"
    read = read_demographics_query(hl7v2.read("\r".join((head, qpd, "RCP#I#5*RD")).encode()))
    assert isinstance(read, DemographicsSearch)
    names = (NamePattern(family=TextPattern("O%Brien")), NamePattern(family=TextPattern("Smith")))
    assert read.query == DemographicsQuery(names=(names,), sexes=("F",), domains=(AssigningAuthority(oid="1.2.3"),))
    assert read.page == PageRequest(5, None, "T1")
