"""Tables by steps and tables at once are the same, on both databases; data survive; what is too new is refused."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Connection, create_engine, inspect, text, update

from tests.postgresql import PostgresqlServer
from xds.store import migrations, settings
from xds.store.database import Database, SchemaError, open_database
from xds.store.migrations import COMPATIBLE_WITH, SCHEMA_VERSION, current_version, migrate

#: What differs between the ways to make tables, in the catalogue of each database.
SQLITE_CATALOGUE = ("SELECT type, name, sql FROM sqlite_master WHERE name NOT LIKE 'schema\\_%' ESCAPE '\\' ORDER BY name",)
POSTGRESQL_CATALOGUE = (
    "SELECT c.relname, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull, l.collname, pg_get_expr(d.adbin, d.adrelid)"
    " FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace"
    " LEFT JOIN pg_collation l ON l.oid = a.attcollation LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum"
    " WHERE n.nspname = 'public' AND a.attnum > 0 AND c.relname NOT LIKE 'schema%' ORDER BY 1, a.attnum",
    "SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = 'public' AND indexname NOT LIKE 'schema%' ORDER BY 1",
    "SELECT conname, pg_get_constraintdef(oid) FROM pg_constraint WHERE conrelid <> 0 AND conname NOT LIKE 'schema%' ORDER BY 1",
)
NEXT_STEP = """
import sqlalchemy as sa
from alembic import op

revision = "{revision}"
down_revision = "{before}"


def upgrade() -> None:
    with op.batch_alter_table("setting") as table:
        table.add_column(sa.Column("changed", sa.BigInteger(), nullable=False, server_default="7"))
"""


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgresql)])
def new_url(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], str]:
    """Makes databases without tables."""
    if request.param == "sqlite":
        numbers = itertools.count()
        return lambda: f"sqlite:///{tmp_path / str(next(numbers))}.sqlite"
    server: PostgresqlServer = request.getfixturevalue("postgresql_server")
    return server.create_database


@pytest.fixture
def empty_url(new_url: Callable[[], str]) -> str:
    return new_url()


@pytest.fixture
def empty(empty_url: str) -> Iterator[Database]:
    database = open_database(empty_url)
    yield database
    database.close()


def step_by_step(connection: Connection) -> None:
    """Make the tables by the steps alone."""
    migrations._run(connection, None, SCHEMA_VERSION, ())
    migrations._note_compatibility(connection)


def catalogue(url: str) -> list[list[tuple[Any, ...]]]:
    engine = create_engine(url)
    try:
        with engine.connect() as connection:
            statements = SQLITE_CATALOGUE if engine.dialect.name == "sqlite" else POSTGRESQL_CATALOGUE
            found = [[tuple(row) for row in connection.execute(text(statement))] for statement in statements]
    finally:
        engine.dispose()
    return found


def differences(url: str) -> list[Any]:
    """What alembic would change to reach today's tables."""
    engine = create_engine(url)
    options = {"compare_type": True, "include_name": lambda name, _kind, _parents: not (name or "").startswith("schema_")}
    try:
        with engine.connect() as connection:
            return list(compare_metadata(MigrationContext.configure(connection, opts=options), migrations.tables()))
    finally:
        engine.dispose()


def test_steps_lead_to_todays_tables(empty: Database, empty_url: str, new_url: Callable[[], str]) -> None:
    empty.write(step_by_step)
    at_once = new_url()
    other = open_database(at_once)
    other.create_schema()
    other.close()
    assert catalogue(empty_url) == catalogue(at_once), 'run: python -m xds.store.migrations "what changed"'
    assert differences(empty_url) == []
    assert differences(at_once) == []


def test_a_new_database_has_todays_version(empty: Database) -> None:
    assert empty.write(migrate) == (None, SCHEMA_VERSION)
    assert empty.write(migrate) == (SCHEMA_VERSION, SCHEMA_VERSION)
    with empty.read() as connection:
        assert current_version(connection) == SCHEMA_VERSION


