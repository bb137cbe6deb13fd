"""Feeds and PIX queries in HL7 v2, as values.

Spec: ITI TF-2 3.8.4.1.2, 3.8.4.2.2, 3.9.4.1.2.
"""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xds.model.identifiers import AssigningAuthority, PatientIdentifier
from xds.model.patient import (
    PATIENT_IDENTITY_MANAGEMENT,
    Address,
    Demographics,
    FeedKind,
    IdentityFeed,
    IdentityProblem,
    IdentityProblemKind,
    PersonName,
)
from xds.wire import hl7v2
from xds.wire.hl7v2 import Condition, Fault, Location, Message
from xds.wire.hl7v2_answers import Acknowledgement, new_control_id, read_acknowledgement, write_ack
from xds.wire.hl7v2_feed import FEED_KINDS, read_feed, write_feed
from xds.wire.hl7v2_identity import fault_of
from xds.wire.hl7v2_pix import PixQuery, read_pix_query, write_pix_query

NOW = datetime(2026, 1, 15, 10, tzinfo=UTC)
#: What a value may be: not blank at its ends, and not HL7's sign for deletion.
WORD = (
    st.text(st.characters(codec="utf-8", exclude_categories=("Cs", "Cc")), min_size=1, max_size=12)
    .map(str.strip)
    .filter(lambda text: text not in ("", '""'))
)
MAYBE = st.one_of(st.just(""), WORD)
AUTHORITY = st.builds(
    AssigningAuthority, namespace=st.one_of(st.none(), WORD), oid=st.sampled_from(["1.2.3", "2.25.99", "1.2.250.1.71"])
)
IDENTIFIER = st.builds(PatientIdentifier, value=WORD, authority=AUTHORITY, type_code=st.one_of(st.none(), st.just("PI")))
DATE = st.dates(min_value=datetime(1900, 1, 2).date()).map(lambda date: date.strftime("%Y%m%d").zfill(8))
DEMOGRAPHICS = st.builds(
    Demographics,
    names=st.lists(
        st.builds(PersonName, family=WORD, given=MAYBE, further_given=MAYBE, suffix=MAYBE, prefix=MAYBE, use=st.just("L")),
        max_size=2,
    ).map(tuple),
    birth_date=st.one_of(st.none(), DATE),
    sex=st.one_of(st.none(), st.sampled_from("FMOUAN")),
    addresses=st.lists(
        st.builds(Address, street=MAYBE, other=MAYBE, city=WORD, state=MAYBE, postal_code=MAYBE, country=MAYBE), max_size=2
    ).map(tuple),
    telephones=st.lists(WORD, max_size=2).map(tuple),
    mother_maiden_name=st.one_of(st.none(), WORD),
    mother_given_name=st.one_of(st.none(), WORD),
    mother_identifiers=st.lists(IDENTIFIER, max_size=2).map(tuple),
    national_identifiers=st.lists(IDENTIFIER, max_size=1).map(tuple),
    multiple_birth=st.one_of(st.none(), st.booleans()),
    birth_order=st.one_of(st.none(), st.integers(1, 9)),
    deceased=st.one_of(st.none(), st.booleans()),
    work_telephones=st.lists(WORD, max_size=1).map(tuple),
    emails=st.lists(WORD, max_size=1).map(tuple),
    language=st.one_of(st.none(), WORD),
    marital_status=st.one_of(st.none(), WORD),
    religion=st.one_of(st.none(), WORD),
    birth_place=st.one_of(st.none(), WORD),
    reliability=st.lists(WORD, max_size=2).map(tuple),
)
FEED = st.builds(
    IdentityFeed,
    kind=st.sampled_from(sorted(set(FEED_KINDS.values()))),
    source=st.just("HOSP|ADT"),
    destination=st.just("REGION|XDS"),
    message_id=WORD,
    identifiers=st.lists(IDENTIFIER, min_size=1, max_size=3).map(tuple),
    demographics=DEMOGRAPHICS,
    subsumed=st.lists(IDENTIFIER, min_size=1, max_size=1).map(tuple),
)


def read(pid: str, event: str = "A01", mrg: str = "") -> tuple[IdentityFeed | None, tuple[Fault, ...]]:
    text = f"MSH|^~\\&|ADT|HOSP|XDS|REGION|20260115||ADT^{event}|1|P|2.3.1\rPID|{pid}\r" + (f"MRG|{mrg}\r" if mrg else "")
    return read_feed(hl7v2.read(text.encode()))


