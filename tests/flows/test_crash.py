"""An acknowledged submission survives `kill -9`; one that was not acknowledged is whole or absent."""

from __future__ import annotations

import hashlib
import random
import threading
from dataclasses import dataclass, field
from pathlib import Path

from tests.builders import document_entry, submission
from tests.running import RunningServer
from xds.app import BLOB_DIRECTORY
from xds.model.errors import Status
from xds.model.metadata import Association, DocumentEntry, Folder, Submission
from xds.model.retrieval import DocumentRequest
from xds.model.stored_queries import RawQuery, ReturnType
from xds.model.vocabulary import StoredQueryId
from xds.transactions import (
    iti18_registry_stored_query as iti18,
)
from xds.transactions import (
    iti41_provide_and_register_document_set as iti41,
)
from xds.transactions import (
    iti42_register_document_set as iti42,
)
from xds.transactions import (
    iti43_retrieve_document_set as iti43,
)
from xds.transactions.iti41_provide_and_register_document_set import DocumentToSend
from xds.wire.ebrs import read_retrieve_response

REPOSITORY = "1.2.3.4.77"
SOURCES = 6
ACKNOWLEDGED_BEFORE_THE_KILL = 40


@dataclass
class Attempt:
    """One submission that a source tried. Without contents it was registered by ITI-42 alone."""

    submission: Submission
    contents: dict[str, bytes] = field(default_factory=dict)
    acknowledged: bool = False

    @classmethod
    def with_documents(cls, numbers: random.Random) -> Attempt:
        """Two documents in a folder; their hashes and sizes are left to the repository."""
        entries = [
            document_entry(id=name, hash=None, size=None, repository_unique_id=None) for name in ("Document1", "Document2")
        ]
        contents = {entry.id: numbers.randbytes(numbers.choice((10, 5_000, 300_000))) for entry in entries}
        return cls(submission(entries, folders=1), contents)

    @classmethod
    def of_metadata(cls) -> Attempt:
        return cls(submission(1))

    def send(self, server: RunningServer) -> None:
        """Errors: ConnectionError when the server dies."""
        if self.contents:
            documents = [
                DocumentToSend(name, "application/pdf", len(content), lambda content=content: iter([content]))
                for name, content in self.contents.items()
            ]
            response = iti41.send(self.submission, documents, endpoint=f"{server.http}/services/repository")
        else:
            response = iti42.send(self.submission, endpoint=f"{server.http}/services/registry")
        assert response.succeeded, response
        self.acknowledged = True


def submit_until_it_dies(server: RunningServer, seed: int, attempts: list[Attempt], acknowledged: threading.Semaphore) -> None:
    numbers = random.Random(seed)
    while True:
        attempt = Attempt.with_documents(numbers) if numbers.random() < 0.7 else Attempt.of_metadata()
        attempts.append(attempt)
        try:
            attempt.send(server)
        except ConnectionError:
            return
        acknowledged.release()


def load_and_kill(data: Path, round_number: int) -> list[Attempt]:
    """Start, submit from several sources at once, kill in the middle of it. What they tried."""
    attempts: list[Attempt] = []
    acknowledged = threading.Semaphore(0)
    with running(data) as server:
        sources = [
            threading.Thread(target=submit_until_it_dies, args=(server, 100 * round_number + number, attempts, acknowledged))
            for number in range(SOURCES)
        ]
        for source in sources:
            source.start()
        for _ in range(ACKNOWLEDGED_BEFORE_THE_KILL):
            assert acknowledged.acquire(timeout=60), "the server does not acknowledge"
        server.kill()
        for source in sources:
            source.join(60)
        server.stop()
    return attempts


def running(data: Path, processes: int = 1) -> RunningServer:
    settings = {"DOMAIN__REPOSITORY_UNIQUE_ID": REPOSITORY, "REGISTRY__REQUIRE_KNOWN_PATIENT": "false"}
    return RunningServer(data, SERVER__PROCESSES=str(processes), **settings)


def registered(server: RunningServer, attempt: Attempt) -> tuple[list[DocumentEntry], int, int]:
    """The entries of the attempt's SubmissionSet, and how many folders and associations it has."""
    slots = (("XDSSubmissionSetUniqueId", (f"'{attempt.submission.submission_set.unique_id}'",)),)
    query = RawQuery(StoredQueryId.GET_SUBMISSION_SET_AND_CONTENTS, ReturnType.LEAF_CLASS, slots)
    result = iti18.send(query, endpoint=f"{server.http}/services/registry")
    assert result.response.status is Status.SUCCESS, result.response
    entries = [item for item in result.objects if isinstance(item, DocumentEntry)]
    folders = sum(isinstance(item, Folder) for item in result.objects)
    return entries, folders, sum(isinstance(item, Association) for item in result.objects)


def retrieved(server: RunningServer, attempt: Attempt) -> dict[str, bytes]:
    """The documents of the attempt that the repository gives, by uniqueId."""
    requests = [DocumentRequest(REPOSITORY, entry.unique_id or "") for entry in attempt.submission.document_entries]
    answer = iti43.send(requests, endpoint=f"{server.http}/services/repository")
    _, documents = read_retrieve_response(answer.body)
    found = {
        document.request.document_unique_id: b"".join(answer.parts[document.content_id or ""].staging.open())
        for document in documents
    }
    answer.discard()
    return found


def is_whole(server: RunningServer, attempt: Attempt) -> bool:
    """True when everything of the attempt is there, False when nothing is. Errors: AssertionError for anything between."""
    wanted = attempt.submission
    entries, folders, associations = registered(server, attempt)
    documents = retrieved(server, attempt) if attempt.contents else {}
    if not entries:
        assert (folders, associations, documents) == (0, 0, {})
        return False
    assert (len(entries), folders, associations) == (
        len(wanted.document_entries),
        len(wanted.folders),
        len(wanted.associations),
    )
    contents = {entry.unique_id or "": attempt.contents.get(entry.id) for entry in wanted.document_entries}
    if attempt.contents:
        assert documents == contents
        hashes = {entry.unique_id or "": hashlib.sha1(contents[entry.unique_id or ""] or b"").hexdigest() for entry in entries}
        assert {entry.unique_id: entry.hash for entry in entries} == hashes
    return True


def test_what_was_acknowledged_survives_being_killed(tmp_path: Path) -> None:
    data = tmp_path / "data"
    attempts: list[Attempt] = []
    for round_number in range(3):
        attempts += load_and_kill(data, round_number)
    with running(data) as server:
        lost = [attempt for attempt in attempts if not is_whole(server, attempt) and attempt.acknowledged]
        assert lost == []
        blobs = data / BLOB_DIRECTORY
        assert list((blobs / "staging").iterdir()) == []
        for blob in (blobs / "objects").rglob("*"):
            assert blob.is_dir() or hashlib.sha256(blob.read_bytes()).hexdigest() == blob.name
    assert sum(attempt.acknowledged for attempt in attempts) >= 3 * ACKNOWLEDGED_BEFORE_THE_KILL


def test_a_submission_that_was_not_acknowledged_can_be_sent_again(tmp_path: Path) -> None:
    data = tmp_path / "data"
    unanswered = [attempt for attempt in load_and_kill(data, 9) if not attempt.acknowledged]
    assert unanswered
    with running(data) as server:
        for attempt in unanswered:
            if not is_whole(server, attempt):
                attempt.send(server)
                assert is_whole(server, attempt)
