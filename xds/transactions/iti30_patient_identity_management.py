"""ITI-30 Patient Identity Management, option Link/Unlink: a Patient Identity Source tells that two records mean one person.

ADT^A24 (link) and A37 (unlink). The records stay distinct, so that a link can be undone; A28 and A31 are taken with ITI-8.

Spec: ITI TF-2 3.30, Appendix C.
Errors: AR 200 (message structure), AR 203 (version); AE 100, 101, 103 (content), AE 204 (unknown authority), AE 103 at the
authority (the sender is not its issuer). Identifiers that are not known are no error.
"""

from __future__ import annotations

import ssl
from datetime import UTC, datetime

from xds.actors.domain import Domain
from xds.model.caller import Caller
from xds.model.patient import IdentityFeed
from xds.transactions.mllp_client import send_mllp
from xds.transactions.transaction import Transaction, Wire
from xds.wire.hl7v2 import Fault, Message
from xds.wire.hl7v2_answers import (
    VERSIONS,
    Acknowledged,
    Acknowledgement,
    header_faults,
    new_control_id,
    read_acknowledgement,
    write_ack,
)
from xds.wire.hl7v2_identity import fault_of
from xds.wire.hl7v2_links import read_link, write_link

TRANSACTION = Transaction(
    id="ITI-30",
    name="Patient Identity Management",
    responder="PIX Manager",
    wire=Wire.HL7V2,
    triggers=("ADT^A24", "ADT^A37"),
)


def respond(request: Message, domain: Domain, caller: Caller) -> Message:
    """Link or unlink and acknowledge it after the commit."""
    pix = domain.pix_manager

    def answer(code: Acknowledgement, faults: tuple[Fault, ...] = ()) -> Message:
        return write_ack(request, code, faults, now=pix.clock(), control_id=new_control_id())

    if rejected := header_faults(request, (f"ADT_{request.event}",), VERSIONS):
        return answer(Acknowledgement.REJECT, rejected)
    feed = read_link(request)
    if not isinstance(feed, IdentityFeed):
        return answer(Acknowledgement.ERROR, feed)
    problems = pix.feed(feed, caller)
    if problems:
        return answer(Acknowledgement.ERROR, tuple(fault_of(problem, request) for problem in problems))
    return answer(Acknowledgement.ACCEPT)


def send(
    feed: IdentityFeed,
    endpoint: str,
    *,
    now: datetime | None = None,
    timeout: float = 30.0,
    tls: ssl.SSLContext | None = None,
) -> Acknowledged:
    """Tell a PIX Manager at `host:port` or `mllp://host:port` of a link between two records, or of its end.

    Errors: ConnectionError, TimeoutError, ValueError (address, unreadable answer).
    """
    message = write_link(feed, now=now or datetime.now(UTC))
    return read_acknowledgement(send_mllp(endpoint, message, timeout=timeout, tls=tls))