def test_data_survive_the_next_step(empty: Database, tmp_path: Path) -> None:
    empty.write(step_by_step)
    empty.write(lambda connection: settings.get_or_create(connection, "oid", lambda: "1.2.3"))
    steps = tmp_path / "steps"
    steps.mkdir()
    following = SCHEMA_VERSION + 1
    text_of_step = NEXT_STEP.format(revision=migrations.revision(following), before=migrations.revision(SCHEMA_VERSION))
    (steps / "next.py").write_text(text_of_step)
    assert empty.write(lambda connection: migrate(connection, following, [steps])) == (SCHEMA_VERSION, following)
    with empty.read() as connection:
        assert current_version(connection) == following
        assert connection.execute(text("SELECT name, value, changed FROM setting")).all() == [("oid", "1.2.3", 7)]


def test_a_step_that_fails_changes_nothing(empty: Database, tmp_path: Path) -> None:
    empty.create_schema()
    steps = tmp_path / "steps"
    steps.mkdir()
    following = SCHEMA_VERSION + 1
    text_of_step = NEXT_STEP.format(revision=migrations.revision(following), before=migrations.revision(SCHEMA_VERSION))
    (steps / "next.py").write_text(f'{text_of_step}    raise LookupError("halfway")\n')
    with pytest.raises(LookupError, match="halfway"):
        empty.write(lambda connection: migrate(connection, following, [steps]))
    with empty.read() as connection:
        assert current_version(connection) == SCHEMA_VERSION
        assert [column["name"] for column in inspect(connection).get_columns("setting")] == ["name", "value"]


def set_version(database: Database, version: int, compatible_with: int) -> None:
    def work(connection: Connection) -> None:
        connection.execute(update(migrations._revision).values(version_num=migrations.revision(version)))
        connection.execute(update(migrations._compatibility).values(oldest=compatible_with))

    database.write(work)


def test_a_newer_database_is_used_while_it_is_compatible(empty: Database) -> None:
    empty.create_schema()
    set_version(empty, SCHEMA_VERSION + 3, SCHEMA_VERSION)
    assert empty.write(migrate) == (SCHEMA_VERSION + 3, SCHEMA_VERSION + 3)


def test_a_newer_database_that_is_not_compatible_is_refused_in_words(empty: Database) -> None:
    empty.create_schema()
    set_version(empty, SCHEMA_VERSION + 3, SCHEMA_VERSION + 2)
    with pytest.raises(SchemaError, match=f"version {SCHEMA_VERSION + 3} .* version {SCHEMA_VERSION + 2} or later"):
        empty.create_schema()


def test_there_is_no_way_back(empty: Database) -> None:
    empty.create_schema()
    set_version(empty, SCHEMA_VERSION + 1, COMPATIBLE_WITH)
    with pytest.raises(SchemaError, match="no way back"):
        empty.write(lambda connection: migrate(connection, SCHEMA_VERSION - 1))


def test_tables_of_unknown_origin_are_refused(empty: Database) -> None:
    empty.write(lambda connection: migrations.tables().create_all(connection))
    with pytest.raises(SchemaError, match="older than the first release"):
        empty.create_schema()


@pytest.mark.postgresql
def test_two_nodes_that_start_together_make_the_tables_once(postgresql_server: PostgresqlServer) -> None:
    url = postgresql_server.create_database()
    databases = [open_database(url) for _ in range(4)]
    try:
        with ThreadPoolExecutor(4) as pool:
            outcomes = list(pool.map(lambda database: database.write(migrate), databases))
    finally:
        for database in databases:
            database.close()
    assert sorted(outcomes, key=str) == [(SCHEMA_VERSION, SCHEMA_VERSION)] * 3 + [(None, SCHEMA_VERSION)]


def test_steps_as_sql_make_the_same_tables(empty: Database, empty_url: str, tmp_path: Path) -> None:
    kind = empty_url.partition(":")[0].partition("+")[0]
    script = migrations.script(kind, None)
    engine = create_engine(empty_url)
    try:
        with engine.begin() as connection:
            for statement in script.split(";\n"):
                if statement.strip():
                    connection.exec_driver_sql(statement)
    finally:
        engine.dispose()
    assert empty.write(migrate) == (SCHEMA_VERSION, SCHEMA_VERSION)
    assert differences(empty_url) == []
