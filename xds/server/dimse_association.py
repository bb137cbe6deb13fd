"""One DICOM association over one connection, in one thread, on either side of it.

Nothing is polled: a thread that waits for its peer sleeps in the kernel, so associations that keep still cost nothing. What a
peer announces is never allocated before it is checked, and nothing is held of a message but the PDU at hand.

Spec: DICOM PS3.8 7 (service), 9.2 (state machine), 9.3 (PDUs); PS3.7 8 (message exchange).
"""

from __future__ import annotations

import select
import socket
import ssl
import struct
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

from xds.wire.dicom import DicomError
from xds.wire.dicom_association import (
    AssociationAnswer,
    AssociationRequest,
    ContextResult,
    Pdu,
    Reject,
    UpperLayerError,
    contexts_for,
    read_answer,
    read_request,
    write_abort,
    write_pdu,
    write_reject,
    write_request,
)
from xds.wire.dimse import MAX_COMMAND, Command, Message, read_command, write_command

#: Octets of a PDU that are asked for, and that are borne from peers that do not listen (association requests may be longer).
MAX_PDU: Final = 128 * 1024
LONGEST_PDU: Final = 1024 * 1024
#: Octets of a PDU that are sent to a peer that sets no limit.
_UNLIMITED: Final = 256 * 1024
_SMALL: Final = 16 * 1024
_HEAD: Final = struct.Struct(">BxI")
_PDV: Final = struct.Struct(">IBB")


class AssociationError(ConnectionError):
    """The association ended before its work was done. The message says why, without anything that the peer wrote."""


class AssociationRejectedError(AssociationError):
    """The peer does not want the association."""


@dataclass(frozen=True, slots=True)
class Context:
    """A presentation context that was agreed."""

    abstract_syntax: str
    transfer_syntax: str


@dataclass(slots=True)
class Received:
    """A message that arrives. `data` gives its data set, each piece valid until the next is asked for."""

    context_id: int
    context: Context
    message: Message
    data: Iterator[memoryview]

    def octets(self, limit: int = LONGEST_PDU) -> bytes:
        """The whole data set, for messages that are small. Errors: DicomError when it is longer than `limit`."""
        found = bytearray()
        for piece in self.data:
            found += piece
            if len(found) > limit:
                raise DicomError(f"the data set is longer than {limit} octets")
        return bytes(found)


