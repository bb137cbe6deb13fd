"""Documents that wait for their registration, in the real database: what two attempts at once leave behind."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.databases import fresh_database
from tests.store.test_documents import DOCUMENT
from xds.store import documents, registration_claims
from xds.store.database import Connection, Database
from xds.store.documents import OtherContentError

pytestmark = pytest.mark.usefixtures("back_end")


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    database = fresh_database(tmp_path)
    yield database
    database.close()


def is_there(database: Database) -> bool:
    with database.read() as connection:
        return DOCUMENT.unique_id in documents.find(connection, [DOCUMENT.unique_id])


def make(database: Database, claim: str) -> bool:
    return database.write(lambda connection: registration_claims.make(connection, claim, [DOCUMENT]))


def withdraw(database: Database, claim: str) -> None:
    database.write(lambda connection: registration_claims.withdraw(connection, claim))


def confirm(database: Database, claim: str) -> None:
    database.write(lambda connection: registration_claims.confirm(connection, claim, [DOCUMENT]))


def test_an_attempt_that_is_open_is_known(database: Database) -> None:
    assert [make(database, "a"), make(database, "a"), make(database, "b")] == [False, True, False]
    confirm(database, "a")
    assert not make(database, "a")


def test_a_document_goes_with_its_last_claim(database: Database) -> None:
    make(database, "a")
    make(database, "b")
    withdraw(database, "a")
    assert is_there(database)
    withdraw(database, "b")
    assert not is_there(database)


@pytest.mark.parametrize("order", ["ab", "ba"])
def test_a_confirmed_document_stays_whatever_becomes_of_the_others(database: Database, order: str) -> None:
    make(database, "a")
    make(database, "b")
    steps: dict[str, Callable[[Database, str], None]] = {"a": withdraw, "b": confirm}
    for claim in order:
        steps[claim](database, claim)
    assert is_there(database)
    make(database, "c")
    withdraw(database, "c")
    assert is_there(database)


def test_a_confirmation_brings_back_what_the_same_attempt_took_away(database: Database) -> None:
    make(database, "a")
    make(database, "a")
    withdraw(database, "a")
    confirm(database, "a")
    assert is_there(database)


def test_other_content_claims_nothing(database: Database) -> None:
    make(database, "a")
    other = replace(DOCUMENT, sha1="00" * 20)
    with pytest.raises(OtherContentError):
        database.write(lambda connection: registration_claims.make(connection, "b", [other]))
    with database.read() as connection:
        assert list(registration_claims.unsettled(connection, "b")) == []


def test_a_claim_made_while_another_is_withdrawn_keeps_the_document(database: Database) -> None:
    """Whichever comes first, the one who claims finds its document afterwards."""
    for number in range(20):
        make(database, f"old{number}")
        new = f"new{number}"

        def claim(connection: Connection, new: str = new) -> bool:
            return registration_claims.make(connection, new, [DOCUMENT])

        threads = [
            threading.Thread(target=database.write, args=(claim,)),
            threading.Thread(target=withdraw, args=(database, f"old{number}")),
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert is_there(database)
        withdraw(database, new)
        assert not is_there(database)
