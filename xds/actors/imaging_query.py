"""Answers queries for studies, series and instances, with what each level must return and what was asked for beside it.

Spec: DICOM PS3.4 C.6.2 (Study Root), PS3.18 10.6.3.3 (attributes of the answers); RAD TF-2 4.129, 4.14.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from xds.model.audit import AuditEvent
from xds.model.caller import Action, Caller, Resource
from xds.model.imaging_query import (
    DicomJson,
    Form,
    ImagingMatch,
    ImagingQuery,
    ImagingQueryAnswer,
    Level,
    Matching,
)
from xds.ports import AccessRule
from xds.rules.imaging_matching import fits
from xds.store import audit, imaging_headers, imaging_search
from xds.store.database import Database

#: Matches that one answer holds at most; more are there for whoever asks again with an offset.
MAX_MATCHES: Final = 1000

_STUDY_INSTANCE_UID: Final = 0x0020000D
_SERIES_INSTANCE_UID: Final = 0x0020000E
_SOP_CLASSES_IN_STUDY: Final = 0x00080062
_QUERY_LEVELS: Final = {Level.STUDY: 1, Level.SERIES: 2, Level.INSTANCE: 3}

#: Attributes that every answer of a level has, and the column each is in. Spec: PS3.18 Tables 10.6.3-3 to 10.6.3-5.
_OF_STUDY: Final = (
    ("00080020", "DA", "study_date"),
    ("00080030", "TM", "study_time"),
    ("00080050", "SH", "accession_number"),
    ("00080090", "PN", "referring_physician"),
    ("00080201", "SH", "timezone_offset"),
    ("00100010", "PN", "patient_name"),
    ("00100020", "LO", "patient_id"),
    ("00100021", "LO", "issuer_namespace"),
    ("00100030", "DA", "birth_date"),
    ("00100040", "CS", "sex"),
    ("0020000D", "UI", "study_instance_uid"),
    ("00200010", "SH", "study_id"),
    ("00081030", "LO", "description"),
)
_OF_SERIES: Final = (
    ("00080060", "CS", "modality"),
    ("0008103E", "LO", "series_description"),
    ("0020000E", "UI", "series_instance_uid"),
    ("00200011", "IS", "number"),
    ("00180015", "CS", "body_part"),
)
_OF_INSTANCE: Final = (
    ("00080016", "UI", "sop_class_uid"),
    ("00080018", "UI", "sop_instance_uid"),
    ("00083002", "UI", "transfer_syntax_uid"),
    ("00200013", "IS", "instance_number"),
    ("00280008", "IS", "frames"),
    ("00280010", "US", "rows"),
    ("00280011", "US", "columns"),
)
#: What is counted of each patient: studies, series and instances.
_COUNTS_OF_PATIENT: Final = ("00201200", "00201202", "00201204")
#: Taken from the header of the series' first instance, when it has them.
_SERIES_FROM_HEADER: Final = ("00400244", "00400245", "00400275")
_INSTANCE_FROM_HEADER: Final = ("00280100",)
#: Attributes of series that are matched there, too, and how many candidates are looked at for one answer.
_MATCHED_IN_HEADER: Final = frozenset({0x00400244, 0x00400245, 0x00400275})
_MAX_CANDIDATES: Final = 20_000
_PAGE: Final = 500


class StudyQueries:
    """The actor's queries. One object serves all threads."""

    def __init__(
        self,
        database: Database,
        access: AccessRule,
        resource_of: Callable[[Mapping[str, Any], Mapping[str, Any]], Resource],
        *,
        max_matches: int = MAX_MATCHES,
    ) -> None:
        """`resource_of` makes what the access rule judges from the columns and the summary of a study."""
        self._database = database
        self._access = access
        self._resource_of = resource_of
        self._max_matches = max_matches

    def query(
        self, query: ImagingQuery, caller: Caller, base_url: str, event: Callable[[Sequence[str]], AuditEvent]
    ) -> ImagingQueryAnswer:
        """What fits, as far as the caller may know of it; `base_url` is the address of the DICOMweb service.

        `event` makes the audit event from the patients (CX) whose studies were found.
        """
        limit = min(query.limit if query.limit is not None else self._max_matches, self._max_matches)
        looked_up = {item.tag for item in _in_headers(query)}
        ignored = tuple(
            item.tag for item in query.matchings if imaging_search.level_of(item.tag) is None and item.tag not in looked_up
        )
        if query.level is Level.PATIENT:
            found, patients, more = self._patients(query, caller, limit)
        else:
            found, patients, more = self._below(query, caller, limit, base_url)
        recorded = event(patients)
        self._database.write_later(lambda connection: audit.append(connection, recorded))
        return ImagingQueryAnswer(found, more, ignored)

    def _below(
        self, query: ImagingQuery, caller: Caller, limit: int, base_url: str
    ) -> tuple[list[ImagingMatch], list[str], bool]:
        with self._database.read() as connection:
            rows = self._found(connection, query, limit + 1)
            more, rows = len(rows) > limit, rows[:limit]
            summaries = imaging_search.summaries(connection, list({row["study_key"] for row in rows}))
            rows, patients = self._permitted(rows, summaries, caller)
            made = [_match(query, row, summaries[row["study_key"]], base_url) for row in rows]
            _add_from_headers(connection, query, rows, made)
        return [ImagingMatch(dict(sorted(item.attributes.items())), *item.uids) for item in made], patients, more

    def _found(self, connection: Any, query: ImagingQuery, limit: int) -> list[Mapping[str, Any]]:
        """At most `limit` rows; keys that are in no column are compared with the headers of what fits the others."""
        wanted = _in_headers(query)
        if not wanted:
            return imaging_search.search(connection, query, limit)
        found: list[Mapping[str, Any]] = []
        for start in range(0, _MAX_CANDIDATES, _PAGE):
            rows = imaging_search.search(connection, replace(query, offset=start), _PAGE)
            found += _fitting(connection, query.level, rows, wanted)
            if len(rows) < _PAGE or len(found) >= query.offset + limit:
                break
        return found[query.offset : query.offset + limit]

    def _permitted(
        self, rows: Sequence[Mapping[str, Any]], summaries: Mapping[int, Mapping[str, Any]], caller: Caller
    ) -> tuple[list[Mapping[str, Any]], list[str]]:
        studies = {row["study_key"]: row for row in rows}
        resources = [self._resource_of(row, summaries[key]) for key, row in studies.items()]
        verdicts = self._access.permits(caller, Action.RETRIEVE, resources) if resources else ()
        allowed = {key for key, permitted in zip(studies, verdicts, strict=True) if permitted}
        patients = {item.patient_id for item, permitted in zip(resources, verdicts, strict=True) if permitted}
        return [row for row in rows if row["study_key"] in allowed], sorted(patients)

    def _patients(self, query: ImagingQuery, caller: Caller, limit: int) -> tuple[list[ImagingMatch], list[str], bool]:
        """Patient level of the Patient Root: each identifier that images name, once. Spec: PS3.4 C.6.1."""
        studies = ImagingQuery(Level.STUDY, query.matchings, fuzzy=query.fuzzy)
        with self._database.read() as connection:
            rows = imaging_search.search(connection, studies, self._max_matches + 1)
            summaries = imaging_search.summaries(connection, [row["study_key"] for row in rows])
        permitted, patients = self._permitted(rows, summaries, caller)
        found: dict[tuple[str, str | None], dict[str, Any]] = {}
        counts: dict[tuple[str, str | None], list[int]] = {}
        named = [item for item in _OF_STUDY if item[0].startswith("0010")]
        for row in permitted:
            key, summary = (row["patient_id"], row["issuer_oid"]), summaries[row["study_key"]]
            found.setdefault(key, _attributes(row, named))
            held = (1, summary["series"], summary["instances"])
            counts[key] = [one + more for one, more in zip(counts.get(key, (0, 0, 0)), held, strict=True)]
        for key, attributes in found.items():
            counted = zip(_COUNTS_OF_PATIENT, counts[key], strict=True)
            attributes.update((tag, _element("IS", number)) for tag, number in counted)
        page = [ImagingMatch(attributes) for attributes in found.values()][query.offset :]
        return page[:limit], patients, len(page) > limit or len(rows) > self._max_matches


