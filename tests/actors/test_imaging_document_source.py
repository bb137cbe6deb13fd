"""Images in, publication, images out. Spec: RAD TF-2 4.8, 4.68, 4.69."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import pydicom
import pytest

from tests.archive import CONSUMER, IDENTITY, MODALITY, Archive, image, open_archive, packaged
from xds.actors.document_registry import DocumentRegistry
from xds.actors.document_repository import DocumentRepository
from xds.actors.imaging_document_source import ImagingDocumentSource
from xds.actors.imaging_triggers import PUBLISH_STUDY
from xds.actors.pix_manager import PixManager
from xds.actors.provided_document import ProvidedDocument
from xds.model.caller import SYSTEM
from xds.model.errors import ErrorCode, RegistryError, Status
from xds.model.identifiers import AssigningAuthority, PatientIdentifier
from xds.model.imaging import Addition, StudyState
from xds.model.metadata import Code, DocumentEntry
from xds.model.retrieval import DocumentRequest, ImagingDocumentRequest
from xds.model.vocabulary import AssociationType
from xds.server.worker import Worker
from xds.store import affinity_patients, audit, jobs
from xds.wire.dicom import EXPLICIT_LITTLE, IMPLICIT_LITTLE
from xds.wire.kos import read_manifest

STUDY = "1.3.6.1.4.1.5962.1.2.1.20040119072730.12322"
SERIES = "1.3.6.1.4.1.5962.1.3.1.1.20040119072730.12322"
CT = "1.3.6.1.4.1.5962.1.1.1.1.1.20040119072730.12322"
AFFINITY_CX = "P1^^^&1.2.3.100&ISO"


@pytest.fixture
def archive(tmp_path: Path) -> Iterator[Archive]:
    with open_archive(tmp_path) as opened:
        opened.patients.links[("1.2.3.500", "1CT1")] = "P1"
        yield opened


def state(archive: Archive, study: str = STUDY) -> StudyState:
    stored = archive.source.study(study)
    assert stored is not None
    return stored.state


def jobs_due(archive: Archive) -> list[str]:
    claimed: Any = archive.database.write(lambda connection: jobs.claim(connection, archive.clock(), 100))
    return [job.key for job in claimed]


def entry(archive: Archive, number: int = -1) -> DocumentEntry:
    return archive.repository.submissions[number].document_entries[0]


# ---- in


def test_what_is_stored_is_there_with_its_job_and_its_audit(archive: Archive) -> None:
    octets = packaged("CT_small.dcm")
    assert archive.store(octets) is Addition.NEW
    stored = archive.source.study(STUDY)
    assert stored is not None
    instance = stored.study.series[0].instances[0]
    assert b"".join(archive.blobs.open(instance.blob)) == octets
    assert (instance.size, stored.state, stored.study.source) == (len(octets), StudyState.RECEIVED, "CT_ROOM_1")
    assert jobs_due(archive) == []
    archive.clock.advance(seconds=61)
    assert jobs_due(archive) == [STUDY]
    with archive.database.read() as connection:
        ((_, event),) = audit.find(connection)
    assert (event.event_id.code, event.action, event.outcome) == ("110104", "C", "0")


def test_each_instance_puts_off_the_publication(archive: Archive) -> None:
    archive.store(packaged("CT_small.dcm"))
    archive.clock.advance(seconds=50)
    archive.store(image(SOPInstanceUID="1.2.3.1"))
    archive.clock.advance(seconds=50)
    archive.store(image(SOPInstanceUID="1.2.3.2"))
    archive.clock.advance(seconds=59)
    assert jobs_due(archive) == []
    archive.clock.advance(seconds=2)
    assert jobs_due(archive) == [STUDY]


def test_the_same_file_again_changes_nothing(archive: Archive) -> None:
    archive.store(packaged("CT_small.dcm"))
    archive.source.publish(STUDY)
    assert archive.store(packaged("CT_small.dcm")) is Addition.IDENTICAL
    assert state(archive) is StudyState.PUBLISHED


def test_other_content_under_the_same_uid_takes_its_place(archive: Archive) -> None:
    archive.store(packaged("CT_small.dcm"))
    archive.source.publish(STUDY)
    assert archive.store(image(SeriesDescription="corrected")) is Addition.REPLACED
    assert state(archive) is StudyState.RECEIVED
    stored = archive.source.study(STUDY)
    assert stored is not None
    assert stored.study.instance_count == 1
    assert stored.study.series[0].description == "corrected"


def test_an_image_of_another_patient_does_not_enter_the_study(archive: Archive) -> None:
    archive.store(packaged("CT_small.dcm"))
    assert archive.store(image(SOPInstanceUID="1.2.3.1", PatientID="OTHER")) is Addition.CONFLICT
    stored = archive.source.study(STUDY)
    assert stored is not None
    assert stored.study.instance_count == 1


def test_blobs_in_use_are_named_for_the_sweep(archive: Archive) -> None:
    archive.store(packaged("CT_small.dcm"))
    archive.source.publish(STUDY)
    loose = archive.blobs.stage()
    loose.write(b"nobody needs this")
    keys = [*archive.blobs.keys(), loose.commit()]
    assert archive.source.referenced(keys) == frozenset(keys[:-1])
    assert len(keys) == 3


# ---- publication


def test_the_manifest_and_its_metadata(archive: Archive) -> None:
    """Spec: RAD TF-2 Table 4.68.4.1.2.3-1."""

    def qualify(dataset: Any) -> None:
        code = pydicom.Dataset()
        code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = "RPID13", "RADLEX", "CT Abdomen"
        dataset.ProcedureCodeSequence = [code]

    archive.store(image(qualify, AccessionNumber="A1", BodyPartExamined="ABDOMEN", PatientName="Doe^Jane^M^Dr^Jr"))
    archive.clock.advance(minutes=5)
    assert archive.source.publish(STUDY) is None
    document = entry(archive)
    manifest = read_manifest([archive.repository.documents[0]])
    assert document.unique_id == manifest.sop_instance_uid
    assert document.mime_type == "application/dicom"
    assert document.patient_id == AFFINITY_CX
    assert document.source_patient_id == "1CT1^^^&1.2.3.500&ISO"
    assert document.format_code == Code("1.2.840.10008.5.1.4.1.1.88.59", "1.2.840.10008.2.6.1", "Key Object Selection Document")
    assert document.class_code == Code("IMAGES", "1.3.6.1.4.1.19376.1.2.6.1", "Images")
    assert document.type_code == Code("RPID13", "2.16.840.1.113883.6.256", "CT Abdomen")
    assert document.title == "CT Abdomen"
    assert document.event_codes == (
        Code("CT", "1.2.840.10008.2.16.4", "Computed Tomography"),
        Code("818981001", "2.16.840.1.113883.6.96", "Abdomen"),
    )
    assert document.creation_time == "20260301120500"
    assert document.service_start_time == "20040119122730"
    assert document.reference_ids == (
        "A1^^^&1.2.3.500&ISO^urn:ihe:iti:xds:2013:accession",
        f"{STUDY}^^^^urn:ihe:iti:xds:2016:studyInstanceUID",
    )
    assert document.slot("sourcePatientInfo") == ("PID-3|1CT1^^^&1.2.3.500&ISO", "PID-5|Doe^Jane^M^Jr^Dr", "PID-8|O")
    submission = archive.repository.submissions[0]
    assert submission.submission_set.source_id == "1.2.3.400"
    assert submission.submission_set.patient_id == AFFINITY_CX
    assert [item.association_type for item in submission.associations] == [AssociationType.HAS_MEMBER]
    assert state(archive) is StudyState.PUBLISHED


def test_a_study_of_a_patient_nobody_knows_waits(archive: Archive) -> None:
    archive.patients.links.clear()
    archive.store(packaged("CT_small.dcm"))
    problem = archive.source.publish(STUDY)
    assert problem == "the patient is not known"
    stored = archive.source.study(STUDY)
    assert stored is not None
    assert (stored.state, stored.reason) == (StudyState.UNRESOLVED, "no patient is linked to 1CT1^^^HOSP_A&1.2.3.500&ISO")
    assert archive.repository.submissions == []
    archive.patients.links[("1.2.3.500", "1CT1")] = "P1"
    assert archive.source.publish(STUDY) is None
    assert state(archive) is StudyState.PUBLISHED


def test_a_changed_study_replaces_its_manifest(archive: Archive) -> None:
    """Spec: RAD TF-2 4.68.4.1.2: RPLC."""
    archive.store(packaged("CT_small.dcm"))
    archive.source.publish(STUDY)
    archive.store(image(SOPInstanceUID="1.2.3.1"))
    assert archive.source.publish(STUDY) is None
    first, second = (submission.document_entries[0] for submission in archive.repository.submissions)
    (replacement,) = (
        item for item in archive.repository.submissions[1].associations if item.association_type == AssociationType.RPLC
    )
    assert (replacement.source, replacement.target) == (second.id, first.id)
    assert len(read_manifest([archive.repository.documents[1]]).references) == 2


def test_publishing_twice_submits_once(archive: Archive) -> None:
    archive.store(packaged("CT_small.dcm"))
    assert archive.source.publish(STUDY) is None
    assert archive.source.publish(STUDY) is None
    assert len(archive.repository.submissions) == 1


def test_a_lost_answer_leads_to_the_same_submission_again(archive: Archive) -> None:
    archive.store(packaged("CT_small.dcm"))
    archive.repository.answers = [ConnectionError("gone"), ()]
    assert archive.source.publish(STUDY) == "the Document Repository did not answer"
    assert state(archive) is StudyState.SETTLED
    assert archive.source.publish(STUDY) is None
    first, second = archive.repository.submissions
    assert first.document_entries == second.document_entries
    assert first.submission_set == second.submission_set
    assert archive.repository.documents[0] == archive.repository.documents[1]


def test_a_submission_that_had_taken_effect_is_recognised(archive: Archive) -> None:
    archive.store(packaged("CT_small.dcm"))
    archive.repository.answers = [ConnectionError("gone")]
    archive.source.publish(STUDY)
    known = archive.repository.submissions[0].submission_set.unique_id
    archive.repository.answers = [(RegistryError(ErrorCode.DUPLICATE_UNIQUE_ID_IN_REGISTRY, f"SubmissionSet: uniqueId {known}"),)]
    assert archive.source.publish(STUDY) is None
    assert state(archive) is StudyState.PUBLISHED


def test_a_study_that_grew_while_its_submission_was_open_is_replaced_and_not_doubled(archive: Archive) -> None:
    archive.store(packaged("CT_small.dcm"))
    archive.repository.answers = [ConnectionError("gone")]
    archive.source.publish(STUDY)
    archive.store(image(SOPInstanceUID="1.2.3.1"))
    assert archive.source.publish(STUDY) is None
    again, grown = archive.repository.submissions[1:]
    assert again.document_entries[0].unique_id == archive.repository.submissions[0].document_entries[0].unique_id
    assert any(item.target == again.document_entries[0].id for item in grown.associations if "RPLC" in item.association_type)
    assert state(archive) is StudyState.PUBLISHED


def test_a_refusal_is_noted_for_the_operator(archive: Archive) -> None:
    archive.store(packaged("CT_small.dcm"))
    archive.repository.answers = [(RegistryError(ErrorCode.UNKNOWN_PATIENT_ID, f"patientId {AFFINITY_CX} is not known"),)]
    assert archive.source.publish(STUDY) == "XDSUnknownPatientId"
    stored = archive.source.study(STUDY)
    assert stored is not None
    assert stored.state is StudyState.UNRESOLVED
    assert AFFINITY_CX in (stored.reason or "")
    assert archive.source.publish(STUDY) is None
    uids = [submission.document_entries[0].unique_id for submission in archive.repository.submissions]
    assert uids[0] != uids[1]


def test_the_issuer_follows_from_the_sender(tmp_path: Path) -> None:
    other = AssigningAuthority("HOSP_B", "1.2.3.600")
    with open_archive(tmp_path, authorities={"CT_ROOM_1": other}) as archive:
        archive.patients.links[("1.2.3.600", "1CT1")] = "P7"
        archive.store(packaged("CT_small.dcm"))
        assert archive.source.publish(STUDY) is None
        assert entry(archive).patient_id == "P7^^^&1.2.3.100&ISO"
        assert pydicom.dcmread(BytesIO(archive.repository.documents[0])).IssuerOfPatientID == "HOSP_B"


@pytest.mark.parametrize(
    ("namespace", "patient"),
    [("HOSP_A", "P1"), ("HOSP_B", "P7"), ("HOSP_C", "P8"), ("ELSEWHERE", None)],
)
def test_the_issuer_follows_from_its_namespace(tmp_path: Path, namespace: str, patient: str | None) -> None:
    """The same number of another authority is another patient: an unknown issuer is nobody's."""
    with open_archive(tmp_path, authorities={"PACS_B": AssigningAuthority("HOSP_B", "1.2.3.600")}) as archive:
        archive.patients.authorities["HOSP_C"] = AssigningAuthority("HOSP_C", "1.2.3.700")
        for oid, value in (("1.2.3.500", "P1"), ("1.2.3.600", "P7"), ("1.2.3.700", "P8")):
            archive.patients.links[(oid, "1CT1")] = value
        archive.store(image(IssuerOfPatientID=namespace))
        problem = archive.source.publish(STUDY)
        if patient is None:
            assert problem == "the patient is not known"
        else:
            assert problem is None
            assert entry(archive).patient_id == f"{patient}^^^&1.2.3.100&ISO"


