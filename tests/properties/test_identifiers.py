"""Identifiers and times as XDS metadata writes them. Spec: ITI TF-3 Table 4.2.3.1.7-2."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta, timezone

from hypothesis import example, given, settings
from hypothesis import strategies as st

from xds.model.identifiers import (
    AssigningAuthority,
    PatientIdentifier,
    dtm_number,
    escape_hl7,
    is_dtm,
    is_oid,
    is_uuid_urn,
    new_oid,
    new_uuid_urn,
    read_cx,
    to_dtm,
    unescape_hl7,
    uuid_bytes,
    uuid_urn,
)

FIXED = settings(derandomize=True, deadline=None, database=None)
#: Texts in which the delimiters of HL7 and the letters of its escapes are frequent.
TEXT = st.text("^&|~\\FSRTE", max_size=8) | st.text(st.characters(exclude_categories=("Cs", "Cc")), max_size=20)
OID = st.lists(st.integers(0, 10**6), min_size=1, max_size=7).map(lambda arcs: ".".join(map(str, (1, *arcs))))
MOMENT = st.datetimes(datetime(1000, 1, 1), datetime(9999, 12, 30)).map(lambda moment: moment.replace(microsecond=0))
LENGTHS = (4, 6, 8, 10, 12, 14)
ZONES = st.integers(-14 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))


def is_a_time(digits: str) -> bool:
    """The same question to the calendar of the standard library, field by field."""
    if len(digits) not in LENGTHS:
        return False
    fields = [int(digits[:4]), *(int(digits[start : start + 2]) for start in range(4, len(digits), 2))]
    try:
        datetime(*(fields + [1, 1][max(0, len(fields) - 1) :]))
    except ValueError:
        return False
    return True


# --- times


@FIXED
@given(st.text("0123456789", max_size=15) | st.tuples(MOMENT, st.sampled_from(LENGTHS)).map(lambda pair: to_text(*pair)))
@example("20240229")
@example("20230229")
@example("19000229")
@example("20240101000060")
@example("0000")
def test_a_dtm_is_what_the_calendar_has(digits: str) -> None:
    assert is_dtm(digits) is is_a_time(digits)


@FIXED
@given(st.text("0123456789.+- \n٣Z", max_size=16))
def test_a_dtm_is_made_of_digits_alone(text: str) -> None:
    assert not is_dtm(text) or (text.isascii() and text.isdecimal())


def to_text(moment: datetime, length: int) -> str:
    return moment.strftime("%Y%m%d%H%M%S").rjust(14, "0")[:length]


@FIXED
@given(MOMENT, MOMENT, st.sampled_from(LENGTHS), st.sampled_from(LENGTHS))
def test_times_of_any_precision_are_ordered_as_the_starts_of_their_intervals(
    one: datetime, other: datetime, length: int, other_length: int
) -> None:
    first, second = to_text(one, length), to_text(other, other_length)
    assert (dtm_number(first) < dtm_number(second)) is (start_of(one, length) < start_of(other, other_length))


def start_of(moment: datetime, length: int) -> datetime:
    fields = {14: (), 12: ("second",), 10: ("minute", "second"), 8: ("hour", "minute", "second")}
    dates = {6: {"day": 1}, 4: {"month": 1, "day": 1}}
    return moment.replace(**dict.fromkeys(fields.get(length, fields[8]), 0), **dates.get(length, {}))


@FIXED
@given(MOMENT, ZONES)
def test_a_moment_becomes_its_dtm_in_utc(moment: datetime, zone: timezone) -> None:
    text = (
        to_dtm(moment.replace(tzinfo=UTC).astimezone(zone)) if 1001 < moment.year < 9998 else to_dtm(moment.replace(tzinfo=UTC))
    )
    assert is_dtm(text)
    assert text == to_text(moment, 14)
    assert dtm_number(text) == int(text)


# --- identifiers


@FIXED
@given(TEXT)
@example("\\F\\")
@example("\\E\\")
def test_what_is_escaped_is_read_again(text: str) -> None:
    escaped = escape_hl7(text)
    assert unescape_hl7(escaped) == text
    assert not set(escaped) & set("^&|~")


@FIXED
@given(TEXT.filter(lambda text: text == text.strip() and text), OID)
def test_a_patient_identifier_survives_its_cx(value: str, oid: str) -> None:
    identifier = PatientIdentifier(value, AssigningAuthority(None, oid))
    assert read_cx(identifier.to_cx()) == identifier


@FIXED
@given(st.text("^&1.ISO\\T x", max_size=30))
def test_whatever_is_read_as_a_cx_is_written_in_one_form(text: str) -> None:
    read = read_cx(text)
    if read is not None and read.authority.oid and read.value.strip() == read.value:
        again = read_cx(read.to_cx())
        assert again is not None
        assert (again.key, again.to_cx()) == (read.key, read.to_cx())


@FIXED
@given(st.uuids())
def test_a_uuid_survives_its_bytes(value: uuid.UUID) -> None:
    urn = f"urn:uuid:{value}"
    assert is_uuid_urn(urn)
    assert uuid_urn(uuid_bytes(urn)) == urn
    assert uuid_bytes(urn.removeprefix("urn:uuid:")) == value.bytes
    assert not is_uuid_urn(urn.upper())
    assert not is_uuid_urn(f"{urn}\n")
    assert is_uuid_urn(urn.replace("a", "A")) is ("a" not in str(value))


@FIXED
@given(st.lists(st.integers(0, 10**9).map(str) | st.sampled_from(["", "00", "01", "-1", "٣", "x"]), min_size=1, max_size=10))
def test_an_oid_is_numbers_without_leading_zeros(arcs: list[str]) -> None:
    text = ".".join(arcs)
    valid = len(arcs) > 1 and arcs[0] in ("0", "1", "2") and len(text) <= 64
    numbers = all(arc.isascii() and arc.isdecimal() and str(int(arc)) == arc for arc in arcs)
    assert is_oid(text) is (valid and numbers)


def test_new_identifiers_are_valid_and_new() -> None:
    oids, urns = {new_oid() for _ in range(100)}, {new_uuid_urn() for _ in range(100)}
    assert len(oids) == len(urns) == 100
    assert all(is_oid(oid) for oid in oids)
    assert all(is_uuid_urn(urn) for urn in urns)
