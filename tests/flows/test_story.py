"""The story of the whole: one woman in two hospitals, her study and its reports, from the admission desk to the viewer.

Spec: RAD TF-1 18 (XDS-I.b); ITI TF-2 3.8, 3.9, 3.18, 3.41, 3.43; RAD TF-2 4.8, 4.55, 4.68, 4.69, 4.107; DICOM PS3.16 TID 2010.
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from random import Random
from typing import Any

import httpx
import pydicom
import pytest
from dicomweb_client.api import DICOMwebClient
from lxml import etree
from pydicom.dataset import Dataset
from pydicom.uid import generate_uid

from tests.archive import image
from tests.builders import association, document_entry, fresh_uid, submission
from tests.flows.conftest import AUTHORITY, IMAGING_SOURCE
from tests.flows.partners import (
    APPROVED,
    DEPRECATED,
    RETRIEVE_IMAGES,
    SUCCESS,
    XDSB,
    ask,
    entries,
    mllp,
    post_mtom,
    provide,
    read_multipart,
    retrieve,
    store,
    storescu,
)
from tests.programs import program
from tests.running import RunningServer
from xds.model.metadata import Code, DocumentEntry
from xds.model.vocabulary import AssociationType, StoredQueryId

HOSPITAL_A, HOSPITAL_B = "1.2.250.1.71.1", "1.2.250.1.71.2"
ACCESSION = "ACC-2026-0042"
ACCESSION_ID = f"{ACCESSION}^^^&{HOSPITAL_A}&ISO^urn:ihe:iti:xds:2013:accession"
KOS = "1.2.840.10008.5.1.4.1.1.88.59"
KOS_FORMAT = f"('{KOS}^^1.2.840.10008.2.6.1')"
CT_EVENT = "('CT^^1.2.840.10008.2.16.4')"
EXPLICIT_LITTLE = "1.2.840.10008.1.2.1"
IHE_FORMATS = "1.3.6.1.4.1.19376.1.2.3"
PDF = b"%PDF-1.4\n1 0 obj<</Type/Catalog>>endobj\ntrailer<</Root 1 0 R>>\n%%EOF\n"
CDA = '<?xml version="1.0"?>\r\n<ClinicalDocument xmlns="urn:hl7-org:v3"><title>Thorax</title></ClinicalDocument>\r\n'


@dataclass(frozen=True)
class Woman:
    """The one whom the story is about, as the hospitals and the affinity domain (CX) know her."""

    in_a: str
    in_b: str
    patient_id: str


@dataclass(frozen=True)
class Published:
    """A study that was stored and found again: its images, and the entry of its manifest."""

    images: tuple[Dataset, ...]
    entry: DocumentEntry

    @property
    def uid(self) -> str:
        return str(self.images[0].StudyInstanceUID)


# ------------------------------------------------------------------ admission


def pix_query(server: RunningServer, identifier: str, domain: str) -> list[list[str]]:
    return mllp(
        server,
        f"MSH|^~\\&|VIEWER|CLINIC|PIX|XDS|20260301090000||QBP^Q23^QBP_Q21|{fresh_uid()}|P|2.5",
        f"QPD|IHE PIX Query|tag-1|{identifier}|{domain}",
        "RCP|I",
    )


@pytest.fixture(scope="module")
def woman(server: RunningServer) -> Woman:
    """Hospital A admits her in 2.3.1 and Latin-1; hospital B registers her in 2.5, without accents, under its own number."""
    in_a, in_b = "A-4711^^^HOSP_A&1.2.250.1.71.1&ISO", "B-0815^^^HOSP_B&1.2.250.1.71.2&ISO"
    admitted = mllp(
        server,
        "MSH|^~\\&|ADT|HOSP_A|PIX|XDS|20260301080000||ADT^A01^ADT_A01|A-1|P|2.3.1||||||8859/1",
        "EVN|A01|20260301080000",
        f"PID|1||{in_a}^PI||Lefèvre^Marie-Hélène^^^^^L||19620314|F|||4 rue des Lilas^^Orléans^^45000^FRA",
        "PV1||I",
        encoding="iso8859-1",
    )
    assert admitted[1][:3] == ["MSA", "AA", "A-1"]
    registered = mllp(
        server,
        "MSH|^~\\&|REG|HOSP_B|PIX|XDS|20260301083000||ADT^A04^ADT_A01|B-1|P|2.5||||||UNICODE UTF-8",
        "EVN||20260301083000",
        f"PID|||{in_b}^PI||LEFEVRE^MARIE HELENE^^^^^L||19620314000000|F|||4, RUE DES LILAS^^ORLEANS^^45000^FRA",
        "PV1||O",
    )
    assert registered[1][:3] == ["MSA", "AA", "B-1"]
    answer = pix_query(server, in_a, f"^^^XDS&{AUTHORITY}&ISO")
    (patient,) = [segment for segment in answer if segment[0] == "PID"]
    value, _, authority = patient[3].partition("^^^")
    assert authority == f"XDS&{AUTHORITY}&ISO"
    return Woman(in_a, in_b, f"{value}^^^&{AUTHORITY}&ISO")


def test_the_cross_reference_links_both_hospitals(server: RunningServer, woman: Woman) -> None:
    of_a, of_b = (pix_query(server, identifier, "") for identifier in (woman.in_a, woman.in_b))
    assert [segment[0] for segment in of_a] == ["MSH", "MSA", "QAK", "QPD", "PID"]
    assert (of_a[1][1], of_a[2][1:3], of_a[3][2:4]) == ("AA", ["tag-1", "OK"], ["tag-1", woman.in_a])
    affinity = woman.patient_id.replace("^^^&", "^^^XDS&")
    assert set(of_a[4][3].split("~")) == {woman.in_b + "^PI", affinity}
    assert set(of_b[4][3].split("~")) == {woman.in_a + "^PI", affinity}


# ------------------------------------------------------------------ images in


def ct(number: int, study: str, series: str, **attributes: Any) -> Dataset:
    """An image of the woman with pixels of its own, as a modality of hospital A makes it."""

    def of_hospital_a(dataset: Dataset) -> None:
        issuer = Dataset()
        issuer.UniversalEntityID, issuer.UniversalEntityIDType = HOSPITAL_A, "ISO"
        dataset.IssuerOfPatientID = "HOSP_A"
        dataset.IssuerOfPatientIDQualifiersSequence = [issuer]
        dataset.PixelData = Random(number).randbytes(len(dataset.PixelData))

    facts = {
        "PatientID": "A-4711",
        "PatientName": "Lefevre^Marie-Helene",
        "PatientBirthDate": "19620314",
        "PatientSex": "F",
        "StudyInstanceUID": study,
        "SeriesInstanceUID": series,
        "SOPInstanceUID": generate_uid(None),
        "AccessionNumber": ACCESSION,
        "StudyDescription": "CT of the chest",
        "StudyDate": "20260301",
        "StudyTime": "101500",
        "TimezoneOffsetFromUTC": "+0100",
        "InstanceNumber": number,
        "BodyPartExamined": "CHEST",
    }
    return pydicom.dcmread(BytesIO(image(of_hospital_a, **(facts | attributes))))


def manifests(server: RunningServer, woman: Woman, study: str, status: str = APPROVED) -> list[DocumentEntry]:
    """What FindDocumentsByReferenceId has for a study."""
    found = ask(
        server,
        StoredQueryId.FIND_DOCUMENTS_BY_REFERENCE_ID,
        XDSDocumentEntryPatientId=f"'{woman.patient_id}'",
        XDSDocumentEntryStatus=status,
        XDSDocumentEntryFormatCode=KOS_FORMAT,
        XDSDocumentEntryReferenceIdList=f"('{study}^^^^urn:ihe:iti:xds:2016:studyInstanceUID')",
    )
    return entries(found.objects)


def manifest_of(server: RunningServer, entry: DocumentEntry) -> Dataset:
    (octets,) = retrieve(server, str(entry.repository_unique_id), str(entry.unique_id)).values()
    return pydicom.dcmread(BytesIO(octets))


def evidence(manifest: Dataset) -> dict[str, set[str]]:
    """The instances that a manifest lists, by series."""
    (study,) = manifest.CurrentRequestedProcedureEvidenceSequence
    return {
        item.SeriesInstanceUID: {sop.ReferencedSOPInstanceUID for sop in item.ReferencedSOPSequence}
        for item in study.ReferencedSeriesSequence
    }


def wait_for_manifest(server: RunningServer, woman: Woman, images: Sequence[Dataset], seconds: float = 120) -> Published:
    """Wait until the one approved manifest of the images' study lists them all."""
    wanted: dict[str, set[str]] = {}
    for item in images:
        wanted.setdefault(item.SeriesInstanceUID, set()).add(item.SOPInstanceUID)
    end = time.monotonic() + seconds
    while True:
        found = manifests(server, woman, images[0].StudyInstanceUID)
        assert len(found) <= 1
        if found and evidence(manifest_of(server, found[0])) == wanted:
            return Published(tuple(images), found[0])
        assert time.monotonic() < end, "the study was not published in time"
        time.sleep(0.2)