def test_a_sender_of_known_issuer_may_name_it_otherwise(tmp_path: Path) -> None:
    with open_archive(tmp_path, authorities={"CT_ROOM_1": AssigningAuthority(None, "1.2.3.600")}) as archive:
        archive.patients.links[("1.2.3.600", "1CT1")] = "P7"
        archive.store(image(IssuerOfPatientID="RADIOLOGY"))
        assert archive.source.publish(STUDY) is None
        assert entry(archive).patient_id == "P7^^^&1.2.3.100&ISO"


def test_rejected_instances_are_neither_announced_nor_given(archive: Archive) -> None:
    """Spec: IOCM: a Key Object Selection titled 113001, Rejected for Quality Reasons."""
    archive.store(packaged("CT_small.dcm"))
    archive.store(image(SOPInstanceUID="1.2.3.1"))
    archive.source.publish(STUDY)
    note = pydicom.dcmread(BytesIO(archive.repository.documents[0]))
    note.SOPInstanceUID = note.file_meta.MediaStorageSOPInstanceUID = "1.2.3.99"
    title = note.ConceptNameCodeSequence[0]
    title.CodeValue, title.CodeMeaning = "113001", "Rejected for Quality Reasons"
    references = note.CurrentRequestedProcedureEvidenceSequence[0].ReferencedSeriesSequence[0].ReferencedSOPSequence
    del references[0 if references[0].ReferencedSOPInstanceUID == CT else 1]
    written = BytesIO()
    note.save_as(written)
    archive.store(written.getvalue())
    assert archive.source.publish(STUDY) is None
    assert [item.sop_instance_uid for item in read_manifest([archive.repository.documents[-1]]).references] == [CT]
    assert archive.source.retrieval.select(CONSUMER, STUDY, SERIES, "1.2.3.1") is None


