"""HL7 version 2 messages in their ER7 form ("pipes and hats"): octets to segments and back.

Fields stay in their wire form until somebody asks for a value, which makes reading a message cheap; `Message.get` finds a value
by its usual name (`PID-3.4.2`) and undoes the escapes.

Tolerated deviations: segments that end with LF or CR LF instead of CR; line feeds inside a value; empty lines; a byte order
mark; a missing MSH-18 although the text is not ASCII (UTF-8 is tried first, then ISO 8859-1); spellings of MSH-18 outside table
0211 (`UTF-8`, `ISO-8859-1`).

Spec: HL7 v2.5 chapter 2; ITI TF-2 Appendix C.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import IntEnum
from functools import lru_cache

#: HL7's sign for "delete this value", which is not the same as an absent one.
DELETED = '""'

_SEGMENT_NAME = re.compile(r"[A-Z][A-Z0-9]{2}\Z")
_PATH = re.compile(r"([A-Z][A-Z0-9]{2})-([1-9][0-9]*)(?:\.([1-9][0-9]*))?(?:\.([1-9][0-9]*))?\Z")

#: MSH-18 (table 0211 and what is met in the field) to Python's codec.
_CODECS = {
    "ASCII": "ascii",
    "8859/1": "iso8859-1",
    "8859/2": "iso8859-2",
    "8859/3": "iso8859-3",
    "8859/4": "iso8859-4",
    "8859/5": "iso8859-5",
    "8859/6": "iso8859-6",
    "8859/7": "iso8859-7",
    "8859/8": "iso8859-8",
    "8859/9": "iso8859-9",
    "8859/15": "iso8859-15",
    "UNICODE": "utf-8",
    "UNICODE UTF-8": "utf-8",
    "UTF-8": "utf-8",
    "UTF8": "utf-8",
    "ISO-8859-1": "iso8859-1",
    "ISO-8859-15": "iso8859-15",
}
_LABELS = {"utf-8": "UNICODE UTF-8"} | {codec: label for label, codec in _CODECS.items() if label.startswith("8859/")}
_CHARACTER_SET_FIELD = 18
#: No honest field repeats more often.
MOST_REPETITIONS = 1000


class Condition(IntEnum):
    """Message error condition codes. Spec: HL7 table 0357."""

    ACCEPTED = 0
    SEGMENT_SEQUENCE = 100
    REQUIRED_MISSING = 101
    DATA_TYPE = 102
    TABLE_VALUE = 103
    UNSUPPORTED_TYPE = 200
    UNSUPPORTED_EVENT = 201
    UNSUPPORTED_PROCESSING_ID = 202
    UNSUPPORTED_VERSION = 203
    UNKNOWN_KEY = 204
    DUPLICATE_KEY = 205
    RECORD_LOCKED = 206
    INTERNAL = 207


@dataclass(frozen=True, slots=True)
class Location:
    """Where in a message a fault lies (ERL); parts that are None are left out. All of them count from 1."""

    segment: str
    sequence: int = 1
    field: int | None = None
    repetition: int | None = None
    component: int | None = None
    subcomponent: int | None = None

    def __str__(self) -> str:
        parts = (self.segment, self.sequence, self.field, self.repetition, self.component, self.subcomponent)
        return "^".join("" if part is None else str(part) for part in parts).rstrip("^")


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that is wrong with a message: what an ERR segment tells. `text` is free of patient data."""

    condition: Condition
    text: str
    location: Location | None = None


class UnreadableError(ValueError):
    """The octets are not an HL7 v2 message. `header` is a message of the MSH alone, when at least that could be read."""

    def __init__(self, fault: Fault, header: Message | None = None) -> None:
        super().__init__(fault.text)
        self.fault = fault
        self.header = header


