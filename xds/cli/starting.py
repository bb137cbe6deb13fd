"""What keeps a server from starting, said so that its operator can mend it."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from xds.cli.outcome import Usage
from xds.settings import Settings

#: Held by the server that uses a data directory; it tells the id of its process.
LOCK_FILE = "server.lock"


@contextmanager
def data_directory(settings: Settings) -> Iterator[None]:
    """The data directory is there, can be written to, and is nobody else's while this lasts.

    Two servers on one embedded database would not harm it, but each would do the jobs of the other, under its own addresses.
    With PostgreSQL they may share what they cache.

    Errors: Usage.
    """
    data = settings.server.data
    try:
        data.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(data / LOCK_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        reason = "it is no directory" if isinstance(error, FileExistsError | NotADirectoryError) else error.strerror
        raise Usage(f"cannot start: the data directory {data} cannot be used: {reason}; --data chooses another") from error
    try:
        if not settings.database.url:
            _hold(descriptor, data)
        yield
    finally:
        os.close(descriptor)


def _hold(descriptor: int, data: Path) -> None:
    """Lock the file of this descriptor. The lock is this process's: children have none, and its end sets it free."""
    try:
        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        holder = os.pread(descriptor, 20, 0).decode("ascii", "replace").strip() or "unknown"
        raise Usage(
            f"cannot start: another server uses the data directory {data} (process {holder}); "
            "end that one, or give this one a directory of its own by --data"
        ) from error
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
