"""Tables of operation: the audit trail, jobs for the worker, generated settings. Times are milliseconds since 1970, UTC."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Index, Integer, Table, UniqueConstraint, text

from xds.store.schema import Key, Text, metadata

audit_event = Table(
    "audit_event",
    metadata,
    Column("sequence", Key, primary_key=True),
    Column("occurred", BigInteger, nullable=False),
    Column("event_type", Text, nullable=False),
    Column("patient", Text),
    Column("body", Text, nullable=False),
    Index("audit_event_patient", "patient", "sequence"),
)

job = Table(
    "job",
    metadata,
    Column("job_id", Key, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("key", Text, nullable=False),
    Column("payload", Text, nullable=False),
    Column("run_at", BigInteger),
    Column("attempts", Integer, nullable=False),
    Column("error", Text),
    UniqueConstraint("kind", "key"),
    # Jobs that were given up have no time.
    Index("job_due", "run_at", "job_id", sqlite_where=text("run_at IS NOT NULL"), postgresql_where=text("run_at IS NOT NULL")),
)

setting = Table(
    "setting",
    metadata,
    Column("name", Text, primary_key=True),
    Column("value", Text, nullable=False),
)
