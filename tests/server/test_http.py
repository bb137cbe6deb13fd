"""Routing, contracts, health, metrics, plain HTTP transactions and the portal behind them."""

from __future__ import annotations

import hashlib
import http.client
import json
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from lxml import etree
from prometheus_client.parser import text_string_to_metric_families
from structlog.testing import capture_logs

from tests.server.echo import FILES, KEEP, SAY, Echo, identity, running
from xds.actors.domain import Domain
from xds.server.http import HttpApplication, caller_from_environ
from xds.server.limits import Limits
from xds.server.metrics import Counted, Metrics
from xds.store.blobs.local import LocalBlobStore
from xds.store.database import DatabaseUnavailableError
from xds.wire.http import HttpReply, HttpRequest
from xds.wire.soap import Addressing, write_envelope

PATH = SAY.path or ""


@contextmanager
def connected(port: int) -> Iterator[http.client.HTTPConnection]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        yield connection
    finally:
        connection.close()


Asked = tuple[int, dict[str, str], bytes]


def ask(port: int, method: str, path: str, body: Any = None, **headers: str) -> Asked:
    with connected(port) as connection:
        connection.request(method, path, body, {name.replace("_", "-"): value for name, value in headers.items()})
        response = connection.getresponse()
        return response.status, {name.lower(): value for name, value in response.getheaders()}, response.read()


def portal(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    text = f"{environ['REQUEST_METHOD']} {environ['PATH_INFO']} {len(environ['wsgi.input'].read())}".encode()
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(text)))])
    return [text]


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    checks = {"database": lambda: True}
    limits = Limits(threads=4, uploads=2, body=1000, bodies={"/files": 3000})
    with running(tmp_path_factory.mktemp("http"), Echo(), limits=limits, checks=checks, fallback=portal) as port:
        yield port


# ------------------------------------------------------------------ contracts


@pytest.mark.parametrize("query", ["wsdl", "WSDL", "wsdl=1", "singleWsdl&wsdl"])
def test_the_contract_has_this_servers_address(port: int, query: str) -> None:
    status, headers, data = ask(port, "GET", f"{PATH}?{query}")
    assert (status, headers["content-type"]) == (200, "text/xml; charset=UTF-8")
    addresses = [e.get("location") for e in etree.fromstring(data).iter("{http://schemas.xmlsoap.org/wsdl/soap12/}address")]
    assert addresses
    assert set(addresses) == {"http://xds.example/services/echo"}


def test_the_schemas_of_the_contract(port: int) -> None:
    status, _, data = ask(port, "GET", f"{PATH}?xsd=rim.xsd")
    assert status == 200
    assert etree.fromstring(data).get("targetNamespace") == "urn:oasis:names:tc:ebxml-regrep:xsd:rim:3.0"


@pytest.mark.parametrize("name", ["nothing.xsd", "../setup.cfg", "..%2Fsetup.cfg", "%2Fetc%2Fpasswd", "", "a%00b"])
def test_no_other_file_is_handed_out(port: int, name: str) -> None:
    assert ask(port, "GET", f"{PATH}?xsd={name}")[0] == 404


def test_head_of_a_contract(port: int) -> None:
    status, headers, data = ask(port, "HEAD", f"{PATH}?wsdl")
    assert (status, data) == (200, b"")
    assert int(headers["content-length"]) > 1000


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE"])
def test_methods_a_service_does_not_have(port: int, method: str) -> None:
    status, headers, _ = ask(port, method, PATH)
    assert status == 405
    assert "POST" in headers["allow"]


# ------------------------------------------------------------------ operators


def test_health(port: int) -> None:
    assert ask(port, "GET", "/health/live")[0] == 200
    status, _, data = ask(port, "GET", "/health/ready")
    assert (status, json.loads(data)) == (200, {"status": "ready", "checks": {"database": True}})


