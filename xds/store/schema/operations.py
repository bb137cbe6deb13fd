"""Tables of operation: the audit trail, jobs for the worker, generated settings. Times are milliseconds since 1970, UTC."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Index, Integer, String, Table, Text, UniqueConstraint

from xds.store.schema import Key, metadata

audit_event = Table(
    "audit_event",
    metadata,
    Column("sequence", Key, primary_key=True),
    Column("occurred", BigInteger, nullable=False),
    Column("event_type", String, nullable=False),
    Column("patient", String),
    Column("body", Text, nullable=False),
    Index("audit_event_patient", "patient", "sequence"),
)

job = Table(
    "job",
    metadata,
    Column("job_id", Key, primary_key=True),
    Column("kind", String, nullable=False),
    Column("key", String, nullable=False),
    Column("payload", Text, nullable=False),
    Column("run_at", BigInteger),
    Column("attempts", Integer, nullable=False),
    Column("error", String),
    UniqueConstraint("kind", "key"),
    Index("job_due", "run_at", "job_id"),
)

setting = Table(
    "setting",
    metadata,
    Column("name", String, primary_key=True),
    Column("value", String, nullable=False),
)
