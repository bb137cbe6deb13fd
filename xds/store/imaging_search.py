"""Finding studies, series and instances by the attributes that are kept in columns.

Spec: DICOM PS3.4 C.2.2.2 (matching), C.6.2 (keys of the Study Root); PS3.18 Table 10.6.1-5.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, Select, and_, bindparam, exists, false, func, or_, select

from xds.model.imaging_query import Form, ImagingQuery, Level, Matching, fold_name
from xds.store.schema.imaging import (
    imaging_header,
    imaging_instance,
    imaging_manifest,
    imaging_rejection,
    imaging_series,
    imaging_study,
)
from xds.store.statements import Prepared

#: Key of a study, and UIDs of series and instance as far as a level has them.
Place = tuple[Any, ...]

_STUDY, _SERIES, _INSTANCE = imaging_study.c, imaging_series.c, imaging_instance.c

#: Attributes that are matched here, by their tags. Names are compared folded, numbers as numbers.
_COLUMNS: Final[Mapping[int, ColumnElement[Any]]] = {
    0x00080020: _STUDY.study_date,
    0x00080030: _STUDY.study_time,
    0x00080050: _STUDY.accession_number,
    0x00080080: _STUDY.institution,
    0x00080090: _STUDY.referring_physician_folded,
    0x00081030: _STUDY.description,
    0x00100010: _STUDY.patient_name_folded,
    0x00100020: _STUDY.patient_id,
    0x00100021: _STUDY.issuer_namespace,
    0x00100030: _STUDY.birth_date,
    0x00100040: _STUDY.sex,
    0x0020000D: _STUDY.study_instance_uid,
    0x00200010: _STUDY.study_id,
    0x00080060: _SERIES.modality,
    0x0008103E: _SERIES.description,
    0x00180015: _SERIES.body_part,
    0x0020000E: _SERIES.series_instance_uid,
    0x00200011: _SERIES.number,
    0x00080016: _INSTANCE.sop_class_uid,
    0x00080018: _INSTANCE.sop_instance_uid,
    0x00200013: _INSTANCE.instance_number,
}
_NAMES: Final = frozenset({0x00100010, 0x00080090})
_NUMBERS: Final = frozenset({0x00200011, 0x00200013})
#: Letters after this one are those of other scripts.
_LAST_LATIN: Final = "\u024f"
#: Studies of one statement.
_AT_ONCE: Final = 500
#: What tells an answer of a level from others.
_PLACES: Final = {
    Level.STUDY: ("study_key",),
    Level.SERIES: ("study_key", "series_instance_uid"),
    Level.INSTANCE: ("study_key", "series_instance_uid", "sop_instance_uid"),
}
#: Study Date and Study Time.
_MOMENT: Final = (0x00080020, 0x00080030)
_MODALITIES_IN_STUDY: Final = 0x00080061
_SOP_CLASSES_IN_STUDY: Final = 0x00080062


def level_of(tag: int) -> Level | None:
    """The level whose attribute this is; None when it is not matched by this store."""
    if tag in (_MODALITIES_IN_STUDY, _SOP_CLASSES_IN_STUDY):
        return Level.STUDY
    column = _COLUMNS.get(tag)
    if column is None:
        return None
    table = getattr(column, "table", None)
    return Level.SERIES if table is imaging_series else Level.INSTANCE if table is imaging_instance else Level.STUDY


def search(connection: Connection, query: ImagingQuery, limit: int) -> list[Mapping[str, Any]]:
    """At most `limit` rows after `query.offset`, the newest study first. Conditions at lower levels choose what contains such.

    Rejected instances, and what holds nothing else, are not found.
    """
    statement = _statement(query)
    rows = connection.execute(statement.limit(limit).offset(query.offset))
    return [dict(row._mapping) for row in rows]


def _statement(query: ImagingQuery) -> Select[Any]:
    conditions = {level: _conditions(query, level) for level in (Level.STUDY, Level.SERIES, Level.INSTANCE)}
    order: list[Any] = [_STUDY.study_date.desc(), _STUDY.study_key.desc()]
    if query.level is Level.INSTANCE:
        statement = (
            select(*_study_columns(), *_series_columns(), *_instance_columns())
            .join(imaging_series, _SERIES.study_key == _STUDY.study_key)
            .join(imaging_instance, _of_series())
            .where(*conditions[Level.STUDY], *conditions[Level.SERIES], *conditions[Level.INSTANCE], _shared())
        )
        order += [_SERIES.series_instance_uid, _INSTANCE.instance_number.nulls_first(), _INSTANCE.sop_instance_uid]
        return statement.order_by(*order)
    if query.level is Level.SERIES:
        statement = (
            select(*_study_columns(), *_series_columns(), _counted(_of_series()).label("instances"))
            .join(imaging_series, _SERIES.study_key == _STUDY.study_key)
            .where(*conditions[Level.STUDY], *conditions[Level.SERIES], _held(_of_series(), conditions[Level.INSTANCE]))
        )
        order += [_SERIES.number.nulls_first(), _SERIES.series_instance_uid]
        return statement.order_by(*order)
    contains = _held(_INSTANCE.study_key == _STUDY.study_key, conditions[Level.INSTANCE])
    statement = select(*_study_columns()).where(*conditions[Level.STUDY], contains)
    if conditions[Level.SERIES]:
        inner = select(1).select_from(imaging_series).where(_SERIES.study_key == _STUDY.study_key, *conditions[Level.SERIES])
        statement = statement.where(exists(inner.correlate(imaging_study)))
    return statement.order_by(*order)


def summaries(connection: Connection, study_keys: Sequence[int]) -> dict[int, Mapping[str, Any]]:
    """What studies hold: modalities, SOP Classes, numbers of series and instances, and the CX they are published under."""
    found: dict[int, dict[str, Any]] = {
        key: {"modalities": [], "sop_classes": [], "series": 0, "instances": 0, "patient": None, "manifest": None}
        for key in study_keys
    }
    series, instances, manifests = _summarised()
    for start in range(0, len(study_keys), _AT_ONCE):
        keys = {"study_keys": study_keys[start : start + _AT_ONCE]}
        for key, modality, count in series.rows(connection, keys):
            found[key]["series"] += count
            if modality:
                found[key]["modalities"].append(modality)
        for key, sop_class, count in instances.rows(connection, keys):
            found[key]["instances"] += count
            found[key]["sop_classes"].append(sop_class)
        for key, patient, manifest in manifests.rows(connection, keys):
            found[key]["patient"], found[key]["manifest"] = patient, manifest
    return dict(found)


@lru_cache
def _summarised() -> tuple[Prepared, Prepared, Prepared]:
    """Of some studies: their series, instances and manifests."""
    keys: Any = bindparam("study_keys", expanding=True)
    series = (
        select(_SERIES.study_key, _SERIES.modality, func.count())
        .where(_SERIES.study_key.in_(keys), _held(_of_series(), []))
        .group_by(_SERIES.study_key, _SERIES.modality)
        .order_by(_SERIES.study_key, _SERIES.modality)
    )
    instances = (
        select(_INSTANCE.study_key, _INSTANCE.sop_class_uid, func.count())
        .where(_INSTANCE.study_key.in_(keys), _shared())
        .group_by(_INSTANCE.study_key, _INSTANCE.sop_class_uid)
        .order_by(_INSTANCE.study_key, _INSTANCE.sop_class_uid)
    )
    manifests = (
        select(imaging_manifest.c.study_key, imaging_manifest.c.patient_id, imaging_manifest.c.unique_id)
        .where(imaging_manifest.c.study_key.in_(keys), imaging_manifest.c.published)
        .order_by(imaging_manifest.c.revision)
    )
    return Prepared(series), Prepared(instances), Prepared(manifests)


def headers(connection: Connection, level: Level, rows: Sequence[Mapping[str, Any]]) -> dict[Place, bytes]:
    """The packed headers of these answers of `search`, by what `place_of` gives: each that of its first instance by number, of
    its first series."""
    found: dict[Place, bytes] = {}
    for start in range(0, len(rows), _AT_ONCE):
        some = rows[start : start + _AT_ONCE]
        values: dict[str, Any] = {"study_keys": sorted({row["study_key"] for row in some})}
        if level is Level.INSTANCE:
            values["uids"] = sorted({row["sop_instance_uid"] for row in some})
        for row in _headers(level).rows(connection, values):
            found[tuple(row[:-1])] = row[-1]
    return found


def series_headers(connection: Connection, study_instance_uid: str) -> list[bytes]:
    """The packed header of the first instance of each series of a study, of those that hold one to be shared."""
    key = connection.execute(select(_STUDY.study_key).where(_STUDY.study_instance_uid == study_instance_uid)).scalar()
    found = headers(connection, Level.SERIES, [{"study_key": key}]) if key is not None else {}
    return [found[place] for place in sorted(found)]


def place_of(level: Level, row: Mapping[str, Any]) -> Place:
    """What an answer of that level is known by."""
    return tuple(row[name] for name in _PLACES[level])


@lru_cache
def _headers(level: Level) -> Prepared:
    head = imaging_header.c
    keys: Any = bindparam("study_keys", expanding=True)
    if level is Level.INSTANCE:
        uids: Any = bindparam("uids", expanding=True)
        place = [head[name] for name in _PLACES[level]]
        return Prepared(select(*place, head.header).where(head.study_key.in_(keys), head.sop_instance_uid.in_(uids)))
    group = [_INSTANCE[name] for name in _PLACES[level]]
    order = (_INSTANCE.series_instance_uid, _INSTANCE.instance_number.nulls_first(), _INSTANCE.sop_instance_uid)
    rank = func.row_number().over(partition_by=group, order_by=order).label("rank")
    every = [_INSTANCE[name] for name in _PLACES[Level.INSTANCE]]
    ranked = select(*every, rank).where(_INSTANCE.study_key.in_(keys), _shared()).subquery()
    of_instance = and_(*(ranked.c[name] == head[name] for name in _PLACES[Level.INSTANCE]))
    own = [ranked.c[name] for name in _PLACES[level]]
    return Prepared(select(*own, head.header).join(ranked, of_instance).where(ranked.c.rank == 1))


def _study_columns() -> list[Any]:
    return [column.label(column.name) for column in imaging_study.c]


def _series_columns() -> list[Any]:
    wanted = (_SERIES.series_instance_uid, _SERIES.modality, _SERIES.number, _SERIES.body_part)
    return [*wanted, _SERIES.description.label("series_description")]


def _instance_columns() -> list[Any]:
    own = ("study_key", "series_instance_uid")
    return [column.label(column.name) for column in imaging_instance.c if column.name not in own]


def _of_series() -> ColumnElement[bool]:
    return and_(_INSTANCE.study_key == _SERIES.study_key, _INSTANCE.series_instance_uid == _SERIES.series_instance_uid)


def _shared() -> ColumnElement[bool]:
    withheld = select(1).where(
        imaging_rejection.c.study_key == _INSTANCE.study_key, imaging_rejection.c.sop_instance_uid == _INSTANCE.sop_instance_uid
    )
    return ~exists(withheld.correlate(imaging_instance))


def _held(place: ColumnElement[bool], conditions: Sequence[ColumnElement[bool]]) -> ColumnElement[bool]:
    inner = select(1).select_from(imaging_instance).where(place, *conditions, _shared())
    return exists(inner.correlate(imaging_study, imaging_series))


def _counted(place: ColumnElement[bool]) -> Any:
    inner = select(func.count()).select_from(imaging_instance).where(place, _shared())
    return inner.correlate(imaging_study, imaging_series).scalar_subquery()


def _conditions(query: ImagingQuery, level: Level) -> list[ColumnElement[bool]]:
    moments = _moments(query) if level is Level.STUDY else None
    return [
        *([moments] if moments is not None else []),
        *(
            _condition(item, query)
            for item in query.matchings
            if level_of(item.tag) is level and (moments is None or item.tag not in _MOMENT)
        ),
    ]


def _moments(query: ImagingQuery) -> ColumnElement[bool] | None:
    """Study Date and Time as one range; None when they are not two ranges that are open at the same ends.

    Spec: PS3.4 C.2.2.2.5.4 (combined datetime matching).
    """
    ranges = {item.tag: item.values for item in query.matchings if item.tag in _MOMENT and item.form is Form.RANGE}
    if not query.combined or len(ranges) != len(_MOMENT):
        return None
    (first_day, last_day), (first_time, last_time) = (ranges[tag] for tag in _MOMENT)
    if bool(first_day) != bool(first_time) or bool(last_day) != bool(last_time):
        return None
    day, time = _STUDY.study_date, _STUDY.study_time
    conditions = [day != ""]
    if first_day:
        conditions.append(or_(day > first_day, and_(day == first_day, time >= first_time)))
    if last_day:
        conditions.append(or_(day < last_day, and_(day == last_day, time < last_time + "\U0010ffff")))
    return and_(*conditions)


def _condition(item: Matching, query: ImagingQuery) -> ColumnElement[bool]:
    if item.tag == _MODALITIES_IN_STUDY:
        inner = select(1).select_from(imaging_series)
        condition = or_(*(_compared(_SERIES.modality, item, text) for text in _split(item)))
        return exists(inner.where(_SERIES.study_key == _STUDY.study_key, condition).correlate(imaging_study))
    if item.tag == _SOP_CLASSES_IN_STUDY:
        inner = select(1).select_from(imaging_instance)
        condition = _INSTANCE.sop_class_uid.in_(item.values)
        return exists(inner.where(_INSTANCE.study_key == _STUDY.study_key, condition).correlate(imaging_study))
    column = _COLUMNS[item.tag]
    if item.form is Form.LIST:
        return column.in_(item.values)
    if item.form is Form.RANGE:
        return _between(column, *item.values)
    if item.tag in _NAMES:
        return _name(column, item, fuzzy=query.fuzzy)
    if item.tag in _NUMBERS:
        text = item.values[0].lstrip("+")
        return column == int(text) if text.lstrip("-").isdecimal() and len(text) < 19 else false()
    return _compared(column, item, item.values[0])


def _split(item: Matching) -> list[str]:
    return [part for part in item.values[0].replace(",", "\\").split("\\") if part]


def _between(column: ColumnElement[Any], low: str, high: str) -> ColumnElement[bool]:
    conditions = [column != ""]
    if low:
        conditions.append(column >= low)
    if high:
        # A time that is cut off ends with the last moment that it may mean.
        conditions.append(column < high + "\U0010ffff" if len(high) < 8 else column <= high)
    return and_(*conditions)


def _compared(column: ColumnElement[Any], item: Matching, text: str) -> ColumnElement[bool]:
    if item.form is Form.WILDCARD or "*" in text or "?" in text:
        return _like(column, text)
    if item.tag == 0x00080030 and len(text) < 6:
        return _like(column, text + "*")
    return column == text


def _like(column: ColumnElement[Any], text: str) -> ColumnElement[bool]:
    """A wildcard. What stands before the first one is a range as well, which an index serves on both databases."""
    condition: ColumnElement[bool] = column.like(_pattern(text), escape="\\")
    prefix = re.split(r"[*?]", text, maxsplit=1)[0]
    return and_(column >= prefix, column < prefix + "\U0010ffff", condition) if prefix else condition


def _pattern(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    return escaped.replace("*", "%").replace("?", "_")


def _name(column: ColumnElement[Any], item: Matching, *, fuzzy: bool) -> ColumnElement[bool]:
    folded = fold_name(item.values[0])
    if fuzzy:
        words = re.split(r"[\s^=*,;]+", folded.strip("^=*,; "))
        at = [(_pattern(word) + "%", f"%^{_pattern(word)}%", f"% {_pattern(word)}%") for word in words]
        return and_(*(or_(*(column.like(form, escape="\\") for form in forms)) for forms in at))
    if "=" in folded:
        return _groups(column, folded)
    if item.form is Form.WILDCARD:
        found = _like(column, folded)
    else:
        # Alone, a group or component stands for a name that has no more of them.
        found = or_(column == folded, and_(column >= folded + "=", column < folded + ">"))
    if not any(character > _LAST_LATIN for character in folded):
        return found
    # In another script it stands for one of the groups after the first. Spec: PS3.5 6.2.1.2.
    alone = column.like(f"%={_pattern(folded)}", escape="\\")
    return or_(found, alone, column.like(f"%={_pattern(folded)}=%", escape="\\"))


def _groups(column: ColumnElement[Any], folded: str) -> ColumnElement[bool]:
    """A name with several groups: each that is not empty is sought in its own place, the others may be any. Spec: PS3.5 6.2.1."""
    groups = [_pattern(group) or "%" for group in folded.split("=")]
    whole = "=".join(groups)
    return or_(column.like(whole, escape="\\"), column.like(f"{whole}=%", escape="\\"))
