"""Write the step from the tables of the existing steps to those of `xds.store.schema`: `python -m xds.store.migrations "words"`.

Until a release, the first step is made anew: remove it from `versions`, then run this with "first release".
What it writes must be read, and completed where data have to move.
"""

from __future__ import annotations

import re
import sys
import tempfile
from pathlib import Path
from typing import Any, Literal

from alembic.autogenerate import produce_migrations, render_python_code
from alembic.operations.ops import UpgradeOps
from alembic.runtime.migration import MigrationContext
from sqlalchemy import create_engine

from xds.store import schema
from xds.store.migrations import DIRECTORY, migrate, revision, scripts, tables

_MODULE = '''"""{words}."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "{revision}"
down_revision = {before}
branch_labels = None
depends_on = None

KEY = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    """Older tables become those of version {version}."""
    {body}
'''


def _render(kind: str, item: Any, _context: Any) -> str | Literal[False]:
    if kind == "type" and item is schema.Text:
        return "TEXT"
    if kind == "type" and item is schema.Key:
        return "KEY"
    return False


def write(words: str) -> Path:
    """Write the next step and return its path."""
    before = len(list(scripts().walk_revisions()))
    with tempfile.TemporaryDirectory() as directory:
        engine = create_engine(f"sqlite:///{directory}/steps.sqlite")
        try:
            with engine.begin() as connection:
                if before:
                    migrate(connection, before)
                context = MigrationContext.configure(connection, opts={"compare_type": True})
                operations = produce_migrations(context, tables()).upgrade_ops
        finally:
            engine.dispose()
    assert isinstance(operations, UpgradeOps)
    body = render_python_code(operations, render_as_batch=before > 0, render_item=_render)
    # What alembic writes around its statements says nothing that the docstring does not.
    body = "\n".join(line for line in body.splitlines() if not line.lstrip().startswith("# ###")).strip()
    name = re.sub(r"\W+", "_", words.lower()).strip("_")
    path = DIRECTORY / "versions" / f"r{revision(before + 1)}_{name}.py"
    parent = repr(revision(before)) if before else "None"
    text = _MODULE.format(
        words=words[0].upper() + words[1:], revision=revision(before + 1), before=parent, version=before + 1, body=body
    )
    path.write_text(text)
    return path


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit('usage: python -m xds.store.migrations "what the step does"')
    print(write(sys.argv[1]))
