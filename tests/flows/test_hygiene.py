"""Hostile input over every listener of the whole server: each is refused in the standard's own words, nothing of the inside is
told, nothing stays behind, and the next honest partner is served.

Spec: ITI TF-2 Appendix V.3 (faults), C.2 (acknowledgements); RFC 9112; DICOM PS3.8 9.3.
"""

from __future__ import annotations

import builtins
import re
import struct
from collections.abc import Iterator
from contextlib import suppress
from io import BytesIO
from pathlib import Path

import httpx
import pydicom
import pytest
from pynetdicom import AE

import xds
from tests.archive import image
from tests.builders import document_entry, submission
from tests.flows.conftest import AUTHORITY
from tests.flows.partners import (
    ADDRESSING,
    APPROVED,
    PROVIDE,
    SOAP,
    XDSB,
    XOP,
    ask,
    converse,
    envelope,
    exchange,
    feed,
    mllp,
    store,
    write_package,
    write_parts,
)
from tests.running import RunningServer
from xds.model.vocabulary import StoredQueryId
from xds.wire.ebrim import write_submission

SERVICES = ("registry", "repository", "imaging-source")
QUERY = "urn:ihe:iti:2007:RegistryStoredQuery"
REGISTER = "urn:ihe:iti:2007:RegisterDocumentSet-b"
PLAIN_SOAP = {"Content-Type": "application/soap+xml; charset=UTF-8"}
_ADT = "MSH|^~\\&|A|B|C|D|20260301||ADT^A01|1|P|2.3.1\rEVN|A01|20260301\rPID|||1^^^&1.2.3&ISO||A^B\rPV1||O\r"

EXCEPTIONS = {name for name, value in vars(builtins).items() if isinstance(value, type) and issubclass(value, BaseException)}
LIBRARIES = ("sqlalchemy", "lxml", "spyne", "cheroot", "pydicom", "pynetdicom", "werkzeug", "jinja", "flask", "libxml")
#: The standard's own codes are made like names of exceptions; those of Python stand alone.
_NAMES = re.compile(rf"\b(?:{'|'.join(sorted(EXCEPTIONS))}|\w*(?<!Reference)Exception|(?!XDS)[A-Z]\w+Error(?!List|Code|>))\b")


def told(text: str, server: RunningServer) -> list[str]:
    """What an answer tells about the inside of the server: traces, paths, names of exceptions and libraries."""
    inside = [
        "Traceback",
        'File "',
        ".py",
        str(server.data),
        str(Path(xds.__file__).parent),
        "site-packages",
        "root:x:0",
        *LIBRARIES,
    ]
    lowered = text.lower()
    return [item for item in inside if item.lower() in lowered] + _NAMES.findall(text.replace("RegistryError", ""))


def assert_discreet(answer: str | bytes | httpx.Response, server: RunningServer) -> None:
    if isinstance(answer, httpx.Response):
        answer = f"{answer.status_code} {answer.reason_phrase}\n{answer.headers}\n{answer.text}"
    text = answer.decode("latin-1") if isinstance(answer, bytes) else answer
    assert told(text, server) == [], text[:2000]


@pytest.fixture(autouse=True)
def _ready_afterwards(server: RunningServer) -> Iterator[None]:
    yield
    assert httpx.get(f"{server.http}/health/ready", timeout=60).status_code == 200


@pytest.fixture(autouse=True, scope="module")
def _honest_partners_in_the_end(server: RunningServer) -> Iterator[None]:
    yield
    exchange(server)


# ------------------------------------------------------------------ XML and SOAP


def _deep(levels: int) -> str:
    return "<a>" * levels + "</a>" * levels


def _laughs() -> str:
    entities = "".join(f'<!ENTITY e{n} "{f"&e{n - 1};" * 10}">' for n in range(1, 9))
    return f'<?xml version="1.0"?><!DOCTYPE x [<!ENTITY e0 "lol">{entities}]><x>&e8;</x>'


