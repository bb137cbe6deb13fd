"""Where the parts of an MTOM package go while they are read, whatever encoding they came in.

Spec: RFC 2045 section 6. MTOM asks for `binary`; base64 and quoted-printable come from stacks that send by way of mail libraries.
"""

from __future__ import annotations

import re
from binascii import Error as EncodingError
from binascii import a2b_base64, a2b_qp
from collections.abc import Callable
from typing import Final, Protocol

from xds.ports import Staging

_BLANKS: Final = b" \t\r\n"
_BLANKS_AT_THE_END: Final = re.compile(rb"[ \t]+(?=\r?\n)")
#: Octets of a line of quoted-printable, which has 76 characters at most: more than any encoder writes.
_MAX_LINE: Final = 64 << 10


class MtomError(ValueError):
    """A package that cannot be read. The message is safe to show: it holds no content."""


class Sink(Protocol):
    """Takes the octets of a part in the order in which they come."""

    def write(self, data: memoryview) -> None:
        """Take some. Errors: MtomError; OSError when there is no room for them."""


class Decoder(Sink, Protocol):
    """A sink that passes on what it decodes."""

    def end(self) -> None:
        """There will be no more. Errors: MtomError."""


class Root:
    """Takes the envelope into memory, up to its limit. `grow` is told of the octets as they come."""

    def __init__(self, limit: int, grow: Callable[[int], object] | None) -> None:
        self._limit = limit
        self._grow = grow
        self._octets = bytearray()

    def write(self, data: memoryview) -> None:
        """Take some. Errors: MtomError beyond the limit; whatever `grow` raises."""
        if len(self._octets) + len(data) > self._limit:
            raise MtomError(f"the root part is larger than {self._limit} octets")
        if self._grow is not None:
            self._grow(len(data))
        self._octets += data

    def octets(self) -> bytes:
        """The envelope."""
        return bytes(self._octets)


class Bounded:
    """Writes a part to its staging, up to the limit of a part."""

    def __init__(self, staging: Staging, limit: int) -> None:
        self._staging = staging
        self._limit = limit

    def write(self, data: memoryview) -> None:
        """Take some. Errors: MtomError beyond the limit; OSError."""
        if self._staging.size + len(data) > self._limit:
            raise MtomError(f"a part is larger than {self._limit} octets")
        self._staging.write(data)


def decoding(encoding: str, sink: Sink) -> Decoder | None:
    """What decodes a Content-Transfer-Encoding for a sink; None when the octets are as they are meant to be.

    Errors: MtomError for an unknown encoding.
    """
    name = encoding.strip().lower()
    if name in ("binary", "8bit", "7bit"):
        return None
    if name == "base64":
        return _Base64(sink)
    if name == "quoted-printable":
        return _QuotedPrintable(sink)
    raise MtomError("a part has a Content-Transfer-Encoding other than binary, 8bit, 7bit, base64 and quoted-printable")


class _Base64:
    """Spec: RFC 2045 6.8. Line breaks may stand anywhere; any other character outside the alphabet is an error."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self._rest = b""
        self._is_padded = False

    def write(self, data: memoryview) -> None:
        text = self._rest + bytes(data).translate(None, _BLANKS)
        whole = len(text) - len(text) % 4
        self._rest = text[whole:]
        if not whole:
            return
        if self._is_padded:
            raise MtomError("a part in base64 goes on after its padding")
        try:
            octets = a2b_base64(text[:whole], strict_mode=True)
        except EncodingError:
            raise MtomError("a part is not the base64 that its header says") from None
        self._is_padded = text[whole - 1 : whole] == b"="
        self._sink.write(memoryview(octets))

    def end(self) -> None:
        if self._rest:
            raise MtomError("a part in base64 ends within a group of four characters")


class _QuotedPrintable:
    """Spec: RFC 2045 6.7. Blanks at the end of a line were added on the way."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self._rest = b""

    def write(self, data: memoryview) -> None:
        text = self._rest + bytes(data)
        end = text.rfind(b"\n") + 1
        self._rest = text[end:]
        if len(self._rest) > _MAX_LINE:
            raise MtomError("a part in quoted-printable has a line that is too long")
        if end:
            self._sink.write(memoryview(a2b_qp(_BLANKS_AT_THE_END.sub(b"", text[:end]))))

    def end(self) -> None:
        if self._rest:
            self._sink.write(memoryview(a2b_qp(self._rest.rstrip(b" \t"))))
