"""What the tests of stored queries have in common: what is found, and its kinds."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import text

from tests.actors.registry_fixtures import APPROVED, Registry
from tests.builders import (
    PATIENT_ID,
    document_entry,
    submission,
)
from xds.model.identifiers import uuid_bytes
from xds.model.metadata import DocumentEntry
from xds.model.vocabulary import StoredQueryId

OTHER_PATIENT = "P2^^^&1.2.3.4.5&ISO"
THIRD_PATIENT = "P3^^^&1.2.3.4.5&ISO"
EVENT = "1.2.840.10008.2.16.4"


def find(registry: Registry, **parameters: str | Sequence[str]) -> list[str]:
    """Titles of the documents of a FindDocuments."""
    given = {"XDSDocumentEntryPatientId": f"'{PATIENT_ID}'", "XDSDocumentEntryStatus": APPROVED, **parameters}
    return [item.title for item in registry.ask(StoredQueryId.FIND_DOCUMENTS, **given)]


def put(registry: Registry, title: str, **attributes) -> DocumentEntry:
    entry = document_entry(title=title, **attributes)
    registry.accept(submission([entry], patient_id=attributes.get("patient_id", PATIENT_ID)))
    return entry


def make_on_demand(registry: Registry, entry_uuid: str) -> None:
    """Mark a stored entry as On-Demand: its registration (ITI-61) is another transaction."""
    statement = text("UPDATE document_entry SET on_demand = 1, creation_time = NULL WHERE entry_uuid = :uuid")
    registry.database.write(lambda connection: connection.execute(statement, {"uuid": uuid_bytes(entry_uuid)}))


def kinds(found: Sequence[object]) -> dict[str, int]:
    names = [type(item).__name__ for item in found]
    return {name: names.count(name) for name in sorted(set(names))}
