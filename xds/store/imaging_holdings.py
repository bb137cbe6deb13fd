"""Which instances are held, whatever their study: what a sender that wants to delete its copies asks."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection, select

from xds.store.schema.imaging import imaging_instance

_AT_ONCE = 500


def holdings(connection: Connection, sop_instance_uids: Sequence[str]) -> dict[str, tuple[str, str]]:
    """SOP Class UID and blob of those that are held here, by their SOP Instance UIDs."""
    columns = imaging_instance.c
    found: dict[str, tuple[str, str]] = {}
    for start in range(0, len(sop_instance_uids), _AT_ONCE):
        some = sop_instance_uids[start : start + _AT_ONCE]
        statement = select(columns.sop_instance_uid, columns.sop_class_uid, columns.blob)
        held = statement.where(columns.sop_instance_uid.in_(some), columns.blob.is_not(None))
        found.update((uid, (sop_class, blob)) for uid, sop_class, blob in connection.execute(held))
    return found
