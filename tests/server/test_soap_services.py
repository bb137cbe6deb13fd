"""SOAP over real HTTP. Spec: ITI TF-2 Appendix V; SOAP 1.2 part 2 section 7; WS-Addressing 1.0 SOAP binding."""

from __future__ import annotations

import base64
import errno
import gc
import http.client
import io
import logging
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from lxml import etree
from structlog.testing import capture_logs

from tests.server.echo import KEEP, NAMESPACE, SAY, Echo, made, running
from xds.model.caller import Caller
from xds.server.limits import Limits, RequestBody
from xds.server.metrics import Metrics
from xds.server.soap import SoapServices
from xds.store.blobs.local import LocalBlobStore
from xds.transactions.client import TemporaryStaging, post_soap
from xds.wire.mtom import MtomLimits, parse_content_type, read_package, write_package
from xds.wire.soap import ANONYMOUS, Addressing, SentPart, SoapFault, write_envelope
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
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
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
        until = time.monotonic() + 10
        while self.metrics.registry.get_sample_value("xds_requests_in_flight") and time.monotonic() < until:
            time.sleep(0.002)
        return self.echo.finished


@pytest.fixture(scope="module")
def shared_service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    directory = tmp_path_factory.mktemp("echo")
    limits = Limits(threads=4, uploads=3, envelope=100_000, inline=1000, mtom=MtomLimits(root=100_000, part=1 << 20, parts=5))
    echo = Echo()
    metrics = Metrics()
    with running(directory, echo, limits=limits, metrics=metrics) as port:
        yield Service(port, echo, directory, metrics)


@pytest.fixture
def service(shared_service: Service) -> Service:
    shared_service.finished().clear()
    shared_service.echo.callers.clear()
    shared_service.echo.seen.clear()
    return shared_service


def say(text: str = "hello", **addressing: str) -> bytes:
    headers = Addressing(**{"action": SAY.action or "", "message_id": "urn:uuid:1", **addressing})  # type: ignore[arg-type]
    return b"".join(write_envelope([f'<Say xmlns="{NAMESPACE}">{text}</Say>'.encode()], headers))


def keep(content: str = "", attributes: str = "") -> bytes:
    body = f'<Keep xmlns="{NAMESPACE}" xmlns:xop="{XOP}" {attributes}>{content}</Keep>'.encode()
    return b"".join(write_envelope([body], Addressing(KEEP.action or "", message_id="urn:uuid:2", reply_to=ANONYMOUS)))


def package(root: bytes, *parts: SentPart) -> tuple[bytes, str]:
    outgoing = write_package([root], parts)
    return b"".join(outgoing.chunks), outgoing.content_type


# ------------------------------------------------------------------ answers


def test_a_simple_request_has_a_simple_answer(service: Service) -> None:
    answer = service.post(say())
    assert (answer.status, answer.headers["content-type"]) == (200, SIMPLE)
    assert answer.header("Action") == SAY.reply_action
    assert answer.root.find("s:Header/wsa:Action", NS).get(f"{{{SOAP12}}}mustUnderstand") == "true"
    assert answer.header("RelatesTo") == "urn:uuid:1"
    assert (answer.header("MessageID") or "").startswith("urn:uuid:")
    assert answer.root.findtext("s:Body/e:SayResponse/e:Say", namespaces=NS) == "hello"
    assert service.finished() == [True]


def test_the_caller_is_the_peer_with_its_reply_address(service: Service) -> None:
    service.post(say(reply_to=ANONYMOUS))
    assert [(caller.address, caller.node, caller.reply_to) for caller in service.echo.callers] == [("127.0.0.1", None, ANONYMOUS)]


def test_without_message_id_the_answer_relates_to_nothing(service: Service) -> None:
    data = b"".join(write_envelope([f'<Say xmlns="{NAMESPACE}"/>'.encode()], Addressing(SAY.action or "")))
    answer = service.post(data)
    assert answer.status == 200
    assert answer.header("RelatesTo") is None


@pytest.mark.parametrize(
    "content_type",
    [
        'application/soap+xml; charset="utf-8"; action="urn:something:else"',
        "Application/SOAP+XML",
        "application/soap+xml;charset=UTF-8;action=urn:x",
    ],
)
def test_the_action_parameter_and_soapaction_are_ignored(service: Service, content_type: str) -> None:
    assert service.post(say(), content_type, SOAPAction='"urn:other"').status == 200


@pytest.mark.parametrize("encoding", ["utf-16", "utf-8-sig", "utf-8"])
def test_encodings_of_xml(service: Service, encoding: str) -> None:
    text = say("Zoë").decode().replace('encoding="UTF-8"', f'encoding="{"UTF-16" if encoding == "utf-16" else "UTF-8"}"')
    answer = service.post(text.encode(encoding), "application/soap+xml")
    assert answer.root.findtext("s:Body/e:SayResponse/e:Say", namespaces=NS) == "Zoë"


