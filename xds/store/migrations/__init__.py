"""From the tables of an older version to those of this one. One file of `versions` is one step, numbered from 0001.

A new database gets today's tables at once. The number of the last step stands in the table `schema_revision`; beside it
`schema_compatibility` names the oldest version of the tables whose software can still work on these, so that a node may go back
one release, or the nodes of a region may be renewed one after the other.

A step is written by `python -m xds.store.migrations "what it does"`, which compares the tables of the steps with those of
`xds.store.schema`; then raise `SCHEMA_VERSION`, and `COMPATIBLE_WITH` too when older software would fail on the new tables.
"""

from __future__ import annotations

import pkgutil
from collections.abc import Sequence
from importlib import import_module
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import Column, Connection, Integer, MetaData, String, Table, create_mock_engine, delete, insert, inspect, select
from sqlalchemy.schema import CreateTable

from xds.store import locks, schema
from xds.store.schema.operations import setting

if TYPE_CHECKING:
    from alembic.runtime.migration import MigrationContext
    from alembic.script import ScriptDirectory

#: The number of the last step, and the oldest version of the tables whose software can work on them.
SCHEMA_VERSION: Final = 1
COMPATIBLE_WITH: Final = 1

DIRECTORY: Final = Path(__file__).parent
_own: Final = MetaData()
_revision: Final = Table("schema_revision", _own, Column("version_num", String(32), primary_key=True))
_compatibility: Final = Table("schema_compatibility", _own, Column("oldest", Integer, nullable=False))


class SchemaError(RuntimeError):
    """The tables in the database are not for this version of the software. The message tells an operator what to do."""


def revision(version: int) -> str:
    """The name of a step: `0001`."""
    return f"{version:04}"


def current_version(connection: Connection) -> int | None:
    """The version of the tables in a database; None when it has none. Errors: SchemaError for tables of unknown origin."""
    inspector = inspect(connection)
    if not inspector.has_table(_revision.name):
        if inspector.has_table(setting.name):
            raise SchemaError(
                "the tables in the database are older than the first release and cannot be brought up to date: "
                "choose another data directory or database"
            )
        return None
    return int(connection.execute(select(_revision.c.version_num)).scalar_one())


def migrate(connection: Connection, to: int = SCHEMA_VERSION, steps: Sequence[Path] = ()) -> tuple[int | None, int]:
    """Bring the tables up to that version, inside the transaction of `connection`; tell the versions before and after.

    A database of a newer version stays as it is when this software can work on it. `steps` are further folders of steps.
    Errors: SchemaError, and nothing changes, for a database that needs newer software, or for a version before its own.
    """
    if connection.dialect.name == "postgresql":
        # Large tables take their time, and another node may be at it.
        connection.exec_driver_sql("SET LOCAL statement_timeout = 0")
        connection.exec_driver_sql("SET LOCAL lock_timeout = 0")
    locks.take(connection, ("schema",))
    before = current_version(connection)
    if before is None and to == SCHEMA_VERSION:
        _create(connection)
        return None, to
    if before is not None and before > to:
        _check_newer(connection, before, to)
        return before, before
    if before != to:
        _run(connection, before, to, steps)
        _note_compatibility(connection)
    return before, to


def check(connection: Connection) -> None:
    """Errors: SchemaError when this software cannot work on the tables as they are. Nothing is changed."""
    found = current_version(connection)
    remedy = "`xds admin migrate` brings the database up to date"
    if found is None:
        raise SchemaError(f"the database has no tables of this software; {remedy}")
    if found < SCHEMA_VERSION:
        raise SchemaError(f"the tables in the database have version {found}, and this software needs {SCHEMA_VERSION}; {remedy}")
    if found > SCHEMA_VERSION:
        _check_newer(connection, found, SCHEMA_VERSION)


def script(dialect: str, since: int | None, to: int = SCHEMA_VERSION) -> str:
    """The same as SQL for that dialect, to be read and run by a database administrator. `since` None: an empty database.

    Empty when there is nothing to do.
    """
    if since is not None and since >= to:
        return ""
    from alembic.runtime.migration import MigrationContext

    written = StringIO()
    options = {"as_sql": True, "output_buffer": written, "starting_rev": revision(since) if since else None}
    # An engine that is connected to nothing knows the dialect all the same.
    engine: Any = create_mock_engine(f"{dialect}://", lambda *_arguments: None)
    _in_context(MigrationContext.configure(dialect=engine.dialect, opts=_options(to, ()) | options))
    values = insert(_compatibility).values(oldest=COMPATIBLE_WITH).compile(engine, compile_kwargs={"literal_binds": True})
    noted = [] if since else [str(CreateTable(_compatibility).compile(engine)).strip()]
    return ";\n\n".join([written.getvalue().strip().rstrip(";"), *noted, f"DELETE FROM {_compatibility.name}", f"{values};\n"])


def tables() -> MetaData:
    """Today's tables, all of them."""
    for module in pkgutil.iter_modules(schema.__path__):
        import_module(f"{schema.__name__}.{module.name}")
    return schema.metadata


def _create(connection: Connection) -> None:
    tables().create_all(connection)
    _own.create_all(connection)
    connection.execute(insert(_revision).values(version_num=revision(SCHEMA_VERSION)))
    _note_compatibility(connection)


def _note_compatibility(connection: Connection) -> None:
    _compatibility.create(connection, checkfirst=True)
    connection.execute(delete(_compatibility))
    connection.execute(insert(_compatibility).values(oldest=COMPATIBLE_WITH))


def _check_newer(connection: Connection, found: int, wanted: int) -> None:
    if wanted != SCHEMA_VERSION:
        raise SchemaError(f"the database has version {found} of the tables; there is no way back to {wanted}")
    oldest = connection.execute(select(_compatibility.c.oldest)).scalar_one()
    if oldest > SCHEMA_VERSION:
        raise SchemaError(
            f"the database has version {found} of the tables, which needs software for version {oldest} or later; "
            f"this software is for version {SCHEMA_VERSION}: install a newer one"
        )


def _run(connection: Connection, before: int | None, to: int, steps: Sequence[Path]) -> None:
    from alembic.runtime.migration import MigrationContext

    _in_context(MigrationContext.configure(connection, opts=_options(to, steps)))


def _options(to: int, steps: Sequence[Path]) -> dict[str, Any]:
    directory = scripts(steps)

    def upgrade(current: Any, _context: MigrationContext) -> Any:
        return directory._upgrade_revs(revision(to), current)

    return {"version_table": _revision.name, "fn": upgrade, "render_as_batch": True}


def scripts(steps: Sequence[Path] = ()) -> ScriptDirectory:
    """The steps."""
    from alembic.script import ScriptDirectory

    return ScriptDirectory(str(DIRECTORY), version_locations=[str(path) for path in (DIRECTORY / "versions", *steps)])


def _in_context(context: MigrationContext) -> None:
    from alembic.operations import Operations

    with Operations.context(context):
        context.run_migrations()
