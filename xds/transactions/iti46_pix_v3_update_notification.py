"""ITI-46 PIXV3 Update Notification: the PIX Manager tells a PIX Consumer which identifiers now mean one patient.

PRPA_IN201302UV02 as simple SOAP, answered by MCCI_IN000002UV01. This software sends it and does not receive it.

Spec: ITI TF-2 3.46, Appendix O.
"""

from __future__ import annotations

import ssl
from collections.abc import Sequence
from datetime import datetime

from xds.model.identifiers import PatientIdentifier
from xds.transactions.client import UnusableAnswerError, post_soap
from xds.transactions.transaction import Transaction, Wire
from xds.wire.hl7v3 import ACKNOWLEDGEMENT, InstanceIdentifier, Transmission, party_of
from xds.wire.hl7v3_acknowledgement import Acknowledged, UnusableError, read_acknowledgement
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
    *,
    endpoint: str,
    message_id: str,
    source: str,
    destination: str,
    now: datetime,
    timeout: float = 60,
    ssl_context: ssl.SSLContext | None = None,
) -> Acknowledged:
    """Tell a PIX Consumer. `identifiers` are all of the patient in the domains that it wants, each with the OID of its domain.

    `message_id` is a UUID that stays the same when the notification is sent again; `source` and `destination` are
    `organization|device`, OIDs preferably; `timeout` is in seconds.

    Errors: SoapFault; ConnectionError, TimeoutError when nobody answers, or nothing usable; ValueError for a bad endpoint.
    """
    transmission = Transmission(REVISED, InstanceIdentifier(message_id), "P", party_of(source), party_of(destination))
    message = write_notification(identifiers, transmission, now=now)
    answer = post_soap(endpoint, TRANSACTION, message, timeout=timeout, ssl_context=ssl_context)
    try:
        return read_acknowledgement(answer.body)
    except UnusableError as error:
        raise UnusableAnswerError(str(error)) from None
