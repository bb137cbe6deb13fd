"""A PostgreSQL server that goes away under load and comes back: clean refusals meanwhile, and nobody has to help afterwards."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator

import pytest
from sqlalchemy import Connection, insert, select

from tests.ports import port_of_nobody
from tests.postgresql import PostgresqlServer, program_directory
from xds.store.database import Database, DatabaseFullError, DatabaseUnavailableError, open_database
from xds.store.schema.operations import setting

pytestmark = pytest.mark.postgresql


@pytest.fixture
def server(postgresql_server: PostgresqlServer) -> Iterator[PostgresqlServer]:
    """A server that may be stopped: not the one of the other tests."""
    programs = program_directory()
    assert programs is not None
    with PostgresqlServer(programs) as own:
        yield own


@pytest.fixture
def database(server: PostgresqlServer) -> Iterator[Database]:
    opened = open_database(server.url())
    opened.create_schema()
    yield opened
    opened.close()


def put(name: str) -> Callable[[Connection], str]:
    def work(connection: Connection) -> str:
        connection.execute(insert(setting).values(name=name, value="x"))
        return name

    return work


def names(database: Database) -> set[str]:
    with database.read() as connection:
        return set(connection.execute(select(setting.c.name)).scalars())


class Load:
    """Threads that write and read until they are told to stop, and what became of it."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._stop = threading.Event()
        self.acknowledged: set[str] = set()
        self.refused = 0
        self.others: list[BaseException] = []
        self._threads = [threading.Thread(target=self._run, args=(number,)) for number in range(4)]

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _run(self, thread: int) -> None:
        number = 0
        while not self._stop.is_set():
            number += 1
            try:
                self.acknowledged.add(self._database.write(put(f"{thread}-{number}")))
                names(self._database)
            except DatabaseUnavailableError:
                self.refused += 1
                time.sleep(0.01)
            except BaseException as error:
                self.others.append(error)


def wait_until(condition: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGQUIT], ids=["shut down", "crash"])
def test_a_server_that_restarts_under_load(server: PostgresqlServer, database: Database, how: signal.Signals) -> None:
    with Load(database) as load:
        wait_until(lambda: len(load.acknowledged) > 20)
        server.stop(how)
        wait_until(lambda: load.refused > 4)
        server.start()
        before = len(load.acknowledged)
        wait_until(lambda: len(load.acknowledged) > before + 20)
    assert load.others == []
    assert load.acknowledged <= names(database)


def test_connections_that_died_while_nobody_used_them_cost_no_request(server: PostgresqlServer, database: Database) -> None:
    database.write(put("before"))
    server.stop()
    server.start()
    assert names(database) == {"before"}
    assert database.write(put("after")) == "after"


def test_what_was_to_be_written_later_waits_for_the_server(server: PostgresqlServer, database: Database) -> None:
    database.write(put("before"))
    server.stop()
    for number in range(10):
        database.write_later(put(f"later {number}"))
    with pytest.raises(DatabaseUnavailableError):
        database.write(put("refused"))
    server.start()
    database.flush()
    assert names(database) == {"before", *(f"later {number}" for number in range(10))}


def test_an_absent_server_is_told_in_words_without_the_password(server: PostgresqlServer) -> None:
    with port_of_nobody() as port:
        absent = open_database(f"postgresql://xds:secret@127.0.0.1:{port}/xds")
        try:
            with pytest.raises(DatabaseUnavailableError, match="refused") as raised, absent.read():
                pass
            assert "secret" not in str(raised.value)
            with pytest.raises(DatabaseUnavailableError):
                absent.create_schema()
        finally:
            absent.close()


def test_a_connection_that_is_ended_in_the_middle_is_taken_up_again(server: PostgresqlServer, database: Database) -> None:
    attempts = []

    def work(connection: Connection) -> str:
        attempts.append(connection.exec_driver_sql("SELECT pg_backend_pid()").scalar_one())
        if len(attempts) == 1:
            server.execute(f"SELECT pg_terminate_backend({attempts[0]}, 60000)")
        return put("a")(connection)

    assert database.write(work) == "a"
    assert len(set(attempts)) == 2
    assert names(database) == {"a"}


def test_a_lock_that_nobody_gives_back_is_refused_in_time(server: PostgresqlServer, database: Database) -> None:
    database.write(put("a"))

    def impatient(connection: Connection) -> None:
        connection.exec_driver_sql("SET LOCAL lock_timeout = '50ms'")
        connection.execute(select(setting).with_for_update()).all()

    def hold(connection: Connection) -> None:
        connection.execute(select(setting).with_for_update()).all()
        with pytest.raises(DatabaseUnavailableError, match="LockNotAvailable"):
            other.write(impatient)

    other = open_database(server.url())
    try:
        database.write(hold)
    finally:
        other.close()


def test_a_server_without_space_says_so(database: Database) -> None:
    def fill(connection: Connection) -> None:
        connection.exec_driver_sql("DO $$ BEGIN RAISE EXCEPTION 'could not extend file' USING ERRCODE = 'disk_full'; END $$")

    with pytest.raises(DatabaseFullError):
        database.write(fill)
    assert database.write(put("a")) == "a"
