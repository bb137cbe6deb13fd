"""Asynchronous Web Services Exchange between a server and a partner, both real, on loopback.

Spec: ITI TF-2 Appendix V.5; WS-Addressing 1.0 core 3.4, SOAP binding 5 and 6.4.1.
"""

from __future__ import annotations

import http.client
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast
from urllib.parse import urlsplit

import pytest
from sqlalchemy import func, select
from structlog.testing import capture_logs

from tests.archive import SteppedClock
from tests.databases import fresh_database
from tests.server.echo import KEEP, NAMESPACE, SAY, Echo, identity
from tests.server.reply_partner import Partner
from xds.actors.domain import Domain
from xds.model.audit import EventOutcome
from xds.server.asynchronous import EXECUTIONS, AsynchronousExchange
from xds.server.http import HttpApplication
from xds.server.launcher import HttpServer
from xds.server.limits import Limits
from xds.server.worker import Worker
from xds.store import asynchronous, audit, jobs
from xds.store.blobs.local import LocalBlobStore
from xds.store.database import Database
from xds.store.schema.asynchronous import asynchronous_blob
from xds.store.schema.operations import audit_event, job, setting
from xds.transactions.client import Acknowledgement, post_soap
from xds.wire.reply_addresses import ReplyAddresses
from xds.wire.soap import ANONYMOUS, NONE, Addressing, SentPart, SoapFault, SoapReply, SoapRequest, write_envelope
from xds.wire.xml import WSA, XOP

TABLES = (job, setting, audit_event, asynchronous_blob)
INVALID = (WSA, "InvalidAddressingHeader")


def say(text: str = "hello") -> bytes:
    return f'<Say xmlns="{NAMESPACE}">{text}</Say>'.encode()


class Writing(Echo):
    """Its first transaction writes: each execution leaves a row. Some texts make it fail after that."""

    database: Database
    times = 0

    def say(self, request: SoapRequest, domain: Domain, caller: Any) -> SoapReply:
        self.times += 1
        row = {"name": f"execution {self.times}", "value": caller.reply_to or ""}
        self.database.write(lambda connection: connection.execute(setting.insert().values(row)))
        text = request.body.text or ""
        if text.startswith("full") and self.times <= int(text[4:]):
            raise OSError("no space")
        return super().say(request, domain, caller)


@dataclass
class Service:
    """A server with its stores; its worker runs when a test says so."""

    database: Database
    blobs: LocalBlobStore
    exchange: AsynchronousExchange
    worker: Worker
    clock: SteppedClock
    echo: Writing
    partner: Partner
    url: str

    def rows(self) -> int:
        """How many executions of the writing transaction were kept."""
        with self.database.read() as connection:
            return int(connection.execute(select(func.count()).select_from(setting)).scalar_one())

    def kinds(self) -> list[str]:
        """The jobs there are."""
        with self.database.read() as connection:
            return [kind.removeprefix("asynchronous-") for kind in connection.execute(select(job.c.kind)).scalars()]

    def needed(self) -> frozenset[str]:
        """The blobs that accepted requests still need."""
        with self.database.read() as connection:
            return asynchronous.referenced(connection, list(self.blobs.keys()))

    def reset(self) -> None:
        """Forget everything."""
        self.database.write(lambda connection: [connection.execute(table.delete()) for table in TABLES])
        for key in list(self.blobs.keys()):
            self.blobs.delete(key)
        self.exchange._addresses = ReplyAddresses([self.partner.url])
        self.echo.times = 0
        for record in (self.echo.callers, self.echo.finished, self.echo.seen, self.partner.deliveries):
            record.clear()
        self.partner.refuse = 0
        if self.partner.is_away:
            self.partner.start()

    def send(self, text: str = "hello", **addressing: Any) -> Acknowledgement:
        addressing.setdefault("reply_to", self.partner.url)
        acknowledgement: Acknowledgement = post_soap(self.url, SAY, say(text), **addressing)
        return acknowledgement


@pytest.fixture(scope="module")
def partner() -> Iterator[Partner]:
    started = Partner().start()
    yield started
    started.stop()


@pytest.fixture(scope="module")
def shared_service(tmp_path_factory: pytest.TempPathFactory, partner: Partner) -> Iterator[Service]:
    with serving(tmp_path_factory.mktemp("service"), partner, [partner.url]) as started:
        yield started


