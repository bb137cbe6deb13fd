"""RAD-55 WADO Retrieve over HTTP. Spec: RAD TF-2 4.55; DICOM PS3.18 9."""

from __future__ import annotations

from collections.abc import Iterator
from io import BytesIO

import httpx
import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom.pixels import pixel_array

from tests.archive import packaged
from tests.presentation import as_file, item, presentation_state
from tests.transactions.imaging_server import ImagingServer, audited, hidden, serving
from xds.model.rendering import Window
from xds.pixels.rendering import windowed

CT = {
    "requestType": "WADO",
    "studyUID": "1.3.6.1.4.1.5962.1.2.1.20040119072730.12322",
    "seriesUID": "1.3.6.1.4.1.5962.1.3.1.1.20040119072730.12322",
    "objectUID": "1.3.6.1.4.1.5962.1.1.1.1.1.20040119072730.12322",
    "contentType": "application/dicom",
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ImagingServer]:
    with serving(tmp_path_factory.mktemp("server")) as started:
        started.archive.store(packaged("CT_small.dcm"))
        yield started


def ask(server: ImagingServer, accept: str = "*/*", **changes: str | None) -> httpx.Response:
    parameters = {name: value for name, value in (CT | changes).items() if value is not None}
    return httpx.get(f"{server.url}/wado", params=parameters, headers={"Accept": accept}, timeout=60)


def test_the_object_as_it_was_stored(server: ImagingServer) -> None:
    answer = ask(server)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/dicom")
    assert answer.content == packaged("CT_small.dcm")


def test_head(server: ImagingServer) -> None:
    answer = httpx.head(f"{server.url}/wado", params=CT, timeout=60)
    assert (answer.status_code, answer.headers["content-length"]) == (200, str(len(packaged("CT_small.dcm"))))


@pytest.mark.parametrize("missing", ["requestType", "studyUID", "seriesUID", "objectUID"])
def test_a_missing_parameter(server: ImagingServer, missing: str) -> None:
    answer = ask(server, **{missing: None})
    assert answer.status_code == 400
    assert missing in answer.text


@pytest.mark.parametrize(
    "changes",
    [
        {"requestType": "WADU"},
        {"requestType": ""},
        {"anonymize": "no"},
        {"anonymize": "yes", "contentType": "image/jpeg"},
        {"transferSyntax": "explicit"},
        {"presentationUID": "1.2.3"},
        {"presentationUID": "1.2.3", "presentationSeriesUID": "1.2.4"},
    ],
)
def test_a_senseless_parameter(server: ImagingServer, changes: dict[str, str | None]) -> None:
    assert ask(server, **changes).status_code == 400


@pytest.mark.parametrize("name", ["studyUID", "seriesUID", "objectUID"])
@pytest.mark.parametrize("value", ["", "1.2.3", "x' OR 1=1"])
def test_what_is_not_there(server: ImagingServer, name: str, value: str) -> None:
    """An empty UID is one that names nothing: 404, as the NIST toolkit expects (ids_2018-4810)."""
    assert ask(server, **{name: value}).status_code == 404


def test_what_the_caller_may_not_see(server: ImagingServer) -> None:
    with hidden(server, ""):
        assert ask(server).status_code == 404


@pytest.mark.parametrize(
    ("content_type", "accept", "status"),
    [
        ("image/jpeg", "*/*", 200),
        ("video/mp4", "*/*", 406),
        ("image/jpeg,application/dicom", "*/*", 200),
        (None, "application/dicom", 200),
        (None, "image/jpeg", 200),
        (None, "text/html", 406),
        (None, "image/jpeg, */*;q=0.1", 200),
    ],
)
def test_content_types(server: ImagingServer, content_type: str | None, accept: str, status: int) -> None:
    assert ask(server, accept, contentType=content_type).status_code == status


@pytest.mark.parametrize(
    ("content_type", "accept", "given"),
    [
        ("image/png,application/dicom", "*/*", "image/png"),
        ("application/dicom,image/png", "*/*", "application/dicom"),
        ("image/webp,image/png", "*/*", "image/png"),
        (None, "application/dicom;q=0.1,image/png", "image/png"),
        (None, "text/html,*/*;q=0.8", "application/dicom"),
    ],
)
def test_what_is_wanted_most_is_given(server: ImagingServer, content_type: str | None, accept: str, given: str) -> None:
    assert ask(server, accept, contentType=content_type).headers["content-type"] == given


