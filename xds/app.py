"""The composition root: from settings to stores, to actors, to the domain. The only place that names concrete classes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import ModuleType

from sqlalchemy import Connection
from sqlalchemy.engine import make_url

from xds.actors.document_repository_registration import SETTLE_REGISTRATION
from xds.actors.document_repository_removal import ERASE_AFTER, ERASE_BLOB, erase
from xds.actors.domain import Domain
from xds.actors.imaging_document_source import ImagingDocumentSource
from xds.actors.imaging_intake import SETTLE_INSTANCES
from xds.actors.imaging_reconciler import RECONCILE_MANIFESTS
from xds.actors.pix_manager import PixManager
from xds.actors.pix_notifications import NOTIFY_SUBSCRIBER, Courier
from xds.actors.pix_turns import IDENTITIES_CHANGED
from xds.actors.repository_care import RepositoryCare
from xds.identity_settings import courier, demographics_supplier, identity_domains, pix_manager
from xds.imaging_settings import imaging_document_source, imaging_handlers
from xds.model.domain_identity import DomainIdentity
from xds.model.identifiers import new_oid
from xds.model.identity_review import ReviewKind
from xds.model.imaging import StudyState
from xds.pacs_settings import Sources, open_sources, prefetch_handlers
from xds.ports import BlobStore
from xds.registry_settings import document_registry, document_repository
from xds.settings import Settings
from xds.store import counts, jobs, migrations
from xds.store import settings as stored_settings
from xds.store.blobs import open_blob_store
from xds.store.database import Database, open_database
from xds.store.jobs import Job
from xds.transactions.table import MODULES

#: Namespace (HL7 table 0363) of the affinity domain's own assigning authority.
AFFINITY_NAMESPACE = "XDS"

DATABASE_FILE = "xds.sqlite"
BLOB_DIRECTORY = "blobs"

#: The job that sweeps unreferenced blobs; they may be that young at least, which is longer than any submission takes.
SWEEP_BLOBS = "sweep-blobs"
SWEEP_AFTER = timedelta(days=1)
SWEEP_EVERY = timedelta(hours=6)

#: Manifests are compared so long after a start, which has enough to do.
RECONCILE_AFTER = timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class App:
    """One composed affinity domain. `job_handlers` maps a kind of job to what does it; `sources` are the PACSs outside."""

    settings: Settings
    domain: Domain
    database: Database
    blobs: BlobStore
    transactions: Sequence[ModuleType]
    job_handlers: Mapping[str, Callable[[Job], str | None]]
    sources: Sources

    def counts(self) -> dict[str, int]:
        """How many patients, documents and studies there are."""
        with self.database.read() as connection:
            return counts.count(connection)

    def jobs(self, *, given_up: bool) -> dict[str, int]:
        """How many jobs of each kind wait or are at work, or were given up."""
        with self.database.read() as connection:
            return dict.fromkeys(self.job_handlers, 0) | counts.jobs(connection, given_up=given_up)

    def studies(self) -> dict[str, int]:
        """How many studies are in each state."""
        with self.database.read() as connection:
            return dict.fromkeys(StudyState, 0) | counts.studies(connection)

    def reviews(self) -> dict[str, int]:
        """How many cases of each kind wait for the identity desk."""
        with self.database.read() as connection:
            return dict.fromkeys(ReviewKind, 0) | counts.reviews(connection)

    @property
    def is_alone(self) -> bool:
        """True when no other server can have this database: an embedded one is one server's."""
        return make_url(_database_url(self.settings)).get_backend_name() == "sqlite"

    def is_ready(self) -> bool:
        """True when the database answers."""
        with self.database.read() as connection:
            return connection.exec_driver_sql("SELECT 1").scalar() == 1

    def close(self) -> None:
        """Finish what was submitted to the stores and release them."""
        self.domain.imaging_document_source.close()
        self.domain.pix_manager.flush()
        self.database.close()


def build(settings: Settings, public_url: str) -> App:
    """Compose the domain that the settings describe; `public_url` is used where the settings name none.

    Errors: OSError when the data directory or the storage cannot be used.
    """
    data = settings.server.data
    data.mkdir(parents=True, exist_ok=True)
    database = open_database(_database_url(settings))
    database.create_schema()
    blobs = open_blob_store(settings.storage.url, Path(data / BLOB_DIRECTORY).resolve())
    identity = database.write(lambda connection: _identity(connection, settings, public_url))
    database.write(lambda connection: jobs.add(connection, SWEEP_BLOBS, "", {}, utc_now() + SWEEP_EVERY))
    sources = open_sources(
        settings, database, utc_now, lambda uid: domain.imaging_document_source.changed(uid, "its source has changed")
    )
    domain = _domain(settings, database, blobs, identity, sources)
    told_by = courier(settings, database, identity, utc_now, domain.demographics_supplier)
    handlers = _handlers(domain, blobs, database, told_by) | sources.handlers
    handlers |= imaging_handlers(domain.imaging_document_source, settings)
    handlers |= prefetch_handlers(settings, database, domain, handlers)
    if settings.imaging.reconcile_hours:
        database.write(lambda connection: jobs.request(connection, RECONCILE_MANIFESTS, utc_now() + RECONCILE_AFTER))
    return App(settings, domain, database, blobs, MODULES, handlers, sources)


