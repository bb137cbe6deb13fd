"""Manifests that stay true: studies that grow, shrink and change hands; rejection notes; forms.

Spec: RAD TF-2 4.68; RAD TF IOCM.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any

import pydicom
import pytest
from sqlalchemy import select

from tests.archive import CONSUMER, HOSPITAL, IDENTITY, MODALITY, Archive, image, open_archive
from xds.actors.imaging_manifests import ManifestStyle
from xds.actors.imaging_reconciler import RECONCILE_STUDY, Drift
from xds.actors.imaging_registrations import RegisteredManifest
from xds.model.caller import SYSTEM, Caller
from xds.model.errors import RegistryResponse, response_to
from xds.model.identifiers import AssigningAuthority, PatientIdentifier, new_oid
from xds.model.imaging import Addition, ImagingOrder, ManifestForm, OrderNumber, OrderState, Series, Study, StudyState
from xds.model.imaging_report import ImagingReport, ReportFacts, ReportFormat
from xds.model.metadata import Submission
from xds.model.vocabulary import KEY_OBJECT_SELECTION, AssociationType, SlotName
from xds.store import imaging, imaging_arrivals, jobs
from xds.store.schema.operations import job
from xds.wire import kos_writing
from xds.wire.dicom_study import read_study
from xds.wire.kos import ManifestIdentifiers, RetrieveInformation, read_manifest, write_manifest

STUDY = "1.3.6.1.4.1.5962.1.2.1.20040119072730.12322"
HOSPITAL_PATIENT = PatientIdentifier("1CT1", AssigningAuthority("HOSP_A", "1.2.3.500"))


@dataclass
class PartnerRegistry:
    """The registry of the partner, as it has taken the submissions of the repository beside it."""

    archive: Archive | None = None
    withdrawn: set[str] = field(default_factory=set)
    lost: set[str] = field(default_factory=set)
    patients: dict[str, str] = field(default_factory=dict)
    requests: list[Submission] = field(default_factory=list)

    def registered(self, unique_id: str, logical_id: str) -> RegisteredManifest | None:
        assert self.archive is not None
        entries = {item.id: item for each in self.archive.repository.submissions for item in each.document_entries}
        entry = entries.get(logical_id)
        if entry is None or logical_id in self.lost:
            return None
        patient = self.patients.get(logical_id, entry.patient_id or "")
        return RegisteredManifest(logical_id, patient, logical_id not in self.withdrawn)

    def withdraw(self, manifest: RegisteredManifest, unique_id: str, request: Submission, caller: Caller) -> RegistryResponse:
        self.requests.append(request)
        self.withdrawn.add(manifest.entry_uuid)
        return response_to(())


@dataclass
class Department:
    archive: Archive
    registry: PartnerRegistry

    def publish(self) -> str | None:
        return self.archive.source.publish(STUDY)

    @property
    def state(self) -> StudyState:
        stored = self.archive.source.study(STUDY)
        assert stored is not None
        return stored.state

    def manifests(self) -> list[pydicom.Dataset]:
        return [pydicom.dcmread(BytesIO(octets)) for octets in self.archive.repository.documents]

    def listed(self) -> list[str]:
        return [item.sop_instance_uid for item in read_manifest([self.archive.repository.documents[-1]]).references]

    def links(self, kind: AssociationType) -> list[str]:
        submission = self.archive.repository.submissions[-1]
        return [item.target for item in submission.associations if item.association_type == kind]


def department(directory: Path, **settings: object) -> Iterator[Department]:
    registry = PartnerRegistry()
    with open_archive(directory, registry=registry, **settings) as archive:
        registry.archive = archive
        archive.patients.links[HOSPITAL_PATIENT.key] = "P1"
        yield Department(archive, registry)


@pytest.fixture
def ct(tmp_path: Path) -> Iterator[Department]:
    yield from department(tmp_path)


def rejection(title: str, *uids: str, patient_id: str = "1CT1") -> bytes:
    """A rejection note about instances of the study."""
    study = read_study([image(PatientID=patient_id)])
    instances = tuple(replace(study.series[0].instances[0], sop_instance_uid=uid) for uid in uids)
    series = Series(study.series[0].series_instance_uid, "CT", instances)
    kos = pydicom.dcmread(BytesIO(_manifest(study, series)))
    kos.ConceptNameCodeSequence[0].CodeValue = title
    written = BytesIO()
    kos.save_as(written, enforce_file_format=True)
    return written.getvalue()


def _manifest(study: Study, series: Series) -> bytes:
    uids = ManifestIdentifiers(new_oid(), new_oid())
    when = datetime(2026, 3, 1, tzinfo=UTC)
    return write_manifest(replace(study, series=(series,)), uids, RetrieveInformation("X", "1.2"), when, UTC)


# ---- shrinking


def test_a_study_that_loses_an_instance_gets_a_manifest_without_it(ct: Department) -> None:
    for number in (1, 2):
        ct.archive.store(image(SOPInstanceUID=f"1.2.3.{number}"))
    assert ct.publish() is None
    assert ct.archive.source.remove_instances(STUDY, ["1.2.3.1"], "deleted") == 1
    assert ct.publish() is None
    assert ct.listed() == ["1.2.3.2"]
    assert len(ct.links(AssociationType.RPLC)) == 1


def test_a_study_without_instances_is_withdrawn_once(ct: Department) -> None:
    ct.archive.store(image(SOPInstanceUID="1.2.3.1"))
    ct.publish()
    assert ct.archive.source.remove_instances(STUDY, None, "deleted") == 1
    assert ct.publish() is None
    assert ct.publish() is None
    assert ct.state is StudyState.WITHDRAWN
    assert len(ct.registry.requests) == 1
    (change,) = ct.registry.requests[0].associations
    assert change.association_type == AssociationType.UPDATE_AVAILABILITY_STATUS
    assert change.target == ct.archive.repository.submissions[0].document_entries[0].id


def test_a_withdrawn_study_that_comes_again_is_announced_anew(ct: Department) -> None:
    ct.archive.store(image(SOPInstanceUID="1.2.3.1"))
    ct.publish()
    ct.archive.source.remove_instances(STUDY, None, "deleted")
    ct.publish()
    ct.archive.store(image(SOPInstanceUID="1.2.3.1"))
    assert ct.publish() is None
    assert (ct.listed(), ct.links(AssociationType.RPLC)) == (["1.2.3.1"], [])


@pytest.mark.parametrize("title", ["113001", "113037", "113038", "113039"])
def test_rejected_instances_and_their_note_are_not_listed(ct: Department, title: str) -> None:
    for number in (1, 2):
        ct.archive.store(image(SOPInstanceUID=f"1.2.3.{number}"))
    ct.publish()
    ct.archive.store(rejection(title, "1.2.3.1"))
    assert ct.publish() is None
    assert ct.listed() == ["1.2.3.2"]
    assert ct.archive.source.retrieval.select(CONSUMER, STUDY, sop_instance_uid="1.2.3.1") is None
    again = ct.archive.store(image(SOPInstanceUID="1.2.3.1"))
    assert ct.publish() is None
    if title == "113039":
        assert again is Addition.REPLACED
        assert ct.listed() == ["1.2.3.1", "1.2.3.2"]
    else:
        assert again is Addition.IDENTICAL
        assert ct.listed() == ["1.2.3.2"]


@pytest.mark.parametrize(("patient_id", "is_withheld"), [("1CT1", True), ("2CT2", False)])
def test_a_note_rejects_instances_of_other_studies_of_its_patient(ct: Department, patient_id: str, is_withheld: bool) -> None:
    """DICOM wants a copy of the note in each study (PS3.3 C.17.6.2): one that lists several and came once is meant as well."""
    other = "1.2.3.777"
    ct.archive.store(image(SOPInstanceUID="1.2.3.1"))
    ct.archive.store(image(SOPInstanceUID="1.2.3.2", StudyInstanceUID=other, SeriesInstanceUID="1.2.3.78", PatientID=patient_id))
    with ct.archive.database.read() as connection:
        before = connection.execute(select(job.c.key, job.c.run_at)).all()
    ct.archive.clock.advance(seconds=5)
    note = pydicom.dcmread(BytesIO(rejection("113037", "1.2.3.1")))
    more = deepcopy(note.CurrentRequestedProcedureEvidenceSequence[0])
    more.StudyInstanceUID = other
    more.ReferencedSeriesSequence[0].SeriesInstanceUID = "1.2.3.78"
    more.ReferencedSeriesSequence[0].ReferencedSOPSequence[0].ReferencedSOPInstanceUID = "1.2.3.2"
    note.CurrentRequestedProcedureEvidenceSequence.append(more)
    written = BytesIO()
    note.save_as(written, enforce_file_format=True)
    ct.archive.store(written.getvalue())
    stored = ct.archive.source.study(other)
    assert stored is not None
    assert (stored.study.series == ()) == is_withheld
    with ct.archive.database.read() as connection:
        moved = {row.key for row in connection.execute(select(job.c.key, job.c.run_at)).all() if row not in before}
    assert moved == ({STUDY, other} if is_withheld else {STUDY})


def test_a_study_of_the_wrong_patient_comes_again_under_the_right_one(ct: Department) -> None:
    """Spec: IOCM, incorrect modality worklist entry."""
    ct.archive.patients.links["1.2.3.500", "2CT2"] = "P2"
    ct.archive.store(image(SOPInstanceUID="1.2.3.1"))
    ct.publish()
    assert ct.archive.store(image(SOPInstanceUID="1.2.3.9", PatientID="2CT2")) is Addition.CONFLICT
    ct.archive.store(rejection("113038", "1.2.3.1"))
    assert ct.publish() is None
    assert ct.state is StudyState.WITHDRAWN
    assert ct.archive.store(image(SOPInstanceUID="1.2.3.9", PatientID="2CT2")) is Addition.NEW
    assert ct.publish() is None
    entry = ct.archive.repository.submissions[-1].document_entries[0]
    assert (entry.patient_id, ct.listed()) == ("P2^^^&1.2.3.100&ISO", ["1.2.3.9"])
    assert ct.links(AssociationType.RPLC) == []


# ---- patients


def test_a_manifest_in_the_record_of_another_patient_waits_for_a_human(ct: Department) -> None:
    ct.archive.store(image())
    ct.publish()
    ct.archive.patients.links[HOSPITAL_PATIENT.key] = "P2"
    assert ct.archive.source.retrieval.select(CONSUMER, STUDY) is None
    assert ct.state is StudyState.DISPUTED
    (waiting,) = ct.archive.source.to_review()
    assert waiting.study_instance_uid == STUDY
    assert len(ct.archive.repository.submissions) == 1
    assert ct.archive.source.accept(STUDY) is None
    assert ct.publish() is None
    assert ct.archive.repository.submissions[-1].document_entries[0].patient_id == "P2^^^&1.2.3.100&ISO"
    assert ct.registry.withdrawn == {ct.archive.repository.submissions[0].document_entries[0].id}
    assert ct.archive.source.retrieval.select(CONSUMER, STUDY) is not None


def test_a_link_that_is_corrected_back_ends_the_dispute(ct: Department) -> None:
    ct.archive.store(image())
    ct.publish()
    ct.archive.patients.links[HOSPITAL_PATIENT.key] = "P2"
    assert ct.archive.source.retrieval.select(CONSUMER, STUDY) is None
    ct.archive.patients.links[HOSPITAL_PATIENT.key] = "P1"
    assert ct.archive.source.retrieval.select(CONSUMER, STUDY) is not None
    assert ct.publish() is None
    assert ct.state is StudyState.PUBLISHED
    assert ct.archive.source.accept(STUDY) == "the study is not disputed"


def test_a_patient_who_was_merged_is_no_dispute(ct: Department) -> None:
    ct.archive.store(image())
    ct.publish()
    ct.archive.patients.links[HOSPITAL_PATIENT.key] = "P2"
    ct.archive.patients.links[IDENTITY.assigning_authority, "P1"] = "P2"
    assert ct.archive.source.retrieval.select(CONSUMER, STUDY) is not None
    assert ct.state is StudyState.PUBLISHED


# ---- orders and reports


def order(**attributes: object) -> ImagingOrder:
    given = {"placer": OrderNumber("PL1", "1.2.3.7", "RIS"), "patient": HOSPITAL_PATIENT, "study_instance_uid": STUDY}
    return ImagingOrder(**{**given, **attributes})  # type: ignore[arg-type]


def test_an_order_becomes_part_of_the_manifest(ct: Department) -> None:
    ct.archive.store(image())
    ct.publish()
    ct.archive.source.orders.ordered([order(accession=OrderNumber("A1", "1.2.3.8"))], MODALITY)
    ct.archive.source.orders.ordered([order(accession=OrderNumber("A1", "1.2.3.8"))], MODALITY)
    assert ct.publish() is None
    assert ct.publish() is None
    assert len(ct.archive.repository.submissions) == 2
    (request,) = ct.manifests()[-1].ReferencedRequestSequence
    assert (request.AccessionNumber, request.PlacerOrderNumberImagingServiceRequest) == ("A1", "PL1")
    assert request.OrderPlacerIdentifierSequence[0].UniversalEntityID == "1.2.3.7"
    references = ct.archive.repository.submissions[-1].document_entries[0].slot("urn:ihe:iti:xds:2013:referenceIdList")
    assert "A1^^^&1.2.3.8&ISO^urn:ihe:iti:xds:2013:accession" in references
    assert "PL1^^^&1.2.3.7&ISO^urn:ihe:iti:xds:2013:order" in references


def _requests(manifest: Any) -> list[tuple[str, str]]:
    found = manifest.get("ReferencedRequestSequence") or ()
    return [(item.AccessionNumber, item.PlacerOrderNumberImagingServiceRequest) for item in found]


def test_each_series_names_its_own_accession_number(ct: Department) -> None:
    """One examination answers several requests: the study is found by each of them. Spec: MADO 6.X.2; RAD TF-2 4.68.4.1.2.3."""
    for number, accession in enumerate(("A1", "A2", "A2"), 1):
        ct.archive.store(
            image(SeriesInstanceUID=f"1.2.9.{number}", SOPInstanceUID=f"1.2.9.{number}.1", AccessionNumber=accession)
        )
    ct.archive.source.orders.ordered([order(accession=OrderNumber("A2", "1.2.3.8"), study_instance_uid="")], MODALITY)
    assert ct.publish() is None
    manifest = ct.manifests()[-1]
    assert manifest.AccessionNumber == ""
    assert sorted(_requests(manifest)) == [("A1", ""), ("A2", "PL1")]
    references = ct.archive.repository.submissions[-1].document_entries[0].slot("urn:ihe:iti:xds:2013:referenceIdList")
    assert "A1^^^&1.2.3.500&ISO^urn:ihe:iti:xds:2013:accession" in references
    assert "A2^^^&1.2.3.8&ISO^urn:ihe:iti:xds:2013:accession" in references


def test_requests_that_series_and_documents_list(ct: Department) -> None:
    """Of the Request Attributes Sequence and the Referenced Request Sequence; those of another study are not ours."""

    def request(accession: str, **attributes: Any) -> pydicom.Dataset:
        item, issuer = pydicom.Dataset(), pydicom.Dataset()
        issuer.UniversalEntityID, issuer.UniversalEntityIDType = "1.2.3.77", "ISO"
        item.AccessionNumber, item.IssuerOfAccessionNumberSequence = accession, [issuer]
        for keyword, value in attributes.items():
            setattr(item, keyword, value)
        return item

    ct.archive.store(image(AccessionNumber="", RequestAttributesSequence=[request("A1"), request("A2")]))
    document = {"SOPInstanceUID": "1.2.9.2.1", "SeriesInstanceUID": "1.2.9.2", "AccessionNumber": ""}
    asked = [
        request("A2", PlacerOrderNumberImagingServiceRequest="PL2", StudyInstanceUID=STUDY),
        request("A9", StudyInstanceUID="1.2.9.9"),
    ]
    ct.archive.store(image(**document, ReferencedRequestSequence=asked))
    assert ct.publish() is None
    manifest = ct.manifests()[-1]
    assert sorted(_requests(manifest)) == [("A1", ""), ("A2", "PL2")]
    issuers = {item.IssuerOfAccessionNumberSequence[0].UniversalEntityID for item in manifest.ReferencedRequestSequence}
    assert issuers == {"1.2.3.77"}
    references = ct.archive.repository.submissions[-1].document_entries[0].slot("urn:ihe:iti:xds:2013:referenceIdList")
    assert "A1^^^&1.2.3.77&ISO^urn:ihe:iti:xds:2013:accession" in references


def test_an_order_of_somebody_else_does_not_count(ct: Department) -> None:
    ct.archive.store(image())
    other = PatientIdentifier("9", HOSPITAL_PATIENT.authority)
    ct.archive.source.orders.ordered([order(patient=other)], MODALITY)
    assert ct.publish() is None
    assert "ReferencedRequestSequence" not in ct.manifests()[-1]


def test_a_cancelled_order_leaves_the_manifest(ct: Department) -> None:
    ct.archive.store(image())
    ct.archive.source.orders.ordered([order()], MODALITY)
    ct.publish()
    ct.archive.source.orders.ordered([order(state=OrderState.CANCELLED)], MODALITY)
    assert ct.publish() is None
    assert "ReferencedRequestSequence" not in ct.manifests()[-1]


def report(content: bytes = b"%PDF-1", number: str = "R1", **attributes: object) -> ImagingReport:
    given = {"order": order(), "title": "CT chest"}
    return ImagingReport(ReportFacts(number, (HOSPITAL_PATIENT,), **{**given, **attributes}), content)  # type: ignore[arg-type]


def test_a_report_becomes_a_document_and_a_correction_replaces_it(ct: Department) -> None:
    reports = ct.archive.source.reports
    for message, given in (("M1", report()), ("M1", report()), ("M2", report()), ("M3", report(b"%PDF-2"))):
        reports.receive(given, message, MODALITY)
        assert reports.publish("R1", SYSTEM) is None
    first, second = ct.archive.repository.submissions
    assert ct.archive.repository.documents == [b"%PDF-1", b"%PDF-2"]
    (entry,) = second.document_entries
    assert entry.format_code is not None
    assert (entry.mime_type, entry.format_code.code, entry.patient_id) == (
        "application/pdf",
        "urn:ihe:rad:PDF",
        "P1^^^&1.2.3.100&ISO",
    )
    assert f"{STUDY}^^^^urn:ihe:iti:xds:2016:studyInstanceUID" in entry.slot("urn:ihe:iti:xds:2013:referenceIdList")
    assert ct.links(AssociationType.RPLC) == [first.document_entries[0].id]


def test_titles_are_cut_to_what_an_entry_may_have(ct: Department) -> None:
    """Spec: ITI TF-3 Table 4.2.3.2-1. A CDA's title may be of any length, and some modalities write long descriptions."""
    ct.archive.source.reports.receive(report(title="CT " + "é" * 200), "M1", MODALITY)
    assert ct.archive.source.reports.publish("R1", SYSTEM) is None
    (entry,) = ct.archive.repository.submissions[-1].document_entries
    assert entry.title == "CT " + "é" * 124
    ct.archive.store(image(StudyDescription="thorax-" * 20))
    assert ct.publish() is None
    (entry,) = ct.archive.repository.submissions[-1].document_entries
    assert entry.title == ("thorax-" * 20)[:127]