@dataclass(frozen=True, slots=True)
class Separators:
    """The characters that structure a message, as MSH-1 and MSH-2 declare them."""

    field: str = "|"
    component: str = "^"
    repetition: str = "~"
    escape: str = "\\"
    subcomponent: str = "&"

    @property
    def encoding_characters(self) -> str:
        """MSH-2."""
        return self.component + self.repetition + self.escape + self.subcomponent


STANDARD = Separators()


@dataclass(frozen=True, slots=True)
class Segment:
    """One segment; `fields[0]` is field 1 in its wire form. In an MSH, field 1 is the separator itself and field 2 the others."""

    name: str
    fields: tuple[str, ...]

    def field(self, number: int) -> str:
        """The field in its wire form, empty when it is absent."""
        return self.fields[number - 1] if number <= len(self.fields) else ""


@lru_cache(maxsize=512)
def _path(path: str) -> tuple[str, int, int, int]:
    match = _PATH.match(path)
    if match is None:
        raise ValueError(f"not the name of an HL7 value: {path}")
    return match[1], int(match[2]), int(match[3] or 1), int(match[4] or 1)


def _part(text: str, separator: str, number: int) -> str:
    if separator not in text:
        return text if number == 1 else ""
    parts = text.split(separator)
    return parts[number - 1] if number <= len(parts) else ""


@lru_cache(maxsize=4)
def _repetitions(text: str, separator: str) -> tuple[str, ...]:
    """Readers ask for one repetition after the other: a long field is split once."""
    return tuple(text.split(separator))


@dataclass(frozen=True, slots=True)
class Message:
    """A message as its segments, with the separators and the character set (a Python codec) that it came or goes with."""

    segments: tuple[Segment, ...]
    separators: Separators = STANDARD
    codec: str = "utf-8"

    def segment(self, name: str, occurrence: int = 1) -> Segment | None:
        """The n-th segment of that name, or None."""
        found = (item for item in self.segments if item.name == name)
        return next((item for index, item in enumerate(found, 1) if index == occurrence), None)

    def count(self, name: str) -> int:
        """How many segments of that name there are."""
        return sum(1 for item in self.segments if item.name == name)

    def field(self, path: str, occurrence: int = 1) -> str:
        """A whole field (`PID-3`) in its wire form, with every repetition; empty when it is absent."""
        name, number, _, _ = _path(path)
        segment = self.segment(name, occurrence)
        return segment.field(number) if segment else ""

    def repetitions(self, path: str, occurrence: int = 1) -> int:
        """How many repetitions the field has; 0 when it is empty or absent."""
        text = self.field(path, occurrence)
        return text.count(self.separators.repetition) + 1 if text else 0

    def get(self, path: str, repetition: int = 1, occurrence: int = 1) -> str:
        """One value as text, without escapes; empty when it is absent, `DELETED` when the sender deletes it.

        A component or subcomponent that the path leaves out is the first, as HL7 has it (`PID-8` is `PID-8.1.1`).
        Errors: ValueError for a path that names nothing in HL7.
        """
        name, number, component, subcomponent = _path(path)
        segment = self.segment(name, occurrence)
        if segment is None:
            return ""
        text = segment.field(number)
        if name == "MSH" and number <= 2:
            return text
        repeated = _repetitions(text, self.separators.repetition)
        text = _part(repeated[repetition - 1] if repetition <= len(repeated) else "", self.separators.component, component)
        text = _part(text, self.separators.subcomponent, subcomponent)
        return unescape(text, self.separators, self.codec)

    @property
    def message_type(self) -> str:
        """MSH-9.1."""
        return self.get("MSH-9.1")

    @property
    def event(self) -> str:
        """MSH-9.2."""
        return self.get("MSH-9.2")

    @property
    def control_id(self) -> str:
        """MSH-10 exactly as it was sent."""
        return self.get("MSH-10")

    @property
    def version(self) -> str:
        """MSH-12.1."""
        return self.get("MSH-12").strip()


