"""HTTP/1.1 connections for cheroot: strict framing, deadlines, and bodies of any size in little memory.

cheroot's own classes hold a whole chunk of a chunked body in memory (the client says how large it is), read what is left of a
refused body into memory, keep a connection whose chunked body was not read to its end, wait for a client without limit as
long as an octet arrives now and then, and do the TLS handshake in the one thread that accepts connections.

Spec: RFC 9112 sections 5, 6, 7.1, 9.6.
"""

from __future__ import annotations

import re
import select
import socket
import ssl
import time
from collections.abc import Callable
from contextlib import suppress
from email.utils import formatdate
from functools import lru_cache
from typing import Any

from cheroot.server import HTTPConnection, HTTPRequest
from cheroot.ssl.builtin import BuiltinSSLAdapter
from cheroot.wsgi import Gateway_10

from xds.server.octets import BUFFER, MAX_FIELDS, Body, Pace, SocketReader, SocketWriter

_LINGER_SECONDS = 2.0
#: How long a thread stays with a connection whose client may go on at once.
_STAY_MILLISECONDS = 20
_FIELD_NAME = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_FIELD_VALUE = re.compile(rb"[^\x00-\x08\x0a-\x1f\x7f]*")
#: Fields that decide where a message ends or what it is: repeated, they are an attack on someone in front of us.
_SINGLE = frozenset({b"Content-Length", b"Transfer-Encoding", b"Host", b"Content-Type", b"Content-Encoding", b"Expect"})


class StrictHeaders:
    """Reads header fields as RFC 9112 section 5 has them, without the leniency that smuggling lives on."""

    def __call__(self, rfile: Any, fields: dict[bytes, bytes]) -> dict[bytes, bytes]:
        """Errors: ValueError with a text for the client."""
        for _ in range(MAX_FIELDS):
            line = rfile.readline()
            if line == b"\r\n":
                return fields
            if not line.endswith(b"\r\n"):
                raise ValueError("a header line does not end with CRLF")
            name, colon, value = line[:-2].partition(b":")
            value = value.strip(b" \t")
            if not colon or not _FIELD_NAME.fullmatch(name) or not _FIELD_VALUE.fullmatch(value):
                raise ValueError("a header line is malformed")
            if b"_" in name:
                # In the environment it could not be told from the same name with a hyphen.
                continue
            key = name.title()
            if key in fields:
                if key in _SINGLE:
                    raise ValueError(f"the header field {key.decode()} stands twice")
                value = fields[key] + b", " + value
            fields[key] = value
        raise ValueError("there are too many header fields")


class Request(HTTPRequest):
    """One request on a connection."""

    header_reader = StrictHeaders()

    def parse_request(self) -> None:
        """Read the request line and the header, within the time for headers."""
        self.conn.rfile.pace.expect_header()
        super().parse_request()
        self.conn.is_unread = not self.ready

    def read_request_headers(self) -> bool:
        """Read the header and decide how the body is framed. Spec: RFC 9112 6.3."""
        try:
            self.header_reader(self.rfile, self.inheaders)
            self._frame()
        except ValueError as error:
            self.close_connection = True
            self.simple_response("400 Bad Request", str(error))
            return False
        tokens = {token.strip().lower() for token in self.inheaders.get(b"Connection", b"").split(b",")}
        is_persistent = self.response_protocol == "HTTP/1.1"
        self.close_connection = b"close" in tokens or not (is_persistent or b"keep-alive" in tokens)
        return True

    def _frame(self) -> None:
        length = self.inheaders.get(b"Content-Length")
        encoding = self.inheaders.get(b"Transfer-Encoding")
        if self.response_protocol == "HTTP/1.1" and b"Host" not in self.inheaders:
            raise ValueError("the header field Host is missing")
        if length is not None and (encoding is not None or not length.isdigit() or len(length) > 18):
            raise ValueError("Content-Length is not a number, or stands beside Transfer-Encoding")
        if encoding is not None and (encoding.lower() != b"chunked" or self.response_protocol != "HTTP/1.1"):
            raise ValueError("Transfer-Encoding must be chunked, in HTTP/1.1")
        self.chunked_read = encoding is not None

    def respond(self) -> None:
        """Run the application and send its answer."""
        length = None if self.chunked_read else int(self.inheaders.get(b"Content-Length", b"0"))
        is_awaited = self.inheaders.get(b"Expect", b"").lower() == b"100-continue"
        self.rfile = Body(self.conn.rfile, self.conn.wfile, length, is_awaited=is_awaited)
        self.conn.rfile.pace.expect_flow()
        self.server.gateway(self).respond()
        if self.chunked_write:
            self.conn.wfile.write(b"0\r\n\r\n")
        self.conn.wfile.flush()
        self.conn.is_unread = not self.rfile.is_finished

    def simple_response(self, status: Any, msg: Any = "") -> None:
        """A short answer of the server itself."""
        super().simple_response(status, msg)
        self.conn.wfile.flush()

    def send_headers(self) -> None:
        """Send the header of the answer; a connection whose request was not read to its end is not kept."""
        if not self.rfile.is_finished and not self.rfile.drain():
            self.close_connection = True
        self.conn.rfile.pace.expect_flow()
        self.outheaders.append((b"Date", _date(int(time.time()))))
        super().send_headers()


