"""ITI-9 PIX Query, HL7 v2: a PIX Consumer asks the PIX Manager for the other identifiers of a patient.

QBP^Q23 is answered by RSP^K23 (OK, NF or AE), or by a plain ACK when there is no query in it that could be echoed.

Spec: ITI TF-2 3.9, Appendix C.
Errors: AR 200 (message structure), AR 203 (version); AE 100 (no QPD), 101, 102, 103 (content), AE 204 at QPD^1^3^1^1 (unknown
identifier), QPD^1^3^1^4 (unknown domain of the identifier), QPD^1^4^n (n-th requested domain unknown).
"""

from __future__ import annotations

import ssl
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from xds.actors.domain import Domain
from xds.model.caller import Caller
from xds.model.identifiers import AssigningAuthority, PatientIdentifier
from xds.model.patient import IdentityQuery
from xds.transactions.mllp_client import send_mllp
from xds.transactions.transaction import Transaction, Wire
from xds.wire import hl7v2
from xds.wire.hl7v2 import Message
from xds.wire.hl7v2_answers import (
    VERSIONS,
    Acknowledged,
    Acknowledgement,
    header_faults,
    new_control_id,
    read_acknowledgement,
    write_ack,
)
from xds.wire.hl7v2_identity import fault_of, receiving_system, sending_system
from xds.wire.hl7v2_pix import PixQuery, read_pix_query, read_rsp_k23, write_pix_query, write_rsp_k23
from xds.wire.hl7v2_pix_plain import read_plain_query, write_plain_answer

TRANSACTION = Transaction(
    id="ITI-9", name="PIX Query", responder="PIX Manager", wire=Wire.HL7V2, triggers=("QBP^Q23",), safe=True
)


@dataclass(frozen=True, slots=True)
class PixAnswer:
    """What a PIX Manager answered. `status` is QAK-2: OK, NF or AE; empty when it sent no QAK."""

    acknowledged: Acknowledged
    status: str
    identifiers: tuple[PatientIdentifier, ...] = ()


def respond(request: Message, domain: Domain, caller: Caller) -> Message:
    """Answer a PIX query."""
    pix = domain.pix_manager
    now, control_id = pix.clock(), new_control_id()
    rejected = header_faults(request, ("QBP_Q21",), VERSIONS)
    if rejected:
        return write_ack(request, Acknowledgement.REJECT, rejected, now=now, control_id=control_id)
    query = read_pix_query(request)
    if not isinstance(query, PixQuery):
        if request.count("QPD") == 0:
            return write_ack(request, Acknowledgement.ERROR, query, now=now, control_id=control_id)
        return write_rsp_k23(request, (), query, now=now, control_id=control_id)
    asked = IdentityQuery(
        source=sending_system(request),
        destination=receiving_system(request),
        message_id=request.control_id,
        tag=query.tag,
        text=hl7v2.write(request).decode(request.codec),
    )
    answer = pix.cross_reference(query.identifier, query.domains, caller, asked)
    faults = tuple(fault_of(problem, request) for problem in answer.problems)
    return write_rsp_k23(request, answer.identifiers, faults, now=now, control_id=control_id)


def respond_plainly(data: bytes, domain: Domain, caller: Caller) -> bytes | None:
    """Answer a message without reading all of it as one; None when it is no query, or none of the usual form.

    The answer is that of `respond`.
    """
    plain = read_plain_query(data)
    if plain is None:
        return None
    pix = domain.pix_manager
    asked = IdentityQuery(plain.source, plain.destination, plain.message_id, plain.query.tag, plain.text)
    known = caller if caller.node else replace(caller, node=plain.source)
    answer = pix.cross_reference(plain.query.identifier, plain.query.domains, known, asked)
    now, control_id = pix.clock(), new_control_id()
    if not answer.problems:
        written = write_plain_answer(plain, answer.identifiers, now=now, control_id=control_id)
        if written is not None:
            return written
    request = hl7v2.read(data)
    faults = tuple(fault_of(problem, request) for problem in answer.problems)
    return hl7v2.write(write_rsp_k23(request, answer.identifiers, faults, now=now, control_id=control_id))


def send(
    identifier: PatientIdentifier,
    domains: Sequence[AssigningAuthority],
    endpoint: str,
    *,
    source: str,
    destination: str = "XDS|XDS",
    now: datetime | None = None,
    timeout: float = 30.0,
    tls: ssl.SSLContext | None = None,
) -> PixAnswer:
    """Ask a PIX Manager at `host:port` or `mllp://host:port`; `source` and `destination` are `facility|application`.

    Errors: ConnectionError, TimeoutError, ValueError (address, unreadable answer).
    """
    control_id = new_control_id()
    query = PixQuery(control_id, identifier, tuple(domains))
    moment = now or datetime.now(UTC)
    message = write_pix_query(query, source=source, destination=destination, control_id=control_id, now=moment)
    answer = send_mllp(endpoint, message, timeout=timeout, tls=tls)
    return PixAnswer(read_acknowledgement(answer), answer.get("QAK-2"), read_rsp_k23(answer))
