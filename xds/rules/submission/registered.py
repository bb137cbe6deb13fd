"""Every rule of a submission that needs the Registry: patients, unique ids, references to what is registered.

Spec: ITI TF-2 3.42.4.1.3, 3.61.4.1.3; ITI TF-3 4.2.2.
"""

from __future__ import annotations

from xds.model.errors import ErrorCode, RegistryError
from xds.model.fragments import ObjectKind
from xds.model.identifiers import read_cx
from xds.model.known import KnownObject, KnownObjects
from xds.model.metadata import Association, DocumentEntry, Folder, RegistryObject, Submission, SubmissionSet
from xds.model.vocabulary import ON_DEMAND, STABLE, AssociationType, AvailabilityStatus
from xds.rules.submission.findings import Findings
from xds.rules.submission.message import NOT_APPENDED, RELATIONSHIPS


def check_against_registry(submission: Submission, known: KnownObjects) -> list[RegistryError]:
    """Every error that shows only beside what is registered. `known` must cover all that the submission mentions.

    Spec: ITI TF-2 3.42.4.1.3, 3.61.4.1.3.
    Errors: XDSUnknownPatientId, XDSDuplicateUniqueIdInRegistry, XDSNonIdenticalHash, XDSNonIdenticalSize,
    UnresolvedReferenceException, XDSRegistryDeprecatedDocumentError, XDSPatientIdDoesNotMatch, XDSRegistryMetadataError.
    """
    return _Comparison(submission, known).errors()


class _Comparison:
    """One submission beside what is known."""

    def __init__(self, submission: Submission, known: KnownObjects) -> None:
        self._submission = submission
        self._known = known
        self._findings = Findings()
        self._objects = {obj.id: obj for obj in submission.objects()}

    def errors(self) -> list[RegistryError]:
        check_patients(self._submission, self._known, self._findings)
        check_new_ids(self._submission, self._known, self._findings)
        packages: tuple[SubmissionSet | Folder, ...] = (*self._submission.submission_sets, *self._submission.folders)
        for package in packages:
            check_new_unique_id(package, self._known, self._findings)
        for entry in self._submission.document_entries:
            self._check_same_content(entry)
        for association in self._submission.associations:
            self._check_association(association)
        return self._findings.errors

    def _check_same_content(self, entry: DocumentEntry) -> None:
        """A uniqueId may be registered again for the same octets. Spec: ITI TF-3 4.2.3.2.26; ITI TF-2 3.61.4.1.3."""
        if entry.unique_id is None:
            return
        problems: set[ErrorCode] = set()
        for other in self._known.by_unique_id.get(entry.unique_id, ()):
            # What a superseded version said of its octets counts no more.
            if other.kind is not ObjectKind.DOCUMENT_ENTRY or other.superseded:
                continue
            if (other.object_type == ON_DEMAND) != entry.is_on_demand:
                problems.add(ErrorCode.REGISTRY_METADATA_ERROR)
            elif not entry.is_on_demand:
                if entry.hash and other.hash and entry.hash.lower() != other.hash.lower():
                    problems.add(ErrorCode.NON_IDENTICAL_HASH)
                if entry.size and other.size and entry.size.lstrip("0") != other.size.lstrip("0"):
                    problems.add(ErrorCode.NON_IDENTICAL_SIZE)
        for code, rule in _CONTENT_RULES:
            if code in problems:
                self._findings.add(entry, "uniqueId", rule, entry.unique_id, code)

    def _check_association(self, item: Association) -> None:
        ends = (("sourceObject", item.source), ("targetObject", item.target))
        missing = [end for end in ends if end[1] not in self._objects and end[1] not in self._known.objects]
        for attribute, value in missing:
            rule = "must be the id of an object in the submission or in the Registry"
            self._findings.add(item, attribute, rule, value, ErrorCode.UNRESOLVED_REFERENCE)
        if missing:
            return
        for attribute, value in ends:
            if value not in self._objects:
                self._check_approved(item, attribute, self._known.objects[value])
        if item.association_type == AssociationType.HAS_MEMBER:
            self._check_has_member(item)
        elif item.association_type in RELATIONSHIPS:
            self._check_relationship(item)

    def _check_approved(self, item: Association, attribute: str, registered: KnownObject) -> None:
        if registered.status is AvailabilityStatus.APPROVED:
            return
        is_document = registered.kind is ObjectKind.DOCUMENT_ENTRY
        code = ErrorCode.REGISTRY_DEPRECATED_DOCUMENT if is_document else ErrorCode.REGISTRY_METADATA_ERROR
        rule = "must be Approved, and the registered object is Deprecated"
        self._findings.add(item, attribute, rule, registered.id, code)

    def _check_has_member(self, item: Association) -> None:
        source, target = self._objects.get(item.source), self._objects.get(item.target)
        from_submission_set = isinstance(source, SubmissionSet)
        if source is None:
            self._check_kind(item, "sourceObject", self._known.objects[item.source], ObjectKind.FOLDER)
        if target is None:
            self._check_kind(item, "targetObject", self._known.objects[item.target], ObjectKind.DOCUMENT_ENTRY)
        if not from_submission_set:
            self._check_same_patient(item)
            self._check_patient_of_folder(item)

    def _check_relationship(self, item: Association) -> None:
        target = self._objects.get(item.target)
        self._check_same_patient(item)
        if target is not None:
            return
        registered = self._known.objects[item.target]
        if registered.kind is not ObjectKind.DOCUMENT_ENTRY:
            # Spec: ITI TF-2 3.42.4.1.3.5: "that the targetObject references a DocumentEntry in the Document Registry".
            rule = "the target of a relationship must be a DocumentEntry, and the registered object is none"
            self._findings.add(item, "targetObject", rule, registered.id, ErrorCode.UNRESOLVED_REFERENCE)
        elif item.association_type == AssociationType.IS_SNAPSHOT_OF:
            source = self._objects.get(item.source)
            if registered.object_type != ON_DEMAND:
                rule = "the target of IsSnapshotOf must be an on-demand DocumentEntry"
                self._findings.add(item, "targetObject", rule, item.target)
            if source is not None and source.object_type != STABLE:
                self._findings.add(item, "sourceObject", "the source of IsSnapshotOf must be a stable DocumentEntry", item.source)
        elif item.association_type == AssociationType.APND and item.target in self._known.transformations:
            self._findings.add(item, "targetObject", NOT_APPENDED, item.target)

    def _check_patient_of_folder(self, item: Association) -> None:
        """Whoever connects a registered folder with a registered entry does so for their patient. Spec: ITI TF-3 4.2.2.1.4."""
        source, target = self._patient_key(item.source), self._patient_key(item.target)
        if source is None or source != target:
            return
        for package in self._submission.submission_sets:
            if patient_key_of(package, self._known) not in (None, source):
                rule = "must have the patientId of the SubmissionSet that puts a DocumentEntry into it"
                self._findings.add(item, "sourceObject", rule, item.source, ErrorCode.PATIENT_ID_DOES_NOT_MATCH)

    def _check_kind(self, item: Association, attribute: str, registered: KnownObject, wanted: ObjectKind) -> None:
        if registered.kind is not wanted:
            name = "Folder" if wanted is ObjectKind.FOLDER else "DocumentEntry"
            self._findings.add(item, attribute, f"a registered object at this end must be a {name}", registered.id)

    def _check_same_patient(self, item: Association) -> None:
        source, target = self._patient_key(item.source), self._patient_key(item.target)
        if source is not None and target is not None and source != target:
            rule = "both ends must have the same patientId"
            self._findings.add(item, "targetObject", rule, item.target, ErrorCode.PATIENT_ID_DOES_NOT_MATCH)

    def _patient_key(self, identifier: str) -> int | None:
        """The patient of an object of the submission or of the Registry, merges followed; None when it has none that is known."""
        obj: RegistryObject | None = self._objects.get(identifier)
        return self._known.objects[identifier].patient_key if obj is None else patient_key_of(obj, self._known)


