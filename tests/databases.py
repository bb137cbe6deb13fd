"""The databases of tests: what opens one here runs on each back end whose turn it is.

`back_end` is the fixture that runs a test once on SQLite and once on PostgreSQL. The PostgreSQL server is the tests' own and ends
with them.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.postgresql import PostgresqlServer, program_directory
from xds.store.database import Database, open_database

#: How the URL of the database that belongs to a directory is found.
UrlOf = Callable[[Path], str]

BACK_ENDS = ("sqlite", pytest.param("postgresql", marks=pytest.mark.postgresql))


def in_a_file(directory: Path) -> str:
    """SQLite."""
    return f"sqlite:///{directory / 'xds.sqlite'}"


_url_of: UrlOf = in_a_file


def url_of(directory: Path) -> str:
    """The URL of the database that belongs to this directory, on the back end whose turn it is."""
    return _url_of(directory)


def fresh_database(directory: Path) -> Database:
    """The database that belongs to this directory, with its tables; close it in the end."""
    database = open_database(url_of(directory))
    database.create_schema()
    return database


@pytest.fixture(scope="session")
def postgresql_server() -> Iterator[PostgresqlServer]:
    """A running server; tests that need it skip where PostgreSQL is not installed, and fail in CI."""
    programs = program_directory()
    if programs is None:
        if os.environ.get("CI"):
            pytest.fail("PostgreSQL is not installed, and CI must not skip")
        pytest.skip("NEEDS postgresql: the programs of a PostgreSQL server are not installed")
    with PostgresqlServer(programs) as server:
        yield server


@pytest.fixture(scope="session")
def free_postgresql_urls() -> list[str]:
    """Databases that tests have left empty, with their tables, for others to use."""
    return []


@pytest.fixture
def postgresql_urls(postgresql_server: PostgresqlServer, free_postgresql_urls: list[str]) -> Iterator[UrlOf]:
    """The URL of the empty database that belongs to a directory, for as long as the test lasts."""
    lent: dict[Path, str] = {}

    def lend(directory: Path) -> str:
        if directory not in lent:
            lent[directory] = free_postgresql_urls.pop() if free_postgresql_urls else postgresql_server.create_database()
        return lent[directory]

    yield lend
    for url in lent.values():
        postgresql_server.empty(url)
        free_postgresql_urls.append(url)


@pytest.fixture(params=BACK_ENDS)
def back_end(request: pytest.FixtureRequest) -> Iterator[str]:
    """Runs a test on each back end: `fresh_database` follows it."""
    global _url_of  # noqa: PLW0603 - builders that tests call in their bodies reach no fixture
    if request.param == "postgresql":
        _url_of = request.getfixturevalue("postgresql_urls")
    yield str(request.param)
    _url_of = in_a_file
