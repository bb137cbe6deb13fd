"""Tables of the Imaging Document Source: studies, series, instances, and the manifests that announce them.

Whose study it is in the affinity domain is not known before the cross-reference has resolved it, and may change with a later
feed; therefore these tables are keyed by the study, the one thing that every request names.

Times are milliseconds since 1970, UTC.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, Column, Index, Integer, LargeBinary, Table

from xds.store.schema import Key, Text, metadata

imaging_study = Table(
    "imaging_study",
    metadata,
    Column("study_key", Key, primary_key=True),
    Column("study_instance_uid", Text, nullable=False, unique=True),
    Column("patient_id", Text, nullable=False),
    Column("issuer_oid", Text),
    Column("issuer_namespace", Text),
    Column("patient_name", Text, nullable=False),
    Column("patient_name_folded", Text, nullable=False),
    Column("birth_date", Text, nullable=False),
    Column("sex", Text, nullable=False),
    Column("accession_number", Text, nullable=False),
    Column("accession_issuer_oid", Text),
    Column("study_id", Text, nullable=False),
    Column("study_date", Text, nullable=False),
    Column("study_time", Text, nullable=False),
    Column("timezone_offset", Text, nullable=False),
    Column("description", Text, nullable=False),
    Column("referring_physician", Text, nullable=False),
    Column("referring_physician_folded", Text, nullable=False),
    Column("institution", Text, nullable=False),
    Column("procedure_code", Text),
    Column("procedure_scheme", Text),
    Column("procedure_display", Text),
    Column("source", Text, nullable=False),
    Column("received", BigInteger, nullable=False),
    Column("revision", Integer, nullable=False),
    Column("state", Text, nullable=False),
    Column("reason", Text),
    Column("reconciled", BigInteger, nullable=False, default=0),
    Column("drift", Text),
    Index("imaging_study_received", "received", "study_key"),
    Index("imaging_study_patient", "patient_id", "issuer_oid"),
    Index("imaging_study_name", "patient_name_folded", "study_key"),
    Index("imaging_study_date", "study_date", "study_key"),
    Index("imaging_study_accession", "accession_number"),
    Index("imaging_study_state", "state", "study_key"),
    Index("imaging_study_reconciled", "reconciled", "study_key"),
)
"""`reconciled` is when the manifest was last compared with the study and the registry (0: never), `drift` what differed then."""

imaging_series = Table(
    "imaging_series",
    metadata,
    Column("study_key", BigInteger, primary_key=True),
    Column("series_instance_uid", Text, primary_key=True),
    Column("modality", Text, nullable=False),
    Column("number", BigInteger),
    Column("description", Text, nullable=False),
    Column("body_part", Text, nullable=False),
    Column("region_code", Text),
    Column("region_scheme", Text),
    Column("region_display", Text),
    Index("imaging_series_uid", "series_instance_uid"),
    sqlite_with_rowid=False,
)

#: `blob` is absent while the object is held by the source `location` alone: a PACS that shares it without archiving it here.
imaging_instance = Table(
    "imaging_instance",
    metadata,
    Column("study_key", BigInteger, primary_key=True),
    Column("series_instance_uid", Text, primary_key=True),
    Column("sop_instance_uid", Text, primary_key=True),
    Column("sop_class_uid", Text, nullable=False),
    Column("transfer_syntax_uid", Text, nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("blob", Text, index=True),
    Column("location", Text),
    Column("instance_number", BigInteger),
    Column("frames", BigInteger, nullable=False),
    Column("rows", Integer),
    Column("columns", Integer),
    Column("stored", BigInteger, nullable=False),
    Index("imaging_instance_uid", "sop_instance_uid"),
    sqlite_with_rowid=False,
)

#: The header of each instance in the DICOM JSON model, compressed: what metadata and queries for any attribute answer.
imaging_header = Table(
    "imaging_header",
    metadata,
    Column("study_key", BigInteger, primary_key=True),
    Column("series_instance_uid", Text, primary_key=True),
    Column("sop_instance_uid", Text, primary_key=True),
    Column("header", LargeBinary, nullable=False),
    sqlite_with_rowid=False,
)

imaging_rejection = Table(
    "imaging_rejection",
    metadata,
    Column("study_key", BigInteger, primary_key=True),
    Column("sop_instance_uid", Text, primary_key=True),
    Column("title", Text, nullable=False),
    sqlite_with_rowid=False,
)
"""Instances that a rejection note withholds, whether they have arrived or not. `title` is the code of the note's title."""

