"""DICOMweb on the wire: media ranges, multipart/related in both directions.

Tolerated when reading: boundaries longer than 70 characters, a missing last line break before a boundary's first line, parts
without Content-Type, `type` without quotes, transfer syntaxes in quotes.

Spec: DICOM PS3.18 8.7 (media types), 8.6 (multipart), 10.4 (retrieve), 10.5 (store); RFC 9110 12.5.1; RFC 2046 5.1.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from email.message import Message
from functools import lru_cache, partial
from itertools import islice
from secrets import token_hex
from typing import Final, Protocol

from xds.open_file import OpenFile, unread
from xds.ports import Staging
from xds.wire.dicom import EXPLICIT_LITTLE
from xds.wire.pieces import exactly

DICOM: Final = "application/dicom"
DICOM_JSON: Final = "application/dicom+json"
DICOM_XML: Final = "application/dicom+xml"
OCTETS: Final = "application/octet-stream"
ZIP: Final = "application/zip"
MULTIPART: Final = "multipart/related"

_CHUNK: Final = 256 * 1024
#: Octets of the header lines of one part.
_MAX_PART_HEADER: Final = 16 * 1024
_MAX_RANGES: Final = 64
#: Octets of an Accept header whose reading is remembered: a reader says the same each time.
_KEPT_ACCEPT: Final = 256
#: RFC 2046 allows 70 characters; Orthanc stores over the web with 73.
_MAX_BOUNDARY: Final = 256


class MultipartError(ValueError):
    """A body that is not the multipart message its Content-Type announces."""


@dataclass(frozen=True, slots=True)
class MediaType:
    """A media type or range with its parameters; `quality` is the q of an Accept header.

    `excepted` are the types inside of a range that are named for themselves and wanted less, or not at all.
    """

    name: str
    parameters: Mapping[str, str] = field(default_factory=dict)
    quality: float = 1.0
    excepted: frozenset[str] = frozenset()

    @property
    def part_type(self) -> str:
        """The `type` parameter of multipart/related, lower-case."""
        return self.parameters.get("type", "").lower()


def read_media_type(text: str) -> MediaType:
    """One media type with its parameters; parameter names are lower-case."""
    message = Message()
    message["Content-Type"] = text
    parameters = message.get_params(failobj=[], header="Content-Type")
    name = text.partition(";")[0].strip().lower()
    values = {key.lower(): str(value).strip() for key, value in parameters[1:]}
    try:
        quality = min(max(float(values.pop("q", "1")), 0.0), 1.0)
    except ValueError:
        quality = 0.0
    return MediaType(name, values, quality)


def read_accept(text: str) -> tuple[MediaType, ...]:
    """The ranges of an Accept header, the most wanted first; those with q=0 are left out. An empty one accepts everything."""
    return _kept_accept(text) if len(text) <= _KEPT_ACCEPT else _read_accept(text)


def _read_accept(text: str) -> tuple[MediaType, ...]:
    if not text.strip():
        return (MediaType("*/*"),)
    ranges = [read_media_type(part) for part in islice(_split(text), _MAX_RANGES)]
    wanted = (_with_exceptions(item, ranges) if item.name.endswith("/*") else item for item in ranges if item.quality > 0)
    return tuple(sorted(wanted, key=lambda item: -item.quality))


_kept_accept = lru_cache(maxsize=64)(_read_accept)


def _with_exceptions(wide: MediaType, ranges: Sequence[MediaType]) -> MediaType:
    """What is named more closely goes before a range that holds it. Spec: RFC 9110 12.5.1."""
    less = (item.name for item in ranges if item.quality < wide.quality and not item.name.endswith("/*"))
    return replace(wide, excepted=frozenset(less) - {MULTIPART})


def _split(text: str) -> Iterator[str]:
    """At commas that no quotes enclose."""
    start, quoted = 0, False
    for position, character in enumerate(text):
        if character == '"':
            quoted = not quoted
        elif character == "," and not quoted:
            yield text[start:position].strip()
            start = position + 1
    yield text[start:].strip()


@dataclass(frozen=True, slots=True)
class AcceptedObjects:
    """In which transfer syntaxes DICOM objects are wanted, and whether as multipart.

    `tiers` are those that are wanted equally, the most wanted first; None stands for any transfer syntax.
    """

    tiers: tuple[tuple[str, ...] | None, ...]
    as_multipart: bool

    @property
    def every(self) -> tuple[str, ...] | None:
        """All of them, however much they are wanted."""
        named = [tier for tier in self.tiers if tier is not None]
        return None if len(named) < len(self.tiers) else tuple(syntax for tier in named for syntax in tier)


def accepted_objects(ranges: Sequence[MediaType], *, single: bool) -> AcceptedObjects | None:
    """What these ranges, the most wanted first, say of DICOM objects; None when they accept none.

    Any transfer syntax will do for `transfer-syntax=*`, and for a range that does not even ask for DICOM. A range for DICOM
    that names none means explicit little endian. `single` permits one object as `application/dicom` without multipart.

    Spec: PS3.18 8.7.3.5.2, 8.7.8 (weights).
    """
    tiers: dict[float, list[str] | None] = {}
    multipart: bool | None = None
    for item in ranges:
        wildcard = item.name in ("*/*", "multipart/*", "application/*") and (item.name != "application/*" or single)
        as_multipart = item.name in (MULTIPART, "multipart/*", "*/*")
        as_one = single and item.name == DICOM
        if item.name == MULTIPART and item.part_type not in ("", DICOM, "*/*"):
            continue
        if not (wildcard or as_multipart or as_one):
            continue
        if multipart is None:
            multipart = as_multipart
        elif multipart is not as_multipart:
            continue
        syntax = item.parameters.get("transfer-syntax", "").strip()
        tier = tiers.setdefault(item.quality, [])
        if syntax == "*" or (wildcard and not syntax):
            tiers[item.quality] = None
        elif tier is not None:
            tier.append(syntax or EXPLICIT_LITTLE)
    if multipart is None:
        return None
    return AcceptedObjects(tuple(tuple(tier) if tier is not None else None for tier in tiers.values()), multipart)


def prefers_xml(ranges: Sequence[MediaType]) -> bool:
    """Whether data sets are wanted as XML rather than as JSON. Spec: PS3.18 8.7.3.2."""
    for item in ranges:
        if item.name == MULTIPART and item.part_type == DICOM_XML:
            return True
        if accepts_json((item,)):
            return False
    return False


def accepts_json(ranges: Sequence[MediaType]) -> bool:
    """Whether a data set may be answered as JSON. Spec: PS3.18 8.7.3.2."""
    named = (DICOM_JSON, "application/json", "application/*", "*/*")
    return any(item.name in named and DICOM_JSON not in item.excepted for item in ranges)


# Multipart out


@dataclass(frozen=True, slots=True)
class Part:
    """One part: exactly `size` octets come from `chunks()`; None: nobody knows how many before they are sent."""

    content_type: str
    size: int | None
    chunks: Callable[[], Iterator[bytes]]
    location: str = ""


@dataclass(frozen=True, slots=True)
class Multipart:
    """A multipart message to send, of exactly `length` octets; None when one of its parts has no size yet.

    Parts that are files are chunks as they are.
    """

    content_type: str
    length: int | None
    chunks: Iterator[bytes | OpenFile]


def write_multipart(parts: Sequence[Part], part_type: str = DICOM) -> Multipart:
    """The parts as multipart/related; each is opened when its turn comes."""
    boundary = token_hex(16)
    heads = [_head(boundary, part) for part in parts]
    end = f"--{boundary}--\r\n".encode()
    length: int | None = None
    if all(part.size is not None for part in parts):
        length = sum(len(head) + (part.size or 0) + 2 for head, part in zip(heads, parts, strict=True)) + len(end)
    return Multipart(f'{MULTIPART}; type="{part_type}"; boundary={boundary}', length, _framed(heads, parts, end))


def write_documents(documents: Iterable[bytes], part_type: str) -> Multipart:
    """Whole documents of one media type as multipart/related."""
    return write_multipart([Part(part_type, len(document), partial(iter, (document,))) for document in documents], part_type)


def stream_parts(parts: Iterable[Part], part_type: str = DICOM) -> Multipart:
    """The same of parts that become known one after the other."""
    boundary = token_hex(16)

    def chunks() -> Iterator[bytes | OpenFile]:
        for part in parts:
            yield _head(boundary, part)
            yield from _content(part)
            yield b"\r\n"
        yield f"--{boundary}--\r\n".encode()

    return Multipart(f'{MULTIPART}; type="{part_type}"; boundary={boundary}', None, chunks())


def _head(boundary: str, part: Part) -> bytes:
    lines = [f"--{boundary}", f"Content-Type: {part.content_type}"]
    if part.size is not None:
        lines.append(f"Content-Length: {part.size}")
    if part.location:
        lines.append(f"Content-Location: {part.location}")
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def _framed(heads: Iterable[bytes], parts: Iterable[Part], end: bytes) -> Iterator[bytes | OpenFile]:
    for head, part in zip(heads, parts, strict=True):
        yield head
        yield from _content(part)
        yield b"\r\n"
    yield end


def _content(part: Part) -> Iterable[bytes | OpenFile]:
    """Errors: ValueError, when it is not as long as it was said to be."""
    return unread(part.chunks()) if part.size is None else exactly(part.chunks(), part.size)


# Multipart in


class Readable(Protocol):
    """A body to read."""

    def read(self, size: int, /) -> bytes: ...


def read_multipart(stream: Readable, boundary: str, stage: Callable[[], Staging]) -> Iterator[tuple[Mapping[str, str], Staging]]:
    """The parts in order as (header fields by lower-case name, staged octets), each complete before it is given.

    The caller discards them.

    Errors: MultipartError, for what follows the last complete part.
    """
    if not 0 < len(boundary) <= _MAX_BOUNDARY:
        raise MultipartError(f"the boundary is absent or longer than {_MAX_BOUNDARY} characters")
    reader = _Reader(stream, b"\r\n--" + boundary.encode("ascii", "replace"))
    reader.discard()
    while reader.begins_part():
        fields = reader.header()
        staging = stage()
        try:
            for piece in reader.pieces():
                staging.write(piece)
        except MultipartError:
            staging.discard()
            raise
        yield fields, staging


def stream_multipart(stream: Readable, boundary: str) -> Iterator[tuple[Mapping[str, str], Iterator[bytes]]]:
    """The parts in order as (header fields by lower-case name, octets while they arrive): read before the next part is.

    Errors: MultipartError, also from the octets.
    """
    if not 0 < len(boundary) <= _MAX_BOUNDARY:
        raise MultipartError(f"the boundary is absent or longer than {_MAX_BOUNDARY} characters")
    reader = _Reader(stream, b"\r\n--" + boundary.encode("ascii", "replace"))
    reader.discard()
    while reader.begins_part():
        fields = reader.header()
        pieces = reader.pieces()
        yield fields, pieces
        for _ in pieces:
            pass


class _Reader:
    """Finds delimiters in a stream. Nothing more than a chunk and a delimiter is held."""

    def __init__(self, stream: Readable, delimiter: bytes) -> None:
        self._stream = stream
        self._delimiter = delimiter
        # The first delimiter may stand at the very beginning, without the line break that all others have.
        self._held = b"\r\n"

    def _more(self) -> bool:
        data = self._stream.read(_CHUNK)
        self._held += data
        return bool(data)

    def pieces(self) -> Iterator[bytes]:
        """The octets up to the next delimiter, which is consumed."""
        while True:
            found = self._held.find(self._delimiter)
            if found >= 0:
                piece, self._held = self._held[:found], self._held[found + len(self._delimiter) :]
                if piece:
                    yield piece
                return
            safe = len(self._held) - len(self._delimiter)
            if safe > 0:
                piece, self._held = self._held[:safe], self._held[safe:]
                yield piece
            if not self._more():
                raise MultipartError("the message ends before its last boundary")

    def discard(self) -> None:
        """Skip the preamble."""
        for _ in self.pieces():
            pass

    def begins_part(self) -> bool:
        """After a delimiter: True when a part follows, False at the end of the message."""
        while len(self._held) < 2 and self._more():
            pass
        if self._held.startswith(b"--"):
            return False
        line = self._until(b"\r\n")
        if line.strip(b" \t"):
            raise MultipartError("a boundary is followed by something else than a line break")
        return True

    def header(self) -> dict[str, str]:
        """The header fields of a part, names in lower case."""
        fields: dict[str, str] = {}
        left = _MAX_PART_HEADER
        while line := self._until(b"\r\n"):
            left -= len(line)
            if left < 0:
                raise MultipartError("the header of a part is too long")
            name, _, value = line.decode("latin-1").partition(":")
            fields[name.strip().lower()] = value.strip()
        return fields

    def _until(self, ending: bytes) -> bytes:
        while ending not in self._held:
            if len(self._held) > _MAX_PART_HEADER or not self._more():
                raise MultipartError("the header of a part does not end")
        line, _, self._held = self._held.partition(ending)
        return line