@pytest.fixture(scope="module")
def study(server: RunningServer, woman: Woman, tmp_path_factory: pytest.TempPathFactory) -> Published:
    """Two images come from dcmtk's storescu, a second series from pynetdicom."""
    uid, first, second = (generate_uid(None) for _ in range(3))
    images = [ct(1, uid, first), ct(2, uid, first), ct(3, uid, second, SeriesDescription="Lung")]
    files = []
    for item in images[:2]:
        files.append(tmp_path_factory.mktemp("images") / "image.dcm")
        item.save_as(files[-1])
    storescu(server, *files)
    store(server, images[2])
    return wait_for_manifest(server, woman, images)


# ------------------------------------------------------------------ the manifest


def test_the_manifest_is_found_by_each_query(server: RunningServer, woman: Woman, study: Published) -> None:
    patient = {"XDSDocumentEntryPatientId": f"'{woman.patient_id}'", "XDSDocumentEntryStatus": APPROVED}
    by_format = ask(server, StoredQueryId.FIND_DOCUMENTS, **patient, XDSDocumentEntryFormatCode=KOS_FORMAT)
    by_event = ask(server, StoredQueryId.FIND_DOCUMENTS, **patient, XDSDocumentEntryEventCodeList=CT_EVENT)
    other_event = ask(server, StoredQueryId.FIND_DOCUMENTS, **patient, XDSDocumentEntryEventCodeList=CT_EVENT.replace("CT", "MR"))
    by_accession = ask(
        server,
        StoredQueryId.FIND_DOCUMENTS_BY_REFERENCE_ID,
        **patient,
        XDSDocumentEntryReferenceIdList=f"('{ACCESSION_ID}')",
        XDSDocumentEntryFormatCode=KOS_FORMAT,
    )
    by_uuid = ask(server, StoredQueryId.GET_DOCUMENTS, XDSDocumentEntryEntryUUID=f"('{study.entry.id}')")
    by_unique_id = ask(server, StoredQueryId.GET_DOCUMENTS, XDSDocumentEntryUniqueId=f"('{study.entry.unique_id}')")
    for answer in (by_format, by_event, by_accession, by_uuid, by_unique_id):
        assert study.entry in answer.objects
    assert study.entry not in other_event.objects


