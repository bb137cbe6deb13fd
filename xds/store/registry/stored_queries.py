"""The stored queries of ITI-18, each composed of what `finding` finds. Spec: ITI TF-2 3.18.4.1.2.3.7."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Final

from sqlalchemy import Connection

from xds.model.fragments import ObjectKind
from xds.model.identifiers import read_cx
from xds.model.stored_queries import ReturnType, StoredQuery
from xds.model.vocabulary import AssociationType, StoredQueryId
from xds.store import affinity_patients
from xds.store.registry.codes import CodeTable
from xds.store.registry.finding import Condition, Finder, NothingMatchesError, association_status
from xds.store.registry.objects import StoredObject
from xds.store.schema.registry import association

Objects = list[StoredObject]

_DE, _SS, _FD, _AS = ObjectKind.DOCUMENT_ENTRY, ObjectKind.SUBMISSION_SET, ObjectKind.FOLDER, ObjectKind.ASSOCIATION
_HAS_MEMBER: Final[Condition] = association.c.type == AssociationType.HAS_MEMBER.value


def find(connection: Connection, codes: CodeTable, query: StoredQuery, limit: int) -> Objects:
    """What the query asks for, in the order of registration.

    A little more than `limit` objects tell that there are too many; which ones those are is undefined then.
    """
    finder = Finder(connection, codes, as_refs=query.return_type is ReturnType.OBJECT_REF)
    found = _QUERIES[StoredQueryId(query.definition.id)](finder, query, limit + 1)
    return sorted(found, key=lambda item: item.key)


def _patients(finder: Finder, query: StoredQuery, name: str) -> Sequence[int]:
    """The patient of a parameter with all that were merged into it; nothing when unknown or itself merged into another."""
    identifier = read_cx(query.text(name) or "")
    patient = affinity_patients.find(finder.connection, identifier) if identifier else None
    if patient is None or not patient.is_active:
        return ()
    return affinity_patients.chain(finder.connection, patient.patient_key)


def _find_documents(finder: Finder, query: StoredQuery, limit: int) -> Objects:
    return finder.entries(_patients(finder, query, "XDSDocumentEntryPatientId"), query, limit)


def _find_submission_sets(finder: Finder, query: StoredQuery, limit: int) -> Objects:
    return finder.submission_sets(_patients(finder, query, "XDSSubmissionSetPatientId"), query, limit)


def _find_folders(finder: Finder, query: StoredQuery, limit: int) -> Objects:
    return finder.folders(_patients(finder, query, "XDSFolderPatientId"), query, limit)


def _get_all(finder: Finder, query: StoredQuery, limit: int) -> Objects:
    patients = _patients(finder, query, "patientId")
    found = finder.entries(patients, query, limit)
    found += finder.submission_sets(patients, query, limit)
    found += finder.folders(patients, query, limit)
    if len(found) >= limit:
        return found
    return found + finder.associations_of(_keys(found), *association_status(query))


def _get_documents(finder: Finder, query: StoredQuery, _limit: int) -> Objects:
    return _identified(finder, query, _DE, "XDSDocumentEntry")


def _get_folders(finder: Finder, query: StoredQuery, _limit: int) -> Objects:
    return _identified(finder, query, _FD, "XDSFolder")


def _get_associations(finder: Finder, query: StoredQuery, _limit: int) -> Objects:
    return finder.associations_of(finder.keys_of(_texts(query, "uuid")), *association_status(query))


def _get_documents_and_associations(finder: Finder, query: StoredQuery, _limit: int) -> Objects:
    entries = _identified(finder, query, _DE, "XDSDocumentEntry")
    return entries + finder.associations_of(_keys(entries), *association_status(query))


def _get_submission_sets(finder: Finder, query: StoredQuery, _limit: int) -> Objects:
    members = finder.associations_to(finder.keys_of(_texts(query, "uuid"), _DE, _FD), _HAS_MEMBER)
    packages = finder.by_key(_SS, {item.source_key for item in members if item.source_key})
    keys = _keys(packages)
    return packages + [item for item in members if item.source_key in keys]


def _get_submission_set_and_contents(finder: Finder, query: StoredQuery, _limit: int) -> Objects:
    packages = _identified(finder, query, _SS, "XDSSubmissionSet")
    members = finder.associations_from(_keys(packages), _HAS_MEMBER)
    targets = {item.target_key for item in members if item.target_key}
    found = packages + _entries_passing(finder, query, targets) + finder.by_key(_FD, targets)
    keys = _keys(found)
    found += [item for item in finder.by_key(_AS, targets) if item.source_key in keys and item.target_key in keys]
    keys = _keys(found)
    return found + [item for item in members if item.target_key in keys]


def _get_folder_and_contents(finder: Finder, query: StoredQuery, _limit: int) -> Objects:
    folders = _identified(finder, query, _FD, "XDSFolder")
    members = finder.associations_from(_keys(folders), _HAS_MEMBER, *association_status(query))
    entries = _entries_passing(finder, query, {item.target_key for item in members if item.target_key})
    keys = _keys(entries)
    return folders + entries + [item for item in members if item.target_key in keys]


def _get_folders_for_document(finder: Finder, query: StoredQuery, _limit: int) -> Objects:
    entries = _identified(finder, query, _DE, "XDSDocumentEntry")
    members = finder.associations_to(_keys(entries), _HAS_MEMBER, *association_status(query))
    return finder.by_key(_FD, {item.source_key for item in members if item.source_key})


def _get_related_documents(finder: Finder, query: StoredQuery, _limit: int) -> Objects:
    entries = _identified(finder, query, _DE, "XDSDocumentEntry")
    types = association.c.type.in_(_texts(query, "AssociationTypes"))
    related = finder.associations_of(_keys(entries), types, *association_status(query))
    ends = {key for item in related for key in (item.source_key, item.target_key) if key}
    documents = _entries_passing(finder, query, ends)
    keys = _keys(documents)
    related = [item for item in related if item.source_key in keys and item.target_key in keys]
    ends = {key for item in related for key in (item.source_key, item.target_key) if key}
    return [item for item in documents if item.key in ends] + related


def _identified(finder: Finder, query: StoredQuery, kind: ObjectKind, prefix: str) -> Objects:
    """The objects of the id parameters, whichever of the alternatives was given."""
    if query.has(f"{prefix}UniqueId"):
        return finder.by_unique_id(kind, _texts(query, f"{prefix}UniqueId"))
    if query.has(f"{prefix}LogicalID"):
        return finder.by_logical_id(kind, _texts(query, f"{prefix}LogicalID"))
    return finder.by_uuid(kind, _texts(query, f"{prefix}EntryUUID"))


def _entries_passing(finder: Finder, query: StoredQuery, keys: Iterable[int]) -> Objects:
    try:
        conditions = finder.content_conditions(query)
    except NothingMatchesError:
        return []
    return finder.by_key(_DE, keys, *conditions)


def _texts(query: StoredQuery, name: str) -> list[str]:
    return list(dict.fromkeys(str(value) for value in query.group(name)))


def _keys(objects: Iterable[StoredObject]) -> set[int]:
    return {item.key for item in objects}


_QUERIES: Final[dict[StoredQueryId, Callable[[Finder, StoredQuery, int], Objects]]] = {
    StoredQueryId.FIND_DOCUMENTS: _find_documents,
    StoredQueryId.FIND_DOCUMENTS_BY_REFERENCE_ID: _find_documents,
    StoredQueryId.FIND_SUBMISSION_SETS: _find_submission_sets,
    StoredQueryId.FIND_FOLDERS: _find_folders,
    StoredQueryId.GET_ALL: _get_all,
    StoredQueryId.GET_DOCUMENTS: _get_documents,
    StoredQueryId.GET_FOLDERS: _get_folders,
    StoredQueryId.GET_ASSOCIATIONS: _get_associations,
    StoredQueryId.GET_DOCUMENTS_AND_ASSOCIATIONS: _get_documents_and_associations,
    StoredQueryId.GET_SUBMISSION_SETS: _get_submission_sets,
    StoredQueryId.GET_SUBMISSION_SET_AND_CONTENTS: _get_submission_set_and_contents,
    StoredQueryId.GET_FOLDER_AND_CONTENTS: _get_folder_and_contents,
    StoredQueryId.GET_FOLDERS_FOR_DOCUMENT: _get_folders_for_document,
    StoredQueryId.GET_RELATED_DOCUMENTS: _get_related_documents,
}
