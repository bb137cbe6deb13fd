"""Octets of a file on their way out, read or unread."""

from __future__ import annotations

import io
import random
from pathlib import Path

import pytest

from xds.open_file import CHUNK, OpenFile, read, unread

OCTETS = random.Random(7).randbytes(CHUNK + 70_000)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "octets"
    path.write_bytes(OCTETS)
    return path


def opened(path: Path, offset: int = 0, length: int | None = None) -> OpenFile:
    return OpenFile(io.FileIO(path), offset, length)


@pytest.mark.parametrize("length", [None, 0, 1, CHUNK, CHUNK + 1, len(OCTETS), len(OCTETS) + 1])
@pytest.mark.parametrize("offset", [0, 1, CHUNK, len(OCTETS), len(OCTETS) + 1])
def test_its_length_is_what_it_gives(path: Path, offset: int, length: int | None) -> None:
    expected = OCTETS[offset:][:length]
    file = opened(path, offset, length)
    assert len(file) == len(expected)
    assert file
    chunks = list(file)
    assert b"".join(chunks) == expected
    assert all(len(chunk) <= CHUNK for chunk in chunks)
    assert len(file) == 0


@pytest.mark.parametrize("length", [None, len(OCTETS) - 10])
def test_what_went_out_otherwise_is_not_read(path: Path, length: int | None) -> None:
    file = opened(path, 10, length)
    first = next(file)
    file.skip(1000)
    assert first + OCTETS[file.offset - 1000 : file.offset] + b"".join(file) == OCTETS[10:]


def test_a_file_that_is_worth_it_goes_out_as_one_chunk(path: Path) -> None:
    file = opened(path)
    assert list(unread(file)) == [file]
    assert list(unread([b"before", file])) == [b"before", file]
    few = opened(path, 0, 1000)
    assert list(unread(few)) == [OCTETS[:1000]]


def test_who_cannot_send_files_reads_them(path: Path) -> None:
    chunks = list(read([b"before", opened(path), b"after"]))
    assert all(isinstance(chunk, bytes) for chunk in chunks)
    assert b"".join(chunks) == b"before" + OCTETS + b"after"
