"""Storage commitment on the wire: N-ACTION asks, N-EVENT-REPORT tells, over the same association or over one to the sender.

The report is sent over the association of its request at once. When the sender has ended that meanwhile, or does not confirm it,
the job of the request makes an association to the sender, provided that it is configured.

Spec: DICOM PS3.4 J.3; PS3.7 10.1.1 (N-EVENT-REPORT), 10.1.4 (N-ACTION).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import structlog

from xds.actors.storage_commitment import CommitmentReport, InstanceReference, StorageCommitment
from xds.model.caller import Caller
from xds.pacs.association import Association, Received, connect
from xds.pacs.pdus import AssociationError
from xds.server.dimse_destination import Destination
from xds.store.database import DatabaseUnavailableError
from xds.store.jobs import Job
from xds.wire.dicom import EXPLICIT_LITTLE, IMPLICIT_LITTLE, DicomError
from xds.wire.dicom_study import is_uid
from xds.wire.dimse import Command, Field, Message, Status, read_data_set, response_to
from xds.wire.dimse_classes import STORAGE_COMMITMENT, STORAGE_COMMITMENT_INSTANCE
from xds.wire.dimse_identifiers import write_identifier

#: Octets of a request or report, which names every object.
_MAX_OCTETS: Final = 64 * 1024 * 1024
_REQUEST: Final = 1
_ALL_COMMITTED: Final = 1
_FAILURES_EXIST: Final = 2
#: A sender that was away so often is given up: its request stays as a job that failed, for an operator.
_ATTEMPTS: Final = 30

_log = structlog.get_logger()


class CommitmentService:
    """Answers N-ACTION requests and sends their reports. One object serves all threads."""

    def __init__(
        self, commitment: StorageCommitment, ae_title: str, partners: Mapping[str, Destination], *, seconds: float = 60.0
    ) -> None:
        """`partners` are the senders that reports can be sent to, by their AE titles."""
        self._commitment = commitment
        self._ae_title = ae_title
        self._partners = partners
        self._seconds = seconds

    def serve(self, association: Association, received: Received, caller: Caller) -> None:
        """Note the request, answer, and report over the same association. Errors: AssociationError."""
        key, answer = self._take(received, caller)
        association.send(received.context_id, answer)
        report = self._commitment.pending(key) if key else None
        if key is None or report is None:
            return
        if self._tell(association, received.context_id, report):
            self._commitment.confirmed(key)

    def _take(self, received: Received, caller: Caller) -> tuple[str | None, Message]:
        request = received.message
        try:
            octets = received.octets(_MAX_OCTETS)
            if received.context.abstract_syntax != STORAGE_COMMITMENT:
                return None, response_to(request, Status.CLASS_NOT_SUPPORTED)
            if request.sop_instance != STORAGE_COMMITMENT_INSTANCE:
                return None, response_to(request, Status.NO_SUCH_INSTANCE)
            if request.number(Field.ACTION_TYPE) != _REQUEST:
                return None, response_to(request, Status.NO_SUCH_ACTION)
            elements = read_data_set(octets, received.context.transfer_syntax)
            transaction = elements.text(0x00081195)
            found = [InstanceReference(item.text(0x00081150), item.text(0x00081155)) for item in elements.items(0x00081199)]
        except DicomError as problem:
            return None, response_to(request, Status.PROCESSING_FAILURE, str(problem))
        if not is_uid(transaction) or not found:
            why = "Transaction UID (0008,1195) and Referenced SOP Sequence (0008,1199) are required"
            return None, response_to(request, Status.MISSING_ATTRIBUTE, why)
        if not all(is_uid(each.sop_class_uid) and is_uid(each.sop_instance_uid) for each in found):
            return None, response_to(request, Status.INVALID_VALUE, "an item of (0008,1199) names no object")
        try:
            key = self._commitment.request(caller.node or "", transaction, found)
        except DatabaseUnavailableError as problem:
            _log.error("dimse.database_unavailable", reason=str(problem))
            return None, response_to(request, Status.PROCESSING_FAILURE, "the database does not answer now")
        return key, response_to(request, Status.SUCCESS)

    def report(self, job: Job) -> str | None:
        """The job of a request: tell its sender over a new association."""
        found = self._commitment.report(job.payload)
        partner = self._partners.get(found.ae_title)
        if partner is None:
            # Nobody knows where it is: it asks again when it wants to know.
            _log.warning("dimse.commitment_partner_unknown", ae_title=found.ae_title)
            return None
        try:
            association = connect(partner.host, partner.port, self._seconds)
        except OSError:
            return "the sender cannot be reached" if job.attempts < _ATTEMPTS else None
        try:
            kinds = [(STORAGE_COMMITMENT, (EXPLICIT_LITTLE, IMPLICIT_LITTLE))]
            association.request(self._ae_title, partner.ae_title, kinds, {STORAGE_COMMITMENT: (False, True)})
            context = association.context_of(STORAGE_COMMITMENT)
            told = context is not None and self._tell(association, context, found)
            association.release()
        except AssociationError as problem:
            return str(problem)
        finally:
            association.close()
        return None if told else "the sender did not confirm its report"

    def _tell(self, association: Association, context_id: int, report: CommitmentReport) -> bool:
        """Send the report; True when it was confirmed. Errors: AssociationError."""
        request = Message(
            Command.N_EVENT_REPORT,
            {
                Field.AFFECTED_SOP_CLASS: STORAGE_COMMITMENT,
                Field.AFFECTED_SOP_INSTANCE: STORAGE_COMMITMENT_INSTANCE,
                Field.MESSAGE_ID: association.next_message_id(),
                Field.EVENT_TYPE: _FAILURES_EXIST if report.failed else _ALL_COMMITTED,
            },
            True,
        )
        syntax = association.contexts[context_id].transfer_syntax
        association.send(context_id, request, (write_identifier(_event(report, self._ae_title), syntax),))
        answer = association.receive()
        if answer is None:
            return False
        if not answer.message.is_response or answer.message.message_id != request.message_id:
            raise AssociationError("another message in place of the answer to a report")
        for _ in answer.data:
            pass
        return answer.message.number(Field.STATUS) == Status.SUCCESS


def _event(report: CommitmentReport, ae_title: str) -> dict[str, Any]:
    """Event Information. Spec: PS3.4 Table J.3-2."""
    found: dict[str, Any] = {
        "00080054": {"vr": "AE", "Value": [ae_title]},
        "00081195": {"vr": "UI", "Value": [report.transaction_uid]},
    }
    if report.committed:
        found["00081199"] = {"vr": "SQ", "Value": [_item(each) for each in report.committed]}
    if report.failed:
        items = [{**_item(each), "00081197": {"vr": "US", "Value": [reason]}} for each, reason in report.failed]
        found["00081198"] = {"vr": "SQ", "Value": items}
    return found


def _item(reference: InstanceReference) -> dict[str, Any]:
    return {
        "00081150": {"vr": "UI", "Value": [reference.sop_class_uid]},
        "00081155": {"vr": "UI", "Value": [reference.sop_instance_uid]},
    }