def test_a_report_and_the_manifest_are_found_by_the_same_numbers(ct: Department) -> None:
    """The report names the accession number alone; who issued it, and for which order, orders said."""
    ct.archive.store(image())
    ct.archive.source.orders.ordered([order(accession=OrderNumber("A1", "1.2.3.8"))], MODALITY)
    assert ct.publish() is None
    ct.archive.source.reports.receive(report(order=ImagingOrder(OrderNumber("A1"), study_instance_uid=STUDY)), "M1", MODALITY)
    assert ct.archive.source.reports.publish("R1", SYSTEM) is None
    manifest, written = (item.document_entries[0] for item in ct.archive.repository.submissions)
    references = "urn:ihe:iti:xds:2013:referenceIdList"
    assert set(written.slot(references)) == set(manifest.slot(references))


def test_a_cancelled_report_is_withdrawn(ct: Department) -> None:
    reports = ct.archive.source.reports
    reports.receive(report(), "M1", MODALITY)
    reports.receive(report(b"", is_cancelled=True), "M2", MODALITY)
    assert reports.publish("R1", SYSTEM) is None
    assert ct.registry.withdrawn == {ct.archive.repository.submissions[0].document_entries[0].id}


def test_a_replacement_finds_its_report_by_the_number_of_the_one_before(ct: Department) -> None:
    reports = ct.archive.source.reports
    reports.receive(report(), "M1", MODALITY)
    reports.receive(report(b"%PDF-2", "R2", replaces="R1"), "M2", MODALITY)
    reports.receive(report(b"%PDF-3", "R3", replaces="R2"), "M3", MODALITY)
    assert reports.publish("R1", SYSTEM) is None
    assert len(ct.archive.repository.submissions) == 3
    assert ct.links(AssociationType.RPLC) == [ct.archive.repository.submissions[1].document_entries[0].id]


