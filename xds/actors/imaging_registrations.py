"""What the Imaging Document Source asks of the Document Registry that its manifests are registered in, and what it takes back.

Spec: ITI TF-2 3.57 (status), 3.62 and 3.86 (removal); RAD TF-1 18.2.5 (Remove Imaging Document).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Final, Protocol

from xds.model.caller import Caller
from xds.model.drafts import association, submission_set
from xds.model.errors import RegistryResponse
from xds.model.identifiers import new_oid, to_dtm
from xds.model.metadata import Code, Slot, Submission
from xds.model.retrieval import DocumentRequest
from xds.model.vocabulary import AssociationType, AvailabilityStatus, SlotName

#: Status of a deleted document in the French DMP.
DMP_DELETED: Final = "urn:asip:ci-sis:2010:StatusType:Deleted"


class Withdrawal(StrEnum):
    """How a manifest is taken back: its status becomes Deprecated, or metadata and document are removed, or as the DMP has it."""

    DEPRECATE = "deprecate"
    REMOVE = "remove"
    DELETE_DMP = "delete-dmp"


@dataclass(frozen=True, slots=True)
class RegisteredManifest:
    """A DocumentEntry as its registry has it now. `patient_id` is the CX in whose record it stands."""

    entry_uuid: str
    patient_id: str
    is_approved: bool


class ManifestRegistry(Protocol):
    """The registry as this actor sees it. Errors of both: ConnectionError, TimeoutError when it does not tell."""

    def registered(self, unique_id: str, logical_id: str) -> RegisteredManifest | None:
        """The newest version of the DocumentEntry of that document; None when there is none."""

    def withdraw(self, manifest: RegisteredManifest, unique_id: str, request: Submission, caller: Caller) -> RegistryResponse:
        """Take a manifest back. `request` is the change of status, for those that do not remove."""


class BelievingRegistry:
    """For a source whose registry nobody can ask: what was published is believed to be in force, as it was published."""

    def registered(self, unique_id: str, logical_id: str) -> RegisteredManifest | None:
        """What was registered. The patient is not known."""
        return RegisteredManifest(logical_id, "", True)

    def withdraw(self, manifest: RegisteredManifest, unique_id: str, request: Submission, caller: Caller) -> RegistryResponse:
        """Errors: ConnectionError always."""
        raise ConnectionError("no Document Registry is known that could be told")


class RegistryAtHand:
    """A registry that answers three calls: in this process, or elsewhere by ITI-18, ITI-57 and ITI-62."""

    def __init__(
        self,
        registered: Callable[[str, str], RegisteredManifest | None],
        update: Callable[[Submission, Caller], RegistryResponse],
        remove: Callable[[Sequence[str], Caller], RegistryResponse],
        remove_documents: Callable[[Sequence[DocumentRequest], Caller], RegistryResponse],
        repository_unique_id: str,
        withdrawal: Withdrawal = Withdrawal.DEPRECATE,
    ) -> None:
        """`remove_documents` is the repository's; it holds the manifests under `repository_unique_id`."""
        self.registered = registered
        self._update = update
        self._remove = remove
        self._remove_documents = remove_documents
        self._repository_unique_id = repository_unique_id
        self._withdrawal = withdrawal

    def withdraw(self, manifest: RegisteredManifest, unique_id: str, request: Submission, caller: Caller) -> RegistryResponse:
        """Deprecate it, or remove it from registry and repository."""
        if self._withdrawal is not Withdrawal.REMOVE:
            return self._update(_with_status(request, self._withdrawal), caller)
        response = self._remove((manifest.entry_uuid,), caller)
        if response.succeeded:
            return self._remove_documents((DocumentRequest(self._repository_unique_id, unique_id),), caller)
        return response


def withdrawal_of(manifest: RegisteredManifest, source_id: str, content_type: Code, when: datetime) -> Submission:
    """The request that makes a DocumentEntry Deprecated. Spec: ITI TF-3 4.2.3; ITI TF-2 3.57.4.1.3.3.2."""
    package = submission_set(
        symbolic_id="SubmissionSet",
        unique_id=new_oid(),
        source_id=source_id,
        patient_id=manifest.patient_id,
        submission_time=to_dtm(when),
        content_type=content_type,
    )
    change = association(AssociationType.UPDATE_AVAILABILITY_STATUS, package.id, manifest.entry_uuid)
    slots = (
        Slot(SlotName.ORIGINAL_STATUS.value, (AvailabilityStatus.APPROVED.value,)),
        Slot(SlotName.NEW_STATUS.value, (AvailabilityStatus.DEPRECATED.value,)),
    )
    return Submission.of(package, replace(change, id="Withdrawal", slots=slots))


def _with_status(request: Submission, withdrawal: Withdrawal) -> Submission:
    if withdrawal is Withdrawal.DEPRECATE:
        return request
    changed = [
        replace(
            item,
            slots=tuple(
                replace(slot, values=(DMP_DELETED,)) if slot.name == SlotName.NEW_STATUS else slot for slot in item.slots
            ),
        )
        for item in request.associations
    ]
    return Submission.of(request.submission_set, *changed)
