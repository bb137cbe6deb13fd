"""A TCP gate in front of a server: it can break connections at a chosen octet, refuse new ones, and change what passes."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import Self

Change = Callable[[bytes], bytes]


class Gate:
    """Forwards 127.0.0.1:`port` to a port of this machine. Counters of octets concern what still has to pass."""

    def __init__(self, target: int) -> None:
        self._target = target
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._open = True
        self._lock = threading.Lock()
        self._sockets: set[socket.socket] = set()
        self._left: dict[str, int | None] = {"up": None, "down": None}
        self._times = {"up": 0, "down": 0}
        self._reopens = False
        self.change: Change | None = None
        self.broken = threading.Event()
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def port(self) -> int:
        """Where to connect to."""
        return int(self._listener.getsockname()[1])

    def shut_after(self, octets: int) -> None:
        """Break everything and refuse from then on, once so many octets went up."""
        self._left["up"], self._reopens = octets, False

    def break_after(self, octets: int, times: int = 1) -> None:
        """Break the connections each time that so many octets came down; new connections pass."""
        self._left["down"], self._times["down"], self._reopens = octets, times, True

    def shut(self) -> None:
        """Break every connection and refuse new ones."""
        with self._lock:
            self._open = False
        self._break()

    def open(self) -> None:
        """Let everything pass."""
        self._left = {"up": None, "down": None}
        self._open = True

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._break()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            if not self._open:
                _reset(near)
                continue
            try:
                far = socket.create_connection(("127.0.0.1", self._target))
            except OSError:
                _reset(near)
                continue
            with self._lock:
                self._sockets |= {near, far}
            for source, target, way in ((near, far, "up"), (far, near, "down")):
                threading.Thread(target=self._forward, args=(source, target, way), daemon=True).start()

    def _forward(self, source: socket.socket, target: socket.socket, way: str) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                if way == "up" and self.change is not None:
                    data = self.change(data)
                left = self._left[way]
                if left is not None and len(data) >= left:
                    target.sendall(data[:left])
                    self._trip(way)
                    return
                if left is not None:
                    self._left[way] = left - len(data)
                target.sendall(data)
        with suppress(OSError):
            target.shutdown(socket.SHUT_WR)

    def _trip(self, way: str) -> None:
        self._left[way] = None
        if self._reopens:
            self._times[way] -= 1
            self._left[way] = 100_000 if self._times[way] else None
        else:
            self._open = False
        self.broken.set()
        self._break()

    def _break(self) -> None:
        with self._lock:
            some, self._sockets = self._sockets, set()
        for item in some:
            _reset(item)


def _reset(connection: socket.socket) -> None:
    with suppress(OSError):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.shutdown(socket.SHUT_RDWR)
    connection.close()
