"""HTTPS: who is served, and what the certificate says."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.server.connection.wire import GET, LIMITS, PATH, PKI, Wire, statuses
from tests.server.echo import KEEP, NAMESPACE, SAY, Echo, made, running
from xds.server.launcher import ServerTls, server_context
from xds.transactions.client import post_soap
from xds.wire.soap import SentPart
from xds.wire.xml import XOP

# ------------------------------------------------------------------ TLS

TLS = ServerTls(str(PKI / "server.pem"), str(PKI / "server.key"), str(PKI / "ca.pem"))


def client_context(*, certificate: bool) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(PKI / "ca.pem"))
    if certificate:
        context.load_cert_chain(PKI / "client.pem", PKI / "client.key")
    return context


def say_over_tls(port: int, context: ssl.SSLContext) -> str:
    body = f'<Say xmlns="{NAMESPACE}">hello</Say>'.encode()
    answer = post_soap(f"https://localhost:{port}{PATH}", SAY, body, ssl_context=context, timeout=60)
    return str(answer.body[0].text)


@pytest.fixture(scope="module")
def secure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[int, Echo]]:
    echo = Echo()
    with running(tmp_path_factory.mktemp("tls"), echo, limits=LIMITS, tls=TLS) as port:
        yield port, echo


def test_the_client_certificate_names_the_node(secure: tuple[int, Echo]) -> None:
    port, echo = secure
    assert say_over_tls(port, client_context(certificate=True)) == "hello"
    assert echo.callers[-1].node == "O=Test,CN=client.example"


def test_without_client_certificate_nobody_is_served(secure: tuple[int, Echo]) -> None:
    before = len(secure[1].callers)
    with pytest.raises(ConnectionError):
        say_over_tls(secure[0], client_context(certificate=False))
    assert len(secure[1].callers) == before


def test_optional_client_certificates(tmp_path: Path) -> None:
    echo = Echo()
    with running(tmp_path, echo, limits=LIMITS, tls=replace(TLS, client_certificate="optional")) as port:
        say_over_tls(port, client_context(certificate=False))
        say_over_tls(port, client_context(certificate=True))
    assert [caller.node for caller in echo.callers] == [None, "O=Test,CN=client.example"]


def test_large_messages_over_tls(secure: tuple[int, Echo]) -> None:
    size = 3_000_000
    body = f'<Keep xmlns="{NAMESPACE}" xmlns:xop="{XOP}" return="1"><xop:Include href="cid:d"/></Keep>'.encode()
    part = SentPart("d", "a/b", size, lambda: made(size))
    answer = post_soap(
        f"https://localhost:{secure[0]}{PATH}", KEEP, body, [part], ssl_context=client_context(certificate=True), chunked=True
    )
    assert b"".join(answer.parts["back.d"].staging.open()) == b"".join(made(size))


def test_old_versions_of_tls_are_refused(secure: tuple[int, Echo]) -> None:
    context = server_context(TLS)
    assert context.minimum_version is ssl.TLSVersion.TLSv1_2
    modern = client_context(certificate=True)
    modern.maximum_version = ssl.TLSVersion.TLSv1_2
    assert say_over_tls(secure[0], modern) == "hello"


def test_plain_http_at_the_tls_port_is_told_so(secure: tuple[int, Echo]) -> None:
    with Wire(secure[0]) as wire:
        answer = wire.send(GET).rest()
    assert statuses(answer) == [400]
    assert b"HTTPS" in answer


def test_a_handshake_that_stops_does_not_stop_the_others(secure: tuple[int, Echo]) -> None:
    with Wire(secure[0]) as silent, Wire(secure[0]) as started:
        started.send(b"\x16\x03\x01\x02\x00")
        assert say_over_tls(secure[0], client_context(certificate=True)) == "hello"
        # They were not waited for: the server has closed neither.
        for waiting in (silent, started):
            waiting.socket.setblocking(False)
            with pytest.raises(BlockingIOError):
                waiting.socket.recv(1)


@pytest.mark.parametrize(
    "tls",
    [
        replace(TLS, client_certificate="maybe"),
        replace(TLS, trusted=None),
        replace(TLS, client_certificate="optional", trusted=None),
    ],
)
def test_contradictory_settings(tls: ServerTls) -> None:
    with pytest.raises(ValueError, match="client"):
        server_context(tls)
