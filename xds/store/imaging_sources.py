"""Studies whose images stay at a source outside: what it said of them, and what of them is registered here.

Spec: RAD TF-2 4.68.4.1 (a manifest tells what can be retrieved).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache

from sqlalchemy import ColumnElement, Connection, and_, bindparam, delete, exists, func, select, update

from xds.model.imaging import StudyPatient, StudyState
from xds.model.imaging_query import fold_name
from xds.store import imaging_headers
from xds.store.dialects import put
from xds.store.schema.imaging import (
    imaging_header,
    imaging_instance,
    imaging_rejection,
    imaging_series,
    imaging_source_study,
    imaging_study,
)
from xds.store.statements import Prepared

#: Series and SOP Instance UID; or the name of a source and Series Instance UID.
Place = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Registered:
    """An instance as it is registered. `location` is empty for one of the own archive."""

    location: str
    has_blob: bool
    sop_class_uid: str
    packed: bytes

    @property
    def digest(self) -> str:
        """That of its header, made when it is asked for: who asks for a series at the first time needs none."""
        return digest(imaging_headers.unpack(self.packed))


def digest(header: bytes) -> str:
    """What stands for a header where headers are compared."""
    return hashlib.sha256(header).hexdigest()


@lru_cache
def _registered(*, of_one_series: bool, of_one_instance: bool) -> Prepared:
    table, head = imaging_instance.c, imaging_header.c
    study = select(imaging_study.c.study_key).where(imaging_study.c.study_instance_uid == bindparam("study")).scalar_subquery()
    joined = (
        (head.study_key == table.study_key)
        & (head.series_instance_uid == table.series_instance_uid)
        & (head.sop_instance_uid == table.sop_instance_uid)
    )
    statement = (
        select(table.series_instance_uid, table.sop_instance_uid, table.location, table.blob, table.sop_class_uid, head.header)
        .join(imaging_header, joined)
        .where(table.study_key == study)
    )
    if of_one_series:
        statement = statement.where(table.series_instance_uid == bindparam("series"))
    if of_one_instance:
        statement = statement.where(table.sop_instance_uid == bindparam("instance"))
    return Prepared(statement)


def registered(
    connection: Connection,
    study_instance_uid: str,
    series_instance_uid: str | None = None,
    sop_instance_uid: str | None = None,
) -> dict[Place, Registered]:
    """Every instance of a study or series, or one of them; also rejected ones."""
    given = {"study": study_instance_uid, "series": series_instance_uid, "instance": sop_instance_uid}
    statement = _registered(of_one_series=series_instance_uid is not None, of_one_instance=sop_instance_uid is not None)
    rows = statement.rows(connection, {name: value for name, value in given.items() if value is not None})
    return {(row[0], row[1]): Registered(row[2] or "", bool(row[3]), row[4], row[5]) for row in rows}


def is_outside(*, of_one_series: bool) -> ColumnElement[bool]:
    """True for the instances of a `study`, or of a `series` of it, that a source outside holds and nobody rejected."""
    table, rejected = imaging_instance.c, imaging_rejection.c
    study = select(imaging_study.c.study_key).where(imaging_study.c.study_instance_uid == bindparam("study")).scalar_subquery()
    withheld = select(rejected.sop_instance_uid).where(rejected.study_key == study)
    conditions = [
        table.study_key == study,
        table.location.is_not(None),
        table.blob.is_(None),
        table.sop_instance_uid.not_in(withheld),
    ]
    if of_one_series:
        conditions.append(table.series_instance_uid == bindparam("series"))
    return and_(*conditions)


@lru_cache
def _held_outside(*, of_one_series: bool, of_one_instance: bool) -> Prepared:
    table = imaging_instance.c
    columns = (table.location, table.series_instance_uid, table.sop_instance_uid, table.sop_class_uid)
    statement = select(*columns).where(is_outside(of_one_series=of_one_series))
    return Prepared(statement.where(table.sop_instance_uid == bindparam("instance")) if of_one_instance else statement)


def held_outside(
    connection: Connection,
    study_instance_uid: str,
    series_instance_uid: str | None = None,
    sop_instance_uid: str | None = None,
) -> dict[Place, dict[str, str]]:
    """What sources outside hold of a study, a series or as one instance, and nobody rejected: by source and Series Instance UID,
    the SOP Class UIDs by SOP Instance UID."""
    given = {"study": study_instance_uid, "series": series_instance_uid, "instance": sop_instance_uid}
    statement = _held_outside(of_one_series=series_instance_uid is not None, of_one_instance=sop_instance_uid is not None)
    rows = statement.rows(connection, {name: value for name, value in given.items() if value is not None})
    found: dict[Place, dict[str, str]] = {}
    for location, series, instance, sop_class in rows:
        found.setdefault((location, series), {})[instance] = sop_class
    return found


def patient(connection: Connection, study_instance_uid: str) -> StudyPatient | None:
    """Whom a study names as its patient; None when there is no such study."""
    columns = imaging_study.c
    statement = select(
        columns.patient_id,
        columns.issuer_oid,
        columns.issuer_namespace,
        columns.patient_name,
        columns.birth_date,
        columns.sex,
    ).where(columns.study_instance_uid == study_instance_uid)
    row = connection.execute(statement).first()
    return StudyPatient(*row) if row else None


def headers(connection: Connection, location: str, study_instance_uid: str, series_instance_uid: str) -> dict[str, bytes]:
    """The registered headers of the instances of a series that one source holds, by SOP Instance UID; also rejected ones."""
    table, head = imaging_instance.c, imaging_header.c
    study = select(imaging_study.c.study_key).where(imaging_study.c.study_instance_uid == study_instance_uid).scalar_subquery()
    joined = (
        (head.study_key == table.study_key)
        & (head.series_instance_uid == table.series_instance_uid)
        & (head.sop_instance_uid == table.sop_instance_uid)
    )
    statement = (
        select(table.sop_instance_uid, head.header)
        .join(imaging_header, joined)
        .where(table.study_key == study, table.series_instance_uid == series_instance_uid, table.location == location)
    )
    return {row[0]: imaging_headers.unpack(row[1]) for row in connection.execute(statement)}


def remove(connection: Connection, study_instance_uid: str, places: Iterable[Place], changed: datetime) -> None:
    """Forget instances that their source has no more: the study has changed by it."""
    key = connection.execute(
        select(imaging_study.c.study_key).where(imaging_study.c.study_instance_uid == study_instance_uid)
    ).scalar_one_or_none()
    if key is None:
        return
    for series_uid, sop_uid in places:
        for table in (imaging_header, imaging_instance):
            columns = table.c
            connection.execute(
                delete(table).where(
                    columns.study_key == key, columns.series_instance_uid == series_uid, columns.sop_instance_uid == sop_uid
                )
            )
    instance, series = imaging_instance.c, imaging_series.c
    left = exists().where(instance.study_key == key, instance.series_instance_uid == series.series_instance_uid)
    connection.execute(delete(imaging_series).where(series.study_key == key, ~left))
    _changed(connection, key, changed)


def set_patient(connection: Connection, study_instance_uid: str, patient: StudyPatient, changed: datetime) -> None:
    """The source that alone holds a study has corrected whose it is."""
    columns = imaging_study.c
    key = connection.execute(select(columns.study_key).where(columns.study_instance_uid == study_instance_uid)).scalar_one()
    values = {
        "patient_id": patient.patient_id,
        "issuer_oid": patient.issuer_oid,
        "issuer_namespace": patient.issuer_namespace,
        "patient_name": patient.name,
        "patient_name_folded": fold_name(patient.name),
        "birth_date": patient.birth_date,
        "sex": patient.sex,
    }
    connection.execute(update(imaging_study).where(columns.study_key == key).values(values))
    _changed(connection, key, changed)


def _changed(connection: Connection, key: int, changed: datetime) -> None:
    values = {"received": _milliseconds(changed), "revision": imaging_study.c.revision + 1}
    state = {"state": StudyState.RECEIVED.value, "reason": None}
    connection.execute(update(imaging_study).where(imaging_study.c.study_key == key).values({**values, **state}))


def note(
    connection: Connection, location: str, study_instance_uid: str, fingerprint: str, study_date: str, checked: datetime
) -> None:
    """Remember what the source says of a study, all of whose instances were read."""
    values = {
        "location": location,
        "study_instance_uid": study_instance_uid,
        "fingerprint": fingerprint,
        "study_date": study_date,
        "checked": _milliseconds(checked),
    }
    put(connection, imaging_source_study, ("location", "study_instance_uid"), values)


def noted(connection: Connection, location: str, first_date: str, last_date: str) -> dict[str, str]:
    """Fingerprints of the studies of these days (both included) that the source had."""
    columns = imaging_source_study.c
    statement = select(columns.study_instance_uid, columns.fingerprint).where(
        columns.location == location, columns.study_date >= first_date, columns.study_date <= last_date
    )
    return {row[0]: row[1] for row in connection.execute(statement)}


def fingerprint(connection: Connection, location: str, study_instance_uid: str) -> str | None:
    """What was noted of one study."""
    columns = imaging_source_study.c
    statement = select(columns.fingerprint).where(columns.location == location, columns.study_instance_uid == study_instance_uid)
    found: str | None = connection.execute(statement).scalar_one_or_none()
    return found


def longest_unchecked(connection: Connection, location: str, before: datetime, limit: int) -> tuple[str, ...]:
    """Studies of which the source was asked before that time last, the longest ago first."""
    columns = imaging_source_study.c
    statement = (
        select(columns.study_instance_uid)
        .where(columns.location == location, columns.checked < _milliseconds(before))
        .order_by(columns.checked)
        .limit(limit)
    )
    return tuple(row[0] for row in connection.execute(statement))


def checked(connection: Connection, location: str, study_instance_uids: Iterable[str], when: datetime) -> None:
    """The source has said the same of these studies as before."""
    columns = imaging_source_study.c
    for uid in study_instance_uids:
        place = (columns.location == location) & (columns.study_instance_uid == uid)
        connection.execute(update(imaging_source_study).where(place).values(checked=_milliseconds(when)))


def forget(connection: Connection, location: str, study_instance_uid: str) -> None:
    """The source does not have this study any more."""
    columns = imaging_source_study.c
    connection.execute(
        delete(imaging_source_study).where(columns.location == location, columns.study_instance_uid == study_instance_uid)
    )


def counts(connection: Connection) -> Mapping[str, int]:
    """How many studies each source shares."""
    columns = imaging_source_study.c
    statement = select(columns.location, func.count()).group_by(columns.location)
    return {row[0]: int(row[1]) for row in connection.execute(statement)}


def _milliseconds(moment: datetime) -> int:
    return int(moment.timestamp() * 1000)
