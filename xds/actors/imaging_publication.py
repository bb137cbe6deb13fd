"""How a study is announced: its patient is resolved, its manifest written, and both given to a Document Repository.

Spec: RAD TF-2 4.68 (Provide and Register Imaging Document Set - MTOM/XOP).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import tzinfo
from typing import Any, Protocol

import structlog

from xds.actors import imaging_audit
from xds.actors.document_repository import ProvidedDocument
from xds.actors.imaging_metadata import MIME_TYPE, PublicationDefaults, submission_of
from xds.model.audit import EventOutcome
from xds.model.caller import Caller
from xds.model.domain_identity import DomainIdentity
from xds.model.errors import ErrorCode, RegistryResponse
from xds.model.identifiers import AssigningAuthority, PatientIdentifier, new_oid, new_uuid_urn
from xds.model.imaging import PublishedManifest, StoredStudy, Study, StudyPatient, StudyState
from xds.model.metadata import Submission
from xds.model.patient import Demographics, PersonName
from xds.ports import BlobStore, Clock
from xds.store import audit, imaging
from xds.store.database import Database
from xds.wire import kos

Provide = Callable[[Submission, Mapping[str, ProvidedDocument], Caller], RegistryResponse]

#: The entryUUID of the newest version of a DocumentEntry, by the uniqueId of its document and its logicalID; None when there is
#: none that is Approved. Errors: ConnectionError, TimeoutError when the registry does not tell.
CurrentEntry = Callable[[str, str], str | None]

#: Answers of a repository after which nobody knows whether the submission took effect: it is repeated as it is.
_UNDECIDED = frozenset({ErrorCode.REGISTRY_NOT_AVAILABLE, ErrorCode.REGISTRY_BUSY, ErrorCode.REPOSITORY_BUSY})

_log = structlog.get_logger()


class AffinityIdentifiers(Protocol):
    """What is needed of the PIX Manager."""

    def affinity_identifier(self, identifier: PatientIdentifier) -> PatientIdentifier | None:
        """The identifier of the affinity domain that is linked to a local one."""

    def authority(self, namespace: str) -> AssigningAuthority | None:
        """The assigning authority of that namespace, as configuration and feeds told of it."""

    def issuer_of(self, value: str, demographics: Demographics) -> AssigningAuthority | None:
        """Who issued a bare identifier, when the demographics beside it leave no doubt."""


class SourcePatients:
    """Whose study it is: as the images say, and in the affinity domain."""

    def __init__(
        self,
        pix: AffinityIdentifiers,
        domain: AssigningAuthority,
        authorities: Mapping[str, AssigningAuthority],
        default_authority: AssigningAuthority | None,
    ) -> None:
        """`domain` is the affinity domain's authority; the others as `ImagingDocumentSource` takes them."""
        self._pix = pix
        self._domain = domain
        self._authorities = authorities
        self._default_authority = default_authority

    def source(self, study: Study) -> PatientIdentifier | None:
        """The patient as the images name her, under the issuer that they state or that their sender is configured to have."""
        if not study.patient.patient_id:
            return None
        patient = self.with_issuer(study)
        return PatientIdentifier(patient.patient_id, AssigningAuthority(patient.issuer_namespace, patient.issuer_oid))

    def source_cx(self, study: Study) -> str:
        """The same as CX; empty when the images name nobody."""
        identifier = self.source(study)
        return identifier.to_cx() if identifier else ""

    def with_issuer(self, study: Study) -> StudyPatient:
        """The patient of the images with an issuer.

        The number of one authority must never be taken for that of another: images that name a namespace have its issuer, or
        none when nobody knows it. The sender's configured authority counts unless it is known under another namespace.
        Without either, the demographics beside the number must leave no doubt whose it is.
        """
        patient = study.patient
        if patient.issuer_oid:
            return patient
        namespace = patient.issuer_namespace
        configured = self._authorities.get(study.source)
        if configured is not None and configured.namespace in (None, namespace or configured.namespace):
            authority = configured
        elif namespace:
            known = (*self._authorities.values(), self._default_authority, self._domain)
            named = next((item for item in known if item and item.namespace == namespace), None)
            authority = named or self._pix.authority(namespace) or AssigningAuthority(namespace)
        else:
            stated = configured or self._default_authority
            authority = stated or self._pix.issuer_of(patient.patient_id, _demographics(patient)) or AssigningAuthority()
        return replace(patient, issuer_oid=authority.oid, issuer_namespace=namespace or authority.namespace)

    def affinity(self, study: Study) -> PatientIdentifier | None:
        """The patient's identifier in the affinity domain; None when nobody has linked one."""
        identifier = self.source(study)
        if identifier is None:
            return None
        found = self._pix.affinity_identifier(identifier)
        if found is None and identifier.authority.oid == self._domain.oid:
            # Images with the affinity domain's own identifier need no cross-reference; the registry knows whether it exists.
            return identifier
        return found


def _demographics(patient: StudyPatient) -> Demographics:
    """What images state about their patient. The alphabetic group of the name counts (PS3.5 6.2.1)."""
    parts = [*patient.name.partition("=")[0].split("^"), "", ""]
    return Demographics((PersonName(parts[0].strip(), parts[1].strip()),), patient.birth_date or None, patient.sex or None)


