"""Which associations follow an object to its new version.

Spec: ITI TF-2 3.57.4.1.3.3 (AssociationPropagation).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from xds.model.fragments import ObjectKind
from xds.model.known import KnownAssociation, KnownObject, UpdateSurroundings
from xds.model.vocabulary import AssociationType, AvailabilityStatus
from xds.rules.submission.message import RELATIONSHIPS
from xds.rules.update.operations import Operations, VersionUpdate


@dataclass(frozen=True, slots=True)
class Propagated:
    """A registered association that is to exist between new versions, too: its ends are ids of the request or entryUUIDs."""

    original: KnownAssociation
    source: str
    target: str


def is_changeable(association: KnownAssociation) -> bool:
    """True for memberships of Folders and relationships of DocumentEntries: they have a status and follow their objects."""
    if association.type == AssociationType.HAS_MEMBER:
        return association.source.kind is ObjectKind.FOLDER
    return association.type in RELATIONSHIPS


def propagated(operations: Operations, met: UpdateSurroundings) -> Sequence[Propagated]:
    """The associations that follow, each once, also when both of its ends get new versions.

    What led to a version that is superseded already, to a Deprecated Folder, or to an object whose update says no, does not.
    """
    updates = {
        newest.id: update
        for update in operations.versions
        if update.obj.lid and (newest := met.newest.get(update.obj.lid)) is not None
    }
    found = []
    for link in met.links:
        if not is_changeable(link) or link.status is not AvailabilityStatus.APPROVED:
            continue
        source, target = _end(link.source, updates), _end(link.target, updates)
        if source is None or target is None or (source, target) == (link.source.id, link.target.id):
            continue
        found.append(Propagated(link, source, target))
    return found


def _end(end: KnownObject, updates: dict[str, VersionUpdate]) -> str | None:
    """What that end of the new association is; None when the association must not follow."""
    update = updates.get(end.id)
    if update is not None:
        return update.obj.id if update.propagates else None
    gone = end.superseded or (end.kind is ObjectKind.FOLDER and end.status is AvailabilityStatus.DEPRECATED)
    return None if gone else end.id