@lru_cache(maxsize=1)
def _date(second: int) -> bytes:
    return formatdate(second, usegmt=True).encode("ascii")


class Gateway(Gateway_10):
    """WSGI. In contrast to cheroot's, `close` of the answer is called whatever happens."""

    def respond(self) -> None:
        """Run the application and send its chunks."""
        answer = self.req.server.wsgi_app(self.env, self.start_response)
        try:
            for chunk in answer:
                if chunk:
                    self.write(chunk)
            self.req.ensure_headers_sent()
        finally:
            close = getattr(answer, "close", None)
            if close is not None:
                close()


class Connection(HTTPConnection):
    """One connection. It waits in the selector, not in a thread, until its first octets arrive."""

    RequestHandlerClass = Request

    def __init__(self, server: Any, sock: Any, makefile: Callable[..., Any]) -> None:
        pace = Pace(server.limits)
        super().__init__(server, sock, lambda s, mode, size: SocketReader(s, pace) if "r" in mode else SocketWriter(s, pace))
        self.is_new = True
        self.is_unread = False
        self._poll = select.poll()
        self._poll.register(sock, select.POLLIN)

    def communicate(self) -> bool:
        """Serve one request, and those that follow at once. True: the connection can be kept."""
        if self.server.ssl_adapter is not None and not self.ssl_env and not self._shake_hands():
            return False
        while super().communicate():  # type: ignore[no-untyped-call]
            if not self._has_more():
                return True
        return False

    def _has_more(self) -> bool:
        """Wait for a moment whether the client goes on, while there are threads to spare.

        It spares the way through the selector and another thread, which costs more than a small request.
        """
        if not self.server.ready or not self.server.has_spare_threads:
            return False
        return self.rfile.has_data() or bool(self._poll.poll(_STAY_MILLISECONDS))

    def _shake_hands(self) -> bool:
        try:
            self.socket.do_handshake()
        except ssl.SSLError as error:
            if "HTTP_REQUEST" in (error.reason or ""):
                self._explain_tls()
            self.server.error_log(f"TLS handshake failed: {error.reason}")
            return False
        except OSError:
            return False
        self.ssl_env = self.server.ssl_adapter.get_environ(self.socket)
        return True

    def _explain_tls(self) -> None:
        text = b"This port speaks HTTPS only.\n"
        head = b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\nConnection: close\r\nContent-Length: %d\r\n\r\n"
        with suppress(OSError), socket.socket(fileno=socket.dup(self.socket.fileno())) as plain:
            plain.send(head % len(text) + text)

    def close(self) -> None:
        """Close. When the request was not read to its end, wait for the client to take the answer first (RFC 9112 9.6)."""
        if self.is_unread:
            with suppress(OSError):
                self._linger()
        super().close()

    def _linger(self) -> None:
        until = time.monotonic() + _LINGER_SECONDS
        self.socket.shutdown(socket.SHUT_WR)
        self.socket.settimeout(_LINGER_SECONDS / 4)
        while time.monotonic() < until and self.socket.recv(BUFFER):
            continue


class LateHandshake(BuiltinSSLAdapter):
    """TLS whose handshake is done by the thread that serves the connection."""

    def wrap(self, sock: Any) -> tuple[Any, dict[str, Any]]:
        """A TLS socket before its handshake, and nothing to say about it yet."""
        return self.context.wrap_socket(sock, server_side=True, do_handshake_on_connect=False), {}
