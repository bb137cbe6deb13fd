"""Audit events as the audit message schema of DICOM PS3.15 A.5 names their parts.

Spec: ITI TF-2 3.20; the audit section of each transaction.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from xds.model.metadata import Code

#: EventID, scheme DCM.
EXPORT = Code("110106", "DCM", "Export")
IMPORT = Code("110107", "DCM", "Import")
ORDER_RECORD = Code("110109", "DCM", "Order Record")
PATIENT_RECORD = Code("110110", "DCM", "Patient Record")
QUERY = Code("110112", "DCM", "Query")
STUDY_DELETED = Code("110105", "DCM", "DICOM Study Deleted")
BEGIN_TRANSFERRING = Code("110102", "DCM", "Begin Transferring DICOM Instances")
INSTANCES_TRANSFERRED = Code("110104", "DCM", "DICOM Instances Transferred")


class EventAction(StrEnum):
    """EventActionCode."""

    CREATE = "C"
    READ = "R"
    UPDATE = "U"
    DELETE = "D"
    EXECUTE = "E"


class EventOutcome(StrEnum):
    """EventOutcomeIndicator."""

    SUCCESS = "0"
    MINOR_FAILURE = "4"
    SERIOUS_FAILURE = "8"


@dataclass(frozen=True, slots=True)
class AuditParticipant:
    """ActiveParticipant. `role` is RoleIDCode: Code("110153", "DCM", "Source Role ID") or 110152, Destination."""

    user_id: str
    role: Code | None = None
    is_requestor: bool = False
    network_access_point: str | None = None
    alternative_user_id: str | None = None


@dataclass(frozen=True, slots=True)
class AuditObject:
    """ParticipantObjectIdentification. `details` are (type, value) pairs.

    `type_code`, `role` and `life_cycle` (ParticipantObjectDataLifeCycle) are the schema's digits.
    """

    id: str
    type_code: str
    role: str
    id_type: Code
    query: str | None = None
    details: tuple[tuple[str, str], ...] = ()
    life_cycle: str | None = None


@dataclass(frozen=True, slots=True)
class AuditEvent:
    """One audit message before it has a wire form. Of failed and of successful documents there are separate events."""

    event_id: Code
    action: EventAction
    outcome: EventOutcome
    event_type: Code
    occurred: datetime
    participants: tuple[AuditParticipant, ...]
    objects: tuple[AuditObject, ...] = ()
    outcome_description: str | None = None