@lru_cache(maxsize=16)
def _escape_pattern(character: str) -> re.Pattern[str]:
    mark = re.escape(character)
    return re.compile(f"{mark}([FSTRE]|H|N|\\.br|\\.sp[0-9]*|X(?:[0-9A-Fa-f]{{2}})+){mark}")


def unescape(text: str, separators: Separators = STANDARD, codec: str = "utf-8") -> str:
    """Undo HL7's escapes; `\\.br\\` becomes a line feed, highlighting vanishes, sequences without meaning here stay.

    Spec: HL7 v2.5 chapter 2.7.
    """
    if separators.escape not in text:
        return text
    characters = {
        "F": separators.field,
        "S": separators.component,
        "T": separators.subcomponent,
        "R": separators.repetition,
        "E": separators.escape,
        "H": "",
        "N": "",
        ".br": "\n",
    }

    def character(match: re.Match[str]) -> str:
        sequence = match[1]
        if sequence in characters:
            return characters[sequence]
        if sequence.startswith(".sp"):
            return "\n" * int(sequence[3:6] or 1)
        return bytes.fromhex(sequence[1:]).decode(codec, errors="replace")

    return _escape_pattern(separators.escape).sub(character, text)


_ESCAPES = str.maketrans(
    {"|": "\\F\\", "^": "\\S\\", "&": "\\T\\", "~": "\\R\\", "\\": "\\E\\", "\n": "\\.br\\"}
    # Control characters would end the segment or the MLLP frame.
    | {chr(code): f"\\X{code:02X}\\" for code in range(32) if code != 10}
)


def escape(text: str) -> str:
    """The wire form of a text under the standard separators."""
    return text.translate(_ESCAPES)


def translate(text: str, separators: Separators) -> str:
    """A field in its wire form, from other separators to the standard ones."""
    if separators == STANDARD:
        return text
    levels = (
        (separators.repetition, STANDARD.repetition),
        (separators.component, STANDARD.component),
        (separators.subcomponent, STANDARD.subcomponent),
    )

    def rewritten(part: str, level: int) -> str:
        if level == len(levels):
            return part if part == DELETED else escape(unescape(part, separators))
        old, new = levels[level]
        return new.join(rewritten(item, level + 1) for item in part.split(old))

    return rewritten(text, 0)


def segment(name: str, fields: Mapping[int, str]) -> Segment:
    """A segment from field numbers and fields in their wire form; empty fields at the end are left out."""
    filled = {number: text for number, text in fields.items() if text}
    return Segment(name, tuple(filled.get(number, "") for number in range(1, max(filled, default=0) + 1)))


def components(*parts: str, separator: str = STANDARD.component) -> str:
    """Join parts that are in their wire form, without empty ones at the end."""
    return separator.join(parts).rstrip(separator)


def _unreadable(
    text: str, condition: Condition = Condition.SEGMENT_SEQUENCE, location: Location | None = None
) -> UnreadableError:
    return UnreadableError(Fault(condition, text, location))


def _separators(header: str) -> Separators:
    declared = header[3:8]
    if len(declared) < 5 or len(set(declared)) < 5 or any(item.isalnum() or item.isspace() for item in declared):
        raise _unreadable("MSH-1 and MSH-2 do not declare five different separators", location=Location("MSH", 1, 2))
    return Separators(*declared)


def _codec(data: bytes, declared: str) -> str:
    name = declared.strip().upper()
    if name and name not in _CODECS:
        text = "MSH-18 names a character set that is not supported here"
        raise _unreadable(text, Condition.TABLE_VALUE, Location("MSH", 1, _CHARACTER_SET_FIELD))
    codec = _CODECS.get(name, "ascii")
    if codec != "ascii":
        return codec
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        return "iso8859-1"
    return "utf-8"


def _segment(line: str, separator: str) -> Segment:
    name, *fields = line.split(separator)
    if not _SEGMENT_NAME.match(name):
        raise _unreadable("a segment does not begin with a segment name")
    if name == "MSH":
        return Segment(name, (separator, *fields))
    return Segment(name, tuple(fields))


