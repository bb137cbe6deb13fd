"""Removing registry objects: what surrounds them, and their rows. Spec: ITI TF-2 3.62.4.1.3."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Connection, Delete, Table, bindparam, delete

from xds.model.fragments import ObjectKind
from xds.model.identifiers import PatientIdentifier, is_uuid_urn
from xds.model.known import KnownObject
from xds.model.removal import Reference, RemovalSurroundings
from xds.store import affinity_patients, locks
from xds.store.registry.codes import CodeTable
from xds.store.registry.finding import Finder
from xds.store.registry.known import Located, by_key, versions
from xds.store.registry.objects import TABLES, StoredObject
from xds.store.registry.turns import take_turn_of
from xds.store.registry.writing import uncover
from xds.store.schema.registry import object_code, object_text, registry_object, unique_identifier


class OutdatedError(Exception):
    """The objects are of a patient whose record is not held: the transaction is undone, to begin again."""


@dataclass(frozen=True, slots=True)
class RemovalMeeting:
    """What a request meets: `surroundings` for the rules, `objects` (those that it names and that exist) for removing them."""

    surroundings: RemovalSurroundings
    objects: tuple[StoredObject, ...]


def meet(
    connection: Connection,
    codes: CodeTable,
    ids: Sequence[str],
    visible: Callable[[list[StoredObject]], list[StoredObject]],
) -> RemovalMeeting:
    """Everything that decides whether these objects may go. What `visible` leaves out counts as absent.

    Errors: OutdatedError.
    """
    finder = Finder(connection, codes, as_refs=True)
    uuids = [item for item in ids if is_uuid_urn(item)]
    held = _take_turn(finder, uuids)
    found_objects = _named(finder, uuids)
    if held is not None and not _patients_of(connection, found_objects) <= held:
        raise OutdatedError
    objects = visible(found_objects)
    named = {item.key: item for item in objects}
    found = {item.key: item for item in finder.associations_of(named.keys())}
    ends = {key for item in objects for key in (item.source_key, item.target_key) if key is not None} - named.keys()
    found |= {item.key: item for item in finder.associations_of(ends)}
    known = {**named, **found}
    others = {key for item in found.values() for key in (item.source_key, item.target_key) if key is not None}
    others = (others | ends) - known.keys()
    known |= {item.key: item for kind in ObjectKind for item in finder.by_key(kind, others)}
    references = tuple(
        Reference(item.fragment.id, known[item.source_key].fragment.id, known[item.target_key].fragment.id)
        for item in {**found, **{item.key: item for item in objects if item.kind is ObjectKind.ASSOCIATION}}.values()
        if item.source_key is not None and item.target_key is not None
    )
    surroundings = RemovalSurroundings(
        frozenset(item.fragment.id for item in objects),
        {item.fragment.id: item.kind for item in known.values()},
        references,
    )
    return RemovalMeeting(surroundings, tuple(objects))


def _named(finder: Finder, uuids: Sequence[str]) -> list[StoredObject]:
    return [item for kind in ObjectKind for item in finder.by_uuid(kind, uuids)]


def _take_turn(finder: Finder, uuids: Sequence[str]) -> set[PatientIdentifier] | None:
    """Hold the objects, what they connect, and the records that they are part of. Gives back whose; None where nobody waits.

    What is submitted meanwhile may relate to them without naming them: a new version takes the Associations of the one before
    over, and what replaces a document its Folders. All of that is of the same patient.
    """
    if not locks.are_taken(finder.connection):
        return None
    objects = _named(finder, uuids)
    patients = _patients_of(finder.connection, objects)
    keys = {key for item in objects for key in (item.key, item.source_key, item.target_key) if key is not None}
    concerned = [found for found, _place in by_key(finder.connection, keys)]
    names = {name for found in concerned for name in (found.id, found.logical_id) if name}
    take_turn_of(finder.connection, patients, {*uuids, *names})
    return patients


def _patients_of(connection: Connection, objects: Iterable[StoredObject]) -> set[PatientIdentifier]:
    """Under whose identifiers these objects are answered."""
    return {item.identifier for item in affinity_patients.surviving(connection, {each.patient_key for each in objects}).values()}


def remove(connection: Connection, objects: Iterable[StoredObject]) -> None:
    """Delete these objects and everything that is stored beside them. Versions before them are the newest again."""
    objects = tuple(objects)
    logical_ids = _logical_ids(connection, objects)
    by_kind: dict[ObjectKind, list[dict[str, Any]]] = {}
    for item in objects:
        row = {"patient": item.patient_key, "object": item.key, "unique": item.unique_id}
        by_kind.setdefault(item.kind, []).append(row)
    for kind, rows in by_kind.items():
        for statement in _STATEMENTS[kind]:
            connection.execute(statement, rows)
    newest = {found.logical_id: (found, place) for found, place in sorted(versions(connection, logical_ids), key=_version)}
    uncover(connection, [place for found, place in newest.values() if found.superseded])


def _logical_ids(connection: Connection, objects: Iterable[StoredObject]) -> set[str]:
    """The logicalIDs of those of these objects that can have several versions."""
    keys = [item.key for item in objects if item.kind in (ObjectKind.DOCUMENT_ENTRY, ObjectKind.FOLDER)]
    return {found.logical_id for found, _place in by_key(connection, keys) if found.logical_id}


def _version(found: tuple[KnownObject, Located]) -> int:
    return found[0].version


def _rows_of(table: Table) -> Delete:
    return delete(table).where(table.c.patient_key == bindparam("patient"), table.c.object_key == bindparam("object"))


_LOCATOR: Final = delete(registry_object).where(registry_object.c.object_key == bindparam("object"))
_UNIQUE_ID: Final = delete(unique_identifier).where(
    unique_identifier.c.unique_id == bindparam("unique"), unique_identifier.c.object_key == bindparam("object")
)


def _statements(kind: ObjectKind) -> tuple[Delete, ...]:
    if kind is ObjectKind.ASSOCIATION:
        return (_rows_of(TABLES[kind]), _LOCATOR)
    return (_rows_of(TABLES[kind]), _rows_of(object_code), _rows_of(object_text), _UNIQUE_ID, _LOCATOR)


_STATEMENTS: Final = {kind: _statements(kind) for kind in ObjectKind}
