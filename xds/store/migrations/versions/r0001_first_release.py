"""First release."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

KEY = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    """Older tables become those of version 1."""
    op.create_table(
        "association",
        sa.Column("patient_key", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("object_key", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("entry_uuid", sa.LargeBinary(length=16), nullable=False),
        sa.Column("type", TEXT, nullable=False),
        sa.Column("source_key", sa.BigInteger(), nullable=False),
        sa.Column("target_key", sa.BigInteger(), nullable=False),
        sa.Column("deprecated", sa.SmallInteger(), nullable=False),
        sa.Column("home", TEXT, nullable=True),
        sa.Column("fragment", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("patient_key", "object_key", name=op.f("association_pkey")),
        sqlite_with_rowid=False,
    )
    op.create_index("association_source", "association", ["source_key"], unique=False)
    op.create_index("association_target", "association", ["target_key"], unique=False)
    op.create_table(
        "asynchronous_blob",
        sa.Column("blob", TEXT, nullable=False),
        sa.Column("message", TEXT, nullable=False),
        sa.PrimaryKeyConstraint("blob", "message", name=op.f("asynchronous_blob_pkey")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "audit_event",
        sa.Column("sequence", KEY, nullable=False),
        sa.Column("occurred", sa.BigInteger(), nullable=False),
        sa.Column("event_type", TEXT, nullable=False),
        sa.Column("patient", TEXT, nullable=True),
        sa.Column("body", TEXT, nullable=False),
        sa.PrimaryKeyConstraint("sequence", name=op.f("audit_event_pkey")),
    )
    op.create_index("audit_event_patient", "audit_event", ["patient", "sequence"], unique=False)
    op.create_table(
        "code",
        sa.Column("code_id", KEY, nullable=False),
        sa.Column("code", TEXT, nullable=False),
        sa.Column("scheme", TEXT, nullable=False),
        sa.PrimaryKeyConstraint("code_id", name=op.f("code_pkey")),
        sa.UniqueConstraint("code", "scheme", name=op.f("code_code_scheme_key")),
    )
    op.create_table(
        "demographic_name",
        sa.Column("birth_year", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("family", TEXT, nullable=False),
        sa.Column("birth", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("given", TEXT, nullable=False),
        sa.Column("sex", TEXT, nullable=False),
        sa.Column("person_key", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.PrimaryKeyConstraint(
            "birth_year", "family", "birth", "given", "sex", "person_key", name=op.f("demographic_name_pkey")
        ),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "demographic_term",
        sa.Column("kind", TEXT, nullable=False),
        sa.Column("value", TEXT, nullable=False),
        sa.Column("person_key", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.PrimaryKeyConstraint("kind", "value", "person_key", name=op.f("demographic_term_pkey")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "demographics_result",
        sa.Column("result_key", KEY, nullable=False),
        sa.Column("pointer", TEXT, nullable=False),
        sa.Column("source", TEXT, nullable=False),
        sa.Column("query_tag", TEXT, nullable=False),
        sa.Column("found", sa.LargeBinary(), nullable=False),
        sa.Column("wanted", TEXT, nullable=False),
        sa.Column("created", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("result_key", name=op.f("demographics_result_pkey")),
        sa.UniqueConstraint("pointer", name=op.f("demographics_result_pointer_key")),
    )
    op.create_index("demographics_result_query", "demographics_result", ["query_tag", "source"], unique=False)
    op.create_index(op.f("ix_demographics_result_created"), "demographics_result", ["created"], unique=False)
    op.create_table(
        "document_entry",
        sa.Column("patient_key", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("object_key", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("entry_uuid", sa.LargeBinary(length=16), nullable=False),
        sa.Column("deprecated", sa.SmallInteger(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("on_demand", sa.SmallInteger(), nullable=False),
        sa.Column("class_code", sa.Integer(), nullable=False),
        sa.Column("type_code", sa.Integer(), nullable=False),
        sa.Column("practice_setting_code", sa.Integer(), nullable=False),
        sa.Column("facility_type_code", sa.Integer(), nullable=False),
        sa.Column("format_code", sa.Integer(), nullable=False),
        sa.Column("creation_time", sa.BigInteger(), nullable=True),
        sa.Column("service_start_time", sa.BigInteger(), nullable=True),
        sa.Column("service_stop_time", sa.BigInteger(), nullable=True),
        sa.Column("hash", TEXT, nullable=True),
        sa.Column("size", TEXT, nullable=True),
        sa.Column("repository_unique_id", TEXT, nullable=False),
        sa.Column("mime_type", TEXT, nullable=False),
        sa.Column("unique_id", TEXT, nullable=False),
        sa.Column("confidentiality", TEXT, nullable=False),
        sa.Column("home", TEXT, nullable=True),
        sa.Column("fragment", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("patient_key", "object_key", name=op.f("document_entry_pkey")),
        sqlite_with_rowid=False,
    )
    op.create_index("document_entry_class", "document_entry", ["class_code"], unique=False)
    op.create_index("document_entry_facility", "document_entry", ["facility_type_code"], unique=False)
    op.create_table(
        "folder",
        sa.Column("patient_key", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("object_key", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("entry_uuid", sa.LargeBinary(length=16), nullable=False),
        sa.Column("deprecated", sa.SmallInteger(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("last_update_time", sa.BigInteger(), nullable=False),
        sa.Column("unique_id", TEXT, nullable=False),
        sa.Column("home", TEXT, nullable=True),
        sa.Column("fragment", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("patient_key", "object_key", name=op.f("folder_pkey")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "identity",
        sa.Column("person_key", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("domain_key", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("value", TEXT, nullable=False),
        sa.Column("bearer", sa.BigInteger(), nullable=False),
        sa.Column("type_code", TEXT, nullable=True),
        sa.Column("assigned", sa.Boolean(), nullable=False),
        sa.Column("subsumed_by", TEXT, nullable=True),
        sa.Column("joined_to", TEXT, nullable=True),
        sa.Column("national_state", TEXT, nullable=True),
        sa.Column("created", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("person_key", "domain_key", "value", name=op.f("identity_pkey")),
        sa.UniqueConstraint("domain_key", "value", "bearer", name=op.f("identity_domain_key_value_bearer_key")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "identity_change",
        sa.Column("change_key", KEY, nullable=False),
        sa.Column("changed", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("change_key", name=op.f("identity_change_pkey")),
    )
    op.create_table(
        "identity_domain",
        sa.Column("domain_key", KEY, nullable=False),
        sa.Column("namespace", TEXT, nullable=True),
        sa.Column("oid", TEXT, nullable=True),
        sa.PrimaryKeyConstraint("domain_key", name=op.f("identity_domain_pkey")),
        sa.UniqueConstraint("namespace", name=op.f("identity_domain_namespace_key")),
        sa.UniqueConstraint("oid", name=op.f("identity_domain_oid_key")),
    )
    op.create_table(
        "identity_notification",
        sa.Column("sequence", KEY, nullable=False),
        sa.Column("subscriber", TEXT, nullable=False),
        sa.Column("body", TEXT, nullable=False),
        sa.PrimaryKeyConstraint("sequence", name=op.f("identity_notification_pkey")),
    )
    op.create_index("identity_notification_subscriber", "identity_notification", ["subscriber", "sequence"], unique=False)
    op.create_table(
        "imaging_header",
        sa.Column("study_key", sa.BigInteger(), nullable=False),
        sa.Column("series_instance_uid", TEXT, nullable=False),
        sa.Column("sop_instance_uid", TEXT, nullable=False),
        sa.Column("header", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("study_key", "series_instance_uid", "sop_instance_uid", name=op.f("imaging_header_pkey")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "imaging_instance",
        sa.Column("study_key", sa.BigInteger(), nullable=False),
        sa.Column("series_instance_uid", TEXT, nullable=False),
        sa.Column("sop_instance_uid", TEXT, nullable=False),
        sa.Column("sop_class_uid", TEXT, nullable=False),
        sa.Column("transfer_syntax_uid", TEXT, nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("blob", TEXT, nullable=True),
        sa.Column("location", TEXT, nullable=True),
        sa.Column("instance_number", sa.BigInteger(), nullable=True),
        sa.Column("frames", sa.BigInteger(), nullable=False),
        sa.Column("rows", sa.Integer(), nullable=True),
        sa.Column("columns", sa.Integer(), nullable=True),
        sa.Column("stored", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("study_key", "series_instance_uid", "sop_instance_uid", name=op.f("imaging_instance_pkey")),
        sqlite_with_rowid=False,
    )
    op.create_index("imaging_instance_uid", "imaging_instance", ["sop_instance_uid"], unique=False)
    op.create_index(op.f("ix_imaging_instance_blob"), "imaging_instance", ["blob"], unique=False)
    op.create_table(
        "imaging_manifest",
        sa.Column("study_key", sa.BigInteger(), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("form", TEXT, nullable=False),
        sa.Column("unique_id", TEXT, nullable=False),
        sa.Column("entry_uuid", TEXT, nullable=False),
        sa.Column("submission_unique_id", TEXT, nullable=False),
        sa.Column("blob", TEXT, nullable=False),
        sa.Column("created", sa.BigInteger(), nullable=False),
        sa.Column("patient_id", TEXT, nullable=False),
        sa.Column("published", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("study_key", "revision", "form", name=op.f("imaging_manifest_pkey")),
        sqlite_with_rowid=False,
    )
    op.create_index(op.f("ix_imaging_manifest_blob"), "imaging_manifest", ["blob"], unique=False)
    op.create_table(
        "imaging_order",
        sa.Column("order_key", KEY, nullable=False),
        sa.Column("identity", TEXT, nullable=False),
        sa.Column("study_instance_uid", TEXT, nullable=False),
        sa.Column("accession_number", TEXT, nullable=False),
        sa.Column("accession_issuer_oid", TEXT, nullable=True),
        sa.Column("placer_number", TEXT, nullable=False),
        sa.Column("placer_issuer_oid", TEXT, nullable=True),
        sa.Column("placer_issuer_namespace", TEXT, nullable=True),
        sa.Column("filler_number", TEXT, nullable=False),
        sa.Column("filler_issuer_oid", TEXT, nullable=True),
        sa.Column("filler_issuer_namespace", TEXT, nullable=True),
        sa.Column("patient_id", TEXT, nullable=False),
        sa.Column("patient_issuer_oid", TEXT, nullable=True),
        sa.Column("patient_issuer_namespace", TEXT, nullable=True),
        sa.Column("procedure_code", TEXT, nullable=True),
        sa.Column("procedure_scheme", TEXT, nullable=True),
        sa.Column("procedure_display", TEXT, nullable=True),
        sa.Column("description", TEXT, nullable=False),
        sa.Column("state", TEXT, nullable=False),
        sa.Column("updated", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("order_key", name=op.f("imaging_order_pkey")),
        sa.UniqueConstraint("identity", name=op.f("imaging_order_identity_key")),
    )
    op.create_index("imaging_order_accession", "imaging_order", ["accession_number"], unique=False)
    op.create_index("imaging_order_filler", "imaging_order", ["filler_number"], unique=False)
    op.create_index("imaging_order_placer", "imaging_order", ["placer_number"], unique=False)
    op.create_index("imaging_order_study", "imaging_order", ["study_instance_uid"], unique=False)
    op.create_table(
        "imaging_rejection",
        sa.Column("study_key", sa.BigInteger(), nullable=False),
        sa.Column("sop_instance_uid", TEXT, nullable=False),
        sa.Column("title", TEXT, nullable=False),
        sa.PrimaryKeyConstraint("study_key", "sop_instance_uid", name=op.f("imaging_rejection_pkey")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "imaging_report",
        sa.Column("report_key", KEY, nullable=False),
        sa.Column("report_id", TEXT, nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("number", TEXT, nullable=False),
        sa.Column("message_id", TEXT, nullable=False),
        sa.Column("facts", TEXT, nullable=False),
        sa.Column("blob", TEXT, nullable=True),
        sa.Column("size", sa.BigInteger(), nullable=True),
        sa.Column("unique_id", TEXT, nullable=False),
        sa.Column("entry_uuid", TEXT, nullable=False),
        sa.Column("submission_unique_id", TEXT, nullable=False),
        sa.Column("patient_id", TEXT, nullable=True),
        sa.Column("created", sa.BigInteger(), nullable=False),
        sa.Column("state", TEXT, nullable=False),
        sa.Column("reason", TEXT, nullable=True),
        sa.PrimaryKeyConstraint("report_key", name=op.f("imaging_report_pkey")),
    )
    op.create_index("imaging_report_message", "imaging_report", ["message_id"], unique=True)
    op.create_index("imaging_report_state", "imaging_report", ["state", "report_key"], unique=False)
    op.create_index("imaging_report_version", "imaging_report", ["report_id", "version"], unique=True)
    op.create_index(op.f("ix_imaging_report_blob"), "imaging_report", ["blob"], unique=False)
    op.create_index(op.f("ix_imaging_report_number"), "imaging_report", ["number"], unique=False)
    op.create_table(
        "imaging_series",
        sa.Column("study_key", sa.BigInteger(), nullable=False),
        sa.Column("series_instance_uid", TEXT, nullable=False),
        sa.Column("modality", TEXT, nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=True),
        sa.Column("description", TEXT, nullable=False),
        sa.Column("body_part", TEXT, nullable=False),
        sa.Column("region_code", TEXT, nullable=True),
        sa.Column("region_scheme", TEXT, nullable=True),
        sa.Column("region_display", TEXT, nullable=True),
        sa.PrimaryKeyConstraint("study_key", "series_instance_uid", name=op.f("imaging_series_pkey")),
        sqlite_with_rowid=False,
    )
    op.create_index("imaging_series_uid", "imaging_series", ["series_instance_uid"], unique=False)
    op.create_table(
        "imaging_source_study",
        sa.Column("location", TEXT, nullable=False),
        sa.Column("study_instance_uid", TEXT, nullable=False),
        sa.Column("fingerprint", TEXT, nullable=False),
        sa.Column("study_date", TEXT, nullable=False),
        sa.Column("checked", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("location", "study_instance_uid", name=op.f("imaging_source_study_pkey")),
        sqlite_with_rowid=False,
    )
    op.create_index("imaging_source_study_checked", "imaging_source_study", ["location", "checked"], unique=False)
    op.create_table(
        "imaging_study",
        sa.Column("study_key", KEY, nullable=False),
        sa.Column("study_instance_uid", TEXT, nullable=False),
        sa.Column("patient_id", TEXT, nullable=False),
        sa.Column("issuer_oid", TEXT, nullable=True),
        sa.Column("issuer_namespace", TEXT, nullable=True),
        sa.Column("patient_name", TEXT, nullable=False),
        sa.Column("patient_name_folded", TEXT, nullable=False),
        sa.Column("birth_date", TEXT, nullable=False),
        sa.Column("sex", TEXT, nullable=False),
        sa.Column("accession_number", TEXT, nullable=False),
        sa.Column("accession_issuer_oid", TEXT, nullable=True),
        sa.Column("study_id", TEXT, nullable=False),
        sa.Column("study_date", TEXT, nullable=False),
        sa.Column("study_time", TEXT, nullable=False),
        sa.Column("timezone_offset", TEXT, nullable=False),
        sa.Column("description", TEXT, nullable=False),
        sa.Column("referring_physician", TEXT, nullable=False),
        sa.Column("referring_physician_folded", TEXT, nullable=False),
        sa.Column("institution", TEXT, nullable=False),
        sa.Column("procedure_code", TEXT, nullable=True),
        sa.Column("procedure_scheme", TEXT, nullable=True),
        sa.Column("procedure_display", TEXT, nullable=True),
        sa.Column("source", TEXT, nullable=False),
        sa.Column("received", sa.BigInteger(), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("state", TEXT, nullable=False),
        sa.Column("reason", TEXT, nullable=True),
        sa.Column("reconciled", sa.BigInteger(), nullable=False),
        sa.Column("drift", TEXT, nullable=True),
        sa.PrimaryKeyConstraint("study_key", name=op.f("imaging_study_pkey")),
        sa.UniqueConstraint("study_instance_uid", name=op.f("imaging_study_study_instance_uid_key")),
    )
    op.create_index("imaging_study_accession", "imaging_study", ["accession_number"], unique=False)
    op.create_index("imaging_study_date", "imaging_study", ["study_date", "study_key"], unique=False)
    op.create_index("imaging_study_name", "imaging_study", ["patient_name_folded", "study_key"], unique=False)
    op.create_index("imaging_study_patient", "imaging_study", ["patient_id", "issuer_oid"], unique=False)
    op.create_index("imaging_study_received", "imaging_study", ["received", "study_key"], unique=False)
    op.create_index("imaging_study_reconciled", "imaging_study", ["reconciled", "study_key"], unique=False)
    op.create_index("imaging_study_state", "imaging_study", ["state", "study_key"], unique=False)
    op.create_table(
        "job",
        sa.Column("job_id", KEY, nullable=False),
        sa.Column("kind", TEXT, nullable=False),
        sa.Column("key", TEXT, nullable=False),
        sa.Column("payload", TEXT, nullable=False),
        sa.Column("run_at", sa.BigInteger(), nullable=True),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("error", TEXT, nullable=True),
        sa.PrimaryKeyConstraint("job_id", name=op.f("job_pkey")),
        sa.UniqueConstraint("kind", "key", name=op.f("job_kind_key_key")),
    )
    op.create_index(
        "job_due",
        "job",
        ["run_at", "job_id"],
        unique=False,
        sqlite_where=sa.text("run_at IS NOT NULL"),
        postgresql_where=sa.text("run_at IS NOT NULL"),
    )
    op.create_table(
        "link_decision",
        sa.Column("decision_key", KEY, nullable=False),
        sa.Column("lower_key", sa.BigInteger(), nullable=False),
        sa.Column("higher_key", sa.BigInteger(), nullable=False),
        sa.Column("action", TEXT, nullable=False),
        sa.Column("reason", TEXT, nullable=False),
        sa.Column("weight", sa.Float(), nullable=True),
        sa.Column("evidence", TEXT, nullable=False),
        sa.Column("decided_by", TEXT, nullable=False),
        sa.Column("note", TEXT, nullable=False),
        sa.Column("undone_by", sa.BigInteger(), nullable=True),
        sa.Column("decided", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("decision_key", name=op.f("link_decision_pkey")),
    )
    op.create_index("link_decision_higher", "link_decision", ["higher_key"], unique=False)
    op.create_index("link_decision_pair", "link_decision", ["lower_key", "higher_key"], unique=False)
    op.create_table(
        "link_review",
        sa.Column("lower_key", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("higher_key", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("kind", TEXT, nullable=False),
        sa.Column("weight", sa.Float(), nullable=False),
        sa.Column("evidence", TEXT, nullable=False),
        sa.Column("opened", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("lower_key", "higher_key", name=op.f("link_review_pkey")),
        sqlite_with_rowid=False,
    )
    op.create_index("link_review_higher", "link_review", ["higher_key"], unique=False)
    op.create_index("link_review_weight", "link_review", ["weight", "lower_key", "higher_key"], unique=False)
    op.create_table(
        "linkage_weights",
        sa.Column("version", TEXT, nullable=False),
        sa.Column("weights", TEXT, nullable=False),
        sa.Column("created", sa.BigInteger(), nullable=False),
        sa.Column("activated", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("version", name=op.f("linkage_weights_pkey")),
    )
    op.create_table(
        "match_key",
        sa.Column("entry", KEY, autoincrement=False, nullable=False),
        sa.Column("glimpse", sa.LargeBinary(), nullable=True),
        sa.PrimaryKeyConstraint("entry", name=op.f("match_key_pkey")),
    )
    op.create_table(
        "name_sound",
        sa.Column("code", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("kind", TEXT, nullable=False),
        sa.Column("word", TEXT, nullable=False),
        sa.PrimaryKeyConstraint("code", "kind", "word", name=op.f("name_sound_pkey")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "name_word",
        sa.Column("kind", TEXT, nullable=False),
        sa.Column("word", TEXT, nullable=False),
        sa.PrimaryKeyConstraint("kind", "word", name=op.f("name_word_pkey")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "object_code",
        sa.Column("patient_key", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("kind", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("code_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("object_key", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.PrimaryKeyConstraint("patient_key", "kind", "code_id", "object_key", name=op.f("object_code_pkey")),
        sqlite_with_rowid=False,
    )
    op.create_index("object_code_code", "object_code", ["kind", "code_id"], unique=False)
    op.create_table(
        "object_text",
        sa.Column("patient_key", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("kind", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("value", TEXT, nullable=False),
        sa.Column("object_key", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.PrimaryKeyConstraint("patient_key", "kind", "value", "object_key", name=op.f("object_text_pkey")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "patient",
        sa.Column("patient_key", KEY, nullable=False),
        sa.Column("authority", TEXT, nullable=False),
        sa.Column("value", TEXT, nullable=False),
        sa.Column("surviving_key", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("patient_key", name=op.f("patient_pkey")),
        sa.UniqueConstraint("authority", "value", name=op.f("patient_authority_value_key")),
    )
    op.create_index("patient_surviving", "patient", ["surviving_key"], unique=False)
    op.create_table(
        "patient_visit",
        sa.Column("person_key", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("fields", TEXT, nullable=False),
        sa.Column("updated", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("person_key", name=op.f("patient_visit_pkey")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "patient_visit_field",
        sa.Column("name", TEXT, nullable=False),
        sa.Column("value", TEXT, nullable=False),
        sa.Column("person_key", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.PrimaryKeyConstraint("name", "value", "person_key", name=op.f("patient_visit_field_pkey")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "person",
        sa.Column("person_key", KEY, nullable=False),
        sa.Column("cluster_key", sa.BigInteger(), nullable=False),
        sa.Column("created", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("person_key", name=op.f("person_pkey")),
    )
    op.create_index(op.f("ix_person_cluster_key"), "person", ["cluster_key"], unique=False)
    op.create_table(
        "person_link",
        sa.Column("lower_key", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("higher_key", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("reason", TEXT, nullable=False),
        sa.Column("created", sa.BigInteger(), nullable=False),
        sa.Column("ended", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("lower_key", "higher_key", "reason", name=op.f("person_link_pkey")),
        sqlite_with_rowid=False,
    )
    op.create_index("person_link_higher", "person_link", ["higher_key"], unique=False)
    op.create_table(
        "registration_claim",
        sa.Column("claim", TEXT, nullable=False),
        sa.Column("unique_id", TEXT, nullable=False),
        sa.PrimaryKeyConstraint("claim", "unique_id", name=op.f("registration_claim_pkey")),
        sqlite_with_rowid=False,
    )
    op.create_index(op.f("ix_registration_claim_unique_id"), "registration_claim", ["unique_id"], unique=False)
    op.create_table(
        "registry_object",
        sa.Column("object_key", KEY, nullable=False),
        sa.Column("entry_uuid", sa.LargeBinary(length=16), nullable=False),
        sa.Column("kind", sa.SmallInteger(), nullable=False),
        sa.Column("patient_key", sa.BigInteger(), nullable=False),
        sa.Column("logical_id", sa.LargeBinary(length=16), nullable=True),
        sa.PrimaryKeyConstraint("object_key", name=op.f("registry_object_pkey")),
        sa.UniqueConstraint("entry_uuid", name=op.f("registry_object_entry_uuid_key")),
    )
    op.create_index(
        "registry_object_logical",
        "registry_object",
        ["logical_id"],
        unique=False,
        sqlite_where=sa.text("logical_id IS NOT NULL"),
        postgresql_where=sa.text("logical_id IS NOT NULL"),
    )
    op.create_table(
        "repository_document",
        sa.Column("unique_id", TEXT, nullable=False),
        sa.Column("blob", TEXT, nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("sha1", TEXT, nullable=False),
        sa.Column("mime_type", TEXT, nullable=False),
        sa.Column("patient_id", TEXT, nullable=False),
        sa.Column("class_code", TEXT, nullable=True),
        sa.Column("confidentiality", TEXT, nullable=False),
        sa.Column("stored", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("unique_id", name=op.f("repository_document_pkey")),
        sqlite_with_rowid=False,
    )
    op.create_index(op.f("ix_repository_document_blob"), "repository_document", ["blob"], unique=False)
    op.create_table(
        "setting",
        sa.Column("name", TEXT, nullable=False),
        sa.Column("value", TEXT, nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("setting_pkey")),
    )
    op.create_table(
        "stated_demographics",
        sa.Column("person_key", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("source", TEXT, nullable=False),
        sa.Column("demographics", TEXT, nullable=False),
        sa.Column("search", TEXT, nullable=False),
        sa.Column("traits", sa.LargeBinary(), nullable=False),
        sa.Column("messages", sa.LargeBinary(), nullable=False),
        sa.Column("updated", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("person_key", "source", name=op.f("stated_demographics_pkey")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "submission_set",
        sa.Column("patient_key", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("object_key", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("entry_uuid", sa.LargeBinary(length=16), nullable=False),
        sa.Column("content_type_code", sa.Integer(), nullable=False),
        sa.Column("source_id", TEXT, nullable=False),
        sa.Column("submission_time", sa.BigInteger(), nullable=False),
        sa.Column("unique_id", TEXT, nullable=False),
        sa.Column("home", TEXT, nullable=True),
        sa.Column("fragment", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("patient_key", "object_key", name=op.f("submission_set_pkey")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "term_frequency",
        sa.Column("term", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("term", name=op.f("term_frequency_pkey")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "unique_identifier",
        sa.Column("unique_id", TEXT, nullable=False),
        sa.Column("object_key", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("kind", sa.SmallInteger(), nullable=False),
        sa.Column("patient_key", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("unique_id", "object_key", name=op.f("unique_identifier_pkey")),
        sqlite_with_rowid=False,
    )
