"""RAD-107 and RAD-108 over HTTP, with dicomweb-client as the independent peer. Spec: DICOM PS3.18 10.4, 10.5."""

from __future__ import annotations

import json
from collections.abc import Iterator
from io import BytesIO
from typing import Any

import httpx
import pydicom
import pytest
from dicomweb_client.api import DICOMwebClient
from lxml import etree
from pydicom.encaps import generate_frames

from tests.archive import CONSUMER, image, packaged
from tests.transactions.imaging_server import ImagingServer, audited, hidden, serving
from xds.wire.dicom_xml import write_native_model
from xds.wire.dicomweb import MultipartError, read_multipart

STUDY = "1.3.6.1.4.1.5962.1.2.1.20040119072730.12322"
SERIES = "1.3.6.1.4.1.5962.1.3.1.1.20040119072730.12322"
CT = "1.3.6.1.4.1.5962.1.1.1.1.1.20040119072730.12322"
ANY = 'multipart/related; type="application/dicom"; transfer-syntax=*'


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ImagingServer]:
    """For tests that change nothing of what is read here."""
    with serving(tmp_path_factory.mktemp("server")) as started:
        started.archive.store(packaged("CT_small.dcm"))
        started.archive.store(image(SOPInstanceUID="1.2.3.2"))
        started.archive.store(packaged("MR_small_jp2klossless.dcm"))
        yield started


@pytest.fixture
def client(server: ImagingServer) -> DICOMwebClient:
    return DICOMwebClient(f"{server.url}/dicomweb")


def get(server: ImagingServer, path: str, accept: str | None = None) -> httpx.Response:
    headers = {"Accept": accept} if accept is not None else {}
    return httpx.get(f"{server.url}/dicomweb{path}", headers=headers, timeout=60)


# ---- RAD-107


def test_a_study_by_dicomweb_client(client: DICOMwebClient) -> None:
    found = client.retrieve_study(STUDY)
    assert {item.SOPInstanceUID for item in found} == {CT, "1.2.3.2"}
    assert found[0].PixelData == pydicom.dcmread(BytesIO(packaged("CT_small.dcm"))).PixelData


def test_series_instance_and_metadata_by_dicomweb_client(client: DICOMwebClient) -> None:
    assert len(client.retrieve_series(STUDY, SERIES)) == 2
    assert client.retrieve_instance(STUDY, SERIES, CT).SOPInstanceUID == CT
    described = client.retrieve_instance_metadata(STUDY, SERIES, CT)
    assert described["00100010"]["Value"][0]["Alphabetic"] == "CompressedSamples^CT1"
    assert described["7FE00010"]["BulkDataURI"].endswith(f"/series/{SERIES}/instances/{CT}/bulkdata/7FE00010")
    assert len(client.retrieve_study_metadata(STUDY)) == 2


def test_every_octet_is_as_stored(server: ImagingServer) -> None:
    answer = get(server, f"/studies/{STUDY}/series/{SERIES}/instances/{CT}", ANY)
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith('multipart/related; type="application/dicom"; boundary=')
    assert len(answer.content) == int(answer.headers["content-length"])
    assert packaged("CT_small.dcm") in answer.content


def test_a_single_instance_without_multipart(server: ImagingServer) -> None:
    answer = get(server, f"/studies/{STUDY}/series/{SERIES}/instances/{CT}", "application/dicom")
    assert answer.content == packaged("CT_small.dcm")
    assert answer.headers["content-type"] == "application/dicom; transfer-syntax=1.2.840.10008.1.2.1"
    assert get(server, f"/studies/{STUDY}", "application/dicom").status_code == 406


def test_transfer_syntax_negotiation(server: ImagingServer) -> None:
    stored = pydicom.dcmread(BytesIO(packaged("MR_small_jp2klossless.dcm")), stop_before_pixels=True)
    path = f"/studies/{stored.StudyInstanceUID}"
    kind = 'multipart/related; type="application/dicom"'
    assert get(server, path, ANY).status_code == 200
    assert get(server, path, f"{kind}; transfer-syntax=1.2.840.10008.1.2.4.90").status_code == 200
    assert get(server, path, f"{kind}; transfer-syntax=1.2.840.10008.1.2.4.70").status_code == 406
    decoded = get(server, path, kind)
    assert b"transfer-syntax=1.2.840.10008.1.2.1\r\n" in decoded.content
    assert get(server, path).status_code == 200
    implicit = get(server, f"/studies/{STUDY}", f"{kind}; transfer-syntax=1.2.840.10008.1.2")
    assert implicit.status_code == 200
    assert b"transfer-syntax=1.2.840.10008.1.2\r\n" in implicit.content