def test_what_is_not_ready_says_what(tmp_path: Path) -> None:
    def broken() -> bool:
        raise RuntimeError("password=secret")

    with running(tmp_path, Echo(), checks={"database": broken, "disk": lambda: False, "x": lambda: True}) as port:
        status, _, data = ask(port, "GET", "/health/ready")
    assert status == 503
    assert json.loads(data)["checks"] == {"database": False, "disk": False, "x": True}
    assert b"secret" not in data


def test_metrics_look_up_what_is_in_the_database(tmp_path: Path) -> None:
    counts = {"content": 2, "patient": 0}
    down = False

    def look_up() -> dict[str, int]:
        if down:
            raise DatabaseUnavailableError("away")
        return counts

    metrics = Metrics((Counted("xds_adrift", "What drifts", "drift", look_up),))
    with running(tmp_path, Echo(), metrics=metrics) as port:
        text = ask(port, "GET", "/metrics")[2].decode()
        assert 'xds_adrift{drift="content"} 2.0' in text
        assert 'xds_adrift{drift="patient"} 0.0' in text
        assert "xds_requests_in_flight" in text
        down = True
        status, _, data = ask(port, "GET", "/metrics")
        assert (status, b"xds_adrift" in data, b"xds_requests_in_flight" in data) == (200, False, True)


def test_metrics_count_transactions_and_never_paths(tmp_path: Path) -> None:
    metrics = Metrics()
    with running(tmp_path, Echo(), metrics=metrics) as port:
        envelope = b"".join(write_envelope([b'<Say xmlns="urn:example:echo">fault</Say>'], Addressing(SAY.action or "")))
        ask(port, "POST", PATH, envelope, Content_Type="application/soap+xml")
        ask(port, "POST", PATH, b"<DOE/>", Content_Type="application/soap+xml")
        ask(port, "GET", "/patients/DOE")
        ask(port, "GET", "/files/DOE")
        status, headers, _ = ask(port, "GET", "/metrics")
    assert status == 200
    assert headers["content-type"].startswith("text/plain")
    text = metrics.render().decode()
    assert "DOE" not in text
    samples = {
        (sample.name, sample.labels.get("transaction"), sample.labels.get("outcome")): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }
    assert samples["xds_requests_total", "ECHO-1", "fault"] == 1
    assert samples["xds_requests_total", "soap", "fault"] == 1
    assert samples["xds_requests_total", "ECHO-3", "ok"] == 1
    assert samples["xds_requests_total", "other", "fault"] == 1
    assert samples["xds_requests_in_flight", None, None] == 0
    assert samples["xds_received_bytes_total", "ECHO-1", None] == len(envelope)


# ------------------------------------------------------------------ plain HTTP


def test_a_transaction_sees_its_request(tmp_path: Path) -> None:
    echo = Echo()
    with running(tmp_path, echo) as port:
        status, _, data = ask(port, "PUT", "/files/a%20%C3%A9/b?x=1&y=&x=2", b"body", Content_Type="a/b", X_Thing="1")
    request: HttpRequest = echo.seen[0]
    assert (request.method, request.path) == ("PUT", "/a é/b")
    assert request.query == {"x": ("1", "2"), "y": ("",)}
    assert request.headers["content-type"] == "a/b"
    assert request.headers["x-thing"] == "1"
    assert request.headers["content-length"] == "4"
    assert (status, data.decode().split()[-1]) == (200, hashlib.sha1(b"body").hexdigest())
    assert echo.finished == [True]


@pytest.mark.parametrize(("path", "is_ours"), [("/files", True), ("/files/", True), ("/filesystem", False), ("/FILES", False)])
def test_a_path_is_a_prefix_of_whole_segments(port: int, path: str, is_ours: bool) -> None:
    data = ask(port, "GET", path)[2]
    assert data.startswith(
        b"GET /filesystem"
        if path == "/filesystem"
        else b"GET /FILES"
        if not is_ours
        else b"GET  "
        if path == "/files"
        else b"GET / "
    )


