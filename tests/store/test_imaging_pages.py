"""What a page of a query, and a fetch from a source outside, read of many instances in one statement."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import Connection

from tests.databases import fresh_database
from xds.model.imaging import Instance, Series, Study, StudyPatient
from xds.model.imaging_query import ImagingQuery, Level
from xds.store import imaging, imaging_arrivals, imaging_headers, imaging_search, imaging_sources
from xds.store.database import Database

CT, SYNTAX = "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.1.2.1"
NOW = datetime(2026, 1, 10, tzinfo=UTC)
PATIENT = StudyPatient("P1", "1.2.3")


def of_one(study: str, series: str, number: int, location: str) -> Study:
    blob = "" if location else f"{number:064x}"
    instance = Instance(f"{series}.{number}", CT, SYNTAX, 0, blob, number, location=location)
    return Study(study, PATIENT, (Series(series, "CT", (instance,), 1),), study_date="20260110", source="pacs")


@pytest.fixture
def database(back_end: None, tmp_path: Path) -> Iterator[Database]:
    opened = fresh_database(tmp_path)

    def work(connection: Connection) -> None:
        for study in ("1.2.1", "1.2.2"):
            for series, location in ((f"{study}.1", "pacs"), (f"{study}.2", "")):
                for number in (3, 1, 2):
                    header = f'{{"{series}.{number}":{{}}}}'.encode()
                    arriving = imaging_arrivals.arriving(of_one(study, series, number, location), header)
                    imaging_arrivals.add_instance(connection, arriving, NOW)
            imaging.reject(connection, study, [f"{study}.1.1"], "113001")

    opened.write(work)
    yield opened
    opened.close()


@pytest.mark.parametrize(
    ("level", "expected"),
    [
        (Level.STUDY, ["1.2.2.1.2", "1.2.1.1.2"]),
        (Level.SERIES, ["1.2.2.1.2", "1.2.2.2.1", "1.2.1.1.2", "1.2.1.2.1"]),
        (
            Level.INSTANCE,
            [f"{study}.{place}" for study in ("1.2.2", "1.2.1") for place in ("1.2", "1.3", "2.1", "2.2", "2.3")],
        ),
    ],
)
def test_the_header_of_each_answer_is_that_of_its_first_instance(database: Database, level: Level, expected: list[str]) -> None:
    with database.read() as connection:
        rows = imaging_search.search(connection, ImagingQuery(level, ()), 100)
        packed = imaging_search.headers(connection, level, rows)
    found = [imaging_headers.unpack(packed[imaging_search.place_of(level, row)]) for row in rows]
    assert found == [f'{{"{uid}":{{}}}}'.encode() for uid in expected]


def test_what_sources_outside_hold(database: Database) -> None:
    held = {("pacs", "1.2.1.1"): {"1.2.1.1.2": CT, "1.2.1.1.3": CT}}
    with database.read() as connection:
        assert imaging_sources.held_outside(connection, "1.2.1") == held
        assert imaging_sources.held_outside(connection, "1.2.1", "1.2.1.1") == held
        assert imaging_sources.held_outside(connection, "1.2.1", "1.2.1.2") == {}
        assert imaging_sources.held_outside(connection, "1.2.9") == {}
        one_alone = {("pacs", "1.2.1.1"): {"1.2.1.1.3": CT}}
        assert imaging_sources.held_outside(connection, "1.2.1", "1.2.1.1", "1.2.1.1.3") == one_alone
        assert imaging_sources.held_outside(connection, "1.2.1", "1.2.1.1", "1.2.1.1.4") == {}
        (one,) = imaging_sources.registered(connection, "1.2.1", "1.2.1.1", "1.2.1.1.3").values()
        assert (one.location, one.has_blob, one.sop_class_uid) == ("pacs", False, CT)
        assert len(imaging_sources.registered(connection, "1.2.1")) == 6
