"""One DICOM association over one connection, in one thread, on either side of it.

Spec: DICOM PS3.8 7 (service); PS3.7 8 (message exchange).
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

from xds.pacs.pdus import LONGEST_PDU, MAX_PDU, AssociationError, PduConnection, fragment_head
from xds.wire.dicom import DicomError
from xds.wire.dicom_association import (
    APPLICATION_CONTEXT,
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
from xds.wire.dimse import MAX_COMMAND, Command, Field, Message, read_command, write_command

#: Octets of a PDU that are sent to a peer that sets no limit.
_UNLIMITED: Final = 256 * 1024


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
class Association(PduConnection):
    """An association. `address` is the peer's; the titles are those of its request. Only `end` may come from another thread."""

    calling: str = ""
    called: str = ""
    contexts: Mapping[int, Context] = field(default_factory=dict)
    roles: Mapping[str, tuple[bool, bool]] = field(default_factory=dict)
    extended: Mapping[str, bytes] = field(default_factory=dict)
    #: Between messages.
    is_waiting: bool = False
    #: The status of the last response that was sent.
    answered: int = 0
    _limit: int = MAX_PDU
    _message_id: int = 0

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
        answer = _refusal(request) or negotiate(request)
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

    # ---- in the hands of another process

    def state(self) -> dict[str, str | int]:
        """What was agreed, beside the presentation contexts."""
        return {"address": self.address, "calling": self.calling, "called": self.called, "limit": self._limit}

    def resume(self, limit: int, unread: bytes) -> None:
        """Go on where another process stopped. `limit` is the peer's for PDUs, `unread` what was read of one and no more."""
        self._limit = limit
        self._put_back(unread)

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
        if context_id not in self.contexts:
            raise self._broken("a message in a presentation context that was not agreed")
        try:
            message = read_command(bytes(octets))
        except DicomError as problem:
            raise self._broken(str(problem)) from None
        return self.received(context_id, message)

    def received(self, context_id: int, message: Message) -> Received:
        """A message whose command was read, and whose data set comes next."""
        data = self._data_set(context_id) if message.has_data_set else iter(())
        return Received(context_id, self.contexts[context_id], message, data)

    def response(self, request: Message) -> Received:
        """The response to a request that was sent. Errors: AssociationError for anything else."""
        received = self.receive()
        if received is None:
            raise AssociationError("the peer ended the association in place of a response")
        self.check_response(request, received)
        return received

    def check_response(self, request: Message, received: Received) -> None:
        """Errors: AssociationError when it is no response to that request; the association has ended then."""
        if not received.message.is_response or received.message.message_id != request.message_id:
            raise self._broken("another message in place of a response")

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

    def next_message_id(self) -> int:
        """A Message ID for a request of ours."""
        self._message_id = self._message_id % 0xFFFF + 1
        return self._message_id

    def context_of(self, abstract_syntax: str) -> int | None:
        """The identifier of a presentation context with that abstract syntax."""
        return next((number for number, context in self.contexts.items() if context.abstract_syntax == abstract_syntax), None)

    def send(self, context_id: int, message: Message, data: Iterable[bytes] = (), *, first: bytes = b"") -> None:
        """Send a message, with its data set in pieces. Errors: AssociationError; whatever `data` raises ends the association.

        `first` is how the data set begins, of even length, when more of it is still awaited: it goes out before `data` is asked.
        """
        command = write_command(message)
        if message.is_response:
            self.answered = message.number(Field.STATUS)
        room = self._limit - 6
        held = b""
        for start in range(0, len(command), room):
            piece = command[start : start + room]
            held += fragment_head(context_id, 3 if start + room >= len(command) else 1, len(piece)) + piece
        if not message.has_data_set:
            self._send(held)
            return
        is_whole = False
        try:
            for start in range(0, len(first), room - room % 2):
                fragment = memoryview(first)[start : start + room - room % 2]
                self._send(held + fragment_head(context_id, 0, len(fragment)), fragment)
                held = b""
            for fragment, is_last in _pieces(data, room):
                self._send(held + fragment_head(context_id, 2 if is_last else 0, len(fragment)), fragment)
                held = b""
            is_whole = True
        finally:
            if not is_whole:
                # The peer has half a data set, and there is no way to tell it so within the association.
                self.abort()

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


def connect(host: str, port: int, seconds: float) -> Association:
    """A connection for an association that is still to be requested. Errors: OSError."""
    return Association(socket.create_connection((host, port), timeout=seconds), host, seconds)


def _refusal(request: AssociationRequest) -> Reject | None:
    """Why nobody here can speak with such a peer, whatever it wants. Spec: DICOM PS3.8 9.3.2, 7.1.1.2."""
    if not request.version & 1:
        return Reject.PROTOCOL_VERSION
    if request.application_context != APPLICATION_CONTEXT:
        return Reject.APPLICATION_CONTEXT
    return None


def _pieces(chunks: Iterable[bytes], room: int) -> Iterator[tuple[memoryview, bool]]:
    """The octets in pieces of at most `room`, and whether each is the last.

    Each is of even length, as some peers insist, wherever the chunks end; a deflated data set alone may be of odd length, and is
    filled up with a null. Spec: PS3.8 E.2; PS3.5 A.5.
    """
    room -= room % 2
    held: memoryview | None = None
    odd = b""
    for chunk in chunks:
        view = memoryview(odd + chunk if odd else chunk)
        odd = bytes(view[-1:]) if len(view) % 2 else b""
        for start in range(0, len(view) - len(odd), room):
            if held is not None:
                yield held, False
            held = view[start : min(start + room, len(view) - len(odd))]
    if odd:
        if held is not None:
            yield held, False
        held = memoryview(odd + b"\0")
    yield held if held is not None else memoryview(b""), True
