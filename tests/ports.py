"""Ports for programs that cannot be given one by the system."""

from __future__ import annotations

import random
import socket

#: Below what the system gives to whoever asks for any port, so that no connection of a test beside this one takes it.
_FIRST, _LAST = 12_000, 32_000


def free_port() -> int:
    """A port that nobody listens at."""
    while True:
        port = random.randint(_FIRST, _LAST)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
