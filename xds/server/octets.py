"""What goes over the socket of an HTTP/1.1 connection: octets in and out within time, and request bodies by their framing.

Spec: RFC 9112 sections 6.3, 7.1.
"""

from __future__ import annotations

import errno
import os
import re
import select
import socket
import ssl
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, Final

from xds.open_file import OpenFile
from xds.server.limits import Limits

#: Octets that are read from a socket with one call.
BUFFER: Final = 64 << 10
#: Octets, and pieces, that are sent with one call; the pieces are far below what the system takes.
_GATHERED: Final = 256 << 10
_PIECES: Final = 512
_DRAIN: Final = 64 << 10
_HURRY_SECONDS: Final = 0.2
#: Fields of a header or trailer at most, and octets of one line.
MAX_FIELDS: Final = 100
_MAX_LINE: Final = 4 << 10
_CHUNK_SIZE: Final = re.compile(rb"([0-9A-Fa-f]{1,15})[ \t]*(?:;[^\r\n]*)?\r\n")
_CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"
#: The packet is not full yet: what was gathered stands before a file.
_MORE_FOLLOWS: Final = getattr(socket, "MSG_MORE", 0)
#: What it says of a file that cannot be sent unread.
_NO_SENDFILE: Final = frozenset({errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP})
#: What a socket says that would have to wait.
_NOT_YET: Final = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)


def _wait(sock: Any, reason: OSError, event: int, seconds: float) -> None:
    """Wait until the socket can go on. Errors: TimeoutError."""
    if isinstance(reason, ssl.SSLError):
        # Whichever way the application's octets go, those of TLS may have to go the other.
        event = select.POLLIN if isinstance(reason, ssl.SSLWantReadError) else select.POLLOUT
    poll = select.poll()
    poll.register(sock, event)
    if not poll.poll(seconds * 1000):
        # cheroot recognises this very text as a time-out of the client.
        raise TimeoutError("timed out")


