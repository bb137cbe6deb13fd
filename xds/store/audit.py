"""The audit trail: events as rows, written in the transaction whose effect they record.

Spec: ITI TF-2 3.20.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Final

from sqlalchemy import Connection, select

from xds.model.audit import AuditEvent, AuditObject, AuditParticipant, EventAction, EventOutcome
from xds.model.metadata import Code
from xds.store.dialects import Columns
from xds.store.schema.operations import audit_event
from xds.store.statements import prepared_insert

#: ParticipantObjectTypeCode and ParticipantObjectTypeCodeRole of a patient. Spec: DICOM PS3.15 A.5.2.
PATIENT = ("1", "1")

_COLUMNS: Final = Columns(audit_event, ("occurred", "event_type", "patient", "body"))
_INSERT: Final = prepared_insert(audit_event, *_COLUMNS.names)
_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode
#: One string as JSON.
_text = json.encoder.encode_basestring


@dataclass(frozen=True, slots=True)
class Written:
    """An event in its stored form, made before the transaction in which it is added."""

    values: Mapping[str, Any]

    def at(self, occurred: datetime) -> Written:
        """The same event at another time."""
        return Written({**self.values, "occurred": int(occurred.timestamp() * 1000)})


def write(event: AuditEvent) -> Written:
    """The stored form of an event."""
    return Pattern(event).write(event.occurred, event.objects)


class Pattern:
    """Makes the stored form of events that differ from one another in their time and objects alone."""

    __slots__ = ("_begun", "_event_type")

    def __init__(self, event: AuditEvent) -> None:
        self._begun = _begun(event)
        self._event_type = event.event_type.code

    def write(self, occurred: datetime, objects: Sequence[AuditObject]) -> Written:
        """The stored form of the event at that time, about these objects."""
        return Written(
            {
                "occurred": int(occurred.timestamp() * 1000),
                "event_type": self._event_type,
                "patient": next((item.id for item in objects if (item.type_code, item.role) == PATIENT), None),
                "body": f"{self._begun}[{','.join(map(_object, objects))}]}}",
            }
        )


def append(connection: Connection, event: AuditEvent) -> None:
    """Add an event to the trail."""
    append_written(connection, (write(event),))


def rows_of(event: Written) -> tuple[Columns, list[tuple[Any, ...]]]:
    """An event as what `insert_rows` adds to the trail together with other rows."""
    return _COLUMNS, [tuple([event.values[name] for name in _COLUMNS.names])]


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


@lru_cache(maxsize=256)
def _kind(*parts: str) -> str:
    """Type, role and type of identifier (code, scheme, display) of an object."""
    type_code, role, *id_type = parts
    return f"{_text(type_code)},{_text(role)},{_encode(id_type)}"


def _object(item: AuditObject) -> str:
    """One object as JSON. Written piece by piece, because an encoder is set up anew for every call."""
    query = "null" if item.query is None else _text(item.query)
    details = ",".join([f"[{_text(name)},{_text(value)}]" for name, value in item.details])
    life_cycle = "null" if item.life_cycle is None else _text(item.life_cycle)
    kind = item.id_type
    written = _kind(item.type_code, item.role, kind.code, kind.scheme, kind.display)
    return f"[{_text(item.id)},{written},{query},[{details}],{life_cycle}]"


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