@pytest.fixture
def service(shared_service: Service) -> Service:
    """The server on the embedded database, as if it were new."""
    shared_service.reset()
    return shared_service


@pytest.fixture
def durable(back_end: str, tmp_path: Path, partner: Partner) -> Iterator[Service]:
    """A server of its own on each back end."""
    with serving(tmp_path, partner, [partner.url]) as started:
        started.reset()
        yield started


@contextmanager
def serving(directory: Path, partner: Partner, reply_to: list[str]) -> Iterator[Service]:
    database = fresh_database(directory)
    blobs = LocalBlobStore(directory / "blobs")
    clock = SteppedClock()
    echo = Writing()
    echo.database = database
    domain = cast(Domain, SimpleNamespace(identity=identity()))
    keep = SimpleNamespace(TRANSACTION=_safe(KEEP), respond=echo.keep)
    modules = [SimpleNamespace(TRANSACTION=SAY, respond=echo.say), keep]
    limits = Limits(threads=8, uploads=4, inline=1000)
    exchange = AsynchronousExchange(
        database, blobs, domain, modules, ReplyAddresses(reply_to), clock, give_up_after=timedelta(hours=1), inline_limit=1000
    )
    worker = Worker(database, exchange.handlers, clock, kinds=exchange.handlers.keys())
    app = HttpApplication(domain, modules, stage=blobs.stage, limits=limits, asynchronous=exchange)
    server = HttpServer(app, "127.0.0.1", 0, limits=limits)
    port = server.start()
    try:
        yield Service(database, blobs, exchange, worker, clock, echo, partner, f"http://127.0.0.1:{port}{SAY.path}")
    finally:
        echo.gate.set()
        server.stop()
        database.close()


def _safe(transaction: Any) -> Any:
    return replace(transaction, safe=True)


# ------------------------------------------------------------------ accepted, executed, delivered


def test_a_reply_comes_to_the_address_of_the_request(durable: Service) -> None:
    reply = durable.partner.ask(durable.url, SAY, say("bonjour"))
    assert (durable.kinds(), durable.rows(), len(durable.needed())) == (["request"], 0, 1)
    assert durable.worker.run_due() == 2
    answer = reply.result(10)
    assert answer.body.findtext(f"{{{NAMESPACE}}}Say") == "bonjour"
    assert answer.addressing.action == SAY.reply_action
    assert answer.addressing.to == f"{durable.partner.url}ECHO-1"
    assert (answer.addressing.message_id or "").startswith("urn:uuid:")
    assert [delivery.content_type for delivery in durable.partner.deliveries] == [
        f'application/soap+xml; charset=UTF-8; action="{SAY.reply_action}"'
    ]
    assert (durable.kinds(), durable.rows(), durable.needed()) == (["answered"], 1, frozenset())


def test_the_transaction_knows_its_caller_and_the_reply_address(service: Service) -> None:
    service.send()
    service.worker.run_due()
    assert [(caller.address, caller.reply_to) for caller in service.echo.callers] == [("127.0.0.1", service.partner.url)]


def test_parts_come_and_go(durable: Service) -> None:
    octets = bytes(range(256)) * 4000
    body = f'<Keep xmlns="{NAMESPACE}" return="yes"><i:Include xmlns:i="{XOP}" href="cid:one@x"/></Keep>'.encode()
    part = SentPart("one@x", "application/dicom", len(octets), lambda: iter([octets]))
    reply = durable.partner.ask(durable.url, KEEP, body, [part])
    assert len(durable.needed()) == 2
    durable.worker.run_due()
    answer = reply.result(10)
    (received,) = answer.parts.values()
    assert b"".join(received.staging.open()) == octets
    assert (received.content_id, received.content_type) == ("back.one@x", "application/dicom")
    assert durable.partner.deliveries[0].content_type.startswith("multipart/related")
    assert (durable.kinds(), durable.needed()) == (["answered"], frozenset())
    assert durable.echo.finished == [True]
    answer.discard()


