"""Table of the Document Repository: which blob is which document.

A repository may serve a registry that is elsewhere, so it knows patients by their identifier and not by a key of the registry;
its partition key is the uniqueId, the only thing that a retrieve names.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, String, Table

from xds.store.schema import metadata

repository_document = Table(
    "repository_document",
    metadata,
    Column("unique_id", String, primary_key=True),
    Column("blob", String(64), nullable=False, index=True),
    Column("size", BigInteger, nullable=False),
    Column("sha1", String(40), nullable=False),
    Column("mime_type", String, nullable=False),
    Column("patient_id", String, nullable=False),
    Column("class_code", String),
    Column("confidentiality", String, nullable=False),
    Column("stored", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)
"""`patient_id` is the CX of the affinity domain as submitted, `confidentiality` the codes as `code^^scheme` in a JSON array,
`stored` milliseconds since 1970, UTC."""
