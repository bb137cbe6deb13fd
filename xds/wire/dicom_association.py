"""The upper layer of DICOM: requests for associations, their answers, and the frames of messages.

Tolerated when reading: reserved octets of any value, items that are not known, AE titles with control characters.

Spec: DICOM PS3.8 9.3 (PDUs), PS3.8 D.1 and D.3 (user information), PS3.7 D.3.3 (negotiation).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from functools import lru_cache
from typing import Final

from xds.wire.dicom_values import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION

APPLICATION_CONTEXT: Final = "1.2.840.10008.3.1.1.1"
#: Presentation contexts of one association: their identifiers are the odd numbers of one octet.
MOST_CONTEXTS: Final = 128
#: Octets of a request whose reading is remembered: a peer asks for the same each time, and often for a hundred contexts.
_KEPT_REQUEST: Final = 32 * 1024

_FIXED: Final = struct.Struct(">HH16s16s32x")
_ITEM: Final = struct.Struct(">BxH")


class UpperLayerError(ValueError):
    """Octets that are no PDU of this protocol. The message says which rule they break."""


class Pdu(IntEnum):
    """Types of PDUs. Spec: PS3.8 9.3.1."""

    ASSOCIATE_RQ = 1
    ASSOCIATE_AC = 2
    ASSOCIATE_RJ = 3
    DATA = 4
    RELEASE_RQ = 5
    RELEASE_RP = 6
    ABORT = 7


class ContextResult(IntEnum):
    """What becomes of a proposed presentation context. Spec: PS3.8 Table 9-18."""

    ACCEPTED = 0
    NO_REASON = 2
    ABSTRACT_SYNTAX = 3
    TRANSFER_SYNTAXES = 4


class Reject(IntEnum):
    """Why an association is refused, as result, source and reason. Spec: PS3.8 Table 9-21."""

    APPLICATION_CONTEXT = 0x010102
    CALLING_TITLE = 0x010103
    PROTOCOL_VERSION = 0x010202
    TOO_MANY = 0x020302


@dataclass(frozen=True, slots=True)
class ProposedContext:
    """One presentation context of a request."""

    context_id: int
    abstract_syntax: str
    transfer_syntaxes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class AnsweredContext:
    """One presentation context of an answer."""

    context_id: int
    result: ContextResult
    transfer_syntax: str


@dataclass(frozen=True, slots=True, eq=False)
class AssociationRequest:
    """A-ASSOCIATE-RQ. `max_length` 0: PDUs of any length. `roles`: SOP Class UID -> (as SCU, as SCP) of the requestor.

    `extended`: SOP Class UID -> what its extended negotiation says.
    """

    called: str
    calling: str
    contexts: tuple[ProposedContext, ...]
    max_length: int
    roles: Mapping[str, tuple[bool, bool]] = field(default_factory=dict)
    extended: Mapping[str, bytes] = field(default_factory=dict)
    version: int = 1
    application_context: str = APPLICATION_CONTEXT


@dataclass(frozen=True, slots=True)
class AssociationAnswer:
    """A-ASSOCIATE-AC, with what was agreed."""

    called: str
    calling: str
    contexts: tuple[AnsweredContext, ...]
    max_length: int
    roles: Mapping[str, tuple[bool, bool]] = field(default_factory=dict)
    extended: Mapping[str, bytes] = field(default_factory=dict)


def write_pdu(kind: Pdu, body: bytes) -> bytes:
    """A PDU with its head."""
    return struct.pack(">BxI", kind, len(body)) + body


def write_request(request: AssociationRequest) -> bytes:
    """A-ASSOCIATE-RQ."""
    contexts = b"".join(
        _item(
            0x20,
            bytes((context.context_id, 0, 0, 0))
            + _uid(0x30, context.abstract_syntax)
            + b"".join(_uid(0x40, syntax) for syntax in context.transfer_syntaxes),
        )
        for context in request.contexts
    )
    return write_pdu(Pdu.ASSOCIATE_RQ, _fixed(request) + contexts + _user_information(request))


def write_answer(answer: AssociationAnswer) -> bytes:
    """A-ASSOCIATE-AC."""
    contexts = b"".join(
        _item(0x21, bytes((context.context_id, 0, context.result, 0)) + _uid(0x40, context.transfer_syntax))
        for context in answer.contexts
    )
    return write_pdu(Pdu.ASSOCIATE_AC, _fixed(answer) + contexts + _user_information(answer))


def write_reject(reason: Reject) -> bytes:
    """A-ASSOCIATE-RJ."""
    return write_pdu(Pdu.ASSOCIATE_RJ, bytes((0, reason >> 16, reason >> 8 & 0xFF, reason & 0xFF)))


def write_abort(*, source: int = 2, reason: int = 0) -> bytes:
    """A-ABORT; source 0 is the user, 2 the provider. Spec: PS3.8 9.3.8."""
    return write_pdu(Pdu.ABORT, bytes((0, 0, source, reason)))


def read_request(body: bytes) -> AssociationRequest:
    """A-ASSOCIATE-RQ without its head; the same octets give the same object. Errors: UpperLayerError."""
    return _kept_request(body) if len(body) <= _KEPT_REQUEST else _read_request(body)


def _read_request(body: bytes) -> AssociationRequest:
    version, called, calling = _read_fixed(body)
    contexts: list[ProposedContext] = []
    application, user = "", b""
    for kind, value in _items(body, _FIXED.size):
        if kind == 0x10:
            application = _text(value)
        elif kind == 0x20:
            contexts.append(_proposed(value))
        elif kind == 0x50:
            user = value
    max_length, roles, extended = _read_user_information(user)
    if len({context.context_id for context in contexts}) != len(contexts):
        raise UpperLayerError("two presentation contexts have the same identifier")
    return AssociationRequest(called, calling, tuple(contexts), max_length, roles, extended, version, application)


_kept_request = lru_cache(maxsize=16)(_read_request)


def read_answer(body: bytes) -> AssociationAnswer:
    """A-ASSOCIATE-AC without its head. Errors: UpperLayerError."""
    _, called, calling = _read_fixed(body)
    contexts: list[AnsweredContext] = []
    user = b""
    for kind, value in _items(body, _FIXED.size):
        if kind == 0x21:
            contexts.append(_answered(value))
        elif kind == 0x50:
            user = value
    return AssociationAnswer(called, calling, tuple(contexts), *_read_user_information(user))


def _proposed(value: bytes) -> ProposedContext:
    if len(value) < 4:
        raise UpperLayerError("a presentation context is too short")
    abstract, transfer = "", []
    for kind, inner in _items(value, 4):
        if kind == 0x30:
            abstract = _text(inner)
        elif kind == 0x40:
            transfer.append(_text(inner))
    return ProposedContext(value[0], abstract, tuple(transfer))


def _answered(value: bytes) -> AnsweredContext:
    if len(value) < 4:
        raise UpperLayerError("a presentation context is too short")
    syntaxes = [_text(inner) for kind, inner in _items(value, 4) if kind == 0x40]
    known = value[2] in tuple(ContextResult)
    result = ContextResult(value[2]) if known else ContextResult.NO_REASON
    return AnsweredContext(value[0], result, syntaxes[0] if syntaxes else "")


def _fixed(message: AssociationRequest | AssociationAnswer) -> bytes:
    titles = (title.encode("ascii", "replace")[:16].ljust(16) for title in (message.called, message.calling))
    return _FIXED.pack(1, 0, *titles) + _uid(0x10, APPLICATION_CONTEXT)


def _read_fixed(body: bytes) -> tuple[int, str, str]:
    if len(body) < _FIXED.size:
        raise UpperLayerError("the association PDU is too short")
    version, _, called, calling = _FIXED.unpack_from(body)
    return version, _title(called), _title(calling)


def _title(octets: bytes) -> str:
    return "".join(char if char.isprintable() else "?" for char in octets.rstrip(b"\0 ").decode("ascii", "replace")).strip()


def _user_information(message: AssociationRequest | AssociationAnswer) -> bytes:
    parts = [_item(0x51, struct.pack(">I", message.max_length)), _uid(0x52, IMPLEMENTATION_CLASS_UID)]
    for uid, (as_user, as_provider) in message.roles.items():
        parts.append(_item(0x54, _counted(uid) + bytes((as_user, as_provider))))
    parts.append(_item(0x55, IMPLEMENTATION_VERSION.encode()))
    parts += [_item(0x56, _counted(uid) + said) for uid, said in message.extended.items()]
    return _item(0x50, b"".join(parts))


def _read_user_information(user: bytes) -> tuple[int, dict[str, tuple[bool, bool]], dict[str, bytes]]:
    max_length = 0
    roles: dict[str, tuple[bool, bool]] = {}
    extended: dict[str, bytes] = {}
    for kind, value in _items(user, 0):
        if kind == 0x51 and len(value) == 4:
            (max_length,) = struct.unpack(">I", value)
        elif kind in (0x54, 0x56) and len(value) >= 2:
            (length,) = struct.unpack_from(">H", value)
            uid, said = _text(value[2 : 2 + length]), value[2 + length :]
            if kind == 0x56:
                extended[uid] = said
            elif len(said) >= 2:
                roles[uid] = (bool(said[0]), bool(said[1]))
    return max_length, roles, extended


def _items(octets: bytes, position: int) -> Iterator[tuple[int, bytes]]:
    while position < len(octets):
        if position + 4 > len(octets):
            raise UpperLayerError("an item of the association PDU is cut off")
        kind, length = _ITEM.unpack_from(octets, position)
        position += 4
        if position + length > len(octets):
            raise UpperLayerError("an item of the association PDU is longer than the PDU")
        yield kind, octets[position : position + length]
        position += length


def _item(kind: int, value: bytes) -> bytes:
    return _ITEM.pack(kind, len(value)) + value


def _uid(kind: int, uid: str) -> bytes:
    return _item(kind, uid.encode("ascii", "replace"))


def _counted(uid: str) -> bytes:
    octets = uid.encode("ascii", "replace")
    return struct.pack(">H", len(octets)) + octets


def _text(octets: bytes) -> str:
    return octets.rstrip(b"\0 ").decode("ascii", "replace")


def contexts_for(kinds: Sequence[tuple[str, tuple[str, ...]]]) -> tuple[ProposedContext, ...]:
    """Presentation contexts for these abstract syntaxes with their transfer syntaxes, at most `MOST_CONTEXTS`."""
    if len(kinds) > MOST_CONTEXTS:
        raise ValueError(f"an association has at most {MOST_CONTEXTS} presentation contexts")
    return tuple(ProposedContext(2 * number + 1, *kind) for number, kind in enumerate(kinds))