def test_everything_else_is_the_portals(port: int) -> None:
    assert ask(port, "POST", "/login?x=1", b"12345")[2] == b"POST /login 5"
    assert ask(port, "GET", "/")[2] == b"GET / 0"
    assert ask(port, "HEAD", "/")[2] == b""


def test_without_portal_there_is_nothing(tmp_path: Path) -> None:
    with running(tmp_path, Echo()) as port:
        assert ask(port, "GET", "/")[0] == 404


@pytest.mark.parametrize(
    ("path", "size", "status"), [("/login", 1000, 200), ("/login", 1001, 413), ("/files", 3000, 200), ("/files", 3001, 413)]
)
def test_bodies_are_limited_by_path(port: int, path: str, size: int, status: int) -> None:
    assert ask(port, "POST", path, bytes(size))[0] == status


def test_a_chunked_body_beyond_its_limit(port: int) -> None:
    assert ask(port, "POST", "/files", iter([bytes(2000), bytes(2000)]))[0] == 413


def test_the_log_shows_the_first_part_of_a_path_only(tmp_path: Path) -> None:
    with capture_logs() as logs, running(tmp_path, Echo()) as port:
        ask(port, "GET", "/patients/DOE?name=JANE")
        ask(port, "GET", "/files/DOE?name=JANE")
    assert sorted(entry["path"] for entry in logs) == ["/files", "/patients"]
    assert "DOE" not in str(logs)
    assert "JANE" not in str(logs)


# ------------------------------------------------------------------ busy


