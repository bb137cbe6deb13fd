"""HTTP/1.1 on the wire: framing, patience, size, TLS, and an orderly end. Spec: RFC 9112; BCP 195; ITI TF-2 3.19."""

from __future__ import annotations

import hashlib
import http.client
import re
import socket
import ssl
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from tests.server.echo import KEEP, NAMESPACE, SAY, Echo, made, running
from xds.server.launcher import HttpServer, ServerTls, server_context
from xds.server.limits import Limits
from xds.transactions.client import post_soap
from xds.wire.soap import Addressing, SentPart, SoapFault, write_envelope
from xds.wire.xml import XOP

PKI = Path(__file__).parent / "pki"
PATH = SAY.path or ""
GET = b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n"
LIMITS = Limits(threads=4, uploads=3, header_block=4096, idle_seconds=5, body=100_000)
IMPATIENT = replace(LIMITS, header_seconds=0.3, idle_seconds=0.6, minimum_rate=100_000, rate_grace_seconds=0.3, body=1 << 30)
SAYING = b"".join(write_envelope([f'<Say xmlns="{NAMESPACE}">hello</Say>'.encode()], Addressing(SAY.action or "")))


class Wire:
    """A client that sends exactly what it is told."""

    def __init__(self, port: int, timeout: float = 10) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=timeout)

    def __enter__(self) -> Wire:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def send(self, *data: bytes) -> Wire:
        self.socket.sendall(b"".join(data))
        return self

    def rest(self) -> bytes:
        """Everything until the server closes."""
        received = b""
        while True:
            try:
                data = self.socket.recv(65536)
            except ConnectionResetError:
                return received
            if not data:
                return received
            received += data

    def answer(self) -> int:
        """The status of one answer, read to its end."""
        response = http.client.HTTPResponse(self.socket)
        response.begin()
        response.read()
        return response.status

    def is_closed(self) -> bool:
        try:
            return self.socket.recv(1) == b""
        except ConnectionResetError:
            return True


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    with running(tmp_path_factory.mktemp("wire"), Echo(), limits=LIMITS) as port:
        yield port


def statuses(data: bytes) -> list[int]:
    return [int(status) for status in re.findall(rb"HTTP/1\.1 (\d{3}) ", data)]


def post(path: str, *headers: str) -> bytes:
    return "\r\n".join([f"POST {path} HTTP/1.1", "Host: x", *headers, "", ""]).encode("latin-1")


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
        post("/files", "Transfer-Encoding: gzip, chunked"),
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
        post("/files", *[f"X-{n}: 1" for n in range(120)]),
        b"POST /files HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"POST /files HTTP/1.1\r\nContent-Length: 5\r\n\r\n",
        b"POST /files HTTP/1.1\nHost: x\n\n",
        b"GET  /files HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /files\r\nHost: x\r\n\r\n",
        b"GET http://elsewhere/files HTTP/1.1\r\nHost: x\r\n\r\n",
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
        assert statuses(wire.send(request_head).rest())[0] in (413, 414)


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
        assert set(statuses(wire.rest())) <= {400, 413, 414}


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
    with Wire(port, timeout=3) as wire:
        answer = wire.send(post("/nothing", "Content-Length: 100")).rest()
    assert statuses(answer) == [404]
    assert b"Connection: close" in answer


def test_an_early_refusal_reaches_a_client_that_is_still_sending(port: int) -> None:
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=10)) as connection:
        connection.putrequest("POST", "/files")
        connection.putheader("Content-Length", "3000000")
        connection.endheaders()
        for _ in range(3):
            connection.send(bytes(1_000_000))
        assert connection.getresponse().status == 413


# ------------------------------------------------------------------ patience


def until_closed(wire: Wire, send: Callable[[], object], seconds: float) -> float:
    """Keep sending until the server hangs up; how long it took."""
    began = time.monotonic()
    wire.socket.settimeout(0.02)
    while time.monotonic() - began < seconds:
        try:
            send()
            if wire.socket.recv(1000) in (b"",):
                break
        except TimeoutError:
            continue
        except ConnectionError:
            break
    return time.monotonic() - began


@pytest.fixture(scope="module")
def impatient(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[int, Echo]]:
    echo = Echo()
    with running(tmp_path_factory.mktemp("impatient"), echo, limits=IMPATIENT) as port:
        yield port, echo


def test_a_header_that_never_ends(impatient: tuple[int, Echo]) -> None:
    with Wire(impatient[0]) as wire:
        wire.send(b"GET / HTTP/1.1\r\n")
        assert until_closed(wire, lambda: wire.send(b"X: y\r\n"), 5) < 3


def test_a_header_that_stops(impatient: tuple[int, Echo]) -> None:
    with Wire(impatient[0]) as wire:
        wire.send(b"GET / HTTP/1.1\r\n")
        assert statuses(wire.rest()) == [408]