def test_the_worker_publishes_and_tries_again(archive: Archive) -> None:
    archive.patients.links.clear()
    archive.store(packaged("CT_small.dcm"))
    handlers = {PUBLISH_STUDY: lambda job: archive.source.publish(job.key)}
    worker = Worker(archive.database, handlers, archive.clock, kinds={PUBLISH_STUDY})
    assert worker.run_due() == 0
    archive.clock.advance(seconds=61)
    assert worker.run_due() == 1
    assert state(archive) is StudyState.UNRESOLVED
    assert worker.run_due() == 0
    archive.patients.links[("1.2.3.500", "1CT1")] = "P1"
    archive.clock.advance(seconds=6)
    assert worker.run_due() == 1
    assert state(archive) is StudyState.PUBLISHED
    archive.clock.advance(days=1)
    assert worker.run_due() == 0


# ---- out


def request(study: str = STUDY, series: str = SERIES, instance: str = CT, **changes: Any) -> ImagingDocumentRequest:
    return ImagingDocumentRequest(study, series, replace(DocumentRequest("1.2.3.400", instance), **changes))


def test_instances_come_out_as_they_went_in(archive: Archive) -> None:
    archive.store(packaged("CT_small.dcm"))
    answer = archive.source.document_sets.retrieve([request(home="urn:oid:1.2.3.200")], [EXPLICIT_LITTLE], CONSUMER)
    assert answer.response.status is Status.SUCCESS
    (document,) = answer.documents
    assert b"".join(document.chunks()) == packaged("CT_small.dcm")
    assert (document.mime_type, document.size) == ("application/dicom", len(packaged("CT_small.dcm")))
    assert document.request.home == "urn:oid:1.2.3.200"
    answer.finished(True)


