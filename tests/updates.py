"""Requests of metadata update for tests, built of what `tests.builders` gives."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from tests.builders import PATIENT_ID, association, has_member, submission_set
from xds.model.metadata import (
    Association,
    DocumentEntry,
    ExternalIdentifier,
    Folder,
    RegistryObject,
    Slot,
    Submission,
    SubmissionSet,
)
from xds.model.vocabulary import AssociationType, AvailabilityStatus, SlotName

APPROVED, DEPRECATED = AvailabilityStatus.APPROVED, AvailabilityStatus.DEPRECATED


def request(*objects: RegistryObject, patient_id: str = PATIENT_ID) -> Submission:
    """A request of these objects, with the SubmissionSet that all builders here refer to."""
    return Submission.of(submission_set(patient_id=patient_id), *objects)


def new_version(registered: DocumentEntry | Folder, **attributes: Any) -> DocumentEntry | Folder:
    """A registered object as a sender returns it, under an id of its own."""
    owner = attributes.pop("id", "Update01")
    return replace(
        registered,
        id=owner,
        lid=attributes.pop("lid", registered.logical_id),
        status=attributes.pop("status", None),
        version=attributes.pop("version", None),
        classifications=tuple(replace(part, classified_object=owner) for part in registered.classifications),
        external_identifiers=tuple(replace(part, registry_object=owner) for part in registered.external_identifiers),
        **attributes,
    )


def member(
    obj: RegistryObject | str, previous: str | None = "1", propagation: str | None = None, **attributes: Any
) -> Association:
    """The HasMember that submits a new version. `previous` is PreviousVersion, `propagation` AssociationPropagation."""
    slots = [(SlotName.PREVIOUS_VERSION, previous), (SlotName.ASSOCIATION_PROPAGATION, propagation)]
    extra = tuple(Slot(str(name), (value,)) for name, value in slots if value is not None)
    status = {} if "status" in attributes else {"status": "Original" if isinstance(obj, DocumentEntry) else None}
    return has_member("SubmissionSet01", obj, extra_slots=extra, **status, **attributes)


def update(
    registered: DocumentEntry | Folder, previous: str = "1", propagation: str | None = None, **attributes: Any
) -> Submission:
    """A request that updates one registered object."""
    obj = new_version(registered, **attributes)
    patient_id = obj.patient_id or PATIENT_ID
    return request(obj, member(obj, previous, propagation), patient_id=patient_id)


def status_change(
    target: RegistryObject | str, original: str | None = APPROVED, new: str | None = DEPRECATED, **attributes: Any
) -> Association:
    """UpdateAvailabilityStatus of an object."""
    slots = ((SlotName.ORIGINAL_STATUS, original), (SlotName.NEW_STATUS, new))
    given = tuple(Slot(str(name), (str(value),)) for name, value in slots if value is not None)
    extra = attributes.pop("extra_slots", ())
    kind = AssociationType.UPDATE_AVAILABILITY_STATUS
    return association(kind, "SubmissionSet01", target, slots=(*given, *extra), **attributes)


def submitted(
    kind: str, source: RegistryObject | str, target: RegistryObject | str, **attributes: Any
) -> tuple[Association, ...]:
    """SubmitAssociation, and the Association that it submits."""
    item = association(kind, source, target, id=attributes.pop("id", "Submitted01"), **attributes)
    return item, association(AssociationType.SUBMIT_ASSOCIATION, "SubmissionSet01", item)


def of_patient(obj: DocumentEntry | Folder | SubmissionSet, patient_id: str) -> Any:
    """The object with another patientId."""

    def changed(part: ExternalIdentifier) -> ExternalIdentifier:
        return replace(part, value=patient_id) if part.name[0].value.endswith(".patientId") else part

    return replace(obj, external_identifiers=tuple(changed(part) for part in obj.external_identifiers))
