"""Registry objects as the store hands them out."""

from __future__ import annotations

from operator import itemgetter
from typing import Any, ClassVar, Final

from sqlalchemy import Select, Table, select

from xds.model.fragments import Fragment, ObjectKind
from xds.model.identifiers import uuid_urn
from xds.model.vocabulary import AvailabilityStatus
from xds.store.registry.fragments import PackedFragment
from xds.store.schema.registry import association, document_entry, folder, submission_set

#: What the columns `deprecated` hold. Beside what a status can be, they tell that a newer version has taken an object's place.
APPROVED: Final = 0
DEPRECATED: Final = 1
SUPERSEDED: Final = 2

#: availabilityStatus by the value of a column `deprecated`.
STATUSES: Final = (AvailabilityStatus.APPROVED, AvailabilityStatus.DEPRECATED, AvailabilityStatus.DEPRECATED)

TABLES: Final[dict[ObjectKind, Table]] = {
    ObjectKind.DOCUMENT_ENTRY: document_entry,
    ObjectKind.SUBMISSION_SET: submission_set,
    ObjectKind.FOLDER: folder,
    ObjectKind.ASSOCIATION: association,
}


def _column(number: int) -> Any:
    return property(itemgetter(number))


class StoredObject(tuple[Any, ...]):
    """One registry object as it was found: the row itself, whose columns have names here.

    An answer of references makes nothing else of its rows. `patient_key` is the patient under whom the object was registered,
    whatever was merged since. `superseded` tells that it is not the newest version of what it describes.
    """

    __slots__ = ()

    #: What it is.
    kind: ClassVar[ObjectKind]
    #: The columns in their order; home and fragment follow where whole objects were asked for.
    columns: ClassVar[tuple[str, ...]] = ("object_key", "patient_key", "entry_uuid")

    key: int = _column(0)
    patient_key: int = _column(1)
    unique_id: str | None = None
    confidentiality: tuple[str, ...] = ()
    class_code: int | None = None
    last_update_time: int | None = None
    association_type: str | None = None
    source_key: int | None = None
    target_key: int | None = None
    superseded: bool = False

    @property
    def id(self) -> str:
        """The entryUUID."""
        return uuid_urn(self[2])

    @property
    def status(self) -> AvailabilityStatus:
        """The availabilityStatus."""
        return STATUSES[self[3]]

    @property
    def home(self) -> str | None:
        """The homeCommunityId; None when only references were asked for."""
        found: str | None = self[-2] if len(self) > len(self.columns) else None
        return found

    @property
    def fragment(self) -> Fragment:
        """Its ebRIM, with the patientId and the lastUpdateTime of the time of registration; empty when it was not asked for."""
        packed = self[-1] if len(self) > len(self.columns) else b""
        return PackedFragment(self.kind, self[2], self.status, packed, self.home)


class StoredEntry(StoredObject):
    """A DocumentEntry."""

    __slots__ = ()
    kind = ObjectKind.DOCUMENT_ENTRY
    columns = (*StoredObject.columns, "deprecated", "unique_id", "confidentiality", "class_code")
    unique_id: str | None = _column(4)
    class_code: int | None = _column(6)

    @property
    def confidentiality(self) -> tuple[str, ...]:  # type: ignore[override]
        """The confidentialityCodes, as `code^^scheme`."""
        return tuple(self[5].split("\n"))

    @property
    def superseded(self) -> bool:  # type: ignore[override]
        """True for any but the newest version."""
        return bool(self[3] == SUPERSEDED)

    def with_codes(self, confidentiality: str, class_code: int | None) -> StoredEntry:
        """The same with other codes, written as the columns hold them."""
        return StoredEntry((*self[:5], confidentiality, class_code, *self[7:]))


class StoredSubmissionSet(StoredObject):
    """A SubmissionSet, which is always Approved."""

    __slots__ = ()
    kind = ObjectKind.SUBMISSION_SET
    columns = (*StoredObject.columns, "unique_id")
    unique_id: str | None = _column(3)

    @property
    def status(self) -> AvailabilityStatus:
        """Approved."""
        return AvailabilityStatus.APPROVED


class StoredFolder(StoredObject):
    """A Folder."""

    __slots__ = ()
    kind = ObjectKind.FOLDER
    columns = (*StoredObject.columns, "deprecated", "unique_id", "last_update_time")
    unique_id: str | None = _column(4)
    last_update_time: int | None = _column(5)

    @property
    def superseded(self) -> bool:  # type: ignore[override]
        """True for any but the newest version."""
        return bool(self[3] == SUPERSEDED)


class StoredAssociation(StoredObject):
    """An Association."""

    __slots__ = ()
    kind = ObjectKind.ASSOCIATION
    columns = (*StoredObject.columns, "deprecated", "type", "source_key", "target_key")
    association_type: str | None = _column(4)
    source_key: int | None = _column(5)
    target_key: int | None = _column(6)


#: What a row of `select_objects` is, by the kind that was selected.
STORED: Final[dict[ObjectKind, type[StoredObject]]] = {
    each.kind: each for each in (StoredEntry, StoredSubmissionSet, StoredFolder, StoredAssociation)
}


def _selects(as_refs: bool) -> dict[ObjectKind, Select[*tuple[Any, ...]]]:
    more = () if as_refs else ("home", "fragment")
    return {kind: select(*(TABLES[kind].c[name] for name in (*each.columns, *more))) for kind, each in STORED.items()}


_SELECTS: Final = {as_refs: _selects(as_refs) for as_refs in (False, True)}


def select_objects(kind: ObjectKind, *, as_refs: bool) -> Select[*tuple[Any, ...]]:
    """A select of objects of that kind, whose rows are those of `STORED`."""
    return _SELECTS[as_refs][kind]
