"""Patient identification domains as rows: one for each authority, under every name by which it is known."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection, bindparam, insert, select, update

from xds.model.identifiers import AssigningAuthority
from xds.store.schema.identity import identity_domain
from xds.store.statements import Prepared, Row

_COLUMNS: Final = (identity_domain.c.domain_key, identity_domain.c.namespace, identity_domain.c.oid)
_BY_OID: Final = Prepared(select(*_COLUMNS).where(identity_domain.c.oid == bindparam("oid")))
_BY_NAMESPACE: Final = Prepared(select(*_COLUMNS).where(identity_domain.c.namespace == bindparam("namespace")))
_ALL: Final = Prepared(select(*_COLUMNS).order_by(identity_domain.c.domain_key))


@dataclass(frozen=True, slots=True)
class Domain:
    """A patient identification domain that is known, with the names by which it is."""

    domain_key: int
    authority: AssigningAuthority


def _domain(row: Row | None) -> Domain | None:
    return Domain(row[0], AssigningAuthority(row[1], row[2])) if row else None


class DomainRows:
    """The domains as one transaction sees them. `connection` is that transaction's."""

    connection: Connection

    def domain(self, authority: AssigningAuthority) -> Domain | None:
        """The domain of that OID, or of that namespace when no OID is given or the OID is new."""
        if authority.oid:
            known = _domain(_BY_OID.row(self.connection, {"oid": authority.oid}))
            if known:
                return known
        if not authority.namespace:
            return None
        named = _domain(_BY_NAMESPACE.row(self.connection, {"namespace": authority.namespace}))
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
        return namespace is not None and _BY_NAMESPACE.row(self.connection, {"namespace": namespace}) is None

    def every_domain(self) -> tuple[Domain, ...]:
        """Every domain, in the order in which they became known."""
        return tuple(Domain(row[0], AssigningAuthority(row[1], row[2])) for row in _ALL.rows(self.connection, {}))

    def domains(self, keys: Iterable[int]) -> dict[int, AssigningAuthority]:
        """The names of domains by their keys."""
        wanted = set(keys)
        return {item.domain_key: item.authority for item in self.every_domain() if item.domain_key in wanted}
