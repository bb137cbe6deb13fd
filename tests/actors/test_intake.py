"""Documents that a store does not take. Spec: ITI TF-3 Table 4.2.4.1-2 (XDSRepositoryOutOfResources, XDSRepositoryError)."""

from __future__ import annotations

import errno
import resource
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.actors.test_document_repository import ask, bare_entry
from tests.builders import submission
from tests.repository import CALLER, world
from xds.actors.document_repository import ProvidedDocument
from xds.actors.intake import Intake
from xds.model.errors import ErrorCode
from xds.ports import Staging


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
        entry = bare_entry(size="3000000")
        staging = here.repository.stage()
        with files_of_at_most(1_500_000):
            for _ in range(3):
                staging.write(bytes(1_000_000))
        assert staging.size == 3_000_000
        response = here.repository.provide(submission([entry]), {entry.id: ProvidedDocument(staging)}, CALLER)
        assert [error.code for error in response.errors] == [ErrorCode.REPOSITORY_OUT_OF_RESOURCES]
        assert here.repository.retrieve(ask(entry.unique_id or ""), CALLER).documents == ()
        assert list((tmp_path / "blobs" / "staging").iterdir()) == []
        staging.discard()


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
