"""Part 10 files: reading the header, up to and without the pixels, from octets that arrive in chunks.

Spec: DICOM PS3.10 7 (file format); PS3.5 A.5 (deflated data sets).
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from xds.wire.dicom import (
    DEFLATED_LITTLE,
    LONG_FORM,
    DicomError,
    Element,
    Elements,
    Encoding,
    Truncated,
    encoding_of,
    next_element,
)

#: Octets that a header may have before its pixels; what is longer is not read.
MAX_HEADER: Final = 64 * 1024 * 1024

_PIXEL_TAGS: Final = frozenset({0x7FE00008, 0x7FE00009, 0x7FE00010})
_UNDEFINED: Final = 0xFFFFFFFF
#: The first tag after the meta information.
_AFTER_META: Final = 0x00030000


class _Buffer:
    """Octets that arrive in chunks, held from the start up to where somebody needed them."""

    def __init__(self, chunks: Iterable[bytes], limit: int) -> None:
        self._chunks = iter(chunks)
        self._limit = limit
        self.octets = b""
        self.complete = False

    def more(self, wanted: int = 0) -> None:
        """At least double what is held, so that reading it over again stays cheap; first of all no more than is wanted."""
        pieces, size = [self.octets], len(self.octets)
        target = max(2 * size, wanted, 16 * 1024) if size or not wanted else wanted
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
    to, counted from the beginning of the data set). `pixels_end` is where pixels that state their length end in the file; None
    when there are none, or when only reading them tells.
    """

    meta: Elements
    elements: Elements
    transfer_syntax: str
    data_set: int
    end: int
    pixels_end: int | None = None


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
        position = meta.add_short(source.octets, position, _AFTER_META)
        if _peek_group(source, position) != 2:
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
    is_usual, first_end = encoding == Encoding(), min(until, *_PIXEL_TAGS)
    while True:
        if is_usual:
            position = elements.add_short(source.octets, position, first_end)
        tag = _peek_tag(source, position, encoding)
        if tag is None or tag >= until or tag in _PIXEL_TAGS:
            states_length = tag in _PIXEL_TAGS and transfer_syntax != DEFLATED_LITTLE
            pixels_end = _end_of_value(source, position, encoding) if states_length else None
            return Header(meta, elements, transfer_syntax, data_set, position, pixels_end)
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


def _end_of_value(source: _Buffer, position: int, encoding: Encoding) -> int | None:
    """Where the element at that position ends, as it says itself; None when it does not, or the file ends before that."""
    while len(source.octets) < position + 12 and not source.complete:
        source.more(position + 12)
    head = source.octets[position : position + 12]
    begins = 12 if not encoding.implicit and head[4:6] in LONG_FORM else 8
    if len(head) < begins:
        return None
    width = "H" if begins == 8 and not encoding.implicit else "I"
    place = 6 if width == "H" else begins - 4
    (length,) = struct.unpack_from(encoding.order + width, head, place)
    return None if length == _UNDEFINED else position + begins + int(length)


def _read(source: _Buffer, position: int, encoding: Encoding) -> Element:
    while True:
        try:
            return next_element(source.octets, position, encoding)
        except Truncated:
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
