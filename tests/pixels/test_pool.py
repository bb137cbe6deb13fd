"""Worker processes: what breaks them costs one job."""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
from pydicom import Dataset, dcmread
from pydicom.uid import ExplicitVRLittleEndian

from tests.pixels.conftest import sample
from xds.model.rendering import Rendering
from xds.pixels.jobs import PixelError, PixelTimeoutError
from xds.pixels.pool import Pool

CT = sample("CT_small.dcm")


def _workers() -> set[int]:
    """Processes of this test that decode pixels."""
    children = psutil.Process().children()
    found = set()
    for child in children:
        # Some other child may just end.
        with suppress(psutil.Error):
            if "xds.pixels.worker" in " ".join(child.cmdline()):
                found.add(child.pid)
    return found


def _large(path: Path, side: int, frames: int) -> Path:
    """An object that says it has many pixels, and has them, compressed to almost nothing (RLE of zeros)."""
    dataset = dcmread(CT)
    dataset.Rows = dataset.Columns = side
    dataset.NumberOfFrames = frames
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 8, 8, 7
    dataset.PixelRepresentation = 0
    dataset.PixelData = bytes(side * side * frames)
    dataset["PixelData"].VR = "OB"
    dataset.save_as(path, enforce_file_format=True)
    return path


def test_a_worker_that_dies_costs_one_job(pool: Pool) -> None:
    pool.render(CT, Rendering()).release()
    for pid in _workers():
        os.kill(pid, signal.SIGKILL)
    with pytest.raises(PixelError, match="ended"):
        pool.render(CT, Rendering())
    outcomes = []
    for _ in range(3):
        try:
            made = pool.render(CT, Rendering())
        except PixelError:
            outcomes.append(False)
        else:
            outcomes.append(True)
            made.release()
    assert outcomes[-1]


def test_what_needs_more_memory_than_allowed_is_refused(tmp_path: Path) -> None:
    source = _large(tmp_path / "large.dcm", 8192, 8)
    pool = Pool(tmp_path, processes=1, memory=256 * 1024**2)
    try:
        with pytest.raises(PixelError, match=r"memory|decoded|ended"):
            pool.transcode(source, "1.2.840.10008.1.2.4.80")
        pool.render(CT, Rendering()).release()
    finally:
        pool.close()


def test_what_takes_too_long_is_ended(tmp_path: Path) -> None:
    source = _large(tmp_path / "large.dcm", 2048, 40)
    pool = Pool(tmp_path, processes=1, seconds=0.2)
    try:
        with pytest.raises(PixelTimeoutError):
            pool.transcode(source, "1.2.840.10008.1.2.4.90")
        assert _workers_of(pool) == set()
    finally:
        pool.close()


def _workers_of(pool: Pool) -> set[int]:
    idle = [pool._idle.get() for _ in range(pool._processes)]
    for worker in idle:
        pool._idle.put(worker)
    return {worker._process.pid for worker in idle if worker is not None}


def test_nobody_waits_for_ever_for_a_free_worker(tmp_path: Path) -> None:
    pool = Pool(tmp_path, processes=1, patience=0.1)
    busy = pool._idle.get()
    try:
        with pytest.raises(PixelTimeoutError, match="too many"):
            pool.render(CT, Rendering())
    finally:
        pool._idle.put(busy)
        pool.close()


def test_a_process_is_replaced_after_its_jobs(tmp_path: Path) -> None:
    pool = Pool(tmp_path, processes=1, jobs_per_process=2)
    try:
        seen = []
        for _ in range(3):
            pool.render(CT, Rendering()).release()
            seen.append(_workers_of(pool))
        assert seen[1] == set()
        assert len(seen[0]) == len(seen[2]) == 1
        assert seen[0] != seen[2]
    finally:
        pool.close()


def test_a_file_that_is_no_dicom_is_an_error_in_words(pool: Pool, tmp_path: Path) -> None:
    source = tmp_path / "no.dcm"
    source.write_bytes(b"no image" * 100)
    with pytest.raises(PixelError, match="cannot be decoded"):
        pool.render(source, Rendering())


def test_messages_carry_no_value_of_the_data_set(pool: Pool, tmp_path: Path) -> None:
    dataset: Dataset = dcmread(CT)
    dataset.Rows = 0
    dataset.PatientName = "SECRET^NAME"
    source = tmp_path / "rows.dcm"
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.save_as(source, enforce_file_format=True)
    with pytest.raises(PixelError) as refused:
        pool.render(source, Rendering())
    assert "SECRET" not in str(refused.value)


def test_an_object_is_spooled_for_as_long_as_it_is_needed(pool: Pool) -> None:
    octets = CT.read_bytes()
    with pool.spooled([octets[:1000], octets[1000:]]) as path:
        made = pool.render(path, Rendering(media_type="image/png"))
        assert b"".join(made.chunks()).startswith(b"\x89PNG")
    assert not path.exists()
    made.release()
    assert not made.path.exists()