def feed(pid: str, event: str = "A01", mrg: str = "") -> IdentityFeed:
    found, faults = read(pid, event, mrg)
    assert found is not None
    assert faults == ()
    return found


@given(FEED)
def test_a_feed_survives_the_wire(sent: IdentityFeed) -> None:
    changes = sent.kind in (FeedKind.MERGE, FeedKind.CHANGE)
    expected = replace(
        sent,
        subsumed=sent.subsumed if changes else (),
        event_type=PATIENT_IDENTITY_MANAGEMENT if sent.kind is FeedKind.CHANGE else sent.event_type,
        visit={} if changes else {"PV1.2": "O"},
        deleted=("death_time",) if sent.demographics.deceased is False and not sent.demographics.death_time else (),
    )
    message = hl7v2.read(hl7v2.write(write_feed(sent, now=NOW)))
    assert read_feed(message) == (expected, ())


@given(WORD, IDENTIFIER, st.lists(AUTHORITY, max_size=3).map(tuple))
def test_a_query_survives_the_wire(tag: str, identifier: PatientIdentifier, domains: tuple[AssigningAuthority, ...]) -> None:
    query = PixQuery(tag, identifier, domains)
    message = write_pix_query(query, source="A|B", destination="C|D", control_id="1", now=NOW)
    assert read_pix_query(hl7v2.read(hl7v2.write(message))) == query


def test_a_rich_patient() -> None:
    """Fields as hospitals fill them."""
    found = feed(
        '||7^^^HOSP&1.2.3&ISO^PI~""^^^OLD~279035121518989^^^&1.2.250.1.213.1.4.8&ISO^INS||LEFEVRE&&LE^MARIE^ROSE^II^MME^^L~'
        "DUPONT^MARIE^^^^^M||19620314083000.0000+0100|f|||4 RUE DES LILAS&DES LILAS^BAT B^ORLEANS^^45000^FRA^H||"
        "0238000000^PRN^PH~^PRN^PH^^33^2^38111111~^NET^Internet^m@example.fr|^WPN^PH^^^712^7670867||||A1^^^HOSP|"
        "262034500112345^^^NIR|||||Y|2||||20200101|N"
    )
    assert [item.value for item in found.identifiers] == ["7", "279035121518989"]
    stated = found.demographics
    assert stated.names == (
        PersonName("LEFEVRE", "MARIE", "ROSE", "II", "MME", "L"),
        PersonName("DUPONT", "MARIE", use="M"),
    )
    assert (stated.birth_date, stated.sex, stated.death_time) == ("19620314083000", "F", "20200101")
    assert stated.addresses == (Address("4 RUE DES LILAS", "BAT B", "ORLEANS", "", "45000", "FRA", "H"),)
    assert stated.telephones == ("0238000000", "33 2 38111111")
    assert (stated.work_telephones, stated.emails) == (("712 7670867",), ("m@example.fr",))
    assert stated.national_identifiers == (PatientIdentifier("262034500112345", AssigningAuthority("NIR")),)
    assert (stated.account_number, found.account_number) == (PatientIdentifier("A1", AssigningAuthority("HOSP")), "A1")
    assert (stated.multiple_birth, stated.birth_order, stated.deceased) == (True, 2, False)


def test_deleted_values_are_named() -> None:
    found = feed('||7^^^HOSP||""||""|""|||""||""', event="A08")
    assert found.deleted == ("names", "birth_date", "sex", "addresses", "telephones", "emails")
    assert found.demographics == Demographics()


@pytest.mark.parametrize(
    ("pid", "deleted", "kept"),
    [
        ('""^""^^^^^L', ("names",), Demographics()),
        ('X^""^""^^^^L', (), Demographics(names=(PersonName("X", use="L"),))),
        ('~""^Y', (), Demographics(names=(PersonName("", "Y"),))),
        ('|""^""', ("mother_maiden_name", "mother_given_name"), Demographics()),
        ('|""^ANNE', ("mother_maiden_name",), Demographics(mother_given_name="ANNE")),
        ('||""^""|""^x', ("birth_date", "sex"), Demographics()),
        ('||||||""^""^""^""^""', ("addresses",), Demographics()),
        ('||||||""^""^LYON^""', (), Demographics(addresses=(Address(city="LYON"),))),
        ('||||||||""^PRN^PH|^NET^Internet^""', ("telephones", "emails"), Demographics()),
        ('||||||||||""^""|""|""', ("language", "marital_status", "religion"), Demographics()),
        ('|||||||||||||""^^^HOSP|""^^^NIR', ("account_number", "national_identifiers"), Demographics()),
    ],
)
def test_components_are_deleted_like_fields(pid: str, deleted: tuple[str, ...], kept: Demographics) -> None:
    """The null value `""` means "delete" wherever it stands; it is never a value (HL7 v2.5 chapter 2.5.3, ITI TF-2 C.2)."""
    found = feed(f"||7^^^HOSP||{pid}", event="A08")
    assert set(found.deleted) == set(deleted)
    assert found.demographics == kept


