"""Records and their clusters as rows: those that are one person have the same `cluster_key`, that of the oldest."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Final

from sqlalchemy import bindparam, select, text

from xds.store.patients_changes import ChangeRows
from xds.store.schema.identity import person, stated_demographics
from xds.store.statements import Prepared, Row, prepared_insert

_OWN = person.alias("own")
_INSERT_PERSON: Final = prepared_insert(person)
_LAST_PERSON: Final = Prepared(text("SELECT coalesce(max(person_key), 0) FROM person"))
_CLUSTER_OF: Final = Prepared(
    select(person.c.person_key, person.c.cluster_key).where(person.c.person_key.in_(bindparam("person_keys", expanding=True)))
)
_MEMBERS: Final = Prepared(
    select(person.c.cluster_key, person.c.person_key)
    .where(person.c.cluster_key.in_(bindparam("cluster_keys", expanding=True)))
    .order_by(person.c.person_key)
)
_AROUND: Final = Prepared(
    select(person.c.cluster_key, person.c.person_key)
    .where(
        person.c.cluster_key.in_(
            select(_OWN.c.cluster_key).where(_OWN.c.person_key.in_(bindparam("person_keys", expanding=True)))
        )
    )
    .order_by(person.c.person_key)
)
_TRAITS_AROUND: Final = Prepared(
    select(person.c.cluster_key, person.c.person_key, stated_demographics.c.traits)
    .join_from(person, stated_demographics, stated_demographics.c.person_key == person.c.person_key, isouter=True)
    .where(
        person.c.cluster_key.in_(
            select(_OWN.c.cluster_key).where(_OWN.c.person_key.in_(bindparam("person_keys", expanding=True)))
        )
    )
    .order_by(person.c.person_key, stated_demographics.c.updated, stated_demographics.c.source)
)
_SET_CLUSTER: Final = Prepared(text("UPDATE person SET cluster_key = :cluster_key WHERE person_key = :person_key"))


def padded(keys: Collection[int]) -> list[int]:
    """Keys, the last one several times: lists of few lengths need few statements, which stay prepared."""
    listed = list(keys)
    return listed + listed[-1:] * ((1 << (len(listed) - 1).bit_length()) - len(listed))


class ClusterRows(ChangeRows):
    """Records and clusters as one transaction sees them. `connection` is that transaction's."""

    def ask_person_key(self) -> Callable[[], int]:
        """The key of a new record, without waiting for it: it comes from what this returns."""
        return self.ask_key(person.c.person_key)

    def add_person(self, now: int, key: int | None = None) -> int:
        """A new record, alone in her cluster. `key` was asked for, if it is given."""
        key = self.new_key(person.c.person_key) if key is None else key
        _INSERT_PERSON.run(self.connection, ({"person_key": key, "cluster_key": key, "created": now},))
        return key

    def last_person(self) -> int:
        """The highest key of a record, which is about how many there are."""
        ((key,),) = _LAST_PERSON.rows(self.connection, {})
        return int(key)

    def cluster_of(self, person_keys: Collection[int]) -> dict[int, int]:
        """The cluster of each record."""
        rows = _CLUSTER_OF.rows(self.connection, {"person_keys": list(person_keys)}) if person_keys else ()
        return {row[0]: row[1] for row in rows}

    def members(self, cluster_keys: Collection[int]) -> dict[int, tuple[int, ...]]:
        """The records of each cluster, oldest first."""
        found: dict[int, tuple[int, ...]] = {}
        rows: Sequence[Row] = _MEMBERS.rows(self.connection, {"cluster_keys": list(cluster_keys)}) if cluster_keys else ()
        for cluster, key in rows:
            found[cluster] = (*found.get(cluster, ()), key)
        return found

    def clusters_around(self, person_keys: Collection[int]) -> dict[int, tuple[int, ...]]:
        """The clusters of those records, each with all of its records, oldest first."""
        found: dict[int, tuple[int, ...]] = {}
        rows = _AROUND.rows(self.connection, {"person_keys": list(person_keys)}) if person_keys else ()
        for cluster, key in rows:
            found[cluster] = (*found.get(cluster, ()), key)
        return found

    def traits_around(self, person_keys: Collection[int]) -> dict[int, dict[int, list[bytes]]]:
        """The clusters of those records, each with the packed traits of all of its records, oldest first."""
        found: dict[int, dict[int, list[bytes]]] = {}
        rows = _TRAITS_AROUND.rows(self.connection, {"person_keys": padded(person_keys)}) if person_keys else ()
        for cluster, key, packed in rows:
            stated = found.setdefault(cluster, {}).setdefault(key, [])
            if packed is not None:
                stated.append(packed)
        return found

    def set_cluster(self, person_keys: Collection[int], cluster_key: int) -> None:
        """Put records into a cluster."""
        self.note(*person_keys)
        _SET_CLUSTER.run(self.connection, [{"person_key": key, "cluster_key": cluster_key} for key in person_keys])

    def clusters_after(self, cluster_key: int, search: Sequence[str], limit: int) -> tuple[int, ...]:
        """Clusters in order of their key, after that one, of persons whose traits contain all of the search words."""
        statement = select(person.c.cluster_key).where(person.c.cluster_key > cluster_key).distinct()
        for word in search:
            found = select(stated_demographics.c.person_key).where(stated_demographics.c.search.contains(word, autoescape=True))
            statement = statement.where(person.c.person_key.in_(found))
        return tuple(row[0] for row in self.connection.execute(statement.order_by(person.c.cluster_key).limit(limit)))
