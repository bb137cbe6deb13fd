"""Audit events of the Document Repository.

Spec: ITI TF-2 3.41.5.1.2, 3.43.6.1, 3.86.5.1; RAD TF-2 4.68.5; DICOM PS3.15 A.5.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from xds.actors.audit_parts import DESTINATION, PERMANENT_ERASURE, SOURCE, partner, patient, service, submission_set
from xds.model.audit import (
    EXPORT,
    IMPORT,
    PATIENT_RECORD,
    AuditEvent,
    AuditObject,
    EventAction,
    EventOutcome,
)
from xds.model.caller import Caller
from xds.model.domain_identity import DomainIdentity
from xds.model.metadata import Code, DocumentEntry, Submission
from xds.model.retrieval import DocumentRequest
from xds.model.vocabulary import DICOM_UIDS, KEY_OBJECT_SELECTION

_SERVICE = "repository"
_REPORT_NUMBER = Code("9", "RFC-3881", "Report Number")
_ITI_41 = Code("ITI-41", "IHE Transactions", "Provide and Register Document Set-b")
_ITI_43 = Code("ITI-43", "IHE Transactions", "Retrieve Document Set")
_ITI_86 = Code("ITI-86", "IHE Transactions", "Remove Documents")
_RAD_68 = Code("RAD-68", "IHE Transactions", "Provide and Register Imaging Document Set - MTOM/XOP")


def import_event(
    submission: Submission, outcome: EventOutcome, caller: Caller, identity: DomainIdentity, occurred: datetime
) -> AuditEvent:
    """A submission came in. When it holds a manifest of images it was a RAD-68, otherwise an ITI-41."""
    is_manifest = any(_is_manifest(entry) for entry in submission.document_entries)
    patient_id = next((item.patient_id for item in submission.submission_sets if item.patient_id), None)
    submission_sets = tuple(submission_set(item.unique_id) for item in submission.submission_sets if item.unique_id)
    return AuditEvent(
        event_id=IMPORT,
        action=EventAction.CREATE,
        outcome=outcome,
        event_type=_RAD_68 if is_manifest else _ITI_41,
        occurred=occurred,
        participants=(*partner(caller, SOURCE), service(identity, _SERVICE, DESTINATION)),
        objects=(*patient(patient_id), *submission_sets),
    )


def export_events(
    answered: Mapping[str, Sequence[DocumentRequest]],
    failed: Sequence[DocumentRequest],
    complete: bool,
    caller: Caller,
    identity: DomainIdentity,
    occurred: datetime,
) -> tuple[AuditEvent, ...]:
    """Documents went out: one event for each patient of `answered`, by patient identifier, and one for what failed."""
    participants = (service(identity, _SERVICE, SOURCE), *partner(caller, DESTINATION))
    sent = EventOutcome.SUCCESS if complete else EventOutcome.MINOR_FAILURE
    description = None if complete else "the consumer went away before the last octet"
    kinds = [(patient_id, requests, sent, description) for patient_id, requests in answered.items()]
    missing = [(None, failed, EventOutcome.SERIOUS_FAILURE, "not available in this repository")] if failed else []
    return tuple(
        AuditEvent(
            event_id=EXPORT,
            action=EventAction.READ,
            outcome=outcome,
            event_type=_ITI_43,
            occurred=occurred,
            participants=participants,
            objects=(*patient(patient_id), *(_document(request) for request in requests)),
            outcome_description=reason,
        )
        for patient_id, requests, outcome, reason in (*kinds, *missing)
    )


def removal_events(
    removed: Mapping[str, Sequence[DocumentRequest]],
    failed: Sequence[DocumentRequest],
    caller: Caller,
    identity: DomainIdentity,
    occurred: datetime,
) -> tuple[AuditEvent, ...]:
    """Documents were removed: one event for each patient of `removed`, by patient identifier, and one for what failed."""
    kinds = [(patient_id, requests, EventOutcome.SUCCESS) for patient_id, requests in removed.items()]
    missing = [(None, failed, EventOutcome.SERIOUS_FAILURE)] if failed else []
    return tuple(
        AuditEvent(
            event_id=PATIENT_RECORD,
            action=EventAction.DELETE,
            outcome=outcome,
            event_type=_ITI_86,
            occurred=occurred,
            participants=(*partner(caller, SOURCE), service(identity, _SERVICE, DESTINATION)),
            objects=(
                *patient(patient_id),
                *(replace(_document(request), life_cycle=PERMANENT_ERASURE) for request in requests),
            ),
        )
        for patient_id, requests, outcome in (*kinds, *missing)
    )


def _is_manifest(entry: DocumentEntry) -> bool:
    """Whether the document is a Key Object Selection that announces images. Spec: RAD TF-3 Table 4.68.4.1.2.3-1."""
    code = entry.format_code
    return code is not None and (code.code, code.scheme) == (KEY_OBJECT_SELECTION, DICOM_UIDS)


def _document(request: DocumentRequest) -> AuditObject:
    details = [("Repository Unique Id", request.repository_unique_id)]
    if request.home:
        details.append(("ihe:homeCommunityID", request.home))
    return AuditObject(request.document_unique_id, "2", "3", _REPORT_NUMBER, details=tuple(details))
