"""Values that are generated once and then kept: the domain's own OIDs when the configuration names none."""

from __future__ import annotations

from collections.abc import Callable

from sqlalchemy import Connection, insert, select

from xds.store.schema.operations import setting


def get_or_create(connection: Connection, name: str, make: Callable[[], str]) -> str:
    """The kept value of that name; the first time, `make()` makes it."""
    value = connection.execute(select(setting.c.value).where(setting.c.name == name)).scalar_one_or_none()
    if value is None:
        value = make()
        connection.execute(insert(setting).values(name=name, value=value))
    return value