@pytest.mark.parametrize(
    ("weights", "given"),
    [
        ((1.0, 0.5), "1.2.840.10008.1.2.1"),
        ((0.5, 1.0), "1.2.840.10008.1.2.4.90"),
        ((0.5, 0.5), "1.2.840.10008.1.2.4.90"),
        ((0.5, 0.0), "1.2.840.10008.1.2.1"),
    ],
)
def test_weights_decide_between_transfer_syntaxes(server: ImagingServer, weights: tuple[float, float], given: str) -> None:
    """The stored one goes out among those that are wanted equally. Spec: PS3.18 8.7.8."""
    stored = pydicom.dcmread(BytesIO(packaged("MR_small_jp2klossless.dcm")), stop_before_pixels=True)
    kind = 'multipart/related; type="application/dicom"; transfer-syntax='
    accept = f"{kind}1.2.840.10008.1.2.1; q={weights[0]}, {kind}1.2.840.10008.1.2.4.90; q={weights[1]}"
    answer = get(server, f"/studies/{stored.StudyInstanceUID}", accept)
    assert answer.status_code == 200
    assert f"transfer-syntax={given}\r\n".encode() in answer.content


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        ('multipart/related; type="application/dicom+xml", application/dicom+json;q=0.9', "multipart/related"),
        ('multipart/related; type="application/dicom+xml";q=0.8, application/dicom+json;q=0.9', "application/dicom+json"),
        ('multipart/related; type="application/dicom+xml", */*;q=0.1', "multipart/related"),
        ("text/html, */*;q=0.1", "application/dicom+json"),
    ],
)
def test_metadata_come_in_the_form_that_is_wanted_most(server: ImagingServer, accept: str, kind: str) -> None:
    answer = get(server, f"/studies/{STUDY}/metadata", accept)
    assert answer.headers["content-type"].partition(";")[0] == kind


def test_part_of_a_study_is_said_to_be_part(server: ImagingServer) -> None:
    stored = pydicom.dcmread(BytesIO(packaged("MR_small_jp2klossless.dcm")))
    video = pydicom.dcmread(BytesIO(packaged("MR_small_jp2klossless.dcm")))
    video.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.4.102"
    video.StudyInstanceUID = stored.StudyInstanceUID = "1.2.3.60"
    video.SOPInstanceUID = video.file_meta.MediaStorageSOPInstanceUID = "1.2.3.77"
    for dataset in (video, stored):
        written = BytesIO()
        dataset.save_as(written)
        server.archive.store(written.getvalue())
    assert get(server, "/studies/1.2.3.60", 'multipart/related; type="application/dicom"').status_code == 206


@pytest.mark.parametrize(
    "accept", ["image/jpeg", 'multipart/related; type="image/jpeg"', 'multipart/related; type="application/octet-stream"']
)
def test_media_types_that_are_not_given(server: ImagingServer, accept: str) -> None:
    assert get(server, f"/studies/{STUDY}", accept).status_code == 406
    assert get(server, f"/studies/{STUDY}/metadata", accept).status_code == 406


@pytest.mark.parametrize(
    "path",
    [
        "",
        "/studies/1.2.3",
        f"/studies/{STUDY}/series/1.2.3",
        f"/studies/{STUDY}/series/{SERIES}/instances/1.2.3",
        f"/studies/{STUDY}/images/{CT}",
        f"/studies/{STUDY}/series/{SERIES}/instances/{CT}/frames/2",
        f"/studies/{STUDY}/series/{SERIES}/frames/1",
        f"/studies/{STUDY}/series/{SERIES}/instances/{CT}/frames/1/metadata",
        f"/studies/{STUDY}/bulkdata/00420011",
        f"/studies/{STUDY}/series/{SERIES}/instances/{CT}/bulkdata/00420011",
        "/studies/../../etc/passwd",
    ],
)
def test_what_is_not_there(server: ImagingServer, path: str) -> None:
    assert get(server, path, ANY).status_code == 404


