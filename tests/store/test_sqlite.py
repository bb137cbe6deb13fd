"""The embedded database: durability of what was answered, isolation of failures, snapshots, order."""

from __future__ import annotations

import errno
import os
import sqlite3
import threading
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path

import pytest
from sqlalchemy import Connection, delete, insert, select, text
from sqlalchemy.exc import DBAPIError, IntegrityError
from structlog.testing import capture_logs

from tests.store.other_process import turn_held
from xds.store.database import (
    Database,
    DatabaseClosedError,
    DatabaseFullError,
    DatabaseUnavailableError,
    open_database,
    sqlite_log,
    sqlite_turns,
)
from xds.store.schema.operations import setting


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "xds.sqlite"


@pytest.fixture
def database(path: Path):
    opened = open_database(f"sqlite:///{path}")
    opened.create_schema()
    yield opened
    opened.close()


def put(name: str, value: str = "x"):
    def work(connection: Connection) -> str:
        connection.execute(insert(setting).values(name=name, value=value))
        return name

    return work


def names(database: Database) -> list[str]:
    with database.read() as connection:
        return list(connection.execute(select(setting.c.name).order_by(setting.c.name)).scalars())


def test_a_write_returns_its_result_and_is_there_for_another_process(database: Database, path: Path) -> None:
    assert database.write(put("a")) == "a"
    other = sqlite3.connect(path)
    try:
        assert other.execute("SELECT name FROM setting").fetchall() == [("a",)]
    finally:
        other.close()


def test_a_failing_piece_of_work_leaves_nothing_and_harms_no_other(database: Database) -> None:
    def spoil(connection: Connection) -> None:
        put("lost")(connection)
        raise LookupError("mine")

    started = threading.Barrier(9)

    def ask(number: int) -> str:
        started.wait()
        if number % 2:
            with pytest.raises(LookupError, match="mine"):
                database.write(spoil)
            return "refused"
        return database.write(put(f"kept{number}"))

    with ThreadPoolExecutor(8) as pool:
        answers = [pool.submit(ask, number) for number in range(8)]
        started.wait()
        assert sorted(answer.result() for answer in answers) == ["kept0", "kept2", "kept4", "kept6", *["refused"] * 4]
    assert names(database) == ["kept0", "kept2", "kept4", "kept6"]


@pytest.mark.parametrize("failing", ["first", "second", "third", "first second", "second third", "first second third"])
def test_whichever_fails_of_one_commit_the_others_are_stored(database: Database, failing: str) -> None:
    def spoil(connection: Connection) -> None:
        put("lost")(connection)
        raise LookupError("mine")

    entered, may_end = threading.Event(), threading.Event()

    def hold(_connection: Connection) -> None:
        entered.set()
        assert may_end.wait(10)

    held = database.begin_write(hold)
    # What comes while the writer is busy is one commit.
    assert entered.wait(10)
    every = ("first", "second", "third")
    answers = {name: database.begin_write(spoil if name in failing.split() else put(name)) for name in every}
    may_end.set()
    held.result(10)
    for name, answer in answers.items():
        if name in failing.split():
            with pytest.raises(LookupError, match="mine"):
                answer.result(10)
        else:
            assert answer.result(10) == name
    assert names(database) == sorted(set(every) - set(failing.split()))


def test_errors_of_the_database_reach_the_caller(database: Database) -> None:
    database.write(put("a"))
    with pytest.raises(IntegrityError):
        database.write(put("a"))
    assert database.write(put("b")) == "b"


def test_a_reader_sees_one_snapshot(database: Database) -> None:
    database.write(put("a"))
    with database.read() as connection:
        before = connection.execute(select(setting.c.name)).scalars().all()
        database.write(put("b"))
        assert connection.execute(select(setting.c.name)).scalars().all() == before == ["a"]
    assert names(database) == ["a", "b"]


def test_reads_may_be_nested_and_stay_usable_after_an_error(database: Database) -> None:
    def fail_inside_a_read() -> None:
        with database.read(), database.read():
            raise LookupError("mine")

    with pytest.raises(LookupError, match="mine"):
        fail_inside_a_read()
    assert names(database) == []


def test_many_writers_share_commits_and_all_answers_hold(database: Database, path: Path) -> None:
    with ThreadPoolExecutor(16) as pool:
        answered = list(pool.map(lambda number: database.write(put(f"{number:03d}")), range(200)))
    assert names(database) == answered