def test_transfer_syntaxes(server: ImagingServer) -> None:
    answer = ask(server, transferSyntax="1.2.840.10008.1.2")
    assert pydicom.dcmread(BytesIO(answer.content)).file_meta.TransferSyntaxUID == "1.2.840.10008.1.2"
    assert ask(server, transferSyntax="1.2.840.10008.1.2.4.70").status_code == 406


def test_compressed_objects_are_decoded_unless_their_syntax_is_asked_for(server: ImagingServer) -> None:
    """Spec: PS3.18 9.1.2.2.12: without transferSyntax the object is in explicit little endian."""
    octets = packaged("MR_small_jp2klossless.dcm")
    server.archive.store(octets)
    stored = pydicom.dcmread(BytesIO(octets))
    place = {"studyUID": stored.StudyInstanceUID, "seriesUID": stored.SeriesInstanceUID, "objectUID": stored.SOPInstanceUID}
    assert ask(server, **place, transferSyntax="1.2.840.10008.1.2.4.90").content == octets
    decoded = pydicom.dcmread(BytesIO(ask(server, **place).content))
    assert decoded.file_meta.TransferSyntaxUID == "1.2.840.10008.1.2.1"
    assert np.array_equal(pixel_array(decoded), pixel_array(stored))


def test_an_image_without_whose_it_is(server: ImagingServer) -> None:
    """Spec: PS3.18 9.4.1.2.1."""
    plain = pydicom.dcmread(BytesIO(packaged("CT_small.dcm")))
    answer = ask(server, anonymize="yes")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/dicom")
    found = pydicom.dcmread(BytesIO(answer.content))
    assert found.PatientIdentityRemoved == "YES"
    for text in (str(plain.PatientName), plain.PatientID, plain.StudyInstanceUID, plain.SOPInstanceUID):
        assert text.encode() not in answer.content
    assert np.array_equal(pixel_array(found), pixel_array(plain))
    packed = pydicom.dcmread(BytesIO(ask(server, anonymize="yes", transferSyntax="1.2.840.10008.1.2.4.90").content))
    assert packed.file_meta.TransferSyntaxUID == "1.2.840.10008.1.2.4.90"
    assert packed.SOPInstanceUID == found.SOPInstanceUID
    assert ask(server, anonymize="yes", transferSyntax="1.2.840.10008.1.2.4.100").status_code == 406
    assert ask(server, **report(server), anonymize="yes").status_code == 406


def test_an_image_in_the_form_that_is_asked_for(server: ImagingServer) -> None:
    answer = ask(server, contentType="image/png", columns="64", windowCenter="100", windowWidth="400")
    assert answer.headers["content-type"] == "image/png"
    assert Image.open(BytesIO(answer.content)).size == (64, 64)
    part = ask(server, contentType="image/jpeg", region="0,0,0.5,0.25", imageQuality="50")
    assert Image.open(BytesIO(part.content)).size == (64, 32)


@pytest.mark.parametrize(
    "wrong",
    [
        {"rows": "many"},
        {"frameNumber": "2"},
        {"windowCenter": "5"},
        {"windowCenter": "1e999", "windowWidth": "5"},
        {"region": "0,0,2,2"},
        {"region": "0.5,0.5,0.2,0.7"},
        {"imageQuality": "0"},
        {"annotation": "patient,doctor"},
    ],
)
def test_parameters_of_images_that_are_none(server: ImagingServer, wrong: dict[str, str]) -> None:
    answer = ask(server, contentType="image/jpeg", **wrong)
    assert answer.status_code == 400
    assert next(iter(wrong)) in answer.text


