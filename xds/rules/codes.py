"""Coded values and MIME types of a submission against the value sets of the affinity domain.

Spec: ITI TF-2 3.42.4.1.3; ITI TF-3 4.2.3.1.2. Display names are never compared.
"""

from __future__ import annotations

from enum import StrEnum

from xds.model.codes import AffinityDomainCodes
from xds.model.errors import ErrorCode, RegistryError, Severity
from xds.model.metadata import DocumentEntry, RegistryObject, Submission


class Strictness(StrEnum):
    """What happens to a submission with codes that the affinity domain does not know."""

    OFF = "off"
    WARN = "warn"
    STRICT = "strict"


def check(submission: Submission, codes: AffinityDomainCodes, strictness: Strictness) -> list[RegistryError]:
    """One error (STRICT) or warning (WARN) for each coded value or MIME type that is not in its value set.

    Spec: ITI TF-2 3.42.4.1.3. Errors: XDSRegistryMetadataError.
    """
    if strictness is Strictness.OFF:
        return []
    severity = Severity.ERROR if strictness is Strictness.STRICT else Severity.WARNING
    findings = [text for obj in submission.objects() for text in _unknown_codes(obj, codes)]
    findings += [text for entry in submission.document_entries for text in _unknown_mime_type(entry, codes)]
    return [RegistryError(ErrorCode.REGISTRY_METADATA_ERROR, text, severity) for text in findings]


def _unknown_codes(obj: RegistryObject, codes: AffinityDomainCodes) -> list[str]:
    findings = []
    for item in obj.classifications:
        value_set = codes.value_sets.get(item.scheme or "")
        if value_set is not None and not value_set.holds(item.code):
            rule = "must be a code of the affinity domain"
            findings.append(f"{_name(obj)}: {value_set.attribute}: {rule}; received '{str(item.code)[:100]}'")
    return findings


def _unknown_mime_type(entry: DocumentEntry, codes: AffinityDomainCodes) -> list[str]:
    received = entry.mime_type or ""
    if not codes.mime_types or received.partition(";")[0].strip().lower() in codes.mime_types:
        return []
    return [f"{_name(entry)}: mimeType: must be a MIME type of the affinity domain; received '{received[:100]}'"]


def _name(obj: RegistryObject) -> str:
    return f"{type(obj).__name__} {obj.id[:100]}"
