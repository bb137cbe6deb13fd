"""The stored queries of ITI-18 and ITI-51, each composed of what `finding` finds.

Spec: ITI TF-2 3.18.4.1.2.3.7, 3.51.4.1.2.3.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection

from xds.model.fragments import ObjectKind
from xds.model.identifiers import read_cx
from xds.model.stored_queries import ReturnType, StoredQuery
from xds.model.vocabulary import AssociationType, StoredQueryId
from xds.store import affinity_patients
from xds.store.affinity_patients import AffinityPatient
from xds.store.registry.codes import CodeTable
from xds.store.registry.finding import Finder, with_association_status
from xds.store.registry.objects import StoredObject

Objects = list[StoredObject]

_DE, _SS, _FD, _AS = ObjectKind.DOCUMENT_ENTRY, ObjectKind.SUBMISSION_SET, ObjectKind.FOLDER, ObjectKind.ASSOCIATION
_PATIENTS_PER_STATEMENT: Final = 64
_HAS_MEMBER: Final = (AssociationType.HAS_MEMBER.value,)


@dataclass(frozen=True, slots=True)
class Found:
    """Objects in the order of registration, and today's patient of each of their patient keys."""

    objects: Objects
    patients: Mapping[int, AffinityPatient]


def find(connection: Connection, codes: CodeTable, query: StoredQuery, limit: int) -> Found:
    """What the query asks for.

    A little more than `limit` objects tell that there are too many; which ones those are is undefined then.
    """
    finder = Finder(connection, codes, query.return_type is ReturnType.OBJECT_REF, query.metadata_level)
    identity = StoredQueryId(query.definition.id)
    if identity in _INSIDE:
        return _find_inside(finder, query, *_INSIDE[identity], limit + 1)
    if identity in _SEVERAL_PATIENTS:
        return _find_for_several(finder, query, *_SEVERAL_PATIENTS[identity], limit + 1)
    objects = sorted(finder.connected(_BY_ID[identity](finder, query)), key=_key)
    return Found(objects, affinity_patients.surviving(connection, {item.patient_key for item in objects}))


def _find_inside(finder: Finder, query: StoredQuery, patient_id: str, kinds: Sequence[ObjectKind], limit: int) -> Found:
    """Objects of the patient of a parameter and of all that were merged into it.

    Nothing when the patient is unknown, or is itself merged into another. Spec: ITI TF-2 3.8.4.2.4, 3.18.4.1.3.
    """
    identifier = read_cx(query.text(patient_id) or "")
    active = affinity_patients.find_active(finder.connection, identifier) if identifier else None
    if active is None:
        return Found([], {})
    patient, keys = active
    patients = dict.fromkeys(keys, patient)
    found = [item for kind in kinds for item in finder.inside(kind, keys, query, limit)]
    if query.definition.id == StoredQueryId.GET_ALL and len(found) < limit:
        found = finder.connected([*found, *with_association_status(finder.associations_of(_keys(found)), query)])
        patients |= affinity_patients.surviving(finder.connection, {item.patient_key for item in found} - patients.keys())
    return Found(sorted(found, key=_key), patients)


def _find_for_several(finder: Finder, query: StoredQuery, patient_id: str, kind: ObjectKind, limit: int) -> Found:
    """Objects of the patients of a parameter, or of anybody when it was not given. Spec: ITI TF-2 3.51.4.1.2.3."""
    if not query.has(patient_id):
        objects = sorted(finder.across(kind, query, limit), key=_key)
        return Found(objects, affinity_patients.surviving(finder.connection, {item.patient_key for item in objects}))
    patients: dict[int, AffinityPatient] = {}
    for text in _texts(query, patient_id):
        identifier = read_cx(text)
        active = affinity_patients.find_active(finder.connection, identifier) if identifier else None
        if active is not None:
            patients |= dict.fromkeys(active[1], active[0])
    found: Objects = []
    for some in _portions(list(patients)):
        found += finder.inside(kind, some, query, limit - len(found))
        if len(found) >= limit:
            break
    return Found(sorted(found, key=_key), patients)


def _portions(keys: Sequence[int]) -> Iterator[Sequence[int]]:
    """Patients of one statement each. Their number is always a power of two, so that there are few different statements."""
    start = 0
    while start < len(keys):
        size = min(_PATIENTS_PER_STATEMENT, 1 << (len(keys) - start - 1).bit_length())
        some = keys[start : start + size]
        yield [*some, *[some[-1]] * (size - len(some))]
        start += size


