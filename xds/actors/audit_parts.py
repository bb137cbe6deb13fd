"""What the audit events of several actors are made of: who took part, whose data they were, what was submitted.

Spec: DICOM PS3.15 A.5.2; ITI TF-2 3.18.5.1, 3.41.5.1.2, 3.42.5.1.2, 3.43.6.1; RAD TF-2 4.68.5, 4.69.5.
"""

from __future__ import annotations

import os
from typing import Final

from xds.model.audit import AuditObject, AuditParticipant
from xds.model.caller import Caller
from xds.model.domain_identity import DomainIdentity
from xds.model.metadata import Code
from xds.model.vocabulary import SUBMISSION_SET_NODE
from xds.store.audit import PATIENT

SOURCE: Final = Code("110153", "DCM", "Source Role ID")
DESTINATION: Final = Code("110152", "DCM", "Destination Role ID")
#: ParticipantObjectDataLifeCycle of what is gone for good.
PERMANENT_ERASURE: Final = "15"

_PATIENT_NUMBER: Final = Code("2", "RFC-3881", "Patient Number")
_SUBMISSION_SET: Final = Code(SUBMISSION_SET_NODE, "IHE XDS Metadata", "submission set classificationNode")


def partner(caller: Caller, role: Code, *, also_known_as: str | None = None) -> tuple[AuditParticipant, ...]:
    """The partner's system and, when an assertion named one, the human behind it."""
    name = caller.reply_to or caller.node or caller.address
    system = AuditParticipant(name, role, True, caller.address, also_known_as)
    return (system, AuditParticipant(caller.user, is_requestor=True)) if caller.user else (system,)


def ae_titles(*titles: str) -> str:
    """AlternativeUserID of a DICOM application: the AE titles that took part. Spec: DICOM PS3.15 A.5.2.2."""
    return "AETITLES=" + ";".join(titles)


def service(identity: DomainIdentity, name: str, role: Code) -> AuditParticipant:
    """A service of this system, the one below `/services/` of that name, which was asked by the partner."""
    return AuditParticipant(f"{identity.public_url}/services/{name}", role, alternative_user_id=str(os.getpid()))


def patient(patient_id: str | None) -> tuple[AuditObject, ...]:
    """The patient of that CX, if one is named."""
    return (AuditObject(patient_id, *PATIENT, _PATIENT_NUMBER),) if patient_id else ()


def submission_set(unique_id: str) -> AuditObject:
    """The SubmissionSet of that uniqueId."""
    return AuditObject(unique_id, "2", "20", _SUBMISSION_SET)