def test_mtom_is_answered_with_mtom(service: Service) -> None:
    """ITI TF-2 V.3.6: also when there is no binary part in either direction."""
    answer = service.post(*package(say()))
    assert answer.status == 200
    assert answer.is_mtom
    kind = parse_content_type(answer.headers["content-type"])
    assert kind.parameters["type"] == "application/xop+xml"
    assert kind.parameters["start-info"] == "application/soap+xml"


def test_parts_arrive_and_return(service: Service) -> None:
    content = b"\r\n--\r\n" + bytes(range(256)) * 2000 + b"\r\n"
    includes = '<D><xop:Include href="cid:a%40x"/></D><D><xop:Include href="cid:b"/></D>'
    parts = [
        SentPart("a@x", "application/dicom", len(content), lambda: iter([content])),
        SentPart("b", "a/b", 0, lambda: iter(())),
    ]
    answer = service.post(*package(keep(includes, 'return="1"'), *parts))
    assert answer.parts == {"back.a@x": content, "back.b": b""}
    assert [p.get("size") for p in answer.root.iter(f"{{{NAMESPACE}}}Part")] == [str(len(content)), "0"]
    assert service.finished() == [True]
    assert service.staged() == []


def test_a_simple_request_to_an_mtom_transaction_gets_base64(service: Service) -> None:
    answer = service.post(keep(attributes='make="1000"'))
    assert (answer.status, answer.headers["content-type"]) == (200, SIMPLE)
    text = answer.root.findtext("s:Body/e:KeepResponse/e:Document", namespaces=NS)
    assert base64.b64decode(text, validate=True) == b"".join(made(1000))
    assert answer.root.find(f".//{{{XOP}}}Include") is None


def test_large_documents_need_mtom(service: Service) -> None:
    answer = service.post(keep(attributes='make="1001"'))
    assert (answer.status, answer.fault()[0]) == (400, "Sender")
    assert "MTOM" in answer.reason
    assert service.finished() == [False]


# ------------------------------------------------------------------ refusals


@pytest.mark.parametrize("action", ["urn:example:echo:Nothing", "urn:example:echo:SayResponse", "urn:example:echo:say"])
def test_unknown_actions(service: Service, action: str) -> None:
    answer = service.post(say(action=action))
    assert (answer.status, answer.fault()) == (400, ("Sender", f"{{{WSA}}}ActionNotSupported", None))
    assert answer.header("Action") == f"{WSA}/fault"
    assert answer.header("RelatesTo") == "urn:uuid:1"
    assert answer.root.findtext("s:Body/s:Fault/s:Detail/wsa:ProblemAction/wsa:Action", namespaces=NS) == action


def test_action_and_body_must_belong_together(service: Service) -> None:
    answer = service.post(say(action=KEEP.action or ""))
    assert (answer.status, answer.fault()) == (400, ("Sender", None, None))
    assert "Keep" in answer.reason
    assert "Say" in answer.reason
    assert service.echo.callers == []


def test_the_action_is_never_guessed(service: Service) -> None:
    data = say().replace(b'<wsa:Action s:mustUnderstand="true">urn:example:echo:Say</wsa:Action>', b"")
    answer = service.post(data, f'{SIMPLE}; action="{SAY.action}"')
    assert (answer.status, answer.fault()) == (400, ("Sender", f"{{{WSA}}}MessageAddressingHeaderRequired", None))


def test_answers_go_back_over_the_same_connection_only(service: Service) -> None:
    answer = service.post(say(reply_to="http://127.0.0.1:9/callback"))
    expected = ("Sender", f"{{{WSA}}}InvalidAddressingHeader", f"{{{WSA}}}OnlyAnonymousAddressSupported")
    assert (answer.status, answer.fault()) == (400, expected)
    assert service.echo.callers == []


def test_must_understand(service: Service) -> None:
    lock = b'<t:Lock xmlns:t="urn:t" s:mustUnderstand="1"/></s:Header>'
    answer = service.post(say().replace(b"</s:Header>", lock))
    assert (answer.status, answer.fault()[0]) == (500, "MustUnderstand")
    assert answer.root.find("s:Header/s:NotUnderstood", NS) is not None
    assert service.echo.callers == []


