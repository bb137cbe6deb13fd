"""The image archive's index: which studies, series and instances are held, in which blobs, and what was published of them.

Spec: RAD TF-2 4.68 (what is published), 4.69 and 4.107 (what is asked for: study, series and instance together).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import fields
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, bindparam, delete, func, insert, select, update

from xds.model.imaging import (
    Instance,
    ManifestForm,
    PublishedManifest,
    Series,
    StoredStudy,
    Study,
    StudyPatient,
    StudyState,
)
from xds.model.metadata import Code
from xds.store.dialects import put
from xds.store.schema.imaging import imaging_instance, imaging_manifest, imaging_rejection, imaging_series, imaging_study
from xds.store.statements import Prepared


def _milliseconds(moment: datetime) -> int:
    return int(moment.timestamp() * 1000)


def _moment(milliseconds: int) -> datetime:
    return datetime.fromtimestamp(milliseconds / 1000, UTC)


def reject(connection: Connection, study_instance_uid: str, sop_instance_uids: Iterable[str], title: str) -> None:
    """Withhold these instances of a study that is there: they are neither published nor returned from now on."""
    key = _key(connection, study_instance_uid)
    for uid in sop_instance_uids:
        put(
            connection,
            imaging_rejection,
            ("study_key", "sop_instance_uid"),
            {"study_key": key, "sop_instance_uid": uid, "title": title},
        )


def of_the_same_patient(connection: Connection, study_instance_uid: str, others: Collection[str]) -> tuple[str, ...]:
    """Those of these studies that are here and name the patient of this one, which is here, too."""
    own, other = imaging_study.alias("own"), imaging_study
    statement = (
        select(other.c.study_instance_uid)
        .join_from(other, own, own.c.patient_id == other.c.patient_id)
        .where(own.c.study_instance_uid == study_instance_uid, other.c.study_instance_uid.in_(list(others)))
        .where(
            own.c.issuer_oid.is_not_distinct_from(other.c.issuer_oid),
            own.c.issuer_namespace.is_not_distinct_from(other.c.issuer_namespace),
        )
    )
    return tuple(row[0] for row in connection.execute(statement))


def find(
    connection: Connection,
    study_instance_uid: str,
    series_instance_uid: str | None = None,
    sop_instance_uid: str | None = None,
) -> StoredStudy | None:
    """The study with its series and instances, ordered by their numbers, without rejected ones; None when there is none.

    With `series_instance_uid` and `sop_instance_uid` it holds only what fits; then it may hold nothing.
    """
    row = connection.execute(select(imaging_study).where(imaging_study.c.study_instance_uid == study_instance_uid)).first()
    return _stored_study(connection, row, series_instance_uid, sop_instance_uid) if row else None


def newest(connection: Connection, limit: int, *, state: StudyState | None = None) -> tuple[StoredStudy, ...]:
    """The studies that changed last, the newest first; only those in one state when it is given."""
    statement = select(imaging_study).order_by(imaging_study.c.received.desc(), imaging_study.c.study_key.desc()).limit(limit)
    if state is not None:
        statement = statement.where(imaging_study.c.state == state.value)
    return tuple(_stored_study(connection, row) for row in connection.execute(statement).all())


def uids_in_state(connection: Connection, state: StudyState) -> tuple[str, ...]:
    """Study Instance UIDs of the studies in that state."""
    statement = select(imaging_study.c.study_instance_uid).where(imaging_study.c.state == state.value)
    return tuple(row[0] for row in connection.execute(statement))


def of_patient(connection: Connection, patient_id: str, issuer_oid: str | None) -> tuple[StoredStudy, ...]:
    """The studies whose images name this patient under this issuer."""
    columns = imaging_study.c
    statement = select(imaging_study).where(columns.patient_id == patient_id, columns.issuer_oid == issuer_oid)
    rows = connection.execute(statement.order_by(columns.study_date, columns.study_time, columns.study_key)).all()
    return tuple(_stored_study(connection, row) for row in rows)


def set_state(
    connection: Connection, study_instance_uid: str, revision: int, state: StudyState, reason: str | None = None
) -> None:
    """Note where a study stands, unless it changed since that revision."""
    columns = imaging_study.c
    condition = (columns.study_instance_uid == study_instance_uid) & (columns.revision == revision)
    connection.execute(update(imaging_study).where(condition).values(state=state.value, reason=reason))


def prepare_manifest(connection: Connection, study_instance_uid: str, manifest: PublishedManifest) -> None:
    """Remember a manifest before it is submitted."""
    values = {
        "study_key": _key(connection, study_instance_uid),
        "revision": manifest.revision,
        "form": manifest.form.value,
        "unique_id": manifest.unique_id,
        "entry_uuid": manifest.entry_uuid,
        "submission_unique_id": manifest.submission_unique_id,
        "blob": manifest.blob,
        "created": _milliseconds(manifest.created),
        "patient_id": manifest.patient_id,
        "published": False,
    }
    connection.execute(insert(imaging_manifest).values(values))


def publish_manifest(connection: Connection, study_instance_uid: str, revision: int, form: ManifestForm) -> None:
    """The manifest of that revision and form was accepted."""
    connection.execute(
        update(imaging_manifest).where(_place(connection, study_instance_uid, revision, form)).values(published=True)
    )


def drop_manifest(connection: Connection, study_instance_uid: str, revision: int, form: ManifestForm) -> None:
    """The manifest of that revision and form was refused: nothing of it exists outside."""
    place = _place(connection, study_instance_uid, revision, form)
    connection.execute(delete(imaging_manifest).where(place, imaging_manifest.c.published.is_(False)))


def _place(connection: Connection, study_instance_uid: str, revision: int, form: ManifestForm) -> ColumnElement[bool]:
    table = imaging_manifest
    own = (table.c.study_key == _key(connection, study_instance_uid)) & (table.c.revision == revision)
    return own & (table.c.form == form.value)


def referenced(connection: Connection, blobs: Sequence[str]) -> frozenset[str]:
    """Those of these blobs that an instance or a manifest needs."""
    needed: set[str] = set()
    for start in range(0, len(blobs), 500):
        some = blobs[start : start + 500]
        for table in (imaging_instance, imaging_manifest):
            needed.update(connection.execute(select(table.c.blob).where(table.c.blob.in_(some)).distinct()).scalars())
    return frozenset(needed)


def _key(connection: Connection, study_instance_uid: str) -> int:
    statement = select(imaging_study.c.study_key).where(imaging_study.c.study_instance_uid == study_instance_uid)
    return int(connection.execute(statement).scalar_one())


def _stored_study(
    connection: Connection, row: Row[Any], series_uid: str | None = None, sop_uid: str | None = None
) -> StoredStudy:
    manifests = connection.execute(
        select(imaging_manifest)
        .where(imaging_manifest.c.study_key == row.study_key)
        .order_by(imaging_manifest.c.revision.desc(), imaging_manifest.c.form.desc())
    ).all()
    return StoredStudy(
        study=_study(row, _series(connection, row.study_key, series_uid, sop_uid)),
        state=StudyState(row.state),
        revision=row.revision,
        reason=row.reason,
        manifests=tuple(_manifest(item) for item in manifests),
        reconciled=row.reconciled,
    )


@lru_cache
def _instances_of(*, with_series: bool, with_instance: bool) -> Prepared:
    """The instances of a study that are not rejected: the UID of their series, and what an `Instance` has in its order."""
    columns, rejected = imaging_instance.c, imaging_rejection.c
    withheld = select(rejected.sop_instance_uid).where(rejected.study_key == bindparam("key"))
    own = [columns[field.name] for field in fields(Instance)]
    wanted = [func.coalesce(column, "") if column.name in ("blob", "location") else column for column in own]
    statement = select(columns.series_instance_uid, *wanted).where(
        columns.study_key == bindparam("key"), columns.sop_instance_uid.not_in(withheld)
    )
    if with_series:
        statement = statement.where(columns.series_instance_uid == bindparam("series"))
    if with_instance:
        statement = statement.where(columns.sop_instance_uid == bindparam("uid"))
    return Prepared(statement.order_by(columns.instance_number.nulls_first(), columns.sop_instance_uid))


def _series(connection: Connection, study_key: int, series_uid: str | None, sop_uid: str | None) -> tuple[Series, ...]:
    prepared = _instances_of(with_series=series_uid is not None, with_instance=sop_uid is not None)
    given = {"key": study_key, "series": series_uid, "uid": sop_uid}
    rows = prepared.rows(connection, {name: value for name, value in given.items() if value is not None})
    instances: dict[str, list[Instance]] = {}
    for row in rows:
        instances.setdefault(row[0], []).append(Instance(*row[1:]))
    series = connection.execute(
        select(imaging_series)
        .where(imaging_series.c.study_key == study_key)
        .order_by(imaging_series.c.number.nulls_first(), imaging_series.c.series_instance_uid)
    )
    return tuple(
        Series(
            series_instance_uid=row.series_instance_uid,
            modality=row.modality,
            instances=tuple(instances[row.series_instance_uid]),
            number=row.number,
            description=row.description,
            body_part=row.body_part,
            region=_code(row.region_code, row.region_scheme, row.region_display),
        )
        for row in series
        if row.series_instance_uid in instances
    )


def _code(code: str | None, scheme: str | None, display: str | None) -> Code | None:
    return Code(code, scheme or "", display or "") if code else None


def _study(row: Row[Any], series: tuple[Series, ...]) -> Study:
    return Study(
        study_instance_uid=row.study_instance_uid,
        patient=StudyPatient(
            patient_id=row.patient_id,
            issuer_oid=row.issuer_oid,
            issuer_namespace=row.issuer_namespace,
            name=row.patient_name,
            birth_date=row.birth_date,
            sex=row.sex,
        ),
        series=series,
        accession_number=row.accession_number,
        accession_issuer_oid=row.accession_issuer_oid,
        study_id=row.study_id,
        study_date=row.study_date,
        study_time=row.study_time,
        timezone_offset=row.timezone_offset,
        description=row.description,
        referring_physician=row.referring_physician,
        institution=row.institution,
        procedure_code=_code(row.procedure_code, row.procedure_scheme, row.procedure_display),
        source=row.source,
        received=_moment(row.received),
    )


def _manifest(row: Row[Any]) -> PublishedManifest:
    return PublishedManifest(
        revision=row.revision,
        unique_id=row.unique_id,
        entry_uuid=row.entry_uuid,
        submission_unique_id=row.submission_unique_id,
        blob=row.blob,
        created=_moment(row.created),
        patient_id=row.patient_id,
        is_published=row.published,
        form=ManifestForm(row.form),
    )
