"""The whole server with its documents and images in a bucket: the same exchanges, and what happens while the bucket is away."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import httpx
import pydicom
import pytest
from pydicom.dataset import Dataset
from pynetdicom import AE

from tests.archive import image
from tests.builders import document_entry, fresh_uid, submission
from tests.flows.conftest import AUTHORITY, IMAGING_SOURCE
from tests.flows.partners import APPROVED, ask, entries, feed, provide, read_multipart, retrieve
from tests.ports import port_of_nobody
from tests.running import RunningServer
from tests.store.gate import Gate
from tests.store.servers import ObjectServer
from xds.app import BLOB_DIRECTORY
from xds.model.errors import RegistryResponse
from xds.model.retrieval import DocumentRequest
from xds.model.vocabulary import StoredQueryId
from xds.transactions import iti41_provide_and_register_document_set as iti41
from xds.transactions import iti43_retrieve_document_set as iti43
from xds.transactions.iti41_provide_and_register_document_set import DocumentToSend
from xds.wire.ebrs import read_retrieve_response
from xds.wire.soap import SoapFault

CONTENT = b"%PDF-1.4 " + bytes(range(256)) * 40_000  # 10 MB: sent to the bucket in parts
EXPLICIT_LITTLE = "1.2.840.10008.1.2.1"


@dataclass
class Region:
    """A server whose bucket is behind a gate."""

    server: RunningServer
    gate: Gate
    objects: ObjectServer
    bucket: str

    def blobs(self) -> list[str]:
        """The blobs in the bucket, as another client sees them."""
        listing = self.objects.client().list_objects_v2(Bucket=self.bucket, Prefix="some/prefix/objects/", MaxKeys=1000)
        return [str(item["Key"]).rpartition("/")[2] for item in listing.get("Contents", [])]

    def admin(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """`xds admin …` with the server's settings, beside the server."""
        return subprocess.run(
            [sys.executable, "-m", "xds", "admin", *arguments, "--data", str(self.server.data)],
            env=os.environ | {"XDS__STORAGE__URL": self.objects.url(self.bucket, port=self.gate.port)},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )


@pytest.fixture(scope="module")
def region(moto: ObjectServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Region]:
    """A server on S3 that publishes studies after one second of silence."""
    bucket = f"bucket-{uuid.uuid4().hex}"
    moto.client().create_bucket(Bucket=bucket)
    with pytest.MonkeyPatch.context() as patch, Gate(moto.port) as gate:
        for name, value in moto.environment().items():
            patch.setenv(name, value)
        settings = {
            "DOMAIN__ASSIGNING_AUTHORITY": AUTHORITY,
            "DOMAIN__IMAGING_SOURCE_UNIQUE_ID": IMAGING_SOURCE,
            "IMAGING__SETTLE_SECONDS": "1",
            "STORAGE__URL": moto.url(bucket, port=gate.port),
        }
        with RunningServer(tmp_path_factory.mktemp("server"), **settings) as server:
            yield Region(server, gate, moto, bucket)


@pytest.fixture
def patient(region: Region) -> str:
    identifier = f"P{fresh_uid().rpartition('.')[2]}^^^&{AUTHORITY}&ISO"
    feed(region.server, identifier)
    return identifier


def provide_document(server: RunningServer, patient: str, content: bytes) -> tuple[str, str]:
    """ITI-41 of one document; repositoryUniqueId and uniqueId of what ITI-18 then finds."""
    entry = document_entry(patient_id=patient, hash=None, size=None, repository_unique_id=None)
    provide(server, submission([entry], patient_id=patient), {entry.id: content})
    (found,) = documents_of(server, patient)
    return found


def documents_of(server: RunningServer, patient: str) -> list[tuple[str, str]]:
    slots = {"XDSDocumentEntryPatientId": f"'{patient}'", "XDSDocumentEntryStatus": APPROVED}
    objects = ask(server, StoredQueryId.FIND_DOCUMENTS, **slots).objects
    return [(str(item.repository_unique_id), str(item.unique_id)) for item in entries(objects)]


def wado(server: RunningServer, dataset: Dataset) -> httpx.Response:
    series = f"studies/{dataset.StudyInstanceUID}/series/{dataset.SeriesInstanceUID}"
    return httpx.get(
        f"{server.http}/dicomweb/{series}/instances/{dataset.SOPInstanceUID}",
        headers={"Accept": f'multipart/related; type="application/dicom"; transfer-syntax={EXPLICIT_LITTLE}'},
        timeout=60,
    )


def c_store(server: RunningServer, dataset: Dataset) -> int:
    """The status of one C-STORE."""
    title, host, port = server.dicom
    unit = AE(ae_title="MODALITY")
    unit.add_requested_context(dataset.SOPClassUID, dataset.file_meta.TransferSyntaxUID)
    association = unit.associate(host, port, ae_title=title)
    assert association.is_established
    status = association.send_c_store(dataset).Status
    association.release()
    return int(status)


def new_image() -> Dataset:
    uids = {"StudyInstanceUID": fresh_uid(), "SeriesInstanceUID": fresh_uid(), "SOPInstanceUID": fresh_uid()}
    return pydicom.dcmread(BytesIO(image(PatientID=f"P{uids['StudyInstanceUID'][-12:]}", **uids)))


def test_a_document_comes_back_as_it_was_provided(region: Region, patient: str) -> None:
    repository, unique_id = provide_document(region.server, patient, CONTENT)
    assert hashlib.sha256(CONTENT).hexdigest() in region.blobs()
    assert retrieve(region.server, repository, unique_id) == {unique_id: CONTENT}