def test_a_report_of_somebody_unknown_waits(ct: Department) -> None:
    ct.archive.patients.links.clear()
    reports = ct.archive.source.reports
    reports.receive(report(b"plain text", format=ReportFormat.TEXT), "M1", MODALITY)
    assert reports.publish("R1", SYSTEM) == "the patient is not known"
    assert [item.report_id for item in reports.waiting()] == ["R1"]
    ct.archive.patients.links[HOSPITAL_PATIENT.key] = "P1"
    ct.archive.source.resume()
    assert reports.publish("R1", SYSTEM) is None
    assert b"urn:hl7-org:v3" in ct.archive.repository.documents[0]
    assert reports.waiting() == ()


# ---- forms


def test_both_forms_are_published_and_replaced(tmp_path: Path) -> None:
    for ct in department(tmp_path, style=ManifestStyle(forms=(ManifestForm.XDS_I, ManifestForm.MADO))):
        ct.archive.store(image(SOPInstanceUID="1.2.3.1", BodyPartExamined="CHEST"))
        assert ct.publish() is None
        classic, described = ct.archive.repository.submissions
        assert ct.links(AssociationType.XFRM) == [classic.document_entries[0].id]
        assert ct.state is StudyState.PUBLISHED
        assert ct.publish() is None
        assert len(ct.archive.repository.submissions) == 2
        ct.archive.store(image(SOPInstanceUID="1.2.3.2"))
        assert ct.publish() is None
        assert len(ct.archive.repository.submissions) == 4
        assert ct.links(AssociationType.RPLC) == [described.document_entries[0].id]
        mado = ct.manifests()[-1]
        assert mado.ConceptNameCodeSequence[0].CodeValue == "MADOTEMP001"
        assert mado.AccessionNumber == mado.ReferencedRequestSequence[0].AccessionNumber
        assert len(mado.AccessionNumber) == 16
        # MADO Appendix A: what the manifest says is what the registry finds it by.
        made = f"{mado.AccessionNumber}^^^&{IDENTITY.imaging_source_unique_id}&ISO^urn:ihe:iti:xds:2013:accession"
        classic, described = ct.archive.repository.submissions[-2:]
        assert made in described.document_entries[0].slot(SlotName.REFERENCE_ID_LIST)
        assert made not in classic.document_entries[0].slot(SlotName.REFERENCE_ID_LIST)
        assert {item.PatientID for item in mado.OtherPatientIDsSequence} == {"1CT1", "P1"}
        library = mado.ContentSequence[0]
        assert library.ConceptNameCodeSequence[0].CodeValue == "111028"
        assert len(mado.ContentSequence) == 3


