"""Small transactions that give back what they get, and a server that runs them on loopback."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from lxml import etree

from xds.actors.domain import Domain
from xds.model.caller import Caller
from xds.model.domain_identity import DomainIdentity
from xds.server.http import HttpApplication
from xds.server.launcher import HttpServer, ServerTls
from xds.server.limits import Limits
from xds.store.blobs.local import LocalBlobStore
from xds.transactions.transaction import Transaction, Wire
from xds.wire.http import HttpReply, HttpRequest
from xds.wire.mtom import content_id_of
from xds.wire.soap import SentPart, SoapFault, SoapReply, SoapRequest
from xds.wire.xml import XOP

NAMESPACE = "urn:example:echo"

SAY = Transaction(
    id="ECHO-1",
    name="Say",
    responder="Echo",
    wire=Wire.SOAP,
    path="/services/echo",
    action="urn:example:echo:Say",
    reply_action="urn:example:echo:SayResponse",
    body=f"{{{NAMESPACE}}}Say",
    wsdl="registry.wsdl",
)
KEEP = Transaction(
    id="ECHO-2",
    name="Keep",
    responder="Echo",
    wire=Wire.SOAP,
    path="/services/echo",
    action="urn:example:echo:Keep",
    reply_action="urn:example:echo:KeepResponse",
    body=f"{{{NAMESPACE}}}Keep",
    mtom=True,
)
FILES = Transaction(
    id="ECHO-3", name="Files", responder="Echo", wire=Wire.HTTP, path="/files", methods=("GET", "HEAD", "POST", "PUT")
)


class Echo:
    """The transactions, and what they saw. `gate` lets a test hold an answer back."""

    def __init__(self) -> None:
        self.callers: list[Caller] = []
        self.finished: list[bool] = []
        self.gate = threading.Event()
        self.gate.set()
        self.entered = threading.Event()
        self.seen: list[Any] = []

    def modules(self) -> list[Any]:
        return [
            SimpleNamespace(TRANSACTION=SAY, respond=self.say),
            SimpleNamespace(TRANSACTION=KEEP, respond=self.keep),
            SimpleNamespace(TRANSACTION=FILES, respond=self.files),
        ]

    def say(self, request: SoapRequest, domain: Domain, caller: Caller) -> SoapReply:
        """Answers its text. Some texts make it fail."""
        self.callers.append(caller)
        self.entered.set()
        self.gate.wait(60)
        text = request.body.text or ""
        if text == "fault":
            raise SoapFault("Sender", "you asked for it", subcode=("urn:example", "Asked"))
        if text == "crash":
            raise RuntimeError("patient DOE^JANE")
        inner = etree.tostring(request.body)
        return SoapReply([b'<SayResponse xmlns="urn:example:echo">', inner, b"</SayResponse>"], finished=self.finished.append)

    def keep(self, request: SoapRequest, domain: Domain, caller: Caller) -> SoapReply:
        """Answers size and hash of each part, and the parts themselves when asked to `return` them."""
        self.callers.append(caller)
        told, back = [], []
        for include in request.body.iter(f"{{{XOP}}}Include"):
            part = request.parts[content_id_of(include.get("href")) or ""]
            told.append(f'<Part id="{part.content_id}" size="{part.staging.size}" sha1="{part.staging.sha1}"/>')
            if request.body.get("return"):
                back.append(SentPart(f"back.{part.content_id}", part.content_type, part.staging.size, part.staging.open))
                told.append(f'<Document><xop:Include xmlns:xop="{XOP}" href="cid:back.{part.content_id}"/></Document>')
        size = int(request.body.get("make", "0"))
        if size:
            back.append(SentPart("made", "application/octet-stream", size, lambda: made(size)))
            told.append(f'<Document><xop:Include xmlns:xop="{XOP}" href="cid:made"/></Document>')
        self.seen.append(dict(request.parts))
        body = f'<KeepResponse xmlns="{NAMESPACE}">{"".join(told)}</KeepResponse>'.encode()
        return SoapReply([body], back, self.finished.append)

    def files(self, request: HttpRequest, domain: Domain, caller: Caller) -> HttpReply:
        """Answers what it was asked, and the SHA-1 of the body."""
        self.seen.append(request)
        digest = hashlib.sha1()
        while data := request.stream.read(1 << 16):
            digest.update(data)
        text = f"{request.method} {request.path} {dict(request.query)} {digest.hexdigest()}".encode()
        return HttpReply(200, (("Content-Type", "text/plain"),), [text], len(text), self.finished.append)


def made(size: int) -> Iterator[bytes]:
    """Octets that differ, in chunks of 64 KiB."""
    block = bytes(range(256)) * 256
    while size:
        yield block[:size]
        size -= len(block[:size])


def identity() -> DomainIdentity:
    return DomainIdentity("1.2.3", "TEST", "1.2.4", "1.2.5", "1.2.6", "XDS", "http://xds.example")


@contextmanager
def running(
    directory: Path, echo: Echo, *, port: int = 0, limits: Limits | None = None, tls: ServerTls | None = None, **options: Any
) -> Iterator[int]:
    """A server on a port of the loopback, any that is free unless it is told; gives the port."""
    domain = cast(Domain, SimpleNamespace(identity=identity()))
    store = LocalBlobStore(directory / "blobs")
    limits = limits or Limits(threads=8, uploads=4)
    app = HttpApplication(domain, echo.modules(), stage=store.stage, limits=limits, **options)
    server = HttpServer(app, "127.0.0.1", port, limits=limits, tls=tls)
    port = server.start()
    try:
        yield port
    finally:
        echo.gate.set()
        server.stop()
