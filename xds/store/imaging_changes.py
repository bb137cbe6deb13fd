"""What happens to a study in the archive beside the arrival of instances: it loses some, or its manifest is compared with it.

Spec: RAD TF-2 4.68.4.1.2 (a manifest lists what is there); RAD TF IOCM.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, delete, exists, func, select, update

from xds.model.imaging import StudyState
from xds.store.schema.imaging import (
    imaging_header,
    imaging_instance,
    imaging_manifest,
    imaging_series,
    imaging_study,
)

#: Parameters of one statement at most.
_AT_ONCE = 500


@dataclass(frozen=True, slots=True)
class StudyReview:
    """What operators see of a study: where it stands, why, and what its manifest was found to differ in."""

    study_instance_uid: str
    state: StudyState
    reason: str | None
    drift: str | None
    received: int


def remove_instances(connection: Connection, study_instance_uid: str, sop_instance_uids: Collection[str] | None) -> int:
    """Forget instances of a study (None: all of them) and tell how many there were; then it counts as changed.

    Their octets are left to the sweep. Rejections stay: they hold for instances that come again.
    """
    key = _locked(connection, study_instance_uid)
    if key is None:
        return 0
    removed = 0
    uids = None if sop_instance_uids is None else sorted(sop_instance_uids)
    for some in [None] if uids is None else [uids[start : start + _AT_ONCE] for start in range(0, len(uids), _AT_ONCE)]:
        removed += _remove(connection, key, some)
    if removed:
        left = select(1).where(
            imaging_instance.c.study_key == imaging_series.c.study_key,
            imaging_instance.c.series_instance_uid == imaging_series.c.series_instance_uid,
        )
        connection.execute(delete(imaging_series).where(imaging_series.c.study_key == key, ~exists(left)))
        touch(connection, study_instance_uid)
    return removed


def stored_between(connection: Connection, study_instance_uid: str, since: datetime, until: datetime) -> dict[str, str]:
    """SOP Instance UID -> blob of the instances of a study that came, or came anew, from `since` on and before `until`."""
    own = select(imaging_study.c.study_key).where(imaging_study.c.study_instance_uid == study_instance_uid).scalar_subquery()
    columns = imaging_instance.c
    first, last = (int(moment.timestamp() * 1000) for moment in (since, until))
    when = (columns.stored >= first) & (columns.stored < last)
    statement = select(columns.sop_instance_uid, columns.blob).where(columns.study_key == own, when, columns.blob.is_not(None))
    return {row.sop_instance_uid: row.blob for row in connection.execute(statement)}


def _remove(connection: Connection, key: int, uids: Sequence[str] | None) -> int:
    counted = 0
    for table in (imaging_instance, imaging_header):
        own = table.c.study_key == key
        if uids is not None:
            own &= table.c.sop_instance_uid.in_(uids)
        found = connection.execute(delete(table).where(own)).rowcount
        counted = found if table is imaging_instance else counted
    return counted


def touch(connection: Connection, study_instance_uid: str) -> None:
    """The study counts as changed: its next manifest is a new one."""
    columns = imaging_study.c
    values = {"revision": columns.revision + 1, "state": StudyState.RECEIVED.value, "reason": None}
    connection.execute(update(imaging_study).where(columns.study_instance_uid == study_instance_uid).values(values))


def move_manifest(connection: Connection, study_instance_uid: str, unique_id: str, patient_id: str) -> None:
    """The registry has a manifest in the record of this patient (CX) now."""
    columns = imaging_manifest.c
    own = select(imaging_study.c.study_key).where(imaging_study.c.study_instance_uid == study_instance_uid).scalar_subquery()
    place = (columns.study_key == own) & (columns.unique_id == unique_id)
    connection.execute(update(imaging_manifest).where(place).values(patient_id=patient_id))


def due_for_reconciliation(connection: Connection, before: datetime, limit: int) -> tuple[str, ...]:
    """Studies that have a manifest and were not compared with it since, the longest ago first."""
    columns = imaging_study.c
    settled = [state.value for state in (StudyState.PUBLISHED, StudyState.WITHDRAWN, StudyState.DISPUTED)]
    statement = (
        select(columns.study_instance_uid)
        .where(columns.reconciled < int(before.timestamp() * 1000), columns.state.in_(settled))
        .order_by(columns.reconciled, columns.study_key)
        .limit(limit)
    )
    return tuple(connection.execute(statement).scalars())


def note_reconciliation(connection: Connection, study_instance_uid: str, when: datetime, drift: str | None) -> None:
    """Remember that the study was compared with its manifest, and what differed."""
    values = {"reconciled": int(when.timestamp() * 1000), "drift": drift}
    own = imaging_study.c.study_instance_uid == study_instance_uid
    connection.execute(update(imaging_study).where(own).values(values))


def to_review(connection: Connection, limit: int) -> tuple[StudyReview, ...]:
    """Studies that wait for something: unresolved, disputed, or found to differ from their manifest; the newest first."""
    columns = imaging_study.c
    waiting = columns.state.in_([StudyState.UNRESOLVED.value, StudyState.DISPUTED.value])
    statement = (
        select(columns.study_instance_uid, columns.state, columns.reason, columns.drift, columns.received)
        .where(waiting | columns.drift.is_not(None))
        .order_by(columns.received.desc(), columns.study_key.desc())
        .limit(limit)
    )
    return tuple(_review(row) for row in connection.execute(statement))


def drifts(connection: Connection) -> dict[str, int]:
    """How many studies differ from their manifests, by how they do."""
    column = imaging_study.c.drift
    rows = connection.execute(select(column, func.count()).where(column.is_not(None)).group_by(column))
    return {row[0]: row[1] for row in rows}


def _review(row: Any) -> StudyReview:
    return StudyReview(row.study_instance_uid, StudyState(row.state), row.reason, row.drift, row.received)


def _locked(connection: Connection, study_instance_uid: str) -> int | None:
    statement = select(imaging_study.c.study_key).where(imaging_study.c.study_instance_uid == study_instance_uid)
    return connection.execute(statement.with_for_update()).scalar_one_or_none()