@pytest.mark.parametrize("form", ManifestForm)
def test_an_accession_number_that_nobody_issued_is_of_the_domain_of_the_patient(tmp_path: Path, form: ManifestForm) -> None:
    """MADO 6.X.2: Issuer of Accession Number Sequence is there with the number, as referenceIdList names it."""
    for ct in department(tmp_path, style=ManifestStyle(forms=(form,))):
        ct.archive.store(image(SOPInstanceUID="1.2.3.1", AccessionNumber="A7"))
        assert ct.publish() is None
        manifest = ct.manifests()[-1]
        for item in (manifest, *manifest.ReferencedRequestSequence):
            assert item.AccessionNumber == "A7"
            assert item.IssuerOfAccessionNumberSequence[0].UniversalEntityID == HOSPITAL.oid
        entry = ct.archive.repository.submissions[-1].document_entries[0]
        assert f"A7^^^&{HOSPITAL.oid}&ISO^urn:ihe:iti:xds:2013:accession" in entry.slot(SlotName.REFERENCE_ID_LIST)


# ---- reconciliation


def test_a_true_manifest_is_left_alone(ct: Department) -> None:
    ct.archive.store(image())
    assert ct.archive.source.reconciler.reconcile(STUDY) is None
    ct.publish()
    found = ct.archive.source.reconciler.reconcile(STUDY)
    assert found is not None
    assert (found.drift, found.is_repaired) == (None, False)
    assert ct.publish() is None
    assert len(ct.archive.repository.submissions) == 1


