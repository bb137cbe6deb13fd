"""HL7 version 2 messages in their ER7 form ("pipes and hats"): octets to segments and back.

Fields stay in their wire form until somebody asks for a value, which makes reading a message cheap; `Message.get` finds a value
by its usual name (`PID-3.4.2`) and undoes the escapes, `Message.components` gives a whole field at once.

Tolerated deviations: segments that end with LF or CR LF instead of CR; line feeds inside a value; empty lines; a byte order
mark; a missing MSH-18, or ASCII, although the text is not ASCII (UTF-8 is tried first, then ISO 8859-1); characters of MSH-2
beyond the fourth.

Spec: HL7 v2.5 chapter 2; ITI TF-2 Appendix C.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

from xds.wire.hl7v2_faults import Condition, Fault, Location
from xds.wire.hl7v2_text import (
    CODECS,
    DELETED,
    LABELS,
    STANDARD,
    Separators,
    components,
    declared_separators,
    escape,
    translate,
    unescape,
)

__all__ = [
    "DELETED",
    "MOST_REPETITIONS",
    "STANDARD",
    "Condition",
    "Fault",
    "Location",
    "Message",
    "Segment",
    "Separators",
    "UnreadableError",
    "components",
    "escape",
    "read",
    "segment",
    "translate",
    "unescape",
    "write",
]

_SEGMENT_NAME = re.compile(r"[A-Z][A-Z0-9]{2}\Z")
_PATH = re.compile(r"([A-Z][A-Z0-9]{2})-([1-9][0-9]*)(?:\.([1-9][0-9]*))?(?:\.([1-9][0-9]*))?\Z")
_CHARACTER_SET_FIELD = 18
#: No honest field repeats more often.
MOST_REPETITIONS = 1000
#: No honest message has more segments; each costs more than its octets.
MOST_SEGMENTS = 50_000
#: How long a value of a header may be that is remembered.
_LONGEST_CACHED = 100
#: How much is shown of a line that is no segment.
_SHOWN = 20
_BATCHES = (b"FHS", b"BHS")


class UnreadableError(ValueError):
    """The octets are not an HL7 v2 message. `header` is a message of the MSH alone, when at least that could be read."""

    def __init__(self, fault: Fault, header: Message | None = None) -> None:
        super().__init__(fault.text)
        self.fault = fault
        self.header = header


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


def _first_value(text: str, component: int, separators: Separators, codec: str) -> str:
    text = _part(text.split(separators.repetition, 1)[0], separators.component, component)
    return unescape(_part(text, separators.subcomponent, 1), separators, codec)


@lru_cache(maxsize=4096)
def _standard_value(text: str, component: int, codec: str) -> str:
    """Headers say the same in every message of a partner."""
    return _first_value(text, component, STANDARD, codec)


@dataclass(frozen=True, slots=True)
class Message:
    """A message as its segments, with the separators and the character set (a Python codec) that it came or goes with."""

    segments: tuple[Segment, ...]
    separators: Separators = STANDARD
    codec: str = "utf-8"

    def segment(self, name: str, occurrence: int = 1) -> Segment | None:
        """The n-th segment of that name, or None."""
        for item in self.segments:
            if item.name == name:
                if occurrence == 1:
                    return item
                occurrence -= 1
        return None

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

    def components(self, text: str) -> list[list[str]]:
        """A field in its wire form as repetitions of components, of each the first subcomponent.

        Without escapes and without blanks around. An empty field has no repetition.
        """
        if not text:
            return []
        separators = self.separators
        repeated = [item.split(separators.component) for item in text.split(separators.repetition)]
        if separators.subcomponent in text:
            repeated = [[part.split(separators.subcomponent, 1)[0] for part in item] for item in repeated]
        if separators.escape in text:
            repeated = [[unescape(part, separators, self.codec) for part in item] for item in repeated]
        return [[part.strip() for part in item] for item in repeated]

    def subcomponents(self, text: str) -> list[str]:
        """A component in its wire form as its subcomponents, without escapes and without blanks around."""
        parts = text.split(self.separators.subcomponent)
        if self.separators.escape in text:
            parts = [unescape(part, self.separators, self.codec) for part in parts]
        return [part.strip() for part in parts]

    def header(self, number: int, component: int = 1) -> str:
        """One value of the MSH, as `get` has it; cheaper."""
        first = self.segments[0]
        fields = first.fields
        text = fields[number - 1] if number <= len(fields) and first.name == "MSH" else ""
        if not text or text.isalnum():
            return text if component == 1 else ""
        if self.separators is STANDARD and len(text) <= _LONGEST_CACHED:
            return _standard_value(text, component, self.codec)
        return _first_value(text, component, self.separators, self.codec)

    @property
    def message_type(self) -> str:
        """MSH-9.1."""
        return self.header(9)

    @property
    def event(self) -> str:
        """MSH-9.2."""
        return self.header(9, 2)

    @property
    def control_id(self) -> str:
        """MSH-10 exactly as it was sent."""
        return self.header(10)

    @property
    def version(self) -> str:
        """MSH-12.1."""
        return self.header(12).strip()


def segment(name: str, fields: Mapping[int, str]) -> Segment:
    """A segment from field numbers and fields in their wire form; empty fields at the end are left out."""
    last = max((number for number, text in fields.items() if text), default=0)
    listed = [""] * last
    for number, text in fields.items():
        if text:
            listed[number - 1] = text
    return Segment(name, tuple(listed))


def _unreadable(
    text: str, condition: Condition = Condition.SEGMENT_SEQUENCE, location: Location | None = None, received: str = ""
) -> UnreadableError:
    return UnreadableError(Fault(condition, text, location, received))


def _undelimited(line: str) -> Message | None:
    """An MSH whose fields are known, but not the structure of each."""
    separator = line[3:4]
    if not separator or separator.isalnum() or separator.isspace():
        return None
    return Message((Segment("MSH", (separator, *line.split(separator)[1:])),), STANDARD, "iso8859-1")


def _decoded(data: bytes, declared: str) -> tuple[str, str]:
    """The text of a message, and the codec of its character set."""
    name = declared.strip().upper()
    codec = CODECS.get(name, "" if name else "ascii")
    place = Location("MSH", 1, _CHARACTER_SET_FIELD)
    if not codec:
        supported = "ASCII, 8859/1 to 8859/9, 8859/15, UNICODE UTF-8"
        raise _unreadable(f"MSH-18 must be empty or one of {supported}", Condition.TABLE_VALUE, place)
    if codec == "ascii":
        try:
            return data.decode("utf-8"), "utf-8"
        except UnicodeDecodeError:
            return data.decode("iso8859-1"), "iso8859-1"
    try:
        return data.decode(codec), codec
    except UnicodeDecodeError as error:
        reason = "the message is not written in the character set of MSH-18"
        raise _unreadable(reason, Condition.DATA_TYPE, place) from error


@lru_cache(maxsize=256)
def _is_segment_name(name: str) -> bool:
    return _SEGMENT_NAME.match(name) is not None


def _segment(line: str, separator: str, number: int = 1) -> Segment:
    fields = line.split(separator)
    name = fields[0]
    if not _is_segment_name(name):
        text = f"line {number} of the message does not begin with a segment name (three capital letters or digits)"
        raise _unreadable(text, received=line[:_SHOWN])
    if name == "MSH":
        fields[0] = separator
        return Segment(name, tuple(fields))
    return Segment(name, tuple(fields[1:]))


def read(data: bytes) -> Message:
    """Read one message, without MLLP framing.

    Errors: UnreadableError when it does not begin with an MSH segment that declares its separators, holds a second MSH, names an
    unknown character set or is not written in the one it names, has more than `MOST_SEGMENTS`, or a field with more than
    `MOST_REPETITIONS`.
    """
    if b"\0" in data:
        data = data.replace(b"\0", b"")  # Programs in C leave the ends of their strings behind.
    data = data.removeprefix(b"\xef\xbb\xbf").strip(b"\r\n\t ")
    if not data.startswith(b"MSH"):
        raise _no_message(data)
    end = b"\r" if b"\r" in data else b"\n"
    line = data.split(end, 1)[0].decode("iso8859-1")
    separators = declared_separators(line[3:8])
    if separators is None:
        text = "MSH-1 and MSH-2 must declare five different separators (|^~\\&)"
        raise UnreadableError(Fault(Condition.SEGMENT_SEQUENCE, text, Location("MSH", 1, 2)), _undelimited(line))
    first = _segment(line, separators.field)
    try:
        return _read_body(data, end.decode(), first.field(_CHARACTER_SET_FIELD), separators)
    except UnreadableError as error:
        raise UnreadableError(error.fault, Message((first,), separators, "iso8859-1")) from error


def _no_message(data: bytes) -> UnreadableError:
    text, name = "the message does not begin with MSH", "MSH"
    if data.startswith(_BATCHES):
        text, name = "a frame holds one message; batches (FHS, BHS) are not received", data[:3].decode("ascii")
    return _unreadable(text, location=Location(name), received=data[:_SHOWN].decode("iso8859-1"))


def _read_body(data: bytes, end: str, character_sets: str, separators: Separators) -> Message:
    declared, _, others = character_sets.partition(separators.repetition)
    if any(item.strip().upper() not in ("", declared.strip().upper()) for item in others.split(separators.repetition)):
        reason = "MSH-18 names several character sets; one must serve for the whole message"
        raise _unreadable(reason, Condition.TABLE_VALUE, Location("MSH", 1, _CHARACTER_SET_FIELD, 2))
    text, codec = _decoded(data, declared)
    if end == "\n":
        # Where segments end with LF, a line that cannot be a segment continues the text of the one before.
        begin = rf"[A-Z][A-Z0-9]{{2}}(?:{re.escape(separators.field)}|\n|\Z)"
        lines = re.split(rf"\n(?={begin}|\n|\Z)", text)
    else:
        lines = text.split(end)
        if "\n" in text:
            lines = [line.strip("\n") for line in lines]
    if len(lines) > MOST_SEGMENTS:
        raise _unreadable(f"the message has more than {MOST_SEGMENTS} segments")
    separator = separators.field
    segments = tuple([_segment(line, separator, number) for number, line in enumerate(lines, 1) if line and not line.isspace()])
    if text.count("MSH") > 1 and any(item.name == "MSH" for item in segments[1:]):
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
    lines = [separator.join((item.name, *(item.fields[1:] if item.name == "MSH" else item.fields))) for item in segments]
    return "\r".join(lines) + "\r"


def _label(codec: str, separators: Separators) -> str:
    """MSH-18 of a character set; empty when its name has one of the separators."""
    label = LABELS.get(codec, "")
    return label if set(label).isdisjoint(separators.field + separators.encoding_characters) else ""


def _labelled(message: Message, codec: str) -> tuple[Segment, ...]:
    header, label = message.segments[0], _label(codec, message.separators)
    fields = list(header.fields) + [""] * (_CHARACTER_SET_FIELD - len(header.fields))
    fields[_CHARACTER_SET_FIELD - 1] = label
    return (replace(header, fields=tuple(fields)), *message.segments[1:])


def write(message: Message) -> bytes:
    """The octets of a message, without MLLP framing.

    MSH-18 is set when the text is not ASCII; a text that does not fit the message's character set is written in UTF-8, and so is
    one whose separators stand in the name of that set.
    """
    separator = message.separators.field
    text = _wire_form(message.segments, separator)
    if text.isascii():
        return text.encode("ascii")
    codec = message.codec if _label(message.codec, message.separators) else "utf-8"
    try:
        return _wire_form(_labelled(message, codec), separator).encode(codec)
    except UnicodeEncodeError:
        return _wire_form(_labelled(message, "utf-8"), separator).encode("utf-8")
