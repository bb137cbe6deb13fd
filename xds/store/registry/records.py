"""What the rows of a registry object hold, as far as the object itself says it: all but keys, and codes as numbers.

A record is made before the transaction in which its rows are stored: others wait for that one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from xds.model.fragments import ObjectKind
from xds.model.identifiers import canonical_cx, dtm_number, uuid_bytes
from xds.model.metadata import Association, Classification, DocumentEntry, Folder, RegistryObject, Submission, SubmissionSet
from xds.model.vocabulary import DocumentEntryScheme, FolderScheme, SlotName, SubmissionSetScheme
from xds.store.registry.codes import CodeKey
from xds.store.schema.registry import CodeKind, TextKind

#: Columns of an object's own table that its record fills, beside those that every object has.
ATTRIBUTES: Final[Mapping[ObjectKind, tuple[str, ...]]] = {
    ObjectKind.DOCUMENT_ENTRY: (
        "deprecated",
        "version",
        "on_demand",
        "creation_time",
        "service_start_time",
        "service_stop_time",
        "hash",
        "size",
        "repository_unique_id",
        "mime_type",
        "unique_id",
        "confidentiality",
    ),
    ObjectKind.SUBMISSION_SET: ("source_id", "submission_time", "unique_id"),
    ObjectKind.FOLDER: ("deprecated", "version", "unique_id"),
    ObjectKind.ASSOCIATION: ("deprecated", "type"),
}
#: Columns that hold the number of a code, and the classificationScheme of each.
CODES: Final[Mapping[ObjectKind, Mapping[str, str]]] = {
    ObjectKind.DOCUMENT_ENTRY: {
        "class_code": DocumentEntryScheme.CLASS_CODE.value,
        "type_code": DocumentEntryScheme.TYPE_CODE.value,
        "practice_setting_code": DocumentEntryScheme.PRACTICE_SETTING_CODE.value,
        "facility_type_code": DocumentEntryScheme.HEALTHCARE_FACILITY_TYPE_CODE.value,
        "format_code": DocumentEntryScheme.FORMAT_CODE.value,
    },
    ObjectKind.SUBMISSION_SET: {"content_type_code": SubmissionSetScheme.CONTENT_TYPE_CODE.value},
    ObjectKind.FOLDER: {},
    ObjectKind.ASSOCIATION: {},
}
#: Every classificationScheme of a code; the others are authors, labels, and what is kept in the fragment alone.
_CODED: Final = frozenset(
    (
        *CODES[ObjectKind.DOCUMENT_ENTRY].values(),
        *CODES[ObjectKind.SUBMISSION_SET].values(),
        DocumentEntryScheme.EVENT_CODE.value,
        DocumentEntryScheme.CONFIDENTIALITY_CODE.value,
        FolderScheme.CODE.value,
    )
)
_CREATION_TIME: Final = SlotName.CREATION_TIME.value
_START: Final = SlotName.SERVICE_START_TIME.value
_STOP: Final = SlotName.SERVICE_STOP_TIME.value
_HASH: Final = SlotName.HASH.value
_SIZE: Final = SlotName.SIZE.value
_REPOSITORY: Final = SlotName.REPOSITORY_UNIQUE_ID.value
_REFERENCES: Final = SlotName.REFERENCE_ID_LIST.value
_AVAILABILITY: Final = SlotName.DOCUMENT_AVAILABILITY.value
_SOURCE_PATIENT: Final = SlotName.SOURCE_PATIENT_ID.value
_SUBMISSION_TIME: Final = SlotName.SUBMISSION_TIME.value
_PERSON: Final = SlotName.AUTHOR_PERSON.value
_CODING_SCHEME: Final = SlotName.CODING_SCHEME.value
#: `.value` of a member costs as much as a look-up of several.
_ENTRY_UNIQUE_ID: Final = DocumentEntryScheme.UNIQUE_ID.value
_ENTRY_AUTHOR: Final = DocumentEntryScheme.AUTHOR.value
_EVENT: Final = DocumentEntryScheme.EVENT_CODE.value
_CONFIDENTIALITY: Final = DocumentEntryScheme.CONFIDENTIALITY_CODE.value
_SET_UNIQUE_ID: Final = SubmissionSetScheme.UNIQUE_ID.value
_SET_SOURCE_ID: Final = SubmissionSetScheme.SOURCE_ID.value
_SET_AUTHOR: Final = SubmissionSetScheme.AUTHOR.value
_FOLDER_UNIQUE_ID: Final = FolderScheme.UNIQUE_ID.value
_FOLDER_CODE: Final = FolderScheme.CODE.value

_Values = Mapping[str, Sequence[str]]


class Record(NamedTuple):
    """One object. `coded` and `texts` are the values of the side tables.

    `logical_id` is None for a first version, whose logicalID is its entryUUID; `ends` are the entryUUIDs of an Association's.
    """

    id: str
    kind: ObjectKind
    uuid: bytes
    logical_id: bytes | None
    home: str | None
    fragment: bytes
    attributes: tuple[Any, ...]
    unique_id: str | None = None
    codes: tuple[CodeKey | None, ...] = ()
    coded: frozenset[tuple[CodeKind, CodeKey]] = frozenset()
    texts: frozenset[tuple[TextKind, str]] = frozenset()
    ends: tuple[str, str] = ("", "")

    def mentioned(self) -> Iterable[CodeKey]:
        """Every code of the object that is stored beside its fragment."""
        return (*(key for key in self.codes if key is not None), *(key for _kind, key in self.coded))


def records_of(submission: Submission, fragments: Mapping[str, bytes]) -> list[Record]:
    """The objects of a valid submission with UUIDs. `fragments`: rendered and packed, by id."""
    return [record_of(obj, fragments[obj.id]) for obj in submission.objects()]


def record_of(obj: RegistryObject, fragment: bytes) -> Record:
    """What is stored of a valid object with UUIDs. `fragment`: the object rendered and packed."""
    if isinstance(obj, DocumentEntry):
        return _entry(obj, fragment)
    if isinstance(obj, SubmissionSet):
        return _submission_set(obj, fragment)
    if isinstance(obj, Folder):
        return _folder(obj, fragment)
    if isinstance(obj, Association):
        uuid, logical_id = _ids(obj)
        attributes, ends = (0, obj.association_type), (obj.source, obj.target)
        return Record(obj.id, ObjectKind.ASSOCIATION, uuid, logical_id, obj.home, fragment, attributes, ends=ends)
    raise TypeError(f"a {type(obj).__name__} is not stored")


def _entry(entry: DocumentEntry, fragment: bytes) -> Record:
    kind = ObjectKind.DOCUMENT_ENTRY
    slots, identifiers, codes = _slots(entry), _identifiers(entry), _codes(entry.classifications)
    confidentiality = codes.get(_CONFIDENTIALITY, ())
    unique_id = identifiers.get(_ENTRY_UNIQUE_ID)
    attributes = (
        0,
        entry.version or 1,
        int(entry.is_on_demand),
        _time(slots, _CREATION_TIME),
        _time(slots, _START),
        _time(slots, _STOP),
        _first(slots, _HASH),
        _first(slots, _SIZE),
        _first(slots, _REPOSITORY),
        entry.mime_type,
        unique_id,
        "\n".join([f"{code}^^{coding_scheme}" for code, coding_scheme in confidentiality]),
    )
    texts = [(TextKind.DOCUMENT_AUTHOR_PERSON, person) for person in _persons(entry.classifications, _ENTRY_AUTHOR)]
    texts += [(TextKind.REFERENCE_ID, value) for value in slots.get(_REFERENCES, ())]
    texts += [(TextKind.DOCUMENT_AVAILABILITY, value) for value in slots.get(_AVAILABILITY, ())]
    texts.append((TextKind.SOURCE_PATIENT_ID, canonical_cx(_first(slots, _SOURCE_PATIENT) or "")))
    coded = [(CodeKind.EVENT, key) for key in codes.get(_EVENT, ())]
    coded += [(CodeKind.CONFIDENTIALITY, key) for key in confidentiality]
    return Record(
        entry.id,
        kind,
        *_ids(entry),
        entry.home,
        fragment,
        attributes,
        unique_id,
        _single(codes, kind),
        frozenset(coded),
        frozenset([text for text in texts if text[1]]),
    )


def _submission_set(package: SubmissionSet, fragment: bytes) -> Record:
    kind = ObjectKind.SUBMISSION_SET
    identifiers = _identifiers(package)
    unique_id = identifiers.get(_SET_UNIQUE_ID)
    attributes = (identifiers.get(_SET_SOURCE_ID), _time(_slots(package), _SUBMISSION_TIME), unique_id)
    persons = _persons(package.classifications, _SET_AUTHOR)
    return Record(
        package.id,
        kind,
        *_ids(package),
        package.home,
        fragment,
        attributes,
        unique_id,
        _single(_codes(package.classifications), kind),
        texts=frozenset([(TextKind.SUBMISSION_SET_AUTHOR_PERSON, person) for person in persons]),
    )


def _folder(package: Folder, fragment: bytes) -> Record:
    unique_id = _identifiers(package).get(_FOLDER_UNIQUE_ID)
    codes = _codes(package.classifications).get(_FOLDER_CODE, ())
    return Record(
        package.id,
        ObjectKind.FOLDER,
        *_ids(package),
        package.home,
        fragment,
        (0, package.version or 1, unique_id),
        unique_id,
        coded=frozenset([(CodeKind.FOLDER, key) for key in codes]),
    )


def _ids(obj: RegistryObject) -> tuple[bytes, bytes | None]:
    return uuid_bytes(obj.id), None if obj.lid is None or obj.lid == obj.id else uuid_bytes(obj.lid)


def _slots(obj: RegistryObject) -> _Values:
    return {slot.name: slot.values for slot in obj.slots}


def _identifiers(obj: RegistryObject) -> Mapping[str, str]:
    return {item.scheme: item.value for item in obj.external_identifiers}


def _codes(classifications: Iterable[Classification]) -> Mapping[str, Sequence[CodeKey]]:
    """The codes by classificationScheme, as far as they are stored beside the fragment."""
    found: dict[str, list[CodeKey]] = {}
    for item in classifications:
        if item.scheme in _CODED:
            coding_scheme = item.slot(_CODING_SCHEME)
            key = item.node_representation, coding_scheme[0] if coding_scheme else ""
            if item.scheme in found:
                found[item.scheme].append(key)
            else:
                found[item.scheme] = [key]
    return found


def _single(codes: Mapping[str, Sequence[CodeKey]], kind: ObjectKind) -> tuple[CodeKey | None, ...]:
    return tuple([codes[scheme][0] if scheme in codes else None for scheme in CODES[kind].values()])


def _persons(classifications: Iterable[Classification], scheme: str) -> list[str]:
    found = [item.slot(_PERSON) for item in classifications if item.scheme == scheme]
    return [person[0] for person in found if person and person[0]]


def _first(slots: _Values, name: str) -> str | None:
    values = slots.get(name)
    return values[0] if values else None


def _time(slots: _Values, name: str) -> int | None:
    text = _first(slots, name)
    return dtm_number(text) if text else None
