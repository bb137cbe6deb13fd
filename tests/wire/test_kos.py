"""Manifests written and read. Spec: DICOM PS3.3 C.17.6, PS3.16 TID 2010; RAD TF-2 4.68."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path
from zoneinfo import ZoneInfo

import pydicom
import pytest
from pydicom.uid import KeyObjectSelectionDocumentStorage, MRSpectroscopyStorage, RTDoseStorage

from tests.archive import image, packaged
from tests.programs import program
from xds.model.imaging import Series, Study
from xds.model.metadata import Code
from xds.model.vocabulary import DCM
from xds.wire.dicom import DicomError
from xds.wire.dicom_study import read_study
from xds.wire.kos import MANIFEST, ManifestIdentifiers, RetrieveInformation, is_rejection, read_manifest, write_manifest

UIDS = ManifestIdentifiers("2.25.1001", "2.25.1002")
RETRIEVE = RetrieveInformation("XDS", "1.2.3.400", "http://127.0.0.1:8080/dicomweb")
WHEN = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)
PARIS = ZoneInfo("Europe/Paris")


def study() -> Study:
    """A CT series, an SR series and an ECG, of a patient with an issuer."""
    first = read_study([image(AccessionNumber="A1", PatientName="Müller^Zoë")])
    report = read_study([packaged("reportsi.dcm")]).series[0]
    waveform = read_study([packaged("waveform_ecg.dcm")]).series[0]
    instance = first.series[0].instances[0]
    images = tuple(replace(instance, sop_instance_uid=f"1.2.3.{number}") for number in range(1, 4))
    return replace(
        first,
        patient=replace(first.patient, issuer_oid="1.2.3.500", issuer_namespace="HOSP_A"),
        accession_issuer_oid="1.2.3.501",
        series=(replace(first.series[0], instances=images), report, waveform),
    )


def written(given: Study | None = None) -> pydicom.Dataset:
    return pydicom.dcmread(BytesIO(write_manifest(given or study(), UIDS, RETRIEVE, WHEN, PARIS)))


def test_the_identity_of_the_manifest() -> None:
    manifest = written()
    assert manifest.SOPClassUID == manifest.file_meta.MediaStorageSOPClassUID == KeyObjectSelectionDocumentStorage
    assert manifest.SOPInstanceUID == manifest.file_meta.MediaStorageSOPInstanceUID == UIDS.sop_instance_uid
    assert (manifest.Modality, manifest.SeriesInstanceUID) == ("KO", UIDS.series_instance_uid)
    assert manifest.StudyInstanceUID == study().study_instance_uid
    title = manifest.ConceptNameCodeSequence[0]
    assert (title.CodeValue, title.CodingSchemeDesignator, title.CodeMeaning) == ("113030", "DCM", "Manifest")
    assert manifest.ContentTemplateSequence[0].TemplateIdentifier == "2010"


def test_the_patient_is_that_of_the_images() -> None:
    manifest = written()
    assert (manifest.PatientName, manifest.PatientID, manifest.PatientSex) == ("Müller^Zoë", "1CT1", "O")
    assert manifest.IssuerOfPatientIDQualifiersSequence[0].UniversalEntityID == "1.2.3.500"
    assert manifest.IssuerOfPatientID == "HOSP_A"
    assert manifest.AccessionNumber == manifest.ReferencedRequestSequence[0].AccessionNumber == "A1"
    assert manifest.IssuerOfAccessionNumberSequence[0].UniversalEntityID == "1.2.3.501"


def test_attributes_of_type_2_are_there_even_when_empty() -> None:
    manifest = written()
    for keyword in ("ReferringPhysicianName", "StudyID", "PatientBirthDate", "ReferencedPerformedProcedureStepSequence"):
        assert keyword in manifest


def test_evidence_and_content_name_the_same_instances() -> None:
    """Every instance stands in both. Spec: TID 2010; C.17.6.2.1."""
    manifest = written()
    series = manifest.CurrentRequestedProcedureEvidenceSequence[0].ReferencedSeriesSequence
    evidence = [item.ReferencedSOPInstanceUID for one in series for item in one.ReferencedSOPSequence]
    content = [item.ReferencedSOPSequence[0].ReferencedSOPInstanceUID for item in manifest.ContentSequence]
    assert evidence == content
    assert len(evidence) == 5
    assert [item.ValueType for item in manifest.ContentSequence] == ["IMAGE"] * 3 + ["COMPOSITE", "WAVEFORM"]
    assert {item.RelationshipType for item in manifest.ContentSequence} == {"CONTAINS"}


def test_every_series_says_where_to_retrieve_it() -> None:
    for item in written().CurrentRequestedProcedureEvidenceSequence[0].ReferencedSeriesSequence:
        assert item.RetrieveAETitle == "XDS"
        assert item.RetrieveLocationUID == "1.2.3.400"
        assert item.RetrieveURL == "http://127.0.0.1:8080/dicomweb"
        assert item.SeriesInstanceUID != UIDS.series_instance_uid


def test_all_times_share_the_offset_of_the_study() -> None:
    manifest = written()
    assert (manifest.TimezoneOffsetFromUTC, manifest.ContentDate, manifest.ContentTime) == ("-0500", "20260301", "070000")
    local = written(replace(study(), study_date="20240701", timezone_offset=""))
    assert (local.TimezoneOffsetFromUTC, local.InstanceCreationTime) == ("+0200", "140000")


def test_what_was_written_is_read_back() -> None:
    given = study()
    manifest = read_manifest([write_manifest(given, UIDS, RETRIEVE, WHEN, PARIS)])
    assert (manifest.title, manifest.sop_instance_uid, manifest.accession_number) == (MANIFEST, "2.25.1001", "A1")
    assert manifest.patient == given.patient
    assert [item.sop_instance_uid for item in manifest.references] == [
        i.sop_instance_uid for s in given.series for i in s.instances
    ]
    assert {(item.retrieve_ae_title, item.retrieve_location_uid) for item in manifest.references} == {("XDS", "1.2.3.400")}


def test_words_are_cut_to_what_the_manifest_may_hold_and_identifiers_are_not() -> None:
    """Images break the rules of their own values; the manifest of them does not. Spec: PS3.5 6.2; PS3.3 C.7.1.1."""
    given = study()
    patient = replace(given.patient, name="N" * 70 + "=" + "字" * 70, sex="X", birth_date="1970")
    odd = {"description": "é" * 80, "institution": "I" * 90, "study_time": "10h", "referring_physician": "R" * 70}
    found = written(replace(given, patient=patient, accession_number="A" * 20, **odd))
    assert (found.StudyDescription, found.InstitutionName) == ("é" * 64, "I" * 64)
    assert (found.PatientName, found.ReferringPhysicianName) == ("N" * 64 + "=" + "字" * 64, "R" * 64)
    assert (found.PatientSex, found.PatientBirthDate, found.StudyTime) == ("", "", "")
    assert found.StudyDate == given.study_date
    assert found.AccessionNumber == "A" * 20


def test_ten_thousand_instances() -> None:
    given = study()
    series: Series = given.series[0]
    many = tuple(replace(series.instances[0], sop_instance_uid=f"1.2.3.{number}") for number in range(10_000))
    octets = write_manifest(replace(given, series=(replace(series, instances=many),)), UIDS, RETRIEVE, WHEN, PARIS)
    assert len(read_manifest([octets]).references) == 10_000


def test_another_kind_of_object_is_no_manifest() -> None:
    with pytest.raises(DicomError, match="no Key Object Selection"):
        read_manifest([packaged("CT_small.dcm")])


def test_titles_that_reject() -> None:
    assert is_rejection(Code("113001", DCM))
    assert not is_rejection(MANIFEST)
    assert not is_rejection(Code("113001", "1.2.3"))


def _with_rows(sop_class_uid: str) -> Study:
    """A study of instances of that class, which have rows and columns."""
    given = study()
    series = given.series[0]
    return replace(given, series=(replace(series, instances=(replace(series.instances[0], sop_class_uid=sop_class_uid),)),))


@pytest.mark.parametrize("sop_class_uid", [RTDoseStorage, MRSpectroscopyStorage])
def test_what_has_rows_and_is_no_image_is_a_composite(sop_class_uid: str) -> None:
    """PS3.3 C.18.4: value type IMAGE is for Image Storage SOP Classes."""
    assert [item.ValueType for item in written(_with_rows(sop_class_uid)).ContentSequence] == ["COMPOSITE"]


@pytest.mark.parametrize("given", [study(), _with_rows(RTDoseStorage), _with_rows(MRSpectroscopyStorage)])
def test_dcmtk_accepts_the_document(tmp_path: Path, given: Study) -> None:
    dsrdump = program("dsrdump")
    path = tmp_path / "kos.dcm"
    path.write_bytes(write_manifest(given, UIDS, RETRIEVE, WHEN, PARIS))
    done = subprocess.run([dsrdump, str(path)], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert "Key Object Selection Document" in done.stdout
    assert "Error" not in done.stderr


def test_foreign_manifests_are_read_as_pydicom_reads_them(shared: Path) -> None:
    """dcm4chee, DRIMbox, MADO; the samples of the NIST toolkit."""
    files = sorted((shared / "vectors").rglob("*.dcm"))
    read = 0
    for path in files:
        octets = path.read_bytes()
        oracle = pydicom.dcmread(BytesIO(octets), stop_before_pixels=True)
        if oracle.SOPClassUID != KeyObjectSelectionDocumentStorage:
            continue
        manifest = read_manifest([octets])
        expected = [
            (one.SeriesInstanceUID, item.ReferencedSOPInstanceUID, str(one.get("RetrieveLocationUID", "")) or None)
            for of_study in oracle.CurrentRequestedProcedureEvidenceSequence
            for one in of_study.ReferencedSeriesSequence
            for item in one.ReferencedSOPSequence
        ]
        found = [(item.series_instance_uid, item.sop_instance_uid, item.retrieve_location_uid) for item in manifest.references]
        assert found == expected, path.name
        assert manifest.patient.patient_id == str(oracle.PatientID)
        read += 1
    assert read > 30
