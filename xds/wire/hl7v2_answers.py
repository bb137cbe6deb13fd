"""Message headers and acknowledgements of HL7 v2.

Spec: HL7 v2.5 chapter 2.14; ITI TF-2 C.2.3 (acknowledgement modes).
"""

from __future__ import annotations

import itertools
import os
import secrets
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from functools import lru_cache

from xds.model.identifiers import AssigningAuthority, PatientIdentifier
from xds.wire.hl7v2 import (
    STANDARD,
    Condition,
    Fault,
    Location,
    Message,
    Segment,
    components,
    escape,
    segment,
    translate,
)

#: The versions that are understood. Spec: HL7 table 0104; ITI-8 is 2.3.1, the other transactions are 2.5.
OLD_VERSIONS = frozenset({"2.3", "2.3.1", "2.4"})
VERSIONS = frozenset({"2.5", "2.5.1", "2.6", "2.7", "2.7.1", "2.8", "2.8.1", "2.8.2"})

ALL_VERSIONS = OLD_VERSIONS | VERSIONS

_CONDITION_NAMES = {
    Condition.ACCEPTED: "Message accepted",
    Condition.SEGMENT_SEQUENCE: "Segment sequence error",
    Condition.REQUIRED_MISSING: "Required field missing",
    Condition.DATA_TYPE: "Data type error",
    Condition.TABLE_VALUE: "Table value not found",
    Condition.UNSUPPORTED_TYPE: "Unsupported message type",
    Condition.UNSUPPORTED_EVENT: "Unsupported event code",
    Condition.UNSUPPORTED_PROCESSING_ID: "Unsupported processing id",
    Condition.UNSUPPORTED_VERSION: "Unsupported version id",
    Condition.UNKNOWN_KEY: "Unknown key identifier",
    Condition.DUPLICATE_KEY: "Duplicate key identifier",
    Condition.RECORD_LOCKED: "Application record locked",
    Condition.INTERNAL: "Application internal error",
}


#: How much of what was received an answer shows.
_LONGEST_SHOWN = 60


class Acknowledgement(StrEnum):
    """MSA-1. Spec: HL7 table 0008."""

    ACCEPT = "AA"
    ERROR = "AE"
    REJECT = "AR"
    COMMIT_ACCEPT = "CA"
    COMMIT_ERROR = "CE"
    COMMIT_REJECT = "CR"


_COMMIT = {
    Acknowledgement.ACCEPT: Acknowledgement.COMMIT_ACCEPT,
    Acknowledgement.ERROR: Acknowledgement.COMMIT_ERROR,
    Acknowledgement.REJECT: Acknowledgement.COMMIT_REJECT,
}


@dataclass(frozen=True, slots=True)
class Acknowledged:
    """What a partner answered. `code` is MSA-1, `message_id` MSA-2."""

    code: str
    message_id: str
    faults: tuple[Fault, ...] = ()

    @property
    def is_accepted(self) -> bool:
        """True for AA, and for CA of partners in enhanced mode."""
        return self.code in ("AA", "CA")


@lru_cache(maxsize=4096)
def hd(authority: AssigningAuthority) -> str:
    """An authority as the subcomponents of CX.4."""
    oid = escape(authority.oid or "")
    return components(escape(authority.namespace or ""), oid, "ISO" if oid else "", separator=STANDARD.subcomponent)


def cx(identifier: PatientIdentifier) -> str:
    """A patient identifier as CX, with every part that is known. Spec: ITI TF-2 E.1."""
    type_code = identifier.type_code
    wire = f"{escape(identifier.value)}^^^{hd(identifier.authority)}"
    return f"{wire}^{escape(type_code)}" if type_code else wire.rstrip("^")


def header(
    message_type: str,
    *,
    sender: tuple[str, str],
    receiver: tuple[str, str],
    control_id: str,
    now: datetime,
    version: str = "2.5",
    processing_id: str = "P",
) -> Segment:
    """An MSH. `message_type` is MSH-9 in its wire form; sender and receiver are (application, facility)."""
    fields = {
        1: STANDARD.field,
        2: STANDARD.encoding_characters,
        3: escape(sender[0]),
        4: escape(sender[1]),
        5: escape(receiver[0]),
        6: escape(receiver[1]),
        7: stamp(now),
        9: message_type,
        10: escape(control_id),
        11: processing_id,
        12: version,
    }
    return segment("MSH", fields)


