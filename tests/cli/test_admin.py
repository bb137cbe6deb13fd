"""`xds admin`: what operators and their timers see, by output and exit code. What a scrub finds is tested with its actor."""

from __future__ import annotations

import json
import os
import sqlite3
import sys
from contextlib import closing
from pathlib import Path

import pytest

from tests.actors.test_intake import files_of_at_most
from tests.cli.commands import Commands
from tests.databases import in_a_file
from tests.ports import port_of_nobody
from xds.app import BLOB_DIRECTORY, DATABASE_FILE, utc_now
from xds.store.blobs import open_blob_store
from xds.store.database import open_database
from xds.store.documents import StoredDocument, add


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A data directory with one document, and one blob that nothing refers to."""
    assert in_a_file(tmp_path).endswith(DATABASE_FILE)
    database = open_database(in_a_file(tmp_path))
    database.create_schema()
    blobs = open_blob_store("", tmp_path / BLOB_DIRECTORY)
    keys = []
    for content in (b"report", b"spare"):
        staging = blobs.stage()
        staging.write(content)
        keys.append(staging.commit())
    row = StoredDocument("1.2.3", keys[0], 6, "0" * 40, "text/plain", "1^^^&2&ISO", utc_now())
    database.write(lambda connection: add(connection, [row]))
    database.close()
    return tmp_path


def blob_files(data: Path) -> list[Path]:
    return [path for path in (data / BLOB_DIRECTORY / "objects").rglob("*") if path.is_file()]


def damage(data: Path) -> str:
    (path,) = (path for path in blob_files(data) if path.read_bytes() == b"report")
    path.write_bytes(b"rePort")
    return path.name


def test_a_clean_scrub_exits_with_0(xds: Commands, data: Path) -> None:
    outcome = xds("admin", "scrub", "--data", str(data))
    assert outcome.code == 0
    assert [row[0] for row in outcome.rows] == ["unreferenced"]
    assert outcome.err == "2 blobs with 11 octets were read: 1 unreferenced\n"


def test_damage_is_told_with_what_is_affected_and_exits_with_1(xds: Commands, data: Path) -> None:
    key = damage(data)
    outcome = xds("admin", "scrub", "--data", str(data))
    assert outcome.code == 1
    assert [row[0] for row in outcome.rows] == ["damaged", "unreferenced"]
    assert outcome.rows[0][1::2] == [key, "document 1.2.3"]
    assert outcome.err.endswith("1 damaged, 1 unreferenced\nxds: what is stored is damaged\n")


def test_json_is_a_line_for_each_finding_and_a_summary(xds: Commands, data: Path) -> None:
    key = damage(data)
    outcome = xds("admin", "scrub", "--json", "--readers", "4", "--data", str(data))
    assert outcome.code == 1
    found, _, summary = map(json.loads, outcome.out.splitlines())
    assert found["finding"] == "damaged"
    assert found["blob"] == key
    assert found["affected"] == [{"kind": "document", "unique_id": "1.2.3", "count": 1}]
    assert summary == {"blobs": 2, "octets": 11, "clean": False, "findings": {"damaged": 1, "unreferenced": 1}}


def test_a_terminal_gets_a_bar(xds: Commands, data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    outcome = xds("admin", "scrub", "--data", str(data))
    assert outcome.code == 0
    assert "100%" in outcome.err or "11/6 bytes" in outcome.err


def test_a_sweep_tells_first_and_removes_then(xds: Commands, data: Path) -> None:
    assert xds("admin", "sweep", "--data", str(data)).out == "0 blobs were removed\n"
    for path in blob_files(data):
        os.utime(path, (1_000_000, 1_000_000))
    assert xds("admin", "sweep", "--dry-run", "--data", str(data)).out == "1 blobs would be removed\n"
    assert len(blob_files(data)) == 2
    assert json.loads(xds("admin", "sweep", "--json", "--data", str(data)).out) == {"blobs": 1, "removed": True}
    assert [path.read_bytes() for path in blob_files(data)] == [b"report"]


@pytest.mark.parametrize("command", [("scrub",), ("sweep", "--dry-run")])
def test_looking_changes_no_file(xds: Commands, data: Path, command: tuple[str, ...]) -> None:
    """Not even what a broken upload left: a server that starts removes that."""
    (data / BLOB_DIRECTORY / "staging" / "stale").write_bytes(b"half")
    before = {path: (path.stat().st_mtime_ns, path.stat().st_size) for path in (data / BLOB_DIRECTORY).rglob("*")}
    assert xds("admin", *command, "--data", str(data)).code == 0
    assert {path: (path.stat().st_mtime_ns, path.stat().st_size) for path in (data / BLOB_DIRECTORY).rglob("*")} == before


def test_a_sweep_of_what_may_be_arriving_is_wrong_usage(xds: Commands, data: Path) -> None:
    outcome = xds("admin", "sweep", "--hours", "0.1", "--data", str(data))
    assert outcome.code == 2
    assert len(blob_files(data)) == 2


@pytest.mark.parametrize("command", ["scrub", "sweep"])
def test_a_directory_without_a_domain_is_wrong_usage_and_stays_empty(xds: Commands, tmp_path: Path, command: str) -> None:
    outcome = xds("admin", command, "--data", str(tmp_path / "nowhere"))
    assert outcome.code == 2
    assert "there is no database" in outcome.err
    assert list(tmp_path.iterdir()) == []


def test_a_bucket_that_does_not_answer_is_nobody(xds: Commands, data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hush")
    with port_of_nobody() as port:
        monkeypatch.setenv("XDS__STORAGE__URL", f"s3://docs?endpoint=http://127.0.0.1:{port}&region=us-east-1")
        outcome = xds("admin", "scrub", "--data", str(data))
    assert outcome.code == 3
    assert "s3://docs/ at http://127.0.0.1" in outcome.err
    assert "hush" not in outcome.err


@pytest.mark.parametrize("command", [("scrub",), ("sweep",), ("sweep", "--dry-run")])
@pytest.mark.parametrize(
    ("damage", "code", "words"),
    [
        ("DROP TABLE schema_revision; DROP TABLE setting", 1, "the database has no tables of this software; `xds admin migrate`"),
        ("DROP TABLE schema_revision", 1, "older than the first release"),
        ("UPDATE schema_revision SET version_num = '0000'", 1, "have version 0, and this software needs"),
        ("UPDATE schema_revision SET version_num = '4711'; UPDATE schema_compatibility SET oldest = 4710", 1, "install a newer"),
    ],
)
def test_tables_that_are_not_for_this_software_are_told(
    xds: Commands, data: Path, command: tuple[str, ...], damage: str, code: int, words: str
) -> None:
    with closing(sqlite3.connect(data / DATABASE_FILE)) as connection:
        connection.executescript(damage)
    outcome = xds("admin", *command, "--data", str(data))
    assert (outcome.code, outcome.out) == (code, "")
    assert words in outcome.err
    assert outcome.err.count("\n") == 1
    assert len(blob_files(data)) == 2


@pytest.mark.parametrize("command", ["scrub", "sweep", "migrate"])
def test_a_file_that_is_no_database_is_wrong_usage(xds: Commands, data: Path, command: str) -> None:
    for path in data.glob(f"{DATABASE_FILE}*"):
        path.unlink()
    (data / DATABASE_FILE).write_bytes(b"something else" * 1000)
    outcome = xds("admin", command, "--data", str(data))
    assert (outcome.code, outcome.err) == (2, "xds: the database cannot be read: file is not a database\n")


def test_a_database_without_room_for_its_tables_is_told(xds: Commands, tmp_path: Path) -> None:
    with files_of_at_most(20_000):
        outcome = xds("admin", "migrate", "--data", str(tmp_path))
    assert outcome.code in (1, 2)
    assert outcome.err.count("\n") == 1
