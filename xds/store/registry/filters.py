"""The filters of stored queries as statements.

The text of a statement depends on the shape of a query alone (which parameters, how many values each), so that statements are
built once for each shape, which costs more than running them; the values are bound by name.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, and_, bindparam, false, not_, or_, select, tuple_

from xds.model.fragments import ObjectKind
from xds.model.metadata import Code
from xds.model.stored_queries import StoredQuery, is_pattern
from xds.model.vocabulary import ON_DEMAND, STABLE, AvailabilityStatus, DocumentAvailability
from xds.store.registry.codes import CodeTable
from xds.store.registry.objects import APPROVED, DEPRECATED, TABLES, select_objects
from xds.store.schema.registry import (
    CodeKind,
    TextKind,
    document_entry,
    folder,
    object_code,
    object_text,
    registry_object,
    submission_set,
)
from xds.store.statements import Prepared

Condition = ColumnElement[bool]

#: LIKE of the standard has no escape character, so that a backslash is an ordinary one. This one cannot occur in XML.
_ESCAPE: Final = "\x01"

#: A number that no code has.
_NO_CODE: Final = -1

_ENTRY: Final = "XDSDocumentEntry"
_SUBMISSION_SET: Final = "XDSSubmissionSet"
_FOLDER: Final = "XDSFolder"
_REFERENCES: Final = f"{_ENTRY}ReferenceIdList"

#: The parameters that are bound, for each kind of object; statuses and types become part of the statement.
_BOUND: Final[dict[ObjectKind, tuple[str, ...]]] = {
    ObjectKind.DOCUMENT_ENTRY: tuple(
        f"{_ENTRY}{name}"
        for name in (
            "ClassCode",
            "TypeCode",
            "PracticeSettingCode",
            "HealthcareFacilityTypeCode",
            "FormatCode",
            "CreationTimeFrom",
            "CreationTimeTo",
            "ServiceStartTimeFrom",
            "ServiceStartTimeTo",
            "ServiceStopTimeFrom",
            "ServiceStopTimeTo",
            "EventCodeList",
            "ConfidentialityCode",
            "ReferenceIdList",
            "AuthorPerson",
        )
    ),
    ObjectKind.SUBMISSION_SET: tuple(
        f"{_SUBMISSION_SET}{name}"
        for name in ("SourceId", "SubmissionTimeFrom", "SubmissionTimeTo", "AuthorPerson", "ContentType")
    ),
    ObjectKind.FOLDER: tuple(f"{_FOLDER}{name}" for name in ("LastUpdateTimeFrom", "LastUpdateTimeTo", "CodeList")),
}
_STATUS: Final = {
    ObjectKind.DOCUMENT_ENTRY: f"{_ENTRY}Status",
    ObjectKind.SUBMISSION_SET: f"{_SUBMISSION_SET}Status",
    ObjectKind.FOLDER: f"{_FOLDER}Status",
}


@dataclass(frozen=True, slots=True)
class _Shape:
    """All that a statement depends on beside values.

    `patients` is how many there are; 0 when it is searched by keys instead, None when every patient is searched.
    `patterns` is true when reference ids are matched with LIKE.
    """

    kind: ObjectKind
    as_refs: bool
    patients: int | None
    sizes: tuple[tuple[str, tuple[int, ...]], ...]
    statuses: frozenset[Any]
    types: frozenset[Any]
    availabilities: frozenset[Any]
    level: int
    patterns: bool


def inside_patients(
    kind: ObjectKind, query: StoredQuery, patients: Sequence[int], limit: int, *, as_refs: bool
) -> tuple[Prepared, dict[str, Any]]:
    """The first `limit` objects of these patients that pass the filters; codes are still to be bound by `bind_codes`."""
    statement = _inside_patients(_shape(kind, query, len(patients), as_refs))
    values = dict(_values(kind, query))
    values.update((f"patient_{number}", key) for number, key in enumerate(patients))
    values["limit"] = limit
    return statement, values


def across_patients(kind: ObjectKind, query: StoredQuery, limit: int, *, as_refs: bool) -> tuple[Prepared, dict[str, Any]]:
    """Some `limit` objects of any patient that pass the filters; codes are still to be bound by `bind_codes`.

    One of the filters must have an index over all patients: class, healthcare facility type, event codes, codes of folders.
    """
    return _across_patients(_shape(kind, query, None, as_refs)), {**dict(_values(kind, query)), "limit": limit}


def among_keys(kind: ObjectKind, query: StoredQuery, keys: Sequence[int], *, as_refs: bool) -> tuple[Prepared, dict[str, Any]]:
    """Those of these objects that pass the filters; codes are still to be bound by `bind_codes`."""
    return _among_keys(_shape(kind, query, 0, as_refs)), {**dict(_values(kind, query)), "keys": keys}


def bind_codes(connection: Connection, codes: CodeTable, values: Mapping[str, Any]) -> dict[str, Any]:
    """The values with each code replaced by its number; a code that nothing has becomes a number that nothing has."""
    return {
        name: next(iter(codes.find(connection, (value,))), _NO_CODE) if isinstance(value, Code) else value
        for name, value in values.items()
    }


def _shape(kind: ObjectKind, query: StoredQuery, patients: int | None, as_refs: bool) -> _Shape:
    return _Shape(
        kind,
        as_refs,
        patients,
        tuple((name, tuple(map(len, query.values[name]))) for name in _BOUND[kind] if name in query.values),
        frozenset(query.group(_STATUS[kind])),
        frozenset(query.group(f"{_ENTRY}Type")),
        frozenset(query.group(f"{_ENTRY}DocumentAvailability")),
        query.metadata_level,
        _has_patterns(query),
    )


def _has_patterns(query: StoredQuery) -> bool:
    return any(is_pattern(value) for values in query.values.get(_REFERENCES, ()) for value in values)


def _values(kind: ObjectKind, query: StoredQuery) -> Iterator[tuple[str, Any]]:
    has_patterns = _has_patterns(query)
    for name in _BOUND[kind]:
        for group, values in enumerate(query.values.get(name, ())):
            for number, value in enumerate(values):
                is_exact = has_patterns and name == _REFERENCES and not is_pattern(value)
                yield f"{name}_{group}_{number}", str(value).replace("_", f"{_ESCAPE}_") if is_exact else value


@lru_cache(maxsize=512)
def _inside_patients(shape: _Shape) -> Prepared:
    table = TABLES[shape.kind]
    patients = _patients(table.c.patient_key, shape)
    statement = select_objects(shape.kind, as_refs=shape.as_refs).where(patients, *_CONDITIONS[shape.kind](shape))
    return Prepared(statement.order_by(table.c.object_key).limit(bindparam("limit")))


@lru_cache(maxsize=512)
def _across_patients(shape: _Shape) -> Prepared:
    # Without an order the database may stop at the limit; with one it would have to find every match first.
    statement = select_objects(shape.kind, as_refs=shape.as_refs).where(*_CONDITIONS[shape.kind](shape))
    return Prepared(statement.limit(bindparam("limit")))


@lru_cache(maxsize=512)
def _among_keys(shape: _Shape) -> Prepared:
    table = TABLES[shape.kind]
    same = and_(table.c.patient_key == registry_object.c.patient_key, table.c.object_key == registry_object.c.object_key)
    statement = select_objects(shape.kind, as_refs=shape.as_refs).join(registry_object, same)
    wanted = registry_object.c.object_key.in_(bindparam("keys", expanding=True))
    return Prepared(statement.where(wanted, *_CONDITIONS[shape.kind](shape)))


def _entry_conditions(shape: _Shape) -> list[Condition]:
    entry = document_entry.c
    found = _status(entry.deprecated, shape, shown=DEPRECATED)
    for name, column in (
        (f"{_ENTRY}ClassCode", entry.class_code),
        (f"{_ENTRY}TypeCode", entry.type_code),
        (f"{_ENTRY}PracticeSettingCode", entry.practice_setting_code),
        (f"{_ENTRY}HealthcareFacilityTypeCode", entry.facility_type_code),
        (f"{_ENTRY}FormatCode", entry.format_code),
    ):
        found += [_one_of(column, binds) for binds in _binds(shape, name)]
    # creationTime does not exist for On-Demand entries, and service times are optional: what is absent is not tested.
    found += [or_(entry.on_demand == 1, condition) for condition in _range(entry.creation_time, shape, f"{_ENTRY}CreationTime")]
    for name, column in (("ServiceStartTime", entry.service_start_time), ("ServiceStopTime", entry.service_stop_time)):
        found += [or_(column.is_(None), condition) for condition in _range(column, shape, f"{_ENTRY}{name}")]
    found += _coded(CodeKind.EVENT, entry, shape, f"{_ENTRY}EventCodeList")
    found += _coded(CodeKind.CONFIDENTIALITY, entry, shape, f"{_ENTRY}ConfidentialityCode")
    matches = _is_like if shape.patterns else _one_of
    for binds in _binds(shape, _REFERENCES):
        found.append(_has_text(TextKind.REFERENCE_ID, entry, shape, matches(object_text.c.value, binds)))
    found += _authored(TextKind.DOCUMENT_AUTHOR_PERSON, entry, shape, f"{_ENTRY}AuthorPerson")
    return found + _document_type(shape) + _availability(shape)


def _submission_set_conditions(shape: _Shape) -> list[Condition]:
    package = submission_set.c
    if AvailabilityStatus.APPROVED not in shape.statuses:
        return [false()]
    found = [_one_of(package.content_type_code, binds) for binds in _binds(shape, f"{_SUBMISSION_SET}ContentType")]
    found += [_one_of(package.source_id, binds) for binds in _binds(shape, f"{_SUBMISSION_SET}SourceId")]
    found += _range(package.submission_time, shape, f"{_SUBMISSION_SET}SubmissionTime")
    return found + _authored(TextKind.SUBMISSION_SET_AUTHOR_PERSON, package, shape, f"{_SUBMISSION_SET}AuthorPerson")


def _folder_conditions(shape: _Shape) -> list[Condition]:
    found = _status(folder.c.deprecated, shape, shown=APPROVED)
    found += _range(folder.c.last_update_time, shape, f"{_FOLDER}LastUpdateTime")
    return found + _coded(CodeKind.FOLDER, folder.c, shape, f"{_FOLDER}CodeList")


_CONDITIONS: Final = {
    ObjectKind.DOCUMENT_ENTRY: _entry_conditions,
    ObjectKind.SUBMISSION_SET: _submission_set_conditions,
    ObjectKind.FOLDER: _folder_conditions,
}


def _binds(shape: _Shape, name: str) -> list[list[Any]]:
    """The places for the values of a parameter, in groups."""
    sizes = next((sizes for given, sizes in shape.sizes if given == name), ())
    return [[bindparam(f"{name}_{group}_{number}") for number in range(size)] for group, size in enumerate(sizes)]


def _one_of(column: Any, binds: Sequence[Any]) -> Condition:
    condition: Condition = column == binds[0] if len(binds) == 1 else column.in_(binds)
    return condition


def _is_like(column: Any, binds: Sequence[Any]) -> Condition:
    return or_(*(column.like(pattern, escape=_ESCAPE) for pattern in binds))


def _patients(column: Any, shape: _Shape) -> Condition:
    return _one_of(column, [bindparam(f"patient_{number}") for number in range(shape.patients or 0)])


def _status(column: Any, shape: _Shape, *, shown: int) -> list[Condition]:
    """The statuses that are asked for. `shown` is what a consumer of metadata level 1 may see beside Approved."""
    wanted = shape.statuses or frozenset(AvailabilityStatus)
    found = []
    if AvailabilityStatus.APPROVED not in wanted:
        found.append(column >= DEPRECATED)
    if AvailabilityStatus.DEPRECATED not in wanted:
        found.append(column == APPROVED)
    elif shape.level == 1:
        found.append(column <= shown)
    return found


def _range(column: Any, shape: _Shape, name: str) -> list[Condition]:
    """From is inclusive, To is exclusive."""
    start, end = _binds(shape, f"{name}From"), _binds(shape, f"{name}To")
    return [*(column >= binds[0] for binds in start), *(column < binds[0] for binds in end)]


def _document_type(shape: _Shape) -> list[Condition]:
    """Stable entries only, unless $XDSDocumentEntryType says otherwise. Spec: ITI TF-2 3.18.4.1.2.3.6.2."""
    wanted = (shape.types or {STABLE}) & {STABLE, ON_DEMAND}
    if len(wanted) == 2:
        return []
    return [document_entry.c.on_demand == int(ON_DEMAND in wanted)] if wanted else [false()]


def _availability(shape: _Shape) -> list[Condition]:
    """documentAvailability, which is Online where it is not said."""
    wanted = shape.availabilities & frozenset(DocumentAvailability)
    if not shape.availabilities or len(wanted) == len(DocumentAvailability):
        return []
    if not wanted:
        return [false()]
    entry = document_entry.c
    offline = _has_text(TextKind.DOCUMENT_AVAILABILITY, entry, shape, object_text.c.value == DocumentAvailability.OFFLINE)
    return [offline if DocumentAvailability.OFFLINE in wanted else not_(offline)]


def _inside(side: Any, owner: Any, shape: _Shape) -> Condition:
    """Rows of a side table inside the patients, or, when an object is known already, of that object."""
    if shape.patients:
        return _patients(side.patient_key, shape)
    return and_(side.patient_key == owner.patient_key, side.object_key == owner.object_key)


def _coded(kind: CodeKind, owner: Any, shape: _Shape, name: str) -> list[Condition]:
    side = object_code.c
    if shape.patients is None:
        both = tuple_(owner.patient_key, owner.object_key)
        return [
            both.in_(select(side.patient_key, side.object_key).where(side.kind == int(kind), _one_of(side.code_id, binds)))
            for binds in _binds(shape, name)
        ]
    return [
        owner.object_key.in_(
            select(side.object_key).where(side.kind == int(kind), _one_of(side.code_id, binds), _inside(side, owner, shape))
        )
        for binds in _binds(shape, name)
    ]


def _has_text(kind: TextKind, owner: Any, shape: _Shape, condition: Condition) -> Condition:
    side = object_text.c
    matching = select(side.object_key).where(side.kind == int(kind), _inside(side, owner, shape), condition)
    found: Condition = owner.object_key.in_(matching)
    return found


def _authored(kind: TextKind, owner: Any, shape: _Shape, name: str) -> list[Condition]:
    return [_has_text(kind, owner, shape, _is_like(object_text.c.value, binds)) for binds in _binds(shape, name)]
