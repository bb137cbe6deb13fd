"""What the newest version of a DocumentEntry says, for decisions about an older one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from sqlalchemy import BindParameter, and_, bindparam, select

from xds.store.database import Connection
from xds.store.registry.objects import SUPERSEDED, StoredEntry, StoredObject
from xds.store.registry.versions import logical_id
from xds.store.schema.registry import document_entry, registry_object
from xds.store.statements import Prepared

#: Keys of one statement at most; the databases limit the number of parameters.
_KEYS_PER_STATEMENT: Final = 1000


def with_newest_codes(connection: Connection, found: Sequence[StoredObject]) -> list[StoredObject]:
    """The objects in their order; DocumentEntries that a newer version superseded have its confidentiality and classCode."""
    old = [item.key for item in found if item.superseded]
    if not old:
        return list(found)
    newest: dict[int, tuple[str, int | None]] = {}
    for start in range(0, len(old), _KEYS_PER_STATEMENT):
        for key, confidentiality, class_code in _NEWEST.rows(connection, {"wanted": old[start : start + _KEYS_PER_STATEMENT]}):
            newest[key] = (confidentiality, class_code)
    return [
        item.with_codes(*newest[item.key]) if isinstance(item, StoredEntry) and item.key in newest else item for item in found
    ]


_older = registry_object.alias("older")
_WANTED: Final[BindParameter[Any]] = bindparam("wanted", expanding=True)
_SAME: Final = and_(
    document_entry.c.patient_key == registry_object.c.patient_key, document_entry.c.object_key == registry_object.c.object_key
)
_NEWEST: Final = Prepared(
    select(_older.c.object_key, document_entry.c.confidentiality, document_entry.c.class_code)
    # What superseded it is a later version, which names its logicalID.
    .join(registry_object, registry_object.c.logical_id == logical_id(_older))
    .join(document_entry, _SAME)
    .where(_older.c.object_key.in_(_WANTED), document_entry.c.deprecated != SUPERSEDED)
)
