"""DICOM data sets and Part 10 files: reading elements without pixels, in every character set.

The walker reads structure only (tag, value representation, length) and keeps raw values; a value is decoded when somebody asks
for it. So a header costs microseconds, and nothing of an object is ever decoded just to store it.

Tolerated when reading: no group length in the meta information; elements out of order before the pixels; values padded with the
wrong character; unknown or misspelt character sets (read as UTF-8 where that fits, as Latin-1 otherwise);
elements with or without value representation, whatever the transfer syntax says.

Spec: DICOM PS3.5 7 (data set), 7.5 (sequences), 6.1 and C.12.1.1.2 of PS3.3 (character sets); PS3.10 7 (file format).
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final, NamedTuple

from pydicom import charset

IMPLICIT_LITTLE: Final = "1.2.840.10008.1.2"
EXPLICIT_LITTLE: Final = "1.2.840.10008.1.2.1"
DEFLATED_LITTLE: Final = "1.2.840.10008.1.2.1.99"
EXPLICIT_BIG: Final = "1.2.840.10008.1.2.2"

#: Octets that a header may have before its pixels; what is longer is not read.
MAX_HEADER: Final = 64 * 1024 * 1024
#: Sequences inside sequences. Real objects stay below 10.
MAX_DEPTH: Final = 24

_UNDEFINED: Final = 0xFFFFFFFF
_ITEM: Final = 0xFFFEE000
_ITEM_END: Final = 0xFFFEE00D
_SEQUENCE_END: Final = 0xFFFEE0DD
_PIXEL_TAGS: Final = frozenset({0x7FE00008, 0x7FE00009, 0x7FE00010})
#: What pydicom calls the default repertoire, which has no character beyond ASCII: any that stands there is undeclared.
_UNDECLARED: Final = "iso8859"
LONG_FORM: Final = frozenset({b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV"})


class DicomError(ValueError):
    """Octets that are not DICOM, or more of it than the limits allow. The message never carries a value of the data set."""


class _Truncated(Exception):
    """The buffer ends before the element does."""


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
        raise _Truncated
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
                raise _Truncated
            (length,) = struct.unpack_from(order + "I", buffer, position + 8)
        elif vr.isalpha() and vr.isupper():
            (length,) = struct.unpack_from(order + "H", buffer, position + 6)
        else:
            raise DicomError(f"element ({group:04X},{number:04X}) has no value representation")
    if length != _UNDEFINED:
        if start + length > len(buffer):
            raise _Truncated
        return Element(tag, vr, start, start + length, start + length)
    # A sequence of unknown representation is written implicit inside, whatever surrounds it. Spec: PS3.5 6.2.2.
    inner = Encoding(implicit=True) if vr == b"UN" else encoding
    end, following = _end_of_sequence(buffer, start, inner, depth + 1)
    return Element(tag, vr, start, end, following, implicit_value=vr == b"UN")


def _delimiter(buffer: bytes, position: int, encoding: Encoding) -> tuple[int, int]:
    if position + 8 > len(buffer):
        raise _Truncated
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
                raise _Truncated


def _end_of_item(buffer: bytes, position: int, encoding: Encoding, depth: int) -> tuple[int, int]:
    while True:
        tag, _ = _delimiter(buffer, position, encoding)
        if tag == _ITEM_END:
            return position, position + 8
        position = next_element(buffer, position, encoding, depth).next


class Elements:
    """The elements of a data set or item: raw values by tag, decoded on request. Absent elements read as empty."""

    __slots__ = ("_depth", "_encoding", "_encodings", "_values")

    def __init__(self, encoding: Encoding, encodings: tuple[str, ...] = (_UNDECLARED,), depth: int = 0) -> None:
        self._encoding = encoding
        self._encodings = encodings
        self._depth = depth
        self._values: dict[int, tuple[bytes, bool, bytes]] = {}

    def __contains__(self, tag: int) -> bool:
        return tag in self._values

    def __iter__(self) -> Iterator[int]:
        """The tags, in the order of the data set."""
        return iter(self._values)

    @property
    def order(self) -> str:
        """Byte order of binary values in the notation of `struct`."""
        return self._encoding.order

    def add(self, element: Element, value: bytes) -> None:
        """Keep one raw value."""
        self._values[element.tag] = (value, element.implicit_value, element.vr)
        if element.tag == 0x00080005:
            self._encodings = _python_encodings(value)

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
        return self.texts(tag)[0]

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
        """The items of a sequence. Errors: DicomError."""
        value, implicit, _ = self._values.get(tag, (b"", False, b""))
        encoding = Encoding(implicit=True) if implicit else self._encoding
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
        except _Truncated:
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


def _python_encodings(value: bytes) -> tuple[str, ...]:
    terms = [part.strip() for part in value.decode("ascii", errors="replace").strip(" \0").split("\\")]
    known = [charset.python_encoding.get(term.replace("ISO-IR", "ISO_IR").replace("ISO IR", "ISO_IR")) for term in terms]
    return (known[0] or _UNDECLARED, *(name for name in known[1:] if name))


def _elements(buffer: bytes, encoding: Encoding, encodings: tuple[str, ...], depth: int) -> Elements:
    found = Elements(encoding, encodings, depth)
    position = 0
    while position < len(buffer):
        element = next_element(buffer, position, encoding, depth)
        found.add(element, buffer[element.start : element.end])
        position = element.next
    return found


class _Buffer:
    """Octets that arrive in chunks, held from the start up to where somebody needed them."""

    def __init__(self, chunks: Iterable[bytes], limit: int) -> None:
        self._chunks = iter(chunks)
        self._limit = limit
        self.octets = b""
        self.complete = False

    def more(self, wanted: int = 0) -> None:
        """At least double what is held, so that reading it over again stays cheap."""
        pieces, size = [self.octets], len(self.octets)
        target = max(2 * size, wanted, 16 * 1024)
        while size < target:
            piece = next(self._chunks, None)
            if piece is None:
                self.complete = True
                break
            pieces.append(piece)
            size += len(piece)
        self.octets = b"".join(pieces)
        if size > self._limit:
            raise DicomError(f"more than {self._limit} octets before the pixels")

    def rest(self, position: int) -> Iterator[bytes]:
        """What follows that position: the part already held, then the chunks to come."""
        yield self.octets[position:]
        yield from self._chunks


@dataclass(frozen=True, slots=True)
class Header:
    """The meta information and the elements before a given tag of a Part 10 file.

    `data_set` is where the data set begins in the file, `end` where reading stopped in it (in a deflated one: in what it inflates
    to, counted from the beginning of the data set).
    """

    meta: Elements
    elements: Elements
    transfer_syntax: str
    data_set: int
    end: int


def read_header(chunks: Iterable[bytes], *, until: int = 0x7FE00008, limit: int = MAX_HEADER) -> Header:
    """Read a Part 10 file up to, and without, the element `until` (never the pixels), consuming no more than needed.

    Errors: DicomError when it is not a Part 10 file, is broken before that element, or longer than `limit` octets up to it.
    """
    source = _Buffer(chunks, limit)
    source.more(132)
    if source.octets[128:132] != b"DICM":
        raise DicomError("no DICOM file: the prefix DICM is absent")
    meta = Elements(Encoding())
    position = 132
    while True:
        group = _peek_group(source, position)
        if group != 2:
            break
        element = _read(source, position, Encoding())
        meta.add(element, source.octets[element.start : element.end])
        position = element.next
    transfer_syntax = meta.text(0x00020010)
    if not transfer_syntax:
        raise DicomError("Transfer Syntax UID (0002,0010) is absent")
    data_set = position
    if transfer_syntax == DEFLATED_LITTLE:
        source = _Buffer(inflate(source.rest(position), 2 * limit), limit)
        position = 0
    encoding = _encoding_found(source, position, encoding_of(transfer_syntax))
    elements = Elements(encoding)
    while True:
        tag = _peek_tag(source, position, encoding)
        if tag is None or tag >= until or tag in _PIXEL_TAGS:
            return Header(meta, elements, transfer_syntax, data_set, position)
        element = _read(source, position, encoding)
        elements.add(element, source.octets[element.start : element.end])
        position = element.next


def element_at(chunks: Iterable[bytes], path: str) -> bytes | None:
    """The raw value of an element before the pixels, by its path: tags, with the numbers of items (from 0) between them.

    None when there is none. Errors: DicomError.
    """
    steps = path.split("/")
    try:
        first = int(steps[0], 16)
        elements = read_header(chunks, until=first + 1).elements
        for sequence, number in zip(steps[:-1:2], steps[1::2], strict=True):
            items = elements.items(int(sequence, 16))
            if int(number) >= len(items):
                return None
            elements = items[int(number)]
        tag = int(steps[-1], 16)
    except ValueError as problem:
        if isinstance(problem, DicomError):
            raise
        return None
    return elements.value(tag) if tag in elements else None


def _encoding_found(source: _Buffer, position: int, declared: Encoding) -> Encoding:
    """Some writers declare a compressed syntax and write the elements implicit; the first element shows it."""
    while len(source.octets) < position + 6 and not source.complete:
        source.more(position + 6)
    vr = source.octets[position + 4 : position + 6]
    explicit = vr.isalpha() and vr.isupper()
    if declared.little and len(vr) == 2 and explicit == declared.implicit:
        return Encoding(implicit=not explicit)
    return declared


def _peek_group(source: _Buffer, position: int) -> int | None:
    tag = _peek_tag(source, position, Encoding())
    return None if tag is None else tag >> 16


def _peek_tag(source: _Buffer, position: int, encoding: Encoding) -> int | None:
    while len(source.octets) < position + 4 and not source.complete:
        source.more(position + 4)
    if len(source.octets) <= position:
        return None
    if len(source.octets) < position + 4:
        raise DicomError("the file ends inside an element")
    group, number = struct.unpack_from(encoding.order + "HH", source.octets, position)
    return int(group << 16 | number)


def _read(source: _Buffer, position: int, encoding: Encoding) -> Element:
    while True:
        try:
            return next_element(source.octets, position, encoding)
        except _Truncated:
            if source.complete:
                raise DicomError("the file ends inside an element") from None
            source.more()


def inflate(chunks: Iterable[bytes], limit: int) -> Iterator[bytes]:
    """Inflate a deflated data set in small steps, so that a bomb is noticed before it fills the memory.

    Errors: DicomError when it is broken, incomplete, or inflates to more than `limit` octets.
    """
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    produced = 0
    try:
        for chunk in chunks:
            waiting = chunk
            while waiting and not inflater.eof:
                piece = inflater.decompress(waiting, 64 * 1024)
                waiting = inflater.unconsumed_tail
                produced += len(piece)
                if produced > limit:
                    raise DicomError(f"the deflated data set inflates to more than {limit} octets")
                if piece:
                    yield piece
    except zlib.error:
        raise DicomError("the deflated data set is broken") from None
    if not inflater.eof:
        raise DicomError("the deflated data set is incomplete")
