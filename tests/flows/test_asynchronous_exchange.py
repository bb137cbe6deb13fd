"""Asynchronous Web Services Exchange of every SOAP transaction with the whole server, which may die in between.

Spec: ITI TF-2 Appendix V.5; the "Asynchronous Web Services Exchange" option of the actors.
"""

from __future__ import annotations

import sqlite3
import threading
import time
import uuid
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from types import ModuleType
from typing import Any

import pydicom
import pytest
from lxml import etree

from tests.archive import packaged
from tests.builders import PATIENT_ID, document_entry, submission
from tests.flows.partners import APPROVED, store
from tests.running import RunningServer
from tests.server.reply_partner import Partner
from xds.app import DATABASE_FILE
from xds.model.errors import RegistryResponse, Status
from xds.model.metadata import DocumentEntry, Submission
from xds.model.retrieval import DocumentRequest, ImagingDocumentRequest
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
from xds.transactions import (
    rad69_retrieve_imaging_document_set as rad69,
)
from xds.transactions.client import SoapAnswer, post_soap
from xds.transactions.table import MODULES
from xds.transactions.transaction import Wire
from xds.wire.dicom import EXPLICIT_LITTLE
from xds.wire.dicom_study import read_study
from xds.wire.ebrim import write_submission
from xds.wire.ebrs import (
    read_query_response,
    read_registry_response,
    read_retrieve_response,
    write_query,
    write_retrieve_request,
)
from xds.wire.hl7v3_acknowledgement import read_acknowledgement
from xds.wire.hl7v3_pdq import CANCEL
from xds.wire.soap import NONE, SentPart, SoapFault
from xds.wire.xdsi import write_imaging_retrieve_request
from xds.wire.xml import HL7V3

REPOSITORY = "1.2.3.4.77"
IMAGING_SOURCE = "1.2.3.4.78"
#: HL7 v3 has answers of its own, each with an id and a time.
V3_MODULES = [module for module in MODULES if (module.TRANSACTION.action or "").startswith(HL7V3)]
SOAP_MODULES = [module for module in MODULES if module.TRANSACTION.wire is Wire.SOAP and module not in V3_MODULES]
SENDERS = 4


def running(data: Path, partner: Partner) -> RunningServer:
    return RunningServer(
        data,
        SERVER__REPLY_TO=f'["{partner.url}"]',
        DOMAIN__REPOSITORY_UNIQUE_ID=REPOSITORY,
        DOMAIN__IMAGING_SOURCE_UNIQUE_ID=IMAGING_SOURCE,
        REGISTRY__REQUIRE_KNOWN_PATIENT="false",
    )


@dataclass
class Exchange:
    """A server and a partner that asks it asynchronously."""

    server: RunningServer
    partner: Partner

    def ask(
        self, module: ModuleType, body: bytes | Sequence[bytes], parts: Sequence[SentPart] = (), **more: Any
    ) -> Future[SoapAnswer]:
        transaction = module.TRANSACTION
        return self.partner.ask(f"{self.server.http}{transaction.path}", transaction, body, parts, **more)

    def register(self, sent: Submission) -> Future[SoapAnswer]:
        return self.ask(iti42, write_submission(sent))

    def provide(self, sent: Submission, contents: dict[str, bytes]) -> Future[SoapAnswer]:
        parts = [part(name, content) for name, content in contents.items()]
        return self.ask(iti41, iti41.write_request(sent, [(name, f"{name}@x") for name in contents]), parts)

    def found(self, sent: Submission) -> list[DocumentEntry]:
        """The entries of a SubmissionSet, asked for synchronously."""
        slots = (("XDSSubmissionSetUniqueId", (f"'{sent.submission_set.unique_id}'",)),)
        query = RawQuery(StoredQueryId.GET_SUBMISSION_SET_AND_CONTENTS, ReturnType.LEAF_CLASS, slots)
        result = iti18.send(query, endpoint=f"{self.server.http}/services/registry")
        return [item for item in result.objects if isinstance(item, DocumentEntry)]


def part(name: str, content: bytes) -> SentPart:
    return SentPart(f"{name}@x", "application/pdf", len(content), lambda: iter([content]))


