"""ITI-31 Patient Encounter Management: a source tells of visits, and with each of the patient whom it concerns.

Every event of every option is taken: the patient's identity and demographics (PID) feed the PIX Manager, the fields of PV1, PV2
and PD1 become the patient's last visit (ITI-22). What cancels an event states the visit as it is without it. A01, A04, A05, A08
and A40 are taken with ITI-8, where they have the same effect.

Spec: ITI TF-2 3.31, Appendix C.
Errors: AR 200 (message structure), AR 201 and 203 (version before 2.5); AE 100, 101, 102, 103 (content), AE 204 (unknown
authority), AE 103 at the authority (the sender is not its issuer).
"""

from __future__ import annotations

import ssl
from collections.abc import Callable
from datetime import datetime
from typing import Final

from xds.actors.domain import Domain
from xds.model.caller import Caller
from xds.model.patient import IdentityFeed
from xds.transactions.adt_exchange import begin_feed, moment, send_and_wait
from xds.transactions.transaction import Transaction, Wire
from xds.wire.hl7v2 import Condition, Fault, Location, Message
from xds.wire.hl7v2_answers import OLD_VERSIONS, VERSIONS, Acknowledged, Acknowledgement, new_control_id, write_ack
from xds.wire.hl7v2_feed import write_encounter

#: The structure of each event. Spec: HL7 v2.5 table 0354; ITI TF-2 3.31.7 (Z99: historic movement).
STRUCTURES: Final = {
    "A02": "ADT_A02",
    "A03": "ADT_A03",
    "A06": "ADT_A06",
    "A07": "ADT_A06",
    "A09": "ADT_A09",
    "A10": "ADT_A09",
    "A11": "ADT_A09",
    "A12": "ADT_A12",
    "A13": "ADT_A01",
    "A14": "ADT_A05",
    "A15": "ADT_A15",
    "A16": "ADT_A16",
    "A21": "ADT_A21",
    "A22": "ADT_A21",
    "A25": "ADT_A21",
    "A26": "ADT_A21",
    "A27": "ADT_A21",
    "A32": "ADT_A21",
    "A33": "ADT_A21",
    "A38": "ADT_A38",
    "A44": "ADT_A43",
    "A52": "ADT_A52",
    "A53": "ADT_A52",
    "A54": "ADT_A54",
    "A55": "ADT_A52",
    "Z99": "ADT_A01",
}
#: Structures that other versions of HL7 2 give the same events.
_ALSO: Final = {"A12": ("ADT_A09",), "A55": ("ADT_A54",), "A44": ("ADT_A44",)}

TRANSACTION = Transaction(
    id="ITI-31",
    name="Patient Encounter Management",
    responder="PIX Manager",
    wire=Wire.HL7V2,
    triggers=tuple(f"ADT^{event}" for event in STRUCTURES),
)


def respond(request: Message, domain: Domain, caller: Caller) -> Message:
    """Feed what the message says of the patient and of the visit, and acknowledge it after the commit."""
    return begin(request, domain, caller)()


def begin(request: Message, domain: Domain, caller: Caller) -> Callable[[], Message]:
    """Begin what `respond` does; what is returned waits for the commit and gives the answer."""
    event = request.event
    if request.version in OLD_VERSIONS:
        # In these versions only ITI-8 is spoken, which has no such event.
        faults = (
            Fault(Condition.UNSUPPORTED_EVENT, "this event is not received in this version", Location("MSH", 1, 9, 1, 2)),
            Fault(Condition.UNSUPPORTED_VERSION, "this event is received in HL7 2.5", Location("MSH", 1, 12)),
        )
        now = domain.pix_manager.clock()
        answer = write_ack(request, Acknowledgement.REJECT, faults, now=now, control_id=new_control_id())
        return lambda: answer
    structures = (STRUCTURES[event], *_ALSO.get(event, ()))
    return begin_feed(request, domain, caller, structures=structures, versions=VERSIONS)


def send(
    feed: IdentityFeed,
    event: str,
    endpoint: str,
    *,
    now: datetime | None = None,
    timeout: float = 30.0,
    tls: ssl.SSLContext | None = None,
) -> Acknowledged:
    """Tell of an encounter (`event` is A02, A03 …) at `host:port` or `mllp://host:port`; `feed.visit` is the visit.

    Errors: ConnectionError, TimeoutError, ValueError (address, unreadable answer), KeyError (an event of another transaction).
    """
    message = write_encounter(feed, event, STRUCTURES[event], now=moment(now))
    return send_and_wait(message, endpoint, timeout=timeout, tls=tls)
