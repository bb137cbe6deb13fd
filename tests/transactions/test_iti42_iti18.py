"""ITI-42 and ITI-18 between their XML and the real registry. Spec: ITI TF-2 3.42.4, 3.18.4."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from lxml import etree

from tests.actors.registry_fixtures import APPROVED, CALLER, IDENTITY, Registry, open_registry
from tests.builders import PATIENT_ID, association, document_entry, submission
from xds.actors.domain import Domain
from xds.model.errors import ErrorCode, RegistryResponse, Severity
from xds.model.metadata import DocumentEntry, Submission
from xds.model.stored_queries import RawQuery
from xds.model.vocabulary import AssociationType, StoredQueryId
from xds.transactions import iti18_registry_stored_query as iti18
from xds.transactions import iti42_register_document_set as iti42
from xds.wire.ebrim import write_submission
from xds.wire.ebrs import read_query_response, read_registry_response, write_query
from xds.wire.soap import Addressing, SoapRequest
from xds.wire.xml import parse, schema_errors


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[Registry]:
    opened = open_registry(tmp_path)
    yield opened
    opened.database.close()


def domain_of(registry: Registry) -> Domain:
    """The part of a domain that the registry's transactions use."""
    return Domain(IDENTITY, registry.actor, None, None, None, None)  # type: ignore[arg-type]


def answer(registry: Registry, transaction, body: bytes | etree._Element, schema: str) -> etree._Element:
    """The answer's body, which must obey its schema."""
    element = parse(body) if isinstance(body, bytes) else body
    request = SoapRequest(element, Addressing(str(transaction.TRANSACTION.action)))
    root = parse(b"".join(transaction.respond(request, domain_of(registry), CALLER).body))
    assert schema_errors(root, schema) == []
    return root


def register(registry: Registry, body: bytes | Submission | etree._Element) -> RegistryResponse:
    if isinstance(body, Submission):
        body = write_submission(body)
    return read_registry_response(answer(registry, iti42, body, "rs.xsd"))


def query(registry: Registry, raw: RawQuery | bytes):
    body = write_query(raw) if isinstance(raw, RawQuery) else raw
    return read_query_response(answer(registry, iti18, body, "query.xsd"))


def find_documents(*more: tuple[str, tuple[str, ...]], return_type: str = "LeafClass") -> RawQuery:
    slots = (("XDSDocumentEntryPatientId", (f"'{PATIENT_ID}'",)), ("XDSDocumentEntryStatus", (APPROVED,)), *more)
    return RawQuery(StoredQueryId.FIND_DOCUMENTS, return_type, slots)


def test_what_was_registered_is_answered(registry: Registry) -> None:
    sent = submission(3)
    assert register(registry, sent).succeeded
    response, objects, references = query(registry, find_documents())
    assert response.succeeded
    assert [item.unique_id for item in objects if isinstance(item, DocumentEntry)] == [
        item.unique_id for item in sent.document_entries
    ]
    assert references == []


def test_references_alone(registry: Registry) -> None:
    register(registry, submission(2))
    response, objects, references = query(registry, find_documents(return_type="ObjectRef"))
    assert (response.succeeded, objects, len(references)) == (True, [], 2)


def test_nothing_found_is_success(registry: Registry) -> None:
    response, objects, references = query(registry, find_documents())
    assert (response.succeeded, response.errors, objects, references) == (True, (), [], [])


def test_a_query_that_is_not_understood_has_errors_and_no_objects(registry: Registry) -> None:
    response, objects, _references = query(registry, RawQuery(StoredQueryId.FIND_DOCUMENTS, "LeafClass", ()))
    assert {error.code for error in response.errors} == {ErrorCode.STORED_QUERY_MISSING_PARAM}
    assert objects == []


def test_a_query_that_its_schema_does_not_allow(registry: Registry) -> None:
    body = write_query(find_documents()).replace(b"<rim:Slot ", b"<rim:Blot ").replace(b"</rim:Slot>", b"</rim:Blot>")
    response, _objects, _references = query(registry, body)
    assert {error.code for error in response.errors} == {ErrorCode.REGISTRY_ERROR}


def test_a_registration_that_its_schema_does_not_allow(registry: Registry) -> None:
    body = write_submission(submission(1)).replace(b"mimeType", b"mimetype")
    response = register(registry, body)
    assert not response.succeeded
    assert {error.code for error in response.errors} == {ErrorCode.REGISTRY_METADATA_ERROR}


def test_errors_of_content_and_of_registry_come_together(registry: Registry) -> None:
    new = document_entry(hash="no hash", patient_id="nobody^^^&1.2.3.4.5&ISO")
    other = association(AssociationType.RPLC, new, "urn:uuid:00000000-0000-4000-8000-000000000009")
    codes = {error.code for error in register(registry, submission([new], others=[other])).errors}
    assert codes >= {ErrorCode.REGISTRY_METADATA_ERROR, ErrorCode.UNKNOWN_PATIENT_ID, ErrorCode.UNRESOLVED_REFERENCE}


def collected(shared: Path, transaction: str) -> list[tuple[str, bool, set[str], Path]]:
    folder = shared / "vectors" / "messages"
    entries = [json.loads(line) for line in (folder / "index.jsonl").read_text().splitlines()]
    return [
        (entry["file"], entry["verdict"] == "accept", set(entry.get("codes", ())), folder / entry["file"][7:])
        for entry in entries
        if entry["tx"] == transaction and entry["kind"] == "request" and entry["source"] == "derived"
    ]


def test_collected_registrations_get_their_verdict(shared: Path, tmp_path: Path) -> None:
    """Nothing of a refused one may stay, so that they can follow one another on one registry until one is accepted."""
    cases = collected(shared, "ITI-42")
    assert len(cases) >= 40
    wrong = []
    registry: Registry | None = None
    for number, (name, accepted, expected, path) in enumerate(cases):
        if registry is None:
            (tmp_path / str(number)).mkdir()
            registry = open_registry(tmp_path / str(number))
            registry.announce("test1234_1^^^&1.2.3.45.4.3.2.1&ISO")
        root = parse(path.read_bytes())
        body = root if root.tag.endswith("}SubmitObjectsRequest") else next(root.iter("{*}SubmitObjectsRequest"))
        response = register(registry, body)
        errors = {error.code.value for error in response.errors if error.severity is Severity.ERROR}
        if response.succeeded is not accepted or (expected and not accepted and not expected & errors):
            wrong.append((name, accepted, expected, response.errors))
        if response.succeeded:
            registry.database.close()
            registry = None
    if registry is not None:
        registry.database.close()
    assert wrong == []
