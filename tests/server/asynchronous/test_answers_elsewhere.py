"""Requests that are accepted, executed, and answered at another address; addresses and faults."""

from __future__ import annotations

import http.client
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from structlog.testing import capture_logs

from tests.server.asynchronous.replying import INVALID, Service, say, serving
from tests.server.echo import KEEP, NAMESPACE, SAY
from tests.server.reply_partner import Partner
from xds.server.asynchronous import EXECUTIONS
from xds.transactions.client import post_soap
from xds.wire.soap import ANONYMOUS, NONE, Addressing, SentPart, SoapFault, write_envelope
from xds.wire.xml import WSA, XOP, parse

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


def test_the_charset_of_the_request_is_kept_until_it_is_executed(service: Service) -> None:
    """RFC 7303 section 3.2: the Content-Type decides, and it is not there any more when the message is read again."""
    addressing = Addressing(SAY.action or "", message_id="urn:uuid:3", reply_to=service.partner.url)
    data = b"".join(write_envelope([say("Zoë")], addressing)).decode().encode("latin-1")
    address = urlsplit(service.url)
    connection = http.client.HTTPConnection(address.hostname or "", address.port, timeout=60)
    try:
        connection.request("POST", address.path, data, {"Content-Type": "application/soap+xml; charset=ISO-8859-1"})
        assert connection.getresponse().status == 202
    finally:
        connection.close()
    service.worker.run_due()
    assert parse(service.partner.deliveries[0].body).findtext(f".//{{{NAMESPACE}}}Say") == "Zoë"


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
    connection = http.client.HTTPConnection(parts.netloc, timeout=60)
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
