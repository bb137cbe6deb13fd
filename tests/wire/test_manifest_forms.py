"""Every form of manifest, judged by dicom3tools (dciodvfy), dcmtk and pydicom.

Spec: DICOM PS3.3 A.35.4; PS3.16 TID 2010, TID 1600; IHE RAD MADO 6.X.2; DRIMbox.
"""

from __future__ import annotations

import subprocess
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from io import BytesIO
from pathlib import Path

import pydicom
import pytest

from tests.archive import image, packaged
from tests.programs import program
from xds.model.identifiers import AssigningAuthority, PatientIdentifier
from xds.model.imaging import ImagingOrder, ManifestForm, OrderNumber, Study
from xds.model.imaging_manifest import (
    KeyObjectDetail,
    RetrieveInformation,
    SeriesDetail,
    StudyManifest,
    generated_accession,
    requests_of,
)
from xds.model.metadata import Code
from xds.model.vocabulary import DCM, SNOMED_CT
from xds.wire.dicom_study import read_study
from xds.wire.kos import read_manifest
from xds.wire.kos_writing import FINAL_CODES, write_kos

WHEN = datetime(2026, 3, 1, 13, 0, 0, tzinfo=timezone(timedelta(hours=1)))
CHEST = Code("67734004", SNOMED_CT, "Upper trunk")
PROCEDURE = Code("24627-2", "2.16.840.1.113883.6.1", "CT Chest")

#: dciodvfy of 2022 knows neither the value types that MADO brings into a Key Object Selection document nor Retrieve URL in it.
MADO_VALUE_TYPES = ("<NUM>", "<DATE>", "<TIME>")


def study() -> Study:
    """A CT series, a multi-frame one, a report and an ECG; two orders, one of them with an accession number of its own."""
    first = read_study([image(AccessionNumber="A1", PatientName="Müller^Zoë", BodyPartExamined="CHEST", StudyID="1")])
    report = read_study([packaged("reportsi.dcm")]).series[0]
    waveform = read_study([packaged("waveform_ecg.dcm")]).series[0]
    instance = first.series[0].instances[0]
    images = tuple(replace(instance, sop_instance_uid=f"1.2.3.{number}") for number in range(1, 4))
    frames = replace(
        first.series[0], series_instance_uid="1.2.4", instances=(replace(instance, sop_instance_uid="1.2.4.1", frames=8),)
    )
    orders = (
        ImagingOrder(
            OrderNumber("A1"), OrderNumber("P1", "1.2.3.7", "PLACER"), OrderNumber("F1", "1.2.3.8"), procedure=PROCEDURE
        ),
        ImagingOrder(OrderNumber("A2", "1.2.3.9"), OrderNumber("P2")),
    )
    return replace(
        first,
        patient=replace(first.patient, issuer_oid="1.2.3.500", issuer_namespace="HOSP_A"),
        accession_issuer_oid="1.2.3.501",
        series=(replace(first.series[0], instances=images), frames, report, waveform),
        orders=orders,
    )


def manifest(given: Study | None = None, **attributes: object) -> StudyManifest:
    one = given or study()
    values: dict[str, object] = {"requests": requests_of(one), **attributes}
    retrieve = RetrieveInformation("XDS", "1.2.3.400", "http://127.0.0.1:8080/dicomweb")
    return StudyManifest(one, "2.25.1001", "2.25.1002", values.pop("retrieve", retrieve), WHEN, **values)  # type: ignore[arg-type]


def described(given: Study | None = None) -> StudyManifest:
    one = given or study()
    details = {each.series_instance_uid: SeriesDetail("20260301", "120000", CHEST) for each in one.series}
    document = one.series[2].instances[0].sop_instance_uid
    return manifest(
        one,
        institution="HOSPITAL^^^^^&1.2.3&ISO^XX^^^4711",
        other_patient_ids=(
            PatientIdentifier("1CT1", AssigningAuthority("HOSP_A", "1.2.3.500")),
            PatientIdentifier("P1", AssigningAuthority(None, "1.2.3.100")),
        ),
        series=details,
        key_objects={document: KeyObjectDetail(Code("113000", DCM, "Of Interest"), "Significant images")},
    )