class Pace:
    """How long a peer may take: until a deadline, or at a minimum rate after some seconds of grace."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        #: Seconds that a socket may wait for one octet to move.
        self.patience = limits.idle_seconds
        self._deadline: float | None = None
        self._since = 0.0
        self._octets = 0

    def expect_header(self) -> None:
        """From now on a whole request header is awaited."""
        self._deadline = time.monotonic() + self._limits.header_seconds

    def expect_flow(self) -> None:
        """From now on octets are counted."""
        self._deadline = None
        self._since = time.monotonic()
        self._octets = 0

    def moved(self, octets: int) -> None:
        """Some octets went over the wire. Errors: TimeoutError when it is too slow."""
        now = time.monotonic()
        if self._deadline is not None:
            if now > self._deadline:
                raise TimeoutError("timed out")
            return
        self._octets += octets
        elapsed = now - self._since
        if elapsed > self._limits.rate_grace_seconds and self._octets < elapsed * self._limits.minimum_rate:
            raise TimeoutError("timed out")


class SocketReader:
    """What a client sends, buffered. Reading waits for one octet at most; several octets come when they are there."""

    def __init__(self, sock: Any, pace: Pace) -> None:
        self._socket = sock
        self._buffer = b""
        self._position = 0
        self._patience = pace.patience
        self.pace = pace
        self.bytes_read = 0
        self.closed = False

    def has_data(self) -> bool:
        """Whether something can be read without waiting for the network."""
        pending = getattr(self._socket, "pending", None)
        return self._position < len(self._buffer) or bool(pending is not None and pending())

    def _receive(self, size: int) -> bytes:
        data = self._received(size)
        self.bytes_read += len(data)
        self.pace.moved(len(data))
        return data

    def _received(self, size: int) -> bytes:
        while True:
            try:
                data: bytes = self._socket.recv(size)
                return data
            except _NOT_YET as reason:
                _wait(self._socket, reason, select.POLLIN, self._patience)

    def read_some(self, size: int) -> bytes:
        """At most `size` octets, none at the end. Errors: OSError, TimeoutError among them."""
        if self._position < len(self._buffer):
            data = self._buffer[self._position : self._position + size]
            self._position += len(data)
            return data
        return self._receive(size)

    def readline(self, size: int = _MAX_LINE) -> bytes:
        """Up to a line feed, the end, or `size` octets."""
        parts = []
        left = size
        while left > 0:
            if self._position >= len(self._buffer):
                self._buffer, self._position = self._receive(BUFFER), 0
                if not self._buffer:
                    break
            found = self._buffer.find(b"\n", self._position, self._position + left)
            end = found + 1 if found >= 0 else min(len(self._buffer), self._position + left)
            parts.append(self._buffer[self._position : end])
            left -= end - self._position
            self._position = end
            if found >= 0:
                break
        return b"".join(parts)

    def whole_header(self, limit: int) -> bytes | None:
        """The next header without its last line breaks, when it is there as a whole; it is still to be read. Else None."""
        if self._position >= len(self._buffer):
            self._buffer, self._position = self._receive(BUFFER), 0
        end = self._buffer.find(b"\r\n\r\n", self._position, self._position + limit)
        return self._buffer[self._position : end] if end >= 0 else None

    def skip(self, size: int) -> None:
        """Pass over octets that were seen."""
        self._position += size

    @contextmanager
    def hurrying(self) -> Iterator[None]:
        """Within this, only what is already on its way is worth waiting for."""
        patience, self._patience = self._patience, _HURRY_SECONDS
        try:
            yield
        finally:
            self._patience = patience

    def close(self) -> None:
        """The socket is closed by its connection."""
        self.closed = True


class _NoSendfileError(Exception):
    """The octets have to be read."""


class SocketWriter:
    """What goes to a client: gathered, so that a header and a small answer are one packet and one call of the system.

    A reader slower than the minimum rate is left.
    """

    def __init__(self, sock: Any, pace: Pace) -> None:
        self._socket = sock
        self._pace = pace
        self._can_gather = not isinstance(sock, ssl.SSLSocket)
        self._held: list[bytes] = []
        self._size = 0
        self.bytes_written = 0

    def write(self, data: bytes) -> None:
        """Send, or keep until there is enough, or until `flush`. Errors: OSError, TimeoutError among them."""
        self._held.append(data)
        self._size += len(data)
        if self._size >= _GATHERED or len(self._held) >= _PIECES:
            self.flush()

    def send_file(self, file: OpenFile) -> None:
        """Send what is left of a file, unread where the system can. Errors: OSError, TimeoutError among them."""
        if self._can_gather:
            self._flush(_MORE_FOLLOWS)
            with suppress(_NoSendfileError):
                self._hand_over(file, len(file))
                return
        for chunk in file:
            self.write(chunk)

    def _hand_over(self, file: OpenFile, left: int) -> None:
        """Errors: _NoSendfileError when the file, or the system, has to be read instead."""
        while left:
            try:
                sent = os.sendfile(self._socket.fileno(), file.fileno(), file.offset, left)
            except BlockingIOError as reason:
                _wait(self._socket, reason, select.POLLOUT, self._pace.patience)
                continue
            except OSError as error:
                if error.errno in _NO_SENDFILE:
                    raise _NoSendfileError from None
                raise
            if not sent:
                raise OSError(errno.EIO, "a file became shorter while it was sent")
            left -= sent
            file.skip(sent)
            self.bytes_written += sent
            self._pace.moved(sent)

    def flush(self) -> None:
        """Send everything that was written. Errors: OSError, TimeoutError among them."""
        self._flush(0)

    def _flush(self, flags: int) -> None:
        held, size = self._held, self._size
        if not held:
            return
        self._held, self._size = [], 0
        sent = 0
        if self._can_gather and (len(held) > 1 or flags):
            with suppress(BlockingIOError):
                sent = self._socket.sendmsg(held, (), flags)
                self._pace.moved(sent)
        if sent < size:
            self._send_rest(held[0] if len(held) == 1 else b"".join(held), sent)
        self.bytes_written += size

    def _send_rest(self, data: bytes, done: int) -> None:
        with memoryview(data) as octets:
            while done < len(octets):
                try:
                    sent = self._socket.send(octets[done:])
                except _NOT_YET as reason:
                    _wait(self._socket, reason, select.POLLOUT, self._pace.patience)
                else:
                    done += sent
                    self._pace.moved(sent)


class Body:
    """A request body of known length, or chunked when `length` is None. Sends `100 Continue` when it is first read."""

    def __init__(self, reader: SocketReader, writer: SocketWriter, length: int | None, *, is_awaited: bool) -> None:
        self._reader = reader
        self._writer = writer
        self._is_chunked = length is None
        self._left = length or 0
        self._is_awaited = is_awaited
        self._in_chunks = False
        self._is_broken = False
        self.is_finished = length == 0

    def read(self, size: int = -1) -> bytes:
        """At most `size` octets, none at the end; everything when negative.

        Errors: ValueError for broken framing, OSError when the client goes away or is too slow.
        """
        if size < 0:
            return b"".join(iter(lambda: self.read(BUFFER), b""))
        if self.is_finished or size == 0:
            return b""
        try:
            return self._read(size)
        except (OSError, ValueError):
            self._is_broken = True
            raise

    def _read(self, size: int) -> bytes:
        if self._is_awaited:
            self._is_awaited = False
            self._writer.write(_CONTINUE)
            self._writer.flush()
        if self._is_chunked and not self._left and not self._next_chunk():
            return b""
        data = self._reader.read_some(min(size, self._left))
        if not data:
            raise ConnectionResetError("the client closed the connection within the body")
        self._left -= len(data)
        if not self._left and not self._is_chunked:
            self.is_finished = True
        return data

    def _next_chunk(self) -> bool:
        """Read the line before a chunk. Spec: RFC 9112 7.1."""
        if self._in_chunks and self._reader.readline(2) != b"\r\n":
            raise ValueError("a chunk is not followed by a line break")
        self._in_chunks = True
        line = _CHUNK_SIZE.fullmatch(self._reader.readline(_MAX_LINE))
        if line is None:
            raise ValueError("a chunk has no readable size")
        self._left = int(line[1], 16)
        if self._left:
            return True
        for _ in range(MAX_FIELDS):
            trailer = self._reader.readline(_MAX_LINE)
            if trailer == b"\r\n":
                self.is_finished = True
                return False
            if not trailer.endswith(b"\r\n"):
                break
        raise ValueError("the trailer of a chunked body is malformed")

    def drain(self) -> bool:
        """Read what little is left and already on its way, so that the connection can be kept. False: it cannot."""
        if self._is_awaited or self._is_broken:
            return False
        allowance = _DRAIN
        with suppress(OSError, ValueError), self._reader.hurrying():
            while not self.is_finished and allowance > 0 and (self._is_chunked or self._left <= allowance):
                allowance -= len(self.read(allowance))
        return self.is_finished
