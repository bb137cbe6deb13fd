"""ITI-46 PIXV3 Update Notification: the PIX Manager tells a PIX Consumer which identifiers now mean one patient.

PRPA_IN201302UV02 as simple SOAP, answered by MCCI_IN000002UV01. This software sends it and does not receive it.

Spec: ITI TF-2 3.46, Appendix O.
"""

from __future__ import annotations

import ssl
import uuid
from collections.abc import Sequence
from datetime import UTC, datetime

from xds.model.identifiers import PatientIdentifier
from xds.model.patient import PersonName
from xds.transactions import v3_exchange
from xds.transactions.transaction import Transaction, Wire
from xds.wire.hl7v3 import ACKNOWLEDGEMENT, InstanceIdentifier, Transmission, party_of
from xds.wire.hl7v3_acknowledgement import Acknowledged
from xds.wire.hl7v3_feed import REVISED, write_notification
from xds.wire.xml import HL7V3

TRANSACTION = Transaction(
    id="ITI-46",
    name="PIXV3 Update Notification",
    responder="PIX Consumer",
    wire=Wire.SOAP,
    action=f"{HL7V3}:{REVISED}",
    reply_action=f"{HL7V3}:{ACKNOWLEDGEMENT}",
    body=f"{{{HL7V3}}}{REVISED}",
    wsdl="pix-consumer.wsdl",
    operation=f"PIXConsumer_{REVISED}",
)


def send(
    identifiers: Sequence[PatientIdentifier],
    endpoint: str,
    *,
    source: str,
    destination: str,
    names: Sequence[PersonName] = (),
    message_id: str | None = None,
    now: datetime | None = None,
    timeout: float = 30.0,
    ssl_context: ssl.SSLContext | None = None,
) -> Acknowledged:
    """Tell a PIX Consumer. `identifiers` are all of the patient in the domains that it wants, each with the OID of its domain;
    `names` are hers, by which the consumer verifies them.

    `message_id` stays the same when the notification is sent again. `source` and `destination` are `organization|device`, OIDs
    preferably; either part may be empty. `timeout` is in seconds.

    Errors: SoapFault; ConnectionError, TimeoutError when nobody answers, or nothing usable; ValueError for a bad endpoint.
    """
    sender = party_of(source)
    message_id = message_id or str(uuid.uuid4())
    # A text is unique among the messages of a device; one without an OID has a UUID made of the text.
    root = sender.device.root or str(uuid.uuid5(uuid.NAMESPACE_OID, message_id))
    transmission = Transmission(REVISED, InstanceIdentifier(root, message_id), "P", sender, party_of(destination))
    message = write_notification(identifiers, names, transmission, now=now or datetime.now(UTC))
    return v3_exchange.ask(endpoint, TRANSACTION, message, timeout=timeout, ssl_context=ssl_context)[1]
