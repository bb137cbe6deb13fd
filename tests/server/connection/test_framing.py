"""Where requests begin and end, and connections that carry several."""

from __future__ import annotations

import hashlib
import http.client
import socket
from contextlib import closing

import pytest

from tests.server.connection.wire import GET, PATH, SAYING, Wire, post, statuses
from tests.server.echo import NAMESPACE, SAY
from xds.transactions.client import post_soap
from xds.wire.soap import SoapFault

# ------------------------------------------------------------------ framing


@pytest.mark.parametrize(
    "request_head",
    [
        post("/files", "Content-Length: 5", "Transfer-Encoding: chunked"),
        post("/files", "Transfer-Encoding: chunked", "Content-Length: 5"),
        post("/files", "Content-Length: 5", "Content-Length: 5"),
        post("/files", "Content-Length: 5", "Content-Length: 6"),
        post("/files", "content-length: 5", "CONTENT-LENGTH: 0"),
        post("/files", "Content-Length: 5, 5"),
        post("/files", "Content-Length: -5"),
        post("/files", "Content-Length: +5"),
        post("/files", "Content-Length: 0x5"),
        post("/files", "Content-Length: 5 5"),
        post("/files", "Content-Length:"),
        post("/files", "Content-Length: 99999999999999999999"),
        post("/files", "Transfer-Encoding: chunked, gzip"),
        post("/files", "Transfer-Encoding: chunked, chunked"),
        post("/files", "Transfer-Encoding: identity"),
        post("/files", "Transfer-Encoding: chunked", "Transfer-Encoding: chunked"),
        post("/files", "Transfer-Encoding: \x0bchunked"),
        post("/files", "Transfer-Encoding : chunked"),
        post("/files", " Content-Length: 5"),
        post("/files", "X: y", " folded"),
        post("/files", "X: \0"),
        post("/files", "X\0: y"),
        post("/files", ": y"),
        post("/files", "no colon"),
        post("/files", "X: a\nContent-Length: 5"),
        post("/files", "Host: y"),
        post("/files", "Host: x y"),
        b"GET /files HTTP/1.1\r\nHost: x/y\r\n\r\n",
        b"POST /files HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"POST /files HTTP/1.1\r\nContent-Length: 5\r\n\r\n",
        b"POST /files HTTP/1.1\nHost: x\n\n",
        b"GET  /files HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /files\r\nHost: x\r\n\r\n",
        b"GET http:///files HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET http://user@elsewhere/files HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET ftp://elsewhere/files HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET http://elsewhere/files HTTP/1.1\r\n\r\n",
        b"GET files HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET * HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /files#part HTTP/1.1\r\nHost: x\r\n\r\n",
        b"get /files HTTP/1.1\r\nHost: x\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
        b"\r\n\r\n\r\n",
    ],
)
def test_ambiguous_requests_are_refused_and_the_connection_ends(port: int, request_head: bytes) -> None:
    with Wire(port) as wire:
        answer = wire.send(request_head, b"0\r\n\r\n", GET).rest()
    assert statuses(answer) == [400]