def test_what_was_written_later_is_there_after_close(database: Database, path: Path) -> None:
    for number in range(50):
        database.write_later(put(f"{number:02d}"))
    database.close()
    again = open_database(f"sqlite:///{path}")
    try:
        assert len(names(again)) == 50
    finally:
        again.close()


def test_nothing_is_accepted_after_close(database: Database) -> None:
    database.close()
    database.close()
    with pytest.raises(DatabaseClosedError):
        database.write(put("a"))
    with pytest.raises(DatabaseClosedError):
        database.write_later(put("a"))
    with pytest.raises(DatabaseClosedError), database.read():
        pass


def test_the_file_is_set_up_for_power_loss(database: Database) -> None:
    with database.read() as connection:
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar_one() == "wal"
        # The log before a checkpoint; what is acknowledged is forced beside the writer, as the tests below show.
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar_one() == 1
        assert connection.exec_driver_sql("PRAGMA page_size").scalar_one() == 4096


def test_a_full_disk_fails_what_needs_it_and_nothing_after(database: Database) -> None:
    def limit(pages: int):
        return lambda connection: connection.exec_driver_sql(f"PRAGMA max_page_count = {pages}").scalar_one()

    used = database.write(lambda connection: connection.exec_driver_sql("PRAGMA page_count").scalar_one())
    database.write(limit(used + 2))
    with pytest.raises(DatabaseFullError, match="no space left"):
        database.write(put("big", "x" * 200_000))
    database.write(limit(1_000_000))
    assert database.write(put("small")) == "small"
    assert names(database) == ["small"]


def test_work_that_would_wait_for_itself_is_refused(database: Database) -> None:
    with pytest.raises(RuntimeError, match="another transaction"):
        database.write(lambda _connection: database.write(put("inside")))
    assert names(database) == []


@pytest.fixture
def other(database: Database, path: Path):
    """The database of another process, which writes, too."""
    opened = open_database(f"sqlite:///{path}")
    for _ in range(sqlite_turns.WRITTEN_BY_OTHERS + 1):
        for each in (opened, database):
            each.write(put("theirs"))
            each.write(lambda connection: connection.execute(delete(setting)).close())
    yield opened
    opened.close()


def test_what_is_done_beforehand_sees_a_snapshot_while_another_process_writes(database: Database, other: Database) -> None:
    database.write(put("before"))
    seen = []

    def look(connection: Connection) -> None:
        seen.append(list(connection.execute(select(setting.c.name)).scalars()))

    def beforehand(connection: Connection) -> bool:
        look(connection)
        other.write(put("theirs"))
        look(connection)
        return True

    def work(connection: Connection) -> str:
        look(connection)
        return put("ours")(connection)

    assert database.write(work, beforehand=beforehand) == "ours"
    assert [sorted(some) for some in seen] == [["before"], ["before"], ["before", "theirs"]]


@pytest.mark.usefixtures("other")
def test_as_long_as_another_process_has_its_turn_more_is_looked_at(database: Database, path: Path) -> None:
    with turn_held(path) as end:
        looks = []

        def beforehand(_connection: Connection) -> bool:
            looks.append(1)
            if len(looks) == 3:
                end()
            return len(looks) < 3

        assert database.write(put("ours"), beforehand=beforehand) == "ours"
    assert len(looks) == 3


def test_where_other_processes_write_too_the_writer_maps_no_pages(database: Database, path: Path) -> None:
    other = open_database(f"sqlite:///{path}")

    def mapped() -> int:
        return int(database.write(lambda connection: connection.execute(text("PRAGMA mmap_size")).scalar_one()))

    for number in range(30):
        database.write(put(f"ours {number}"))
    assert mapped() > 0
    assert database.write(put("alone"), beforehand=lambda _connection: pytest.fail("nobody waits")) == "alone"
    for number in range(30):
        other.write(put(f"theirs {number}"))
        database.write(put(f"ours again {number}"))
    assert mapped() == 0
    assert len(names(database)) == 91
    other.close()


@pytest.mark.usefixtures("other")
def test_who_fails_beforehand_is_told_and_harms_no_other(database: Database) -> None:
    def fail(_connection: Connection) -> None:
        raise ValueError("beforehand")

    with pytest.raises(ValueError, match="beforehand"):
        database.write(put("lost"), beforehand=fail)
    assert database.write(put("kept"), beforehand=lambda connection: None) == "kept"
    assert names(database) == ["kept"]


