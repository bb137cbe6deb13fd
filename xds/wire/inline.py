"""SOAP messages without MTOM: binary content as base64 where `xop:Include` would stand.

Spec: ITI TF-2 Appendix V.3 (the answer has the packaging of the request); XOP 1.0 section 3 (what an Include stands for).
"""

from __future__ import annotations

import re
from binascii import b2a_base64
from collections.abc import Iterator, Sequence

from xds.open_file import read
from xds.wire.mtom import Outgoing, content_id_of, together
from xds.wire.pieces import Pieces, exactly
from xds.wire.soap import SentPart

#: Content-Type of a SOAP 1.2 message without parts.
SIMPLE = "application/soap+xml; charset=UTF-8"

# As this software writes it: an empty element, its href in quotes.
_INCLUDE = re.compile(
    rb"""<(?:[A-Za-z_][\w.-]*:)?Include\b[^<>]*?\bhref=["']cid:([^"'<>]+)["'][^<>]*?(?:/>|></(?:[A-Za-z_][\w.-]*:)?Include>)"""
)


def write_inline(envelope: Pieces, parts: Sequence[SentPart]) -> Outgoing:
    """An envelope of our own with each `xop:Include` replaced by its part in base64, streamed; the length is exact.

    Errors: KeyError for an Include without part; ValueError, while the chunks are produced, as `xds.wire.mtom.write_package`.
    """
    by_id = {part.content_id: part for part in parts}
    text = b"".join(envelope)
    sources: list[bytes | SentPart] = []
    position = length = 0
    for match in _INCLUDE.finditer(text):
        part = by_id[content_id_of("cid:" + match[1].decode("ascii")) or ""]
        sources += (text[position : match.start()], part)
        length += match.start() - position + -(-part.size // 3) * 4
        position = match.end()
    sources.append(text[position:])
    length += len(text) - position
    chunks = (chunk for source in sources for chunk in ([source] if isinstance(source, bytes) else _base64(source)))
    return Outgoing(SIMPLE, length, together(chunks, length))


def _base64(part: SentPart) -> Iterator[bytes]:
    rest = b""
    for chunk in read(exactly(part.chunks(), part.size)):
        data = rest + chunk
        whole = len(data) - len(data) % 3
        yield b2a_base64(data[:whole], newline=False)
        rest = data[whole:]
    yield b2a_base64(rest, newline=False)
