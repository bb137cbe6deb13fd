"""The databases of the measurements: SQLite in each server's data directory, or fresh ones on a PostgreSQL server."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg

from tests.postgresql import PostgresqlServer, program_directory

#: What a server of its own gets beyond the settings of the tests.
SERVER_SETTINGS = {"shared_buffers": "512MB", "max_wal_size": "4GB", "checkpoint_timeout": "15min"}


class Databases:
    """Hands out a database for each measurement, and removes them in the end. Without `server` (a URL) it is SQLite."""

    def __init__(self, server: str = "") -> None:
        self._server = server
        self._made: list[str] = []

    def fresh(self, name: str) -> str:
        """The URL of an empty database; empty for SQLite in the data directory."""
        if not self._server:
            return ""
        name = f"xds_bench_{name}"
        self._execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
        self._execute(f"CREATE DATABASE {name} ENCODING 'UTF8' TEMPLATE template0")
        self._made.append(name)
        address, _, query = self._server.partition("?")
        return f"{address.rpartition('/')[0]}/{name}" + (f"?{query}" if query else "")

    def remove(self) -> None:
        """Remove what was made."""
        while self._made:
            self._execute(f"DROP DATABASE IF EXISTS {self._made.pop()} WITH (FORCE)")

    def _execute(self, statement: str) -> None:
        with psycopg.connect(self._server.replace("+psycopg", "", 1), autocommit=True) as connection:
            connection.execute(statement.encode())


@contextmanager
def chosen(wanted: str) -> Iterator[Databases]:
    """`wanted` is empty (SQLite), the URL of a database on a server where others may be made, or `postgresql`: a server that is
    started for the measurements from the installed programs."""
    if wanted != "postgresql":
        databases = Databases(wanted)
        try:
            yield databases
        finally:
            databases.remove()
        return
    programs = program_directory()
    if programs is None:
        raise SystemExit("the programs of a PostgreSQL server are not installed")
    with PostgresqlServer(programs, **SERVER_SETTINGS) as server:
        yield Databases(server.url())
