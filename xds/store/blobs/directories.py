"""Directories of a local disk: made durable, and locked between processes."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

#: Where an fsync of a file makes its newest name durable, too.
_NAMES_WITH_FILES: Final = frozenset({"ext4", "xfs"})
_MOUNTS: Final = Path("/proc/self/mountinfo")


def sync_directory(path: Path) -> None:
    """Make the names in a directory durable. Errors: OSError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def locked_directory(path: Path, kind: int) -> Iterator[int]:
    """Hold a lock (LOCK_SH, LOCK_EX) of a directory; yields its descriptor. Errors: OSError."""
    # Each caller opens the directory itself: a lock belongs to the open file, so it also works between threads.
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, kind)
        yield descriptor
    finally:
        os.close(descriptor)


def lock_now(descriptor: int) -> bool:
    """Lock an open file for this one alone, unless somebody has locked it."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def names_come_with_files(path: Path) -> bool:
    """True where an fsync of a file is known to make its name in this directory durable, too, even one that it got by a rename.

    POSIX does not promise that. These file systems write all changes of names down in their order (ext4 without a journal forces
    the directory of a new name along with the file).
    """
    device = path.stat().st_dev
    wanted = f"{os.major(device)}:{os.minor(device)}"
    try:
        mounts = _MOUNTS.read_text(errors="surrogateescape").splitlines()
    except FileNotFoundError:
        return False
    for mount in mounts:
        place, _, kind = mount.partition(" - ")
        if place.split()[2] == wanted:
            return kind.split()[0] in _NAMES_WITH_FILES
    return False
