"""ITI-22 Patient Demographics and Visit Query, HL7 v2: a search by traits and by the visit, answered with the visit.

QBP^ZV1 is answered by RSP^ZV2. Everything else is as in ITI-21, which also takes the cancellation.

Spec: ITI TF-2 3.22, Appendix C.
Errors: those of ITI-21.
"""

from __future__ import annotations

from functools import partial

from xds.actors.domain import Domain
from xds.model.caller import Caller
from xds.model.demographics_query import VISIT_QUERY
from xds.transactions.pdq_exchange import answer_query, ask
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


#: Asks a supplier with a QBP^ZV1: see `pdq_exchange.ask`.
send = partial(ask, event="ZV1")
