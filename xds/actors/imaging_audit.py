"""Audit events of the Imaging Document Source.

Spec: DICOM PS3.15 A.5.3.7 (DICOM Instances Transferred), RAD TF-2 4.68.5, 4.69.5, 4.107.5.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Final

from xds.actors.audit_parts import DESTINATION, SOURCE, ae_titles, partner, patient, submission_set
from xds.model.audit import (
    BEGIN_TRANSFERRING,
    EXPORT,
    INSTANCES_TRANSFERRED,
    ORDER_RECORD,
    PATIENT_RECORD,
    QUERY,
    STUDY_DELETED,
    AuditEvent,
    AuditObject,
    AuditParticipant,
    EventAction,
    EventOutcome,
)
from xds.model.caller import Caller
from xds.model.domain_identity import DomainIdentity
from xds.model.metadata import Code

STORED: Final = Code("RAD-8", "IHE Transactions", "Modality Images Stored")
STORED_OVER_THE_WEB: Final = Code("RAD-108", "IHE Transactions", "Store Instances Over the Web")
WADO_URI: Final = Code("RAD-55", "IHE Transactions", "WADO Retrieve")
PROVIDED: Final = Code("RAD-68", "IHE Transactions", "Provide and Register Imaging Document Set - MTOM/XOP")
RETRIEVED: Final = Code("RAD-69", "IHE Transactions", "Retrieve Imaging Document Set")
WADO_RS: Final = Code("RAD-107", "IHE Transactions", "WADO-RS Retrieve")
QIDO_RS: Final = Code("RAD-129", "IHE Transactions", "QIDO-RS Query")
C_FIND: Final = Code("RAD-14", "IHE Transactions", "Query Images")
C_MOVE: Final = Code("RAD-16", "IHE Transactions", "Retrieve Images")
ORDERED: Final = Code("RAD-4", "IHE Transactions", "Procedure Scheduled")
REPORTED: Final = Code("RAD-128", "IHE Transactions", "Send Imaging Result")
REMOVED: Final = Code("RAD-66", "IHE Transactions", "Rejection Note Stored")
WITHDRAWN: Final = Code("ITI-57", "IHE Transactions", "Update Document Set")

_OBJECT_REFERENCE: Final = Code("urn:ihe:iti:2017:ObjectRef", "IHE XDS Metadata", "registry object reference")
_STUDY: Final = Code("110180", "DCM", "Study Instance UID")


def instance_stored(
    identity: DomainIdentity,
    caller: Caller,
    event_type: Code,
    when: datetime,
    study_instance_uid: str,
    sop_class_uid: str,
    patient_id: str,
    outcome: EventOutcome = EventOutcome.SUCCESS,
) -> AuditEvent:
    """An instance arrived. `patient_id` is the CX as the source names the patient; empty when it names none."""
    participants = (*_peer(caller, SOURCE, event_type), _ourselves(identity, DESTINATION))
    study = _study(study_instance_uid, {sop_class_uid: 1})
    return AuditEvent(
        INSTANCES_TRANSFERRED, EventAction.CREATE, outcome, event_type, when, participants, (*patient(patient_id), study)
    )


def instances_sent(
    identity: DomainIdentity,
    caller: Caller,
    event_type: Code,
    when: datetime,
    studies: Mapping[str, Mapping[str, int]],
    patient_id: str,
    outcome: EventOutcome,
    description: str | None = None,
) -> AuditEvent:
    """Instances of one patient went out, or were refused. `studies`: Study Instance UID -> SOP Class UID -> how many."""
    participants = (_ourselves(identity, SOURCE), *_peer(caller, DESTINATION, event_type))
    location = ("Repository Unique Id", identity.imaging_source_unique_id)
    objects = tuple(_study(uid, classes, location) for uid, classes in studies.items())
    return AuditEvent(
        INSTANCES_TRANSFERRED,
        EventAction.READ,
        outcome,
        event_type,
        when,
        participants,
        (*patient(patient_id), *objects),
        description,
    )


def transfer_begun(
    identity: DomainIdentity,
    receiver: Caller,
    event_type: Code,
    when: datetime,
    studies: Mapping[str, Mapping[str, int]],
    patient_id: str,
    requestor: str,
) -> AuditEvent:
    """Instances of one patient are about to go out to a receiver, for who asked. Spec: PS3.15 A.5.3.3."""
    participants = (
        _ourselves(identity, SOURCE),
        replace(_peer(receiver, DESTINATION, event_type)[0], is_requestor=requestor == receiver.node),
        *(() if requestor == receiver.node else (_application(requestor),)),
    )
    objects = tuple(_study(uid, classes) for uid, classes in studies.items())
    return AuditEvent(
        BEGIN_TRANSFERRING,
        EventAction.EXECUTE,
        EventOutcome.SUCCESS,
        event_type,
        when,
        participants,
        (*patient(patient_id), *objects),
    )


def queried(
    identity: DomainIdentity, caller: Caller, event_type: Code, when: datetime, patient_ids: Sequence[str], query: str
) -> AuditEvent:
    """Somebody searched: the query as it was asked, and whose studies were found. Spec: PS3.15 A.5.3.10; RAD TF-2 4.129.5."""
    asked = AuditObject(event_type.code, "2", "24", event_type, query=query, details=(("QueryEncoding", "UTF-8"),))
    participants = (*_peer(caller, SOURCE, event_type), _ourselves(identity, DESTINATION))
    patients = (found for patient_id in patient_ids for found in patient(patient_id))
    return AuditEvent(QUERY, EventAction.EXECUTE, EventOutcome.SUCCESS, event_type, when, participants, (*patients, asked))


def manifest_provided(
    identity: DomainIdentity,
    caller: Caller,
    when: datetime,
    patient_id: str,
    submission_unique_id: str,
    outcome: EventOutcome,
) -> AuditEvent:
    """A manifest was given to the Document Repository. Spec: ITI TF-2 3.41.5.1.1."""
    requestor = caller.user or caller.node or caller.address
    participants = (
        _submitter(identity),
        AuditParticipant(f"{identity.public_url}/services/repository", DESTINATION),
        AuditParticipant(requestor, None, True),
    )
    objects = (*patient(patient_id), submission_set(submission_unique_id))
    return AuditEvent(EXPORT, EventAction.READ, outcome, PROVIDED, when, participants, objects)


def order_received(identity: DomainIdentity, caller: Caller, when: datetime, patient_id: str) -> AuditEvent:
    """Orders arrived. Spec: PS3.15 A.5.3.13 (Order Record)."""
    return _message_received(ORDER_RECORD, ORDERED, identity, caller, when, patient_id)


def report_received(identity: DomainIdentity, caller: Caller, when: datetime, patient_id: str) -> AuditEvent:
    """A report arrived. Spec: PS3.15 A.5.3.14 (Patient Record)."""
    return _message_received(PATIENT_RECORD, REPORTED, identity, caller, when, patient_id)


def _message_received(
    event: Code, transaction: Code, identity: DomainIdentity, caller: Caller, when: datetime, patient_id: str
) -> AuditEvent:
    participants = (*partner(caller, SOURCE), _ourselves(identity, DESTINATION))
    return AuditEvent(event, EventAction.UPDATE, EventOutcome.SUCCESS, transaction, when, participants, patient(patient_id))


def instances_removed(identity: DomainIdentity, caller: Caller, when: datetime, study_instance_uid: str) -> AuditEvent:
    """Instances of a study were forgotten here. Spec: PS3.15 A.5.3.8 (DICOM Study Deleted)."""
    participants = (*partner(caller, SOURCE), _ourselves(identity, DESTINATION))
    study = _study(study_instance_uid, {})
    return AuditEvent(STUDY_DELETED, EventAction.DELETE, EventOutcome.SUCCESS, REMOVED, when, participants, (study,))


def manifest_withdrawn(
    identity: DomainIdentity, caller: Caller, when: datetime, patient_id: str, entry_uuid: str, outcome: EventOutcome
) -> AuditEvent:
    """A manifest was taken back at the Document Registry. Spec: ITI TF-2 3.57.5.1.1."""
    participants = (
        _submitter(identity),
        AuditParticipant(f"{identity.public_url}/services/registry", DESTINATION),
        AuditParticipant(caller.user or caller.node or caller.address, None, True),
    )
    entry = AuditObject(entry_uuid, "2", "3", _OBJECT_REFERENCE)
    return AuditEvent(PATIENT_RECORD, EventAction.UPDATE, outcome, WITHDRAWN, when, participants, (*patient(patient_id), entry))


def _peer(caller: Caller, role: Code, event_type: Code) -> tuple[AuditParticipant, ...]:
    """Who exchanged images with us: over an association one is known by an AE title, elsewhere by a certificate."""
    is_association = event_type in (STORED, C_FIND, C_MOVE)
    return partner(caller, role, also_known_as=ae_titles(caller.node) if caller.node and is_association else caller.node)


def _application(requestor: str) -> AuditParticipant:
    """The DICOM application that asked for a transfer to another one."""
    return AuditParticipant(requestor, None, True, alternative_user_id=ae_titles(requestor) if requestor else None)


def _ourselves(identity: DomainIdentity, role: Code) -> AuditParticipant:
    return AuditParticipant(_address(identity), role, alternative_user_id=ae_titles(identity.ae_title))


def _submitter(identity: DomainIdentity) -> AuditParticipant:
    """Us as the source of a submission, known by the process. Spec: ITI TF-2 3.41.5.1.1, 3.57.5.1.1."""
    return AuditParticipant(_address(identity), SOURCE, True, alternative_user_id=str(os.getpid()))


def _address(identity: DomainIdentity) -> str:
    return f"{identity.public_url}/services/imaging-source"


def _study(study_instance_uid: str, classes: Mapping[str, int], *details: tuple[str, str]) -> AuditObject:
    counted = tuple(("ContainsSOPClass", f"{uid}={number}") for uid, number in classes.items())
    return AuditObject(study_instance_uid, "2", "3", _STUDY, details=(*details, *counted))
