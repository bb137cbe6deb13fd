"""MTOM/XOP packages: a SOAP envelope and its binary parts as `multipart/related`, read and written as streams.

Spec: ITI TF-2 Appendix V.3; W3C XOP 1.0 and MTOM; RFC 2387 (multipart/related), RFC 2046 (framing), RFC 2392 (cid:).

A part never stands in memory as a whole: the reader writes it to a staging while it arrives, the writer passes on chunks.
Only the root part, the envelope, is held, within its own limit.

Tolerated when reading: `start` without angle brackets or absent (then the first part is the root), any order of parts,
percent-encoded Content-IDs, unquoted parameters that should be quoted, preamble, epilogue, folded header lines, white space
after a boundary, a root of type `application/soap+xml`, parts in base64 or quoted-printable.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import chain
from typing import Protocol
from urllib.parse import unquote

from xds.open_file import OpenFile
from xds.ports import Staging
from xds.wire.mtom_parts import Bounded, Root, Sink, decoding
from xds.wire.mtom_parts import MtomError as MtomError
from xds.wire.pieces import Pieces, exactly, length_of
from xds.wire.soap import ReceivedPart, SentPart

#: Answers below this many octets travel as one object: many small writes cost more than copying.
JOIN_BELOW = 1 << 20
#: Pieces that are not worth copying into others.
LARGE = 64 << 10
#: Larger envelopes are handed over in pieces of about this many octets.
PIECE = 256 << 10

_READ = 256 << 10
_PARAMETER = re.compile(r'\s*([^\s=;"]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^;]*))\s*(?:;|$)')
_SAFE_CONTENT_ID = re.compile(r"[!#$&-;=?-~]+")
_SAFE_MEDIA_TYPE = re.compile(r"[\x20-\x7e]+")


class Readable(Protocol):
    """Where octets come from: a WSGI input, a socket, a file."""

    def read(self, size: int, /) -> bytes:
        """At most `size` octets; none at the end."""


@dataclass(frozen=True, slots=True)
class ContentType:
    """A media type in lower case with its parameters; their names are in lower case, the first of a repeated one counts.

    `contradictory` names the parameters that were repeated with another value.
    """

    media_type: str
    parameters: Mapping[str, str] = field(default_factory=dict)
    contradictory: frozenset[str] = frozenset()

    @property
    def charset(self) -> str | None:
        """The encoding of text."""
        return self.parameters.get("charset")


@dataclass(frozen=True, slots=True)
class MtomLimits:
    """What one package may hold; sizes in octets."""

    root: int = 64 << 20
    part: int = 8 << 30
    parts: int = 2000
    header_block: int = 16 << 10
    boundary: int = 200


@dataclass(frozen=True, slots=True)
class Package:
    """A package read: the envelope's octets and the other parts by Content-ID."""

    root: bytes
    root_type: ContentType
    parts: Mapping[str, ReceivedPart]


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A message ready to send: exactly `length` octets come from `chunks`."""

    content_type: str
    length: int
    chunks: Iterator[bytes | OpenFile]


def parse_content_type(value: str) -> ContentType:
    """Read a Content-Type header value.

    Spec: RFC 2045 5.1. Quoted parameters may hold any character; an unquoted one ends at the semicolon.
    """
    main, _, rest = value.partition(";")
    parameters: dict[str, str] = {}
    contradictory: set[str] = set()
    position = 0
    while position < len(rest):
        match = _PARAMETER.match(rest, position)
        if match is None:
            following = rest.find(";", position)
            position = len(rest) if following < 0 else following + 1
            continue
        position = match.end()
        name = match[1].lower()
        text = re.sub(r"\\(.)", r"\1", match[2]) if match[2] is not None else match[3].strip()
        if parameters.setdefault(name, text) != text:
            contradictory.add(name)
    return ContentType(main.strip().lower(), parameters, frozenset(contradictory))


def plain_content_id(value: str) -> str:
    """A Content-ID or `start` value without white space and angle brackets, percent-decoded."""
    value = value.strip()
    if value.startswith("<") and value.endswith(">"):
        value = value[1:-1]
    return unquote(value)


def content_id_of(href: str) -> str | None:
    """The Content-ID that the `href` of a `xop:Include` names; None when it is no `cid:` URL. Spec: RFC 2392."""
    href = href.strip()
    return unquote(href[4:]) if href[:4].lower() == "cid:" else None


class _Window:
    """A window that moves over the stream: `low` to `high` of `buffer` is what was read and not yet used."""

    def __init__(self, stream: Readable, capacity: int) -> None:
        self._read = stream.read
        self.buffer = bytearray(capacity + _READ)
        self.view = memoryview(self.buffer)
        # The line break that belongs to a delimiter is missing before the very first one.
        self.buffer[0:2] = b"\r\n"
        self.low, self.high = 0, 2

    def fill(self) -> None:
        """Read more; what is unused moves to the front. Errors: MtomError at the end of the stream."""
        if self.low:
            unused = self.high - self.low
            self.buffer[0:unused] = self.buffer[self.low : self.high]
            self.low, self.high = 0, unused
        data = self._read(min(len(self.buffer) - self.high, _READ))
        if not data:
            raise MtomError("the body ends before the closing boundary")
        self.buffer[self.high : self.high + len(data)] = data
        self.high += len(data)

    def find(self, needle: bytes, start: int) -> int:
        return self.buffer.find(needle, start, self.high)


def read_package(
    stream: Readable,
    content_type: ContentType,
    stage: Callable[[], Staging],
    limits: MtomLimits,
    grow: Callable[[int], object] | None = None,
) -> Package:
    """Read a package up to its closing boundary; what follows that is left in the stream.

    `stage` is called once for each part that is not the root. The caller owns the stagings of the result; on an error
    every staging is discarded here. `grow` is told of the octets of the envelope as they come.

    Spec: ITI TF-2 V.3.6; RFC 2046 5.1.1, RFC 2387.
    Errors: MtomError; whatever the stream, the staging or `grow` raises.
    """
    return _Reader(stream, content_type, stage, limits, grow).read()


class _Reader:
    def __init__(
        self,
        stream: Readable,
        content_type: ContentType,
        stage: Callable[[], Staging],
        limits: MtomLimits,
        grow: Callable[[int], object] | None,
    ) -> None:
        if content_type.media_type != "multipart/related":
            raise MtomError("the message is not multipart/related")
        if unsure := content_type.contradictory & {"boundary", "start"}:
            raise MtomError(f"Content-Type gives {' and '.join(sorted(unsure))} twice, with different values")
        boundary = content_type.parameters.get("boundary", "")
        if not boundary or len(boundary) > limits.boundary or not boundary.isascii() or not boundary.isprintable():
            raise MtomError("Content-Type has no usable boundary parameter")
        self._delimiter = b"\r\n--" + boundary.encode("ascii")
        self._start = plain_content_id(content_type.parameters.get("start", ""))
        self._stage = stage
        self._limits = limits
        self._grow = grow
        self._window = _Window(stream, 2 * len(self._delimiter) + limits.header_block)
        self._root: Root | None = None
        self._root_type = ContentType("")
        self._parts: dict[str, ReceivedPart] = {}

    def read(self) -> Package:
        with ExitStack() as unless_read:
            unless_read.callback(self._discard)
            self._copy_body(None)
            count = 0
            while not self._closes():
                count += 1
                if count > self._limits.parts:
                    raise MtomError(f"the message has more than {self._limits.parts} parts")
                self._read_part(self._read_header(), is_first=count == 1)
            if self._root is None:
                raise MtomError("no part has the Content-ID that start names" if self._start else "there is no part")
            unless_read.pop_all()
        return Package(self._root.octets(), self._root_type, self._parts)

    def _discard(self) -> None:
        for part in self._parts.values():
            part.staging.discard()

    def _closes(self) -> bool:
        window = self._window
        while window.high - window.low < 2:
            window.fill()
        return window.buffer[window.low : window.low + 2] == b"--"

    def _read_header(self) -> dict[str, str]:
        """The header fields after a delimiter, names in lower case. Leaves `low` at the line break before the content."""
        window = self._window
        while True:
            line_end = window.find(b"\r\n", window.low)
            block_end = window.find(b"\r\n\r\n", line_end) if line_end >= 0 else -1
            if block_end - window.low > self._limits.header_block:
                raise MtomError(f"the header of a part is larger than {self._limits.header_block} octets")
            if block_end >= 0:
                break
            if window.high - window.low > self._limits.header_block:
                raise MtomError(f"the header of a part is larger than {self._limits.header_block} octets")
            window.fill()
        if window.buffer[window.low : line_end].strip(b" \t"):
            raise MtomError("a boundary is followed by other text")
        block = bytes(window.buffer[line_end + 2 : block_end]) if block_end > line_end else b""
        window.low = block_end + 2
        return _header_fields(block)

    def _read_part(self, header: Mapping[str, str], *, is_first: bool) -> None:
        encoding = header.get("content-transfer-encoding", "binary")
        content_id = plain_content_id(header.get("content-id", ""))
        if content_id == self._start if self._start else is_first:
            if self._root is not None:
                raise MtomError("two parts have the Content-ID of the root")
            self._root = Root(self._limits.root, self._grow)
            self._root_type = parse_content_type(header.get("content-type", "application/xop+xml"))
            self._copy_decoded(self._root, encoding)
            return
        if not content_id:
            raise MtomError("a part has no Content-ID")
        if content_id in self._parts:
            raise MtomError("two parts have the same Content-ID")
        staging = self._stage()
        content_type = header.get("content-type", "application/octet-stream")
        self._parts[content_id] = ReceivedPart(content_id, content_type, staging)
        self._copy_decoded(Bounded(staging, self._limits.part), encoding)

    def _copy_decoded(self, sink: Sink, encoding: str) -> None:
        decoder = decoding(encoding, sink)
        self._copy_body(decoder or sink)
        if decoder is not None:
            decoder.end()

    def _copy_body(self, sink: Sink | None) -> None:
        """Pass on what stands before the next delimiter (None: the preamble, dropped) and step over that delimiter."""
        window, delimiter = self._window, self._delimiter
        keep = len(delimiter) - 1
        # The two octets at `low` are a line break that is not content; it may begin the delimiter of an empty part.
        unsent = window.low + 2
        while True:
            found = window.find(delimiter, window.low)
            end = found if found >= 0 else window.high - keep
            if end > unsent:
                if sink is not None:
                    sink.write(window.view[unsent:end])
                unsent = end
            if found >= 0:
                window.low = found + len(delimiter)
                return
            low = max(window.low, end)
            unsent -= low
            window.low = low
            window.fill()


def _header_fields(block: bytes) -> dict[str, str]:
    fields: dict[str, str] = {}
    for line in re.sub(rb"\r\n[ \t]+", b" ", block).split(b"\r\n"):
        if not line:
            continue
        name, colon, value = line.partition(b":")
        key = name.strip().lower().decode("latin-1")
        if not colon or not key:
            raise MtomError("a part has a malformed header line")
        if key in fields and key.startswith("content-"):
            raise MtomError("a part has a header field twice")
        fields[key] = value.strip().decode("latin-1")
    return fields


def write_package(root: Pieces, parts: Sequence[SentPart], *, action: str | None = None) -> Outgoing:
    """Frame an envelope and its parts; the length is exact, nothing is read before the chunks are asked for.

    `action` becomes a parameter of the Content-Type, for requests.

    Spec: ITI TF-2 V.3.6; RFC 2387.
    Errors: ValueError for a Content-ID or type that cannot stand in a header, and, while the chunks are produced, when a part
    does not give exactly `size` octets.
    """
    boundary = f"uuid-{secrets.token_hex(16)}"
    root_id = f"root.{boundary[5:]}@xds"
    content_type = (
        f'multipart/related; boundary="{boundary}"; type="application/xop+xml"; start="<{root_id}>"; '
        'start-info="application/soap+xml"'
    )
    if action is not None:
        content_type += f'; action="{action}"'
    opening = _part_header(boundary, 'application/xop+xml; charset=UTF-8; type="application/soap+xml"', root_id)[2:]
    headers = [_part_header(boundary, part.content_type, part.content_id) for part in parts]
    closing = f"\r\n--{boundary}--\r\n".encode("ascii")
    length = len(opening) + length_of(root) + sum(map(len, headers)) + sum(part.size for part in parts) + len(closing)
    pieces = _framed(chain((opening,), root), list(zip(headers, parts, strict=True)), closing)
    return Outgoing(content_type, length, together(pieces, length))


def _part_header(boundary: str, content_type: str, content_id: str) -> bytes:
    if not _SAFE_CONTENT_ID.fullmatch(content_id):
        raise ValueError("a Content-ID holds a character that cannot stand in a header")
    if not _SAFE_MEDIA_TYPE.fullmatch(content_type):
        raise ValueError("a media type holds a character that cannot stand in a header")
    return (
        f"\r\n--{boundary}\r\nContent-Type: {content_type}\r\nContent-Transfer-Encoding: binary\r\n"
        f"Content-ID: <{content_id}>\r\n\r\n"
    ).encode("ascii")


def _framed(opening: Iterable[bytes], parts: Sequence[tuple[bytes, SentPart]], closing: bytes) -> Iterator[bytes | OpenFile]:
    yield from opening
    for header, part in parts:
        yield header
        yield from exactly(part.chunks(), part.size)
    yield closing


def together(pieces: Iterable[bytes | OpenFile], length: int) -> Iterator[bytes | OpenFile]:
    """The same octets in few objects: small ones are joined, until the end when `length` is below 1 MiB, otherwise up to 256 KiB.

    What is large already is not copied.
    """
    wait = JOIN_BELOW if length < JOIN_BELOW else PIECE
    pending: list[bytes] = []
    size = 0
    for piece in pieces:
        if isinstance(piece, OpenFile) or len(piece) >= LARGE:
            if pending:
                yield b"".join(pending)
                pending.clear()
                size = 0
            yield piece
            continue
        pending.append(piece)
        size += len(piece)
        if size >= wait:
            yield b"".join(pending)
            pending.clear()
            size = 0
    if pending:
        yield b"".join(pending)
