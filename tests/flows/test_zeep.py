"""An independent SOAP client, zeep in strict mode, loads every served contract and calls every operation in it.

Spec: ITI TF-2 Appendix V.2; 3.18, 3.41, 3.42, 3.43, 3.44, 3.45, 3.47, 3.51, 3.57, 3.61, 3.62, 3.86, 3.92; RAD TF-2 4.69.

zeep knows no substitution groups: the objects of a registry's list are put in and taken out by a plugin. It cannot send MTOM
either: that is done by a transport.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from io import BytesIO
from typing import Any
from uuid import uuid4

import pydicom
import pytest
import requests
import zeep
from lxml import etree

from tests.archive import image
from tests.builders import document_entry, fresh_uid, submission
from tests.flows import zeep_identity
from tests.flows.conftest import AUTHORITY, IMAGING_SOURCE
from tests.flows.partners import APPROVED, SUCCESS, XDSB, XOP, feed, store, write_parts
from tests.running import RunningServer
from tests.updates import member
from tests.updates import request as update_request
from xds.model.metadata import DocumentEntry, Submission
from xds.model.vocabulary import ON_DEMAND, StoredQueryId
from xds.transactions.table import MODULES
from xds.transactions.transaction import Wire
from xds.wire.ebrim import write_submission

RIM = "urn:oasis:names:tc:ebxml-regrep:xsd:rim:3.0"
PATIENT = f"ZEEP^^^&{AUTHORITY}&ISO"
REPORT = b"%PDF-1.7 of 12 octets or more \x00\xff\r\n %%EOF"

REGISTRY, REPOSITORY, IMAGES = "/services/registry", "/services/repository", "/services/imaging-source"


class RegistryObjects(zeep.Plugin):
    """Stands between zeep and the RegistryObjectLists: `outgoing` goes into a request, `incoming` came with the answer."""

    def __init__(self) -> None:
        self.outgoing: list[etree._Element] = []
        self.incoming: list[etree._Element] = []

    def egress(self, envelope: Any, http_headers: Any, operation: Any, binding_options: Any) -> tuple[Any, Any]:
        found = envelope.find(f".//{{{RIM}}}RegistryObjectList")
        if found is not None:
            found.extend(self.outgoing)
        self.outgoing = []
        return envelope, http_headers

    def ingress(self, envelope: Any, http_headers: Any, operation: Any) -> tuple[Any, Any]:
        found = envelope.find(f".//{{{RIM}}}RegistryObjectList")
        self.incoming = [] if found is None else list(found)
        for item in self.incoming:
            found.remove(item)
        return envelope, http_headers


class Mtom(zeep.Transport):
    """Sends each Document as a MIME part, and says so, in place of zeep's inline base64."""

    def post_xml(self, address: str, envelope: etree._Element, headers: Mapping[str, str]) -> requests.Response:
        parts = {}
        for number, document in enumerate(envelope.iter(f"{{{XDSB}}}Document"), 1):
            parts[f"{number}@zeep"] = ("application/octet-stream", base64.b64decode(document.text or ""))
            document.text = None
            etree.SubElement(document, f"{{{XOP}}}Include", href=f"cid:{number}%40zeep")
        content_type, octets = write_parts(etree.tostring(envelope), parts)
        response = self.post(address, octets, {**headers, "Content-Type": content_type})
        is_package = response.headers["Content-Type"].startswith("multipart/related")
        assert is_package or response.status_code != 200, "MTOM is not answered by MTOM"
        return response


@dataclass
class Clients:
    """A zeep client for each service path, and the plugin that all of them share."""

    server: RunningServer
    by_path: dict[str, zeep.Client]
    objects: RegistryObjects

    def call(self, path: str, operation: str, **values: Any) -> Any:
        return self.by_path[path].service[operation](**values)

    def operations(self) -> dict[str, str]:
        """Every operation of every contract, with its path."""
        return {
            name: path
            for path, client in self.by_path.items()
            for service in client.wsdl.services.values()
            for port in service.ports.values()
            for name in port.binding.all()
        }


