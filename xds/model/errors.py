"""Statuses, severities and error codes of the standard, and the one shape in which errors travel through this software.

The partner's faults are values: functions return lists of `RegistryError`, all of them and not only the first.

Spec: ITI TF-3 4.2.4.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final


class Status(StrEnum):
    """Status of an ebRS answer. Spec: ITI TF-3 4.2.4.2."""

    SUCCESS = "urn:oasis:names:tc:ebxml-regrep:ResponseStatusType:Success"
    FAILURE = "urn:oasis:names:tc:ebxml-regrep:ResponseStatusType:Failure"
    PARTIAL_SUCCESS = "urn:ihe:iti:2007:ResponseStatusType:PartialSuccess"


class Severity(StrEnum):
    """Severity of a RegistryError."""

    ERROR = "urn:oasis:names:tc:ebxml-regrep:ErrorSeverityType:Error"
    WARNING = "urn:oasis:names:tc:ebxml-regrep:ErrorSeverityType:Warning"


class ErrorCode(StrEnum):
    """Error codes. Spec: ITI TF-3 Table 4.2.4.1-2; the metadata update, removal and RMU supplements."""

    INVALID_DOCUMENT_CONTENT = "InvalidDocumentContent"
    UNMODIFIABLE_METADATA = "UnmodifiableMetadataError"
    UNRESOLVED_REFERENCE = "UnresolvedReferenceException"
    DOCUMENT_UNIQUE_ID_ERROR = "XDSDocumentUniqueIdError"
    DUPLICATE_UNIQUE_ID_IN_REGISTRY = "XDSDuplicateUniqueIdInRegistry"
    REFERENCES_EXIST = "ReferencesExistException"
    REMOVE_DOCUMENTS_ERROR = "XDSRemoveDocumentsError"
    UNREFERENCED_OBJECT = "XDSUnreferencedObjectException"
    EXTRA_METADATA_NOT_SAVED = "XDSExtraMetadataNotSaved"
    INVALID_REQUEST = "XDSInvalidRequestException"
    METADATA_ANNOTATION = "XDSMetadataAnnotationError"
    METADATA_IDENTIFIER = "XDSMetadataIdentifierError"
    METADATA_UPDATE = "XDSMetadataUpdateError"
    METADATA_UPDATE_OPERATION = "XDSMetadataUpdateOperationError"
    METADATA_VERSION = "XDSMetadataVersionError"
    MISSING_DOCUMENT = "XDSMissingDocument"
    MISSING_DOCUMENT_METADATA = "XDSMissingDocumentMetadata"
    MISSING_HOME_COMMUNITY_ID = "XDSMissingHomeCommunityId"
    NON_IDENTICAL_HASH = "XDSNonIdenticalHash"
    NON_IDENTICAL_SIZE = "XDSNonIdenticalSize"
    OBJECT_TYPE = "XDSObjectTypeError"
    PATIENT_ID_DOES_NOT_MATCH = "XDSPatientIdDoesNotMatch"
    PATIENT_ID_RECONCILIATION = "XDSPatientIDReconciliationError"
    REGISTRY_BUSY = "XDSRegistryBusy"
    REPOSITORY_BUSY = "XDSRepositoryBusy"
    REGISTRY_DEPRECATED_DOCUMENT = "XDSRegistryDeprecatedDocumentError"
    REGISTRY_DUPLICATE_UNIQUE_ID_IN_MESSAGE = "XDSRegistryDuplicateUniqueIdInMessage"
    REPOSITORY_DUPLICATE_UNIQUE_ID_IN_MESSAGE = "XDSRepositoryDuplicateUniqueIdInMessage"
    REGISTRY_ERROR = "XDSRegistryError"
    REPOSITORY_ERROR = "XDSRepositoryError"
    REGISTRY_METADATA_ERROR = "XDSRegistryMetadataError"
    REPOSITORY_METADATA_ERROR = "XDSRepositoryMetadataError"
    REGISTRY_NOT_AVAILABLE = "XDSRegistryNotAvailable"
    REGISTRY_OUT_OF_RESOURCES = "XDSRegistryOutOfResources"
    REPOSITORY_OUT_OF_RESOURCES = "XDSRepositoryOutOfResources"
    RESULT_NOT_SINGLE_PATIENT = "XDSResultNotSinglePatient"
    STORED_QUERY_MISSING_PARAM = "XDSStoredQueryMissingParam"
    STORED_QUERY_PARAM_NUMBER = "XDSStoredQueryParamNumber"
    TOO_MANY_RESULTS = "XDSTooManyResults"
    UNKNOWN_COMMUNITY = "XDSUnknownCommunity"
    UNKNOWN_PATIENT_ID = "XDSUnknownPatientId"
    UNKNOWN_REPOSITORY_ID = "XDSUnknownRepositoryId"
    UNKNOWN_STORED_QUERY = "XDSUnknownStoredQuery"


@dataclass(frozen=True, slots=True)
class RegistryError:
    """One `rs:RegistryError`.

    `context` tells a reader what to repair: which object and attribute, the rule, and what was received.
    `location` is free, except in retrieves, where it is the requested document's uniqueId.
    """

    code: ErrorCode
    context: str
    severity: Severity = Severity.ERROR
    location: str | None = None

    def with_code(self, code: ErrorCode) -> RegistryError:
        """The same finding under another code (a Repository reports some registry rules under its own names)."""
        return replace(self, code=code)


@dataclass(frozen=True, slots=True)
class RegistryResponse:
    """Outcome of a submission: a status and every error and warning found. Spec: ebRS 3.0 2.1.3."""

    status: Status
    errors: tuple[RegistryError, ...] = ()

    @property
    def succeeded(self) -> bool:
        """True when the submission took effect."""
        return self.status is Status.SUCCESS


#: Errors of one answer that are listed one by one.
MAX_LISTED_ERRORS: Final = 5000


class ErrorList:
    """Errors in the order in which they are found: as many as an answer lists, and how many more there are.

    A message of some megabytes may break rules a million times, which nobody reads and which must not fill the memory. Beyond
    `MAX_LISTED_ERRORS` only the first of each code is listed; the last says how many are not.
    """

    __slots__ = ("_codes", "_listed", "_unlisted", "_unlisted_code", "_unlisted_severity")

    def __init__(self) -> None:
        self._listed: list[RegistryError] = []
        self._codes: set[ErrorCode] = set()
        self._unlisted = 0
        self._unlisted_code = ErrorCode.REGISTRY_ERROR
        self._unlisted_severity = Severity.WARNING

    def admits(self, code: ErrorCode, severity: Severity = Severity.ERROR) -> bool:
        """Whether the next error, of that code, is to be added; one that is not is counted."""
        if len(self._listed) < MAX_LISTED_ERRORS or code not in self._codes:
            return True
        self._unlisted += 1
        if self._unlisted == 1 or (severity, self._unlisted_severity) == (Severity.ERROR, Severity.WARNING):
            self._unlisted_code, self._unlisted_severity = code, severity
        return False

    def add(self, error: RegistryError) -> None:
        """List an error that was admitted."""
        self._codes.add(error.code)
        self._listed.append(error)

    def errors(self) -> list[RegistryError]:
        """All that are listed, and the last that says how many are not."""
        if not self._unlisted:
            return self._listed
        rest = f"{self._unlisted} more errors are not listed"
        return [*self._listed, RegistryError(self._unlisted_code, rest, self._unlisted_severity)]


#: The answer of a Registry whose database has no space left: nothing was stored.
REGISTRY_IS_FULL: Final = RegistryResponse(
    Status.FAILURE, (RegistryError(ErrorCode.REGISTRY_OUT_OF_RESOURCES, "the registry has no space left; nothing was stored"),)
)


def response_to(errors: Iterable[RegistryError]) -> RegistryResponse:
    """Success, or Failure as soon as one finding is an Error; warnings travel along in both. See `ErrorList` for very many."""
    found = tuple(errors)
    # What two checks list is passed on as it is.
    if len(found) > 3 * MAX_LISTED_ERRORS:
        listed = ErrorList()
        for error in found:
            if listed.admits(error.code, error.severity):
                listed.add(error)
        found = tuple(listed.errors())
    failed = any(error.severity is Severity.ERROR for error in found)
    return RegistryResponse(Status.FAILURE if failed else Status.SUCCESS, found)
