"""The Document Registry's own list of patients: the identifiers of the affinity domain, as the identity feed announced them.

Spec: ITI TF-2 3.8.4.2 (what a Document Registry does with a feed).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection, bindparam, exists, select, text, update

from xds.model.identifiers import AssigningAuthority, PatientIdentifier
from xds.store.schema.registry import patient
from xds.store.statements import Prepared, Row


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


#: Databases limit the number of parameters of a statement.
_KEYS_PER_STATEMENT = 500

_COLUMNS = (patient.c.patient_key, patient.c.authority, patient.c.value, patient.c.surviving_key)


def _patient(row: Row) -> AffinityPatient:
    return AffinityPatient(row[0], PatientIdentifier(row[2], AssigningAuthority(None, row[1])), row[3])


_IDENTIFIED = select(*_COLUMNS).where(patient.c.authority == bindparam("authority"), patient.c.value == bindparam("value"))
_OTHER = patient.alias("other")
_HAS_SUBSUMED = exists().where(_OTHER.c.surviving_key == patient.c.patient_key)
_BY_IDENTIFIER: Final = Prepared(_IDENTIFIED)
_ACTIVE: Final = Prepared(_IDENTIFIED.where(patient.c.surviving_key.is_(None)).add_columns(_HAS_SUBSUMED))
_BY_KEYS: Final = Prepared(select(*_COLUMNS).where(patient.c.patient_key.in_(bindparam("patient_keys", expanding=True))))
_SUBSUMED: Final = Prepared(select(patient.c.patient_key).where(patient.c.surviving_key == bindparam("surviving_key")))
_INSERTION: Final = "INSERT INTO patient (authority, value) VALUES (:authority, :value)"
_ADD: Final = Prepared(text(f"{_INSERTION} RETURNING patient_key"))
#: The embedded database takes three times as long for an insert that gives something back.
_ADD_NEW: Final = Prepared(text(_INSERTION))


def find(connection: Connection, identifier: PatientIdentifier) -> AffinityPatient | None:
    """The patient of that identifier, active or subsumed; None when the feed never announced it."""
    return ask(connection, identifier)()


def ask(connection: Connection, identifier: PatientIdentifier) -> Callable[[], AffinityPatient | None]:
    """`find` without waiting for the answer, which comes from what this returns."""
    authority, value = identifier.key
    rows = _BY_IDENTIFIER.ask(connection, {"authority": authority, "value": value})
    return lambda: next(map(_patient, rows()), None)


def add(connection: Connection, identifier: PatientIdentifier) -> AffinityPatient:
    """Make the identifier known. Idempotent: a known one, active or subsumed, is returned as it is."""
    known = find(connection, identifier)
    if known:
        return known
    authority, value = identifier.key
    ((key,),) = _ADD.rows(connection, {"authority": authority, "value": value})
    return AffinityPatient(key, PatientIdentifier(value, AssigningAuthority(None, authority)))


def add_new(connection: Connection, identifier: PatientIdentifier) -> bool:
    """Make an identifier known that nobody had before. False, and nothing changes, when somebody had it."""
    return ask_to_add(connection, identifier)()


def ask_to_add(connection: Connection, identifier: PatientIdentifier) -> Callable[[], bool]:
    """`add_new` in two steps: what this returns adds the identifier; nothing happens when it is not called."""
    known = ask(connection, identifier)

    def add_unknown() -> bool:
        if known() is not None:
            return False
        authority, value = identifier.key
        _ADD_NEW.run(connection, ({"authority": authority, "value": value},))
        return True

    return add_unknown


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


def unmerge(connection: Connection, subsumed: PatientIdentifier) -> bool:
    """Undo a merge: the identifier stands for itself again, with the documents that are registered under it.

    False, and nothing changes, when no merge subsumed it.
    """
    authority, value = subsumed.key
    where = (patient.c.authority == authority, patient.c.value == value, patient.c.surviving_key.is_not(None))
    return connection.execute(update(patient).where(*where).values(surviving_key=None)).rowcount > 0


def find_active(connection: Connection, identifier: PatientIdentifier) -> tuple[AffinityPatient, tuple[int, ...]] | None:
    """The patient of an identifier that is not subsumed, and the keys of its `chain`. None when there is none."""
    authority, value = identifier.key
    row = _ACTIVE.row(connection, {"authority": authority, "value": value})
    if row is None:
        return None
    found = _patient(row)
    return found, chain(connection, found.patient_key) if row[-1] else (found.patient_key,)


def chain(connection: Connection, patient_key: int) -> tuple[int, ...]:
    """The key itself and those of every patient that was subsumed under it, directly or through others."""
    keys = [patient_key]
    for key in keys:
        keys.extend(row[0] for row in _SUBSUMED.rows(connection, {"surviving_key": key}))
    return tuple(keys)


def surviving(connection: Connection, patient_keys: Iterable[int]) -> dict[int, AffinityPatient]:
    """For each key the patient under whose identifier its documents are answered: itself, or the end of its merges."""
    wanted = set(patient_keys)
    rows: dict[int, AffinityPatient] = {}
    pending = wanted
    while pending:
        rows |= _by_keys(connection, list(pending))
        pending = {row.surviving_key for row in rows.values() if row.surviving_key is not None} - rows.keys()
    found = {}
    for key in wanted:
        row = rows[key]
        while row.surviving_key is not None:
            row = rows[row.surviving_key]
        found[key] = row
    return found


def _by_keys(connection: Connection, keys: Sequence[int]) -> dict[int, AffinityPatient]:
    """The patients of these keys."""
    portions = (keys[start : start + _KEYS_PER_STATEMENT] for start in range(0, len(keys), _KEYS_PER_STATEMENT))
    rows = (row for some in portions for row in _BY_KEYS.rows(connection, {"patient_keys": some}))
    return {row[0]: _patient(row) for row in rows}
