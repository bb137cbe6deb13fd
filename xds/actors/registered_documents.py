"""What the registry in this process tells other actors about the documents in it, in full.

It is not a transaction: nobody asks from outside, so that nothing is decided about access here and nothing is audited.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from xds.actors.imaging_registrations import RegisteredManifest
from xds.model.fragments import ObjectKind
from xds.model.identifiers import read_cx
from xds.model.metadata import DocumentEntry
from xds.model.on_demand import OnDemandEntry
from xds.model.stored_queries import ReturnType, StoredQuery
from xds.model.vocabulary import AssociationType, AvailabilityStatus, DocumentEntryScheme, StoredQueryId
from xds.rules.stored_query_table import STORED_QUERIES
from xds.store import affinity_patients
from xds.store.database import Connection, Database
from xds.store.registry import stored_queries
from xds.store.registry.codes import CodeTable
from xds.store.registry.finding import Finder
from xds.store.registry.objects import StoredObject
from xds.wire.ebrim import read_fragments


class RegisteredDocuments:
    """The DocumentEntries of the registry in this process. One object serves all threads."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._codes = CodeTable()

    def of_patient(self, patient_id: str, limit: int) -> tuple[DocumentEntry, ...]:
        """Approved stable entries of a patient (CX) and of all that were merged into it, at most `limit`, the oldest first."""
        identifier = read_cx(patient_id)
        if identifier is None:
            return ()
        query = StoredQuery(
            STORED_QUERIES[StoredQueryId.FIND_DOCUMENTS],
            ReturnType.LEAF_CLASS,
            {
                "XDSDocumentEntryPatientId": ((identifier.to_cx(),),),
                "XDSDocumentEntryStatus": ((AvailabilityStatus.APPROVED.value,),),
            },
        )
        with self._database.read() as connection:
            found = stored_queries.find(connection, self._codes, query, limit).objects[:limit]
        return _entries(found)

    def registered(self, unique_id: str, logical_id: str) -> RegisteredManifest | None:
        """The DocumentEntry with that logicalID and document: the newest version that is Approved, else the newest."""
        with self._database.read() as connection:
            found = Finder(connection, self._codes, as_refs=True).by_logical_id(ObjectKind.DOCUMENT_ENTRY, [logical_id])
            current = [item for item in found if not item.superseded and item.unique_id == unique_id]
            if not current:
                return None
            item = max(current, key=lambda each: (each.fragment.status is AvailabilityStatus.APPROVED, each.key))
            patient = affinity_patients.surviving(connection, {item.patient_key})[item.patient_key]
        is_approved = item.fragment.status is AvailabilityStatus.APPROVED
        return RegisteredManifest(item.fragment.id, patient.identifier.to_cx(), is_approved)

    def on_demand(self, unique_ids: Sequence[str], repository_unique_id: str) -> Mapping[str, OnDemandEntry]:
        """The on-demand entries of that repository by uniqueId; of several the newest, Approved before others."""
        if not unique_ids:
            return {}
        with self._database.read() as connection:
            finder = Finder(connection, self._codes, as_refs=False)
            stored = [item for item in finder.by_unique_id(ObjectKind.DOCUMENT_ENTRY, unique_ids) if not item.superseded]
            stored.sort(key=lambda item: (item.fragment.status is AvailabilityStatus.APPROVED, item.key))
            found = {
                item.unique_id or "": (item, entry)
                for item, entry in zip(stored, _entries(stored), strict=True)
                if entry.is_on_demand and entry.repository_unique_id == repository_unique_id
            }
            return {unique_id: self._as_of_today(connection, finder, *pair) for unique_id, pair in found.items()}

    def _as_of_today(self, connection: Connection, finder: Finder, item: StoredObject, entry: DocumentEntry) -> OnDemandEntry:
        patient = affinity_patients.surviving(connection, {item.patient_key})[item.patient_key]
        patient_id = patient.identifier.to_cx()
        identifiers = tuple(
            replace(part, value=patient_id) if part.scheme == DocumentEntryScheme.PATIENT_ID else part
            for part in entry.external_identifiers
        )
        class_code = None if item.class_code is None else self._codes.text(connection, item.class_code)
        today = replace(entry, external_identifiers=identifiers)
        return OnDemandEntry(today, patient_id, class_code, item.confidentiality, _latest_snapshot(finder, item))


def _entries(stored: Iterable[StoredObject]) -> tuple[DocumentEntry, ...]:
    return tuple(entry for entry in read_fragments(item.fragment for item in stored) if isinstance(entry, DocumentEntry))


def _latest_snapshot(finder: Finder, item: StoredObject) -> str | None:
    links = finder.associations_to([item.key], (AssociationType.IS_SNAPSHOT_OF.value,))
    snapshots = finder.by_key(ObjectKind.DOCUMENT_ENTRY, {link.source_key for link in links if link.source_key is not None})
    approved = [found for found in snapshots if found.fragment.status is AvailabilityStatus.APPROVED]
    return max(approved, key=lambda found: found.key).fragment.id if approved else None
