"""Sending one HL7 v2 message over MLLP and waiting for its answer.

Spec: HL7 Minimal Lower Layer Protocol; ITI TF-2 C.2.1.
"""

from __future__ import annotations

import socket
import ssl
import time
from contextlib import closing
from urllib.parse import urlsplit

from xds.wire import hl7v2
from xds.wire.hl7v2 import Message

START, END = b"\x0b", b"\x1c\r"
_MAX_ANSWER = 64 * 1024 * 1024


def address(endpoint: str) -> tuple[str, int, bool]:
    """Host, port and whether TLS is wanted, of `host:port`, `mllp://host:port` or `mllps://host:port`. Errors: ValueError."""
    parts = urlsplit(endpoint if "://" in endpoint else f"mllp://{endpoint}")
    if parts.scheme not in ("mllp", "mllps") or not parts.hostname or not parts.port:
        raise ValueError(f"not an MLLP address (host:port, mllp://host:port, mllps://host:port): {endpoint}")
    return parts.hostname, parts.port, parts.scheme == "mllps"


def _read_frame(connection: socket.socket, deadline: float) -> bytes:
    received = bytearray()
    while END[:1] not in received:
        connection.settimeout(max(deadline - time.monotonic(), 0.001))
        data = connection.recv(65536)
        if not data:
            raise ConnectionError("the partner closed the connection before it answered")
        received += data
        if len(received) > _MAX_ANSWER:
            raise ConnectionError("the partner's answer does not end")
    return bytes(received[received.find(START) + 1 : received.index(END[:1])])


def send_mllp(endpoint: str, message: Message, *, timeout: float = 30.0, tls: ssl.SSLContext | None = None) -> Message:
    """Send one message on a connection of its own and return the answer. `timeout` (seconds) is for all of it.

    Errors: ConnectionError and TimeoutError when nobody answers, ValueError for a wrong address, an unreadable answer or one to
    another message.
    """
    answer = _exchange(endpoint, message, timeout, tls)
    acknowledged = answer.get("MSA-2").strip()
    if acknowledged and acknowledged != message.control_id.strip():
        # Spec: HL7 v2.5 chapter 2.9.2: only MSA-2 tells which message an answer is about.
        raise ValueError("the partner acknowledged another message (MSA-2)")
    return answer


def _exchange(endpoint: str, message: Message, timeout: float, tls: ssl.SSLContext | None) -> Message:
    host, port, wants_tls = address(endpoint)
    deadline = time.monotonic() + timeout
    with closing(socket.create_connection((host, port), timeout)) as plain:
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if not (wants_tls or tls):
            plain.sendall(START + hl7v2.write(message) + END)
            return hl7v2.read(_read_frame(plain, deadline))
        context = tls or ssl.create_default_context()
        with context.wrap_socket(plain, server_hostname=host) as connection:
            connection.sendall(START + hl7v2.write(message) + END)
            return hl7v2.read(_read_frame(connection, deadline))
