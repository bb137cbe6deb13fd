"""Clients that are slow, silent, many or large, and how a server ends."""

from __future__ import annotations

import socket
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.ports import free_port
from tests.server.connection.wire import GET, IMPATIENT, LIMITS, PATH, Wire, post, statuses
from tests.server.echo import KEEP, NAMESPACE, SAY, Echo, running
from xds.server.launcher import HttpServer
from xds.transactions.client import post_soap
from xds.wire.soap import Addressing, write_envelope
from xds.wire.xml import XOP

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
        assert until_closed(wire, lambda: wire.send(b"X: y\r\n"), 60) < 60


def test_a_header_that_stops(impatient: tuple[int, Echo]) -> None:
    with Wire(impatient[0]) as wire:
        wire.send(b"GET / HTTP/1.1\r\n")
        assert statuses(wire.rest()) == [408]


def test_a_body_that_crawls(impatient: tuple[int, Echo]) -> None:
    with Wire(impatient[0]) as wire:
        wire.send(post("/files", "Content-Length: 1000000"))
        assert until_closed(wire, lambda: wire.send(b"x"), 60) < 60


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
        deadline = time.monotonic() + 60
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
    with running(tmp_path, Echo(), limits=replace(LIMITS, threads=2, uploads=1, idle_seconds=300)) as port:
        silent = [Wire(port) for _ in range(10)]
        try:
            with Wire(port) as wire:
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
    with running(tmp_path, echo, limits=LIMITS, port=free_port()) as port:
        url = f"http://127.0.0.1:{port}{PATH}"
        body = f'<Say xmlns="{NAMESPACE}">last</Say>'.encode()
        client = threading.Thread(target=lambda: answers.append(post_soap(url, SAY, body).body[0].text))
        client.start()
        assert echo.entered.wait(60)
        began = time.monotonic()
    # Which is not as long as it may wait for requests in flight.
    assert time.monotonic() - began < 25
    client.join(60)
    assert answers == ["last"]
    with pytest.raises(ConnectionError):
        socket.create_connection(("127.0.0.1", port), timeout=60)


def test_stop_may_come_twice_or_before_start(tmp_path: Path) -> None:
    server = HttpServer(lambda environ, start_response: [], "127.0.0.1", 0, limits=LIMITS)
    server.stop()
    server.start()
    server.stop()
    server.stop()


def test_an_address_in_use(port: int) -> None:
    with pytest.raises(OSError, match="No socket could be created"):
        HttpServer(lambda environ, start_response: [], "127.0.0.1", port, limits=LIMITS).start()
