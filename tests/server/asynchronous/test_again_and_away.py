"""The same message again, partners that are away, servers that end."""

from __future__ import annotations

import threading
import uuid
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from tests.server.asynchronous.replying import INVALID, Service, say, serving
from tests.server.echo import KEEP, NAMESPACE, SAY
from tests.server.reply_partner import Partner
from xds.model.audit import EventOutcome
from xds.server.launcher import HttpServer
from xds.store import audit, jobs
from xds.transactions.client import Acknowledgement, post_soap
from xds.wire.reply_addresses import ReplyAddresses
from xds.wire.soap import SentPart, SoapFault
from xds.wire.xml import WSA, XOP

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
        sender.join(60)
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