def test_a_body_that_crawls(impatient: tuple[int, Echo]) -> None:
    with Wire(impatient[0]) as wire:
        wire.send(post("/files", "Content-Length: 1000000"))
        assert until_closed(wire, lambda: wire.send(b"x"), 5) < 4


def test_a_body_that_stops(impatient: tuple[int, Echo]) -> None:
    with Wire(impatient[0]) as wire:
        wire.send(post(PATH, "Content-Type: application/soap+xml", "Content-Length: 1000"), b"<a>")
        answer = wire.rest()
    assert statuses(answer) == [408]
    assert b"soap-envelope" in answer


def test_a_reader_that_stops(impatient: tuple[int, Echo]) -> None:
    port, echo = impatient
    echo.finished.clear()
    xml = f'<Keep xmlns="{NAMESPACE}" make="100000000"/>'.encode()
    data = b"".join(write_envelope([xml], Addressing(KEEP.action or "")))
    package = b"--B\r\n\r\n" + data + b"\r\n--B--"
    with Wire(port) as wire:
        wire.send(post(PATH, "Content-Type: multipart/related; boundary=B", f"Content-Length: {len(package)}"), package)
        wire.socket.recv(1000)
        deadline = time.monotonic() + 8
        while not echo.finished and time.monotonic() < deadline:
            time.sleep(0.02)
    assert echo.finished == [False]


def test_a_connection_that_waits_is_closed_silently(impatient: tuple[int, Echo]) -> None:
    with Wire(impatient[0]) as wire:
        assert wire.rest() == b""
    with Wire(impatient[0]) as wire:
        assert wire.send(GET).answer() == 200
        assert wire.is_closed()


def test_silent_and_stalled_clients_do_not_occupy_the_server(tmp_path: Path) -> None:
    """Connections without a request wait outside the threads: there are more of them here than threads."""
    with running(tmp_path, Echo(), limits=replace(LIMITS, threads=2, uploads=1)) as port:
        silent = [Wire(port) for _ in range(10)]
        try:
            with Wire(port, timeout=2) as wire:
                assert wire.send(GET).answer() == 200
        finally:
            for wire in silent:
                wire.socket.close()


def test_connections_are_limited(tmp_path: Path) -> None:
    with running(tmp_path, Echo(), limits=replace(LIMITS, connections=3)) as port:
        wires = [Wire(port) for _ in range(4)]
        try:
            assert wires[3].is_closed()
            assert wires[0].send(GET).answer() == 200
        finally:
            for wire in wires:
                wire.socket.close()


# ------------------------------------------------------------------ size


@pytest.mark.parametrize("chunk", [8 << 10, 50 << 20])
def test_a_large_chunked_upload_needs_little_memory(tmp_path: Path, chunk: int) -> None:
    """Whatever size the client gives its chunks."""
    size = 50 << 20
    block = bytes(range(256)) * 1024
    limits = replace(LIMITS, body=1 << 30)
    content = f'<Keep xmlns="{NAMESPACE}" xmlns:xop="{XOP}"><xop:Include href="cid:d"/></Keep>'.encode()
    head = (
        b"--B\r\n\r\n"
        + b"".join(write_envelope([content], Addressing(KEEP.action or "")))
        + b"\r\n--B\r\nContent-ID: <d>\r\n\r\n"
    )
    with running(tmp_path, Echo(), limits=limits) as port, Wire(port, timeout=60) as wire:
        tracemalloc.start()
        try:
            wire.send(
                post(PATH, "Content-Type: multipart/related; boundary=B", "Transfer-Encoding: chunked", "Connection: close")
            )
            wire.send(b"%x\r\n%b\r\n" % (len(head), head))
            for start in range(0, size, chunk):
                wire.send(b"%x\r\n" % chunk)
                for _ in range(0, chunk, len(block)):
                    wire.send(block[: min(chunk, len(block))])
                wire.send(b"\r\n")
                assert start < size
            wire.send(b"9\r\n\r\n--B--\r\n\r\n0\r\n\r\n")
            answer = wire.rest()
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
    assert statuses(answer) == [200]
    assert f'size="{size}"'.encode() in answer
    assert peak < 6 << 20


# ------------------------------------------------------------------ the end


def test_stopping_lets_requests_finish_and_takes_no_more(tmp_path: Path) -> None:
    echo = Echo()
    echo.gate.clear()
    answers: list[str] = []
    with running(tmp_path, echo, limits=LIMITS) as port:
        url = f"http://127.0.0.1:{port}{PATH}"
        body = f'<Say xmlns="{NAMESPACE}">last</Say>'.encode()
        client = threading.Thread(target=lambda: answers.append(post_soap(url, SAY, body).body[0].text))
        client.start()
        assert echo.entered.wait(10)
        threading.Timer(0.7, echo.gate.set).start()
        began = time.monotonic()
    assert time.monotonic() - began < 5
    client.join(10)
    assert answers == ["last"]
    with pytest.raises(ConnectionError):
        socket.create_connection(("127.0.0.1", port), timeout=5)