def test_annotations_are_burnt_in(server: ImagingServer) -> None:
    plain = np.asarray(Image.open(BytesIO(ask(server, contentType="image/png", rows="512").content)))
    patient = np.asarray(Image.open(BytesIO(ask(server, contentType="image/png", rows="512", annotation="patient").content)))
    both = np.asarray(
        Image.open(BytesIO(ask(server, contentType="image/png", rows="512", annotation="technique,patient").content))
    )
    assert (patient[:100, :300] != plain[:100, :300]).any()
    assert np.array_equal(patient[256:], plain[256:])
    assert (both[256:] != plain[256:]).any()


def test_an_image_as_a_presentation_state_wants_it(server: ImagingServer) -> None:
    octets = packaged("CT_small.dcm")
    window = item(WindowCenter=40, WindowWidth=400)
    state = presentation_state(pydicom.dcmread(BytesIO(octets)), ImageRotation=180, SoftcopyVOILUTSequence=[window])
    server.archive.store(as_file(state))
    wanted = {"presentationUID": state.SOPInstanceUID, "presentationSeriesUID": state.SeriesInstanceUID}
    shown = ask(server, contentType="image/png", **wanted)
    raw = np.asarray(pixel_array(pydicom.dcmread(BytesIO(octets)))).astype(float)
    # The state has no modality LUT: its window is one of stored values.
    assert np.array_equal(np.asarray(Image.open(BytesIO(shown.content))), np.rint(windowed(np.rot90(raw, 2), Window(40, 400))))
    half = ask(server, contentType="image/jpeg", region="0,0,0.5,1", rows="64", **wanted)
    assert Image.open(BytesIO(half.content)).size == (32, 64)
    assert ask(server, contentType="image/jpeg", windowCenter="40", windowWidth="400", **wanted).status_code == 400
    assert ask(server, contentType="image/jpeg", **wanted | {"presentationUID": "1.2.3"}).status_code == 404
    assert ask(server, **wanted).status_code == 400
    image_itself = {"presentationUID": CT["objectUID"], "presentationSeriesUID": CT["seriesUID"]}
    assert ask(server, contentType="image/jpeg", **image_itself).status_code == 406


@pytest.mark.parametrize(
    ("content_type", "accept", "given"),
    [
        ("text/html", "*/*", "text/html; charset=utf-8"),
        ("text/plain", "*/*", "text/plain; charset=utf-8"),
        (None, "text/html,application/xhtml+xml,*/*;q=0.8", "text/html; charset=utf-8"),
        (None, "image/png;q=0.5,text/plain;q=0.1", "text/plain; charset=utf-8"),
        ("application/dicom", "*/*", "application/dicom"),
    ],
)
def test_a_report_as_a_text(server: ImagingServer, content_type: str | None, accept: str, given: str) -> None:
    answer = ask(server, accept, **report(server), contentType=content_type)
    assert (answer.status_code, answer.headers["content-type"]) == (200, given)


@pytest.mark.parametrize("content_type", ["application/pdf", "image/jpeg"])
def test_a_report_in_forms_that_are_not_given(server: ImagingServer, content_type: str) -> None:
    assert ask(server, **report(server), contentType=content_type).status_code == 406
    assert ask(server, contentType="text/html").status_code == 406


def report(server: ImagingServer) -> dict[str, str]:
    octets = packaged("reportsi.dcm")
    server.archive.store(octets)
    stored = pydicom.dcmread(BytesIO(octets))
    return {"studyUID": stored.StudyInstanceUID, "seriesUID": stored.SeriesInstanceUID, "objectUID": stored.SOPInstanceUID}


def test_other_methods(server: ImagingServer) -> None:
    assert httpx.post(f"{server.url}/wado", params=CT, timeout=60).status_code == 405


def test_both_outcomes_are_audited(server: ImagingServer) -> None:
    ask(server, objectUID="1.2.3.4.5.6", studyUID="1.2.3.4.5")
    (refused,) = audited(server, "RAD-55", "1.2.3.4.5")
    assert refused.outcome == "8"
    before = len(audited(server, "RAD-55", CT["studyUID"], at_least=0))
    ask(server)
    sent = audited(server, "RAD-55", CT["studyUID"], at_least=before + 1)[0]
    assert (sent.outcome, sent.action, sent.objects[-1].id) == ("0", "R", CT["studyUID"])
