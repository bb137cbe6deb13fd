"""Where generated rows go: into an SQLite file without fsync, or into PostgreSQL by COPY. Indexes are made afterwards."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, Protocol

import psycopg

Row = Sequence[Any]


class Sink(Protocol):
    """A database whose tables hold one registered submission."""

    def read(self, table: str) -> tuple[tuple[str, ...], list[Row]]:
        """Names of the columns, and the rows."""

    def insert(self, table: str, columns: Sequence[str], rows: Sequence[Row]) -> None:
        """Add rows."""

    def run(self, statement: str) -> None:
        """Run a statement, in which OCTETS stands for the type of octet strings."""

    def empty(self, table: str) -> None:
        """Remove every row."""

    def finish(self) -> None:
        """Make everything fit for queries, and close."""


class SqliteSink:
    """An SQLite file, in one transaction."""

    def __init__(self, path: Path) -> None:
        self._connection = sqlite3.connect(path, isolation_level=None)
        for pragma in ("journal_mode = OFF", "synchronous = OFF", "cache_size = -1000000", "locking_mode = EXCLUSIVE"):
            self._connection.execute(f"PRAGMA {pragma}")
        # Sorting an index once costs less than keeping it sorted.
        indexes = "SELECT name, sql FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL"
        self._connection.execute("BEGIN")
        self._later = []
        for name, definition in self._connection.execute(indexes).fetchall():
            self._connection.execute(f"DROP INDEX {name}")
            self._later.append(definition)

    def read(self, table: str) -> tuple[tuple[str, ...], list[Row]]:
        """Names of the columns, and the rows."""
        cursor = self._connection.execute(f"SELECT * FROM {table}")
        return tuple(item[0] for item in cursor.description), cursor.fetchall()

    def insert(self, table: str, columns: Sequence[str], rows: Sequence[Row]) -> None:
        """Add rows."""
        statement = f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({', '.join('?' * len(columns))})"
        self._connection.executemany(statement, rows)

    def run(self, statement: str) -> None:
        """Run a statement, in which OCTETS stands for the type of octet strings."""
        self._connection.execute(statement.replace("OCTETS", "BLOB"))

    def empty(self, table: str) -> None:
        """Remove every row."""
        self._connection.execute(f"DELETE FROM {table}")

    def finish(self) -> None:
        """Make indexes, commit, close. A server gathers no statistics either."""
        for statement in self._later:
            self._connection.execute(statement)
        self._connection.execute("COMMIT")
        self._connection.close()


_CONSTRAINTS: Final = """
    SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid) FROM pg_constraint
    WHERE contype IN ('p', 'u') AND conrelid::regclass::text = ANY(%s)"""
_INDEXES: Final = """
    SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = 'public' AND tablename = ANY(%s)
    AND indexname NOT IN (SELECT conname FROM pg_constraint)"""
_TYPES: Final = """
    SELECT format_type(atttypid, NULL) FROM pg_attribute
    WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped ORDER BY attnum"""


class PostgresqlSink:
    """A PostgreSQL database. Keys, constraints and indexes are made when all rows are there."""

    def __init__(self, url: str, tables: Sequence[str]) -> None:
        self._connection = psycopg.connect(url.replace("+psycopg", "", 1))
        self._types: dict[str, list[str]] = {}
        self._later: list[str] = []
        execute = self._connection.execute
        execute("SET LOCAL synchronous_commit = off")
        execute("SET LOCAL maintenance_work_mem = '512MB'")
        for table, name, definition in execute(_CONSTRAINTS, [list(tables)]).fetchall():
            execute(f"ALTER TABLE {table} DROP CONSTRAINT {name}".encode())
            self._later.append(f"ALTER TABLE {table} ADD CONSTRAINT {name} {definition}")
        for name, definition in execute(_INDEXES, [list(tables)]).fetchall():
            execute(f"DROP INDEX {name}".encode())
            self._later.append(definition)

    def read(self, table: str) -> tuple[tuple[str, ...], list[Row]]:
        """Names of the columns, and the rows."""
        cursor = self._connection.execute(f"SELECT * FROM {table}".encode())
        self._types[table] = [row[0] for row in self._connection.execute(_TYPES, [table]).fetchall()]
        return tuple(item.name for item in cursor.description or ()), list(cursor.fetchall())

    def insert(self, table: str, columns: Sequence[str], rows: Sequence[Row]) -> None:
        """Add rows."""
        statement = f"COPY {table} ({', '.join(columns)}) FROM STDIN (FORMAT BINARY)"
        with self._connection.cursor() as cursor, cursor.copy(statement.encode()) as copy:
            copy.set_types(self._types[table])
            for row in rows:
                copy.write_row(row)

    def run(self, statement: str) -> None:
        """Run a statement, in which OCTETS stands for the type of octet strings."""
        self._connection.execute(statement.replace("OCTETS", "BYTEA").encode())

    def empty(self, table: str) -> None:
        """Remove every row."""
        self._connection.execute(f"TRUNCATE {table}".encode())

    def finish(self) -> None:
        """Make keys and indexes, let the sequences go on behind the rows, gather statistics, close."""
        execute = self._connection.execute
        for statement in self._later:
            execute(statement.encode())
        for table, key in (("registry_object", "object_key"), ("patient", "patient_key")):
            execute(f"SELECT setval('{table}_{key}_seq', (SELECT max({key}) FROM {table}))".encode())
        self._connection.commit()
        self._connection.autocommit = True
        execute("VACUUM (ANALYZE)")
        self._connection.close()
