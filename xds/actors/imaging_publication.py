"""How a study is announced: its patient is resolved, its manifests written, and given to a Document Repository.

Spec: RAD TF-2 4.68 (Provide and Register Imaging Document Set - MTOM/XOP); RAD TF-1 18.2.5; ITI TF-2 3.57, 3.62.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import tzinfo
from functools import partial
from typing import Any

import structlog

from xds.actors import imaging_audit
from xds.actors.imaging_manifests import ManifestMaker
from xds.actors.imaging_metadata import MIME_TYPE, PublicationDefaults, submission_of
from xds.actors.imaging_patients import AffinityIdentifiers, SourcePatients
from xds.actors.imaging_registrations import ManifestRegistry, RegisteredManifest, withdrawal_of
from xds.actors.imaging_requests import named_requests, with_requests
from xds.actors.imaging_triggers import is_of_patient
from xds.actors.provided_document import ProvidedDocument
from xds.model.audit import EventOutcome
from xds.model.caller import Caller
from xds.model.domain_identity import DomainIdentity
from xds.model.errors import ErrorCode, RegistryResponse
from xds.model.identifiers import PatientIdentifier, new_oid, new_uuid_urn, read_cx
from xds.model.imaging import ManifestForm, PublishedManifest, StoredStudy, StudyState
from xds.model.metadata import Submission
from xds.ports import BlobStore, Clock
from xds.store import audit, imaging, imaging_changes, imaging_headers, imaging_orders, imaging_search
from xds.store.database import Database
from xds.wire import kos

__all__ = ["AffinityIdentifiers", "Provide", "SourcePatients", "StudyPublisher"]

Provide = Callable[[Submission, Mapping[str, ProvidedDocument], Caller], RegistryResponse]

#: Answers of a repository after which nobody knows whether the submission took effect: it is repeated as it is.
_UNDECIDED = frozenset({ErrorCode.REGISTRY_NOT_AVAILABLE, ErrorCode.REGISTRY_BUSY, ErrorCode.REPOSITORY_BUSY})

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Partners:
    """Who takes manifests, and who knows what became of them."""

    provide: Provide
    registry: ManifestRegistry


class StudyPublisher:
    """Announces studies. One object serves all threads."""

    def __init__(
        self,
        database: Database,
        blobs: BlobStore,
        identity: DomainIdentity,
        patients: SourcePatients,
        partners: Partners,
        clock: Clock,
        defaults: PublicationDefaults,
        zone: tzinfo,
        maker: ManifestMaker,
    ) -> None:
        self._database = database
        self._blobs = blobs
        self._identity = identity
        self._patients = patients
        self._provide = partners.provide
        self._registry = partners.registry
        self._clock = clock
        self._defaults = defaults
        self._zone = zone
        self._maker = maker

    def publish(self, study_instance_uid: str, caller: Caller) -> str | None:
        """Announce a study as it is now: None when its manifests are in force, else why not, in words free of patient data.

        What was tried stays on record before it is tried, so that a crash at any point leads to the same submission once more and
        never to a second manifest. A study that was announced before and has changed gets a manifest that replaces the former; of
        one of which nothing is left to be shared the manifest is withdrawn.

        Spec: RAD TF-2 4.68.4.1.
        """
        stored = self._find(study_instance_uid)
        while stored is not None and stored.prepared is not None:
            problem = self._submit(stored, stored.prepared, caller)
            if problem:
                return problem
            stored = self._find(study_instance_uid)
        if stored is None:
            return None
        if not stored.study.series:
            return self._withdraw_empty(stored, caller)
        patient = self._patients.affinity(stored.study)
        if patient is None:
            identifier = self._patients.source(stored.study)
            detail = "the images name no patient"
            if identifier is not None:
                detail = f"no patient is linked to {identifier.value}^^^{identifier.authority}"
            return self._unresolved(stored, "the patient is not known", detail)
        try:
            if self.is_disputed(stored, patient):
                return None
        except (ConnectionError, TimeoutError):
            return "the Document Registry did not answer"
        return self._publish_forms(stored, patient, caller)

    def _publish_forms(self, stored: StoredStudy, patient: PatientIdentifier, caller: Caller) -> str | None:
        for form in self._maker.forms:
            former = stored.published_as(form)
            if former is not None and former.revision == stored.revision:
                continue
            manifest = self._prepare(stored, patient, form)
            problem = self._submit(stored, manifest, caller)
            if problem:
                return problem
            stored = replace(stored, manifests=(replace(manifest, is_published=True), *stored.manifests))
        if stored.state is StudyState.DISPUTED:
            self._set_state(stored, StudyState.PUBLISHED)
        return None

    def _prepare(self, stored: StoredStudy, patient: PatientIdentifier, form: ManifestForm) -> PublishedManifest:
        uids = kos.ManifestIdentifiers(new_oid(), new_oid())
        now = self._clock().replace(microsecond=0)
        named = replace(stored.study, patient=self._patients.with_issuer(stored.study))
        source = self._patients.source(stored.study)
        others = tuple(dict.fromkeys(item for item in (source, patient) if item is not None))
        staging = self._blobs.stage()
        staging.write(self._maker.write(self._maker.describe(named, uids, now, form, others), form))
        manifest = PublishedManifest(
            revision=stored.revision,
            unique_id=uids.sop_instance_uid,
            entry_uuid=new_uuid_urn(),
            submission_unique_id=new_oid(),
            blob=staging.commit(),
            created=now,
            patient_id=patient.to_cx(),
            form=form,
        )

        def work(connection: Any) -> None:
            uid = stored.study.study_instance_uid
            imaging.prepare_manifest(connection, uid, manifest)
            imaging.set_state(connection, uid, stored.revision, StudyState.SETTLED)

        self._database.write(work)
        return manifest

    def _submit(self, stored: StoredStudy, manifest: PublishedManifest, caller: Caller) -> str | None:
        source_patient = self._patients.source(stored.study)
        if source_patient is None:
            return self._unresolved(stored, "the patient is not known", "the images name no patient")
        staging = self._blobs.stage()
        try:
            for chunk in self._blobs.open(manifest.blob):
                staging.write(chunk)
            submission = submission_of(
                stored.study,
                manifest,
                self._in_force(stored.published_as(manifest.form)),
                source_patient=source_patient,
                source_id=self._identity.imaging_source_unique_id,
                defaults=self._defaults,
                zone=self._zone,
                transforms=self._transformed(stored, manifest),
            )
            response = self._provide(submission, {manifest.entry_uuid: ProvidedDocument(staging, MIME_TYPE)}, caller)
        except (ConnectionError, TimeoutError) as problem:
            _log.warning("imaging.repository_unreachable", error=type(problem).__name__)
            return "the Document Repository did not answer"
        finally:
            staging.discard()
        accepted = response.succeeded or _was_accepted_before(response, manifest)
        if not accepted and any(error.code in _UNDECIDED for error in response.errors):
            return "the Document Repository is busy or its registry is not available"
        self._settle(stored, manifest, caller, accepted=accepted)
        if accepted:
            return None
        details = "; ".join(f"{error.code.value}: {error.context}" for error in response.errors)
        return self._unresolved(stored, ", ".join(sorted({error.code.value for error in response.errors})), details)

    def _settle(self, stored: StoredStudy, manifest: PublishedManifest, caller: Caller, *, accepted: bool) -> None:
        uid = stored.study.study_instance_uid
        outcome = EventOutcome.SUCCESS if accepted else EventOutcome.SERIOUS_FAILURE
        event = imaging_audit.manifest_provided(
            self._identity, caller, self._clock(), manifest.patient_id, manifest.submission_unique_id, outcome
        )
        others = {form for form in self._maker.forms if form is not manifest.form}
        is_last = all((one := stored.published_as(form)) and one.revision == manifest.revision for form in others)

        def work(connection: Any) -> None:
            audit.append(connection, event)
            if not accepted:
                imaging.drop_manifest(connection, uid, manifest.revision, manifest.form)
                return
            imaging.publish_manifest(connection, uid, manifest.revision, manifest.form)
            if is_last:
                imaging.set_state(connection, uid, manifest.revision, StudyState.PUBLISHED)

        self._database.write(work)

    def _in_force(self, former: PublishedManifest | None) -> str | None:
        """What a new manifest replaces: metadata may have got new versions since, by an update or a change of patient."""
        found = self._registered(former)
        return found.entry_uuid if found and found.is_approved else None

    def _transformed(self, stored: StoredStudy, manifest: PublishedManifest) -> str | None:
        """The manifest of the first form, of which those of others are transformations."""
        first = self._maker.forms[0]
        return None if manifest.form is first else self._in_force(stored.published_as(first))

    def _registered(self, manifest: PublishedManifest | None) -> RegisteredManifest | None:
        return None if manifest is None else self._registry.registered(manifest.unique_id, manifest.entry_uuid)

    # ---- manifests in the record of somebody else

    def is_disputed(self, stored: StoredStudy, patient: PatientIdentifier | None) -> bool:
        """True, and noted, when a manifest of the study is in force for another patient than this one (None: nobody known).

        It asks the registry only where the two differ. A merge of patients is no difference, nor is a manifest that was moved.
        Errors: ConnectionError, TimeoutError when the registry does not tell.
        """
        cx = patient.to_cx() if patient else ""
        for manifest in self._latest(stored):
            if manifest.patient_id == cx:
                continue
            found = self._registered(manifest)
            if found is None or not found.is_approved or not found.patient_id:
                continue
            if found.patient_id == cx:
                self._note_move(stored, manifest, cx)
            elif not self._is_same_person(found.patient_id, patient):
                detail = f"the manifest is in the record of {found.patient_id}, the images are of {cx or 'nobody known'}"
                self._set_state(stored, StudyState.DISPUTED, detail)
                _log.warning("imaging.patient_disputed")
                return True
        return False

    def _latest(self, stored: StoredStudy) -> Sequence[PublishedManifest]:
        found = (stored.published_as(form) for form in ManifestForm)
        return [manifest for manifest in found if manifest is not None]

    def _is_same_person(self, registered: str, patient: PatientIdentifier | None) -> bool:
        identifier = read_cx(registered)
        return patient is not None and identifier is not None and self._patients.same_person(identifier, patient)

    def _note_move(self, stored: StoredStudy, manifest: PublishedManifest, cx: str) -> None:
        uid, unique_id = stored.study.study_instance_uid, manifest.unique_id
        self._database.write(lambda connection: imaging_changes.move_manifest(connection, uid, unique_id, cx))

    def accept(self, study_instance_uid: str, caller: Caller) -> str | None:
        """A human has decided that the cross-reference is right: what the other record holds is withdrawn.

        Then the study is to be announced anew. None when that was done, else why not.
        """
        stored = self._find(study_instance_uid)
        if stored is None or stored.state is not StudyState.DISPUTED:
            return "the study is not disputed"
        problem = self._withdraw(stored, caller)
        if problem is None:
            self._database.write(lambda connection: imaging_changes.touch(connection, study_instance_uid))
        return problem

    # ---- nothing left

    def _withdraw_empty(self, stored: StoredStudy, caller: Caller) -> str | None:
        if stored.state is StudyState.WITHDRAWN:
            return None
        problem = self._withdraw(stored, caller)
        if problem is None:
            self._set_state(stored, StudyState.WITHDRAWN, "no instance is left to be shared")
        return problem

    def _withdraw(self, stored: StoredStudy, caller: Caller) -> str | None:
        """Take back what is in force. Doing it twice does it once."""
        for manifest in self._latest(stored):
            try:
                found = self._registered(manifest)
                if found is None or not found.is_approved:
                    continue
                request = withdrawal_of(
                    replace(found, patient_id=found.patient_id or manifest.patient_id),
                    self._identity.imaging_source_unique_id,
                    self._defaults.content_type,
                    self._clock(),
                )
                response = self._registry.withdraw(found, manifest.unique_id, request, caller)
            except (ConnectionError, TimeoutError):
                return "the Document Registry did not answer"
            outcome = EventOutcome.SUCCESS if response.succeeded else EventOutcome.SERIOUS_FAILURE
            event = imaging_audit.manifest_withdrawn(
                self._identity, caller, self._clock(), found.patient_id or manifest.patient_id, found.entry_uuid, outcome
            )
            self._database.write(partial(audit.append, event=event))
            if not response.succeeded:
                codes = ", ".join(sorted({error.code.value for error in response.errors}))
                problem = f"the manifest is not withdrawn: {codes}"
                return self._unresolved(stored, problem, problem)
        return None

    def _unresolved(self, stored: StoredStudy, problem: str, detail: str) -> str:
        """Note on the study, for its operators, why it is not published; what is returned for logs says less."""
        self._set_state(stored, StudyState.UNRESOLVED, detail[:2000])
        return problem

    def _set_state(self, stored: StoredStudy, state: StudyState, reason: str | None = None) -> None:
        uid, revision = stored.study.study_instance_uid, stored.revision
        self._database.write(lambda connection: imaging.set_state(connection, uid, revision, state, reason))

    def _find(self, study_instance_uid: str) -> StoredStudy | None:
        """The study with the orders that are known of it, and the requests that its images name."""
        with self._database.read() as connection:
            stored = imaging.find(connection, study_instance_uid)
            if stored is None:
                return None
            study = stored.study
            headers = imaging_search.series_headers(connection, study_instance_uid)
            named = named_requests(study, (json.loads(imaging_headers.unpack(header)) for header in headers))
            numbers = {study.accession_number: study.accession_issuer_oid}
            numbers |= {order.accession.value: order.accession.issuer_oid for order in named if order.accession}
            orders = [
                order
                for number, issuer in numbers.items()
                for order in imaging_orders.of_study(connection, study_instance_uid, number, issuer)
            ]
        own = (order for order in dict.fromkeys(orders) if is_of_patient(order, self._patients.with_issuer(study)))
        return replace(stored, study=replace(study, orders=with_requests(own, named)))


def _was_accepted_before(response: RegistryResponse, manifest: PublishedManifest) -> bool:
    """A repeated submission is refused because its SubmissionSet is known: then the first attempt did take effect."""
    return any(
        error.code is ErrorCode.DUPLICATE_UNIQUE_ID_IN_REGISTRY and manifest.submission_unique_id in error.context
        for error in response.errors
    )
