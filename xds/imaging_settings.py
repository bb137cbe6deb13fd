"""From the settings of imaging to what its actors take: a part of the composition root."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

from xds.actors.imaging_document_source import ImagingDocumentSource
from xds.actors.imaging_manifests import ManifestStyle
from xds.actors.imaging_metadata import DRIMBOX, PublicationDefaults
from xds.actors.imaging_reconciler import RECONCILE_MANIFESTS, RECONCILE_STUDY
from xds.actors.imaging_reports import PUBLISH_REPORT
from xds.actors.imaging_triggers import PUBLISH_STUDY
from xds.model.caller import SYSTEM
from xds.model.imaging import ManifestForm
from xds.model.metadata import Code
from xds.settings import Settings
from xds.store.jobs import Job


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
