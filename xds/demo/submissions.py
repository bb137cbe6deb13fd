"""Reports and letters of the demo region with their metadata, ready for ITI-41."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from xds.demo.content import LetterPlan, StudyPlan
from xds.demo.documents import cda, pdf
from xds.demo.region import Establishment, Registration, registration, uid_of
from xds.model import drafts
from xds.model.identifiers import escape_hl7
from xds.model.metadata import Author, Code, RegistryObject, Submission
from xds.model.vocabulary import CONFIDENTIALITY, IHE_FORMAT_CODES, LOINC, AssociationType, ReferenceIdType
from xds.transactions.iti41_provide_and_register_document_set import DocumentToSend

_CLASSES = "1.3.6.1.4.1.19376.1.2.6.1"
_REPORT = Code("18748-4", LOINC, "Diagnostic imaging study")
_PDF = Code("urn:ihe:rad:PDF", IHE_FORMAT_CODES, "PDF")
_CDA = Code("urn:ihe:iti:xds:2017:mimeTypeSufficient", IHE_FORMAT_CODES, "mimeType Sufficient")
_RADIOLOGY = Code("RAD", "2.999.102", "Radiology")
_GENERAL = Code("GEN", "2.999.102", "General medicine")
_NORMAL = Code("N", CONFIDENTIALITY, "normal")
_RESTRICTED = Code("R", CONFIDENTIALITY, "restricted")
_FOLLOW_UP = Code("FOLLOW-UP", "2.999.103", "Follow-up")
_DOCUMENT, _SUBMISSION, _FOLDER = "document", "submission", "folder"

#: The study whose report opens a folder, and the one whose report is corrected later.
FOLDER_STUDY = "2601"
REVISED_STUDY = "2602"
REVISED_REPORT = uid_of(f"revised report {REVISED_STUDY}")


@dataclass(frozen=True, slots=True)
class Prepared:
    """One submission with its one document."""

    unique_id: str
    submission: Submission
    document: DocumentToSend


def report(plan: StudyPlan, patient_id: str) -> Prepared:
    """The PDF report of a study; that of one study opens a folder."""
    folder: tuple[RegistryObject, ...] = ()
    if plan.key == FOLDER_STUDY:
        folder = _folder(patient_id)
    return _report(plan, patient_id, uid_of(f"report {plan.key}"), plan.report, folder)


def revised_report(plan: StudyPlan, patient_id: str, replaced: str) -> Prepared:
    """The corrected report of a study, in the place of the one with that entryUUID."""
    text = f"{plan.report} Correction: the other side was examined."
    replacement = drafts.association(AssociationType.RPLC, _DOCUMENT, replaced)
    return _report(plan, patient_id, REVISED_REPORT, text, (replacement,))


def letter(plan: LetterPlan, patient_id: str) -> Prepared:
    """A clinical document in CDA R2."""
    patient = registration(plan.patient, plan.establishment)
    unique_id = uid_of(f"letter {plan.key}")
    content = cda(
        unique_id=unique_id,
        title=plan.title,
        kind=plan.type_code,
        moment=plan.moment,
        patient=patient,
        paragraphs=plan.paragraphs,
    )
    facts = drafts.DocumentFacts(
        id=_DOCUMENT,
        unique_id=unique_id,
        patient_id=patient_id,
        source_patient_id=patient.identifier.to_cx(),
        mime_type="text/xml",
        title=plan.title,
        creation_time=plan.moment,
        class_code=Code("NOTES", _CLASSES, "Notes"),
        type_code=plan.type_code,
        format_code=_CDA,
        facility_type=patient.establishment.facility_type,
        practice_setting=_GENERAL,
        confidentiality=(_NORMAL,),
        language="en-GB",
        author=_author(patient.establishment),
        service_start_time=plan.moment,
        source_patient_info=_patient_info(patient),
    )
    return _prepared(facts, content, patient.establishment, ())


def _report(plan: StudyPlan, patient_id: str, unique_id: str, text: str, beside: Sequence[RegistryObject]) -> Prepared:
    patient = registration(plan.patient, plan.establishment)
    place = patient.establishment
    facts = drafts.DocumentFacts(
        id=_DOCUMENT,
        unique_id=unique_id,
        patient_id=patient_id,
        source_patient_id=patient.identifier.to_cx(),
        mime_type="application/pdf",
        title=f"Report: {plan.description}",
        creation_time=plan.moment,
        class_code=Code("REPORTS", _CLASSES, "Reports"),
        type_code=_REPORT,
        format_code=_PDF,
        facility_type=place.facility_type,
        practice_setting=_RADIOLOGY,
        confidentiality=(_RESTRICTED if plan.key == REVISED_STUDY else _NORMAL,),
        language="en-GB",
        author=_author(place),
        event_codes=(plan.procedure,),
        service_start_time=plan.moment,
        service_stop_time=plan.moment,
        source_patient_info=_patient_info(patient),
        reference_ids=(
            f"{plan.accession_number}^^^&{place.oid}&ISO^{ReferenceIdType.ACCESSION.value}",
            f"{plan.study_instance_uid}^^^^{ReferenceIdType.STUDY_INSTANCE_UID.value}",
        ),
    )
    lines = [
        f"{place.name}, {plan.moment[6:8]}.{plan.moment[4:6]}.{plan.moment[:4]}",
        f"Patient: {patient.name.family} {patient.name.given}, {patient.identifier.value}",
        f"Examination: {plan.description} ({plan.accession_number})",
        text,
        "Dr Claire Duval",
    ]
    return _prepared(facts, pdf(facts.title, lines), place, beside)


def _prepared(facts: drafts.DocumentFacts, content: bytes, place: Establishment, beside: Sequence[RegistryObject]) -> Prepared:
    submission = drafts.submission_set(
        symbolic_id=_SUBMISSION,
        unique_id=uid_of(f"submission of {facts.unique_id}"),
        source_id=f"{place.oid}.1",
        patient_id=facts.patient_id,
        submission_time=facts.creation_time,
        content_type=facts.type_code,
        author=facts.author,
        title=facts.title,
    )
    member = drafts.association(AssociationType.HAS_MEMBER, _SUBMISSION, _DOCUMENT, original=True)
    whole = Submission.of(submission, drafts.document_entry(facts), member, *beside)
    return Prepared(facts.unique_id, whole, DocumentToSend(_DOCUMENT, facts.mime_type, len(content), lambda: iter([content])))


def _folder(patient_id: str) -> tuple[RegistryObject, ...]:
    """A folder with the document in it, both in the submission set. Spec: ITI TF-3 4.2.1.2."""
    folder = drafts.folder(
        symbolic_id=_FOLDER,
        unique_id=uid_of("folder of person 1"),
        patient_id=patient_id,
        title="Follow-up of a pulmonary nodule",
        codes=(_FOLLOW_UP,),
    )
    inside = drafts.association(AssociationType.HAS_MEMBER, _FOLDER, _DOCUMENT)
    return (
        folder,
        inside,
        drafts.association(AssociationType.HAS_MEMBER, _SUBMISSION, _FOLDER),
        drafts.association(AssociationType.HAS_MEMBER, _SUBMISSION, inside.id),
    )


def _author(place: Establishment) -> Author:
    return Author(f"DUVAL1^Duval^Claire^^^Dr^^^&{place.oid}&ISO", (f"{escape_hl7(place.name)}^^^^^^^^^{place.oid}",), (), (), ())


def _patient_info(patient: Registration) -> tuple[str, ...]:
    return (
        f"PID-3|{patient.identifier.to_cx()}",
        f"PID-5|{escape_hl7(patient.name.family)}^{escape_hl7(patient.name.given)}",
        f"PID-7|{patient.demographics.birth_date}",
        f"PID-8|{patient.demographics.sex}",
    )
