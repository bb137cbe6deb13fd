"""Messages that are refused, and what of them stays: nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.server.echo import KEEP, SAY
from tests.server.soap_services.asking import NS, SIMPLE, Service, package, say
from xds.wire.soap import SentPart
from xds.wire.xml import SOAP12, WSA

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


@pytest.mark.parametrize("charset", ["EBCDIC-CP-US", "utf-7", "utf-32", "x" * 1000, "nowhere\u00e9"])
@pytest.mark.parametrize("packaged", [False, True], ids=["plain", "mtom"])
def test_unknown_charsets(service: Service, charset: str, packaged: bool) -> None:
    data, kind = say(), f"application/soap+xml; charset={charset}"
    if packaged:
        data, kind = package(data)
        data = data.replace(b"charset=UTF-8", f"charset={charset}".encode("latin-1"))
    answer = service.post(data, kind)
    assert (answer.status, answer.fault()) == (415, ("Sender", None, None))
    assert "UTF-8, UTF-16, ISO-8859-1" in answer.reason
    assert service.echo.callers == []


@pytest.mark.parametrize("charset", ["UTF-8", "UTF-16"])
def test_octets_that_are_not_in_their_charset(service: Service, charset: str) -> None:
    data = say("Zoë").decode().partition("?>")[2].encode("latin-1")
    answer = service.post(b'<?xml version="1.0" encoding="ISO-8859-1"?>' + data, f"application/soap+xml; charset={charset}")
    assert (answer.status, answer.fault()) == (400, ("Sender", None, None))
    assert service.echo.callers == []


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
