"""Where connections for DICOM and HL7 v2 come in: an address of this process's own, or one that several processes accept from.

Such connections live long and are few: two processes that leave it to chance who gets the next are soon as slow as one. Who has
more than another lets that one go first for a moment.
"""

from __future__ import annotations

import mmap
import os
import select
import socket
import struct
import time
from dataclasses import dataclass
from typing import Final

_BACKLOG: Final = 128
#: How long a process leaves a connection to others that have fewer.
_COURTESY_SECONDS: Final = 0.02
#: How often it looks whether one of them has taken it.
_LOOK_SECONDS: Final = 0.001
#: How long a connection waits when there is no file left for it.
_NO_FILE_SECONDS: Final = 0.1


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens there, at a free port when it is 0. Errors: OSError when the port is taken."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return socket.create_server((host, port), family=family, backlog=_BACKLOG)


@dataclass(frozen=True, slots=True)
class Shared:
    """A socket that a process and those which it forks accept from. `engaged` tells all of them how many connections each has."""

    listening: socket.socket
    engaged: memoryview

    @classmethod
    def among(cls, host: str, port: int, processes: int) -> Shared:
        """One for so many processes. Errors: OSError when the port is taken."""
        return cls(listen(host, port), memoryview(mmap.mmap(-1, processes * struct.calcsize("I"))).cast("I"))


class Listener:
    """Gives connections to one thread at a time, which another one may send away."""

    def __init__(self, listening: socket.socket | Shared, number: int = 0) -> None:
        """`number` is this process's among those that share the socket; it then goes on listening when this is closed."""
        self._shared = listening if isinstance(listening, Shared) else None
        self._listening = listening.listening if isinstance(listening, Shared) else listening
        # Who finds that another one was quicker must not wait for the next connection inside the call.
        self._listening.setblocking(False)
        self._number = number
        self.port = int(self._listening.getsockname()[1])
        self._closed, self._close = os.pipe()
        self.engaged(0)

    def engaged(self, connections: int) -> None:
        """Tell the others how many connections this process has."""
        if self._shared is not None:
            self._shared.engaged[self._number] = connections

    def accept(self) -> tuple[socket.socket, str] | None:
        """The next connection and its peer's address; None after `close`."""
        poll = select.poll()
        poll.register(self._listening, select.POLLIN)
        poll.register(self._closed, select.POLLIN)
        while True:
            if any(descriptor == self._closed for descriptor, _ in poll.poll()):
                return None
            self._let_others_go_first()
            try:
                connection, address = self._listening.accept()
            except BlockingIOError:
                continue
            except OSError:
                # No file is left for another connection, or its peer is gone already.
                time.sleep(_NO_FILE_SECONDS)
                continue
            return connection, str(address[0])

    def _let_others_go_first(self) -> None:
        """Leave a connection that waits to another process which has fewer, as long as it has, and for a moment at most."""
        if self._shared is None:
            return
        poll, until = select.poll(), time.monotonic() + _COURTESY_SECONDS
        poll.register(self._listening, select.POLLIN)
        while min(self._shared.engaged) < self._shared.engaged[self._number] and time.monotonic() < until and poll.poll(0):
            time.sleep(_LOOK_SECONDS)

    def close(self) -> None:
        """Give no more connections: whoever waits for one is woken."""
        os.write(self._close, b".")

    def release(self) -> None:
        """Give up the socket, after the last `accept` has returned."""
        os.close(self._closed)
        os.close(self._close)
        if self._shared is None:
            self._listening.close()