@dataclass(slots=True, eq=False)
class Association:
    """An association. `address` is the peer's; the titles are those of its request. Only `end` may come from another thread."""

    connection: socket.socket
    address: str
    seconds: float
    calling: str = ""
    called: str = ""
    contexts: Mapping[int, Context] = field(default_factory=dict)
    roles: Mapping[str, tuple[bool, bool]] = field(default_factory=dict)
    extended: Mapping[str, bytes] = field(default_factory=dict)
    #: Between messages.
    is_waiting: bool = False
    _limit: int = MAX_PDU
    _buffer: bytearray = field(default_factory=lambda: bytearray(_SMALL))
    _at: int = 0
    _end: int = 0
    _message_id: int = 0

    def __post_init__(self) -> None:
        self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if isinstance(self.connection, ssl.SSLSocket):
            self.connection.settimeout(self.seconds)
            return
        # The kernel keeps the time: a timeout of Python's own would cost a further call for each that may wait.
        self.connection.settimeout(None)
        limit = struct.pack("ll", int(self.seconds), int(self.seconds % 1 * 1_000_000))
        for option in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO):
            self.connection.setsockopt(socket.SOL_SOCKET, option, limit)

    # ---- beginning and end

    def accept(self, negotiate: Callable[[AssociationRequest], tuple[AssociationAnswer, bytes] | Reject]) -> bool:
        """Read the peer's request and answer it; False when it was refused, or none came.

        `negotiate` gives the answer, and its octets. Errors: AssociationError.
        """
        kind, size = self._pdu(first=True)
        if kind is None:
            return False
        if kind is not Pdu.ASSOCIATE_RQ:
            raise self._broken("the first PDU is no A-ASSOCIATE-RQ")
        try:
            request = read_request(bytes(self._buffer[:size]))
        except UpperLayerError as problem:
            raise self._broken(str(problem)) from None
        self.calling, self.called = request.calling, request.called
        answer = negotiate(request)
        if isinstance(answer, Reject):
            self._send(write_reject(answer))
            self._await_close()
            return False
        agreed, octets = answer
        self._agreed({item.context_id: item.abstract_syntax for item in request.contexts}, agreed, request.max_length)
        self.extended = request.extended
        self._send(octets)
        return True

    def request(
        self,
        calling: str,
        called: str,
        kinds: Sequence[tuple[str, tuple[str, ...]]],
        roles: Mapping[str, tuple[bool, bool]] | None = None,
    ) -> None:
        """Ask for an association with these abstract syntaxes.

        Errors: AssociationRejectedError, AssociationError; the connection is closed then.
        """
        try:
            self._request(calling, called, kinds, roles)
        except AssociationError:
            self.close()
            raise

    def _request(
        self,
        calling: str,
        called: str,
        kinds: Sequence[tuple[str, tuple[str, ...]]],
        roles: Mapping[str, tuple[bool, bool]] | None,
    ) -> None:
        proposed = contexts_for(kinds)
        self.calling, self.called = calling, called
        self._send(write_request(AssociationRequest(called, calling, proposed, MAX_PDU, roles or {})))
        kind, size = self._pdu(first=True)
        if kind is Pdu.ASSOCIATE_RJ:
            raise AssociationRejectedError("the peer refused the association")
        if kind is not Pdu.ASSOCIATE_AC:
            raise AssociationError("the peer did not answer the request for an association")
        try:
            answer = read_answer(bytes(self._buffer[:size]))
        except UpperLayerError as problem:
            raise self._broken(str(problem)) from None
        self._agreed({item.context_id: item.abstract_syntax for item in proposed}, answer, answer.max_length)

    def _agreed(self, names: Mapping[int, str], answer: AssociationAnswer, max_length: int) -> None:
        accepted = [item for item in answer.contexts if item.result is ContextResult.ACCEPTED and item.context_id in names]
        self.contexts = {item.context_id: Context(names[item.context_id], item.transfer_syntax) for item in accepted}
        self.roles = answer.roles
        self._limit = min(max_length, _UNLIMITED) if max_length >= 64 else _UNLIMITED if max_length == 0 else 64

    def release(self) -> None:
        """End the association in order, and the connection."""
        with suppress(OSError):
            self._send(write_pdu(Pdu.RELEASE_RQ, bytes(4)))
            kind: Pdu | None = Pdu.DATA
            while kind is Pdu.DATA:
                kind, _ = self._pdu()
        self.close()

    def abort(self) -> None:
        """End the association at once."""
        with suppress(OSError):
            self._send(write_abort(source=0))
        self.close()

    def end(self) -> None:
        """Have the association end: whoever waits in it is woken. For other threads."""
        with suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Release the connection. Idempotent."""
        self.connection.close()

    # ---- messages

    def receive(self) -> Received | None:
        """The next message; None after the peer has ended the association in order. Errors: AssociationError."""
        octets = bytearray()
        self.is_waiting = True
        while True:
            pdv = self._pdv(inside=bool(octets))
            if pdv is None:
                return None
            self.is_waiting = False
            context_id, control, piece = pdv
            if not control & 1:
                raise self._broken("a data set without its command")
            octets += piece
            if len(octets) > MAX_COMMAND:
                raise self._broken("a command set is too long")
            if control & 2:
                break
        context = self.contexts.get(context_id)
        if context is None:
            raise self._broken("a message in a presentation context that was not agreed")
        try:
            message = read_command(bytes(octets))
        except DicomError as problem:
            raise self._broken(str(problem)) from None
        return Received(context_id, context, message, self._data_set(context_id) if message.has_data_set else iter(()))

    def response(self, request: Message) -> Received:
        """The response to a request that was sent. Errors: AssociationError for anything else."""
        received = self.receive()
        if received is None:
            raise AssociationError("the peer ended the association in place of a response")
        if not received.message.is_response or received.message.message_id != request.message_id:
            raise self._broken("another message in place of a response")
        return received

    def is_cancelled(self, message_id: int) -> bool:
        """Whether the peer has cancelled that request. Errors: AssociationError when it says something else meanwhile."""
        while self.has_input():
            received = self.receive()
            if received is None:
                raise AssociationError("the peer released the association while its request was served")
            if received.message.command != Command.C_CANCEL:
                raise self._broken("a further request before the one at hand was answered")
            if received.message.message_id == message_id:
                return True
        return False

    def has_input(self) -> bool:
        """Whether the peer has said something that was not read yet."""
        if self._at < self._end or (isinstance(self.connection, ssl.SSLSocket) and self.connection.pending()):
            return True
        poll = select.poll()
        poll.register(self.connection, select.POLLIN)
        return bool(poll.poll(0))

    def next_message_id(self) -> int:
        """A Message ID for a request of ours."""
        self._message_id = self._message_id % 0xFFFF + 1
        return self._message_id

    def context_of(self, abstract_syntax: str) -> int | None:
        """The identifier of a presentation context with that abstract syntax."""
        return next((number for number, context in self.contexts.items() if context.abstract_syntax == abstract_syntax), None)

    def send(self, context_id: int, message: Message, data: Iterable[bytes] = ()) -> None:
        """Send a message, with its data set in pieces. Errors: AssociationError; whatever `data` raises ends the association."""
        command = memoryview(write_command(message))
        room = self._limit - 6
        held = b""
        for start in range(0, len(command), room):
            held += _frame(context_id, 3 if start + room >= len(command) else 1, command[start : start + room])
        if not message.has_data_set:
            self._send(held)
            return
        try:
            for piece, is_last in _pieces(data, room):
                head = _PDV.pack(len(piece) + 2, context_id, 2 if is_last else 0)
                self._send(held + _HEAD.pack(Pdu.DATA, len(piece) + 6) + head, piece)
                held = b""
        except AssociationError:
            raise
        except BaseException:
            # The peer has half a data set, and there is no way to tell it so within the association.
            self.abort()
            raise

    # ---- octets

    def _data_set(self, context_id: int) -> Iterator[memoryview]:
        while True:
            pdv = self._pdv(inside=True)
            assert pdv is not None
            found, control, piece = pdv
            if control & 1 or found != context_id:
                raise self._broken("something else in place of a data set")
            yield piece
            if control & 2:
                return

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
            except (BlockingIOError, TimeoutError):
                raise self._broken("nothing came for too long") from None
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
        with suppress(OSError):
            self.connection.sendall(write_abort())
        self._await_close(0.2)
        return AssociationError(why)

    def _await_close(self, seconds: float = 5.0) -> None:
        """Leave it to the peer to close, so that the last PDU reaches it."""
        with suppress(OSError):
            self.connection.settimeout(seconds)
            self.connection.shutdown(socket.SHUT_WR)
            until = time.monotonic() + seconds
            while time.monotonic() < until and self.connection.recv(4096):
                pass


def connect(host: str, port: int, seconds: float) -> Association:
    """A connection for an association that is still to be requested. Errors: OSError."""
    return Association(socket.create_connection((host, port), timeout=seconds), host, seconds)


def _frame(context_id: int, control: int, piece: memoryview) -> bytes:
    return _HEAD.pack(Pdu.DATA, len(piece) + 6) + _PDV.pack(len(piece) + 2, context_id, control) + piece


def _pieces(chunks: Iterable[bytes], room: int) -> Iterator[tuple[memoryview, bool]]:
    """The octets in pieces of at most `room`, and whether each is the last."""
    held: memoryview | None = None
    for chunk in chunks:
        view = memoryview(chunk)
        for start in range(0, len(view), room):
            if held is not None:
                yield held, False
            held = view[start : start + room]
    yield held if held is not None else memoryview(b""), True
