"""HTTP as octets on a connection."""

from __future__ import annotations

import http.client
import re
import socket
from dataclasses import replace
from pathlib import Path

from tests.server.echo import NAMESPACE, SAY
from xds.server.limits import Limits
from xds.wire.soap import Addressing, write_envelope

PKI = Path(__file__).parents[1] / "pki"
PATH = SAY.path or ""
GET = b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n"
LIMITS = Limits(threads=4, uploads=3, header_block=4096, idle_seconds=60, body=100_000)
IMPATIENT = replace(LIMITS, header_seconds=0.3, idle_seconds=2, minimum_rate=100_000, rate_grace_seconds=0.3, body=1 << 30)
SAYING = b"".join(write_envelope([f'<Say xmlns="{NAMESPACE}">hello</Say>'.encode()], Addressing(SAY.action or "")))


class Wire:
    """A client that sends exactly what it is told."""

    def __init__(self, port: int, timeout: float = 60) -> None:
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


def statuses(data: bytes) -> list[int]:
    return [int(status) for status in re.findall(rb"HTTP/1\.1 (\d{3}) ", data)]


def post(path: str, *headers: str) -> bytes:
    return "\r\n".join([f"POST {path} HTTP/1.1", "Host: x", *headers, "", ""]).encode("latin-1")
