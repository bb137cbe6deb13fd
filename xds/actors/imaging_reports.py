"""Reports that come in messages become documents: each version replaces the one before, a cancelled one is withdrawn.

Spec: RAD TF-2 4.68.4.1.2.3.2 (metadata), 4.128; ITI TF-3 4.2.2.2.3 (RPLC).
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Final

import structlog

from xds.actors import imaging_audit
from xds.actors.imaging_metadata import PublicationDefaults, event_codes, numbered_reference, study_reference, typed
from xds.actors.imaging_patients import SourcePatients
from xds.actors.imaging_publication import Partners
from xds.actors.imaging_registrations import withdrawal_of
from xds.actors.imaging_triggers import PUBLISH_STUDY
from xds.actors.provided_document import ProvidedDocument
from xds.model.audit import EventOutcome
from xds.model.caller import Caller
from xds.model.domain_identity import DomainIdentity
from xds.model.drafts import DocumentFacts, association, document_entry, identified, submission_set
from xds.model.errors import ErrorCode, RegistryResponse
from xds.model.identifiers import PatientIdentifier, escape_hl7, is_oid, new_oid, new_uuid_urn, to_dtm
from xds.model.imaging import OrderNumber, Study, StudyPatient
from xds.model.imaging_manifest import requests_of
from xds.model.imaging_report import ImagingReport, ReportFacts, ReportFormat, ReportState, StoredReport
from xds.model.metadata import Author, Code, Submission
from xds.model.vocabulary import IHE_FORMAT_CODES, LONGEST_TITLE, AssociationType, ReferenceIdType
from xds.ports import BlobStore, Clock
from xds.store import audit, imaging, imaging_orders, imaging_reports, jobs
from xds.store.database import Database
from xds.wire.cda_report import write_wrapped_text

#: The kind of job that publishes a report; its key is the report id.
PUBLISH_REPORT: Final = "publish-report"

_MOST_WAITING: Final = 1000
_DONE: Final = frozenset({ReportState.PUBLISHED, ReportState.WITHDRAWN})
_UNDECIDED: Final = frozenset({ErrorCode.REGISTRY_NOT_AVAILABLE, ErrorCode.REGISTRY_BUSY, ErrorCode.REPOSITORY_BUSY})

_log = structlog.get_logger()


class ReportPublisher:
    """A part of the Imaging Document Source. One object serves all threads."""

    def __init__(
        self,
        database: Database,
        blobs: BlobStore,
        identity: DomainIdentity,
        patients: SourcePatients,
        partners: Partners,
        clock: Clock,
        defaults: PublicationDefaults,
    ) -> None:
        self._database = database
        self._blobs = blobs
        self._identity = identity
        self._patients = patients
        self._partners = partners
        self._clock = clock
        self._defaults = defaults

    # ---- in

    def receive(self, report: ImagingReport, message_id: str, caller: Caller) -> None:
        """Keep a report; durable when this returns. The same message again changes nothing, nor does the same report.

        `message_id` is unique among the messages of its sender. What is preliminary is not kept. The study's manifest is looked
        at, too: whoever reads the report wants the images. Errors: OSError when the disk is full.
        """
        now = self._clock()
        facts = report.facts
        document: tuple[str, int] | None = None
        if report.content and not report.is_preliminary:
            staging = self._blobs.stage()
            try:
                staging.write(report.content)
                size = staging.size
                document = (staging.commit(), size)
            finally:
                staging.discard()
        known = f"{message_id}|{hashlib.sha256(report.content).hexdigest()}"
        event = imaging_audit.report_received(
            self._identity, caller, now, facts.patient_ids[0].to_cx() if facts.patient_ids else ""
        )

        def work(connection: Any) -> None:
            audit.append(connection, event)
            if report.is_preliminary:
                return
            ids = (new_oid(), new_uuid_urn(), new_oid())
            report_id = imaging_reports.add(connection, facts, known, document, ids, now)
            if report_id is None:
                return
            jobs.add(connection, PUBLISH_REPORT, report_id, {}, now)
            for uid in imaging_orders.studies(connection, facts.order):
                jobs.add(connection, PUBLISH_STUDY, uid, {"reason": "report"}, now)

        self._database.write(work)

    # ---- out

    def resume(self) -> None:
        """Try again at once to publish the reports whose patient was not known."""
        now = self._clock()
        with self._database.read() as connection:
            waiting = imaging_reports.in_state(connection, ReportState.UNRESOLVED, _MOST_WAITING)
        ids = sorted({item.report_id for item in waiting})

        def work(connection: Any) -> None:
            for each in ids:
                jobs.add(connection, PUBLISH_REPORT, each, {}, now)

        if ids:
            self._database.write(work)

    def waiting(self, limit: int = 100) -> tuple[StoredReport, ...]:
        """Reports that could not be published yet, for operators."""
        with self._database.read() as connection:
            return imaging_reports.in_state(connection, ReportState.UNRESOLVED, limit)

    def publish(self, report_id: str, caller: Caller) -> str | None:
        """Publish every version that is not yet, the oldest first: None when all are, else why not, free of patient data."""
        with self._database.read() as connection:
            versions = imaging_reports.versions(connection, report_id)
        former: StoredReport | None = None
        for version in versions:
            if version.state not in _DONE:
                problem = self._publish(version, former, caller)
                if problem:
                    return problem
            former = version if version.blob is not None else None
        return None

    def _publish(self, version: StoredReport, former: StoredReport | None, caller: Caller) -> str | None:
        try:
            if version.facts.is_cancelled or version.blob is None:
                return self._withdraw(version, former, caller)
            found = self._patient(version.facts)
            if found is None:
                self._note(version, ReportState.UNRESOLVED, "no patient is linked to the identifiers of the report")
                return "the patient is not known"
            return self._submit(version, former, found, caller)
        except (ConnectionError, TimeoutError) as problem:
            _log.warning("imaging.repository_unreachable", error=type(problem).__name__)
            return "the Document Repository did not answer"

    def _patient(self, facts: ReportFacts) -> tuple[PatientIdentifier, PatientIdentifier] | None:
        """The patient as the report names her, and in the affinity domain."""
        for identifier in facts.patient_ids:
            authority = identifier.authority
            patient = StudyPatient(
                identifier.value, authority.oid, authority.namespace, facts.patient_name, facts.birth_date, facts.sex
            )
            study = Study(facts.order.study_instance_uid, patient, ())
            found, source = self._patients.affinity(study), self._patients.source(study)
            if found is not None and source is not None:
                return source, found
        return None

    def _submit(
        self,
        version: StoredReport,
        former: StoredReport | None,
        patients: tuple[PatientIdentifier, PatientIdentifier],
        caller: Caller,
    ) -> str | None:
        source, patient = patients
        staging = self._blobs.stage()
        try:
            facts = self._described(version, source, patient)
            for chunk in self._content(version, facts, patient):
                staging.write(chunk)
            submission = self._submission(version, facts, self._replaced(former))
            response = self._partners.provide(
                submission, {version.entry_uuid: ProvidedDocument(staging, facts.mime_type)}, caller
            )
        finally:
            staging.discard()
        accepted = response.succeeded or _was_accepted_before(response, version)
        if not accepted and any(error.code in _UNDECIDED for error in response.errors):
            return "the Document Repository is busy or its registry is not available"
        outcome = EventOutcome.SUCCESS if accepted else EventOutcome.SERIOUS_FAILURE
        event = imaging_audit.manifest_provided(
            self._identity, caller, self._clock(), patient.to_cx(), version.submission_unique_id, outcome
        )
        codes = ", ".join(sorted({error.code.value for error in response.errors}))
        reason = None if accepted else "; ".join(f"{error.code.value}: {error.context}" for error in response.errors)[:2000]
        state = ReportState.PUBLISHED if accepted else ReportState.UNRESOLVED

        def work(connection: Any) -> None:
            audit.append(connection, event)
            imaging_reports.set_state(
                connection, version.report_key, state, reason=reason, patient_id=patient.to_cx() if accepted else None
            )

        self._database.write(work)
        return None if accepted else codes

    def _replaced(self, former: StoredReport | None) -> str | None:
        found = self._partners.registry.registered(former.unique_id, former.entry_uuid) if former else None
        return found.entry_uuid if found and found.is_approved else None

    def _withdraw(self, version: StoredReport, former: StoredReport | None, caller: Caller) -> str | None:
        found = self._partners.registry.registered(former.unique_id, former.entry_uuid) if former else None
        if former is not None and found is not None and found.is_approved:
            named = replace(found, patient_id=found.patient_id or former.patient_id or "")
            request = withdrawal_of(
                named, self._identity.imaging_source_unique_id, self._defaults.report_type_code, self._clock()
            )
            response = self._partners.registry.withdraw(found, former.unique_id, request, caller)
            if not response.succeeded:
                return ", ".join(sorted({error.code.value for error in response.errors}))
        self._note(version, ReportState.WITHDRAWN, None)
        return None

    def _note(self, version: StoredReport, state: ReportState, reason: str | None) -> None:
        self._database.write(lambda connection: imaging_reports.set_state(connection, version.report_key, state, reason=reason))

    # ---- what is submitted

    def _described(self, version: StoredReport, source: PatientIdentifier, patient: PatientIdentifier) -> DocumentFacts:
        facts, defaults = version.facts, self._defaults
        code = facts.type_code if facts.type_code and is_oid(facts.type_code.scheme) else defaults.report_type_code
        study = self._study(facts)
        created = to_dtm(datetime.fromtimestamp(version.created / 1000, UTC))
        institution = defaults.institution or escape_hl7(
            study.institution if study and study.institution else defaults.author_institution
        )
        return DocumentFacts(
            id="Document",
            unique_id=version.unique_id,
            patient_id=typed(patient.to_cx(), defaults.patient_id_type),
            source_patient_id=typed(source.to_cx(), defaults.source_patient_id_type),
            mime_type="application/pdf" if facts.format is ReportFormat.PDF else "text/xml",
            title=(facts.title or code.display or defaults.report_title)[:LONGEST_TITLE],
            creation_time=facts.created or created,
            class_code=defaults.report_class_code,
            type_code=code,
            format_code=Code(facts.format.value, IHE_FORMAT_CODES, _FORMAT_NAMES[facts.format]),
            facility_type=defaults.facility_type,
            practice_setting=defaults.practice_setting,
            confidentiality=facts.confidentiality or defaults.confidentiality,
            language=facts.language or defaults.language,
            author=Author(facts.person or None, (institution,), (), (), ()),
            event_codes=event_codes(study, defaults) if study else (),
            service_start_time=facts.service_start or None,
            source_patient_info=_patient_info(facts, source),
            reference_ids=_reference_ids(facts, study, source.authority.oid),
        )

    def _study(self, facts: ReportFacts) -> Study | None:
        """The study of the report with the orders of its patient, when its images are here."""
        with self._database.read() as connection:
            for uid in imaging_orders.studies(connection, facts.order):
                stored = imaging.find(connection, uid)
                if stored is not None:
                    study = stored.study
                    orders = imaging_orders.of_study(connection, uid, study.accession_number, study.accession_issuer_oid)
                    return replace(study, orders=tuple(each for each in orders if each.patient in facts.patient_ids))
        return None

    def _content(self, version: StoredReport, facts: DocumentFacts, patient: PatientIdentifier) -> Sequence[bytes]:
        chunks = list(self._blobs.open(version.blob or ""))
        if version.facts.format is not ReportFormat.TEXT:
            return chunks
        wrapped = write_wrapped_text(
            b"".join(chunks).decode(),
            unique_id=version.unique_id,
            title=facts.title,
            code=facts.type_code,
            patient=patient,
            created=facts.creation_time,
            confidentiality=facts.confidentiality[0],
            language=facts.language,
            custodian=self._identity.repository_unique_id,
        )
        return [wrapped]

    def _submission(self, version: StoredReport, facts: DocumentFacts, replaces: str | None) -> Submission:
        entry = identified(document_entry(facts), version.entry_uuid)
        package = submission_set(
            symbolic_id="SubmissionSet",
            unique_id=version.submission_unique_id,
            source_id=self._identity.imaging_source_unique_id,
            patient_id=facts.patient_id,
            submission_time=to_dtm(datetime.fromtimestamp(version.created / 1000, UTC)),
            content_type=facts.type_code,
            author=facts.author,
            title=facts.title,
        )
        member = association(AssociationType.HAS_MEMBER, package.id, entry.id, original=True)
        links = [replace(member, id="Member")]
        if replaces is not None:
            links.append(replace(association(AssociationType.RPLC, entry.id, replaces), id="Replacement"))
        return Submission.of(package, entry, *links)


_FORMAT_NAMES: Final = {
    ReportFormat.PDF: "PDF",
    ReportFormat.TEXT: "CDA Wrapped Text Report",
    ReportFormat.CDA: "CDA Imaging Report with Structured Headings",
    ReportFormat.CDA_PDF: "Scanned document (PDF)",
    ReportFormat.CDA_TEXT: "Scanned document (text)",
}


def _was_accepted_before(response: RegistryResponse, version: StoredReport) -> bool:
    return any(
        error.code is ErrorCode.DUPLICATE_UNIQUE_ID_IN_REGISTRY and version.submission_unique_id in error.context
        for error in response.errors
    )


def _patient_info(facts: ReportFacts, source: PatientIdentifier) -> tuple[str, ...]:
    lines = [f"PID-3|{source.to_cx()}"]
    lines += [f"PID-5|{'^'.join(escape_hl7(part) for part in facts.patient_name.split('^'))}"] if facts.patient_name else []
    lines += [f"PID-7|{facts.birth_date}"] if facts.birth_date.isdigit() else []
    lines += [f"PID-8|{facts.sex}"] if facts.sex in ("F", "M", "O", "U", "A", "N") else []
    return tuple(lines)


def _reference_ids(facts: ReportFacts, study: Study | None, authority_oid: str | None) -> tuple[str, ...]:
    order = facts.order
    found = []
    number = order.accession.value or (study.accession_number if study else "")
    # What orders said of the same procedure stands in the manifest too: whoever asks by it finds both.
    same = [each for each in requests_of(study) if each.accession.value == number] if study and number else []
    known = next((each.accession.issuer_oid for each in same if each.accession.issuer_oid), None)
    oid = order.accession.issuer_oid or known or (study.accession_issuer_oid if study else None) or authority_oid
    if number and oid:
        found.append(numbered_reference(OrderNumber(number), oid, ReferenceIdType.ACCESSION))
    for placer in [order.placer] if order.placer else dict.fromkeys(each.placer for each in same):
        issuer = placer.issuer_oid or next((each.placer.issuer_oid for each in same if each.placer.value == placer.value), None)
        if placer and issuer:
            found.append(numbered_reference(placer, issuer, ReferenceIdType.ORDER))
    uid = order.study_instance_uid or (study.study_instance_uid if study else "")
    if uid:
        found.append(study_reference(uid))
    return tuple(found)
