"""Images that stay in the PACS of an establishment (Debian's Orthanc): announced, found, and given from there.

Spec: RAD TF-2 4.14, 4.16, 4.55, 4.68, 4.69, 4.107.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from email.parser import BytesParser
from io import BytesIO
from typing import Any

import httpx
import pydicom
import pytest
from dicomweb_client.api import DICOMwebClient

from tests.archive import image, packaged
from tests.orthanc import Orthanc, running_orthanc
from tests.ports import free_port
from tests.pull_through import LOCATION, PullingDomain, pacs_of, pulling, settings_for
from xds.model.errors import ErrorCode, RegistryResponse, Status
from xds.model.foreign_images import PullProblem
from xds.model.imaging import StudyState
from xds.model.retrieval import DocumentRequest, ImagingDocumentRequest
from xds.transactions import rad69_retrieve_imaging_document_set as rad69
from xds.wire import kos
from xds.wire.dicom import EXPLICIT_LITTLE, IMPLICIT_LITTLE
from xds.wire.ebrs import read_retrieve_response

MOVE_TITLE = "XDS_PULL"


@dataclass
class Establishment:
    """A PACS and the domain that it shares its images with."""

    pacs: Orthanc
    domain: PullingDomain

    def put(self, study: str, number: int, **attributes: Any) -> bytes:
        """Store one slice in the PACS, and give what was stored."""
        uids = {"StudyInstanceUID": study, "SeriesInstanceUID": f"{study}.1", "SOPInstanceUID": f"{study}.1.{number}"}
        octets = image(**{**uids, "InstanceNumber": number, "PatientID": "P1", **attributes})
        self.pacs.put(octets)
        return octets

    def series(
        self, study: str, accept: str = 'multipart/related; type="application/dicom"; transfer-syntax=*'
    ) -> httpx.Response:
        """A series by WADO-RS from us."""
        return httpx.get(f"{self.domain.url}/dicomweb/studies/{study}/series/{study}.1", headers={"Accept": accept}, timeout=60)

    def instance(self, study: str, number: int, accept: str = "application/dicom; transfer-syntax=*") -> httpx.Response:
        """One instance by WADO-RS from us."""
        address = f"{self.domain.url}/dicomweb/studies/{study}/series/{study}.1/instances/{study}.1.{number}"
        return httpx.get(address, headers={"Accept": accept}, timeout=60)

    def set(self, study: str, *numbers: int, repository: str = LOCATION) -> tuple[RegistryResponse, list[bytes]]:
        """Instances by RAD-69 from us."""
        wanted = [
            ImagingDocumentRequest(study, f"{study}.1", DocumentRequest(repository, f"{study}.1.{number}", None))
            for number in numbers
        ]
        answer = rad69.send(
            wanted, (EXPLICIT_LITTLE, IMPLICIT_LITTLE), endpoint=f"{self.domain.url}/services/imaging-source", timeout=60
        )
        try:
            return read_retrieve_response(answer.body)[0], [b"".join(part.staging.open()) for part in answer.parts.values()]
        finally:
            answer.discard()


@pytest.fixture(scope="module")
def move_port() -> int:
    return free_port()


@pytest.fixture(scope="module")
def orthanc(tmp_path_factory: pytest.TempPathFactory, move_port: int) -> Iterator[Orthanc]:
    with running_orthanc(tmp_path_factory.mktemp("orthanc"), {"us": (MOVE_TITLE, move_port)}) as started:
        yield started


WAYS = [("c-find", "c-get"), ("c-find", "c-move"), ("qido", "wado-rs"), ("qido", "c-get")]


@pytest.fixture(scope="module", params=WAYS, ids=["-".join(way) for way in WAYS])
def establishment(
    orthanc: Orthanc, move_port: int, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[Establishment]:
    query, retrieve = request.param
    pacs = pacs_of(orthanc.dicom_port, orthanc.dicomweb, query=query, retrieve=retrieve)
    with pulling(settings_for(tmp_path_factory.mktemp("domain"), [pacs], move_port=move_port)) as domain:
        yield Establishment(orthanc, domain)
    for key in orthanc.client.get("/studies").json():
        orthanc.client.delete(f"/studies/{key}")


def data_set(octets: bytes) -> pydicom.Dataset:
    """The data set itself: who sends by DIMSE writes lengths and padding as he likes, and meta information of his own."""
    found = pydicom.dcmread(BytesIO(octets))
    kept = pydicom.Dataset()
    kept.update({element.tag: element for element in found if element.tag.element and element.tag.group != 0xFFFC})
    return kept


def parts(answer: httpx.Response) -> list[bytes]:
    head = f"Content-Type: {answer.headers['content-type']}\r\n\r\n".encode()
    found: list[Any] = list(BytesParser().parsebytes(head + answer.content).get_payload())
    return [part.get_payload(decode=True) for part in found]


def uid_of(octets: bytes) -> str:
    return str(pydicom.dcmread(BytesIO(octets), stop_before_pixels=True).SOPInstanceUID)


def test_a_study_is_announced_without_being_archived(establishment: Establishment) -> None:
    for number in (1, 2, 3):
        establishment.put("1.2.1", number)
    assert establishment.domain.poll() >= 1
    stored = establishment.domain.study("1.2.1")
    assert stored is not None
    assert stored.state is StudyState.PUBLISHED
    assert stored.published is not None
    assert stored.study.patient.patient_id == "P1"
    assert {instance.location for series in stored.study.series for instance in series.instances} == {"pacs"}
    manifest = kos.read_manifest(establishment.domain.app.blobs.open(stored.published.blob))
    assert {item.sop_instance_uid for item in manifest.references} == {"1.2.1.1.1", "1.2.1.1.2", "1.2.1.1.3"}
    assert {item.retrieve_location_uid for item in manifest.references} == {LOCATION}
    blobs = establishment.domain.blobs()
    assert establishment.domain.poll() == 0
    assert establishment.domain.blobs() == blobs


def test_growth_and_shrinkage_replace_the_manifest(establishment: Establishment) -> None:
    establishment.put("1.2.2", 1)
    establishment.domain.poll()
    first = establishment.domain.study("1.2.2")
    establishment.put("1.2.2", 2)
    assert establishment.domain.poll() == 1
    second = establishment.domain.study("1.2.2")
    assert first
    assert second
    assert first.published
    assert second.published
    assert second.study.instance_count == 2
    assert second.published.unique_id != first.published.unique_id
    establishment.pacs.remove("1.2.2.1.1")
    assert establishment.domain.poll() == 1
    third = establishment.domain.study("1.2.2")
    assert third is not None
    assert [item.sop_instance_uid for series in third.study.series for item in series.instances] == ["1.2.2.1.2"]


def test_a_series_by_wado_rs(establishment: Establishment) -> None:
    stored = {f"1.2.3.1.{number}": establishment.put("1.2.3", number) for number in range(1, 8)}
    establishment.domain.poll()
    answer = establishment.series("1.2.3")
    assert answer.status_code == 200
    given = {uid_of(octets): octets for octets in parts(answer)}
    assert {uid: data_set(octets) for uid, octets in given.items()} == {uid: data_set(octets) for uid, octets in stored.items()}
    again = establishment.series("1.2.3")
    assert sorted(parts(again)) == sorted(parts(answer))


def test_one_instance_in_every_way(establishment: Establishment) -> None:
    stored = establishment.put("1.2.4", 1)
    establishment.domain.poll()
    assert data_set(establishment.instance("1.2.4", 1).content) == data_set(stored)
    parameters = {"requestType": "WADO", "studyUID": "1.2.4", "seriesUID": "1.2.4.1", "objectUID": "1.2.4.1.1"}
    by_uri = httpx.get(f"{establishment.domain.url}/wado", params={**parameters, "contentType": "application/dicom"}, timeout=60)
    assert data_set(by_uri.content) == data_set(stored)
    picture = httpx.get(f"{establishment.domain.url}/wado", params=parameters, headers={"Accept": "image/png"}, timeout=60)
    assert picture.status_code == 200
    assert picture.headers["content-type"] == "image/png"
    response, octets = establishment.set("1.2.4", 1)
    assert response.status is Status.SUCCESS
    assert data_set(octets[0]) == data_set(stored)
    client = DICOMwebClient(f"{establishment.domain.url}/dicomweb")
    assert client.retrieve_instance_frames("1.2.4", "1.2.4.1", "1.2.4.1.1", [1])
    assert client.retrieve_instance("1.2.4", "1.2.4.1", "1.2.4.1.1").SOPInstanceUID == "1.2.4.1.1"


def test_metadata_is_that_of_the_objects(establishment: Establishment) -> None:
    establishment.put("1.2.10", 1, KVP="120")
    establishment.domain.poll()
    client = DICOMwebClient(f"{establishment.domain.url}/dicomweb")
    (found,) = client.retrieve_series_metadata("1.2.10", "1.2.10.1")
    assert found["00180060"]["Value"] == [120]
    assert "BulkDataURI" in found["7FE00010"]


def test_what_is_gone_is_told_of_each_instance(establishment: Establishment) -> None:
    for number in (1, 2):
        establishment.put("1.2.5", number)
    establishment.domain.poll()
    establishment.pacs.remove("1.2.5.1.2")
    response, octets = establishment.set("1.2.5", 1, 2)
    assert response.status is Status.PARTIAL_SUCCESS
    assert len(octets) == 1
    assert [(error.code, error.location) for error in response.errors] == [(ErrorCode.DOCUMENT_UNIQUE_ID_ERROR, "1.2.5.1.2")]
    establishment.domain.publish()
    stored = establishment.domain.study("1.2.5")
    assert stored is not None
    assert stored.study.instance_count == 1


def test_nothing_stale_is_given_from_the_cache(establishment: Establishment) -> None:
    establishment.put("1.2.6", 1)
    establishment.put("1.2.6", 2)
    establishment.domain.poll()
    assert len(parts(establishment.series("1.2.6"))) == 2
    establishment.pacs.remove("1.2.6.1.1")
    assert establishment.instance("1.2.6", 1).status_code in (404, 410)
    changed = establishment.put("1.2.6", 2, ContentTime="235959", ImageComments="repeated")
    assert data_set(establishment.instance("1.2.6", 2).content) == data_set(changed)


def test_an_image_of_another_patient_goes_to_nobody(establishment: Establishment) -> None:
    establishment.put("1.2.7", 1)
    establishment.domain.poll()
    # The PACS got another image under the same UIDs, and nobody has asked since.
    establishment.pacs.remove("1.2.7.1.1")
    establishment.put("1.2.7", 1, PatientID="P2", PatientName="Else^Someone")
    answer = establishment.instance("1.2.7", 1)
    assert (answer.status_code, answer.text.strip()) == (502, PullProblem.OTHER_PATIENT.value)
    response, _ = establishment.set("1.2.7", 1)
    assert [error.code for error in response.errors] == [ErrorCode.REPOSITORY_ERROR]
    stored = establishment.domain.study("1.2.7")
    assert stored is not None
    assert stored.state is StudyState.UNRESOLVED
    assert "another patient" in (stored.reason or "")


def test_readers_at_once_share_one_pull(establishment: Establishment) -> None:
    for number in range(1, 6):
        establishment.put("1.2.8", number)
    establishment.domain.poll()
    before = len(establishment.domain.cached())
    with ThreadPoolExecutor(6) as readers:
        answers = list(readers.map(lambda _: establishment.series("1.2.8"), range(6)))
    assert [len(parts(answer)) for answer in answers] == [5] * 6
    assert len(establishment.domain.cached()) == before + 5


def test_a_compressed_image_comes_as_it_is_or_converted(establishment: Establishment) -> None:
    octets = packaged("JPEG2000.dcm")
    header = pydicom.dcmread(BytesIO(octets))
    establishment.pacs.put(octets)
    establishment.domain.poll()
    path = f"/studies/{header.StudyInstanceUID}/series/{header.SeriesInstanceUID}/instances/{header.SOPInstanceUID}"
    address = f"{establishment.domain.url}/dicomweb{path}"
    stored = httpx.get(address, headers={"Accept": "application/dicom; transfer-syntax=*"}, timeout=60)
    assert data_set(stored.content) == data_set(octets)
    native = httpx.get(address, headers={"Accept": "application/dicom"}, timeout=60)
    assert pydicom.dcmread(BytesIO(native.content)).file_meta.TransferSyntaxUID == EXPLICIT_LITTLE
    series = httpx.get(
        address.rpartition("/instances")[0], headers={"Accept": 'multipart/related; type="application/dicom"'}, timeout=60
    )
    assert pydicom.dcmread(BytesIO(parts(series)[0])).file_meta.TransferSyntaxUID == EXPLICIT_LITTLE


def test_an_unknown_repository_is_named(establishment: Establishment) -> None:
    establishment.put("1.2.9", 1)
    establishment.domain.poll()
    response, _ = establishment.set("1.2.9", 1, repository="1.2.3.999")
    assert [error.code for error in response.errors] == [ErrorCode.UNKNOWN_REPOSITORY_ID]
