"""What the PIX Manager knows: domains, identifiers, persons and the links between them, stated demographics, decisions.

Everything here works on the connection of one transaction; deciding what to write is the actor's business. What every feed and
every query needs is one statement each, run without SQLAlchemy's expression building.

Spec: ITI TF-2 3.8.4 (what a PIX Manager keeps of a feed).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from operator import itemgetter
from typing import Final

from sqlalchemy import Connection, bindparam, select, text, update

from xds.store.dialects import every_column, insert_rows
from xds.store.patients_changes import identifier_key
from xds.store.patients_clusters import ClusterRows, padded
from xds.store.patients_domains import Domain, DomainRows
from xds.store.patients_links import LinkRows, StoredLink
from xds.store.patients_match_keys import MatchKeyRows
from xds.store.patients_stated import Statement, StatementRows, read_demographics, write_demographics
from xds.store.schema.identity import identity, identity_domain, person
from xds.store.statements import Prepared, Row

__all__ = [
    "Domain",
    "Identity",
    "Patients",
    "Statement",
    "StoredLink",
    "Transaction",
    "read_demographics",
    "write_demographics",
]

#: The transaction that `Database.write` and `Database.read` hand out, for those who only pass it on.
Transaction = Connection

#: Key of PostgreSQL's advisory lock: linking decides on what it read, so that feeds take turns.
_FEED_LOCK = 0x5049584D


#: States of a national identifier that may leave the house: qualified, and those of sources that do not tell states, because
#: only a qualified identity may carry it at all.
_TOLD_STATES: Final = frozenset({"qualified", "stated"})
#: The same of an identifier of any kind.
_TOLD: Final = _TOLD_STATES | {None}


@dataclass(frozen=True, slots=True)
class Identity:
    """An identifier and the person it belongs to.

    `assigned`: made by this PIX Manager. `subsumed_by`: the value that a merge put in its place. `joined_to`: the value under
    which the registry holds an assigned identifier while its person is linked to another. `national_state` is that of an
    identifier which a state issues, of which several records may have the same; absent for all others.
    """

    person_key: int
    domain_key: int
    value: str
    type_code: str | None
    assigned: bool
    subsumed_by: str | None
    joined_to: str | None
    created: int
    national_state: str | None = None

    @property
    def is_active(self) -> bool:
        """True while this identifier is to be used."""
        return self.subsumed_by is None and self.joined_to is None

    @property
    def is_told(self) -> bool:
        """True when others may be told this identifier: a national one only when its source is sure of it."""
        return self.is_active and (self.national_state is None or self.national_state in _TOLD_STATES)


_COLUMNS: Final = (
    identity.c.person_key,
    identity.c.domain_key,
    identity.c.value,
    identity.c.type_code,
    identity.c.assigned,
    identity.c.subsumed_by,
    identity.c.joined_to,
    identity.c.created,
    identity.c.national_state,
)
_VALUE: Final = (identity.c.domain_key == bindparam("domain_key"), identity.c.value == bindparam("value"))
_IDENTITIES_OF_VALUE: Final = Prepared(select(*_COLUMNS).where(*_VALUE).order_by(identity.c.person_key))
_IDENTITIES: Final = Prepared(
    select(*_COLUMNS)
    .where(identity.c.person_key.in_(bindparam("person_keys", expanding=True)))
    .order_by(identity.c.created, identity.c.person_key, identity.c.value)
)
_ISSUED: Final = Prepared(
    select(identity.c.person_key, identity.c.domain_key, identity.c.national_state).where(
        identity.c.person_key.in_(bindparam("person_keys", expanding=True)),
        ~identity.c.assigned,
        identity.c.subsumed_by.is_(None),
        identity.c.joined_to.is_(None),
    )
)
_OWN = person.alias("own")
_CLUSTER: Final = Prepared(
    select(*_COLUMNS)
    .join_from(_OWN, person, person.c.cluster_key == _OWN.c.cluster_key)
    .join(identity, identity.c.person_key == person.c.person_key)
    .where(_OWN.c.person_key == bindparam("person_key"))
    .order_by(identity.c.created, identity.c.person_key, identity.c.value)
)
_FOUND = identity.alias("found")
_CLUSTER_OF_VALUE: Final = Prepared(
    select(_FOUND.c.person_key, _FOUND.c.subsumed_by, _FOUND.c.national_state, *_COLUMNS)
    .join_from(_FOUND, _OWN, _OWN.c.person_key == _FOUND.c.person_key)
    .join(person, person.c.cluster_key == _OWN.c.cluster_key)
    .join(identity, identity.c.person_key == person.c.person_key)
    .where(_FOUND.c.domain_key == bindparam("domain_key"), _FOUND.c.value == bindparam("value"))
)
_BESIDE_VALUE: Final = Prepared(
    select(
        identity.c.domain_key,
        identity.c.created,
        identity.c.person_key,
        identity.c.value,
        identity.c.type_code,
        identity.c.joined_to,
        identity.c.subsumed_by,
        identity.c.national_state,
        _FOUND.c.subsumed_by,
        _FOUND.c.national_state,
    )
    .join_from(_FOUND, _OWN, _OWN.c.person_key == _FOUND.c.person_key)
    .join(person, person.c.cluster_key == _OWN.c.cluster_key)
    .join(identity, identity.c.person_key == person.c.person_key)
    .where(_FOUND.c.domain_key == bindparam("domain_key"), _FOUND.c.value == bindparam("value"))
)
_BY_AGE: Final = itemgetter(0, 1, 2, 3)
_IDENTITY_COLUMNS: Final = every_column(identity)


class Patients(DomainRows, ClusterRows, StatementRows, LinkRows, MatchKeyRows):
    """The PIX Manager's tables as one transaction sees them. `connection` is that transaction's."""

    def __init__(self, connection: Connection) -> None:
        super().__init__(connection)
        self._foreseen: dict[tuple[int, str], Callable[[], Sequence[Row]]] = {}

    def take_turn(self) -> None:
        """Wait until no other feed is being decided (PostgreSQL; the embedded database has one writer anyway)."""
        if self.connection.dialect.name == "postgresql":
            self.connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _FEED_LOCK})

    # Identifiers

    def bearers(self, domain_key: int, value: str) -> tuple[Identity, ...]:
        """Every record of that identifier, active or not: several only of one that a state issues."""
        rows = (self._foreseen.pop((domain_key, value), None) or self._ask_bearers(domain_key, value))()
        return tuple(Identity(*row) for row in rows)

    def foresee(self, identifiers: Iterable[tuple[int, str]]) -> None:
        """Ask for the records of identifiers (domain, value) that will be looked for, all of them in one turn of a server."""
        for domain_key, value in identifiers:
            self._foreseen[domain_key, value] = self._ask_bearers(domain_key, value)

    def _ask_bearers(self, domain_key: int, value: str) -> Callable[[], Sequence[Row]]:
        return _IDENTITIES_OF_VALUE.ask(self.connection, {"domain_key": domain_key, "value": value})

    def remember(self, bearers: Mapping[tuple[int, str], Sequence[Row]], since: int) -> None:
        """Believe what a snapshot said of the records of identifiers, as far as nothing was changed after that transaction."""
        for (domain_key, value), rows in bearers.items():
            if self.is_unchanged((identifier_key(domain_key, value),), since):
                self._foreseen[domain_key, value] = partial(tuple, rows)

    def rows_of(self, domain_key: int, value: str) -> Sequence[Row]:
        """What `remember` wants to know of an identifier."""
        return self._ask_bearers(domain_key, value)()

    def _forget(self, one: Identity) -> None:
        """What is known beforehand of an identifier and its record will not hold any more."""
        self._foreseen.pop((one.domain_key, one.value), None)
        self.note(one.person_key, identifier_key(one.domain_key, one.value))

    def identity(self, domain_key: int, value: str) -> Identity | None:
        """The identifier that its domain issued to one record, active or not; None when it was never fed."""
        return next((item for item in self.bearers(domain_key, value) if item.national_state is None), None)

    def identities_of_value(self, value: str) -> tuple[Identity, ...]:
        """Every identifier of that value, whatever its domain."""
        # Naming the domains lets the index on (domain, value) serve.
        domains = select(identity_domain.c.domain_key)
        statement = select(*_COLUMNS).where(identity.c.domain_key.in_(domains), identity.c.value == value)
        return tuple(Identity(*row) for row in self.connection.execute(statement))

    def surviving(self, one: Identity) -> Identity:
        """The identifier that stands for it now: itself, or the end of its merges."""
        while one.subsumed_by is not None:
            successor = self.identity(one.domain_key, one.subsumed_by)
            if successor is None:
                break
            one = successor
        return one

    def add_identities(self, added: Sequence[Identity]) -> None:
        """Make identifiers known. Errors: IntegrityError when another record has one that its domain issued."""
        for item in added:
            self._forget(item)
        insert_rows(self.connection, [(_IDENTITY_COLUMNS, [_identity_row(item) for item in added])])

    def add_identity(self, added: Identity) -> Identity:
        """Make an identifier known. Errors: IntegrityError when it is."""
        self.add_identities((added,))
        return added

    def set_subsumed(self, one: Identity, surviving_value: str | None) -> None:
        """Put another value in the place of this identifier, or (None) undo that."""
        self._change(one, subsumed_by=surviving_value)

    def set_joined(self, one: Identity, value: str | None) -> None:
        """Note under which value the registry holds this assigned identifier."""
        self._change(one, joined_to=value)

    def set_national_state(self, one: Identity, state: str) -> None:
        """Note how far an identifier that a state issues is to be trusted in this record."""
        self._change(one, national_state=state)

    def remove_identity(self, one: Identity) -> None:
        """Forget that a record has an identifier: of those that a state issues, its source now states another one."""
        self._forget(one)
        where = "WHERE person_key = :person_key AND domain_key = :domain_key AND value = :value"
        values = {"person_key": one.person_key, "domain_key": one.domain_key, "value": one.value}
        self.connection.execute(text(f"DELETE FROM identity {where}"), values)

    def _change(self, one: Identity, **values: str | None) -> None:
        self._forget(one)
        where = (
            identity.c.person_key == one.person_key,
            identity.c.domain_key == one.domain_key,
            identity.c.value == one.value,
        )
        self.connection.execute(update(identity).where(*where).values(**values))

    def identities(self, person_keys: Collection[int]) -> tuple[Identity, ...]:
        """Every identifier of those persons, oldest first."""
        return self.ask_identities(person_keys)()

    def ask_identities(self, person_keys: Collection[int]) -> Callable[[], tuple[Identity, ...]]:
        """The same without waiting for them: they come from what this returns, once."""
        if not person_keys:
            return tuple
        rows = _IDENTITIES.ask(self.connection, {"person_keys": list(person_keys)})
        return lambda: tuple([Identity(*row) for row in rows()])

    def ask_issued(self, person_keys: Collection[int]) -> Callable[[], Sequence[Row]]:
        """Of the identifiers of those persons that are in use, and that others issued: (person, domain, national state), once."""
        return _ISSUED.ask(self.connection, {"person_keys": padded(person_keys)}) if person_keys else tuple

    def cluster(self, person_key: int) -> tuple[Identity, ...]:
        """Every identifier of everybody in the cluster of that record, oldest first."""
        return tuple(Identity(*row) for row in _CLUSTER.rows(self.connection, {"person_key": person_key}))

    def cluster_of_value(self, domain_key: int, value: str) -> tuple[Identity, ...]:
        """Every identifier of everybody in the cluster of the one record that has this identifier, which is still in use.

        Empty when nobody has it, or when it is not as simple as that.
        """
        rows = _CLUSTER_OF_VALUE.rows(self.connection, {"domain_key": domain_key, "value": value})
        if not rows or any(row[1] is not None or row[2] is not None for row in rows):
            return ()
        found = (Identity(*row[3:]) for row in rows)
        return tuple(sorted(found, key=lambda item: (item.created, item.person_key, item.value)))

    def told_beside(
        self, domain_key: int, value: str, domain_keys: Collection[int | None]
    ) -> list[tuple[int, str, str | None]] | None:
        """What others are told of the person who has this identifier: (domain, value, type) in those domains, by domain.

        None named means every domain but its own; the identifier itself is left out. None when it is not as simple as in
        `cluster_of_value`, or when it is not in use.
        """
        rows = _BESIDE_VALUE.rows(self.connection, {"domain_key": domain_key, "value": value})
        told: dict[tuple[int, str, str | None], None] = {}
        is_found = False
        for key, _, _, item, type_code, joined_to, subsumed_by, state, own_subsumed_by, own_state in sorted(rows, key=_BY_AGE):
            if own_subsumed_by is not None or own_state is not None:
                return None
            if (key, item) == (domain_key, value):
                is_found = True
            elif subsumed_by is None and joined_to is None and state in _TOLD and _is_wanted(key, domain_key, domain_keys):
                told[key, item, type_code] = None
        return list(told) if is_found else None


def _is_wanted(key: int, own: int, wanted: Collection[int | None]) -> bool:
    return key in wanted if wanted else key != own


def _identity_row(item: Identity) -> Row:
    return (
        item.person_key,
        item.domain_key,
        item.value,
        # The database itself keeps an identifier that a domain issued from belonging to two.
        0 if item.national_state is None else item.person_key,
        item.type_code,
        item.assigned,
        item.subsumed_by,
        item.joined_to,
        item.national_state,
        item.created,
    )
