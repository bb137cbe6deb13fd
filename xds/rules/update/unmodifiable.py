"""What a restricted update must leave as it is, beside patientId, uniqueId and objectType, which have codes of their own.

Spec: ITI TF-2 3.92.4.1.3.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from xds.model.errors import ErrorCode
from xds.model.identifiers import read_cx
from xds.model.known import KnownObject
from xds.model.metadata import DocumentEntry
from xds.model.vocabulary import DocumentAvailability, SlotName
from xds.rules.submission.findings import Findings

_HOME: Final = "homeCommunityId"


def check_unmodified(entry: DocumentEntry, registered: DocumentEntry, newest: KnownObject, home: str, findings: Findings) -> None:
    """Report each attribute that the new version changes though it must not.

    `registered` is the version before, `newest` what the Registry keeps beside it, `home` the homeCommunityId of objects that
    name none.

    Errors: UnmodifiableMetadataError, XDSUnknownCommunity.
    """
    for attribute, kept, received in _changes(entry, registered, newest, home):
        rule = f"must not be changed by a restricted update; registered is '{kept}'"
        findings.add(entry, attribute, rule, received, ErrorCode.UNMODIFIABLE_METADATA)
        if attribute == _HOME and received != home:
            rule = "must be this community's; updates are not forwarded to others"
            findings.add(entry, attribute, rule, received, ErrorCode.UNKNOWN_COMMUNITY)


def _changes(
    entry: DocumentEntry, registered: DocumentEntry, newest: KnownObject, home: str
) -> Iterator[tuple[str, str | None, str | None]]:
    if entry.repository_unique_id and entry.repository_unique_id != registered.repository_unique_id:
        yield SlotName.REPOSITORY_UNIQUE_ID, registered.repository_unique_id, entry.repository_unique_id
    if entry.source_patient_id and _patient(entry.source_patient_id) != _patient(registered.source_patient_id):
        yield SlotName.SOURCE_PATIENT_ID, registered.source_patient_id, entry.source_patient_id
    if _availability(entry) != _availability(registered):
        yield SlotName.DOCUMENT_AVAILABILITY, _availability(registered), _availability(entry)
    if entry.status is not None and entry.status is not newest.status:
        yield "availabilityStatus", newest.status, entry.status
    if entry.home and entry.home != (registered.home or home):
        yield _HOME, registered.home or home, entry.home
    # A sender may repeat the version it has read, or number its own.
    if entry.version is not None and entry.version not in (newest.version, newest.version + 1):
        yield "version", str(newest.version), str(entry.version)


def _patient(text: str | None) -> tuple[str, str] | str | None:
    identifier = read_cx(text) if text else None
    return identifier.key if identifier else text


def _availability(entry: DocumentEntry) -> str:
    return entry.slot_value(SlotName.DOCUMENT_AVAILABILITY) or DocumentAvailability.ONLINE
