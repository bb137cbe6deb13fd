"""Prepared statements: the same answers and the same errors on every database, whoever runs them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Connection, and_, bindparam, select
from sqlalchemy.exc import IntegrityError

from tests.databases import fresh_database
from xds.store.database import Database
from xds.store.schema.registry import code
from xds.store.statements import Prepared, prepared_insert

pytestmark = pytest.mark.usefixtures("back_end")

ADD = prepared_insert(code, "code", "scheme")
BY_SCHEME = Prepared(select(code.c.code).where(code.c.scheme == bindparam("scheme")).order_by(code.c.code))
BY_CODES = Prepared(
    select(code.c.code)
    .where(and_(code.c.code.in_(bindparam("codes", expanding=True)), code.c.scheme == bindparam("scheme")))
    .order_by(code.c.code)
)
#: Values that stand in the statement itself, alone and as a list.
FIXED = Prepared(
    select(code.c.code)
    .where(code.c.scheme == "1.2", code.c.code.in_(("a", "b")), code.c.code.in_(bindparam("codes", expanding=True)))
    .order_by(code.c.code)
    .limit(bindparam("limit"))
)


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    opened = fresh_database(tmp_path)
    opened.write(lambda connection: ADD.run(connection, [{"code": text, "scheme": "1.2"} for text in "abc"]))
    yield opened
    opened.close()


def texts(prepared: Prepared, connection: Connection, **values: object) -> list[str]:
    return [row[0] for row in prepared.rows(connection, values)]


def test_values_are_bound_by_name(database: Database) -> None:
    with database.read() as connection:
        assert texts(BY_SCHEME, connection, scheme="1.2") == ["a", "b", "c"]
        assert texts(BY_SCHEME, connection, scheme="'; DROP TABLE code; --") == []
        assert BY_SCHEME.row(connection, {"scheme": "1.2"}) == ("a",)
        assert BY_SCHEME.row(connection, {"scheme": "1.3"}) is None


@pytest.mark.parametrize("codes", [[], ["b"], ["b", "c", "z"], ["a"] * 200])
def test_lists_have_any_length(database: Database, codes: list[str]) -> None:
    with database.read() as connection:
        assert texts(BY_CODES, connection, codes=codes, scheme="1.2") == sorted({"a", "b", "c"} & set(codes))
        assert texts(BY_CODES, connection, codes=codes, scheme="1.3") == []


def test_values_of_the_statement_itself_stay(database: Database) -> None:
    with database.read() as connection:
        assert texts(FIXED, connection, codes=["b", "c"], limit=5) == ["b"]
        assert texts(FIXED, connection, codes=["a", "b", "c"], limit=1) == ["a"]


def test_errors_are_those_of_sqlalchemy(database: Database) -> None:
    """A uniqueness that is broken undoes the transaction."""

    def work(connection: Connection) -> None:
        for text in ("new", "a"):
            ADD.run(connection, [{"code": text, "scheme": "1.2"}])

    with pytest.raises(IntegrityError):
        database.write(work)
    with database.read() as connection:
        assert texts(BY_SCHEME, connection, scheme="1.2") == ["a", "b", "c"]


def test_a_reader_sees_one_snapshot(database: Database) -> None:
    with database.read() as connection:
        before = texts(BY_SCHEME, connection, scheme="1.2")
        database.write(lambda writing: ADD.run(writing, [{"code": "later", "scheme": "1.2"}]))
        assert texts(BY_SCHEME, connection, scheme="1.2") == before
        assert [row[0] for row in connection.execute(select(code.c.code).order_by(code.c.code))] == before
    with database.read() as connection:
        assert texts(BY_SCHEME, connection, scheme="1.2") == [*before, "later"]
