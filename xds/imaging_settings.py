"""From the settings of imaging to what its actors take: a part of the composition root."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from xds.actors.imaging_manifests import ManifestStyle
from xds.actors.imaging_metadata import DRIMBOX, PublicationDefaults
from xds.model.imaging import ManifestForm
from xds.model.metadata import Code
from xds.settings import Settings


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


def _code(text: str) -> Code:
    code, display, scheme = text.split("^")
    return Code(code, scheme, display)
