"""The databases of tests: every test that opens one here runs on each back end whose turn `back_end` says it is."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from xds.store.database import Database, open_database

#: How the URL of a database that belongs to a directory is found: by a file in it, unless a fixture says otherwise.
UrlOf = Callable[[Path], str]


def in_a_file(directory: Path) -> str:
    """SQLite."""
    return f"sqlite:///{directory / 'xds.sqlite'}"


url_of: UrlOf = in_a_file


def fresh_database(directory: Path) -> Database:
    """The database that belongs to this directory, with its tables; close it in the end."""
    database = open_database(url_of(directory))
    database.create_schema()
    return database
