"""A small load generator: N clients on kept connections, each sending prepared HTTP requests one after another."""

from __future__ import annotations

import socket
import statistics
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

#: What a client sends next; None ends it.
Source = Callable[[], bytes | None]


@dataclass(frozen=True, slots=True)
class Result:
    """Outcome of one run; times in milliseconds."""

    clients: int
    requests: int
    seconds: float
    p50: float
    p99: float
    failures: int

    @property
    def rate(self) -> float:
        """Requests a second."""
        return self.requests / self.seconds

    def __str__(self) -> str:
        failed = f"  FAILURES {self.failures}" if self.failures else ""
        return f"{self.clients:3} clients {self.rate:8.0f}/s   p50 {self.p50:7.2f} ms   p99 {self.p99:7.2f} ms{failed}"


class Connection:
    """One kept HTTP/1.1 connection."""

    def __init__(self, host: str, port: int) -> None:
        self._socket = socket.create_connection((host, port), timeout=60)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._buffer = bytearray()

    def exchange(self, request: bytes) -> bytes:
        """Send one request and return the whole answer (head and body)."""
        self._socket.sendall(request)
        head_end = self._until(b"\r\n\r\n", 0)
        head = bytes(self._buffer[:head_end]).lower()
        marker = b"content-length:"
        at = head.find(marker)
        end = self._chunked(head_end) if at < 0 else head_end + int(head[at + len(marker) :].split(b"\r\n", 1)[0])
        self._fill(end)
        answer = bytes(self._buffer[:end])
        del self._buffer[:end]
        return answer

    def _fill(self, size: int) -> None:
        while len(self._buffer) < size:
            data = self._socket.recv(1 << 18)
            if not data:
                raise ConnectionError("the server closed the connection")
            self._buffer += data

    def _until(self, mark: bytes, start: int) -> int:
        while (at := self._buffer.find(mark, start)) < 0:
            self._fill(len(self._buffer) + 1)
        return at + len(mark)

    def _chunked(self, position: int) -> int:
        while True:
            line_end = self._until(b"\r\n", position)
            size = int(bytes(self._buffer[position : line_end - 2]).split(b";")[0], 16)
            position = line_end + size + 2
            self._fill(position)
            if size == 0:
                return position

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()


def run(host: str, port: int, clients: int, seconds: float, source: Source, succeeded: bytes = b":Success") -> Result:
    """Let `clients` threads send what `source` gives for that long. An answer without `succeeded` counts as failure."""
    times: list[list[float]] = [[] for _ in range(clients)]
    failures = [0] * clients
    deadline = time.perf_counter() + seconds

    def client(number: int) -> None:
        connection = Connection(host, port)
        while time.perf_counter() < deadline and (request := source()) is not None:
            begin = time.perf_counter()
            answer = connection.exchange(request)
            times[number].append(time.perf_counter() - begin)
            failures[number] += succeeded not in answer
        connection.close()

    threads = [threading.Thread(target=client, args=(number,)) for number in range(clients)]
    begin = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    elapsed = time.perf_counter() - begin
    every = sorted(time for each in times for time in each)
    if not every:
        return Result(clients, 0, elapsed, 0, 0, sum(failures))
    p99 = every[min(len(every) - 1, int(len(every) * 0.99))]
    return Result(clients, len(every), elapsed, statistics.median(every) * 1000, p99 * 1000, sum(failures))