def test_a_request_without_mtom_has_a_reply_without(service: Service) -> None:
    body = f'<Keep xmlns="{NAMESPACE}" make="900"/>'.encode()
    reply = service.partner.ask(service.url, replace(KEEP, mtom=False), body)
    service.worker.run_due()
    assert reply.result(10).parts == {}
    assert service.partner.deliveries[0].content_type.startswith("application/soap+xml")
    body = f'<Keep xmlns="{NAMESPACE}" make="1001"/>'.encode()
    reply = service.partner.ask(service.url, replace(KEEP, mtom=False), body)
    service.worker.run_due()
    with pytest.raises(SoapFault, match="ask for them with MTOM"):
        reply.result(10)


def test_reference_parameters_come_back_as_headers(service: Service) -> None:
    headers = Addressing(SAY.action or "", message_id="urn:uuid:7", reply_to=service.partner.url)
    envelope = b"".join(write_envelope([say()], headers)).replace(
        b"</wsa:Address></wsa:ReplyTo>",
        b'</wsa:Address><wsa:ReferenceParameters><p:Flow xmlns:p="urn:p" xmlns:q="urn:q">q:7</p:Flow>'
        b"</wsa:ReferenceParameters></wsa:ReplyTo>",
    )
    assert _post(service.url, envelope) == 202
    service.worker.run_due()
    (delivery,) = service.partner.deliveries
    assert b'wsa:IsReferenceParameter="true"' in delivery.body
    assert b">q:7</p:Flow>" in delivery.body
    assert b'xmlns:q="urn:q"' in delivery.body


def _post(url: str, envelope: bytes) -> int:
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.netloc, timeout=20)
    try:
        connection.request("POST", parts.path, envelope, {"Content-Type": "application/soap+xml; charset=UTF-8"})
        response = connection.getresponse()
        body = response.read()
        if response.status == 202:
            assert body == b""
            assert response.getheader("Content-Length") == "0"
            assert response.getheader("Content-Type") is None
        return response.status
    finally:
        connection.close()


@pytest.mark.parametrize("reply_to", [None, ANONYMOUS])
def test_the_anonymous_address_is_answered_over_the_connection(service: Service, reply_to: str | None) -> None:
    envelope = b"".join(write_envelope([say()], Addressing(SAY.action or "", message_id="urn:uuid:8", reply_to=reply_to)))
    assert _post(service.url, envelope) == 200
    assert service.kinds() == []


# ------------------------------------------------------------------ addresses


@pytest.mark.parametrize(
    ("addressing", "why"),
    [
        ({"reply_to": "http://127.0.0.1:1/replies/"}, "InvalidAddress"),
        ({"reply_to": "http://169.254.169.254/latest/"}, "InvalidAddress"),
        ({"reply_to": "urn:something"}, "InvalidAddress"),
        ({"reply_to": "{partner}../x"}, "InvalidAddress"),
        ({"fault_to": "http://127.0.0.1:1/replies/"}, "InvalidAddress"),
        ({"reply_to": NONE, "fault_to": "http://127.0.0.1:1/replies/"}, "InvalidAddress"),
        ({"fault_to": ANONYMOUS}, "OnlyNonAnonymousAddressSupported"),
        ({"reply_to": ANONYMOUS, "fault_to": "{partner}"}, "OnlyAnonymousAddressSupported"),
    ],
)
def test_an_address_that_is_not_configured_is_refused_at_once(service: Service, addressing: dict[str, str], why: str) -> None:
    given = {name: value.replace("{partner}", service.partner.url) for name, value in addressing.items()}
    with pytest.raises(SoapFault) as refusal:
        service.send(**given)
    assert (refusal.value.code, refusal.value.http_status) == ("Sender", 400)
    assert refusal.value.subcode == INVALID
    assert refusal.value.subsubcode == (WSA, why)
    assert (service.kinds(), list(service.blobs.keys())) == ([], [])


def test_without_partners_only_the_anonymous_address_is_supported(tmp_path: Path, partner: Partner) -> None:
    with serving(tmp_path, partner, []) as service:
        with pytest.raises(SoapFault) as refusal:
            service.send()
        assert refusal.value.subsubcode == (WSA, "OnlyAnonymousAddressSupported")
        service.send(reply_to=NONE)
        assert service.worker.run_due() == 1


