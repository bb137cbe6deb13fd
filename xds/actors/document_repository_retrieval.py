"""What the Document Repository does to give documents out: those that it keeps, and those that are made on demand.

Spec: ITI TF-2 3.43 (Retrieve Document Set).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Protocol

import structlog

from xds.actors.document_repository_audit import export_events
from xds.actors.on_demand_documents import OnDemandDocuments, Provide
from xds.model.caller import Action, Caller, Resource
from xds.model.domain_identity import DomainIdentity
from xds.model.errors import ErrorCode, RegistryError, RegistryResponse, Status
from xds.model.on_demand import OnDemandEntry
from xds.model.retrieval import DocumentRequest, RetrieveAnswer, RetrievedDocument
from xds.ports import AccessRule, BlobStore, Clock
from xds.store import audit, documents
from xds.store.database import Database
from xds.store.documents import StoredDocument

_log = structlog.get_logger()


class DocumentFacts(Protocol):
    """What an access decision about a document needs; codes have the form `code^^scheme`."""

    @property
    def patient_id(self) -> str: ...
    @property
    def confidentiality(self) -> tuple[str, ...]: ...
    @property
    def class_code(self) -> str | None: ...


class RegistryFacts(Protocol):
    """A registry in this process, which knows today's metadata of the documents it has registered."""

    def documents(self, unique_ids: Sequence[str], repository_unique_id: str) -> Mapping[str, DocumentFacts]:
        """Facts of the documents of that repository; those it does not know are absent."""


class DocumentRetrieval:
    """A part of the Document Repository. One object serves all threads."""

    def __init__(
        self,
        blobs: BlobStore,
        database: Database,
        registry_facts: RegistryFacts | None,
        identity: DomainIdentity,
        access: AccessRule,
        clock: Clock,
        on_demand: OnDemandDocuments | None,
        provide: Provide,
    ) -> None:
        """`provide` stores and registers a document that was made on demand."""
        self._blobs = blobs
        self._database = database
        self._registry_facts = registry_facts
        self._identity = identity
        self._access = access
        self._clock = clock
        self._on_demand = on_demand
        self._provide = provide

    def retrieve(self, requests: Sequence[DocumentRequest], caller: Caller) -> RetrieveAnswer:
        """The requested documents, each in the order asked, or an error whose location is its uniqueId.

        A document that the caller may not see is answered like one that does not exist.

        Spec: ITI TF-2 3.43.4.2.2.
        Errors: returned: XDSUnknownRepositoryId, XDSDocumentUniqueIdError, XDSRepositoryError.
        """
        stored = self.visible(requests, caller, Action.RETRIEVE)
        made = self._to_make(requests, stored, caller)
        answered: list[tuple[RetrievedDocument, str]] = []
        failed: list[DocumentRequest] = []
        errors: list[RegistryError] = []
        for request in requests:
            unique_id = request.document_unique_id
            document: RetrievedDocument | RegistryError
            if self._on_demand is not None and unique_id in made and self._is_ours(request):
                patient_id = made[unique_id].patient_id
                document = self._on_demand.make(request, made[unique_id], self._is_stored, self._provide)
            else:
                patient_id = stored[unique_id].patient_id if unique_id in stored else ""
                document = self._found(request, stored)
            if isinstance(document, RegistryError):
                errors.append(document)
                failed.append(request)
            else:
                answered.append((document, patient_id))
        status = Status.SUCCESS if not errors else Status.PARTIAL_SUCCESS if answered else Status.FAILURE
        return RetrieveAnswer(
            RegistryResponse(status, tuple(errors)),
            tuple(document for document, _ in answered),
            lambda complete: self._audit_retrieve(answered, failed, complete, caller),
        )

    def visible(self, requests: Sequence[DocumentRequest], caller: Caller, action: Action) -> Mapping[str, StoredDocument]:
        """The requested documents of this repository that the caller may act upon, by uniqueId."""
        ours = self._identity.repository_unique_id
        wanted = list(dict.fromkeys(item.document_unique_id for item in requests if item.repository_unique_id == ours))
        with self._database.read() as connection:
            found = documents.find(connection, wanted)
        today = self._today(found)
        resources = [Resource(item.patient_id, item.unique_id, item.confidentiality, item.class_code) for item in today]
        verdicts = self._access.permits(caller, action, resources)
        return {item.unique_id: item for item, permitted in zip(today, verdicts, strict=True) if permitted}

    def _today(self, found: Mapping[str, StoredDocument]) -> list[StoredDocument]:
        """The documents with what the registry says about them now: a merged patient, another confidentiality."""
        if self._registry_facts is None or not found:
            return list(found.values())
        facts = self._registry_facts.documents(list(found), self._identity.repository_unique_id)
        return [_as_registered(document, facts.get(document.unique_id)) for document in found.values()]

    def _is_ours(self, request: DocumentRequest) -> bool:
        return request.repository_unique_id == self._identity.repository_unique_id

    def _to_make(
        self, requests: Sequence[DocumentRequest], stored: Mapping[str, StoredDocument], caller: Caller
    ) -> Mapping[str, OnDemandEntry]:
        """The requested documents that are not stored but made on demand, by uniqueId."""
        if self._on_demand is None:
            return {}
        wanted = (item.document_unique_id for item in requests if self._is_ours(item))
        return self._on_demand.visible([item for item in dict.fromkeys(wanted) if item not in stored], caller)

    def _is_stored(self, unique_id: str) -> bool:
        with self._database.read() as connection:
            return bool(documents.find(connection, [unique_id]))

    def _found(self, request: DocumentRequest, stored: Mapping[str, StoredDocument]) -> RetrievedDocument | RegistryError:
        unique_id = request.document_unique_id
        if not self._is_ours(request):
            ours = self._identity.repository_unique_id
            context = f"RepositoryUniqueId {request.repository_unique_id}: this repository is {ours}"
            return RegistryError(ErrorCode.UNKNOWN_REPOSITORY_ID, context, location=unique_id)
        document = stored.get(unique_id)
        if document is None:
            context = f"DocumentUniqueId {unique_id}: no such document in this repository"
            return RegistryError(ErrorCode.DOCUMENT_UNIQUE_ID_ERROR, context, location=unique_id)
        try:
            size = self._blobs.size(document.blob)
        except KeyError:
            size = None
        if size != document.size:
            _log.error("document_repository.damaged", blob=document.blob, size=size, expected=document.size)
            context = f"DocumentUniqueId {unique_id}: the repository cannot read this document"
            return RegistryError(ErrorCode.REPOSITORY_ERROR, context, location=unique_id)
        return RetrievedDocument(request, document.mime_type, document.size, lambda: self._blobs.open(document.blob))

    def _audit_retrieve(
        self,
        answered: Sequence[tuple[RetrievedDocument, str]],
        failed: Sequence[DocumentRequest],
        complete: bool,
        caller: Caller,
    ) -> None:
        by_patient: dict[str, list[DocumentRequest]] = {}
        for retrieved, patient_id in answered:
            by_patient.setdefault(patient_id, []).append(retrieved.request)
        now = self._clock()
        events = export_events(by_patient, failed, complete, caller, self._identity, now)

        def work(connection: Any) -> None:
            for event in events:
                audit.append(connection, event)

        self._database.write_later(work)


def _as_registered(document: StoredDocument, facts: DocumentFacts | None) -> StoredDocument:
    if facts is None:
        return document
    return replace(document, patient_id=facts.patient_id, confidentiality=facts.confidentiality, class_code=facts.class_code)
