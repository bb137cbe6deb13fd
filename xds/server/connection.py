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
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from email.utils import formatdate
from functools import lru_cache
from typing import Any

from cheroot.server import HTTPConnection, HTTPRequest
from cheroot.ssl.builtin import BuiltinSSLAdapter
from cheroot.wsgi import Gateway_10

from xds.actors.imaging_waiting import telling
from xds.open_file import OpenFile
from xds.server.http_answers import SENDS_FILES
from xds.server.octets import BUFFER, MAX_FIELDS, Body, Pace, SocketReader, SocketWriter
from xds.server.request_line import RequestError, read_request_line

_LINGER_SECONDS = 2.0
#: How long a thread stays with a connection whose client may go on at once.
_STAY_MILLISECONDS = 20
_FIELD_NAME = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_HOST = re.compile(rb"[0-9A-Za-z._~!$&'()*+,;=%:\[\]-]*")
_FIELD_VALUE = re.compile(rb"[^\x00-\x08\x0a-\x1f\x7f]*")
#: A request line that needs no second look.
_PLAIN_REQUEST = re.compile(
    rb"(DELETE|GET|HEAD|POST|PUT) ((/(?:[A-Za-z0-9._~-][A-Za-z0-9._~/-]*)?)(?:\?([!-\"$-~]*))?) HTTP/1\.1"
)
#: Octets of a header line whose reading is remembered; longer ones differ from request to request.
_KEPT_LINE = 80
#: Octets of an answer without length that go out at once, to let its reader begin.
_FIRST_PART = 4096
#: Fields that decide where a message ends or what it is: repeated, they are an attack on someone in front of us.
_SINGLE = frozenset({b"Content-Length", b"Transfer-Encoding", b"Host", b"Content-Type", b"Content-Encoding", b"Expect"})


def _field(line: bytes) -> tuple[bytes, bytes] | None:
    """A header line in its usual form as name and value; None for any other."""
    name, colon, value = line.partition(b":")
    value = value.strip(b" \t")
    if not colon or b"_" in name or not _FIELD_NAME.fullmatch(name) or not _FIELD_VALUE.fullmatch(value):
        return None
    return name.title(), value


_kept_field = lru_cache(maxsize=512)(_field)


class StrictHeaders:
    """Reads header fields as RFC 9112 section 5 has them, without the leniency that smuggling lives on."""

    def __call__(self, rfile: Any, fields: dict[bytes, bytes]) -> dict[bytes, bytes]:
        """Errors: RequestError, or ValueError with a text for the client."""
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
        raise RequestError("431 Request Header Fields Too Large", "there are too many header fields")


