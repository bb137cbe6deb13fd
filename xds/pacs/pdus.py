"""The connection under a DICOM association: PDUs in and out, on either side of it.

Nothing is polled: a thread that waits for its peer sleeps in the kernel. What a peer announces is never allocated before it is
checked, and nothing is held of a message but the PDU at hand.

Spec: DICOM PS3.8 9.2 (state machine), 9.3 (PDUs).
"""

from __future__ import annotations

import errno
import select
import socket
import ssl
import struct
import time
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

from xds.wire.dicom_association import Pdu, write_abort, write_pdu

#: Octets of a PDU that are asked for, and that are borne from peers that do not listen (association requests may be longer).
MAX_PDU: Final = 128 * 1024
LONGEST_PDU: Final = 1024 * 1024
_SMALL: Final = 16 * 1024
_HEAD: Final = struct.Struct(">BxI")
_PDV: Final = struct.Struct(">IBB")


class AssociationError(ConnectionError):
    """The association ended before its work was done. The message says why, without anything that the peer wrote."""


class SilentPeerError(AssociationError):
    """The peer said nothing for too long."""


@dataclass(slots=True, eq=False)
class PduConnection:
    """A connection, and the PDU of it that is at hand. `seconds` is how long the peer may keep still."""

    connection: socket.socket
    address: str
    seconds: float
    _buffer: bytearray = field(default_factory=lambda: bytearray(_SMALL), init=False)
    _at: int = field(default=0, init=False)
    _end: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if isinstance(self.connection, ssl.SSLSocket):
            self.connection.settimeout(self.seconds)
            return
        # The kernel keeps the time: a timeout of Python's own would cost a further call for each that may wait.
        self.connection.settimeout(None)
        self._set_limit()

    def _set_limit(self) -> None:
        limit = struct.pack("ll", int(self.seconds), int(self.seconds % 1 * 1_000_000))
        for option in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO):
            self.connection.setsockopt(socket.SOL_SOCKET, option, limit)

    def wait_at_most(self, seconds: float) -> None:
        """From now on the peer may keep still for so long, at most for as long as before."""
        self.seconds = min(self.seconds, seconds)
        if isinstance(self.connection, ssl.SSLSocket):
            self.connection.settimeout(self.seconds)
        else:
            self._set_limit()

    def expect_acknowledgement(self, seconds: float) -> None:
        """What is sent from now on must reach the peer's system within that time, whatever the peer does with it; 0: any time."""
        if hasattr(socket, "TCP_USER_TIMEOUT"):
            self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(seconds * 1000))

    def end(self) -> None:
        """Have the association end: whoever waits in it is woken. For other threads."""
        with suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Release the connection. Idempotent."""
        self.connection.close()

    def has_input(self) -> bool:
        """Whether the peer has said something that was not read yet."""
        if self._at < self._end or (isinstance(self.connection, ssl.SSLSocket) and self.connection.pending()):
            return True
        poll = select.poll()
        poll.register(self.connection, select.POLLIN)
        return bool(poll.poll(0))

    def unread(self) -> bytes:
        """What was read of the PDU at hand and not looked at yet."""
        return bytes(self._buffer[self._at : self._end])

    def _put_back(self, octets: bytes) -> None:
        if len(self._buffer) < len(octets):
            self._buffer = bytearray(len(octets))
        self._buffer[: len(octets)] = octets
        self._at, self._end = 0, len(octets)

    def _pdv(self, *, inside: bool) -> tuple[int, int, memoryview] | None:
        """Presentation context, control header and octets of the next fragment; None when the association ended in order."""
        while self._at >= self._end:
            kind, size = self._pdu()
            if kind is Pdu.DATA:
                self._at, self._end = 0, size
            elif kind is Pdu.RELEASE_RQ and not inside:
                self._send(write_pdu(Pdu.RELEASE_RP, bytes(4)))
                self._await_close()
                return None
            elif kind is Pdu.ABORT:
                raise AssociationError("the peer aborted the association")
            elif kind is None:
                raise AssociationError("the peer closed the connection")
            else:
                raise self._broken("a PDU that has no place here")
        if self._end - self._at < 6:
            raise self._broken("a fragment is cut off")
        length, context_id, control = _PDV.unpack_from(self._buffer, self._at)
        start, self._at = self._at + 6, self._at + 4 + length
        if length < 2 or self._at > self._end:
            raise self._broken("a fragment is longer than its PDU")
        return context_id, control, memoryview(self._buffer)[start : self._at]

    def _pdu(self, *, first: bool = False) -> tuple[Pdu | None, int]:
        """Read a PDU into the buffer; its type and length. None: the peer closed the connection between two of them."""
        head = bytearray(6)
        if not self._read(memoryview(head), may_end=True):
            return None, 0
        kind, size = _HEAD.unpack(head)
        if not 1 <= kind <= 7:
            raise self._broken("a PDU of an unknown type")
        if size > LONGEST_PDU:
            raise self._broken("a PDU is longer than the limit")
        if first and kind > Pdu.ASSOCIATE_RJ:
            raise self._broken("a PDU that has no place here")
        if len(self._buffer) < size:
            # Others may look at the old one still.
            self._buffer = bytearray(max(size, MAX_PDU + 6) if size > _SMALL else _SMALL)
        self._read(memoryview(self._buffer)[:size])
        return Pdu(kind), size

    def _read(self, view: memoryview, *, may_end: bool = False) -> bool:
        done, until = 0, time.monotonic() + self.seconds
        flags = 0 if isinstance(self.connection, ssl.SSLSocket) else socket.MSG_WAITALL
        while done < len(view):
            try:
                number = self.connection.recv_into(view[done:], len(view) - done, flags)
            except (BlockingIOError, TimeoutError) as problem:
                if problem.errno == errno.ETIMEDOUT:
                    raise AssociationError("the peer is not there any more") from None
                self._give_up()
                raise SilentPeerError("nothing came for too long") from None
            except OSError:
                raise AssociationError("the connection broke") from None
            done += number
            if not number:
                if may_end and not done:
                    return False
                raise AssociationError("the connection ended inside a PDU")
            if done < len(view) and time.monotonic() > until:
                raise self._broken("a PDU took too long")
        return True

    def _send(self, head: bytes, body: memoryview | None = None) -> None:
        try:
            if body is None or len(body) < _SMALL:
                self.connection.sendall(head + body if body is not None else head)
            elif isinstance(self.connection, ssl.SSLSocket):
                self.connection.sendall(head)
                self.connection.sendall(body)
            else:
                sent = self.connection.sendmsg((head, body))
                if sent < len(head):
                    self.connection.sendall(head[sent:])
                if sent < len(head) + len(body):
                    self.connection.sendall(body[max(sent - len(head), 0) :])
        except OSError:
            raise AssociationError("the peer takes nothing any more") from None

    def _broken(self, why: str) -> AssociationError:
        """Abort because of what the peer did."""
        self._give_up()
        return AssociationError(why)

    def _give_up(self) -> None:
        with suppress(OSError):
            self.connection.sendall(write_abort())
        self._await_close(0.2)

    def _await_close(self, seconds: float = 5.0) -> None:
        """Leave it to the peer to close, so that the last PDU reaches it."""
        with suppress(OSError):
            self.connection.settimeout(seconds)
            self.connection.shutdown(socket.SHUT_WR)
            until = time.monotonic() + seconds
            while time.monotonic() < until and self.connection.recv(4096):
                pass


def fragment_head(context_id: int, control: int, length: int) -> bytes:
    """What stands before a fragment of a message that is the only one of its PDU. Spec: PS3.8 9.3.5, E.2 (`control`)."""
    return _HEAD.pack(Pdu.DATA, length + 6) + _PDV.pack(length + 2, context_id, control)
