"""ITI-8 Patient Identity Feed, HL7 v2: a Patient Identity Source tells the PIX Manager and the Document Registry of patients.

ADT^A01, A04, A05 (add), A08 (revise), A40 (merge); ITI-30's A28 and A31 are taken for the same. Answers: ACK in original mode.

Spec: ITI TF-2 3.8, Appendix C; ITI TF-2 3.30 for A28 and A31.
Errors: AR 200 (message structure), AR 203 (version); AE 100, 101, 102, 103 (content), AE 204 (unknown authority, unknown or
subsumed identifier of a merge), AE 103 at the authority (the sender is not its issuer).
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
    OLD_VERSIONS,
    VERSIONS,
    Acknowledged,
    Acknowledgement,
    header_faults,
    new_control_id,
    read_acknowledgement,
    write_ack,
)
from xds.wire.hl7v2_identity import fault_of, read_feed, write_feed

TRANSACTION = Transaction(
    id="ITI-8",
    name="Patient Identity Feed",
    responder="PIX Manager, Document Registry",
    wire=Wire.HL7V2,
    triggers=("ADT^A01", "ADT^A04", "ADT^A05", "ADT^A08", "ADT^A28", "ADT^A31", "ADT^A40"),
)

_STRUCTURES = {
    "A01": ("ADT_A01",),
    "A04": ("ADT_A01",),
    "A05": ("ADT_A01", "ADT_A05"),
    "A08": ("ADT_A01",),
    "A28": ("ADT_A05",),
    "A31": ("ADT_A05",),
    "A40": ("ADT_A39",),
}
#: A28 and A31 exist in ITI-30 only, which is spoken in 2.5; the others are ITI-8's in 2.3.1 and PAM's in 2.5.
_PAM_ONLY = ("A28", "A31")


def respond(request: Message, domain: Domain, caller: Caller) -> Message:
    """Let the feed take effect and acknowledge it after the commit."""
    pix = domain.pix_manager
    versions = VERSIONS if request.event in _PAM_ONLY else VERSIONS | OLD_VERSIONS

    def answer(code: Acknowledgement, faults: tuple[Fault, ...] = ()) -> Message:
        return write_ack(request, code, faults, now=pix.clock(), control_id=new_control_id())

    if rejected := header_faults(request, _STRUCTURES[request.event], versions):
        return answer(Acknowledgement.REJECT, rejected)
    feed = read_feed(request)
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
    version: str = "2.3.1",
    timeout: float = 30.0,
    tls: ssl.SSLContext | None = None,
) -> Acknowledged:
    """Feed a PIX Manager or Registry at `host:port` or `mllp://host:port`.

    Errors: ConnectionError, TimeoutError, ValueError (address, unreadable answer).
    """
    message = write_feed(feed, now=now or datetime.now(UTC), version=version)
    return read_acknowledgement(send_mllp(endpoint, message, timeout=timeout, tls=tls))
