"""The environ of a request, whichever way its header was read. Spec: PEP 3333; RFC 9112 sections 3, 5."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from cheroot.wsgi import Server

from tests.server.connection.wire import Wire
from xds.server.launcher import HttpServer

#: What depends on the server, on the connection, or is an object of its own.
OTHERS = {"wsgi.input", "wsgi.errors", "REMOTE_PORT", "SERVER_PORT", "SERVER_NAME", "SERVER_SOFTWARE", "xds.sends_files"}
FIELDS = b"Host: x\r\nContent-Type: text/plain;  charset=UTF-8\r\nX-Two-Words:\t a b \r\nAccept:\r\n"


class Recorder:
    """An application that keeps what it was given."""

    def __init__(self) -> None:
        self.seen: list[dict[str, Any]] = []

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
        body = environ["wsgi.input"].read()
        self.seen.append({name: value for name, value in environ.items() if name not in OTHERS} | {"body": body})
        start_response("200 OK", [("Content-Length", "2")])
        return [b"ok"]


@contextmanager
def ours() -> Iterator[tuple[int, Recorder]]:
    recorder = Recorder()
    server = HttpServer(recorder, "127.0.0.1", 0)
    port = server.start()
    try:
        yield port, recorder
    finally:
        server.stop()


@contextmanager
def cheroots_own() -> Iterator[tuple[int, Recorder]]:
    recorder = Recorder()
    server = Server(("127.0.0.1", 0), recorder, numthreads=2)
    server.prepare()
    thread = threading.Thread(target=server.serve)
    thread.start()
    try:
        yield server.bind_addr[1], recorder
    finally:
        server.stop()
        thread.join()


REQUESTS = (
    b"GET / HTTP/1.1\r\n" + FIELDS + b"\r\n",
    b"GET /a/b.c~d_e-f?x=1&y=%20%3A'\"/? HTTP/1.1\r\n" + FIELDS + b"\r\n",
    b"GET /a? HTTP/1.1\r\n" + FIELDS + b"\r\n",
    b"GET /caf%C3%A9/a%2Fb?q=%C3%A9 HTTP/1.1\r\n" + FIELDS + b"\r\n",
    b"PUT /a//b HTTP/1.1\r\nContent-Length: 3\r\n" + FIELDS + b"\r\nabc",
    b"GET /a HTTP/1.0\r\n" + FIELDS + b"\r\n",
    b"GET /two HTTP/1.1\r\n" + FIELDS + b"Via: a\r\nVia: b\r\n\r\n",
)


@pytest.mark.parametrize("request_octets", REQUESTS)
def test_it_is_what_cheroot_makes_of_the_request(request_octets: bytes) -> None:
    with ours() as (port, recorder), cheroots_own() as (other_port, other):
        for each in (port, other_port):
            with Wire(each) as wire:
                assert wire.send(request_octets).answer() == 200
        assert recorder.seen == other.seen
        assert len(recorder.seen) == 1


def test_it_does_not_depend_on_how_the_header_arrives() -> None:
    request = REQUESTS[1]
    with ours() as (port, recorder):
        for cut in (1, 20, len(request) - 30, len(request) - 1):
            with Wire(port) as wire:
                wire.send(request)
                assert wire.answer() == 200
                wire.send(request[:cut])
                wire.send(request[cut:])
                assert wire.answer() == 200
        assert len(recorder.seen) == 8
        assert all(seen == recorder.seen[0] for seen in recorder.seen)


def test_requests_that_arrive_together_are_told_apart() -> None:
    with ours() as (port, recorder), Wire(port) as wire:
        wire.send(*(b"PUT /%d HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n%02d" % (number, number) for number in range(5)))
        received = b""
        while received.count(b"\r\n\r\nok") < 5:
            received += wire.socket.recv(65536)
        assert [(seen["PATH_INFO"], seen["body"]) for seen in recorder.seen] == [(f"/{n}", b"%02d" % n) for n in range(5)]


@pytest.mark.parametrize("number", [99, 100])
def test_there_are_less_than_a_hundred_fields(number: int) -> None:
    fields = b"".join(b"X-Field-%d: 1\r\n" % each for each in range(number - 1))
    with ours() as (port, _recorder), Wire(port) as wire:
        assert wire.send(b"GET / HTTP/1.1\r\nHost: x\r\n", fields, b"\r\n").answer() == (200 if number < 100 else 431)
