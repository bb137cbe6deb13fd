"""A server with SOAP services, and how it is asked."""

from __future__ import annotations

import http.client
import time
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import cast

from lxml import etree

from tests.server.echo import KEEP, NAMESPACE, SAY, Echo
from xds.server.metrics import Metrics
from xds.transactions.client import TemporaryStaging
from xds.wire.mtom import MtomLimits, parse_content_type, read_package, write_package
from xds.wire.soap import ANONYMOUS, Addressing, SentPart, write_envelope
from xds.wire.xml import SOAP12, WSA, XOP, parse

NS = {"s": SOAP12, "wsa": WSA, "e": NAMESPACE}
SIMPLE = "application/soap+xml; charset=UTF-8"


@dataclass
class Answer:
    """What came back: the envelope parsed, the parts by Content-ID."""

    status: int
    headers: dict[str, str]
    raw: bytes
    root: etree._Element = field(init=False)
    parts: dict[str, bytes] = field(default_factory=dict)

    def __post_init__(self) -> None:
        kind = parse_content_type(self.headers["content-type"])
        if kind.media_type == "multipart/related":
            pending = [self.raw]
            stream = SimpleNamespace(read=lambda size: pending.pop() if pending else b"")
            package = read_package(stream, kind, TemporaryStaging, MtomLimits(header_block=len(self.raw) + 4096))
            self.root = parse(package.root)
            self.parts = {name: b"".join(part.staging.open()) for name, part in package.parts.items()}
        else:
            assert kind.media_type == "application/soap+xml"
            self.root = parse(self.raw)
        assert len(self.raw) == int(self.headers["content-length"])

    @property
    def is_mtom(self) -> bool:
        return self.headers["content-type"].startswith("multipart/related")

    def header(self, name: str) -> str | None:
        return cast("str | None", self.root.findtext(f"s:Header/wsa:{name}", namespaces=NS))

    def fault(self) -> tuple[str, str | None, str | None]:
        """Code, subcode and inner subcode as `{namespace}name`."""
        code = self.root.find("s:Body/s:Fault/s:Code", NS)
        found: list[str | None] = []
        for path in ("s:Value", "s:Subcode/s:Value", "s:Subcode/s:Subcode/s:Value"):
            value = code.find(path, NS)
            if value is None:
                found.append(None)
                continue
            prefix, local = value.text.split(":")
            found.append(f"{{{value.nsmap[prefix]}}}{local}")
        assert found[0] is not None
        return found[0].removeprefix(f"{{{SOAP12}}}"), found[1], found[2]

    @property
    def reason(self) -> str:
        return str(self.root.findtext("s:Body/s:Fault/s:Reason/s:Text", namespaces=NS))


@dataclass
class Service:
    port: int
    echo: Echo
    directory: Path
    metrics: Metrics

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}{SAY.path}"

    def post(self, data: bytes, content_type: str = SIMPLE, **headers: str) -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            all_headers = {"Content-Type": content_type} | {name.replace("_", "-"): value for name, value in headers.items()}
            connection.request("POST", SAY.path or "", data, all_headers)
            response = connection.getresponse()
            return Answer(response.status, {name.lower(): value for name, value in response.getheaders()}, response.read())
        finally:
            connection.close()

    def staged(self) -> list[Path]:
        return list((self.directory / "blobs" / "staging").iterdir())

    def finished(self) -> list[bool]:
        """What the transactions were told at the end; that comes after an answer's last octet, so wait until all is quiet."""
        until = time.monotonic() + 60
        while self.metrics.registry.get_sample_value("xds_requests_in_flight") and time.monotonic() < until:
            time.sleep(0.002)
        return self.echo.finished


def say(text: str = "hello", **addressing: str) -> bytes:
    headers = Addressing(**{"action": SAY.action or "", "message_id": "urn:uuid:1", **addressing})  # type: ignore[arg-type]
    return b"".join(write_envelope([f'<Say xmlns="{NAMESPACE}">{text}</Say>'.encode()], headers))


def keep(content: str = "", attributes: str = "") -> bytes:
    body = f'<Keep xmlns="{NAMESPACE}" xmlns:xop="{XOP}" {attributes}>{content}</Keep>'.encode()
    return b"".join(write_envelope([body], Addressing(KEEP.action or "", message_id="urn:uuid:2", reply_to=ANONYMOUS)))


def package(root: bytes, *parts: SentPart) -> tuple[bytes, str]:
    outgoing = write_package([root], parts)
    return b"".join(outgoing.chunks), outgoing.content_type
