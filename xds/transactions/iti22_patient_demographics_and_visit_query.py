"""ITI-22 Patient Demographics and Visit Query, HL7 v2: a search by traits and by the visit, answered with the visit.

QBP^ZV1 is answered by RSP^ZV2. Everything else is as in ITI-21, which also takes the cancellation.

Spec: ITI TF-2 3.22, Appendix C.
Errors: those of ITI-21.
"""

from __future__ import annotations

import ssl
from datetime import datetime

from xds.actors.domain import Domain
from xds.model.caller import Caller
from xds.model.demographics_query import VISIT_QUERY, DemographicsQuery, PageRequest
from xds.transactions.pdq_exchange import PdqAnswer, answer_query, ask
from xds.transactions.transaction import Transaction, Wire
from xds.wire.hl7v2 import Message

TRANSACTION = Transaction(
    id="ITI-22",
    name="Patient Demographics and Visit Query",
    responder="Patient Demographics Supplier",
    wire=Wire.HL7V2,
    triggers=("QBP^ZV1",),
    safe=True,
)


def respond(request: Message, domain: Domain, caller: Caller) -> Message:
    """Answer a demographics and visit query."""
    return answer_query(request, domain, caller, VISIT_QUERY)


def send(
    query: DemographicsQuery,
    endpoint: str,
    *,
    source: str,
    destination: str = "XDS|XDS",
    page: PageRequest | None = None,
    now: datetime | None = None,
    timeout: float = 30.0,
    tls: ssl.SSLContext | None = None,
) -> PdqAnswer:
    """Ask a supplier at `host:port` or `mllp://host:port`; criteria on the visit stand in `query.visit`.

    Errors: ConnectionError, TimeoutError, ValueError (address, unreadable answer).
    """
    return ask(
        query,
        endpoint,
        event="ZV1",
        source=source,
        destination=destination,
        page=page or PageRequest(),
        now=now,
        timeout=timeout,
        tls=tls,
    )
