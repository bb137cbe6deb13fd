"""Files that are cut off in their pixels. Spec: DICOM PS3.5 7.1, A.4, A.5."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import pydicom
import pytest

from tests.archive import packaged
from xds.wire import dicom_whole
from xds.wire.dicom import DicomError
from xds.wire.dicom_header import read_header
from xds.wire.dicom_whole import check_whole

_FILES = sorted((Path(pydicom.__file__).parent / "data" / "test_files").glob("*.dcm"))


def _chunks(octets: bytes, size: int = 1000) -> Iterator[bytes]:
    return (octets[start : start + size] for start in range(0, len(octets), size))


def _check(octets: bytes, size: int = 1000) -> None:
    check_whole(read_header(_chunks(octets, size)), len(octets), lambda: _chunks(octets, size))


def _pixels(octets: bytes) -> int:
    return read_header((octets,)).end


@pytest.mark.parametrize("path", _FILES, ids=lambda path: path.name)
def test_every_file_that_can_be_read_is_whole(path: Path) -> None:
    octets = path.read_bytes()
    try:
        header = read_header((octets,))
    except DicomError:
        return
    if path.name == "MR_truncated.dcm":
        with pytest.raises(DicomError, match="inside its pixels"):
            check_whole(header, len(octets), lambda: _chunks(octets))
        return
    check_whole(header, len(octets), lambda: _chunks(octets))


@pytest.mark.parametrize("name", ["CT_small.dcm", "MR_small_implicit.dcm", "MR_small_bigendian.dcm", "MR_small_RLE.dcm"])
@pytest.mark.parametrize("size", [7, 1000, 1_000_000])
def test_a_file_that_is_cut_off_in_its_pixels(name: str, size: int) -> None:
    octets = packaged(name)
    start = _pixels(octets)
    for end in (start + 100, (start + len(octets)) // 2):
        with pytest.raises(DicomError, match="inside its pixels"):
            _check(octets[:end], size)


def test_a_fragment_that_is_cut_off() -> None:
    octets = packaged("JPEG2000.dcm")
    assert octets.endswith(b"\xfe\xff\xdd\xe0\0\0\0\0")
    _check(octets[:-8])
    with pytest.raises(DicomError, match="inside its pixels"):
        _check(octets[:-20])


def test_a_padding_octet_may_be_absent() -> None:
    octets = packaged("SC_rgb_small_odd.dcm")
    assert octets.endswith(b"\0")
    _check(octets[:-1])


def test_what_is_behind_the_pixels_is_not_looked_at() -> None:
    _check(packaged("MR_small.dcm") + b"\0" * 7)


def test_a_deflated_file_that_is_cut_off_or_too_long(monkeypatch: pytest.MonkeyPatch) -> None:
    octets = packaged("image_dfl.dcm")
    _check(octets)
    with pytest.raises(DicomError):
        _check(octets[:-100])
    header = read_header((octets,))
    plain = zlib.decompress(octets[header.data_set :], -zlib.MAX_WBITS)
    squeezed = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    short = octets[: header.data_set] + squeezed.compress(plain[:-100]) + squeezed.flush()
    with pytest.raises(DicomError, match="inside its pixels"):
        _check(short)
    monkeypatch.setattr(dicom_whole, "MAX_INFLATED", len(plain) - 1)
    with pytest.raises(DicomError, match="more than"):
        _check(octets)


def test_an_object_without_pixels() -> None:
    _check(packaged("reportsi.dcm"))
    assert pydicom.dcmread(BytesIO(packaged("reportsi.dcm"))).get("PixelData") is None


def test_pixels_that_state_their_length_are_not_read() -> None:
    octets = packaged("CT_small.dcm")
    header = read_header((octets,))
    assert header.pixels_end is not None
    check_whole(header, header.pixels_end, lambda: pytest.fail("the file is read"))
    with pytest.raises(DicomError, match="inside its pixels"):
        check_whole(header, header.pixels_end - 2, lambda: pytest.fail("the file is read"))
