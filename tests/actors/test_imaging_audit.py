"""How the audit events of images name who took part: DICOM applications by their AE titles. Spec: DICOM PS3.15 A.5.2.2."""

from __future__ import annotations

import os
from datetime import UTC, datetime

import pytest

from xds.actors import imaging_audit
from xds.actors.audit_parts import ae_titles
from xds.model.audit import AuditEvent, EventOutcome
from xds.model.caller import Caller
from xds.model.domain_identity import DomainIdentity
from xds.model.metadata import Code

NOW = datetime(2024, 5, 1, tzinfo=UTC)
IDENTITY = DomainIdentity("1.2.1", "REGION", "1.2.2", "1.2.3", "1.2.4", "ARCHIVE", "http://127.0.0.1:1")
PATIENT = "1^^^&1.2.1&ISO"
SENT = {"1.2.9": {"1.2.840.10008.5.1.4.1.1.2": 1}}


def names(event: AuditEvent) -> list[str | None]:
    return [participant.alternative_user_id for participant in event.participants]


def test_several_titles_are_separated_by_semicolons() -> None:
    assert ae_titles("CT1", "CT2") == "AETITLES=CT1;CT2"


def test_both_ends_of_an_association_are_named_by_their_titles() -> None:
    modality = Caller("10.0.0.1", node="CT1")
    stored = imaging_audit.instance_stored(IDENTITY, modality, imaging_audit.STORED, NOW, "1.2.9", "1.2.3", PATIENT)
    asked = imaging_audit.queried(IDENTITY, modality, imaging_audit.C_FIND, NOW, [PATIENT], "")
    begun = imaging_audit.transfer_begun(IDENTITY, modality, imaging_audit.C_MOVE, NOW, SENT, PATIENT, "VIEWER")
    sent = imaging_audit.instances_sent(IDENTITY, modality, imaging_audit.C_MOVE, NOW, SENT, PATIENT, EventOutcome.SUCCESS)
    assert names(stored) == names(asked) == ["AETITLES=CT1", "AETITLES=ARCHIVE"]
    assert names(begun) == ["AETITLES=ARCHIVE", "AETITLES=CT1", "AETITLES=VIEWER"]
    assert names(sent) == ["AETITLES=ARCHIVE", "AETITLES=CT1"]


@pytest.mark.parametrize("event_type", [imaging_audit.STORED_OVER_THE_WEB, imaging_audit.WADO_RS, imaging_audit.RETRIEVED])
def test_the_name_in_a_certificate_is_no_title(event_type: Code) -> None:
    partner = Caller("10.0.0.1", node="CN=viewer")
    sent = imaging_audit.instances_sent(IDENTITY, partner, event_type, NOW, SENT, PATIENT, EventOutcome.SUCCESS)
    assert names(sent) == ["AETITLES=ARCHIVE", "CN=viewer"]


def test_who_submits_is_known_by_the_process() -> None:
    """ITI TF-2 3.41.5.1.1, 3.57.5.1.1."""
    caller = Caller("10.0.0.1")
    provided = imaging_audit.manifest_provided(IDENTITY, caller, NOW, PATIENT, "1.2.8", EventOutcome.SUCCESS)
    withdrawn = imaging_audit.manifest_withdrawn(IDENTITY, caller, NOW, PATIENT, "urn:uuid:1", EventOutcome.SUCCESS)
    assert names(provided) == names(withdrawn) == [str(os.getpid()), None, None]
