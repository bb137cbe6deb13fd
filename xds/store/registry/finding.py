"""Finding registry objects by one criterion: filters inside patients, ids, unique ids, keys, ends of associations."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, Select, and_, or_, select

from xds.model.fragments import ObjectKind
from xds.model.identifiers import uuid_bytes
from xds.model.metadata import Code
from xds.model.stored_queries import StoredQuery
from xds.model.vocabulary import ON_DEMAND, STABLE, AvailabilityStatus
from xds.store.registry.codes import CodeTable
from xds.store.registry.objects import TABLES, StoredObject, read_object, select_objects
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

Condition = ColumnElement[bool]

#: LIKE of the standard has no escape character, so that a backslash is an ordinary one. This one cannot occur in XML.
_NO_ESCAPE: Final = "\x01"

#: Databases limit the number of parameters of a statement.
_KEYS_PER_STATEMENT: Final = 1000


class NothingMatchesError(Exception):
    """A filter names only values that no object in the registry has."""


@dataclass(frozen=True, slots=True)
class Finder:
    """Finds objects on one connection. `as_refs`: the caller needs no fragments."""

    connection: Connection
    codes: CodeTable
    as_refs: bool

    # --- inside patients ---------------------------------------------------------------------------------------------

    def entries(self, patients: Sequence[int], query: StoredQuery, limit: int | None) -> list[StoredObject]:
        """DocumentEntries of these patients that pass the document filters of the query, at most `limit`."""
        return self._inside(ObjectKind.DOCUMENT_ENTRY, patients, lambda: self._entry_conditions(query, patients), limit)

    def submission_sets(self, patients: Sequence[int], query: StoredQuery, limit: int | None) -> list[StoredObject]:
        """SubmissionSets of these patients that pass the filters of the query, at most `limit`."""
        return self._inside(ObjectKind.SUBMISSION_SET, patients, lambda: self._submission_set_conditions(query, patients), limit)

    def folders(self, patients: Sequence[int], query: StoredQuery, limit: int | None) -> list[StoredObject]:
        """Folders of these patients that pass the filters of the query, at most `limit`."""
        return self._inside(ObjectKind.FOLDER, patients, lambda: self._folder_conditions(query, patients), limit)

    def _inside(
        self, kind: ObjectKind, patients: Sequence[int], conditions: Callable[[], list[Condition]], limit: int | None
    ) -> list[StoredObject]:
        if not patients:
            return []
        try:
            found = conditions()
        except NothingMatchesError:
            return []
        table = TABLES[kind]
        statement = select_objects(kind, as_refs=self.as_refs).where(_one_of(table.c.patient_key, patients), *found)
        return self._read(kind, statement.order_by(table.c.object_key).limit(limit))

    # --- by identity -------------------------------------------------------------------------------------------------

    def by_uuid(self, kind: ObjectKind, uuids: Iterable[str], *conditions: Condition) -> list[StoredObject]:
        """Objects of that kind with these entryUUIDs."""
        wanted = [uuid_bytes(uuid) for uuid in uuids]
        return self._located(kind, registry_object.c.entry_uuid, wanted, conditions)

    def by_logical_id(self, kind: ObjectKind, uuids: Iterable[str], *conditions: Condition) -> list[StoredObject]:
        """Every version of the objects of that kind with these logicalIDs."""
        wanted = [uuid_bytes(uuid) for uuid in uuids]
        return self._located(kind, registry_object.c.logical_id, wanted, conditions)

    def by_key(self, kind: ObjectKind, keys: Iterable[int], *conditions: Condition) -> list[StoredObject]:
        """Objects of that kind among these keys."""
        return self._located(kind, registry_object.c.object_key, list(keys), conditions)

    def by_unique_id(self, kind: ObjectKind, unique_ids: Iterable[str], *conditions: Condition) -> list[StoredObject]:
        """Objects of that kind with these uniqueIds; several DocumentEntries may share one."""
        table = TABLES[kind]
        same = and_(table.c.patient_key == unique_identifier.c.patient_key, table.c.object_key == unique_identifier.c.object_key)
        statement = select_objects(kind, as_refs=self.as_refs).join(unique_identifier, same)
        statement = statement.where(unique_identifier.c.kind == int(kind), *conditions)
        return self._chunked(kind, statement, unique_identifier.c.unique_id, list(unique_ids))

    def keys_of(self, uuids: Iterable[str], *kinds: ObjectKind) -> list[int]:
        """Keys of the objects with these entryUUIDs that are of one of these kinds; of any kind when none is given."""
        wanted = [uuid_bytes(uuid) for uuid in uuids]
        found: list[int] = []
        for some in _chunks(wanted):
            statement = select(registry_object.c.object_key).where(registry_object.c.entry_uuid.in_(some))
            if kinds:
                statement = statement.where(registry_object.c.kind.in_([int(kind) for kind in kinds]))
            found.extend(self.connection.execute(statement).scalars())
        return found

    def _located(
        self, kind: ObjectKind, column: Any, wanted: Sequence[Any], conditions: tuple[Condition, ...]
    ) -> list[StoredObject]:
        table = TABLES[kind]
        same = and_(table.c.patient_key == registry_object.c.patient_key, table.c.object_key == registry_object.c.object_key)
        statement = select_objects(kind, as_refs=self.as_refs).join(registry_object, same)
        return self._chunked(kind, statement.where(*conditions), column, wanted)

    # --- by ends of associations -------------------------------------------------------------------------------------

    def associations_from(self, keys: Iterable[int], *conditions: Condition) -> list[StoredObject]:
        """Associations whose source is one of these objects."""
        statement = select_objects(ObjectKind.ASSOCIATION, as_refs=self.as_refs).where(*conditions)
        return self._chunked(ObjectKind.ASSOCIATION, statement, association.c.source_key, list(keys))

    def associations_to(self, keys: Iterable[int], *conditions: Condition) -> list[StoredObject]:
        """Associations whose target is one of these objects."""
        statement = select_objects(ObjectKind.ASSOCIATION, as_refs=self.as_refs).where(*conditions)
        return self._chunked(ObjectKind.ASSOCIATION, statement, association.c.target_key, list(keys))

    def associations_of(self, keys: Collection[int], *conditions: Condition) -> list[StoredObject]:
        """Associations one end of which is one of these objects, each once."""
        found = {item.key: item for item in self.associations_from(keys, *conditions)}
        found.update((item.key, item) for item in self.associations_to(keys, *conditions))
        return list(found.values())

    # --- conditions --------------------------------------------------------------------------------------------------

    def content_conditions(self, query: StoredQuery) -> list[Condition]:
        """The document filters of a query that is not about one patient: formatCode, confidentialityCode, type.

        Errors: NothingMatchesError.
        """
        return self._entry_conditions(query, None)

    def _entry_conditions(self, query: StoredQuery, patients: Sequence[int] | None) -> list[Condition]:
        table = document_entry.c
        prefix = "XDSDocumentEntry"
        found = _status(table.deprecated, query, f"{prefix}Status")
        for name, column in _ENTRY_CODES:
            found += self._code(column, query, name)
        creation = _range(table.creation_time, query, f"{prefix}CreationTime")
        found += [or_(table.on_demand == 1, condition) for condition in creation]
        # An entry without this attribute is not tested by it.
        start = _range(table.service_start_time, query, f"{prefix}ServiceStartTime")
        found += [or_(table.service_start_time.is_(None), condition) for condition in start]
        stop = _range(table.service_stop_time, query, f"{prefix}ServiceStopTime")
        found += [or_(table.service_stop_time.is_(None), condition) for condition in stop]
        found += self._codes(CodeKind.EVENT, table.object_key, query, f"{prefix}EventCodeList", patients)
        found += self._codes(CodeKind.CONFIDENTIALITY, table.object_key, query, f"{prefix}ConfidentialityCode", patients)
        for group in query.values.get(f"{prefix}ReferenceIdList", ()):
            values = [str(value) for value in group]
            matching = object_text.c.value.in_(values)
            found.append(table.object_key.in_(_texts(TextKind.REFERENCE_ID, patients, matching)))
        found += _authors(TextKind.DOCUMENT_AUTHOR_PERSON, table.object_key, query, f"{prefix}AuthorPerson", patients)
        return found + _document_type(query)

    def _submission_set_conditions(self, query: StoredQuery, patients: Sequence[int]) -> list[Condition]:
        table = submission_set.c
        prefix = "XDSSubmissionSet"
        if AvailabilityStatus.APPROVED not in query.group(f"{prefix}Status"):
            raise NothingMatchesError
        found = self._code(table.content_type_code, query, f"{prefix}ContentType")
        sources = [str(value) for value in query.group(f"{prefix}SourceId")]
        if sources:
            found.append(_one_of(table.source_id, sources))
        found += _range(table.submission_time, query, f"{prefix}SubmissionTime")
        author = f"{prefix}AuthorPerson"
        return found + _authors(TextKind.SUBMISSION_SET_AUTHOR_PERSON, table.object_key, query, author, patients)

    def _folder_conditions(self, query: StoredQuery, patients: Sequence[int]) -> list[Condition]:
        table = folder.c
        found = _status(table.deprecated, query, "XDSFolderStatus")
        found += _range(table.last_update_time, query, "XDSFolderLastUpdateTime")
        return found + self._codes(CodeKind.FOLDER, table.object_key, query, "XDSFolderCodeList", patients)

    def _numbers(self, values: Iterable[Any]) -> list[int]:
        numbers = self.codes.find(self.connection, [value for value in values if isinstance(value, Code)])
        if not numbers:
            raise NothingMatchesError
        return numbers

    def _code(self, column: Any, query: StoredQuery, name: str) -> list[Condition]:
        values = query.group(name)
        return [_one_of(column, self._numbers(values))] if values else []

    def _codes(self, kind: CodeKind, key: Any, query: StoredQuery, name: str, patients: Sequence[int] | None) -> list[Condition]:
        found = []
        for group in query.values.get(name, ()):
            own = object_code.c
            matching = select(own.object_key).where(own.kind == int(kind), _one_of(own.code_id, self._numbers(group)))
            if patients is not None:
                matching = matching.where(_one_of(own.patient_key, patients))
            else:
                matching = matching.where(own.patient_key == document_entry.c.patient_key, own.object_key == key)
            found.append(key.in_(matching))
        return found

    # --- reading -----------------------------------------------------------------------------------------------------

    def _chunked(
        self, kind: ObjectKind, statement: Select[*tuple[Any, ...]], column: Any, wanted: Sequence[Any]
    ) -> list[StoredObject]:
        return [item for some in _chunks(wanted) for item in self._read(kind, statement.where(_one_of(column, some)))]

    def _read(self, kind: ObjectKind, statement: Select[*tuple[Any, ...]]) -> list[StoredObject]:
        rows = self.connection.execute(statement).fetchall()
        return [read_object(kind, row, as_refs=self.as_refs) for row in rows]


_ENTRY_CODES: Final = (
    ("XDSDocumentEntryClassCode", document_entry.c.class_code),
    ("XDSDocumentEntryTypeCode", document_entry.c.type_code),
    ("XDSDocumentEntryPracticeSettingCode", document_entry.c.practice_setting_code),
    ("XDSDocumentEntryHealthcareFacilityTypeCode", document_entry.c.facility_type_code),
    ("XDSDocumentEntryFormatCode", document_entry.c.format_code),
)


def _chunks(values: Sequence[Any]) -> Iterator[Sequence[Any]]:
    return (values[start : start + _KEYS_PER_STATEMENT] for start in range(0, len(values), _KEYS_PER_STATEMENT))


def _one_of(column: Any, values: Sequence[Any]) -> Condition:
    condition: Condition = column == values[0] if len(values) == 1 else column.in_(values)
    return condition


def _status(column: Any, query: StoredQuery, name: str) -> list[Condition]:
    wanted = set(query.group(name))
    if not wanted or len(wanted) == len(AvailabilityStatus):
        return []
    return [column == int(AvailabilityStatus.DEPRECATED in wanted)]


def association_status(query: StoredQuery) -> list[Condition]:
    """The condition of $XDSAssociationStatus, when it was given."""
    return _status(association.c.deprecated, query, "XDSAssociationStatus")


def _range(column: Any, query: StoredQuery, name: str) -> list[Condition]:
    """From is inclusive, To is exclusive."""
    start, end = query.group(f"{name}From"), query.group(f"{name}To")
    return [*([column >= start[0]] if start else ()), *([column < end[0]] if end else ())]


def _document_type(query: StoredQuery) -> list[Condition]:
    """Stable entries only, unless $XDSDocumentEntryType says otherwise. Spec: ITI TF-2 3.18.4.1.2.3.6.2."""
    wanted = set(query.group("XDSDocumentEntryType")) or {STABLE}
    if {STABLE, ON_DEMAND} <= wanted:
        return []
    if not wanted & {STABLE, ON_DEMAND}:
        raise NothingMatchesError
    return [document_entry.c.on_demand == int(ON_DEMAND in wanted)]


def _texts(kind: TextKind, patients: Sequence[int] | None, condition: Condition) -> Select[int]:
    own = object_text.c
    inside = own.patient_key == document_entry.c.patient_key if patients is None else _one_of(own.patient_key, patients)
    return select(own.object_key).where(own.kind == int(kind), inside, condition)


def _authors(kind: TextKind, key: Any, query: StoredQuery, name: str, patients: Sequence[int] | None) -> list[Condition]:
    patterns = [str(pattern) for pattern in query.group(name)]
    if not patterns:
        return []
    matching = or_(*(object_text.c.value.like(pattern, escape=_NO_ESCAPE) for pattern in patterns))
    return [key.in_(_texts(kind, patients, matching))]


@dataclass(frozen=True, slots=True)
class RegisteredDocument:
    """What is registered about a document, for the repository that holds it."""

    patient_key: int
    confidentiality: tuple[str, ...]
    class_code: int | None
    mime_type: str
    size: str | None
    hash: str | None


def documents(connection: Connection, unique_ids: Iterable[str], repository_unique_id: str) -> dict[str, RegisteredDocument]:
    """Documents of a repository by uniqueId. Of several entries of one document the newest counts, Approved before Deprecated."""
    table = document_entry.c
    columns = (table.patient_key, table.confidentiality, table.class_code, table.mime_type, table.size, table.hash)
    same = and_(table.patient_key == unique_identifier.c.patient_key, table.object_key == unique_identifier.c.object_key)
    statement = select(table.unique_id, *columns).join(unique_identifier, same)
    statement = statement.where(unique_identifier.c.kind == int(ObjectKind.DOCUMENT_ENTRY))
    statement = statement.where(table.repository_unique_id == repository_unique_id)
    statement = statement.order_by(table.deprecated.desc(), table.object_key)
    found = {}
    for some in _chunks(list(unique_ids)):
        for unique_id, patient_key, confidentiality, *rest in connection.execute(
            statement.where(unique_identifier.c.unique_id.in_(some))
        ):
            found[unique_id] = RegisteredDocument(patient_key, tuple(confidentiality.split("\n")), *rest)
    return found
