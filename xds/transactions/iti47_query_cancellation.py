"""ITI-47 Patient Demographics Query HL7 V3, cancellation: the rest of a query is not wanted any more.

QUQI_IN000003UV01_Cancel (or QUQI_IN000003UV01, which the framework's WSDL names) as simple SOAP, answered by MCCI_IN000002UV01.
A query that is not there any more, because it was delivered, cancelled or too old, is cancelled all the same.

Spec: ITI TF-2 3.47.4.3.
Errors: SoapFault for another element; as acknowledgementDetail CE with SYN100 to SYN113, CR with NS200, NS202, NS250.
"""

from __future__ import annotations

import ssl
from datetime import UTC, datetime

from lxml import etree

from xds.actors.domain import Domain
from xds.model.caller import Caller
from xds.transactions import v3_exchange
from xds.transactions.iti47_patient_demographics_query_v3 import DemographicsV3Answer
from xds.transactions.transaction import Transaction, Wire
from xds.wire.hl7v3 import ACKNOWLEDGEMENT, Transmission, new_id, party_of
from xds.wire.hl7v3_acknowledgement import Acknowledged, write_accept_acknowledgement
from xds.wire.hl7v3_continuation import read_continuation, write_continuation
from xds.wire.hl7v3_pdq import CANCEL, CONTINUE
from xds.wire.soap import SoapFault, SoapReply, SoapRequest
from xds.wire.xml import HL7V3

TRANSACTION = Transaction(
    id="ITI-47",
    name="Patient Demographics Query HL7 V3",
    responder="Patient Demographics Supplier",
    wire=Wire.SOAP,
    path="/services/pdq-supplier",
    action=f"{HL7V3}:{CANCEL}",
    reply_action=f"{HL7V3}:{ACKNOWLEDGEMENT}",
    wsdl="pdq-supplier.wsdl",
    operation="PDSupplier_PRPA_IN201305UV02_Cancel",
    safe=True,
)

_ELEMENTS = (f"{{{HL7V3}}}{CANCEL}", f"{{{HL7V3}}}{CONTINUE}")


def respond(request: SoapRequest, domain: Domain, caller: Caller) -> SoapReply:
    """Forget the rest of the query."""
    if request.body.tag not in _ELEMENTS:
        name = etree.QName(request.body).localname[:64]
        raise SoapFault("Sender", f"the Body of {TRANSACTION.action} must hold {CANCEL} of {HL7V3}, not {name}")
    received = read_continuation(request.body, is_cancellation=True)
    transmission = received.asked.transmission
    if not received.asked.details:
        domain.demographics_supplier.cancel(str(received.query_id), transmission.sender.system, caller)
    now = domain.pix_manager.clock()
    return SoapReply([write_accept_acknowledgement(transmission, received.asked.details, now=now)])


def send(
    previous: DemographicsV3Answer,
    *,
    endpoint: str,
    source: str,
    destination: str,
    now: datetime | None = None,
    timeout: float = 60,
    ssl_context: ssl.SSLContext | None = None,
) -> Acknowledged:
    """Say that nothing more of a query is wanted. `source` must be the one of the query, `timeout` is in seconds.

    Errors: SoapFault; ConnectionError, TimeoutError when nobody answers, or nothing usable.
    """
    transmission = Transmission(CANCEL, new_id(), "P", party_of(source), party_of(destination))
    message = write_continuation(transmission, previous.query_id, previous.message_id, now=now or datetime.now(UTC))
    return v3_exchange.ask(endpoint, TRANSACTION, message, timeout=timeout, ssl_context=ssl_context)[1]
