"""Messages of DIMSE: their command sets, and data sets that travel without the head of a file.

Spec: DICOM PS3.7 6.3 (commands), 9.3 and 10.3 (fields), E.1 (command dictionary), C (statuses).
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Final

from xds.wire.dicom import LONG_FORM, DicomError, Elements
from xds.wire.dicom_header import read_header
from xds.wire.dicom_values import write_file_meta

NO_DATA_SET: Final = 0x0101
#: Octets of a command set at most.
MAX_COMMAND: Final = 64 * 1024


class Command(IntEnum):
    """Command Field of requests; their responses have the highest bit as well. Spec: PS3.7 E.1-1."""

    C_STORE = 0x0001
    C_GET = 0x0010
    C_FIND = 0x0020
    C_MOVE = 0x0021
    C_ECHO = 0x0030
    C_CANCEL = 0x0FFF
    N_EVENT_REPORT = 0x0100
    N_GET = 0x0110
    N_SET = 0x0120
    N_ACTION = 0x0130
    N_CREATE = 0x0140
    N_DELETE = 0x0150


RESPONSE: Final = 0x8000


class Field(IntEnum):
    """Elements of command sets."""

    AFFECTED_SOP_CLASS = 0x0002
    REQUESTED_SOP_CLASS = 0x0003
    COMMAND = 0x0100
    MESSAGE_ID = 0x0110
    RESPONDED_TO = 0x0120
    MOVE_DESTINATION = 0x0600
    PRIORITY = 0x0700
    DATA_SET_TYPE = 0x0800
    STATUS = 0x0900
    OFFENDING_ELEMENT = 0x0901
    ERROR_COMMENT = 0x0902
    ERROR_ID = 0x0903
    AFFECTED_SOP_INSTANCE = 0x1000
    REQUESTED_SOP_INSTANCE = 0x1001
    EVENT_TYPE = 0x1002
    ACTION_TYPE = 0x1008
    REMAINING = 0x1020
    COMPLETED = 0x1021
    FAILED = 0x1022
    WARNING = 0x1023
    MOVE_ORIGINATOR = 0x1030
    MOVE_ORIGINATOR_ID = 0x1031


class Status(IntEnum):
    """Statuses that are answered. Spec: PS3.7 C; PS3.4 B.2.3, C.4.1.1.4, C.4.2.1.5, F.7.2."""

    SUCCESS = 0x0000
    CANCELLED = 0xFE00
    PENDING = 0xFF00
    PENDING_KEYS_IGNORED = 0xFF01
    PROCESSING_FAILURE = 0x0110
    DUPLICATE_INSTANCE = 0x0111
    NO_SUCH_INSTANCE = 0x0112
    NO_SUCH_EVENT = 0x0113
    INVALID_VALUE = 0x0106
    NO_SUCH_SOP_CLASS = 0x0118
    CLASS_CONFLICT = 0x0119
    MISSING_ATTRIBUTE = 0x0120
    CLASS_NOT_SUPPORTED = 0x0122
    NO_SUCH_ACTION = 0x0123
    NOT_AUTHORISED = 0x0124
    UNRECOGNISED = 0x0211
    OUT_OF_RESOURCES = 0xA700
    NO_SUB_OPERATIONS = 0xA702
    UNKNOWN_DESTINATION = 0xA801
    DOES_NOT_MATCH = 0xA900
    SUB_OPERATIONS_FAILED = 0xB000
    CANNOT_UNDERSTAND = 0xC000
    OTHER_PATIENT = 0xC001


_FIELDS: Final = {item.value: item for item in Field}
_NUMBERS: Final = frozenset(
    (
        Field.COMMAND,
        Field.MESSAGE_ID,
        Field.RESPONDED_TO,
        Field.PRIORITY,
        Field.DATA_SET_TYPE,
        Field.STATUS,
        Field.ERROR_ID,
        Field.EVENT_TYPE,
        Field.ACTION_TYPE,
        Field.REMAINING,
        Field.COMPLETED,
        Field.FAILED,
        Field.WARNING,
        Field.MOVE_ORIGINATOR_ID,
    )
)
_TEXTS: Final = frozenset((Field.MOVE_DESTINATION, Field.ERROR_COMMENT, Field.MOVE_ORIGINATOR))
Value = int | str | tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Message:
    """A command set. `fields` are those beside the Command Field and the Command Data Set Type."""

    command: int
    fields: Mapping[Field, Value] = field(default_factory=dict)
    has_data_set: bool = False

    @property
    def is_response(self) -> bool:
        """Whether it answers a request."""
        return bool(self.command & RESPONSE)

    @property
    def message_id(self) -> int:
        """Message ID of a request, or of the request that it responds to or cancels."""
        responds = self.is_response or self.command == Command.C_CANCEL
        return self.number(Field.RESPONDED_TO if responds else Field.MESSAGE_ID)

    @property
    def sop_class(self) -> str:
        """Affected or Requested SOP Class UID."""
        return self.text(Field.AFFECTED_SOP_CLASS) or self.text(Field.REQUESTED_SOP_CLASS)

    @property
    def sop_instance(self) -> str:
        """Affected or Requested SOP Instance UID."""
        return self.text(Field.AFFECTED_SOP_INSTANCE) or self.text(Field.REQUESTED_SOP_INSTANCE)

    def number(self, name: Field) -> int:
        """A number; 0 when it is absent."""
        value = self.fields.get(name, 0)
        return value if isinstance(value, int) else 0

    def text(self, name: Field) -> str:
        """A text or UID; empty when it is absent."""
        value = self.fields.get(name, "")
        return value if isinstance(value, str) else ""


def read_command(octets: bytes) -> Message:
    """A command set: implicit little endian, always. Errors: DicomError when it is broken or has no Command Field."""
    fields: dict[Field, Value] = {}
    position = 0
    while position < len(octets):
        if position + 8 > len(octets):
            raise DicomError("a command set ends inside an element")
        group, number, length = struct.unpack_from("<HHI", octets, position)
        position += 8
        if group != 0 or position + length > len(octets):
            raise DicomError("a command set holds an element of another group, or one that is cut off")
        value, position = octets[position : position + length], position + length
        name = _FIELDS.get(number)
        if name is None:
            continue
        if name in _NUMBERS:
            if length >= 2:
                fields[name] = struct.unpack_from("<H", value)[0]
        elif name is not Field.OFFENDING_ELEMENT:
            fields[name] = value.strip(b"\0 ").decode("ascii", "replace")
    command = fields.pop(Field.COMMAND, None)
    if not isinstance(command, int):
        raise DicomError("a command set has no Command Field (0000,0100)")
    return Message(command, fields, fields.pop(Field.DATA_SET_TYPE, NO_DATA_SET) != NO_DATA_SET)


def write_command(message: Message) -> bytes:
    """A command set with its group length."""
    fields: dict[Field, Value] = {
        **message.fields,
        Field.COMMAND: message.command,
        Field.DATA_SET_TYPE: 1 if message.has_data_set else NO_DATA_SET,
    }
    body = b"".join(_element(name, fields[name]) for name in sorted(fields))
    return struct.pack("<HHII", 0, 0, 4, len(body)) + body


def _element(name: Field, value: Value) -> bytes:
    if isinstance(value, int):
        octets = struct.pack("<H", value)
    elif isinstance(value, tuple):
        octets = b"".join(struct.pack("<HH", tag >> 16, tag & 0xFFFF) for tag in value)
    else:
        octets = value.encode("ascii", "replace")
        octets += (b" " if name in _TEXTS else b"\0") * (len(octets) % 2)
    return struct.pack("<HHI", 0, name, len(octets)) + octets


def response_to(request: Message, status: int, comment: str = "", *, counts: Mapping[Field, int] | None = None) -> Message:
    """The response to a request. `counts` are those of sub-operations.

    Spec: PS3.7 9.3, 10.3; the comment is cut at the 64 characters that fit.
    """
    fields: dict[Field, Value] = {Field.RESPONDED_TO: request.message_id, Field.STATUS: status}
    if request.sop_class:
        fields[Field.AFFECTED_SOP_CLASS] = request.sop_class
    if request.sop_instance:
        fields[Field.AFFECTED_SOP_INSTANCE] = request.sop_instance
    for name in (Field.ACTION_TYPE, Field.EVENT_TYPE):
        if name in request.fields:
            fields[name] = request.fields[name]
    if comment:
        fields[Field.ERROR_COMMENT] = comment[:64]
    return Message(request.command | RESPONSE, {**fields, **(counts or {})})


def read_data_set(octets: bytes, transfer_syntax: str) -> Elements:
    """The elements of a data set as it travels in a message. Errors: DicomError."""
    return read_header((write_file_meta("", "", transfer_syntax), octets)).elements


def data_set_start(octets: bytes) -> int | None:
    """Where the data set begins in a Part 10 file; None when more octets are needed to tell."""
    position = 132
    while position + 12 <= len(octets):
        if octets[position : position + 2] != b"\2\0":
            return position
        if octets[position + 4 : position + 6] in LONG_FORM:
            position += 12 + int(struct.unpack_from("<I", octets, position + 8)[0])
        else:
            position += 8 + int(struct.unpack_from("<H", octets, position + 6)[0])
    return None
