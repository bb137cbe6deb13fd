"""The partners of the stories: other makers' software, and messages written by hand, so that no mistake of ours meets its twin.

Envelopes and MIME packages are put together here and sent by httpx; answers are taken apart by python-multipart; HL7 v2 goes
through a plain socket; images are sent by dcmtk.
"""

from __future__ import annotations

import itertools
import socket
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from email.message import Message
from pathlib import Path

import httpx
from lxml import etree
from pydicom.dataset import Dataset
from pynetdicom import AE
from python_multipart.multipart import MultipartParser

from tests.builders import document_entry, fresh_uid
from tests.builders import submission as submission_of
from tests.flows.conftest import AUTHORITY
from tests.programs import program
from tests.running import RunningServer
from xds.model.errors import Status
from xds.model.metadata import DocumentEntry, RegistryObject, Submission
from xds.model.stored_queries import RawQuery, ReturnType
from xds.model.vocabulary import StoredQueryId
from xds.transactions import iti18_registry_stored_query as iti18
from xds.wire.ebrim import write_submission

SOAP = "http://www.w3.org/2003/05/soap-envelope"
ADDRESSING = "http://www.w3.org/2005/08/addressing"
XDSB = "urn:ihe:iti:xds-b:2007"
XOP = "http://www.w3.org/2004/08/xop/include"
RS = "urn:oasis:names:tc:ebxml-regrep:xsd:rs:3.0"
SUCCESS = "urn:oasis:names:tc:ebxml-regrep:ResponseStatusType:Success"
APPROVED = "('urn:oasis:names:tc:ebxml-regrep:StatusType:Approved')"
DEPRECATED = "('urn:oasis:names:tc:ebxml-regrep:StatusType:Deprecated')"

PROVIDE = "urn:ihe:iti:2007:ProvideAndRegisterDocumentSet-b"
RETRIEVE = "urn:ihe:iti:2007:RetrieveDocumentSet"
RETRIEVE_IMAGES = "urn:ihe:rad:2009:RetrieveImagingDocumentSet"

_numbers = itertools.count(1)


@dataclass(frozen=True)
class Answer:
    """A SOAP answer: the one child of its Body, and its MIME parts by Content-ID."""

    body: etree._Element
    parts: Mapping[str, bytes]

    @property
    def status(self) -> str:
        """The status of the RegistryResponse in it."""
        found = self.body if self.body.tag == f"{{{RS}}}RegistryResponse" else self.body.find(f"{{{RS}}}RegistryResponse")
        assert found is not None, etree.tostring(self.body)
        return str(found.get("status"))

    @property
    def documents(self) -> dict[str, bytes]:
        """The documents of a RetrieveDocumentSetResponse by their uniqueId."""
        found = {}
        for item in self.body.iterchildren(f"{{{XDSB}}}DocumentResponse"):
            include = item.find(f"{{{XDSB}}}Document/{{{XOP}}}Include")
            assert include is not None, "the document is not a MIME part"
            href = str(include.get("href"))
            assert href.startswith("cid:")
            found[str(item.findtext(f"{{{XDSB}}}DocumentUniqueId"))] = self.parts[href[4:]]
        return found


def envelope(address: str, action: str, body: str) -> str:
    """A SOAP 1.2 message as a partner writes it."""
    return (
        f'<soap:Envelope xmlns:soap="{SOAP}" xmlns:a="{ADDRESSING}"><soap:Header>'
        f'<a:Action soap:mustUnderstand="1">{action}</a:Action>'
        f"<a:MessageID>urn:uuid:5f1c1a2e-0000-4000-8000-{next(_numbers):012x}</a:MessageID>"
        f"<a:ReplyTo><a:Address>{ADDRESSING}/anonymous</a:Address></a:ReplyTo>"
        f'<a:To soap:mustUnderstand="1">{address}</a:To>'
        f"</soap:Header><soap:Body>{body}</soap:Body></soap:Envelope>"
    )


def write_package(address: str, action: str, body: str, parts: Mapping[str, tuple[str, bytes]]) -> tuple[str, bytes]:
    """Content-Type and octets of an MTOM message; `parts` are (media type, content) by Content-ID."""
    content_type, octets = write_parts(envelope(address, action, body).encode(), parts)
    return f'{content_type}; action="{action}"', octets


