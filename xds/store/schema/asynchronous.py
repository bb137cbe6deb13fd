"""Blobs of requests that were accepted and wait to be answered; the requests themselves are jobs."""

from __future__ import annotations

from sqlalchemy import Column, Table

from xds.store.schema import Text, metadata

asynchronous_blob = Table(
    "asynchronous_blob",
    metadata,
    Column("blob", Text, primary_key=True),
    Column("message", Text, primary_key=True),
    sqlite_with_rowid=False,
)
"""`message` is the key of the job."""
