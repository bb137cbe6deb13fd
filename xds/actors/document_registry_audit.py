"""Audit events of the Document Registry.

Spec: ITI TF-2 3.18.5.1, 3.42.5.1, 3.57.5.1, 3.62.5.1, 3.92.5.1; DICOM PS3.15 A.5.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from xds.model.audit import IMPORT, PATIENT_RECORD, QUERY, AuditEvent, AuditObject, AuditParticipant, EventAction, EventOutcome
from xds.model.caller import Caller
from xds.model.domain_identity import DomainIdentity
from xds.model.metadata import Code, Submission
from xds.model.stored_queries import RawQuery
from xds.model.vocabulary import SUBMISSION_SET_NODE
from xds.store.audit import PATIENT
from xds.wire.ebrs import write_query

_SOURCE = Code("110153", "DCM", "Source Role ID")
_DESTINATION = Code("110152", "DCM", "Destination Role ID")
_PATIENT_NUMBER = Code("2", "RFC-3881", "Patient Number")
_SUBMISSION_SET = Code(SUBMISSION_SET_NODE, "IHE XDS Metadata", "submission set classificationNode")
_OBJECT_REFERENCE = Code("urn:ihe:iti:2017:ObjectRef", "IHE XDS Metadata", "registry object reference")
#: ParticipantObjectDataLifeCycle of what is gone for good.
_PERMANENT_ERASURE = "15"
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
            *_patient(patient_id),
            *(AuditObject(item.unique_id, "2", "20", _SUBMISSION_SET) for item in submission.submission_sets if item.unique_id),
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
        objects=(*(found for patient_id in patient_ids for found in _patient(patient_id)), asked),
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
            *_patient(patient_id),
            *(AuditObject(item, "2", "3", _OBJECT_REFERENCE, life_cycle=_PERMANENT_ERASURE) for item in ids),
        ),
    )


def _participants(caller: Caller, identity: DomainIdentity) -> tuple[AuditParticipant, ...]:
    """The partner's system, the human behind it when an assertion named one, and this registry."""
    partner = AuditParticipant(
        caller.reply_to or caller.node or caller.address,
        _SOURCE,
        is_requestor=True,
        network_access_point=caller.address,
    )
    human = (AuditParticipant(caller.user, is_requestor=True),) if caller.user else ()
    endpoint = f"{identity.public_url}/services/registry"
    return (partner, *human, AuditParticipant(endpoint, _DESTINATION, alternative_user_id=str(os.getpid())))


def _patient(patient_id: str | None) -> tuple[AuditObject, ...]:
    return (AuditObject(patient_id, *PATIENT, _PATIENT_NUMBER),) if patient_id else ()
