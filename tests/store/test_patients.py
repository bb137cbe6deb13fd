"""What the PIX Manager keeps."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from sqlalchemy.exc import IntegrityError

from tests.databases import fresh_database
from tests.wire.test_hl7v2_identity import DEMOGRAPHICS
from xds.actors.pix_clusters import connected
from xds.model.identifiers import AssigningAuthority
from xds.model.patient import Demographics
from xds.store.database import Database
from xds.store.patients import Identity, Patients, StoredLink, read_demographics, write_demographics

pytestmark = pytest.mark.usefixtures("back_end")


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    database = fresh_database(tmp_path)
    yield database
    database.close()


@given(DEMOGRAPHICS)
def test_demographics_survive(demographics: Demographics) -> None:
    assert read_demographics(write_demographics(demographics)) == demographics


def test_a_domain_has_one_row_under_all_its_names(database: Database) -> None:
    def work(connection: object) -> list[int]:
        patients = Patients(connection)
        names = [("A", None), (None, "1.1"), ("B", "1.2"), ("B", None), (None, "1.2"), ("A", "1.3"), ("A", "1.1")]
        return [patients.add_domain(AssigningAuthority(*name)).domain_key for name in names]

    by_name, by_oid, both, also_both, third, completed, last = database.write(work)
    assert both == also_both == third
    # The namespace without an OID was completed by the first message that gave both; the older OID stays another domain.
    assert by_name == completed != by_oid == last


def test_an_identifier_belongs_to_one_person(database: Database) -> None:
    def work(connection: object) -> None:
        patients = Patients(connection)
        domain = patients.add_domain(AssigningAuthority("A"))
        for _ in range(2):
            key = patients.add_person(1)
            patients.add_identity(Identity(key, domain.domain_key, "1", None, False, None, None, 1))

    with pytest.raises(IntegrityError):
        database.write(work)
    with database.read() as connection:
        assert Patients(connection).clusters_after(0, (), 10) == ()


def test_an_ended_link_can_be_in_force_again(database: Database) -> None:
    def work(connection: object) -> list[int]:
        patients = Patients(connection)
        one, other = patients.add_person(1), patients.add_person(2)
        counts = []
        for _ in range(2):
            patients.add_link(other, one, "demographics", 3)
            counts.append(len(patients.links([one])))
            patients.end_link(StoredLink(one, other, "demographics"), 4)
            counts.append(len(patients.links([other])))
        return counts

    assert database.write(work) == [1, 0, 1, 0]


def test_messages_are_forgotten_in_time(database: Database) -> None:
    def work(connection: object) -> list[bool]:
        patients = Patients(connection)
        patients.add_message("A", "1", b"x", 100, 0)
        before = patients.is_known_message("A", "1", b"x")
        patients.add_message("A", "2", b"x", 200, 150)
        return [before, *(patients.is_known_message("A", number, b"x") for number in ("1", "2"))]

    assert database.write(work) == [True, False, True]


def test_connected_parts() -> None:
    links = [StoredLink(1, 4, ""), StoredLink(4, 3, ""), StoredLink(2, 9, "")]
    assert connected([5, 4, 3, 2, 1], links) == [[1, 3, 4], [2], [5]]
