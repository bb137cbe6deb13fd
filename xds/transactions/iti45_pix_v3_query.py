"""ITI-45 PIXV3 Query: a PIX Consumer asks the PIX Manager for the other identifiers of a patient.

PRPA_IN201309UV02 as simple SOAP, answered by PRPA_IN201310UV02 (OK, NF, AE or QE).

Spec: ITI TF-2 3.45, Appendix O.
Errors, as acknowledgementDetail: AE with 204 at patientIdentifier/value (unknown identifier or domain) and at each unknown
dataSource/value; AE and QE with SYN113 (schema), SYN100, SYN101, SYN102, SYN103, SYN110, SYN112 (content); AR with NS200, NS202,
NS250 (the wrapper).
"""

from __future__ import annotations

import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from xds.actors.domain import Domain
from xds.model.caller import Caller
from xds.model.identifiers import AssigningAuthority, PatientIdentifier
from xds.transactions import v3_exchange
from xds.transactions.transaction import Transaction, Wire
from xds.wire.hl7v3 import Transmission, new_id, party_of
from xds.wire.hl7v3_acknowledgement import Acknowledged
from xds.wire.hl7v3_pix import ANSWER, QUERY, read_pix_answer, read_pix_query, write_pix_answer, write_pix_query
from xds.wire.hl7v3_queries import response_code
from xds.wire.soap import SoapReply, SoapRequest
from xds.wire.xml import HL7V3

TRANSACTION = Transaction(
    id="ITI-45",
    name="PIXV3 Query",
    responder="PIX Manager",
    wire=Wire.SOAP,
    path="/services/pix-manager",
    action=f"{HL7V3}:{QUERY}",
    reply_action=f"{HL7V3}:{ANSWER}",
    body=f"{{{HL7V3}}}{QUERY}",
    wsdl="pix-manager.wsdl",
    operation=f"PIXManager_{QUERY}",
    safe=True,
)


@dataclass(frozen=True, slots=True)
class PixV3Answer:
    """What a PIX Manager answered. `status` is queryResponseCode: OK, NF, AE or QE; empty when it sent none."""

    acknowledged: Acknowledged
    status: str
    identifiers: tuple[PatientIdentifier, ...] = ()


def respond(request: SoapRequest, domain: Domain, caller: Caller) -> SoapReply:
    """Answer a PIX query."""
    pix = domain.pix_manager
    received = read_pix_query(request.body)
    if received.asked.details or received.identifier is None:
        return SoapReply([write_pix_answer(received.asked, (), received.asked.details, now=pix.clock())])
    answer = pix.cross_reference(received.identifier, received.domains, caller, received.audited)
    details = [received.detail(problem) for problem in answer.problems]
    names = domain.demographics_supplier.names_of(answer.identifiers[0], caller) if answer.identifiers else ()
    return SoapReply([write_pix_answer(received.asked, answer.identifiers, details, names=names, now=pix.clock())])


def send(
    identifier: PatientIdentifier,
    domains: Sequence[AssigningAuthority],
    *,
    endpoint: str,
    source: str,
    destination: str,
    now: datetime | None = None,
    timeout: float = 60,
    ssl_context: ssl.SSLContext | None = None,
) -> PixV3Answer:
    """Ask a PIX Manager; no domains means all. `source` and `destination` are `organization|device`, `timeout` is in seconds.

    Errors: SoapFault; ConnectionError, TimeoutError when nobody answers, or nothing usable.
    """
    transmission = Transmission(QUERY, new_id(), "P", party_of(source), party_of(destination))
    message = write_pix_query(identifier, domains, transmission, new_id(), now=now or datetime.now(UTC))
    answer, acknowledged = v3_exchange.ask(endpoint, TRANSACTION, message, timeout=timeout, ssl_context=ssl_context)
    return PixV3Answer(acknowledged, response_code(answer), read_pix_answer(answer))
