"""Audit events of patient identity: those of the PIX Manager, and the Document Registry's of a link change.

Spec: ITI TF-2 3.8.5.1 (feed: one event for each patient; a merge deletes one and updates the other), 3.9.5.1 (query),
3.64.5.1 (link change).
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from datetime import datetime
from functools import lru_cache
from typing import Final
from urllib.parse import urlsplit

from xds.model.audit import (
    PATIENT_RECORD,
    QUERY,
    AuditEvent,
    AuditObject,
    AuditParticipant,
    EventAction,
    EventOutcome,
)
from xds.model.caller import Caller
from xds.model.domain_identity import DomainIdentity
from xds.model.identifiers import PatientIdentifier, escape_hl7
from xds.model.metadata import Code
from xds.model.patient import (
    PATIENT_IDENTITY_MANAGEMENT,
    FeedKind,
    IdentityFeed,
    IdentityProblem,
    IdentityProblemKind,
    IdentityQuery,
)
from xds.model.patient_links import XAD_PID_LINK_CHANGE, LinkChange
from xds.model.vocabulary import SUBMISSION_SET_NODE
from xds.store import audit
from xds.store.audit import Pattern, Written

_SOURCE = Code("110153", "DCM", "Source Role ID")
_DESTINATION = Code("110152", "DCM", "Destination Role ID")
_PATIENT_NUMBER = Code("2", "RFC-3881", "Patient Number")
_SUBMISSION_SET = Code(SUBMISSION_SET_NODE, "IHE XDS Metadata", "submission set classificationNode")
_MESSAGE_ID = "MSH-10"


def _participants(source: str, destination: str, caller: Caller, identity: DomainIdentity) -> tuple[AuditParticipant, ...]:
    return _partners(source, destination, caller.address, identity.public_url, os.getpid())


@lru_cache(maxsize=1024)
def _partners(source: str, destination: str, address: str, public_url: str, process: int) -> tuple[AuditParticipant, ...]:
    return (
        AuditParticipant(source, _SOURCE, True, address),
        AuditParticipant(destination, _DESTINATION, False, urlsplit(public_url).hostname, str(process)),
    )


def _patient(identifier: PatientIdentifier, details: tuple[tuple[str, str], ...] = ()) -> AuditObject:
    authority = identifier.authority
    written = identifier.to_cx() if authority.oid else f"{escape_hl7(identifier.value)}^^^{authority}"
    return AuditObject(written, "1", "1", _PATIENT_NUMBER, details=details)


def _outcome(problems: Sequence[IdentityProblem]) -> tuple[EventOutcome, str | None]:
    if not problems:
        return EventOutcome.SUCCESS, None
    internal = any(problem.kind is IdentityProblemKind.INTERNAL for problem in problems)
    text = "; ".join(dict.fromkeys(problem.text for problem in problems))
    return (EventOutcome.SERIOUS_FAILURE if internal else EventOutcome.MINOR_FAILURE), text


def feed_events(
    feed: IdentityFeed, caller: Caller, identity: DomainIdentity, occurred: datetime, problems: Sequence[IdentityProblem] = ()
) -> tuple[AuditEvent, ...]:
    """What a feed did: one event, or two: of a merge (the subsumed patient deleted, the surviving one updated), of a link."""
    outcome, description = _outcome(problems)
    touched = {
        FeedKind.ADD: [(EventAction.CREATE, feed.identifiers[:1])],
        FeedKind.REVISE: [(EventAction.UPDATE, feed.identifiers[:1])],
        FeedKind.LINK: [(EventAction.UPDATE, feed.identifiers[:1]), (EventAction.UPDATE, feed.linked[:1])],
        FeedKind.UNLINK: [(EventAction.UPDATE, feed.identifiers[:1]), (EventAction.UPDATE, feed.linked[:1])],
        FeedKind.MERGE: [(EventAction.DELETE, feed.subsumed[:1]), (EventAction.UPDATE, feed.identifiers[:1])],
        FeedKind.CHANGE: [(EventAction.DELETE, feed.subsumed[:1]), (EventAction.UPDATE, feed.identifiers[:1])],
        FeedKind.REMOVE: [(EventAction.DELETE, feed.identifiers[:1])],
    }[feed.kind]
    return tuple(
        AuditEvent(
            event_id=PATIENT_RECORD,
            action=action,
            outcome=outcome,
            event_type=feed.event_type,
            occurred=occurred,
            participants=_participants(feed.source, feed.destination, caller, identity),
            objects=tuple(_patient(item, ((_MESSAGE_ID, feed.message_id),)) for item in identifiers),
            outcome_description=description,
        )
        for action, identifiers in touched
    )


#: What a feed does that tells of one patient.
_ACTIONS: Final = {FeedKind.ADD: EventAction.CREATE, FeedKind.REVISE: EventAction.UPDATE}


def accepted_events(feed: IdentityFeed, caller: Caller, identity: DomainIdentity, occurred: datetime) -> Sequence[Written]:
    """The events of a feed that took effect, in their stored form: those of `feed_events`."""
    action = _ACTIONS.get(feed.kind)
    if action is None:
        return [audit.write(item) for item in feed_events(feed, caller, identity, occurred)]
    partners = (feed.source, feed.destination, caller.address, identity.public_url, os.getpid())
    pattern = _accepted(partners, feed.event_type, action)
    return (pattern.write(occurred, [_patient(item, ((_MESSAGE_ID, feed.message_id),)) for item in feed.identifiers[:1]]),)


@lru_cache(maxsize=1024)
def _accepted(partners: tuple[str, str, str, str, int], event_type: Code, action: EventAction) -> Pattern:
    """What the events of a partner's feeds that took effect have alike."""
    return Pattern(
        AuditEvent(
            event_id=PATIENT_RECORD,
            action=action,
            outcome=EventOutcome.SUCCESS,
            event_type=event_type,
            occurred=datetime.min,
            participants=_partners(*partners),
            objects=(),
        )
    )