def documents(number: int) -> tuple[Submission, dict[str, bytes]]:
    """A submission whose hashes and sizes are left to the repository, and its contents."""
    entries = [
        document_entry(id=f"Document{n}", hash=None, size=None, repository_unique_id=None, mime_type="application/pdf")
        for n in range(1, number + 1)
    ]
    return submission(entries), {entry.id: uuid.uuid4().bytes * 20_000 for entry in entries}


def outcome(reply: Future[SoapAnswer]) -> RegistryResponse:
    return read_registry_response(reply.result(120).body)


@pytest.fixture(scope="module")
def exchange(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Exchange]:
    partner = Partner().start()
    with running(tmp_path_factory.mktemp("server"), partner) as server:
        yield Exchange(server, partner)
    partner.stop()


# ------------------------------------------------------------------ every transaction


@pytest.mark.parametrize("module", SOAP_MODULES, ids=lambda module: module.TRANSACTION.id)
def test_every_soap_transaction_answers_elsewhere(exchange: Exchange, module: ModuleType) -> None:
    """An empty request breaks its schema: the transaction says so in its own answer, as it does over the connection."""
    name = etree.QName(module.TRANSACTION.body)
    body = f'<{name.localname} xmlns="{name.namespace}"/>'.encode()
    endpoint = f"{exchange.server.http}{module.TRANSACTION.path}"
    expected = post_soap(endpoint, module.TRANSACTION, body)
    answer = exchange.ask(module, body).result(120)
    assert answer.addressing.action == module.TRANSACTION.reply_action
    assert etree.tostring(answer.body, method="c14n2") == etree.tostring(expected.body, method="c14n2")
    assert b"Failure" in etree.tostring(answer.body)


@pytest.mark.parametrize("module", V3_MODULES, ids=lambda module: module.TRANSACTION.action)
def test_every_transaction_of_hl7_v3_answers_elsewhere(exchange: Exchange, module: ModuleType) -> None:
    body = f'<{etree.QName(module.TRANSACTION.body or CANCEL).localname} xmlns="{HL7V3}"/>'.encode()
    answer = exchange.ask(module, body).result(120)
    assert answer.addressing.action == module.TRANSACTION.reply_action
    acknowledged = read_acknowledgement(answer.body)
    assert acknowledged.code in ("CE", "AE")
    assert {detail.code for detail in acknowledged.details} >= {"SYN100", "SYN101"}


def test_register_and_query(exchange: Exchange) -> None:
    sent = submission(2)
    assert outcome(exchange.register(sent)).status is Status.SUCCESS
    refused = outcome(exchange.register(sent))
    assert refused.status is Status.FAILURE
    slots = (("XDSDocumentEntryPatientId", (f"'{PATIENT_ID}'",)), ("XDSDocumentEntryStatus", (APPROVED,)))
    answer = exchange.ask(iti18, write_query(RawQuery(StoredQueryId.FIND_DOCUMENTS, ReturnType.LEAF_CLASS, slots))).result(120)
    _, objects, _ = read_query_response(answer.body)
    unique_ids = {item.unique_id for item in objects if isinstance(item, DocumentEntry)}
    assert {entry.unique_id for entry in sent.document_entries} <= unique_ids


def test_provide_and_retrieve(exchange: Exchange) -> None:
    sent, contents = documents(3)
    before = len(exchange.partner.deliveries)
    assert outcome(exchange.provide(sent, contents)).status is Status.SUCCESS
    wanted = [DocumentRequest(REPOSITORY, str(entry.unique_id)) for entry in sent.document_entries]
    answer = exchange.ask(iti43, write_retrieve_request(wanted)).result(120)
    response, received = read_retrieve_response(answer.body)
    assert response.status is Status.SUCCESS
    octets = [b"".join(answer.parts[str(item.content_id)].staging.open()) for item in received]
    assert octets == list(contents.values())
    assert all(item.content_type.startswith("multipart/related") for item in exchange.partner.deliveries[before:])
    answer.discard()


