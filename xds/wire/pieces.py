"""Messages in pieces: those that are there, and those that are made while they are sent."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import chain

from xds.open_file import OpenFile, unread


class Streamed:
    """Octets of a known number, made while they are read; each time anew."""

    __slots__ = ("_chunks", "length")

    def __init__(self, length: int, chunks: Callable[[], Iterator[bytes]]) -> None:
        """Exactly `length` octets come from `chunks()`."""
        self.length = length
        self._chunks = chunks

    def __iter__(self) -> Iterator[bytes]:
        return self._chunks()


Pieces = Sequence[bytes] | Streamed


def length_of(pieces: Pieces) -> int:
    """How many octets there are."""
    return pieces.length if isinstance(pieces, Streamed) else sum(map(len, pieces))


def exactly(chunks: Iterator[bytes], size: int) -> Iterator[bytes | OpenFile]:
    """The chunks of a part, a file as it is; they are closed in the end.

    Errors: ValueError when they are not `size` octets together, before the first that is too many.
    """
    left = size
    try:
        for chunk in unread(chunks):
            left -= len(chunk)
            if left < 0:
                break
            yield chunk
    finally:
        close = getattr(chunks, "close", None)
        if close is not None:
            close()
    if left:
        raise ValueError(f"a part of {size} octets gave {'more' if left < 0 else 'fewer'}")


def around(opening: bytes, pieces: Pieces, closing: bytes) -> Pieces:
    """The same with octets before and after."""
    if isinstance(pieces, Streamed):
        return Streamed(len(opening) + pieces.length + len(closing), lambda: chain((opening,), pieces, (closing,)))
    return [opening, *pieces, closing]
