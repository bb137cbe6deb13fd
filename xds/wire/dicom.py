"""DICOM data sets: reading elements, in every character set (of whole files: `dicom_header`).

The walker reads structure only (tag, value representation, length) and keeps raw values; a value is decoded when somebody asks
for it. So a header costs microseconds, and nothing of an object is ever decoded just to store it.

Tolerated when reading: no group length in the meta information; elements out of order before the pixels; values padded with the
wrong character; unknown or misspelt character sets (read as UTF-8 where that fits, as Latin-1 otherwise);
elements with or without value representation, whatever the transfer syntax says.

Spec: DICOM PS3.5 7 (data set), 7.5 (sequences), 6.1 and C.12.1.1.2 of PS3.3 (character sets); PS3.10 7 (file format).
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, NamedTuple

from pydicom import charset

IMPLICIT_LITTLE: Final = "1.2.840.10008.1.2"
EXPLICIT_LITTLE: Final = "1.2.840.10008.1.2.1"
DEFLATED_LITTLE: Final = "1.2.840.10008.1.2.1.99"
EXPLICIT_BIG: Final = "1.2.840.10008.1.2.2"

#: Sequences inside sequences. Real objects stay below 10.
MAX_DEPTH: Final = 24

_UNDEFINED: Final = 0xFFFFFFFF
_ITEM: Final = 0xFFFEE000
_ITEM_END: Final = 0xFFFEE00D
_SEQUENCE_END: Final = 0xFFFEE0DD
#: What pydicom calls the default repertoire, which has no character beyond ASCII: any that stands there is undeclared.
_UNDECLARED: Final = "iso8859"
LONG_FORM: Final = frozenset({b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV"})
_SHORT_FORM: Final = struct.Struct("<HH2sH")
_SHORT_VRS: Final = frozenset(
    {b"AE", b"AS", b"AT", b"CS", b"DA", b"DS", b"DT", b"FD", b"FL", b"IS"}
    | {b"LO", b"LT", b"PN", b"SH", b"SL", b"SS", b"ST", b"TM", b"UI", b"UL", b"US"}
)
_CHARACTER_SET: Final = 0x00080005
#: Octets of a value whose text is kept for the next object.
_SHORT_TEXT: Final = 64


class DicomError(ValueError):
    """Octets that are not DICOM, or more of it than the limits allow. The message never carries a value of the data set."""


class Truncated(Exception):
    """The buffer ends before the element does: more of it may help."""


@dataclass(frozen=True, slots=True)
class Encoding:
    """How the elements of a data set are written."""

    implicit: bool = False
    little: bool = True

    @property
    def order(self) -> str:
        """Byte order in the notation of `struct`."""
        return "<" if self.little else ">"


class Element(NamedTuple):
    """Where one element lies in its buffer: its value is `buffer[start:end]`, the next element begins at `next`."""

    tag: int
    vr: bytes
    start: int
    end: int
    next: int
    implicit_value: bool = False


def encoding_of(transfer_syntax: str) -> Encoding:
    """How a transfer syntax writes its elements. Every compressed one is explicit little endian. Spec: PS3.5 A.4."""
    return Encoding(implicit=transfer_syntax == IMPLICIT_LITTLE, little=transfer_syntax != EXPLICIT_BIG)


def next_element(buffer: bytes, position: int, encoding: Encoding, depth: int = 0) -> Element:
    """The element at that position, with its whole value inside the buffer.

    Errors: DicomError when it nests too deeply or is no element.
    """
    if depth > MAX_DEPTH:
        raise DicomError(f"sequences are nested more than {MAX_DEPTH} deep")
    if position + 8 > len(buffer):
        raise Truncated
    order = encoding.order
    group, number = struct.unpack_from(order + "HH", buffer, position)
    tag = group << 16 | number
    start = position + 8
    if group == 0xFFFE:
        raise DicomError(f"a delimiter (FFFE,{number:04X}) stands where an element was expected")
    if encoding.implicit:
        vr = b""
        (length,) = struct.unpack_from(order + "I", buffer, position + 4)
    else:
        vr = buffer[position + 4 : position + 6]
        if vr in LONG_FORM:
            start = position + 12
            if start > len(buffer):
                raise Truncated
            (length,) = struct.unpack_from(order + "I", buffer, position + 8)
        elif vr.isalpha() and vr.isupper():
            (length,) = struct.unpack_from(order + "H", buffer, position + 6)
        else:
            raise DicomError(f"element ({group:04X},{number:04X}) has no value representation")
    if length != _UNDEFINED:
        if start + length > len(buffer):
            raise Truncated
        return Element(tag, vr, start, start + length, start + length)
    # A sequence of unknown representation is written implicit inside, whatever surrounds it. Spec: PS3.5 6.2.2.
    inner = Encoding(implicit=True) if vr == b"UN" else encoding
    end, following = _end_of_sequence(buffer, start, inner, depth + 1)
    return Element(tag, vr, start, end, following, implicit_value=vr == b"UN")


def _delimiter(buffer: bytes, position: int, encoding: Encoding) -> tuple[int, int]:
    if position + 8 > len(buffer):
        raise Truncated
    group, number, length = struct.unpack_from(encoding.order + "HHI", buffer, position)
    return group << 16 | number, length


def _end_of_sequence(buffer: bytes, position: int, encoding: Encoding, depth: int) -> tuple[int, int]:
    while True:
        tag, length = _delimiter(buffer, position, encoding)
        if tag == _SEQUENCE_END:
            return position, position + 8
        if tag != _ITEM:
            raise DicomError("a sequence holds something that is not an item")
        position += 8
        if length == _UNDEFINED:
            position = _end_of_item(buffer, position, encoding, depth)[1]
        else:
            position += length
            if position > len(buffer):
                raise Truncated


def _end_of_item(buffer: bytes, position: int, encoding: Encoding, depth: int) -> tuple[int, int]:
    while True:
        tag, _ = _delimiter(buffer, position, encoding)
        if tag == _ITEM_END:
            return position, position + 8
        position = next_element(buffer, position, encoding, depth).next


#: A raw value, whether it is written implicit inside, and its value representation as it stands there.
Raw = tuple[bytes, bool, bytes]


class Elements:
    """The elements of a data set or item: raw values by tag, decoded on request. Absent elements read as empty."""

    __slots__ = ("_depth", "_encoding", "_encodings", "_values")

    def __init__(self, encoding: Encoding, encodings: tuple[str, ...] = (_UNDECLARED,), depth: int = 0) -> None:
        self._encoding = encoding
        self._encodings = encodings
        self._depth = depth
        self._values: dict[int, Raw] = {}

    def __contains__(self, tag: int) -> bool:
        return tag in self._values

    def __iter__(self) -> Iterator[int]:
        """The tags, in the order of the data set."""
        return iter(self._values)

    @property
    def order(self) -> str:
        """Byte order of binary values in the notation of `struct`."""
        return self._encoding.order

    @property
    def encodings(self) -> tuple[str, ...]:
        """What its texts are written in, by Python's names."""
        return self._encodings

    def add(self, element: Element, value: bytes) -> None:
        """Keep one raw value."""
        self._values[element.tag] = (value, element.implicit_value, element.vr)
        if element.tag == _CHARACTER_SET:
            self._encodings = _python_encodings(value)

    def add_short(self, octets: bytes, position: int, until: int) -> int:
        """Keep elements of explicit little endian from that position on, as far as they are short and whole; where they end.

        Most of a header is such elements, and there is nothing about them that needs thought.
        """
        values, size = self._values, len(octets)
        while position + 8 <= size:
            group, number, vr, length = _SHORT_FORM.unpack_from(octets, position)
            tag, start = group << 16 | number, position + 8
            if tag >= until or vr not in _SHORT_VRS or start + length > size:
                break
            position = start + length
            values[tag] = (octets[start:position], False, vr)
            if tag == _CHARACTER_SET:
                self._encodings = _python_encodings(values[tag][0])
        return position

    def raw(self) -> Iterable[tuple[int, Raw]]:
        """The tags with what stands there, in the order of the data set."""
        return self._values.items()

    def same(self, tags: Iterable[int]) -> tuple[object, ...]:
        """Equal for two data sets when everything below these tags reads the same in both of them."""
        return self._encoding, self._encodings, *map(self._values.get, tags)

    def value(self, tag: int) -> bytes:
        """The raw value."""
        found = self._values.get(tag)
        return found[0] if found else b""

    def vr(self, tag: int) -> str:
        """The value representation that stands in the data set; empty where none does (implicit, or absent).

        An unknown one of undefined length is a sequence. Spec: PS3.5 6.2.2.
        """
        found = self._values.get(tag)
        if found is None:
            return ""
        return "SQ" if found[1] else found[2].decode("ascii")

    def text(self, tag: int) -> str:
        """First value as text, without padding."""
        found = self._values.get(tag)
        if found is None:
            return ""
        known = _plain_text(found[0]) if len(found[0]) <= _SHORT_TEXT else None
        return _first(self._decode(found[0])) if known is None else known

    def texts(self, tag: int) -> list[str]:
        """Every value as text, without padding; one empty text when there is none."""
        return [part.strip(" ") for part in self._text(tag).split("\\")]

    def whole_text(self, tag: int) -> str:
        """The text of an element that cannot have several values (ST, LT, UT, UR), without the padding at its end."""
        return self._text(tag).rstrip(" ")

    def number(self, tag: int) -> int | None:
        """First value of an integer string; None when it is absent or no integer."""
        text = self.text(tag)
        try:
            return int(text)
        except ValueError:
            return None

    def short(self, tag: int) -> int | None:
        """First value of an unsigned short."""
        value = self.value(tag)
        return int(struct.unpack_from(self._encoding.order + "H", value)[0]) if len(value) >= 2 else None

    def items(self, tag: int) -> tuple[Elements, ...]:
        """The items of a sequence. One of unknown representation is written implicit inside. Errors: DicomError."""
        value, implicit, vr = self._values.get(tag, (b"", False, b""))
        encoding = Encoding(implicit=True) if implicit or vr == b"UN" else self._encoding
        found: list[Elements] = []
        position = 0
        try:
            while position + 8 <= len(value):
                found_tag, length = _delimiter(value, position, encoding)
                if found_tag == _SEQUENCE_END:
                    break
                if found_tag != _ITEM:
                    raise DicomError("a sequence holds something that is not an item")
                start = position + 8
                if length == _UNDEFINED:
                    end, position = _end_of_item(value, start, encoding, self._depth + 1)
                else:
                    end = position = start + length
                found.append(_elements(value[start:end], encoding, self._encodings, self._depth + 1))
        except Truncated:
            raise DicomError("a sequence ends inside an item") from None
        return tuple(found)

    def item(self, tag: int) -> Elements:
        """The first item of a sequence; an empty one when there is none."""
        items = self.items(tag)
        return items[0] if items else Elements(self._encoding)

    def _text(self, tag: int) -> str:
        """The decoded value. U+0000 pads, or is damage: no text has it, and databases have no place for it."""
        return self._decode(self.value(tag)).replace("\0", "")

    def _decode(self, value: bytes) -> str:
        if value.isascii() and b"\x1b" not in value:
            return value.decode("ascii")
        if b"\x1b" in value:
            return str(charset.decode_bytes(value, list(self._encodings), {0x0D, 0x0A, 0x09, 0x0C, 0x5E, 0x3D, 0x5C}))
        if self._encodings[0] == _UNDECLARED:
            try:
                return value.decode("utf-8")
            except UnicodeDecodeError:
                return value.decode("latin-1")
        return value.decode(self._encodings[0], errors="replace")


