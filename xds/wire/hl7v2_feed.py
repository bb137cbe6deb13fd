"""Identity and encounter feeds in HL7 v2 (ADT), and the notification that identifiers belong together now (ADT^A31 of ITI-10).

Tolerated deviations of a feed: no EVN, no PV1, an empty EVN-1; what `hl7v2_demographics` tolerates in PID; repetitions of PID-3
that are empty or deleted; MSH-9.3 absent or made of type and event.

Spec: ITI TF-2 3.8.4, 3.10.4, 3.30.4, 3.31.7, Appendix E.1 (CX).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final

from xds.model.identifiers import PatientIdentifier
from xds.model.metadata import Code
from xds.model.patient import (
    PATIENT_ENCOUNTER_MANAGEMENT,
    PATIENT_IDENTITY_FEED,
    PATIENT_IDENTITY_MANAGEMENT,
    FeedKind,
    IdentityFeed,
)
from xds.wire.hl7v2 import DELETED, Condition, Fault, Location, Message, Segment, escape, segment
from xds.wire.hl7v2_answers import VERSIONS, cx, header
from xds.wire.hl7v2_demographics import DELETABLE, deleted_values, pid_fields, read_demographics
from xds.wire.hl7v2_identity import identifiers, receiving_system, sending_system, system, universal_id_faults

#: What the events of ITI-8 and ITI-30 do. Every other event tells of an encounter, and of the patient as she is known then.
FEED_KINDS: Final = {
    "A01": FeedKind.ADD,
    "A04": FeedKind.ADD,
    "A05": FeedKind.ADD,
    "A28": FeedKind.ADD,
    "A08": FeedKind.REVISE,
    "A31": FeedKind.REVISE,
    "A40": FeedKind.MERGE,
    "A47": FeedKind.CHANGE,
}
_ADDING_ENCOUNTERS: Final = frozenset({"A14"})
#: Events that carry no visit, whatever their PV1 says.
_WITHOUT_VISIT: Final = frozenset({"A28", "A31", "A40", "A47"})
_EVENT_TYPES: Final[Mapping[str, Code]] = {
    **dict.fromkeys(("A01", "A04", "A05", "A08", "A40"), PATIENT_IDENTITY_FEED),
    **dict.fromkeys(("A28", "A31", "A47"), PATIENT_IDENTITY_MANAGEMENT),
}
#: Segments of a visit with the number of their last field in HL7 2.5.
_VISIT_SEGMENTS: Final = {"PV1": 52, "PV2": 49, "PD1": 21}
_LONGEST_VISIT_VALUE: Final = 250
_MOST_VISIT_COMPONENTS: Final = 24


def visit_field(name: str, field: int, component: int = 1, subcomponent: int = 1) -> str:
    """The name of one value of a visit: `PV1.3.2`, and `PV1.3` for its first component."""
    if subcomponent > 1:
        return f"{name}.{field}.{component}.{subcomponent}"
    return f"{name}.{field}.{component}" if component > 1 else f"{name}.{field}"


def read_visit(message: Message) -> Mapping[str, str]:
    """The values of PV1, PV2 and PD1 by their names, of repeated fields the first; without those that are empty or very long.

    Empty when there is no visit: no PV1, or the patient class is N (not applicable).
    """
    visit: dict[str, str] = {}
    for item in message.segments:
        last = _VISIT_SEGMENTS.get(item.name)
        if last is None:
            continue
        for number, text in enumerate(item.fields[:last], 1):
            if not text or text == DELETED or (number == 1 and item.name == "PV1"):
                continue
            if text.isalnum():
                visit.setdefault(f"{item.name}.{number}", text[:_LONGEST_VISIT_VALUE])
            else:
                _add_values(visit, message, item.name, number, text)
    return visit if visit.get("PV1.2", "N") != "N" else {}


def _add_values(visit: dict[str, str], message: Message, name: str, number: int, text: str) -> None:
    first = text.split(message.separators.repetition, 1)[0]
    for component, part in enumerate(first.split(message.separators.component)[:_MOST_VISIT_COMPONENTS], 1):
        if not part:
            continue
        for subcomponent, value in enumerate(message.subcomponents(part)[:4], 1):
            if value and value != DELETED and len(value) <= _LONGEST_VISIT_VALUE:
                visit.setdefault(visit_field(name, number, component, subcomponent), value)


def write_visit(visit: Mapping[str, str], name: str, least: Mapping[int, str]) -> Segment | None:
    """A segment of a visit from its values; `least` are fields in their wire form that it has anyway. None when it is empty."""
    parts: dict[int, dict[tuple[int, int], str]] = {}
    for path, value in visit.items():
        owner, *numbers = path.split(".")
        if owner == name and all(item.isdecimal() for item in numbers):
            field, component, subcomponent = ([int(item) for item in numbers] + [1, 1])[:3]
            parts.setdefault(field, {})[component, subcomponent] = escape(value)
    if not parts and not least:
        return None
    return segment(name, {**least, **{field: _joined(values) for field, values in parts.items()}})


def _joined(values: Mapping[tuple[int, int], str]) -> str:
    components = []
    for component in range(1, max(number for number, _ in values) + 1):
        own = {part: text for (number, part), text in values.items() if number == component}
        components.append("&".join(own.get(part, "") for part in range(1, max(own, default=0) + 1)))
    return "^".join(components)


def _structure_faults(message: Message, kind: FeedKind) -> list[Fault]:
    """Whether the message has the segments that it needs, and no other patient's."""
    sequence = Condition.SEGMENT_SEQUENCE
    patients = message.count("PID")
    if patients == 0:
        return [Fault(sequence, "the PID segment is missing", Location("PID", 1))]
    if kind not in (FeedKind.MERGE, FeedKind.CHANGE):
        return [Fault(sequence, "the message tells of one patient only", Location("PID", 2))] if patients > 1 else []
    priors = message.count("MRG")
    if priors == 0:
        return [Fault(sequence, "the message needs an MRG segment", Location("MRG", 1))]
    if patients > 1 or priors > 1:
        name = "PID" if patients > 1 else "MRG"
        return [Fault(sequence, "the message holds one pair of patients", Location(name, 2))]
    return []