_STANDARD_HEADS = ("|", STANDARD.encoding_characters)


def answer_header(request: Message, message_type: str, time: str, control_id: str) -> Segment:
    """An MSH whose sender and receiver are those of the request, exchanged. `time` is MSH-7."""
    asked = request.segments[0]
    separators = request.separators

    def echoed(number: int) -> str:
        return translate(asked.field(number), separators).rstrip(STANDARD.component)

    version = request.version
    processing_id = request.header(11).strip()
    return Segment(
        "MSH",
        (
            *_STANDARD_HEADS,
            echoed(5) or "XDS",
            echoed(6) or "XDS",
            echoed(3),
            echoed(4),
            time,
            "",
            message_type,
            escape(control_id),
            processing_id if processing_id in ("P", "T", "D") else "P",
            version if version in ALL_VERSIONS else "2.5",
        ),
    )


def _place(location: Location) -> str:
    """A location as people name it: `PID-3.4 (repetition 2)`."""
    text = location.segment if location.sequence == 1 else f"{location.segment} {location.sequence}"
    if location.field:
        parts = (location.component, location.subcomponent)
        text += f"-{location.field}" + "".join(f".{part}" for part in parts if part)
    return f"{text} (repetition {location.repetition})" if (location.repetition or 1) > 1 else text


def _received(request: Message, location: Location) -> str | None:
    """What a message holds at a place, in its wire form; None when the place is no field of a segment that is there."""
    found = request.segment(location.segment, location.sequence)
    if found is None or not location.field:
        return None
    text, separators = found.field(location.field), request.separators
    if location.segment == "MSH" and location.field <= 2:
        return text
    levels = (
        (separators.repetition, location.repetition),
        (separators.component, location.component),
        (separators.subcomponent, location.subcomponent),
    )
    for separator, number in levels:
        if number:
            text = (*text.split(separator)[:number], *[""] * number)[number - 1]
    return text


def _explained(fault: Fault, request: Message) -> str:
    """What is wrong, where, and what was received: for the people who read the answer."""
    text, location = fault.text, fault.location
    if location is None:
        return f"{text}; received: {fault.received}" if fault.received else text
    if location.field and f"{location.segment}-{location.field}" not in text:
        text = f"{_place(location)}: {text}"
    received = fault.received or _received(request, location)
    if received is None:
        return text
    shown = received if len(received) <= _LONGEST_SHOWN else f"{received[:_LONGEST_SHOWN]}..."
    return f"{text}; received: {shown or 'nothing'}"


def _error_segment(fault: Fault, version: str, request: Message) -> Segment:
    location = fault.location
    text = escape(_explained(fault, request))
    name = _CONDITION_NAMES[fault.condition]
    code = f"{int(fault.condition)}^{name}^HL70357"
    fields = {2: str(location) if location else "", 3: code, 4: fault.severity, 7: text, 8: text}
    if version in OLD_VERSIONS:
        # Before 2.5 there is only ERR-1; the later fields are sent too, because partners of every age read those.
        place = (location.segment, str(location.sequence), str(location.field or "")) if location else ("", "", "")
        coded = components(str(int(fault.condition)), name, "HL70357", separator=STANDARD.subcomponent)
        fields[1] = components(*place, coded)
    return segment("ERR", fields)


def answer_segments(
    request: Message, message_type: str, code: Acknowledgement, faults: Sequence[Fault], *, now: datetime, control_id: str
) -> tuple[Segment, ...]:
    """MSH, MSA and one ERR for each fault: what every answer begins with."""
    head = answer_header(request, message_type, stamp(now), control_id)
    version = head.field(12)
    msa = Segment("MSA", (code.value, translate(request.segments[0].field(10), request.separators)))
    return (head, msa, *(_error_segment(fault, version, request) for fault in faults))


def query_segments(request: Message, status: str) -> tuple[Segment, Segment]:
    """QAK and QPD of the answer to a query: its tag and its parameters are echoed. Spec: ITI TF-2 3.9.4.2.2.4, 3.21.4.2.2.4."""
    qpd = request.segment("QPD")
    echoed = tuple(translate(text, request.separators) for text in qpd.fields) if qpd else ()
    return Segment("QAK", (echoed[1] if len(echoed) > 1 else "", status)), Segment("QPD", echoed)


