"""From the settings of registry and repository to these actors. Part of the composition root."""

from __future__ import annotations

from pathlib import Path

from xds.actors.document_registry import DocumentRegistry, LocalRules, no_local_rules
from xds.actors.document_repository import DocumentRepository
from xds.actors.imaging_registrations import ManifestRegistry, RegistryAtHand, Withdrawal
from xds.actors.on_demand_documents import OnDemandDocuments
from xds.actors.record_index import RecordIndexProducer
from xds.actors.registered_documents import RegisteredDocuments
from xds.config import ConfigError
from xds.model.domain_identity import DomainIdentity
from xds.model.metadata import Code
from xds.ports import BlobStore, Clock
from xds.rules import codes
from xds.rules.access import AllowAll
from xds.rules.codes import Strictness
from xds.settings import Settings
from xds.store.database import Database
from xds.transactions.remote_registry import RemoteRegistry
from xds.wire.codes import read_codes
from xds.wire.xml import XmlError


def document_registry(settings: Settings, database: Database, identity: DomainIdentity, clock: Clock) -> DocumentRegistry:
    """The registry in this process. Errors: ConfigError when the codes of the affinity domain cannot be read."""
    return DocumentRegistry(
        database,
        identity,
        AllowAll(),
        clock,
        require_known_patient=settings.registry.require_known_patient,
        max_results=settings.registry.max_results,
        local_rules=_local_rules(settings),
        type_codes=_accepts_type_codes(settings),
        link_change_content_type=_link_change_code(settings),
    )


def document_repository(
    settings: Settings, database: Database, blobs: BlobStore, registry: DocumentRegistry, identity: DomainIdentity, clock: Clock
) -> tuple[DocumentRepository, ManifestRegistry]:
    """The repository, before the registry of this process or that of another system, and what manifests are registered with."""
    access = AllowAll()
    registered = RegisteredDocuments(database)
    type_codes = _accepts_type_codes(settings)
    if settings.repository.registry_url:
        remote = RemoteRegistry(settings.repository.registry_url, timeout=settings.repository.registry_seconds)
        repository = DocumentRepository(blobs, database, remote, None, identity, access, clock, type_codes=type_codes)
        find, update, remove = remote.registered_manifest, remote.update, remote.remove
    else:
        on_demand = OnDemandDocuments(
            registered,
            (RecordIndexProducer(registered),),
            identity,
            access,
            clock,
            persist=settings.repository.persist_on_demand,
        )
        repository = DocumentRepository(
            blobs, database, registry, registry, identity, access, clock, on_demand, type_codes=type_codes
        )
        find, update, remove = registered.registered, registry.update, registry.remove
    withdrawal = Withdrawal(settings.imaging.withdrawal)
    return repository, RegistryAtHand(find, update, remove, repository.remove, identity.repository_unique_id, withdrawal)


def _accepts_type_codes(settings: Settings) -> bool:
    """Whether CX.5 and XON.7 are accepted: what this server publishes itself it must not refuse."""
    own = settings.publication
    return settings.registry.type_codes or bool(own.patient_id_type or own.source_patient_id_type)


def _link_change_code(settings: Settings) -> Code:
    code, display, scheme = settings.registry.link_change_code.split("^")
    return Code(code, scheme, display)


def _local_rules(settings: Settings) -> LocalRules:
    """The codes of the affinity domain, as strictly as the settings say. Errors: ConfigError."""
    strictness = Strictness(settings.registry.check_codes)
    if strictness is Strictness.OFF:
        return no_local_rules
    path = settings.registry.codes
    try:
        known = read_codes(Path(path).read_bytes())
    except (OSError, XmlError) as problem:
        reason = problem.strerror if isinstance(problem, OSError) else problem
        raise ConfigError(f"registry.codes: {path} cannot be used: {reason}") from problem
    return lambda submission: codes.check(submission, known, strictness)
