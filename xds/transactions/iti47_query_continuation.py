"""ITI-47 Patient Demographics Query HL7 V3, continuation: further matches of a query that was answered in part.

QUQI_IN000003UV01 as simple SOAP, answered by PRPA_IN201306UV02. `startResultNumber` says from which match on, otherwise the
answer that is continued does. See `iti47_patient_demographics_query_v3`.

Spec: ITI TF-2 3.47.4.3.
Errors, as acknowledgementDetail: AE with 204 at queryId (no such query, cancelled, too long ago); AE and QE with SYN100 to
SYN113.
"""

from __future__ import annotations

import ssl
from datetime import UTC, datetime

from xds.actors.domain import Domain
from xds.model.caller import Caller
from xds.model.demographics_query import DemographicsAnswer, PageRequest
from xds.transactions import v3_exchange
from xds.transactions.iti47_patient_demographics_query_v3 import DemographicsV3Answer, read_answer
from xds.transactions.transaction import Transaction, Wire
from xds.wire.hl7v3 import Transmission, detail_of, new_id, party_of
from xds.wire.hl7v3_continuation import read_continuation, write_continuation
from xds.wire.hl7v3_pdq import ANSWER, CONTINUE
from xds.wire.hl7v3_pdq_answer import write_demographics_answer
from xds.wire.soap import SoapReply, SoapRequest
from xds.wire.xml import HL7V3

TRANSACTION = Transaction(
    id="ITI-47",
    name="Patient Demographics Query HL7 V3",
    responder="Patient Demographics Supplier",
    wire=Wire.SOAP,
    path="/services/pdq-supplier",
    action=f"{HL7V3}:{CONTINUE}_Continue",
    reply_action=f"{HL7V3}:{ANSWER}",
    body=f"{{{HL7V3}}}{CONTINUE}",
    wsdl="pdq-supplier.wsdl",
    operation="PDSupplier_PRPA_IN201305UV02_Continue",
    safe=True,
)


def respond(request: SoapRequest, domain: Domain, caller: Caller) -> SoapReply:
    """Answer with the matches that follow, or end the query when the message says so."""
    received = read_continuation(request.body)
    asked, answer = received.asked, DemographicsAnswer()
    details = list(asked.details)
    supplier, tag = domain.demographics_supplier, str(received.query_id)
    if received.is_cancellation and not details:
        supplier.cancel(tag, asked.transmission.sender.system, caller)
    elif not details:
        page = PageRequest(received.at_a_time, None, tag)
        answer = supplier.resume(page, caller, received.audited, start=received.offset)
        details = [detail_of(problem, received.place) for problem in answer.problems]
    now = domain.pix_manager.clock()
    written = write_demographics_answer(
        asked, answer, details, now=now, limit=received.at_a_time, before=received.offset, query_id=received.query_id
    )
    return SoapReply([written])


def send(
    previous: DemographicsV3Answer,
    *,
    endpoint: str,
    source: str,
    destination: str,
    start: int | None = None,
    limit: int | None = None,
    now: datetime | None = None,
    timeout: float = 60,
    ssl_context: ssl.SSLContext | None = None,
) -> DemographicsV3Answer:
    """Ask for the matches after those of an answer, or from number `start` (counted from 1) on, `limit` of them at most.

    `source` must be the one of the query. `timeout` in seconds.
    Errors: SoapFault; ConnectionError, TimeoutError when nobody answers, or nothing usable.
    """
    transmission = Transmission(CONTINUE, new_id(), "P", party_of(source), party_of(destination))
    message = write_continuation(
        transmission, previous.query_id, previous.message_id, now=now or datetime.now(UTC), start=start, limit=limit
    )
    answer, _ = v3_exchange.ask(endpoint, TRANSACTION, message, timeout=timeout, ssl_context=ssl_context)
    return read_answer(answer, previous.query_id)
