"""A Document Repository whose registry is another system: answers that are lost, refusals, and what follows from them.

Spec: ITI TF-2 3.41.4.1.3 (documents are retrievable before they are registered), 3.42; ITI TF-3 Table 4.2.4.1-2.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from tests.actors.test_document_repository import ask, bare_entry, codes, octets
from tests.builders import CONTENT, submission
from tests.repository import CALLER, IDENTITY, NOW, World, world
from xds.actors.document_registry import DocumentRegistry
from xds.actors.document_repository import DocumentRepository
from xds.actors.document_repository_registration import GIVEN_UP_AFTER, SETTLE_AFTER
from xds.model.caller import Caller
from xds.model.errors import ErrorCode, RegistryError, RegistryResponse, Severity, Status
from xds.model.metadata import DocumentEntry, Submission
from xds.model.stored_queries import RawQuery, ReturnType
from xds.model.vocabulary import StoredQueryId
from xds.rules.access import AllowAll
from xds.server.worker import Worker
from xds.wire.ebrim import read_fragments

OTHER = b"something else"


class Elsewhere:
    """The registry behind a bad network: `lost` says which way the next message goes astray."""

    def __init__(self, registry: DocumentRegistry) -> None:
        self._registry = registry
        self.lost: list[str] = []
        self.sent = 0
        self.warnings: tuple[RegistryError, ...] = ()

    def register(self, submission: Submission, caller: Caller) -> RegistryResponse:
        self.sent += 1
        lost = self.lost.pop(0) if self.lost else ""
        if lost == "unreachable":
            raise ConnectionRefusedError
        if lost == "request":
            raise TimeoutError
        response = self._registry.register(submission, caller)
        if lost == "answer":
            raise ConnectionResetError
        return RegistryResponse(response.status, (*response.errors, *self.warnings))

    def registered(self, submission_unique_id: str) -> frozenset[str] | None:
        if self.lost and self.lost.pop(0):
            raise TimeoutError
        parameter = ("XDSSubmissionSetUniqueId", (f"'{submission_unique_id}'",))
        query = RawQuery(StoredQueryId.GET_SUBMISSION_SET_AND_CONTENTS, ReturnType.LEAF_CLASS, (parameter,))
        objects = list(read_fragments(self._registry.query(query, CALLER).objects))
        return frozenset(item.unique_id or "" for item in objects if isinstance(item, DocumentEntry)) if objects else None


class Here:
    """A repository and the registry that it reaches over `network`."""

    def __init__(self, it: World) -> None:
        self.world = it
        self.now = NOW
        self.network = Elsewhere(it.registry)
        self.repository = DocumentRepository(it.blobs, it.database, self.network, None, IDENTITY, AllowAll(), self.clock)
        handlers = {"settle-registration": self.repository.settle_registration}
        self.worker = Worker(it.database, handlers, self.clock)

    def clock(self) -> datetime:
        return self.now

    def provide(self, message: Submission, content: bytes = CONTENT) -> RegistryResponse:
        staged = self.world.staged_all({entry.id: content for entry in message.document_entries})
        return self.repository.provide(message, staged, CALLER)

    def later(self, by: timedelta) -> None:
        """Let time pass, and jobs be done."""
        self.now += by
        self.worker.run_due()

    def kept(self, message: Submission) -> list[bytes]:
        unique_ids = [entry.unique_id or "" for entry in message.document_entries]
        return octets(self.repository.retrieve(ask(*unique_ids), CALLER))

    def registered(self) -> int:
        return self.world.registered_objects()


@pytest.fixture
def here(tmp_path: Path) -> Iterator[Here]:
    with world(tmp_path) as it:
        yield Here(it)


def a_message(**overrides: object) -> Submission:
    return submission([bare_entry(**overrides)])


def test_what_is_accepted_is_kept_and_stays_without_asking_again(here: Here) -> None:
    message = a_message()
    assert here.provide(message) == RegistryResponse(Status.SUCCESS)
    here.later(GIVEN_UP_AFTER * 2)
    assert here.kept(message) == [CONTENT]
    assert here.network.sent == 1
    assert [event.outcome for event in here.world.events() if event.event_type.code == "ITI-41"] == ["0"]


def test_warnings_travel_with_success(here: Here) -> None:
    here.network.warnings = (RegistryError(ErrorCode.EXTRA_METADATA_NOT_SAVED, "dropped", Severity.WARNING),)
    message = a_message()
    assert here.provide(message) == RegistryResponse(Status.SUCCESS, here.network.warnings)
    assert here.kept(message) == [CONTENT]


def test_what_is_refused_is_not_kept_and_every_error_is_passed_on(here: Here) -> None:
    stranger = "stranger^^^&1.2.3.4.5&ISO"
    message = submission([bare_entry(patient_id=stranger)], patient_id=stranger)
    assert codes(here.provide(message)) == ["XDSUnknownPatientId"]
    assert here.kept(message) == []
    assert here.registered() == 0


def test_a_registry_that_was_not_reached_leaves_nothing(here: Here) -> None:
    message = a_message()
    here.network.lost = ["unreachable"]
    response = here.provide(message)
    assert codes(response) == ["XDSRegistryNotAvailable"]
    assert "nothing was stored" in response.errors[0].context
    assert here.kept(message) == []
    assert here.provide(message).succeeded
    assert here.network.sent == 2


@pytest.mark.parametrize("lost", ["request", "answer"])
def test_the_same_message_again_after_silence_is_registered_once(here: Here, lost: str) -> None:
    message = a_message()
    here.network.lost = [lost]
    assert codes(here.provide(message)) == ["XDSRegistryNotAvailable"]
    # Whoever finds it in the registry gets it.
    assert here.kept(message) == [CONTENT]
    assert here.provide(message) == RegistryResponse(Status.SUCCESS)
    assert here.network.sent == (2 if lost == "request" else 1)
    assert here.kept(message) == [CONTENT]
    assert here.registered() == 3


def test_without_documents_it_is_registered_once_as_well(here: Here) -> None:
    message = submission(0, folders=1)
    here.network.lost = ["answer"]
    assert codes(here.provide(message)) == ["XDSRegistryNotAvailable"]
    assert here.provide(message) == RegistryResponse(Status.SUCCESS)
    assert here.network.sent == 1


def test_a_registry_that_does_not_tell_what_became_of_it_is_not_sent_it_again(here: Here) -> None:
    message = a_message()
    here.network.lost = ["answer", "query"]
    assert codes(here.provide(message)) == ["XDSRegistryNotAvailable"]
    assert codes(here.provide(message)) == ["XDSRegistryNotAvailable"]
    assert here.network.sent == 1


def test_nobody_sends_it_again_and_it_had_been_registered(here: Here) -> None:
    message = a_message()
    here.network.lost = ["answer"]
    here.provide(message)
    here.later(SETTLE_AFTER)
    here.later(GIVEN_UP_AFTER * 2)
    assert here.kept(message) == [CONTENT]
    # Once it is settled the registry decides about it, as about any submission.
    assert codes(here.provide(message)) == ["XDSDuplicateUniqueIdInRegistry"]
    assert here.kept(message) == [CONTENT]


def test_nobody_sends_it_again_and_it_had_not_arrived(here: Here) -> None:
    message = a_message()
    here.network.lost = ["request"]
    here.provide(message)
    here.later(SETTLE_AFTER)
    assert here.kept(message) == [CONTENT]
    here.later(GIVEN_UP_AFTER)
    assert here.kept(message) == []
    assert here.provide(message).succeeded


def test_as_long_as_the_registry_is_silent_nothing_is_given_up(here: Here) -> None:
    message = a_message()
    here.network.lost = ["answer", "query"]
    here.provide(message)
    here.later(GIVEN_UP_AFTER * 2)
    assert here.kept(message) == [CONTENT]
    here.later(GIVEN_UP_AFTER * 2)
    assert here.kept(message) == [CONTENT]


def test_a_refusal_leaves_a_document_that_another_submission_needs(here: Here) -> None:
    stranger = "stranger^^^&1.2.3.4.5&ISO"
    entry = bare_entry()
    pending, accepted = submission([entry]), submission([entry])
    refused = submission([bare_entry(unique_id=entry.unique_id, patient_id=stranger)], patient_id=stranger)
    here.network.lost = ["request"]
    assert codes(here.provide(pending)) == ["XDSRegistryNotAvailable"]
    assert codes(here.provide(refused)) == ["XDSUnknownPatientId"]
    assert here.kept(pending) == [CONTENT]
    assert here.provide(accepted).succeeded
    assert codes(here.provide(refused)) == ["XDSUnknownPatientId"]
    here.later(SETTLE_AFTER)
    here.later(GIVEN_UP_AFTER * 2)
    assert here.kept(accepted) == [CONTENT]


def test_a_document_that_waits_for_its_registration_keeps_its_content(here: Here) -> None:
    entry = bare_entry()
    here.network.lost = ["request"]
    here.provide(submission([entry]))
    assert "XDSNonIdenticalHash" in codes(here.provide(submission([entry]), OTHER))
    assert here.kept(submission([entry])) == [CONTENT]
