"""RAD-128 Send Imaging Result: a report creator sends a report, which becomes a document of the patient's record.

ORU^R01, and MDM^T02 (original), T10 (replacement) and T11 (cancellation). What is preliminary is acknowledged and not shared.

Spec: RAD TF-2 4.128, 4.68.4.1.2.3.2; HL7 v2.5 chapters 7 and 9.
Errors: AR 200 (message structure), AR 203 (version); AE 101 (no patient, number, or document), 102 (unreadable document).
"""

from __future__ import annotations

from typing import Final

from xds.actors.domain import Domain
from xds.model.caller import Caller
from xds.model.imaging_report import ImagingReport
from xds.transactions.transaction import Transaction, Wire
from xds.wire.hl7v2 import Fault, Message
from xds.wire.hl7v2_answers import ALL_VERSIONS, Acknowledgement, header_faults, new_control_id, write_ack
from xds.wire.hl7v2_identity import sending_system
from xds.wire.hl7v2_reports import read_report

_STRUCTURES: Final = {"R01": ("ORU_R01",), "T02": ("MDM_T02",), "T10": ("MDM_T02", "MDM_T10"), "T11": ("MDM_T01", "MDM_T11")}

TRANSACTION = Transaction(
    id="RAD-128",
    name="Send Imaging Result",
    responder="Imaging Document Source",
    wire=Wire.HL7V2,
    triggers=("ORU^R01", "MDM^T02", "MDM^T10", "MDM^T11"),
)


def respond(request: Message, domain: Domain, caller: Caller) -> Message:
    """Keep the report and acknowledge it after the commit."""

    def answer(code: Acknowledgement, faults: tuple[Fault, ...] = ()) -> Message:
        return write_ack(request, code, faults, now=domain.pix_manager.clock(), control_id=new_control_id())

    if rejected := header_faults(request, _STRUCTURES[request.event], ALL_VERSIONS):
        return answer(Acknowledgement.REJECT, rejected)
    report = read_report(request)
    if not isinstance(report, ImagingReport):
        return answer(Acknowledgement.ERROR, report)
    domain.imaging_document_source.reports.receive(report, f"{sending_system(request)}|{request.control_id}", caller)
    return answer(Acknowledgement.ACCEPT)