@dataclass(frozen=True, slots=True)
class _Made:
    """A match in the making, with its UIDs as far as its level has them."""

    attributes: dict[str, Any]
    uids: tuple[str, str, str]


def _match(query: ImagingQuery, row: Mapping[str, Any], summary: Mapping[str, Any], base_url: str) -> _Made:
    """What columns tell."""
    depth = _QUERY_LEVELS[query.level]
    study, series, instance = row["study_instance_uid"], row.get("series_instance_uid"), row.get("sop_instance_uid")
    url = f"{base_url}/studies/{study}"
    names_study = query.value_of(_STUDY_INSTANCE_UID) is not None and depth > 1
    # Who asks below one study knows it; the same for a series. Spec: PS3.18 10.6.1.2.3.
    attributes: dict[str, Any] = {"0020000D": _element("UI", study)} if names_study else dict(_study_attributes(row, summary))
    if query.includes is None or _SOP_CLASSES_IN_STUDY in query.includes:
        attributes["00080062"] = _element("UI", *summary["sop_classes"])
    if depth >= 2:
        url += f"/series/{series}"
        names_series = query.value_of(_SERIES_INSTANCE_UID) is not None and depth > 2
        attributes |= {"0020000E": _element("UI", series)} if names_series else _attributes(row, _OF_SERIES)
    if depth == 2:
        attributes["00201209"] = _element("IS", row["instances"])
    if depth == 3:
        url += f"/instances/{instance}"
        attributes |= _attributes(row, _OF_INSTANCE)
    attributes["00080056"] = _element("CS", "ONLINE")
    attributes["00081190"] = _element("UR", url)
    return _Made(attributes, (study, series or "", instance or ""))


