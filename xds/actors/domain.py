"""The affinity domain as transactions see it: its actors and its own identity. `xds.app` builds it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from xds.actors.document_registry import DocumentRegistry
    from xds.actors.document_repository import DocumentRepository
    from xds.actors.imaging_document_source import ImagingDocumentSource
    from xds.actors.pix_manager import PixManager


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


@dataclass(frozen=True, slots=True)
class Domain:
    """Every actor of the affinity domain."""

    identity: DomainIdentity
    document_registry: DocumentRegistry
    document_repository: DocumentRepository
    imaging_document_source: ImagingDocumentSource
    pix_manager: PixManager
