"""What SOAP requests are answered, in which packaging; faults from inside; what spyne must not do."""

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
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from structlog.testing import capture_logs

from tests.server.echo import KEEP, NAMESPACE, SAY, Echo, made, running
from tests.server.soap_services.asking import NS, SIMPLE, Service, keep, package, say
from xds.model.caller import Caller
from xds.server.limits import Limits, RequestBody
from xds.server.metrics import Metrics
from xds.server.soap import SoapServices
from xds.store.blobs.local import LocalBlobStore
from xds.transactions.client import post_soap
from xds.wire.mtom import parse_content_type
from xds.wire.soap import ANONYMOUS, Addressing, SentPart, SoapFault, write_envelope
from xds.wire.xml import SOAP12, WSA, XOP, parse

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


CHARSETS = ["UTF-8", "utf-16", "UTF-16LE", "UTF-16BE", "ISO-8859-1", "iso-8859-15", "windows-1252", "'utf-8'"]


@pytest.mark.parametrize("declared", [None, "UTF-8", "ISO-8859-1", "UTF-16", "EBCDIC-CP-US"])
@pytest.mark.parametrize("packaged", [False, True], ids=["plain", "mtom"])
@pytest.mark.parametrize("charset", CHARSETS)
def test_the_charset_of_the_content_type_goes_before_the_declaration(
    service: Service, charset: str, packaged: bool, declared: str | None
) -> None:
    """RFC 7303 section 3.2."""
    declaration = f'<?xml version="1.0" encoding="{declared}"?>' if declared else ""
    # 15 and 1252 have a sign that the first of the family lacks.
    name = "Zoë Ÿ" if charset in ("windows-1252", "iso-8859-15") else "Zoë"
    data = (declaration + say(name).decode().partition("?>")[2]).encode(charset.strip("'"))
    kind = f"application/soap+xml; charset={charset}"
    if packaged:
        data, kind = package(data)
        assert data.count(b"charset=UTF-8") == 1
        data = data.replace(b"charset=UTF-8", f"charset={charset}".encode())
    answer = service.post(data, kind)
    assert answer.root.findtext("s:Body/e:SayResponse/e:Say", namespaces=NS) == name
    assert answer.is_mtom == packaged


def test_a_byte_order_mark_goes_before_the_charset(service: Service) -> None:
    """RFC 7303 section 3.3."""
    for encoding in ("utf-8-sig", "utf-16"):
        answer = service.post(say("Zoë").decode().partition("?>")[2].encode(encoding), "application/soap+xml; charset=ISO-8859-1")
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
    # What Python collects by itself, when enough was allocated, is none of spyne's doing.
    gc.disable()
    gc.callbacks.append(watch)
    try:
        until = time.monotonic() + 1.2
        while time.monotonic() < until:
            service.post(b"<DOE>")
            time.sleep(0.1)
    finally:
        gc.callbacks.remove(watch)
        gc.enable()
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
