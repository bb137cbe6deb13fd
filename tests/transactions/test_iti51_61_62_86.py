"""ITI-51, ITI-61, ITI-62 and ITI-86 between their XML and the real actors. Spec: ITI TF-2 3.51.4, 3.61.4, 3.62.4, 3.86.4."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
from lxml import etree

from tests.builders import CONTENT, PATIENT_ID, REPOSITORY_UNIQUE_ID, document_entry, submission
from tests.repository import CALLER, World, world
from xds.model.errors import RegistryResponse, Status
from xds.model.retrieval import DocumentRequest
from xds.model.stored_queries import RawQuery
from xds.model.vocabulary import ON_DEMAND, AvailabilityStatus, StoredQueryId
from xds.transactions import (
    iti51_multi_patient_stored_query as iti51,
)
from xds.transactions import (
    iti61_register_on_demand_document_entry as iti61,
)
from xds.transactions import (
    iti62_remove_metadata as iti62,
)
from xds.transactions import (
    iti86_remove_documents as iti86,
)
from xds.wire.ebrim import write_submission
from xds.wire.ebrs import read_query_response, read_registry_response, write_query
from xds.wire.removal import write_remove_documents, write_remove_objects
from xds.wire.soap import Addressing, SoapRequest
from xds.wire.xml import LCM, QUERY, RMD, parse, schema_errors

APPROVED = f"('{AvailabilityStatus.APPROVED}')"
BROKEN = {
    iti51: f'<q:AdhocQueryRequest xmlns:q="{QUERY}"/>',
    iti61: f'<l:SubmitObjectsRequest xmlns:l="{LCM}"/>',
    iti62: f'<l:RemoveObjectsRequest xmlns:l="{LCM}"/>',
    iti86: f'<r:RemoveDocumentsRequest xmlns:r="{RMD}"/>',
}


@pytest.fixture
def here(tmp_path: Path) -> Iterator[World]:
    with world(tmp_path) as it:
        yield it


def answer(here: World, transaction: ModuleType, body: bytes) -> etree._Element:
    """The answer's body, which must obey its schema."""
    request = SoapRequest(parse(body), Addressing(str(transaction.TRANSACTION.action)))
    root = parse(b"".join(transaction.respond(request, here.domain, CALLER).body))
    assert schema_errors(root, "query.xsd" if transaction is iti51 else "rs.xsd") == []
    return root


def outcome(here: World, transaction: ModuleType, body: bytes) -> RegistryResponse:
    return read_registry_response(answer(here, transaction, body))


def test_queries_about_several_patients(here: World) -> None:
    assert here.registry.register(submission(1), CALLER).succeeded
    slots = (("XDSDocumentEntryPatientId", (f"('{PATIENT_ID}')",)), ("XDSDocumentEntryStatus", (APPROVED,)))
    for return_type, count in (("LeafClass", (1, 0)), ("ObjectRef", (0, 1))):
        query = RawQuery(StoredQueryId.FIND_DOCUMENTS_FOR_MULTIPLE_PATIENTS, return_type, slots)
        response, objects, references = read_query_response(answer(here, iti51, write_query(query)))
        assert (response.status, (len(objects), len(references))) == (Status.SUCCESS, count)


def test_on_demand_entries_and_their_removal(here: World) -> None:
    absent = dict.fromkeys(("creation_time", "hash", "size"))
    message = submission([document_entry(object_type=ON_DEMAND, **absent)])
    assert outcome(here, iti61, write_submission(message)).succeeded
    refused = outcome(here, iti61, write_submission(submission(1)))
    assert {error.code.value for error in refused.errors} == {"XDSRegistryMetadataError"}
    removal = outcome(here, iti62, write_remove_objects(["urn:uuid:00000000-0000-4000-8000-000000000001"]))
    assert [error.code.value for error in removal.errors] == ["UnresolvedReferenceException"]
    assert here.registered_objects() == 3


def test_removal_of_documents(here: World) -> None:
    entry = document_entry(hash=None, size=None)
    assert here.repository.provide(submission([entry]), here.staged_all({entry.id: CONTENT}), CALLER).succeeded
    requests = [DocumentRequest(REPOSITORY_UNIQUE_ID, uid) for uid in (entry.unique_id or "", "1.2.3.999")]
    response = outcome(here, iti86, write_remove_documents(requests))
    assert (response.status, [error.location for error in response.errors]) == (Status.PARTIAL_SUCCESS, ["1.2.3.999"])


@pytest.mark.parametrize("transaction", BROKEN, ids=lambda module: module.TRANSACTION.id)
def test_a_message_against_its_schema_is_refused_in_words(here: World, transaction: ModuleType) -> None:
    response = outcome(here, transaction, BROKEN[transaction].encode())
    assert response.status is Status.FAILURE
    assert all(error.context for error in response.errors)
    own = {iti61: "XDSRegistryMetadataError", iti86: "XDSRepositoryError"}
    assert {error.code.value for error in response.errors} == {own.get(transaction, "XDSRegistryError")}