def write_parts(root: bytes, parts: Mapping[str, tuple[str, bytes]]) -> tuple[str, bytes]:
    """Content-Type and octets of an MTOM message with this envelope."""
    boundary = f"MIMEBoundary_{next(_numbers):08d}"
    start = "root.message@partner.example"
    lines = [
        f'--{boundary}\r\nContent-Type: application/xop+xml; charset=UTF-8; type="application/soap+xml"\r\n'
        f"Content-Transfer-Encoding: binary\r\nContent-ID: <{start}>\r\n\r\n".encode()
        + root
    ]
    for content_id, (media_type, content) in parts.items():
        header = f"Content-Type: {media_type}\r\nContent-Transfer-Encoding: binary\r\nContent-ID: <{content_id}>"
        lines.append(f"--{boundary}\r\n{header}\r\n\r\n".encode() + content)
    lines.append(f"--{boundary}--\r\n".encode())
    content_type = (
        f'multipart/related; boundary="{boundary}"; type="application/xop+xml"; start="<{start}>";'
        f' start-info="application/soap+xml"'
    )
    return content_type, b"\r\n".join(lines)


def post_mtom(
    address: str, action: str, body: str, parts: Mapping[str, tuple[str, bytes]] | None = None, timeout: float = 60
) -> Answer:
    """Send an MTOM message by httpx and take the answer, which must be one too, apart."""
    content_type, octets = write_package(address, action, body, parts or {})
    response = httpx.post(address, content=octets, headers={"Content-Type": content_type}, timeout=timeout)
    assert response.status_code == 200, response.text[:1000]
    return read_answer(response)


def read_answer(response: httpx.Response) -> Answer:
    """The answer in an MTOM package."""
    header = Message()
    header["Content-Type"] = response.headers["Content-Type"]
    assert header.get_content_type() == "multipart/related"
    parts = read_multipart(str(header.get_param("boundary")), response.content)
    contents = {fields["content-id"].strip("<>"): content for fields, content in parts if "content-id" in fields}
    root = etree.fromstring(contents.pop(str(header.get_param("start")).strip("<>")))
    body = root.find(f"{{{SOAP}}}Body")
    assert body is not None
    return Answer(body[0], contents)


def read_multipart(boundary: str, content: bytes) -> list[tuple[dict[str, str], bytes]]:
    """Header fields and content of each part, as python-multipart understands them."""
    parts: list[tuple[dict[str, str], bytes]] = []
    text: dict[str, bytes] = {"name": b"", "value": b""}
    data: list[bytes] = []

    def collect(kind: str, octets: bytes, start: int, end: int) -> None:
        text[kind] += octets[start:end]

    def end_of_field() -> None:
        parts[-1][0][text["name"].decode().lower()] = text["value"].decode()
        text.update(name=b"", value=b"")

    def begin() -> None:
        parts.append(({}, b""))
        data.clear()

    def end() -> None:
        parts[-1] = (parts[-1][0], b"".join(data))

    parser = MultipartParser(
        boundary,
        {
            "on_part_begin": begin,
            "on_header_field": lambda octets, first, last: collect("name", octets, first, last),
            "on_header_value": lambda octets, first, last: collect("value", octets, first, last),
            "on_header_end": end_of_field,
            "on_part_data": lambda octets, first, last: data.append(octets[first:last]),
            "on_part_end": end,
        },
    )
    parser.write(content.lstrip(b"\r\n"))
    parser.finalize()
    return parts


def retrieve(server: RunningServer, repository: str, *unique_ids: str) -> dict[str, bytes]:
    """ITI-43 for these documents, all of which must be there."""
    requests = "".join(
        f"<x:DocumentRequest><x:RepositoryUniqueId>{repository}</x:RepositoryUniqueId>"
        f"<x:DocumentUniqueId>{unique_id}</x:DocumentUniqueId></x:DocumentRequest>"
        for unique_id in unique_ids
    )
    body = f'<x:RetrieveDocumentSetRequest xmlns:x="{XDSB}">{requests}</x:RetrieveDocumentSetRequest>'
    answer = post_mtom(f"{server.http}/services/repository", RETRIEVE, body)
    assert answer.status == SUCCESS, etree.tostring(answer.body)
    return answer.documents


def ask(
    server: RunningServer, query: str, return_type: str = ReturnType.LEAF_CLASS, /, **slots: str | Sequence[str]
) -> iti18.QueryResult:
    """ITI-18; slots by their names without `$`. The status must be Success."""
    given = tuple((name, (values,) if isinstance(values, str) else tuple(values)) for name, values in slots.items())
    result = iti18.send(RawQuery(query, return_type, given), endpoint=f"{server.http}/services/registry")
    assert result.response.status is Status.SUCCESS, result.response
    return result


def entries(objects: Sequence[RegistryObject]) -> list[DocumentEntry]:
    """The DocumentEntries among objects."""
    return [item for item in objects if isinstance(item, DocumentEntry)]