@pytest.fixture(scope="module", params=["inline", "mtom"])
def clients(server: RunningServer, request: pytest.FixtureRequest) -> Iterator[Clients]:
    feed(server, PATIENT)
    paths = {module.TRANSACTION.path for module in MODULES if module.TRANSACTION.wire is Wire.SOAP}
    objects, settings = RegistryObjects(), zeep.Settings(strict=True)
    with requests.Session() as session:
        transport = (Mtom if request.param == "mtom" else zeep.Transport)(session=session, timeout=60, operation_timeout=60)
        found = {
            path: zeep.Client(f"{server.http}{path}?wsdl", transport=transport, settings=settings, plugins=[objects])
            for path in sorted(paths)
        }
        yield Clients(server, found, objects)


# ------------------------------------------------------------------ what a client does with each operation


def registered(unique_id: str, content: bytes, **attributes: Any) -> Submission:
    """A submission of one document, as metadata."""
    facts = {"hash": hashlib.sha1(content).hexdigest(), "size": str(len(content)), "patient_id": PATIENT}
    return submission([document_entry(unique_id=unique_id, **(facts | attributes))], patient_id=PATIENT)


def list_of(given: Submission) -> list[etree._Element]:
    return list(etree.fromstring(write_submission(given)).find(f"{{{RIM}}}RegistryObjectList"))


def register(clients: Clients, operation: str) -> None:
    """ITI-42."""
    unique_id = fresh_uid()
    clients.objects.outgoing = list_of(registered(unique_id, REPORT))
    answer = clients.call(REGISTRY, operation, RegistryObjectList={})
    assert (answer.status, answer.RegistryErrorList) == (SUCCESS, None)
    assert find(clients, unique_id).get("status").endswith(":Approved")

    clients.objects.outgoing = list_of(registered(unique_id, REPORT, hash="0" * 40, patient_id="NOBODY^^^&1.2.3&ISO"))
    answer = clients.call(REGISTRY, operation, RegistryObjectList={})
    assert answer.status.endswith(":Failure")
    errors = answer.RegistryErrorList.RegistryError
    assert {item.errorCode for item in errors} >= {"XDSPatientIdDoesNotMatch"}
    assert all(item.codeContext and item.severity.endswith(":Error") for item in errors)


def find(clients: Clients, unique_id: str) -> etree._Element:
    """The ExtrinsicObject of a document by GetDocuments."""
    answer = ask(clients, StoredQueryId.GET_DOCUMENTS, **{"$XDSDocumentEntryUniqueId": f"('{unique_id}')"})
    assert answer.status == SUCCESS
    (found,) = clients.objects.incoming
    assert found.tag == f"{{{RIM}}}ExtrinsicObject"
    return found


def ask(
    clients: Clients,
    query: str,
    return_type: str = "LeafClass",
    *,
    operation: str = "DocumentRegistry_RegistryStoredQuery",
    **slots: str,
) -> Any:
    return clients.call(
        REGISTRY,
        operation,
        ResponseOption={"returnComposedObjects": True, "returnType": return_type},
        AdhocQuery={
            "id": query,
            "Slot": [{"name": name, "ValueList": {"Value": [value]}} for name, value in slots.items()],
        },
    )


def query(clients: Clients, operation: str) -> None:
    """ITI-18."""
    unique_id = fresh_uid()
    clients.objects.outgoing = list_of(registered(unique_id, REPORT))
    clients.call(REGISTRY, "DocumentRegistry_RegisterDocumentSet-b", RegistryObjectList={})
    slots = {"$XDSDocumentEntryPatientId": f"'{PATIENT}'", "$XDSDocumentEntryStatus": APPROVED}
    assert ask(clients, StoredQueryId.FIND_DOCUMENTS, **slots).status == SUCCESS
    values = {item.get("value") for found in clients.objects.incoming for item in found.iter(f"{{{RIM}}}ExternalIdentifier")}
    assert {unique_id, PATIENT} <= values
    count = len(clients.objects.incoming)
    assert ask(clients, StoredQueryId.FIND_DOCUMENTS, "ObjectRef", **slots).status == SUCCESS
    assert [item.tag for item in clients.objects.incoming] == [f"{{{RIM}}}ObjectRef"] * count
    answer = ask(clients, StoredQueryId.FIND_DOCUMENTS)
    assert answer.status.endswith(":Failure")
    assert [item.errorCode for item in answer.RegistryErrorList.RegistryError] == ["XDSStoredQueryMissingParam"] * 2
    assert clients.objects.incoming == []