def test_a_manifest_that_the_registry_lost_is_made_anew(ct: Department) -> None:
    ct.archive.store(image())
    ct.publish()
    ct.registry.lost.add(ct.archive.repository.submissions[0].document_entries[0].id)
    rehearsed = ct.archive.source.reconciler.reconcile(STUDY, repair=False)
    assert rehearsed is not None
    assert (rehearsed.drift, rehearsed.is_repaired) == (Drift.NOT_REGISTERED, False)
    found = ct.archive.source.reconciler.reconcile(STUDY)
    assert found is not None
    assert found.is_repaired
    assert ct.publish() is None
    assert len(ct.archive.repository.submissions) == 2


def test_a_manifest_that_somebody_deprecated_stays_so(ct: Department) -> None:
    ct.archive.store(image())
    ct.publish()
    ct.registry.withdrawn.add(ct.archive.repository.submissions[0].document_entries[0].id)
    found = ct.archive.source.reconciler.reconcile(STUDY)
    assert found is not None
    assert (found.drift, found.is_repaired) == (Drift.WITHDRAWN_ELSEWHERE, False)
    assert [item.drift for item in ct.archive.source.to_review()] == [Drift.WITHDRAWN_ELSEWHERE.value]
    drifts = ct.archive.source.reconciler.drifts()
    assert {kind: number for kind, number in drifts.items() if number} == {"withdrawn_elsewhere": 1}