def test_a_path_that_is_none_is_not_answered_by_a_page(server: ImagingServer) -> None:
    answer = get(server, "/patients", ANY)
    assert (answer.status_code, answer.headers["content-type"].partition(";")[0]) == (404, "text/plain")


@pytest.mark.parametrize(
    ("path", "methods"),
    [
        ("/dicomweb/studies", "GET, HEAD, OPTIONS, POST"),
        (f"/dicomweb/studies/{STUDY}", "GET, HEAD, OPTIONS, POST"),
        (f"/dicomweb/studies/{STUDY}/series", "GET, HEAD, OPTIONS"),
        (f"/dicomweb/studies/{STUDY}/series/{SERIES}/instances/{CT}/frames/1/rendered", "GET, HEAD, OPTIONS"),
        ("/dicomweb/instances", "GET, HEAD, OPTIONS"),
        ("/wado", "GET, HEAD, OPTIONS"),
    ],
)
def test_a_path_tells_its_methods(server: ImagingServer, path: str, methods: str) -> None:
    """RFC 9110 9.3.7; nothing is said to pages of other origins (CORS)."""
    answer = httpx.options(f"{server.url}{path}", headers={"Origin": "http://elsewhere.example"}, timeout=60)
    assert (answer.status_code, answer.content, answer.headers["allow"]) == (204, b"", methods)
    assert not [name for name in answer.headers if name.startswith("access-control")]
    refused = httpx.delete(f"{server.url}{path}", timeout=60)
    assert (refused.status_code, refused.headers["allow"]) == (405, methods.replace(", OPTIONS", ""))


def test_a_path_that_is_none_has_no_methods(server: ImagingServer) -> None:
    for path in ("", "/patients", f"/studies/{STUDY}/images"):
        assert httpx.options(f"{server.url}/dicomweb{path}", timeout=60).status_code == 404


def test_what_the_caller_may_not_see(server: ImagingServer) -> None:
    with hidden(server, ""):
        assert get(server, f"/studies/{STUDY}", ANY).status_code == 404
        assert get(server, f"/studies/{STUDY}/metadata").status_code == 404


def test_a_retrieve_is_audited(server: ImagingServer) -> None:
    for number in (1, 2):
        server.archive.store(image(SOPInstanceUID=f"1.2.3.70.{number}", StudyInstanceUID="1.2.3.70"))
    get(server, "/studies/1.2.3.70", ANY)
    (event,) = audited(server, "RAD-107", "1.2.3.70")
    assert (event.outcome, event.action) == ("0", "R")
    assert ("ContainsSOPClass", "1.2.840.10008.5.1.4.1.1.2=2") in event.objects[-1].details


# ---- RAD-108


def test_objects_stored_by_dicomweb_client(server: ImagingServer, client: DICOMwebClient) -> None:
    dataset = pydicom.dcmread(BytesIO(packaged("MR_small_RLE.dcm")))
    dataset.StudyInstanceUID = "1.2.3.50"
    answer = client.store_instances([dataset])
    assert answer.RetrieveURL.endswith("/dicomweb/studies/1.2.3.50")
    (reference,) = answer.ReferencedSOPSequence
    assert reference.ReferencedSOPInstanceUID == dataset.SOPInstanceUID
    (back,) = client.retrieve_study("1.2.3.50", media_types=(("application/dicom", "*"),))
    assert back.PixelData == dataset.PixelData


def store(server: ImagingServer, *objects: bytes, path: str = "/studies", **headers: str) -> httpx.Response:
    body = b"".join(b"--frontier\r\nContent-Type: application/dicom\r\n\r\n" + item + b"\r\n" for item in objects)
    given = {"Content-Type": 'multipart/related; type="application/dicom"; boundary=frontier'} | headers
    return httpx.post(f"{server.url}/dicomweb{path}", content=body + b"--frontier--\r\n", headers=given, timeout=60)


def test_some_stored_and_some_not(server: ImagingServer) -> None:
    answer = store(server, image(SOPInstanceUID="1.2.3.9", StudyInstanceUID="1.2.3.51"), b"no object")
    assert (answer.status_code, answer.headers["content-type"]) == (202, "application/dicom+json")
    told = answer.json()
    assert told["00081199"]["Value"][0]["00081155"]["Value"] == ["1.2.3.9"]
    assert told["00081198"]["Value"][0]["00081197"]["Value"] == [0xC000]


