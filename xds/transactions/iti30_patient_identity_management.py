"""ITI-30 Patient Identity Management: a Patient Identity Source tells the PIX Manager what becomes of its patients' identities.

ADT^A28 (create), A31 (update), A47 (change of identifier), A24 (link), A37 (unlink); the merge, A40, is taken with ITI-8. Both
options are supported, Merge and Link/Unlink. Linked records stay distinct, so that a link can be undone.

Spec: ITI TF-2 3.30, Appendix C.
Errors: AR 200 (message structure), AR 203 (version); AE 100, 101, 102, 103 (content), AE 204 (unknown authority), AE 205 (the new
identifier of an A47 is another patient's), AE 103 at the authority (the sender is not its issuer). Identifiers that are not
known are no error in an A24, A37, A40 or A47.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable
from datetime import datetime

from xds.actors.domain import Domain
from xds.model.caller import Caller
from xds.model.patient import PATIENT_IDENTITY_MANAGEMENT, FeedKind, IdentityFeed
from xds.transactions.adt_exchange import begin_feed, moment, send_and_wait
from xds.transactions.transaction import Transaction, Wire
from xds.wire.hl7v2 import Message
from xds.wire.hl7v2_answers import VERSIONS, Acknowledged
from xds.wire.hl7v2_feed import read_feed, write_feed
from xds.wire.hl7v2_links import read_link, write_link

TRANSACTION = Transaction(
    id="ITI-30",
    name="Patient Identity Management",
    responder="PIX Manager",
    wire=Wire.HL7V2,
    triggers=("ADT^A24", "ADT^A28", "ADT^A31", "ADT^A37", "ADT^A47"),
)

_STRUCTURES = {"A24": "ADT_A24", "A28": "ADT_A05", "A31": "ADT_A05", "A37": "ADT_A37", "A47": "ADT_A30"}
_LINKS = ("A24", "A37")


def respond(request: Message, domain: Domain, caller: Caller) -> Message:
    """Let the message take effect and acknowledge it after the commit."""
    return begin(request, domain, caller)()


def begin(request: Message, domain: Domain, caller: Caller) -> Callable[[], Message]:
    """Begin what `respond` does; what is returned waits for the commit and gives the answer."""
    return begin_feed(
        request,
        domain,
        caller,
        structures=(_STRUCTURES[request.event],),
        versions=VERSIONS,
        read=read_link if request.event in _LINKS else read_feed,
    )


def message_of(feed: IdentityFeed, now: datetime) -> Message:
    """A feed as the message of this transaction."""
    if feed.kind in (FeedKind.LINK, FeedKind.UNLINK):
        return write_link(feed, now=now)
    if feed.event_type != PATIENT_IDENTITY_MANAGEMENT:
        raise ValueError("the feed is none of ITI-30")
    return write_feed(feed, now=now)


def send(
    feed: IdentityFeed,
    endpoint: str,
    *,
    now: datetime | None = None,
    timeout: float = 30.0,
    tls: ssl.SSLContext | None = None,
) -> Acknowledged:
    """Tell a PIX Manager at `host:port` or `mllp://host:port` of a patient, whose `event_type` is that of this transaction.

    Errors: ConnectionError, TimeoutError, ValueError (address, unreadable answer, a feed of another transaction).
    """
    return send_and_wait(message_of(feed, moment(now)), endpoint, timeout=timeout, tls=tls)
