"""ITI-8 Patient Identity Feed, HL7 v2: a Patient Identity Source tells the PIX Manager and the Document Registry of patients.

ADT^A01, A04, A05 (add), A08 (revise), A40 (merge), in HL7 2.3.1 or in 2.5, where ITI-30 and ITI-31 share these events. Answers:
ACK in original mode.

Spec: ITI TF-2 3.8, Appendix C.
Errors: AR 200 (message structure), AR 203 (version); AE 100, 101, 102, 103 (content), AE 204 (unknown authority, unknown or
subsumed identifier of a merge), AE 103 at the authority (the sender is not its issuer).
"""

from __future__ import annotations

import ssl
from collections.abc import Callable
from datetime import datetime

from xds.actors.domain import Domain
from xds.model.caller import Caller
from xds.model.patient import IdentityFeed
from xds.transactions.adt_exchange import begin_feed, moment, send_and_wait
from xds.transactions.transaction import Transaction, Wire
from xds.wire.hl7v2 import Message
from xds.wire.hl7v2_answers import ALL_VERSIONS, Acknowledged
from xds.wire.hl7v2_feed import write_feed

TRANSACTION = Transaction(
    id="ITI-8",
    name="Patient Identity Feed",
    responder="PIX Manager, Document Registry",
    wire=Wire.HL7V2,
    triggers=("ADT^A01", "ADT^A04", "ADT^A05", "ADT^A08", "ADT^A40"),
)

_STRUCTURES = {
    "A01": ("ADT_A01",),
    "A04": ("ADT_A01",),
    "A05": ("ADT_A01", "ADT_A05"),
    "A08": ("ADT_A01",),
    "A40": ("ADT_A39",),
}


def respond(request: Message, domain: Domain, caller: Caller) -> Message:
    """Let the feed take effect and acknowledge it after the commit."""
    return begin(request, domain, caller)()


def begin(request: Message, domain: Domain, caller: Caller) -> Callable[[], Message]:
    """Begin what `respond` does; what is returned waits for the commit and gives the answer."""
    return begin_feed(request, domain, caller, structures=_STRUCTURES[request.event], versions=ALL_VERSIONS)


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
    return send_and_wait(write_feed(feed, now=moment(now), version=version), endpoint, timeout=timeout, tls=tls)
