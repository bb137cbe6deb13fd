"""Values that the database remembers: the domain's own OIDs, generated when the configuration never named any."""

from __future__ import annotations

from collections.abc import Callable

from sqlalchemy import Connection, insert, select

from xds.store.dialects import put
from xds.store.schema.operations import setting


def get_or_create(connection: Connection, name: str, make: Callable[[], str]) -> str:
    """The kept value of that name; the first time, `make()` makes it."""
    value = _kept(connection, name)
    if value is None:
        value = make()
        connection.execute(insert(setting).values(name=name, value=value))
    return value


def keep(connection: Connection, name: str, value: str) -> None:
    """Remember a value under that name, instead of what was kept before."""
    if _kept(connection, name) != value:
        put(connection, setting, ("name",), {"name": name, "value": value})


def _kept(connection: Connection, name: str) -> str | None:
    return connection.execute(select(setting.c.value).where(setting.c.name == name)).scalar_one_or_none()
