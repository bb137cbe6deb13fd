"""The HTTP server's WSGI application: from a request to the transaction, the contract, the health page or the portal.

Spec: ITI TF-2 Appendix V.3 (SOAP), ITI TF-2 3.20 for what the caller's identity is needed for; RFC 9110, RFC 9112 section 6.
"""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, BinaryIO, Protocol, cast
from urllib.parse import parse_qsl

import structlog

from xds.actors.domain import Domain
from xds.model.caller import Caller
from xds.open_file import OpenFile
from xds.ports import Staging
from xds.server import contracts, failures
from xds.server.answering import SoapTransaction
from xds.server.asynchronous import AsynchronousExchange
from xds.server.http_answers import (
    SENDS_FILES,
    Answer,
    Sending,
    allowed,
    busy,
    content_type_header,
    first_segment,
    not_allowed,
    nothing,
    outcome_of,
    plain,
    status_line,
    whole,
)
from xds.server.limits import BodyError, Limits, RequestBody
from xds.server.metrics import Metrics
from xds.server.soap import SoapServices
from xds.store.database import DatabaseUnavailableError
from xds.transactions.transaction import Transaction, Wire
from xds.wire.http import HttpReply, HttpRequest

_log = structlog.get_logger()

Environ = dict[str, Any]
StartResponse = Callable[..., Any]
WsgiApp = Callable[[Environ, StartResponse], Iterable[bytes]]
#: What our own server runs: a WSGI application that may answer with files, too.
ServerApp = Callable[[Environ, StartResponse], Iterable[bytes | OpenFile]]

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