def test_a_message_that_no_reply_could_relate_to_is_refused(service: Service) -> None:
    envelope = b"".join(write_envelope([say()], Addressing(SAY.action or "", reply_to=service.partner.url)))
    assert _post(service.url, envelope) == 400
    assert service.kinds() == []


def test_what_is_wrong_before_is_said_over_the_connection(service: Service) -> None:
    with pytest.raises(SoapFault) as refusal:
        post_soap(service.url, replace(SAY, action="urn:unknown"), say(), reply_to=service.partner.url)
    assert refusal.value.subcode == (WSA, "ActionNotSupported")
    with pytest.raises(SoapFault, match="must hold Say"):
        post_soap(service.url, SAY, b"<Other/>", reply_to=service.partner.url)
    assert (service.kinds(), list(service.blobs.keys())) == ([], [])


def test_nobody_wants_the_answer(service: Service) -> None:
    service.send(reply_to=NONE)
    service.send("fault", reply_to=NONE)
    assert service.worker.run_due() == 2
    assert (service.kinds(), service.rows()) == (["answered", "answered"], 2)
    assert service.partner.deliveries == []


def test_a_query_that_nobody_wants_answered_is_executed_all_the_same(service: Service) -> None:
    post_soap(service.url, KEEP, f'<Keep xmlns="{NAMESPACE}" make="10"/>'.encode(), reply_to=NONE)
    assert service.worker.run_due() == 1
    assert (service.kinds(), service.echo.finished) == (["answered"], [False])


# ------------------------------------------------------------------ faults


def test_a_fault_goes_where_the_reply_would(service: Service) -> None:
    reply = service.partner.ask(service.url, SAY, say("fault"))
    service.worker.run_due()
    with pytest.raises(SoapFault, match="you asked for it") as fault:
        reply.result(10)
    assert fault.value.subcode == ("urn:example", "Asked")
    assert f'action="{WSA}/soap/fault"' in service.partner.deliveries[0].content_type


@pytest.mark.parametrize("reply_to", ["elsewhere", NONE])
def test_a_fault_goes_to_its_own_address(service: Service, reply_to: str) -> None:
    address = reply_to if reply_to == NONE else f"{service.partner.url}{reply_to}"
    reply = service.partner.ask(service.url, SAY, say("fault"), reply_to=address, fault_to=f"{service.partner.url}faults")
    service.worker.run_due()
    with pytest.raises(SoapFault):
        reply.result(10)
    assert [delivery.path for delivery in service.partner.deliveries] == ["/replies/faults"]


def test_a_fault_of_a_safe_transaction_goes_to_its_own_address(service: Service) -> None:
    body = f'<Keep xmlns="{NAMESPACE}"><i:Include xmlns:i="{XOP}" href="cid:absent"/></Keep>'.encode()
    with capture_logs() as logs:
        reply = service.partner.ask(service.url, KEEP, body, fault_to=f"{service.partner.url}faults")
        service.worker.run_due()
    with pytest.raises(SoapFault, match="could not be processed"):
        reply.result(10)
    assert [delivery.path for delivery in service.partner.deliveries] == ["/replies/faults"]
    assert [entry["errors"] for entry in logs if entry["event"] == "soap.failure"] == [["builtins.KeyError"]]


def test_a_failure_of_our_own_is_a_fault_that_says_nothing(service: Service) -> None:
    reply = service.partner.ask(service.url, SAY, say("crash"))
    service.worker.run_due()
    with pytest.raises(SoapFault, match="under reference") as fault:
        reply.result(10)
    assert fault.value.code == "Receiver"
    assert "DOE" not in str(fault.value)


def test_what_may_pass_is_tried_again_and_leaves_nothing(durable: Service) -> None:
    reply = durable.partner.ask(durable.url, SAY, say("full2"))
    for _ in range(3):
        durable.worker.run_due()
        durable.clock.advance(seconds=60)
    assert reply.result(10).body.findtext(f"{{{NAMESPACE}}}Say") == "full2"
    assert (durable.echo.times, durable.rows()) == (3, 1)


def test_what_does_not_pass_is_a_fault_in_the_end(service: Service) -> None:
    reply = service.partner.ask(service.url, SAY, say("full1000"))
    for _ in range(EXECUTIONS + 1):
        assert not reply.done()
        service.worker.run_due()
        service.clock.advance(hours=2)
    with pytest.raises(SoapFault, match=f"in {EXECUTIONS} attempts"):
        reply.result(10)
    assert (service.echo.times, service.rows()) == (EXECUTIONS, 0)


