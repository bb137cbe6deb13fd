"""Registry objects as the store hands them out."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from sqlalchemy import Select, Table, select

from xds.model.fragments import Fragment, ObjectKind
from xds.model.vocabulary import AvailabilityStatus
from xds.store.registry.fragments import PackedFragment
from xds.store.schema.registry import association, document_entry, folder, submission_set
from xds.store.statements import Row

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

#: What each kind of object is read with beside key, patient, uuid, home and fragment.
_OWN_COLUMNS: Final = {
    ObjectKind.DOCUMENT_ENTRY: ("deprecated", "unique_id", "confidentiality", "class_code"),
    ObjectKind.SUBMISSION_SET: ("unique_id",),
    ObjectKind.FOLDER: ("deprecated", "unique_id", "last_update_time"),
    ObjectKind.ASSOCIATION: ("deprecated", "type", "source_key", "target_key"),
}


class StoredObject(NamedTuple):
    """One registry object as it was found.

    `fragment.xml` is empty when only references were asked for; it holds the patientId and the lastUpdateTime of the time of
    registration. `patient_key` is the patient under whom the object was registered, whatever was merged since. `superseded` tells
    that it is not the newest version of what it describes.
    """

    key: int
    patient_key: int
    fragment: Fragment
    unique_id: str | None = None
    confidentiality: tuple[str, ...] = ()
    class_code: int | None = None
    last_update_time: int | None = None
    association_type: str | None = None
    source_key: int | None = None
    target_key: int | None = None
    superseded: bool = False

    @property
    def kind(self) -> ObjectKind:
        """What it is."""
        return self.fragment.kind


def _selects(as_refs: bool) -> dict[ObjectKind, Select[*tuple[Any, ...]]]:
    shared = ("object_key", "patient_key", "entry_uuid", *(() if as_refs else ("home", "fragment")))
    return {kind: select(*(table.c[name] for name in (*_OWN_COLUMNS[kind], *shared))) for kind, table in TABLES.items()}


_SELECTS: Final = {as_refs: _selects(as_refs) for as_refs in (False, True)}


def select_objects(kind: ObjectKind, *, as_refs: bool) -> Select[*tuple[Any, ...]]:
    """A select of objects of that kind whose rows `read_object` understands."""
    return _SELECTS[as_refs][kind]


def read_object(kind: ObjectKind, row: Row, *, as_refs: bool) -> StoredObject:
    """The object of a row of `select_objects`."""
    if as_refs:
        *own, key, patient_key, uuid = row
        home, packed = None, b""
    else:
        *own, key, patient_key, uuid, home, packed = row
    if kind is ObjectKind.SUBMISSION_SET:
        fragment = PackedFragment(kind, uuid, AvailabilityStatus.APPROVED, packed, home)
        return StoredObject(key, patient_key, fragment, own[0])
    deprecated = own[0]
    fragment = PackedFragment(kind, uuid, STATUSES[deprecated], packed, home)
    if kind is ObjectKind.ASSOCIATION:
        _, association_type, source_key, target_key = own
        return StoredObject(
            key,
            patient_key,
            fragment,
            association_type=association_type,
            source_key=source_key,
            target_key=target_key,
        )
    superseded = deprecated == SUPERSEDED
    if kind is ObjectKind.FOLDER:
        _, unique_id, last_update_time = own
        return StoredObject(key, patient_key, fragment, unique_id, last_update_time=last_update_time, superseded=superseded)
    _, unique_id, confidentiality, class_code = own
    codes = tuple(confidentiality.split("\n"))
    return StoredObject(key, patient_key, fragment, unique_id, codes, class_code, superseded=superseded)
