"""What the tests of metadata updates have in common: requests, and their faults as tuples."""

from __future__ import annotations

from typing import Any

from tests.builders import (
    ASSIGNING_AUTHORITY,
    document_entry,
    folder,
    uuid_for,
)
from tests.updates import member, new_version, request
from xds.model.errors import ErrorCode, RegistryError
from xds.model.metadata import DocumentEntry, Folder, Submission
from xds.model.vocabulary import AssociationType
from xds.rules.update import (
    UNRESTRICTED,
    Dialect,
    check,
)

MUE, OPERATION, RME = ErrorCode.METADATA_UPDATE, ErrorCode.METADATA_UPDATE_OPERATION, ErrorCode.REGISTRY_METADATA_ERROR
ANNOTATION = ErrorCode.METADATA_ANNOTATION
LID, FOLDER_LID = uuid_for(1), uuid_for(2)
P1 = (ASSIGNING_AUTHORITY, "P1")
KIND = AssociationType.UPDATE_AVAILABILITY_STATUS


def read(errors: list[RegistryError]) -> list[tuple[ErrorCode, str]]:
    """Code and attribute of each error."""
    return [(error.code, error.context.split(": ")[1]) for error in errors]


def faults(sent: Submission, dialect: Dialect = UNRESTRICTED) -> list[tuple[ErrorCode, str]]:
    return read(check(sent, dialect))


def entry(**attributes: Any) -> DocumentEntry:
    """A new version of the registered DocumentEntry."""
    found = new_version(document_entry(unique_id="1.2.3.4"), **{"lid": LID, **attributes})
    assert isinstance(found, DocumentEntry)
    return found


def package(**attributes: Any) -> Folder:
    """A new version of the registered Folder."""
    found = new_version(folder(unique_id="1.2.3.5"), **{"id": "Folder02", "lid": FOLDER_LID, **attributes})
    assert isinstance(found, Folder)
    return found


def of(obj: DocumentEntry | Folder, **attributes: Any) -> Submission:
    return request(obj, member(obj, **attributes))