# ------------------------------------------------------------------ the same message again


def test_a_message_that_comes_again_has_no_second_effect(durable: Service) -> None:
    message_id = uuid.uuid4().urn
    reply = durable.partner.ask(durable.url, SAY, say(), message_id=message_id)
    assert durable.send(message_id=message_id, reply_to=f"{durable.partner.url}ECHO-1") == Acknowledgement(message_id)
    durable.partner.stop()
    durable.worker.run_due()
    durable.send(message_id=message_id, reply_to=f"{durable.partner.url}ECHO-1")
    assert durable.kinds() == ["reply"]
    durable.partner.start()
    durable.clock.advance(minutes=1)
    durable.worker.run_due()
    reply.result(10)
    durable.send(message_id=message_id, reply_to=f"{durable.partner.url}ECHO-1")
    durable.worker.run_due()
    assert (durable.kinds(), durable.rows(), len(durable.partner.deliveries)) == (["answered"], 1, 1)


def test_another_message_of_that_id_is_refused(service: Service) -> None:
    message_id = uuid.uuid4().urn
    service.send(message_id=message_id)
    with pytest.raises(SoapFault) as refusal:
        service.send("other", message_id=message_id)
    assert (refusal.value.subcode, refusal.value.subsubcode) == (INVALID, (WSA, "DuplicateMessageID"))
    service.worker.run_due()
    with pytest.raises(SoapFault):
        service.send("other", message_id=message_id)
    assert service.rows() == 1


def test_other_parts_make_another_message(service: Service) -> None:
    body = f'<Keep xmlns="{NAMESPACE}"><i:Include xmlns:i="{XOP}" href="cid:one@x"/></Keep>'.encode()
    message_id = uuid.uuid4().urn

    def send(content: bytes) -> None:
        part = SentPart("one@x", "text/plain", len(content), lambda: iter([content]))
        post_soap(service.url, KEEP, body, [part], reply_to=service.partner.url, message_id=message_id)

    send(b"one")
    send(b"one")
    with pytest.raises(SoapFault):
        send(b"two")


def test_a_message_is_forgotten_a_day_after_its_answer(service: Service) -> None:
    message_id = uuid.uuid4().urn
    service.send(message_id=message_id)
    service.worker.run_due()
    service.clock.advance(hours=23)
    service.worker.run_due()
    assert service.kinds() == ["answered"]
    service.clock.advance(hours=1)
    service.worker.run_due()
    assert service.kinds() == []


def test_many_senders_of_one_message_have_one_effect(durable: Service) -> None:
    message_id = uuid.uuid4().urn
    failures: list[BaseException] = []

    def send() -> None:
        try:
            durable.send(message_id=message_id)
        except BaseException as failure:
            failures.append(failure)

    senders = [threading.Thread(target=send) for _ in range(6)]
    for sender in senders:
        sender.start()
    for sender in senders:
        sender.join(30)
    assert failures == []
    durable.worker.run_due()
    assert (durable.rows(), len(durable.partner.deliveries)) == (1, 1)


# ------------------------------------------------------------------ partners that are away, servers that end


def test_a_reply_waits_for_a_partner_that_is_away(service: Service) -> None:
    message_id = uuid.uuid4().urn
    reply = service.partner.ask(service.url, SAY, say(), message_id=message_id)
    service.partner.stop()
    tried = 0
    for seconds in (0, 5, 10, 20):
        service.clock.advance(seconds=seconds)
        tried += service.worker.run_due()
    # The request, then the reply four times.
    assert tried == 5
    assert (service.kinds(), service.rows()) == (["reply"], 1)
    service.partner.refuse = 1
    service.partner.start()
    service.clock.advance(seconds=40)
    service.worker.run_due()
    assert not reply.done()
    service.clock.advance(seconds=80)
    service.worker.run_due()
    assert reply.result(10).addressing.relates_to == message_id
    assert service.rows() == 1


