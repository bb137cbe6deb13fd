"""The On-Demand Document Source that belongs to the Document Repository: makes documents when they are retrieved.

Spec: ITI TF-1 10.1.1.5, 10.2.7 (Persistence of Retrieved Documents); ITI TF-2 3.43.4.1.3, 3.43.4.2.3.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Protocol

import structlog

from xds.model import drafts
from xds.model.caller import SYSTEM, Action, Caller, Resource
from xds.model.domain_identity import DomainIdentity
from xds.model.errors import ErrorCode, RegistryError, RegistryResponse
from xds.model.identifiers import new_oid, to_dtm
from xds.model.metadata import Code, Submission
from xds.model.on_demand import OnDemandEntry, ProducedDocument
from xds.model.retrieval import DocumentRequest, RetrievedDocument
from xds.model.vocabulary import AssociationType, AvailabilityStatus
from xds.ports import AccessRule, Clock, OnDemandProducer

#: Provides a submission whose one document, that of this id, has this content; nothing happens when its uniqueId is stored.
Provide = Callable[[Submission, str, bytes, Caller], RegistryResponse]

_log = structlog.get_logger()


class OnDemandEntries(Protocol):
    """Where registered on-demand entries are found."""

    def on_demand(self, unique_ids: Sequence[str], repository_unique_id: str) -> Mapping[str, OnDemandEntry]:
        """The on-demand entries of that repository by uniqueId."""


class OnDemandDocuments:
    """A part of the Document Repository. One object serves all threads."""

    def __init__(
        self,
        entries: OnDemandEntries,
        producers: Sequence[OnDemandProducer],
        identity: DomainIdentity,
        access: AccessRule,
        clock: Clock,
        *,
        persist: bool = False,
    ) -> None:
        """The first of `producers` that accepts an entry makes its document. `persist`: what was answered stays retrievable."""
        self._entries = entries
        self._producers = producers
        self._identity = identity
        self._access = access
        self._clock = clock
        self._persist = persist

    def visible(self, unique_ids: Sequence[str], caller: Caller) -> Mapping[str, OnDemandEntry]:
        """Those of these uniqueIds that are on-demand entries of this repository and that the caller may see."""
        found = list(self._entries.on_demand(unique_ids, self._identity.repository_unique_id).items())
        resources = [Resource(item.patient_id, uid, item.confidentiality, item.class_code) for uid, item in found]
        verdicts = self._access.permits(caller, Action.RETRIEVE, resources)
        return {pair[0]: pair[1] for pair, permitted in zip(found, verdicts, strict=True) if permitted}

    def make(
        self,
        request: DocumentRequest,
        found: OnDemandEntry,
        is_stored: Callable[[str], bool],
        provide: Provide,
    ) -> RetrievedDocument | RegistryError:
        """The document of an on-demand entry as of now; with persistence it is registered as a snapshot before this returns.

        `is_stored` tells whether the repository has a document of a uniqueId already.

        Spec: ITI TF-2 3.43.4.1.3.
        Errors: returned: XDSDocumentUniqueIdError, XDSRepositoryError.
        """
        unique_id = request.document_unique_id
        if found.entry.status is not AvailabilityStatus.APPROVED:
            context = f"DocumentUniqueId {unique_id}: this on-demand DocumentEntry is Deprecated"
            return RegistryError(ErrorCode.DOCUMENT_UNIQUE_ID_ERROR, context, location=unique_id)
        producer = next((item for item in self._producers if item.accepts(found.entry)), None)
        if producer is None:
            context = f"DocumentUniqueId {unique_id}: this repository cannot make the document of this on-demand DocumentEntry"
            return RegistryError(ErrorCode.DOCUMENT_UNIQUE_ID_ERROR, context, location=unique_id)
        try:
            produced = producer.produce(found.entry)
        except OSError as problem:
            _log.error("on_demand_documents.source_unreachable", error=type(problem).__name__)
            context = f"DocumentUniqueId {unique_id}: what this document is made from cannot be reached"
            return RegistryError(ErrorCode.REPOSITORY_ERROR, context, location=unique_id)
        if self._persist and not self._persisted(produced, found, is_stored, provide):
            context = f"DocumentUniqueId {unique_id}: the document was made, but could not be registered as a snapshot"
            return RegistryError(ErrorCode.REPOSITORY_ERROR, context, location=unique_id)
        return RetrievedDocument(
            request,
            produced.mime_type,
            len(produced.content),
            lambda: _once(produced.content),
            new_document_unique_id=produced.unique_id,
            new_repository_unique_id=self._identity.repository_unique_id if self._persist else None,
        )

    def _persisted(
        self, produced: ProducedDocument, found: OnDemandEntry, is_stored: Callable[[str], bool], provide: Provide
    ) -> bool:
        """Whether the document is stored, perhaps by another who made the same one at the same moment."""
        for entry in self._as_of_now(found):
            if is_stored(produced.unique_id):
                return True
            response = provide(self._snapshot(produced, entry), _SNAPSHOT, produced.content, SYSTEM)
            if response.succeeded:
                return True
            _log.error("on_demand_documents.snapshot_refused", errors=sorted({error.code.value for error in response.errors}))
        return is_stored(produced.unique_id)

    def _as_of_now(self, found: OnDemandEntry) -> Iterator[OnDemandEntry]:
        """The entry, and once more when its latest snapshot is another one meanwhile: the one to replace was replaced."""
        yield found
        unique_id = found.entry.unique_id or ""
        today = self._entries.on_demand([unique_id], self._identity.repository_unique_id).get(unique_id)
        if today is not None and today.latest_snapshot != found.latest_snapshot:
            yield today

    def _snapshot(self, produced: ProducedDocument, found: OnDemandEntry) -> Submission:
        """The stable entry of what was made, in a SubmissionSet of its own; it replaces the snapshot before it."""
        now = to_dtm(self._clock())
        entry = drafts.snapshot(
            found.entry,
            symbolic_id=_SNAPSHOT,
            unique_id=produced.unique_id,
            patient_id=found.patient_id,
            mime_type=produced.mime_type,
            creation_time=now,
        )
        submission_set = drafts.submission_set(
            symbolic_id="submission",
            unique_id=new_oid(),
            source_id=self._identity.repository_unique_id,
            patient_id=found.patient_id,
            submission_time=now,
            content_type=found.entry.type_code or Code("", ""),
            title=found.entry.title or "",
        )
        links = [
            drafts.association(AssociationType.HAS_MEMBER, submission_set.id, entry.id, original=True),
            drafts.association(AssociationType.IS_SNAPSHOT_OF, entry.id, found.entry.id),
        ]
        if found.latest_snapshot is not None:
            links.append(drafts.association(AssociationType.RPLC, entry.id, found.latest_snapshot))
        return Submission.of(submission_set, entry, *links)


_SNAPSHOT = "snapshot"


def _once(content: bytes) -> Iterator[bytes]:
    yield content
