"""What ITI-57 and ITI-92 say differently: the same breach has other error codes, and ITI-92 allows less."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Final

from xds.model.errors import ErrorCode, RegistryError


@dataclass(frozen=True, slots=True)
class Dialect:
    """The codes of one transaction.

    `operation`: a request that cannot be broken into operations; `first_version`: an object that is no later version of a
    registered one; `annotation`: what the HasMember of an update must say; `unique_id` and `object_type`: these have changed.
    """

    restricted: bool
    operation: ErrorCode
    first_version: ErrorCode
    annotation: ErrorCode
    unique_id: ErrorCode
    object_type: tuple[ErrorCode, ...]


UNRESTRICTED: Final = Dialect(
    restricted=False,
    operation=ErrorCode.METADATA_UPDATE_OPERATION,
    first_version=ErrorCode.METADATA_UPDATE,
    annotation=ErrorCode.METADATA_UPDATE,
    unique_id=ErrorCode.METADATA_UPDATE,
    object_type=(ErrorCode.METADATA_UPDATE,),
)
#: The supplement has a code of its own for a changed objectType; test tools look for the one of all that must not change.
RESTRICTED: Final = Dialect(
    restricted=True,
    operation=ErrorCode.METADATA_UPDATE,
    first_version=ErrorCode.INVALID_REQUEST,
    annotation=ErrorCode.METADATA_ANNOTATION,
    unique_id=ErrorCode.METADATA_IDENTIFIER,
    object_type=(ErrorCode.OBJECT_TYPE, ErrorCode.UNMODIFIABLE_METADATA),
)


def with_codes_of_updates(errors: Iterable[RegistryError]) -> list[RegistryError]:
    """The errors, where patients differ also under the code that updates have for it beside that of registrations.

    Spec: ITI TF-2 3.57.4.1.3, whose XDSPatientIDReconciliationError is for patient ids that do not match.
    """
    found = []
    for error in errors:
        found.append(error)
        if error.code is ErrorCode.PATIENT_ID_DOES_NOT_MATCH:
            found.append(replace(error, code=ErrorCode.PATIENT_ID_RECONCILIATION))
    return found
