"""One pool of worker processes for the tests of pixels."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.data import get_testdata_file

from xds.pixels import transcoding
from xds.pixels.pool import Pool

# Whatever reads a file here reads it as the workers do: values that are none are no warning.
assert transcoding.config.settings.reading_validation_mode == transcoding.config.IGNORE


def sample(name: str) -> Path:
    """One of the files that come with pydicom. Nothing is fetched from anywhere."""
    found = get_testdata_file(name, download=False)
    assert found is not None, f"pydicom has no {name}"
    return Path(str(found))


@pytest.fixture(scope="session")
def pool(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pool]:
    """Two processes with a gibibyte each."""
    directory: Path = tmp_path_factory.mktemp("pixels")
    made = Pool(directory, processes=2, memory=1024**3, seconds=60)
    yield made
    made.close()
    assert list(directory.iterdir()) == []


@pytest.fixture(scope="session")
def frames(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An object of ten frames that differ, in explicit little endian."""
    dataset = dcmread(sample("MR_small.dcm"))
    first = np.frombuffer(dataset.PixelData, "<u2")
    dataset.NumberOfFrames = 10
    dataset.PixelData = b"".join((np.roll(first, 64 * number) + number).astype("<u2").tobytes() for number in range(10))
    path: Path = tmp_path_factory.mktemp("frames") / "frames.dcm"
    dataset.save_as(path, enforce_file_format=True)
    return path