@pytest.mark.parametrize("content_type", ["text/xml; charset=utf-8", SIMPLE])
def test_soap_1_1(service: Service, content_type: str) -> None:
    data = say().replace(SOAP12.encode(), b"http://schemas.xmlsoap.org/soap/envelope/")
    answer = service.post(data, content_type, SOAPAction='"urn:example:echo:Say"')
    assert (answer.status, answer.fault()[0]) == (415, "VersionMismatch")
    assert answer.root.find("s:Header/s:Upgrade/s:SupportedEnvelope", NS) is not None


@pytest.mark.parametrize(
    "content_type", ["", "application/xml", "application/json", "multipart/form-data; boundary=B", "text/plain"]
)
def test_other_media_types(service: Service, content_type: str) -> None:
    answer = service.post(say(), content_type)
    assert (answer.status, answer.fault()[0]) == (415, "Sender")


def test_compressed_bodies(service: Service) -> None:
    assert service.post(say(), Content_Encoding="gzip").status == 415
    assert service.post(say(), Content_Encoding="identity").status == 200


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\0",
        b"<",
        b"<a>",
        b"not xml at all",
        b"\xff\xfe<\0",
        b"<!DOCTYPE x [<!ENTITY e SYSTEM 'file:///etc/passwd'>]><x>&e;</x>",
        b"<x>&nbsp;</x>",
        b"<x " + b"a='1' " * 2 + b"/>",
        b"<x>" * 500 + b"</x>" * 500,
        b"\x80" * 100,
        f'<s:Envelope xmlns:s="{SOAP12}"/>'.encode(),
        f'<s:Envelope xmlns:s="{SOAP12}"><s:Body/></s:Envelope>'.encode(),
        f'<s:Envelope xmlns:s="{SOAP12}"><s:Body href="#x"><a id="y" href="#z"/></s:Body></s:Envelope>'.encode(),
    ],
)
def test_what_is_no_message_is_the_senders_fault(service: Service, data: bytes) -> None:
    answer = service.post(data)
    assert (answer.status, answer.fault()[0]) == (400, "Sender")
    assert b"passwd" not in answer.raw
    assert service.echo.callers == []


def test_attacks_of_the_sample_collection(service: Service, shared: Path) -> None:
    samples = sorted((shared / "vectors/messages/SOAP-attacks").iterdir())
    assert samples
    for sample in samples:
        answer = service.post(sample.read_bytes())
        assert (answer.status, answer.fault()[0]) == (400, "Sender")
        assert "DOCTYPE" in answer.reason
        assert b"root:" not in answer.raw


def test_attributes_of_old_soap_encodings_are_ordinary(service: Service) -> None:
    """`href` and `id` meant references in SOAP 1.1."""
    answer = service.post(say('<a id="x" href="#y"/>'))
    assert answer.status == 200


def test_an_envelope_beyond_its_limit(service: Service) -> None:
    answer = service.post(say("x" * 100_000), Expect="100-continue")
    assert (answer.status, answer.fault()[0]) == (413, "Sender")


@pytest.mark.parametrize(
    ("data", "content_type", "why"),
    [
        (b"--B\r\n\r\n", "multipart/related", "boundary"),
        (b"--B\r\n\r\n", "multipart/related; boundary=B", "ends before"),
        (b"--B--", "multipart/related; boundary=B; start=x", "start"),
        (b"--B\r\nContent-Type: text/xml\r\n\r\n<a/>\r\n--B--", "multipart/related; boundary=B", "application/xop+xml"),
        (b"--B\r\n\r\n" + b"x" * 200_000 + b"\r\n--B--", "multipart/related; boundary=B", "root part is larger"),
        (
            b"--B\r\n\r\n<a/>" + b"\r\n--B\r\nContent-ID: 1\r\n\r\n" * 2 + b"\r\n--B--",
            "multipart/related; boundary=B",
            "same Content-ID",
        ),
    ],
)
def test_broken_packages(service: Service, data: bytes, content_type: str, why: str) -> None:
    answer = service.post(data, content_type)
    assert (answer.status, answer.fault()[0]) in [(400, "Sender"), (415, "Sender")]
    assert why in answer.reason
    service.finished()
    assert service.staged() == []


def test_parts_of_a_refused_message_are_gone(service: Service) -> None:
    data, content_type = package(say(action="urn:nothing"), SentPart("x", "a/b", 5, lambda: iter([b"12345"])))
    answer = service.post(data, content_type)
    assert answer.is_mtom
    assert answer.fault()[1] == f"{{{WSA}}}ActionNotSupported"
    service.finished()
    assert service.staged() == []


# ------------------------------------------------------------------ faults from inside


def test_the_transactions_own_fault(service: Service) -> None:
    answer = service.post(say("fault"))
    assert (answer.status, answer.fault(), answer.reason) == (400, ("Sender", "{urn:example}Asked", None), "you asked for it")
    assert answer.header("Action") == f"{WSA}/soap/fault"


