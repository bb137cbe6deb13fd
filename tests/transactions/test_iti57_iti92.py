"""ITI-57 and ITI-92 between their XML and the real registry. Spec: ITI TF-2 3.57.4, 3.92.4."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from lxml import etree

from tests.actors.registry_fixtures import CALLER, IDENTITY, Registry, open_registry
from tests.builders import document_entry, submission, uuid_for
from tests.updates import DEPRECATED, member, new_version, request, status_change, submitted, update
from xds.actors.domain import Domain
from xds.model.errors import ErrorCode, RegistryResponse
from xds.model.metadata import DocumentEntry, Submission
from xds.model.vocabulary import AssociationType, StoredQueryId
from xds.transactions import iti57_update_document_set as iti57
from xds.transactions import iti92_restricted_update_document_set as iti92
from xds.wire.ebrim import write_submission
from xds.wire.ebrs import read_registry_response
from xds.wire.soap import Addressing, SoapRequest
from xds.wire.xml import parse, schema_errors


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[Registry]:
    opened = open_registry(tmp_path)
    yield opened
    opened.database.close()


def ask(registry: Registry, transaction, body: bytes | Submission | etree._Element) -> RegistryResponse:
    """What the transaction answers, which must obey its schema."""
    octets = write_submission(body) if isinstance(body, Submission) else body
    element = parse(octets) if isinstance(octets, bytes) else octets
    domain = Domain(IDENTITY, registry.actor, None, None, None, None)  # type: ignore[arg-type]
    answer = transaction.respond(SoapRequest(element, Addressing(str(transaction.TRANSACTION.action))), domain, CALLER)
    root = parse(b"".join(answer.body))
    assert schema_errors(root, "rs.xsd") == []
    return read_registry_response(root)


def versions(registry: Registry, unique_id: str | None) -> list[DocumentEntry]:
    found = registry.ask(StoredQueryId.GET_DOCUMENTS, XDSDocumentEntryUniqueId=f"('{unique_id}')", MetadataLevel="2")
    return [item for item in found if isinstance(item, DocumentEntry)]


def registered(registry: Registry) -> DocumentEntry:
    new = document_entry()
    registry.accept(submission([new]))
    return versions(registry, new.unique_id)[0]


@pytest.mark.parametrize("transaction", [iti57, iti92])
def test_a_new_version_over_the_wire(registry: Registry, transaction) -> None:
    first = registered(registry)
    response = ask(registry, transaction, update(first))
    assert (response.succeeded, response.errors) == (True, ())
    assert [(item.version, item.logical_id) for item in versions(registry, first.unique_id)] == [(1, first.id), (2, first.id)]


def test_everything_that_iti57_does_over_the_wire(registry: Registry) -> None:
    first, second, third, fourth = (registered(registry) for _ in range(4))
    changed = new_version(first)
    sent = request(
        changed,
        member(changed, propagation="yes"),
        status_change(second),
        *submitted(AssociationType.XFRM, third.id, fourth.id),
    )
    assert ask(registry, iti57, sent).succeeded
    assert versions(registry, second.unique_id)[0].status is DEPRECATED


@pytest.mark.parametrize("transaction", [iti57, iti92])
def test_what_the_schema_does_not_allow(registry: Registry, transaction) -> None:
    first = registered(registry)
    response = ask(registry, transaction, write_submission(update(first)).replace(b"mimeType", b"mimetype"))
    assert {error.code for error in response.errors} == {ErrorCode.REGISTRY_METADATA_ERROR}
    assert len(versions(registry, first.unique_id)) == 1


@pytest.mark.parametrize("transaction", [iti57, iti92])
def test_errors_of_form_of_content_and_of_the_registry_come_together(registry: Registry, transaction) -> None:
    sent = write_submission(update(document_entry(lid=uuid_for(9), hash="no hash")))
    stray = b'<rim:Classification id="x" classifiedObject="nobody" classificationNode="urn:uuid:1"/></rim:RegistryObjectList>'
    codes = [error.code for error in ask(registry, transaction, sent.replace(b"</rim:RegistryObjectList>", stray)).errors]
    assert codes.count(ErrorCode.REGISTRY_METADATA_ERROR) == 2
    assert ErrorCode.METADATA_VERSION in codes


def test_the_codes_of_the_two_transactions(registry: Registry) -> None:
    first = registered(registry)
    original = request(document_entry(), member(document_entry(), None))
    assert {error.code for error in ask(registry, iti57, original).errors} == {ErrorCode.METADATA_UPDATE}
    assert {error.code for error in ask(registry, iti92, original).errors} == {
        ErrorCode.INVALID_REQUEST,
        ErrorCode.METADATA_ANNOTATION,
    }
    assert {error.code for error in ask(registry, iti92, update(first, "3")).errors} == {ErrorCode.METADATA_VERSION}
