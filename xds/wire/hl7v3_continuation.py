"""Continuation and cancellation of demographics queries in HL7 version 3 (QUQI_IN000003UV01).

A continuation says from which match on it wants how many more, or which answer it follows: the id of an answer with more to come
tells where that is, and how many matches were asked for at a time (a UUID of version 8 with both numbers in its last 48 bits).

Tolerated deviations: a cancellation under the action or the element of a continuation.

Spec: ITI TF-2 3.47.4.3.
"""

from __future__ import annotations

import secrets
import uuid
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from lxml import etree

from xds.model.patient import IdentityQuery
from xds.wire.hl7v3 import (
    INTERACTIONS,
    Detail,
    DetailCode,
    InstanceIdentifier,
    Transmission,
    child,
    code,
    coded,
    location,
    message_details,
    read_id,
    read_transmission,
    shown,
    valued,
    write_id,
    write_message,
)
from xds.wire.hl7v3_acknowledgement import Acknowledgement, write_acknowledgement_part
from xds.wire.hl7v3_pdq import CANCEL, DEMOGRAPHICS_V3_QUERY, read_quantity
from xds.wire.hl7v3_queries import Asked, audited, copied

_TRIGGER: Final = "PRPA_TE000003UV01"
#: What 24 bits hold.
_MOST: Final = 0xFFFFFF
_NO_ID: Final = InstanceIdentifier()


@dataclass(frozen=True, slots=True)
class ReceivedContinuation:
    """What shall become of an earlier query: how many matches are wanted, from which one on (counted from 1).

    `target` is the id of the answer that is continued. Its `asked` has the continuation's wrapper.
    """

    asked: Asked
    query_id: InstanceIdentifier = _NO_ID
    target: InstanceIdentifier = _NO_ID
    start: int | None = None
    limit: int | None = None
    is_cancellation: bool = False
    place: str = ""
    text: str = ""

    @property
    def offset(self) -> int:
        """How many matches come before those that are wanted."""
        if self.start is not None:
            return self.start - 1
        place = place_after(self.target)
        return place.following if place else 0

    @property
    def at_a_time(self) -> int | None:
        """How many matches are wanted: as many as before, unless the message says another number."""
        place = place_after(self.target)
        return self.limit or (place.at_a_time if place else None)

    @property
    def audited(self) -> IdentityQuery:
        """What the audit trail keeps."""
        return audited(self.asked.transmission, self.query_id, self.text, DEMOGRAPHICS_V3_QUERY)


def read_continuation(root: etree._Element, *, is_cancellation: bool = False) -> ReceivedContinuation:
    """A continuation, or a cancellation (which the caller may know it is), or everything that is wrong with it.

    Errors: those of `message_details`; SYN100 (no queryContinuation), SYN101 (no queryId), SYN102 (quantities), SYN103 (status).
    Spec: ITI TF-2 3.47.4.3.2.
    """
    transmission = read_transmission(root)
    details = message_details(root)
    if details:
        return ReceivedContinuation(Asked(transmission, None, tuple(details)))
    element = child(root, "controlActProcess", "queryContinuation")
    if element is None:
        place = f"{location(root)}/controlActProcess/queryContinuation"
        missing = Detail(DetailCode.ASSOCIATION_MISSING, "queryContinuation is required", place)
        return ReceivedContinuation(Asked(transmission, None, (missing,)))
    query_id, place = read_id(child(element, "queryId")), f"{location(element)}/queryId"
    if not str(query_id):
        details.append(Detail(DetailCode.ATTRIBUTE_MISSING, "queryId is required", place))
    status = code(element, "statusCode")
    is_cancellation = is_cancellation or status == "aborted" or transmission.interaction == CANCEL
    if status not in ("", "waitContinuedQueryResponse", "aborted", "executing", "new"):
        text = f"statusCode must be waitContinuedQueryResponse, or aborted, not {shown(status)}"
        details.append(Detail(DetailCode.UNKNOWN_CODE, text, f"{location(element)}/statusCode"))
    start = read_quantity(child(element, "startResultNumber"), details, least=1)
    limit = read_quantity(child(element, "continuationQuantity"), details, least=0 if is_cancellation else 1)
    target = read_id(child(root, "acknowledgement", "targetMessage", "id"))
    if start is None and not is_cancellation and place_after(target) is None:
        text = "targetMessage/id must be the id of the answer that is continued, unless there is a startResultNumber"
        details.append(Detail(DetailCode.ATTRIBUTE_MISSING, text, f"{location(root)}/acknowledgement/targetMessage/id"))
    asked = Asked(transmission, None, tuple(details))
    return ReceivedContinuation(asked, query_id, target, start, limit, is_cancellation, place, copied(element))


@dataclass(frozen=True, slots=True)
class Place:
    """Where an answer ended: the number of the match that follows, counted from 0, and how many were asked for at a time."""

    following: int
    at_a_time: int


def answer_id(place: Place) -> InstanceIdentifier:
    """A fresh id of an answer with more to come. Spec: RFC 9562 5.8."""
    digits = secrets.token_hex(10)
    ends = f"{place.following & _MOST:06x}{min(place.at_a_time, _MOST):06x}"
    return InstanceIdentifier(f"{digits[:8]}-{digits[8:12]}-8{digits[13:16]}-a{digits[17:20]}-{ends}")


def place_after(answer: InstanceIdentifier) -> Place | None:
    """Where an answer ended; None when its id does not tell."""
    try:
        number = uuid.UUID(answer.root)
    except ValueError:
        return None
    return Place(number.int >> 24 & _MOST, number.int & _MOST) if number.version == 8 else None


def write_continuation(
    transmission: Transmission,
    query_id: InstanceIdentifier,
    target: InstanceIdentifier,
    *,
    now: datetime,
    start: int | None = None,
    limit: int | None = None,
) -> bytes:
    """A continuation of a query after the answer `target`, or its cancellation, as the interaction of the wrapper says.

    `start` counts from 1. Spec: ITI TF-2 3.47.4.3.2.
    """
    is_cancellation = transmission.interaction == CANCEL
    quantity = 0 if is_cancellation else limit
    amounts = (("startResultNumber", start), ("continuationQuantity", quantity))
    wanted = "".join(valued(name, value) for name, value in amounts if value is not None)
    status = "aborted" if is_cancellation else "waitContinuedQueryResponse"
    act = (
        f'<controlActProcess classCode="CACT" moodCode="EVN">{coded("code", _TRIGGER, INTERACTIONS)}<queryContinuation>'
        f"{write_id(query_id, 'queryId')}{wanted}{coded('statusCode', status)}</queryContinuation></controlActProcess>"
    )
    answered = Transmission(transmission.interaction, target)
    return write_message(transmission, write_acknowledgement_part(answered, Acknowledgement.ACCEPT, ()) + act, now=now)
