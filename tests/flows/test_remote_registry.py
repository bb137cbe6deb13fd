"""A repository in one system and its registry in another: publish at one, find at the other, retrieve from the first.

Spec: ITI TF-1 10.1.1.3, 10.1.1.4; ITI TF-2 3.41.4.1.3, 3.42.
"""

from __future__ import annotations

import http.client
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.builders import ASSIGNING_AUTHORITY, PATIENT_ID, document_entry, submission
from tests.flows.partners import entries, feed
from tests.ports import free_port
from tests.running import RunningServer
from tests.updates import update as updated
from xds.actors.imaging_registrations import RegisteredManifest
from xds.model.errors import RegistryResponse, Status
from xds.model.metadata import DocumentEntry, Submission
from xds.model.retrieval import DocumentRequest
from xds.model.stored_queries import RawQuery, ReturnType
from xds.model.vocabulary import StoredQueryId
from xds.transactions import iti18_registry_stored_query as iti18
from xds.transactions import iti41_provide_and_register_document_set as iti41
from xds.transactions import iti43_retrieve_document_set as iti43
from xds.transactions import iti57_update_document_set as iti57
from xds.transactions.iti41_provide_and_register_document_set import DocumentToSend
from xds.transactions.remote_registry import RemoteRegistry

REPOSITORY = "1.2.3.4.88"
CONTENT = b"a report of the other hospital"


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[RunningServer]:
    """System A, which knows the patient."""
    # Another one listens at the same address later.
    ports = ("--http-port", str(free_port()))
    with RunningServer(tmp_path / "a", *ports, DOMAIN__ASSIGNING_AUTHORITY=ASSIGNING_AUTHORITY) as server:
        feed(server, PATIENT_ID)
        yield server


def repository(data: Path, registry_url: str) -> RunningServer:
    """System B, whose own registry knows nobody."""
    return RunningServer(
        data,
        DOMAIN__ASSIGNING_AUTHORITY=ASSIGNING_AUTHORITY,
        DOMAIN__REPOSITORY_UNIQUE_ID=REPOSITORY,
        REPOSITORY__REGISTRY_URL=registry_url,
        REPOSITORY__REGISTRY_SECONDS="60",
    )


def a_message(**overrides: str) -> Submission:
    return submission([document_entry(hash=None, size=None, repository_unique_id=None, **overrides)])


def provide(server: RunningServer, message: Submission, content: bytes = CONTENT) -> RegistryResponse:
    documents = [
        DocumentToSend(entry.id, "application/pdf", len(content), lambda: iter([content])) for entry in message.document_entries
    ]
    return iti41.send(message, documents, endpoint=f"{server.http}/services/repository")


def unique_id(message: Submission) -> str:
    return message.document_entries[0].unique_id or ""


def found(server: RunningServer, message: Submission) -> list[DocumentEntry]:
    """What the registry of a server has under the uniqueId of the document."""
    query = RawQuery(
        StoredQueryId.GET_DOCUMENTS, ReturnType.LEAF_CLASS, (("XDSDocumentEntryUniqueId", (f"('{unique_id(message)}')",)),)
    )
    return entries(iti18.send(query, endpoint=f"{server.http}/services/registry").objects)


def kept(server: RunningServer, message: Submission) -> list[bytes]:
    """What the repository of a server gives under the uniqueId of the document."""
    answer = iti43.send([DocumentRequest(REPOSITORY, unique_id(message))], endpoint=f"{server.http}/services/repository")
    contents = [b"".join(part.staging.open()) for part in answer.parts.values()]
    answer.discard()
    return contents


def codes(response: RegistryResponse) -> list[str]:
    return [error.code.value for error in response.errors]


