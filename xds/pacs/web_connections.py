"""HTTP connections with one PACS: so many at once, and those that are done with stay open for a moment for whoever comes next.

What breaks before it has answered anything is replaced by a fresh one, of which nobody notices anything.

Spec: RFC 9112 9.3 (persistence), 9.3.1 (requests that may be repeated).
"""

from __future__ import annotations

import errno
import http.client
import select
import socket
import ssl
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from xds.model.foreign_images import PullError, PullProblem
from xds.pacs.idle import Idle
from xds.pacs.partner import Partner, Places

#: Connections that stay open: one for images, one for questions.
_KEPT: Final = 2
#: How long the end of an answer may take, and how many pieces of it are passed over: a fresh connection costs less.
_END_SECONDS: Final = 1.0
_END_PIECES: Final = 8
_PIECE: Final = 16 * 1024
#: How long the PACS' system has to acknowledge what is sent on a connection that was kept: it may be gone without a word.
_LOST_SECONDS: Final = 3.0


@dataclass(slots=True, eq=False)
class _Kept:
    """A connection on which nothing is under way."""

    web: http.client.HTTPConnection
    due: float = 0.0

    @property
    def connection(self) -> socket.socket:
        """The socket beneath."""
        found: socket.socket = self.web.sock
        return found

    def has_input(self) -> bool:
        """Whether the PACS has said something, or has gone."""
        if isinstance(self.connection, ssl.SSLSocket) and self.connection.pending():
            return True
        poll = select.poll()
        poll.register(self.connection, select.POLLIN)
        return bool(poll.poll(0))

    def release(self) -> None:
        """Nobody needs it any more."""
        self.web.close()

    def ended(self) -> None:
        """The PACS ends it, or says what has no place."""
        self.web.close()


class WebConnections:
    """Connections with one PACS. One object serves all threads."""

    def __init__(self, partner: Partner, ssl_context: ssl.SSLContext | None) -> None:
        """`ssl_context` is for a PACS at an address of https."""
        self._partner = partner
        self._ssl_context = ssl_context
        self._address = urlsplit(partner.dicomweb)
        self._places = Places(partner.requests, partner.patience)
        self._idle: Idle[_Kept] = Idle(_KEPT, partner.kept_seconds, f"{partner.name}-web")

    def close(self) -> None:
        """Close those that nobody uses, and keep no more. Idempotent."""
        self._idle.close()

    @contextmanager
    def get(
        self, target: str, headers: Mapping[str, str], meanwhile: Callable[[], object] = object
    ) -> Iterator[http.client.HTTPResponse]:
        """What is answered to a GET. `meanwhile` is called while the PACS is at work, again when it is asked again.

        Errors: PullError, also in place of whatever goes wrong with the connection within the context.
        """
        with self._places.one(), told():
            connection, response = self._answered(target, headers, meanwhile)
            is_over = False
            try:
                yield response
                is_over = True
            finally:
                if is_over and self._is_whole(connection, response):
                    response.close()
                    self._idle.put(_Kept(connection))
                else:
                    connection.close()

    def _answered(
        self, target: str, headers: Mapping[str, str], meanwhile: Callable[[], object]
    ) -> tuple[http.client.HTTPConnection, http.client.HTTPResponse]:
        kept = self._idle.take()
        if kept is not None:
            _expect_acknowledgement(kept.connection, min(_LOST_SECONDS, self._partner.seconds))
            try:
                response = _asked(kept.web, target, headers, meanwhile)
                _expect_acknowledgement(kept.connection, 0)
                return kept.web, response
            except OSError as problem:
                if isinstance(problem, TimeoutError) and problem.errno != errno.ETIMEDOUT:
                    # It is there, and silent.
                    raise
        fresh = self._fresh()
        return fresh, _asked(fresh, target, headers, meanwhile)

    def _fresh(self) -> http.client.HTTPConnection:
        host, port, seconds = self._address.hostname or "", self._address.port, self._partner.seconds
        if self._address.scheme == "https":
            return http.client.HTTPSConnection(host, port, timeout=seconds, context=self._ssl_context)
        return http.client.HTTPConnection(host, port, timeout=seconds)

    def _is_whole(self, connection: http.client.HTTPConnection, response: http.client.HTTPResponse) -> bool:
        """Whether the answer has been read to its end, or is now, so that another request may follow."""
        if response.will_close:
            return False
        with suppress(OSError, http.client.HTTPException):
            connection.sock.settimeout(_END_SECONDS)
            for _ in range(_END_PIECES):
                if response.isclosed() or response.length == 0:
                    connection.sock.settimeout(self._partner.seconds)
                    return True
                response.read1(_PIECE)
        return False


def _asked(
    connection: http.client.HTTPConnection, target: str, headers: Mapping[str, str], meanwhile: Callable[[], object]
) -> http.client.HTTPResponse:
    """The head of an answer. Errors: OSError, HTTPException, those of `meanwhile`; the connection is closed then."""
    is_answered = False
    try:
        connection.request("GET", target, headers=dict(headers))
        meanwhile()
        response = connection.getresponse()
        is_answered = True
        return response
    finally:
        if not is_answered:
            connection.close()


def _expect_acknowledgement(connection: socket.socket | None, seconds: float) -> None:
    if connection is not None and hasattr(socket, "TCP_USER_TIMEOUT"):
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(seconds * 1000))


@contextmanager
def told() -> Iterator[None]:
    """What goes wrong, in the words of the puller. Errors: PullError."""
    try:
        yield
    except PullError:
        raise
    except TimeoutError as problem:
        raise PullError(PullProblem.TIMEOUT) from problem
    except (OSError, http.client.HTTPException) as problem:
        raise PullError(PullProblem.UNREACHABLE, type(problem).__name__) from problem
