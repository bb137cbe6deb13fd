"""Several writes of one thread as one transaction: all durable, or none."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Connection, insert, select, text
from sqlalchemy.exc import DBAPIError

from tests.databases import fresh_database
from xds.store.database import Database, DatabaseClosedError
from xds.store.schema.operations import setting

pytestmark = pytest.mark.usefixtures("back_end")


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    opened = fresh_database(tmp_path)
    yield opened
    opened.close()


def put(connection: Connection, name: str) -> str:
    connection.execute(insert(setting).values(name=name, value="x"))
    return name


def names(database: Database) -> list[str]:
    with database.read() as connection:
        return list(connection.execute(select(setting.c.name).order_by(setting.c.name)).scalars())


def nothing(_connection: Connection, _result: object) -> None:
    """Concludes with nothing."""


def test_everything_is_durable_together_and_not_before(database: Database) -> None:
    seen: list[list[str]] = []

    def body() -> str:
        result = database.write(lambda connection: put(connection, "a"))
        database.write_later(lambda connection: put(connection, "b"))
        seen.append(names(database))
        return result

    assert database.together(body, lambda connection, result: put(connection, f"after {result}")) == "a"
    assert seen == [[]]
    assert names(database) == ["a", "after a", "b"]


@pytest.mark.parametrize("where", ["body", "conclude"])
def test_a_failure_undoes_everything(database: Database, where: str) -> None:
    def fail(*_: object) -> None:
        raise ValueError(where)

    def body() -> None:
        database.write(lambda connection: put(connection, "a"))
        if where == "body":
            fail()

    with pytest.raises(ValueError, match=where):
        database.together(body, fail)
    assert names(database) == []
    database.write(lambda connection: put(connection, "next"))
    assert names(database) == ["next"]


def test_a_piece_that_raises_is_undone_alone(database: Database) -> None:
    def refuse(connection: Connection) -> None:
        put(connection, "refused")
        raise ValueError("no")

    def body() -> None:
        database.write(lambda connection: put(connection, "a"))
        with pytest.raises(ValueError, match="no"):
            database.write(refuse)

    database.together(body, lambda connection, _: put(connection, "b"))
    assert names(database) == ["a", "b"]


def test_after_an_error_of_the_database_nothing_is_kept(database: Database) -> None:
    def body() -> None:
        database.write(lambda connection: put(connection, "a"))
        with pytest.raises(DBAPIError):
            database.write(lambda connection: connection.execute(text("SELECT nonsense FROM nowhere")))

    with pytest.raises(DBAPIError):
        database.together(body, lambda connection, _: put(connection, "b"))
    assert names(database) == []


def test_without_a_write_only_the_conclusion_is_written(database: Database) -> None:
    database.together(lambda: None, lambda connection, _: put(connection, "end"))
    assert names(database) == ["end"]


def test_what_follows_a_commit_waits_for_it(database: Database) -> None:
    done: list[list[str]] = []

    def body() -> None:
        database.write(lambda connection: put(connection, "a"))
        database.when_durable(lambda: done.append(names(database)))

    database.together(body, nothing)
    assert done == [["a"]]
    database.when_durable(lambda: done.append([]))
    assert done == [["a"], []]
    with pytest.raises(ValueError, match="no"):
        database.together(lambda: database.when_durable(lambda: done.append([])), lambda *_: int("no"))
    assert len(done) == 2


def test_others_write_before_and_after(database: Database) -> None:
    begun, release = threading.Event(), threading.Event()

    def body() -> None:
        database.write(lambda connection: put(connection, "mine"))
        begun.set()
        assert release.wait(60)

    def others() -> None:
        assert begun.wait(60)
        release.set()
        database.write(lambda connection: put(connection, "theirs"))

    thread = threading.Thread(target=others)
    thread.start()
    database.together(body, nothing)
    thread.join(60)
    assert names(database) == ["mine", "theirs"]


def test_it_is_not_nested_and_not_begun_after_close(database: Database) -> None:
    with pytest.raises(RuntimeError, match="another transaction"):
        database.together(lambda: database.together(lambda: None, nothing), nothing)
    database.close()
    with pytest.raises(DatabaseClosedError):
        database.together(lambda: None, nothing)


def test_what_is_begun_ends_while_its_caller_does_something_else(database: Database) -> None:
    begun = database.begin_write(lambda connection: put(connection, "begun"))
    assert database.write(lambda connection: put(connection, "meanwhile")) == "meanwhile"
    assert begun.result(60) == "begun"
    assert names(database) == ["begun", "meanwhile"]
    with pytest.raises(ZeroDivisionError):
        database.begin_write(lambda _connection: 1 // len(())).result(60)
    with pytest.raises(RuntimeError, match="another transaction"):
        database.together(lambda: database.begin_write(lambda connection: put(connection, "inside")), nothing)
    database.close()
    with pytest.raises(DatabaseClosedError):
        database.begin_write(lambda connection: put(connection, "late"))
