"""What is written of an instance that arrives: its study, its series, itself and its header.

Spec: RAD TF-2 4.8; RAD TF IOCM (what was rejected and is sent again).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Connection, bindparam, delete, insert, select, text, update

from xds.model.imaging import Addition, Instance, Series, Study, StudyPatient, StudyState, is_other_patient
from xds.model.imaging_query import fold_name
from xds.store.dialects import put
from xds.store.imaging_headers import pack, put_header
from xds.store.schema.imaging import imaging_instance, imaging_rejection, imaging_series, imaging_study
from xds.store.statements import Prepared

#: The title of a rejection note that says nothing against the instances themselves.
RETENTION_EXPIRED: Final = "113039"

_STUDY_COLUMNS: Final = tuple(column.name for column in imaging_study.c)
_STUDY_BY_UID: Final = Prepared(
    select(imaging_study).where(imaging_study.c.study_instance_uid == bindparam("uid")).with_for_update()
)
_SERIES_COLUMNS: Final = tuple(column.name for column in imaging_series.c if not column.primary_key)
#: What is said of a series, and the blob of one of its instances; nothing without the series, nulls without the instance.
_PLACE: Final = Prepared(
    select(
        *(imaging_series.c[name] for name in _SERIES_COLUMNS),
        imaging_instance.c.sop_instance_uid,
        imaging_instance.c.blob,
        imaging_instance.c.location,
    )
    .join_from(
        imaging_series,
        imaging_instance,
        (imaging_instance.c.study_key == imaging_series.c.study_key)
        & (imaging_instance.c.series_instance_uid == imaging_series.c.series_instance_uid)
        & (imaging_instance.c.sop_instance_uid == bindparam("uid")),
        isouter=True,
    )
    .where(imaging_series.c.study_key == bindparam("key"), imaging_series.c.series_instance_uid == bindparam("series"))
)
_COUNTED: Final = Prepared(text("UPDATE imaging_study SET received = :at, revision = :counted WHERE study_key = :key"))
_CHANGED: Final = Prepared(
    text("UPDATE imaging_study SET received = :at, revision = :counted, state = :stands, reason = NULL WHERE study_key = :key")
)


@dataclass(frozen=True, slots=True)
class Arriving:
    """The rows of an instance, made before the transaction in which they are written. `header` is packed."""

    patient: StudyPatient
    study: Mapping[str, Any]
    series: Mapping[str, Any]
    instance: Mapping[str, Any]
    header: bytes

    def kept_as(self, blob: str, size: int) -> Arriving:
        """The same with its blob, of so many octets."""
        return replace(self, instance={**self.instance, "blob": blob, "size": size})

    def with_instance(self, instance: Instance, header: bytes) -> Arriving:
        """The same for another instance of the series."""
        return Arriving(self.patient, self.study, self.series, _instance_values(instance), pack(header))


def arriving(study: Study, header: bytes) -> Arriving:
    """The rows of the one instance of `study`, whose data set in the DICOM JSON model is `header`."""
    return shared(study).with_instance(study.series[0].instances[0], header)


def shared(study: Study) -> Arriving:
    """The rows of the one series of `study`, whose instance is still to be named."""
    return Arriving(study.patient, _study_values(study), _series_values(study.series[0]), {}, b"")


def add_instance(connection: Connection, arrived: Arriving, received: datetime) -> Addition:
    """Take in an instance, whose blob is durable, and what it says of its series and study.

    An instance that is there with the same blob changes nothing. Another content under the same SOP Instance UID takes its place.
    Whatever changes the study gives it the next revision and the state RECEIVED. An instance that names another patient than its
    study does is refused: CONFLICT, nothing is stored.
    """
    at, uid = int(received.timestamp() * 1000), arrived.instance["sop_instance_uid"]
    series_uid = arrived.series["series_instance_uid"]
    # Instances of one study arrive on several associations: each waits until the one before has counted its revision.
    found = _STUDY_BY_UID.row(connection, {"uid": arrived.study["study_instance_uid"]})
    row = None if found is None else dict(zip(_STUDY_COLUMNS, found, strict=True))
    if row is None:
        values = {**arrived.study, "received": at, "revision": 1, "state": StudyState.RECEIVED.value}
        key = connection.execute(insert(imaging_study).values(values).returning(imaging_study.c.study_key)).scalar_one()
    else:
        key = row["study_key"]
        # A study all of which was rejected is empty: it may come again under the patient whose it really is.
        if is_other_patient(StudyPatient(row["patient_id"], row["issuer_oid"]), arrived.patient) and _holds_anything(
            connection, key
        ):
            return Addition.CONFLICT
    place = {"key": key, "series": series_uid, "uid": uid}
    *said, there, blob, location = _PLACE.row(connection, place) or (None, None, None, None)
    restored = there is not None and _restore(connection, key, uid)
    if there is not None and not restored and (blob, location) == (arrived.instance["blob"], arrived.instance["location"]):
        return Addition.IDENTICAL
    if row is not None:
        _count(connection, row, arrived.study, at)
    if said != [arrived.series[name] for name in _SERIES_COLUMNS]:
        put(connection, imaging_series, ("study_key", "series_instance_uid"), {"study_key": key, **arrived.series})
    values = {"study_key": key, "series_instance_uid": series_uid, "stored": at, **arrived.instance}
    put(connection, imaging_instance, ("study_key", "series_instance_uid", "sop_instance_uid"), values)
    put_header(connection, key, series_uid, uid, arrived.header)
    return Addition.NEW if there is None else Addition.REPLACED


def _count(connection: Connection, row: Mapping[str, Any], study: Mapping[str, Any], at: int) -> None:
    """The study changed; what an instance says of it is newer than what is there."""
    changed = {name: value for name, value in study.items() if value != row[name] and value not in (None, "")}
    if changed:
        connection.execute(update(imaging_study).where(imaging_study.c.study_key == row["study_key"]).values(changed))
    counted = {"key": row["study_key"], "at": at, "counted": row["revision"] + 1}
    stands = StudyState.RECEIVED.value
    if (row["state"], row["reason"]) == (stands, None):
        # Whatever is written takes the pages of its indexes with it into the log.
        _COUNTED.run(connection, (counted,))
    else:
        _CHANGED.run(connection, ({**counted, "stands": stands},))


def _holds_anything(connection: Connection, study_key: int) -> bool:
    """Whether a study has an instance that no note rejects."""
    withheld = select(imaging_rejection.c.sop_instance_uid).where(imaging_rejection.c.study_key == study_key)
    own = (imaging_instance.c.study_key == study_key) & imaging_instance.c.sop_instance_uid.not_in(withheld)
    return connection.execute(select(imaging_instance.c.sop_instance_uid).where(own).limit(1)).first() is not None


def _restore(connection: Connection, study_key: int, sop_instance_uid: str) -> bool:
    """An instance whose retention had expired and that is sent again is wanted again; what was rejected for its content is not.

    Spec: RAD TF IOCM (113039 Data Retention Policy Expired).
    """
    own = (imaging_rejection.c.study_key == study_key) & (imaging_rejection.c.sop_instance_uid == sop_instance_uid)
    return bool(connection.execute(delete(imaging_rejection).where(own, imaging_rejection.c.title == RETENTION_EXPIRED)).rowcount)


def _study_values(study: Study) -> dict[str, Any]:
    procedure = study.procedure_code
    return {
        "study_instance_uid": study.study_instance_uid,
        "patient_id": study.patient.patient_id,
        "issuer_oid": study.patient.issuer_oid,
        "issuer_namespace": study.patient.issuer_namespace,
        "patient_name": study.patient.name,
        "patient_name_folded": fold_name(study.patient.name),
        "birth_date": study.patient.birth_date,
        "sex": study.patient.sex,
        "accession_number": study.accession_number,
        "accession_issuer_oid": study.accession_issuer_oid,
        "study_id": study.study_id,
        "study_date": study.study_date,
        "study_time": study.study_time,
        "timezone_offset": study.timezone_offset,
        "description": study.description,
        "referring_physician": study.referring_physician,
        "referring_physician_folded": fold_name(study.referring_physician),
        "institution": study.institution,
        "procedure_code": procedure.code if procedure else None,
        "procedure_scheme": procedure.scheme if procedure else None,
        "procedure_display": procedure.display if procedure else None,
        "source": study.source,
    }


def _series_values(series: Series) -> dict[str, Any]:
    return {
        "series_instance_uid": series.series_instance_uid,
        "modality": series.modality,
        "number": series.number,
        "description": series.description,
        "body_part": series.body_part,
        "region_code": series.region.code if series.region else None,
        "region_scheme": series.region.scheme if series.region else None,
        "region_display": series.region.display if series.region else None,
    }


def _instance_values(instance: Instance) -> dict[str, Any]:
    return {
        "sop_instance_uid": instance.sop_instance_uid,
        "sop_class_uid": instance.sop_class_uid,
        "transfer_syntax_uid": instance.transfer_syntax_uid,
        "size": instance.size,
        "blob": instance.blob or None,
        "location": instance.location or None,
        "instance_number": instance.instance_number,
        "frames": instance.frames,
        "rows": instance.rows,
        "columns": instance.columns,
    }