@pytest.mark.parametrize(
    ("death", "deleted"),
    [("|N", ("death_time",)), ("20200101|N", ()), ("|Y", ()), ('""|', ("death_time",)), ('""|N', ("death_time",))],
)
def test_the_time_of_death_goes_with_death(death: str, deleted: tuple[str, ...]) -> None:
    """PID-30 says whether the patient is deceased (HL7 v2.5 chapter 3.4.2.30): N takes the time back that was wrong."""
    assert feed(f"||7^^^HOSP||X{'|' * 24}{death}", event="A08").deleted == deleted


def test_a_deleted_type_of_an_identifier_is_none() -> None:
    (identifier,) = feed('||7^^^HOSP^""').identifiers
    assert identifier.type_code is None


def unknown(location: Location) -> Fault:
    return Fault(Condition.UNKNOWN_KEY, "unknown", location)


@pytest.mark.parametrize(
    ("fault", "text"),
    [
        (
            Fault(Condition.UNKNOWN_KEY, "unknown", Location("PID", 1, 3, 2, 4)),
            "PID-3.4 (repetition 2): unknown; received: X&9.9&ISO",
        ),
        (
            Fault(Condition.UNKNOWN_KEY, "unknown", Location("PID", 1, 3, 2, 4, 2)),
            "PID-3.4.2 (repetition 2): unknown; received: 9.9",
        ),
        (Fault(Condition.TABLE_VALUE, "PID-8 is no sex", Location("PID", 1, 8)), "PID-8 is no sex; received: Q"),
        (Fault(Condition.REQUIRED_MISSING, "needed", Location("PID", 1, 18)), "PID-18: needed; received: nothing"),
        (Fault(Condition.REQUIRED_MISSING, "needed", Location("PID", 2, 3)), "PID 2-3: needed"),
        (Fault(Condition.SEGMENT_SEQUENCE, "MRG is missing", Location("MRG", 1)), "MRG is missing"),
        (Fault(Condition.INTERNAL, "down"), "down"),
        (Fault(Condition.SEGMENT_SEQUENCE, "no segment", None, "pid|1"), "no segment; received: pid|1"),
        (Fault(Condition.DATA_TYPE, "long", Location("PID", 1, 5)), f"PID-5: long; received: {'N' * 60}..."),
    ],
)
@pytest.mark.parametrize("separators", ["|^~\\&", "#*!?%"])
def test_an_error_tells_where_it_lies_and_what_was_received(fault: Fault, text: str, separators: str) -> None:
    """ERR-2 is for machines, ERR-8 for the users (ITI TF-2 C.2.3; HL7 v2.5 chapter 2.15.5.8)."""
    written = f"MSH|^~\\&|A|B|C|D|20260115||ADT^A01|1|P|2.5\rPID|||1^^^H~2^^^X&9.9&ISO||{'N' * 70}|||Q\r"
    sent = hl7v2.read(written.translate(str.maketrans("|^~\\&", separators)).encode())
    (told,) = read_acknowledgement(write_ack(sent, Acknowledgement.ERROR, [fault], now=NOW, control_id="c1")).faults
    assert told.text.translate(str.maketrans(separators, "|^~\\&")) == text.translate(str.maketrans(separators, "|^~\\&"))


@pytest.mark.parametrize("text", ["1962", "196203", "19620314", "1962031408", "19620314083000", "19620314083000.12"])
def test_birth_dates(text: str) -> None:
    found = feed(f"||7^^^H||X||{text}")
    assert found.demographics.birth_date == text.split(".")[0]


