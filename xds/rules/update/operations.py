"""Breaking a request into the operations that it consists of.

Spec: ITI TF-2 3.57.4.1.3.3 (the operations and what triggers each of them).
"""

from __future__ import annotations

from dataclasses import dataclass

from xds.model.identifiers import is_uuid_urn
from xds.model.metadata import Association, DocumentEntry, Folder, Submission
from xds.model.vocabulary import AssociationType, AvailabilityStatus, SlotName

_STATUSES = {status.value: status for status in AvailabilityStatus}
_MOST_DIGITS = 9


@dataclass(frozen=True, slots=True)
class VersionUpdate:
    """Update DocumentEntry Metadata, Update Folder Metadata: a new version, and the HasMember that submits it."""

    obj: DocumentEntry | Folder
    member: Association

    @property
    def previous_version(self) -> int | None:
        """The version that this one is to follow; None when that is not said as a number."""
        return read_version(self.member)

    @property
    def propagates(self) -> bool:
        """True unless AssociationPropagation says no."""
        return self.member.slot_value(SlotName.ASSOCIATION_PROPAGATION) != "no"

    @property
    def names_its_predecessor(self) -> bool:
        """True when its logicalID is one that an earlier version can have."""
        return self.obj.lid is not None and is_uuid_urn(self.obj.lid) and self.obj.lid != self.obj.id


@dataclass(frozen=True, slots=True)
class StatusChange:
    """Update availabilityStatus of a DocumentEntry, Folder or Association."""

    trigger: Association

    @property
    def target(self) -> str:
        """The id of the object."""
        return self.trigger.target

    @property
    def original(self) -> AvailabilityStatus | None:
        """OriginalStatus; None when it is not a status."""
        return _STATUSES.get(self.trigger.slot_value(SlotName.ORIGINAL_STATUS) or "")

    @property
    def new(self) -> AvailabilityStatus | None:
        """NewStatus; None when it is not a status."""
        return _STATUSES.get(self.trigger.slot_value(SlotName.NEW_STATUS) or "")


@dataclass(frozen=True, slots=True)
class AssociationSubmission:
    """Submit Association."""

    trigger: Association
    submitted: Association


@dataclass(frozen=True, slots=True)
class Operations:
    """A request as operations. `unrecognised` are Associations that belong to none."""

    versions: tuple[VersionUpdate, ...] = ()
    statuses: tuple[StatusChange, ...] = ()
    associations: tuple[AssociationSubmission, ...] = ()
    unrecognised: tuple[Association, ...] = ()

    def update_of(self, identifier: str) -> VersionUpdate | None:
        """The update whose new version has that id."""
        return next((item for item in self.versions if item.obj.id == identifier), None)

    def update_of_logical(self, logical_id: str | None) -> VersionUpdate | None:
        """The update of the object with that logicalID."""
        return next((item for item in self.versions if logical_id and item.obj.lid == logical_id), None)


def operations_of(submission: Submission) -> Operations:
    """The operations of a request. An object that no HasMember submits, or several do, is in none of them."""
    objects = {obj.id: obj for obj in submission.objects()}
    packages = {package.id for package in submission.submission_sets}
    members: dict[str, list[Association]] = {}
    statuses: list[StatusChange] = []
    submissions: list[AssociationSubmission] = []
    others: list[Association] = []
    for item in submission.associations:
        target = objects.get(item.target)
        if item.source not in packages:
            others.append(item)
        elif item.association_type == AssociationType.UPDATE_AVAILABILITY_STATUS:
            statuses.append(StatusChange(item))
        elif item.association_type == AssociationType.SUBMIT_ASSOCIATION and isinstance(target, Association):
            submissions.append(AssociationSubmission(item, target))
        elif item.association_type == AssociationType.HAS_MEMBER and isinstance(target, DocumentEntry | Folder):
            members.setdefault(target.id, []).append(item)
        else:
            others.append(item)
    submitted = {item.submitted.id for item in submissions}
    updated: tuple[DocumentEntry | Folder, ...] = (*submission.document_entries, *submission.folders)
    return Operations(
        tuple(VersionUpdate(obj, members[obj.id][0]) for obj in updated if len(members.get(obj.id, ())) == 1),
        tuple(statuses),
        tuple(submissions),
        tuple(item for item in others if item.id not in submitted),
    )


def read_version(member: Association) -> int | None:
    """PreviousVersion as a number; None when there is none, or several."""
    values = member.slot(SlotName.PREVIOUS_VERSION)
    text = values[0] if len(values) == 1 else ""
    return int(text) if text.isascii() and text.isdigit() and 0 < len(text) <= _MOST_DIGITS else None
