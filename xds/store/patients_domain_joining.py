"""Two patient identification domains that turn out to be one: the identifiers of one move to the other.

Everything works on the connection of one transaction.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Final

from sqlalchemy import bindparam, delete, select, text, update

from xds.model.identifiers import AssigningAuthority
from xds.store.patients import Identity, Patients
from xds.store.patients_changes import identifier_key
from xds.store.schema.identity import identity, identity_domain
from xds.store.statements import Prepared

_PAGE: Final = 500

_COLUMNS: Final = tuple(identity.c[name] for name in Identity.__dataclass_fields__)
_HELD: Final = Prepared(
    select(*_COLUMNS)
    .where(identity.c.domain_key == bindparam("domain_key"), identity.c.value > bindparam("after"))
    .order_by(identity.c.value)
    .limit(bindparam("most"))
)
_OF_VALUE: Final = Prepared(
    select(*_COLUMNS).where(identity.c.domain_key == bindparam("domain_key"), identity.c.value == bindparam("value"))
)
_MOVE: Final = Prepared(
    text(
        "UPDATE identity SET domain_key = :new_key WHERE person_key = :person_key AND domain_key = :domain_key AND value = :value"
    )
)


def identities_of(patients: Patients, domain_key: int) -> Iterator[Identity]:
    """Every identifier of a domain, in the order of their values. What was read may be moved and removed meanwhile."""
    after = ""
    while True:
        rows = _HELD.rows(patients.connection, {"domain_key": domain_key, "after": after, "most": _PAGE})
        values = list(dict.fromkeys(row[2] for row in rows))
        if len(rows) == _PAGE and len(values) > 1:
            # Several records may have the last one, which a state issued.
            values = values[:-1]
        for value in values:
            found = _OF_VALUE.rows(patients.connection, {"domain_key": domain_key, "value": value})
            yield from (Identity(*row) for row in found)
        if len(rows) < _PAGE:
            return
        after = values[-1]


def move(patients: Patients, one: Identity, domain_key: int) -> Identity:
    """Have an identifier belong to another domain, where nobody has it."""
    patients.note(one.person_key, identifier_key(one.domain_key, one.value), identifier_key(domain_key, one.value))
    values = {"person_key": one.person_key, "domain_key": one.domain_key, "value": one.value, "new_key": domain_key}
    _MOVE.run(patients.connection, (values,))
    return replace(one, domain_key=domain_key)


def rename(patients: Patients, domain_key: int, authority: AssigningAuthority) -> None:
    """Let a domain be known by these names."""
    values = {"namespace": authority.namespace, "oid": authority.oid}
    patients.connection.execute(update(identity_domain).where(identity_domain.c.domain_key == domain_key).values(values))


def remove(patients: Patients, domain_key: int) -> None:
    """Forget a domain that has no identifiers."""
    patients.connection.execute(delete(identity_domain).where(identity_domain.c.domain_key == domain_key))