@pytest.mark.parametrize(
    "request_head", [b"GET /" + b"x" * 5000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", post("/files", "X: " + "y" * 5000)]
)
def test_headers_are_bounded(port: int, request_head: bytes) -> None:
    with Wire(port) as wire:
        answer = wire.send(request_head).rest()
    assert statuses(answer)[0] in (414, 431)
    assert b"\r\nConnection: close\r\n" in answer


@pytest.mark.parametrize(
    ("request_head", "status"),
    [
        (post("/files", "Transfer-Encoding: gzip, chunked"), 501),
        (b"CONNECT elsewhere:443 HTTP/1.1\r\nHost: x\r\n\r\n", 501),
        (post("/files", *[f"X-{n}: 1" for n in range(120)]), 431),
    ],
)
def test_what_is_not_provided_is_refused_by_name(port: int, request_head: bytes, status: int) -> None:
    """RFC 9112 6.1, RFC 9110 15.6.2, RFC 6585 5."""
    with Wire(port) as wire:
        answer = wire.send(request_head, GET).rest()
    assert statuses(answer) == [status]
    assert b"\r\nConnection: close\r\n" in answer


@pytest.mark.parametrize(
    "target", [b"http://elsewhere:8080/health/live", b"HTTP://x/health%2Dlive/../live?y=z", b"https://[::1]/"]
)
def test_a_target_in_absolute_form_is_its_path(port: int, target: bytes) -> None:
    """What clients send that believe in a proxy. RFC 9112 3.2.2."""
    with Wire(port) as wire:
        wire.send(b"GET " + target + b" HTTP/1.1\r\nHost: x\r\n\r\n")
        assert wire.answer() == (200 if target.endswith(b"/health/live") else 404)
        assert wire.send(GET).answer() == 200


def test_options_of_the_server(port: int) -> None:
    """RFC 9110 9.3.7."""
    with Wire(port) as wire:
        answer = wire.send(b"OPTIONS * HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").rest()
    assert statuses(answer) == [204]
    assert b"\r\nAllow: GET, HEAD, POST" in answer


def test_a_later_minor_version_is_answered_as_this_one(port: int) -> None:
    """RFC 9110 2.5."""
    with Wire(port) as wire:
        assert wire.send(b"GET /health/live HTTP/1.7\r\nHost: x\r\n\r\n").answer() == 200
        assert wire.send(GET).answer() == 200


def test_a_client_of_http_1_0_awaits_no_interim_answer(port: int) -> None:
    """RFC 9110 10.1.1."""
    with Wire(port) as wire:
        answer = wire.send(b"POST /files HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\nab").rest()
    assert statuses(answer) == [200]


@pytest.mark.parametrize("version", [b"HTTP/2.0", b"HTTP/9.9"])
def test_other_versions(port: int, version: bytes) -> None:
    with Wire(port) as wire:
        assert statuses(wire.send(b"GET / " + version + b"\r\nHost: x\r\n\r\n").rest()) == [505]


@pytest.mark.parametrize(
    "body",
    [
        b"0x5\r\nhello\r\n0\r\n\r\n",
        b"+5\r\nhello\r\n0\r\n\r\n",
        b"-5\r\nhello\r\n0\r\n\r\n",
        b"1_0\r\nhello\r\n0\r\n\r\n",
        b" 5\r\nhello\r\n0\r\n\r\n",
        b"\r\nhello\r\n0\r\n\r\n",
        b"5\nhello\r\n0\r\n\r\n",
        b"5\r\nhelloXX0\r\n\r\n",
        b"5\r\nhello0\r\n\r\n",
        b"4\r\nhello\r\n0\r\n\r\n",
        b"5;" + b"x" * 5000 + b"\r\nhello\r\n0\r\n\r\n",
        b"1000000000000000\r\nhello",
        b"5\r\nhello\r\n0\r\nbroken trailer",
        b"5\r\nhello\r\n0\r\n" + b"X: y\r\n" * 200 + b"\r\n",
    ],
)
def test_broken_chunks(port: int, body: bytes) -> None:
    with Wire(port) as wire:
        wire.send(post("/files", "Transfer-Encoding: chunked"), body)
        wire.socket.shutdown(socket.SHUT_WR)
        assert statuses(wire.rest()) == [400]


def test_chunks_extensions_and_trailers(port: int) -> None:
    body = b'5;name="v"\r\nhello\r\nA \r\n0123456789\r\n000\r\nTrailer: x\r\n\r\n'
    with Wire(port) as wire:
        answer = wire.send(post("/files", "Transfer-Encoding: CHUNKED", "Connection: close"), body).rest()
    assert hashlib.sha1(b"hello0123456789").hexdigest().encode() in answer


def test_a_body_that_ends_early(port: int) -> None:
    with Wire(port) as wire:
        wire.send(post("/files", "Content-Length: 10"), b"12345")
        wire.socket.shutdown(socket.SHUT_WR)
        assert statuses(wire.rest()) == [400]


def test_a_megabyte_of_garbage(port: int) -> None:
    with Wire(port) as wire:
        try:
            wire.send(bytes(range(256)) * 4096)
        except ConnectionError:
            return
        assert set(statuses(wire.rest())) <= {400, 414, 431}


# ------------------------------------------------------------------ connections


def test_requests_in_a_row_and_garbage_at_the_end(port: int) -> None:
    with Wire(port) as wire:
        answer = wire.send(GET, GET, post("/files", "Content-Length: 5"), b"hello", GET, b"garbage\r\n\r\n", GET).rest()
    assert statuses(answer) == [200, 200, 200, 200, 400]


@pytest.mark.parametrize("headers", [("Connection: close",), ("Connection: x, Close",)])
def test_a_connection_closes_when_asked(port: int, headers: tuple[str, ...]) -> None:
    with Wire(port) as wire:
        assert statuses(wire.send(post("/files", "Content-Length: 0", *headers), GET).rest()) == [200]


def test_http_1_0(port: int) -> None:
    with Wire(port) as wire:
        assert b"alive" in wire.send(b"GET /health/live HTTP/1.0\r\n\r\n").rest()
    with Wire(port) as wire:
        answer = wire.send(b"GET /health/live HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", b"GET / HTTP/1.0\r\n\r\n").rest()
    assert statuses(answer) == [200, 404]


@pytest.mark.parametrize("framing", ["Content-Length", "chunked"])
@pytest.mark.parametrize("size", [100, 90_000])
def test_an_unread_body_never_becomes_the_next_request(port: int, framing: str, size: int) -> None:
    """A little is read away and the connection kept; when there is more, it ends. What it holds is never answered."""
    inner = GET.replace(b"/health/live", b"/metrics") + bytes(size)
    if framing == "chunked":
        data = post("/nothing", "Transfer-Encoding: chunked") + b"%x\r\n" % len(inner) + inner + b"\r\n0\r\n\r\n"
    else:
        data = post("/nothing", f"Content-Length: {len(inner)}") + inner
    with Wire(port) as wire:
        answer = wire.send(data, GET.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")).rest()
    assert statuses(answer) == ([404, 200] if size == 100 else [404])


def test_expect_continue(port: int) -> None:
    head = post(
        PATH, "Content-Type: application/soap+xml", f"Content-Length: {len(SAYING)}", "Expect: 100-continue", "Connection: close"
    )
    with Wire(port) as wire:
        wire.send(head)
        assert wire.socket.recv(1000) == b"HTTP/1.1 100 Continue\r\n\r\n"
        assert statuses(wire.send(SAYING).rest()) == [200]


@pytest.mark.parametrize("path", ["/nothing", "/files"])
def test_what_is_refused_is_not_asked_for(port: int, path: str) -> None:
    with Wire(port) as wire:
        answer = wire.send(post(path, "Content-Length: 10000000", "Expect: 100-continue")).rest()
    assert statuses(answer) == [404 if path == "/nothing" else 413]
    assert b"Connection: close" in answer


def test_an_answer_does_not_wait_for_a_body_that_nobody_reads(port: int) -> None:
    with Wire(port, timeout=30) as wire:
        answer = wire.send(post("/nothing", "Content-Length: 100")).rest()
    assert statuses(answer) == [404]
    assert b"Connection: close" in answer


def test_an_early_refusal_reaches_a_client_that_is_still_sending(port: int) -> None:
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=60)) as connection:
        connection.putrequest("POST", "/files")
        connection.putheader("Content-Length", "3000000")
        connection.endheaders()
        for _ in range(3):
            connection.send(bytes(1_000_000))
        assert connection.getresponse().status == 413


def test_a_fault_of_the_partner_is_raised(port: int) -> None:
    with pytest.raises(SoapFault):
        post_soap(f"http://127.0.0.1:{port}{PATH}", SAY, f'<Say xmlns="{NAMESPACE}">fault</Say>'.encode())
