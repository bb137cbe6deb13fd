"""Octets of a file on their way out: read in chunks, or handed to the kernel as the file that they are.

Whatever copies octets through the memory of this process costs as much of a processor as sending them. A transport that can
send files takes `unread`, every other one `read`.
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterable, Iterator
from typing import Final

#: Octets of one chunk that is read. Larger ones cost a page fault for every page, smaller ones more system calls.
CHUNK: Final = 256 << 10
#: Fewer octets are sent sooner together with what stands before and after them.
_WORTH_IT: Final = 64 << 10


class OpenFile(Iterator[bytes]):
    """Chunks of an open file, which is closed after the last one, by `close`, or with the last reference to this."""

    def __init__(self, file: io.FileIO, offset: int, length: int | None) -> None:
        """`length` octets from `offset` on; None: all that follow."""
        self._file = file
        self._left = length
        #: Where the next chunk begins, in octets from the beginning of the file.
        self.offset = offset

    def __next__(self) -> bytes:
        if self._file.closed:
            raise StopIteration
        wanted = CHUNK if self._left is None else min(CHUNK, self._left)
        data = os.pread(self._file.fileno(), wanted, self.offset) if wanted else b""
        if not data:
            self.close()
            raise StopIteration
        self.skip(len(data))
        return data

    def __len__(self) -> int:
        """Octets that are left, none when it is closed."""
        if self._file.closed:
            return 0
        there = max(os.fstat(self.fileno()).st_size - self.offset, 0)
        return there if self._left is None else min(there, self._left)

    def __bool__(self) -> bool:
        return True

    def skip(self, octets: int) -> None:
        """These octets went out otherwise."""
        self.offset += octets
        if self._left is not None:
            self._left -= octets

    def fileno(self) -> int:
        """The descriptor of the file. Errors: ValueError when it is closed."""
        return self._file.fileno()

    def close(self) -> None:
        """Release the file. Idempotent."""
        self._file.close()

    def __del__(self) -> None:
        self._file.close()


def unread(chunks: Iterable[bytes | OpenFile]) -> Iterable[bytes | OpenFile]:
    """The same octets: a file that is worth it as one chunk, to be closed by whoever made it."""
    if isinstance(chunks, OpenFile) and len(chunks) >= _WORTH_IT:
        return (chunks,)
    return chunks


def read(chunks: Iterable[bytes | OpenFile]) -> Iterator[bytes]:
    """The same octets, all of them read."""
    for chunk in chunks:
        if isinstance(chunk, OpenFile):
            yield from chunk
        else:
            yield chunk