def test_a_failure_of_ours_is_told_without_details(service: Service, capfd: pytest.CaptureFixture[str]) -> None:
    with capture_logs() as logs:
        answer = service.post(say("crash"))
        service.finished()
    assert (answer.status, answer.fault()) == (500, ("Receiver", None, None))
    failure = next(entry for entry in logs if entry["event"] == "soap.failure")
    assert failure["reference"] in answer.reason
    assert failure["errors"] == ["builtins.RuntimeError"]
    assert any("say" in place for place in failure["places"])
    assert b"DOE" not in answer.raw
    assert "DOE" not in str(logs) + "".join(capfd.readouterr())


def test_the_log_of_requests_names_no_content(service: Service) -> None:
    with capture_logs() as logs:
        service.post(say("DOE^JANE"))
        service.finished()
    entry = next(entry for entry in logs if entry["event"] == "http.request")
    assert (entry["path"], entry["transaction"], entry["status"], entry["outcome"]) == (SAY.path, "ECHO-1", 200, "ok")
    assert entry["received"] > 0
    assert entry["sent"] > 0
    assert "DOE" not in str(logs)


def test_a_client_that_goes_away_ends_the_answer(service: Service) -> None:
    data = keep(attributes='make="200000000"')
    body, content_type = package(data)
    connection = http.client.HTTPConnection("127.0.0.1", service.port, timeout=20)
    connection.request("POST", SAY.path or "", body, {"Content-Type": content_type})
    response = connection.getresponse()
    response.read(1000)
    response.close()
    connection.close()
    assert service.finished() == [False]
    assert service.staged() == []


# ------------------------------------------------------------------ spyne


def test_importing_it_gives_no_warning() -> None:
    subprocess.run([sys.executable, "-W", "error", "-c", "import xds.server.soap"], check=True, timeout=60)


def test_spyne_neither_collects_garbage_nor_logs(service: Service, caplog: pytest.LogCaptureFixture) -> None:
    collections: list[str] = []

    def watch(phase: str, info: dict[str, Any]) -> None:
        if info["generation"] == 2:
            collections.append(phase)

    caplog.set_level(logging.DEBUG)
    gc.callbacks.append(watch)
    try:
        until = time.monotonic() + 1.2
        while time.monotonic() < until:
            service.post(b"<DOE>")
            time.sleep(0.1)
    finally:
        gc.callbacks.remove(watch)
    assert collections == []
    assert [record for record in caplog.records if record.name.startswith("spyne")] == []


def services(tmp_path: Path, *modules: Any) -> SoapServices:
    return SoapServices(cast(Any, None), modules, stage=LocalBlobStore(tmp_path).stage, limits=Limits())


def test_transactions_that_cannot_be_told_apart(tmp_path: Path) -> None:
    module = SimpleNamespace(TRANSACTION=SAY, respond=None)
    with pytest.raises(ValueError, match="two transactions with the action"):
        services(tmp_path, module, module)
    assert services(tmp_path).paths == frozenset()


def test_a_disk_that_is_full_is_our_fault(tmp_path: Path) -> None:
    def full() -> Any:
        raise OSError(errno.ENOSPC, "No space left on device")

    data, content_type = package(keep(), SentPart("x", "a/b", 1, lambda: iter([b"1"])))
    modules = [SimpleNamespace(TRANSACTION=KEEP, respond=None)]
    service = SoapServices(cast(Any, None), modules, stage=full, limits=Limits())
    environ = {"PATH_INFO": KEEP.path, "CONTENT_TYPE": content_type, "REQUEST_METHOD": "POST", "QUERY_STRING": ""}
    answer = service.answer(environ, RequestBody(io.BytesIO(data), len(data), len(data)), Caller("192.0.2.1"))
    root = parse(b"".join(answer.chunks))
    assert (answer.status, root.findtext("s:Body/s:Fault/s:Code/s:Value", namespaces=NS)) == (500, "s:Receiver")
    assert "space" not in str(root.findtext("s:Body/s:Fault/s:Reason/s:Text", namespaces=NS))
    answer.finished(True)


def test_a_path_may_have_its_own_limit(tmp_path: Path) -> None:
    with running(tmp_path, Echo(), limits=Limits(threads=4, uploads=3, bodies={SAY.path or "": 200})) as port:
        answer = Service(port, Echo(), tmp_path, Metrics()).post(say())
    assert (answer.status, answer.fault()[0]) == (413, "Sender")


def test_the_client_understands_all_this(service: Service) -> None:
    with pytest.raises(SoapFault, match="you asked for it"):
        post_soap(service.url, SAY, f'<Say xmlns="{NAMESPACE}">fault</Say>'.encode())
