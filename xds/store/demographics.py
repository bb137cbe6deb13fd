"""What the Patient Demographics Supplier reads of the identity tables: candidates of a query, and all about some persons."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from sqlalchemy import Connection, select

from xds.model.demographics_query import DemographicsQuery
from xds.model.patient import StatedDemographics
from xds.store.patients import Identity, Patients, read_demographics
from xds.store.schema.identity import person, stated_demographics

#: Databases limit the number of parameters of a statement.
_KEYS_PER_STATEMENT = 500


@dataclass(frozen=True, slots=True)
class Statement:
    """What one source states about one of the records that are a person."""

    person_key: int
    stated: StatedDemographics


@dataclass(frozen=True, slots=True)
class KnownPerson:
    """A person with all her records: `identities` and `statements` of every one, the oldest first."""

    key: int
    members: tuple[int, ...]
    identities: tuple[Identity, ...] = ()
    statements: tuple[Statement, ...] = ()
    visit: dict[str, str] = field(default_factory=dict)


def load(connection: Connection, cluster_keys: Sequence[int]) -> dict[int, KnownPerson]:
    """Everything about these persons, in the order of the keys; those that are no person any more are left out."""
    found: dict[int, KnownPerson] = {}
    for start in range(0, len(cluster_keys), _KEYS_PER_STATEMENT):
        found.update(_load(connection, cluster_keys[start : start + _KEYS_PER_STATEMENT]))
    return found


def _load(connection: Connection, cluster_keys: Sequence[int]) -> dict[int, KnownPerson]:
    patients = Patients(connection)
    members = patients.members(cluster_keys)
    cluster = {record: key for key, records in members.items() for record in records}
    identities: dict[int, list[Identity]] = {}
    for identity in patients.identities(list(cluster)):
        identities.setdefault(cluster[identity.person_key], []).append(identity)
    statements: dict[int, list[Statement]] = {}
    for statement in _statements(connection, list(cluster)):
        statements.setdefault(cluster[statement.person_key], []).append(statement)
    return {
        key: KnownPerson(key, members[key], tuple(identities.get(key, ())), tuple(statements.get(key, ())))
        for key in cluster_keys
        if key in members
    }


def _statements(connection: Connection, person_keys: Collection[int]) -> list[Statement]:
    table = stated_demographics
    columns = select(table.c.person_key, table.c.source, table.c.demographics, table.c.updated)
    rows = connection.execute(
        columns.where(table.c.person_key.in_(person_keys)).order_by(table.c.updated, table.c.person_key, table.c.source)
    )
    return [Statement(row[0], StatedDemographics(row[1], read_demographics(row[2]), row[3])) for row in rows]


def candidates(connection: Connection, query: DemographicsQuery, after: int, limit: int) -> list[int]:
    """Keys, ascending after that one, of persons who may meet a query. Those who do are among them."""
    statement = select(person.c.cluster_key).where(person.c.cluster_key > after).distinct()
    if query.keys:
        statement = statement.where(person.c.person_key.in_(query.keys))
    return [row[0] for row in connection.execute(statement.order_by(person.c.cluster_key).limit(limit))]
