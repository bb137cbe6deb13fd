"""Whether a Part 10 file is all there: a file that was cut off in its pixels has a perfect header.

Tolerated: no delimiter after the last fragment, a last octet that pads pixels to an even length and is absent, anything behind
the pixels.

Spec: DICOM PS3.5 7.1 (lengths), A.4 (encapsulation), A.5 (deflated).
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Iterator
from typing import Final

from xds.wire.dicom import DEFLATED_LITTLE, LONG_FORM, DicomError, encoding_of
from xds.wire.dicom_header import Header, inflate

#: Octets that a deflated data set may inflate to.
MAX_INFLATED: Final = 1024 * 1024 * 1024

_PIXELS: Final = frozenset({0x7FE00008, 0x7FE00009, 0x7FE00010})
_ITEM: Final = 0xFFFEE000
_UNDEFINED: Final = 0xFFFFFFFF
_CUT: Final = "the file ends inside its pixels"


class _Octets:
    """Octets that arrive in chunks, passed over without being kept."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks = iter(chunks)
        self._held = memoryview(b"")

    def skip(self, count: int) -> int:
        """Pass over so many; how many of them were absent."""
        while count:
            if not self._held:
                chunk = next(self._chunks, None)
                if chunk is None:
                    break
                self._held = memoryview(chunk)
            passed = min(count, len(self._held))
            self._held = self._held[passed:]
            count -= passed
        return count

    def take(self, count: int) -> bytes:
        """The next octets, fewer at the end."""
        found = b""
        while len(found) < count:
            if not self._held:
                chunk = next(self._chunks, None)
                if chunk is None:
                    break
                self._held = memoryview(chunk)
            missing = count - len(found)
            found += self._held[:missing]
            self._held = self._held[missing:]
        return found


def check_whole(header: Header, size: int, chunks: Callable[[], Iterable[bytes]]) -> None:
    """Look whether a Part 10 file of `size` octets, whose header is known, holds all of its pixels.

    Pixels that state their length need no reading; others are read over, and nothing of them is kept.

    Errors: DicomError when it ends inside them, or is deflated and does not end or inflates to more than `MAX_INFLATED` octets.
    """
    if header.pixels_end is not None:
        if size + 1 < header.pixels_end:
            raise DicomError(_CUT)
        return
    octets = _Octets(chunks())
    octets.skip(header.data_set)
    if header.transfer_syntax == DEFLATED_LITTLE:
        deflated = inflate(_rest(octets), MAX_INFLATED)
        octets = _Octets(deflated)
        octets.skip(header.end)
        _check_pixels(octets, header)
        for _ in deflated:
            pass
        return
    octets.skip(header.end - header.data_set)
    _check_pixels(octets, header)


def _rest(octets: _Octets) -> Iterator[bytes]:
    while piece := octets.take(64 * 1024):
        yield piece


def _check_pixels(octets: _Octets, header: Header) -> None:
    encoding = encoding_of(header.transfer_syntax)
    head = octets.take(8)
    if len(head) < 8:
        return
    group, number, length = struct.unpack(f"{encoding.order}HHI", head)
    if (group << 16 | number) not in _PIXELS:
        return
    if head[4:6] in LONG_FORM:
        (length,) = struct.unpack(f"{encoding.order}I", octets.take(4).ljust(4, b"\0"))
    if length != _UNDEFINED:
        if octets.skip(length) > 1:
            raise DicomError(_CUT)
        return
    while len(head := octets.take(8)) == 8:
        group, number, length = struct.unpack("<HHI", head)
        if (group << 16 | number) != _ITEM:
            return
        if octets.skip(length) > 1:
            raise DicomError(_CUT)