#: XDSDuplicateUniqueIdInRegistry "cannot be thrown for DocumentEntry". Spec: ITI TF-3 Table 4.2.4.1-2.
_CONTENT_RULES = (
    (ErrorCode.REGISTRY_METADATA_ERROR, "must not be shared by a stable and an on-demand DocumentEntry"),
    (ErrorCode.NON_IDENTICAL_HASH, "is registered already with another hash"),
    (ErrorCode.NON_IDENTICAL_SIZE, "is registered already with another size"),
)


def check_patients(submission: Submission, known: KnownObjects, findings: Findings) -> None:
    """Each patient of the submission is known and was not merged into another one; said once for each identifier."""
    seen: set[str | None] = {None}
    objects: tuple[SubmissionSet | DocumentEntry | Folder, ...] = (
        *submission.submission_sets,
        *submission.document_entries,
        *submission.folders,
    )
    for obj in objects:
        text = obj.patient_id
        if text in seen or text is None:
            continue
        seen.add(text)
        identifier = read_cx(text)
        patient = known.patients.get(identifier.key) if identifier else None
        if patient is None:
            rule = "must be a patient of this affinity domain that its identity feed has announced"
            findings.add(obj, "patientId", rule, text, ErrorCode.UNKNOWN_PATIENT_ID)
        elif patient.merged:
            rule = "must not be an identifier that was merged into another patient"
            findings.add(obj, "patientId", rule, text, ErrorCode.UNKNOWN_PATIENT_ID)


def check_new_ids(submission: Submission, known: KnownObjects, findings: Findings) -> None:
    """No object of the submission has the UUID of a registered one."""
    for obj in submission.objects():
        if obj.id in known.objects:
            findings.add(obj, "id", "must not be the UUID of an object that is registered already", obj.id)


def check_new_unique_id(obj: SubmissionSet | Folder, known: KnownObjects, findings: Findings) -> None:
    """The uniqueId of a new SubmissionSet or Folder is new. Spec: ITI TF-3 4.2.3.3.12, 4.2.3.4.9."""
    if obj.unique_id is not None and known.by_unique_id.get(obj.unique_id):
        rule = "must not be the uniqueId of an object that is registered already"
        findings.add(obj, "uniqueId", rule, obj.unique_id, ErrorCode.DUPLICATE_UNIQUE_ID_IN_REGISTRY)


def patient_key_of(obj: RegistryObject, known: KnownObjects) -> int | None:
    """Today's patient of an object of the submission; None when it has none that is known."""
    text = obj.patient_id if isinstance(obj, DocumentEntry | Folder | SubmissionSet) else None
    identifier = read_cx(text) if text else None
    patient = known.patients.get(identifier.key) if identifier else None
    return patient.effective_key if patient else None
