"""ITI-64 Notify XAD-PID Link Change: a PIX Manager tells the Document Registry that a local patient identifier belongs to another
patient of the affinity domain, or was merged into another local one.

Spec: ITI TF-2 3.64, Appendix C.
Errors: AR 200 (message structure), AR 203 (version); AE 100, 101, 102, 103 (content), AE 204 (an identifier that is not of the
affinity domain, is unknown there, or was subsumed).
"""

from __future__ import annotations

import ssl
from datetime import UTC, datetime

from xds.actors.domain import Domain
from xds.model.caller import Caller
from xds.model.patient_links import LinkChange
from xds.transactions.mllp_client import send_mllp
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
from xds.wire.hl7v2_identity import fault_of
from xds.wire.hl7v2_links import read_link_change, write_link_change

TRANSACTION = Transaction(
    id="ITI-64",
    name="Notify XAD-PID Link Change",
    responder="Document Registry",
    wire=Wire.HL7V2,
    triggers=("ADT^A43",),
)


def respond(request: Message, domain: Domain, caller: Caller) -> Message:
    """Move the documents and acknowledge it after the commit."""

    def answer(code: Acknowledgement, faults: tuple[Fault, ...] = ()) -> Message:
        return write_ack(request, code, faults, now=datetime.now(UTC), control_id=new_control_id())

    if rejected := header_faults(request, ("ADT_A43",), VERSIONS):
        return answer(Acknowledgement.REJECT, rejected)
    change = read_link_change(request)
    if not isinstance(change, LinkChange):
        return answer(Acknowledgement.ERROR, change)
    problems = domain.document_registry.change_link(change, caller)
    if problems:
        return answer(Acknowledgement.ERROR, tuple(fault_of(problem, request) for problem in problems))
    return answer(Acknowledgement.ACCEPT)


def send(
    change: LinkChange,
    endpoint: str,
    *,
    now: datetime | None = None,
    timeout: float = 30.0,
    tls: ssl.SSLContext | None = None,
) -> Acknowledged:
    """Notify a Document Registry at `host:port` or `mllp://host:port`.

    Errors: ConnectionError, TimeoutError, ValueError (address, unreadable answer).
    """
    message = write_link_change(change, now=now or datetime.now(UTC))
    return read_acknowledgement(send_mllp(endpoint, message, timeout=timeout, tls=tls))