def query_event(
    query: IdentityQuery,
    identifier: PatientIdentifier,
    caller: Caller,
    identity: DomainIdentity,
    occurred: datetime,
    problems: Sequence[IdentityProblem] = (),
) -> Written:
    """That somebody asked for the identifiers of a patient."""
    if problems:
        return audit.write(demographics_query_event(query, (identifier,), caller, identity, occurred, problems))
    partners = (query.source, query.destination, caller.address, identity.public_url, os.getpid())
    kind = query.event_type
    pattern = _answered(partners, (kind.code, kind.scheme, kind.display))
    asked = AuditObject(query.tag, "2", "24", query.event_type, query.text, ((_MESSAGE_ID, query.message_id),))
    return pattern.write(occurred, (_patient(identifier), asked))


@lru_cache(maxsize=1024)
def _answered(partners: tuple[str, str, str, str, int], event_type: tuple[str, str, str]) -> Pattern:
    """What the events of a partner's queries that were answered have alike."""
    return Pattern(
        AuditEvent(
            event_id=QUERY,
            action=EventAction.EXECUTE,
            outcome=EventOutcome.SUCCESS,
            event_type=Code(*event_type),
            occurred=datetime.min,
            participants=_partners(*partners),
            objects=(),
        )
    )


def demographics_query_event(
    query: IdentityQuery,
    identifiers: Sequence[PatientIdentifier],
    caller: Caller,
    identity: DomainIdentity,
    occurred: datetime,
    problems: Sequence[IdentityProblem] = (),
) -> AuditEvent:
    """That somebody asked for patients; `identifiers` name those who were answered. Spec: ITI TF-2 3.21.5.1, 3.47.5.1."""
    outcome, description = _outcome(problems)
    asked = AuditObject(query.tag, "2", "24", query.event_type, query.text, ((_MESSAGE_ID, query.message_id),))
    return AuditEvent(
        event_id=QUERY,
        action=EventAction.EXECUTE,
        outcome=outcome,
        event_type=query.event_type,
        occurred=occurred,
        participants=_participants(query.source, query.destination, caller, identity),
        objects=(*(_patient(item) for item in identifiers), asked),
        outcome_description=description,
    )


def link_change_event(
    change: LinkChange,
    submission_set: str | None,
    caller: Caller,
    identity: DomainIdentity,
    occurred: datetime,
    problems: Sequence[IdentityProblem] = (),
) -> AuditEvent:
    """The link of a local identifier changed. `submission_set` is the uniqueId under which that was registered, if it was."""
    outcome, description = _outcome(problems)
    identifiers = (change.local, change.subsumed, change.new, change.previous)
    detail = ((_MESSAGE_ID, change.message_id),)
    return AuditEvent(
        event_id=PATIENT_RECORD,
        action=EventAction.UPDATE,
        outcome=outcome,
        event_type=XAD_PID_LINK_CHANGE,
        occurred=occurred,
        participants=_participants(change.source, change.destination, caller, identity),
        objects=(
            *(_patient(item, detail) for item in identifiers if item),
            *((AuditObject(submission_set, "2", "20", _SUBMISSION_SET),) if submission_set else ()),
        ),
        outcome_description=description,
    )


def desk_events(
    identifiers: Sequence[PatientIdentifier],
    caller: Caller,
    identity: DomainIdentity,
    occurred: datetime,
    *,
    is_reading: bool = False,
) -> tuple[AuditEvent, ...]:
    """That somebody changed by hand which identifiers belong together, or (`is_reading`) looked at what is known of them."""
    user = caller.user or caller.node or caller.address
    return tuple(
        AuditEvent(
            event_id=PATIENT_RECORD,
            action=EventAction.READ if is_reading else EventAction.UPDATE,
            outcome=EventOutcome.SUCCESS,
            event_type=PATIENT_IDENTITY_MANAGEMENT,
            occurred=occurred,
            participants=_participants(user, identity.public_url, caller, identity),
            objects=(_patient(item),),
        )
        for item in identifiers
    )