def read_feed(message: Message) -> tuple[IdentityFeed | None, tuple[Fault, ...]]:
    """An ADT message as a feed, and everything that is wrong with it: the feed is what can be read of it then.

    Identifiers keep whatever their authority states, nothing included: the PIX Manager completes them. No feed at all can be read
    without a PID.
    Errors: 100 (PID or MRG missing or repeated), 101 (PID-3, MRG-1), 102 (dates), 103 (sex, universal id type).
    Spec: ITI TF-2 3.8.4.1.2, 3.8.4.2.2, 3.30.4, 3.31.7.
    """
    event = message.event
    kind = FEED_KINDS.get(event) or (FeedKind.ADD if event in _ADDING_ENCOUNTERS else FeedKind.REVISE)
    faults = _structure_faults(message, kind)
    pid = message.segment("PID")
    if pid is None:
        return None, tuple(faults)
    listed = identifiers(message, pid.field(3))
    if not listed:
        text = "PID-3 (patient identifier list) needs an identifier"
        faults.append(Fault(Condition.REQUIRED_MISSING, text, Location("PID", 1, 3)))
    faults += universal_id_faults(message, pid.field(3), Location("PID", 1, 3))
    demographics = read_demographics(message, pid, faults)
    prior = message.segment("MRG") if kind in (FeedKind.MERGE, FeedKind.CHANGE) else None
    subsumed = identifiers(message, prior.field(1)) if prior else ()
    if prior:
        faults += universal_id_faults(message, prior.field(1), Location("MRG", 1, 1))
        if not subsumed:
            text = "MRG-1 (prior patient identifier list) needs an identifier"
            faults.append(Fault(Condition.REQUIRED_MISSING, text, Location("MRG", 1, 1)))
    feed = IdentityFeed(
        kind=kind,
        source=sending_system(message),
        destination=receiving_system(message),
        message_id=message.control_id,
        identifiers=listed,
        demographics=demographics,
        deleted=deleted_values(message, pid, demographics),
        subsumed=subsumed,
        account_number=demographics.account_number.value if demographics.account_number else None,
        event_type=_EVENT_TYPES.get(event, PATIENT_ENCOUNTER_MANAGEMENT),
        visit={} if event in _WITHOUT_VISIT else read_visit(message),
        is_lenient=kind is FeedKind.MERGE and _is_identity_management(message),
    )
    return feed, tuple(faults)


def _is_identity_management(message: Message) -> bool:
    """True when a merge is ITI-30's: spoken in 2.5, and not said to be ITI-8's. Spec: ITI TF-2 3.30.4.3."""
    return message.version in VERSIONS and not message.header(21).startswith("ITI-8")


