"""Storing what a submission brings, and changing what it changes. Spec: ITI TF-2 3.42.4.1.3."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

from sqlalchemy import Connection, select, update

from xds.model.fragments import ObjectKind
from xds.model.identifiers import uuid_urn
from xds.model.metadata import Association, DocumentEntry, Folder, RegistryObject, SubmissionSet
from xds.model.vocabulary import AssociationType, AvailabilityStatus
from xds.store.dialects import Columns, ask_keys, insert_rows, next_keys
from xds.store.registry.codes import CodeKey, CodeTable
from xds.store.registry.known import Located
from xds.store.registry.objects import APPROVED, DEPRECATED, STATUSES, SUPERSEDED, TABLES
from xds.store.registry.records import ATTRIBUTES, CODES, Record
from xds.store.schema.registry import (
    association,
    document_entry,
    folder,
    object_code,
    object_text,
    registry_object,
    unique_identifier,
)

Rows = list[tuple[Any, ...]]
Inserted = Sequence[tuple[Columns, Rows]]

_KINDS: Final[Mapping[type[RegistryObject], ObjectKind]] = {
    DocumentEntry: ObjectKind.DOCUMENT_ENTRY,
    SubmissionSet: ObjectKind.SUBMISSION_SET,
    Folder: ObjectKind.FOLDER,
    Association: ObjectKind.ASSOCIATION,
}
_SHARED: Final = ("patient_key", "object_key", "entry_uuid", "home", "fragment")
_MORE: Final = {ObjectKind.ASSOCIATION: ("source_key", "target_key"), ObjectKind.FOLDER: ("last_update_time",)}
_OWN: Final = {
    kind: Columns(table, (*_SHARED, *ATTRIBUTES[kind], *CODES[kind], *_MORE.get(kind, ()))) for kind, table in TABLES.items()
}
_OBJECTS: Final = Columns(registry_object, ("object_key", "entry_uuid", "kind", "patient_key", "logical_id"))
_UNIQUE_IDS: Final = Columns(unique_identifier, ("unique_id", "object_key", "kind", "patient_key"))
_OBJECT_CODES: Final = Columns(object_code, ("patient_key", "kind", "code_id", "object_key"))
_OBJECT_TEXTS: Final = Columns(object_text, ("patient_key", "kind", "value", "object_key"))


class _Insertion:
    """The rows of one submission, collected by table and inserted together."""

    def __init__(self, codes: Mapping[CodeKey, int], located: Mapping[str, Located], now: int) -> None:
        self._codes = codes
        self._located = located
        self._now = now
        self._objects: Rows = []
        self._unique_ids: Rows = []
        self._own: dict[ObjectKind, Rows] = {}
        self._object_codes: Rows = []
        self._object_texts: Rows = []

    def add(self, item: Record) -> None:
        """Collect the rows of one object; everything it refers to must be located."""
        place, numbers = self._located[item.id], self._codes
        key, patient, kind = place.key, place.patient_key, item.kind
        more: tuple[Any, ...] = ()
        if kind is ObjectKind.ASSOCIATION:
            more = (self._located[item.ends[0]].key, self._located[item.ends[1]].key)
        elif kind is ObjectKind.FOLDER:
            more = (self._now,)
        codes = [None if code is None else numbers[code] for code in item.codes]
        row = (patient, key, item.uuid, item.home, item.fragment, *item.attributes, *codes, *more)
        self._own.setdefault(kind, []).append(row)
        self._objects.append((key, item.uuid, int(kind), patient, item.logical_id))
        if kind is not ObjectKind.ASSOCIATION:
            self._unique_ids.append((item.unique_id, key, int(kind), patient))
        self._object_codes += [(patient, int(side), numbers[code], key) for side, code in item.coded]
        self._object_texts += [(patient, int(side), text, key) for side, text in item.texts]

    def rows(self) -> Inserted:
        """What was collected."""
        rows = [(_OBJECTS, self._objects), (_UNIQUE_IDS, self._unique_ids)]
        rows += [(_OWN[kind], some) for kind, some in self._own.items()]
        rows += [(_OBJECT_CODES, self._object_codes), (_OBJECT_TEXTS, self._object_texts)]
        return [(columns, some) for columns, some in rows if some]


#: Keys that were asked for, to be waited for where they are needed.
Keys = Callable[[], Sequence[int]]


def ask_for_keys(connection: Connection, number: int) -> Keys:
    """Ask for the keys of so many new objects, for `allocate`."""
    return ask_keys(connection, registry_object.c.object_key, number)


def allocate(
    connection: Connection, objects: Sequence[RegistryObject], patient_key: int, asked: Keys | None = None
) -> dict[str, Located]:
    """Give each new object its key, all of them under one patient. Ids must be UUIDs.

    Keys ascend in the order of the objects. `asked` are keys that were asked for before, of no use when their number is another.
    """
    keys = asked() if asked is not None else ()
    if len(keys) != len(objects):
        keys = next_keys(connection, registry_object.c.object_key, len(objects))
    return {obj.id: Located(key, patient_key, _KINDS[type(obj)]) for key, obj in zip(keys, objects, strict=True)}


def insert_objects(
    connection: Connection,
    codes: CodeTable,
    records: Sequence[Record],
    located: Mapping[str, Located],
    now: int,
    beside: Inserted = (),
) -> Mapping[CodeKey, int]:
    """Store every object of a valid submission. `now`: when a folder was last updated; `beside`: what goes in with it.

    Gives the codes back that `codes` may remember after the commit.
    """
    interned = codes.intern(connection, {key for item in records for key in item.mentioned()})
    insertion = _Insertion(interned, located, now)
    for item in records:
        insertion.add(item)
    insert_rows(connection, [*insertion.rows(), *beside])
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