def messages(address: str) -> dict[str, bytes]:
    """Messages that must be refused as SOAP faults."""
    doctype = '<!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/passwd">]>'
    parameter = f'<!DOCTYPE x [<!ENTITY % p SYSTEM "{address}?wsdl"> %p;]>'
    query = '<q:AdhocQueryRequest xmlns:q="urn:oasis:names:tc:ebxml-regrep:xsd:query:3.0"/>'
    proper = envelope(address, QUERY, query)
    texts = {
        "entity in a proper message": doctype + envelope(address, QUERY, "<x>&e;</x>"),
        "parameter entity": parameter + proper,
        "external subset": f'<!DOCTYPE x SYSTEM "{address}?wsdl">' + proper,
        "billion laughs": _laughs(),
        "quadratic blow-up": f'<!DOCTYPE x [<!ENTITY a "{"a" * 50_000}">]><x>{"&a;" * 50_000}</x>',
        "deep": envelope(address, QUERY, _deep(100_000)),
        "many attributes": envelope(address, QUERY, "<x " + " ".join(f'a{n}=""' for n in range(200_000)) + "/>"),
        "many namespaces": envelope(address, QUERY, "<x " + " ".join(f'xmlns:n{n}="u:{n}"' for n in range(50_000)) + "/>"),
        "not XML": "hello",
        "nothing": "",
        "only white space": " \r\n",
        "cut off": proper[: len(proper) // 2],
        "two roots": proper + proper,
        "SOAP 1.1": proper.replace(SOAP, "http://schemas.xmlsoap.org/soap/envelope/"),
        "empty body": envelope(address, QUERY, ""),
        "two children of the body": envelope(address, QUERY, query + query),
        "no addressing": f'<s:Envelope xmlns:s="{SOAP}"><s:Body>{query}</s:Body></s:Envelope>',
        "unknown action": envelope(address, "urn:nobody:knows:\"'&lt;script&gt;", query),
        "action of another service": envelope(address, "urn:ihe:iti:2007:CrossGatewayQuery", query),
        "a header that must be understood": proper.replace(
            "<soap:Header>", '<soap:Header><w:Security xmlns:w="urn:w" soap:mustUnderstand="true"/>'
        ),
        "an answer elsewhere": proper.replace(f"{ADDRESSING}/anonymous", "http://127.0.0.1:9/answers"),
        "a reference": envelope(address, QUERY, '<x href="#1"/><multiRef id="1"/>'),
        "processing instruction": '<?xml-stylesheet href="file:///etc/passwd"?>' + envelope(address, QUERY, "<x/>"),
        "XInclude": envelope(
            address, QUERY, '<i:include xmlns:i="http://www.w3.org/2001/XInclude" href="/etc/passwd" parse="text"/>'
        ),
    }
    octets = {name: text.encode() for name, text in texts.items()}
    return octets | {
        "invalid UTF-8": proper.encode().replace(b"Query", b"Qu\xff\xfe", 1),
        "UTF-7": b'<?xml version="1.0" encoding="UTF-7"?>+ADw-x/+AD4-',
        "NUL": proper.encode().replace(b"</soap:Body>", b"\x00</soap:Body>"),
    }


@pytest.mark.parametrize("service", SERVICES)
@pytest.mark.parametrize("name", messages(""))
def test_a_hostile_envelope_is_a_fault(server: RunningServer, service: str, name: str) -> None:
    address = f"{server.http}/services/{service}"
    answer = httpx.post(address, content=messages(address)[name], headers=PLAIN_SOAP, timeout=60)
    assert answer.status_code in (400, 415, 500), answer.text
    assert answer.headers["Content-Type"].startswith("application/soap+xml")
    assert "Fault" in answer.text
    assert_discreet(answer, server)


@pytest.mark.parametrize("sample", ["derived-xxe.xml", "derived-billion-laughs.xml"])
def test_collected_attacks_are_faults(shared: Path, server: RunningServer, sample: str) -> None:
    content = (shared / "vectors" / "messages" / "SOAP-attacks" / sample).read_bytes()
    for service in SERVICES:
        address = f"{server.http}/services/{service}"
        for content_type, octets in (("application/soap+xml", content), write_parts(content, {})):
            answer = httpx.post(address, content=octets, headers={"Content-Type": content_type}, timeout=60)
            assert (answer.status_code, "Fault" in answer.text) == (400, True)
            assert_discreet(answer, server)


@pytest.mark.parametrize(
    "content_type",
    [
        "text/xml",
        "application/json",
        "",
        "multipart/related",
        'multipart/related; boundary="' + "b" * 500 + '"',
        "multipart/related; boundary=x; start=<nothing>",
        "multipart/form-data; boundary=x",
        "application/soap+xml; charset=EBCDIC-US",
        "application/soap+xml; charset=../../etc/passwd",
    ],
)
def test_a_message_of_another_type_is_refused(server: RunningServer, content_type: str) -> None:
    address = f"{server.http}/services/repository"
    octets = envelope(address, PROVIDE, "<x/>").encode()
    answer = httpx.post(address, content=octets, headers={"Content-Type": content_type}, timeout=60)
    assert 400 <= answer.status_code < 600
    assert_discreet(answer, server)


@pytest.mark.parametrize(
    "href", ["file:///etc/passwd", "http://127.0.0.1:9/x", "cid:nothing@there", "cid:..%2f..%2fetc%2fpasswd", "/etc/passwd", ""]
)
def test_a_document_is_a_part_of_the_message_and_nothing_else(server: RunningServer, href: str) -> None:
    """A repository that fetched what a `xop:Include` names would read its own files for anybody."""
    patient = f"XOP^^^&{AUTHORITY}&ISO"
    feed(server, patient)
    entry = document_entry(patient_id=patient, hash=None, size=None, repository_unique_id=None)
    address = f"{server.http}/services/repository"
    body = (
        f'<x:ProvideAndRegisterDocumentSetRequest xmlns:x="{XDSB}">{write_submission(submission([entry])).decode()}'
        f'<x:Document id="{entry.id}"><i:Include xmlns:i="{XOP}" href="{href}"/></x:Document>'
        "</x:ProvideAndRegisterDocumentSetRequest>"
    )
    content_type, octets = write_package(address, PROVIDE, body, {"other@part": ("text/plain", b"x")})
    answer = httpx.post(address, content=octets, headers={"Content-Type": content_type}, timeout=60)
    assert "ResponseStatusType:Failure" in answer.text or "Fault" in answer.text
    assert_discreet(answer, server)
    slots = {"XDSDocumentEntryPatientId": f"'{patient}'", "XDSDocumentEntryStatus": APPROVED}
    assert ask(server, StoredQueryId.FIND_DOCUMENTS, **slots).objects == ()


@pytest.mark.parametrize(
    "value",
    [
        "('" + "'' OR 1=1 --" + "')",
        "'; DROP TABLE registry_object; --'",
        "'%'",
        "'" + "9" * 100_000 + "'",
        "('" + "','".join(str(number) for number in range(5000)) + "')",
        "'\u202e\ufeff'",
        "''",
        "(((((",
    ],
)
def test_a_hostile_parameter_is_a_value_or_an_error(server: RunningServer, value: str) -> None:
    text = value.replace("&", "&amp;").replace("<", "&lt;")
    status = f"<r:ValueList><r:Value>{APPROVED}</r:Value></r:ValueList>"
    body = (
        '<q:AdhocQueryRequest xmlns:q="urn:oasis:names:tc:ebxml-regrep:xsd:query:3.0"'
        ' xmlns:r="urn:oasis:names:tc:ebxml-regrep:xsd:rim:3.0"><q:ResponseOption returnType="LeafClass"/>'
        f'<r:AdhocQuery id="{StoredQueryId.FIND_DOCUMENTS}"><r:Slot name="$XDSDocumentEntryPatientId"><r:ValueList><r:Value>'
        f'{text}</r:Value></r:ValueList></r:Slot><r:Slot name="$XDSDocumentEntryStatus">{status}'
        "</r:Slot></r:AdhocQuery></q:AdhocQueryRequest>"
    )
    address = f"{server.http}/services/registry"
    answer = httpx.post(address, content=envelope(address, QUERY, body).encode(), headers=PLAIN_SOAP, timeout=60)
    assert answer.status_code == 200, answer.text
    assert "AdhocQueryResponse" in answer.text
    assert "ExtrinsicObject" not in answer.text
    assert_discreet(answer, server)


# ------------------------------------------------------------------ HTTP


def _request(*lines: str, body: bytes = b"", method: str = "POST") -> bytes:
    return "\r\n".join((f"{method} /services/registry HTTP/1.1", "Host: x", *lines, "", "")).encode("latin-1") + body


REQUESTS = {
    "header block": _request("X: " + "x" * 200_000),
    "many headers": _request(*(f"X{number}: 1" for number in range(5_000))),
    "long target": b"GET /" + b"a" * 200_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
    "garbage": bytes(range(256)) * 16,
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 500,
    "length and chunks": _request("Content-Length: 5", "Transfer-Encoding: chunked", body=b"0\r\n\r\n"),
    "two lengths": _request("Content-Length: 5", "Content-Length: 6", body=b"hello!"),
    "negative length": _request("Content-Length: -1"),
    "length in words": _request("Content-Length: five", body=b"hello"),
    "huge length": _request("Content-Length: " + "9" * 40),
    "body too short": _request("Content-Type: application/soap+xml", "Content-Length: 500", body=b"<x/>"),
    "bad chunk": _request("Content-Type: application/soap+xml", "Transfer-Encoding: chunked", body=b"zz\r\nhello\r\n0\r\n\r\n"),
    "endless chunk": _request("Content-Type: application/soap+xml", "Transfer-Encoding: chunked", body=b"FFFFFFFFFFFFFFFF\r\nx"),
    "folded header": _request("X: a", " b", body=b""),
    "NUL in a header": _request("X: \x00"),
    "no host": b"GET / HTTP/1.1\r\n\r\n",
    "another version": b"GET / HTTP/9.9\r\nHost: x\r\n\r\n",
    "unknown method": _request(method="BREW"),
    "trace": _request(method="TRACE"),
    "proxy": b"GET http://127.0.0.1:9/x HTTP/1.1\r\nHost: x\r\n\r\n",
    "connect": b"CONNECT 127.0.0.1:9 HTTP/1.1\r\nHost: x\r\n\r\n",
    "unknown coding": _request("Content-Type: application/soap+xml", "Content-Encoding: gzip", "Content-Length: 3", body=b"abc"),
}


@pytest.mark.parametrize("name", REQUESTS)
def test_a_hostile_request_is_refused(server: RunningServer, name: str) -> None:
    answer = converse(server.http, REQUESTS[name])
    assert not answer or re.match(rb"HTTP/1\.[01] [45][0-9]{2} ", answer), answer[:200]
    assert_discreet(answer, server)


UP = ("../", "..%2f", "%2e%2e/", "..\\", "..%5c", "%252e%252e%252f", "....//")
TARGETS = [f"/services/registry?xsd={up * 6}etc/passwd" for up in UP]
TARGETS += [f"/services/registry?xsd={up * 3}setup.cfg" for up in UP]
TARGETS += [f"{prefix}/{up * 8}etc/passwd" for prefix in ("/dicomweb/studies", "/wado", "/static", "/help") for up in UP]
TARGETS += [
    "/services/registry?xsd=/etc/passwd",
    "/services/registry?xsd=file:///etc/passwd",
    "/services/registry?xsd=rim.xsd%00.png",
    "/services/registry?wsdl=../../../../etc/passwd",
    "/services/../services/registry?wsdl&xsd=../../etc/passwd",
    "/wado?requestType=WADO&studyUID=../../etc/passwd&seriesUID=..&objectUID=..&contentType=application/dicom",
    "/wado?requestType=WADO&studyUID=1.2'%20OR%201=1--&seriesUID=1&objectUID=1",
    "/dicomweb/studies/1.2%00/series/1",
    "/dicomweb/studies/" + "1." * 5000 + "1",
    "/%ff%fe",
    "/?lang=../../etc/passwd",
    "/" + "%2e" * 3000,
]


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target[:60])
def test_a_path_leads_nowhere_else(server: RunningServer, target: str) -> None:
    answer = converse(server.http, f"GET {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode("latin-1"))
    assert re.match(rb"HTTP/1\.1 (200|30[128]|4[0-9]{2}) ", answer), answer[:200]
    if answer.startswith(b"HTTP/1.1 200"):
        assert re.search(rb"\r\nContent-Type: text/(html|xml)", answer), answer[:500]
    assert_discreet(answer, server)


# ------------------------------------------------------------------ MLLP and DICOM

FRAMES = {
    "garbage": bytes(range(256)) * 100,
    "HTTP": b"GET / HTTP/1.1\r\nHost: x\r\n\r\n" * 500,
    "an empty frame": b"\x0b\x1c\r",
    "no message": b"\x0bhello\x1c\r",
    "half a header": b"\x0bMSH|^~\\&|\x1c\r",
    "equal separators": b"\x0bMSH|||||A|B|C|D|E|F|G\r\x1c\r",
    "a frame without end": b"\x0b" + _ADT.encode(),
    "too long": b"\x0b" + _ADT.encode() + b"NTE|1||" + b"x" * (17 << 20) + b"\r\x1c\r",
    "invalid text": b"\x0b"
    + _ADT.encode().replace(b"2.3.1", b"2.3.1||||||UNICODE UTF-8").replace(b"A^B", b"\xff\xfe")
    + b"\x1c\r",
    "an unknown character set": b"\x0b" + _ADT.encode().replace(b"2.3.1", b"2.3.1||||||../../etc/passwd") + b"\x1c\r",
    "an entity": b"\x0b" + _ADT.encode().replace(b"A^B", b"<!ENTITY e SYSTEM 'file:///etc/passwd'>&e;'--") + b"\x1c\r",
    "many repetitions": b"\x0b" + _ADT.encode().replace(b"A^B", b"~".join([b"A^B"] * 20_000)) + b"\x1c\r",
    "many segments": b"\x0b" + _ADT.encode() + b"NTE|1\r" * 200_000 + b"\x1c\r",
}


@pytest.mark.parametrize("name", FRAMES)
def test_hostile_frames_get_an_acknowledgement_or_the_door(server: RunningServer, name: str) -> None:
    answer = converse(server.mllp, FRAMES[name])
    assert mllp(server, *_ADT.replace("ADT^A01", "ADT^A99").split("\r")[:-1])[1][1] == "AR"
    assert not answer or (answer.startswith(b"\x0bMSH|") and b"\rMSA|A" in answer), answer[:200]
    assert_discreet(answer, server)


def _pdu(kind: int, body: bytes, length: int | None = None) -> bytes:
    return struct.pack(">BBL", kind, 0, len(body) if length is None else length) + body


PDUS = {
    "garbage": bytes(range(256)) * 100,
    "HTTP": b"GET / HTTP/1.1\r\nHost: x\r\n\r\n" * 100,
    "gigabytes": _pdu(1, b"x" * 100, 0xFFFFFFF0),
    "an empty request": _pdu(1, b""),
    "data before association": _pdu(4, b"\x00\x00\x00\x04\x01\x03\x00\x00"),
    "items without end": _pdu(1, struct.pack(">HH16s16s32s", 1, 0, b"XDS", b"EVIL", b"") + b"\x10\x00\xff\xff" + b"1" * 50),
}


@pytest.mark.parametrize("name", PDUS)
def test_hostile_pdus_end_the_association(server: RunningServer, name: str) -> None:
    _, host, port = server.dicom
    answer = converse(f"{host}:{port}", PDUS[name])
    store(server, pydicom.dcmread(BytesIO(image())))
    assert not answer or answer[0] in (3, 7), answer[:50]  # A-ASSOCIATE-RJ, A-ABORT
    assert_discreet(answer, server)


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"StudyInstanceUID": ""}, 0xC000),
        ({"SOPInstanceUID": "1.2.3/../../../etc/passwd"}, None),
        ({"SeriesInstanceUID": "..\\.."}, None),
    ],
)
def test_an_image_with_senseless_identifiers_is_not_stored(
    server: RunningServer, change: dict[str, str], status: int | None
) -> None:
    with pydicom.config.disable_value_validation():
        dataset = pydicom.dcmread(BytesIO(image(**change)))
    title, host, port = server.dicom
    unit = AE(ae_title="EVIL")
    unit.add_requested_context(dataset.SOPClassUID, dataset.file_meta.TransferSyntaxUID)
    association = unit.associate(host, port, ae_title=title)
    with suppress(ValueError):
        answer = association.send_c_store(dataset)
        assert answer.get("Status") != 0x0000
        assert status in (None, answer.get("Status"))
        assert_discreet(str(answer.get("ErrorComment", "")), server)
    association.release()
