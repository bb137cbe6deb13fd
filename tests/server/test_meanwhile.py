"""What is there of an answer goes out before its rest is waited for."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import pytest

from xds.actors.imaging_waiting import about_to_wait
from xds.server.launcher import HttpServer


class Slow:
    """An application that waits before each piece of its answer but the first."""

    def __init__(self, *fields: tuple[str, str]) -> None:
        self.fields = list(fields)
        self.more = threading.Semaphore(0)
        self.ended = threading.Event()

    def __call__(self, _environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterator[bytes]:
        start_response("200 OK", self.fields)
        try:
            for piece in (b"one", b"two", b"three"):
                yield piece
                about_to_wait()
                assert self.more.acquire(timeout=60)
        finally:
            self.ended.set()


@pytest.fixture
def serve() -> Iterator[Callable[[Slow], int]]:
    servers = []

    def start(application: Slow) -> int:
        servers.append(HttpServer(application, "127.0.0.1", 0))
        return servers[-1].start()

    yield start
    for server in servers:
        server.stop()


def received(connection: socket.socket, until: bytes) -> bytes:
    data = b""
    while not data.endswith(until):
        data += (piece := connection.recv(65536))
        assert piece, data
    return data


@pytest.mark.parametrize(
    ("fields", "pieces"),
    [((), [b"3\r\none\r\n", b"3\r\ntwo\r\n", b"5\r\nthree\r\n"]), ((("Content-Length", "11"),), [b"one", b"two", b"three"])],
)
def test_each_piece_is_there_before_the_next_is_waited_for(
    serve: Callable[[Slow], int], fields: tuple[tuple[str, str], ...], pieces: list[bytes]
) -> None:
    slow = Slow(*fields)
    with closing(socket.create_connection(("127.0.0.1", serve(slow)), 60)) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        for piece in pieces:
            assert received(connection, piece).count(piece) == 1
            slow.more.release()
        if not fields:
            assert received(connection, b"0\r\n\r\n")


def test_a_reader_who_left_meanwhile_ends_the_answer(serve: Callable[[Slow], int]) -> None:
    slow = Slow()
    connection = socket.create_connection(("127.0.0.1", serve(slow)), 60)
    connection.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    received(connection, b"one\r\n")
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
    connection.close()
    slow.more.release(3)
    assert slow.ended.wait(60)
