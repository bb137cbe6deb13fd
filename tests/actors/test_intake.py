"""Documents that a store does not take. Spec: ITI TF-3 Table 4.2.4.1-2 (XDSRepositoryOutOfResources, XDSRepositoryError)."""

from __future__ import annotations

import errno
import itertools
import os
import resource
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.actors.test_document_repository import ask, bare_entry
from tests.builders import submission
from tests.repository import CALLER, world
from xds.actors.intake import Intake
from xds.actors.provided_document import ProvidedDocument
from xds.model.errors import ErrorCode
from xds.ports import Staging
from xds.store.blobs.direct import ROOM


@contextmanager
def files_of_at_most(octets: int) -> Iterator[None]:
    """What goes beyond fails with EFBIG, as on a file system that has no room."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (octets, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


def test_a_document_that_does_not_fit_is_taken_to_its_end_and_refused(tmp_path: Path) -> None:
    with world(tmp_path) as here:
        size = 2 * ROOM
        entry = bare_entry(size=str(size))
        staging = here.repository.stage()
        with files_of_at_most(ROOM):
            for _ in range(8):
                staging.write(bytes(size // 8))
        assert staging.size == size
        response = here.repository.provide(submission([entry]), {entry.id: ProvidedDocument(staging)}, CALLER)
        assert [error.code for error in response.errors] == [ErrorCode.REPOSITORY_OUT_OF_RESOURCES]
        assert here.repository.retrieve(ask(entry.unique_id or ""), CALLER).documents == ()
        assert list((tmp_path / "blobs" / "staging").iterdir()) == []
        staging.discard()


def test_a_document_whose_store_tells_so_at_its_commit(tmp_path: Path) -> None:
    with world(tmp_path) as here:
        entries = [bare_entry(id="fits"), bare_entry(id="does not", size=str(ROOM))]
        provided = here.staged_all({"fits": b"small", "does not": bytes(ROOM)})
        with files_of_at_most(ROOM - 4096):
            response = here.repository.provide(submission(entries), provided, CALLER)
        assert [error.code for error in response.errors] == [ErrorCode.REPOSITORY_OUT_OF_RESOURCES]
        assert here.registered_objects() == 0
        assert here.repository.retrieve(ask(*(entry.unique_id or "" for entry in entries)), CALLER).documents == ()
        for document in provided.values():
            document.staging.discard()
        assert list((tmp_path / "blobs" / "staging").iterdir()) == []


@pytest.mark.parametrize(("number", "code"), [(errno.ENOSPC, "OutOfResources"), (errno.EACCES, "Error")])
def test_a_store_that_cannot_even_begin(tmp_path: Path, number: int, code: str) -> None:
    def stage() -> Staging:
        raise OSError(number, "it is so")

    staging = Intake(stage)
    staging.write(b"some octets")
    assert staging.size == 11
    with pytest.raises(OSError, match="it is so"):
        staging.commit()
    with pytest.raises(KeyError):
        staging.open()
    with world(tmp_path) as here:
        entry = bare_entry()
        response = here.repository.provide(submission([entry]), {entry.id: ProvidedDocument(staging)}, CALLER)
    assert [error.code.value for error in response.errors] == [f"XDSRepository{code}"]


def test_many_documents_are_committed_together(tmp_path: Path) -> None:
    entries = [bare_entry(id=f"Document{number}") for number in range(30)]
    contents = {entry.id: f"document {number % 25}".encode() for number, entry in enumerate(entries)}
    with world(tmp_path) as here:
        first, second = entries[0].id, entries[1].id
        provided = here.staged_all({name: content for name, content in contents.items() if name != second})
        # Two entries of one document.
        contents[second], provided[second] = contents[first], provided[first]
        response = here.repository.provide(submission(entries), provided, CALLER)
        assert response.succeeded, response
        answer = here.repository.retrieve(ask(*(entry.unique_id or "" for entry in entries)), CALLER)
        assert [b"".join(document.chunks()) for document in answer.documents] == [contents[entry.id] for entry in entries]
        assert len(list(here.blobs.keys())) == len(set(contents.values()))


def test_one_document_of_many_that_the_store_does_not_take(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    entries = [bare_entry(id=f"Document{number}") for number in range(10)]
    calls, sync = itertools.count(1), os.fsync

    def full(descriptor: int) -> None:
        if next(calls) == 5:
            raise OSError(errno.ENOSPC, "No space left on device")
        sync(descriptor)

    with world(tmp_path) as here:
        provided = here.staged_all({entry.id: entry.id.encode() for entry in entries})
        with monkeypatch.context() as patched:
            patched.setattr("os.fsync", full)
            response = here.repository.provide(submission(entries), provided, CALLER)
        assert [error.code for error in response.errors] == [ErrorCode.REPOSITORY_OUT_OF_RESOURCES]
        assert here.registered_objects() == 0