class Request(HTTPRequest):
    """One request on a connection."""

    header_reader = StrictHeaders()
    #: The host of a request target in absolute form.
    authority: bytes | None = None
    #: Whether the answer has begun to go out.
    has_begun = False

    def parse_request(self) -> None:
        """Read the request line and the header, within the time for headers."""
        self.conn.rfile.pace.expect_header()
        if self._take_plain():
            self.ready = self._understand()
        else:
            super().parse_request()
        self.conn.is_unread = not self.ready

    def _take_plain(self) -> bool:
        """Read a request line and a header that came at once and hold nothing unusual. False: nothing was read.

        Most of them are like that, and most of their lines are those of another request.
        """
        head = self.conn.rfile.whole_header(self.server.max_request_header_size)
        if head is None:
            return False
        line, *lines = head.split(b"\r\n")
        asked = _PLAIN_REQUEST.fullmatch(line)
        if asked is None or len(lines) >= MAX_FIELDS:
            return False
        fields: dict[bytes, bytes] = {}
        for each in lines:
            field = _kept_field(each) if len(each) < _KEPT_LINE else _field(each)
            if field is None or field[0] in fields:
                return False
            fields[field[0]] = field[1]
        self.conn.rfile.skip(len(head) + 4)
        self.started_request = True
        self.method, self.uri, self.path, query = asked.groups()
        self.qs = query or b""
        self.request_protocol, self.response_protocol = b"HTTP/1.1", "HTTP/1.1"
        self.inheaders = fields
        return True

    def read_request_line(self) -> bool:
        """Read the request line; one empty line before it is passed over."""
        line = self.rfile.readline()
        self.started_request = True
        if line == b"\r\n":
            line = self.rfile.readline()
        if not line:
            return False
        try:
            asked = read_request_line(line)
        except RequestError as error:
            return self._refuse(error)
        self.method, self.uri, self.path, self.qs = asked.method, asked.target, asked.path, asked.query
        self.authority = asked.authority
        self.request_protocol, self.response_protocol = asked.protocol, asked.protocol.decode("ascii")
        return True

    def read_request_headers(self) -> bool:
        """Read the header and decide how the body is framed. Spec: RFC 9112 6.3."""
        try:
            self.header_reader(self.rfile, self.inheaders)
        except (RequestError, ValueError) as error:
            return self._refuse(error)
        return self._understand()

    def _refuse(self, error: RequestError | ValueError) -> bool:
        self.close_connection = True
        self.simple_response(error.status if isinstance(error, RequestError) else "400 Bad Request", str(error))
        return False

    def _understand(self) -> bool:
        try:
            self._frame()
        except (RequestError, ValueError) as error:
            return self._refuse(error)
        tokens = {token.strip().lower() for token in self.inheaders.get(b"Connection", b"").split(b",")}
        is_persistent = self.response_protocol == "HTTP/1.1"
        self.close_connection = b"close" in tokens or not (is_persistent or b"keep-alive" in tokens)
        return True

    def _frame(self) -> None:
        length = self.inheaders.get(b"Content-Length")
        encoding = self.inheaders.get(b"Transfer-Encoding")
        if self.response_protocol == "HTTP/1.1" and b"Host" not in self.inheaders:
            raise ValueError("the header field Host is missing")
        if not _HOST.fullmatch(self.inheaders.get(b"Host", b"")):
            raise ValueError("the header field Host is malformed")
        if self.authority is not None:
            self.inheaders[b"Host"] = self.authority
        if length is not None and (encoding is not None or not length.isdigit() or len(length) > 18):
            raise ValueError("Content-Length is not a number, or stands beside Transfer-Encoding")
        if encoding is not None:
            codings = [coding.strip().lower() for coding in encoding.split(b",")]
            if codings[-1] != b"chunked" or b"chunked" in codings[:-1] or self.response_protocol != "HTTP/1.1":
                raise ValueError("Transfer-Encoding must end with chunked, in HTTP/1.1")
            if len(codings) > 1:
                raise RequestError("501 Not Implemented", "no transfer coding but chunked is understood")
        self.chunked_read = encoding is not None

    def respond(self) -> None:
        """Run the application and send its answer."""
        length = None if self.chunked_read else int(self.inheaders.get(b"Content-Length", b"0"))
        # A client of HTTP/1.0 would take it for the answer (RFC 9110 10.1.1).
        is_awaited = self.response_protocol == "HTTP/1.1" and self.inheaders.get(b"Expect", b"").lower() == b"100-continue"
        self.rfile = Body(self.conn.rfile, self.conn.wfile, length, is_awaited=is_awaited)
        self.conn.rfile.pace.expect_flow()
        self.server.gateway(self).respond()
        if self.chunked_write:
            self.conn.wfile.write(b"0\r\n\r\n")
        self.conn.wfile.flush()
        self.conn.is_unread = not self.rfile.is_finished

    def write(self, chunk: bytes) -> None:
        """Send a part of the answer. Who states no length makes it while it goes out, and may wait long for the second part."""
        super().write(chunk)
        if self.chunked_write and not self.has_begun and len(chunk) >= _FIRST_PART:
            self.has_begun = True
            self.conn.wfile.flush()

    def write_file(self, file: OpenFile) -> None:
        """Send a file as a part of the answer."""
        if self.chunked_write:
            self.conn.wfile.write(b"%x\r\n" % len(file))
        self.conn.wfile.send_file(file)
        if self.chunked_write:
            self.conn.wfile.write(b"\r\n")

    def simple_response(self, status: Any, msg: Any = "") -> None:
        """A short answer of the server itself, the last on its connection."""
        text = str(msg).encode("latin-1", "replace")
        # cheroot means the header: bodies are limited elsewhere.
        line = "431 Request Header Fields Too Large" if str(status).startswith("413") else str(status)
        head = f"HTTP/1.1 {line}\r\nContent-Type: text/plain\r\nContent-Length: {len(text)}\r\nConnection: close\r\n\r\n"
        with suppress(OSError):
            self.conn.wfile.write(head.encode("latin-1") + text)
            self.conn.wfile.flush()

    def send_headers(self) -> None:
        """Send the header of the answer; a connection whose request was not read to its end is not kept.

        Spec: RFC 9112 6.3, 9.3; RFC 9110 6.6.1.
        """
        if not self.rfile.is_finished and not self.rfile.drain():
            self.close_connection = True
        self.conn.rfile.pace.expect_flow()
        names = {name.lower() for name, _ in self.outheaders}
        status_line: Any = self.status
        status = int(status_line[:3])
        if status == 413 or not self.server.can_add_keepalive_connection:
            self.close_connection = True
        if b"content-length" not in names and status >= 200 and status not in (204, 205, 304):
            if self.response_protocol == "HTTP/1.1" and self.method != b"HEAD":
                self.chunked_write = True
                self.outheaders.append((b"Transfer-Encoding", b"chunked"))
            else:
                self.close_connection = True
        if b"connection" not in names:
            if self.close_connection:
                self.outheaders.append((b"Connection", b"close"))
            elif self.response_protocol != "HTTP/1.1":
                self.outheaders.append((b"Connection", b"Keep-Alive"))
        self.outheaders += ((b"Date", _date(int(time.time()))), (b"Server", b"xds"))
        lines = [b"HTTP/1.1 " + status_line, *(b"%b: %b" % field for field in self.outheaders), b"\r\n"]
        self.conn.wfile.write(b"\r\n".join(lines))


