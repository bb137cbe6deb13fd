"""The Document Repository on a real registry, database and blob store. Spec: ITI TF-2 3.41.4.1.3, 3.43.4.2.2."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.builders import CONTENT, HASH, PATIENT_ID, REPOSITORY_UNIQUE_ID, document_entry, fresh_uid, submission
from tests.builders import submission_set as a_submission_set
from tests.repository import CALLER, IDENTITY, DenyUniqueIds, World, world
from xds.actors.document_registry import DocumentRegistry
from xds.actors.document_repository import sweep
from xds.model.audit import EventOutcome
from xds.model.caller import Caller
from xds.model.errors import ErrorCode, RegistryError, RegistryResponse, Status
from xds.model.metadata import Code, Submission
from xds.model.retrieval import DocumentRequest, RetrieveAnswer
from xds.model.vocabulary import DICOM_UIDS, KEY_OBJECT_SELECTION

OTHER = b"something else"


@pytest.fixture
def here(tmp_path: Path) -> Iterator[World]:
    with world(tmp_path) as it:
        yield it


def bare_entry(**overrides: object):  # type: ignore[no-untyped-def]
    """An entry as most sources send it: without what the repository adds."""
    return document_entry(**{"hash": None, "size": None, "repository_unique_id": None} | overrides)


def provide_one(here: World, content: bytes = CONTENT, **overrides: Any) -> tuple[str, RegistryResponse]:
    """Provide one document; its uniqueId and the answer."""
    entry = bare_entry(**overrides)
    response = here.repository.provide(submission([entry]), here.staged_all({entry.id: content}), CALLER)
    return entry.unique_id or "", response


def ask(*unique_ids: str, repository: str = REPOSITORY_UNIQUE_ID, home: str | None = None) -> list[DocumentRequest]:
    return [DocumentRequest(repository, unique_id, home) for unique_id in unique_ids]


def octets(answer: RetrieveAnswer) -> list[bytes]:
    return [b"".join(document.chunks()) for document in answer.documents]


def codes(response: RegistryResponse) -> list[str]:
    return [error.code for error in response.errors]


def nothing_is_kept(here: World, *unique_ids: str) -> None:
    assert here.registered_objects() == 0
    answer = here.repository.retrieve(ask(*unique_ids), CALLER)
    assert answer.response.status is Status.FAILURE
    assert codes(answer.response) == ["XDSDocumentUniqueIdError"] * len(unique_ids)


def test_a_document_is_stored_registered_and_retrieved(here: World) -> None:
    unique_id, response = provide_one(here, mime_type="text/goofy")
    assert response == RegistryResponse(Status.SUCCESS)
    answer = here.repository.retrieve(ask(unique_id), CALLER)
    assert answer.response == RegistryResponse(Status.SUCCESS)
    assert octets(answer) == [CONTENT]
    (document,) = answer.documents
    assert (document.mime_type, document.size, document.request) == ("text/goofy", len(CONTENT), ask(unique_id)[0])


class Recording:
    """A port in front of the real registry that remembers what it was given."""

    def __init__(self, registry: DocumentRegistry) -> None:
        self._registry = registry
        self.submissions: list[Submission] = []

    def register(
        self, submission: Submission, caller: Caller, *, along: Callable[[Any], object] | None = None
    ) -> RegistryResponse:
        self.submissions.append(submission)
        return self._registry.register(submission, caller, along=along)


@pytest.mark.parametrize("given_hash", [None, HASH, HASH.upper()])
def test_the_repository_adds_size_hash_and_its_own_id(tmp_path: Path, given_hash: str | None) -> None:
    recordings: list[Recording] = []

    def wrap(registry: DocumentRegistry) -> Recording:
        recordings.append(Recording(registry))
        return recordings[0]

    with world(tmp_path, wrap=wrap) as here:
        entry = document_entry(hash=given_hash, size=None, repository_unique_id="9.9.9")
        answer = here.repository.provide(submission([entry]), here.staged_all({entry.id: CONTENT}), CALLER)
        assert answer.succeeded, answer
        assert octets(here.repository.retrieve(ask(entry.unique_id or ""), CALLER)) == [CONTENT]
    (registered,) = recordings[0].submissions[0].document_entries
    assert (registered.hash, registered.size, registered.repository_unique_id) == (HASH, str(len(CONTENT)), REPOSITORY_UNIQUE_ID)
    names = [slot.name for slot in registered.slots]
    assert len(names) == len(set(names))
    assert [name for name in names if name != "size"] == [slot.name for slot in entry.slots if slot.name != "size"] + (
        [] if given_hash else ["hash"]
    )


@pytest.mark.parametrize("count", [1, 3])
def test_a_document_that_is_missing(here: World, count: int) -> None:
    message = submission([bare_entry(id=f"Document{n}") for n in range(count)])
    response = here.repository.provide(message, {}, CALLER)
    assert codes(response) == ["XDSMissingDocument"] * count
    assert "Document0" in response.errors[0].context
    nothing_is_kept(here, *[entry.unique_id or "" for entry in message.document_entries])


def test_a_document_without_metadata(here: World) -> None:
    entry = bare_entry()
    response = here.repository.provide(submission([entry]), here.staged_all({entry.id: CONTENT, "stray": OTHER}), CALLER)
    assert codes(response) == ["XDSMissingDocumentMetadata"]
    assert "stray" in response.errors[0].context
    nothing_is_kept(here, entry.unique_id or "")


@pytest.mark.parametrize(
    ("overrides", "received"),
    [({"hash": "0" * 40}, HASH), ({"size": "13"}, "12"), ({"size": "120"}, "12"), ({"size": "0"}, "12")],
)
def test_what_the_metadata_says_of_the_octets_is_checked(here: World, overrides: dict[str, Any], received: str) -> None:
    unique_id, response = provide_one(here, **overrides)
    assert codes(response) == ["XDSRepositoryMetadataError"]
    assert received in response.errors[0].context
    nothing_is_kept(here, unique_id)


def test_every_error_is_reported_at_once(here: World) -> None:
    first = bare_entry(id="Document01", hash="0" * 40, size="1", creation_time=None)
    second = bare_entry(id="Document02", unique_id=first.unique_id)
    response = here.repository.provide(submission([first, second]), here.staged_all({first.id: CONTENT, "stray": OTHER}), CALLER)
    assert response.status is Status.FAILURE
    assert {error.code for error in response.errors} == {
        ErrorCode.REPOSITORY_METADATA_ERROR,
        ErrorCode.REPOSITORY_DUPLICATE_UNIQUE_ID_IN_MESSAGE,
        ErrorCode.MISSING_DOCUMENT,
        ErrorCode.MISSING_DOCUMENT_METADATA,
    }
    contexts = "\n".join(error.context for error in response.errors if error.code is ErrorCode.REPOSITORY_METADATA_ERROR)
    assert "creationTime" in contexts
    assert "hash" in contexts
    assert "size" in contexts


def test_a_problem_of_reading_forbids_to_store(here: World) -> None:
    entry = bare_entry()
    problem = RegistryError(ErrorCode.REPOSITORY_METADATA_ERROR, "a stray element")
    staged = here.staged_all({entry.id: CONTENT})
    response = here.repository.provide(submission([entry]), staged, CALLER, (problem,))
    assert response == RegistryResponse(Status.FAILURE, (problem,))
    nothing_is_kept(here, entry.unique_id or "")


@pytest.mark.parametrize(("content", "expected"), [(OTHER, ["Hash", "Size"]), (CONTENT[::-1], ["Hash"])])
def test_a_known_unique_id_with_other_content_is_refused(here: World, content: bytes, expected: list[str]) -> None:
    unique_id, _ = provide_one(here)
    before = here.registered_objects()
    _, response = provide_one(here, content, unique_id=unique_id)
    assert codes(response) == [f"XDSNonIdentical{what}" for what in expected]
    assert all(unique_id in error.context for error in response.errors)
    assert here.registered_objects() == before
    assert octets(here.repository.retrieve(ask(unique_id), CALLER)) == [CONTENT]


def test_a_known_unique_id_with_the_same_content_is_no_error(here: World) -> None:
    unique_id, _ = provide_one(here)
    _, response = provide_one(here, unique_id=unique_id)
    assert response == RegistryResponse(Status.SUCCESS)
    assert octets(here.repository.retrieve(ask(unique_id), CALLER)) == [CONTENT]


def test_one_of_two_contents_under_one_unique_id_wins_a_race(here: World) -> None:
    unique_id = fresh_uid()
    answers: list[RegistryResponse] = []
    barrier = threading.Barrier(2)

    def submit(content: bytes) -> None:
        entry = bare_entry(unique_id=unique_id)
        message, staged = submission([entry]), here.staged_all({entry.id: content})
        barrier.wait()
        answers.append(here.repository.provide(message, staged, CALLER))

    threads = [threading.Thread(target=submit, args=(content,)) for content in (CONTENT, OTHER)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(answer.status for answer in answers) == sorted([Status.SUCCESS, Status.FAILURE])
    (refused,) = [answer for answer in answers if not answer.succeeded]
    assert "XDSNonIdenticalHash" in codes(refused)
    assert len(octets(here.repository.retrieve(ask(unique_id), CALLER))) == 1


def test_errors_of_the_registry_are_passed_on_and_nothing_is_kept(here: World) -> None:
    stranger = "stranger^^^&1.2.3.4.5&ISO"
    entry = bare_entry(patient_id=stranger)
    message = submission([entry], patient_id=stranger)
    response = here.repository.provide(message, here.staged_all({entry.id: CONTENT}), CALLER)
    assert codes(response) == ["XDSUnknownPatientId"]
    nothing_is_kept(here, entry.unique_id or "")


def test_submissions_without_documents_are_legal(here: World) -> None:
    response = here.repository.provide(submission(0, folders=1), {}, CALLER)
    assert response == RegistryResponse(Status.SUCCESS)


def test_a_full_disk_is_told_and_nothing_is_kept(tmp_path: Path, here: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    entry = bare_entry()
    staged = here.staged_all({entry.id: CONTENT})
    with monkeypatch.context() as patched:
        patched.setattr("os.fsync", full)
        response = here.repository.provide(submission([entry]), staged, CALLER)
    assert codes(response) == ["XDSRepositoryOutOfResources"]
    assert list((tmp_path / "blobs" / "staging").iterdir()) == []
    nothing_is_kept(here, entry.unique_id or "")


def test_documents_come_in_the_order_asked_with_an_error_for_each_that_does_not(here: World) -> None:
    first, _ = provide_one(here)
    second, _ = provide_one(here, OTHER)
    requests = [*ask(second, "1.2.3.404", first, home="urn:oid:1.2"), *ask(first, repository="9.9.9"), *ask(second)]
    answer = here.repository.retrieve(requests, CALLER)
    assert answer.response.status is Status.PARTIAL_SUCCESS
    assert [(error.code, error.location) for error in answer.response.errors] == [
        ("XDSDocumentUniqueIdError", "1.2.3.404"),
        ("XDSUnknownRepositoryId", first),
    ]
    assert [document.request for document in answer.documents] == [requests[0], requests[2], requests[4]]
    assert octets(answer) == [OTHER, CONTENT, OTHER]


def test_a_large_document_comes_in_chunks(here: World) -> None:
    content = bytes(range(256)) * 20_000
    unique_id, _ = provide_one(here, content)
    (document,) = here.repository.retrieve(ask(unique_id), CALLER).documents
    chunks = list(document.chunks())
    assert len(chunks) > 1
    assert max(map(len, chunks)) <= 1 << 20
    assert b"".join(chunks) == content
    assert b"".join(document.chunks()) == content


def test_a_document_that_may_not_be_seen_looks_like_none(tmp_path: Path) -> None:
    rule = DenyUniqueIds()
    with world(tmp_path, access=rule) as here:
        unique_id, _ = provide_one(
            here, class_code=Code("C1", "1.2.3", "Class"), confidentiality_codes=(Code("R", "1.2.4", "R"),)
        )
        missing = here.repository.retrieve(ask("1.2.404"), CALLER).response
        rule.denied = (unique_id,)
        denied = here.repository.retrieve(ask(unique_id), CALLER)
    assert denied.documents == ()
    assert denied.response.status is Status.FAILURE
    expected = missing.errors[0]
    context = expected.context.replace("1.2.404", unique_id)
    assert denied.response.errors == (replace(expected, location=unique_id, context=context),)
    (asked,) = rule.asked
    assert (asked.patient_id, asked.unique_id) == (PATIENT_ID, unique_id)
    assert (asked.class_code, asked.confidentiality) == ("C1^^1.2.3", ("R^^1.2.4",))


@pytest.mark.parametrize("damage", ["gone", "short"])
def test_a_damaged_document_is_an_error_and_not_a_broken_answer(here: World, tmp_path: Path, damage: str) -> None:
    unique_id, _ = provide_one(here)
    (path,) = [path for path in (tmp_path / "blobs" / "objects").rglob("*") if path.is_file()]
    path.unlink()
    if damage == "short":
        path.write_bytes(CONTENT[:5])
    answer = here.repository.retrieve(ask(unique_id), CALLER)
    assert codes(answer.response) == ["XDSRepositoryError"]
    assert answer.response.errors[0].location == unique_id
    assert answer.documents == ()


def test_an_import_is_audited_with_its_effect(here: World) -> None:
    entry = bare_entry()
    package = a_submission_set()
    here.repository.provide(submission([entry], submission_set=package), here.staged_all({entry.id: CONTENT}), CALLER)
    (event,) = [event for event in here.events() if event.event_type.code == "ITI-41"]
    assert (event.event_id.code, event.action, event.outcome) == ("110107", "C", EventOutcome.SUCCESS)
    source, human, repository = event.participants
    assert (source.user_id, source.is_requestor, source.network_access_point) == ("http://192.0.2.7/reply", True, "192.0.2.7")
    assert source.role is not None
    assert source.role.code == "110153"
    assert (human.user_id, human.is_requestor) == ("alias<doc@issuer>", True)
    assert (repository.user_id, repository.is_requestor) == (f"{IDENTITY.public_url}/services/repository", False)
    patient, submission_object = event.objects
    assert (patient.id, patient.type_code, patient.role) == (PATIENT_ID, "1", "1")
    assert (submission_object.id, submission_object.type_code, submission_object.role) == (package.unique_id, "2", "20")


def test_a_failed_import_is_audited_as_a_failure(here: World) -> None:
    here.repository.provide(submission(1), {}, CALLER)
    (event,) = [event for event in here.events() if event.event_type.code == "ITI-41"]
    assert event.outcome is EventOutcome.SERIOUS_FAILURE


def test_a_manifest_is_audited_as_rad_68(here: World) -> None:
    manifest = Code(KEY_OBJECT_SELECTION, DICOM_UIDS, "Key Object Selection Document")
    provide_one(here, format_code=manifest, mime_type="application/dicom")
    assert "RAD-68" in [event.event_type.code for event in here.events()]
    assert "ITI-41" not in [event.event_type.code for event in here.events()]


def exports(here: World) -> list[tuple[str, list[str]]]:
    return [(event.outcome, [item.id for item in event.objects]) for event in here.events() if event.event_type.code == "ITI-43"]


def test_a_retrieve_is_audited_after_the_last_octet_found_and_failed_apart(here: World) -> None:
    first, _ = provide_one(here)
    second, _ = provide_one(here, OTHER)
    answer = here.repository.retrieve(ask(first, "1.2.404", second, home="urn:oid:1.2"), CALLER)
    octets(answer)
    assert exports(here) == []
    answer.finished(True)
    assert exports(here) == [("0", [PATIENT_ID, first, second]), ("8", ["1.2.404"])]
    event = here.events()[-1]
    assert event.objects[0].details == (("Repository Unique Id", REPOSITORY_UNIQUE_ID), ("ihe:homeCommunityID", "urn:oid:1.2"))
    repository, consumer, _ = event.participants
    assert (repository.is_requestor, consumer.is_requestor) == (False, True)


def test_a_consumer_that_goes_away_is_audited_as_such(here: World) -> None:
    first, _ = provide_one(here)
    here.repository.retrieve(ask(first), CALLER).finished(False)
    assert exports(here) == [("4", [PATIENT_ID, first])]


def test_documents_of_two_patients_are_two_events(here: World) -> None:
    other = "P2^^^&1.2.3.4.5&ISO"
    here.add_patient(other)
    first, _ = provide_one(here)
    entry = bare_entry(patient_id=other)
    assert here.repository.provide(submission([entry], patient_id=other), here.staged_all({entry.id: OTHER}), CALLER).succeeded
    here.repository.retrieve(ask(first, entry.unique_id or ""), CALLER).finished(True)
    assert exports(here) == [("0", [PATIENT_ID, first]), ("0", [other, entry.unique_id])]


def test_a_sweep_removes_what_nobody_needs_and_only_that(here: World) -> None:
    kept, _ = provide_one(here)
    image = here.staged(b"an image").staging.commit()
    orphan = here.staged(b"left by a failed submission").staging.commit()

    def images(keys: Sequence[str]) -> set[str]:
        return {key for key in keys if key == image}

    users = [here.repository.referenced, images]
    assert sweep(here.blobs, users, committed_before=datetime.now(UTC) - timedelta(hours=1)) == 0
    assert sweep(here.blobs, users, committed_before=datetime.now(UTC) + timedelta(hours=1)) == 1
    assert set(here.blobs.keys()) == {image, hashlib.sha256(CONTENT).hexdigest()}
    assert orphan not in set(here.blobs.keys())
    assert octets(here.repository.retrieve(ask(kept), CALLER)) == [CONTENT]
