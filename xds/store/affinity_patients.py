"""The Document Registry's own list of patients: the identifiers of the affinity domain, as the identity feed announced them.

Spec: ITI TF-2 3.8.4.2 (what a Document Registry does with a feed).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, insert, select, update

from xds.model.identifiers import AssigningAuthority, PatientIdentifier
from xds.store.schema.registry import patient


@dataclass(frozen=True, slots=True)
class AffinityPatient:
    """A patient of the affinity domain. `surviving_key` is set when a merge subsumed this identifier under another."""

    patient_key: int
    identifier: PatientIdentifier
    surviving_key: int | None = None

    @property
    def is_active(self) -> bool:
        """False once the identifier was subsumed."""
        return self.surviving_key is None


_COLUMNS = (patient.c.patient_key, patient.c.authority, patient.c.value, patient.c.surviving_key)


def _patient(row: Row[*tuple[Any, ...]]) -> AffinityPatient:
    return AffinityPatient(row[0], PatientIdentifier(row[2], AssigningAuthority(None, row[1])), row[3])


def find(connection: Connection, identifier: PatientIdentifier) -> AffinityPatient | None:
    """The patient of that identifier, active or subsumed; None when the feed never announced it."""
    authority, value = identifier.key
    statement = select(*_COLUMNS).where(patient.c.authority == authority, patient.c.value == value)
    row = connection.execute(statement).first()
    return _patient(row) if row else None


def add(connection: Connection, identifier: PatientIdentifier) -> AffinityPatient:
    """Make the identifier known. Idempotent: a known one, active or subsumed, is returned as it is."""
    known = find(connection, identifier)
    if known:
        return known
    authority, value = identifier.key
    statement = insert(patient).values(authority=authority, value=value).returning(patient.c.patient_key)
    return AffinityPatient(
        connection.execute(statement).scalar_one(), PatientIdentifier(value, AssigningAuthority(None, authority))
    )


def merge(connection: Connection, subsumed: PatientIdentifier, surviving: PatientIdentifier) -> bool:
    """Subsume one identifier under another; their documents stay where they are and are found under the surviving one.

    False, and nothing changes, when both are the same or one of them is unknown or already subsumed.
    Spec: ITI TF-2 3.8.4.2.4.
    """
    old, new = find(connection, subsumed), find(connection, surviving)
    if old is None or new is None or old.patient_key == new.patient_key or not (old.is_active and new.is_active):
        return False
    connection.execute(update(patient).where(patient.c.patient_key == old.patient_key).values(surviving_key=new.patient_key))
    return True


def chain(connection: Connection, patient_key: int) -> tuple[int, ...]:
    """The key itself and those of every patient that was subsumed under it, directly or through others."""
    keys = [patient_key]
    newest = [patient_key]
    while newest:
        rows = connection.execute(select(patient.c.patient_key).where(patient.c.surviving_key.in_(newest)))
        newest = [row[0] for row in rows]
        keys.extend(newest)
    return tuple(keys)


def surviving(connection: Connection, patient_keys: Iterable[int]) -> dict[int, AffinityPatient]:
    """For each key the patient under whose identifier its documents are answered: itself, or the end of its merges."""
    wanted = set(patient_keys)
    known: dict[int, AffinityPatient] = {}
    missing = set(wanted)
    while missing:
        rows = connection.execute(select(*_COLUMNS).where(patient.c.patient_key.in_(missing)))
        found = [_patient(row) for row in rows]
        known.update((item.patient_key, item) for item in found)
        missing = {item.surviving_key for item in found if item.surviving_key is not None} - known.keys()
    return {key: _end_of_merges(known, key) for key in wanted if key in known}


def _end_of_merges(known: dict[int, AffinityPatient], key: int) -> AffinityPatient:
    found = known[key]
    while found.surviving_key is not None:
        found = known[found.surviving_key]
    return found
