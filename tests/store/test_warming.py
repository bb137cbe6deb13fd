"""A large database file is brought into memory when the server starts, and the file is none the worse for it."""

from __future__ import annotations

import os
import re
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from xds.store.database import open_database, warming
from xds.store.database.warming import PORTION, Warming

#: Neither a multiple of what is read at a time nor of a page.
SIZE = 2 * PORTION + 3_000_001
PAGE = os.sysconf("SC_PAGE_SIZE")

#: What another process is told when it wants the file of a database for itself.
_ALONE = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], timeout=0)
try:
    print(connection.execute("PRAGMA journal_mode = DELETE").fetchone()[0])
except sqlite3.OperationalError as error:
    print(error)
"""


@pytest.fixture(autouse=True)
def _every_file_is_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(warming, "SMALL", 1)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "register"
    path.write_bytes(os.urandom(SIZE))
    return path


def mapped(file: Path) -> dict[str, int]:
    """What this process has of the file in its memory, by the name that the kernel gives it, in octets."""
    areas = re.split(r"^(?=[0-9a-f]+-[0-9a-f]+ )", Path("/proc/self/smaps").read_text(), flags=re.MULTILINE)
    found: dict[str, int] = {}
    for area in areas:
        if area.partition("\n")[0].endswith(f" {file}"):
            for name, size in re.findall(r"^(\w+): +(\d+) kB$", area, flags=re.MULTILINE):
                found[name] = found.get(name, 0) + int(size) * 1024
    return found


@pytest.fixture
def warm(file: Path) -> Iterator[Warming]:
    warmed = Warming(str(file))
    assert warmed.wait(60)
    yield warmed
    warmed.close()


def test_all_of_the_file_is_in_memory_and_stays(warm: Warming, file: Path) -> None:
    assert mapped(file)["Rss"] == -(-SIZE // PAGE) * PAGE
    warm.close()
    warm.close()
    assert mapped(file) == {}
    assert not [link for link in Path("/proc/self/fd").iterdir() if os.path.realpath(link) == str(file)]


def test_what_is_written_meanwhile_is_not_lost(file: Path) -> None:
    expected = bytearray(file.read_bytes())
    warmed = Warming(str(file))
    with file.open("r+b", buffering=0) as writing:
        for place in range(0, SIZE - 5000, 65_537):
            writing.seek(place)
            writing.write(b"new")
            expected[place : place + 3] = b"new"
    assert warmed.wait(60)
    warmed.close()
    assert file.read_bytes() == expected


def test_a_small_file_is_left_alone(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(warming, "SMALL", SIZE + 1)
    warmed = Warming(str(file))
    assert warmed.wait(60)
    assert mapped(file) == {}
    warmed.close()


@pytest.mark.parametrize("limit", ["1000000", "0"])
def test_without_room_for_it_nothing_is_read(file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: str) -> None:
    (tmp_path / "memory.max").write_text(f"{limit}\n")
    monkeypatch.setattr(warming, "_MEMORY_OF_CONTAINER", tmp_path / "memory.max")
    with capture_logs() as logs:
        warmed = Warming(str(file))
        assert warmed.wait(60)
    assert [(entry["event"], entry["octets"]) for entry in logs] == [("database.warming.no_room", SIZE)]
    assert mapped(file) == {}
    warmed.close()


def test_memory_is_what_the_machine_has_free_and_the_container_may_have(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    machine, container = tmp_path / "meminfo", tmp_path / "memory.max"
    monkeypatch.setattr(warming, "_MEMORY", machine)
    monkeypatch.setattr(warming, "_MEMORY_OF_CONTAINER", container)
    assert warming.free_memory() is None
    machine.write_text("MemTotal:       8000000 kB\nMemAvailable:    4000000 kB\nHugePages_Total:       0\n")
    assert warming.free_memory() == 4_096_000_000
    container.write_text("max\n")
    assert warming.free_memory() == 4_096_000_000
    container.write_text("1048576\n")
    assert warming.free_memory() == 1_048_576
    machine.write_text("MemTotal:       8000000 kB\n")
    assert warming.free_memory() is None


def test_a_file_that_cannot_be_read_is_no_failure(tmp_path: Path) -> None:
    with capture_logs() as logs:
        warmed = Warming(str(tmp_path / "gone"))
        assert warmed.wait(60)
        warmed.close()
    assert [entry["event"] for entry in logs] == ["database.warming.failed"]


def test_it_ends_when_it_is_closed(tmp_path: Path) -> None:
    path = tmp_path / "large"
    with path.open("wb") as file:
        file.truncate(1 << 36)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(warming, "_SHARE", 1e9)
        warmed = Warming(str(path))
        assert not warmed.wait(0.1)
        warmed.close()
        assert warmed.wait(0)


def test_the_database_keeps_its_locks(tmp_path: Path) -> None:
    path = tmp_path / "xds.sqlite"

    def alone() -> str:
        command = [sys.executable, "-c", _ALONE, str(path)]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    database = open_database(f"sqlite:///{path}")
    try:
        database.create_schema()
        database.warm_up(60)
        database.warm_up(60)
        assert alone() == "database is locked"
        with database.read() as connection:
            assert connection.exec_driver_sql("PRAGMA integrity_check").scalar() == "ok"
    finally:
        database.close()
    assert alone() == "delete"


def test_warming_is_over_before_the_database_is(tmp_path: Path) -> None:
    path = tmp_path / "xds.sqlite"
    database = open_database(f"sqlite:///{path}")
    database.create_schema()
    database.warm_up(0)
    database.close()
    assert mapped(path) == {}
    sqlite3.connect(path).close()