def test_a_manifest_that_lists_what_is_gone_is_made_anew(ct: Department) -> None:
    for number in (1, 2):
        ct.archive.store(image(SOPInstanceUID=f"1.2.3.{number}"))
    ct.publish()
    ct.archive.database.write(lambda connection: imaging.reject(connection, STUDY, ["1.2.3.1"], "113001"))
    found = ct.archive.source.reconciler.reconcile(STUDY)
    assert found is not None
    assert found.drift is Drift.CONTENT
    assert ct.publish() is None
    assert ct.listed() == ["1.2.3.2"]


def test_a_study_that_is_retrieved_is_compared_once_in_a_while(tmp_path: Path) -> None:
    for ct in department(tmp_path, reconcile_every=timedelta(hours=1)):
        ct.archive.store(image())
        ct.publish()
        for expected in (True, False):
            assert ct.archive.source.retrieval.select(CONSUMER, STUDY) is not None
            ct.archive.clock.advance(seconds=1)
            claimed = ct.archive.database.write(partial(jobs.claim, now=ct.archive.clock(), limit=9, kinds=[RECONCILE_STUDY]))
            assert bool(claimed) is expected
            ct.archive.source.reconciler.reconcile(STUDY)
            ct.archive.database.write(partial(jobs.withdraw, kind=RECONCILE_STUDY, key=STUDY))


