"""Storing what a submission brings, and changing what it changes. Spec: ITI TF-2 3.42.4.1.3."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from sqlalchemy import Connection, select, update

from xds.model.fragments import ObjectKind
from xds.model.identifiers import canonical_cx, dtm_number, uuid_bytes, uuid_urn
from xds.model.metadata import Association, Code, DocumentEntry, Folder, RegistryObject, Submission, SubmissionSet
from xds.model.vocabulary import (
    AssociationType,
    AvailabilityStatus,
    DocumentEntryScheme,
    FolderScheme,
    SlotName,
    SubmissionSetScheme,
)
from xds.store.dialects import insert_rows, next_keys
from xds.store.registry.codes import CodeKey, CodeTable
from xds.store.registry.known import Located
from xds.store.registry.objects import APPROVED, DEPRECATED, STATUSES, SUPERSEDED, TABLES
from xds.store.schema.registry import (
    CodeKind,
    TextKind,
    association,
    document_entry,
    folder,
    object_code,
    object_text,
    registry_object,
    submission_set,
    unique_identifier,
)

Rows = list[dict[str, Any]]
#: The codes of one object by classificationScheme, as far as they are stored beside its fragment.
_Coded = Mapping[str, Sequence[Code]]

_STORED: Final = frozenset(
    (
        *(scheme for scheme in DocumentEntryScheme if scheme.name.endswith("_CODE")),
        SubmissionSetScheme.CONTENT_TYPE_CODE,
        FolderScheme.CODE,
    )
)


class _Insertion:
    """The rows of one submission, collected by table and inserted together."""

    def __init__(self, codes: Mapping[CodeKey, int], located: Mapping[str, Located], now: int) -> None:
        self._codes = codes
        self._located = located
        self._now = now
        self._rows: dict[Any, Rows] = {}

    def add(self, obj: RegistryObject, coded: _Coded, packed: bytes) -> None:
        """Collect the rows of one object with its codes; everything it refers to must be located."""
        own = self._located[obj.id]
        shared = {
            "patient_key": own.patient_key,
            "object_key": own.key,
            "entry_uuid": uuid_bytes(obj.id),
            "home": obj.home,
            "fragment": packed,
        }
        if isinstance(obj, DocumentEntry):
            self._add_entry(obj, coded, own, shared)
        elif isinstance(obj, SubmissionSet):
            self._add_submission_set(obj, coded, own, shared)
        elif isinstance(obj, Folder):
            self._add_folder(obj, coded, own, shared)
        elif isinstance(obj, Association):
            ends = {"source_key": self._located[obj.source].key, "target_key": self._located[obj.target].key}
            self._put(association, {**shared, **ends, "type": obj.association_type, "deprecated": 0})

    def execute(self, connection: Connection) -> None:
        """Insert what was collected."""
        insert_rows(connection, self._rows)

    def _put(self, table: Any, row: dict[str, Any]) -> None:
        self._rows.setdefault(table, []).append(row)

    def _add_entry(self, entry: DocumentEntry, coded: _Coded, own: Located, shared: dict[str, Any]) -> None:
        scheme = DocumentEntryScheme
        confidentiality = coded.get(scheme.CONFIDENTIALITY_CODE, ())
        self._put(
            document_entry,
            {
                **shared,
                "deprecated": 0,
                "version": entry.version or 1,
                "on_demand": int(entry.is_on_demand),
                "class_code": self._first(coded, scheme.CLASS_CODE),
                "type_code": self._first(coded, scheme.TYPE_CODE),
                "practice_setting_code": self._first(coded, scheme.PRACTICE_SETTING_CODE),
                "facility_type_code": self._first(coded, scheme.HEALTHCARE_FACILITY_TYPE_CODE),
                "format_code": self._first(coded, scheme.FORMAT_CODE),
                "creation_time": _time(entry.creation_time),
                "service_start_time": _time(entry.service_start_time),
                "service_stop_time": _time(entry.service_stop_time),
                "hash": entry.hash,
                "size": entry.size,
                "repository_unique_id": entry.repository_unique_id,
                "mime_type": entry.mime_type,
                "unique_id": entry.unique_id,
                "confidentiality": "\n".join(map(str, confidentiality)),
            },
        )
        self._put_unique_id(entry.unique_id, own)
        self._put_codes(CodeKind.EVENT, coded.get(scheme.EVENT_CODE, ()), own)
        self._put_codes(CodeKind.CONFIDENTIALITY, confidentiality, own)
        self._put_texts(TextKind.DOCUMENT_AUTHOR_PERSON, (author.person for author in entry.authors), own)
        self._put_texts(TextKind.REFERENCE_ID, entry.reference_ids, own)
        self._put_texts(TextKind.DOCUMENT_AVAILABILITY, entry.slot(SlotName.DOCUMENT_AVAILABILITY), own)
        self._put_texts(TextKind.SOURCE_PATIENT_ID, (canonical_cx(entry.source_patient_id or ""),), own)

    def _add_submission_set(self, package: SubmissionSet, coded: _Coded, own: Located, shared: dict[str, Any]) -> None:
        row = {
            "content_type_code": self._first(coded, SubmissionSetScheme.CONTENT_TYPE_CODE),
            "source_id": package.source_id,
            "submission_time": _time(package.submission_time),
            "unique_id": package.unique_id,
        }
        self._put(submission_set, {**shared, **row})
        self._put_unique_id(package.unique_id, own)
        self._put_texts(TextKind.SUBMISSION_SET_AUTHOR_PERSON, (author.person for author in package.authors), own)

    def _add_folder(self, package: Folder, coded: _Coded, own: Located, shared: dict[str, Any]) -> None:
        row = {"deprecated": 0, "version": package.version or 1, "last_update_time": self._now, "unique_id": package.unique_id}
        self._put(folder, {**shared, **row})
        self._put_unique_id(package.unique_id, own)
        self._put_codes(CodeKind.FOLDER, coded.get(FolderScheme.CODE, ()), own)

    def _first(self, coded: _Coded, scheme: str) -> int | None:
        return self._codes[coded[scheme][0].code, coded[scheme][0].scheme] if scheme in coded else None

    def _put_unique_id(self, unique_id: str | None, own: Located) -> None:
        row = {"unique_id": unique_id, "object_key": own.key, "kind": int(own.kind), "patient_key": own.patient_key}
        self._put(unique_identifier, row)

    def _put_codes(self, kind: CodeKind, codes: Iterable[Code], own: Located) -> None:
        for number in {self._codes[code.code, code.scheme] for code in codes}:
            row = {"patient_key": own.patient_key, "kind": int(kind), "code_id": number, "object_key": own.key}
            self._put(object_code, row)

    def _put_texts(self, kind: TextKind, texts: Iterable[str | None], own: Located) -> None:
        for text in {text for text in texts if text}:
            row = {"patient_key": own.patient_key, "kind": int(kind), "value": text, "object_key": own.key}
            self._put(object_text, row)


def _time(text: str | None) -> int | None:
    return dtm_number(text) if text else None


def _coded(obj: RegistryObject) -> _Coded:
    found: dict[str, list[Code]] = {}
    for item in obj.classifications:
        if item.scheme in _STORED:
            found.setdefault(item.scheme, []).append(item.code)
    return found


_KINDS = {
    DocumentEntry: ObjectKind.DOCUMENT_ENTRY,
    SubmissionSet: ObjectKind.SUBMISSION_SET,
    Folder: ObjectKind.FOLDER,
    Association: ObjectKind.ASSOCIATION,
}


def allocate(connection: Connection, objects: Sequence[RegistryObject], patient_key: int) -> dict[str, Located]:
    """Give each new object its key, all of them under one patient. Ids must be UUIDs.

    Keys ascend in the order of the objects.
    """
    keys = next_keys(connection, registry_object.c.object_key, len(objects))
    located = {obj.id: Located(key, patient_key, _KINDS[type(obj)]) for key, obj in zip(keys, objects, strict=True)}
    rows = [
        {
            "object_key": place.key,
            "entry_uuid": uuid_bytes(obj.id),
            "kind": int(place.kind),
            "patient_key": patient_key,
            "logical_id": uuid_bytes(obj.logical_id),
        }
        for obj, place in zip(objects, located.values(), strict=True)
    ]
    insert_rows(connection, {registry_object: rows})
    return located


def insert_objects(
    connection: Connection,
    codes: CodeTable,
    submission: Submission,
    fragments: Mapping[str, bytes],
    located: Mapping[str, Located],
    now: int,
) -> Mapping[CodeKey, int]:
    """Store every object of a valid submission. `fragments`: rendered and packed, by id; `now`: when a folder was last updated.

    Gives the codes back that `codes` may remember after the commit.
    """
    objects = [(obj, _coded(obj)) for obj in submission.objects()]
    interned = codes.intern(connection, (code for _, coded in objects for several in coded.values() for code in several))
    insertion = _Insertion(interned, located, now)
    for obj, coded in objects:
        insertion.add(obj, coded, fragments[obj.id])
    insertion.execute(connection)
    return interned


def children_of(connection: Connection, entries: Iterable[Located]) -> list[Located]:
    """The DocumentEntries that append to or transform these entries, and theirs in turn. Spec: ITI TF-3 4.2.2.2.3."""
    found: dict[int, Located] = {}
    parents = [entry.key for entry in entries]
    seen = set(parents)
    kinds = (AssociationType.APND.value, AssociationType.XFRM.value)
    while parents:
        statement = (
            select(registry_object.c.object_key, registry_object.c.patient_key)
            .join(association, association.c.source_key == registry_object.c.object_key)
            .where(association.c.target_key.in_(parents), association.c.type.in_(kinds), association.c.deprecated == 0)
        )
        children = [Located(key, patient, ObjectKind.DOCUMENT_ENTRY) for key, patient in connection.execute(statement)]
        found.update((child.key, child) for child in children if child.key not in seen)
        parents = list({child.key for child in children} - seen)
        seen.update(parents)
    return list(found.values())


def deprecate_entries(connection: Connection, entries: Iterable[Located]) -> None:
    """Set the status of those of these DocumentEntries that are Approved to Deprecated."""
    for entry in entries:
        own = (document_entry.c.patient_key == entry.patient_key, document_entry.c.object_key == entry.key)
        approved = document_entry.c.deprecated == APPROVED
        connection.execute(update(document_entry).where(*own, approved).values(deprecated=DEPRECATED))


def supersede(connection: Connection, versions: Iterable[Located]) -> None:
    """Let DocumentEntries and Folders make way for newer versions: they are Deprecated, and found only where all versions are."""
    _set_deprecated(connection, versions, SUPERSEDED)


def uncover(connection: Connection, versions: Iterable[Located]) -> None:
    """Make superseded DocumentEntries and Folders the newest versions again; they stay Deprecated."""
    for item in versions:
        table = TABLES[item.kind]
        own = (table.c.patient_key == item.patient_key, table.c.object_key == item.key)
        connection.execute(update(table).where(*own).values(deprecated=DEPRECATED))


def set_status(connection: Connection, obj: Located, status: AvailabilityStatus) -> None:
    """Change the status of the newest version of a DocumentEntry or Folder, or of an Association."""
    _set_deprecated(connection, (obj,), STATUSES.index(status))


def _set_deprecated(connection: Connection, objects: Iterable[Located], value: int) -> None:
    for item in objects:
        table = TABLES[item.kind]
        own = (table.c.patient_key == item.patient_key, table.c.object_key == item.key, table.c.deprecated < SUPERSEDED)
        connection.execute(update(table).where(*own).values(deprecated=value))


def folders_holding(connection: Connection, entry: Located) -> dict[str, Located]:
    """The Approved folders that a DocumentEntry is a member of, by entryUUID."""
    statement = (
        select(folder.c.entry_uuid, folder.c.object_key, folder.c.patient_key)
        .join(registry_object, _is_folder())
        .join(association, association.c.source_key == registry_object.c.object_key)
        .where(
            association.c.target_key == entry.key,
            association.c.type == AssociationType.HAS_MEMBER.value,
            association.c.deprecated == 0,
            folder.c.deprecated == 0,
        )
    )
    return {uuid_urn(uuid): Located(key, patient, ObjectKind.FOLDER) for uuid, key, patient in connection.execute(statement)}


def _is_folder() -> Any:
    same = folder.c.patient_key == registry_object.c.patient_key
    return same & (folder.c.object_key == registry_object.c.object_key)


def touch_folders(connection: Connection, folders: Iterable[Located], now: int) -> None:
    """Set the lastUpdateTime of folders (a 14 digit number). Spec: ITI TF-3 4.2.3.4.6."""
    for item in folders:
        own = (folder.c.patient_key == item.patient_key, folder.c.object_key == item.key)
        connection.execute(update(folder).where(*own).values(last_update_time=now))
