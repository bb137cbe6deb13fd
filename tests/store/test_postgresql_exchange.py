"""The exchange with a PostgreSQL server: what travels together, in which order, and what becomes of it when some of it fails."""

from __future__ import annotations

import enum
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import Connection, bindparam, delete, insert, select, update
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, InternalError, ProgrammingError

from tests.databases import UrlOf
from xds.store.database import Database, open_database
from xds.store.database.postgresql_driver import DriverConnection, driver_of
from xds.store.schema.operations import setting
from xds.store.schema.registry import folder

pytestmark = pytest.mark.postgresql

ADD = "INSERT INTO setting (name, value) VALUES ($1, $2)"
ALL = select(setting.c.name).order_by(setting.c.name)


class Number(enum.IntEnum):
    SEVEN = 7


@pytest.fixture
def url(postgresql_urls: UrlOf, tmp_path: Path) -> str:
    return postgresql_urls(tmp_path)


@pytest.fixture
def database(url: str) -> Iterator[Database]:
    opened = open_database(url)
    opened.create_schema()
    yield opened
    opened.close()


def names(database: Database) -> list[str]:
    with database.read() as connection:
        return list(connection.execute(ALL).scalars())


@pytest.mark.parametrize(
    ("cast", "value"),
    [
        ("text", "née; '\\ \"$1%s"),
        ("text", ""),
        ("text", None),
        ("bytea", b"\0\1\xff"),
        ("bytea", b"x" * 3_000_000),
        ("bigint", -(2**63)),
        ("smallint", 7),
        ("integer", Number.SEVEN),
        ("boolean", True),
        ("boolean", False),
        ("double precision", 0.1),
        ("bigint[]", [1, -2]),
    ],
)
def test_values_come_back_as_they_went(database: Database, cast: str, value: object) -> None:
    with database.read() as connection:
        assert driver_of(connection).rows(f"SELECT $1::{cast}", [value]) == [(value,)]


def test_values_that_cannot_be_stored_are_refused(database: Database) -> None:
    with database.read() as connection, pytest.raises(DataError):
        driver_of(connection).rows("SELECT $1::text", ["before\0after"])
    with database.read() as connection, pytest.raises(DataError):
        driver_of(connection).rows("SELECT $1::bigint", [2**63])
    with database.read() as connection, pytest.raises(ProgrammingError, match="a object cannot be a parameter"):
        driver_of(connection).rows("SELECT $1::text", [object()])


def test_questions_are_answered_in_any_order(database: Database) -> None:
    with database.read() as connection:
        driver = driver_of(connection)
        first, second, third = (driver.ask("SELECT $1::int + 1", [number]) for number in (1, 2, 3))
        assert (third(), first()) == ([(4,)], [(2,)])
        assert driver.rows("SELECT generate_series(1, $1::int)", [3]) == [(1,), (2,), (3,)]
        assert second() == [(3,)]


def test_everything_happens_in_the_order_in_which_it_was_put(database: Database) -> None:
    def work(connection: Connection) -> None:
        driver = driver_of(connection)
        driver.run(ADD, [("a", "1"), ("b", "1")])
        assert connection.execute(ALL).scalars().all() == ["a", "b"]
        connection.execute(insert(setting).values(name="100 %", value="1"))
        assert driver.rows("SELECT name FROM setting ORDER BY name", ()) == [("100 %",), ("a",), ("b",)]
        connection.execute(insert(setting), [{"name": "c", "value": "1"}, {"name": "d", "value": "1"}])
        driver.run("DELETE FROM setting WHERE name = $1", [("a",)])

    database.write(work)
    assert names(database) == ["100 %", "b", "c", "d"]


def test_many_statements_and_long_answers_fill_no_buffer(database: Database) -> None:
    octets = b"x" * 100_000

    def work(connection: Connection) -> int:
        asked = [driver_of(connection).ask("SELECT $1::bytea", [octets]) for _ in range(300)]
        return sum(len(row[0]) for rows in asked for row in rows())

    assert database.write(work) == 300 * len(octets)


def test_more_texts_than_stay_prepared(database: Database) -> None:
    def known(driver: DriverConnection) -> int:
        return int(driver.rows("SELECT count(*) FROM pg_prepared_statements", ())[0][0])

    for start in (0, 200, 0):
        with database.read() as connection:
            for number in range(start, start + 200):
                assert driver_of(connection).rows(f"SELECT {number}", ()) == [(number,)]
    with database.read() as connection:
        assert known(driver_of(connection)) <= 257


def test_a_text_that_nobody_understands_spoils_only_its_transaction(database: Database) -> None:
    for _ in range(2):
        with database.read() as connection, pytest.raises(ProgrammingError):
            driver_of(connection).rows("SELECT absent", ())
    with database.read() as connection:
        assert driver_of(connection).rows("SELECT 1", ()) == [(1,)]