# ---- size


def test_a_study_of_five_thousand_is_announced_in_time_and_replaced_once(ct: Department) -> None:
    base = read_study([image()])
    series, first = base.series[0], base.series[0].instances[0]

    def fill(connection: Any) -> None:
        for number in range(5000):
            instance = replace(first, sop_instance_uid=f"1.2.3.{number}", blob=f"blob{number}", instance_number=number)
            study = replace(base, series=(replace(series, instances=(instance,)),))
            imaging_arrivals.add_instance(connection, imaging_arrivals.arriving(study, b"{}"), ct.archive.clock())

    ct.archive.database.write(fill)
    since = time.process_time()
    assert ct.publish() is None
    assert time.process_time() - since < 5
    assert len(ct.listed()) == 5000
    ct.archive.store(image(SOPInstanceUID="1.2.3.5000"))
    for _ in range(3):
        assert ct.publish() is None
    assert len(ct.archive.repository.submissions) == 2
    assert len(ct.listed()) == 5001


def test_codes_of_described_manifests_are_those_that_are_configured() -> None:
    assert set(kos_writing.CODES) == {"99IHE", "DCM"}
    assert kos_writing.FINAL_CODES.series_date.code == "131561"
    assert KEY_OBJECT_SELECTION == "1.2.840.10008.5.1.4.1.1.88.59"