class StudyPublisher:
    """Announces studies. One object serves all threads."""

    def __init__(
        self,
        database: Database,
        blobs: BlobStore,
        identity: DomainIdentity,
        patients: SourcePatients,
        provide: Provide,
        clock: Clock,
        defaults: PublicationDefaults,
        zone: tzinfo,
        current_entry: CurrentEntry,
    ) -> None:
        self._database = database
        self._blobs = blobs
        self._identity = identity
        self._patients = patients
        self._provide = provide
        self._clock = clock
        self._defaults = defaults
        self._zone = zone
        self._current_entry = current_entry

    def publish(self, study_instance_uid: str, caller: Caller) -> str | None:
        """Announce a study as it is now: None when its manifest is in force, else why not, in words free of patient data.

        What was tried stays on record before it is tried, so that a crash at any point leads to the same submission once more and
        never to a second manifest. A study that was announced before and has changed gets a manifest that replaces the former.

        Spec: RAD TF-2 4.68.4.1.
        """
        stored = self._find(study_instance_uid)
        if stored is not None and stored.prepared is not None:
            problem = self._submit(stored, stored.prepared, caller)
            if problem:
                return problem
            stored = self._find(study_instance_uid)
        if stored is None or (stored.published is not None and stored.published.revision == stored.revision):
            return None
        if not stored.study.series:
            return self._unresolved(stored, "no instance is left to be shared", "every instance of the study was rejected")
        patient = self._patients.affinity(stored.study)
        if patient is None:
            identifier = self._patients.source(stored.study)
            detail = "the images name no patient"
            if identifier is not None:
                detail = f"no patient is linked to {identifier.value}^^^{identifier.authority}"
            return self._unresolved(stored, "the patient is not known", detail)
        return self._submit(stored, self._prepare(stored, patient), caller)

    def _prepare(self, stored: StoredStudy, patient: PatientIdentifier) -> PublishedManifest:
        uids = kos.ManifestIdentifiers(new_oid(), new_oid())
        now = self._clock().replace(microsecond=0)
        url = f"{self._identity.public_url}/dicomweb" if self._identity.public_url else None
        retrieve = kos.RetrieveInformation(self._identity.ae_title, self._identity.imaging_source_unique_id, url)
        named = replace(stored.study, patient=self._patients.with_issuer(stored.study))
        staging = self._blobs.stage()
        staging.write(kos.write_manifest(named, uids, retrieve, now, self._zone))
        manifest = PublishedManifest(
            revision=stored.revision,
            unique_id=uids.sop_instance_uid,
            entry_uuid=new_uuid_urn(),
            submission_unique_id=new_oid(),
            blob=staging.commit(),
            created=now,
            patient_id=patient.to_cx(),
        )

        def work(connection: Any) -> None:
            uid = stored.study.study_instance_uid
            imaging.prepare_manifest(connection, uid, manifest)
            imaging.set_state(connection, uid, stored.revision, StudyState.SETTLED)

        self._database.write(work)
        return manifest

    def _submit(self, stored: StoredStudy, manifest: PublishedManifest, caller: Caller) -> str | None:
        uid = stored.study.study_instance_uid
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
                self._replaced(stored),
                source_patient=source_patient,
                source_id=self._identity.imaging_source_unique_id,
                defaults=self._defaults,
                zone=self._zone,
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
        outcome = EventOutcome.SUCCESS if accepted else EventOutcome.SERIOUS_FAILURE
        event = imaging_audit.manifest_provided(
            self._identity, caller, self._clock(), manifest.patient_id, manifest.submission_unique_id, outcome
        )

        def work(connection: Any) -> None:
            audit.append(connection, event)
            if accepted:
                imaging.publish_manifest(connection, uid, manifest.revision)
            else:
                imaging.drop_manifest(connection, uid, manifest.revision)

        self._database.write(work)
        if accepted:
            return None
        details = "; ".join(f"{error.code.value}: {error.context}" for error in response.errors)
        return self._unresolved(stored, ", ".join(sorted({error.code.value for error in response.errors})), details)

    def _replaced(self, stored: StoredStudy) -> str | None:
        """What the new manifest replaces: metadata may have got new versions since, by an update or a change of patient."""
        former = stored.published
        return None if former is None else self._current_entry(former.unique_id, former.entry_uuid)

    def _unresolved(self, stored: StoredStudy, problem: str, detail: str) -> str:
        """Note on the study, for its operators, why it is not published; what is returned for logs says less."""
        uid, revision = stored.study.study_instance_uid, stored.revision
        self._database.write(
            lambda connection: imaging.set_state(connection, uid, revision, StudyState.UNRESOLVED, detail[:2000])
        )
        return problem

    def _find(self, study_instance_uid: str) -> StoredStudy | None:
        with self._database.read() as connection:
            return imaging.find(connection, study_instance_uid)


def _was_accepted_before(response: RegistryResponse, manifest: PublishedManifest) -> bool:
    """A repeated submission is refused because its SubmissionSet is known: then the first attempt did take effect."""
    return any(
        error.code is ErrorCode.DUPLICATE_UNIQUE_ID_IN_REGISTRY and manifest.submission_unique_id in error.context
        for error in response.errors
    )