def _get_documents(finder: Finder, query: StoredQuery) -> Objects:
    return _identified(finder, query, _DE, "XDSDocumentEntry")


def _get_folders(finder: Finder, query: StoredQuery) -> Objects:
    return _identified(finder, query, _FD, "XDSFolder")


def _get_associations(finder: Finder, query: StoredQuery) -> Objects:
    return with_association_status(finder.associations_of(finder.keys_of(_texts(query, "uuid"))), query)


def _get_documents_and_associations(finder: Finder, query: StoredQuery) -> Objects:
    entries = _identified(finder, query, _DE, "XDSDocumentEntry")
    return entries + with_association_status(finder.associations_of(_keys(entries)), query)


def _get_submission_sets(finder: Finder, query: StoredQuery) -> Objects:
    members = finder.associations_to(finder.keys_of(_texts(query, "uuid"), _DE, _FD), _HAS_MEMBER)
    packages = finder.by_key(_SS, {item.source_key for item in members if item.source_key})
    keys = _keys(packages)
    return packages + [item for item in members if item.source_key in keys]


def _get_submission_set_and_contents(finder: Finder, query: StoredQuery) -> Objects:
    packages = _identified(finder, query, _SS, "XDSSubmissionSet")
    members = finder.associations_from(_keys(packages), _HAS_MEMBER)
    targets = {item.target_key for item in members if item.target_key}
    found = packages + finder.passing(_DE, targets, query) + finder.by_key(_FD, targets)
    keys = _keys(found)
    found += [item for item in finder.by_key(_AS, targets) if item.source_key in keys and item.target_key in keys]
    keys = _keys(found)
    return found + [item for item in members if item.target_key in keys]


def _get_folder_and_contents(finder: Finder, query: StoredQuery) -> Objects:
    folders = _identified(finder, query, _FD, "XDSFolder")
    members = with_association_status(finder.associations_from(_keys(folders), _HAS_MEMBER), query)
    entries = finder.passing(_DE, {item.target_key for item in members if item.target_key}, query)
    keys = _keys(entries)
    return folders + entries + [item for item in members if item.target_key in keys]


def _get_folders_for_document(finder: Finder, query: StoredQuery) -> Objects:
    entries = _identified(finder, query, _DE, "XDSDocumentEntry")
    members = with_association_status(finder.associations_to(_keys(entries), _HAS_MEMBER), query)
    return finder.by_key(_FD, {item.source_key for item in members if item.source_key})


def _get_related_documents(finder: Finder, query: StoredQuery) -> Objects:
    entries = _identified(finder, query, _DE, "XDSDocumentEntry")
    related = with_association_status(finder.associations_of(_keys(entries), _texts(query, "AssociationTypes")), query)
    ends = {key for item in related for key in (item.source_key, item.target_key) if key}
    documents = finder.passing(_DE, ends, query)
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


def _texts(query: StoredQuery, name: str) -> list[str]:
    return list(dict.fromkeys(str(value) for value in query.group(name)))


def _keys(objects: Iterable[StoredObject]) -> set[int]:
    return {item.key for item in objects}


def _key(item: StoredObject) -> int:
    return item.key


#: Queries about one patient: the parameter that names it, and the kinds of objects that are searched.
_INSIDE: Final[dict[StoredQueryId, tuple[str, tuple[ObjectKind, ...]]]] = {
    StoredQueryId.FIND_DOCUMENTS: ("XDSDocumentEntryPatientId", (_DE,)),
    StoredQueryId.FIND_DOCUMENTS_BY_REFERENCE_ID: ("XDSDocumentEntryPatientId", (_DE,)),
    StoredQueryId.FIND_SUBMISSION_SETS: ("XDSSubmissionSetPatientId", (_SS,)),
    StoredQueryId.FIND_FOLDERS: ("XDSFolderPatientId", (_FD,)),
    StoredQueryId.GET_ALL: ("patientId", (_DE, _SS, _FD)),
}

#: Queries about several patients: the parameter that may name them, and the kind of objects that is searched.
_SEVERAL_PATIENTS: Final[dict[StoredQueryId, tuple[str, ObjectKind]]] = {
    StoredQueryId.FIND_DOCUMENTS_FOR_MULTIPLE_PATIENTS: ("XDSDocumentEntryPatientId", _DE),
    StoredQueryId.FIND_FOLDERS_FOR_MULTIPLE_PATIENTS: ("XDSFolderPatientId", _FD),
}

#: Queries about objects that are named by their ids.
_BY_ID: Final[dict[StoredQueryId, Callable[[Finder, StoredQuery], Objects]]] = {
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
