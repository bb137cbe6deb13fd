"""What the Patient Demographics Supplier reads of persons: all about some of them, and who has an identifier."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, TypeVar

from sqlalchemy import Connection, bindparam, select

from xds.model.patient import StatedDemographics
from xds.store.demographics_index import visit_of
from xds.store.patients import Identity, Patients, read_demographics
from xds.store.schema.identity import identity, identity_domain, person, stated_demographics
from xds.store.statements import Prepared

_Item = TypeVar("_Item")

#: Databases limit the number of parameters of a statement.
_KEYS_PER_STATEMENT: Final = 500

_STATED: Final = Prepared(
    select(
        stated_demographics.c.person_key,
        stated_demographics.c.source,
        stated_demographics.c.demographics,
        stated_demographics.c.updated,
    )
    .where(stated_demographics.c.person_key.in_(bindparam("person_keys", expanding=True)))
    .order_by(stated_demographics.c.updated, stated_demographics.c.person_key, stated_demographics.c.source)
)
_BEARERS: Final = (
    select(person.c.cluster_key)
    .distinct()
    .join_from(identity, person, person.c.person_key == identity.c.person_key)
    .where(identity.c.value == bindparam("value"))
    .order_by(person.c.cluster_key)
    .limit(bindparam("most"))
)
_OF_DOMAIN: Final = Prepared(_BEARERS.where(identity.c.domain_key == bindparam("domain_key")))
# Naming the domains lets the index on (domain, value) serve.
_OF_ANY_DOMAIN: Final = Prepared(_BEARERS.where(identity.c.domain_key.in_(select(identity_domain.c.domain_key))))
_ACTIVE: Final = Prepared(
    select(person.c.cluster_key, identity.c.value)
    .join_from(person, identity, identity.c.person_key == person.c.person_key)
    .where(
        person.c.cluster_key.in_(bindparam("cluster_keys", expanding=True)),
        # As an expression, so that no planner without statistics begins with everybody of the domain.
        identity.c.domain_key + 0 == bindparam("domain_key"),
        identity.c.subsumed_by.is_(None),
        identity.c.joined_to.is_(None),
    )
    .order_by(identity.c.assigned, identity.c.created, identity.c.value)
)


@dataclass(frozen=True, slots=True)
class KnownPerson:
    """A person with all her records, the oldest first. `visit` is the last one that any of them had.

    `identities` are those of all records; `stated` is what sources state of those records that have an identifier of their own
    left: what was said of others is history, unless there is nothing else.
    """

    key: int
    members: tuple[int, ...]
    identities: tuple[Identity, ...] = ()
    stated: tuple[StatedDemographics, ...] = ()
    visit: Mapping[str, str] = field(default_factory=dict)


def load(connection: Connection, cluster_keys: Sequence[int]) -> dict[int, KnownPerson]:
    """All about these persons, in the order of the keys; those that are no person, or none any more, are left out."""
    found: dict[int, KnownPerson] = {}
    for keys in _portions(cluster_keys):
        found.update(_load(connection, keys))
    return found


def _load(connection: Connection, cluster_keys: Sequence[int]) -> Iterator[tuple[int, KnownPerson]]:
    patients = Patients(connection)
    members = patients.members(cluster_keys)
    cluster = {record: key for key, records in members.items() for record in records}
    identities = _grouped((cluster[item.person_key], item) for item in patients.identities(list(cluster)))
    rows = _STATED.rows(connection, {"person_keys": list(cluster)}) if cluster else ()
    statements = _grouped((cluster[row[0]], row) for row in rows)
    visits = visit_of(connection, list(cluster)) if cluster else {}
    for key in cluster_keys:
        own = identities.get(key, ())
        if not own:
            # Nobody ever had that key, or it was of somebody whom her source removed.
            continue
        in_use = {item.person_key for item in own if item.subsumed_by is None and not item.assigned}
        stated = statements.get(key, ())
        current = [row for row in stated if row[0] in in_use] or stated
        said = tuple(StatedDemographics(row[1], read_demographics(row[2]), row[3]) for row in current)
        last = max((visits[record] for record in members[key] if record in visits), key=lambda item: item[0], default=(0, {}))
        yield key, KnownPerson(key, members[key], tuple(own), said, last[1])


def _grouped(pairs: Iterable[tuple[int, _Item]]) -> dict[int, list[_Item]]:
    found: dict[int, list[_Item]] = {}
    for key, item in pairs:
        found.setdefault(key, []).append(item)
    return found


def _portions(keys: Sequence[int]) -> Iterator[Sequence[int]]:
    return (keys[start : start + _KEYS_PER_STATEMENT] for start in range(0, len(keys), _KEYS_PER_STATEMENT))


def bearers(connection: Connection, value: str, domain_key: int | None, limit: int) -> list[int]:
    """The persons of whom a record has that identifier, also a subsumed one; `domain_key` None: in any domain."""
    if domain_key is None:
        return [row[0] for row in _OF_ANY_DOMAIN.rows(connection, {"value": value, "most": limit})]
    return [row[0] for row in _OF_DOMAIN.rows(connection, {"value": value, "domain_key": domain_key, "most": limit})]


def active_values(connection: Connection, domain_key: int, cluster_keys: Sequence[int]) -> dict[int, list[str]]:
    """The identifiers in use that each of these persons has in a domain, fed ones before assigned ones."""
    found: dict[int, list[str]] = {}
    for keys in _portions(cluster_keys):
        for key, value in _ACTIVE.rows(connection, {"domain_key": domain_key, "cluster_keys": list(keys)}):
            found.setdefault(key, []).append(value)
    return found


def current_keys(connection: Connection, keys: Collection[int]) -> dict[int, int]:
    """The person that each of these keys means now; those that nobody ever had are left out."""
    found: dict[int, int] = {}
    for some in _portions(list(keys)):
        found.update(Patients(connection).cluster_of(some))
    return found
