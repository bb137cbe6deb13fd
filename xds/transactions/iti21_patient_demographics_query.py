"""ITI-21 Patient Demographics Query, HL7 v2: a Patient Demographics Consumer searches patients by their traits.

QBP^Q22 is answered by RSP^K22 (OK, NF or AE), or by a plain ACK when there is no query in it that could be echoed. RCP-2 (`n^RD`)
asks for pages; the next one is the same query with the pointer of the answer in DSC. QCN^J01 ends a query, ITI-22's too.

Spec: ITI TF-2 3.21, Appendix C.
Errors: AR 200 (message structure), AR 203 (version); AE 100 (no QPD), 101, 102, 103 (content), AE 204 at QPD^1^8^n (n-th
requested domain unknown) and at DSC^1^1 (unknown pointer), AE 101 at QPD^1^3 (criteria that tell too little of a person).
"""

from __future__ import annotations

import ssl
from datetime import UTC, datetime
from functools import partial

from xds.actors.domain import Domain
from xds.model.caller import Caller
from xds.model.demographics_query import DEMOGRAPHICS_QUERY
from xds.transactions.mllp_client import send_mllp
from xds.transactions.pdq_exchange import answer_query, ask
from xds.transactions.transaction import Transaction, Wire
from xds.wire.hl7v2 import Fault, Message
from xds.wire.hl7v2_answers import (
    VERSIONS,
    Acknowledged,
    Acknowledgement,
    header_faults,
    new_control_id,
    read_acknowledgement,
    write_ack,
)
from xds.wire.hl7v2_identity import sending_system
from xds.wire.hl7v2_pdq import read_cancellation
from xds.wire.hl7v2_pdq_answers import write_cancellation

TRANSACTION = Transaction(
    id="ITI-21",
    name="Patient Demographics Query",
    responder="Patient Demographics Supplier",
    wire=Wire.HL7V2,
    triggers=("QBP^Q22", "QCN^J01"),
    safe=True,
)


def respond(request: Message, domain: Domain, caller: Caller) -> Message:
    """Answer a demographics query, or end one."""
    if request.message_type == "QBP":
        return answer_query(request, domain, caller, DEMOGRAPHICS_QUERY)

    def answer(code: Acknowledgement, faults: tuple[Fault, ...] = ()) -> Message:
        return write_ack(request, code, faults, now=domain.pix_manager.clock(), control_id=new_control_id())

    if rejected := header_faults(request, ("QCN_J01",), VERSIONS):
        return answer(Acknowledgement.REJECT, rejected)
    tag, faults = read_cancellation(request)
    if faults:
        return answer(Acknowledgement.ERROR, faults)
    # A query that is not known any more has ended, which is what was wanted.
    domain.demographics_supplier.cancel(tag, sending_system(request), caller)
    return answer(Acknowledgement.ACCEPT)


#: Asks a supplier with a QBP^Q22: see `pdq_exchange.ask`.
send = partial(ask, event="Q22")


def cancel(
    query_tag: str,
    endpoint: str,
    *,
    source: str,
    destination: str = "XDS|XDS",
    now: datetime | None = None,
    timeout: float = 30.0,
    tls: ssl.SSLContext | None = None,
) -> Acknowledged:
    """End a query of which no more pages are wanted.

    Errors: ConnectionError, TimeoutError, ValueError (address, unreadable answer).
    """
    moment = now or datetime.now(UTC)
    message = write_cancellation(query_tag, source=source, destination=destination, control_id=new_control_id(), now=moment)
    return read_acknowledgement(send_mllp(endpoint, message, timeout=timeout, tls=tls))