def drimbox() -> bytes:
    retrieve = RetrieveInformation("XDS", "1.2.3.400", "http://127.0.0.1:8080/dicomweb", whole_path=True)
    ins = PatientIdentifier("279035121518989", AssigningAuthority("ASIP-SANTE-INS-NIR", "1.2.250.1.213.1.4.10"))
    return write_kos(manifest(retrieve=retrieve, other_patient_ids=(ins,), institution="CHU"), text=True)


def read(octets: bytes) -> pydicom.Dataset:
    return pydicom.dcmread(BytesIO(octets))


def dciodvfy() -> str:
    """The judge of dicom3tools, which does not tell its version."""
    return program("dciodvfy", maker="")


def judge(octets: bytes, directory: Path, judging: str) -> list[str]:
    """The errors that a program of another toolkit finds."""
    path = directory / "manifest.dcm"
    path.write_bytes(octets)
    done = subprocess.run([judging, str(path)], capture_output=True, text=True, timeout=60, check=False)
    lines = [*done.stdout.splitlines(), *done.stderr.splitlines()]
    assert any("KeyObjectSelection" in line or "Key Object Selection" in line for line in lines), lines
    return [line for line in lines if line.startswith(("Error", "E:", "F:"))]


@pytest.mark.parametrize("orders", [True, False])
def test_the_classic_manifest_is_clean(tmp_path: Path, orders: bool) -> None:
    given = study() if orders else replace(study(), orders=(), accession_number="", accession_issuer_oid=None)
    octets = write_kos(manifest(given))
    assert judge(octets, tmp_path, dciodvfy()) == []
    assert judge(octets, tmp_path, program("dsrdump")) == []


def test_the_manifest_of_a_drimbox_is_clean(tmp_path: Path) -> None:
    assert judge(drimbox(), tmp_path, dciodvfy()) == []
    assert judge(drimbox(), tmp_path, program("dsrdump")) == []


def test_the_described_manifest_has_no_error_but_its_value_types(tmp_path: Path) -> None:
    errors = judge(write_kos(described(), ManifestForm.MADO), tmp_path, dciodvfy())
    assert [line for line in errors if not any(kind in line for kind in MADO_VALUE_TYPES)] == []


def test_a_request_for_each_accession_number_and_order() -> None:
    dataset = read(write_kos(manifest()))
    requests = [(item.AccessionNumber, item.PlacerOrderNumberImagingServiceRequest) for item in dataset.ReferencedRequestSequence]
    assert requests == [("A1", "P1"), ("A2", "P2")]
    first = dataset.ReferencedRequestSequence[0]
    assert first.IssuerOfAccessionNumberSequence[0].UniversalEntityID == "1.2.3.501"
    assert first.OrderPlacerIdentifierSequence[0].LocalNamespaceEntityID == "PLACER"
    assert first.FillerOrderNumberImagingServiceRequest == "F1"
    assert first.RequestedProcedureCodeSequence[0].CodingSchemeDesignator == "LN"
    assert dataset.AccessionNumber == ""
    assert "IssuerOfAccessionNumberSequence" not in dataset


def test_one_accession_number_is_that_of_the_study() -> None:
    dataset = read(write_kos(manifest(replace(study(), orders=study().orders[:1]))))
    assert dataset.AccessionNumber == "A1"
    assert dataset.IssuerOfAccessionNumberSequence[0].UniversalEntityID == "1.2.3.501"


def test_a_drimbox_names_series_in_words_and_in_urls() -> None:
    dataset = read(drimbox())
    series = dataset.CurrentRequestedProcedureEvidenceSequence[0].ReferencedSeriesSequence
    uid = dataset.StudyInstanceUID
    assert [item.RetrieveURL for item in series] == [
        f"http://127.0.0.1:8080/dicomweb/studies/{uid}/series/{item.SeriesInstanceUID}" for item in series
    ]
    words = dataset.ContentSequence[0]
    assert words.ConceptNameCodeSequence[0].CodeValue == "113012"
    assert words.TextValue.startswith("Examen : ")
    assert dataset.OtherPatientIDsSequence[0].TypeOfPatientID == "TEXT"
    assert dataset.OtherPatientIDsSequence[0].IssuerOfPatientID == "ASIP-SANTE-INS-NIR"


