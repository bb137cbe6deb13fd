"""A real Document Repository with its registry, database and files below one directory, for tests."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import func, select

from tests.builders import ASSIGNING_AUTHORITY, PATIENT_ID, REPOSITORY_UNIQUE_ID
from tests.databases import fresh_database
from xds.actors.document_registry import DocumentRegistry
from xds.actors.document_repository import DocumentRepository
from xds.actors.domain import Domain
from xds.actors.provided_document import ProvidedDocument
from xds.model.audit import AuditEvent
from xds.model.caller import Action, Caller, Resource
from xds.model.domain_identity import DomainIdentity
from xds.model.identifiers import read_cx
from xds.ports import AccessRule, RegisterDocumentsAlong, Staging
from xds.rules.access import AllowAll
from xds.store import affinity_patients, audit
from xds.store.blobs.local import LocalBlobStore
from xds.store.database import Database
from xds.store.schema.registry import registry_object

NOW = datetime(2024, 5, 6, 7, 8, 9, tzinfo=UTC)
CALLER = Caller(address="192.0.2.7", node="CN=source", user="alias<doc@issuer>", reply_to="http://192.0.2.7/reply")
IDENTITY = DomainIdentity(
    assigning_authority=ASSIGNING_AUTHORITY,
    assigning_authority_namespace="DOMAIN",
    home_community_id="1.2.3.4.1",
    repository_unique_id=REPOSITORY_UNIQUE_ID,
    imaging_source_unique_id="1.2.3.4.2",
    ae_title="XDS",
    public_url="http://xds.example",
)


class DenyUniqueIds:
    """Denies the documents of these uniqueIds and remembers what it was asked."""

    def __init__(self, *denied: str) -> None:
        self.denied = denied
        self.asked: list[Resource] = []

    def permits(self, caller: Caller, action: Action, resources: Sequence[Resource]) -> Sequence[bool]:
        self.asked += resources
        return [resource.unique_id not in self.denied for resource in resources]


@dataclass
class World:
    """Everything a test looks at."""

    database: Database
    blobs: LocalBlobStore
    registry: DocumentRegistry
    repository: DocumentRepository
    stagings: list[Staging] = field(default_factory=list)

    @property
    def domain(self) -> Domain:
        """The part of a domain that the repository's transactions use."""
        return Domain(IDENTITY, self.registry, self.repository, None, None, None)  # type: ignore[arg-type]

    def add_patient(self, cx: str) -> None:
        """Feed a patient of the affinity domain."""
        identifier = read_cx(cx)
        assert identifier is not None
        self.database.write(lambda connection: affinity_patients.add(connection, identifier))

    def staged(self, content: bytes) -> ProvidedDocument:
        """A document that has arrived."""
        staging = self.blobs.stage()
        self.stagings.append(staging)
        staging.write(content)
        return ProvidedDocument(staging, "application/octet-stream")

    def staged_all(self, contents: Mapping[str, bytes]) -> dict[str, ProvidedDocument]:
        """Documents that have arrived, by the id of their entry."""
        return {name: self.staged(content) for name, content in contents.items()}

    def events(self) -> list[AuditEvent]:
        """The audit trail, oldest first, with what was queued before."""
        self.database.flush()
        with self.database.read() as connection:
            return [event for _, event in reversed(audit.find(connection, limit=1000))]

    def registered_objects(self) -> int:
        """Number of objects in the registry."""
        with self.database.read() as connection:
            return int(connection.execute(select(func.count()).select_from(registry_object)).scalar_one())


@contextmanager
def world(
    directory: Path,
    *,
    access: AccessRule | None = None,
    wrap: Callable[[DocumentRegistry], RegisterDocumentsAlong] = lambda registry: registry,
    **registry_options: Any,
) -> Iterator[World]:
    """A world with the patient of the builders. `wrap` puts another port in front of the registry."""
    database = fresh_database(directory)
    blobs = LocalBlobStore(directory / "blobs")
    registry = DocumentRegistry(database, IDENTITY, AllowAll(), lambda: NOW, **registry_options)
    rule = access or AllowAll()
    repository = DocumentRepository(blobs, database, wrap(registry), registry, IDENTITY, rule, lambda: NOW)
    here = World(database, blobs, registry, repository)
    here.add_patient(PATIENT_ID)
    yield here
    for staging in here.stagings:
        staging.discard()
    database.close()
