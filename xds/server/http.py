"""The HTTP server's WSGI application: from a request to the transaction, the contract, the health page or the portal.

Spec: ITI TF-2 Appendix V.3 (SOAP), ITI TF-2 3.20 for what the caller's identity is needed for; RFC 9110, RFC 9112 section 6.
"""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, BinaryIO, Protocol, cast
from urllib.parse import parse_qsl

import structlog

from xds.actors.domain import Domain
from xds.model.caller import Caller
from xds.ports import Staging
from xds.server import contracts, failures
from xds.server.answering import SoapTransaction
from xds.server.asynchronous import AsynchronousExchange
from xds.server.limits import BodyError, Limits, RequestBody
from xds.server.metrics import Metrics
from xds.server.soap import SoapServices, status_line
from xds.store.database import DatabaseUnavailableError
from xds.transactions.transaction import Transaction, Wire
from xds.wire.http import HttpReply, HttpRequest

_log = structlog.get_logger()

Environ = dict[str, Any]
StartResponse = Callable[..., Any]
WsgiApp = Callable[[Environ, StartResponse], Iterable[bytes]]

_TEXT = "text/plain; charset=UTF-8"
_XML = "text/xml; charset=UTF-8"


class HttpTransaction(Protocol):
    """A transaction module that answers plain HTTP."""

    @property
    def TRANSACTION(self) -> Transaction:  # noqa: N802
        """Its record."""

    @property
    def respond(self) -> Callable[[HttpRequest, Domain, Caller], HttpReply]:
        """Its answer."""


def caller_from_environ(environ: Mapping[str, Any]) -> Caller:
    """The partner of a request: its network address, and the subject of its client certificate where TLS verified one."""
    verified = environ.get("SSL_CLIENT_VERIFY") == "SUCCESS"
    return Caller(address=environ.get("REMOTE_ADDR", ""), node=environ.get("SSL_CLIENT_S_DN") if verified else None)


def _nothing(complete: bool) -> None:
    """For an answer that nobody waits for."""


@dataclass(slots=True)
class _Answer:
    """An answer on its way out. `route` is what the log shows: never the part of a path that may name a patient."""

    status: str
    headers: list[tuple[str, str]]
    chunks: Iterable[bytes]
    route: str
    transaction: str = ""
    outcome: str = "ok"
    finished: Callable[[bool], None] = _nothing


@dataclass(slots=True)
class _Route:
    prefix: str
    pattern: str
    methods: frozenset[str]
    module: HttpTransaction

    def fits(self, path: str) -> bool:
        """True when that path is this transaction's."""
        if path != self.prefix and not path.startswith(self.prefix + "/"):
            return False
        return not self.pattern or re.fullmatch(self.pattern, path[len(self.prefix) :]) is not None


@dataclass(slots=True)
class _Visit:
    """One request while it is being served."""

    started: float = field(default_factory=time.perf_counter)
    is_upload: bool = False
    body: RequestBody | None = None


