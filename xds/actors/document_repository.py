"""The Document Repository: takes documents in, has them registered, and gives them out again.

Spec: ITI TF-1 10.1.1.4; ITI TF-2 3.41 (Provide and Register Document Set-b), 3.43 (Retrieve Document Set).
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime
from itertools import islice

import structlog

from xds.actors.document_repository_audit import import_event
from xds.actors.document_repository_registration import Registration, RegistrationAlong, RegistrationElsewhere
from xds.actors.document_repository_removal import DocumentRemoval
from xds.actors.document_repository_retrieval import DocumentRetrieval, RegistryFacts
from xds.actors.intake import Intake
from xds.actors.on_demand_documents import OnDemandDocuments
from xds.actors.provided_document import ProvidedDocument
from xds.actors.unavailability import REPOSITORY_IS_BUSY, REPOSITORY_IS_FULL, or_refused, or_repository_refuses
from xds.model.audit import AuditEvent, EventOutcome
from xds.model.caller import Caller
from xds.model.domain_identity import DomainIdentity
from xds.model.errors import ErrorCode, RegistryError, RegistryResponse, Status, response_to
from xds.model.identifiers import read_cx
from xds.model.metadata import DocumentEntry, Slot, Submission
from xds.model.retrieval import DocumentRequest, RetrieveAnswer
from xds.model.vocabulary import SlotName
from xds.ports import AccessRule, BlobStore, Clock, RegisterDocumentsAlong, RegisterDocumentsElsewhere, Staging
from xds.rules import submission as rules
from xds.store import audit, documents
from xds.store.database import Database
from xds.store.documents import AlreadyStoredError, OtherContentError, StoredDocument
from xds.store.jobs import Job

#: A Repository reports what it finds wrong in metadata under its own name. Spec: ITI TF-3 Table 4.2.4.1-2.
_REPOSITORY_CODES = {
    ErrorCode.REGISTRY_METADATA_ERROR: ErrorCode.REPOSITORY_METADATA_ERROR,
    ErrorCode.REGISTRY_DUPLICATE_UNIQUE_ID_IN_MESSAGE: ErrorCode.REPOSITORY_DUPLICATE_UNIQUE_ID_IN_MESSAGE,
    ErrorCode.REGISTRY_ERROR: ErrorCode.REPOSITORY_ERROR,
}
_DISK_IS_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_KEYS_PER_SWEEP = 500
_COMMITTED_TOGETHER = 8

_log = structlog.get_logger()


class DocumentRepository:
    """The actor. One object serves all threads."""

    def __init__(
        self,
        blobs: BlobStore,
        database: Database,
        register: RegisterDocumentsAlong | RegisterDocumentsElsewhere,
        registry_facts: RegistryFacts | None,
        identity: DomainIdentity,
        access: AccessRule,
        clock: Clock,
        on_demand: OnDemandDocuments | None = None,
        *,
        type_codes: bool = False,
    ) -> None:
        """`registry_facts` is None when the registry is elsewhere: access is then decided by the metadata as submitted.

        `on_demand` makes the documents of on-demand entries; without it there are none.
        `type_codes` as `DocumentRegistry` has it.
        """
        self._blobs = blobs
        self._database = database
        self._elsewhere: RegistrationElsewhere | None = None
        self._registration: Registration
        if isinstance(register, RegisterDocumentsElsewhere):
            self._registration = self._elsewhere = RegistrationElsewhere(register, database, clock)
        else:
            self._registration = RegistrationAlong(register)
        self._identity = identity
        self._clock = clock
        self._type_codes = type_codes
        self._retrieval = DocumentRetrieval(
            blobs, database, registry_facts, identity, access, clock, on_demand, self._provide_one
        )
        self._removal = DocumentRemoval(database, self._retrieval.visible, identity, clock)

    def stage(self) -> Staging:
        """Begin a document. The caller discards it in the end. What the store fails at is answered by `provide`."""
        return Intake(self._blobs.stage)

    @or_repository_refuses
    def provide(
        self,
        submission: Submission,
        provided: Mapping[str, ProvidedDocument],
        caller: Caller,
        problems: Sequence[RegistryError] = (),
    ) -> RegistryResponse:
        """Store documents and register their metadata: both, durably, or nothing.

        `provided` maps the id of a DocumentEntry to its document, `problems` are errors found while the message was read, which
        forbid to store it. Warnings and errors of the Registry are part of the answer.

        Spec: ITI TF-2 3.41.4.1.3.
        Errors: returned, every one that was found: XDSMissingDocument, XDSMissingDocumentMetadata, XDSRepositoryMetadataError,
        XDSRepositoryDuplicateUniqueIdInMessage, XDSNonIdenticalHash, XDSNonIdenticalSize, XDSRepositoryOutOfResources,
        XDSRegistryNotAvailable, and those of the Registry.
        """
        return self._provided(submission, provided, caller, problems)

    @or_refused(
        RetrieveAnswer(REPOSITORY_IS_BUSY, (), lambda _complete: None),
        RetrieveAnswer(REPOSITORY_IS_FULL, (), lambda _complete: None),
    )
    def retrieve(self, requests: Sequence[DocumentRequest], caller: Caller) -> RetrieveAnswer:
        """The requested documents, each in the order asked, or an error whose location is its uniqueId.

        A document that the caller may not see is answered like one that does not exist.

        Spec: ITI TF-2 3.43.4.2.2.
        Errors: returned: XDSUnknownRepositoryId, XDSDocumentUniqueIdError, XDSRepositoryError.
        """
        return self._retrieval.retrieve(requests, caller)

    @or_repository_refuses
    def remove(self, requests: Sequence[DocumentRequest], caller: Caller) -> RegistryResponse:
        """Remove these documents, as many of them as can be. See `DocumentRemoval.remove`."""
        return self._removal.remove(requests, caller)

    def settle_registration(self, job: Job) -> str | None:
        """Ask the registry elsewhere what became of a submission whose answer was lost. See `RegistrationElsewhere.settle`."""
        return "there is no registry elsewhere" if self._elsewhere is None else self._elsewhere.settle(job)

    def referenced(self, keys: Sequence[str]) -> frozenset[str]:
        """Those of these blobs that are documents of this repository."""
        with self._database.read() as connection:
            return documents.referenced(connection, keys)

    # ---- provide

    def _provided(
        self,
        submission: Submission,
        provided: Mapping[str, ProvidedDocument],
        caller: Caller,
        problems: Sequence[RegistryError] = (),
        *,
        only_new: bool = False,
    ) -> RegistryResponse:
        """As `provide`. `only_new`: nothing is registered when one of the documents is there, and that is a success."""
        lost = next((problem for item in provided.values() if (problem := _failure_of(item.staging)) is not None), None)
        findings = [*problems, *(_not_kept(lost).errors if lost is not None else self._findings(submission, provided))]
        response = response_to(findings)
        if response.succeeded:
            response = self._store(submission, provided, caller, only_new)
            response = replace(response, errors=(*findings, *response.errors))
        if not response.succeeded:
            event = self._import_event(submission, caller, EventOutcome.SERIOUS_FAILURE)
            self._database.write_later(lambda connection: audit.append(connection, event))
        return response

    def _findings(self, submission: Submission, provided: Mapping[str, ProvidedDocument]) -> list[RegistryError]:
        entries = submission.document_entries
        findings = [
            error.with_code(_REPOSITORY_CODES.get(error.code, error.code))
            for error in rules.check(submission, registering=False, type_codes=self._type_codes)
        ]
        findings += (
            RegistryError(ErrorCode.MISSING_DOCUMENT, f"DocumentEntry {entry.id}: the message has no document for it")
            for entry in entries
            if entry.id not in provided
        )
        described = {entry.id for entry in entries}
        findings += (
            RegistryError(ErrorCode.MISSING_DOCUMENT_METADATA, f"document {name}: the message has no DocumentEntry with this id")
            for name in provided
            if name not in described
        )
        for entry in entries:
            if entry.id in provided:
                findings += _differences(entry, provided[entry.id].staging)
        with self._database.read() as connection:
            there = documents.find(connection, [entry.unique_id for entry in entries if entry.unique_id])
        for entry in entries:
            document = there.get(entry.unique_id or "")
            if document is not None and entry.id in provided:
                findings += _not_identical(document, provided[entry.id].staging.sha1, provided[entry.id].staging.size)
        return findings

    def _store(
        self, submission: Submission, provided: Mapping[str, ProvidedDocument], caller: Caller, only_new: bool
    ) -> RegistryResponse:
        try:
            keys = _committed({entry.id: provided[entry.id].staging for entry in submission.document_entries})
        except OSError as problem:
            return _not_kept(problem)
        completed = self._completed(submission, provided)
        rows = [self._row(entry, keys[entry.id], provided[entry.id].staging) for entry in completed.document_entries]
        event = self._import_event(submission, caller, EventOutcome.SUCCESS)

        try:
            return self._registration.register(completed, rows, event, caller, only_new=only_new)
        except AlreadyStoredError:
            return RegistryResponse(Status.SUCCESS)
        except OtherContentError as conflict:
            taken = {document.unique_id: document for document in conflict.taken}
            return response_to(
                error
                for row in rows
                if row.unique_id in taken
                for error in _not_identical(taken[row.unique_id], row.sha1, row.size)
            )

    def _completed(self, submission: Submission, provided: Mapping[str, ProvidedDocument]) -> Submission:
        """The submission with the three attributes that only the Repository knows for certain."""
        return replace(
            submission,
            document_entries=tuple(
                _with_slots(
                    entry,
                    {
                        SlotName.SIZE: str(provided[entry.id].staging.size),
                        SlotName.HASH: provided[entry.id].staging.sha1,
                        SlotName.REPOSITORY_UNIQUE_ID: self._identity.repository_unique_id,
                    },
                )
                for entry in submission.document_entries
            ),
        )

    def _row(self, entry: DocumentEntry, key: str, staging: Staging) -> StoredDocument:
        return StoredDocument(
            unique_id=entry.unique_id or "",
            blob=key,
            size=staging.size,
            sha1=staging.sha1,
            mime_type=entry.mime_type or "",
            patient_id=_canonical_cx(entry.patient_id),
            stored=self._clock(),
            class_code=str(entry.class_code) if entry.class_code else None,
            confidentiality=tuple(str(code) for code in entry.confidentiality_codes),
        )

    def _provide_one(self, submission: Submission, entry_id: str, content: bytes, caller: Caller) -> RegistryResponse:
        staging = self.stage()
        try:
            staging.write(content)
            return self._provided(submission, {entry_id: ProvidedDocument(staging)}, caller, only_new=True)
        finally:
            staging.discard()

    def _import_event(self, submission: Submission, caller: Caller, outcome: EventOutcome) -> AuditEvent:
        return import_event(submission, outcome, caller, self._identity, self._clock())


def sweep(
    blobs: BlobStore, referenced: Sequence[Callable[[Sequence[str]], Collection[str]]], *, committed_before: datetime
) -> int:
    """Remove the blobs that nobody needs, left by submissions that failed, and tell how many.

    `referenced` are all users of the store: each says which of some keys it needs. `committed_before` must lie further back than
    the longest submission takes, because between commit and registration a blob is not referenced yet.
    """
    removed = 0
    keys = blobs.keys()
    while some := list(islice(keys, _KEYS_PER_SWEEP)):
        needed = {key for ask in referenced for key in ask(some)}
        removed += sum(blobs.delete(key, unless_committed_since=committed_before) for key in some if key not in needed)
    return removed


def _failure_of(staging: Staging) -> OSError | None:
    """What the store failed at while the document arrived."""
    return staging.failure if isinstance(staging, Intake) else None


def _committed(stagings: Mapping[str, Staging]) -> dict[str, str]:
    """Commit every document and give its key by the same name. Errors: OSError of one of them, after all were tried.

    Each waits for the disk or for a server: several do so together, and a disk writes down once what they wait for.
    """
    # Two entries may share a document, which two threads must not commit.
    different = list({id(staging): staging for staging in stagings.values()}.values())
    if len(different) > 1:
        with ThreadPoolExecutor(min(_COMMITTED_TOGETHER, len(different)), "commit") as threads:
            for done in [threads.submit(staging.commit) for staging in different]:
                done.result()
    return {name: staging.commit() for name, staging in stagings.items()}


def _not_kept(problem: OSError) -> RegistryResponse:
    """The answer when the store does not take a document."""
    _log.error("document_repository.store_failed", error=type(problem).__name__, errno=problem.errno)
    if problem.errno in _DISK_IS_FULL:
        return _failure(ErrorCode.REPOSITORY_OUT_OF_RESOURCES, "the repository has no space left for the documents")
    return _failure(ErrorCode.REPOSITORY_ERROR, "the repository could not keep the documents; nothing was stored")


def _failure(code: ErrorCode, context: str) -> RegistryResponse:
    return response_to((RegistryError(code, context),))


def _differences(entry: DocumentEntry, staging: Staging) -> Iterator[RegistryError]:
    """What the metadata says about the octets and is not so. An empty value is left to the rules of metadata."""
    if entry.hash and entry.hash.lower() != staging.sha1:
        context = f"DocumentEntry {entry.id}: hash is {entry.hash}, but the document that was received has {staging.sha1}"
        yield RegistryError(ErrorCode.REPOSITORY_METADATA_ERROR, context)
    if entry.size and entry.size.lstrip("0") != str(staging.size).lstrip("0"):
        context = f"DocumentEntry {entry.id}: size is {entry.size}, but {staging.size} octets were received"
        yield RegistryError(ErrorCode.REPOSITORY_METADATA_ERROR, context)


def _not_identical(there: StoredDocument, sha1: str, size: int) -> Iterator[RegistryError]:
    """Spec: ITI TF-3 Table 4.2.4.1-2: the codeContext is the uniqueId; here with the reason behind it."""
    if there.sha1 != sha1:
        context = f"{there.unique_id}: the repository has a document with this uniqueId and another hash than {sha1}"
        yield RegistryError(ErrorCode.NON_IDENTICAL_HASH, context)
    if there.size != size:
        context = f"{there.unique_id}: the repository has a document with this uniqueId and another size than {size}"
        yield RegistryError(ErrorCode.NON_IDENTICAL_SIZE, context)


def _with_slots(entry: DocumentEntry, values: Mapping[SlotName, str]) -> DocumentEntry:
    """The entry with these slots, each at the place where it was."""
    left = {str(name): value for name, value in values.items()}
    slots = [Slot(slot.name, (left.pop(slot.name),)) if slot.name in left else slot for slot in entry.slots]
    return replace(entry, slots=(*slots, *(Slot(name, (value,)) for name, value in left.items())))


def _canonical_cx(text: str | None) -> str:
    identifier = read_cx(text or "")
    return identifier.to_cx() if identifier else (text or "")
