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
from xds.rules.linkage.blocking import KEY_BITS
from xds.store.database import Database
from xds.store.patients import Identity, Patients, Statement, StoredLink, read_demographics, write_demographics
from xds.store.patients_match_keys import PERSON_BITS, entry_of

#: The least and the greatest of keys, and the last record that has room beside them.
LOWEST, HIGHEST = -(2 ** (KEY_BITS - 1)), 2 ** (KEY_BITS - 1) - 1
LAST = 2**PERSON_BITS - 1

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


def test_records_of_one_transaction_and_of_the_next_have_keys_of_their_own(database: Database) -> None:
    def work(connection: object) -> list[int]:
        patients = Patients(connection)
        return [patients.add_person(number) for number in range(3)]

    keys = [*database.write(work), *database.write(work)]
    assert keys == sorted(set(keys))
    with database.read() as connection:
        assert Patients(connection).cluster_of(keys) == {key: key for key in keys}


def test_keys_after_work_that_failed_follow_one_another(database: Database) -> None:
    def failing(connection: object) -> None:
        Patients(connection).add_person(1)
        raise LookupError

    def work(connection: object) -> list[int]:
        patients = Patients(connection)
        return [patients.add_person(1), patients.add_person(2)]

    with pytest.raises(LookupError):
        database.write(failing)
    one, other = database.write(work)
    assert other == one + 1


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


def test_the_last_messages_of_a_source_are_remembered(database: Database) -> None:
    digests = [number.to_bytes(16, "little") for number in range(100)]

    def work(connection: object) -> list[bool]:
        patients = Patients(connection)
        patients.state(Statement(7, "A", "{}", b"", digests[0][:8], 1), "", is_new=True)
        for digest in digests[1:]:
            (known,) = patients.statements([7])[7]
            patients.note_message(known, digest)
        (known,) = patients.statements([7])[7]
        return [known.knows(digest) for digest in digests]

    assert database.write(work) == [False] * 36 + [True] * 64


def test_several_records_may_have_one_national_identifier(database: Database) -> None:
    def work(connection: object) -> list[int]:
        patients = Patients(connection)
        domain = patients.add_domain(AssigningAuthority("INS"))
        for key in (1, 2):
            patients.add_identity(Identity(key, domain.domain_key, "1", "INS", False, None, None, 1, "qualified"))
        assert patients.identity(domain.domain_key, "1") is None
        return [item.person_key for item in patients.bearers(domain.domain_key, "1")]

    assert database.write(work) == [1, 2]


def test_a_hot_key_is_not_read_to_its_end(database: Database) -> None:
    def work(connection: object) -> dict[int, dict[int, bytes | None]]:
        patients = Patients(connection)
        for person in range(10):
            patients.add_keys(person, {1: b"seen" if person % 2 else None, LOWEST + person: None, HIGHEST: None})
        patients.remove_keys(0, [1])
        patients.add_keys(LAST, {HIGHEST: None, 2: None})
        assert patients.candidates([HIGHEST, 2], 20) == {HIGHEST: dict.fromkeys((*range(10), LAST)), 2: {LAST: None}}
        found = patients.candidates([1, LOWEST, 5], 4)
        patients.show(3, {1: b"other"})
        assert patients.candidates([1], 20)[1] == {number: b"seen" if number % 2 else None for number in range(1, 10)} | {
            3: b"other"
        }
        return found

    assert database.write(work) == {1: {1: b"seen", 2: None, 3: b"seen", 4: None}, LOWEST: {0: None}}


def test_a_record_without_room_beside_its_keys_is_refused() -> None:
    with pytest.raises(OverflowError, match="record 1073741824 of the register"):
        entry_of(1, LAST + 1)


def test_clusters_come_with_the_traits_of_all_their_records(database: Database) -> None:
    def work(connection: object) -> dict[int, dict[int, list[bytes]]]:
        patients = Patients(connection)
        keys = [patients.add_person(1) for _ in range(6)]
        patients.set_cluster(keys[1:3], keys[0])
        for key, source, traits, updated in ((0, "A", b"a", 2), (0, "B", b"b", 1), (2, "A", b"c", 1), (4, "A", b"d", 1)):
            patients.state(Statement(keys[key], source, "{}", traits, b"", updated), "", is_new=True)
        assert patients.traits_around([]) == {}
        assert patients.traits_around(keys[4:5]) == {keys[4]: {keys[4]: [b"d"]}}
        found = patients.traits_around((keys[1], keys[2], keys[3]))
        return {keys.index(cluster): {keys.index(key): some for key, some in each.items()} for cluster, each in found.items()}

    assert database.write(work) == {0: {0: [b"b", b"a"], 1: [], 2: [b"c"]}, 3: {3: []}}


def test_connected_parts() -> None:
    links = [StoredLink(1, 4, ""), StoredLink(4, 3, ""), StoredLink(2, 9, "")]
    assert connected([5, 4, 3, 2, 1], links) == [[1, 3, 4], [2], [5]]
