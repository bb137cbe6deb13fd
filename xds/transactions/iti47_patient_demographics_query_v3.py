"""ITI-47 Patient Demographics Query HL7 V3: a Patient Demographics Consumer searches for patients by their traits.

PRPA_IN201305UV02 as simple SOAP, answered by PRPA_IN201306UV02 (OK, NF, AE or QE) with `initialQuantity` matches at most; the
same transaction continues (`iti47_query_continuation`) and cancels (`iti47_query_cancellation`) the query. When nobody has a name
as it was asked for, those are answered whose names sound alike or are one slip of the pen away, with a lower degree of match, as
in HL7 v2 and FHIR; a minimumDegreeMatch of 100 keeps them out.

Spec: ITI TF-2 3.47, Appendix O.
Errors, as acknowledgementDetail: AE with 204 at each unknown otherIDsScopingOrganization/value; AE and QE with SYN101 at
parameterList (too few criteria), SYN113 (schema), SYN100, SYN101, SYN102, SYN103, SYN110, SYN112 (content); AR with NS200, NS202,
NS250 (the wrapper).
"""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from datetime import UTC, datetime

from lxml import etree

from xds.actors.domain import Domain
from xds.model.caller import Caller
from xds.model.demographics_query import Comparison, DemographicsAnswer, DemographicsQuery, PageRequest, PatientMatch
from xds.rules.demographics_similarity import with_similar_names
from xds.transactions import v3_exchange
from xds.transactions.transaction import Transaction, Wire
from xds.wire.hl7v3 import InstanceIdentifier, Transmission, new_id, party_of, read_transmission
from xds.wire.hl7v3_acknowledgement import Acknowledged
from xds.wire.hl7v3_pdq import ANSWER, QUERY, read_demographics_query
from xds.wire.hl7v3_pdq_answer import read_demographics_answer, read_quantities, write_demographics_answer
from xds.wire.hl7v3_pdq_query import write_demographics_query
from xds.wire.hl7v3_queries import ResultQuantities, response_code
from xds.wire.soap import SoapReply, SoapRequest
from xds.wire.xml import HL7V3

TRANSACTION = Transaction(
    id="ITI-47",
    name="Patient Demographics Query HL7 V3",
    responder="Patient Demographics Supplier",
    wire=Wire.SOAP,
    path="/services/pdq-supplier",
    action=f"{HL7V3}:{QUERY}",
    reply_action=f"{HL7V3}:{ANSWER}",
    body=f"{{{HL7V3}}}{QUERY}",
    wsdl="pdq-supplier.wsdl",
    operation=f"PDSupplier_{QUERY}",
    safe=True,
)


@dataclass(frozen=True, slots=True)
class DemographicsV3Answer:
    """What a supplier answered. `status` is queryResponseCode: OK, NF, AE or QE; empty when it sent none.

    `query_id` names the query for its continuation, `message_id` this answer.
    """

    acknowledged: Acknowledged
    status: str
    query_id: InstanceIdentifier
    message_id: InstanceIdentifier
    matches: tuple[PatientMatch, ...] = ()
    quantities: ResultQuantities | None = None


def respond(request: SoapRequest, domain: Domain, caller: Caller) -> SoapReply:
    """Answer a demographics query."""
    received = read_demographics_query(request.body)
    asked, details = received.asked, list(received.asked.details)
    answer = DemographicsAnswer()
    if not asked.is_wrong:
        page = PageRequest(received.limit, None, str(asked.query_id), asked.text)
        similar = with_similar_names(received.query, Comparison.EXACT)
        answer = domain.demographics_supplier.search(received.query, page, caller, received.audited, instead=similar)
        details += [received.detail(problem) for problem in answer.problems]
    return SoapReply([write_demographics_answer(asked, answer, details, now=domain.pix_manager.clock(), limit=received.limit)])


def send(
    query: DemographicsQuery,
    *,
    endpoint: str,
    source: str,
    destination: str,
    limit: int | None = None,
    now: datetime | None = None,
    timeout: float = 60,
    ssl_context: ssl.SSLContext | None = None,
) -> DemographicsV3Answer:
    """Search for patients, `limit` of them at most. `source` and `destination` are `organization|device`, `timeout` is in
    seconds.

    Errors: SoapFault; ConnectionError, TimeoutError when nobody answers, or nothing usable.
    """
    transmission = Transmission(QUERY, new_id(), "P", party_of(source), party_of(destination))
    query_id = new_id()
    message = write_demographics_query(query, transmission, query_id, now=now or datetime.now(UTC), limit=limit)
    answer, _ = v3_exchange.ask(endpoint, TRANSACTION, message, timeout=timeout, ssl_context=ssl_context)
    return read_answer(answer, query_id)


def read_answer(root: etree._Element, query_id: InstanceIdentifier) -> DemographicsV3Answer:
    """An answer to the query of that id. Errors: UnusableAnswerError."""
    return DemographicsV3Answer(
        v3_exchange.acknowledgement_of(root),
        response_code(root),
        query_id,
        read_transmission(root).id,
        read_demographics_answer(root),
        read_quantities(root),
    )