def test_the_image_library_describes_every_series() -> None:
    dataset = read(write_kos(described(), ManifestForm.MADO))
    library = dataset.ContentSequence[0]
    groups = [item for item in library.ContentSequence if item.ValueType == "CONTAINER"]
    assert len(groups) == 4
    named = {item.ConceptNameCodeSequence[0].CodeValue for item in groups[0].ContentSequence if "ConceptNameCodeSequence" in item}
    assert named == {"121139", "MADOTEMP003", "MADOTEMP004", "113607", "123014", "112002", "MADOTEMP007"}
    images = [item for item in groups[0].ContentSequence if item.ValueType == "IMAGE"]
    assert [item.ReferencedSOPSequence[0].ReferencedSOPInstanceUID for item in images] == ["1.2.3.1", "1.2.3.2", "1.2.3.3"]
    (frames,) = [item for item in groups[1].ContentSequence if item.ValueType == "IMAGE"]
    counted = {item.ConceptNameCodeSequence[0].CodeValue: item for item in frames.ContentSequence}
    assert counted["121140"].MeasuredValueSequence[0].NumericValue == 8
    (document,) = [item for item in groups[2].ContentSequence if item.ValueType == "COMPOSITE"]
    told = {item.ConceptNameCodeSequence[0].CodeValue: item for item in document.ContentSequence}
    assert told["121144"].ConceptCodeSequence[0].CodeValue == "113000"
    assert told["113012"].TextValue == "Significant images"


def test_a_described_manifest_is_one_for_readers_of_the_classic_one() -> None:
    """The same evidence and the same references. Spec: MADO (backward compatibility)."""
    classic, mado = (read_manifest([octets]) for octets in (write_kos(manifest()), write_kos(described(), ManifestForm.MADO)))
    assert classic.references == mado.references
    references = [
        item for item in read(write_kos(described(), ManifestForm.MADO)).ContentSequence if item.ValueType != "CONTAINER"
    ]
    assert len(references) == len(mado.references)


def test_final_codes_are_written_when_they_are_wanted() -> None:
    dataset = read(write_kos(described(), ManifestForm.MADO, codes=FINAL_CODES))
    (count,) = [item for item in dataset.ContentSequence[0].ContentSequence if item.ValueType == "NUM"]
    assert (count.ConceptNameCodeSequence[0].CodeValue, count.MeasuredValueSequence[0].NumericValue) == ("131565", 4)


def test_an_accession_number_that_is_made_up_is_always_the_same() -> None:
    first = generated_accession("1.2.3", "1.2.3.400")
    assert first == generated_accession("1.2.3", "1.2.3.400")
    assert first != generated_accession("1.2.4", "1.2.3.400")
    assert len(first.value) == 16


def test_instances_elsewhere_are_to_be_had_there() -> None:
    one = study()
    outside = replace(one.series[0], instances=tuple(replace(item, location="pacs") for item in one.series[0].instances))
    there = RetrieveInformation("PACS", "1.2.3.401")
    dataset = read(write_kos(manifest(replace(one, series=(outside, *one.series[1:])), locations={"pacs": there})))
    series = dataset.CurrentRequestedProcedureEvidenceSequence[0].ReferencedSeriesSequence
    assert [item.RetrieveLocationUID for item in series] == ["1.2.3.401", "1.2.3.400", "1.2.3.400", "1.2.3.400"]
    assert "RetrieveURL" not in series[0]


def test_times_share_the_offset_of_the_manifest() -> None:
    dataset = read(write_kos(manifest()))
    assert (dataset.TimezoneOffsetFromUTC, dataset.ContentTime) == ("+0100", "130000")
    assert WHEN.astimezone(UTC).hour == 12
