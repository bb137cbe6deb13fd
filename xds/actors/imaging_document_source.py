"""The Imaging Document Source: takes images in, announces each study by a manifest, and gives the images out.

Spec: RAD TF-1 18 (XDS-I.b); RAD TF-2 4.8, 4.68, 4.69, 4.55, 4.107.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, timedelta, tzinfo
from typing import Any, Final

import structlog

from xds.actors import imaging_audit
from xds.actors.imaging_metadata import MIME_TYPE, PublicationDefaults
from xds.actors.imaging_publication import AffinityIdentifiers, CurrentEntry, Provide, SourcePatients, StudyPublisher
from xds.actors.imaging_query import StudyQueries
from xds.model.audit import AuditEvent, EventOutcome
from xds.model.caller import SYSTEM, Action, Caller, Resource
from xds.model.domain_identity import DomainIdentity
from xds.model.errors import ErrorCode, RegistryError, RegistryResponse, Status
from xds.model.identifiers import AssigningAuthority
from xds.model.imaging import Addition, Instance, StoredStudy, Study, StudyPatient, StudyState
from xds.model.imaging_query import ImagingQuery, ImagingQueryAnswer
from xds.model.metadata import Code
from xds.model.retrieval import ImagingDocumentRequest, RetrieveAnswer, RetrievedDocument
from xds.model.vocabulary import KEY_OBJECT_SELECTION
from xds.ports import AccessRule, BlobStore, Clock, Staging
from xds.store import audit, imaging, jobs
from xds.store.database import Database
from xds.wire import dicom_json, kos
from xds.wire.dicom import DicomError, Header, read_header
from xds.wire.dicom_transcoding import can_convert, convert

#: The kind of job that publishes a study; its key is the Study Instance UID.
PUBLISH_STUDY: Final = "publish-study"

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Selection:
    """Instances that a caller may have: a study, reduced to what was asked for, and whose it is (CX; empty: nobody known)."""

    study: Study
    patient_id: str

    def instances(self) -> Iterator[tuple[str, Instance]]:
        """Series Instance UID and instance, in order."""
        for series in self.study.series:
            for instance in series.instances:
                yield series.series_instance_uid, instance


@dataclass(frozen=True, slots=True)
class Obtained:
    """One instance ready to go out: exactly `size` octets of a Part 10 file come from `chunks()`. `release` it in the end."""

    instance: Instance
    transfer_syntax_uid: str
    size: int
    chunks: Callable[[], Iterator[bytes]]
    release: Callable[[], None] = field(default=lambda: None)


class ImagingDocumentSource:
    """The actor. One object serves all threads."""

    def __init__(
        self,
        database: Database,
        blobs: BlobStore,
        identity: DomainIdentity,
        pix: AffinityIdentifiers,
        provide: Provide,
        access: AccessRule,
        clock: Clock,
        *,
        settle_seconds: float = 60.0,
        defaults: PublicationDefaults | None = None,
        zone: tzinfo = UTC,
        authorities: Mapping[str, AssigningAuthority] | None = None,
        default_authority: AssigningAuthority | None = None,
        current_entry: CurrentEntry = lambda _unique_id, entry_uuid: entry_uuid,
    ) -> None:
        """`settle_seconds` is how long a study must be quiet before it is published.

        `authorities` names, for sending AE titles, who issues the patient identifiers of images that do not say it themselves;
        `default_authority` does so for all others (without it, their demographics must tell). `zone` is the local time of images
        that state no offset. `provide` is the repository in this process, or RAD-68 to another one. `current_entry` asks its
        registry for what a new manifest replaces; by default that is what was registered.
        """
        self._database = database
        self._blobs = blobs
        self._identity = identity
        self._access = access
        self._clock = clock
        self._settle = timedelta(seconds=settle_seconds)
        self._defaults = defaults or PublicationDefaults()
        domain = AssigningAuthority(identity.assigning_authority_namespace or None, identity.assigning_authority)
        self._patients = SourcePatients(pix, domain, authorities or {}, default_authority)
        self._queries = StudyQueries(database, access, self._resource)
        self._publisher = StudyPublisher(
            database, blobs, identity, self._patients, provide, clock, self._defaults, zone, current_entry
        )

    def _resource(self, row: Mapping[str, Any], summary: Mapping[str, Any]) -> Resource:
        """What the access rule judges of a study in a query: whose it is as published, else as the cross-reference says."""
        patient_id = summary["patient"]
        if patient_id is None:
            patient = StudyPatient(
                row["patient_id"],
                row["issuer_oid"],
                row["issuer_namespace"],
                row["patient_name"],
                row["birth_date"],
                row["sex"],
            )
            identifier = self._patients.affinity(Study(row["study_instance_uid"], patient, (), source=row["source"]))
            patient_id = identifier.to_cx() if identifier else ""
        confidentiality = tuple(str(code) for code in self._defaults.confidentiality)
        return Resource(patient_id, summary["manifest"], confidentiality, str(self._defaults.class_code))

    # ---- images in

    def stage(self) -> Staging:
        """Begin an object that arrives."""
        return self._blobs.stage()

    def store_instance(
        self,
        staging: Staging,
        study: Study,
        caller: Caller,
        event_type: Code = imaging_audit.STORED,
        *,
        header: Header | None = None,
    ) -> Addition:
        """Keep a Part 10 file whose header is `study` (one series with one instance); durable when this returns.

        `header` is its whole header, for who has read it already.

        The same SOP Instance UID again: an identical file is accepted silently. Of different content the last wins; the study
        then counts as changed, and its manifest is replaced after it has settled. A file that names another patient than its
        study does is refused (CONFLICT): it would show images of one patient under the name of another. A note that rejects
        instances withholds them, and itself.

        Spec: RAD TF-2 4.8.4.1.3. Errors: OSError when the disk is full; DicomError for a broken rejection note.
        """
        series = study.series[0]
        rejected = self._rejected(staging, study)
        described = dicom_json.write_header(header or read_header(staging.open()))
        size = staging.size
        instance = replace(series.instances[0], blob=staging.commit(), size=size)
        kept = replace(study, series=(replace(series, instances=(instance,)),))
        now = self._clock()
        event = imaging_audit.instance_stored(
            self._identity,
            caller,
            event_type,
            now,
            study.study_instance_uid,
            instance.sop_class_uid,
            self._patients.source_cx(study),
        )

        def work(connection: Any) -> Addition:
            addition = imaging.add_instance(connection, kept, now, described)
            if addition is Addition.CONFLICT:
                audit.append(connection, replace(event, outcome=EventOutcome.SERIOUS_FAILURE))
                return addition
            audit.append(connection, event)
            if rejected:
                imaging.reject(connection, study.study_instance_uid, rejected[1], rejected[0])
            if addition is not Addition.IDENTICAL:
                jobs.add(connection, PUBLISH_STUDY, study.study_instance_uid, {}, now + self._settle)
            return addition

        return self._database.write(work)

    def _rejected(self, staging: Staging, study: Study) -> tuple[str, list[str]] | None:
        instance = study.series[0].instances[0]
        if instance.sop_class_uid != KEY_OBJECT_SELECTION:
            return None
        note = kos.read_manifest(staging.open())
        if not kos.is_rejection(note.title):
            return None
        uids = [item.sop_instance_uid for item in note.references if item.study_instance_uid == study.study_instance_uid]
        return note.title.code, [instance.sop_instance_uid, *uids]

    def publish(self, study_instance_uid: str, caller: Caller = SYSTEM) -> str | None:
        """Announce a study as it is now: None when its manifest is in force, else why not, in words free of patient data."""
        return self._publisher.publish(study_instance_uid, caller)

    # ---- images out

    def select(
        self, caller: Caller, study_instance_uid: str, series_instance_uid: str | None = None, sop_instance_uid: str | None = None
    ) -> Selection | None:
        """What there is of a study, one of its series or one instance; None for nothing, or nothing that the caller may see."""
        with self._database.read() as connection:
            stored = imaging.find(connection, study_instance_uid, series_instance_uid, sop_instance_uid)
        if stored is None or not stored.study.series:
            return None
        patient = self._patients.affinity(stored.study)
        patient_id = patient.to_cx() if patient else ""
        manifest = stored.published.unique_id if stored.published else None
        confidentiality = tuple(str(code) for code in self._defaults.confidentiality)
        resource = Resource(patient_id, manifest, confidentiality, str(self._defaults.class_code))
        if not self._access.permits(caller, Action.RETRIEVE, (resource,))[0]:
            return None
        return Selection(stored.study, patient_id)

    def obtain(self, instance: Instance, transfer_syntaxes: Sequence[str] | None) -> Obtained | None:
        """An instance in one of these transfer syntaxes (None: as it is stored); None when that is not possible.

        The stored one is preferred; a conversion is spooled, so that its size is known and no memory is held.
        Errors: KeyError when the blob is gone.
        """
        size = self._blobs.size(instance.blob)
        stored = instance.transfer_syntax_uid
        if transfer_syntaxes is None or stored in transfer_syntaxes:
            return Obtained(instance, stored, size, lambda: self._blobs.open(instance.blob))
        for target in transfer_syntaxes:
            if can_convert(stored, target, size):
                staging = self._blobs.stage()
                try:
                    for chunk in convert(lambda: self._blobs.open(instance.blob), target):
                        staging.write(chunk)
                except DicomError:
                    staging.discard()
                    return None
                return Obtained(instance, target, staging.size, staging.open, staging.discard)
        return None

    def retrieve(
        self, requests: Sequence[ImagingDocumentRequest], transfer_syntaxes: Sequence[str], caller: Caller
    ) -> RetrieveAnswer:
        """The requested instances as Part 10 files in one of the requested transfer syntaxes, or an error for each that fails.

        Study, series and instance must fit together. What the caller may not see is answered like what does not exist.

        Spec: RAD TF-2 4.69.4.1.3. Errors: returned: XDSUnknownRepositoryId, XDSDocumentUniqueIdError, XDSRepositoryError.
        """
        studies = {item.study_instance_uid for item in requests if item.study_instance_uid}
        selections = {uid: selection for uid in studies if (selection := self.select(caller, uid)) is not None}
        indexes = {uid: _index(selection) for uid, selection in selections.items()}
        found: list[tuple[ImagingDocumentRequest, Obtained]] = []
        errors: list[RegistryError] = []
        for request in requests:
            obtained = self._requested(request, transfer_syntaxes, indexes)
            if isinstance(obtained, RegistryError):
                errors.append(obtained)
            else:
                found.append((request, obtained))
        status = Status.SUCCESS if not errors else Status.PARTIAL_SUCCESS if found else Status.FAILURE
        documents = tuple(RetrievedDocument(item.document, MIME_TYPE, got.size, got.chunks) for item, got in found)
        sent = [(selections[item.study_instance_uid], got) for item, got in found]

        def finished(complete: bool) -> None:
            self.finish(sent, complete, caller, imaging_audit.RETRIEVED)
            self._audit_refused([item for item in requests if item not in {one for one, _ in found}], caller)

        return RetrieveAnswer(RegistryResponse(status, tuple(errors)), documents, finished)

    def _requested(
        self, request: ImagingDocumentRequest, wanted: Sequence[str], indexes: Mapping[str, Mapping[tuple[str, str], Instance]]
    ) -> Obtained | RegistryError:
        document = request.document
        uid = document.document_unique_id
        ours = self._identity.imaging_source_unique_id
        if document.repository_unique_id != ours:
            context = f"RepositoryUniqueId {document.repository_unique_id}: this Imaging Document Source is {ours}"
            return RegistryError(ErrorCode.UNKNOWN_REPOSITORY_ID, context, location=uid)
        instance = indexes.get(request.study_instance_uid, {}).get((request.series_instance_uid, uid))
        if instance is None:
            context = (
                f"DocumentUniqueId {uid}: no such instance in series {request.series_instance_uid}"
                f" of study {request.study_instance_uid}"
            )
            return RegistryError(ErrorCode.DOCUMENT_UNIQUE_ID_ERROR, context, location=uid)
        try:
            obtained = self.obtain(instance, wanted)
        except KeyError:
            _log.error("imaging.blob_missing", blob=instance.blob)
            context = f"DocumentUniqueId {uid}: the instance cannot be read"
            return RegistryError(ErrorCode.REPOSITORY_ERROR, context, location=uid)
        if obtained is None:
            context = (
                f"DocumentUniqueId {uid}: stored in transfer syntax {instance.transfer_syntax_uid},"
                f" which cannot be given as {', '.join(wanted)}"
            )
            return RegistryError(ErrorCode.REPOSITORY_ERROR, context, location=uid)
        return obtained

    def finish(self, sent: Sequence[tuple[Selection, Obtained]], complete: bool, caller: Caller, event_type: Code) -> None:
        """To be called once after the last octet (True), or when the reader went away: releases, and audits for each patient."""
        patients: dict[str, dict[str, dict[str, int]]] = {}
        for selection, obtained in sent:
            obtained.release()
            classes = patients.setdefault(selection.patient_id, {}).setdefault(selection.study.study_instance_uid, {})
            sop_class = obtained.instance.sop_class_uid
            classes[sop_class] = classes.get(sop_class, 0) + 1
        outcome = EventOutcome.SUCCESS if complete else EventOutcome.MINOR_FAILURE
        description = None if complete else "the consumer went away before the last octet"
        now = self._clock()
        for patient_id, studies in patients.items():
            self._audit_later(
                imaging_audit.instances_sent(self._identity, caller, event_type, now, studies, patient_id, outcome, description)
            )

    def _audit_refused(self, refused: Sequence[ImagingDocumentRequest], caller: Caller) -> None:
        if refused:
            self.refuse({item.study_instance_uid for item in refused}, caller, imaging_audit.RETRIEVED)

    def refuse(self, study_instance_uids: set[str], caller: Caller, event_type: Code) -> None:
        """Audit that instances of these studies were asked for and not given."""
        studies: dict[str, dict[str, int]] = {uid: {} for uid in sorted(study_instance_uids)}
        event = imaging_audit.instances_sent(
            self._identity, caller, event_type, self._clock(), studies, "", EventOutcome.SERIOUS_FAILURE, "not available"
        )
        self._audit_later(event)

    def _audit_later(self, event: AuditEvent) -> None:
        self._database.write_later(lambda connection: audit.append(connection, event))

    # ---- looking

    def query(self, query: ImagingQuery, caller: Caller, base_url: str, event_type: Code, asked: str) -> ImagingQueryAnswer:
        """Studies, series or instances that fit, as far as the caller may know of them.

        `base_url` is the address of the DICOMweb service, `asked` what the audit trail keeps of the question.
        """

        def event(patient_ids: Sequence[str]) -> AuditEvent:
            return imaging_audit.queried(self._identity, caller, event_type, self._clock(), patient_ids, asked)

        return self._queries.query(query, caller, base_url, event)

    def study(self, study_instance_uid: str) -> StoredStudy | None:
        """A study for its operators, whatever its state."""
        return self._find(study_instance_uid)

    def resume(self) -> None:
        """Try again at once to publish the studies whose patient was not known."""
        now = self._clock()

        def work(connection: Any) -> None:
            for uid in imaging.uids_in_state(connection, StudyState.UNRESOLVED):
                jobs.add(connection, PUBLISH_STUDY, uid, {}, now)

        with self._database.read() as connection:
            if not imaging.uids_in_state(connection, StudyState.UNRESOLVED):
                return
        self._database.write(work)

    def newest(self, limit: int, state: StudyState | None = None) -> tuple[StoredStudy, ...]:
        """The studies that changed last, for operators."""
        with self._database.read() as connection:
            return imaging.newest(connection, limit, state=state)

    def referenced(self, keys: Sequence[str]) -> frozenset[str]:
        """Those of these blobs that are instances or manifests of this source."""
        with self._database.read() as connection:
            return imaging.referenced(connection, keys)

    def _find(self, study_instance_uid: str) -> StoredStudy | None:
        with self._database.read() as connection:
            return imaging.find(connection, study_instance_uid)


def _index(selection: Selection) -> Mapping[tuple[str, str], Instance]:
    return {(series, instance.sop_instance_uid): instance for series, instance in selection.instances()}
