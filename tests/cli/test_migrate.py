"""`xds admin migrate`, and `xds serve` with a database that it cannot use: words and exit codes."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from tests.cli.commands import Commands
from xds.app import DATABASE_FILE
from xds.store.migrations import SCHEMA_VERSION

PORTS = ("--http-port", "0", "--mllp-port", "0", "--dicom-port", "0")
ABSENT = "postgresql://xds:secret@127.0.0.1:1/xds"


def test_tables_are_made_once(xds: Commands, tmp_path: Path) -> None:
    outcome = xds("admin", "migrate", "--data", str(tmp_path))
    assert (outcome.code, outcome.out) == (0, f"the tables have version {SCHEMA_VERSION} now, in a database that was empty\n")
    outcome = xds("admin", "migrate", "--data", str(tmp_path))
    assert (outcome.code, outcome.out) == (0, f"the tables have version {SCHEMA_VERSION} already\n")


def test_statements_are_printed_and_nothing_is_changed(xds: Commands, tmp_path: Path) -> None:
    outcome = xds("admin", "migrate", "--data", str(tmp_path), "--sql")
    assert outcome.code == 0
    assert "CREATE TABLE document_entry" in outcome.out
    with closing(sqlite3.connect(tmp_path / DATABASE_FILE)) as connection:
        assert connection.execute("SELECT count(*) FROM sqlite_master").fetchone() == (0,)
    xds("admin", "migrate", "--data", str(tmp_path))
    assert xds("admin", "migrate", "--data", str(tmp_path), "--sql").out == ""


def test_a_version_that_nobody_knows_is_wrong_usage(xds: Commands, tmp_path: Path) -> None:
    outcome = xds("admin", "migrate", "--data", str(tmp_path), "--to", "4711")
    assert (outcome.code, str(SCHEMA_VERSION) in outcome.err) == (2, True)


def test_a_database_that_needs_newer_software_is_refused(xds: Commands, tmp_path: Path) -> None:
    xds("admin", "migrate", "--data", str(tmp_path))
    with closing(sqlite3.connect(tmp_path / DATABASE_FILE)) as connection, connection:
        connection.execute("UPDATE schema_revision SET version_num = '4711'")
        connection.execute("UPDATE schema_compatibility SET oldest = 4710")
    outcome = xds("admin", "migrate", "--data", str(tmp_path))
    assert (outcome.code, "version 4710 or later" in outcome.err) == (1, True)
    outcome = xds("serve", "--data", str(tmp_path), *PORTS)
    assert (outcome.code, "version 4710 or later" in outcome.err) == (2, True)


@pytest.mark.parametrize("command", [("admin", "migrate"), ("serve", *PORTS)], ids=" ".join)
def test_a_database_server_that_does_not_answer_is_told(
    xds: Commands, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...]
) -> None:
    monkeypatch.setenv("XDS__DATABASE__URL", ABSENT)
    outcome = xds(*command, "--data", str(tmp_path))
    assert (outcome.code, "refused" in outcome.err, "secret" in outcome.err) == (3, True, False)


@pytest.mark.parametrize("command", [("admin", "migrate"), ("serve", *PORTS)], ids=" ".join)
@pytest.mark.parametrize("url", ["mysql://xds:secret@db/xds", "sqlite://", "secret"])
def test_a_url_that_names_no_usable_database_is_told(
    xds: Commands, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...], url: str
) -> None:
    monkeypatch.setenv("XDS__DATABASE__URL", url)
    outcome = xds(*command, "--data", str(tmp_path))
    assert (outcome.code, "database" in outcome.err, "secret" in outcome.err) == (2, True, False)
