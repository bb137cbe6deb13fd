"""A small load generator: N clients on kept connections, each sending the next request as soon as it has its answer.

All of them are served by one thread, which waits for whatever socket is ready: threads would pass the interpreter's lock around,
and take from the server, which has the same processors, more than they give.
"""

from __future__ import annotations

import select
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

_MARK: Final = b"content-length:"
_RECEIVE: Final = 1 << 18

#: Gives what a client sends next.
Source = Callable[[], bytes]


@dataclass(frozen=True, slots=True)
class Result:
    """Outcome of one run; times in milliseconds. `own` is what the load generator itself took of a processor for a request."""

    clients: int
    requests: int
    seconds: float
    p50: float
    p95: float
    p99: float
    own: float
    failures: int

    @property
    def rate(self) -> float:
        """Requests a second."""
        return self.requests / self.seconds

    def __str__(self) -> str:
        failed = f"  FAILURES {self.failures}" if self.failures else ""
        times = f"p50 {self.p50:7.2f}   p95 {self.p95:7.2f}   p99 {self.p99:7.2f} ms"
        return f"{self.clients:3} clients {self.rate:8.0f}/s   {times}   (client {self.own:4.2f} ms CPU){failed}"


class _Client:
    """One kept HTTP/1.1 connection, and what came of the answer that it waits for."""

    def __init__(self, host: str, port: int) -> None:
        self.socket = socket.create_connection((host, port), timeout=60)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._chunks: list[bytes] = []
        self._received = 0
        self._expected = 0
        self.begun = 0.0

    def send(self, request: bytes) -> None:
        self._chunks, self._received, self._expected = [], 0, 0
        self.begun = time.perf_counter()
        self.socket.sendall(request)

    def receive(self) -> bytes | None:
        """The answer when this was its last octet. Errors: ConnectionError for an answer without end."""
        data = self.socket.recv(_RECEIVE)
        if not data:
            raise ConnectionError("the server closed the connection")
        self._chunks.append(data)
        self._received += len(data)
        if not self._expected:
            self._measure()
        if self._received < self._expected or not self._expected:
            return None
        return self._chunks[0] if len(self._chunks) == 1 else b"".join(self._chunks)

    def _measure(self) -> None:
        begin = b"".join(self._chunks)
        end = begin.find(b"\r\n\r\n")
        if end < 0:
            return
        head = begin[:end].lower()
        at = head.find(_MARK)
        if at < 0:
            raise ConnectionError("the answer does not tell its length")
        self._expected = end + 4 + int(head[at + len(_MARK) :].split(b"\r\n", 1)[0])


def run(host: str, port: int, clients: int, seconds: float, source: Source, succeeded: bytes = b":Success") -> Result:
    """Let that many clients send what `source` gives for that long. An answer without `succeeded` counts as failure."""
    times: list[float] = []
    failures = 0
    waiting = {}
    poll = select.epoll()
    own = time.process_time()
    begin = time.perf_counter()
    for _ in range(clients):
        client = _Client(host, port)
        waiting[client.socket.fileno()] = client
        poll.register(client.socket, select.EPOLLIN)
        client.send(source())
    deadline = begin + seconds
    while waiting:
        for descriptor, _ in poll.poll(60):
            client = waiting[descriptor]
            answer = client.receive()
            if answer is None:
                continue
            now = time.perf_counter()
            times.append(now - client.begun)
            failures += succeeded not in answer
            if now < deadline:
                client.send(source())
            else:
                poll.unregister(descriptor)
                waiting.pop(descriptor).socket.close()
    elapsed = time.perf_counter() - begin
    own = (time.process_time() - own) / len(times) * 1000
    poll.close()
    times.sort()
    p50, p95, p99 = (times[min(len(times) - 1, int(len(times) * share))] * 1000 for share in (0.5, 0.95, 0.99))
    return Result(clients, len(times), elapsed, p50, p95, p99, own, failures)
