"""The Imaging Document Source: takes images in, announces each study by a manifest, and gives the images out.

Spec: RAD TF-1 18 (XDS-I.b); RAD TF-2 4.8, 4.68, 4.69, 4.55, 4.107.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, timedelta, tzinfo
from typing import Any

import structlog

from xds.actors import imaging_audit
from xds.actors.imaging_document_set import ImagingDocumentSets
from xds.actors.imaging_intake import InstanceIntake
from xds.actors.imaging_manifests import ManifestMaker, ManifestStyle
from xds.actors.imaging_metadata import PublicationDefaults
from xds.actors.imaging_patients import AffinityIdentifiers, SourcePatients
from xds.actors.imaging_publication import Partners, Provide, StudyPublisher
from xds.actors.imaging_pull import PullThrough
from xds.actors.imaging_query import StudyQueries
from xds.actors.imaging_reconciler import RECONCILE_STUDY, Reconciler
from xds.actors.imaging_registrations import BelievingRegistry, ManifestRegistry
from xds.actors.imaging_reports import ReportPublisher
from xds.actors.imaging_retrieval import ImageRetrieval
from xds.actors.imaging_triggers import PUBLISH_STUDY, OrderIntake
from xds.actors.performed_steps import PerformedSteps
from xds.actors.storage_commitment import StorageCommitment
from xds.model.audit import AuditEvent
from xds.model.caller import SYSTEM, Caller, Resource
from xds.model.domain_identity import DomainIdentity
from xds.model.identifiers import AssigningAuthority
from xds.model.imaging import Addition, StoredStudy, Study, StudyPatient, StudyState
from xds.model.imaging_query import ImagingQuery, ImagingQueryAnswer
from xds.model.metadata import Code
from xds.pixels.pool import Pool
from xds.ports import AccessRule, BlobStore, Clock, Staging
from xds.store import audit, imaging, imaging_changes, jobs
from xds.store.database import Database
from xds.wire.dicom_header import read_header

_log = structlog.get_logger()


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
        pixels: Pool,
        *,
        settle_seconds: float = 60.0,
        store_at_once: bool = False,
        defaults: PublicationDefaults | None = None,
        zone: tzinfo = UTC,
        authorities: Mapping[str, AssigningAuthority] | None = None,
        default_authority: AssigningAuthority | None = None,
        registry: ManifestRegistry | None = None,
        style: ManifestStyle | None = None,
        reconcile_every: timedelta | None = None,
        pull: PullThrough | None = None,
    ) -> None:
        """`settle_seconds` is how long a study must be quiet before it is published. `store_at_once`: see `InstanceIntake`.

        `pixels` decodes and renders images; it is closed with this object.
        `authorities` names, for sending AE titles, who issues the patient identifiers of images that do not say it themselves;
        `default_authority` does so for all others (without it, their demographics must tell). `zone` is the local time of images
        that state no offset. `provide` is the repository in this process, or RAD-68 to another one; `registry` is asked for what
        became of manifests, and told of those that are withdrawn. `style` says which manifests are written, and how.
        A study that is retrieved is reconciled unless it was within the time `reconcile_every`; None: it is not.
        `pull` fetches images that sources outside hold.
        """
        self._database = database
        self._blobs = blobs
        self._pixels = pixels
        self._identity = identity
        self._access = access
        self._clock = clock
        self._reconcile_every = reconcile_every
        self._settle = timedelta(seconds=settle_seconds)
        self._defaults = defaults or PublicationDefaults()
        domain = AssigningAuthority(identity.assigning_authority_namespace or None, identity.assigning_authority)
        self._patients = SourcePatients(pix, domain, authorities or {}, default_authority)
        self._queries = StudyQueries(database, access, self._resource)
        maker = ManifestMaker(database, identity, style or ManifestStyle(), zone)
        partners = Partners(provide, registry or BelievingRegistry())
        self.intake = InstanceIntake(database, blobs, clock, identity, self._patients, settle=self._settle, at_once=store_at_once)
        self.commitment = StorageCommitment(database, blobs, clock)
        self.steps = PerformedSteps(database, clock, self._step_ended)
        self._publisher = StudyPublisher(database, blobs, identity, self._patients, partners, clock, self._defaults, zone, maker)
        self.reconciler = Reconciler(database, blobs, self._patients, partners.registry, self._publisher, clock, maker.forms)
        self.orders = OrderIntake(database, identity, clock, self._settle)
        self.reports = ReportPublisher(database, blobs, identity, self._patients, partners, clock, self._defaults)
        self._pull = pull
        self.retrieval = self._outgoing()
        locations = {name: retrieve.location_uid for name, retrieve in maker.locations.items()}
        self.document_sets = ImagingDocumentSets(self.retrieval, identity, locations)

    def _outgoing(self) -> ImageRetrieval:
        return ImageRetrieval(
            self._database,
            self._blobs,
            self._identity,
            self._patients,
            self._access,
            self._clock,
            self._defaults,
            self._pixels,
            self._publisher.is_disputed,
            self._reconcile_wanted,
            pull=self._pull,
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

    def close(self) -> None:
        """End the processes that decode images, and what is being fetched."""
        self._pixels.close()
        if self._pull is not None:
            self._pull.close()

    # ---- images in

    def stage(self) -> Staging:
        """Begin an object that arrives."""
        return self.intake.stage()

    def store_instance(self, staging: Staging, caller: Caller, event_type: Code = imaging_audit.STORED) -> Addition:
        """Keep a Part 10 file; durable when this returns. See `InstanceIntake`, which takes what is still arriving, too.

        Errors: OSError when the disk is full; DicomError.
        """
        return self.intake.store(staging, self.intake.describe(read_header(staging.open()), caller, event_type))

    def changed(self, study_instance_uid: str, reason: str, *, at_once: bool = False) -> None:
        """Something happened to a study: its manifest is looked at after the study has settled, or now with `at_once`.

        Called by whatever knows of it: an availability notification, a procedure step, an order, a report, an operator. It is
        safe to call for a study that did not change, or that is not there (yet). `reason` is a word for logs.
        """
        due = self._clock() + (timedelta(0) if at_once else self._settle)
        self._database.write(lambda connection: jobs.add(connection, PUBLISH_STUDY, study_instance_uid, {"reason": reason}, due))
        _log.info("imaging.study_changed", reason=reason, at_once=at_once)

    def remove_instances(
        self, study_instance_uid: str, sop_instance_uids: Collection[str] | None, reason: str, caller: Caller = SYSTEM
    ) -> int:
        """Forget instances that are gone at their source (None: all of the study), and tell how many there were.

        The manifest is replaced after the study has settled, or withdrawn when nothing is left. `reason` is a word for logs.
        """
        now = self._clock()

        def work(connection: Any) -> int:
            removed = imaging_changes.remove_instances(connection, study_instance_uid, sop_instance_uids)
            if removed:
                event = imaging_audit.instances_removed(self._identity, caller, now, study_instance_uid)
                audit.append(connection, event)
                jobs.add(connection, PUBLISH_STUDY, study_instance_uid, {"reason": reason}, now + self._settle)
            return removed

        return self._database.write(work)

    def accept(self, study_instance_uid: str, caller: Caller = SYSTEM) -> str | None:
        """A human has decided: the images are of the patient whom the cross-reference names; the study is announced anew.

        None when that is on its way, else why not.
        """
        problem = self._publisher.accept(study_instance_uid, caller)
        if problem is None:
            self.changed(study_instance_uid, "accepted", at_once=True)
        return problem

    def _reconcile_wanted(self, stored: StoredStudy) -> None:
        """Somebody retrieves a study: its manifest had better be true."""
        now = self._clock()
        if self._reconcile_every is None or stored.state is not StudyState.PUBLISHED:
            return
        if stored.reconciled < int((now - self._reconcile_every).timestamp() * 1000):
            uid = stored.study.study_instance_uid
            self._database.write(lambda connection: jobs.add(connection, RECONCILE_STUDY, uid, {}, now))

    def to_review(self, limit: int = 100) -> tuple[imaging_changes.StudyReview, ...]:
        """Studies that wait for a patient, for a human, or differ from their manifest; the newest first."""
        with self._database.read() as connection:
            return imaging_changes.to_review(connection, limit)

    def _step_ended(self, study_instance_uid: str, is_complete: bool) -> None:
        self.changed(study_instance_uid, "procedure step", at_once=is_complete)

    def publish(self, study_instance_uid: str, caller: Caller = SYSTEM) -> str | None:
        """Announce a study as it is now: None when its manifest is in force, else why not, in words free of patient data."""
        return self._publisher.publish(study_instance_uid, caller)

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
        """Try again at once to publish the studies whose patient was not known, or not sure."""
        now = self._clock()

        def waiting(connection: Any) -> list[str]:
            states = (StudyState.UNRESOLVED, StudyState.DISPUTED)
            return [uid for state in states for uid in imaging.uids_in_state(connection, state)]

        def work(connection: Any) -> None:
            for uid in waiting(connection):
                jobs.add(connection, PUBLISH_STUDY, uid, {}, now)

        self.reports.resume()
        with self._database.read() as connection:
            if not waiting(connection):
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