def test_the_metadata_tell_what_the_images_told(woman: Woman, study: Published) -> None:
    entry = study.entry
    assert entry.patient_id == woman.patient_id
    assert entry.source_patient_id == f"A-4711^^^&{HOSPITAL_A}&ISO"
    assert entry.mime_type == "application/dicom"
    assert (entry.format_code.code, entry.format_code.scheme) == (KOS, "1.2.840.10008.2.6.1")
    assert {(code.code, code.scheme) for code in entry.event_codes} >= {("CT", "1.2.840.10008.2.16.4")}
    assert set(entry.reference_ids) == {ACCESSION_ID, f"{study.uid}^^^^urn:ihe:iti:xds:2016:studyInstanceUID"}
    assert entry.service_start_time == "20260301091500"


def test_the_manifest_says_where_the_images_are(server: RunningServer, study: Published, tmp_path: Path) -> None:
    manifest = manifest_of(server, study.entry)
    assert (manifest.SOPClassUID, manifest.Modality, manifest.SOPInstanceUID) == (KOS, "KO", study.entry.unique_id)
    assert (manifest.StudyInstanceUID, manifest.AccessionNumber) == (study.uid, ACCESSION)
    assert (manifest.PatientID, str(manifest.PatientName)) == ("A-4711", "Lefevre^Marie-Helene")
    assert manifest.IssuerOfPatientIDQualifiersSequence[0].UniversalEntityID == HOSPITAL_A
    (template,), (title,) = manifest.ContentTemplateSequence, manifest.ConceptNameCodeSequence
    assert (template.MappingResource, template.TemplateIdentifier) == ("DCMR", "2010")
    assert (title.CodeValue, title.CodingSchemeDesignator) == ("113030", "DCM")
    for series in manifest.CurrentRequestedProcedureEvidenceSequence[0].ReferencedSeriesSequence:
        assert series.RetrieveAETitle == "XDS"
        assert series.RetrieveLocationUID == IMAGING_SOURCE
        assert series.RetrieveURL == f"{server.http}/dicomweb"
    listed = {item.ReferencedSOPSequence[0].ReferencedSOPInstanceUID for item in manifest.ContentSequence}
    assert listed == {item.SOPInstanceUID for item in study.images}
    assert {item.ValueType for item in manifest.ContentSequence} == {"IMAGE"}
    manifest.save_as(tmp_path / "manifest.dcm")
    dumped = subprocess.run([program("dsrdump"), str(tmp_path / "manifest.dcm")], capture_output=True, text=True, check=False)
    assert dumped.returncode == 0
    assert "E: " not in dumped.stderr
    assert dumped.stdout.count("IMAGE:") == len(study.images)


