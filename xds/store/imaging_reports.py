"""Reports that came in messages, version by version, until they are documents.

Spec: HL7 v2.5 9.6 (TXA: what takes the place of what).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, func, insert, select, update

from xds.model.identifiers import AssigningAuthority, PatientIdentifier
from xds.model.imaging import ImagingOrder, OrderNumber
from xds.model.imaging_report import ReportFacts, ReportFormat, ReportState, StoredReport
from xds.model.metadata import Code
from xds.store.schema.imaging import imaging_report


def add(
    connection: Connection,
    facts: ReportFacts,
    message_id: str,
    document: tuple[str, int] | None,
    ids: Sequence[str],
    when: datetime,
) -> str | None:
    """Keep the next version of a report, and tell its report id; None when this message is there, or says nothing new.

    `document` is the key and the size of its blob, `ids` are uniqueId, entryUUID and uniqueId of the SubmissionSet to come.
    """
    columns = imaging_report.c
    if connection.execute(select(columns.report_key).where(columns.message_id == message_id)).first() is not None:
        return None
    report_id = facts.number
    if facts.replaces:
        parent = connection.execute(select(columns.report_id).where(columns.number == facts.replaces).limit(1)).scalar()
        report_id = parent or facts.replaces
    latest = _latest(connection, report_id)
    if latest is not None and latest.blob == (document[0] if document else None) and latest.facts == facts:
        return None
    values = {
        "report_id": report_id,
        "version": latest.version + 1 if latest else 1,
        "number": facts.number,
        "message_id": message_id,
        "facts": json.dumps(asdict(facts), ensure_ascii=False),
        "blob": document[0] if document else None,
        "size": document[1] if document else None,
        "unique_id": ids[0],
        "entry_uuid": ids[1],
        "submission_unique_id": ids[2],
        "created": int(when.timestamp() * 1000),
        "state": ReportState.PENDING.value,
    }
    connection.execute(insert(imaging_report).values(values))
    return report_id


def versions(connection: Connection, report_id: str) -> tuple[StoredReport, ...]:
    """Every version of a report, the oldest first."""
    statement = select(imaging_report).where(imaging_report.c.report_id == report_id).order_by(imaging_report.c.version)
    return tuple(_report(row) for row in connection.execute(statement))


def set_state(
    connection: Connection, report_key: int, state: ReportState, *, reason: str | None = None, patient_id: str | None = None
) -> None:
    """Note where a version stands."""
    values: dict[str, Any] = {"state": state.value, "reason": reason}
    if patient_id is not None:
        values["patient_id"] = patient_id
    connection.execute(update(imaging_report).where(imaging_report.c.report_key == report_key).values(values))


def in_state(connection: Connection, state: ReportState, limit: int) -> tuple[StoredReport, ...]:
    """Versions in one state, the oldest first."""
    statement = select(imaging_report).where(imaging_report.c.state == state.value)
    rows = connection.execute(statement.order_by(imaging_report.c.report_key).limit(limit))
    return tuple(_report(row) for row in rows)


def _latest(connection: Connection, report_id: str) -> StoredReport | None:
    columns = imaging_report.c
    newest = select(func.max(columns.version)).where(columns.report_id == report_id).scalar_subquery()
    row = connection.execute(select(imaging_report).where(columns.report_id == report_id, columns.version == newest)).first()
    return _report(row) if row is not None else None


def _report(row: Row[Any]) -> StoredReport:
    return StoredReport(
        report_key=row.report_key,
        report_id=row.report_id,
        version=row.version,
        facts=_facts(json.loads(row.facts)),
        blob=row.blob,
        unique_id=row.unique_id,
        entry_uuid=row.entry_uuid,
        submission_unique_id=row.submission_unique_id,
        created=row.created,
        state=ReportState(row.state),
        patient_id=row.patient_id,
        reason=row.reason,
    )


def _facts(kept: Mapping[str, Any]) -> ReportFacts:
    order = kept["order"]
    return ReportFacts(
        **{
            **kept,
            "patient_ids": tuple(_identifier(item) for item in kept["patient_ids"]),
            "type_code": Code(**kept["type_code"]) if kept["type_code"] else None,
            "confidentiality": tuple(Code(**item) for item in kept["confidentiality"]),
            "format": ReportFormat(kept["format"]),
            "order": ImagingOrder(
                **{
                    **order,
                    **{name: OrderNumber(**order[name]) for name in ("accession", "placer", "filler")},
                    "patient": _identifier(order["patient"]) if order["patient"] else None,
                    "procedure": Code(**order["procedure"]) if order["procedure"] else None,
                }
            ),
        }
    )


def _identifier(kept: Mapping[str, Any]) -> PatientIdentifier:
    return PatientIdentifier(kept["value"], AssigningAuthority(**kept["authority"]), kept["type_code"])
