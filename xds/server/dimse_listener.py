"""Where connections for DICOM come in: an address of this process's own, or one that several processes accept from.

Associations live long and are few: two processes that leave it to chance who gets the next are soon as slow as one. Whoever has
associations already lets the others go first for a moment, so that the one with the fewest takes the next.
"""

from __future__ import annotations

import os
import select
import socket
import time
from collections.abc import Callable
from typing import Final

_BACKLOG: Final = 128
#: How long a process waits for each association that it has, and for so many at most.
_COURTESY_SECONDS: Final = 0.002
_MOST: Final = 16
#: How long a connection waits when there is no file left for it.
_NO_FILE_SECONDS: Final = 0.1


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens there, at a free port when it is 0. Errors: OSError when the port is taken."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return socket.create_server((host, port), family=family, backlog=_BACKLOG)


class Listener:
    """Gives connections to one thread, which another one may send away."""

    def __init__(self, listening: socket.socket, *, is_shared: bool = False) -> None:
        """`is_shared`: other processes accept from this socket, too. It then goes on listening when this is closed."""
        # Who finds that another one was quicker must not wait for the next connection inside the call.
        listening.setblocking(False)
        self.port = int(listening.getsockname()[1])
        self._listening = listening
        self._is_shared = is_shared
        self._closed, self._close = os.pipe()

    def accept(self, engaged: Callable[[], int]) -> tuple[socket.socket, str] | None:
        """The next connection and its peer's address; None after `close`. `engaged` tells how many associations there are."""
        poll = select.poll()
        poll.register(self._listening, select.POLLIN)
        poll.register(self._closed, select.POLLIN)
        while True:
            if any(descriptor == self._closed for descriptor, _ in poll.poll()):
                return None
            if self._is_shared:
                time.sleep(min(engaged(), _MOST) * _COURTESY_SECONDS)
            try:
                connection, address = self._listening.accept()
            except BlockingIOError:
                continue
            except OSError:
                # No file is left for another connection, or its peer is gone already.
                time.sleep(_NO_FILE_SECONDS)
                continue
            return connection, str(address[0])

    def close(self) -> None:
        """Give no more connections: whoever waits for one is woken."""
        os.write(self._close, b".")

    def release(self) -> None:
        """Give up the socket, after the last `accept` has returned."""
        os.close(self._closed)
        os.close(self._close)
        if not self._is_shared:
            self._listening.close()
