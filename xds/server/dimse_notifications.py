"""What others tell of a study: Modality Performed Procedure Step, and Instance Availability Notification.

Both are reasons to look at the study's manifest. An availability notification is taken as it is; of a procedure step it is kept
whether it has ended, because only one that is in progress may be changed.

Spec: DICOM PS3.4 F.7 (performed procedure step), R.3 (availability); RAD TF-2 4.6, 4.7, 4.49.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import structlog

from xds.actors.performed_steps import ENDED, IN_PROGRESS, PerformedSteps, StepAnswer
from xds.model.caller import Caller
from xds.model.identifiers import new_oid
from xds.pacs.association import Association, Received
from xds.store.database import DatabaseUnavailableError
from xds.wire.dicom import DicomError, Elements
from xds.wire.dicom_study import is_uid
from xds.wire.dimse import Field, Message, Status, read_data_set, response_to
from xds.wire.dimse_classes import AVAILABILITY_NOTIFICATION, PERFORMED_PROCEDURE_STEP

#: Error ID of a step that may no longer be changed. Spec: PS3.4 F.7.2.2.2.
_MAY_NOT_CHANGE: Final = 0xA506

_log = structlog.get_logger()


class NotificationService:
    """Answers N-CREATE and N-SET requests. One object serves all threads."""

    def __init__(self, steps: PerformedSteps, changed: Callable[[str, str], object]) -> None:
        """`changed` is told the study and the reason of each availability notification."""
        self._steps = steps
        self._changed = changed

    def create(self, association: Association, received: Received, _caller: Caller) -> None:
        """N-CREATE of a procedure step or an availability notification. Errors: AssociationError."""
        request = received.message
        named = request if request.sop_instance else _with_instance(request)
        answers = {PERFORMED_PROCEDURE_STEP: self._begin, AVAILABILITY_NOTIFICATION: self._available}
        association.send(received.context_id, _answer(received, named, answers.get(received.context.abstract_syntax)))

    def set(self, association: Association, received: Received, _caller: Caller) -> None:
        """N-SET of a procedure step. Errors: AssociationError."""
        answers = {PERFORMED_PROCEDURE_STEP: self._go_on}
        answer = _answer(received, received.message, answers.get(received.context.abstract_syntax))
        association.send(received.context_id, answer)

    def _begin(self, request: Message, elements: Elements) -> Message:
        status = elements.text(0x00400252)
        if status != IN_PROGRESS:
            problem = Status.INVALID_VALUE if status else Status.MISSING_ATTRIBUTE
            return response_to(request, problem, "Performed Procedure Step Status (0040,0252) is IN PROGRESS at first")
        studies = dict.fromkeys(item.text(0x0020000D) for item in elements.items(0x00400270))
        answer = self._steps.create(request.sop_instance, [uid for uid in studies if is_uid(uid)], IN_PROGRESS)
        return response_to(request, Status.DUPLICATE_INSTANCE if answer is StepAnswer.DUPLICATE else Status.SUCCESS)

    def _go_on(self, request: Message, elements: Elements) -> Message:
        status = elements.text(0x00400252)
        if status not in ENDED | {IN_PROGRESS, ""}:
            return response_to(request, Status.INVALID_VALUE, "no such Performed Procedure Step Status")
        instances = [
            item.text(0x00081155)
            for series in elements.items(0x00400340)
            for sequence in (0x00081140, 0x00400220)
            for item in series.items(sequence)
        ]
        answer = self._steps.update(request.sop_instance, status, instances)
        if answer is StepAnswer.UNKNOWN:
            return response_to(request, Status.NO_SUCH_INSTANCE)
        if answer is StepAnswer.ENDED:
            why = "the performed procedure step may no longer be updated"
            return response_to(request, Status.PROCESSING_FAILURE, why, counts={Field.ERROR_ID: _MAY_NOT_CHANGE})
        return response_to(request, Status.SUCCESS)

    def _available(self, request: Message, elements: Elements) -> Message:
        study = elements.text(0x0020000D)
        if not is_uid(study):
            return response_to(request, Status.MISSING_ATTRIBUTE, "Study Instance UID (0020,000D) is required")
        self._changed(study, "availability")
        return response_to(request, Status.SUCCESS)


def _answer(received: Received, request: Message, answer: Callable[[Message, Elements], Message] | None) -> Message:
    try:
        octets = received.octets()
        if answer is None:
            return response_to(request, Status.CLASS_NOT_SUPPORTED)
        if not is_uid(request.sop_instance):
            return response_to(request, Status.INVALID_VALUE, "the request names no instance")
        return answer(request, read_data_set(octets, received.context.transfer_syntax))
    except DicomError as problem:
        return response_to(request, Status.PROCESSING_FAILURE, str(problem))
    except DatabaseUnavailableError as problem:
        _log.error("dimse.database_unavailable", reason=str(problem))
        return response_to(request, Status.PROCESSING_FAILURE, "the database does not answer now")


def _with_instance(request: Message) -> Message:
    """A request that leaves its identifier to us. Spec: PS3.7 10.1.5.1.4."""
    return Message(request.command, {**request.fields, Field.AFFECTED_SOP_INSTANCE: new_oid()}, request.has_data_set)