#: Trigger, and structure in 2.5.
_STRUCTURES: Final = {
    FeedKind.ADD: ("A01", "ADT_A01"),
    FeedKind.REVISE: ("A08", "ADT_A01"),
    FeedKind.MERGE: ("A40", "ADT_A39"),
    FeedKind.CHANGE: ("A47", "ADT_A30"),
}
_IDENTITY_STRUCTURES: Final = {**_STRUCTURES, FeedKind.ADD: ("A28", "ADT_A05"), FeedKind.REVISE: ("A31", "ADT_A05")}


def write_feed(feed: IdentityFeed, *, now: datetime, version: str = "2.3.1") -> Message:
    """A feed as an ADT message: A01, A08 or A40 of ITI-8; A28, A31, A40 or A47 of ITI-30 when its `event_type` says so (in 2.5).

    A link has a message of its own. Spec: ITI TF-2 3.8.4.1.2, 3.8.4.2.2, 3.30.4.
    """
    is_management = feed.kind is FeedKind.CHANGE or feed.event_type == PATIENT_IDENTITY_MANAGEMENT
    event, structure = (_IDENTITY_STRUCTURES if is_management else _STRUCTURES)[feed.kind]
    head = _head(feed, f"ADT^{event}^{structure}", now, "2.5" if is_management else version)
    segments = [head, segment("EVN", {1: event, 2: head.field(7)}), _patient(feed)]
    if feed.kind in (FeedKind.MERGE, FeedKind.CHANGE):
        segments.append(segment("MRG", {1: "~".join(map(cx, feed.subsumed))}))
    else:
        segments += _visit(feed, "N" if is_management else "O")
    return Message(tuple(segments))


def write_encounter(feed: IdentityFeed, event: str, structure: str, *, now: datetime) -> Message:
    """What a feed tells of a visit as an ADT message of that event. Spec: ITI TF-2 3.31.7."""
    head = _head(feed, f"ADT^{event}^{structure}", now, "2.5")
    visit = _visit(feed, "U")
    return Message((head, segment("EVN", {1: event, 2: head.field(7), 6: head.field(7)}), _patient(feed), *visit))


def _head(feed: IdentityFeed, message_type: str, now: datetime, version: str) -> Segment:
    return header(
        message_type,
        sender=system(feed.source),
        receiver=system(feed.destination or "XDS|XDS"),
        control_id=feed.message_id,
        now=now,
        version=version,
    )


def _patient(feed: IdentityFeed) -> Segment:
    given = pid_fields(feed.demographics) | {3: "~".join(map(cx, feed.identifiers))}
    deleted = {field: DELETED for field, name in DELETABLE.items() if name in feed.deleted and not given[field]}
    return segment("PID", given | deleted)


def _visit(feed: IdentityFeed, patient_class: str) -> list[Segment]:
    """PD1, PV1, PV2. `patient_class` is PV1-2 where the feed tells of no visit."""
    given = (
        write_visit(feed.visit, "PD1", {}),
        write_visit(feed.visit, "PV1", {2: patient_class}),
        write_visit(feed.visit, "PV2", {}),
    )
    return [item for item in given if item]


def write_update_notification(
    given: Sequence[PatientIdentifier], *, source: str, destination: str, control_id: str, occurred: datetime, now: datetime
) -> Message:
    """That these identifiers mean one person from now on: ADT^A31, those of one domain together.

    `source` and `destination` are `facility|application`. Spec: ITI TF-2 3.10.4.1.2.
    """
    head = header(
        "ADT^A31^ADT_A05", sender=system(source), receiver=system(destination), control_id=control_id, now=now, version="2.5"
    )
    marked = segment("MSH", {**dict(enumerate(head.fields, 1)), 21: "ITI-10^IHE"})
    domains = dict.fromkeys(item.authority for item in given)
    grouped = [item for authority in domains for item in given if item.authority == authority]
    event = segment("EVN", {1: "A31", 2: head.field(7), 6: f"{occurred:%Y%m%d%H%M%S%z}"})
    # PID-5 is required by HL7 but carries no name here: a single space.
    patient = segment("PID", {3: "~".join(map(cx, grouped)), 5: " "})
    return Message((marked, event, patient, segment("PV1", {2: "N"})))
