"""When registry objects may be removed: nothing may go on referring to them, and nothing may stay that nothing refers to.

Spec: ITI TF-2 3.62.4.1.3 (Remove Metadata and Documents).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from xds.model.errors import ErrorCode, RegistryError
from xds.model.fragments import ObjectKind
from xds.model.removal import Reference, RemovalSurroundings

_NAMES: Final[Mapping[ObjectKind, str]] = {
    ObjectKind.DOCUMENT_ENTRY: "DocumentEntry",
    ObjectKind.SUBMISSION_SET: "SubmissionSet",
    ObjectKind.FOLDER: "Folder",
    ObjectKind.ASSOCIATION: "Association",
}
#: Associations that one error names; how many there are beside them is told as a number.
_NAMED_IN_AN_ERROR: Final = 3


def check(ids: Sequence[str], met: RemovalSurroundings) -> list[RegistryError]:
    """Every reason why these objects must not be removed together; none when they may be.

    Spec: ITI TF-2 3.62.4.1.3.
    Errors: UnresolvedReferenceException, ReferencesExistException, XDSUnreferencedObjectException.
    """
    errors = [
        RegistryError(
            ErrorCode.UNRESOLVED_REFERENCE,
            f"ObjectRef {item[:100]}: id: must be the id of an object in the Registry; there is none",
        )
        for item in ids
        if item not in met.named
    ]
    staying = [reference for reference in met.references if reference.id not in met.named]
    referring: dict[str, list[Reference]] = {}
    for reference in staying:
        referring.setdefault(reference.source, []).append(reference)
        referring.setdefault(reference.target, []).append(reference)
    errors += (_still_referenced(met, item, referring[item]) for item in ids if item in met.named and item in referring)
    orphans = [item for item in _neighbours(met) if item not in referring]
    errors += (
        RegistryError(
            ErrorCode.UNREFERENCED_OBJECT,
            f"{_NAMES[met.kinds[item]]} {item}: no Association would refer to it any more; remove it in the same request",
        )
        for item in orphans
    )
    return errors


def _still_referenced(met: RemovalSurroundings, item: str, references: Sequence[Reference]) -> RegistryError:
    shown = ", ".join(reference.id for reference in references[:_NAMED_IN_AN_ERROR])
    more = len(references) - _NAMED_IN_AN_ERROR
    beyond = f" and {more} more" if more > 0 else ""
    return RegistryError(
        ErrorCode.REFERENCES_EXIST,
        f"{_NAMES[met.kinds[item]]} {item}: must not be referred to by an Association that stays; {shown}{beyond} would",
    )


def _neighbours(met: RemovalSurroundings) -> Iterable[str]:
    """The objects that stay and lose an Association, each once."""
    ends = (end for reference in met.references if reference.id in met.named for end in (reference.source, reference.target))
    return (end for end in dict.fromkeys(ends) if end not in met.named)