@pytest.mark.parametrize("text", ["62", "19621301", "1962-03-14", "14/03/1962", "unknown", "19620230"])
def test_no_birth_dates(text: str) -> None:
    assert [fault.condition for fault in read(f"||7^^^H||X||{text}")[1]] == [Condition.DATA_TYPE]


def test_one_pair_a_message() -> None:
    text = "MSH|^~\\&|ADT|HOSP|XDS|REGION|20260115||ADT^A40|1|P|2.3.1\rPID|||1^^^H\rMRG|2^^^H\rPID|||3^^^H\rMRG|4^^^H\r"
    assert [str(fault.location) for fault in read_feed(hl7v2.read(text.encode()))[1]] == ["PID^2"]


def test_a_problem_is_found_where_its_identifier_stands() -> None:
    """The second identifier stands in the third repetition."""
    request = hl7v2.read(b'MSH|^~\\&|ADT|HOSP|XDS|REGION|20260115||ADT^A01|1|P|2.3.1\rPID|||1^^^H~""^^^I~3^^^J\r')
    problem = IdentityProblem(IdentityProblemKind.UNKNOWN_DOMAIN, "identifiers", "unknown", 2, 4)
    assert fault_of(problem, request) == Fault(Condition.UNKNOWN_KEY, "unknown", Location("PID", 1, 3, 3, 4))


def request(head: str) -> Message:
    return hl7v2.read(head.encode())


def test_acknowledgement_fields() -> None:
    answer = write_ack(
        request("MSH|^~\\&|ADT^1.2^ISO|HOSP^^|||20260115||ADT^A01|x\\T\\y|P^T|2.5"),
        Acknowledgement.ERROR,
        [Fault(Condition.UNKNOWN_KEY, "a | b", Location("PID", 1, 3, 1, 1)), Fault(Condition.INTERNAL, "down")],
        now=NOW,
        control_id="c1",
    )
    assert hl7v2.write(answer).decode().split("\r") == [
        "MSH|^~\\&|XDS|XDS|ADT^1.2^ISO|HOSP|20260115100000+0000||ACK^A01^ACK|c1|P|2.5",
        "MSA|AE|x\\T\\y",
        "ERR||PID^1^3^1^1|204^Unknown key identifier^HL70357|E|||PID-3.1: a \\F\\ b|PID-3.1: a \\F\\ b",
        "ERR|||207^Application internal error^HL70357|E|||down|down",
        "",
    ]
    read = read_acknowledgement(answer)
    assert (read.code, read.message_id, read.is_accepted) == ("AE", "x&y", False)
    assert [(str(fault.location or ""), fault.condition, fault.text) for fault in read.faults] == [
        ("PID^1^3^1^1", Condition.UNKNOWN_KEY, "PID-3.1: a | b"),
        ("", Condition.INTERNAL, "down"),
    ]


def test_an_acknowledgement_of_an_older_partner() -> None:
    answer = request("MSH|^~\\&|A|B|C|D|20260115||ACK|1|P|2.3.1\rMSA|AE|7\rERR|PID^1^3^204&Unknown key&HL70357\r")
    (fault,) = read_acknowledgement(answer).faults
    assert (fault.condition, fault.text, fault.location) == (Condition.UNKNOWN_KEY, "Unknown key", None)


def test_control_ids_are_unique_in_every_process() -> None:
    here = {new_control_id() for _ in range(1000)}
    assert len(here) == 1000
    assert {len(item) for item in here} == {20}
    with ProcessPoolExecutor(1) as pool:
        assert pool.submit(new_control_id).result(60) not in here
    assert new_control_id() not in here


@pytest.mark.parametrize(
    ("number", "parts"),
    [
        ("0238112233", ["0238112233", "", "", ""]),
        ("02 38 11 22 33", ["02 38 11 22 33", "", "", ""]),
        ("33 2 38111111", ["33 2 38111111", "33", "2", "38111111"]),
        ("712 7670867", ["712 7670867", "", "712", "7670867"]),
    ],
)
def test_telephone_numbers_go_out_in_their_parts(number: str, parts: list[str]) -> None:
    patient = PatientIdentifier("7", AssigningAuthority("H"))
    sent = IdentityFeed(FeedKind.ADD, "A|B", "1", (patient,), Demographics(telephones=(number,)))
    message = write_feed(sent, now=NOW)
    assert [message.get(f"PID-13.{component}") for component in (1, 5, 6, 7)] == parts
    found, _ = read_feed(message)
    assert found is not None
    assert found.demographics.telephones == (number,)
