"""Runs the WSGI application on cheroot, in this process, in threads of its own."""

from __future__ import annotations

import ssl
import threading
from dataclasses import dataclass
from typing import Any

import structlog
from cheroot.wsgi import Server

from xds.server.connection import Connection, Gateway, LateHandshake
from xds.server.http import ServerApp
from xds.server.limits import Limits
from xds.server.memory import share_arenas
from xds.server.threads import LastIdleFirst

_log = structlog.get_logger()

_VERIFY = {"required": ssl.CERT_REQUIRED, "optional": ssl.CERT_OPTIONAL, "none": ssl.CERT_NONE}


@dataclass(frozen=True, slots=True)
class ServerTls:
    """Files of the server's TLS: its certificate (chain) and key, and the authorities whose client certificates it trusts.

    `client_certificate` is `required`, `optional` or `none`.

    Spec: ITI TF-2 3.19 (Authenticate Node), BCP 195: TLS 1.2 at least.
    """

    certificate: str
    key: str
    trusted: str | None = None
    client_certificate: str = "required"


def server_context(tls: ServerTls) -> ssl.SSLContext:
    """The TLS context of a server. Errors: OSError or ssl.SSLError for unusable files, ValueError for a contradiction."""
    if tls.client_certificate not in _VERIFY:
        raise ValueError(f"client_certificate must be one of {', '.join(_VERIFY)}, not {tls.client_certificate!r}")
    if tls.client_certificate != "none" and not tls.trusted:
        raise ValueError("client certificates can be verified only against trusted authorities")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(tls.certificate, tls.key)
    if tls.trusted:
        context.load_verify_locations(tls.trusted)
    context.verify_mode = _VERIFY[tls.client_certificate]
    return context


class _Server(Server):
    ConnectionClass = Connection
    limits: Limits
    idle_threads: LastIdleFirst
    _connections: Any

    @property
    def has_spare_threads(self) -> bool:
        """Whether enough threads are idle for one to wait for a client that may go on."""
        return self.idle_threads.idle > self.limits.threads // 4

    def prepare(self) -> None:
        self.idle_threads = self.requests._queue = LastIdleFirst()
        self.requests.get = self.idle_threads.get
        super().prepare()

    def bind(self, family: int, type: int, proto: int = 0) -> Any:  # noqa: A002 - cheroot's name
        sock = self.prepare_socket(self.bind_addr, family, type, proto, self.nodelay, self.ssl_adapter, self.reuse_port)
        try:
            sock.bind(self.bind_addr)
        except OSError:
            sock.close()
            raise
        self.socket = sock
        self.bind_addr = sock.getsockname()[:2]
        return sock

    def process_conn(self, conn: Any) -> None:
        if conn.is_new and not conn.rfile.has_data():
            # A client that connects and says nothing must not occupy a thread.
            conn.is_new = False
            if self._connections._num_connections >= self.limits.connections:
                conn.close()
            else:
                self._connections.put(conn)
            return
        conn.is_new = False
        super().process_conn(conn)

    def error_log(self, msg: str = "", level: int = 20, traceback: bool = False) -> None:
        # The text is cheroot's own or the repr of an exception: that may quote what a client sent.
        _log.warning("http.connection", level=level, event_text=msg.partition("(")[0][:100])


class HttpServer:
    """One listening socket and its threads."""

    def __init__(
        self,
        app: ServerApp,
        host: str,
        port: int,
        *,
        limits: Limits | None = None,
        tls: ServerTls | None = None,
        reuse_port: bool = False,
        grace_seconds: float = 30,
    ) -> None:
        """`port` 0 takes a free one. `grace_seconds` is how long `stop` waits for requests in flight.

        Errors: as `server_context`.
        """
        limits = limits or Limits()
        # cheroot's type hints say whole seconds, its code takes fractions.
        seconds: dict[str, Any] = {"timeout": limits.idle_seconds, "shutdown_timeout": grace_seconds}
        self._server = _Server(
            (host, port), app, numthreads=limits.threads, request_queue_size=256, reuse_port=reuse_port, **seconds
        )
        self._server.limits = limits
        self._server.gateway = Gateway
        self._server.server_name = "xds"
        self._server.max_request_header_size = limits.header_block
        self._server.keep_alive_conn_limit = limits.connections
        if tls is not None:
            adapter = LateHandshake(tls.certificate, tls.key)
            adapter.context = server_context(tls)
            self._server.ssl_adapter = adapter
        self._thread: threading.Thread | None = None

    def start(self) -> int:
        """Listen and serve; returns the port. Errors: OSError when the address cannot be had."""
        share_arenas()
        self._server.prepare()
        self._thread = threading.Thread(target=self._server.serve, name="http-accept", daemon=True)
        self._thread.start()
        return int(self._server.bind_addr[1])

    def stop(self) -> None:
        """Stop listening, let the requests in flight finish, and return when they have. Idempotent."""
        thread, self._thread = self._thread, None
        if thread is not None:
            self._server.stop()
            thread.join()
