"""Removing documents from the repository. Spec: ITI TF-2 3.86.4.1.3 (Remove Metadata and Documents)."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.builders import CONTENT, PATIENT_ID, REPOSITORY_UNIQUE_ID, document_entry, submission
from tests.repository import CALLER, NOW, DenyUniqueIds, World, world
from xds.actors.document_repository_removal import ERASE_AFTER, ERASE_BLOB, erase
from xds.model.errors import ErrorCode, Status
from xds.model.retrieval import DocumentRequest
from xds.store import documents, jobs


@pytest.fixture
def here(tmp_path: Path) -> Iterator[World]:
    with world(tmp_path) as it:
        yield it


def provide(here: World, content: bytes = CONTENT, patient_id: str = PATIENT_ID) -> str:
    entry = document_entry(hash=None, size=None, patient_id=patient_id)
    message = submission([entry], patient_id=patient_id)
    assert here.repository.provide(message, here.staged_all({entry.id: content}), CALLER).succeeded
    return entry.unique_id or ""


def asked(*unique_ids: str, repository: str = REPOSITORY_UNIQUE_ID) -> list[DocumentRequest]:
    return [DocumentRequest(repository, unique_id) for unique_id in unique_ids]


def retrievable(here: World, *unique_ids: str) -> list[str]:
    answer = here.repository.retrieve(asked(*unique_ids), CALLER)
    return [document.request.document_unique_id for document in answer.documents]


def due_jobs(here: World, moment: datetime) -> list[tuple[str, str]]:
    return [(job.kind, job.key) for job in here.database.write(lambda connection: jobs.claim(connection, moment, 10))]


def test_removed_documents_cannot_be_retrieved(here: World) -> None:
    first, second, third = provide(here), provide(here, b"second"), provide(here, b"third")
    response = here.repository.remove(asked(first, second), CALLER)
    assert (response.status, response.errors) == (Status.SUCCESS, ())
    assert retrievable(here, first, second, third) == [third]
    again = here.repository.remove(asked(first), CALLER)
    assert [error.code for error in again.errors] == [ErrorCode.DOCUMENT_UNIQUE_ID_ERROR]


def test_the_others_are_removed_nevertheless(here: World) -> None:
    first, second = provide(here), provide(here, b"second")
    requests = [*asked(first, "1.2.3.999"), *asked(second, repository="1.2.3.99")]
    response = here.repository.remove(requests, CALLER)
    assert response.status is Status.PARTIAL_SUCCESS
    assert [(error.code, error.location) for error in response.errors] == [
        (ErrorCode.DOCUMENT_UNIQUE_ID_ERROR, "1.2.3.999"),
        (ErrorCode.UNKNOWN_REPOSITORY_ID, second),
    ]
    assert retrievable(here, first, second) == [second]


def test_a_failure_removes_nothing(here: World) -> None:
    unique_id = provide(here)
    response = here.repository.remove(asked(unique_id, repository="1.2.3.99"), CALLER)
    assert response.status is Status.FAILURE
    assert retrievable(here, unique_id) == [unique_id]


def test_what_the_caller_may_not_touch_is_as_if_it_did_not_exist(tmp_path: Path) -> None:
    rule = DenyUniqueIds()
    with world(tmp_path, access=rule) as here:
        unique_id = provide(here)
        rule.denied = (unique_id,)
        response = here.repository.remove(asked(unique_id), CALLER)
        assert [error.code for error in response.errors] == [ErrorCode.DOCUMENT_UNIQUE_ID_ERROR]
        rule.denied = ()
        assert retrievable(here, unique_id) == [unique_id]


def test_octets_are_erased_when_nothing_needs_them_any_more(here: World) -> None:
    first, second = provide(here), provide(here)
    (blob,) = here.blobs.keys()
    references = (here.repository.referenced,)
    later = datetime.now(UTC) + timedelta(hours=1)
    here.repository.remove(asked(first), CALLER)
    assert due_jobs(here, NOW + ERASE_AFTER - timedelta(seconds=1)) == []
    assert due_jobs(here, NOW + ERASE_AFTER) == [(ERASE_BLOB, blob)]
    assert not erase(here.blobs, references, blob, committed_before=later)
    here.repository.remove(asked(second), CALLER)
    # A submission of the same octets may be on its way.
    assert not erase(here.blobs, references, blob, committed_before=datetime.now(UTC) - timedelta(hours=1))
    assert erase(here.blobs, references, blob, committed_before=later)
    assert list(here.blobs.keys()) == []
    assert not erase(here.blobs, references, blob, committed_before=later)


def test_what_was_removed_may_be_provided_again(here: World) -> None:
    entry = document_entry(hash=None, size=None)
    for content in (CONTENT, b"another content"):
        here.database.write(lambda connection: documents.remove(connection, [entry.unique_id or ""]))
        message = submission([document_entry(hash=None, size=None, unique_id=entry.unique_id)])
        response = here.repository.provide(message, here.staged_all({entry.id: content}), CALLER)
        # The registry still holds the metadata: other octets under its uniqueId are refused there.
        assert response.succeeded is (content == CONTENT)


def test_audit_is_by_patient_and_apart_for_failures(here: World) -> None:
    other = "P2^^^&1.2.3.4.5&ISO"
    here.add_patient(other)
    first, second = provide(here), provide(here, b"second", other)
    here.repository.remove(asked(first, second, "1.2.3.999"), CALLER)
    events = [event for event in here.events() if event.event_type.code == "ITI-86"]
    assert {(event.event_id.code, event.action.value) for event in events} == {("110110", "D")}
    assert [(event.outcome.value, [item.id for item in event.objects]) for event in events] == [
        ("0", [PATIENT_ID, first]),
        ("0", [other, second]),
        ("8", ["1.2.3.999"]),
    ]
    assert [item.life_cycle for item in events[0].objects] == [None, "15"]
    assert events[0].objects[1].details == (("Repository Unique Id", REPOSITORY_UNIQUE_ID),)
