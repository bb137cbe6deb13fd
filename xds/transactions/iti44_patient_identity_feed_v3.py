"""ITI-44 Patient Identity Feed HL7 V3: a Patient Identity Source tells the PIX Manager and the Document Registry of patients.

PRPA_IN201301UV02 (add) here; the same transaction revises (`iti44_patient_identity_revision_v3`) and merges
(`iti44_patient_identity_merge_v3`). Simple SOAP; each is answered by MCCI_IN000002UV01.

Spec: ITI TF-2 3.44, Appendix O.
Errors, as acknowledgementDetail: CR with NS200, NS202, NS250 (the wrapper); CE with SYN113 (schema), SYN100, SYN101, SYN102,
SYN103, SYN110, SYN112 (content), SYN103 at an identifier (the sender is not its issuer), 204 (unknown domain, unknown or
subsumed identifier of a merge).
"""

from __future__ import annotations

import ssl
from datetime import UTC, datetime

from xds.actors.domain import Domain
from xds.model.caller import Caller
from xds.model.patient import IdentityFeed
from xds.transactions import v3_exchange
from xds.transactions.transaction import Transaction, Wire
from xds.wire.hl7v3 import InstanceIdentifier, Transmission, party_of
from xds.wire.hl7v3_acknowledgement import Acknowledged, write_accept_acknowledgement
from xds.wire.hl7v3_feed import ADDED, INTERACTIONS_OF_FEEDS, read_feed, write_feed
from xds.wire.soap import SoapReply, SoapRequest
from xds.wire.xml import HL7V3


def feed_transaction(interaction: str) -> Transaction:
    """The record of one of the interactions of ITI-44."""
    return Transaction(
        id="ITI-44",
        name="Patient Identity Feed HL7 V3",
        responder="PIX Manager, Document Registry",
        wire=Wire.SOAP,
        path="/services/pix-manager",
        action=f"{HL7V3}:{interaction}",
        reply_action=f"{HL7V3}:MCCI_IN000002UV01",
        body=f"{{{HL7V3}}}{interaction}",
        wsdl="pix-manager.wsdl",
        operation=f"PIXManager_{interaction}",
    )


TRANSACTION = feed_transaction(ADDED)


def respond(request: SoapRequest, domain: Domain, caller: Caller) -> SoapReply:
    """Let the feed take effect and acknowledge it after the commit. What cannot be read hides nothing that would be refused."""
    received = read_feed(request.body)
    details = list(received.details)
    if received.feed is not None:
        pix = domain.pix_manager
        problems = pix.objections(received.feed, caller) if details else pix.feed(received.feed, caller)
        places = {detail.location for detail in details}
        told = (received.detail(problem) for problem in problems)
        details += [detail for detail in told if detail.location is None or detail.location not in places]
    return SoapReply([write_accept_acknowledgement(received.transmission, details, now=domain.pix_manager.clock())])


def send(
    feed: IdentityFeed,
    *,
    endpoint: str,
    now: datetime | None = None,
    timeout: float = 60,
    ssl_context: ssl.SSLContext | None = None,
) -> Acknowledged:
    """Feed a PIX Manager or Registry. `timeout` in seconds; `message_id` of the feed is `root` or `root^extension`.

    Errors: SoapFault; ConnectionError, TimeoutError when nobody answers, or nothing usable.
    """
    interaction = INTERACTIONS_OF_FEEDS[feed.kind]
    root, _, extension = feed.message_id.partition("^")
    transmission = Transmission(
        interaction, InstanceIdentifier(root, extension), "P", party_of(feed.source), party_of(feed.destination)
    )
    message = write_feed(feed, transmission, now=now or datetime.now(UTC))
    return v3_exchange.ask(endpoint, feed_transaction(interaction), message, timeout=timeout, ssl_context=ssl_context)[1]
