"""As much of a study as decides who may have it, and of whom it is asked for: the first octet waits for nothing else.

Spec: RAD TF-2 4.69, 4.107 (access to what is asked for).
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from functools import lru_cache
from typing import Final

from sqlalchemy import Connection, bindparam, func, select

from xds.model.imaging import ManifestForm, PublishedManifest, StoredStudy, Study, StudyPatient, StudyState
from xds.store.imaging_sources import is_outside
from xds.store.schema.imaging import imaging_instance, imaging_manifest, imaging_study
from xds.store.statements import Prepared, Row

#: How many instances of which SOP class, in which transfer syntax (empty: nobody knows), sources outside hold: by source and
#: Series Instance UID.
Outside = Mapping[tuple[str, str], Mapping[tuple[str, str], int]]

_STUDY: Final = ("state", "revision", "reason", "reconciled", "source")
_PATIENT: Final = ("patient_id", "issuer_oid", "issuer_namespace", "patient_name", "birth_date", "sex")
_MANIFEST: Final = (
    "revision",
    "unique_id",
    "entry_uuid",
    "submission_unique_id",
    "blob",
    "created",
    "patient_id",
    "published",
    "form",
)


@lru_cache
def _head() -> Prepared:
    """The study once for each of its manifests, the newest first; once without any when it has none."""
    study, manifests = imaging_study.c, imaging_manifest.c
    columns = (*(study[name] for name in (*_STUDY, *_PATIENT)), *(manifests[name] for name in _MANIFEST))
    joined = imaging_study.outerjoin(imaging_manifest, manifests.study_key == study.study_key)
    statement = select(*columns).select_from(joined).where(study.study_instance_uid == bindparam("study"))
    return Prepared(statement.order_by(manifests.revision.desc(), manifests.form.desc()))


def _manifest(row: Row) -> PublishedManifest:
    revision, unique_id, entry_uuid, submission, blob, created, patient_id, published, form = row
    moment = datetime.fromtimestamp(created / 1000, UTC)
    return PublishedManifest(
        revision, unique_id, entry_uuid, submission, blob, moment, patient_id, bool(published), ManifestForm(form)
    )


def head(connection: Connection, study_instance_uid: str) -> StoredStudy | None:
    """A study without its series: whose it is, who sent it, where it stands, and its manifests; None when there is none."""
    rows = _head().rows(connection, {"study": study_instance_uid})
    if not rows:
        return None
    first, end = rows[0], len(_STUDY) + len(_PATIENT)
    state, revision, reason, reconciled, source = first[: len(_STUDY)]
    study = Study(study_instance_uid, StudyPatient(*first[len(_STUDY) : end]), (), source=source)
    # A revision is what every manifest has.
    manifests = tuple(_manifest(row[end:]) for row in rows if row[end] is not None)
    return StoredStudy(study, StudyState(state), revision, reason, manifests, reconciled)


@lru_cache
def _outside(*, of_one_series: bool) -> Prepared:
    table = imaging_instance.c
    columns = (table.location, table.series_instance_uid, table.sop_class_uid, table.transfer_syntax_uid)
    statement = select(*columns, func.count()).where(is_outside(of_one_series=of_one_series))
    return Prepared(statement.group_by(*columns))


def outside(connection: Connection, study_instance_uid: str, series_instance_uid: str | None = None) -> Outside:
    """What sources outside hold of a study or series and nobody rejected, in numbers.

    `imaging_sources.held_outside` tells which they are.
    """
    of_series = {"series": series_instance_uid} if series_instance_uid is not None else {}
    rows = _outside(of_one_series=bool(of_series)).rows(connection, {"study": study_instance_uid, **of_series})
    found: dict[tuple[str, str], dict[tuple[str, str], int]] = {}
    for location, series, sop_class, syntax, number in rows:
        found.setdefault((location, series), {})[sop_class, syntax] = number
    return found
