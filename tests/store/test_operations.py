"""Audit trail, jobs, generated settings, the registry's patients, fragments at rest."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import select

from tests.databases import fresh_database
from xds.model.audit import QUERY, AuditEvent, AuditObject, AuditParticipant, EventAction, EventOutcome
from xds.model.identifiers import AssigningAuthority, PatientIdentifier
from xds.model.metadata import Code
from xds.store import affinity_patients, audit, jobs, settings
from xds.store.database import Database
from xds.store.registry.fragments import pack, unpack
from xds.store.schema.operations import job as job_table

pytestmark = pytest.mark.usefixtures("back_end")

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    opened = fresh_database(tmp_path)
    yield opened
    opened.close()


# --- jobs ------------------------------------------------------------------------------------------------------------


def add(database: Database, key: str, run_at: datetime, **payload: object) -> None:
    database.write(lambda connection: jobs.add(connection, "notify", key, payload, run_at))


def claim(database: Database, now: datetime, limit: int = 10) -> tuple[jobs.Job, ...]:
    return database.write(lambda connection: jobs.claim(connection, now, limit))


def test_jobs_run_when_they_are_due_the_longest_waiting_first(database: Database) -> None:
    add(database, "second", NOW + timedelta(seconds=1))
    add(database, "first", NOW)
    add(database, "later", NOW + timedelta(hours=1))
    assert claim(database, NOW - timedelta(seconds=1)) == ()
    assert [job.key for job in claim(database, NOW + timedelta(seconds=1), limit=1)] == ["first"]
    assert [job.key for job in claim(database, NOW + timedelta(seconds=1))] == ["second"]
    assert claim(database, NOW + timedelta(seconds=1)) == ()


def test_the_same_work_is_asked_for_once_and_moves(database: Database) -> None:
    add(database, "study", NOW, state=1)
    add(database, "study", NOW + timedelta(minutes=1), state=2)
    assert claim(database, NOW) == ()
    (job,) = claim(database, NOW + timedelta(minutes=1))
    assert (job.kind, job.key, job.payload, job.attempts) == ("notify", "study", {"state": 2}, 1)


def test_what_a_server_that_is_gone_had_in_hand_is_due_at_the_next_start(database: Database) -> None:
    add(database, "in hand", NOW)
    add(database, "failed", NOW)
    _, failed = claim(database, NOW)
    database.write(lambda connection: jobs.fail(connection, failed, NOW + timedelta(minutes=5), "away"))
    add(database, "later", NOW + timedelta(hours=1))
    assert claim(database, NOW + timedelta(seconds=1)) == ()
    assert database.write(lambda connection: jobs.take_back(connection, NOW + timedelta(seconds=1))) == 2
    assert {job.key: job.attempts for job in claim(database, NOW + timedelta(seconds=1))} == {"in hand": 2, "failed": 2}


def test_a_finished_job_is_gone(database: Database) -> None:
    add(database, "a", NOW)
    (job,) = claim(database, NOW)
    database.write(lambda connection: jobs.finish(connection, job))
    assert claim(database, NOW + timedelta(days=1)) == ()


def test_a_request_during_the_work_is_not_lost_with_it(database: Database) -> None:
    add(database, "a", NOW, state=1)
    (job,) = claim(database, NOW)
    add(database, "a", NOW + timedelta(seconds=1), state=2)
    database.write(lambda connection: jobs.finish(connection, job))
    database.write(lambda connection: jobs.fail(connection, job, None, "late"))
    (again,) = claim(database, NOW + timedelta(seconds=1))
    assert (again.payload, again.attempts) == ({"state": 2}, 1)


def test_a_job_that_is_put_off_moves_when_it_would_come_too_soon(database: Database) -> None:
    def put_off(seconds: float) -> None:
        soonest = NOW + timedelta(seconds=seconds)
        database.write(lambda connection: jobs.put_off(connection, "notify", "a", soonest, timedelta(seconds=1)))

    def due() -> float:
        with database.read() as connection:
            (run_at,) = connection.execute(select(job_table.c.run_at)).scalars()
        return run_at / 1000 - NOW.timestamp()

    put_off(10)
    assert due() == 10
    for soonest, expected in ((10.1, 11.1), (10.2, 11.1), (11.1, 11.1), (11.2, 12.2), (5, 6)):
        put_off(soonest)
        assert due() == pytest.approx(expected, abs=0.001), soonest
    (job,) = claim(database, NOW + timedelta(seconds=6))
    put_off(7)
    assert not database.write(lambda connection: jobs.finish(connection, job))
    assert due() == 8
    add(database, "a", NOW, state=1)
    put_off(0)
    (job,) = claim(database, NOW + timedelta(seconds=1))
    assert (job.payload, job.attempts) == ({}, 1)


def test_a_job_whose_worker_died_becomes_due_again(database: Database) -> None:
    add(database, "a", NOW)
    claim(database, NOW)
    assert claim(database, NOW + jobs.LEASE - timedelta(seconds=1)) == ()
    (job,) = claim(database, NOW + jobs.LEASE)
    assert job.attempts == 2


def test_a_failed_job_waits_or_is_given_up(database: Database) -> None:
    add(database, "a", NOW)
    (job,) = claim(database, NOW)
    database.write(lambda connection: jobs.fail(connection, job, NOW + timedelta(minutes=1), "unreachable"))
    assert claim(database, NOW) == ()
    (job,) = claim(database, NOW + timedelta(minutes=1))
    database.write(lambda connection: jobs.fail(connection, job, None, "unreachable"))
    assert claim(database, NOW + timedelta(days=1)) == ()


# --- audit -----------------------------------------------------------------------------------------------------------


def event(patient: str, number: int) -> AuditEvent:
    return AuditEvent(
        event_id=QUERY,
        action=EventAction.EXECUTE,
        outcome=EventOutcome.MINOR_FAILURE,
        event_type=Code("ITI-18", "IHE Transactions", "Registry Stored Query"),
        occurred=NOW + timedelta(seconds=number),
        participants=(
            AuditParticipant("a", Code("110153", "DCM", "Source Role ID"), True, "192.0.2.1", "42"),
            AuditParticipant("é"),
        ),
        objects=(
            AuditObject(patient, "1", "1", Code("2", "RFC-3881", "Patient Number")),
            AuditObject("q", "2", "24", Code("ITI-18", "IHE Transactions"), "<query/>", (("QueryEncoding", "UTF-8"),)),
        ),
        outcome_description="why",
    )


def test_an_event_is_kept_as_it_was(database: Database) -> None:
    database.write(lambda connection: audit.append(connection, event("P1", 1)))
    with database.read() as connection:
        ((sequence, found),) = audit.find(connection)
    assert (sequence, found) == (1, event("P1", 1))


def test_events_are_read_newest_first_by_pages_and_by_patient(database: Database) -> None:
    for number in range(6):
        database.write(lambda connection, number=number: audit.append(connection, event(f"P{number % 2}", number)))
    with database.read() as connection:
        first = audit.find(connection, limit=4)
        assert [sequence for sequence, _event in first] == [6, 5, 4, 3]
        assert [sequence for sequence, _event in audit.find(connection, before=3)] == [2, 1]
        assert [sequence for sequence, _event in audit.find(connection, patient="P0")] == [5, 3, 1]


# --- settings, patients, fragments -----------------------------------------------------------------------------------


def test_a_generated_value_is_kept(database: Database) -> None:
    values = iter(["first", "second"])

    def make() -> str:
        return next(values)

    for _ in range(2):
        assert database.write(lambda connection: settings.get_or_create(connection, "oid", make)) == "first"
    assert database.write(lambda connection: settings.get_or_create(connection, "other", make)) == "second"


def test_a_value_that_is_named_takes_the_place_of_the_kept_one(database: Database) -> None:
    for named in ("1.2.3", "1.2.3", "1.2.4"):
        database.write(lambda connection, named=named: settings.keep(connection, "oid", named))
        assert database.write(lambda connection: settings.get_or_create(connection, "oid", lambda: "another")) == named


def identifier(value: str) -> PatientIdentifier:
    return PatientIdentifier(value, AssigningAuthority(None, "1.2.3"))


def test_announcing_a_patient_twice_changes_nothing(database: Database) -> None:
    first = database.write(lambda connection: affinity_patients.add(connection, identifier("A")))
    assert database.write(lambda connection: affinity_patients.add(connection, identifier("A"))) == first
    with database.read() as connection:
        assert affinity_patients.find(connection, identifier("A")) == first
        assert affinity_patients.find(connection, identifier("a")) is None


def test_chains_of_merges_are_followed_in_both_directions(database: Database) -> None:
    a, b, c, d = (
        database.write(lambda connection, value=value: affinity_patients.add(connection, identifier(value))).patient_key
        for value in "ABCD"
    )
    for old, new in (("A", "B"), ("B", "C"), ("D", "C")):
        assert database.write(
            lambda connection, old=old, new=new: affinity_patients.merge(connection, identifier(old), identifier(new))
        )
    with database.read() as connection:
        assert set(affinity_patients.chain(connection, c)) == {a, b, c, d}
        assert {key: item.patient_key for key, item in affinity_patients.surviving(connection, [a, b, c, d]).items()} == {
            a: c,
            b: c,
            c: c,
            d: c,
        }
        assert affinity_patients.find_active(connection, identifier("A")) is None
        found = affinity_patients.find_active(connection, identifier("C"))
        assert found is not None
        assert (found[0].patient_key, set(found[1])) == (c, {a, b, c, d})


@pytest.mark.parametrize("xml", [b"", b"<x/>", b' id="urn:uuid:1"' * 1000, bytes(range(256)) * 50])
def test_fragments_come_back_as_they_were(xml: bytes) -> None:
    assert unpack(pack(xml)) == xml


def test_fragments_of_an_unknown_dictionary_are_not_guessed_at() -> None:
    with pytest.raises(ValueError, match="dictionary 9"):
        unpack(b"\x09" + pack(b"x")[1:])