def write_ack(
    request: Message, code: Acknowledgement, faults: Sequence[Fault] = (), *, now: datetime, control_id: str
) -> Message:
    """The general acknowledgement of a request, in original mode, or an accept acknowledgement when only that is wanted."""
    event = escape(request.event)
    if _wants_commit(request):
        code = _COMMIT[code]
    structure = "" if request.version == "2.3" or not event else "ACK"
    message_type = components("ACK", event, structure)
    segments = answer_segments(request, message_type, code, faults, now=now, control_id=control_id)
    return Message(segments, codec=request.codec)


def _wants_commit(request: Message) -> bool:
    """True when the sender of a feed speaks the enhanced mode and asks for no application acknowledgement.

    Whoever asks for both gets the application acknowledgement alone: it says all that the other one does.
    Spec: ITI TF-2 C.2.3, 3.30.4 and 3.31.7 (option Acknowledgement Support).
    """
    if request.header(16).strip() != "NE" or request.header(15).strip() not in ("AL", "ER", "SU"):
        return False
    return request.message_type == "ADT" and request.version in VERSIONS


_numbers = itertools.count()


@lru_cache(maxsize=1)
def _beginning(process: int) -> str:
    """What the control ids of a process begin with: one that was forked has its own."""
    return f"{secrets.token_hex(4)}{process & 0xFFFF:04x}"


def new_control_id() -> str:
    """An MSH-10 of 20 characters that no other message has."""
    return f"{_beginning(os.getpid())}{next(_numbers):08x}"


def stamp(now: datetime) -> str:
    """A time as TS in UTC."""
    return _stamp((now if now.tzinfo is UTC else now.astimezone(UTC)).replace(microsecond=0))


@lru_cache(maxsize=4)
def _stamp(moment: datetime) -> str:
    date = f"{moment.year:04d}{moment.month:02d}{moment.day:02d}"
    return f"{date}{moment.hour:02d}{moment.minute:02d}{moment.second:02d}+0000"


def header_faults(message: Message, structures: Collection[str], versions: Collection[str]) -> tuple[Fault, ...]:
    """Why a transaction does not take a message of its own type and event; the answer is a reject.

    MSH-9.3 may be absent, or made of type and event, as old senders write it.
    Errors: 200 (MSH-9.3 is another structure), 203 (version).
    """
    faults = []
    structure = message.get("MSH-9.3").strip()
    if structure and structure not in structures and structure != f"{message.message_type}_{message.event}":
        text = f"the message structure of this event is {' or '.join(sorted(structures))}"
        faults.append(Fault(Condition.UNSUPPORTED_TYPE, text, Location("MSH", 1, 9, 1, 3)))
    if message.version not in versions:
        text = f"this transaction is spoken in HL7 {', '.join(sorted(versions))}"
        faults.append(Fault(Condition.UNSUPPORTED_VERSION, text, Location("MSH", 1, 12)))
    return tuple(faults)


def read_acknowledgement(message: Message) -> Acknowledged:
    """MSA and ERR of an answer. An ERR without a code of table 0357 counts as an internal error."""
    faults = []
    for number in range(1, message.count("ERR") + 1):
        code = message.get("ERR-3.1", occurrence=number) or message.get("ERR-1.4.1", occurrence=number)
        texts = (message.get(path, occurrence=number) for path in ("ERR-8", "ERR-7", "ERR-3.2", "ERR-1.4.2"))
        known = code.isdecimal() and int(code) in Condition.__members__.values()
        condition = Condition(int(code)) if known else Condition.INTERNAL
        severity = message.get("ERR-4", occurrence=number).strip() or "E"
        faults.append(Fault(condition, next(filter(None, texts), ""), _location(message, number), severity=severity))
    return Acknowledged(message.get("MSA-1"), message.get("MSA-2"), tuple(faults))


def _location(message: Message, number: int) -> Location | None:
    place = message.get("ERR-2", occurrence=number)
    if not place:
        return None
    numbers = [message.get(f"ERR-2.{part}", occurrence=number) for part in range(2, 7)]
    sequence, *rest = (int(text) if text.isdecimal() else None for text in numbers)
    return Location(place, sequence or 1, *rest)