def failing(database: Database, action: int, name: str):
    """Have each statement of this kind fail in the writer, as on a disk that fails. What ends that."""
    drivers: list[sqlite3.Connection] = []

    def judge(asked: int, what: str | None, *_: object) -> int:
        return sqlite3.SQLITE_DENY if (asked, what) == (action, name) else sqlite3.SQLITE_OK

    def work(connection: Connection) -> None:
        drivers.append(connection.connection.driver_connection)
        drivers[0].set_authorizer(judge)

    database.write(work)
    return lambda: drivers[0].set_authorizer(None)


def test_the_writer_goes_on_when_it_cannot_ask_who_else_writes(database: Database) -> None:
    failing(database, sqlite3.SQLITE_PRAGMA, "data_version")
    assert [database.write(put(name)) for name in "ab"] == ["a", "b"]


def look(connection: Connection) -> int:
    return int(connection.exec_driver_sql("SELECT 1").scalar_one())


@pytest.mark.usefixtures("other")
def test_the_writer_goes_on_when_it_cannot_look_ahead(database: Database) -> None:
    mend = failing(database, sqlite3.SQLITE_TRANSACTION, "BEGIN")
    for name in "ab":
        with pytest.raises((sqlite3.Error, DBAPIError)):
            database.write(put(name), beforehand=put("never"))
    mend()
    assert database.write(put("c"), beforehand=lambda connection: None) == "c"
    assert names(database) == ["c"]


@pytest.mark.usefixtures("other")
def test_the_writer_goes_on_when_it_cannot_end_what_it_looked_at(database: Database) -> None:
    mend = failing(database, sqlite3.SQLITE_TRANSACTION, "ROLLBACK")
    for name in "ab":
        database.write(put(name), beforehand=look)
    mend()
    assert database.write(put("c"), beforehand=look) == "c"
    assert names(database) == ["a", "b", "c"]


def test_work_that_nobody_waits_for_does_not_hold_up_what_somebody_does(database: Database) -> None:
    database.write_later(put("later"))
    assert database.write(put("now")) == "now"
    assert names(database) == ["later", "now"]


def test_a_failure_of_later_work_is_logged_without_its_content(database: Database) -> None:
    def fail(_connection: Connection) -> None:
        raise LookupError("Jane Doe")

    with capture_logs() as logs:
        database.write_later(fail)
        database.write(put("after"))
    assert logs == [{"event": "database.write_later.failed", "error": "LookupError", "log_level": "error"}]


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///:memory:", "mysql://localhost/xds", "no url"])
def test_other_databases_are_refused(url: str) -> None:
    with pytest.raises(ValueError, match=r"sqlite:|SQLite file"):
        open_database(url)


def test_a_long_reader_stops_nobody_and_reading_may_be_nested(database: Database) -> None:
    def read() -> int:
        with database.read() as connection, database.read() as inner:
            return sum(int(each.exec_driver_sql("SELECT 1").scalar_one()) for each in (connection, inner))

    with ThreadPoolExecutor(1) as others, database.read():
        assert others.submit(read).result(timeout=30) == 2


