"""Frames of an object as they are stored, found without decoding any.

Tolerated when reading: no Basic Offset Table, with one fragment for each frame or with frames that begin like their codec's
streams do; a table whose offsets lead nowhere (then it is not used).

Spec: DICOM PS3.5 A.4 (encapsulation), 8.1 (native pixels); PS3.3 C.7.6.3.1.8 (Extended Offset Table).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

from xds.wire.dicom import DEFLATED_LITTLE, EXPLICIT_BIG, EXPLICIT_LITTLE, IMPLICIT_LITTLE, DicomError
from xds.wire.dicom_header import Header, read_header

_ITEM: Final = 0xFFFEE000
_SEQUENCE_END: Final = 0xFFFEE0DD
_UNDEFINED: Final = 0xFFFFFFFF
_CHUNK: Final = 1024 * 1024
#: How a JPEG (also JPEG-LS) and a JPEG 2000 stream begin.
_STREAM_STARTS: Final = (b"\xff\xd8\xff", b"\xff\x4f\xff\x51")
#: Fragments that one object may have.
_MAX_FRAGMENTS: Final = 1_000_000

#: Media types of streams that hold all frames of an object. Spec: PS3.18 Table 8.7.3-5.
VIDEO_TYPES: Final = {
    **{f"1.2.840.10008.1.2.4.{number}": "video/mpeg2" for number in ("100", "100.1", "101", "101.1")},
    **{f"1.2.840.10008.1.2.4.{number}{form}": "video/mp4" for number in range(102, 107) for form in ("", ".1")},
    **{f"1.2.840.10008.1.2.4.{number}": "video/h265" for number in (107, 108)},
}
#: Media types of encapsulated frames. Spec: PS3.18 Table 8.7.3-5.
MEDIA_TYPES: Final = {
    "1.2.840.10008.1.2.5": "image/dicom-rle",
    "1.2.840.10008.1.2.4.50": "image/jpeg",
    "1.2.840.10008.1.2.4.51": "image/jpeg",
    "1.2.840.10008.1.2.4.57": "image/jpeg",
    "1.2.840.10008.1.2.4.70": "image/jpeg",
    "1.2.840.10008.1.2.4.80": "image/jls",
    "1.2.840.10008.1.2.4.81": "image/jls",
    "1.2.840.10008.1.2.4.90": "image/jp2",
    "1.2.840.10008.1.2.4.91": "image/jp2",
    "1.2.840.10008.1.2.4.92": "image/jpx",
    "1.2.840.10008.1.2.4.93": "image/jpx",
    "1.2.840.10008.1.2.4.201": "image/jphc",
    "1.2.840.10008.1.2.4.202": "image/jphc",
    "1.2.840.10008.1.2.4.203": "image/jphc",
    **VIDEO_TYPES,
}


@dataclass(frozen=True, slots=True)
class Frame:
    """Where one frame lies: (offset, octets) of its pieces in the file."""

    pieces: tuple[tuple[int, int], ...]

    @property
    def size(self) -> int:
        """Octets of the frame."""
        return sum(length for _, length in self.pieces)


def frame_chunks(path: Path, frame: Frame) -> Iterator[bytes]:
    """The octets of a frame."""
    with path.open("rb", buffering=0) as file:
        for offset, length in frame.pieces:
            file.seek(offset)
            left = length
            while left:
                data = file.read(min(left, _CHUNK))
                if not data:
                    raise DicomError("the file ends inside a frame")
                left -= len(data)
                yield data


def stored_frames(path: Path) -> list[Frame] | None:
    """Every frame of a Part 10 file as it is stored, a video as one.

    None when that is no whole octets of this file (deflated, single bits).

    Errors: DicomError when the object has no pixels, or they are broken.
    """
    with path.open("rb") as file:
        header = read_header(iter(lambda: file.read(64 * 1024), b""))
        if header.transfer_syntax in (DEFLATED_LITTLE, EXPLICIT_BIG):
            return None
        count = max(1, header.elements.number(0x00280008) or 1)
        start, length = _pixel_data(file, header)
        if length != _UNDEFINED:
            return _native(header, start, length, count)
        return _grouped(file, _fragments(file, start), header, count)


def _pixel_data(file: BinaryIO, header: Header) -> tuple[int, int]:
    """Where the value of Pixel Data begins, and its length."""
    file.seek(header.end)
    head = file.read(12)
    if len(head) < 12 or struct.unpack_from("<HH", head) != (0x7FE0, 0x0010):
        raise DicomError("the object has no Pixel Data")
    if head[4:6] in (b"OB", b"OW"):
        return header.end + 12, int(struct.unpack_from("<I", head, 8)[0])
    return header.end + 8, int(struct.unpack_from("<I", head, 4)[0])


def _native(header: Header, start: int, length: int, count: int) -> list[Frame] | None:
    if header.transfer_syntax not in (IMPLICIT_LITTLE, EXPLICIT_LITTLE):
        raise DicomError("pixels of a compressed object are not encapsulated")
    elements = header.elements
    rows, columns, bits = (elements.short(tag) or 0 for tag in (0x00280010, 0x00280011, 0x00280100))
    samples = elements.short(0x00280002) or 1
    if elements.text(0x00280004) in ("YBR_FULL_422", "YBR_PARTIAL_422"):
        samples = 2
    total = rows * columns * bits * samples
    if total % 8:
        return None
    size = total // 8
    if not size or size * count > length:
        raise DicomError("Pixel Data is shorter than its frames")
    return [Frame(((start + number * size, size),)) for number in range(count)]


def _fragments(file: BinaryIO, position: int) -> tuple[bytes, list[tuple[int, int]]]:
    """The Basic Offset Table, and (position of the item, octets) of each fragment."""
    table: bytes | None = None
    found: list[tuple[int, int]] = []
    while True:
        file.seek(position)
        head = file.read(8)
        if len(head) < 8:
            raise DicomError("the file ends inside encapsulated pixels")
        group, number, length = struct.unpack("<HHI", head)
        tag = group << 16 | number
        if tag == _SEQUENCE_END:
            return table or b"", found
        if tag != _ITEM or length == _UNDEFINED or len(found) > _MAX_FRAGMENTS:
            raise DicomError("encapsulated pixels hold something that is no fragment")
        if table is None:
            if length > 4 * _MAX_FRAGMENTS:
                raise DicomError("the Basic Offset Table is too long")
            table = file.read(length)
        else:
            found.append((position, length))
        position += 8 + length


def _grouped(file: BinaryIO, found: tuple[bytes, list[tuple[int, int]]], header: Header, count: int) -> list[Frame]:
    table, fragments = found
    if not fragments:
        raise DicomError("encapsulated pixels hold no fragment")
    if count == 1 or header.transfer_syntax in VIDEO_TYPES:
        return [_frame(fragments)]
    if len(fragments) == count:
        return [_frame([fragment]) for fragment in fragments]
    by_table = _by_offsets(_offsets(table, header), fragments, count)
    if by_table is not None:
        return by_table
    groups: list[list[tuple[int, int]]] = []
    for fragment in fragments:
        file.seek(fragment[0] + 8)
        if not groups or file.read(4).startswith(_STREAM_STARTS):
            groups.append([])
        groups[-1].append(fragment)
    if len(groups) != count:
        raise DicomError(f"{len(fragments)} fragments cannot be told apart into {count} frames")
    return [_frame(group) for group in groups]


def _offsets(table: bytes, header: Header) -> Sequence[int]:
    extended = header.elements.value(0x7FE00001)
    if extended:
        return struct.unpack(f"<{len(extended) // 8}Q", extended[: len(extended) // 8 * 8])
    return struct.unpack(f"<{len(table) // 4}I", table[: len(table) // 4 * 4])


def _by_offsets(offsets: Sequence[int], fragments: list[tuple[int, int]], count: int) -> list[Frame] | None:
    if len(offsets) != count:
        return None
    base = fragments[0][0]
    places = {position - base: number for number, (position, _) in enumerate(fragments)}
    starts = [places.get(offset) for offset in offsets]
    if None in starts or starts != sorted(starts, key=lambda start: start or 0) or starts[0] != 0:
        return None
    ends = [*starts[1:], len(fragments)]
    return [_frame(fragments[start:end]) for start, end in zip(starts, ends, strict=True)]


def _frame(fragments: Sequence[tuple[int, int]]) -> Frame:
    return Frame(tuple((position + 8, length) for position, length in fragments))
