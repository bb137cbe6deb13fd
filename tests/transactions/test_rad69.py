"""RAD-69 over SOAP with MTOM. Spec: RAD TF-2 4.69."""

from __future__ import annotations

from collections.abc import Iterator
from io import BytesIO

import pydicom
import pytest

from tests.archive import packaged
from tests.transactions.imaging_server import ImagingServer, serving
from xds.model.errors import ErrorCode, RegistryResponse, Status
from xds.model.retrieval import DocumentRequest, ImagingDocumentRequest
from xds.transactions import rad69_retrieve_imaging_document_set as rad69
from xds.wire.dicom import EXPLICIT_LITTLE
from xds.wire.ebrs import ReceivedDocument, read_retrieve_response

STUDY = "1.3.6.1.4.1.5962.1.2.1.20040119072730.12322"
SERIES = "1.3.6.1.4.1.5962.1.3.1.1.20040119072730.12322"
CT = "1.3.6.1.4.1.5962.1.1.1.1.1.20040119072730.12322"
HOME = "urn:oid:1.2.3.200"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ImagingServer]:
    with serving(tmp_path_factory.mktemp("server")) as started:
        started.archive.store(packaged("CT_small.dcm"))
        yield started


Answer = tuple[RegistryResponse, tuple[ReceivedDocument, ...], list[bytes]]


def ask(
    server: ImagingServer,
    *instances: str,
    study: str = STUDY,
    series: str = SERIES,
    home: str | None = None,
    syntaxes: tuple[str, ...] = (EXPLICIT_LITTLE,),
    repository: str = "1.2.3.400",
) -> Answer:
    wanted = [ImagingDocumentRequest(study, series, DocumentRequest(repository, uid, home)) for uid in instances]
    answer = rad69.send(wanted, syntaxes, endpoint=f"{server.url}/services/imaging-source", timeout=60)
    try:
        octets = [b"".join(part.staging.open()) for part in answer.parts.values()]
        return *read_retrieve_response(answer.body), octets
    finally:
        answer.discard()


def test_an_instance_comes_as_it_was_stored(server: ImagingServer) -> None:
    response, documents, octets = ask(server, CT)
    assert response.status is Status.SUCCESS
    assert octets == [packaged("CT_small.dcm")]
    assert documents[0].request == DocumentRequest("1.2.3.400", CT, None)
    assert documents[0].mime_type == "application/dicom"


def test_the_home_community_is_echoed(server: ImagingServer) -> None:
    _, documents, _ = ask(server, CT, home=HOME)
    assert documents[0].request.home == HOME


def test_some_of_them(server: ImagingServer) -> None:
    response, documents, octets = ask(server, CT, "1.2.3.4")
    assert response.status is Status.PARTIAL_SUCCESS
    assert len(documents) == len(octets) == 1
    assert [(error.code, error.location) for error in response.errors] == [(ErrorCode.DOCUMENT_UNIQUE_ID_ERROR, "1.2.3.4")]


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"repository": "1.2.3.999"}, ErrorCode.UNKNOWN_REPOSITORY_ID),
        ({"series": "1.2.3"}, ErrorCode.DOCUMENT_UNIQUE_ID_ERROR),
        ({"study": "1.2.3"}, ErrorCode.DOCUMENT_UNIQUE_ID_ERROR),
        ({"study": ""}, ErrorCode.REPOSITORY_ERROR),
        ({"series": ""}, ErrorCode.REPOSITORY_ERROR),
        ({"study": "", "series": ""}, ErrorCode.REPOSITORY_ERROR),
        ({"syntaxes": ("",)}, ErrorCode.REPOSITORY_ERROR),
        ({"syntaxes": ("1.2.3.4.5",)}, ErrorCode.REPOSITORY_ERROR),
    ],
)
def test_errors(server: ImagingServer, changes: dict[str, object], code: ErrorCode) -> None:
    """The cases of ids_2018-4811 of the NIST toolkit."""
    response, documents, _ = ask(server, CT, **changes)  # type: ignore[arg-type]
    assert response.status is Status.FAILURE
    assert documents == ()
    assert {error.code for error in response.errors} == {code}


def test_a_report_goes_with_images_whose_transfer_syntax_is_asked_for(server: ImagingServer) -> None:
    """The list is about pixels: who names compressed ones alone gets what has none, too."""
    server.archive.store(packaged("reportsi.dcm"))
    report = pydicom.dcmread(BytesIO(packaged("reportsi.dcm")))
    place = {"study": report.StudyInstanceUID, "series": report.SeriesInstanceUID}
    response, _, octets = ask(server, report.SOPInstanceUID, **place, syntaxes=("1.2.840.10008.1.2.4.80",))
    assert response.status is Status.SUCCESS
    assert octets == [packaged("reportsi.dcm")]
    response, _, _ = ask(server, report.SOPInstanceUID, **place, syntaxes=("1.2.3.4.5",))
    assert response.status is Status.FAILURE
