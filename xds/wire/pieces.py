"""Messages in pieces: those that are there, and those that are made while they are sent."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import chain


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


def around(opening: bytes, pieces: Pieces, closing: bytes) -> Pieces:
    """The same with octets before and after."""
    if isinstance(pieces, Streamed):
        return Streamed(len(opening) + pieces.length + len(closing), lambda: chain((opening,), pieces, (closing,)))
    return [opening, *pieces, closing]
