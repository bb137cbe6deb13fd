"""RAD-107: bulk data of objects that are no ordinary images. Spec: DICOM PS3.18 8.7.3.3, 10.4.1.1.6."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import numpy as np
import pytest

from tests.archive import image
from tests.transactions.imaging_server import ImagingServer, serving


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ImagingServer]:
    with serving(tmp_path_factory.mktemp("bulk")) as started:
        yield started


def get(server: ImagingServer, path: str, accept: str | None = None) -> httpx.Response:
    headers = {"Accept": accept} if accept is not None else {}
    return httpx.get(f"{server.url}/dicomweb{path}", headers=headers, timeout=60)


@pytest.mark.parametrize(
    ("bits", "keyword", "tag"), [(32, "FloatPixelData", "7FE00008"), (64, "DoubleFloatPixelData", "7FE00009")]
)
def test_values_with_a_fraction(server: ImagingServer, bits: int, keyword: str, tag: str) -> None:
    """Spec: PS3.3 C.7.6.24, C.7.6.25."""
    values = np.linspace(0, 1, 16, dtype=f"<f{bits // 8}").tobytes()

    def as_fractions(dataset: Any) -> None:
        for name in ("PixelData", "BitsStored", "HighBit", "PixelRepresentation", "SmallestImagePixelValue"):
            if name in dataset:
                delattr(dataset, name)
        dataset.Rows, dataset.Columns, dataset.BitsAllocated = 4, 4, bits
        setattr(dataset, keyword, values)

    uids = {"SOPInstanceUID": f"1.2.8.{bits}.1", "SeriesInstanceUID": f"1.2.8.{bits}", "StudyInstanceUID": f"1.2.8.{bits}.9"}
    server.archive.store(image(as_fractions, SOPClassUID="1.2.840.10008.5.1.4.1.1.30", **uids))
    path = f"/studies/1.2.8.{bits}.9/series/1.2.8.{bits}/instances/1.2.8.{bits}.1"
    described = get(server, f"{path}/metadata").json()[0]
    assert "7FE00010" not in described
    assert described[tag]["vr"] == {32: "OF", 64: "OD"}[bits]
    uri = described[tag]["BulkDataURI"].partition("/dicomweb")[2]
    assert get(server, uri, "application/octet-stream").content == values
    assert get(server, f"{path}/frames/1", "application/octet-stream").content == values


def test_an_encapsulated_document_as_bulk_data(server: ImagingServer) -> None:
    def with_document(dataset: Any) -> None:
        for name in ("PixelData", "Rows", "Columns"):
            delattr(dataset, name)
        dataset.EncapsulatedDocument, dataset.MIMETypeOfEncapsulatedDocument = b"%PDF-1.4 of a report", "application/pdf"

    uids = {"SOPInstanceUID": "1.2.9.1.1", "SeriesInstanceUID": "1.2.9.1", "StudyInstanceUID": "1.2.9"}
    server.archive.store(image(with_document, SOPClassUID="1.2.840.10008.5.1.4.1.1.104.1", **uids))
    path = "/studies/1.2.9/series/1.2.9.1/instances/1.2.9.1.1/bulkdata/00420011"
    as_document = get(server, path, "application/pdf")
    assert (as_document.headers["content-type"], as_document.content) == ("application/pdf", b"%PDF-1.4 of a report")
    assert get(server, path, "application/octet-stream").headers["content-type"] == "application/octet-stream"
    assert get(server, path, "image/jpeg").status_code == 406