class HttpApplication:
    """The WSGI application. Give it to `xds.server.launcher.HttpServer`, or to any WSGI server with threads."""

    def __init__(
        self,
        domain: Domain,
        transactions: Iterable[SoapTransaction | HttpTransaction],
        *,
        stage: Callable[[], Staging],
        limits: Limits | None = None,
        metrics: Metrics | None = None,
        checks: Mapping[str, Callable[[], bool]] | None = None,
        fallback: WsgiApp | None = None,
        asynchronous: AsynchronousExchange | None = None,
    ) -> None:
        """`checks` say whether the process can serve, `fallback` answers every path that is nobody else's.

        With `asynchronous` SOAP requests may ask for their answers to be sent elsewhere.

        Errors: ValueError when two transactions cannot be told apart.
        """
        modules = list(transactions)
        self._domain = domain
        self._limits = limits or Limits()
        self._metrics = metrics or Metrics()
        self._checks = dict(checks or {})
        self._fallback = fallback
        self._uploads = threading.BoundedSemaphore(self._limits.uploads)
        soap = [cast(SoapTransaction, module) for module in modules if module.TRANSACTION.wire is Wire.SOAP]
        self._soap = SoapServices(domain, soap, stage=stage, limits=self._limits, asynchronous=asynchronous)
        self._routes: list[_Route] = []
        for module in modules:
            if module.TRANSACTION.wire is Wire.HTTP:
                self._add_route(cast(HttpTransaction, module))
        # What says more about its paths is asked first.
        self._routes.sort(key=lambda route: (len(route.prefix), len(route.pattern)), reverse=True)

    def _add_route(self, module: HttpTransaction) -> None:
        prefix = (module.TRANSACTION.path or "").rstrip("/")
        if not prefix:
            raise ValueError(f"{module.TRANSACTION.id} lacks its path")
        methods = frozenset(module.TRANSACTION.methods)
        pattern = module.TRANSACTION.pattern
        taken = any((route.prefix, route.pattern) == (prefix, pattern) and route.methods & methods for route in self._routes)
        if taken or prefix in self._soap.paths:
            raise ValueError(f"two transactions have the path {prefix}")
        self._routes.append(_Route(prefix, pattern, methods, module))

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """Serve one request (PEP 3333)."""
        self._metrics.began()
        visit = _Visit()
        try:
            answer = self._answer(environ, visit)
        except BodyError as error:
            answer = _plain(error.status, error.reason, _first_segment(environ["PATH_INFO"]))
        except DatabaseUnavailableError as error:
            failures.report("http.database_unavailable", error)
            answer = _busy(_first_segment(environ["PATH_INFO"]), "the database does not answer now")
        except Exception as error:
            reference = failures.report("http.failure", error)
            answer = _plain(
                500, f"the request could not be processed (reference {reference})", _first_segment(environ["PATH_INFO"])
            )
            answer.outcome = "failure"
        sending = _Sending(answer, visit, self, is_head=environ["REQUEST_METHOD"] == "HEAD")
        start_response(answer.status, answer.headers)
        return sending

    def ended(self, answer: _Answer, visit: _Visit, sent: int, *, complete: bool) -> None:
        """Count and log an answer whose last octet was handed over, or whose reader went away."""
        if visit.is_upload:
            self._uploads.release()
        seconds = time.perf_counter() - visit.started
        received = visit.body.received if visit.body is not None else 0
        outcome = answer.outcome if complete else "aborted"
        # A path that a client made up must not become a label.
        self._metrics.ended(
            answer.transaction or ("soap" if answer.route in self._soap.paths else "other"), outcome, seconds, received, sent
        )
        _log.info(
            "http.request",
            path=answer.route,
            transaction=answer.transaction or None,
            status=int(answer.status[:3]),
            outcome=outcome,
            milliseconds=round(seconds * 1000, 2),
            received=received,
            sent=sent,
        )

    def _answer(self, environ: Environ, visit: _Visit) -> _Answer:
        path = environ["PATH_INFO"]
        if environ.get("CONTENT_LENGTH") and environ.get("HTTP_TRANSFER_ENCODING"):
            return _plain(400, "a request has either Content-Length or Transfer-Encoding", _first_segment(path))
        if path in self._soap.paths:
            return self._service(environ, visit, path)
        if path == "/health/live":
            return _plain(200, "alive", path)
        if path == "/health/ready":
            return self._readiness(path)
        if path == "/metrics":
            return _whole(200, self._metrics.content_type, self._metrics.render(), path)
        routes = [route for route in self._routes if route.fits(path)]
        for route in routes:
            if environ["REQUEST_METHOD"] in route.methods:
                return self._transaction(environ, visit, route)
        if routes:
            return _not_allowed(routes[0].prefix, ", ".join(sorted(method for route in routes for method in route.methods)))
        return self._other(environ, visit)

    def _open_body(self, environ: Environ, visit: _Visit, limit: int) -> RequestBody | None:
        """The request's body; None when too many large ones are arriving. Errors: BodyError."""
        text = environ.get("CONTENT_LENGTH") or ""
        if text and not (text.isascii() and text.isdigit()):
            raise BodyError(400, "Content-Length is not a number")
        is_open_ended = not text and bool(environ.get("HTTP_TRANSFER_ENCODING") or environ.get("wsgi.input_terminated"))
        length = int(text) if text else None if is_open_ended else 0
        visit.body = RequestBody(environ["wsgi.input"], length, limit)
        if length is None or length >= self._limits.large_body:
            if not self._uploads.acquire(blocking=False):
                return None
            visit.is_upload = True
        return visit.body

    def _service(self, environ: Environ, visit: _Visit, path: str) -> _Answer:
        method = environ["REQUEST_METHOD"]
        if method in ("GET", "HEAD"):
            return self._contract(environ, path)
        if method != "POST":
            return _not_allowed(path, "GET, HEAD, POST")
        limit = self._soap.body_limit(environ.get("CONTENT_TYPE", ""))
        body = self._open_body(environ, visit, min(limit, self._limits.bodies.get(path, limit)))
        if body is None:
            return _busy(path)
        answer = self._soap.answer(environ, body, caller_from_environ(environ))
        return _Answer(
            status=status_line(answer.status),
            headers=[*_content_type(answer.content_type), ("Content-Length", str(answer.length))],
            chunks=answer.chunks,
            route=path,
            transaction=answer.transaction.id if answer.transaction is not None else "",
            outcome=answer.outcome,
            finished=answer.finished,
        )

    def _contract(self, environ: Environ, path: str) -> _Answer:
        """`?wsdl` and `?xsd=NAME`. Spec: ITI TF-2 V.2."""
        query = {name.lower(): value for name, value in parse_qsl(environ.get("QUERY_STRING", ""), keep_blank_values=True)}
        if not ({"wsdl", "xsd"} & query.keys()):
            return _not_allowed(path, "POST")
        address = self._domain.identity.public_url + path
        try:
            if "xsd" in query:
                return _whole(200, _XML, contracts.schema_document(query["xsd"], address), path)
            name = next(transaction.wsdl for transaction in self._soap.transactions(path) if transaction.wsdl)
            return _whole(200, _XML, contracts.wsdl_document(name, address), path)
        except (FileNotFoundError, ValueError, StopIteration):
            return _plain(404, "there is no such document", path)

    def _readiness(self, path: str) -> _Answer:
        results = {name: _passes(name, check) for name, check in self._checks.items()}
        is_ready = all(results.values())
        body = json.dumps({"status": "ready" if is_ready else "not ready", "checks": results}).encode()
        return _whole(200 if is_ready else 503, "application/json", body, path)

    def _transaction(self, environ: Environ, visit: _Visit, route: _Route) -> _Answer:
        body = self._open_body(environ, visit, self._limits.of_path(route.prefix))
        if body is None:
            return _busy(route.prefix)
        body.check()
        query: dict[str, tuple[str, ...]] = {}
        for name, value in parse_qsl(environ.get("QUERY_STRING", ""), keep_blank_values=True):
            query[name] = (*query.get(name, ()), value)
        request = HttpRequest(
            method=environ["REQUEST_METHOD"],
            path=environ["PATH_INFO"][len(route.prefix) :].encode("latin-1").decode("utf-8", "replace"),
            query=query,
            headers=_headers(environ),
            stream=cast(BinaryIO, body),
        )
        reply = route.module.respond(request, self._domain, caller_from_environ(environ))
        headers = list(reply.headers)
        if reply.length is not None:
            headers.append(("Content-Length", str(reply.length)))
        return _Answer(
            status=status_line(reply.status),
            headers=headers,
            chunks=reply.body,
            route=route.prefix,
            transaction=route.module.TRANSACTION.id,
            outcome=_outcome(reply.status),
            finished=reply.finished or _nothing,
        )

    def _other(self, environ: Environ, visit: _Visit) -> _Answer:
        route = _first_segment(environ["PATH_INFO"])
        if self._fallback is None:
            return _plain(404, "there is nothing at this address", route)
        body = self._open_body(environ, visit, self._limits.of_path(environ["PATH_INFO"]))
        if body is None:
            return _busy(route)
        body.check()
        answer = _Answer("", [], (), route)

        def start_response(status: str, headers: Sequence[tuple[str, str]], exc_info: object = None) -> Callable[[bytes], None]:
            answer.status, answer.headers = status, list(headers)
            return _unsupported_write

        answer.chunks = self._fallback({**environ, "wsgi.input": body}, start_response)
        answer.outcome = _outcome(int(answer.status[:3]))
        return answer


