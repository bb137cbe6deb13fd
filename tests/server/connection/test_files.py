"""Files as parts of an answer go out unread where the system can, and read everywhere else."""

from __future__ import annotations

import errno
import http.client
import io
import os
import random
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.server.connection.wire import IMPATIENT, LIMITS, PKI
from xds.open_file import OpenFile
from xds.server.launcher import HttpServer, ServerTls

OCTETS = random.Random(3).randbytes(9_000_001)
WHOLE = b"before" + OCTETS + b"between" + OCTETS[1000:] + b"after"


class Files:
    """An application that answers with the octets of a file among others; `closed` is set when its answer has ended."""

    def __init__(self, path: Path, *, says_length: bool) -> None:
        self.path = path
        self.fields = [("Content-Length", str(len(WHOLE)))] if says_length else []
        self.closed = threading.Event()

    def __call__(self, _environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterator[bytes | OpenFile]:
        start_response("200 OK", self.fields)
        try:
            yield b"before"
            yield OpenFile(io.FileIO(self.path), 0, None)
            yield b"between"
            yield OpenFile(io.FileIO(self.path), 1000, len(OCTETS))
            yield b"after"
        finally:
            self.closed.set()


@pytest.fixture(params=["length", "chunked"])
def files(request: pytest.FixtureRequest, tmp_path: Path) -> Files:
    path = tmp_path / "octets"
    path.write_bytes(OCTETS)
    return Files(path, says_length=request.param == "length")


def fetched(connection: http.client.HTTPConnection) -> bytes:
    connection.request("GET", "/")
    return connection.getresponse().read()


@pytest.fixture
def serve() -> Iterator[Callable[..., int]]:
    servers = []

    def start(application: Files, **options: Any) -> int:
        servers.append(HttpServer(application, "127.0.0.1", 0, **options))
        return servers[-1].start()

    yield start
    for server in servers:
        server.stop()


class Counting:
    """`os.sendfile`, which tells how many octets it sent, and does so in small pieces if wanted."""

    def __init__(self, at_most: int = 1 << 30) -> None:
        self.sent = 0
        self._at_most = at_most
        self._send = os.sendfile

    def __call__(self, out: int, of: int, offset: int, count: int) -> int:
        sent = self._send(out, of, offset, min(count, self._at_most))
        self.sent += sent
        return sent


@pytest.mark.parametrize("at_most", [1 << 30, 99_999])
def test_they_go_out_unread(serve: Callable[..., int], files: Files, monkeypatch: pytest.MonkeyPatch, at_most: int) -> None:
    counting = Counting(at_most)
    monkeypatch.setattr(os, "sendfile", counting)
    connection = http.client.HTTPConnection("127.0.0.1", serve(files), timeout=60)
    for _ in range(2):
        assert fetched(connection) == WHOLE
    assert counting.sent == 2 * (2 * len(OCTETS) - 1000)
    connection.close()


@pytest.mark.parametrize("number", [errno.EINVAL, errno.ENOSYS])
def test_they_are_read_where_the_system_cannot(
    serve: Callable[..., int], files: Files, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def unable(*_: int) -> int:
        raise OSError(number, "no")

    monkeypatch.setattr(os, "sendfile", unable)
    connection = http.client.HTTPConnection("127.0.0.1", serve(files), timeout=60)
    assert fetched(connection) == WHOLE
    connection.close()


def test_they_are_read_under_tls(serve: Callable[..., int], files: Files) -> None:
    tls = ServerTls(str(PKI / "server.pem"), str(PKI / "server.key"), str(PKI / "ca.pem"), client_certificate="optional")
    client = ssl.create_default_context(cafile=str(PKI / "ca.pem"))
    connection = http.client.HTTPSConnection("localhost", serve(files, tls=tls), timeout=60, context=client)
    assert fetched(connection) == WHOLE
    connection.close()


def test_a_reader_who_pauses_is_waited_for(serve: Callable[..., int], files: Files) -> None:
    with socket.create_connection(("127.0.0.1", serve(files, limits=LIMITS)), 60) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert not files.closed.wait(0.3)
        answer = http.client.HTTPResponse(connection)
        answer.begin()
        assert answer.read() == WHOLE


def test_a_reader_who_is_too_slow_is_left(serve: Callable[..., int], files: Files) -> None:
    impatient = replace(IMPATIENT, idle_seconds=0.3)
    with socket.create_connection(("127.0.0.1", serve(files, limits=impatient)), 60) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert files.closed.wait(60)


def test_a_file_that_becomes_shorter_ends_the_answer(serve: Callable[..., int], files: Files) -> None:
    """What was said of its length no longer holds: the reader must see that the answer is not whole."""
    with socket.create_connection(("127.0.0.1", serve(files)), 60) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert not files.closed.wait(0.3)
        os.truncate(files.path, len(OCTETS) - 1)
        answer = http.client.HTTPResponse(connection)
        answer.begin()
        with pytest.raises(http.client.IncompleteRead):
            answer.read()
    assert files.closed.wait(60)
