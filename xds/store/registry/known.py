"""What the registry knows of the ids, unique ids and patients that a new submission mentions. Spec: ITI TF-2 3.42.4.1.3."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from sqlalchemy import BindParameter, ColumnElement, Connection, Table, and_, bindparam, func, select

from xds.model.fragments import ObjectKind
from xds.model.identifiers import PatientIdentifier, is_uuid_urn, read_cx, uuid_bytes, uuid_urn
from xds.model.known import KnownObject, KnownObjects, KnownPatient
from xds.model.metadata import DocumentEntry, Folder, Submission, SubmissionSet
from xds.model.vocabulary import ON_DEMAND, STABLE, AssociationType
from xds.store import affinity_patients
from xds.store.affinity_patients import AffinityPatient
from xds.store.registry.objects import STATUSES, SUPERSEDED
from xds.store.registry.versions import is_version_of, logical_id
from xds.store.schema.registry import (
    association,
    document_entry,
    folder,
    registry_object,
    submission_set,
    unique_identifier,
)
from xds.store.statements import Prepared

#: Databases limit the number of parameters of a statement.
_VALUES_PER_STATEMENT: Final = 1000


@dataclass(frozen=True, slots=True)
class Located:
    """Where a registry object stands."""

    key: int
    patient_key: int
    kind: ObjectKind


@dataclass(frozen=True, slots=True)
class Meeting:
    """What a submission meets: `known` for the rules, `located` (by entryUUID) for storing what refers to it."""

    known: KnownObjects
    located: Mapping[str, Located]


def _holders(submission: Submission) -> tuple[SubmissionSet | DocumentEntry | Folder, ...]:
    """The objects that have a patientId and a uniqueId."""
    return (*submission.submission_sets, *submission.document_entries, *submission.folders)


def patient_ids(submission: Submission) -> tuple[PatientIdentifier, ...]:
    """The different patients that the objects of a submission name, as far as they can be read."""
    texts = dict.fromkeys(item.patient_id for item in _holders(submission) if item.patient_id)
    found = (read_cx(text) for text in texts)
    return tuple({item.key: item for item in found if item is not None}.values())


def meet(connection: Connection, submission: Submission, *, assume_patients: bool = False) -> Meeting:
    """Everything known of what the submission mentions. `assume_patients`: patients that are not known count as known."""
    mentioned = {item.id for item in submission.objects()}
    mentioned |= {end for item in submission.associations for end in (item.source, item.target)}
    uuids = [uuid_bytes(identifier) for identifier in mentioned if is_uuid_urn(identifier)]
    unique_ids = [item.unique_id for item in _holders(submission) if item.unique_id]
    # Most submissions bring new ones: whether there is anything is asked of one table. All questions travel together.
    asked_keys = [_KEYS_OF_UNIQUE_IDS.ask(connection, {"wanted": some}) for some in _portions(unique_ids)]
    asked_patients = [(item, affinity_patients.ask(connection, item)) for item in patient_ids(submission)]
    by_uuid = _details(connection, _BY_UUID, uuids)
    known_keys = [row[0] for answer in asked_keys for row in answer()]
    same = _details(connection, _BY_KEY, known_keys)
    found = (*by_uuid, *same)
    patients = affinity_patients.surviving(connection, {row.patient_key for row in found}) if found else {}
    by_unique_id: dict[str, list[KnownObject]] = {}
    for row in sorted(same, key=lambda row: row.object_key):
        by_unique_id.setdefault(row.unique_id or "", []).append(_known_object(row, patients))
    return Meeting(
        KnownObjects(
            patients=_known_patients(connection, asked_patients, assume_patients),
            objects={found.id: found for found in (_known_object(row, patients) for row in by_uuid)},
            by_unique_id={unique_id: tuple(found) for unique_id, found in by_unique_id.items()},
            transformations=_transformations(connection, submission),
        ),
        {uuid_urn(row.entry_uuid): Located(row.object_key, row.patient_key, ObjectKind(row.kind)) for row in by_uuid},
    )


def _transformations(connection: Connection, submission: Submission) -> frozenset[str]:
    """The registered DocumentEntries that the submission appends to and that transform others."""
    appended = {item.target for item in submission.associations if item.association_type == AssociationType.APND}
    wanted = [uuid_bytes(identifier) for identifier in appended if is_uuid_urn(identifier)]
    found = (row for some in _portions(wanted) for row in _TRANSFORMING.rows(connection, {"wanted": some}))
    return frozenset(uuid_urn(uuid) for (uuid,) in found)


def versions(connection: Connection, logical_ids: Iterable[str]) -> list[tuple[KnownObject, Located]]:
    """Every registered version of the objects with these logicalIDs."""
    return _located_objects(connection, _BY_LOGICAL_ID, [uuid_bytes(item) for item in logical_ids])


def by_key(connection: Connection, keys: Iterable[int]) -> list[tuple[KnownObject, Located]]:
    """The registered objects with these keys."""
    return _located_objects(connection, _BY_KEY, list(keys))


def _located_objects(connection: Connection, statement: Prepared, wanted: Sequence[Any]) -> list[tuple[KnownObject, Located]]:
    rows = _details(connection, statement, wanted)
    patients = affinity_patients.surviving(connection, {row.patient_key for row in rows})
    return [(_known_object(row, patients), Located(row.object_key, row.patient_key, ObjectKind(row.kind))) for row in rows]


def owner(connection: Connection, submission: Submission, found: KnownObjects) -> int:
    """The key of the patient of a submission that the rules have let pass; a patient who counted as known is made known."""
    identifier = read_cx(submission.submission_set.patient_id or "")
    if identifier is None:
        raise ValueError("the rules let a submission pass whose SubmissionSet names no patient")
    patient = found.patients[identifier.key]
    return patient.patient_key if patient.patient_key > 0 else affinity_patients.add(connection, identifier).patient_key


def _known_patients(
    connection: Connection,
    asked: Iterable[tuple[PatientIdentifier, Callable[[], AffinityPatient | None]]],
    assume: bool,
) -> dict[tuple[str, str], KnownPatient]:
    known = {}
    for number, (identifier, answer) in enumerate(asked, 1):
        found = answer()
        if found is None:
            if assume:
                # Keys in the database are positive: this one equals no other patient's.
                known[identifier.key] = KnownPatient(-number)
            continue
        end = None if found.is_active else affinity_patients.surviving(connection, [found.patient_key])[found.patient_key]
        known[identifier.key] = KnownPatient(found.patient_key, end.patient_key if end else None)
    return known


def _known_object(row: _Details, patients: Mapping[int, AffinityPatient]) -> KnownObject:
    kind = ObjectKind(row.kind)
    is_entry = kind is ObjectKind.DOCUMENT_ENTRY
    return KnownObject(
        kind=kind,
        id=uuid_urn(row.entry_uuid),
        status=STATUSES[row.deprecated],
        patient_key=None if kind is ObjectKind.ASSOCIATION else patients[row.patient_key].patient_key,
        unique_id=row.unique_id,
        object_type=(ON_DEMAND if row.on_demand else STABLE) if is_entry else None,
        hash=row.hash,
        size=row.size,
        logical_id=uuid_urn(row.logical_id),
        version=row.version or 1,
        superseded=row.deprecated == SUPERSEDED,
    )


class _Details(NamedTuple):
    """A row of the statements below."""

    object_key: int
    entry_uuid: bytes
    kind: int
    patient_key: int
    logical_id: bytes
    version: int | None
    deprecated: int
    unique_id: str | None
    on_demand: int | None
    hash: str | None
    size: str | None


def _details(connection: Connection, statement: Prepared, wanted: Sequence[Any]) -> list[_Details]:
    found = (row for some in _portions(wanted) for row in statement.rows(connection, {"wanted": some}))
    return [_Details(*row) for row in found]


def _portions(values: Sequence[Any]) -> Iterable[Sequence[Any]]:
    """All of them, as many at a time as one statement is asked about."""
    return (values[start : start + _VALUES_PER_STATEMENT] for start in range(0, len(values), _VALUES_PER_STATEMENT))


def _of(table: Table) -> ColumnElement[bool]:
    same_patient = table.c.patient_key == registry_object.c.patient_key
    return and_(same_patient, table.c.object_key == registry_object.c.object_key)


_DETAILS: Final = (
    select(
        registry_object.c.object_key,
        registry_object.c.entry_uuid,
        registry_object.c.kind,
        registry_object.c.patient_key,
        logical_id(),
        func.coalesce(document_entry.c.version, folder.c.version).label("version"),
        func.coalesce(document_entry.c.deprecated, folder.c.deprecated, association.c.deprecated, 0).label("deprecated"),
        func.coalesce(document_entry.c.unique_id, submission_set.c.unique_id, folder.c.unique_id).label("unique_id"),
        document_entry.c.on_demand,
        document_entry.c.hash,
        document_entry.c.size,
    )
    .outerjoin(document_entry, _of(document_entry))
    .outerjoin(submission_set, _of(submission_set))
    .outerjoin(folder, _of(folder))
    .outerjoin(association, _of(association))
)
_WANTED: Final[BindParameter[Any]] = bindparam("wanted", expanding=True)
_BY_UUID: Final = Prepared(_DETAILS.where(registry_object.c.entry_uuid.in_(_WANTED)))
_KEYS_OF_UNIQUE_IDS: Final = Prepared(select(unique_identifier.c.object_key).where(unique_identifier.c.unique_id.in_(_WANTED)))
_BY_LOGICAL_ID: Final = Prepared(_DETAILS.where(is_version_of(_WANTED)))
_TRANSFORMING: Final = Prepared(
    select(registry_object.c.entry_uuid)
    .join(association, association.c.source_key == registry_object.c.object_key)
    .where(
        registry_object.c.entry_uuid.in_(_WANTED),
        association.c.type == AssociationType.XFRM.value,
        association.c.deprecated == 0,
    )
)
_BY_KEY: Final = Prepared(_DETAILS.where(registry_object.c.object_key.in_(_WANTED)))
