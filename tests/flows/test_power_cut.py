"""An acknowledged submission survives a power cut: what was not fsynced is gone, and nothing that matters was.

Killing the server alone proves little, because the kernel still writes what the dead process had given it. Here the file system
below the server is shut down in the middle of the load, so that whatever was not forced to the device is lost.

Database and blobs lie on volumes of their own, as an operator may have them, because one journal would carry what the other
side forgot. That the tests can fail was tried by hand: both do when the log of the database is not forced and without the fsync
of a blob, the second also without the fsync of the directory that names it.
"""

from __future__ import annotations

import hashlib
import os
import random
import signal
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, suppress
from pathlib import Path

import pytest

from tests.builders import document_entry, submission
from tests.flows.test_crash import Attempt, is_whole, running
from tests.flows.test_processes import children
from tests.flows.volumes import Volume
from tests.running import RunningServer
from xds.app import BLOB_DIRECTORY, DATABASE_FILE
from xds.model.errors import Status
from xds.model.metadata import DocumentEntry
from xds.model.stored_queries import RawQuery, ReturnType
from xds.model.vocabulary import StoredQueryId
from xds.transactions import iti18_registry_stored_query as iti18
from xds.transactions import iti41_provide_and_register_document_set as iti41
from xds.transactions import iti42_register_document_set as iti42
from xds.transactions.iti41_provide_and_register_document_set import DocumentToSend
from xds.wire.soap import SoapFault

CLIENTS = 8
ACKNOWLEDGED_BEFORE_THE_CUT = 60
IDS_PER_QUERY = 20


def attempt(numbers: random.Random) -> Attempt:
    """Two documents of 1 to 100 kB in a folder for ITI-41, or one entry for ITI-42."""
    if numbers.random() < 0.3:
        return Attempt(submission(1))
    entries = [document_entry(id=name, hash=None, size=None, repository_unique_id=None) for name in ("Document1", "Document2")]
    return Attempt(
        submission(entries, folders=1), {entry.id: numbers.randbytes(numbers.randint(1_000, 100_000)) for entry in entries}
    )


def send(tried: Attempt, server: RunningServer) -> bool:
    """True when it was acknowledged. Errors: ConnectionError, SoapFault when the server is dying."""
    if not tried.contents:
        return iti42.send(tried.submission, endpoint=f"{server.http}/services/registry").succeeded
    documents = [
        DocumentToSend(name, "application/pdf", len(content), lambda content=content: iter([content]))
        for name, content in tried.contents.items()
    ]
    return iti41.send(tried.submission, documents, endpoint=f"{server.http}/services/repository").succeeded


def submit_until_it_dies(
    server: RunningServer, seed: int, attempts: list[Attempt], acknowledged: threading.Semaphore, cutting: threading.Event
) -> None:
    numbers = random.Random(seed)
    while True:
        tried = attempt(numbers)
        attempts.append(tried)
        try:
            succeeded = send(tried, server)
        except (ConnectionError, SoapFault):
            return
        # A real cut lets no answer out. Here an fsync that is under way may end well although the journal was given up: an ioctl
        # is no plug, and the kernel finds no transaction left to wait for.
        tried.acknowledged = succeeded and not cutting.is_set()
        if not tried.acknowledged:
            return
        acknowledged.release()


def load_and_cut(volumes: Sequence[Volume], data: Path, round_number: int) -> list[Attempt]:
    """Submit from several clients at once and cut the power in the middle of it. What they tried."""
    attempts: list[Attempt] = []
    acknowledged, cutting = threading.Semaphore(0), threading.Event()
    with running(data, processes=2) as server:
        clients = [
            threading.Thread(
                target=submit_until_it_dies, args=(server, 100 * round_number + number, attempts, acknowledged, cutting)
            )
            for number in range(CLIENTS)
        ]
        for client in clients:
            client.start()
        for _ in range(ACKNOWLEDGED_BEFORE_THE_CUT):
            assert acknowledged.acquire(timeout=60), "the server does not acknowledge"
        cutting.set()
        cut_power(volumes, server)
        for client in clients:
            client.join(60)
    start_again(volumes)
    return attempts