# ------------------------------------------------------------------ images out


def pixels(octets: bytes) -> dict[str, bytes]:
    dataset = pydicom.dcmread(BytesIO(octets))
    return {dataset.SOPInstanceUID: dataset.PixelData}


def stored_pixels(images: Sequence[Dataset]) -> dict[str, bytes]:
    return {item.SOPInstanceUID: item.PixelData for item in images}


def test_the_images_come_by_what_the_manifest_says(server: RunningServer, study: Published) -> None:
    """RAD-69 with the identifiers of the manifest alone."""
    (listed,) = manifest_of(server, study.entry).CurrentRequestedProcedureEvidenceSequence
    series = "".join(
        f'<r:SeriesRequest seriesInstanceUID="{item.SeriesInstanceUID}">'
        + "".join(
            f"<x:DocumentRequest><x:RepositoryUniqueId>{item.RetrieveLocationUID}</x:RepositoryUniqueId>"
            f"<x:DocumentUniqueId>{sop.ReferencedSOPInstanceUID}</x:DocumentUniqueId></x:DocumentRequest>"
            for sop in item.ReferencedSOPSequence
        )
        + "</r:SeriesRequest>"
        for item in listed.ReferencedSeriesSequence
    )
    answer = post_mtom(
        f"{server.http}/services/imaging-source",
        RETRIEVE_IMAGES,
        f'<r:RetrieveImagingDocumentSetRequest xmlns:r="urn:ihe:rad:xdsi-b:2009" xmlns:x="{XDSB}">'
        f'<r:StudyRequest studyInstanceUID="{listed.StudyInstanceUID}">{series}</r:StudyRequest><r:TransferSyntaxUIDList>'
        f"<r:TransferSyntaxUID>{EXPLICIT_LITTLE}</r:TransferSyntaxUID></r:TransferSyntaxUIDList>"
        "</r:RetrieveImagingDocumentSetRequest>",
    )
    assert answer.status == SUCCESS, etree.tostring(answer.body)
    found = {uid: pixel for octets in answer.documents.values() for uid, pixel in pixels(octets).items()}
    assert found == stored_pixels(study.images)


def test_the_images_come_over_the_web_to_another_makers_client(server: RunningServer, study: Published) -> None:
    """WADO-RS: study, series, instance, metadata."""
    client = DICOMwebClient(f"{server.http}/dicomweb")
    first = study.images[0]
    assert stored_pixels(client.retrieve_study(study.uid)) == stored_pixels(study.images)
    of_series = client.retrieve_series(study.uid, first.SeriesInstanceUID)
    assert stored_pixels(of_series) == stored_pixels(study.images[:2])
    one = client.retrieve_instance(study.uid, first.SeriesInstanceUID, first.SOPInstanceUID)
    assert stored_pixels([one]) == stored_pixels([first])
    described = [Dataset.from_json(item, lambda _uri: b"") for item in client.retrieve_study_metadata(study.uid)]
    assert {item.SOPInstanceUID for item in described} == {item.SOPInstanceUID for item in study.images}


@pytest.mark.parametrize("level", ["study", "series", "instance"])
def test_the_images_come_over_the_web_by_http(server: RunningServer, study: Published, level: str) -> None:
    first = study.images[0]
    path = f"/dicomweb/studies/{study.uid}"
    wanted: Sequence[Dataset] = study.images
    if level != "study":
        path, wanted = f"{path}/series/{first.SeriesInstanceUID}", study.images[:2]
    if level == "instance":
        path, wanted = f"{path}/instances/{first.SOPInstanceUID}", [first]
    accept = f'multipart/related; type="application/dicom"; transfer-syntax={EXPLICIT_LITTLE}'
    response = httpx.get(server.http + path, headers={"Accept": accept}, timeout=60)
    assert response.status_code == 200
    boundary = response.headers["Content-Type"].partition("boundary=")[2].partition(";")[0].strip('"')
    parts = read_multipart(boundary, response.content)
    assert {uid: pixel for _, octets in parts for uid, pixel in pixels(octets).items()} == stored_pixels(wanted)


