"""Every rule of a metadata update that needs the Registry.

Spec: ITI TF-2 3.57.4.1.3.3, 3.92.4.1.3.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from xds.model.errors import ErrorCode, RegistryError
from xds.model.fragments import ObjectKind
from xds.model.known import KnownObject, UpdateSurroundings
from xds.model.metadata import Association, DocumentEntry, Submission
from xds.model.vocabulary import ON_DEMAND, STABLE, AssociationType, AvailabilityStatus
from xds.rules.submission.findings import Findings
from xds.rules.submission.message import NOT_APPENDED
from xds.rules.submission.registered import check_new_ids, check_new_unique_id, check_patients, patient_key_of
from xds.rules.update.dialect import Dialect, with_codes_of_updates
from xds.rules.update.operations import AssociationSubmission, StatusChange, VersionUpdate, operations_of
from xds.rules.update.propagation import is_changeable, propagated
from xds.rules.update.unmodifiable import check_unmodified


def check_against_registry(
    submission: Submission, met: UpdateSurroundings, dialect: Dialect, home: str = ""
) -> list[RegistryError]:
    """Every error that shows only beside what is registered. `met` must cover all that the request mentions.

    `home` is the homeCommunityId of this domain, which is that of every object that names none.

    Spec: ITI TF-2 3.57.4.1.3.3, 3.92.4.1.3.
    Errors: XDSUnknownPatientId, XDSDuplicateUniqueIdInRegistry, XDSRegistryMetadataError, UnresolvedReferenceException,
    XDSPatientIdDoesNotMatch, XDSMetadataUpdateError, XDSMetadataUpdateOperationError, XDSMetadataVersionError,
    XDSPatientIDReconciliationError, and for a restricted update XDSMetadataIdentifierError, XDSObjectTypeError,
    UnmodifiableMetadataError.
    """
    return with_codes_of_updates(_Comparison(submission, met, dialect, home).errors())


class _Comparison:
    """One request beside what is known."""

    def __init__(self, submission: Submission, met: UpdateSurroundings, dialect: Dialect, home: str) -> None:
        self._submission = submission
        self._met = met
        self._dialect = dialect
        self._home = home
        self._findings = Findings()
        self._operations = operations_of(submission)
        self._objects = {obj.id: obj for obj in submission.objects()}
        self._connected: set[tuple[str, str]] = set()

    def errors(self) -> list[RegistryError]:
        check_patients(self._submission, self._met.known, self._findings)
        check_new_ids(self._submission, self._met.known, self._findings)
        for package in self._submission.submission_sets:
            check_new_unique_id(package, self._met.known, self._findings)
        for update in self._operations.versions:
            if update.names_its_predecessor:
                self._check_update(update)
        self._check_propagation()
        for change in self._operations.statuses:
            self._check_status_change(change)
        self._check_one_change_each()
        for submitted in self._operations.associations:
            self._check_submitted_association(submitted)
        return self._findings.errors

    # --- new versions ------------------------------------------------------------------------------------------------

    def _check_update(self, update: VersionUpdate) -> None:
        obj = update.obj
        newest = self._met.newest.get(obj.lid or "")
        wanted = ObjectKind.DOCUMENT_ENTRY if isinstance(obj, DocumentEntry) else ObjectKind.FOLDER
        if newest is None or newest.kind is not wanted:
            name = "DocumentEntry" if wanted is ObjectKind.DOCUMENT_ENTRY else "Folder"
            self._findings.add(obj, "lid", f"must be the logicalID of a registered {name}", obj.lid, ErrorCode.METADATA_VERSION)
            return
        if update.previous_version not in (None, newest.version):
            rule = f"must be the newest version of what {obj.id} updates, {newest.logical_id}, which is {newest.version}"
            self._findings.add(update.member, "PreviousVersion", rule, str(update.previous_version), ErrorCode.METADATA_VERSION)
        if newest.status is not AvailabilityStatus.APPROVED and not self._dialect.restricted:
            rule = "the newest version must be Approved to be updated, and is Deprecated"
            self._findings.add(obj, "lid", rule, obj.lid, ErrorCode.METADATA_UPDATE)
        if obj.unique_id is not None and obj.unique_id != newest.unique_id:
            rule = f"must be that of the version before, {newest.unique_id}"
            self._findings.add(obj, "uniqueId", rule, obj.unique_id, self._dialect.unique_id)
        if isinstance(obj, DocumentEntry) and obj.object_type in (STABLE, ON_DEMAND) and obj.object_type != newest.object_type:
            for code in self._dialect.object_type:
                rule = f"must be that of the version before, {newest.object_type}"
                self._findings.add(obj, "objectType", rule, obj.object_type, code)
        if self._dialect.restricted:
            self._check_restrictions(update, newest)

    def _check_restrictions(self, update: VersionUpdate, newest: KnownObject) -> None:
        patient = patient_key_of(update.obj, self._met.known)
        if update.obj.patient_id is not None and patient != newest.patient_key:
            rule = "must be the patientId of the version before"
            self._findings.add(update.obj, "patientId", rule, update.obj.patient_id, ErrorCode.PATIENT_ID_RECONCILIATION)
        content = self._met.contents.get(newest.id)
        if isinstance(update.obj, DocumentEntry) and content is not None:
            check_unmodified(update.obj, content, newest, self._home, self._findings)

    def _check_propagation(self) -> None:
        """An association that follows an object to another patient would connect the records of two."""
        for item in propagated(self._operations, self._met):
            source = self._patient_of(item.source, item.original.source)
            target = self._patient_of(item.target, item.original.target)
            if source is None or target is None or source == target:
                continue
            update = self._operations.update_of(item.source) or self._operations.update_of(item.target)
            if update is not None:
                rule = f"must be the patientId of what the Association {item.original.id} connects it with, or not propagate it"
                code = ErrorCode.PATIENT_ID_RECONCILIATION
                self._findings.add(update.obj, "patientId", rule, update.obj.patient_id, code)

    def _patient_of(self, identifier: str, registered: KnownObject) -> int | None:
        obj = self._objects.get(identifier)
        return registered.patient_key if obj is None else patient_key_of(obj, self._met.known)

    # --- statuses ----------------------------------------------------------------------------------------------------

    def _check_status_change(self, change: StatusChange) -> None:
        if change.target in self._objects:
            # The status of a version that this request creates, which is Approved at first.
            self._check_original(change, AvailabilityStatus.APPROVED)
            return
        target = self._met.known.objects.get(change.target)
        if target is None:
            rule = "must be the id of an object in the request or in the Registry"
            self._report(change.trigger, "targetObject", rule, change.target, ErrorCode.UNRESOLVED_REFERENCE)
            return
        if target.kind is ObjectKind.SUBMISSION_SET:
            rule = "the status of a SubmissionSet cannot be changed"
            self._report(change.trigger, "targetObject", rule, change.target, ErrorCode.METADATA_UPDATE)
        elif target.kind is ObjectKind.ASSOCIATION:
            self._check_association_status(change, target)
        else:
            self._check_version_status(change, target)

    def _check_association_status(self, change: StatusChange, target: KnownObject) -> None:
        association = self._met.associations[target.id]
        if not is_changeable(association):
            rule = "must be the membership of a Folder or a relationship of DocumentEntries to have its status changed"
            self._report(change.trigger, "targetObject", rule, change.target, ErrorCode.METADATA_UPDATE)
            return
        self._check_original(change, target.status)
        self._check_patient(change, association.target.patient_key)

    def _check_version_status(self, change: StatusChange, target: KnownObject) -> None:
        newest = self._met.newest.get(target.logical_id or "", target)
        if newest.id != target.id:
            rule = f"must be the newest version of the object, which is {newest.id}"
            self._report(change.trigger, "targetObject", rule, change.target, ErrorCode.METADATA_UPDATE)
        elif self._operations.update_of_logical(target.logical_id) is not None:
            self._check_original(change, AvailabilityStatus.APPROVED)
        else:
            self._check_original(change, target.status)
            self._check_patient(change, target.patient_key)

    def _check_original(self, change: StatusChange, current: AvailabilityStatus) -> None:
        if change.original is not None and change.original is not current:
            rule = f"must be the current status, {current}"
            self._report(change.trigger, "OriginalStatus", rule, change.original, ErrorCode.METADATA_UPDATE)

    def _check_patient(self, change: StatusChange, patient_key: int | None) -> None:
        """The SubmissionSet belongs to the patient whose record it changes: the audit names its patient."""
        if not self._same_patient(patient_key):
            rule = "must belong to the patient of the SubmissionSet"
            self._report(change.trigger, "targetObject", rule, change.target, ErrorCode.PATIENT_ID_DOES_NOT_MATCH)

    def _same_patient(self, patient_key: int | None) -> bool:
        known = (patient_key_of(package, self._met.known) for package in self._submission.submission_sets)
        return all(key is None or patient_key is None or key == patient_key for key in known)

    def _check_one_change_each(self) -> None:
        """No object has its status changed twice, under whichever of its ids."""
        counts: Counter[str] = Counter()
        for change in self._operations.statuses:
            update = self._operations.update_of(change.target)
            target = self._met.known.objects.get(change.target)
            subject = (update.obj.lid if update else None) or (target.logical_id if target else None) or change.target
            counts[subject] += 1
            if counts[subject] == 2:
                rule = "one request must not change the status of an object more than once"
                self._report(change.trigger, "targetObject", rule, change.target, self._dialect.operation)

    # --- associations ------------------------------------------------------------------------------------------------

    def _check_submitted_association(self, submitted: AssociationSubmission) -> None:
        item = submitted.submitted
        ends = (("sourceObject", item.source), ("targetObject", item.target))
        missing = [end for end in ends if end[1] not in self._met.known.objects and end[1] not in self._objects]
        for attribute, value in missing:
            rule = "must be the entryUUID of a registered object, or the id of a new version of the request"
            self._report(item, attribute, rule, value, ErrorCode.UNRESOLVED_REFERENCE)
        source, target = (self._end(value) for _attribute, value in ends)
        if source is None or target is None:
            return
        self._check_ends(item, source, target)
        for attribute, end in (("sourceObject", source), ("targetObject", target)):
            if end.status is not AvailabilityStatus.APPROVED:
                rule = "must be Approved, and the registered object is Deprecated"
                self._report(item, attribute, rule, end.id, ErrorCode.METADATA_UPDATE)
            elif end.id in self._met.known.objects and self._operations.update_of_logical(end.logical_id) is not None:
                rule = "must not be a version that the same request supersedes"
                self._report(item, attribute, rule, end.id, self._dialect.operation)
        if source.patient_key != target.patient_key or not self._same_patient(target.patient_key):
            rule = "both ends must belong to the patient of the SubmissionSet"
            self._report(item, "targetObject", rule, item.target, ErrorCode.PATIENT_ID_DOES_NOT_MATCH)
        if (source.id, target.id) in self._met.pairs or (source.id, target.id) in self._connected:
            rule = "must not be connected with the source by an Approved Association already"
            self._report(item, "targetObject", rule, item.target, ErrorCode.METADATA_UPDATE)
        self._connected.add((source.id, target.id))

    def _end(self, identifier: str) -> KnownObject | None:
        """What a submitted Association leads to: a registered object, or the version before with what its new one makes of it."""
        update = self._operations.update_of(identifier)
        if update is None:
            return self._met.known.objects.get(identifier)
        before = self._met.newest.get(update.obj.lid or "")
        if before is None:
            return None
        patient = patient_key_of(update.obj, self._met.known)
        return replace(before, id=identifier, status=AvailabilityStatus.APPROVED, patient_key=patient, superseded=False)

    def _check_ends(self, item: Association, source: KnownObject, target: KnownObject) -> None:
        has_member = item.association_type == AssociationType.HAS_MEMBER
        wanted = ObjectKind.FOLDER if has_member else ObjectKind.DOCUMENT_ENTRY
        if source.kind is not wanted:
            rule = f"must be a {'Folder' if has_member else 'DocumentEntry'}"
            self._report(item, "sourceObject", rule, item.source, ErrorCode.METADATA_UPDATE)
        if target.kind is not ObjectKind.DOCUMENT_ENTRY:
            self._report(item, "targetObject", "must be a DocumentEntry", item.target, ErrorCode.METADATA_UPDATE)
        if item.association_type == AssociationType.APND and item.target in self._met.known.transformations:
            self._report(item, "targetObject", NOT_APPENDED, item.target, ErrorCode.METADATA_UPDATE)
        if item.association_type == AssociationType.IS_SNAPSHOT_OF and (
            source.object_type != STABLE or target.object_type != ON_DEMAND
        ):
            rule = "IsSnapshotOf must lead from a stable to an on-demand DocumentEntry"
            self._report(item, "targetObject", rule, item.target, ErrorCode.REGISTRY_METADATA_ERROR)

    def _report(self, item: Association, attribute: str, rule: str, received: str | None, code: ErrorCode) -> None:
        self._findings.add(item, attribute, rule, received, code)
