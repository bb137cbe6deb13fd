"""Moving pictures over WADO-RS and WADO-URI, and parts of bodies. Spec: DICOM PS3.18 8.7.4; RFC 9110 14."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest
from pydicom.encaps import encapsulate

from tests.archive import image
from tests.transactions.imaging_server import ImagingServer, serving

MP4 = b"\0\0\0\x18ftypmp42" + bytes(range(256)) * 40
PROGRAM = b"\0\0\1\xba" + bytes(range(256)) * 3
#: What is stored: instance -> transfer syntax, pieces of the stream, what it is.
STREAMS = {
    1: ("1.2.840.10008.1.2.4.102", [MP4], "video/mp4"),
    2: ("1.2.840.10008.1.2.4.104.1", [MP4[:1000], MP4[1000:]], "video/mp4"),
    3: ("1.2.840.10008.1.2.4.100", [PROGRAM], "video/mpeg"),
    4: ("1.2.840.10008.1.2.4.103", [(b"\x47" + bytes(187)) * 4], "video/mp2t"),
    5: ("1.2.840.10008.1.2.4.107", [b"\0\0\0\1\x40\1" + bytes(500)], "video/h265"),
}


def _stored(number: int) -> bytes:
    syntax, pieces, _ = STREAMS[number]

    def change(dataset: object) -> None:
        dataset.PixelData = encapsulate(pieces, has_bot=False)  # type: ignore[attr-defined]
        dataset["PixelData"].VR = "OB"  # type: ignore[index]
        dataset.file_meta.TransferSyntaxUID = syntax  # type: ignore[attr-defined]

    uids = {"StudyInstanceUID": "1.2.5", "SeriesInstanceUID": "1.2.5.1", "SOPInstanceUID": f"1.2.5.1.{number}"}
    return image(change, SOPClassUID="1.2.840.10008.5.1.4.1.1.77.1.1.1", NumberOfFrames=25, BitsAllocated=8, **uids)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ImagingServer]:
    with serving(tmp_path_factory.mktemp("video")) as started:
        for number in STREAMS:
            started.archive.store(_stored(number))
        started.archive.store(image())
        yield started


def _path(number: int) -> str:
    return f"/studies/1.2.5/series/1.2.5.1/instances/1.2.5.1.{number}"


def _get(server: ImagingServer, number: int, accept: str = "*/*", form: str = "/rendered", **headers: str) -> httpx.Response:
    return httpx.get(f"{server.url}/dicomweb{_path(number)}{form}", headers={"Accept": accept, **headers}, timeout=60)


def _ask(server: ImagingServer, number: int, content_type: str, **headers: str) -> httpx.Response:
    uids = {"studyUID": "1.2.5", "seriesUID": "1.2.5.1", "objectUID": f"1.2.5.1.{number}"}
    query = {"requestType": "WADO", "contentType": content_type, **uids}
    return httpx.get(f"{server.url}/wado", params=query, headers=headers, timeout=60)


@pytest.mark.parametrize("number", STREAMS)
def test_the_stream_is_given_as_what_it_is(server: ImagingServer, number: int) -> None:
    _, pieces, media_type = STREAMS[number]
    for accept in ("*/*", "video/*", f"image/png;q=0.5, {media_type}"):
        answer = _get(server, number, accept)
        assert (answer.status_code, answer.headers["content-type"]) == (200, media_type)
        assert answer.content == b"".join(pieces)
    asked = _ask(server, number, media_type)
    assert (asked.status_code, asked.content) == (200, b"".join(pieces))


def test_a_stream_is_nothing_else(server: ImagingServer) -> None:
    for accept in ("image/jpeg", "video/mpeg"):
        assert _get(server, 1, accept).status_code == 406
        assert _ask(server, 1, accept).status_code == 406
    assert _get(server, 3, "video/mpeg2").status_code == 200
    assert _ask(server, 1, "application/dicom").headers["content-type"] == "application/dicom"


@pytest.mark.parametrize("form", ["/bulkdata/7FE00010", "/frames/1"])
def test_the_stream_as_bulk_data(server: ImagingServer, form: str) -> None:
    """All frames are one stream, in however many fragments."""
    answer = _get(server, 2, "video/mp4", form)
    assert (answer.status_code, answer.content) == (200, MP4)
    assert answer.headers["content-type"].startswith("video/mp4")


@pytest.mark.parametrize(
    ("asked", "first", "last"),
    [("bytes=0-0", 0, 0), ("bytes=1000-", 1000, None), ("bytes=-10", -10, None), ("bytes=5-999999999", 5, None)],
)
def test_parts_of_a_stream(server: ImagingServer, asked: str, first: int, last: int | None) -> None:
    wanted = MP4[first:] if last is None else MP4[first : last + 1]
    start = first % len(MP4)
    for answer in (_get(server, 2, Range=asked), _ask(server, 2, "video/mp4", Range=asked)):
        assert (answer.status_code, answer.content) == (206, wanted)
        assert answer.headers["content-range"] == f"bytes {start}-{start + len(wanted) - 1}/{len(MP4)}"
        assert answer.headers["content-length"] == str(len(wanted))


@pytest.mark.parametrize("asked", ["bytes=5-3", "bytes=0-1,5-6", "bytes=-", "lines=0-5", "bytes=a-b", ""])
def test_what_is_no_range_gets_the_whole(server: ImagingServer, asked: str) -> None:
    answer = _get(server, 1, Range=asked)
    assert (answer.status_code, answer.headers["accept-ranges"]) == (200, "bytes")
    assert answer.content == MP4


def test_ranges_that_give_nothing(server: ImagingServer) -> None:
    for asked in (f"bytes={len(MP4)}-", "bytes=-0"):
        answer = _get(server, 1, Range=asked)
        assert (answer.status_code, answer.headers["content-range"]) == (416, f"bytes */{len(MP4)}")
    assert _get(server, 1, Range="bytes=0-1", **{"If-Range": '"x"'}).status_code == 200


def test_parts_of_an_object_and_of_bulk_data(server: ImagingServer) -> None:
    whole = _get(server, 1, "application/dicom; transfer-syntax=*", "")
    part = _get(server, 1, "application/dicom; transfer-syntax=*", "", Range="bytes=128-131")
    assert (part.status_code, part.content) == (206, b"DICM")
    assert whole.headers["accept-ranges"] == "bytes"
    assert "accept-ranges" not in _get(server, 1, "*/*", "").headers
