"""Brings a large database file into memory, and keeps it there, where there is room for it.

Every feed looks at some twenty places of the register that have nothing to do with those before. After a start each of them waits
for the disk: with ten million people, for 13 GB, the server took 380 feeds/s in the first minutes instead of 900.

How the kernel came to hold the file matters, too. Read or written from one end to the other, as after a backup or a restore, it
is held in pieces of up to 2 MiB, and what a checkpoint writes, 4 KiB here and there, then costs five times as much of a
processor. So the file is dropped from memory and read again, a portion at a time, in single pages; while one is read into memory
the disk has been told of the next.
"""

from __future__ import annotations

import mmap
import os
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Final

import structlog

_log = structlog.get_logger()

#: Octets that are dropped and read together: the kernel's pieces are not larger, and lie at multiples of their size.
PORTION: Final = 4 << 20
#: Octets that are read at a time, and mapped at a time: the interpreter stands still for the latter, for about 0.1 ms.
_READ: Final = 1 << 20
#: A smaller file is in memory soon by itself.
SMALL: Final = 256 << 20
#: How much of the memory that is free, or could be freed, the file may take.
_SHARE: Final = 0.75
#: Of Linux, since 5.14: bring a part of a mapping into memory, and note that it is used.
_MADV_POPULATE_READ: Final = 22

_MEMORY: Final = Path("/proc/meminfo")
_MEMORY_OF_CONTAINER: Final = Path("/sys/fs/cgroup/memory.max")


class Warming:
    """Reads one file into memory, in a thread of its own, and holds it there until it is closed.

    The file stays mapped: a machine that gives away what nobody seems to use begins with files that nobody has mapped.
    """

    def __init__(self, file: str) -> None:
        self._file = file
        self._closing = threading.Event()
        self._descriptor: int | None = None
        self._mapping: mmap.mmap | None = None
        self._thread = threading.Thread(target=self._run, name="database-warming", daemon=True)
        self._thread.start()

    def wait(self, seconds: float) -> bool:
        """Wait until it is done, but no longer than that. False: it is not."""
        self._thread.join(seconds)
        return not self._thread.is_alive()

    def close(self) -> None:
        """Let go of the file. Idempotent.

        Only when this process has no lock on it any more: whichever descriptor of a file is closed, all its locks are gone.
        """
        self._closing.set()
        self._thread.join()
        if self._mapping is not None:
            self._mapping.close()
        if self._descriptor is not None:
            os.close(self._descriptor)
        self._mapping = self._descriptor = None

    def _run(self) -> None:
        try:
            self._read()
        except (OSError, ValueError) as error:
            # Without it the server is slower for a while, and nothing else.
            _log.warning("database.warming.failed", error=str(error))

    def _read(self) -> None:
        descriptor = self._descriptor = os.open(self._file, os.O_RDONLY | os.O_CLOEXEC)
        size = os.fstat(descriptor).st_size
        room = free_memory()
        if size < SMALL or room is None:
            return
        if size > room * _SHARE:
            _log.info("database.warming.no_room", octets=size, free=room)
            return
        began = time.monotonic()
        # What has still to be written could not be dropped.
        os.fdatasync(descriptor)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_RANDOM)
        self._mapping = mmap.mmap(descriptor, size, prot=mmap.PROT_READ)
        self._mapping.madvise(mmap.MADV_RANDOM)
        buffer = bytearray(_READ)
        _begin_reading(descriptor, 0)
        for portion in range(0, size, PORTION):
            _begin_reading(descriptor, portion + PORTION)
            for part in range(portion, min(portion + PORTION, size), _READ):
                if self._closing.is_set():
                    return
                os.preadv(descriptor, [buffer], part)
                with suppress(OSError):
                    self._mapping.madvise(_MADV_POPULATE_READ, part, min(_READ, size - part))
        _log.info("database.warmed", octets=size, seconds=round(time.monotonic() - began, 1))


def _begin_reading(descriptor: int, portion: int) -> None:
    """Drop a portion from memory, and have it read again; beyond the end of the file there is nothing to do."""
    for advice in (os.POSIX_FADV_DONTNEED, os.POSIX_FADV_WILLNEED):
        os.posix_fadvise(descriptor, portion, PORTION, advice)


def free_memory() -> int | None:
    """Octets of memory that are free or could be freed; None where that is unknown."""
    try:
        lines = dict(line.split(":", 1) for line in _MEMORY.read_text("ascii").splitlines())
        free = int(lines["MemAvailable"].split()[0]) * 1024
    except (OSError, ValueError, KeyError):
        return None
    with suppress(OSError, ValueError):
        free = min(free, int(_MEMORY_OF_CONTAINER.read_text("ascii")))
    return free