def test_one_image_comes_by_wado_uri(server: RunningServer, study: Published) -> None:
    first = study.images[0]
    query = {
        "requestType": "WADO",
        "studyUID": study.uid,
        "seriesUID": first.SeriesInstanceUID,
        "objectUID": first.SOPInstanceUID,
        "contentType": "application/dicom",
    }
    response = httpx.get(f"{server.http}/wado", params=query, timeout=60)
    assert (response.status_code, response.headers["Content-Type"]) == (200, "application/dicom")
    assert pixels(response.content) == stored_pixels([first])


def test_a_grown_study_replaces_its_manifest(server: RunningServer, woman: Woman) -> None:
    uid, series = generate_uid(None), generate_uid(None)
    images = [ct(1, uid, series)]
    store(server, *images)
    before = wait_for_manifest(server, woman, images)
    images.append(ct(2, uid, series))
    store(server, images[1])
    after = wait_for_manifest(server, woman, images)
    assert after.entry.unique_id != before.entry.unique_id
    assert [item.id for item in manifests(server, woman, uid, DEPRECATED)] == [before.entry.id]
    related = ask(
        server,
        StoredQueryId.GET_RELATED_DOCUMENTS,
        XDSDocumentEntryEntryUUID=f"'{after.entry.id}'",
        AssociationTypes=f"('{AssociationType.RPLC}')",
    )
    assert {item.id for item in entries(related.objects)} == {before.entry.id, after.entry.id}
    assert evidence(manifest_of(server, before.entry)) == {series: {images[0].SOPInstanceUID}}


# ------------------------------------------------------------------ reports


def report(woman: Woman, study: Published, **attributes: Any) -> DocumentEntry:
    facts = {
        "patient_id": woman.patient_id,
        "source_patient_id": f"A-4711^^^&{HOSPITAL_A}&ISO",
        "source_patient_info": ("PID-5|Lefèvre^Marie-Hélène",),
        "reference_ids": study.entry.reference_ids,
        "hash": None,
        "size": None,
        "repository_unique_id": None,
    }
    return document_entry(**(facts | attributes))


def test_reports_stand_beside_the_manifest_and_are_replaced(server: RunningServer, woman: Woman, study: Published) -> None:
    pdf = report(woman, study, id="Pdf", format_code=Code("urn:ihe:rad:PDF", IHE_FORMATS, "PDF"))
    structured = Code("urn:ihe:rad:CDA:ImagingReportStructuredHeadings:2013", IHE_FORMATS, "CDA Imaging Report")
    cda = report(woman, study, id="Cda", mime_type="text/xml", format_code=structured)
    contents = {"Pdf": PDF, "Cda": CDA.encode()}
    provide(server, submission([pdf, cda], patient_id=woman.patient_id), contents)
    slots = {"XDSDocumentEntryReferenceIdList": f"('{ACCESSION_ID}')", "XDSDocumentEntryPatientId": f"'{woman.patient_id}'"}
    query = StoredQueryId.FIND_DOCUMENTS_BY_REFERENCE_ID
    found = {item.unique_id: item for item in entries(ask(server, query, **slots, XDSDocumentEntryStatus=APPROVED).objects)}
    assert found.keys() >= {study.entry.unique_id, pdf.unique_id, cda.unique_id}
    repository = str(found[pdf.unique_id].repository_unique_id)
    documents = retrieve(server, repository, str(pdf.unique_id), str(cda.unique_id))
    assert documents == {pdf.unique_id: PDF, cda.unique_id: CDA.encode()}

    corrected = report(woman, study, id="Corrected", format_code=Code("urn:ihe:rad:PDF", IHE_FORMATS, "PDF"))
    replaces = association(AssociationType.RPLC, corrected, found[pdf.unique_id].id)
    provide(server, submission([corrected], patient_id=woman.patient_id, others=[replaces]), {"Corrected": PDF + b"% 2\n"})
    valid = {item.unique_id for item in entries(ask(server, query, **slots, XDSDocumentEntryStatus=APPROVED).objects)}
    assert valid >= {study.entry.unique_id, cda.unique_id, corrected.unique_id}
    assert pdf.unique_id not in valid
    outdated = {item.unique_id for item in entries(ask(server, query, **slots, XDSDocumentEntryStatus=DEPRECATED).objects)}
    assert pdf.unique_id in outdated
    assert retrieve(server, repository, str(pdf.unique_id)) == {pdf.unique_id: PDF}
