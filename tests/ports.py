"""Ports for programs that cannot be given one by the system."""

from __future__ import annotations

import os
import random
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_FIRST, _LAST = 12_000, 32_000
#: From where the system takes a port for whoever asks for any, and for the near end of each connection.
_OF_THE_SYSTEM = Path("/proc/sys/net/ipv4/ip_local_port_range")
_given: set[int] = set()


def free_port() -> int:
    """A port that nobody listens at, and that no other test takes before it is used.

    It lies below those that the system gives away, each process of the tests has ports of its own, and none is given twice.
    """
    number = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0")[2:])
    processes = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    while True:
        port = random.randrange(_FIRST + number, _end(), processes)
        if port in _given:
            continue
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        _given.add(port)
        return port


@contextmanager
def port_of_nobody() -> Iterator[int]:
    """A port that refuses connections: it is held by a socket that does not listen."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield int(held.getsockname()[1])


def _end() -> int:
    """Where the ports of the system begin, if that leaves enough of the others."""
    try:
        first = int(_OF_THE_SYSTEM.read_text().split()[0])
    except (OSError, ValueError):
        return _LAST
    return min(first, _LAST) if first > _FIRST + 1000 else _LAST