def query_several_patients(clients: Clients, operation: str) -> None:
    """ITI-51, which does not answer the queries of ITI-18, and the other way round."""
    unique_id = fresh_uid()
    clients.objects.outgoing = list_of(registered(unique_id, REPORT))
    clients.call(REGISTRY, "DocumentRegistry_RegisterDocumentSet-b", RegistryObjectList={})
    several = StoredQueryId.FIND_DOCUMENTS_FOR_MULTIPLE_PATIENTS
    slots = {"$XDSDocumentEntryPatientId": f"('{PATIENT}','NOBODY^^^&1.2.3&ISO')", "$XDSDocumentEntryStatus": APPROVED}
    assert ask(clients, several, operation=operation, **slots).status == SUCCESS
    assert unique_id in {
        item.get("value") for found in clients.objects.incoming for item in found.iter(f"{{{RIM}}}ExternalIdentifier")
    }
    for query, called in ((several, "DocumentRegistry_RegistryStoredQuery"), (StoredQueryId.FIND_DOCUMENTS, operation)):
        answer = ask(clients, query, operation=called, **slots)
        assert [item.errorCode for item in answer.RegistryErrorList.RegistryError] == ["XDSUnknownStoredQuery"]


def register_on_demand(clients: Clients, operation: str) -> None:
    """ITI-61: queries find the entry only when they ask for its kind."""
    unique_id = fresh_uid()
    absent = dict.fromkeys(("creation_time", "hash", "size"))
    clients.objects.outgoing = list_of(registered(unique_id, REPORT, object_type=ON_DEMAND, **absent))
    answer = clients.call(REGISTRY, operation, RegistryObjectList={})
    assert (answer.status, answer.RegistryErrorList) == (SUCCESS, None)
    assert find(clients, unique_id).get("objectType") == ON_DEMAND

    clients.objects.outgoing = list_of(registered(fresh_uid(), REPORT))
    answer = clients.call(REGISTRY, operation, RegistryObjectList={})
    assert {item.errorCode for item in answer.RegistryErrorList.RegistryError} == {"XDSRegistryMetadataError"}


def remove_metadata(clients: Clients, operation: str) -> None:
    """ITI-62: an entry alone is refused, the whole submission is removed."""
    unique_id = fresh_uid()
    clients.objects.outgoing = list_of(registered(unique_id, REPORT))
    clients.call(REGISTRY, "DocumentRegistry_RegisterDocumentSet-b", RegistryObjectList={})
    entry = find(clients, unique_id).get("id")
    answer = clients.call(REGISTRY, operation, ObjectRefList={"ObjectRef": [{"id": entry}, {"id": f"urn:uuid:{uuid4()}"}]})
    codes = [item.errorCode for item in answer.RegistryErrorList.RegistryError]
    assert codes == ["UnresolvedReferenceException", "ReferencesExistException"]

    assert ask(clients, StoredQueryId.GET_SUBMISSION_SETS, "ObjectRef", **{"$uuid": f"('{entry}')"}).status == SUCCESS
    whole = [entry, *(item.get("id") for item in clients.objects.incoming)]
    answer = clients.call(REGISTRY, operation, ObjectRefList={"ObjectRef": [{"id": item} for item in whole]})
    assert (answer.status, answer.RegistryErrorList) == (SUCCESS, None)
    ask(clients, StoredQueryId.GET_DOCUMENTS, **{"$XDSDocumentEntryUniqueId": f"('{unique_id}')"})
    assert clients.objects.incoming == []