@pytest.mark.parametrize(
    ("wrong", "code"),
    [
        (request(repository_unique_id="1.2.3.999"), ErrorCode.UNKNOWN_REPOSITORY_ID),
        (request(instance="1.2.3.4"), ErrorCode.DOCUMENT_UNIQUE_ID_ERROR),
        (request(series="1.2.3.4"), ErrorCode.DOCUMENT_UNIQUE_ID_ERROR),
        (request(study="1.2.3.4"), ErrorCode.DOCUMENT_UNIQUE_ID_ERROR),
        (request(study=""), ErrorCode.DOCUMENT_UNIQUE_ID_ERROR),
    ],
)
def test_errors_stand_beside_what_was_found(archive: Archive, wrong: ImagingDocumentRequest, code: ErrorCode) -> None:
    archive.store(packaged("CT_small.dcm"))
    alone = archive.source.document_sets.retrieve([wrong], [EXPLICIT_LITTLE], CONSUMER)
    assert (alone.response.status, alone.documents) == (Status.FAILURE, ())
    assert [(error.code, error.location) for error in alone.response.errors] == [(code, wrong.document.document_unique_id)]
    mixed = archive.source.document_sets.retrieve([wrong, request()], [EXPLICIT_LITTLE], CONSUMER)
    assert mixed.response.status is Status.PARTIAL_SUCCESS
    assert len(mixed.documents) == 1