@lru_cache(maxsize=1)
def _date(second: int) -> bytes:
    return formatdate(second, usegmt=True).encode("ascii")


@lru_cache(maxsize=256)
def _variable(name: bytes) -> str:
    """The name of a header field in the environ."""
    text = name.decode("latin-1").upper().replace("-", "_")
    return text if text in ("CONTENT_TYPE", "CONTENT_LENGTH") else f"HTTP_{text}"


class Gateway(Gateway_10):
    """WSGI. In contrast to cheroot's, `close` of the answer is called whatever happens."""

    #: Why the client can be sent no more, found out when nobody was writing.
    _broken: OSError | None = None

    def get_environ(self) -> Any:
        """The environ of PEP 3333, and what TLS tells of the client."""
        request = self.req
        connection, server = request.conn, request.server
        environ = {
            "REQUEST_METHOD": request.method.decode("latin-1"),
            "SCRIPT_NAME": "",
            "PATH_INFO": request.path.decode("latin-1"),
            "QUERY_STRING": request.qs.decode("latin-1"),
            "REQUEST_URI": request.uri.decode("latin-1"),
            "SERVER_NAME": server.server_name,
            "SERVER_PORT": str(server.bind_addr[1]),
            "SERVER_PROTOCOL": request.request_protocol.decode("latin-1"),
            "SERVER_SOFTWARE": server.server_name,
            "ACTUAL_SERVER_PROTOCOL": server.protocol,
            "REMOTE_ADDR": connection.remote_addr or "",
            "REMOTE_PORT": str(connection.remote_port or ""),
            "wsgi.errors": sys.stderr,
            "wsgi.input": request.rfile,
            "wsgi.input_terminated": request.chunked_read,
            "wsgi.multiprocess": False,
            "wsgi.multithread": True,
            "wsgi.run_once": False,
            "wsgi.url_scheme": request.scheme.decode("latin-1"),
            "wsgi.version": self.version,
            SENDS_FILES: True,
        }
        for name, value in request.inheaders.items():
            environ[_variable(name)] = value.decode("latin-1")
        environ.update(connection.ssl_env or {})
        return environ

    def _send_meanwhile(self) -> None:
        """Send what is gathered: the rest may take its time."""
        if self._broken is None:
            try:
                self.req.conn.wfile.flush()
            except OSError as error:
                self._broken = error

    def respond(self) -> None:
        """Run the application and send its chunks."""
        answer = self.req.server.wsgi_app(self.env, self.start_response)
        try:
            with telling(self._send_meanwhile):
                for chunk in answer:
                    if self._broken is not None:
                        raise self._broken
                    if isinstance(chunk, OpenFile):
                        self.req.ensure_headers_sent()
                        self.req.write_file(chunk)
                    elif chunk:
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
        # It is asked before it is waited for: most requests have come as a whole, and most answers go out at once.
        sock.setblocking(False)
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
        self.socket.settimeout(self.server.timeout)
        try:
            self.socket.do_handshake()
            self.socket.setblocking(False)
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
