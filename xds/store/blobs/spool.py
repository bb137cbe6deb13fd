"""Where octets wait whose store is elsewhere: in memory while they are few, else in a file without a name."""

from __future__ import annotations

import io
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from xds.open_file import OpenFile

#: What is larger goes to disk, in octets.
IN_MEMORY = 1 << 20


class Spool:
    """Octets that are appended and read. A process that dies leaves nothing behind: the file never had a name."""

    def __init__(self, directory: Path) -> None:
        self.size = 0
        self._directory = directory
        self._memory = io.BytesIO()
        self._file: io.FileIO | None = None

    @property
    def closed(self) -> bool:
        """True when the octets were given up."""
        return self._memory.closed

    def write(self, octets: memoryview) -> None:
        """Append. Errors: OSError when the disk is full; what is in the spool then is incomplete."""
        if self._file is None and self.size + len(octets) > IN_MEMORY:
            self._directory.mkdir(parents=True, exist_ok=True)
            self._file = tempfile.TemporaryFile(dir=self._directory, buffering=0)  # noqa: SIM115 (closed by `close`)
            self._append(self._memory.getbuffer())
            self._memory = io.BytesIO()
        if self._file is None:
            self._memory.write(octets)
        else:
            self._append(octets)
        self.size += len(octets)

    def open(self) -> Iterator[bytes]:
        """The octets written so far, in chunks of at most 1 MiB; they stay readable when the spool is closed meanwhile."""
        if self._file is None:
            data = self._memory.getvalue()
            return iter((data,) if data else ())
        return OpenFile(io.FileIO(os.dup(self._file.fileno()), "rb"), 0, self.size)

    def close(self) -> None:
        """Give up the octets. Idempotent."""
        self._memory.close()
        if self._file is not None:
            self._file.close()

    def _append(self, octets: memoryview) -> None:
        assert self._file is not None
        done = 0
        while done < len(octets):
            done += self._file.write(octets[done:])
