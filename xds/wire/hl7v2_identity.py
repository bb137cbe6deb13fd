"""Patient identity in HL7 v2: feeds (ADT), PIX queries (QBP^Q23) and their answers (RSP^K23).

Tolerated deviations of a feed: no EVN, no PV1, an empty EVN-1; no PID-5 (newborn without a name); repetitions of PID-3 that are
empty or deleted; birth dates with day or month 00 (kept to the precision that is left); sex in lower case; MSH-9.3 absent or
made of type and event.

Spec: ITI TF-2 3.8.4 (feed), 3.9.4 (query), Appendix E.1 (CX).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from xds.model.identifiers import AssigningAuthority, PatientIdentifier, is_dtm
from xds.model.patient import (
    PATIENT_IDENTITY_FEED,
    PATIENT_IDENTITY_MANAGEMENT,
    Address,
    Demographics,
    FeedKind,
    IdentityFeed,
    IdentityProblem,
    IdentityProblemKind,
    PersonName,
)
from xds.wire.hl7v2 import DELETED, Condition, Fault, Location, Message, components, escape, segment, translate
from xds.wire.hl7v2_answers import Acknowledgement, answer_segments, cx, hd, header

FEED_KINDS = {
    "A01": FeedKind.ADD,
    "A04": FeedKind.ADD,
    "A05": FeedKind.ADD,
    "A28": FeedKind.ADD,
    "A08": FeedKind.REVISE,
    "A31": FeedKind.REVISE,
    "A40": FeedKind.MERGE,
}
#: HL7 table 0001.
_SEXES = frozenset("FMOUAN")
_TIME_TAIL = re.compile(r"(\.[0-9]{1,4})?([+-][0-9]{4})?\Z")
_ANSWER_TYPE = "RSP^K23^RSP_K23"


@dataclass(frozen=True, slots=True)
class PixQuery:
    """A PIX query: whose identifiers in which domains are asked for. `domains` empty means all."""

    tag: str
    identifier: PatientIdentifier
    domains: tuple[AssigningAuthority, ...] = ()


def _authority(message: Message, path: str, repetition: int = 1, occurrence: int = 1) -> AssigningAuthority:
    namespace = message.get(f"{path}.4.1", repetition, occurrence).strip()
    oid = message.get(f"{path}.4.2", repetition, occurrence).strip()
    return AssigningAuthority(namespace or None, oid or None)


def _identifier(message: Message, path: str, repetition: int = 1, occurrence: int = 1) -> PatientIdentifier | None:
    value = message.get(f"{path}.1", repetition, occurrence).strip()
    if not value or value == DELETED:
        return None
    type_code = message.get(f"{path}.5", repetition, occurrence).strip()
    return PatientIdentifier(value, _authority(message, path, repetition, occurrence), type_code or None)


def read_identifiers(message: Message, path: str, occurrence: int = 1) -> tuple[PatientIdentifier, ...]:
    """The identifiers of a CX field in the n-th segment of its name; empty repetitions are left out."""
    count = message.repetitions(path, occurrence)
    found = (_identifier(message, path, number, occurrence) for number in range(1, count + 1))
    return tuple(item for item in found if item)


def positions(message: Message, path: str, occurrence: int = 1) -> tuple[int, ...]:
    """Which repetitions of a CX field hold an identifier: where those of the feed came from."""
    count = message.repetitions(path, occurrence)
    return tuple(number for number in range(1, count + 1) if _identifier(message, path, number, occurrence))


def universal_id_faults(message: Message, path: str, occurrence: int = 1) -> list[Fault]:
    """What is wrong with the types of the universal ids in a CX field."""
    segment_name, number = path.split("-")
    faults = []
    for repetition in range(1, message.repetitions(path, occurrence) + 1):
        kind = message.get(f"{path}.4.3", repetition, occurrence).strip()
        if kind not in ("", "ISO") and message.get(f"{path}.1", repetition, occurrence) != DELETED:
            place = Location(segment_name, occurrence, int(number), repetition, 4, 3)
            faults.append(Fault(Condition.TABLE_VALUE, "the universal id of an assigning authority must be of type ISO", place))
    return faults


def _names(message: Message) -> tuple[PersonName, ...]:
    names = []
    for number in range(1, message.repetitions("PID-5") + 1):

        def part(component: int, number: int = number) -> str:
            return message.get(f"PID-5.{component}", number).strip()

        name = PersonName(part(1), part(2), part(3), part(4), part(5), part(7) or None)
        if name.family or name.given:
            names.append(name)
    return tuple(names)


def _addresses(message: Message) -> tuple[Address, ...]:
    addresses = []
    for number in range(1, message.repetitions("PID-11") + 1):
        parts = [message.get(f"PID-11.{component}", number).strip() for component in range(1, 8)]
        if any(parts[:6]):
            street, other, city, state, postal_code, country, use = parts
            addresses.append(Address(street, other, city, state, postal_code, country, use or None))
    return tuple(addresses)


def _telephones(message: Message) -> tuple[str, ...]:
    found = []
    for path in ("PID-13", "PID-14"):
        for number in range(1, message.repetitions(path) + 1):
            parts = [message.get(f"{path}.{component}", number).strip() for component in (1, 4, 5, 6, 7)]
            text = parts[0] or parts[1] or " ".join(part for part in parts[2:] if part)
            if text and text != DELETED:
                found.append(text)
    return tuple(found)


def _date(text: str) -> str | None:
    """A TS without fraction and zone, cut before a day or month 00; None when it is no date."""
    digits = _TIME_TAIL.sub("", text.strip())
    if re.fullmatch(r"[0-9]{6}00[0-9]*", digits):
        digits = digits[:6]
    if re.fullmatch(r"[0-9]{4}00", digits):
        digits = digits[:4]
    return digits if is_dtm(digits) else None


def _flag(text: str) -> bool | None:
    return {"Y": True, "N": False}.get(text.strip().upper())


def _demographic_faults(message: Message) -> list[Fault]:
    faults = []
    for field, name in ((7, "PID-7 (date of birth)"), (29, "PID-29 (time of death)")):
        text = message.get(f"PID-{field}").strip()
        if text not in ("", DELETED) and _date(text) is None:
            faults.append(Fault(Condition.DATA_TYPE, f"{name} is not a date", Location("PID", 1, field)))
    sex = message.get("PID-8").strip().upper()
    if sex not in ("", DELETED) and sex not in _SEXES:
        faults.append(Fault(Condition.TABLE_VALUE, "PID-8 is not a value of table 0001 (sex)", Location("PID", 1, 8)))
    return faults


_DELETABLE = {
    5: "names",
    6: "mother_maiden_name",
    7: "birth_date",
    8: "sex",
    11: "addresses",
    13: "telephones",
    18: "account_number",
    19: "national_identifiers",
    24: "multiple_birth",
    25: "birth_order",
    29: "death_time",
    30: "deceased",
}


def _demographics(message: Message) -> Demographics:
    def text(path: str) -> str | None:
        value = message.get(path).strip()
        return None if value in ("", DELETED) else value

    order = text("PID-25")
    sex = text("PID-8")
    return Demographics(
        names=_names(message) if message.get("PID-5") != DELETED else (),
        birth_date=_date(text("PID-7") or ""),
        sex=sex.upper() if sex else None,
        addresses=_addresses(message) if message.get("PID-11") != DELETED else (),
        telephones=_telephones(message),
        mother_maiden_name=text("PID-6"),
        account_number=_identifier(message, "PID-18"),
        national_identifiers=read_identifiers(message, "PID-19"),
        multiple_birth=_flag(message.get("PID-24")),
        birth_order=int(order) if order and order.isdecimal() and len(order) < 4 else None,
        death_time=_date(text("PID-29") or ""),
        deceased=_flag(message.get("PID-30")),
    )


def sending_system(message: Message) -> str:
    """`MSH-4|MSH-3`: facility and application of the sender."""
    return f"{_hierarchic(message, 4)}|{_hierarchic(message, 3)}"


def receiving_system(message: Message) -> str:
    """`MSH-6|MSH-5`: facility and application that the message is addressed to."""
    return f"{_hierarchic(message, 6)}|{_hierarchic(message, 5)}"


def _hierarchic(message: Message, field: int) -> str:
    return message.get(f"MSH-{field}.1").strip() or message.get(f"MSH-{field}.2").strip()


def _merge_faults(message: Message) -> list[Fault]:
    if message.count("MRG") == 0:
        return [Fault(Condition.SEGMENT_SEQUENCE, "a merge needs an MRG segment", Location("MRG", 1))]
    faults = []
    if message.count("PID") > 1 or message.count("MRG") > 1:
        faults.append(Fault(Condition.SEGMENT_SEQUENCE, "a merge message holds one pair of patients", Location("PID", 2)))
    if not read_identifiers(message, "MRG-1"):
        faults.append(Fault(Condition.REQUIRED_MISSING, "MRG-1 (prior patient identifier) is required", Location("MRG", 1, 1)))
    return faults + universal_id_faults(message, "MRG-1")


def read_feed(message: Message) -> IdentityFeed | tuple[Fault, ...]:
    """An ADT message as a feed, or everything that is wrong with it.

    Identifiers keep whatever their authority states, nothing included: the PIX Manager completes them.
    Errors: 100 (PID or MRG missing), 101 (PID-3, MRG-1, MSH-10), 102 (dates), 103 (sex, universal id type).
    Spec: ITI TF-2 3.8.4.1.2, 3.8.4.2.2.
    """
    kind = FEED_KINDS[message.event]
    if message.count("PID") == 0:
        return (Fault(Condition.SEGMENT_SEQUENCE, "the PID segment is missing", Location("PID", 1)),)
    identifiers = read_identifiers(message, "PID-3")
    faults = []
    if not identifiers:
        text = "PID-3 (patient identifier list) needs an identifier"
        faults.append(Fault(Condition.REQUIRED_MISSING, text, Location("PID", 1, 3)))
    faults += universal_id_faults(message, "PID-3") + _demographic_faults(message)
    if kind is FeedKind.MERGE:
        faults += _merge_faults(message)
    if faults:
        return tuple(faults)
    account = _identifier(message, "PID-18")
    return IdentityFeed(
        kind=kind,
        source=sending_system(message),
        destination=receiving_system(message),
        message_id=message.control_id,
        identifiers=identifiers,
        demographics=_demographics(message),
        deleted=tuple(name for field, name in _DELETABLE.items() if message.get(f"PID-{field}") == DELETED),
        subsumed=read_identifiers(message, "MRG-1") if kind is FeedKind.MERGE else (),
        account_number=account.value if account else None,
        event_type=PATIENT_IDENTITY_MANAGEMENT if message.event in ("A28", "A31") else PATIENT_IDENTITY_FEED,
    )


def read_pix_query(message: Message) -> PixQuery | tuple[Fault, ...]:
    """A QBP^Q23 as a query, or everything that is wrong with it.

    Errors: 100 (QPD missing), 101 (QPD-2, QPD-3, an empty repetition of QPD-4), 102 (several identifiers), 103 (RCP-1).
    Spec: ITI TF-2 3.9.4.1.2.2.
    """
    if message.count("QPD") == 0:
        return (Fault(Condition.SEGMENT_SEQUENCE, "the QPD segment is missing", Location("QPD", 1)),)
    faults = []
    tag = message.get("QPD-2")
    if not tag.strip():
        faults.append(Fault(Condition.REQUIRED_MISSING, "QPD-2 (query tag) is required", Location("QPD", 1, 2)))
    identifier = _identifier(message, "QPD-3")
    if identifier is None:
        faults.append(Fault(Condition.REQUIRED_MISSING, "QPD-3 (person identifier) is required", Location("QPD", 1, 3)))
    if message.repetitions("QPD-3") > 1:
        faults.append(Fault(Condition.DATA_TYPE, "QPD-3 holds one identifier only", Location("QPD", 1, 3, 2)))
    domains = []
    for number in range(1, message.repetitions("QPD-4") + 1):
        authority = _authority(message, "QPD-4", number)
        if authority == AssigningAuthority():
            text = "a repetition of QPD-4 names no assigning authority in component 4"
            faults.append(Fault(Condition.REQUIRED_MISSING, text, Location("QPD", 1, 4, number, 4)))
        domains.append(authority)
    if message.get("RCP-1").strip() not in ("", "I"):
        faults.append(Fault(Condition.TABLE_VALUE, "RCP-1 must be I (immediate)", Location("RCP", 1, 1)))
    if faults or identifier is None:
        return tuple(faults)
    return PixQuery(tag, identifier, tuple(domains))


#: Which field an argument of the PIX Manager came from.
_FIELDS = {
    "identifiers": ("PID", 1, 3),
    "linked": ("PID", 2, 3),
    "subsumed": ("MRG", 1, 1),
    "identifier": ("QPD", 1, 3),
    "domains": ("QPD", 1, 4),
}
_CONDITIONS = {
    IdentityProblemKind.REQUIRED_MISSING: Condition.REQUIRED_MISSING,
    IdentityProblemKind.UNKNOWN_IDENTIFIER: Condition.UNKNOWN_KEY,
    IdentityProblemKind.UNKNOWN_DOMAIN: Condition.UNKNOWN_KEY,
    # Table 0357 has no code for a sender without the right to an authority: it is not in that authority's table.
    IdentityProblemKind.NOT_ISSUER: Condition.TABLE_VALUE,
    IdentityProblemKind.INVALID: Condition.DATA_TYPE,
    IdentityProblemKind.INTERNAL: Condition.INTERNAL,
}


def fault_of(problem: IdentityProblem, message: Message) -> Fault:
    """A problem of the PIX Manager at its place in the message. Spec: ITI TF-2 3.9.4.2.2.6."""
    segment_name, occurrence, number = _FIELDS[problem.field]
    given = positions(message, f"{segment_name}-{number}", occurrence)
    repetition = given[problem.repetition - 1] if problem.repetition <= len(given) else problem.repetition
    component = None if problem.field == "domains" else problem.component
    place = Location(segment_name, occurrence, number, repetition, component)
    return Fault(_CONDITIONS[problem.kind], problem.text, place)


def write_rsp_k23(
    request: Message,
    identifiers: Sequence[PatientIdentifier],
    faults: Sequence[Fault] = (),
    *,
    now: datetime,
    control_id: str,
) -> Message:
    """The answer to a PIX query: identifiers found (none means NF), or the faults (AE).

    Spec: ITI TF-2 3.9.4.2.2.
    """
    code = Acknowledgement.ERROR if faults else Acknowledgement.ACCEPT
    status = "AE" if faults else ("OK" if identifiers else "NF")
    qpd = request.segment("QPD")
    echoed = {number: translate(text, request.separators) for number, text in enumerate(qpd.fields if qpd else (), 1)}
    segments = [
        *answer_segments(request, _ANSWER_TYPE, code, faults, now=now, control_id=control_id),
        segment("QAK", {1: echoed.get(2, ""), 2: status}),
        segment("QPD", echoed),
    ]
    if identifiers and not faults:
        # PID-5 is required by HL7 but carries no name here: an empty repetition and a pseudonym without content.
        segments.append(segment("PID", {3: "~".join(cx(item) for item in identifiers), 5: "~^^^^^^S"}))
    return Message(tuple(segments), codec=request.codec)


def read_rsp_k23(message: Message) -> tuple[PatientIdentifier, ...]:
    """The identifiers that an answer to a PIX query brings."""
    return read_identifiers(message, "PID-3")


_STRUCTURES = {FeedKind.ADD: "ADT^A01^ADT_A01", FeedKind.REVISE: "ADT^A08^ADT_A01", FeedKind.MERGE: "ADT^A40^ADT_A39"}


def _system(text: str) -> tuple[str, str]:
    """(application, facility) of `facility|application`."""
    facility, _, application = text.partition("|")
    return application, facility


def _name(name: PersonName) -> str:
    parts = (name.family, name.given, name.further_given, name.suffix, name.prefix, "", name.use or "")
    return components(*(escape(part) for part in parts))


def _address(address: Address) -> str:
    parts = (address.street, address.other, address.city, address.state, address.postal_code, address.country, address.use or "")
    return components(*(escape(part) for part in parts))


def write_feed(feed: IdentityFeed, *, now: datetime, version: str = "2.3.1") -> Message:
    """A feed as an ADT message: A01, A08 or A40; a link has a message of its own. Spec: ITI TF-2 3.8.4.1.2, 3.8.4.2.2."""
    stated = feed.demographics
    message_type = _STRUCTURES[feed.kind]
    head = header(
        message_type,
        sender=_system(feed.source),
        receiver=_system(feed.destination or "XDS|XDS"),
        control_id=feed.message_id,
        now=now,
        version=version,
    )
    given = {
        3: "~".join(cx(item) for item in feed.identifiers),
        5: "~".join(_name(item) for item in stated.names),
        6: escape(stated.mother_maiden_name or ""),
        7: stated.birth_date or "",
        8: stated.sex or "",
        11: "~".join(_address(item) for item in stated.addresses),
        13: "~".join(escape(item) for item in stated.telephones),
        18: cx(stated.account_number) if stated.account_number else "",
        19: "~".join(cx(item) for item in stated.national_identifiers),
        24: {True: "Y", False: "N", None: ""}[stated.multiple_birth],
        25: "" if stated.birth_order is None else str(stated.birth_order),
        29: stated.death_time or "",
        30: {True: "Y", False: "N", None: ""}[stated.deceased],
    }
    deleted = {field: DELETED for field, name in _DELETABLE.items() if name in feed.deleted and not given[field]}
    segments = [head, segment("EVN", {1: message_type[4:7], 2: head.field(7)}), segment("PID", given | deleted)]
    if feed.kind is FeedKind.MERGE:
        segments.append(segment("MRG", {1: "~".join(cx(item) for item in feed.subsumed)}))
    else:
        segments.append(segment("PV1", {2: "O"}))
    return Message(tuple(segments))


def write_pix_query(
    query: PixQuery, *, source: str, destination: str, control_id: str, now: datetime, name: str = "IHE PIX Query"
) -> Message:
    """A query as QBP^Q23. Spec: ITI TF-2 3.9.4.1.2."""
    head = header(
        "QBP^Q23^QBP_Q21", sender=_system(source), receiver=_system(destination), control_id=control_id, now=now, version="2.5"
    )
    domains = "~".join(components("", "", "", hd(item)) for item in query.domains)
    fields = {1: escape(name), 2: escape(query.tag), 3: cx(query.identifier), 4: domains}
    return Message((head, segment("QPD", fields), segment("RCP", {1: "I"})))
