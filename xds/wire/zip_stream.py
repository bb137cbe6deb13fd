"""A ZIP archive that is written while it is sent. Spec: APPNOTE 4.3 (with data descriptors and ZIP64 where sizes need it)."""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from io import RawIOBase
from typing import Any


@dataclass(frozen=True, slots=True)
class Entry:
    """One file of the archive."""

    name: str
    chunks: Callable[[], Iterator[bytes]]


class _Sink(RawIOBase):
    """Collects what is written until somebody takes it."""

    def __init__(self) -> None:
        self._held = bytearray()

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self._held += data
        return len(data)

    def take(self) -> bytes:
        taken = bytes(self._held)
        self._held.clear()
        return taken


def write_zip(entries: Iterable[Entry]) -> Iterator[bytes]:
    """The archive in pieces; nothing is compressed: images mostly are, and the reader waits."""
    sink = _Sink()
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_STORED) as archive:
        for entry in entries:
            with archive.open(zipfile.ZipInfo(entry.name), "w", force_zip64=True) as file:
                for chunk in entry.chunks():
                    file.write(chunk)
                    yield sink.take()
            yield sink.take()
    yield sink.take()