def test_uploads_leave_threads_for_the_rest(tmp_path: Path) -> None:
    """Requests beyond the number of uploads are asked to come again; small ones are served meanwhile."""
    inside, leave = threading.Event(), threading.Event()

    def held(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        if environ["PATH_INFO"] == "/held":
            inside.set()
            assert leave.wait(60)
        return portal(environ, start_response)

    limits = Limits(threads=4, uploads=1, large_body=1000, body=10_000)
    with running(tmp_path, Echo(), limits=limits, fallback=held) as port, ThreadPoolExecutor(1) as pool:
        first = pool.submit(ask, port, "POST", "/held", bytes(2000))
        assert inside.wait(60)
        status, headers, _ = ask(port, "POST", "/x", bytes(2000))
        assert (status, headers["retry-after"]) == (503, "5")
        assert ask(port, "POST", "/x", iter([b"1"]))[0] == 503
        assert ask(port, "POST", "/x", bytes(999))[0] == 200
        leave.set()
        assert first.result(60)[0] == 200
        until = time.monotonic() + 60
        while ask(port, "POST", "/x", bytes(2000))[0] != 200:  # its place is free a moment after its answer
            assert time.monotonic() < until


# ------------------------------------------------------------------ WSGI


def application(tmp_path: Path, *modules: Any, **options: Any) -> HttpApplication:
    domain = cast(Domain, SimpleNamespace(identity=identity()))
    return HttpApplication(domain, modules, stage=LocalBlobStore(tmp_path).stage, **options)


def environ(method: str = "GET", path: str = "/files", **more: Any) -> dict[str, Any]:
    empty = SimpleNamespace(read=lambda size: b"")
    return {
        "REQUEST_METHOD": method,
        "PATH_INFO": path,
        "QUERY_STRING": "",
        "wsgi.input": empty,
        "REMOTE_ADDR": "192.0.2.1",
        **more,
    }


def answering(reply: HttpReply) -> Any:
    return SimpleNamespace(TRANSACTION=FILES, respond=lambda request, domain, caller: reply)


class Started:
    """A start_response that remembers."""

    status = ""

    def __call__(self, status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> None:
        self.status, self.headers = status, dict(headers)


@pytest.mark.parametrize("taken", [0, 1, 2, 3])
def test_finished_is_called_exactly_once(tmp_path: Path, taken: int) -> None:
    finished: list[bool] = []
    reply = HttpReply(200, (), iter([b"1", b"2"]), 2, finished.append)
    answer = iter(application(tmp_path, answering(reply))(environ(), Started()))
    for _ in range(taken):
        next(answer, None)
    cast(Any, answer).close()
    cast(Any, answer).close()
    assert finished == [taken == 3]


def test_chunks_are_closed_when_the_client_leaves(tmp_path: Path) -> None:
    closed: list[bool] = []

    def chunks() -> Iterator[bytes]:
        try:
            yield b"1"
            yield b"2"
        finally:
            closed.append(True)

    answer = cast(Any, application(tmp_path, answering(HttpReply(200, (), chunks())))(environ(), Started()))
    next(answer)
    answer.close()
    assert closed == [True]


def test_two_framings_are_refused_behind_any_server(tmp_path: Path) -> None:
    started = Started()
    both = environ("POST", CONTENT_LENGTH="5", HTTP_TRANSFER_ENCODING="chunked")
    answer = cast(Any, application(tmp_path, answering(HttpReply(200)))(both, started))
    assert started.status == "400 Bad Request"
    answer.close()


@pytest.mark.parametrize("length", ["-1", "+5", "1_0", "five", "١"])
def test_a_length_is_a_number(tmp_path: Path, length: str) -> None:
    started = Started()
    application(tmp_path, answering(HttpReply(200)))(environ("POST", CONTENT_LENGTH=length), started)
    assert started.status == "400 Bad Request"


def test_a_failure_is_told_without_details(tmp_path: Path) -> None:
    def crash(*_: Any) -> HttpReply:
        raise RuntimeError("patient DOE^JANE")

    started = Started()
    with capture_logs() as logs:
        answer = cast(Any, application(tmp_path, SimpleNamespace(TRANSACTION=FILES, respond=crash))(environ(), started))
        text = b"".join(answer).decode()
        answer.close()
    assert started.status == "500 Internal Server Error"
    assert logs[0]["reference"] in text
    assert "DOE" not in text + str(logs)


def test_two_transactions_of_one_path(tmp_path: Path) -> None:
    module = answering(HttpReply(200))
    with pytest.raises(ValueError, match="two transactions have the path /files"):
        application(tmp_path, module, module)


def test_the_caller_is_who_the_certificate_says(tmp_path: Path) -> None:
    subject = {"SSL_CLIENT_S_DN": "O=Test,CN=client", "REMOTE_ADDR": "192.0.2.1"}
    assert caller_from_environ({**subject, "SSL_CLIENT_VERIFY": "SUCCESS"}).node == "O=Test,CN=client"
    assert caller_from_environ({**subject, "SSL_CLIENT_VERIFY": "NONE"}).node is None
    assert caller_from_environ(subject).address == "192.0.2.1"


def test_headers_of_a_client_cannot_pretend_to_be_tls(tmp_path: Path) -> None:
    echo = Echo()
    with running(tmp_path, echo) as own:
        envelope = b"".join(write_envelope([b'<Say xmlns="urn:example:echo"/>'], Addressing(SAY.action or "")))
        headers = {"Content_Type": "application/soap+xml", "SSL_Client_Verify": "SUCCESS", "SSL_Client_S_DN": "CN=evil"}
        assert ask(own, "POST", PATH, envelope, **headers)[0] == 200
    assert echo.callers[0].node is None


def test_answers_are_given_in_parallel(tmp_path: Path) -> None:
    echo = Echo()
    echo.gate.clear()
    envelope = b"".join(write_envelope([b'<Say xmlns="urn:example:echo"/>'], Addressing(SAY.action or "")))
    with running(tmp_path, echo) as port:
        results: list[int] = []
        waiting = threading.Thread(
            target=lambda: results.append(ask(port, "POST", PATH, envelope, Content_Type="application/soap+xml")[0])
        )
        waiting.start()
        assert echo.entered.wait(60)
        assert ask(port, "GET", "/health/live")[0] == 200
        echo.gate.set()
        waiting.join(60)
    assert results == [200]
    assert KEEP.path == SAY.path
