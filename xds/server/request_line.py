"""The first line of an HTTP request.

Spec: RFC 9112 sections 3, 2.2, 2.3; RFC 9110 section 2.5 (a later minor version is answered as the last one known).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final
from urllib.parse import unquote_to_bytes

_LINE: Final = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+) ([!-~\x80-\xff]+) HTTP/([0-9])\.([0-9])\r\n")
_ABSOLUTE: Final = re.compile(rb"https?://([^/?@]+)(/[^?]*)?(?:\?(.*))?", re.IGNORECASE | re.DOTALL)
_QUOTED_SLASH: Final = re.compile(rb"%2f", re.IGNORECASE)


class RequestError(Exception):
    """A request that is refused before anybody looks at what it wants. `status` stands in the status line, the text is shown."""

    def __init__(self, status: str, reason: str) -> None:
        super().__init__(reason)
        self.status = status


@dataclass(frozen=True, slots=True)
class RequestLine:
    """What was asked for. `path` is decoded but for slashes; `authority` is the host of a target in absolute form."""

    method: bytes
    target: bytes
    path: bytes
    query: bytes
    protocol: bytes
    authority: bytes | None = None


def read_request_line(line: bytes) -> RequestLine:
    """Read it. Errors: RequestError."""
    parts = _LINE.fullmatch(line)
    if parts is None:
        raise RequestError("400 Bad Request", "the request line is malformed")
    method, target, major, minor = parts.groups()
    if major != b"1":
        raise RequestError("505 HTTP Version Not Supported", "HTTP/1.1 is spoken here")
    if method != method.upper():
        raise RequestError("400 Bad Request", "the method is not in capitals")
    if method == b"CONNECT":
        raise RequestError("501 Not Implemented", "this is no proxy")
    if b"#" in target:
        raise RequestError("400 Bad Request", "a request target has no fragment")
    protocol = b"HTTP/1.0" if minor == b"0" else b"HTTP/1.1"
    if target == b"*" and method == b"OPTIONS":
        return RequestLine(method, target, target, b"", protocol)
    if target.startswith(b"/"):
        path, _, query = target.partition(b"?")
        return RequestLine(method, target, _decoded(path), query, protocol)
    absolute = _ABSOLUTE.fullmatch(target)
    if absolute is None:
        raise RequestError("400 Bad Request", "the request target is neither a path nor an http address")
    authority, path, query = absolute[1], absolute[2] or b"/", absolute[3] or b""
    return RequestLine(method, target, _decoded(path), query, protocol, authority)


def _decoded(path: bytes) -> bytes:
    """The path without percent-encoding; a slash that is encoded separates nothing, and stays."""
    return b"%2F".join(unquote_to_bytes(part) for part in _QUOTED_SLASH.split(path))
