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


#: The answer of a Registry whose database has no space left: nothing was stored.
REGISTRY_IS_FULL: Final = RegistryResponse(
    Status.FAILURE, (RegistryError(ErrorCode.REGISTRY_OUT_OF_RESOURCES, "the registry has no space left; nothing was stored"),)
)


def response_to(errors: Iterable[RegistryError]) -> RegistryResponse:
    """Success, or Failure as soon as one finding is an Error; warnings travel along in both."""
    found = tuple(errors)
    failed = any(error.severity is Severity.ERROR for error in found)
    return RegistryResponse(Status.FAILURE if failed else Status.SUCCESS, found)
