"""The SOAP client against partners that answer well, badly, or not at all. Spec: ITI TF-2 Appendix V; WS-Addressing 1.0."""

from __future__ import annotations

import hashlib
import io
import re
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.ports import port_of_nobody
from tests.server.echo import KEEP, NAMESPACE, SAY, Echo, made, running
from xds.store.blobs.local import LocalBlobStore
from xds.transactions.client import (
    Acknowledgement,
    NoAnswerError,
    TemporaryStaging,
    UnusableAnswerError,
    outgoing_of,
    post_reply,
    post_soap,
)
from xds.wire.mtom import MtomLimits, write_package
from xds.wire.soap import Addressing, SentPart, SoapFault, write_envelope, write_fault
from xds.wire.xml import SOAP12, XOP

BODY = f'<Say xmlns="{NAMESPACE}">hello</Say>'.encode()
ANSWER = f'<SayResponse xmlns="{NAMESPACE}"/>'.encode()


@contextmanager
def partner(answer: Callable[[bytes, bytes], bytes]) -> Iterator[str]:
    """A partner for one connection: reads a request with Content-Length, sends what `answer(head, body)` gives, and closes."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        connection, _ = listener.accept()
        with connection:
            data = b""
            while b"\r\n\r\n" not in data:
                data += connection.recv(65536)
            head, _, body = data.partition(b"\r\n\r\n")
            found = re.search(rb"(?i)content-length: (\d+)", head)
            while found and len(body) < int(found[1]):
                body += connection.recv(65536)
            connection.sendall(answer(head, body))

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/x?y=z"
    finally:
        thread.join(60)
        listener.close()


def http(body: bytes, content_type: str = "application/soap+xml", status: int = 200) -> bytes:
    return f"HTTP/1.1 {status} X\r\nContent-Type: {content_type}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


def message_id(body: bytes) -> str:
    found = re.search(rb"MessageID>([^<]+)<", body)
    assert found
    return found[1].decode()


def enveloped(request: bytes, **changed: Any) -> bytes:
    addressing = Addressing(**{"action": SAY.reply_action, "relates_to": message_id(request), **changed})
    return b"".join(write_envelope([ANSWER], addressing))


def answered(answer: Callable[[bytes, bytes], bytes], **options: Any) -> Any:
    with partner(answer) as url:
        return post_soap(url, SAY, BODY, timeout=60, **options)


# ------------------------------------------------------------------ what is sent


def test_a_simple_request() -> None:
    seen: list[bytes] = []

    def answer(head: bytes, body: bytes) -> bytes:
        seen.extend((head, body))
        return http(enveloped(body))

    assert answered(answer).body.tag == f"{{{NAMESPACE}}}SayResponse"
    head, body = seen
    assert head.startswith(b"POST /x?y=z HTTP/1.1\r\n")
    assert b'Content-Type: application/soap+xml; charset=UTF-8; action="urn:example:echo:Say"' in head
    for expected in (
        b'<wsa:Action s:mustUnderstand="true">urn:example:echo:Say<',
        b"/addressing/anonymous<",
        b"<wsa:To>http://127.0.0.1",
    ):
        assert expected in body
    assert BODY in body
    assert message_id(body).startswith("urn:uuid:")


@pytest.mark.parametrize("chunked", [True, False])
def test_parts_are_streamed_both_ways(tmp_path: Path, chunked: bool) -> None:
    size = 3_000_001
    body = [f'<Keep xmlns="{NAMESPACE}" xmlns:xop="{XOP}" return="1">'.encode(), b'<xop:Include href="cid:d"/>', b"</Keep>"]
    part = SentPart("d", "application/dicom", size, lambda: made(size))
    store = LocalBlobStore(tmp_path / "client")
    with running(tmp_path, Echo()) as port:
        url = f"http://127.0.0.1:{port}{KEEP.path}"
        answer = post_soap(url, KEEP, body, [part], chunked=chunked, stage=store.stage)
    staging = answer.parts["back.d"].staging
    assert (staging.size, staging.sha1) == (size, hashlib.sha1(b"".join(made(size))).hexdigest())
    answer.discard()
    assert list((tmp_path / "client/staging").iterdir()) == []


def test_a_transaction_without_mtom_carries_no_parts() -> None:
    with pytest.raises(ValueError, match="carries no parts"):
        post_soap("http://127.0.0.1:9/", SAY, BODY, [SentPart("d", "a/b", 0, lambda: iter(()))])


@pytest.mark.parametrize("endpoint", ["", "/services/x", "ftp://127.0.0.1/", "http://"])
def test_endpoints_are_absolute_urls(endpoint: str) -> None:
    with pytest.raises(ValueError, match="absolute"):
        post_soap(endpoint, SAY, BODY)


# ------------------------------------------------------------------ what comes back


def test_an_answer_without_relates_to_is_accepted() -> None:
    assert answered(lambda head, body: http(enveloped(body, relates_to=None))).addressing.relates_to is None


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (lambda head, body: http(enveloped(body, relates_to="urn:uuid:other")), "RelatesTo"),
        (lambda head, body: http(enveloped(body, action="urn:other")), "wsa:Action urn:other"),
        (lambda head, body: http(enveloped(body), "text/html"), "text/html"),
        (lambda head, body: http(enveloped(body), ""), "no content type"),
        (lambda head, body: http(enveloped(body), status=500), "HTTP 500 with a SOAP message that is no fault"),
        (lambda head, body: http(b"<html/>", "text/html", 503), "HTTP 503"),
        (lambda head, body: http(b"", status=202), "cannot be read"),
        (lambda head, body: http(b"<a>"), "cannot be read"),
        (lambda head, body: http(b"<a/>"), "not a SOAP envelope"),
        (lambda head, body: http(b"<!DOCTYPE a><a/>"), "DOCTYPE"),
        (lambda head, body: http(enveloped(body), "multipart/related; boundary=B"), "ends before"),
        (lambda head, body: http(bytes(2000)), "larger than 1000 octets"),
    ],
)
def test_unusable_answers(answer: Callable[[bytes, bytes], bytes], why: str) -> None:
    with pytest.raises(UnusableAnswerError, match=why):
        answered(answer, limits=MtomLimits(root=1000))


@pytest.mark.parametrize("answer", [b"", b"nonsense\r\n\r\n", http(bytes(10))[:-5]])
def test_partners_that_break_off(answer: bytes) -> None:
    with pytest.raises(NoAnswerError):
        answered(lambda head, body: answer)


def test_nobody_there() -> None:
    with port_of_nobody() as port, pytest.raises(NoAnswerError, match=f"127.0.0.1:{port}"):
        post_soap(f"http://127.0.0.1:{port}/", SAY, BODY)


def test_nobody_answers() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener, pytest.raises(NoAnswerError, match="TimeoutError"):
        post_soap(f"http://127.0.0.1:{listener.getsockname()[1]}/", SAY, BODY, timeout=0.2)


@pytest.mark.parametrize("status", [200, 400, 500])
def test_faults_are_raised_with_the_status_they_came_with(status: int) -> None:
    fault = SoapFault("Receiver", "no", subcode=("urn:a", "b"))
    with pytest.raises(SoapFault, match="no") as caught:
        answered(lambda head, body: http(write_fault(fault), status=status))
    assert (caught.value.code, caught.value.subcode, caught.value.http_status) == ("Receiver", ("urn:a", "b"), status)


def test_a_fault_needs_no_headers() -> None:
    fault = "<e:Fault><e:Code><e:Value>e:Sender</e:Value></e:Code></e:Fault>"
    bare = f'<e:Envelope xmlns:e="{SOAP12}"><e:Body>{fault}</e:Body></e:Envelope>'
    with pytest.raises(SoapFault):
        answered(lambda head, body: http(bare.encode(), status=400))


def test_a_fault_in_a_package() -> None:
    outgoing = write_package([write_fault(SoapFault("Sender", "packaged"))], [])
    with pytest.raises(SoapFault, match="packaged"):
        answered(lambda head, body: http(b"".join(outgoing.chunks), outgoing.content_type, 400))


def test_an_early_refusal_is_read_although_sending_failed() -> None:
    """The partner answers and closes while the request is still on its way."""
    size = 64 << 20
    listener = socket.create_server(("127.0.0.1", 0))

    def refuse() -> None:
        connection, _ = listener.accept()
        with connection:
            connection.recv(1000)
            connection.sendall(http(write_fault(SoapFault("Sender", "too large", http_status=413)), status=413))
            connection.shutdown(socket.SHUT_WR)
            connection.settimeout(0.3)
            try:
                while connection.recv(65536):
                    pass
            except (TimeoutError, ConnectionError):
                pass

    thread = threading.Thread(target=refuse)
    thread.start()
    part = SentPart("d", "a/b", size, lambda: made(size))
    body = f'<Keep xmlns="{NAMESPACE}"/>'.encode()
    try:
        with pytest.raises(SoapFault, match="too large"):
            post_soap(f"http://127.0.0.1:{listener.getsockname()[1]}/", KEEP, body, [part], timeout=60)
    finally:
        thread.join(60)
        listener.close()


# ------------------------------------------------------------------ the default staging


def test_a_temporary_staging_keeps_what_it_is_given() -> None:
    staging = TemporaryStaging()
    staging.write(b"ab")
    staging.write(memoryview(bytes(600_000)))
    assert staging.size == 600_002
    assert b"".join(staging.open()) == b"ab" + bytes(600_000)
    assert staging.sha1 == hashlib.sha1(b"ab" + bytes(600_000)).hexdigest()
    with pytest.raises(io.UnsupportedOperation):
        staging.commit()
    staging.discard()
    staging.discard()


# ------------------------------------------------------------------ answers that go elsewhere

ELSEWHERE = "http://192.0.2.1/replies/"


def test_a_request_with_a_reply_address_is_acknowledged() -> None:
    seen: list[bytes] = []

    def answer(head: bytes, body: bytes) -> bytes:
        seen.append(body)
        return b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n"

    given = answered(answer, reply_to=ELSEWHERE, fault_to=f"{ELSEWHERE}faults", message_id="urn:uuid:7")
    assert given == Acknowledgement("urn:uuid:7")
    assert b"<wsa:ReplyTo><wsa:Address>http://192.0.2.1/replies/</wsa:Address></wsa:ReplyTo>" in seen[0]
    assert b"<wsa:FaultTo><wsa:Address>http://192.0.2.1/replies/faults</wsa:Address></wsa:FaultTo>" in seen[0]
    assert message_id(seen[0]) == "urn:uuid:7"


def test_an_acknowledgement_is_no_answer() -> None:
    with pytest.raises(UnusableAnswerError, match="HTTP 202"):
        answered(lambda head, body: b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n")


def test_an_answer_over_the_connection_is_no_acknowledgement() -> None:
    with pytest.raises(UnusableAnswerError, match="came over the connection"):
        answered(lambda head, body: http(enveloped(body)), reply_to=ELSEWHERE)


def test_a_request_that_is_not_accepted_raises_the_fault() -> None:
    fault = write_fault(SoapFault("Sender", "not there"))
    with pytest.raises(SoapFault, match="not there"):
        answered(lambda head, body: http(fault, status=400), reply_to=ELSEWHERE)


@pytest.mark.parametrize("status", [200, 202, 204])
def test_a_reply_is_delivered_by_any_success(status: int) -> None:
    seen: list[bytes] = []

    def answer(head: bytes, body: bytes) -> bytes:
        seen.extend((head, body))
        return f"HTTP/1.1 {status} X\r\nContent-Length: 0\r\n\r\n".encode()

    with partner(answer) as url:
        post_reply(url, lambda: outgoing_of([ANSWER], (), "urn:a", is_mtom=False), timeout=60)
    assert b'Content-Type: application/soap+xml; charset=UTF-8; action="urn:a"' in seen[0]
    assert seen[1] == ANSWER


@pytest.mark.parametrize("status", [302, 307, 404, 500])
def test_a_reply_that_is_not_taken(status: int) -> None:
    def answer(head: bytes, body: bytes) -> bytes:
        return f"HTTP/1.1 {status} X\r\nLocation: http://192.0.2.1/\r\nContent-Length: 0\r\n\r\n".encode()

    with partner(answer) as url, pytest.raises(NoAnswerError, match=f"HTTP {status}"):
        post_reply(url, lambda: outgoing_of([ANSWER], (), "urn:a", is_mtom=False), timeout=60)


def test_a_reply_is_not_made_for_nobody() -> None:
    with port_of_nobody() as port, pytest.raises(NoAnswerError, match="cannot be reached"):
        post_reply(f"http://127.0.0.1:{port}/", lambda: pytest.fail("it was made"))


def test_the_charset_of_an_answer_goes_before_its_declaration() -> None:
    """RFC 7303 section 3.2."""

    def answer(head: bytes, body: bytes) -> bytes:
        content = f'<SayResponse xmlns="{NAMESPACE}">Zoë</SayResponse>'.encode()
        envelope = b"".join(write_envelope([content], Addressing(SAY.reply_action or ""))).decode().encode("latin-1")
        kind = "Content-Type: application/soap+xml; charset=ISO-8859-1"
        return f"HTTP/1.1 200 OK\r\n{kind}\r\nContent-Length: {len(envelope)}\r\n\r\n".encode() + envelope

    with partner(answer) as url:
        assert post_soap(url, SAY, BODY).body.text == "Zoë"
