"""Audit events of the Document Registry.

Spec: ITI TF-2 3.18.5.1, 3.42.5.1, 3.57.5.1, 3.62.5.1, 3.92.5.1; DICOM PS3.15 A.5.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from functools import lru_cache

from xds.actors.audit_parts import DESTINATION, PERMANENT_ERASURE, SOURCE, partner, patient, service, submission_set
from xds.model.audit import IMPORT, PATIENT_RECORD, QUERY, AuditEvent, AuditObject, AuditParticipant, EventAction, EventOutcome
from xds.model.caller import Caller
from xds.model.domain_identity import DomainIdentity
from xds.model.metadata import Code, Submission
from xds.model.stored_queries import RawQuery
from xds.wire.ebrs import write_query

_OBJECT_REFERENCE = Code("urn:ihe:iti:2017:ObjectRef", "IHE XDS Metadata", "registry object reference")
_ITI_18 = Code("ITI-18", "IHE Transactions", "Registry Stored Query")
_ITI_42 = Code("ITI-42", "IHE Transactions", "Register Document Set-b")
_ITI_51 = Code("ITI-51", "IHE Transactions", "Multi-Patient Stored Query")
_ITI_61 = Code("ITI-61", "IHE Transactions", "Register On-Demand Document Entry")
_ITI_57 = Code("ITI-57", "IHE Transactions", "Update Document Set")
_ITI_62 = Code("ITI-62", "IHE Transactions", "Remove Metadata")
_ITI_92 = Code("ITI-92", "IHE Transactions", "Restricted Update Document Set")


def import_event(
    submission: Submission,
    outcome: EventOutcome,
    caller: Caller,
    identity: DomainIdentity,
    occurred: datetime,
    *,
    on_demand: bool = False,
) -> AuditEvent:
    """Metadata were registered, or refused. Spec: ITI TF-2 3.42.5.1.2, 3.61.5.1.2."""
    patient_id = next((item.patient_id for item in submission.submission_sets if item.patient_id), None)
    return AuditEvent(
        event_id=IMPORT,
        action=EventAction.CREATE,
        outcome=outcome,
        event_type=_ITI_61 if on_demand else _ITI_42,
        occurred=occurred,
        participants=_participants(caller, identity),
        objects=(
            *patient(patient_id),
            *(submission_set(item.unique_id) for item in submission.submission_sets if item.unique_id),
        ),
    )


def update_event(
    submission: Submission,
    outcome: EventOutcome,
    caller: Caller,
    identity: DomainIdentity,
    occurred: datetime,
    *,
    restricted: bool,
) -> AuditEvent:
    """Metadata were updated, or an update was refused. Spec: ITI TF-2 3.57.5.1, 3.92.5.1."""
    imported = import_event(submission, outcome, caller, identity, occurred)
    return replace(imported, action=EventAction.UPDATE, event_type=_ITI_92 if restricted else _ITI_57)


def query_event(
    query: RawQuery,
    patient_ids: Sequence[str],
    outcome: EventOutcome,
    caller: Caller,
    identity: DomainIdentity,
    occurred: datetime,
    *,
    across_patients: bool = False,
) -> AuditEvent:
    """Somebody queried: the query as it was asked, not its results. Spec: ITI TF-2 3.18.5.1.2, 3.51.5.1.2."""
    transaction = _ITI_51 if across_patients else _ITI_18
    home = (("urn:ihe:iti:xca:2010:homeCommunityId", query.home),) if query.home else ()
    asked = AuditObject(
        query.id, "2", "24", transaction, query=write_query(query).decode(), details=(("QueryEncoding", "UTF-8"), *home)
    )
    return AuditEvent(
        event_id=QUERY,
        action=EventAction.EXECUTE,
        outcome=outcome,
        event_type=transaction,
        occurred=occurred,
        participants=_participants(caller, identity),
        objects=(*(found for patient_id in patient_ids for found in patient(patient_id)), asked),
    )


def removal_event(
    ids: Sequence[str],
    patient_id: str | None,
    outcome: EventOutcome,
    caller: Caller,
    identity: DomainIdentity,
    occurred: datetime,
) -> AuditEvent:
    """Objects of one patient were removed, or a removal was refused. Spec: ITI TF-2 3.62.5.1.2."""
    return AuditEvent(
        event_id=PATIENT_RECORD,
        action=EventAction.DELETE,
        outcome=outcome,
        event_type=_ITI_62,
        occurred=occurred,
        participants=_participants(caller, identity),
        objects=(
            *patient(patient_id),
            *(AuditObject(item, "2", "3", _OBJECT_REFERENCE, life_cycle=PERMANENT_ERASURE) for item in ids),
        ),
    )


@lru_cache(maxsize=256)
def _participants(caller: Caller, identity: DomainIdentity) -> tuple[AuditParticipant, ...]:
    return (*partner(caller, SOURCE), service(identity, "registry", DESTINATION))
