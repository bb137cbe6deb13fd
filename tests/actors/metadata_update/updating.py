"""What the tests of metadata updates have in common: requests that must be accepted or refused, and what is registered then."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import func, select

from tests.actors.registry_fixtures import BOTH, CALLER, Registry
from tests.builders import PATIENT_ID, document_entry, submission
from xds.model.errors import ErrorCode
from xds.model.metadata import Association, DocumentEntry, Folder, Submission
from xds.model.vocabulary import AssociationType, StoredQueryId
from xds.store.schema.registry import registry_object

OTHER_PATIENT = "P2^^^&1.2.3.4.5&ISO"
MUE, RME = ErrorCode.METADATA_UPDATE, ErrorCode.REGISTRY_METADATA_ERROR


def accept(registry: Registry, sent: Submission, *, restricted: bool = False) -> None:
    response = (registry.actor.restricted_update if restricted else registry.actor.update)(sent, CALLER)
    assert response.succeeded, response.errors


def refuse(registry: Registry, sent: Submission, *, restricted: bool = False) -> set[ErrorCode]:
    """The codes of a refusal, after which everything is as it was."""
    before = count(registry)
    response = (registry.actor.restricted_update if restricted else registry.actor.update)(sent, CALLER)
    assert not response.succeeded
    assert count(registry) == before
    return {error.code for error in response.errors}


def count(registry: Registry) -> int:
    with registry.database.read() as connection:
        return connection.execute(select(func.count()).select_from(registry_object)).scalar_one()


def quoted(values: Sequence[str]) -> str:
    return "({})".format(",".join(f"'{value}'" for value in values))


def entry(registry: Registry, unique_id: str | None, level: int = 1) -> list[DocumentEntry]:
    """The versions of a document, oldest first."""
    return registry.ask(StoredQueryId.GET_DOCUMENTS, XDSDocumentEntryUniqueId=quoted([str(unique_id)]), MetadataLevel=str(level))  # type: ignore[return-value]


def folders(registry: Registry, unique_id: str | None, level: int = 1) -> list[Folder]:
    return registry.ask(StoredQueryId.GET_FOLDERS, XDSFolderUniqueId=quoted([str(unique_id)]), MetadataLevel=str(level))  # type: ignore[return-value]


def associations(registry: Registry, *uuids: str, level: int = 2, status: str = BOTH) -> list[Association]:
    return registry.ask(StoredQueryId.GET_ASSOCIATIONS, uuid=quoted(uuids), MetadataLevel=str(level), XDSAssociationStatus=status)  # type: ignore[return-value]


def ends(found: Sequence[Association], kind: str = AssociationType.HAS_MEMBER) -> set[tuple[str, str]]:
    return {(item.source, item.target) for item in found if item.association_type == kind}


def registered(registry: Registry, **attributes) -> DocumentEntry:
    new = document_entry(**attributes)
    registry.accept(submission([new], patient_id=new.patient_id or PATIENT_ID))
    (found,) = entry(registry, new.unique_id)
    return found


def in_folder(registry: Registry, entries: int = 1) -> tuple[Folder, list[DocumentEntry]]:
    """A registered Folder with documents in it."""
    sent = submission(entries, folders=1)
    registry.accept(sent)
    (package,) = folders(registry, sent.folders[0].unique_id)
    return package, [entry(registry, item.unique_id)[0] for item in sent.document_entries]
