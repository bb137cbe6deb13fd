"""ITI-41 and RAD-68 between their XML and the real repository. Spec: ITI TF-2 3.41.4; RAD TF-2 4.68."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from lxml import etree

from tests.builders import CONTENT, REPOSITORY_UNIQUE_ID, document_entry, fresh_uid, submission
from tests.repository import CALLER, World, world
from xds.model.errors import RegistryResponse, Status
from xds.model.metadata import DocumentEntry
from xds.model.retrieval import DocumentRequest
from xds.transactions import iti41_provide_and_register_document_set as iti41
from xds.wire.ebrim import read_submission, write_submission
from xds.wire.ebrs import read_registry_response
from xds.wire.soap import Addressing, ReceivedPart, SoapRequest
from xds.wire.xml import XDSB, parse, schema_errors

XOP = "http://www.w3.org/2004/08/xop/include"


@pytest.fixture
def here(tmp_path: Path) -> Iterator[World]:
    with world(tmp_path) as it:
        yield it


def body(entry: DocumentEntry, *documents: str, before: str = "") -> bytes:
    """A request for one entry with these Document elements as text."""
    inner = write_submission(submission([entry])).decode()
    return (
        f'<x:ProvideAndRegisterDocumentSetRequest xmlns:x="{XDSB}" xmlns:xop="{XOP}">{before}{inner}{"".join(documents)}'
        "</x:ProvideAndRegisterDocumentSetRequest>"
    ).encode()


def respond(here: World, request: bytes, parts: Mapping[str, bytes] | None = None) -> RegistryResponse:
    """Answer a request whose parts have arrived, as the server does: it discards them afterwards."""
    received = {
        name: ReceivedPart(name, "application/pdf", here.staged(content).staging) for name, content in (parts or {}).items()
    }
    message = SoapRequest(parse(request), Addressing(str(iti41.TRANSACTION.action)), received)
    reply = iti41.respond(message, here.domain, CALLER)
    for part in received.values():
        part.staging.discard()
    assert list(reply.parts) == []
    answer = parse(b"".join(reply.body))
    assert schema_errors(answer, "rs.xsd") == []
    return read_registry_response(answer)


def retrieved(here: World, entry: DocumentEntry) -> list[bytes]:
    request = DocumentRequest(REPOSITORY_UNIQUE_ID, entry.unique_id or "")
    return [b"".join(item.chunks()) for item in here.repository.retrieve([request], CALLER).documents]


def bare_entry(**overrides: object) -> DocumentEntry:
    return document_entry(**{"hash": None, "size": None, "repository_unique_id": None} | overrides)


INCLUDE = '<x:Document id="Document01"><xop:Include href="cid:{}"/></x:Document>'
INLINE = '<x:Document id="Document01">{}</x:Document>'


@pytest.mark.parametrize(
    ("document", "content_id"),
    [
        (INCLUDE.format("1.a@b"), "1.a@b"),
        (INCLUDE.format("urn%3Auuid%3Aabc"), "urn:uuid:abc"),
        (INCLUDE.format("urn:uuid:abc"), "urn:uuid:abc"),
        # The part is `<a%40b>`, which its reader decoded.
        (INCLUDE.format("a%2540b"), "a@b"),
        ('<x:Document id=" Document01&#10;"><xop:Include href="cid:1.a@b"/></x:Document>', "1.a@b"),
        ('<x:Document id="Document01">\n  <xop:Include href=" CID:1.a@b "></xop:Include>\n</x:Document>', "1.a@b"),
    ],
)
def test_a_document_as_mime_part(here: World, document: str, content_id: str) -> None:
    entry = bare_entry()
    assert respond(here, body(entry, document), {content_id: CONTENT}) == RegistryResponse(Status.SUCCESS)
    assert retrieved(here, entry) == [CONTENT]


@pytest.mark.parametrize("width", [1000, 4])
def test_a_document_inline_as_base64(here: World, width: int, tmp_path: Path) -> None:
    entry = bare_entry()
    text = base64.b64encode(CONTENT).decode()
    lines = "\n ".join(text[start : start + width] for start in range(0, len(text), width))
    assert respond(here, body(entry, INLINE.format(lines))) == RegistryResponse(Status.SUCCESS)
    assert retrieved(here, entry) == [CONTENT]
    assert list((tmp_path / "blobs" / "staging").iterdir()) == []


def test_an_empty_document_is_a_document(here: World) -> None:
    entry = bare_entry()
    assert respond(here, body(entry, '<x:Document id="Document01"/>')) == RegistryResponse(Status.SUCCESS)
    assert retrieved(here, entry) == [b""]


@pytest.mark.parametrize(
    ("documents", "said"),
    [
        ([INCLUDE.format("nowhere@x")], "no such part"),
        ([INCLUDE.format("1.a@b").replace("cid:", "http:")], "cid:"),
        ([INCLUDE.format("1.a@b").replace("/></x:D", '/><xop:Include href="cid:1.a@b"/></x:D')], "one xop:Include"),
        ([INCLUDE.format("1.a@b").replace("/></x:D", "/>text</x:D")], "one xop:Include"),
        ([INLINE.format("no base64!")], "base64"),
        ([INCLUDE.format("1.a@b"), INCLUDE.format("1.a@b")], "unique"),
        ([INCLUDE.format("1.a@b"), INCLUDE.format("1.a@b").replace(' id="Document01"', "")], "number 2"),
    ],
)
def test_a_document_that_cannot_be_read(here: World, tmp_path: Path, documents: list[str], said: str) -> None:
    response = respond(here, body(bare_entry(), *documents), {"1.a@b": CONTENT})
    assert response.status is Status.FAILURE
    assert said in next(error.context for error in response.errors if error.code == "XDSRepositoryError")
    assert here.registered_objects() == 0
    assert list((tmp_path / "blobs" / "staging").iterdir()) == []


def test_inline_documents_have_a_limit_together(here: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(iti41, "INLINE_CHARACTERS", 20)
    response = respond(here, body(bare_entry(), INLINE.format("QUJD"), INLINE.format("QUJD" * 5).replace("01", "02")))
    contexts = [error.context for error in response.errors if error.code == "XDSRepositoryError"]
    assert len(contexts) == 1
    assert "Document02" in contexts[0]
    assert "20 characters" in contexts[0]


@pytest.mark.parametrize("unreadable", ["", "<x:Other/>"], ids=["empty", "something else"])
def test_a_request_without_metadata(here: World, unreadable: str) -> None:
    request = f'<x:ProvideAndRegisterDocumentSetRequest xmlns:x="{XDSB}">{unreadable}</x:ProvideAndRegisterDocumentSetRequest>'
    response = respond(here, request.encode())
    assert [error.code for error in response.errors] == ["XDSRepositoryMetadataError"]
    assert "SubmitObjectsRequest" in response.errors[0].context


def test_metadata_against_the_schema_is_reported_error_by_error(here: World) -> None:
    request = body(bare_entry(), INCLUDE.format("1.a@b"))
    broken = request.replace(b"<rim:ValueList>", b"<rim:Values>").replace(b"</rim:ValueList>", b"</rim:Values>")
    response = respond(here, broken, {"1.a@b": CONTENT})
    assert {error.code for error in response.errors} == {"XDSRepositoryMetadataError"}
    assert len(response.errors) > 1
    assert here.registered_objects() == 0


def test_a_stray_element_is_reported_with_what_else_is_wrong(here: World) -> None:
    entry = bare_entry(hash="0" * 40)
    response = respond(here, body(entry, INCLUDE.format("1.a@b"), "<x:Stray/>"), {"1.a@b": CONTENT})
    contexts = [error.context for error in response.errors]
    assert any("Stray" in context for context in contexts)
    assert any("hash" in context for context in contexts)


def test_what_send_writes_is_valid_and_understood(here: World) -> None:
    entry = bare_entry()
    request = b"".join(iti41.write_request(submission([entry]), [(entry.id, "a&b@xds")]))
    assert respond(here, request, {"a&b@xds": CONTENT}) == RegistryResponse(Status.SUCCESS)
    root = parse(request)
    for document in root.iterchildren(f"{{{XDSB}}}Document"):
        document.remove(document[0])
    assert schema_errors(root, "xdsb.xsd") == []


def samples(shared: Path) -> list[tuple[Path, Path]]:
    folder = shared / "vectors" / "nist-testkit" / "rad68-samples"
    pairs = [(path, path.with_name(path.name.replace("metadata-", "kos-")).with_suffix(".dcm")) for path in folder.glob("m*.xml")]
    return sorted(pairs + [(path / "metadata.xml", path / "kos.dcm") for path in folder.glob("testdata-*")])


def test_manifests_of_another_imaging_source_are_accepted_and_returned(here: World, shared: Path) -> None:
    pairs = samples(shared)
    assert len(pairs) == 6
    for metadata, manifest in pairs:
        # All six have this placeholder for the uniqueId of their SubmissionSet; the toolkit replaces it before it sends.
        submit = parse(metadata.read_bytes().replace(b'value="SubmissionSet01"', f'value="{fresh_uid()}"'.encode()))
        read, problems = read_submission(submit)
        assert read is not None, problems
        entry = read.document_entries[0]
        here.add_patient(entry.patient_id or "")
        request = (
            f'<x:ProvideAndRegisterDocumentSetRequest xmlns:x="{XDSB}" xmlns:xop="{XOP}">{etree.tostring(submit).decode()}'
            f'<x:Document id="{entry.id}"><xop:Include href="cid:kos@x"/></x:Document></x:ProvideAndRegisterDocumentSetRequest>'
        )
        response = respond(here, request.encode(), {"kos@x": manifest.read_bytes()})
        assert response.succeeded, (metadata.name, response.errors)
        assert retrieved(here, entry) == [manifest.read_bytes()]
    assert [event.event_type.code for event in here.events()].count("RAD-68") == 6
