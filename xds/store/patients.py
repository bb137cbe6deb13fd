"""What the PIX Manager knows: domains, identifiers, persons and the links between them, stated demographics, messages seen.

Everything here works on the connection of one transaction; deciding what to write is the actor's business.

Spec: ITI TF-2 3.8.4 (what a PIX Manager keeps of a feed).
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from sqlalchemy import Connection, Row, delete, func, insert, or_, select, text, update

from xds.model.identifiers import AssigningAuthority, PatientIdentifier
from xds.model.patient import Address, Demographics, PersonName, StatedDemographics
from xds.store.schema.identity import (
    feed_message,
    identity,
    identity_domain,
    match_key,
    person,
    person_link,
    stated_demographics,
)

#: The transaction that `Database.write` and `Database.read` hand out, for those who only pass it on.
Transaction = Connection

#: Key of PostgreSQL's advisory lock: linking decides on what it read, so that feeds take turns.
_FEED_LOCK = 0x5049584D


@dataclass(frozen=True, slots=True)
class Domain:
    """A patient identification domain that is known, with the names by which it is."""

    domain_key: int
    authority: AssigningAuthority


@dataclass(frozen=True, slots=True)
class Identity:
    """An identifier and the person it belongs to.

    `assigned`: made by this PIX Manager. `subsumed_by`: the value that a merge put in its place. `joined_to`: the value under
    which the registry holds an assigned identifier while its person is linked to another.
    """

    person_key: int
    domain_key: int
    value: str
    type_code: str | None
    assigned: bool
    subsumed_by: str | None
    joined_to: str | None
    created: int

    @property
    def is_active(self) -> bool:
        """True while this identifier is to be used."""
        return self.subsumed_by is None and self.joined_to is None


@dataclass(frozen=True, slots=True)
class StoredLink:
    """A link between two persons that is in force."""

    lower_key: int
    higher_key: int
    reason: str


_IDENTITY = (
    identity.c.person_key,
    identity.c.domain_key,
    identity.c.value,
    identity.c.type_code,
    identity.c.assigned,
    identity.c.subsumed_by,
    identity.c.joined_to,
    identity.c.created,
)


def _domain(row: Row[*tuple[Any, ...]] | None) -> Domain | None:
    return Domain(row[0], AssigningAuthority(row[1], row[2])) if row else None


def _identifier(fields: dict[str, Any] | None) -> PatientIdentifier | None:
    if fields is None:
        return None
    return PatientIdentifier(fields["value"], AssigningAuthority(**fields["authority"]), fields["type_code"])


def write_demographics(demographics: Demographics) -> str:
    """Demographics as JSON text, without what is absent."""
    fields = {name: value for name, value in asdict(demographics).items() if value not in (None, ())}
    return json.dumps(fields, ensure_ascii=False, separators=(",", ":"))


def read_demographics(stored: str) -> Demographics:
    """The inverse of `write_demographics`."""
    fields = json.loads(stored)
    fields["names"] = tuple(PersonName(**item) for item in fields.get("names", ()))
    fields["addresses"] = tuple(Address(**item) for item in fields.get("addresses", ()))
    for name in ("telephones", "work_telephones", "emails", "reliability"):
        fields[name] = tuple(fields.get(name, ()))
    fields["account_number"] = _identifier(fields.get("account_number"))
    nationals = (_identifier(item) for item in fields.get("national_identifiers", ()))
    fields["national_identifiers"] = tuple(item for item in nationals if item)
    return Demographics(**fields)


class Patients:
    """The PIX Manager's tables as one transaction sees them. `connection` is that transaction's."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection

    def take_turn(self) -> None:
        """Wait until no other feed is being decided (PostgreSQL; the embedded database has one writer anyway)."""
        if self.connection.dialect.name == "postgresql":
            self.connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _FEED_LOCK})

    # Domains

    def domain(self, authority: AssigningAuthority) -> Domain | None:
        """The domain of that OID, or of that namespace when no OID is given or the OID is new."""
        columns = select(identity_domain.c.domain_key, identity_domain.c.namespace, identity_domain.c.oid)
        if authority.oid:
            known = _domain(self.connection.execute(columns.where(identity_domain.c.oid == authority.oid)).first())
            if known:
                return known
        if not authority.namespace:
            return None
        named = _domain(self.connection.execute(columns.where(identity_domain.c.namespace == authority.namespace)).first())
        # A namespace that is known under another OID is another authority's.
        return None if named and authority.oid and named.authority.oid else named

    def add_domain(self, authority: AssigningAuthority) -> Domain:
        """The domain of that authority, made known or completed with the name it lacked."""
        known = self.domain(authority)
        if known and (known.authority.namespace or not authority.namespace) and (known.authority.oid or not authority.oid):
            return known
        namespace = authority.namespace if self._is_free(authority.namespace) else None
        if known is None:
            statement = insert(identity_domain).values(namespace=namespace, oid=authority.oid)
            key = self.connection.execute(statement.returning(identity_domain.c.domain_key)).scalar_one()
            return Domain(key, AssigningAuthority(namespace, authority.oid))
        names = AssigningAuthority(known.authority.namespace or namespace, known.authority.oid or authority.oid)
        if names != known.authority:
            where = identity_domain.c.domain_key == known.domain_key
            self.connection.execute(update(identity_domain).where(where).values(namespace=names.namespace, oid=names.oid))
        return Domain(known.domain_key, names)

    def _is_free(self, namespace: str | None) -> bool:
        if namespace is None:
            return False
        statement = select(identity_domain.c.domain_key).where(identity_domain.c.namespace == namespace)
        return self.connection.execute(statement).first() is None

    def domains(self, keys: Iterable[int]) -> dict[int, AssigningAuthority]:
        """The names of domains by their keys."""
        columns = select(identity_domain.c.domain_key, identity_domain.c.namespace, identity_domain.c.oid)
        rows = self.connection.execute(columns.where(identity_domain.c.domain_key.in_(set(keys))))
        return {row[0]: AssigningAuthority(row[1], row[2]) for row in rows}

    # Identifiers

    def identity(self, domain_key: int, value: str) -> Identity | None:
        """The identifier, active or not; None when it was never fed."""
        statement = select(*_IDENTITY).where(identity.c.domain_key == domain_key, identity.c.value == value)
        row = self.connection.execute(statement).first()
        return Identity(*row) if row else None

    def identities_of_value(self, value: str) -> tuple[Identity, ...]:
        """Every identifier of that value, whatever its domain."""
        # Naming the domains lets the index on (domain, value) serve.
        domains = select(identity_domain.c.domain_key)
        statement = select(*_IDENTITY).where(identity.c.domain_key.in_(domains), identity.c.value == value)
        return tuple(Identity(*row) for row in self.connection.execute(statement))

    def surviving(self, one: Identity) -> Identity:
        """The identifier that stands for it now: itself, or the end of its merges."""
        while one.subsumed_by is not None:
            successor = self.identity(one.domain_key, one.subsumed_by)
            if successor is None:
                break
            one = successor
        return one

    def add_identity(self, added: Identity) -> Identity:
        """Make an identifier known. Errors: IntegrityError when it is."""
        self.connection.execute(insert(identity).values(asdict(added)))
        return added

    def set_subsumed(self, one: Identity, surviving_value: str | None) -> None:
        """Put another value in the place of this identifier, or (None) undo that."""
        self._change(one, subsumed_by=surviving_value)

    def set_joined(self, one: Identity, value: str | None) -> None:
        """Note under which value the registry holds this assigned identifier."""
        self._change(one, joined_to=value)

    def _change(self, one: Identity, **values: str | None) -> None:
        where = (
            identity.c.person_key == one.person_key,
            identity.c.domain_key == one.domain_key,
            identity.c.value == one.value,
        )
        self.connection.execute(update(identity).where(*where).values(**values))

    def identities(self, person_keys: Collection[int]) -> tuple[Identity, ...]:
        """Every identifier of those persons, oldest first."""
        statement = select(*_IDENTITY).where(identity.c.person_key.in_(person_keys))
        rows = self.connection.execute(statement.order_by(identity.c.created, identity.c.person_key, identity.c.value))
        return tuple(Identity(*row) for row in rows)

    # Persons and links

    def add_person(self, now: int) -> int:
        """A new person, alone in her cluster."""
        statement = insert(person).values(cluster_key=0, created=now).returning(person.c.person_key)
        key: int = self.connection.execute(statement).scalar_one()
        self.set_cluster([key], key)
        return key

    def cluster_of(self, person_keys: Collection[int]) -> dict[int, int]:
        """The cluster of each person."""
        statement = select(person.c.person_key, person.c.cluster_key).where(person.c.person_key.in_(person_keys))
        return {row[0]: row[1] for row in self.connection.execute(statement)}

    def members(self, cluster_keys: Collection[int]) -> dict[int, tuple[int, ...]]:
        """The persons of each cluster, oldest first."""
        statement = select(person.c.cluster_key, person.c.person_key).where(person.c.cluster_key.in_(cluster_keys))
        found: dict[int, tuple[int, ...]] = {}
        for cluster, key in self.connection.execute(statement.order_by(person.c.person_key)):
            found[cluster] = (*found.get(cluster, ()), key)
        return found

    def set_cluster(self, person_keys: Collection[int], cluster_key: int) -> None:
        """Put persons into a cluster."""
        self.connection.execute(update(person).where(person.c.person_key.in_(person_keys)).values(cluster_key=cluster_key))

    def add_link(self, one: int, other: int, reason: str, now: int) -> None:
        """Link two persons; a link of the same reason that had ended is in force again."""
        lower, higher = sorted((one, other))
        where = (person_link.c.lower_key == lower, person_link.c.higher_key == higher, person_link.c.reason == reason)
        changed = self.connection.execute(update(person_link).where(*where).values(ended=None))
        if changed.rowcount == 0:
            values = {"lower_key": lower, "higher_key": higher, "reason": reason, "created": now}
            self.connection.execute(insert(person_link).values(values))

    def end_link(self, link: StoredLink, now: int) -> None:
        """End a link; its row stays."""
        where = (
            person_link.c.lower_key == link.lower_key,
            person_link.c.higher_key == link.higher_key,
            person_link.c.reason == link.reason,
        )
        self.connection.execute(update(person_link).where(*where).values(ended=now))

    def links(self, person_keys: Collection[int]) -> tuple[StoredLink, ...]:
        """Every link in force at one of those persons."""
        statement = select(person_link.c.lower_key, person_link.c.higher_key, person_link.c.reason).where(
            person_link.c.ended.is_(None),
            or_(person_link.c.lower_key.in_(person_keys), person_link.c.higher_key.in_(person_keys)),
        )
        return tuple(StoredLink(*row) for row in self.connection.execute(statement))

    # Demographics

    def state(self, person_key: int, stated: StatedDemographics, search: str, keys: Iterable[str], now: int) -> None:
        """Replace what a source states about a person, and the keys under which she is found."""
        table = stated_demographics
        where = (table.c.person_key == person_key, table.c.source == stated.source)
        values = {"demographics": write_demographics(stated.demographics), "search": search, "updated": now}
        if self.connection.execute(update(table).where(*where).values(values)).rowcount == 0:
            self.connection.execute(insert(table).values(person_key=person_key, source=stated.source, **values))
        where_keys = (match_key.c.person_key == person_key, match_key.c.source == stated.source)
        self.connection.execute(delete(match_key).where(*where_keys))
        rows = [{"person_key": person_key, "source": stated.source, "key": key} for key in sorted(keys)]
        if rows:
            self.connection.execute(insert(match_key), rows)

    def stated(self, person_keys: Collection[int]) -> dict[int, tuple[StatedDemographics, ...]]:
        """What the sources state about each person."""
        table = stated_demographics
        columns = select(table.c.person_key, table.c.source, table.c.demographics)
        found: dict[int, tuple[StatedDemographics, ...]] = {}
        rows = self.connection.execute(
            columns.where(table.c.person_key.in_(person_keys)).order_by(table.c.updated, table.c.source)
        )
        for key, source, stored in rows:
            found[key] = (*found.get(key, ()), StatedDemographics(source, read_demographics(stored)))
        return found

    def matching(self, person_key: int, limit: int) -> tuple[int, ...]:
        """Persons that share a key with this one (who is among them), oldest first, at most `limit`."""
        keys = select(match_key.c.key).where(match_key.c.person_key == person_key)
        statement = select(match_key.c.person_key).where(match_key.c.key.in_(keys)).distinct()
        rows = self.connection.execute(statement.order_by(match_key.c.person_key).limit(limit))
        return tuple(row[0] for row in rows)

    def clusters_after(self, cluster_key: int, search: Sequence[str], limit: int) -> tuple[int, ...]:
        """Clusters in order of their key, after that one, of persons whose traits contain all of the search words."""
        statement = select(person.c.cluster_key).where(person.c.cluster_key > cluster_key).distinct()
        for word in search:
            found = select(stated_demographics.c.person_key).where(stated_demographics.c.search.contains(word, autoescape=True))
            statement = statement.where(person.c.person_key.in_(found))
        return tuple(row[0] for row in self.connection.execute(statement.order_by(person.c.cluster_key).limit(limit)))

    # Messages

    def is_known_message(self, source: str, message_id: str, digest: bytes) -> bool:
        """True when this very message took effect before."""
        table = feed_message
        where = (table.c.source == source, table.c.message_id == message_id, table.c.digest == digest)
        return bool(self.connection.execute(select(func.count()).select_from(table).where(*where)).scalar_one())

    def add_message(self, source: str, message_id: str, digest: bytes, now: int, forget_before: int) -> None:
        """Remember that a message took effect, and forget those that nobody will send again."""
        self.connection.execute(delete(feed_message).where(feed_message.c.received < forget_before))
        values = {"source": source, "message_id": message_id, "digest": digest, "received": now}
        self.connection.execute(insert(feed_message).values(values))