def _first(text: str) -> str:
    return text.replace("\0", "").partition("\\")[0].strip(" ")


@lru_cache(4096)
def _plain_text(value: bytes) -> str | None:
    """The first value of a text that reads the same in every character set; None for any other. Slices have most in common."""
    return _first(value.decode("ascii")) if value.isascii() and b"\x1b" not in value else None


#: Latin alphabet No. 9 is younger than the library.
_ENCODINGS: Final = {**charset.python_encoding, "ISO_IR 203": "iso8859_15", "ISO 2022 IR 203": "iso8859_15"}


def _python_encodings(value: bytes) -> tuple[str, ...]:
    terms = [part.strip() for part in value.decode("ascii", errors="replace").strip(" \0").split("\\")]
    known = [_ENCODINGS.get(term.replace("ISO-IR", "ISO_IR").replace("ISO IR", "ISO_IR")) for term in terms]
    return (known[0] or _UNDECLARED, *(name for name in known[1:] if name))


def _elements(buffer: bytes, encoding: Encoding, encodings: tuple[str, ...], depth: int) -> Elements:
    found = Elements(encoding, encodings, depth)
    position = 0
    while position < len(buffer):
        element = next_element(buffer, position, encoding, depth)
        found.add(element, buffer[element.start : element.end])
        position = element.next
    return found
