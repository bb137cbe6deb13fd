"""Every rule of a submission that the message alone decides.

Spec: ITI TF-3 4.2.1.4, 4.2.2; ITI TF-2 3.42.4.1.3, 3.61.4.1.3.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Final

from xds.model.errors import ErrorCode, RegistryError
from xds.model.identifiers import is_uuid_urn, read_cx
from xds.model.metadata import (
    Association,
    DocumentEntry,
    Folder,
    RegistryObject,
    Submission,
    SubmissionSet,
)
from xds.model.vocabulary import (
    ON_DEMAND,
    STABLE,
    AssociationType,
    AvailabilityStatus,
    SlotName,
)
from xds.rules.submission import attributes
from xds.rules.submission.findings import Findings

#: Associations between DocumentEntries. Those of the second set may point into the same submission.
_ONTO_REGISTERED: Final = frozenset({AssociationType.RPLC, AssociationType.XFRM_RPLC, AssociationType.IS_SNAPSHOT_OF})
RELATIONSHIPS: Final = _ONTO_REGISTERED | {AssociationType.APND, AssociationType.XFRM, AssociationType.SIGNS}
#: Associations that may carry a reason.
DOCUMENTED: Final = frozenset(
    {AssociationType.RPLC, AssociationType.APND, AssociationType.XFRM, AssociationType.XFRM_RPLC, AssociationType.SIGNS}
)
#: Spec: ITI TF-3 4.2.2.2.1.
NOT_APPENDED: Final = "a transformation (XFRM) is another form of its original, which is what must be appended to"
_FORBIDDEN_ON_DEMAND: Final = (SlotName.CREATION_TIME, SlotName.HASH, SlotName.SIZE)


def check(submission: Submission, *, registering: bool, on_demand: bool = False, type_codes: bool = False) -> list[RegistryError]:
    """Every error that the message alone shows.

    `registering` False checks as a Repository does, before it has added hash, size and repositoryUniqueId;
    `on_demand` True checks a registration of on-demand entries; `type_codes` True allows CX.5 and XON.7.

    Spec: ITI TF-2 3.41.4.1.3, 3.42.4.1.3, 3.61.4.1.3.
    Errors: XDSRegistryMetadataError, XDSPatientIdDoesNotMatch, UnresolvedReferenceException,
    XDSRegistryDuplicateUniqueIdInMessage.
    """
    findings = Findings(type_codes=type_codes)
    check_frame(submission, findings)
    if on_demand and not submission.document_entries:
        _add_missing_on_demand(submission, findings)
    required = attributes.required_slots(registering=registering, on_demand=on_demand)
    for entry in submission.document_entries:
        attributes.check_document_entry(entry, required, findings)
        _check_object_type(entry, on_demand, findings)
    for folder in submission.folders:
        attributes.check_folder(folder, findings)
    _Associations(submission, findings).check()
    return findings.errors


def check_frame(submission: Submission, findings: Findings) -> None:
    """What holds for every message of registry objects: its composition, its SubmissionSet, one patient, and ids used once.

    Spec: ITI TF-3 4.2.1.4, 4.2.3.3.
    """
    _check_composition(submission, findings)
    for package in submission.submission_sets:
        attributes.check_submission_set(package, findings)
        if package.status is AvailabilityStatus.DEPRECATED:
            findings.add(package, "availabilityStatus", "must be Approved", package.status)
    _check_patient(submission, findings)
    _check_unique_ids(submission, findings)


def _check_composition(submission: Submission, findings: Findings) -> None:
    """Spec: ITI TF-3 4.2.1.4."""
    if len(submission.submission_sets) != 1:
        received = f"{len(submission.submission_sets)} SubmissionSets"
        error = f"SubmitObjectsRequest: SubmissionSet: a submission must have exactly one; received '{received}'"
        findings.add_of_message(RegistryError(ErrorCode.REGISTRY_METADATA_ERROR, error))
    elif not (submission.document_entries or submission.folders or submission.associations):
        findings.add(submission.submission_set, "content", "a submission must have a DocumentEntry, Folder or Association", None)
    for package in submission.unlabelled:
        rule = "a RegistryPackage must be classified as SubmissionSet or Folder"
        nodes = [item.node for item in package.classifications if item.node]
        findings.add(package, "classificationNode", rule, ", ".join(nodes) or None)
    seen: set[str] = set()
    for obj in submission.objects():
        if obj.id in seen:
            findings.add(obj, "id", "must be unique in the submission", obj.id)
        seen.add(obj.id)


def _add_missing_on_demand(submission: Submission, findings: Findings) -> None:
    """Spec: ITI TF-2 3.61.4.1.2: "it shall include at least one On-Demand DocumentEntry"."""
    rule = "a registration of on-demand entries must have at least one; received 'no DocumentEntry'"
    findings.add_of_message(RegistryError(ErrorCode.REGISTRY_METADATA_ERROR, f"SubmitObjectsRequest: DocumentEntry: {rule}"))


def _check_object_type(entry: DocumentEntry, on_demand: bool, findings: Findings) -> None:
    """Spec: ITI TF-3 4.2.5.2; ITI TF-2 3.61.4.1.3."""
    wanted, name = (ON_DEMAND, "an on-demand") if on_demand else (STABLE, "a stable")
    if entry.object_type != wanted:
        findings.add(entry, "objectType", f"must be that of {name} DocumentEntry here, {wanted}", entry.object_type)
    if on_demand:
        check_on_demand(entry, findings)


def check_on_demand(entry: DocumentEntry, findings: Findings) -> None:
    """An on-demand DocumentEntry says nothing of octets that do not exist yet. Spec: ITI TF-2 3.61.4.1.3."""
    for name in _FORBIDDEN_ON_DEMAND:
        if entry.slot(name):
            findings.add(entry, name, "must be absent from an on-demand DocumentEntry", entry.slot_value(name))


def _check_patient(submission: Submission, findings: Findings) -> None:
    """All objects of a submission belong to one patient. Spec: ITI TF-2 3.42.4.1.3."""
    first: tuple[str, str] | None = None
    text = ""
    objects: tuple[SubmissionSet | DocumentEntry | Folder, ...] = (
        *submission.submission_sets,
        *submission.document_entries,
        *submission.folders,
    )
    for obj in objects:
        if obj.patient_id is None or obj.patient_id == text:
            continue
        identifier = read_cx(obj.patient_id)
        key = identifier.key if identifier else ("", obj.patient_id)
        if first is None:
            first, text = key, obj.patient_id
        elif key != first:
            rule = f"must be the patientId of the whole submission, '{text[:100]}'"
            findings.add(obj, "patientId", rule, obj.patient_id, ErrorCode.PATIENT_ID_DOES_NOT_MATCH)


def _check_unique_ids(submission: Submission, findings: Findings) -> None:
    code = ErrorCode.REGISTRY_DUPLICATE_UNIQUE_ID_IN_MESSAGE
    seen: set[str] = set()
    objects: tuple[SubmissionSet | DocumentEntry | Folder, ...] = (
        *submission.submission_sets,
        *submission.document_entries,
        *submission.folders,
    )
    for obj in objects:
        if obj.unique_id is None:
            continue
        if obj.unique_id in seen:
            findings.add(obj, "uniqueId", "must be unique in the submission", obj.unique_id, code)
        seen.add(obj.unique_id)


class _Associations:
    """The associations of one submission. Spec: ITI TF-3 4.2.2."""

    def __init__(self, submission: Submission, findings: Findings) -> None:
        self._submission = submission
        self._findings = findings
        self._objects = {obj.id: obj for obj in submission.objects()}
        self._members: Counter[str] = Counter()
        kind = AssociationType.XFRM
        self._transformations = {item.source for item in submission.associations if item.association_type == kind}

    def check(self) -> None:
        for item in self._submission.associations:
            self._check_association(item)
        self._check_membership()

    def _check_association(self, item: Association) -> None:
        has_member = item.association_type == AssociationType.HAS_MEMBER
        rules = attributes.ASSOCIATION
        if item.association_type not in DOCUMENTED:
            rules = replace(rules, classifications={}) if item.classifications else rules
        attributes.check_attributes(item, rules, frozenset(), self._findings)
        if not has_member and item.association_type not in RELATIONSHIPS:
            self._report(item, "associationType", "must be one that a submission may hold", item.association_type)
            return
        if item.source == item.target:
            self._report(item, "targetObject", "an Association must not refer to its own source", item.target)
        if not self._ends_are_named(item):
            return
        if has_member:
            self._check_has_member(item)
        else:
            self._check_relationship(item)

    def _ends_are_named(self, item: Association) -> bool:
        """Each end is an object of the submission or a UUID."""
        named = True
        for attribute, value in (("sourceObject", item.source), ("targetObject", item.target)):
            if value not in self._objects and not is_uuid_urn(value):
                rule = "must be the id of an object in the submission or in the Registry"
                self._report(item, attribute, rule, value, ErrorCode.UNRESOLVED_REFERENCE)
                named = False
        return named

    def _check_has_member(self, item: Association) -> None:
        source, target = self._objects.get(item.source), self._objects.get(item.target)
        if isinstance(target, SubmissionSet):
            self._report(item, "targetObject", "a SubmissionSet must not be the target of an Association", item.target)
            return
        if isinstance(source, SubmissionSet):
            self._members[item.target] += 1
            self._check_member_of_submission(item, target)
            return
        if item.slot(SlotName.SUBMISSION_SET_STATUS):
            rule = "must be absent unless the source is the SubmissionSet"
            self._report(item, SlotName.SUBMISSION_SET_STATUS, rule, item.submission_set_status)
        if source is not None and not isinstance(source, Folder):
            self._report(item, "sourceObject", "must be a SubmissionSet or a Folder", item.source)
        if target is not None and not isinstance(target, DocumentEntry):
            self._report(item, "targetObject", "the member of a Folder must be a DocumentEntry", item.target)

    def _check_member_of_submission(self, item: Association, target: RegistryObject | None) -> None:
        """Spec: ITI TF-3 4.2.1.4.1 (SubmissionSetStatus)."""
        if isinstance(target, Association) and not self._is_folder_membership(target):
            rule = "an Association in a SubmissionSet must be the HasMember of a Folder"
            self._report(item, "targetObject", rule, item.target)
        if target is not None and not isinstance(target, DocumentEntry):
            return
        wanted = "Original" if target is not None else "Reference"
        if item.submission_set_status != wanted:
            place = "stands in the submission" if target is not None else "is registered already"
            rule = f"must be {wanted} for a DocumentEntry that {place}"
            self._report(item, SlotName.SUBMISSION_SET_STATUS, rule, item.submission_set_status)

    def _is_folder_membership(self, item: Association) -> bool:
        from_submission_set = isinstance(self._objects.get(item.source), SubmissionSet)
        return item.association_type == AssociationType.HAS_MEMBER and not from_submission_set

    def _check_relationship(self, item: Association) -> None:
        """Spec: ITI TF-2 3.42.4.1.3.5: what is no DocumentEntry, or not where it has to be, is an unresolved reference."""
        source, target = self._objects.get(item.source), self._objects.get(item.target)
        name = item.association_type.rpartition(":")[2]
        if not isinstance(source, DocumentEntry):
            rule = f"the source of {name} must be a DocumentEntry of the submission"
            self._report(item, "sourceObject", rule, item.source, ErrorCode.UNRESOLVED_REFERENCE)
        if target is None:
            return
        if not isinstance(target, DocumentEntry):
            rule = f"the target of {name} must be a DocumentEntry"
            self._report(item, "targetObject", rule, item.target, ErrorCode.UNRESOLVED_REFERENCE)
        elif item.association_type == AssociationType.APND and item.target in self._transformations:
            self._report(item, "targetObject", NOT_APPENDED, item.target)
        elif item.association_type in _ONTO_REGISTERED:
            rule = f"the target of {name} must be in the Registry already"
            self._report(item, "targetObject", rule, item.target, ErrorCode.UNRESOLVED_REFERENCE)

    def _check_membership(self) -> None:
        """Each submitted entry, folder and folder membership is a member of the SubmissionSet once. Spec: ITI TF-3 4.2.1.4."""
        if len(self._submission.submission_sets) != 1:
            return
        memberships = [item for item in self._submission.associations if self._is_folder_membership(item)]
        for obj in (*self._submission.document_entries, *self._submission.folders, *memberships):
            count = self._members.pop(obj.id, 0)
            if count != 1:
                rule = "must be in exactly one HasMember of the SubmissionSet"
                self._findings.add(obj, "HasMember", rule, f"{count} HasMember" if count else None)
        for target, count in self._members.items():
            if count > 1:
                rule = "a SubmissionSet must refer to an object once"
                self._findings.add(self._submission.submission_set, "HasMember", rule, f"{target} {count} times")

    def _report(
        self,
        item: Association,
        attribute: str,
        rule: str,
        received: str | None,
        code: ErrorCode = ErrorCode.REGISTRY_METADATA_ERROR,
    ) -> None:
        self._findings.add(item, attribute, rule, received, code)