def test_an_image_that_was_stored_comes_back_over_the_web(region: Region) -> None:
    dataset = new_image()
    assert c_store(region.server, dataset) == 0
    response = wado(region.server, dataset)
    assert response.status_code == 200
    boundary = response.headers["Content-Type"].partition("boundary=")[2].partition(";")[0].strip('"')
    ((_, content),) = read_multipart(boundary, response.content)
    assert hashlib.sha256(content).hexdigest() in region.blobs()
    assert pydicom.dcmread(BytesIO(content)).PixelData == dataset.PixelData


def test_nothing_stays_on_the_disk_of_the_server(region: Region, patient: str) -> None:
    provide_document(region.server, patient, b"in the bucket alone" * 100_000)
    directory = region.server.data / BLOB_DIRECTORY
    assert [path for path in directory.rglob("*") if path.is_file()] == []


def test_what_the_bucket_does_not_take_is_refused_and_goes_through_later(region: Region, patient: str) -> None:
    """The bucket goes away in the middle of an upload; metadata stays available, and nobody has to help afterwards."""
    earlier = provide_document(region.server, patient, b"earlier")
    content = uuid.uuid4().bytes + CONTENT
    entry = document_entry(patient_id=patient, hash=None, size=None, repository_unique_id=None)
    document = DocumentToSend(entry.id, "application/pdf", len(content), lambda: iter([content]))
    endpoint = f"{region.server.http}/services/repository"
    dataset = new_image()

    region.gate.shut_after(len(content) // 2)
    assert not is_accepted(lambda: iti41.send(submission([entry], patient_id=patient), [document], endpoint=endpoint))
    assert region.gate.broken.is_set()
    assert documents_of(region.server, patient) == [earlier]
    assert c_store(region.server, dataset) in {0x0110, 0xA700}
    assert wado(region.server, dataset).status_code == 404
    assert not is_accepted(lambda: retrieve_one(endpoint, *earlier))
    assert httpx.get(f"{region.server.http}/health/live", timeout=60).status_code == 200

    region.gate.open()
    assert hashlib.sha256(content).hexdigest() not in region.blobs()
    assert is_accepted(lambda: iti41.send(submission([entry], patient_id=patient), [document], endpoint=endpoint))
    assert c_store(region.server, dataset) == 0
    assert wado(region.server, dataset).status_code == 200
    found = dict.fromkeys(documents_of(region.server, patient))
    assert len(found) == 2
    assert {hashlib.sha256(data).digest() for key in found for data in retrieve(region.server, *key).values()} == {
        hashlib.sha256(content).digest(),
        hashlib.sha256(b"earlier").digest(),
    }


def is_accepted(attempt: Callable[[], RegistryResponse]) -> bool:
    """False for the standard's own refusals: a RegistryResponse that is a failure, or a SOAP fault."""
    try:
        return attempt().succeeded
    except SoapFault:
        return False


def retrieve_one(endpoint: str, repository: str, unique_id: str) -> RegistryResponse:
    answer = iti43.send([DocumentRequest(repository, unique_id)], endpoint=endpoint)
    answer.discard()
    return read_retrieve_response(answer.body)[0]


def test_a_scrub_beside_the_server_finds_what_happened_in_the_bucket(region: Region, patient: str) -> None:
    held = len(region.blobs())
    clean = region.admin("scrub", "--json")
    assert clean.returncode == 0, clean.stderr
    summary = json.loads(clean.stdout.splitlines()[-1])
    assert summary["clean"]
    assert summary["blobs"] >= held

    _, damaged = provide_document(region.server, patient, b"to be damaged")
    client = region.objects.client()
    name = f"some/prefix/objects/{hashlib.sha256(b'to be damaged').hexdigest()}"
    client.put_object(Bucket=region.bucket, Key=name, Body=b"to be dAmaged")
    found = region.admin("scrub")
    assert found.returncode == 1
    assert ["damaged", name.rpartition("/")[2], f"document {damaged}"] in [
        [row[0], row[1], row[3]] for row in (line.split("\t") for line in found.stdout.splitlines())
    ]
    client.put_object(Bucket=region.bucket, Key=name, Body=b"to be damaged")
    assert region.admin("scrub").returncode == 0


def test_secrets_stay_out_of_the_log(region: Region) -> None:
    log = (region.server.data / "server.log").read_text("utf-8")
    assert "http.request" in log
    assert region.objects.secret_key not in log


def test_a_bucket_that_does_not_answer_is_told_at_start(region: Region, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "xds", "serve", "--data", tmp_path]
    command += ["--http-port", "0", "--mllp-port", "0", "--dicom-port", "0"]
    with port_of_nobody() as port:
        done = subprocess.run(
            command,
            env=os.environ | {"XDS__STORAGE__URL": region.objects.url(region.bucket, port=port)},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
    assert done.returncode == 2
    assert done.stdout == ""
    assert f"s3://{region.bucket}/some/prefix at http://127.0.0.1" in done.stderr
    assert "no answer" in done.stderr
    assert "Traceback" not in done.stderr


def test_documents_are_there_after_a_restart(region: Region, patient: str) -> None:
    repository, unique_id = provide_document(region.server, patient, b"across a restart")
    assert region.server.stop() == 0
    region.server.start()
    assert retrieve(region.server, repository, unique_id) == {unique_id: b"across a restart"}