def _unsupported_write(data: bytes) -> None:
    raise NotImplementedError("the write callable of PEP 3333 is not offered")


class _Sending:
    """The answer's chunks as PEP 3333 wants them. `close` tells everyone who waits, exactly once."""

    def __init__(self, answer: _Answer, visit: _Visit, application: HttpApplication, *, is_head: bool) -> None:
        self._answer = answer
        self._visit = visit
        self._application = application
        self._chunks = iter(() if is_head else answer.chunks)
        self._sent = 0
        self._is_complete = False
        self._is_closed = False

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        try:
            chunk = next(self._chunks)
        except StopIteration:
            self._is_complete = True
            raise
        self._sent += len(chunk)
        return chunk

    def close(self) -> None:
        """Called by the server when the last octet was sent, or when it cannot be."""
        if self._is_closed:
            return
        self._is_closed = True
        try:
            for chunks in (self._chunks, self._answer.chunks):
                close = getattr(chunks, "close", None)
                if close is not None:
                    close()
        finally:
            try:
                self._answer.finished(self._is_complete)
            finally:
                self._application.ended(self._answer, self._visit, self._sent, complete=self._is_complete)


def _passes(name: str, check: Callable[[], bool]) -> bool:
    try:
        return check()
    except Exception as error:
        failures.report("health.check", error, check=name)
        return False


def _outcome(status: int) -> str:
    return "ok" if status < 400 else "fault" if status < 500 else "failure"


def _first_segment(path: str) -> str:
    """What a log may show of a path that is not ours: what follows may be a patient's identifier."""
    return "/" + path.lstrip("/").partition("/")[0][:64]


def _headers(environ: Environ) -> dict[str, str]:
    headers = {name[5:].replace("_", "-").lower(): value for name, value in environ.items() if name.startswith("HTTP_")}
    for name in ("CONTENT_TYPE", "CONTENT_LENGTH"):
        if environ.get(name):
            headers[name.replace("_", "-").lower()] = environ[name]
    return headers


def _content_type(value: str) -> list[tuple[str, str]]:
    return [("Content-Type", value)] if value else []


def _whole(status: int, content_type: str, body: bytes, route: str) -> _Answer:
    headers = [("Content-Type", content_type), ("Content-Length", str(len(body)))]
    return _Answer(status_line(status), headers, [body], route, outcome=_outcome(status))


def _plain(status: int, text: str, route: str) -> _Answer:
    return _whole(status, _TEXT, f"{text}\n".encode(), route)


def _not_allowed(route: str, allowed: str) -> _Answer:
    answer = _plain(405, "the method is not allowed here", route)
    answer.headers.append(("Allow", allowed))
    return answer


def _busy(route: str, why: str = "too many uploads at this moment") -> _Answer:
    answer = _plain(503, why, route)
    answer.headers.append(("Retry-After", "5"))
    return answer