def mllp(server: RunningServer, *segments: str, encoding: str = "utf-8") -> list[list[str]]:
    """Send one HL7 v2 message and return the segments of its answer, split into fields (`answer[1][1]` is MSA-1)."""
    host, _, port = server.mllp.rpartition(":")
    with socket.create_connection((host, int(port)), timeout=60) as connection:
        connection.sendall(b"\x0b" + "\r".join((*segments, "")).encode(encoding) + b"\x1c\x0d")
        received = b""
        while not received.endswith(b"\x1c\x0d"):
            data = connection.recv(65536)
            assert data, "the connection was closed before the answer"
            received += data
    assert received.startswith(b"\x0b")
    return [segment.split("|") for segment in received[1:-2].decode(encoding).split("\r") if segment]


def feed(server: RunningServer, cx: str, event: str = "A01", name: str = "Doe^Jane", more: str = "||19700101|F") -> None:
    """ITI-8 with one identifier, by a source of its own; must be accepted."""
    number = next(_numbers)
    answer = mllp(
        server,
        f"MSH|^~\\&|ADT|PARTNER|PIX|XDS|20260301120000||ADT^{event}|PARTNER{number}|P|2.3.1",
        f"EVN|{event}|20260301120000",
        f"PID|||{cx}||{name}{more}",
        "PV1||O",
    )
    assert answer[1][1] == "AA", answer


def storescu(server: RunningServer, *images: Path, calling: str = "MODALITY") -> None:
    """Send images by dcmtk's storescu."""
    title, host, port = server.dicom
    command = [program("storescu"), "-aet", calling, "-aec", title, host, str(port), *map(str, images)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr


def store(server: RunningServer, *datasets: Dataset, calling: str = "MODALITY") -> None:
    """Send images by pynetdicom."""
    title, host, port = server.dicom
    unit = AE(ae_title=calling)
    for dataset in datasets:
        unit.add_requested_context(dataset.SOPClassUID, dataset.file_meta.TransferSyntaxUID)
    association = unit.associate(host, port, ae_title=title)
    assert association.is_established
    statuses = [association.send_c_store(dataset).Status for dataset in datasets]
    association.release()
    assert statuses == [0x0000] * len(datasets)


def provide(server: RunningServer, submission: Submission, contents: Mapping[str, bytes]) -> None:
    """ITI-41 with these contents by the id of their DocumentEntry; must be accepted."""
    mime_types = {entry.id: str(entry.mime_type) for entry in submission.document_entries}
    documents = "".join(
        f'<x:Document id="{name}"><i:Include xmlns:i="{XOP}" href="cid:{name}%40partner.example"/></x:Document>'
        for name in contents
    )
    body = f"{write_submission(submission).decode()}{documents}"
    answer = post_mtom(
        f"{server.http}/services/repository",
        PROVIDE,
        f'<x:ProvideAndRegisterDocumentSetRequest xmlns:x="{XDSB}">{body}</x:ProvideAndRegisterDocumentSetRequest>',
        {f"{name}@partner.example": (mime_types[name], content) for name, content in contents.items()},
    )
    assert answer.status == SUCCESS, etree.tostring(answer.body)


def exchange(server: RunningServer) -> None:
    """An honest partner's exchange: feed, publication, query, retrieval."""
    patient = f"H{fresh_uid().rpartition('.')[2]}^^^&{AUTHORITY}&ISO"
    feed(server, patient)
    content = fresh_uid().encode()
    entry = document_entry(patient_id=patient, hash=None, size=None, repository_unique_id=None)
    provide(server, submission_of([entry], patient_id=patient), {entry.id: content})
    slots = {"XDSDocumentEntryPatientId": f"'{patient}'", "XDSDocumentEntryStatus": APPROVED}
    (found,) = entries(ask(server, StoredQueryId.FIND_DOCUMENTS, **slots).objects)
    assert retrieve(server, str(found.repository_unique_id), str(found.unique_id)) == {found.unique_id: content}


def converse(address: str, octets: bytes, seconds: float = 60) -> bytes:
    """What comes back on a plain connection until the server closes it, or falls silent after an answer."""
    host, _, port = address.rpartition(":")
    received = bytearray()
    with socket.create_connection((host.rpartition("/")[2], int(port)), timeout=seconds) as connection, suppress(ConnectionError):
        with suppress(ConnectionError):
            connection.sendall(octets)
            connection.shutdown(socket.SHUT_WR)
        while data := connection.recv(65536):
            received += data
    return bytes(received)
