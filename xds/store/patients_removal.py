"""Records that their source removed: what nobody may be told any more leaves the tables.

Decisions of the desk and of the rules stay: they name records by their keys, and nothing of a person. Everything works on the
connection of one transaction.

Spec: PIXm 2:3.104.4.3 (Remove Patient).
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import text

from xds.store.patients import Identity, Patients
from xds.store.patients_changes import identifier_key
from xds.store.statements import Prepared

_IDENTITY: Final = "WHERE person_key = :person_key AND domain_key = :domain_key AND value = :value"
_FORGET: Final = Prepared(text(f"DELETE FROM identity {_IDENTITY}"))
#: `bearer` is 0 for all that are handed over: they were not issued by a state.
_HAND_OVER: Final = Prepared(text(f"UPDATE identity SET person_key = :heir {_IDENTITY}"))
_ERASE: Final = tuple(
    Prepared(text(f"DELETE FROM {table} WHERE {where}"))
    for table, where in (
        ("person_link", "lower_key = :person_key"),
        ("person_link", "higher_key = :person_key"),
        ("link_review", "lower_key = :person_key"),
        ("link_review", "higher_key = :person_key"),
        ("stated_demographics", "person_key = :person_key"),
        ("identity", "person_key = :person_key"),
        ("patient_visit", "person_key = :person_key"),
    )
)
#: Its key is nobody else's, ever: decisions name it, and so do the ids of Patient resources.
_ALONE: Final = Prepared(text("UPDATE person SET cluster_key = person_key WHERE person_key = :person_key"))


def forget(patients: Patients, one: Identity) -> None:
    """Forget that a record has an identifier."""
    patients.note(one.person_key, identifier_key(one.domain_key, one.value))
    _FORGET.run(patients.connection, (_values(one),))


def hand_over(patients: Patients, one: Identity, heir: int) -> None:
    """Let another record have an identifier that this PIX Manager assigned."""
    patients.note(one.person_key, heir, identifier_key(one.domain_key, one.value))
    _HAND_OVER.run(patients.connection, ({**_values(one), "heir": heir},))


def erase(patients: Patients, person_key: int) -> None:
    """Erase a record, of which nothing is left but its key. What it was searched by must be gone before."""
    patients.note(person_key)
    for statement in (*_ERASE, _ALONE):
        statement.run(patients.connection, ({"person_key": person_key},))


def _values(one: Identity) -> dict[str, object]:
    return {"person_key": one.person_key, "domain_key": one.domain_key, "value": one.value}
