"""The names by which an affinity domain is known to its partners."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class DomainIdentity:
    """The OIDs and names by which this domain is known. `public_url` has no trailing slash."""

    assigning_authority: str
    assigning_authority_namespace: str
    home_community_id: str
    repository_unique_id: str
    imaging_source_unique_id: str
    ae_title: str
    public_url: str