@pytest.mark.parametrize(
    ("changes", "path", "reason"),
    [
        ({}, "/studies/1.2.3.999", 0xA900),
        ({"PatientID": "SOMEBODY ELSE", "SOPInstanceUID": "1.2.3.8"}, "/studies", 0xC001),
        ({"StudyInstanceUID": ""}, "/studies", 0xC000),
    ],
)
def test_none_stored(server: ImagingServer, changes: dict[str, str], path: str, reason: int) -> None:
    answer = store(server, image(**changes), path=path)
    assert answer.status_code == 409
    assert answer.json()["00081198"]["Value"][0]["00081197"]["Value"] == [reason]


def test_requests_that_are_no_store(server: ImagingServer) -> None:
    assert store(server, path="/series").status_code == 405
    assert store(server, path="/patients").status_code == 404
    assert store(server, **{"Content-Type": "multipart/form-data; boundary=frontier"}).status_code == 415
    assert store(server, **{"Content-Type": "application/dicom+json"}).status_code == 415
    assert store(server).status_code == 400
    assert store(server, **{"Content-Type": 'multipart/related; type="application/dicom"'}).status_code == 400
    assert store(server, image(), Accept="text/html").status_code == 406
    assert store(server, image(), **{"Content-Encoding": "gzip"}).status_code == 415


def test_an_object_without_preamble_as_dicomweb_client_sends_it(server: ImagingServer, client: DICOMwebClient) -> None:
    """A data set that was made in memory has none; it is stored as a whole file."""
    octets = image(SOPInstanceUID="1.2.3.15", StudyInstanceUID="1.2.3.59")
    dataset = pydicom.dcmread(BytesIO(octets))
    dataset.preamble = None
    stored = client.store_instances([dataset])
    assert stored.ReferencedSOPSequence[0].ReferencedSOPInstanceUID == "1.2.3.15"
    answer = httpx.get(
        f"{server.url}/dicomweb/studies/1.2.3.59/series/{dataset.SeriesInstanceUID}/instances/1.2.3.15", timeout=60
    )
    assert b"\0" * 128 + octets[128:] in answer.content
    assert store(server, octets[132:]).status_code == 200
    # The group length, 12 octets, is left out by who does not care.
    assert store(server, octets[144:]).status_code == 200
    assert store(server, octets[132 + 300 :]).status_code == 409


def test_a_boundary_as_orthanc_writes_it(server: ImagingServer) -> None:
    """Two UUIDs, three characters more than RFC 2046 allows."""
    boundary = "-".join(["983ddb85-aa7c-4f1f-b983-1bbd28693f15"] * 2)
    octets = image(SOPInstanceUID="1.2.3.14", StudyInstanceUID="1.2.3.58")
    body = f"--{boundary}\r\nContent-Type: application/dicom\r\n\r\n".encode() + octets + f"\r\n--{boundary}--\r\n".encode()
    headers = {"Content-Type": f'multipart/related; type="application/dicom"; boundary={boundary}'}
    assert httpx.post(f"{server.url}/dicomweb/studies", content=body, headers=headers, timeout=60).status_code == 200
    headers = {"Content-Type": f'multipart/related; type="application/dicom"; boundary={"b" * 300}'}
    assert httpx.post(f"{server.url}/dicomweb/studies", content=body, headers=headers, timeout=60).status_code == 400


def test_one_object_without_multipart(server: ImagingServer) -> None:
    headers = {"Content-Type": "application/dicom", "Accept": "application/dicom+xml"}
    octets = image(SOPInstanceUID="1.2.3.11", StudyInstanceUID="1.2.3.52")
    answer = httpx.post(f"{server.url}/dicomweb/studies", content=octets, headers=headers, timeout=60)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/dicom+xml")
    told = etree.fromstring(answer.content)
    assert told.findtext(".//{*}DicomAttribute[@keyword='ReferencedSOPInstanceUID']/{*}Value") == "1.2.3.11"


