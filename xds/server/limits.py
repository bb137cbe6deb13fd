"""What the HTTP server grants one request, and request bodies that keep to it."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from xds.wire.mtom import MtomLimits, Readable

_READ = 256 << 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Limits of the HTTP server: sizes in octets, times in seconds, rates in octets a second.

    `uploads` is how many requests with a body of `large_body` octets or of unknown length are served at a time: below `threads`,
    so that queries find a thread while every upload crawls. `body` is the limit of a path that has none in `bodies` (path or path
    prefix -> limit). `envelope` limits a SOAP message without MTOM, `package` one with it; the path's limit, if it has one,
    counts too. `inline` limits the documents that an answer without MTOM carries as base64.

    Envelopes of a megabyte and more: `held` octets of them may be in memory at a time, `worked_on` of them are worked on at a
    time, and one waits `patience` seconds for that.
    """

    threads: int = 64
    uploads: int = 48
    connections: int = 800
    header_block: int = 64 << 10
    header_seconds: float = 15
    idle_seconds: float = 30
    minimum_rate: int = 4 << 10
    rate_grace_seconds: float = 15
    large_body: int = 1 << 20
    body: int = 16 << 20
    bodies: Mapping[str, int] = field(default_factory=dict)
    envelope: int = 64 << 20
    package: int = 32 << 30
    inline: int = 64 << 20
    held: int = 256 << 20
    worked_on: int = 16 << 20
    patience: float = 180
    mtom: MtomLimits = field(default_factory=MtomLimits)

    def of_path(self, path: str) -> int:
        """The limit of a body sent to a path: that of the longest prefix known."""
        found = [prefix for prefix in self.bodies if path == prefix or path.startswith(prefix.rstrip("/") + "/")]
        return self.bodies[max(found, key=len)] if found else self.body


class BodyError(Exception):
    """A request body that is refused or does not arrive. `status` is the HTTP status; the reason holds no content."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason


class RequestBody(io.RawIOBase):
    """The body of one request, ending at its Content-Length (None: at the end of the stream) and refused beyond `limit`.

    Errors: every reading method raises BodyError.
    """

    def __init__(self, stream: Readable, length: int | None, limit: int) -> None:
        super().__init__()
        self._stream = stream
        self._length = length
        self._limit = limit
        self.received = 0

    def check(self) -> None:
        """Refuse a body that says of itself that it is too large, before it is sent."""
        if self._length is not None and self._length > self._limit:
            raise BodyError(413, f"the body is larger than {self._limit} octets")

    def readable(self) -> bool:
        """It is."""
        return True

    def read(self, size: int = -1, /) -> bytes:
        """At most `size` octets, at least one before the end; everything when `size` is negative."""
        if size < 0:
            return self.readall()
        self.check()
        wanted = size if self._length is None else min(size, self._length - self.received)
        if wanted <= 0:
            return b""
        try:
            data = self._stream.read(wanted)
        except TimeoutError:
            raise BodyError(408, "the body did not arrive in time") from None
        except (OSError, ValueError):
            raise BodyError(400, "the body could not be read to its end") from None
        self.received += len(data)
        if not data and self._length is not None:
            raise BodyError(400, "the body is shorter than its Content-Length")
        if self.received > self._limit:
            raise BodyError(413, f"the body is larger than {self._limit} octets")
        return data

    def readall(self) -> bytes:
        """Everything that is left."""
        return self.whole(lambda octets: None)

    def whole(self, grow: Callable[[int], None]) -> bytes:
        """Everything that is left; `grow` is told of the octets that come, and may raise."""
        chunks = []
        while chunk := self.read(_READ):
            grow(len(chunk))
            chunks.append(chunk)
        return b"".join(chunks)

    def readinto(self, buffer: bytearray | memoryview, /) -> int:  # type: ignore[override]
        """Fill a part of the buffer."""
        data = self.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)