def test_retrieve_images(exchange: Exchange) -> None:
    image = packaged("CT_small.dcm")
    store(exchange.server, pydicom.dcmread(BytesIO(image)))
    study = read_study([image])
    (series,) = study.series
    (instance,) = series.instances
    wanted = [
        ImagingDocumentRequest(
            study.study_instance_uid, series.series_instance_uid, DocumentRequest(IMAGING_SOURCE, instance.sop_instance_uid)
        )
    ]
    answer = exchange.ask(rad69, write_imaging_retrieve_request(wanted, [EXPLICIT_LITTLE])).result(120)
    response, received = read_retrieve_response(answer.body)
    assert response.status is Status.SUCCESS
    (item,) = received
    octets = b"".join(answer.parts[str(item.content_id)].staging.open())
    assert pydicom.dcmread(BytesIO(octets)).SOPInstanceUID == instance.sop_instance_uid
    answer.discard()


def test_nobody_wants_the_answer_of_a_submission(exchange: Exchange) -> None:
    sent = submission(1)
    endpoint = f"{exchange.server.http}/services/registry"
    post_soap(endpoint, iti42.TRANSACTION, write_submission(sent), reply_to=NONE)
    until = time.monotonic() + 60
    while not exchange.found(sent) and time.monotonic() < until:
        time.sleep(0.05)
    assert len(exchange.found(sent)) == 1


def test_a_stranger_gets_nothing(exchange: Exchange) -> None:
    sent = submission(1)
    with pytest.raises(SoapFault, match="none of the addresses"):
        post_soap(
            f"{exchange.server.http}/services/registry",
            iti42.TRANSACTION,
            write_submission(sent),
            reply_to=f"http://127.0.0.1:{exchange.partner.port}/elsewhere/",
        )
    assert exchange.found(sent) == []


# ------------------------------------------------------------------ a server that dies


def logged(data: Path, event: str) -> int:
    return (data / "server.log").read_text("utf-8").count(f'"event": "{event}"')


def let_leases_end(data: Path) -> None:
    """Jobs that the dead server had in hand become due after ten minutes: let these be over."""
    database = sqlite3.connect(data / DATABASE_FILE)
    with database:
        database.execute("UPDATE job SET run_at = 0 WHERE kind IN ('asynchronous-request', 'asynchronous-reply')")
    database.close()


def test_what_was_executed_is_delivered_by_the_next_server(tmp_path: Path) -> None:
    partner = Partner().start()
    sent, contents = documents(2)
    try:
        with running(tmp_path, partner) as server:
            first = Exchange(server, partner)
            address = partner.url
            partner.stop()
            replies = [first.provide(sent, contents), first.register(submission(1))]
            until = time.monotonic() + 60
            while logged(tmp_path, "worker.job_again") < 2 and time.monotonic() < until:
                time.sleep(0.05)
            server.kill()
            server.stop()
        let_leases_end(tmp_path)
        partner.start()
        assert partner.url == address
        with running(tmp_path, partner) as server:
            assert [outcome(reply).status for reply in replies] == [Status.SUCCESS] * 2
            assert len(Exchange(server, partner).found(sent)) == 2
    finally:
        partner.stop()


def test_what_was_accepted_is_done_once_whenever_the_server_dies(tmp_path: Path) -> None:
    partner = Partner().start()
    accepted: list[tuple[Submission, Future[SoapAnswer]]] = []
    enough = threading.Semaphore(0)

    def send(exchange: Exchange) -> None:
        while True:
            sent, contents = documents(1)
            try:
                reply = exchange.provide(sent, contents) if len(accepted) % 2 else exchange.register(sent := submission(1))
            except ConnectionError:
                return
            accepted.append((sent, reply))
            enough.release()

    try:
        for number in (15, 25):
            with running(tmp_path, partner) as server:
                senders = [threading.Thread(target=send, args=(Exchange(server, partner),)) for _ in range(SENDERS)]
                for sender in senders:
                    sender.start()
                for _ in range(number):
                    assert enough.acquire(timeout=60), "the server accepts nothing"
                server.kill()
                server.stop()
                for sender in senders:
                    sender.join(60)
            let_leases_end(tmp_path)
        with running(tmp_path, partner) as server:
            assert [outcome(reply).status for _, reply in accepted] == [Status.SUCCESS] * len(accepted)
            last = Exchange(server, partner)
            assert all(len(last.found(sent)) == 1 for sent, _ in accepted)
    finally:
        partner.stop()
