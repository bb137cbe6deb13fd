"""What follows DocumentEntries that get new versions under another patient, or under another sourcePatientId.

The framework leaves conflicts to the implementer. Here a document is moved in any case, and what would connect the records of
two patients stays with the version that is superseded: a Folder whose other documents do not move stays where it is without the
one that does, and a relationship with a document that does not move is not carried over.

Spec: ITI TF-2 3.64.4.1.3.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Final

from xds.model.fragments import ObjectKind
from xds.model.known import KnownAssociation, KnownObject
from xds.model.vocabulary import AssociationType, AvailabilityStatus
from xds.rules.update.propagation import is_changeable

#: A replacement has had its effect: the document that was replaced is Deprecated, and stays with the former patient.
_NOT_CARRIED: Final = (AssociationType.RPLC, AssociationType.XFRM_RPLC)


@dataclass(frozen=True, slots=True)
class Following:
    """`folders` get new versions, `carried` exist between the new versions, too, `references` lead to them instead."""

    folders: tuple[KnownObject, ...]
    carried: tuple[KnownAssociation, ...]
    references: tuple[KnownAssociation, ...]


def folders_at(links: Iterable[KnownAssociation]) -> tuple[KnownObject, ...]:
    """The Folders in force that these associations put documents into, each once."""
    found = {item.source.id: item.source for item in links if _is_membership(item)}
    return tuple(found.values())


def following(
    moving: Collection[str],
    links: Iterable[KnownAssociation],
    undivided: Collection[str],
    references: Collection[str],
    patient: int,
) -> Following:
    """What follows the DocumentEntries with the ids `moving`, whose new versions belong to `patient`.

    `links` are the Approved associations at them. `undivided` are ids of Folders whose documents all have the sourcePatientId
    that moves; a Folder that belongs to `patient` already is kept in any case. `references` are the ids of those associations
    by which a SubmissionSet mentions a document that it did not submit.
    """
    known = tuple(links)
    folders = tuple(item for item in folders_at(known) if item.patient_key != patient and item.id in undivided)
    there = {*moving, *(item.id for item in folders)}

    def belongs(end: KnownObject) -> bool:
        return end.id in there or (end.patient_key == patient and not end.superseded)

    carried = [
        item
        for item in known
        if (_is_membership(item) or _is_relationship(item)) and belongs(item.source) and belongs(item.target)
    ]
    return Following(folders, tuple(carried), tuple(item for item in known if item.id in references))


def _is_membership(item: KnownAssociation) -> bool:
    in_force = item.source.status is AvailabilityStatus.APPROVED
    return item.type == AssociationType.HAS_MEMBER and item.source.kind is ObjectKind.FOLDER and in_force


def _is_relationship(item: KnownAssociation) -> bool:
    return item.type != AssociationType.HAS_MEMBER and is_changeable(item) and item.type not in _NOT_CARRIED