@contextmanager
def network_that_drops_one_answer(server: RunningServer) -> Iterator[str]:
    """An address that passes requests on to a server, and loses the first answer. Gives the URL of its registry."""
    _, _, port = server.http.rpartition(":")
    answers: list[bytes] = []
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            with client, client.makefile("rb") as stream:
                line, *lines = iter(stream.readline, b"\r\n")
                headers = http.client.parse_headers(_Lines([*lines, b"\r\n"]))
                body = stream.read(int(headers["Content-Length"]))
                inner = http.client.HTTPConnection("127.0.0.1", int(port), timeout=60)
                inner.request("POST", line.split()[1].decode(), body, {"Content-Type": headers["Content-Type"]})
                answer = inner.getresponse()
                octets = answer.read()
                answers.append(octets)
                if len(answers) > 1:
                    head = f"Content-Type: {answer.headers['Content-Type']}\r\nContent-Length: {len(octets)}"
                    client.sendall(f"HTTP/1.1 200 OK\r\n{head}\r\n\r\n".encode() + octets)
                inner.close()

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/services/registry"
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(60)


class _Lines:
    """Header lines that were read already."""

    def __init__(self, lines: list[bytes]) -> None:
        self._lines = lines

    def readline(self, _limit: int = -1) -> bytes:
        return self._lines.pop(0)


def test_publish_at_one_find_at_the_other_and_retrieve(tmp_path: Path, registry: RunningServer) -> None:
    with repository(tmp_path / "b", f"{registry.http}/services/registry") as server:
        message = a_message(mime_type="application/pdf")
        assert provide(server, message) == RegistryResponse(Status.SUCCESS)
        (entry,) = found(registry, message)
        assert (entry.repository_unique_id, entry.size) == (REPOSITORY, str(len(CONTENT)))
        assert found(server, message) == []
        remote = RemoteRegistry(f"{registry.http}/services/registry")
        assert remote.registered(message.submission_set.unique_id or "") == frozenset([unique_id(message)])
        assert remote.registered("1.2.404") is None
        manifest = remote.registered_manifest(unique_id(message), entry.id)
        assert manifest == RegisteredManifest(entry.id, entry.patient_id or "", True)
        assert remote.registered_manifest(unique_id(message), "urn:uuid:00000000-0000-4000-8000-000000000404") is None
        assert iti57.send(updated(entry), endpoint=f"{registry.http}/services/registry").succeeded
        (newest,) = found(registry, message)
        assert newest.id != entry.id
        manifest = remote.registered_manifest(unique_id(message), entry.id)
        assert manifest is not None
        assert manifest.entry_uuid == newest.id
        assert kept(server, message) == [CONTENT]
        stranger = "stranger^^^&1.2.3.4.5&ISO"
        refused = submission(
            [document_entry(hash=None, size=None, repository_unique_id=None, patient_id=stranger)], patient_id=stranger
        )
        assert codes(provide(server, refused)) == ["XDSUnknownPatientId"]
        assert kept(server, refused) == []


def test_a_registry_that_is_killed_is_not_available_until_it_is_back(tmp_path: Path, registry: RunningServer) -> None:
    address = registry.http
    with repository(tmp_path / "b", f"{address}/services/registry") as server:
        before, during = a_message(), a_message()
        assert provide(server, before).succeeded
        registry.kill()
        registry.stop()
        assert codes(provide(server, during)) == ["XDSRegistryNotAvailable"]
        assert kept(server, during) == []
        assert kept(server, before) == [CONTENT]
        _, _, port = address.rpartition(":")
        again = RunningServer(registry.data, "--http-port", port, DOMAIN__ASSIGNING_AUTHORITY=ASSIGNING_AUTHORITY)
        with again:
            assert provide(server, during) == RegistryResponse(Status.SUCCESS)
            assert len(found(again, during)) == 1
            assert kept(server, during) == [CONTENT]


def test_an_answer_that_is_lost_registers_nothing_twice(tmp_path: Path, registry: RunningServer) -> None:
    with network_that_drops_one_answer(registry) as address, repository(tmp_path / "b", address) as server:
        message = a_message()
        assert codes(provide(server, message)) == ["XDSRegistryNotAvailable"]
        assert len(found(registry, message)) == 1
        assert kept(server, message) == [CONTENT]
        assert provide(server, message) == RegistryResponse(Status.SUCCESS)
        assert len(found(registry, message)) == 1