def cut_power(volumes: Sequence[Volume], server: RunningServer) -> None:
    # The devices go first: until the server is dead, whoever ignores that an fsync failed would acknowledge what is lost.
    for volume in volumes:
        volume.cut_power()
    others = children(server)
    server.kill()
    for process in others:
        with suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)
    server.stop()


def start_again(volumes: Sequence[Volume]) -> None:
    for volume in reversed(volumes):
        volume.unmount()
    for volume in volumes:
        volume.mount()


def registered_more_than_once(server: RunningServer, attempts: Iterable[Attempt]) -> set[str]:
    """UniqueIds of documents for which there is more than one DocumentEntry."""
    ids = [entry.unique_id or "" for tried in attempts for entry in tried.submission.document_entries]
    found: list[str] = []
    for start in range(0, len(ids), IDS_PER_QUERY):
        values = tuple(f"('{unique_id}')" for unique_id in ids[start : start + IDS_PER_QUERY])
        query = RawQuery(StoredQueryId.GET_DOCUMENTS, ReturnType.LEAF_CLASS, (("XDSDocumentEntryUniqueId", values),))
        result = iti18.send(query, endpoint=f"{server.http}/services/registry")
        assert result.response.status is Status.SUCCESS, result.response
        found += [item.unique_id or "" for item in result.objects if isinstance(item, DocumentEntry)]
    return {unique_id for unique_id in found if found.count(unique_id) > 1}


def damage(data: Path) -> list[str]:
    """Names of blobs whose content is not what their name says, and what SQLite finds wrong with its file."""
    blobs = [path for path in (data / BLOB_DIRECTORY / "objects").rglob("*") if path.is_file()]
    wrong = [path.name for path in blobs if hashlib.sha256(path.read_bytes()).hexdigest() != path.name]
    with closing(sqlite3.connect(data / DATABASE_FILE)) as database:
        return wrong + [row[0] for row in database.execute("PRAGMA integrity_check") if row[0] != "ok"]


@pytest.fixture
def volumes(tmp_path: Path) -> Iterator[tuple[Volume, Volume]]:
    """One volume for the database and the rest, one for the blobs."""
    data = tmp_path / "data"
    with (
        Volume(data, tmp_path / "data.img", 256) as database,
        Volume(data / BLOB_DIRECTORY, tmp_path / "blobs.img", 256) as blobs,
    ):
        yield database, blobs


def test_what_was_acknowledged_under_load_survives_a_power_cut(volumes: tuple[Volume, Volume]) -> None:
    data = volumes[0].path
    attempts: list[Attempt] = []
    for round_number in range(2):
        attempts += load_and_cut(volumes, data, round_number)
    with running(data) as server:
        lost = [tried for tried in attempts if not is_whole(server, tried) and tried.acknowledged]
        assert lost == []
        assert registered_more_than_once(server, attempts) == set()
        assert damage(data) == []
        assert list((data / BLOB_DIRECTORY / "staging").iterdir()) == []
    assert sum(tried.acknowledged for tried in attempts) >= 2 * ACKNOWLEDGED_BEFORE_THE_CUT


def test_the_last_submission_before_a_power_cut_needs_no_other_to_be_durable(volumes: tuple[Volume, Volume]) -> None:
    """Under load the fsync of one source also writes what another one forgot; here nobody else is there."""
    data = volumes[0].path
    document = document_entry(hash=None, size=None, repository_unique_id=None)
    last = Attempt(submission([document], folders=1), {document.id: random.Random(5).randbytes(20_000)})
    with running(data) as server:
        assert send(last, server)
        cut_power(volumes, server)
    start_again(volumes)
    with running(data) as server:
        assert is_whole(server, last)
        assert damage(data) == []
        again = attempt(random.Random(7))
        assert send(again, server)
        assert is_whole(server, again)