@dataclass(slots=True)
class _Route:
    prefix: str
    pattern: str
    methods: frozenset[str]
    module: HttpTransaction

    def is_above(self, path: str) -> bool:
        """True when that path is the prefix, or below it."""
        return path == self.prefix or path.startswith(self.prefix + "/")

    def fits(self, path: str) -> bool:
        """True when that path is this transaction's."""
        if not self.is_above(path):
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

    def __call__(self, environ: Environ, start_response: StartResponse) -> Sending:
        """Serve one request (PEP 3333)."""
        self._metrics.began()
        visit = _Visit()
        try:
            answer = self._answer(environ, visit)
        except BodyError as error:
            answer = plain(error.status, error.reason, first_segment(environ["PATH_INFO"]))
        except DatabaseUnavailableError as error:
            failures.report("http.database_unavailable", error)
            answer = busy(first_segment(environ["PATH_INFO"]), "the database does not answer now")
        except Exception as error:
            reference = failures.report("http.failure", error)
            answer = plain(
                500, f"the request could not be processed (reference {reference})", first_segment(environ["PATH_INFO"])
            )
            answer.outcome = "failure"
        start_response(answer.status, answer.headers)
        is_head, sends_files = environ["REQUEST_METHOD"] == "HEAD", SENDS_FILES in environ
        return Sending(answer, partial(self._ended, answer, visit), is_head=is_head, sends_files=sends_files)

    def _ended(self, answer: Answer, visit: _Visit, sent: int, complete: bool) -> None:
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

    def _answer(self, environ: Environ, visit: _Visit) -> Answer:
        path = environ["PATH_INFO"]
        if environ.get("CONTENT_LENGTH") and environ.get("HTTP_TRANSFER_ENCODING"):
            return plain(400, "a request has either Content-Length or Transfer-Encoding", first_segment(path))
        if path in self._soap.paths:
            return self._service(environ, visit, path)
        if path == "*":
            return allowed(path, "GET, HEAD, POST, PUT, DELETE, OPTIONS")
        if path == "/health/live":
            return plain(200, "alive", path)
        if path == "/health/ready":
            return self._readiness(path)
        if path == "/metrics":
            return whole(200, self._metrics.content_type, self._metrics.render(), path)
        routes = [route for route in self._routes if route.fits(path)]
        for route in routes:
            if environ["REQUEST_METHOD"] in route.methods:
                return self._transaction(environ, visit, route)
        if routes:
            methods = {method for route in routes for method in route.methods}
            if environ["REQUEST_METHOD"] == "OPTIONS":
                return allowed(routes[0].prefix, ", ".join(sorted({*methods, "OPTIONS"})))
            return not_allowed(routes[0].prefix, ", ".join(sorted(methods)))
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

    def _service(self, environ: Environ, visit: _Visit, path: str) -> Answer:
        method = environ["REQUEST_METHOD"]
        if method in ("GET", "HEAD"):
            return self._contract(environ, path)
        if method != "POST":
            return not_allowed(path, "GET, HEAD, POST")
        limit = self._soap.body_limit(environ.get("CONTENT_TYPE", ""))
        body = self._open_body(environ, visit, min(limit, self._limits.bodies.get(path, limit)))
        if body is None:
            return busy(path)
        answer = self._soap.answer(environ, body, caller_from_environ(environ))
        return Answer(
            status=status_line(answer.status),
            headers=[*content_type_header(answer.content_type), ("Content-Length", str(answer.length))],
            chunks=answer.chunks,
            route=path,
            transaction=answer.transaction.id if answer.transaction is not None else "",
            outcome=answer.outcome,
            finished=answer.finished,
        )

    def _contract(self, environ: Environ, path: str) -> Answer:
        """`?wsdl` and `?xsd=NAME`. Spec: ITI TF-2 V.2."""
        query = {name.lower(): value for name, value in parse_qsl(environ.get("QUERY_STRING", ""), keep_blank_values=True)}
        if not ({"wsdl", "xsd"} & query.keys()):
            return not_allowed(path, "POST", "SOAP messages are posted here; ?wsdl behind this address gives the contract")
        address = self._domain.identity.public_url + path
        try:
            if "xsd" in query:
                return whole(200, _XML, contracts.schema_document(query["xsd"], address), path)
            name = next(transaction.wsdl for transaction in self._soap.transactions(path) if transaction.wsdl)
            return whole(200, _XML, contracts.wsdl_document(name, address), path)
        except (FileNotFoundError, ValueError, StopIteration):
            return plain(404, "there is no such document", path)

    def _readiness(self, path: str) -> Answer:
        results = {name: _passes(name, check) for name, check in self._checks.items()}
        is_ready = all(results.values())
        body = json.dumps({"status": "ready" if is_ready else "not ready", "checks": results}).encode()
        return whole(200 if is_ready else 503, "application/json", body, path)

    def _transaction(self, environ: Environ, visit: _Visit, route: _Route) -> Answer:
        body = self._open_body(environ, visit, self._limits.of_path(route.prefix))
        if body is None:
            return busy(route.prefix)
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
        return Answer(
            status=status_line(reply.status),
            headers=headers,
            chunks=reply.body,
            route=route.prefix,
            transaction=route.module.TRANSACTION.id,
            outcome=outcome_of(reply.status),
            finished=reply.finished or nothing,
        )

    def _other(self, environ: Environ, visit: _Visit) -> Answer:
        route = first_segment(environ["PATH_INFO"])
        if self._fallback is None or any(each.is_above(environ["PATH_INFO"]) for each in self._routes):
            return plain(404, "there is nothing at this address", route)
        body = self._open_body(environ, visit, self._limits.of_path(environ["PATH_INFO"]))
        if body is None:
            return busy(route)
        body.check()
        answer = Answer("", [], (), route)

        def start_response(status: str, headers: Sequence[tuple[str, str]], exc_info: object = None) -> Callable[[bytes], None]:
            answer.status, answer.headers = status, list(headers)
            return _unsupported_write

        answer.chunks = self._fallback({**environ, "wsgi.input": body}, start_response)
        answer.outcome = outcome_of(int(answer.status[:3]))
        return answer


def _unsupported_write(data: bytes) -> None:
    raise NotImplementedError("the write callable of PEP 3333 is not offered")


def _passes(name: str, check: Callable[[], bool]) -> bool:
    try:
        return check()
    except Exception as error:
        failures.report("health.check", error, check=name)
        return False


def _headers(environ: Environ) -> dict[str, str]:
    headers = {name[5:].replace("_", "-").lower(): value for name, value in environ.items() if name.startswith("HTTP_")}
    for name in ("CONTENT_TYPE", "CONTENT_LENGTH"):
        if environ.get(name):
            headers[name.replace("_", "-").lower()] = environ[name]
    return headers
