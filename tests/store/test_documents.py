"""Documents of the repository in the real database."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.databases import fresh_database
from xds.store import documents
from xds.store.database import Database
from xds.store.documents import OtherContentError, StoredDocument

pytestmark = pytest.mark.usefixtures("back_end")

MOMENT = datetime(2024, 5, 6, 7, 8, 9, 123000, tzinfo=UTC)
DOCUMENT = StoredDocument(
    unique_id="1.2.3",
    blob="ab" * 32,
    size=3_000_000_000,
    sha1="cd" * 20,
    mime_type="application/dicom",
    patient_id="Zoë^^^&1.2.3.4&ISO",
    stored=MOMENT,
    class_code="DEMO^^1.2",
    confidentiality=("N^^2.16.840.1.113883.5.25", 'V"^^1.2'),
)


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    database = fresh_database(tmp_path)
    yield database
    database.close()


def test_what_was_added_is_found_whole(database: Database) -> None:
    bare = replace(DOCUMENT, unique_id="1.2.4", class_code=None, confidentiality=())
    database.write(lambda connection: documents.add(connection, [DOCUMENT, bare]))
    with database.read() as connection:
        assert documents.find(connection, ["1.2.3", "1.2.4", "1.2.5"]) == {"1.2.3": DOCUMENT, "1.2.4": bare}


def test_adding_nothing_is_allowed(database: Database) -> None:
    database.write(lambda connection: documents.add(connection, []))
    with database.read() as connection:
        assert documents.find(connection, []) == {}
        assert documents.referenced(connection, []) == frozenset()


def test_identical_content_again_changes_nothing(database: Database) -> None:
    database.write(lambda connection: documents.add(connection, [DOCUMENT]))
    again = replace(DOCUMENT, mime_type="text/plain", stored=datetime(2025, 1, 1, tzinfo=UTC))
    database.write(lambda connection: documents.add(connection, [again]))
    with database.read() as connection:
        assert documents.find(connection, ["1.2.3"]) == {"1.2.3": DOCUMENT}


def test_other_content_under_a_known_unique_id_undoes_everything(database: Database) -> None:
    database.write(lambda connection: documents.add(connection, [DOCUMENT]))
    other = replace(DOCUMENT, sha1="ef" * 20, blob="ef" * 32)
    fresh = replace(DOCUMENT, unique_id="1.2.9")
    with pytest.raises(OtherContentError) as raised:
        database.write(lambda connection: documents.add(connection, [fresh, other]))
    assert raised.value.taken == (DOCUMENT,)
    with database.read() as connection:
        assert documents.find(connection, ["1.2.3", "1.2.9"]) == {"1.2.3": DOCUMENT}


def test_referenced_blobs_beyond_one_statement(database: Database) -> None:
    many = [replace(DOCUMENT, unique_id=f"1.2.{number}", blob=f"{number:064x}") for number in range(1200)]
    database.write(lambda connection: documents.add(connection, many))
    with database.read() as connection:
        asked = [f"{number:064x}" for number in range(0, 2400, 2)]
        assert documents.referenced(connection, asked) == frozenset(asked[:600])
        assert len(documents.find(connection, [document.unique_id for document in many])) == 1200
