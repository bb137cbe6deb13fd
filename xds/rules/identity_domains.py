"""The patient identification domains of the configuration: which names mean the same authority, and who may issue there.

Spec: ITI TF-2 Appendix E.1 (namespace and universal id name one authority), 3.8.4.1.2.3 (one source for a domain).
"""

from __future__ import annotations

from collections.abc import Sequence

from xds.model.identifiers import AssigningAuthority
from xds.model.patient import IdentityDomain


class DomainTable:
    """Configured domains, found by OID or by namespace."""

    def __init__(self, domains: Sequence[IdentityDomain], affinity: AssigningAuthority) -> None:
        listed = tuple(domains)
        if not any(item.authority.oid == affinity.oid for item in listed):
            listed = (*listed, IdentityDomain(affinity))
        self._domains = listed
        self._by_oid = {item.authority.oid: item for item in listed if item.authority.oid}
        self._by_namespace = {item.authority.namespace: item for item in listed if item.authority.namespace}

    @property
    def domains(self) -> tuple[IdentityDomain, ...]:
        """Every configured domain; that of the affinity domain is among them."""
        return self._domains

    def find(self, authority: AssigningAuthority) -> IdentityDomain | None:
        """The configured domain of that name; the OID decides, because namespaces are only locally unique."""
        if authority.oid:
            return self._by_oid.get(authority.oid)
        return self._by_namespace.get(authority.namespace) if authority.namespace else None

    def complete(self, authority: AssigningAuthority) -> AssigningAuthority:
        """The authority with every name that is configured for it, or as it is."""
        known = self.find(authority)
        if known is None:
            return authority
        return AssigningAuthority(known.authority.namespace or authority.namespace, known.authority.oid or authority.oid)

    def is_contradictory(self, authority: AssigningAuthority) -> bool:
        """True when namespace and OID are both given and the namespace is configured with another OID."""
        if not (authority.oid and authority.namespace):
            return False
        named = self._by_namespace.get(authority.namespace)
        return named is not None and named.authority.oid not in (None, authority.oid)

    def may_issue(self, authority: AssigningAuthority, source: str) -> bool:
        """True unless the domain lists its sources and this one (`MSH-4|MSH-3`) is not among them."""
        known = self.find(authority)
        return known is None or not known.sources or source in known.sources

    def of_source(self, source: str) -> AssigningAuthority | None:
        """The authority of a source that states none: that of the one domain which lists it."""
        listing = [item.authority for item in self._domains if source in item.sources]
        return listing[0] if len(listing) == 1 else None
