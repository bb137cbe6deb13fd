"""Tables of the Imaging Document Source: studies, series, instances, and the manifests that announce them.

Whose study it is in the affinity domain is not known before the cross-reference has resolved it, and may change with a later
feed; therefore these tables are keyed by the study, the one thing that every request names.

Times are milliseconds since 1970, UTC.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, Column, Index, Integer, String, Table

from xds.store.schema import Key, metadata

imaging_study = Table(
    "imaging_study",
    metadata,
    Column("study_key", Key, primary_key=True),
    Column("study_instance_uid", String(64), nullable=False, unique=True),
    Column("patient_id", String, nullable=False),
    Column("issuer_oid", String),
    Column("issuer_namespace", String),
    Column("patient_name", String, nullable=False),
    Column("birth_date", String, nullable=False),
    Column("sex", String, nullable=False),
    Column("accession_number", String, nullable=False),
    Column("accession_issuer_oid", String),
    Column("study_id", String, nullable=False),
    Column("study_date", String, nullable=False),
    Column("study_time", String, nullable=False),
    Column("timezone_offset", String, nullable=False),
    Column("description", String, nullable=False),
    Column("referring_physician", String, nullable=False),
    Column("institution", String, nullable=False),
    Column("procedure_code", String),
    Column("procedure_scheme", String),
    Column("procedure_display", String),
    Column("source", String, nullable=False),
    Column("received", BigInteger, nullable=False),
    Column("revision", Integer, nullable=False),
    Column("state", String, nullable=False),
    Column("reason", String),
    Index("imaging_study_received", "received", "study_key"),
    Index("imaging_study_patient", "patient_id", "issuer_oid"),
)

imaging_series = Table(
    "imaging_series",
    metadata,
    Column("study_key", BigInteger, primary_key=True),
    Column("series_instance_uid", String(64), primary_key=True),
    Column("modality", String, nullable=False),
    Column("number", BigInteger),
    Column("description", String, nullable=False),
    Column("body_part", String, nullable=False),
    Column("region_code", String),
    Column("region_scheme", String),
    Column("region_display", String),
    sqlite_with_rowid=False,
)

imaging_instance = Table(
    "imaging_instance",
    metadata,
    Column("study_key", BigInteger, primary_key=True),
    Column("series_instance_uid", String(64), primary_key=True),
    Column("sop_instance_uid", String(64), primary_key=True),
    Column("sop_class_uid", String(64), nullable=False),
    Column("transfer_syntax_uid", String(64), nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("blob", String(64), nullable=False, index=True),
    Column("instance_number", BigInteger),
    Column("frames", BigInteger, nullable=False),
    Column("rows", Integer),
    Column("columns", Integer),
    Column("stored", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)

imaging_rejection = Table(
    "imaging_rejection",
    metadata,
    Column("study_key", BigInteger, primary_key=True),
    Column("sop_instance_uid", String(64), primary_key=True),
    Column("title", String, nullable=False),
    sqlite_with_rowid=False,
)
"""Instances that a rejection note withholds, whether they have arrived or not. `title` is the code of the note's title."""

imaging_manifest = Table(
    "imaging_manifest",
    metadata,
    Column("study_key", BigInteger, primary_key=True),
    Column("revision", Integer, primary_key=True),
    Column("unique_id", String(64), nullable=False),
    Column("entry_uuid", String(45), nullable=False),
    Column("submission_unique_id", String(64), nullable=False),
    Column("blob", String(64), nullable=False, index=True),
    Column("created", BigInteger, nullable=False),
    Column("patient_id", String, nullable=False),
    Column("published", Boolean, nullable=False),
    sqlite_with_rowid=False,
)