def test_an_object_that_is_cut_off_does_not_take_the_place_of_a_whole_one(server: ImagingServer) -> None:
    octets = image(SOPInstanceUID="1.2.3.12", StudyInstanceUID="1.2.3.53")
    assert store(server, octets).status_code == 200
    answer = store(server, octets[:-1000])
    assert answer.status_code == 409
    (failed,) = answer.json()["00081198"]["Value"]
    assert (failed["00081155"]["Value"], failed["00081197"]["Value"]) == (["1.2.3.12"], [0xC000])
    (kept,) = DICOMwebClient(f"{server.url}/dicomweb").retrieve_study("1.2.3.53")
    assert len(kept.PixelData) == 128 * 128 * 2


# ---- RAD-108: metadata with bulk data


def described(server: ImagingServer, kind: str, metadata: bytes, *bulk: tuple[str, str, bytes]) -> httpx.Response:
    body = f"--frontier\r\nContent-Type: {kind}\r\n\r\n".encode() + metadata + b"\r\n"
    for place, media_type, octets in bulk:
        body += f"--frontier\r\nContent-Type: {media_type}\r\nContent-Location: {place}\r\n\r\n".encode() + octets + b"\r\n"
    headers = {"Content-Type": f'multipart/related; type="{kind}"; boundary=frontier'}
    return httpx.post(f"{server.url}/dicomweb/studies", content=body + b"--frontier--\r\n", headers=headers, timeout=60)


def _metadata(dataset: pydicom.Dataset, uri: str) -> dict[str, Any]:
    del dataset.file_meta
    found: dict[str, Any] = dataset.to_json_dict(bulk_data_threshold=10**9)
    found["7FE00010"] = {"vr": "OW", "BulkDataURI": uri}
    return found


def _back(server: ImagingServer, study: str) -> pydicom.Dataset:
    client = DICOMwebClient(f"{server.url}/dicomweb")
    (found,) = client.retrieve_study(study, media_types=(("application/dicom", "*"),))
    return found


@pytest.mark.parametrize("as_xml", [False, True])
def test_metadata_with_native_pixels(server: ImagingServer, as_xml: bool) -> None:
    dataset = pydicom.dcmread(BytesIO(image(SOPInstanceUID="1.2.3.13", StudyInstanceUID=f"1.2.3.54.{int(as_xml)}")))
    pixels, kind = dataset.PixelData, "application/dicom+xml" if as_xml else "application/dicom+json"
    study, item = dataset.StudyInstanceUID, _metadata(dataset, "bulk/1")
    metadata = write_native_model(item) if as_xml else json.dumps([item]).encode()
    answer = described(server, kind, metadata, ("bulk/1", "application/octet-stream", pixels))
    assert answer.status_code == 200, answer.text
    back = _back(server, study)
    assert back.PixelData == pixels
    assert back.PatientName == dataset.PatientName
    assert back.PixelSpacing == dataset.PixelSpacing
    assert (back.Rows, back[0x0043, 0x1018].value) == (dataset.Rows, dataset[0x0043, 0x1018].value)


def test_metadata_with_compressed_frames(server: ImagingServer) -> None:
    dataset = pydicom.dcmread(BytesIO(packaged("examples_ybr_color.dcm")))
    dataset.StudyInstanceUID = "1.2.3.55"
    frames = list(generate_frames(dataset.PixelData, number_of_frames=30))
    item = _metadata(dataset, "frames")
    bulk = [("frames", "image/jpeg; transfer-syntax=1.2.840.10008.1.2.4.50", frame) for frame in frames]
    assert described(server, "application/dicom+json", json.dumps([item]).encode(), *bulk).status_code == 200
    back = _back(server, "1.2.3.55")
    assert back.file_meta.TransferSyntaxUID == "1.2.840.10008.1.2.4.50"
    assert list(generate_frames(back.PixelData, number_of_frames=30)) == frames


