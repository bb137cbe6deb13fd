"""Tables of the Document Repository: which blob is which document, and which of them a registry elsewhere has not settled.

A repository may serve a registry that is elsewhere, so it knows patients by their identifier and not by a key of the registry;
its partition key is the uniqueId, the only thing that a retrieve names.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Table

from xds.store.schema import Text, metadata

repository_document = Table(
    "repository_document",
    metadata,
    Column("unique_id", Text, primary_key=True),
    Column("blob", Text, nullable=False, index=True),
    Column("size", BigInteger, nullable=False),
    Column("sha1", Text, nullable=False),
    Column("mime_type", Text, nullable=False),
    Column("patient_id", Text, nullable=False),
    Column("class_code", Text),
    Column("confidentiality", Text, nullable=False),
    Column("stored", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)
"""`patient_id` is the CX of the affinity domain as submitted, `confidentiality` the codes as `code^^scheme` in a JSON array,
`stored` milliseconds since 1970, UTC."""

registration_claim = Table(
    "registration_claim",
    metadata,
    Column("claim", Text, primary_key=True),
    Column("unique_id", Text, primary_key=True, index=True),
    sqlite_with_rowid=False,
)
"""A document that a registry elsewhere may or may not have registered yet: `claim` names the attempt to register it. A document
without claims is registered. An attempt without documents has one row whose `unique_id` is empty."""