def test_a_retrieve_is_executed_when_there_is_somebody_to_send_it_to(service: Service) -> None:
    reply = service.partner.ask(service.url, KEEP, f'<Keep xmlns="{NAMESPACE}" make="2000000"/>'.encode())
    service.partner.stop()
    service.worker.run_due()
    assert service.echo.seen == []
    service.partner.refuse = 1
    service.partner.start()
    service.clock.advance(seconds=5)
    service.worker.run_due()
    assert service.echo.finished == [False]
    service.clock.advance(seconds=10)
    service.worker.run_due()
    (part,) = reply.result(10).parts.values()
    assert part.staging.size == 2_000_000
    assert service.echo.finished == [False, True]
    part.staging.discard()


@pytest.mark.parametrize("transaction", [SAY, KEEP], ids=["kept", "made again"])
def test_a_reply_that_nobody_takes_is_given_up_and_audited(service: Service, transaction: Any) -> None:
    service.partner.stop()
    body = say() if transaction is SAY else f'<Keep xmlns="{NAMESPACE}"/>'.encode()
    post_soap(service.url, transaction, body, reply_to=service.partner.url)
    with capture_logs() as logs:
        for _ in range(20):
            service.worker.run_due()
            service.clock.advance(minutes=10)
    assert (service.kinds(), service.needed()) == ([], frozenset())
    (given_up,) = [entry for entry in logs if entry["event"] == "asynchronous.given_up"]
    assert given_up["transaction"] == transaction.id
    with service.database.read() as connection:
        ((_, event),) = audit.find(connection)
    assert (event.event_type.code, event.outcome) == (transaction.id, EventOutcome.SERIOUS_FAILURE)
    assert [item.user_id for item in event.participants] == [f"http://xds.example{SAY.path}", service.partner.url]
    assert "cannot be reached" in (event.outcome_description or "")


def test_a_server_that_was_down_for_days_still_does_what_it_accepted(service: Service) -> None:
    replies = [
        service.partner.ask(service.url, SAY, say()),
        service.partner.ask(service.url, KEEP, b'<Keep xmlns="urn:example:echo"/>'),
    ]
    service.clock.advance(days=3)
    service.worker.run_due()
    for reply in replies:
        reply.result(10)
    assert service.rows() == 1


def test_an_address_that_is_no_longer_configured_gets_nothing(service: Service) -> None:
    service.send()
    service.exchange._addresses = ReplyAddresses()
    service.worker.run_due()
    assert service.partner.deliveries == []
    assert service.kinds() == ["reply"]


def test_a_redirection_is_not_followed(service: Service) -> None:
    def serve(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        start_response("307 Temporary Redirect", [("Location", service.partner.url), ("Content-Length", "0")])
        return [b""]

    redirecting = HttpServer(serve, "127.0.0.1", 0)
    address = f"http://127.0.0.1:{redirecting.start()}/"
    try:
        service.exchange._addresses = ReplyAddresses([address])
        service.send(reply_to=address)
        service.worker.run_due()
    finally:
        redirecting.stop()
    assert service.partner.deliveries == []
    assert service.kinds() == ["reply"]


def test_an_execution_that_loses_its_lease_leaves_nothing(durable: Service) -> None:
    """Another worker has the job meanwhile: whatever this one did is undone."""
    durable.echo.gate.clear()
    reply = durable.partner.ask(durable.url, SAY, say())
    slow = durable.database.write(lambda connection: jobs.claim(connection, durable.clock(), 1))[0]
    durable.clock.advance(minutes=11)
    durable.echo.gate.set()
    assert durable.worker.run_due() == 2
    reply.result(10)
    assert durable.exchange.handlers[slow.kind](slow) is None
    assert (durable.echo.times, durable.rows(), len(durable.partner.deliveries)) == (2, 1, 1)
    assert durable.kinds() == ["answered"]


@pytest.mark.usefixtures("back_end")
def test_requests_wait_in_the_database_for_another_server(tmp_path: Path, partner: Partner) -> None:
    (tmp_path / "first").mkdir()
    with serving(tmp_path, partner, [partner.url]) as first:
        first.reset()
        reply = partner.ask(first.url, SAY, say("later"))
    with serving(tmp_path, partner, [partner.url]) as second:
        second.worker.run_due()
        assert reply.result(10).body.findtext(f"{{{NAMESPACE}}}Say") == "later"