imaging_manifest = Table(
    "imaging_manifest",
    metadata,
    Column("study_key", BigInteger, primary_key=True),
    Column("revision", Integer, primary_key=True),
    Column("form", Text, primary_key=True, default="xds-i"),
    Column("unique_id", Text, nullable=False),
    Column("entry_uuid", Text, nullable=False),
    Column("submission_unique_id", Text, nullable=False),
    Column("blob", Text, nullable=False, index=True),
    Column("created", BigInteger, nullable=False),
    Column("patient_id", Text, nullable=False),
    Column("published", Boolean, nullable=False),
    sqlite_with_rowid=False,
)

#: What orders say of studies, whether these have arrived or not: they find each other by Study Instance UID or accession number.
imaging_order = Table(
    "imaging_order",
    metadata,
    Column("order_key", Key, primary_key=True),
    Column("identity", Text, nullable=False, unique=True),
    Column("study_instance_uid", Text, nullable=False),
    Column("accession_number", Text, nullable=False),
    Column("accession_issuer_oid", Text),
    Column("placer_number", Text, nullable=False),
    Column("placer_issuer_oid", Text),
    Column("placer_issuer_namespace", Text),
    Column("filler_number", Text, nullable=False),
    Column("filler_issuer_oid", Text),
    Column("filler_issuer_namespace", Text),
    Column("patient_id", Text, nullable=False),
    Column("patient_issuer_oid", Text),
    Column("patient_issuer_namespace", Text),
    Column("procedure_code", Text),
    Column("procedure_scheme", Text),
    Column("procedure_display", Text),
    Column("description", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("updated", BigInteger, nullable=False),
    Index("imaging_order_study", "study_instance_uid"),
    Index("imaging_order_accession", "accession_number"),
    Index("imaging_order_placer", "placer_number"),
    Index("imaging_order_filler", "filler_number"),
)

#: Reports that came in messages. `facts` is what the message says of one, as JSON; a version takes the place of those before.
imaging_report = Table(
    "imaging_report",
    metadata,
    Column("report_key", Key, primary_key=True),
    Column("report_id", Text, nullable=False),
    Column("version", Integer, nullable=False),
    Column("number", Text, nullable=False, index=True),
    Column("message_id", Text, nullable=False),
    Column("facts", Text, nullable=False),
    Column("blob", Text, index=True),
    Column("size", BigInteger),
    Column("unique_id", Text, nullable=False),
    Column("entry_uuid", Text, nullable=False),
    Column("submission_unique_id", Text, nullable=False),
    Column("patient_id", Text),
    Column("created", BigInteger, nullable=False),
    Column("state", Text, nullable=False),
    Column("reason", Text),
    Index("imaging_report_version", "report_id", "version", unique=True),
    Index("imaging_report_message", "message_id", unique=True),
    Index("imaging_report_state", "state", "report_key"),
)

imaging_source_study = Table(
    "imaging_source_study",
    metadata,
    Column("location", Text, primary_key=True),
    Column("study_instance_uid", Text, primary_key=True),
    Column("fingerprint", Text, nullable=False),
    Column("study_date", Text, nullable=False),
    Column("checked", BigInteger, nullable=False),
    Index("imaging_source_study_checked", "location", "checked"),
    sqlite_with_rowid=False,
)
"""What a source outside (`location`) said of a study when its instances were read last; `checked` is when it was asked last."""
