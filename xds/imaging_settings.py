"""From the settings of imaging to what its actors take: a part of the composition root."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

from xds.actors.imaging_document_source import ImagingDocumentSource
from xds.actors.imaging_manifests import ManifestStyle
from xds.actors.imaging_metadata import DRIMBOX, PublicationDefaults
from xds.actors.imaging_patients import AffinityIdentifiers
from xds.actors.imaging_publication import Provide
from xds.actors.imaging_reconciler import RECONCILE_MANIFESTS, RECONCILE_STUDY
from xds.actors.imaging_registrations import ManifestRegistry
from xds.actors.imaging_reports import PUBLISH_REPORT
from xds.actors.imaging_triggers import PUBLISH_STUDY
from xds.model.caller import SYSTEM
from xds.model.domain_identity import DomainIdentity
from xds.model.identifiers import AssigningAuthority
from xds.model.imaging import ManifestForm
from xds.model.metadata import Code
from xds.pacs_settings import Sources, locations
from xds.pixels.pool import Pool
from xds.ports import BlobStore, Clock
from xds.rules.access import AllowAll
from xds.settings import Settings
from xds.store.database import Database
from xds.store.jobs import Job

#: Where images lie while they are decoded, in the data directory.
PIXEL_DIRECTORY = "pixels"


def manifest_style(settings: Settings) -> ManifestStyle:
    """Which manifests are written, and how."""
    is_drimbox = settings.imaging.profile == "drimbox"
    return ManifestStyle(
        forms=tuple(dict.fromkeys(ManifestForm(name) for name in settings.imaging.manifests)),
        codes=settings.imaging.mado_codes,
        whole_path=is_drimbox,
        in_words=is_drimbox,
        other_patient_ids=is_drimbox,
        institution=settings.publication.institution,
    )


def publication_defaults(settings: Settings) -> PublicationDefaults:
    """What manifests and reports are registered as: the settings above those of the profile."""
    given = settings.publication
    defaults = DRIMBOX if settings.imaging.profile == "drimbox" else PublicationDefaults()
    changed: dict[str, Any] = {}
    for name in ("class_code", "type_code", "report_class_code", "report_type_code", "practice_setting", "facility_type"):
        if text := getattr(given, name):
            changed[name] = _code(text)
    if given.type_code:
        changed["type_from_procedure"] = False
    if given.confidentiality:
        changed["confidentiality"] = tuple(_code(text) for text in given.confidentiality)
    for name in ("language", "title", "institution", "patient_id_type", "source_patient_id_type"):
        if text := getattr(given, name):
            changed[name] = text
    return replace(defaults, **changed)


def imaging_document_source(
    settings: Settings,
    database: Database,
    blobs: BlobStore,
    identity: DomainIdentity,
    pix: AffinityIdentifiers,
    provide: Provide,
    sources: Sources,
    registry: ManifestRegistry,
    clock: Clock,
) -> ImagingDocumentSource:
    """The actor of images: `provide` takes its manifests, `registry` knows what became of them."""
    imaging = settings.imaging
    return ImagingDocumentSource(
        database,
        blobs,
        identity,
        pix,
        provide,
        AllowAll(),
        clock,
        Pool(
            settings.server.data / PIXEL_DIRECTORY,
            processes=imaging.pixel_processes,
            memory=imaging.pixel_memory_mib << 20,
            seconds=imaging.pixel_seconds,
        ),
        settle_seconds=imaging.settle_seconds,
        # What goes over a network takes so much longer than a row that nothing is gained.
        store_at_once=not settings.storage.url,
        defaults=publication_defaults(settings),
        reconcile_every=timedelta(hours=imaging.reconcile_hours) if imaging.reconcile_hours else None,
        style=replace(manifest_style(settings), locations=locations(settings, f"{identity.public_url}/dicomweb")),
        pull=sources.pull,
        authorities={
            each.ae_title: AssigningAuthority(None, each.assigning_authority)
            for each in settings.pacs
            if each.assigning_authority
        },
        registry=registry,
    )


def imaging_handlers(source: ImagingDocumentSource, settings: Settings) -> dict[str, Callable[[Job], str | None]]:
    """Kinds of jobs of manifests and reports, and what does them."""
    every = timedelta(hours=settings.imaging.reconcile_hours)

    def reconcile_study(job: Job) -> str | None:
        try:
            source.reconciler.reconcile(job.key)
        except (ConnectionError, TimeoutError):
            return "the Document Registry did not answer"
        return None

    return {
        PUBLISH_STUDY: lambda job: source.publish(job.key),
        PUBLISH_REPORT: lambda job: source.reports.publish(job.key, SYSTEM),
        RECONCILE_MANIFESTS: lambda _job: source.reconciler.run(every) if every else None,
        RECONCILE_STUDY: reconcile_study,
    }


def _code(text: str) -> Code:
    code, display, scheme = text.split("^")
    return Code(code, scheme, display)
