"""RAD-4 Procedure Scheduled, and RAD-13 Procedure Updated: an order filler tells of the procedures of orders.

OMI^O23 or ORM^O01. The accession number, the orders and the procedure become part of the manifest of the study; an order that is
completed or cancelled has it published at once.

Spec: RAD TF-2 4.4, 4.13.
Errors: AR 200 (message structure), AR 203 (version); AE 100 (no ORC), 101 (no patient, no number), 102 (Study Instance UID).
"""

from __future__ import annotations

from typing import Final

from xds.actors.domain import Domain
from xds.model.caller import Caller
from xds.transactions.transaction import Transaction, Wire
from xds.wire.hl7v2 import Fault, Message
from xds.wire.hl7v2_answers import ALL_VERSIONS, Acknowledgement, header_faults, new_control_id, write_ack
from xds.wire.hl7v2_orders import read_orders

_STRUCTURES: Final = {"OMI": ("OMI_O23",), "ORM": ("ORM_O01",)}

TRANSACTION = Transaction(
    id="RAD-4",
    name="Procedure Scheduled",
    responder="Imaging Document Source",
    wire=Wire.HL7V2,
    triggers=("OMI^O23", "ORM^O01"),
)


def respond(request: Message, domain: Domain, caller: Caller) -> Message:
    """Keep the orders and acknowledge them after the commit."""

    def answer(code: Acknowledgement, faults: tuple[Fault, ...] = ()) -> Message:
        return write_ack(request, code, faults, now=domain.pix_manager.clock(), control_id=new_control_id())

    if rejected := header_faults(request, _STRUCTURES[request.message_type], ALL_VERSIONS):
        return answer(Acknowledgement.REJECT, rejected)
    orders = read_orders(request)
    faults = tuple(item for item in orders if isinstance(item, Fault))
    if faults:
        return answer(Acknowledgement.ERROR, faults)
    domain.imaging_document_source.orders.ordered([item for item in orders if not isinstance(item, Fault)], caller)
    return answer(Acknowledgement.ACCEPT)