def update_metadata(clients: Clients, operation: str) -> None:
    """ITI-57 and ITI-92: a title is corrected; what is no later version is refused."""
    unique_id = fresh_uid()
    clients.objects.outgoing = list_of(registered(unique_id, REPORT))
    clients.call(REGISTRY, "DocumentRegistry_RegisterDocumentSet-b", RegistryObjectList={})
    logical_id = find(clients, unique_id).get("id")
    facts = {"hash": hashlib.sha1(REPORT).hexdigest(), "size": str(len(REPORT)), "unique_id": unique_id, "patient_id": PATIENT}
    new = document_entry(lid=logical_id, title="Corrected", **facts)
    clients.objects.outgoing = list_of(update_request(new, member(new), patient_id=PATIENT))
    answer = clients.call(REGISTRY, operation, RegistryObjectList={})
    assert (answer.status, answer.RegistryErrorList) == (SUCCESS, None)
    found = find(clients, unique_id)
    assert found.find(f"{{{RIM}}}VersionInfo").get("versionName") == "2"
    assert (found.get("lid"), found.find(f"{{{RIM}}}Name")[0].get("value")) == (logical_id, "Corrected")

    first = document_entry(**facts)
    clients.objects.outgoing = list_of(update_request(first, member(first), patient_id=PATIENT))
    answer = clients.call(REGISTRY, operation, RegistryObjectList={})
    expected = "XDSMetadataUpdateError" if operation.startswith("DocumentRegistry") else "XDSInvalidRequestException"
    assert [item.errorCode for item in answer.RegistryErrorList.RegistryError] == [expected]


def remove_documents(clients: Clients, operation: str) -> None:
    """ITI-86: a document, and one that is not there."""
    unique_id, _ = provided(clients, REPORT)
    slots = {slot.get("name"): slot.findtext(f".//{{{RIM}}}Value") for slot in find(clients, unique_id).iter(f"{{{RIM}}}Slot")}
    wanted = [{"RepositoryUniqueId": slots["repositoryUniqueId"], "DocumentUniqueId": uid} for uid in (unique_id, "1.2.3.999")]
    answer = clients.call(REPOSITORY, operation, DocumentRequest=wanted)
    assert answer.status == "urn:ihe:iti:2007:ResponseStatusType:PartialSuccess"
    (error,) = answer.RegistryErrorList.RegistryError
    assert (error.errorCode, error.location) == ("XDSDocumentUniqueIdError", "1.2.3.999")
    answer = clients.call(REPOSITORY, "DocumentRepository_RetrieveDocumentSet", DocumentRequest=wanted[:1])
    assert answer.RegistryResponse.status.endswith(":Failure")


def provide(clients: Clients, operation: str) -> None:
    """ITI-41: a report goes in, and the registry knows its size and hash."""
    unique_id, _ = provided(clients, REPORT)
    slots = {slot.get("name"): slot.findtext(f".//{{{RIM}}}Value") for slot in find(clients, unique_id).iter(f"{{{RIM}}}Slot")}
    assert (slots["size"], slots["hash"]) == (str(len(REPORT)), hashlib.sha1(REPORT).hexdigest())

    clients.objects.outgoing = list_of(registered(fresh_uid(), REPORT, hash=None, size=None, repository_unique_id=None))
    answer = clients.call(REPOSITORY, operation, SubmitObjectsRequest={"RegistryObjectList": {}})
    assert answer.status.endswith(":Failure")
    assert [item.errorCode for item in answer.RegistryErrorList.RegistryError] == ["XDSMissingDocument"]


def provided(clients: Clients, content: bytes) -> tuple[str, DocumentEntry]:
    unique_id = fresh_uid()
    given = registered(unique_id, content, hash=None, size=None, repository_unique_id=None)
    clients.objects.outgoing = list_of(given)
    answer = clients.call(
        REPOSITORY,
        "DocumentRepository_ProvideAndRegisterDocumentSet-b",
        SubmitObjectsRequest={"RegistryObjectList": {}},
        Document=[{"id": given.document_entries[0].id, "_value_1": content}],
    )
    assert (answer.status, answer.RegistryErrorList) == (SUCCESS, None)
    return unique_id, given.document_entries[0]