def test_metadata_tell_how_an_object_is_stored_and_may_say_so_of_their_own_pixels(server: ImagingServer) -> None:
    """Available Transfer Syntax UID (0008,3002): viewers choose their decoder by it; it is no part of the object."""
    dataset = pydicom.dcmread(BytesIO(packaged("examples_ybr_color.dcm")))
    dataset.StudyInstanceUID = "1.2.3.57"
    (frame,) = list(generate_frames(dataset.PixelData, number_of_frames=30))[:1]
    item = _metadata(dataset, "frames")
    item["00280008"], item["00083002"] = {"vr": "IS", "Value": [1]}, {"vr": "UI", "Value": ["1.2.840.10008.1.2.4.50"]}
    metadata = json.dumps([item]).encode()
    assert described(server, "application/dicom+json", metadata, ("frames", "image/jpeg", frame)).status_code == 200
    back = _back(server, "1.2.3.57")
    assert back.file_meta.TransferSyntaxUID == "1.2.840.10008.1.2.4.50"
    assert "AvailableTransferSyntaxUID" not in back
    (told,) = httpx.get(f"{server.url}/dicomweb/studies/1.2.3.57/metadata", timeout=60).json()
    assert told["00083002"] == {"vr": "UI", "Value": ["1.2.840.10008.1.2.4.50"]}
    (found,) = httpx.get(f"{server.url}/dicomweb/studies/1.2.3.57/instances", timeout=60).json()
    assert found["00083002"] == told["00083002"]


def test_bulk_data_inside_sequences(server: ImagingServer) -> None:
    dataset = pydicom.dcmread(BytesIO(packaged("waveform_ecg.dcm")))
    dataset.StudyInstanceUID = "1.2.3.56"
    waveform = dataset.WaveformSequence[0].WaveformData
    item = _metadata(dataset, "unused")
    del item["7FE00010"]
    item["54000100"]["Value"][0]["54001010"] = {"vr": "OW", "BulkDataURI": "wave"}
    answer = described(
        server, "application/dicom+json", json.dumps([item]).encode(), ("wave", "application/octet-stream", waveform)
    )
    assert answer.status_code == 200
    assert _back(server, "1.2.3.56").WaveformSequence[0].WaveformData == waveform


@pytest.mark.parametrize(
    ("metadata", "status"),
    [
        (b"no json", 400),
        (b'["no data set"]', 400),
        (b"[]", 400),
        (b'[{"00080018": {"vr": "UI", "Value": ["1.2.3.4"]}}]', 409),
        (b'[{"7FE00010": {"vr": "OW", "BulkDataURI": "elsewhere"}}]', 409),
        (b'[{"7FE00010": {"vr": "OW", "BulkDataURI": "http://127.0.0.1:1/"}, "7FE00008": {"vr": "OF"}}]', 409),
        (b'[{"00080018": "1.2.3.4"}]', 409),
        (b'[{"00100010": {"Value": ["x"]}}]', 409),
    ],
)
def test_metadata_that_are_none(server: ImagingServer, metadata: bytes, status: int) -> None:
    assert described(server, "application/dicom+json", metadata).status_code == status


@pytest.mark.parametrize("cut", [10, 60, 5_000])
def test_a_message_that_breaks_off_stores_nothing(server: ImagingServer, cut: int) -> None:
    body = b"--frontier\r\nContent-Type: application/dicom\r\n\r\n" + image(SOPInstanceUID="1.2.3.10") + b"\r\n--frontier--\r\n"
    headers = {"Content-Type": 'multipart/related; type="application/dicom"; boundary=frontier'}
    answer = httpx.post(f"{server.url}/dicomweb/studies", content=body[:cut], headers=headers, timeout=60)
    assert answer.status_code == 400
    assert server.archive.source.retrieval.select(CONSUMER, STUDY, SERIES, "1.2.3.10") is None


class Dribble:
    """A body that arrives a few octets at a time."""

    def __init__(self, octets: bytes, step: int) -> None:
        self._octets, self._step = octets, step

    def read(self, size: int, /) -> bytes:
        piece, self._octets = self._octets[: self._step], self._octets[self._step :]
        return piece


@pytest.mark.parametrize("step", [1, 2, 3, 7, 1000])
def test_parts_are_found_wherever_the_body_is_cut(server: ImagingServer, step: int) -> None:
    contents = [b"", b"\r\n", b"--b", b"\r\n--", b"\r\n--x\r\n", bytes(range(256))]
    body = b"preamble\r\n" + b"".join(b"--b0\r\nContent-Type: a/b\r\n\r\n" + item + b"\r\n" for item in contents) + b"--b0--"
    assert parts_of(server, Dribble(body, step)) == contents
    with pytest.raises(MultipartError):
        parts_of(server, Dribble(body[:-4], step))


def parts_of(server: ImagingServer, body: Dribble) -> list[bytes]:
    found = []
    for _, staging in read_multipart(body, "b0", server.archive.blobs.stage):
        found.append(b"".join(staging.open()))
        staging.discard()
    return found
