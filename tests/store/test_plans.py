"""How SQLite goes about the statements of every request when it knows nothing of how much there is: nobody gathers statistics."""

from __future__ import annotations

import importlib
import pkgutil
import re
import sqlite3
from collections.abc import Iterator

import pytest

import xds.store
from xds.store.database import open_database
from xds.store.statements import _SQLITE, Prepared

#: Tables that stay small: what is configured, and work that waits.
SMALL = {"identity_domain"}
#: Columns that the rows of a whole domain, or of a kind, have in common.
COMMON = {"domain_key", "kind", "state", "location", "authority", "status", "event_type", "assigned"}


def prepared() -> Iterator[tuple[str, Prepared]]:
    """Those that stand in modules."""
    for module in pkgutil.walk_packages(xds.store.__path__, "xds.store."):
        if ".migrations" not in module.name:
            for name, value in vars(importlib.import_module(module.name)).items():
                if isinstance(value, Prepared):
                    yield f"{module.name}.{name}", value


STATEMENTS = dict(prepared())


@pytest.fixture(scope="module")
def schema(tmp_path_factory: pytest.TempPathFactory) -> Iterator[sqlite3.Connection]:
    path = tmp_path_factory.mktemp("plans") / "xds.sqlite"
    database = open_database(f"sqlite:///{path}")
    database.create_schema()
    database.close()
    connection = sqlite3.connect(path)
    yield connection
    connection.close()


@pytest.mark.parametrize("name", STATEMENTS)
def test_no_statement_reads_a_whole_table_or_domain(schema: sqlite3.Connection, name: str) -> None:
    statement = STATEMENTS[name]
    text, *_ = statement._text(_SQLITE, *[8] * len(statement._expanding))
    for *_, step in schema.execute(f"EXPLAIN QUERY PLAN {text}", [None] * text.count("?")):
        found = re.match(r"(SCAN|SEARCH) (\w+)(?:[^(]*\((.+)\))?", step)
        # The end of an index is found at once.
        if found is None or found[2] in SMALL or "max(" in text:
            continue
        columns = set(re.findall(r"[a-z_]+", found[3] or ""))
        assert columns - COMMON, step


def test_there_are_such_statements() -> None:
    assert len(STATEMENTS) > 50
