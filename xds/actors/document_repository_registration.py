"""How the Document Repository has metadata registered and its documents kept: both, or neither.

Spec: ITI TF-2 3.41.4.1.3, 3.42.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any, Protocol

import structlog

from xds.model.audit import AuditEvent
from xds.model.caller import Caller
from xds.model.errors import ErrorCode, RegistryError, RegistryResponse, Status
from xds.model.metadata import Submission
from xds.ports import Clock, RegisterDocumentsAlong, RegisterDocumentsElsewhere
from xds.store import audit, documents, jobs, registration_claims
from xds.store.database import Connection, Database
from xds.store.documents import StoredDocument
from xds.store.jobs import Job
from xds.wire.ebrim import write_submission

#: The job that asks a registry elsewhere what became of a submission whose answer was lost; its key is that of the claim.
SETTLE_REGISTRATION = "settle-registration"

#: It asks for the first time after so long: the answer may still be on its way.
SETTLE_AFTER = timedelta(minutes=10)

#: What a registry that answers does not know so long after it was sent has not arrived, and will not.
GIVEN_UP_AFTER = timedelta(hours=1)

_SUCCESS = RegistryResponse(Status.SUCCESS)
_NOT_AVAILABLE = "the Document Registry did not answer"

_log = structlog.get_logger()


class Registration(Protocol):
    """Registers a submission and keeps its documents."""

    def register(
        self, submission: Submission, rows: Sequence[StoredDocument], event: AuditEvent, caller: Caller, *, only_new: bool = False
    ) -> RegistryResponse:
        """Documents, metadata and audit event become durable, or nothing of them. The answer is the registry's.

        Errors: OtherContentError; with `only_new` AlreadyStoredError. Nothing has changed then.
        """


class RegistrationAlong:
    """With a registry on the same database: everything is one transaction."""

    def __init__(self, registry: RegisterDocumentsAlong) -> None:
        self._registry = registry

    def register(
        self, submission: Submission, rows: Sequence[StoredDocument], event: AuditEvent, caller: Caller, *, only_new: bool = False
    ) -> RegistryResponse:
        """As `Registration` says."""

        def along(connection: Any) -> None:
            documents.add(connection, rows, only_new=only_new)
            audit.append(connection, event)

        return self._registry.register(submission, caller, along=along)


class RegistrationElsewhere:
    """With a registry behind a network: the documents are retrievable before the metadata are sent, and go when they are refused.

    When the answer is lost they stay, the source is told that the registry is not available, and a job asks the registry later.
    The same submission again is not sent before the registry was asked, so that nothing is registered twice.
    """

    def __init__(self, registry: RegisterDocumentsElsewhere, database: Database, clock: Clock) -> None:
        self._registry = registry
        self._database = database
        self._clock = clock

    def register(
        self, submission: Submission, rows: Sequence[StoredDocument], event: AuditEvent, caller: Caller, *, only_new: bool = False
    ) -> RegistryResponse:
        """As `Registration` says. Errors: also XDSRegistryNotAvailable, returned."""
        claim = _claim_of(submission)
        unique_id = next((item.unique_id for item in submission.submission_sets if item.unique_id), "")
        wanted = [row.unique_id for row in rows]
        was_lost = self._database.write(lambda connection: self._begin(connection, claim, unique_id, rows, only_new))
        try:
            is_registered = was_lost and self._has(unique_id, wanted)
            response = _SUCCESS if is_registered else self._registry.register(submission, caller)
            if any(error.code is ErrorCode.DUPLICATE_UNIQUE_ID_IN_REGISTRY for error in response.errors):
                # Another attempt at the same submission may have taken effect meanwhile.
                is_registered = self._has(unique_id, wanted)
        except ConnectionRefusedError:
            if not was_lost:
                self._database.write(lambda connection: self._end(connection, claim))
            return _not_available("nothing was stored")
        except (ConnectionError, TimeoutError) as problem:
            _log.error("document_repository.registry_silent", error=type(problem).__name__, claim=claim)
            return _not_available("it may have registered the documents; send the same message again later")
        if was_lost and is_registered:
            response = _SUCCESS

        def conclude(connection: Connection) -> None:
            if not response.succeeded and not is_registered:
                self._end(connection, claim)
                return
            registration_claims.confirm(connection, claim, rows)
            jobs.withdraw(connection, SETTLE_REGISTRATION, claim)
            if response.succeeded:
                audit.append(connection, event)

        self._database.write(conclude)
        return response

    def _begin(self, connection: Connection, claim: str, unique_id: str, rows: Sequence[StoredDocument], only_new: bool) -> bool:
        """Make the documents retrievable, and tell whether the answer to the same submission was lost before."""
        if only_new and documents.find(connection, [row.unique_id for row in rows]):
            raise documents.AlreadyStoredError
        now = self._clock()
        payload = {"submission": unique_id, "since": now.isoformat()}
        jobs.add(connection, SETTLE_REGISTRATION, claim, payload, now + SETTLE_AFTER)
        return registration_claims.make(connection, claim, rows)

    def settle(self, job: Job) -> str | None:
        """What became of a submission whose answer was lost: None when that is decided, else why not."""
        with self._database.read() as connection:
            claimed = registration_claims.unsettled(connection, job.key)
        if not claimed:
            return None
        try:
            is_registered = self._has(job.payload["submission"], [item for item in claimed if item])
        except (ConnectionError, TimeoutError):
            return _NOT_AVAILABLE
        conclude: Callable[[Connection, str], None]
        if is_registered:
            conclude = registration_claims.confirm_stored
        elif self._clock() - datetime.fromisoformat(job.payload["since"]) < GIVEN_UP_AFTER:
            return "the Document Registry does not know the submission yet"
        else:
            conclude = registration_claims.withdraw
        self._database.write(lambda connection: conclude(connection, job.key))
        _log.info("document_repository.registration_settled", claim=job.key, registered=is_registered)
        return None

    def _has(self, submission_unique_id: str, unique_ids: Sequence[str]) -> bool:
        registered = self._registry.registered(submission_unique_id)
        return registered is not None and registered.issuperset(unique_ids)

    def _end(self, connection: Connection, claim: str) -> None:
        registration_claims.withdraw(connection, claim)
        jobs.withdraw(connection, SETTLE_REGISTRATION, claim)


def _claim_of(submission: Submission) -> str:
    """The same for the same submission, sent again."""
    return hashlib.sha256(write_submission(submission)).hexdigest()


def _not_available(consequence: str) -> RegistryResponse:
    error = RegistryError(ErrorCode.REGISTRY_NOT_AVAILABLE, f"{_NOT_AVAILABLE}: {consequence}")
    return RegistryResponse(Status.FAILURE, (error,))