def retrieve(clients: Clients, operation: str) -> None:
    """ITI-43: two documents, and one that is not there."""
    first, second = (provided(clients, content)[0] for content in (REPORT, REPORT[::-1]))
    slots = {slot.get("name"): slot.findtext(f".//{{{RIM}}}Value") for slot in find(clients, first).iter(f"{{{RIM}}}Slot")}
    repository = slots["repositoryUniqueId"]
    wanted = [{"RepositoryUniqueId": repository, "DocumentUniqueId": uid} for uid in (first, second, "1.2.3.999")]
    answer = clients.call(REPOSITORY, operation, DocumentRequest=wanted)
    assert answer.RegistryResponse.status == "urn:ihe:iti:2007:ResponseStatusType:PartialSuccess"
    (error,) = answer.RegistryResponse.RegistryErrorList.RegistryError
    assert (error.errorCode, "1.2.3.999" in error.codeContext) == ("XDSDocumentUniqueIdError", True)
    found = {item.DocumentUniqueId: (item.RepositoryUniqueId, item.mimeType, item.Document) for item in answer.DocumentResponse}
    assert found == {
        first: (repository, "application/pdf", REPORT),
        second: (repository, "application/pdf", REPORT[::-1]),
    }


def retrieve_images(clients: Clients, operation: str) -> None:
    """RAD-69: an image that a modality stored, and one that is not there."""
    dataset = pydicom.dcmread(BytesIO(image(PatientID="ZEEP")))
    store(clients.server, dataset)
    wanted = [{"RepositoryUniqueId": IMAGING_SOURCE, "DocumentUniqueId": uid} for uid in (dataset.SOPInstanceUID, "1.2.3.999")]
    series = {"seriesInstanceUID": dataset.SeriesInstanceUID, "DocumentRequest": wanted}
    answer = clients.call(
        IMAGES,
        operation,
        StudyRequest=[{"studyInstanceUID": dataset.StudyInstanceUID, "SeriesRequest": [series]}],
        TransferSyntaxUIDList={"TransferSyntaxUID": [dataset.file_meta.TransferSyntaxUID]},
    )
    assert answer.RegistryResponse.status == "urn:ihe:iti:2007:ResponseStatusType:PartialSuccess"
    (error,) = answer.RegistryResponse.RegistryErrorList.RegistryError
    assert (error.errorCode, error.location) == ("XDSDocumentUniqueIdError", "1.2.3.999")
    (found,) = answer.DocumentResponse
    assert (found.DocumentUniqueId, found.mimeType) == (dataset.SOPInstanceUID, "application/dicom")
    assert pydicom.dcmread(BytesIO(found.Document)).PixelData == dataset.PixelData


OPERATIONS: dict[str, Callable[[Clients, str], None]] = {
    "DocumentRegistry_RegistryStoredQuery": query,
    "DocumentRegistry_RegisterDocumentSet-b": register,
    "DocumentRegistry_MultiPatientStoredQuery": query_several_patients,
    "DocumentRegistry_UpdateDocumentSet": update_metadata,
    "DocumentRegistry_RegisterOnDemandDocumentEntry": register_on_demand,
    "DocumentRegistry_DeleteDocumentSet": remove_metadata,
    "UpdateResponder_RestrictedUpdateDocumentSet": update_metadata,
    "DocumentRepository_ProvideAndRegisterDocumentSet-b": provide,
    "DocumentRepository_RemoveDocuments": remove_documents,
    "DocumentRepository_RetrieveDocumentSet": retrieve,
    "ImagingDocumentSource_RetrieveImagingDocumentSet": retrieve_images,
    **zeep_identity.OPERATIONS,
}


def test_each_operation_of_the_served_contracts_is_called_below(clients: Clients) -> None:
    assert set(clients.operations()) == set(OPERATIONS)


@pytest.mark.parametrize("operation", OPERATIONS)
def test_operation(clients: Clients, operation: str) -> None:
    OPERATIONS[operation](clients, operation)


def test_a_fault_is_understood(clients: Clients) -> None:
    client = clients.by_path[REGISTRY]
    misplaced = client.create_service(
        next(iter(client.wsdl.bindings)), client.wsdl.location.replace("registry?wsdl", "imaging-source")
    )
    with pytest.raises(zeep.exceptions.Fault) as caught:
        misplaced["DocumentRegistry_RegisterDocumentSet-b"](RegistryObjectList={})
    assert caught.value.code.endswith(":Sender")
    assert [str(code) for code in caught.value.subcodes] == ["{http://www.w3.org/2005/08/addressing}ActionNotSupported"]
