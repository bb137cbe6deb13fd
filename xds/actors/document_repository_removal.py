"""What the Document Repository does to remove documents.

Spec: ITI TF-2 3.86 (Remove Metadata and Documents).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime, timedelta

from xds.actors.document_repository_audit import removal_events
from xds.model.caller import Action, Caller
from xds.model.domain_identity import DomainIdentity
from xds.model.errors import ErrorCode, RegistryError, RegistryResponse, Status
from xds.model.retrieval import DocumentRequest
from xds.ports import BlobStore, Clock
from xds.store import audit, documents, jobs
from xds.store.database import Connection, Database
from xds.store.documents import StoredDocument

#: The job that erases the octets of a removed document; its key is that of the blob.
ERASE_BLOB = "erase-blob"

#: Octets are erased so long after the document was removed: longer than any submission takes from making its blob durable to
#: registering it, because one with the same content may be on its way.
ERASE_AFTER = timedelta(minutes=10)

#: The documents of this repository with these uniqueIds that a caller may act upon.
Visible = Callable[[Sequence[DocumentRequest], Caller, Action], Mapping[str, StoredDocument]]


class DocumentRemoval:
    """A part of the Document Repository. One object serves all threads."""

    def __init__(self, database: Database, visible: Visible, identity: DomainIdentity, clock: Clock) -> None:
        self._database = database
        self._visible = visible
        self._identity = identity
        self._clock = clock

    def remove(self, requests: Sequence[DocumentRequest], caller: Caller) -> RegistryResponse:
        """Remove these documents; those that cannot be removed are named in errors, and the others are removed nevertheless.

        A document that the caller may not see is answered like one that does not exist.

        Spec: ITI TF-2 3.86.4.1.3.
        Errors: returned: XDSUnknownRepositoryId, XDSDocumentUniqueIdError.
        """
        visible = self._visible(requests, caller, Action.REMOVE)
        removed, problems = self._database.write(lambda connection: self._remove(connection, requests, visible, caller))
        status = Status.SUCCESS if not problems else Status.PARTIAL_SUCCESS if removed else Status.FAILURE
        return RegistryResponse(status, tuple(problems))

    def _remove(
        self, connection: Connection, requests: Sequence[DocumentRequest], visible: Mapping[str, StoredDocument], caller: Caller
    ) -> tuple[int, list[RegistryError]]:
        """What happens inside the one transaction. Gives back how many documents are gone, and what is wrong with the others."""
        there = documents.find(connection, list(visible))
        gone: dict[str, list[DocumentRequest]] = {}
        failed: list[DocumentRequest] = []
        problems = []
        for request in requests:
            problem = self._problem(request, there)
            if problem is None:
                gone.setdefault(visible[request.document_unique_id].patient_id, []).append(request)
            else:
                problems.append(problem)
                failed.append(request)
        unique_ids = list(dict.fromkeys(request.document_unique_id for some in gone.values() for request in some))
        documents.remove(connection, unique_ids)
        now = self._clock()
        for blob in dict.fromkeys(there[item].blob for item in unique_ids):
            jobs.add(connection, ERASE_BLOB, blob, {}, now + ERASE_AFTER)
        for event in removal_events(gone, failed, caller, self._identity, now):
            audit.append(connection, event)
        return len(unique_ids), problems

    def _problem(self, request: DocumentRequest, there: Mapping[str, StoredDocument]) -> RegistryError | None:
        unique_id = request.document_unique_id
        ours = self._identity.repository_unique_id
        if request.repository_unique_id != ours:
            context = f"RepositoryUniqueId {request.repository_unique_id}: this repository is {ours}"
            return RegistryError(ErrorCode.UNKNOWN_REPOSITORY_ID, context, location=unique_id)
        if unique_id not in there:
            context = f"DocumentUniqueId {unique_id}: no such document in this repository"
            return RegistryError(ErrorCode.DOCUMENT_UNIQUE_ID_ERROR, context, location=unique_id)
        return None


def erase(
    blobs: BlobStore, referenced: Sequence[Callable[[Sequence[str]], Collection[str]]], key: str, *, committed_before: datetime
) -> bool:
    """Erase the octets of a removed document, unless something needs them again, and tell whether this did it.

    `referenced` are all users of the store: each says which of some keys it needs.
    """
    needed = any(key in ask([key]) for ask in referenced)
    return not needed and blobs.delete(key, unless_committed_since=committed_before)
