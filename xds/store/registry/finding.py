"""Finding registry objects by one criterion: filters inside patients, ids, unique ids, keys, ends of associations."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

from sqlalchemy import BindParameter, ColumnElement, Connection, Table, and_, bindparam, or_, select

from xds.model.fragments import ObjectKind
from xds.model.identifiers import uuid_bytes
from xds.model.stored_queries import StoredQuery
from xds.model.vocabulary import AssociationType, AvailabilityStatus
from xds.store.registry import filters
from xds.store.registry.codes import CodeTable
from xds.store.registry.objects import APPROVED, STORED, SUPERSEDED, TABLES, StoredObject, select_objects
from xds.store.registry.versions import is_version_of
from xds.store.schema.registry import (
    TextKind,
    association,
    document_entry,
    folder,
    object_text,
    registry_object,
    unique_identifier,
)
from xds.store.statements import Prepared

#: Databases limit the number of parameters of a statement.
_VALUES_PER_STATEMENT: Final = 1000


@dataclass(frozen=True, slots=True)
class Finder:
    """Finds objects on one connection. `as_refs`: the caller needs no fragments.

    `level` 1 finds what a consumer without metadata update expects: the newest versions of DocumentEntries, and Folders and
    Associations that are Approved, without the Associations that triggered updates. Level 2 finds everything.
    """

    connection: Connection
    codes: CodeTable
    as_refs: bool
    level: int = 2

    def inside(self, kind: ObjectKind, patients: Sequence[int], query: StoredQuery, limit: int) -> list[StoredObject]:
        """Objects of these patients that pass the filters of the query, the first `limit` of them."""
        if not patients:
            return []
        statement, values = filters.inside_patients(kind, query, patients, limit, as_refs=self.as_refs)
        return self._read(kind, statement, filters.bind_codes(self.connection, self.codes, values))

    def across(self, kind: ObjectKind, query: StoredQuery, limit: int) -> list[StoredObject]:
        """Objects of any patient that pass the filters of the query, some `limit` of them."""
        statement, values = filters.across_patients(kind, query, limit, as_refs=self.as_refs)
        return self._read(kind, statement, filters.bind_codes(self.connection, self.codes, values))

    def passing(self, kind: ObjectKind, keys: Iterable[int], query: StoredQuery) -> list[StoredObject]:
        """Objects of that kind among these keys that pass the filters of the query."""
        found = []
        for some in _chunks(list(keys)):
            statement, values = filters.among_keys(kind, query, some, as_refs=self.as_refs)
            found += self._read(kind, statement, filters.bind_codes(self.connection, self.codes, values))
        return found

    def by_uuid(self, kind: ObjectKind, uuids: Iterable[str]) -> list[StoredObject]:
        """Objects of that kind with these entryUUIDs."""
        return self._located(kind, "entry_uuid", [uuid_bytes(uuid) for uuid in uuids])

    def by_logical_id(self, kind: ObjectKind, uuids: Iterable[str]) -> list[StoredObject]:
        """Every version of the objects of that kind with these logicalIDs."""
        return self._each(kind, _by_logical_id(kind, self.as_refs), [uuid_bytes(uuid) for uuid in uuids])

    def by_key(self, kind: ObjectKind, keys: Iterable[int]) -> list[StoredObject]:
        """Objects of that kind among these keys."""
        return self._located(kind, "object_key", list(keys))

    def by_unique_id(self, kind: ObjectKind, unique_ids: Iterable[str]) -> list[StoredObject]:
        """Objects of that kind with these uniqueIds; several DocumentEntries may share one."""
        return self._each(kind, _by_unique_id(kind, self.as_refs), list(unique_ids))

    def of_source_patient(self, patients: Sequence[int], source_patient_id: str) -> list[StoredObject]:
        """The Approved DocumentEntries of these patients with that sourcePatientId, a CX in its canonical form."""
        statement = _by_source_patient(self.as_refs)
        values = {"source_patient_id": source_patient_id}
        rows = (self._read(ObjectKind.DOCUMENT_ENTRY, statement, {"wanted": some, **values}) for some in _chunks(patients))
        return sorted((item for some in rows for item in some), key=lambda item: item.key)

    def keys_of(self, uuids: Iterable[str], *kinds: ObjectKind) -> list[int]:
        """Keys of the objects with these entryUUIDs that are of one of these kinds; of any kind when none is given."""
        found: list[int] = []
        for some in _chunks([uuid_bytes(uuid) for uuid in uuids]):
            rows = _KEYS.rows(self.connection, {"wanted": some})
            found += [key for key, kind in rows if not kinds or kind in kinds]
        hidden = self._hidden(found)
        return [key for key in found if key not in hidden]

    def connected(self, objects: Sequence[StoredObject]) -> list[StoredObject]:
        """The objects without those Associations that lead to something that this level hides."""
        if self.level == 2:
            return list(objects)
        ends = _ends(objects)
        if not ends:
            return list(objects)
        seen = {item.key for item in objects}
        elsewhere = ends - seen
        hidden = self._hidden(elsewhere)
        # A SubmissionSet refers to memberships of Folders, which lead further.
        further = self.by_key(ObjectKind.ASSOCIATION, elsewhere - hidden)
        hidden |= self._hidden(_ends(further) - seen)
        while lost := {item.key for item in (*objects, *further) if not hidden.isdisjoint(_ends((item,)))} - hidden:
            hidden |= lost
        return [item for item in objects if item.key not in hidden]

    def _hidden(self, keys: Collection[int]) -> set[int]:
        """Which of these objects this level hides."""
        if self.level == 2 or not keys:
            return set()
        return {key for some in _chunks(list(keys)) for (key,) in _HIDDEN.rows(self.connection, {"wanted": some})}

    def associations_from(self, keys: Iterable[int], types: Collection[str] = ()) -> list[StoredObject]:
        """Associations whose source is one of these objects, of these types; of any type when none is given."""
        return self._associations("source_key", keys, types)

    def associations_to(self, keys: Iterable[int], types: Collection[str] = ()) -> list[StoredObject]:
        """Associations whose target is one of these objects, of these types; of any type when none is given."""
        return self._associations("target_key", keys, types)

    def associations_of(self, keys: Collection[int], types: Collection[str] = ()) -> list[StoredObject]:
        """Associations one end of which is one of these objects, each once."""
        found = {item.key: item for item in self.associations_from(keys, types)}
        found.update((item.key, item) for item in self.associations_to(keys, types))
        return list(found.values())

    def _associations(self, end: str, keys: Iterable[int], types: Collection[str]) -> list[StoredObject]:
        found = self._each(ObjectKind.ASSOCIATION, _by_end(end, self.as_refs), list(keys))
        return [item for item in found if item.association_type in types] if types else found

    def _located(self, kind: ObjectKind, column: str, wanted: Sequence[Any]) -> list[StoredObject]:
        return self._each(kind, _by_locator(kind, column, self.as_refs), wanted)

    def _each(self, kind: ObjectKind, statement: Prepared, wanted: Sequence[Any]) -> list[StoredObject]:
        found = (item for some in _chunks(wanted) for item in self._read(kind, statement, {"wanted": some}))
        return list(found) if self.level == 2 else [item for item in found if _is_shown_to_everybody(item)]

    def _read(self, kind: ObjectKind, statement: Prepared, values: dict[str, Any]) -> list[StoredObject]:
        return list(map(STORED[kind], statement.rows(self.connection, values)))


_WANTED: Final[BindParameter[Any]] = bindparam("wanted", expanding=True)
#: Associations that triggered updates.
_TRIGGERS: Final = (AssociationType.UPDATE_AVAILABILITY_STATUS.value, AssociationType.SUBMIT_ASSOCIATION.value)


def _ends(objects: Iterable[StoredObject]) -> set[int]:
    """What the Associations among these objects lead to."""
    associations = [item for item in objects if item.kind is ObjectKind.ASSOCIATION]
    return {key for item in associations for key in (item.source_key, item.target_key) if key is not None}


def _is_shown_to_everybody(item: StoredObject) -> bool:
    """True for what metadata level 1 shows."""
    if item.kind is ObjectKind.DOCUMENT_ENTRY:
        return not item.superseded
    return item.status is AvailabilityStatus.APPROVED and item.association_type not in _TRIGGERS


def _same_object(table: Table) -> ColumnElement[bool]:
    return and_(table.c.patient_key == registry_object.c.patient_key, table.c.object_key == registry_object.c.object_key)


_HIDDEN: Final = Prepared(
    select(registry_object.c.object_key)
    .outerjoin(document_entry, _same_object(document_entry))
    .outerjoin(folder, _same_object(folder))
    .outerjoin(association, _same_object(association))
    .where(
        registry_object.c.object_key.in_(_WANTED),
        or_(
            document_entry.c.deprecated == SUPERSEDED,
            folder.c.deprecated > APPROVED,
            association.c.deprecated > APPROVED,
            association.c.type.in_(_TRIGGERS),
        ),
    )
)
_KEYS: Final = Prepared(
    select(registry_object.c.object_key, registry_object.c.kind).where(registry_object.c.entry_uuid.in_(_WANTED))
)


@lru_cache
def _by_locator(kind: ObjectKind, column: str, as_refs: bool) -> Prepared:
    statement = select_objects(kind, as_refs=as_refs).join(registry_object, _same_object(TABLES[kind]))
    return Prepared(statement.where(registry_object.c[column].in_(_WANTED)))


@lru_cache
def _by_logical_id(kind: ObjectKind, as_refs: bool) -> Prepared:
    statement = select_objects(kind, as_refs=as_refs).join(registry_object, _same_object(TABLES[kind]))
    return Prepared(statement.where(is_version_of(_WANTED)))


@lru_cache
def _by_unique_id(kind: ObjectKind, as_refs: bool) -> Prepared:
    table = TABLES[kind]
    same = and_(table.c.patient_key == unique_identifier.c.patient_key, table.c.object_key == unique_identifier.c.object_key)
    statement = select_objects(kind, as_refs=as_refs).join(unique_identifier, same)
    return Prepared(statement.where(unique_identifier.c.kind == int(kind), unique_identifier.c.unique_id.in_(_WANTED)))


@lru_cache
def _by_source_patient(as_refs: bool) -> Prepared:
    side = object_text.c
    same = and_(document_entry.c.patient_key == side.patient_key, document_entry.c.object_key == side.object_key)
    statement = select_objects(ObjectKind.DOCUMENT_ENTRY, as_refs=as_refs).join(object_text, same)
    return Prepared(
        statement.where(
            side.patient_key.in_(_WANTED),
            side.kind == int(TextKind.SOURCE_PATIENT_ID),
            side.value == bindparam("source_patient_id"),
            document_entry.c.deprecated == APPROVED,
        )
    )


@lru_cache
def _by_end(end: str, as_refs: bool) -> Prepared:
    return Prepared(select_objects(ObjectKind.ASSOCIATION, as_refs=as_refs).where(association.c[end].in_(_WANTED)))


def _chunks(values: Sequence[Any]) -> Iterator[Sequence[Any]]:
    return (values[start : start + _VALUES_PER_STATEMENT] for start in range(0, len(values), _VALUES_PER_STATEMENT))


def with_association_status(found: Iterable[StoredObject], query: StoredQuery) -> list[StoredObject]:
    """The associations that $XDSAssociationStatus asks for; those that are Approved when it was not given."""
    wanted = query.group("XDSAssociationStatus") or (AvailabilityStatus.APPROVED,)
    return [item for item in found if item.status in wanted]


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
    found = {}
    for some in _chunks(list(unique_ids)):
        values = {"wanted": some, "repository_unique_id": repository_unique_id}
        for unique_id, patient_key, confidentiality, *rest in _DOCUMENTS.rows(connection, values):
            found[unique_id] = RegisteredDocument(patient_key, tuple(confidentiality.split("\n")), *rest)
    return found


def _documents() -> Prepared:
    table = document_entry.c
    columns = (table.patient_key, table.confidentiality, table.class_code, table.mime_type, table.size, table.hash)
    same = and_(table.patient_key == unique_identifier.c.patient_key, table.object_key == unique_identifier.c.object_key)
    statement = select(table.unique_id, *columns).join(unique_identifier, same)
    statement = statement.where(unique_identifier.c.kind == int(ObjectKind.DOCUMENT_ENTRY))
    statement = statement.where(unique_identifier.c.unique_id.in_(_WANTED))
    statement = statement.where(table.repository_unique_id == bindparam("repository_unique_id"))
    return Prepared(statement.order_by(table.deprecated.desc(), table.object_key))


_DOCUMENTS: Final = _documents()