def test_stop_may_come_twice_or_before_start(tmp_path: Path) -> None:
    server = HttpServer(lambda environ, start_response: [], "127.0.0.1", 0, limits=LIMITS)
    server.stop()
    server.start()
    server.stop()
    server.stop()


def test_an_address_in_use(port: int) -> None:
    with pytest.raises(OSError, match="No socket could be created"):
        HttpServer(lambda environ, start_response: [], "127.0.0.1", port, limits=LIMITS).start()


# ------------------------------------------------------------------ TLS

TLS = ServerTls(str(PKI / "server.pem"), str(PKI / "server.key"), str(PKI / "ca.pem"))


def client_context(*, certificate: bool) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(PKI / "ca.pem"))
    if certificate:
        context.load_cert_chain(PKI / "client.pem", PKI / "client.key")
    return context


def say_over_tls(port: int, context: ssl.SSLContext) -> str:
    body = f'<Say xmlns="{NAMESPACE}">hello</Say>'.encode()
    answer = post_soap(f"https://localhost:{port}{PATH}", SAY, body, ssl_context=context, timeout=10)
    return str(answer.body[0].text)


@pytest.fixture(scope="module")
def secure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[int, Echo]]:
    echo = Echo()
    with running(tmp_path_factory.mktemp("tls"), echo, limits=LIMITS, tls=TLS) as port:
        yield port, echo


def test_the_client_certificate_names_the_node(secure: tuple[int, Echo]) -> None:
    port, echo = secure
    assert say_over_tls(port, client_context(certificate=True)) == "hello"
    assert echo.callers[-1].node == "O=Test,CN=client.example"


def test_without_client_certificate_nobody_is_served(secure: tuple[int, Echo]) -> None:
    before = len(secure[1].callers)
    with pytest.raises(ConnectionError):
        say_over_tls(secure[0], client_context(certificate=False))
    assert len(secure[1].callers) == before


def test_optional_client_certificates(tmp_path: Path) -> None:
    echo = Echo()
    with running(tmp_path, echo, limits=LIMITS, tls=replace(TLS, client_certificate="optional")) as port:
        say_over_tls(port, client_context(certificate=False))
        say_over_tls(port, client_context(certificate=True))
    assert [caller.node for caller in echo.callers] == [None, "O=Test,CN=client.example"]


def test_large_messages_over_tls(secure: tuple[int, Echo]) -> None:
    size = 3_000_000
    body = f'<Keep xmlns="{NAMESPACE}" xmlns:xop="{XOP}" return="1"><xop:Include href="cid:d"/></Keep>'.encode()
    part = SentPart("d", "a/b", size, lambda: made(size))
    answer = post_soap(
        f"https://localhost:{secure[0]}{PATH}", KEEP, body, [part], ssl_context=client_context(certificate=True), chunked=True
    )
    assert b"".join(answer.parts["back.d"].staging.open()) == b"".join(made(size))


def test_old_versions_of_tls_are_refused(secure: tuple[int, Echo]) -> None:
    context = server_context(TLS)
    assert context.minimum_version is ssl.TLSVersion.TLSv1_2
    modern = client_context(certificate=True)
    modern.maximum_version = ssl.TLSVersion.TLSv1_2
    assert say_over_tls(secure[0], modern) == "hello"


def test_plain_http_at_the_tls_port_is_told_so(secure: tuple[int, Echo]) -> None:
    with Wire(secure[0]) as wire:
        answer = wire.send(GET).rest()
    assert statuses(answer) == [400]
    assert b"HTTPS" in answer


def test_a_handshake_that_stops_does_not_stop_the_others(secure: tuple[int, Echo]) -> None:
    with Wire(secure[0]) as silent, Wire(secure[0]) as started:
        started.send(b"\x16\x03\x01\x02\x00")
        began = time.monotonic()
        assert say_over_tls(secure[0], client_context(certificate=True)) == "hello"
        assert time.monotonic() - began < 2
        assert silent.socket.fileno() >= 0


@pytest.mark.parametrize(
    "tls",
    [
        replace(TLS, client_certificate="maybe"),
        replace(TLS, trusted=None),
        replace(TLS, client_certificate="optional", trusted=None),
    ],
)
def test_contradictory_settings(tls: ServerTls) -> None:
    with pytest.raises(ValueError, match="client"):
        server_context(tls)


def test_a_fault_of_the_partner_is_raised(port: int) -> None:
    with pytest.raises(SoapFault):
        post_soap(f"http://127.0.0.1:{port}{PATH}", SAY, f'<Say xmlns="{NAMESPACE}">fault</Say>'.encode())