@pytest.mark.parametrize("wanted", [[], ["1.2.840.10008.1.2.4.70"], ["nonsense"]])
def test_transfer_syntaxes_that_are_not_possible(archive: Archive, wanted: list[str]) -> None:
    archive.store(packaged("CT_small.dcm"))
    answer = archive.source.document_sets.retrieve([request()], wanted, CONSUMER)
    assert answer.response.status is Status.FAILURE
    assert [error.code for error in answer.response.errors] == [ErrorCode.REPOSITORY_ERROR]


def test_uncompressed_objects_are_converted_and_the_spool_is_released(archive: Archive, tmp_path: Path) -> None:
    archive.store(packaged("CT_small.dcm"))
    answer = archive.source.document_sets.retrieve([request()], ["1.2.840.10008.1.2.4.90", IMPLICIT_LITTLE], CONSUMER)
    (document,) = answer.documents
    octets = b"".join(document.chunks())
    read = pydicom.dcmread(BytesIO(octets))
    assert (read.file_meta.TransferSyntaxUID, len(octets)) == (IMPLICIT_LITTLE, document.size)
    assert read.PixelData == pydicom.dcmread(BytesIO(packaged("CT_small.dcm"))).PixelData
    (directory,) = (tmp_path / "pixels").iterdir()
    assert len(list(directory.iterdir())) == 1
    answer.finished(True)
    assert list(directory.iterdir()) == []