def read(data: bytes) -> Message:
    """Read one message, without MLLP framing.

    Errors: UnreadableError when it does not begin with an MSH segment that declares its separators, holds a second MSH, names an
    unknown character set or is not written in the one it names, or has a field with more than `MOST_REPETITIONS`.
    """
    # Programs in C leave the ends of their strings behind.
    data = data.replace(b"\0", b"").removeprefix(b"\xef\xbb\xbf").strip(b"\r\n\t ")
    if not data.startswith(b"MSH"):
        raise _unreadable("the message does not begin with MSH", location=Location("MSH"))
    end = b"\r" if b"\r" in data else b"\n"
    line = data.split(end, 1)[0].decode("iso8859-1")
    separators = _separators(line)
    header = Message((_segment(line, separators.field),), separators, "iso8859-1")
    try:
        return _read_body(data, end.decode(), header)
    except UnreadableError as error:
        raise UnreadableError(error.fault, header) from error


def _read_body(data: bytes, end: str, header: Message) -> Message:
    separators = header.separators
    declared = header.segments[0].field(_CHARACTER_SET_FIELD).split(separators.repetition)[0]
    codec = _codec(data, declared)
    try:
        text = data.decode(codec)
    except UnicodeDecodeError as error:
        reason = "the message is not written in the character set of MSH-18"
        raise _unreadable(reason, Condition.DATA_TYPE, Location("MSH", 1, _CHARACTER_SET_FIELD)) from error
    if end == "\n":
        # Where segments end with LF, a line that cannot be a segment continues the text of the one before.
        begin = rf"[A-Z][A-Z0-9]{{2}}(?:{re.escape(separators.field)}|\n|\Z)"
        lines = re.split(rf"\n(?={begin}|\n|\Z)", text)
    else:
        lines = [line.strip("\n") for line in text.split(end)]
    segments = tuple(_segment(line, separators.field) for line in lines if line.strip())
    if any(item.name == "MSH" for item in segments[1:]):
        raise _unreadable("the frame holds more than one message", location=Location("MSH", 2))
    if text.count(separators.repetition) >= MOST_REPETITIONS:
        _check_repetitions(segments, separators.repetition)
    return Message(segments, separators, codec)


def _check_repetitions(segments: Sequence[Segment], separator: str) -> None:
    for item in segments:
        for number, field in enumerate(item.fields, 1):
            if field.count(separator) >= MOST_REPETITIONS:
                reason = f"a field repeats more than {MOST_REPETITIONS} times"
                raise _unreadable(reason, Condition.DATA_TYPE, Location(item.name, 1, number))


def _wire_form(segments: Sequence[Segment], separator: str) -> str:
    lines = []
    for item in segments:
        fields = item.fields[1:] if item.name == "MSH" else item.fields
        lines.append(separator.join((item.name, *fields)) + "\r")
    return "".join(lines)


def _labelled(message: Message, label: str) -> tuple[Segment, ...]:
    header = message.segments[0]
    fields = list(header.fields) + [""] * (_CHARACTER_SET_FIELD - len(header.fields))
    fields[_CHARACTER_SET_FIELD - 1] = label
    return (replace(header, fields=tuple(fields)), *message.segments[1:])


def write(message: Message) -> bytes:
    """The octets of a message, without MLLP framing.

    MSH-18 is set when the text is not ASCII; a text that does not fit the message's character set is written in UTF-8.
    """
    separator = message.separators.field
    text = _wire_form(message.segments, separator)
    if text.isascii():
        return text.encode("ascii")
    codec = message.codec if message.codec in _LABELS else "utf-8"
    try:
        return _wire_form(_labelled(message, _LABELS[codec]), separator).encode(codec)
    except UnicodeEncodeError:
        return _wire_form(_labelled(message, _LABELS["utf-8"]), separator).encode("utf-8")
