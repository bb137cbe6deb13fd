"""Databases: SQLite inside the process, or a PostgreSQL server, behind one interface.

Rules that hold on both are in `interface`; what a statement must know of their differences is in `dialects` and `locks` of
`xds.store`.
"""

from __future__ import annotations

from sqlalchemy import Connection
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from xds.store.database.interface import (
    Database,
    DatabaseClosedError,
    DatabaseFullError,
    DatabaseUnavailableError,
    DatabaseUrlError,
    Work,
)
from xds.store.database.sqlite import SqliteDatabase
from xds.store.migrations import SchemaError

__all__ = [
    "Connection",
    "Database",
    "DatabaseClosedError",
    "DatabaseFullError",
    "DatabaseUnavailableError",
    "DatabaseUrlError",
    "SchemaError",
    "Work",
    "open_database",
]


def open_database(url: str) -> Database:
    """The database of a SQLAlchemy URL: `sqlite:////path/to/file` or `postgresql://user:password@host/name`.

    Nothing is asked of a server yet. Errors: DatabaseUrlError.
    """
    try:
        backend = make_url(url).get_backend_name()
    except ArgumentError:
        raise DatabaseUrlError(
            "the database URL cannot be read: sqlite:////path/to/file or postgresql://user@host/name"
        ) from None
    if backend == "sqlite":
        return SqliteDatabase(url)
    if backend == "postgresql":
        try:
            # Here, because its driver is installed where it is needed alone.
            from xds.store.database.postgresql import PostgresqlDatabase
        except ModuleNotFoundError as error:
            raise DatabaseUrlError(f"PostgreSQL needs a driver ({error.name}): pip install 'psycopg[binary]'") from None
        return PostgresqlDatabase(url)
    raise DatabaseUrlError(f"the database must be an SQLite file or PostgreSQL, not {backend}")
