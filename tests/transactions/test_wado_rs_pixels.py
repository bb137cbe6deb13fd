"""RAD-107: frames, rendered images, thumbnails, bulk data, metadata as XML, and archives. Spec: DICOM PS3.18 10.4."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from email.parser import BytesParser
from io import BytesIO
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pydicom
import pytest
from dicomweb_client.api import DICOMwebClient
from lxml import etree
from PIL import Image, ImageCms
from pydicom.encaps import generate_frames
from pydicom.pixels import pixel_array
from pydicom.uid import JPEG2000Lossless

from tests.archive import image, packaged
from tests.transactions.imaging_server import ImagingServer, audited, serving

BROWSER = "image/avif,image/webp,image/apng,image/svg+xml,image/*,*/*;q=0.8"
NATIVE = {"study": "1.2.5", "series": "1.2.5.1"}
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
OCTETS = 'multipart/related; type="application/octet-stream"'


def _multi_frame(uid: str, *, compressed: bool) -> bytes:
    """Four frames that differ, 64 by 64."""
    dataset = pydicom.dcmread(BytesIO(packaged("MR_small.dcm")))
    first = np.frombuffer(dataset.PixelData, "<u2")
    dataset.NumberOfFrames = 4
    dataset.PixelData = b"".join(np.roll(first, 100 * number).astype("<u2").tobytes() for number in range(4))
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = "1.2.5", "1.2.5.1"
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = uid
    if compressed:
        dataset.compress(JPEG2000Lossless, generate_instance_uid=False)
    written = BytesIO()
    dataset.save_as(written, enforce_file_format=True)
    return written.getvalue()


PLAIN, PACKED = _multi_frame("1.2.5.1.1", compressed=False), _multi_frame("1.2.5.1.2", compressed=True)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ImagingServer]:
    directory: Path = tmp_path_factory.mktemp("wado")
    with serving(directory) as started:
        for octets in (PLAIN, PACKED, packaged("reportsi.dcm"), packaged("JPEG-lossy.dcm"), packaged("liver_1frame.dcm")):
            started.archive.store(octets)
        yield started


def get(server: ImagingServer, path: str, accept: str | None = None, **parameters: str) -> httpx.Response:
    headers = {"Accept": accept} if accept is not None else {}
    return httpx.get(f"{server.url}/dicomweb{path}", headers=headers, params=parameters, timeout=60)


def instance_path(number: int) -> str:
    return f"/studies/1.2.5/series/1.2.5.1/instances/1.2.5.1.{number}"


def parts(answer: httpx.Response) -> list[tuple[str, bytes]]:
    """The parts as the mail parser of the standard library reads them."""
    head = f"Content-Type: {answer.headers['content-type']}\r\n\r\n".encode()
    message = BytesParser().parsebytes(head + answer.content)
    found: list[Any] = list(message.get_payload())
    return [(part["Content-Type"], part.get_payload(decode=True)) for part in found]


def frame(octets: bytes, number: int) -> bytes:
    pixels: Any = pixel_array(pydicom.dcmread(BytesIO(octets)))
    return bytes(pixels[number - 1].astype("<u2").tobytes())


# ---- frames


@pytest.mark.parametrize("number", [1, 2])
def test_frames_decoded(server: ImagingServer, number: int) -> None:
    answer = get(server, f"{instance_path(number)}/frames/3,1", OCTETS)
    assert answer.status_code == 200
    assert parts(answer) == [("application/octet-stream", frame(PLAIN, 3)), ("application/octet-stream", frame(PLAIN, 1))]


def test_frames_by_dicomweb_client(server: ImagingServer) -> None:
    client = DICOMwebClient(f"{server.url}/dicomweb")
    assert client.retrieve_instance_frames("1.2.5", "1.2.5.1", "1.2.5.1.1", [2, 4]) == [frame(PLAIN, 2), frame(PLAIN, 4)]
    packed = client.retrieve_instance_frames("1.2.5", "1.2.5.1", "1.2.5.1.2", [2], media_types=("image/jp2",))
    stored = list(generate_frames(pydicom.dcmread(BytesIO(PACKED)).PixelData, number_of_frames=4))
    assert packed[0].rstrip(b"\0") == stored[1].rstrip(b"\0")


@pytest.mark.parametrize("accept", ["*/*", None, 'multipart/related; type="image/jp2"', 'multipart/related; type="*/*"'])
def test_frames_as_they_are_stored(server: ImagingServer, accept: str | None) -> None:
    answer = get(server, f"{instance_path(2)}/frames/1", accept)
    ((content_type, octets),) = parts(answer)
    assert content_type == "image/jp2; transfer-syntax=1.2.840.10008.1.2.4.90"
    assert octets.startswith(b"\xff\x4f\xff\x51")


@pytest.mark.parametrize("quote", ["", '"'])
def test_frames_in_any_transfer_syntax_are_not_decoded(server: ImagingServer, quote: str) -> None:
    """As viewers ask for them that decode by themselves, and read from the part what it is."""
    accept = f"multipart/related; type={quote}application/octet-stream{quote}; transfer-syntax={quote}*{quote}"
    answer = get(server, f"{instance_path(2)}/frames/1", accept)
    ((content_type, octets),) = parts(answer)
    assert content_type == "application/octet-stream; transfer-syntax=1.2.840.10008.1.2.4.90"
    assert octets.startswith(b"\xff\x4f\xff\x51")
    assert parts(get(server, f"{instance_path(1)}/frames/1", accept)) == [("application/octet-stream", frame(PLAIN, 1))]


def test_one_frame_without_multipart(server: ImagingServer) -> None:
    answer = get(server, f"{instance_path(2)}/frames/4", "application/octet-stream")
    assert (answer.headers["content-type"], answer.content) == ("application/octet-stream", frame(PLAIN, 4))


def test_single_bits_are_given_as_they_are_packed(server: ImagingServer) -> None:
    stored = pydicom.dcmread(BytesIO(packaged("liver_1frame.dcm")))
    path = f"/studies/{stored.StudyInstanceUID}/series/{stored.SeriesInstanceUID}/instances/{stored.SOPInstanceUID}"
    answer = get(server, f"{path}/frames/1", OCTETS)
    assert parts(answer)[0][1] == stored.PixelData[: stored.Rows * stored.Columns // 8]


@pytest.mark.parametrize(("path", "status"), [("/frames/5", 404), ("/frames/0", 404), ("/frames/a", 404), ("/frames/1,5", 404)])
def test_frames_that_are_not_there(server: ImagingServer, path: str, status: int) -> None:
    assert get(server, instance_path(1) + path, OCTETS).status_code == status


@pytest.mark.parametrize("accept", ["video/mp4", 'multipart/related; type="image/jpeg"', "text/html"])
def test_frames_in_forms_that_are_not_given(server: ImagingServer, accept: str) -> None:
    assert get(server, f"{instance_path(2)}/frames/1", accept).status_code == 406


# ---- rendered


@pytest.mark.parametrize("accept", [BROWSER, "*/*", "image/jpeg", None])
def test_an_image_as_browsers_ask_for_it(server: ImagingServer, accept: str | None) -> None:
    answer = get(server, f"{instance_path(1)}/rendered", accept)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "image/jpeg")
    assert Image.open(BytesIO(answer.content)).size == (64, 64)


def test_one_image_as_multipart_for_who_wants_nothing_else(server: ImagingServer) -> None:
    ((content_type, octets),) = parts(get(server, f"{instance_path(1)}/rendered", 'multipart/related; type="image/png"'))
    assert (content_type, Image.open(BytesIO(octets)).format) == ("image/png", "PNG")


def test_the_stored_window_is_used(server: ImagingServer) -> None:
    stored = pydicom.dcmread(BytesIO(packaged("MR_small.dcm")))
    answer = get(server, f"{instance_path(1)}/frames/1/rendered", "image/png")
    pixels = np.asarray(Image.open(BytesIO(answer.content))).astype(int)
    center, width = float(stored.WindowCenter), float(stored.WindowWidth)
    expected = np.clip((pixel_array(stored) - (center - 0.5)) / (width - 1) + 0.5, 0, 1) * 255
    assert np.abs(pixels - expected).max() <= 1


def test_parameters_of_rendered_images(server: ImagingServer) -> None:
    answer = get(server, f"{instance_path(2)}/rendered", "image/png", viewport="32,32", window="500,100,linear")
    assert Image.open(BytesIO(answer.content)).size == (32, 32)
    part = get(server, f"{instance_path(2)}/rendered", "image/png", viewport="10,10,0,0,20,10")
    assert Image.open(BytesIO(part.content)).size == (10, 5)
    wrong = get(
        server,
        f"{instance_path(2)}/rendered",
        "image/png",
        viewport="0,0",
        window="a",
        quality="200",
        annotation="doctor",
        iccprofile="adobe",
    )
    assert wrong.status_code == 400
    for word in ("viewport", "window", "quality", "annotation", "iccprofile"):
        assert word in wrong.text
    outside = get(server, f"{instance_path(2)}/rendered", "image/png", viewport="10,10,64,0,5,5")
    assert (outside.status_code, "outside" in outside.text) == (400, True)


@pytest.mark.parametrize("media_type", ["image/png", "image/jpeg"])
def test_the_profile_of_a_colour_image(server: ImagingServer, media_type: str) -> None:
    """Spec: PS3.18 8.3.5.1.6."""
    octets = image(name="SC_rgb_small_odd.dcm", ICCProfile=SRGB, StudyInstanceUID="1.2.16", SOPInstanceUID="1.2.16.1.1")
    server.archive.store(octets)
    found = pydicom.dcmread(BytesIO(octets))
    path = f"/studies/1.2.16/series/{found.SeriesInstanceUID}/instances/1.2.16.1.1/rendered"
    shown = {kind: Image.open(BytesIO(get(server, path, media_type, iccprofile=kind).content)) for kind in ("no", "yes", "srgb")}
    assert "icc_profile" not in shown["no"].info
    assert shown["yes"].info["icc_profile"] == SRGB
    assert "sRGB" in ImageCms.getProfileDescription(ImageCms.ImageCmsProfile(BytesIO(shown["srgb"].info["icc_profile"])))
    assert np.abs(np.asarray(shown["srgb"]).astype(int) - np.asarray(shown["no"])).max() <= 8


def test_all_frames_as_an_animation(server: ImagingServer) -> None:
    answer = get(server, f"{instance_path(1)}/rendered", "image/gif")
    assert getattr(Image.open(BytesIO(answer.content)), "n_frames", 1) == 4


def test_several_frames_and_a_whole_series(server: ImagingServer) -> None:
    two = parts(get(server, f"{instance_path(1)}/frames/1,3/rendered", 'multipart/related; type="image/png"'))
    assert [kind for kind, _ in two] == ["image/png", "image/png"]
    series = parts(get(server, "/studies/1.2.5/series/1.2.5.1/rendered", 'multipart/related; type="image/jpeg"'))
    assert len(series) == 2
    assert all(Image.open(BytesIO(octets)).size == (64, 64) for _, octets in series)


@pytest.mark.parametrize(
    "path", ["/studies/1.2.5", "/studies/1.2.5/series/1.2.5.1", instance_path(2), f"{instance_path(1)}/frames/4"]
)
def test_thumbnails(server: ImagingServer, path: str) -> None:
    answer = get(server, f"{path}/thumbnail", BROWSER)
    assert answer.headers["content-type"] == "image/jpeg"
    assert Image.open(BytesIO(answer.content)).size == (128, 128)


def test_what_is_no_image(server: ImagingServer) -> None:
    stored = pydicom.dcmread(BytesIO(packaged("reportsi.dcm")))
    path = f"/studies/{stored.StudyInstanceUID}"
    assert get(server, f"{path}/thumbnail").status_code == 406
    assert get(server, f"{path}/rendered").status_code == 406
    assert get(server, f"{instance_path(1)}/rendered", "video/mp4").status_code == 406


def test_a_report_for_a_browser(server: ImagingServer) -> None:
    stored = pydicom.dcmread(BytesIO(packaged("reportsi.dcm")))
    series = f"/studies/{stored.StudyInstanceUID}/series/{stored.SeriesInstanceUID}"
    path = f"{series}/instances/{stored.SOPInstanceUID}/rendered"
    answer = get(server, path, "text/html,application/xhtml+xml,*/*;q=0.8")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert answer.headers["content-security-policy"].startswith("sandbox")
    assert "<h1>" in answer.text
    assert get(server, path, "text/plain").headers["content-type"] == "text/plain; charset=utf-8"
    assert get(server, path).headers["content-type"] == "text/html; charset=utf-8"
    assert get(server, path, "image/jpeg").status_code == 406


def test_an_encapsulated_document(server: ImagingServer) -> None:
    pdf = b"%PDF-1.4 small" + b"\n"

    def encapsulate(dataset: Any) -> None:
        for name in ("PixelData", "Rows", "Columns"):
            del dataset[name]
        dataset.EncapsulatedDocument = pdf + b"\0"
        dataset.EncapsulatedDocumentLength = len(pdf)
        dataset.MIMETypeOfEncapsulatedDocument = "application/pdf"

    uids = {"StudyInstanceUID": "1.2.8", "SeriesInstanceUID": "1.2.8.1", "SOPInstanceUID": "1.2.8.1.1"}
    server.archive.store(image(encapsulate, SOPClassUID="1.2.840.10008.5.1.4.1.1.104.1", **uids))
    path = "/studies/1.2.8/series/1.2.8.1/instances/1.2.8.1.1/rendered"
    answer = get(server, path, "application/pdf")
    assert (answer.status_code, answer.headers["content-type"], answer.content) == (200, "application/pdf", pdf)
    assert get(server, path, "image/png,*/*;q=0.5").content == pdf
    assert get(server, path, "image/png").status_code == 406


def test_annotations_are_burnt_in(server: ImagingServer) -> None:
    plain, written = (
        get(server, f"{instance_path(1)}/rendered", "image/png", viewport="512,512", **more)
        for more in ({}, {"annotation": "patient,technique"})
    )
    assert written.status_code == 200
    assert written.content != plain.content


def test_a_broken_image_costs_one_answer(server: ImagingServer) -> None:
    broken = bytearray(image(SOPInstanceUID="1.2.6.1.1", SeriesInstanceUID="1.2.6.1", StudyInstanceUID="1.2.6", Rows=9000))
    server.archive.store(bytes(broken))
    path = "/studies/1.2.6/series/1.2.6.1/instances/1.2.6.1.1"
    assert get(server, f"{path}/rendered").status_code == 406
    assert get(server, f"{path}/frames/1", OCTETS).status_code == 406
    assert get(server, f"{instance_path(1)}/rendered").status_code == 200


# ---- bulk data, metadata, archives


def test_pixels_as_bulk_data(server: ImagingServer) -> None:
    uri = get(server, f"{instance_path(1)}/metadata").json()[0]["7FE00010"]["BulkDataURI"]
    path = uri.partition("/dicomweb")[2]
    whole = b"".join(frame(PLAIN, number) for number in (1, 2, 3, 4))
    assert [octets for _, octets in parts(get(server, path, OCTETS))] == [whole]
    single = get(server, path, "application/octet-stream")
    assert (single.headers["content-type"], single.content) == ("application/octet-stream", whole)
    headers = {"Accept": "application/octet-stream", "Range": "bytes=7-9"}
    part = httpx.get(f"{server.url}/dicomweb{path}", headers=headers, timeout=60)
    assert (part.status_code, part.content) == (206, whole[7:10])


def test_compressed_pixels_as_bulk_data(server: ImagingServer) -> None:
    """Decoded they are one value, as they are stored a part for each frame. Spec: PS3.18 8.7.3.3."""
    path = f"{instance_path(2)}/bulkdata/7FE00010"
    stored = list(generate_frames(pydicom.dcmread(BytesIO(PACKED)).PixelData))
    decoded = get(server, path, "application/octet-stream")
    assert decoded.content == b"".join(frame(PACKED, number) for number in range(1, len(stored) + 1))
    any_syntax = get(server, path, f"{OCTETS}; transfer-syntax=*")
    assert len(parts(any_syntax)) == len(stored)


@pytest.mark.parametrize("numbers", ["1,,2", "1,", ",1", ","])
def test_lists_of_frames_that_are_none(server: ImagingServer, numbers: str) -> None:
    assert get(server, f"{instance_path(1)}/frames/{numbers}", OCTETS).status_code == 400


@pytest.mark.parametrize(
    ("accept", "given"),
    [
        ("image/jpeg;q=0, */*", "image/png"),
        ("image/*, image/jpeg;q=0.1", "image/png"),
        ("image/jpeg;q=0, image/png;q=0, image/*", "image/gif"),
        ("image/jpeg, image/*;q=0.5", "image/jpeg"),
    ],
)
def test_what_is_named_goes_before_a_range(server: ImagingServer, accept: str, given: str) -> None:
    """Spec: RFC 9110 12.5.1."""
    assert get(server, f"{instance_path(1)}/rendered", accept).headers["content-type"] == given


def test_long_values_as_bulk_data(server: ImagingServer) -> None:
    def add(dataset: Any) -> None:
        dataset.ICCProfile = bytes(range(256)) * 16

    server.archive.store(image(add, SOPInstanceUID="1.2.7.1.1", SeriesInstanceUID="1.2.7.1", StudyInstanceUID="1.2.7"))
    path = "/studies/1.2.7/series/1.2.7.1/instances/1.2.7.1.1"
    assert get(server, f"{path}/metadata").json()[0]["00282000"]["BulkDataURI"].endswith(f"{path}/bulkdata/00282000")
    answer = get(server, f"{path}/bulkdata/00282000", "application/octet-stream")
    assert answer.content == bytes(range(256)) * 16
    assert get(server, f"{path}/bulkdata/00282000", "image/png").status_code == 406
    assert get(server, f"{path}/bulkdata/00420011/0/00282000").status_code == 404


def test_metadata_as_xml(server: ImagingServer) -> None:
    answer = get(server, f"{instance_path(1)}/metadata", 'multipart/related; type="application/dicom+xml"')
    ((content_type, octets),) = parts(answer)
    assert content_type == "application/dicom+xml"
    root = etree.fromstring(octets)
    names = {"n": "http://dicom.nema.org/PS3.19/models/NativeDICOM"}
    found = root.xpath("n:DicomAttribute[@keyword='PatientName']/n:PersonName/n:Alphabetic/n:FamilyName/text()", namespaces=names)
    assert found == ["CompressedSamples"]
    assert root.xpath("n:DicomAttribute[@tag='7FE00010']/n:BulkData/@uri", namespaces=names)


def test_metadata_of_a_study(server: ImagingServer) -> None:
    found = get(server, "/studies/1.2.5/metadata").json()
    assert [item["00080018"]["Value"][0] for item in found] == ["1.2.5.1.1", "1.2.5.1.2"]
    assert found[0]["7FE00010"]["BulkDataURI"].startswith("http://127.0.0.1:8080/dicomweb/studies/1.2.5/")


def test_a_study_as_an_archive(server: ImagingServer) -> None:
    answer = get(server, "/studies/1.2.5", "application/zip")
    assert answer.headers["content-disposition"] == 'attachment; filename="1.2.5.zip"'
    with zipfile.ZipFile(BytesIO(answer.content)) as archive:
        assert archive.testzip() is None
        assert [archive.read(name) for name in archive.namelist()] == [PLAIN, PACKED]


def test_decoded_objects_of_a_study(server: ImagingServer) -> None:
    answer = get(server, "/studies/1.2.5", 'multipart/related; type="application/dicom"; transfer-syntax=1.2.840.10008.1.2.1')
    assert answer.status_code == 200
    first, second = (pydicom.dcmread(BytesIO(octets)) for _, octets in parts(answer))
    assert np.array_equal(pixel_array(first), pixel_array(second))


def test_every_form_is_audited(server: ImagingServer) -> None:
    """A study of this test's own: what others asked for may be written later."""
    dataset = pydicom.dcmread(BytesIO(PLAIN))
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = "1.2.9", "1.2.9.1"
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = "1.2.9.1.1"
    written = BytesIO()
    dataset.save_as(written, enforce_file_format=True)
    server.archive.store(written.getvalue())
    for path in ("/rendered", "/frames/1", "/thumbnail", "/metadata"):
        answer = get(server, f"/studies/1.2.9/series/1.2.9.1/instances/1.2.9.1.1{path}")
        assert answer.status_code == 200, answer.text
    assert len(audited(server, "RAD-107", "1.2.9", at_least=4)) == 4
