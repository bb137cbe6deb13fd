"""The affinity domain as transactions see it: its actors and its own identity. `xds.app` builds it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from xds.model.domain_identity import DomainIdentity
from xds.model.patient import IdentityDomain

if TYPE_CHECKING:  # a client of a transaction needs none of them, and they need the database
    from xds.actors.document_registry import DocumentRegistry
    from xds.actors.document_repository import DocumentRepository
    from xds.actors.imaging_document_source import ImagingDocumentSource
    from xds.actors.patient_demographics_supplier import PatientDemographicsSupplier
    from xds.actors.pix_manager import PixManager


@dataclass(frozen=True, slots=True)
class Domain:
    """Every actor of the affinity domain, and the patient identification domains of its configuration."""

    identity: DomainIdentity
    document_registry: DocumentRegistry
    document_repository: DocumentRepository
    imaging_document_source: ImagingDocumentSource
    pix_manager: PixManager
    demographics_supplier: PatientDemographicsSupplier
    identity_domains: tuple[IdentityDomain, ...] = ()