def test_what_the_caller_may_not_see_is_not_there(archive: Archive) -> None:
    archive.store(packaged("CT_small.dcm"))
    archive.access.hidden.add(AFFINITY_CX)
    answer = archive.source.document_sets.retrieve([request()], [EXPLICIT_LITTLE], CONSUMER)
    assert [error.code for error in answer.response.errors] == [ErrorCode.DOCUMENT_UNIQUE_ID_ERROR]
    assert archive.source.retrieval.select(CONSUMER, STUDY) is None


@pytest.mark.parametrize(("complete", "outcome"), [(True, "0"), (False, "4")])
def test_retrieves_are_audited_after_the_last_octet(archive: Archive, complete: bool, outcome: str) -> None:
    archive.store(packaged("CT_small.dcm"))
    answer = archive.source.document_sets.retrieve([request(), request(instance="1.2.3.4")], [EXPLICIT_LITTLE], CONSUMER)
    answer.finished(complete)
    archive.database.flush()
    with archive.database.read() as connection:
        found = [event for _, event in audit.find(connection)]
    refused, sent = found[0], found[1]
    assert (sent.event_id.code, sent.action, sent.event_type.code, sent.outcome) == ("110104", "R", "RAD-69", outcome)
    assert sent.objects[0].id == AFFINITY_CX
    assert (sent.objects[1].id, sent.objects[1].id_type.code) == (STUDY, "110180")
    assert sent.participants[1].is_requestor
    assert refused.outcome == "8"


# ---- with the real neighbours


def test_from_the_modality_to_the_registry_and_back(archive: Archive) -> None:
    """The whole of XDS-I.b in one process: cross-reference, repository and registry are the real ones."""
    registry = DocumentRegistry(archive.database, IDENTITY, archive.access, archive.clock)
    repository = DocumentRepository(archive.blobs, archive.database, registry, registry, IDENTITY, archive.access, archive.clock)
    pix = PixManager(archive.database, IDENTITY, archive.access, archive.clock)
    affinity = AssigningAuthority("AFFINITY", IDENTITY.assigning_authority)

    def provide(submission: Any, documents: dict[str, ProvidedDocument], caller: Any) -> Any:
        return repository.provide(submission, documents, caller)

    source = ImagingDocumentSource(
        archive.database,
        archive.blobs,
        IDENTITY,
        pix,
        provide,
        archive.access,
        archive.clock,
        archive.pixels,
        default_authority=affinity,
    )
    patient = PatientIdentifier("1CT1", affinity)
    real = replace(archive, source=source)
    real.store(packaged("CT_small.dcm"), MODALITY)
    assert source.publish(STUDY, SYSTEM) == "XDSUnknownPatientId"
    archive.database.write(lambda connection: affinity_patients.add(connection, patient))
    assert source.publish(STUDY, SYSTEM) is None
    real.store(image(SOPInstanceUID="1.2.3.1"), MODALITY)
    assert source.publish(STUDY, SYSTEM) is None
    stored = source.study(STUDY)
    assert stored is not None
    assert stored.published is not None
    answer = repository.retrieve([DocumentRequest("1.2.3.300", stored.published.unique_id)], CONSUMER)
    manifest = read_manifest(answer.documents[0].chunks())
    assert {item.sop_instance_uid for item in manifest.references} == {CT, "1.2.3.1"}
    wanted = [
        ImagingDocumentRequest(
            item.study_instance_uid,
            item.series_instance_uid,
            DocumentRequest(item.retrieve_location_uid or "", item.sop_instance_uid),
        )
        for item in manifest.references
    ]
    images = source.document_sets.retrieve(wanted, [EXPLICIT_LITTLE], CONSUMER)
    assert images.response.status is Status.SUCCESS
    assert len(images.documents) == 2
