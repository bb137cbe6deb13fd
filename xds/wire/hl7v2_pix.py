"""PIX queries in HL7 v2 (QBP^Q23) and their answers (RSP^K23).

Tolerated deviations: any message query name; no RCP, or an empty RCP-1.

Spec: ITI TF-2 3.9.4, Appendix E.1 (CX).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from xds.model.identifiers import AssigningAuthority, PatientIdentifier
from xds.wire.hl7v2 import Condition, Fault, Location, Message, Segment, components, escape, segment
from xds.wire.hl7v2_answers import Acknowledgement, answer_segments, cx, hd, header, query_segments
from xds.wire.hl7v2_identity import NO_AUTHORITY, asked_authority, read_asked_identifier, read_identifiers, system

#: MSH-9 of an answer.
ANSWER_TYPE = "RSP^K23^RSP_K23"


@dataclass(frozen=True, slots=True)
class PixQuery:
    """A PIX query: whose identifiers in which domains are asked for. `domains` empty means all."""

    tag: str
    identifier: PatientIdentifier
    domains: tuple[AssigningAuthority, ...] = ()


def read_domains(message: Message, qpd: Segment, number: int, faults: list[Fault]) -> tuple[AssigningAuthority, ...]:
    """The domains that a field of a QPD asks for (CX with component 4 only). Each repetition that names none is a fault."""
    domains = []
    for repetition, given in enumerate(qpd.field(number).split(message.separators.repetition), 1):
        parts = given.split(message.separators.component)
        named = asked_authority(message, parts[3]) if len(parts) > 3 else NO_AUTHORITY
        if named == NO_AUTHORITY:
            text = f"a repetition of QPD-{number} names no assigning authority in component 4"
            faults.append(Fault(Condition.REQUIRED_MISSING, text, Location("QPD", 1, number, repetition, 4)))
        domains.append(named)
    return tuple(domains)


def priority_faults(message: Message) -> list[Fault]:
    """What is wrong with RCP-1."""
    rcp = message.segment("RCP")
    if rcp is None or rcp.field(1).strip() in ("", "I"):
        return []
    return [Fault(Condition.TABLE_VALUE, "RCP-1 must be I (immediate)", Location("RCP", 1, 1))]


def read_pix_query(message: Message) -> PixQuery | tuple[Fault, ...]:
    """A QBP^Q23 as a query, or everything that is wrong with it.

    Errors: 100 (QPD missing or repeated), 101 (QPD-2, QPD-3, an empty repetition of QPD-4), 102 (several identifiers), 103
    (RCP-1).
    Spec: ITI TF-2 3.9.4.1.2.2.
    """
    qpd = message.segment("QPD")
    if qpd is None:
        return (Fault(Condition.SEGMENT_SEQUENCE, "the QPD segment is missing", Location("QPD", 1)),)
    faults = []
    if message.segment("QPD", 2):
        faults.append(Fault(Condition.SEGMENT_SEQUENCE, "the message holds one query only", Location("QPD", 2)))
    tag = message.components(qpd.field(2))
    if not tag or not tag[0][0]:
        faults.append(Fault(Condition.REQUIRED_MISSING, "QPD-2 (query tag) is required", Location("QPD", 1, 2)))
    given = qpd.field(3).split(message.separators.repetition)
    asked = read_asked_identifier(message, given[0])
    if asked is None:
        faults.append(Fault(Condition.REQUIRED_MISSING, "QPD-3 (person identifier) is required", Location("QPD", 1, 3)))
    if len(given) > 1:
        faults.append(Fault(Condition.DATA_TYPE, "QPD-3 holds one identifier only", Location("QPD", 1, 3, 2)))
    domains = read_domains(message, qpd, 4, faults) if qpd.field(4) else ()
    faults += priority_faults(message)
    if faults or asked is None:
        return tuple(faults)
    return PixQuery(tag[0][0], asked, domains)


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
    segments = [
        *answer_segments(request, ANSWER_TYPE, code, faults, now=now, control_id=control_id),
        *query_segments(request, status),
    ]
    if identifiers and not faults:
        # PID-5 is required by HL7 but carries no name here: an empty repetition and a pseudonym without content.
        segments.append(Segment("PID", ("", "", "~".join(map(cx, identifiers)), "", "~^^^^^^S")))
    return Message(tuple(segments), codec=request.codec)


def read_rsp_k23(message: Message) -> tuple[PatientIdentifier, ...]:
    """The identifiers that an answer to a PIX query brings."""
    return read_identifiers(message, "PID-3")


def write_pix_query(
    query: PixQuery, *, source: str, destination: str, control_id: str, now: datetime, name: str = "IHE PIX Query"
) -> Message:
    """A query as QBP^Q23. Spec: ITI TF-2 3.9.4.1.2."""
    head = header(
        "QBP^Q23^QBP_Q21", sender=system(source), receiver=system(destination), control_id=control_id, now=now, version="2.5"
    )
    domains = "~".join(components("", "", "", hd(item)) for item in query.domains)
    fields = {1: escape(name), 2: escape(query.tag), 3: cx(query.identifier), 4: domains}
    return Message((head, segment("QPD", fields), segment("RCP", {1: "I"})))
