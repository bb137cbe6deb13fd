"""The PIX query as nearly every consumer writes it, read and answered as text: thousands of them come in a second.

Three segments in ASCII, the standard separators, no escapes. Everything else is left to `hl7v2_pix`, and what is read and
written here is what that module would read and write.

Spec: ITI TF-2 3.9.4.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Final

from xds.model.identifiers import AssigningAuthority, PatientIdentifier
from xds.wire.hl7v2 import DELETED, MOST_REPETITIONS, STANDARD, Fault, Message, Segment
from xds.wire.hl7v2_answers import VERSIONS, answer_header, cx, header_faults, stamp
from xds.wire.hl7v2_identity import read_asked_identifier, receiving_system, sending_system
from xds.wire.hl7v2_pix import ANSWER_TYPE, PixQuery, read_domains

#: MSH, QPD and RCP of printable ASCII without the escape character, but for that in MSH-2.
_PLAIN: Final = re.compile(rb"(MSH\|\^~\\&\|[\x20-\x5b\x5d-\x7e]+)\r(QPD\|[\x20-\x5b\x5d-\x7e]+)\r(RCP\|I\|*)\r*\Z")
_STRUCTURED: Final = frozenset("^~&")
_PROCESSING_IDS: Final = frozenset("PTD")
#: Reads fields of the standard separators.
_STANDARD: Final = Message(())


@dataclass(frozen=True, slots=True)
class _Header:
    """What the headers of one partner say alike, and what those of the answers do: up to MSH-7, up to MSH-10, and the rest."""

    source: str
    destination: str
    begin: str
    middle: str
    end: str


@dataclass(frozen=True, slots=True)
class PlainQuery:
    """A query, who asks whom under which MSH-10, and the message as text."""

    query: PixQuery
    source: str
    destination: str
    message_id: str
    text: str
    header: _Header
    parameters: str
    tag: str


@lru_cache(maxsize=1024)
def _header(three: str, four: str, five: str, six: str, eight: str, nine: str, rest: str) -> _Header | None:
    """The header of those fields (`rest` begins with MSH-11); None unless it is that of a query which is taken."""
    fields = (STANDARD.field, STANDARD.encoding_characters, three, four, five, six, "", eight, nine, "1", *rest.split("|"))
    message = Message((Segment("MSH", fields),))
    if (
        (message.message_type, message.event) != ("QBP", "Q23")
        or header_faults(message, ("QBP_Q21",), VERSIONS)
        or message.header(11).strip() not in _PROCESSING_IDS
        or message.header(18)
    ):
        return None
    answer = answer_header(message, ANSWER_TYPE, "", "").fields
    begin, middle, end = "|".join(("MSH", *answer[1:6], "")), "|".join(("", *answer[7:9], "")), "|".join(("", *answer[10:]))
    return _Header(sending_system(message), receiving_system(message), begin, middle, end)


@lru_cache(maxsize=1024)
def _domains(text: str) -> tuple[AssigningAuthority, ...] | None:
    """The domains of QPD-4; None when something is wrong with them."""
    faults: list[Fault] = []
    domains = read_domains(_STANDARD, Segment("QPD", ("", "", "", text)), 4, faults) if text else ()
    return None if faults else domains


def _is_plain(text: str) -> bool:
    return text.isalnum() or bool(text and _STRUCTURED.isdisjoint(text) and text == text.strip() and text != DELETED)


def read_plain_query(data: bytes) -> PlainQuery | None:
    """A QBP^Q23 without MLLP framing; None when it is not a plain one, or when something is wrong with it."""
    found = _PLAIN.match(data)
    if found is None:
        return None
    text = data.decode("ascii").rstrip("\r")
    first, second, _ = text.split("\r")
    head = first.split("|", 10)
    qpd = second.split("|")
    if len(head) < 11 or len(qpd) < 4 or not (_is_plain(head[9]) and _is_plain(qpd[2])) or text.count("~") > MOST_REPETITIONS:
        return None
    known = _header(head[2], head[3], head[4], head[5], head[7], head[8], head[10])
    identifier = None if "~" in qpd[3] else read_asked_identifier(_STANDARD, qpd[3])
    domains = _domains(qpd[4]) if len(qpd) > 4 else ()
    if known is None or identifier is None or domains is None:
        return None
    query = PixQuery(qpd[2], identifier, domains)
    return PlainQuery(query, known.source, known.destination, head[9], text + "\r", known, second, qpd[2])


def write_plain_answer(
    asked: PlainQuery, identifiers: Sequence[PatientIdentifier], *, now: datetime, control_id: str
) -> bytes | None:
    """The answer with the identifiers found, without MLLP framing; None when it is not ASCII."""
    head = asked.header
    status = "OK" if identifiers else "NF"
    text = (
        f"{head.begin}{stamp(now)}{head.middle}{control_id}{head.end}\rMSA|AA|{asked.message_id}\r"
        f"QAK|{asked.tag}|{status}\r{asked.parameters}\r"
    )
    if identifiers:
        text += f"PID|||{'~'.join(map(cx, identifiers))}||~^^^^^^S\r"
    return text.encode("ascii") if text.isascii() else None
