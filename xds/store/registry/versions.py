"""Versions of one logical object. A first version has no logicalID of its own in the database: it is its entryUUID."""

from __future__ import annotations

from typing import Any

from sqlalchemy import BindParameter, ColumnElement, FromClause, and_, func, or_

from xds.store.schema.registry import registry_object


def logical_id(locator: FromClause = registry_object) -> ColumnElement[bytes]:
    """The logicalID of a row of `registry_object`."""
    found: ColumnElement[bytes] = func.coalesce(locator.c.logical_id, locator.c.entry_uuid)
    return found


def is_version_of(wanted: BindParameter[Any]) -> ColumnElement[bool]:
    """Whether a row of `registry_object` is a version of one of these (an expanding parameter), in a form that indexes serve."""
    row = registry_object.c
    return or_(row.logical_id.in_(wanted), and_(row.entry_uuid.in_(wanted), row.logical_id.is_(None)))
