"""The audit trail: events as rows, written in the transaction whose effect they record.

Spec: ITI TF-2 3.20.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from sqlalchemy import Connection, select

from xds.model.audit import AuditEvent, AuditObject, AuditParticipant, EventAction, EventOutcome
from xds.model.metadata import Code
from xds.store.schema.operations import audit_event
from xds.store.statements import prepared_insert

#: ParticipantObjectTypeCode and ParticipantObjectTypeCodeRole of a patient. Spec: DICOM PS3.15 A.5.2.
PATIENT = ("1", "1")

_INSERT = prepared_insert(audit_event, "occurred", "event_type", "patient", "body")
_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


@dataclass(frozen=True, slots=True)
class Written:
    """An event in its stored form, made before the transaction in which it is added."""

    values: Mapping[str, Any]


def write(event: AuditEvent) -> Written:
    """The stored form of an event."""
    patient = next((item.id for item in event.objects if (item.type_code, item.role) == PATIENT), None)
    return Written(
        {
            "occurred": int(event.occurred.timestamp() * 1000),
            "event_type": event.event_type.code,
            "patient": patient,
            "body": f"{_begun(event)}{_encode(_objects(event))}}}",
        }
    )


def append(connection: Connection, event: AuditEvent) -> None:
    """Add an event to the trail."""
    append_written(connection, (write(event),))


def append_written(connection: Connection, events: Sequence[Written]) -> None:
    """Add events to the trail, in this order."""
    _INSERT.run(connection, [item.values for item in events])


def find(
    connection: Connection, *, patient: str | None = None, before: int | None = None, limit: int = 100
) -> tuple[tuple[int, AuditEvent], ...]:
    """The newest events with their sequence numbers, newest first; of one patient (CX) if given; `before` pages on."""
    statement = select(audit_event.c.sequence, audit_event.c.occurred, audit_event.c.body)
    if patient is not None:
        statement = statement.where(audit_event.c.patient == patient)
    if before is not None:
        statement = statement.where(audit_event.c.sequence < before)
    rows = connection.execute(statement.order_by(audit_event.c.sequence.desc()).limit(limit))
    return tuple((row.sequence, _event(row.occurred, json.loads(row.body))) for row in rows)


def _code(code: Code | None) -> list[str] | None:
    return [code.code, code.scheme, code.display] if code else None


def _begun(event: AuditEvent) -> str:
    """The body of an event as far as many events have the same: everything but its objects."""
    told = (event.event_id, event.action, event.outcome, event.event_type, event.outcome_description, event.participants)
    return _written_head(*told)


@lru_cache(maxsize=1024)
def _written_head(
    event_id: Code,
    action: EventAction,
    outcome: EventOutcome,
    event_type: Code,
    description: str | None,
    participants: Sequence[AuditParticipant],
) -> str:
    fields = {
        "event_id": _code(event_id),
        "action": action,
        "outcome": outcome,
        "event_type": _code(event_type),
        "description": description,
        "participants": [
            [item.user_id, _code(item.role), item.is_requestor, item.network_access_point, item.alternative_user_id]
            for item in participants
        ],
    }
    return f'{_encode(fields)[:-1]},"objects":'


def _objects(event: AuditEvent) -> list[list[Any]]:
    return [
        [item.id, item.type_code, item.role, _code(item.id_type), item.query, item.details, item.life_cycle]
        for item in event.objects
    ]


def _event(occurred: int, body: dict[str, Any]) -> AuditEvent:
    return AuditEvent(
        event_id=Code(*body["event_id"]),
        action=EventAction(body["action"]),
        outcome=EventOutcome(body["outcome"]),
        event_type=Code(*body["event_type"]),
        occurred=datetime.fromtimestamp(occurred / 1000, UTC),
        participants=tuple(
            AuditParticipant(user, Code(*role) if role else None, requestor, address, alternative)
            for user, role, requestor, address, alternative in body["participants"]
        ),
        objects=tuple(
            AuditObject(id_, type_code, role, Code(*id_type), query, tuple((name, value) for name, value in details), *life_cycle)
            for id_, type_code, role, id_type, query, details, *life_cycle in body["objects"]
        ),
        outcome_description=body["description"],
    )
