"""Answers to demographics queries in HL7 v2 (RSP^K22, RSP^ZV2), and the queries as a client writes them.

Spec: ITI TF-2 3.21.4.2, 3.21.4.3, 3.22.4.2.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from xds.model.demographics_query import (
    INCOMPLETE,
    Comparison,
    DateRange,
    DemographicsQuery,
    IdentifierPattern,
    PageRequest,
    PatientMatch,
    TextPattern,
)
from xds.model.identifiers import PatientIdentifier
from xds.model.patient import Demographics
from xds.wire.hl7v2 import Condition, Fault, Message, Segment, components, escape, segment
from xds.wire.hl7v2_answers import Acknowledgement, answer_segments, cx, hd, header, query_segments
from xds.wire.hl7v2_demographics import last_update, pid_fields, read_demographics
from xds.wire.hl7v2_feed import read_visit, write_visit
from xds.wire.hl7v2_identity import identifiers, system
from xds.wire.hl7v2_query_names import Criterion, text_pattern

#: Name of the query, for both transactions.
QUERY_NAME: Final = "IHE PDQ Query"
_ANSWER_TYPES: Final = {"Q22": "RSP^K22^RSP_K21", "ZV1": "RSP^ZV2^RSP_ZV2"}
#: PID-5 is required, and an answer without a name has one of unspecified type.
_NO_NAME: Final = "^^^^^^U"


@dataclass(frozen=True, slots=True)
class FoundPatient:
    """A patient in an answer. `score` is QRI-1, `visit` the values of PV1, PV2 and PD1 by their names."""

    identifiers: tuple[PatientIdentifier, ...]
    demographics: Demographics
    score: float | None = None
    visit: Mapping[str, str] = field(default_factory=dict)


def _folded(text: str) -> str:
    return "".join(item for item in unicodedata.normalize("NFKD", text.casefold()) if not unicodedata.combining(item)).strip()


def _fits(text: str, pieces: Sequence[str]) -> bool:
    """Whether a text has these pieces in their order, the first at its beginning and the last at its end."""
    first, *middle, last = pieces
    if len(text) < len(first) + len(last) or not text.startswith(first) or not text.endswith(last):
        return False
    at, end = len(first), len(text) - len(last)
    for piece in middle:
        # The earliest place is as good as any later one: no pattern can make this take long.
        found = text.find(piece, at, end)
        if found < 0:
            return False
        at = found + len(piece)
    return True


def _meets(text: str, wanted: TextPattern) -> bool:
    found, sought = _folded(text), _folded(wanted.value)
    match wanted.comparison:
        case Comparison.PREFIX:
            return found.startswith(sought)
        case Comparison.CONTAINS:
            return sought in found
        case Comparison.WILDCARD:
            return _fits(found, sought.split("*"))
        case _:
            return found == sought


def meets(match: PatientMatch, criteria: Sequence[Criterion]) -> bool:
    """Whether the PID of a patient has what was sought in it: all of it, each in some repetition of its field."""
    if not criteria:
        return True
    pid = _pid(match, 1)
    message = Message((pid,))

    def has(item: Criterion) -> bool:
        for given in pid.field(item.field).split("~"):
            parts = [*given.split("^"), *[""] * item.component]
            subcomponents = [*message.subcomponents(parts[item.component - 1]), *[""] * item.subcomponent]
            if any(_meets(subcomponents[item.subcomponent - 1], text_pattern(value)) for value in item.values):
                return True
        return False

    return all(map(has, criteria))


def _pid(match: PatientMatch, number: int) -> Segment:
    fields = pid_fields(match.demographics)
    fields[1] = str(number)
    fields[3] = "~".join(map(cx, match.identifiers))
    fields[5] = fields[5] or _NO_NAME
    fields[33] = last_update(match.updated)
    return segment("PID", fields)


def _patient(match: PatientMatch, number: int, *, with_visit: bool) -> Iterator[Segment]:
    yield _pid(match, number)
    given = [write_visit(match.visit, "PD1", {})]
    if with_visit:
        # PV1-2 is required: N, not applicable, when no visit is known.
        given += [write_visit(match.visit, "PV1", {1: "1", 2: "N"}), write_visit(match.visit, "PV2", {})]
    yield from (item for item in given if item)
    # HL7 2.5 requires QRI in this structure, the framework does not. Who is found exactly as asked has no lower confidence.
    yield Segment("QRI", (str(100 if match.score is None else match.score),))


def write_demographics_answer(
    request: Message,
    matches: Sequence[PatientMatch],
    faults: Sequence[Fault] = (),
    *,
    pointer: str | None = None,
    incomplete: bool = False,
    now: datetime,
    control_id: str,
) -> Message:
    """The answer to a demographics query: patients found (none means NF), or the faults (AE). `pointer` continues it (DSC).

    `incomplete`: more patients match than are ever answered, of which an ERR warns.

    Spec: ITI TF-2 3.21.4.2.2, 3.22.4.2.2.
    """
    code = Acknowledgement.ERROR if faults else Acknowledgement.ACCEPT
    status = "AE" if faults else ("OK" if matches else "NF")
    answer_type = _ANSWER_TYPES[request.event]
    told = (Fault(Condition.ACCEPTED, INCOMPLETE, severity="W"),) if incomplete and not faults else faults
    segments = [
        *answer_segments(request, answer_type, code, told, now=now, control_id=control_id),
        *query_segments(request, status),
    ]
    if not faults:
        for number, match in enumerate(matches, 1):
            segments += _patient(match, number, with_visit=request.event == "ZV1")
        if pointer:
            segments.append(Segment("DSC", (escape(pointer), "I")))
    return Message(tuple(segments), codec=request.codec)


def read_demographics_answer(message: Message) -> tuple[FoundPatient, ...]:
    """The patients that an answer brings."""
    groups: list[list[Segment]] = []
    for item in message.segments:
        if item.name == "PID":
            groups.append([])
        if groups:
            groups[-1].append(item)
    return tuple(_found(Message(tuple(group), message.separators, message.codec)) for group in groups)


def _found(group: Message) -> FoundPatient:
    pid = group.segments[0]
    score = group.get("QRI-1").strip()
    return FoundPatient(
        identifiers(group, pid.field(3)),
        read_demographics(group, pid, []),
        float(score) if re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,9})?", score) else None,
        read_visit(group),
    )


def pointer_of(message: Message) -> str | None:
    """The continuation pointer of an answer (DSC-1); None when there is no more to come."""
    return message.get("DSC-1").strip() or None


def write_demographics_query(
    query: DemographicsQuery, page: PageRequest, *, event: str, source: str, destination: str, control_id: str, now: datetime
) -> Message:
    """A query as QBP^Q22 or QBP^ZV1 (`event`), with the pointer of `page` as DSC.

    Of the alternatives of a name or an address the first is asked for. Spec: ITI TF-2 3.21.4.1.2, 3.22.4.1.2.
    """
    head = header(
        f"QBP^{event}^QBP_Q21", sender=system(source), receiver=system(destination), control_id=control_id, now=now, version="2.5"
    )
    criteria = "~".join(f"@{name}^{value}" for name, value in _criteria(query))
    is_fuzzy = any(text.comparison is Comparison.FUZZY for text in _name_texts(query))
    score = query.minimum_score if query.minimum_score is not None or not is_fuzzy else 0
    fields = {
        1: QUERY_NAME,
        2: escape(page.query_tag or control_id),
        3: criteria,
        4: "" if score is None else str(score),
        8: "~".join(components("", "", "", hd(item)) for item in query.domains),
    }
    segments = [head, segment("QPD", fields), segment("RCP", {1: "I", 2: f"{page.limit}^RD" if page.limit else ""})]
    if page.after:
        segments.append(segment("DSC", {1: escape(page.after), 2: "I"}))
    return Message(tuple(segments))


def _name_texts(query: DemographicsQuery) -> list[TextPattern]:
    return [text for each in query.names for name in each[:1] for text in (name.family, name.given) if text]


def _wanted(text: TextPattern) -> str:
    value = escape(text.value)
    return {Comparison.PREFIX: f"{value}*", Comparison.CONTAINS: f"*{value}*"}.get(text.comparison, value)


def _identifier_criteria(field_name: str, pattern: IdentifierPattern) -> Iterator[tuple[str, str]]:
    if pattern.value:
        yield f"{field_name}.1", escape(pattern.value)
    if pattern.authority:
        parts = (pattern.authority.namespace or "", pattern.authority.oid or "", "ISO" if pattern.authority.oid else "")
        for number, part in enumerate(parts, 1):
            if part:
                yield f"{field_name}.4.{number}", escape(part)


def _partial(days: DateRange) -> str:
    low, high = days.low or days.high or "", days.high or days.low or ""
    return low[:4] if (low[4:], high[4:]) == ("0101", "1231") else low[:6] if (low[6:], high[6:]) == ("01", "31") else low


def _criteria(query: DemographicsQuery) -> Iterator[tuple[str, str]]:
    for item in query.identifiers:
        yield from _identifier_criteria("PID.3", item[0])
    for names in query.names[:1]:
        parts = {"5.1.1": names[0].family, "5.2": names[0].given, "5.4": names[0].suffix, "5.5": names[0].prefix}
        yield from ((f"PID.{part}", _wanted(text)) for part, text in parts.items() if text)
    for maiden in query.mothers_maiden_names:
        yield "PID.6.1.1", _wanted(maiden)
    for given in query.mothers_given_names:
        yield "PID.6.2", _wanted(given)
    for days in query.birth_dates:
        yield "PID.7", _partial(days)
    for sex in query.sexes:
        yield "PID.8", escape(sex)
    for places in query.addresses[:1]:
        place = places[0]
        named = {"1.1": place.street, "3": place.city, "4": place.state, "5": place.postal_code, "6": place.country}
        yield from ((f"PID.11.{part}", _wanted(text)) for part, text in named.items() if text)
    for numbers in query.telephones[:1]:
        yield "PID.13.1", _wanted(numbers[0])
    if query.account_number:
        yield from _identifier_criteria("PID.18", query.account_number)
    for item in query.mother_identifiers:
        yield from _identifier_criteria("PID.21", item[0])
    for name, text in query.visit.items():
        yield name, _wanted(text)


def write_cancellation(tag: str, *, source: str, destination: str, control_id: str, now: datetime) -> Message:
    """That no more of a query is wanted: QCN^J01. Spec: ITI TF-2 3.21.4.3.2."""
    head = header(
        "QCN^J01^QCN_J01", sender=system(source), receiver=system(destination), control_id=control_id, now=now, version="2.5"
    )
    return Message((head, segment("QID", {1: escape(tag), 2: QUERY_NAME})))
