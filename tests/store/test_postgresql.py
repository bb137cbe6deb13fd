"""PostgreSQL as a database of this software: durability, isolation, collisions, and turns that are taken."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import Connection, insert, select, text
from sqlalchemy.exc import IntegrityError
from structlog.testing import capture_logs

from tests.databases import UrlOf
from tests.postgresql import PostgresqlServer
from xds.store import dialects, jobs, locks
from xds.store.database import Database, DatabaseClosedError, DatabaseUnavailableError, SchemaError, open_database
from xds.store.schema.operations import setting
from xds.store.schema.registry import registry_object

pytestmark = pytest.mark.postgresql


@pytest.fixture
def url(postgresql_urls: UrlOf, tmp_path: Path) -> str:
    return postgresql_urls(tmp_path)


@pytest.fixture
def database(url: str) -> Iterator[Database]:
    opened = open_database(url)
    opened.create_schema()
    yield opened
    opened.close()


@pytest.fixture
def other(url: str, database: Database) -> Iterator[Database]:
    """The same database, as another node sees it."""
    opened = open_database(url)
    yield opened
    opened.close()


def put(name: str, value: str = "x") -> Callable[[Connection], str]:
    def work(connection: Connection) -> str:
        connection.execute(insert(setting).values(name=name, value=value))
        return name

    return work


def names(database: Database) -> list[str]:
    with database.read() as connection:
        return list(connection.execute(select(setting.c.name).order_by(setting.c.name)).scalars())


def test_a_write_returns_its_result_and_is_there_for_another_node(database: Database, other: Database) -> None:
    assert database.write(put("a")) == "a"
    assert names(other) == ["a"]


def test_a_failing_piece_of_work_leaves_nothing(database: Database) -> None:
    def spoil(connection: Connection) -> None:
        put("lost")(connection)
        raise LookupError("mine")

    with pytest.raises(LookupError, match="mine"):
        database.write(spoil)
    assert database.write(put("kept")) == "kept"
    assert names(database) == ["kept"]


def test_what_collides_in_earnest_reaches_the_caller(database: Database) -> None:
    database.write(put("a"))
    with pytest.raises(IntegrityError):
        database.write(put("a"))
    assert database.write(put("b")) == "b"


def test_a_reader_sees_one_snapshot_and_cannot_write(database: Database) -> None:
    database.write(put("a"))
    with database.read() as connection:
        before = connection.execute(select(setting.c.name)).scalars().all()
        database.write(put("b"))
        assert connection.execute(select(setting.c.name)).scalars().all() == before == ["a"]
    with pytest.raises(DatabaseUnavailableError, match="ReadOnly"), database.read() as connection:
        put("c")(connection)
    assert names(database) == ["a", "b"]


def test_commits_are_durable_whatever_the_server_is_configured_to(url: str, database: Database) -> None:
    name = url.rpartition("/")[2]
    database.write(lambda connection: connection.exec_driver_sql(f"ALTER DATABASE {name} SET synchronous_commit = off"))
    again = open_database(url)
    try:
        show = "SHOW synchronous_commit"
        assert again.write(lambda connection: connection.exec_driver_sql(show).scalar_one()) == "on"
    finally:
        again.close()
        database.write(lambda connection: connection.exec_driver_sql(f"ALTER DATABASE {name} RESET synchronous_commit"))


def test_a_value_that_two_make_at_once_is_made_once(database: Database, other: Database) -> None:
    """The second collides with the first, is run again, and then sees what the first one left."""
    barrier = threading.Barrier(2)
    attempts = []

    def get_or_make(maker: str) -> Callable[[Connection], str]:
        def work(connection: Connection) -> str:
            found = connection.execute(select(setting.c.value).where(setting.c.name == "a")).scalar_one_or_none()
            attempts.append(maker)
            if len(attempts) <= 2:
                barrier.wait(60)
            if found is None:
                put("a", maker)(connection)
                return maker
            return str(found)

        return work

    with ThreadPoolExecutor(2) as pool:
        one, two = pool.submit(database.write, get_or_make("one")), pool.submit(other.write, get_or_make("two"))
        assert one.result(60) == two.result(60)
    assert len(attempts) == 3


def test_transactions_that_wait_for_each_other_both_succeed(database: Database, other: Database) -> None:
    for name in ("a", "b"):
        database.write(put(name, "0"))
    barrier = threading.Barrier(2)
    attempts = []

    def both(first: str, second: str) -> Callable[[Connection], None]:
        statement = text("UPDATE setting SET value = (CAST(value AS integer) + 1)::text WHERE name = :name")

        def work(connection: Connection) -> None:
            attempts.append(first)
            connection.execute(statement, {"name": first})
            if len(attempts) <= 2:
                barrier.wait(60)
            connection.execute(statement, {"name": second})

        return work

    with ThreadPoolExecutor(2) as pool:
        done = [pool.submit(database.write, both("a", "b")), pool.submit(other.write, both("b", "a"))]
        for each in done:
            each.result(60)
    with database.read() as connection:
        assert connection.execute(select(setting.c.value)).scalars().all() == ["2", "2"]


@pytest.mark.parametrize("number", [3, 5000])
def test_whoever_holds_names_is_alone_with_them(database: Database, other: Database, number: int) -> None:
    """Also with more names than the server has room for."""
    taken = [f"name {position}" for position in range(number)]
    inside = threading.Event()
    leave = threading.Event()
    order = []

    def hold(connection: Connection) -> None:
        locks.take(connection, taken)
        connection.execute(select(1))
        inside.set()
        leave.wait(60)
        order.append("first")

    def follow(connection: Connection) -> None:
        locks.take(connection, ["name 2"])
        connection.execute(select(1))
        order.append("second")

    def elsewhere(connection: Connection) -> str:
        locks.take(connection, ["another"])
        connection.execute(select(1))
        return "passed"

    with ThreadPoolExecutor(3) as pool:
        first = pool.submit(database.write, hold)
        assert inside.wait(60), first.result(0)
        second = pool.submit(other.write, follow)
        third = pool.submit(other.write, elsewhere)
        if number == 3:
            assert third.result(60) == "passed"
        assert not second.done()
        leave.set()
        for each in (first, second, third):
            each.result(60)
    assert order == ["first", "second"]


def test_keys_are_drawn_once_by_all_nodes(database: Database, other: Database) -> None:
    def draw(number: int) -> list[int]:
        node = (database, other)[number % 2]
        return list(node.write(lambda connection: dialects.next_keys(connection, registry_object.c.object_key, 5)))

    with ThreadPoolExecutor(8) as pool:
        drawn = list(pool.map(draw, range(40)))
    assert all(keys == sorted(keys) for keys in drawn)
    assert len({key for keys in drawn for key in keys}) == 200


def test_workers_of_several_nodes_share_the_jobs(database: Database, other: Database) -> None:
    now = datetime(2026, 1, 2, tzinfo=UTC)
    for number in range(40):
        database.write(lambda connection, number=number: jobs.add(connection, "k", str(number), {}, now))

    def claim(number: int) -> list[str]:
        node = (database, other)[number % 2]
        return [job.key for job in node.write(lambda connection: jobs.claim(connection, now, 5))]

    with ThreadPoolExecutor(8) as pool:
        claimed = [key for keys in pool.map(claim, range(16)) for key in keys]
    assert sorted(claimed, key=int) == [str(number) for number in range(40)]


def test_a_claimed_job_holds_up_no_other_worker(database: Database, other: Database) -> None:
    now = datetime(2026, 1, 2, tzinfo=UTC)
    for key in ("a", "b"):
        database.write(lambda connection, key=key: jobs.add(connection, "k", key, {}, now))
    inside, leave = threading.Event(), threading.Event()

    def slow(connection: Connection) -> str:
        (job,) = jobs.claim(connection, now, 1)
        inside.set()
        leave.wait(60)
        return job.key

    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(database.write, slow)
        assert inside.wait(60)
        (job,) = other.write(lambda connection: jobs.claim(connection, now, 1))
        leave.set()
        assert (first.result(60), job.key) == ("a", "b")


def test_text_is_sorted_by_code_point(database: Database) -> None:
    for name in ("b", "a", "B", "é", "_"):
        database.write(put(name))
    assert names(database) == sorted(("b", "a", "B", "é", "_"))


def test_what_was_written_later_is_there_after_close(database: Database, other: Database) -> None:
    for number in range(50):
        database.write_later(put(f"{number:02d}"))
    database.close()
    assert len(names(other)) == 50


def test_a_failure_of_later_work_is_logged_and_harms_no_other(database: Database) -> None:
    def fail(_connection: Connection) -> None:
        raise LookupError("Jane Doe")

    with capture_logs() as logs:
        for work in (put("before"), fail, put("after")):
            database.write_later(work)
        database.flush()
    assert names(database) == ["after", "before"]
    assert logs == [{"event": "database.write_later.failed", "error": "LookupError", "log_level": "error"}]


def test_nothing_is_accepted_after_close(database: Database) -> None:
    database.close()
    database.close()
    with pytest.raises(DatabaseClosedError):
        database.write(put("a"))
    with pytest.raises(DatabaseClosedError):
        database.write_later(put("a"))
    with pytest.raises(DatabaseClosedError), database.read():
        pass


def test_work_that_would_wait_for_itself_is_refused(database: Database) -> None:
    with pytest.raises(RuntimeError, match="another transaction"):
        database.write(lambda _connection: database.write(put("a")))
    assert names(database) == []


def test_rows_of_several_tables_go_in_together(database: Database) -> None:
    columns = dialects.Columns(setting, ("name", "value"))
    database.write(lambda connection: dialects.insert_rows(connection, [(columns, [("a", "1"), ("b", "2")])]))
    many = [(f"{number:05}", "x") for number in range(20_000)]
    database.write(lambda connection: dialects.insert_rows(connection, [(columns, many)]))
    assert len(names(database)) == 20_002


def test_a_database_of_another_encoding_is_refused(postgresql_server: PostgresqlServer) -> None:
    name = "latin"
    postgresql_server.execute(f"CREATE DATABASE {name} ENCODING 'SQL_ASCII' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0")
    opened = open_database(postgresql_server.url(name))
    try:
        with pytest.raises(SchemaError, match="encoding UTF8, not SQL_ASCII"):
            opened.create_schema()
    finally:
        opened.close()


def test_sessions_say_who_they_are(database: Database, url: str) -> None:
    with database.read(), psycopg.connect(url.replace("+psycopg", "")) as watching:
        statement = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'xds' AND datname = current_database()"
        found = watching.execute(statement).fetchone()
    assert found is not None
    assert found[0] >= 1
