"""Writes a file at once and past the page cache, from memory that is used again.

What a file brings into the page cache is memory that was not in use until now: on a virtual machine each page of it costs a
fault of the host, 1 ms for a CT slice, four times as much of a processor as all else that writing one takes. What an archive
takes in is seldom read in the next moment, either, and had better not drive the database out of memory.
"""

from __future__ import annotations

import errno
import fcntl
import mmap
import os
import threading
import weakref
from typing import Final

#: Octets of a file that is written this way at most, and at least.
ROOM: Final = 4 << 20
WORTH_IT: Final = 64 << 10
#: What the kernel wants such writes to be multiples of, at most.
_BLOCK: Final = 4096
#: Of so many files at a time: a message of many documents must not fill the memory with them.
_ROOMS: Final = 16
_DIRECT: Final = getattr(os, "O_DIRECT", 0)


class Rooms:
    """Memory for files that are still arriving, aligned as the kernel wants it. For any number of threads.

    The kernel gives it page by page, so no more than was filled is ever taken.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._free: list[mmap.mmap] = []
        #: Weakly, so that one that was forgotten rather than given back makes place for another.
        self._all: weakref.WeakSet[mmap.mmap] = weakref.WeakSet()

    def take(self) -> mmap.mmap | None:
        """Memory of `ROOM` octets, with anything in it; None when as much as is meant for this is in use."""
        with self._lock:
            if self._free:
                return self._free.pop()
            if len(self._all) >= _ROOMS:
                return None
            room = mmap.mmap(-1, ROOM, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
            self._all.add(room)
            return room

    def give(self, room: mmap.mmap) -> None:
        """It is needed no more, and nobody looks at it any more."""
        with self._lock:
            self._free.append(room)


def write_all(descriptor: int, octets: memoryview) -> None:
    """Append to a file. Errors: OSError."""
    done = 0
    while done < len(octets):
        done += os.write(descriptor, octets[done:])


def write_past_cache(descriptor: int, octets: memoryview) -> None:
    """Fill a new file. What is above a multiple of 4096 goes through the cache, or all where the file system wants it so.

    `octets` begin where memory from `Rooms` does. Errors: OSError, after which the file has anything in it.
    """
    whole, done = len(octets) // _BLOCK * _BLOCK, 0
    flags = fcntl.fcntl(descriptor, fcntl.F_GETFL)
    try:
        fcntl.fcntl(descriptor, fcntl.F_SETFL, flags | _DIRECT)
        while done < whole and not done % _BLOCK:
            done += os.write(descriptor, octets[done:whole])
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
    finally:
        fcntl.fcntl(descriptor, fcntl.F_SETFL, flags)
    write_all(descriptor, octets[done:])
