"""The addresses outside that replies may be sent to: configured URLs, and nothing that only looks like one of them.

Spec: WS-Addressing 1.0 SOAP binding section 5; RFC 3986 sections 3, 5.2.4 and 6.2.

A sender names the address of its reply itself. So that it cannot make this server call whomever it likes, an address must be one
that the operator configured, or lie below one that ends in a slash; scheme, host and port are compared, not resolved.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple
from urllib.parse import urlsplit

_PORTS = {"http": 80, "https": 443}
_PRINTABLE = re.compile(r"[!-~]+")
#: What may follow a prefix: nothing that a server or a proxy could take for another path.
_BELOW = re.compile(r"(?:(?!\.\.?(?:/|\Z))[A-Za-z0-9._~:@!$&'()*+,=-]+(?:/(?!/)|\Z))*")


class _Address(NamedTuple):
    scheme: str
    host: str
    port: int
    path: str
    query: str


class ReplyAddresses:
    """Exact URLs, and URLs that end in a slash, which stand for everything below them."""

    def __init__(self, configured: Iterable[str] = ()) -> None:
        """Errors: ValueError as `read_reply_address`."""
        self._configured = tuple(read_reply_address(url) for url in configured)

    def __bool__(self) -> bool:
        return bool(self._configured)

    def permits(self, url: str) -> bool:
        """Whether a reply may be sent there."""
        try:
            address = read_reply_address(url)
        except ValueError:
            return False
        return any(address == each or _is_below(address, each) for each in self._configured)


def read_reply_address(url: str) -> _Address:
    """The parts of a URL that count.

    Errors: ValueError, without the URL in it, for anything but an absolute http or https URL without user and fragment.
    """
    if not _PRINTABLE.fullmatch(url):
        raise ValueError("a reply address holds printable ASCII characters alone")
    parts = urlsplit(url)
    if parts.scheme not in _PORTS or not parts.hostname:
        raise ValueError("a reply address is an absolute http or https URL")
    if "@" in parts.netloc or "#" in url:
        raise ValueError("a reply address has neither user nor fragment")
    port = parts.port if parts.port is not None else _PORTS[parts.scheme]
    return _Address(parts.scheme, parts.hostname, port, parts.path or "/", parts.query)


def _is_below(address: _Address, prefix: _Address) -> bool:
    if address[:3] != prefix[:3] or prefix.query or not prefix.path.endswith("/"):
        return False
    return address.path.startswith(prefix.path) and _BELOW.fullmatch(address.path, len(prefix.path)) is not None
