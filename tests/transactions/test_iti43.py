"""ITI-43 between its XML and the real repository. Spec: ITI TF-2 3.43.4."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.builders import CONTENT, REPOSITORY_UNIQUE_ID, document_entry, submission
from tests.repository import CALLER, World, world
from xds.model.errors import Status
from xds.model.retrieval import DocumentRequest
from xds.transactions import iti43_retrieve_document_set as iti43
from xds.wire.ebrs import read_retrieve_response, write_retrieve_request
from xds.wire.soap import Addressing, SoapReply, SoapRequest
from xds.wire.xml import parse, schema_errors


@pytest.fixture
def here(tmp_path: Path) -> Iterator[World]:
    with world(tmp_path) as it:
        yield it


def stored(here: World, mime_type: str = "application/pdf", content: bytes = CONTENT) -> str:
    entry = document_entry(mime_type=mime_type, hash=None, size=None)
    response = here.repository.provide(submission([entry]), here.staged_all({entry.id: content}), CALLER)
    assert response.succeeded, response
    return entry.unique_id or ""


def respond(here: World, request: bytes) -> SoapReply:
    reply = iti43.respond(SoapRequest(parse(request), Addressing(str(iti43.TRANSACTION.action))), here.domain, CALLER)
    root = parse(b"".join(reply.body))
    for element in root.iter("{http://www.w3.org/2004/08/xop/include}Include"):
        element.getparent().remove(element)
    assert schema_errors(root, "xdsb.xsd") == []
    return reply


def test_documents_are_parts_named_by_the_answer(here: World) -> None:
    first, second = stored(here), stored(here, "text/plain", b"other")
    requests = [
        DocumentRequest(REPOSITORY_UNIQUE_ID, first, "urn:oid:1.2.3"),
        DocumentRequest(REPOSITORY_UNIQUE_ID, second),
        DocumentRequest(REPOSITORY_UNIQUE_ID, first),
    ]
    reply = respond(here, write_retrieve_request(requests))
    response, documents = read_retrieve_response(parse(b"".join(reply.body)))
    assert response.status is Status.SUCCESS
    assert [document.request for document in documents] == requests
    assert [document.mime_type for document in documents] == ["application/pdf", "text/plain", "application/pdf"]
    assert [document.content_id for document in documents] == [part.content_id for part in reply.parts]
    assert len({part.content_id for part in reply.parts}) == 3
    assert [part.content_type for part in reply.parts] == ["application/pdf", "text/plain", "application/pdf"]
    assert [b"".join(part.chunks()) for part in reply.parts] == [CONTENT, b"other", CONTENT]
    assert [part.size for part in reply.parts] == [len(CONTENT), 5, len(CONTENT)]
    assert reply.finished is not None


def test_some_documents_are_partial_success_and_none_is_failure(here: World) -> None:
    unique_id = stored(here)
    missing = DocumentRequest(REPOSITORY_UNIQUE_ID, "1.2.404")
    there = DocumentRequest(REPOSITORY_UNIQUE_ID, unique_id)
    for requests, status in ([missing, there], Status.PARTIAL_SUCCESS), ([missing], Status.FAILURE):
        reply = respond(here, write_retrieve_request(requests))
        response, documents = read_retrieve_response(parse(b"".join(reply.body)))
        assert response.status is status
        assert [(error.code, error.location) for error in response.errors] == [("XDSDocumentUniqueIdError", "1.2.404")]
        assert len(documents) == len(reply.parts) == len(requests) - 1


@pytest.mark.parametrize("sample", ["derived-retrieve-empty.xml", "derived-retrieve-no-repo.xml"])
def test_requests_against_the_schema_fail(here: World, shared: Path, sample: str) -> None:
    request = (shared / "vectors" / "messages" / "ITI-43" / sample).read_bytes()
    reply = respond(here, request)
    response, documents = read_retrieve_response(parse(b"".join(reply.body)))
    assert response.status is Status.FAILURE
    assert {error.code for error in response.errors} == {"XDSRepositoryError"}
    assert documents == ()


@pytest.mark.parametrize(
    ("sample", "count"),
    [("derived-retrieve-two.xml", 2), ("derived-retrieve-same-twice.xml", 2), ("tk2-12028-retrieve-retrieve.xml", 1)],
)
def test_requests_of_others_are_answered(here: World, shared: Path, sample: str, count: int) -> None:
    text = (shared / "vectors" / "messages" / "ITI-43" / sample).read_text()
    for name in ("$doc1$", "$doc2$", "$docuid1$"):
        if name in text:
            text = text.replace(name, stored(here))
    text = text.replace("$repository$", REPOSITORY_UNIQUE_ID).replace("$repuid$", REPOSITORY_UNIQUE_ID)
    reply = respond(here, text.encode())
    assert [b"".join(part.chunks()) for part in reply.parts] == [CONTENT] * count
