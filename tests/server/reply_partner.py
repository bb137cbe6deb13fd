"""A partner of the asynchronous exchange: a real HTTP server on loopback that takes replies."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from io import BytesIO
from typing import Any

from tests.ports import free_port
from xds.server.launcher import HttpServer
from xds.server.limits import Limits
from xds.server.replies import ReplyListener
from xds.transactions.client import SoapAnswer, post_soap
from xds.transactions.transaction import Transaction
from xds.wire.soap import SentPart


@dataclass
class Delivery:
    """One reply as it came over HTTP."""

    path: str
    content_type: str
    body: bytes


@dataclass
class Partner:
    """Listens below `/replies/`, and takes also what it does not expect.

    `refuse` makes it answer so many requests with HTTP 503 first.
    """

    listener: ReplyListener = field(default_factory=ReplyListener)
    deliveries: list[Delivery] = field(default_factory=list)
    refuse: int = 0
    port: int = 0
    _server: HttpServer | None = None

    def start(self) -> Partner:
        """Listen, on the same port as before if there was one."""
        # Nobody else gets it while it is away.
        self.port = self.port or free_port()
        self._server = HttpServer(self._serve, "127.0.0.1", self.port, limits=Limits(threads=8))
        self._server.start()
        return self

    def stop(self) -> None:
        """Be away: connections are refused."""
        if self._server is not None:
            self._server.stop()
            self._server = None

    @property
    def is_away(self) -> bool:
        """Whether it was stopped."""
        return self._server is None

    @property
    def url(self) -> str:
        """What the server's settings name."""
        return f"http://127.0.0.1:{self.port}/replies/"

    def ask(
        self,
        endpoint: str,
        transaction: Transaction,
        body: bytes | Sequence[bytes],
        parts: Sequence[SentPart] = (),
        *,
        message_id: str | None = None,
        reply_to: str | None = None,
        **options: Any,
    ) -> Future[SoapAnswer]:
        """Send a request that is answered here; it must be acknowledged."""
        message_id = message_id or uuid.uuid4().urn
        reply = self.listener.expect(message_id, transaction)
        address = reply_to or f"{self.url}{transaction.id}"
        acknowledgement = post_soap(
            endpoint, transaction, body, parts, reply_to=address, message_id=message_id, timeout=60, **options
        )
        assert acknowledgement.message_id == message_id
        return reply

    def _serve(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        if self.refuse:
            self.refuse -= 1
            start_response("503 Service Unavailable", [("Content-Length", "0")])
            return [b""]
        body = b""
        while len(body) < int(environ["CONTENT_LENGTH"]):
            body += environ["wsgi.input"].read(1 << 20)
        self.deliveries.append(Delivery(environ["PATH_INFO"], environ["CONTENT_TYPE"], body))

        def answer(status: str, headers: list[tuple[str, str]]) -> None:
            start_response("202 Accepted" if status.startswith("404") else status, headers)

        return self.listener({**environ, "wsgi.input": BytesIO(body)}, answer)