@contextmanager
def existing_stores(settings: Settings, *, writing: bool) -> Iterator[tuple[Database, BlobStore]]:
    """Database and blobs of a domain that was started before, for commands beside its server: nothing is created.

    Errors: OSError when there is none, or when it cannot be used; DatabaseUrlError; SchemaError for tables of another version.
    """
    directory = (settings.server.data / BLOB_DIRECTORY).resolve()
    url = make_url(_database_url(settings))
    if url.get_backend_name() == "sqlite" and not Path(url.database or "").is_file():
        raise FileNotFoundError(f"there is no database {url.database}; --data or --config tells where it is")
    if not settings.storage.url and not directory.is_dir():
        raise FileNotFoundError(f"there is no directory {directory}; --data or --config tells where it is")
    blobs = open_blob_store(settings.storage.url, directory, writing=writing)
    database = open_database(_database_url(settings))
    try:
        with database.read() as connection:
            migrations.check(connection)
        yield database, blobs
    finally:
        database.close()


@contextmanager
def existing_pix_manager(settings: Settings) -> Iterator[PixManager]:
    """The PIX Manager of a domain that was started before, for commands beside its server.

    Errors: as `existing_stores`.
    """
    with existing_stores(settings, writing=False) as (database, _):
        identity = database.write(lambda connection: _identity(connection, settings, ""))
        pix = pix_manager(settings, database, identity, utc_now)
        yield pix
        pix.flush()


@contextmanager
def existing_imaging_source(settings: Settings) -> Iterator[ImagingDocumentSource]:
    """The Imaging Document Source of a domain that was started before, for commands beside its server.

    Errors: as `existing_stores`.
    """
    with existing_stores(settings, writing=True) as (database, blobs):
        identity = database.write(lambda connection: _identity(connection, settings, ""))
        sources = open_sources(settings, database, utc_now, lambda _uid: None)
        domain = _domain(settings, database, blobs, identity, sources)
        try:
            yield domain.imaging_document_source
        finally:
            domain.imaging_document_source.close()
            domain.pix_manager.flush()


@contextmanager
def database_of(settings: Settings) -> Iterator[Database]:
    """The database that the settings name, as it is: its tables are not touched.

    Errors: DatabaseUrlError; FileNotFoundError when there is no data directory.
    """
    if not settings.database.url and not settings.server.data.is_dir():
        raise FileNotFoundError(f"there is no directory {settings.server.data}; --data or --config tells where it is")
    database = open_database(_database_url(settings))
    try:
        yield database
    finally:
        database.close()


def _database_url(settings: Settings) -> str:
    return settings.database.url or f"sqlite:///{(settings.server.data / DATABASE_FILE).resolve()}"


def utc_now() -> datetime:
    """The clock of a running server."""
    return datetime.now(UTC)


def _identity(connection: Connection, settings: Settings, public_url: str) -> DomainIdentity:
    def configured_or_kept(name: str) -> str:
        key, configured = f"domain.{name}", str(getattr(settings.domain, name))
        if not configured:
            return stored_settings.get_or_create(connection, key, new_oid)
        # A command, or a later start, without this configuration is of the same domain.
        stored_settings.keep(connection, key, configured)
        return configured

    return DomainIdentity(
        assigning_authority=configured_or_kept("assigning_authority"),
        assigning_authority_namespace=AFFINITY_NAMESPACE,
        home_community_id=configured_or_kept("home_community_id"),
        repository_unique_id=configured_or_kept("repository_unique_id"),
        imaging_source_unique_id=configured_or_kept("imaging_source_unique_id"),
        ae_title=settings.server.ae_title,
        public_url=settings.server.public_url or public_url,
    )


def _domain(settings: Settings, database: Database, blobs: BlobStore, identity: DomainIdentity, sources: Sources) -> Domain:
    registry = document_registry(settings, database, identity, utc_now)
    repository, manifests = document_repository(settings, database, blobs, registry, identity, utc_now)
    pix = pix_manager(settings, database, identity, utc_now)
    imaging = imaging_document_source(settings, database, blobs, identity, pix, repository.provide, sources, manifests, utc_now)
    supplier = demographics_supplier(settings, database, identity, pix, utc_now)
    return Domain(identity, registry, repository, imaging, pix, supplier, identity_domains(settings))


def _sweep(care: RepositoryCare, database: Database) -> Callable[[Job], str | None]:
    """The job that removes blobs nobody refers to, and asks for itself again."""

    def sweep_blobs(_job: Job) -> None:
        now = utc_now()
        care.sweep(committed_before=now - SWEEP_AFTER)
        database.write(lambda connection: jobs.add(connection, SWEEP_BLOBS, "", {}, now + SWEEP_EVERY))

    return sweep_blobs


def _erase(blobs: BlobStore, care: RepositoryCare) -> Callable[[Job], str | None]:
    """The job that erases the octets of a removed document."""

    def erase_blob(job: Job) -> None:
        erase(blobs, (care.needed,), job.key, committed_before=utc_now() - ERASE_AFTER)

    return erase_blob


def _handlers(
    domain: Domain, blobs: BlobStore, database: Database, notifications: Courier
) -> dict[str, Callable[[Job], str | None]]:
    care = RepositoryCare(blobs, database)
    return {
        IDENTITIES_CHANGED: lambda _job: domain.imaging_document_source.resume(),
        SETTLE_INSTANCES: domain.imaging_document_source.intake.settle,
        SWEEP_BLOBS: _sweep(care, database),
        ERASE_BLOB: _erase(blobs, care),
        NOTIFY_SUBSCRIBER: notifications.deliver,
        SETTLE_REGISTRATION: domain.document_repository.settle_registration,
    }