def test_an_answer_waits_for_the_disk_and_the_next_work_does_not(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    database.write(put("before"))
    answers, is_begun, is_forced, sync = [], threading.Event(), threading.Event(), os.fdatasync

    def slow(file: int) -> None:
        is_begun.set()
        assert is_forced.wait(60)
        sync(file)

    monkeypatch.setattr(os, "fdatasync", slow)
    with ThreadPoolExecutor(2) as pool:
        answers.append(pool.submit(database.write, put("one")))
        assert is_begun.wait(60)
        answers.append(pool.submit(database.write, put("two")))
        while "two" not in names(database):
            pass
        assert not any(answer.done() for answer in answers)
        is_forced.set()
        assert [answer.result() for answer in answers] == ["one", "two"]


def test_others_go_on_while_an_answer_waits_for_the_disk(
    database: Database, other: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    is_begun, is_forced, sync = threading.Event(), threading.Event(), os.fdatasync

    def slow(file: int) -> None:
        monkeypatch.setattr(os, "fdatasync", sync)
        is_begun.set()
        assert is_forced.wait(60)
        sync(file)

    monkeypatch.setattr(os, "fdatasync", slow)
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(database.write, put("ours"))
        assert is_begun.wait(60)
        assert other.write(put("theirs")) == "theirs"
        assert names(other) == ["ours", "theirs"]
        assert not answer.done()
        is_forced.set()
        assert answer.result(60) == "ours"


@pytest.mark.parametrize("neighbour", [None, "other"])
def test_a_disk_that_fails_is_trusted_no_more(
    database: Database, monkeypatch: pytest.MonkeyPatch, neighbour: str | None, request: pytest.FixtureRequest
) -> None:
    if neighbour is not None:
        request.getfixturevalue(neighbour)
    database.write(put("before"))

    def fail(_file: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as broken, capture_logs() as logs:
        broken.setattr(os, "fdatasync", fail)
        with pytest.raises(DatabaseUnavailableError, match="start the server again"):
            database.write(put("doubtful"))
    assert [entry["event"] for entry in logs] == ["database.log.failed"]
    # The kernel says that all is well now.
    with pytest.raises(DatabaseUnavailableError):
        database.write(put("later"))
    assert "later" not in names(database)
    assert "before" in names(database)


def test_the_log_begins_anew_beside_a_busy_writer(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite_log, "CHECKPOINT_ROWS", 5)
    monkeypatch.setattr(sqlite_log, "CHECKPOINT_SECONDS", 0.01)
    monkeypatch.setattr(sqlite_log, "RESTART_PAGES", 20)
    database = open_database(f"sqlite:///{path}")
    try:
        database.create_schema()

        def beginnings() -> int:
            with open(f"{path}-wal", "rb") as log:
                return int.from_bytes(log.read(16)[12:], "big")

        database.write(put("first"))
        before = beginnings()
        for number in count():
            database.write(put(f"{number}"))
            if beginnings() > before:
                break
            assert number < 5000, "the log never begins anew"
        assert len(names(database)) == number + 2
    finally:
        database.close()


@pytest.mark.parametrize(("patience", "expected"), [(600.0, os.SCHED_IDLE), (-1.0, os.SCHED_OTHER)])
def test_a_checkpoint_gives_way_unless_one_has_waited_too_long(
    path: Path, monkeypatch: pytest.MonkeyPatch, patience: float, expected: int
) -> None:
    monkeypatch.setattr(sqlite_log, "CHECKPOINT_ROWS", 1)
    monkeypatch.setattr(sqlite_log, "CHECKPOINT_SECONDS", 0.01)
    monkeypatch.setattr(sqlite_log, "_SHORTEST_PAUSE", 0.01)
    monkeypatch.setattr(sqlite_log, "_PATIENCE", patience)
    seen: list[int] = []
    move = sqlite_log._move

    def watched(connection: sqlite3.Connection) -> int:
        seen.append(os.sched_getscheduler(0))
        return move(connection)

    monkeypatch.setattr(sqlite_log, "_move", watched)
    database = open_database(f"sqlite:///{path}")
    try:
        database.create_schema()
        for number in count():
            database.write(put(f"{number}"))
            if len(seen) > 3:
                break
            assert number < 20000, "there are no checkpoints"
    finally:
        database.close()
    assert seen[0] == os.SCHED_IDLE
    assert set(seen[1:]) == {expected}


def test_the_longer_a_checkpoint_takes_the_sooner_the_next_one_comes() -> None:
    assert sqlite_log.next_pause(0.5, 0.03) == 0.5
    assert sqlite_log.next_pause(0.6, 0.04) == pytest.approx(0.45)
    # One that the disk kept for long does not decide alone, and one that had nothing to do neither.
    assert sqlite_log.next_pause(0.6, 3.0) == pytest.approx(0.3)
    assert sqlite_log.next_pause(0.3, 0.0) == pytest.approx(0.6)
    assert sqlite_log.next_pause(0.25, 3.0) == 0.2
    assert sqlite_log.next_pause(0.9, 0.0) == 1.0


def test_of_several_processes_one_does_a_checkpoint_at_a_time(path: Path) -> None:
    stamp = str(path)
    path.touch()
    assert not sqlite_log.claim_checkpoint(stamp, 600)
    for seconds in (-600, 3600):
        moment = path.stat().st_mtime + seconds
        os.utime(stamp, (moment, moment))
        # A clock that was set back must not keep everybody from it.
        assert sqlite_log.claim_checkpoint(stamp, 600)
    path.unlink()
    assert sqlite_log.claim_checkpoint(stamp, 600)
