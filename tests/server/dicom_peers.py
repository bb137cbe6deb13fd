"""dcmtk's programs as peers of the DICOM listener, on free ports."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.archive import Archive
from tests.programs import program
from xds.server.dimse import DimseServer
from xds.server.dimse_destination import Destination


def run(name: str, *arguments: str, seconds: float = 120) -> subprocess.CompletedProcess[str]:
    """Run a program of dcmtk to its end. What it writes is ASCII, or replaced."""
    command = [program(name), *arguments]
    return subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=seconds, check=False)


@contextmanager
def serving(archive: Archive, destinations: Sequence[Destination] = (), **settings: float) -> Iterator[int]:
    """The listener for an archive; its port."""
    server = DimseServer(archive.source, "XDS", port=0, idle_seconds=60, destinations=destinations, **settings)  # type: ignore[arg-type]
    try:
        yield server.start()
    finally:
        server.stop(30)


def received(directory: Path) -> dict[str, Path]:
    """The files that getscu or movescu made, by SOP Instance UID."""
    return {path.name.partition(".")[2]: path for path in directory.iterdir()}
