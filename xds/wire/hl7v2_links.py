"""Links of patient identifiers in HL7 v2: between two records (ADT^A24, A37), and to the affinity domain (A43).

Tolerated deviations: no EVN; an assigning authority with a universal id and without its type; an MSH-3 that is no OID (the
system then gets an OID below 2.25, always the same); a namespace beside the universal id.

Spec: ITI TF-2 3.30 (A24, A37), 3.64.4.1.2 (A43), Appendix E.1 (CX).
"""

from __future__ import annotations

import uuid
from datetime import datetime

from xds.model.identifiers import AssigningAuthority, PatientIdentifier, is_oid
from xds.model.patient import PATIENT_IDENTITY_MANAGEMENT, FeedKind, IdentityFeed
from xds.model.patient_links import LinkChange
from xds.wire.hl7v2 import DELETED, Condition, Fault, Location, Message, segment
from xds.wire.hl7v2_answers import cx, header
from xds.wire.hl7v2_identity import read_identifiers, receiving_system, sending_system, universal_id_faults

_SYSTEMS = uuid.UUID("6f8f3a52-5d36-4e0b-9b6c-0d3b5f4c7a11")


def _identifiers(message: Message, path: str, needed: tuple[str, ...]) -> tuple[tuple[PatientIdentifier, ...], list[Fault]]:
    """The repetitions of a CX field with full authorities, and what is wrong with them; `needed` says what each is."""
    name, number = path.split("-")
    found, faults = [], []

    def fault(condition: Condition, text: str, repetition: int, *parts: int) -> None:
        faults.append(Fault(condition, text, Location(name, 1, int(number), repetition, *parts)))

    given = [n for n in range(1, message.repetitions(path) + 1) if message.get(path, n).strip() not in ("", DELETED)]
    for repetition in given:
        oid = message.get(f"{path}.4.2", repetition).strip()
        if not oid:
            fault(Condition.REQUIRED_MISSING, "the assigning authority needs a universal id", repetition, 4, 2)
        elif message.get(f"{path}.4.3", repetition).strip() not in ("", "ISO"):
            fault(Condition.TABLE_VALUE, "the universal id of an assigning authority must be of type ISO", repetition, 4, 3)
        namespace = message.get(f"{path}.4.1", repetition).strip()
        authority = AssigningAuthority(namespace or None, oid or None)
        found.append(PatientIdentifier(message.get(path, repetition).strip(), authority))
    for missing in range(len(found), len(needed)):
        fault(Condition.REQUIRED_MISSING, f"{path} needs {needed[missing]}", missing + 1)
    if len(found) > 2:
        fault(Condition.DATA_TYPE, f"{path} holds an identifier of the affinity domain and a local one, no more", 3)
    return tuple(found), faults


def read_link_change(message: Message) -> LinkChange | tuple[Fault, ...]:
    """An ADT^A43 as a change of links, or everything that is wrong with it.

    Errors: 100 (PID or MRG missing, or several), 101 (an identifier or its universal id), 102 (more identifiers), 103 (type of a
    universal id).
    """
    wrong = [name for name in ("PID", "MRG") if message.count(name) != 1]
    if wrong:
        sequence = Condition.SEGMENT_SEQUENCE
        return tuple(Fault(sequence, f"the message needs one {name} segment", Location(name, 1)) for name in wrong)
    patient = ("the new identifier of the affinity domain", "the local identifier")
    listed, faults = _identifiers(message, "PID-3", patient)
    prior, more = _identifiers(message, "MRG-1", ("the previous identifier of the affinity domain",))
    if faults or more:
        return (*faults, *more)
    return LinkChange(
        local=listed[1],
        new=listed[0],
        previous=prior[0],
        subsumed=prior[1] if len(prior) > 1 else None,
        source_id=_system_oid(message),
        source=sending_system(message),
        destination=receiving_system(message),
        message_id=message.control_id,
    )


def _system_oid(message: Message) -> str:
    """The OID of the sending system: MSH-3, or one that is made of the system's name."""
    stated = (message.get(f"MSH-3.{component}").strip() for component in (2, 1))
    made = f"2.25.{uuid.uuid5(_SYSTEMS, sending_system(message)).int}"
    return next((item for item in stated if is_oid(item)), made)


def write_link_change(change: LinkChange, *, now: datetime) -> Message:
    """A change of links as ADT^A43. Spec: ITI TF-2 3.64.4.1.2."""
    receiver, _, application = change.destination.partition("|")
    head = header(
        "ADT^A43^ADT_A43",
        sender=(change.source_id, change.source.partition("|")[0]),
        receiver=(application or "XDS", receiver or "XDS"),
        control_id=change.message_id,
        now=now,
    )
    prior = [change.previous, *([change.subsumed] if change.subsumed else [])]
    return Message(
        (
            head,
            segment("EVN", {1: "A43", 2: head.field(7)}),
            segment("PID", {3: "~".join(map(cx, (change.new, change.local))), 5: " "}),
            segment("MRG", {1: "~".join(map(cx, prior))}),
        )
    )


_LINK_KINDS = {"A24": FeedKind.LINK, "A37": FeedKind.UNLINK}
_LINK_EVENTS = {kind: event for event, kind in _LINK_KINDS.items()}


def read_link(message: Message) -> tuple[IdentityFeed | None, tuple[Fault, ...]]:
    """An ADT^A24 or A37 as a feed that links or unlinks two records, and everything that is wrong with it.

    The feed is what can be read of a message with faults: nothing when it has not two PID segments.
    Errors: 100 (not two PID segments), 101 (PID-3), 103 (type of a universal id).
    """
    count = message.count("PID")
    if count != 2:
        text = f"the message needs two PID segments; it has {count}"
        return None, (Fault(Condition.SEGMENT_SEQUENCE, text, Location("PID", 2 if count < 2 else 3)),)
    faults = []
    for number in (1, 2):
        if not read_identifiers(message, "PID-3", number):
            text = "PID-3 (patient identifier list) needs an identifier"
            faults.append(Fault(Condition.REQUIRED_MISSING, text, Location("PID", number, 3)))
        faults += universal_id_faults(message, message.field("PID-3", number), Location("PID", number, 3))
    feed = IdentityFeed(
        kind=_LINK_KINDS[message.event],
        source=sending_system(message),
        destination=receiving_system(message),
        message_id=message.control_id,
        identifiers=read_identifiers(message, "PID-3", 1),
        linked=read_identifiers(message, "PID-3", 2),
        event_type=PATIENT_IDENTITY_MANAGEMENT,
    )
    return feed, tuple(faults)


def write_link(feed: IdentityFeed, *, now: datetime) -> Message:
    """A feed that links or unlinks two records as ADT^A24 or A37. Spec: ITI TF-2 3.30."""
    event = _LINK_EVENTS[feed.kind]
    facility, _, application = feed.source.partition("|")
    receiver, _, receiving = feed.destination.partition("|")
    head = header(
        f"ADT^{event}^ADT_{event}",
        sender=(application, facility),
        receiver=(receiving or "XDS", receiver or "XDS"),
        control_id=feed.message_id,
        now=now,
    )
    patients = (segment("PID", {3: "~".join(map(cx, given)), 5: " "}) for given in (feed.identifiers, feed.linked))
    return Message((head, segment("EVN", {1: event, 2: head.field(7)}), *patients))