def _add_from_headers(connection: Any, query: ImagingQuery, rows: Sequence[Mapping[str, Any]], made: Sequence[_Made]) -> None:
    """What is not in columns: taken from the header of an instance, of the first one above its level.

    What columns tell is as it is in the header, unless the source has corrected it since.
    """
    wanted = {f"{tag:08X}" for tag in query.includes or ()}
    if query.level is Level.SERIES:
        wanted.update(_SERIES_FROM_HEADER)
    if query.level is Level.INSTANCE:
        wanted.update(_INSTANCE_FROM_HEADER)
    some = [
        (imaging_search.place_of(query.level, row), row, item.attributes)
        for row, item in zip(rows, made, strict=True)
        if query.includes is None or any("Value" not in item.attributes.get(tag, {}) for tag in wanted)
    ]
    packed = imaging_search.headers(connection, query.level, [row for _, row, _ in some]) if some else {}
    for place, _, attributes in some:
        if place not in packed:
            continue
        found: dict[str, Any] = json.loads(imaging_headers.unpack(packed[place]))
        told = found if query.includes is None else {tag: found[tag] for tag in wanted if tag in found}
        attributes.update((tag, value) for tag, value in told.items() if "BulkDataURI" not in value)


def _in_headers(query: ImagingQuery) -> list[Matching]:
    return [item for item in query.matchings if item.tag in _MATCHED_IN_HEADER] if _QUERY_LEVELS.get(query.level, 0) > 1 else []


def _fitting(
    connection: Any, level: Level, rows: Sequence[Mapping[str, Any]], wanted: Sequence[Matching]
) -> Iterator[Mapping[str, Any]]:
    """The rows whose header fits: that of the instance, or of the first one of a series."""
    packed = imaging_search.headers(connection, level, rows) if rows else {}
    for row in rows:
        header = packed.get(imaging_search.place_of(level, row))
        if header is not None and fits(json.loads(imaging_headers.unpack(header)), wanted):
            yield row


def matching_uids(study: str | None = None, series: str | None = None) -> tuple[Matching, ...]:
    """What the path of a query names, as matchings."""
    named = ((_STUDY_INSTANCE_UID, study), (_SERIES_INSTANCE_UID, series))
    return tuple(Matching(tag, Form.EQUAL, (uid,)) for tag, uid in named if uid is not None)


def _study_attributes(row: Mapping[str, Any], summary: Mapping[str, Any]) -> DicomJson:
    found = _attributes(row, _OF_STUDY)
    found["00080061"] = _element("CS", *summary["modalities"])
    found["00201206"] = _element("IS", summary["series"])
    found["00201208"] = _element("IS", summary["instances"])
    return found


def _attributes(row: Mapping[str, Any], wanted: Iterable[tuple[str, str, str]]) -> dict[str, Any]:
    return {tag: _element(vr, row[name]) for tag, vr, name in wanted}


def _element(vr: str, *values: Any) -> dict[str, Any]:
    """An element in the JSON model; without a value it is there and empty: it was asked for and is not known."""
    known = [value for value in values if value not in (None, "")]
    if not known:
        return {"vr": vr}
    if vr == "PN":
        groups = zip(("Alphabetic", "Ideographic", "Phonetic"), str(known[0]).split("="), strict=False)
        return {"vr": vr, "Value": [{name: part for name, part in groups if part}]}
    return {"vr": vr, "Value": known}
