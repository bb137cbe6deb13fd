"""Every rule of a metadata update that the request alone decides.

Spec: ITI TF-2 3.57.4.1.2, 3.57.4.1.3, 3.92.4.1.2, 3.92.4.1.3.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Final

from xds.model.errors import ErrorCode, RegistryError
from xds.model.identifiers import is_uuid_urn
from xds.model.metadata import Association, DocumentEntry, Folder, RegistryObject, Submission
from xds.model.vocabulary import ON_DEMAND, STABLE, AssociationType, AvailabilityStatus, SlotName
from xds.rules.submission import attributes, datatypes
from xds.rules.submission.attributes import SlotRule
from xds.rules.submission.findings import Findings
from xds.rules.submission.message import DOCUMENTED, RELATIONSHIPS, check_frame, check_on_demand
from xds.rules.update.dialect import Dialect, with_codes_of_updates
from xds.rules.update.operations import AssociationSubmission, StatusChange, VersionUpdate, operations_of

#: The Associations that trigger operations. What their slots may say has codes of its own and is not judged with the attributes.
_TRIGGER: Final = replace(
    attributes.ASSOCIATION,
    slots={
        name: SlotRule(datatypes.TEXT, several=True)
        for name in (
            SlotName.SUBMISSION_SET_STATUS,
            SlotName.PREVIOUS_VERSION,
            SlotName.ASSOCIATION_PROPAGATION,
            SlotName.ORIGINAL_STATUS,
            SlotName.NEW_STATUS,
        )
    },
    classifications={},
)
_RELATION: Final = replace(attributes.ASSOCIATION, slots={})
_PROPAGATIONS: Final = (("yes",), ("no",), ())


def check(submission: Submission, dialect: Dialect, *, type_codes: bool = False) -> list[RegistryError]:
    """Every error that the request alone shows. `type_codes` True allows CX.5 and XON.7.

    Spec: ITI TF-2 3.57.4.1.3, 3.92.4.1.3.
    Errors: XDSRegistryMetadataError, XDSPatientIdDoesNotMatch with XDSPatientIDReconciliationError,
    XDSRegistryDuplicateUniqueIdInMessage, UnresolvedReferenceException, XDSMetadataUpdateError,
    XDSMetadataUpdateOperationError, XDSInvalidRequestException, XDSMetadataAnnotationError.
    """
    return with_codes_of_updates(_Request(submission, dialect, Findings(type_codes=type_codes)).errors())


class _Request:
    """One request."""

    def __init__(self, submission: Submission, dialect: Dialect, findings: Findings) -> None:
        self._submission = submission
        self._dialect = dialect
        self._findings = findings
        self._objects = {obj.id: obj for obj in submission.objects()}
        self._operations = operations_of(submission)

    def errors(self) -> list[RegistryError]:
        check_frame(self._submission, self._findings)
        for entry in self._submission.document_entries:
            self._check_entry(entry)
        for folder in self._submission.folders:
            attributes.check_folder(folder, self._findings, first_version=False)
        self._check_membership()
        self._check_one_update_each()
        for update in self._operations.versions:
            self._check_update(update)
        for change in self._operations.statuses:
            self._check_status_change(change)
        for submission in self._operations.associations:
            self._check_submitted_association(submission)
        for item in self._operations.unrecognised:
            rule = "must trigger an operation of metadata update, or be what SubmitAssociation refers to"
            self._report(item, "associationType", rule, item.association_type, self._dialect.operation)
        self._check_allowed()
        return self._findings.errors

    def _check_entry(self, entry: DocumentEntry) -> None:
        required = attributes.required_slots(registering=True, on_demand=entry.is_on_demand)
        attributes.check_document_entry(entry, required, self._findings, first_version=False)
        if entry.object_type not in (STABLE, ON_DEMAND):
            rule = f"must be that of a stable or an on-demand DocumentEntry, {STABLE} or {ON_DEMAND}"
            self._findings.add(entry, "objectType", rule, entry.object_type)
        elif entry.is_on_demand:
            check_on_demand(entry, self._findings)

    def _check_membership(self) -> None:
        """Each submitted DocumentEntry and Folder is a member of the SubmissionSet once. Spec: ITI TF-3 4.2.1.4."""
        packages = {package.id for package in self._submission.submission_sets}
        if len(packages) != 1:
            return
        counts = Counter(
            item.target
            for item in self._submission.associations
            if item.association_type == AssociationType.HAS_MEMBER and item.source in packages
        )
        for obj in (*self._submission.document_entries, *self._submission.folders):
            if counts[obj.id] != 1:
                received = f"{counts[obj.id]} HasMember" if counts[obj.id] else None
                rule = "must be in exactly one HasMember of the SubmissionSet"
                self._findings.add(obj, "HasMember", rule, received, self._dialect.annotation)
        if not self._submission.associations and not (self._submission.document_entries or self._submission.folders):
            rule = "a request must hold at least one operation of metadata update"
            self._findings.add(self._submission.submission_set, "content", rule, None, self._dialect.operation)

    def _check_one_update_each(self) -> None:
        same: dict[str, list[DocumentEntry | Folder]] = {}
        updated: tuple[DocumentEntry | Folder, ...] = (*self._submission.document_entries, *self._submission.folders)
        for obj in updated:
            if obj.lid:
                same.setdefault(obj.lid, []).append(obj)
        for logical_id, found in same.items():
            if len(found) > 1:
                rule = f"one request must not update an object more than once; {len(found)} objects have this logicalID"
                self._findings.add(found[0], "lid", rule, logical_id, self._dialect.operation)

    def _check_update(self, update: VersionUpdate) -> None:
        obj, member = update.obj, update.member
        attributes.check_attributes(member, _TRIGGER, frozenset(), self._findings)
        if not update.names_its_predecessor:
            rule = "must be the logicalID of a registered object, which the new version's own id is not"
            self._findings.add(obj, "lid", rule, obj.lid, self._dialect.first_version)
        if update.previous_version is None:
            received = ", ".join(member.slot(SlotName.PREVIOUS_VERSION)) or None
            rule = f"must be the number of the version that {obj.id} updates"
            self._report(member, SlotName.PREVIOUS_VERSION, rule, received, self._dialect.annotation)
        if member.slot(SlotName.ASSOCIATION_PROPAGATION) not in _PROPAGATIONS:
            received = ", ".join(member.slot(SlotName.ASSOCIATION_PROPAGATION))
            rule = f"must be yes or no for {obj.id}"
            self._report(member, SlotName.ASSOCIATION_PROPAGATION, rule, received, self._dialect.annotation)
        if isinstance(obj, DocumentEntry) and member.slot(SlotName.SUBMISSION_SET_STATUS) != ("Original",):
            received = ", ".join(member.slot(SlotName.SUBMISSION_SET_STATUS)) or None
            rule = f"must be Original for {obj.id}, a DocumentEntry of the request"
            self._report(member, SlotName.SUBMISSION_SET_STATUS, rule, received, self._dialect.annotation)
        for name in (SlotName.ORIGINAL_STATUS, SlotName.NEW_STATUS):
            if member.slot(name):
                rule = "must be absent from a HasMember"
                self._report(member, name, rule, member.slot_value(name), self._dialect.annotation)

    def _check_status_change(self, change: StatusChange) -> None:
        item = change.trigger
        attributes.check_attributes(item, _TRIGGER, frozenset(), self._findings)
        for name, value in ((SlotName.ORIGINAL_STATUS, change.original), (SlotName.NEW_STATUS, change.new)):
            values = item.slot(name)
            if len(values) != 1 or value is None:
                rule = f"must be one of {', '.join(AvailabilityStatus)}"
                self._report(item, name, rule, ", ".join(values) or None, self._dialect.operation)
        if change.original is not None and change.original is change.new:
            rule = "must be another status than OriginalStatus"
            self._report(item, SlotName.NEW_STATUS, rule, change.new, self._dialect.operation)
        for name in (SlotName.PREVIOUS_VERSION, SlotName.ASSOCIATION_PROPAGATION, SlotName.SUBMISSION_SET_STATUS):
            if item.slot(name):
                rule = "must be absent from UpdateAvailabilityStatus"
                self._report(item, name, rule, item.slot_value(name), self._dialect.operation)
        target = self._objects.get(item.target)
        if target is None and not is_uuid_urn(item.target):
            rule = "must be the id of an object in the request or in the Registry"
            self._report(item, "targetObject", rule, item.target, ErrorCode.UNRESOLVED_REFERENCE)
        elif target is not None and not self._has_a_status(target):
            rule = "must be a DocumentEntry, a Folder or a submitted Association of the request, or a registered object"
            self._report(item, "targetObject", rule, item.target, ErrorCode.METADATA_UPDATE)

    def _has_a_status(self, obj: RegistryObject) -> bool:
        if isinstance(obj, Association):
            return any(item.submitted.id == obj.id for item in self._operations.associations)
        return isinstance(obj, DocumentEntry | Folder)

    def _check_submitted_association(self, submission: AssociationSubmission) -> None:
        attributes.check_attributes(submission.trigger, _TRIGGER, frozenset(), self._findings)
        for slot in submission.trigger.slots:
            if slot.name in _TRIGGER.slots:
                rule = "must be absent from SubmitAssociation"
                self._report(submission.trigger, slot.name, rule, ", ".join(slot.values), self._dialect.operation)
        item = submission.submitted
        rules = _RELATION
        if item.association_type not in DOCUMENTED:
            rules = replace(rules, classifications={})
        attributes.check_attributes(item, rules, frozenset(), self._findings)
        if item.association_type != AssociationType.HAS_MEMBER and item.association_type not in RELATIONSHIPS:
            rule = "must be HasMember of a Folder, or a relationship of DocumentEntries"
            self._report(item, "associationType", rule, item.association_type, ErrorCode.REGISTRY_METADATA_ERROR)
        self._check_ends(item)
        if item.source == item.target:
            rule = "an Association must not refer to its own source"
            self._report(item, "targetObject", rule, item.target, ErrorCode.REGISTRY_METADATA_ERROR)

    def _check_ends(self, item: Association) -> None:
        """What a submitted Association connects is registered, or a new version that brings no Associations of its own along.

        What is replaced is registered. Spec: ITI TF-2 3.57.4.1.3.1 (one request that updates an object and relates it).
        """
        replaces = item.association_type in (AssociationType.RPLC, AssociationType.XFRM_RPLC)
        for attribute, value in (("sourceObject", item.source), ("targetObject", item.target)):
            update = None if replaces and attribute == "targetObject" else self._operations.update_of(value)
            if update is not None and update.propagates:
                rule = "must not be a new version to which Associations are propagated; AssociationPropagation must be no"
                self._report(item, attribute, rule, value, self._dialect.operation)
            elif update is None and (not is_uuid_urn(value) or value in self._objects):
                rule = "must be the entryUUID of a registered object, or the id of a new version of the request"
                self._report(item, attribute, rule, value, ErrorCode.UNRESOLVED_REFERENCE)

    def _check_allowed(self) -> None:
        """ITI-92 updates DocumentEntries and does nothing else. Spec: ITI TF-2 3.92.4.1.2."""
        if not self._dialect.restricted:
            return
        rule = "a restricted update must hold new versions of DocumentEntries only"
        for folder in self._submission.folders:
            self._findings.add(folder, "content", rule, folder.id, ErrorCode.METADATA_UPDATE)
        triggers = [change.trigger for change in self._operations.statuses]
        triggers += [submitted.trigger for submitted in self._operations.associations]
        for item in triggers:
            self._report(item, "associationType", rule, item.association_type, ErrorCode.METADATA_UPDATE)

    def _report(self, item: Association, attribute: str, rule: str, received: str | None, code: ErrorCode) -> None:
        self._findings.add(item, attribute, rule, received, code)
