"""As much of a study as decides who may have it, and of whom it is asked for."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import Connection

from tests.databases import fresh_database
from xds.model.imaging import Instance, ManifestForm, PublishedManifest, Series, Study, StudyPatient, StudyState
from xds.store import imaging, imaging_arrivals, imaging_heads, imaging_sources
from xds.store.database import Database

CT, SR, SYNTAX = "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.88.22", "1.2.840.10008.1.2.1"
NOW = datetime(2026, 1, 10, tzinfo=UTC)
PATIENT = StudyPatient("P1", "1.2.3", "HOSPITAL", "Ember^Ada", "19800101", "F")


def manifest(number: int, form: ManifestForm) -> PublishedManifest:
    return PublishedManifest(number, f"1.9.{number}", "urn:uuid:1", "1.8", "00" * 32, NOW, "P1^^^&1.2.3&ISO", form=form)


@pytest.fixture
def database(back_end: None, tmp_path: Path) -> Iterator[Database]:
    opened = fresh_database(tmp_path)

    def work(connection: Connection) -> None:
        for series, location, sop_class in (("1.2.1.1", "pacs", CT), ("1.2.1.2", "", CT), ("1.2.1.3", "other", SR)):
            for number in (3, 1, 2):
                blob = "" if location else f"{number:064x}"
                instance = Instance(f"{series}.{number}", sop_class, SYNTAX, 0, blob, number, location=location)
                study = Study("1.2.1", PATIENT, (Series(series, "CT", (instance,), 1),), source="pacs")
                imaging_arrivals.add_instance(connection, imaging_arrivals.arriving(study, b"{}"), NOW)
        imaging.reject(connection, "1.2.1", ["1.2.1.1.1"], "113001")
        for number, form in ((1, ManifestForm.XDS_I), (2, ManifestForm.XDS_I), (2, ManifestForm.MADO)):
            imaging.prepare_manifest(connection, "1.2.1", manifest(number, form))
        imaging.publish_manifest(connection, "1.2.1", 1, ManifestForm.XDS_I)
        imaging.set_state(connection, "1.2.1", 9, StudyState.PUBLISHED, "because")

    opened.write(work)
    yield opened
    opened.close()


def test_the_head_of_a_study_is_that_of_the_whole(database: Database) -> None:
    with database.read() as connection:
        whole, head = imaging.find(connection, "1.2.1"), imaging_heads.head(connection, "1.2.1")
        assert imaging_heads.head(connection, "1.2.9") is None
    assert whole is not None
    assert head is not None
    assert head == replace(whole, study=Study("1.2.1", whole.study.patient, (), source=whole.study.source))
    assert len(head.manifests) == 3
    assert head.published == replace(manifest(1, ManifestForm.XDS_I), is_published=True)


@pytest.mark.parametrize("series", [None, "1.2.1.1", "1.2.1.2", "1.2.1.3"])
def test_of_whom_it_is_asked_for(database: Database, series: str | None) -> None:
    with database.read() as connection:
        held = imaging_sources.held_outside(connection, "1.2.1", series)
        counted = imaging_heads.outside(connection, "1.2.1", series)
        assert imaging_heads.outside(connection, "1.2.9") == {}
    assert counted == {
        place: {(sop_class, SYNTAX): len(classes) for sop_class in classes.values()} for place, classes in held.items()
    }
    if series is None:
        assert counted == {("pacs", "1.2.1.1"): {(CT, SYNTAX): 2}, ("other", "1.2.1.3"): {(SR, SYNTAX): 3}}