def test_what_fails_behind_its_back_is_told_by_the_commit(database: Database) -> None:
    def work(connection: Connection) -> None:
        driver_of(connection).run(ADD, [("new", "1"), ("a", "1"), ("a", "2")])

    with pytest.raises(IntegrityError):
        database.write(work)
    assert names(database) == []


def test_a_failure_that_is_overlooked_is_no_success(database: Database) -> None:
    """PostgreSQL answers COMMIT of such a transaction by undoing it, which is no error to it."""

    def work(connection: Connection) -> None:
        driver = driver_of(connection)
        driver.run(ADD, [("a", "1")])
        answer = driver.ask("SELECT 1 / $1::int", [0])
        behind = driver.ask("SELECT $1::int", [5])
        with pytest.raises(DBAPIError, match="division by zero"):
            answer()
        with pytest.raises(DBAPIError, match="not run"):
            behind()

    with pytest.raises(InternalError):
        database.write(work)
    assert names(database) == []


def test_rows_are_fetched_in_portions_and_counted(database: Database) -> None:
    """The cursor of SQLAlchemy."""

    def work(connection: Connection) -> None:
        connection.execute(insert(setting), [{"name": name, "value": "1"} for name in "abcde"])
        found = connection.execute(ALL.where(setting.c.name != "%"))
        assert (list(found.keys()), found.rowcount) == (["name"], 5)
        assert [row.name for row in found.fetchmany(2)] == ["a", "b"]
        assert found.fetchone() == ("c",)
        assert found.scalars().all() == ["d", "e"]
        changed = update(setting).where(setting.c.name.in_(["a", "b", "z"])).values(value="2")
        assert connection.execute(changed).rowcount == 2
        each = update(setting).where(setting.c.name == bindparam("own")).values(value=bindparam("new"))
        assert connection.execute(each, [{"own": name, "new": "3"} for name in "ayz"]).rowcount == 1
        assert connection.execute(delete(setting).where(setting.c.value == "2").returning(setting.c.name)).all() == [("b",)]
        assert connection.execute(ALL.where(setting.c.name == "z")).one_or_none() is None

    database.write(work)
    assert names(database) == ["a", "c", "d", "e"]


def test_octets_that_sqlalchemy_has_wrapped_arrive_as_they_are(database: Database) -> None:
    row = {"patient_key": 1, "object_key": 2, "entry_uuid": b"\0" * 16, "last_update_time": 3, "unique_id": "1.2"}
    values = {**row, "deprecated": 0, "version": 1, "fragment": b"\xff\0"}
    database.write(lambda connection: connection.execute(insert(folder).values(**values)))
    with database.read() as connection:
        assert connection.execute(select(folder.c.fragment).where(folder.c.entry_uuid == b"\0" * 16)).all() == [(b"\xff\0",)]


def test_an_answer_that_nobody_waits_for_is_no_harm(database: Database) -> None:
    def work(connection: Connection) -> None:
        driver_of(connection).ask("SELECT 1", ())
        driver_of(connection).run(ADD, [("a", "1")])

    database.write(work)
    assert names(database) == ["a"]


def test_who_may_only_read_is_refused_at_once(database: Database) -> None:
    with database.read() as connection, pytest.raises(DBAPIError, match="read-only"):
        driver_of(connection).run(ADD, [("a", "1")])


def test_an_exchange_that_is_broken_off_ends_its_connection(database: Database, url: str) -> None:
    """Otherwise the next question would get the answer to this one."""

    class StopError(Exception):
        pass

    def interrupt(*_told: object) -> None:
        raise StopError

    def interrupt_who_sleeps(pid: int) -> None:
        with psycopg.connect(url.replace("+psycopg", ""), autocommit=True) as watching:
            asleep = "SELECT count(*) FROM pg_stat_activity WHERE pid = %s AND wait_event = 'PgSleep'"
            while not watching.execute(asleep, [pid]).fetchall()[0][0]:
                time.sleep(0.01)
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGALRM)

    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        with database.read() as connection:
            driver = driver_of(connection)
            watcher = threading.Thread(target=interrupt_who_sleeps, args=driver.rows("SELECT pg_backend_pid()", ())[0])
            watcher.start()
            with pytest.raises(StopError):
                driver.rows("SELECT pg_sleep($1)", [50.0])
            assert driver.closed
            watcher.join()
    finally:
        signal.signal(signal.SIGALRM, before)
    with database.read() as connection:
        assert driver_of(connection).rows("SELECT 1", ()) == [(1,)]


def test_a_transaction_is_gone_when_its_work_failed(database: Database) -> None:
    def work(connection: Connection) -> None:
        driver_of(connection).run(ADD, [("a", "1")])
        raise LookupError

    with pytest.raises(LookupError):
        database.write(work)
    assert names(database) == []


def test_a_connection_that_is_closed_does_not_pass_the_check(database: Database) -> None:
    with database.read() as connection:
        driver = driver_of(connection)
        driver.check()
        driver.close()
        with pytest.raises(psycopg.OperationalError):
            driver.check()
