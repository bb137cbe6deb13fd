"""What the transactions of identity and encounter feeds (ITI-8, ITI-30, ITI-31) have in common: an ADT message, and its ACK.

Spec: ITI TF-2 3.8, 3.30, 3.31, C.2.3.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable, Collection
from datetime import UTC, datetime
from functools import partial

from xds.actors.domain import Domain
from xds.model.caller import Caller
from xds.model.patient import IdentityFeed
from xds.transactions.mllp_client import send_mllp
from xds.wire.hl7v2 import Fault, Message
from xds.wire.hl7v2_answers import (
    Acknowledged,
    Acknowledgement,
    header_faults,
    new_control_id,
    read_acknowledgement,
    write_ack,
)
from xds.wire.hl7v2_feed import read_feed
from xds.wire.hl7v2_identity import fault_of

#: Gives what can be read of a message, and everything that is wrong with it.
Reader = Callable[[Message], tuple[IdentityFeed | None, tuple[Fault, ...]]]


def begin_feed(
    request: Message,
    domain: Domain,
    caller: Caller,
    *,
    structures: Collection[str],
    versions: Collection[str],
    read: Reader = read_feed,
) -> Callable[[], Message]:
    """Have a feed begun; what is returned waits for the commit and gives the answer.

    It must be called in the same thread, soon, and in the order in which feeds were begun: other feeds may wait for it.
    `structures` and `versions` are those of the event.
    Errors: AR 200 (message structure), AR 203 (version); AE what the reader and the PIX Manager find, all of it at once.
    """
    pix = domain.pix_manager

    def answer(code: Acknowledgement, faults: tuple[Fault, ...] = ()) -> Message:
        return write_ack(request, code, faults, now=pix.clock(), control_id=new_control_id())

    if rejected := header_faults(request, structures, versions):
        return partial(answer, Acknowledgement.REJECT, rejected)
    feed, faults = read(request)
    if feed is None:
        return partial(answer, Acknowledgement.ERROR, faults)
    if faults:
        objections = [fault_of(problem, request) for problem in pix.objections(feed, caller)]
        more = (item for item in objections if not any(_is_within(fault, item) for fault in faults))
        return partial(answer, Acknowledgement.ERROR, (*faults, *more))
    finish = pix.begin_feed(feed, caller)

    def acknowledge() -> Message:
        if problems := finish():
            return answer(Acknowledgement.ERROR, tuple(fault_of(problem, request) for problem in problems))
        return answer(Acknowledgement.ACCEPT)

    return acknowledge


def _is_within(fault: Fault, objection: Fault) -> bool:
    """True for a fault of the part of a message that an objection is about: what was read of that part may be why it was made."""
    one, other = fault.location, objection.location
    if one is None or other is None or (one.segment, one.sequence, one.field) != (other.segment, other.sequence, other.field):
        return False
    return one.repetition is None or one.repetition == other.repetition


def send_and_wait(message: Message, endpoint: str, *, timeout: float = 30.0, tls: ssl.SSLContext | None = None) -> Acknowledged:
    """Send a message to `host:port` or `mllp://host:port` and read its acknowledgement.

    Errors: ConnectionError, TimeoutError, ValueError (address, unreadable answer).
    """
    return read_acknowledgement(send_mllp(endpoint, message, timeout=timeout, tls=tls))


def moment(now: datetime | None) -> datetime:
    """The time of a message: what the caller says, or the present."""
    return now or datetime.now(UTC)
