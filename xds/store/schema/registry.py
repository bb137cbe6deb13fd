"""Tables of the Document Registry.

A registry object is found by its entryUUID in `registry_object` or by its uniqueId in `unique_identifier`; both lead to
(`patient_key`, `object_key`), under which its own table keeps what queries filter by, and its rendered fragment.
Codes are interned; attributes with several values stand in two narrow side tables. Patients that were merged keep
their rows: the subsumed patient points to the surviving one.
"""

from __future__ import annotations

from enum import IntEnum

from sqlalchemy import (
    BigInteger,
    Column,
    Index,
    Integer,
    LargeBinary,
    SmallInteger,
    Table,
    UniqueConstraint,
    text,
)

from xds.store.schema import Key, Text, metadata


class CodeKind(IntEnum):
    """Which attribute a row of `object_code` is a value of. The numbers are stored."""

    EVENT = 1
    CONFIDENTIALITY = 2
    FOLDER = 3


class TextKind(IntEnum):
    """Which attribute a row of `object_text` is a value of. The numbers are stored."""

    DOCUMENT_AUTHOR_PERSON = 1
    REFERENCE_ID = 2
    SUBMISSION_SET_AUTHOR_PERSON = 3
    DOCUMENT_AVAILABILITY = 4
    SOURCE_PATIENT_ID = 5


patient = Table(
    "patient",
    metadata,
    Column("patient_key", Key, primary_key=True),
    Column("authority", Text, nullable=False),
    Column("value", Text, nullable=False),
    Column("surviving_key", BigInteger),
    UniqueConstraint("authority", "value"),
    Index("patient_surviving", "surviving_key"),
)

code = Table(
    "code",
    metadata,
    Column("code_id", Key, primary_key=True),
    Column("code", Text, nullable=False),
    Column("scheme", Text, nullable=False),
    UniqueConstraint("code", "scheme"),
)

registry_object = Table(
    "registry_object",
    metadata,
    Column("object_key", Key, primary_key=True),
    Column("entry_uuid", LargeBinary(16), nullable=False, unique=True),
    Column("kind", SmallInteger, nullable=False),
    Column("patient_key", BigInteger, nullable=False),
    # Of later versions alone: the logicalID of a first one is its entryUUID.
    Column("logical_id", LargeBinary(16)),
    Index(
        "registry_object_logical",
        "logical_id",
        sqlite_where=text("logical_id IS NOT NULL"),
        postgresql_where=text("logical_id IS NOT NULL"),
    ),
)

unique_identifier = Table(
    "unique_identifier",
    metadata,
    Column("unique_id", Text, primary_key=True),
    Column("object_key", BigInteger, primary_key=True, autoincrement=False),
    Column("kind", SmallInteger, nullable=False),
    Column("patient_key", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)

document_entry = Table(
    "document_entry",
    metadata,
    Column("patient_key", BigInteger, primary_key=True, autoincrement=False),
    Column("object_key", BigInteger, primary_key=True, autoincrement=False),
    Column("entry_uuid", LargeBinary(16), nullable=False),
    Column("deprecated", SmallInteger, nullable=False),
    Column("version", Integer, nullable=False),
    Column("on_demand", SmallInteger, nullable=False),
    Column("class_code", Integer, nullable=False),
    Column("type_code", Integer, nullable=False),
    Column("practice_setting_code", Integer, nullable=False),
    Column("facility_type_code", Integer, nullable=False),
    Column("format_code", Integer, nullable=False),
    Column("creation_time", BigInteger),
    Column("service_start_time", BigInteger),
    Column("service_stop_time", BigInteger),
    Column("hash", Text),
    Column("size", Text),
    Column("repository_unique_id", Text, nullable=False),
    Column("mime_type", Text, nullable=False),
    Column("unique_id", Text, nullable=False),
    Column("confidentiality", Text, nullable=False),
    Column("home", Text),
    Column("fragment", LargeBinary, nullable=False),
    # The filters by which ITI-51 searches all patients; every other query stays inside one.
    Index("document_entry_class", "class_code"),
    Index("document_entry_facility", "facility_type_code"),
    sqlite_with_rowid=False,
)

submission_set = Table(
    "submission_set",
    metadata,
    Column("patient_key", BigInteger, primary_key=True, autoincrement=False),
    Column("object_key", BigInteger, primary_key=True, autoincrement=False),
    Column("entry_uuid", LargeBinary(16), nullable=False),
    Column("content_type_code", Integer, nullable=False),
    Column("source_id", Text, nullable=False),
    Column("submission_time", BigInteger, nullable=False),
    Column("unique_id", Text, nullable=False),
    Column("home", Text),
    Column("fragment", LargeBinary, nullable=False),
    sqlite_with_rowid=False,
)

folder = Table(
    "folder",
    metadata,
    Column("patient_key", BigInteger, primary_key=True, autoincrement=False),
    Column("object_key", BigInteger, primary_key=True, autoincrement=False),
    Column("entry_uuid", LargeBinary(16), nullable=False),
    Column("deprecated", SmallInteger, nullable=False),
    Column("version", Integer, nullable=False),
    Column("last_update_time", BigInteger, nullable=False),
    Column("unique_id", Text, nullable=False),
    Column("home", Text),
    Column("fragment", LargeBinary, nullable=False),
    sqlite_with_rowid=False,
)

association = Table(
    "association",
    metadata,
    Column("patient_key", BigInteger, primary_key=True, autoincrement=False),
    Column("object_key", BigInteger, primary_key=True, autoincrement=False),
    Column("entry_uuid", LargeBinary(16), nullable=False),
    Column("type", Text, nullable=False),
    Column("source_key", BigInteger, nullable=False),
    Column("target_key", BigInteger, nullable=False),
    Column("deprecated", SmallInteger, nullable=False),
    Column("home", Text),
    Column("fragment", LargeBinary, nullable=False),
    Index("association_source", "source_key"),
    Index("association_target", "target_key"),
    sqlite_with_rowid=False,
)

object_code = Table(
    "object_code",
    metadata,
    Column("patient_key", BigInteger, primary_key=True, autoincrement=False),
    Column("kind", SmallInteger, primary_key=True, autoincrement=False),
    Column("code_id", Integer, primary_key=True, autoincrement=False),
    Column("object_key", BigInteger, primary_key=True, autoincrement=False),
    Index("object_code_code", "kind", "code_id"),
    sqlite_with_rowid=False,
)

object_text = Table(
    "object_text",
    metadata,
    Column("patient_key", BigInteger, primary_key=True, autoincrement=False),
    Column("kind", SmallInteger, primary_key=True, autoincrement=False),
    Column("value", Text, primary_key=True),
    Column("object_key", BigInteger, primary_key=True, autoincrement=False),
    sqlite_with_rowid=False,
)
