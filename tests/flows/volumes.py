"""A file system of our own in a file, so that a test can take its power away or fill it up. Needs root and loop devices."""

from __future__ import annotations

import errno
import fcntl
import os
import struct
import subprocess
import time
from pathlib import Path
from types import TracebackType
from typing import Self

import pytest

#: EXT4_IOC_SHUTDOWN of Linux and its flag NOLOGFLUSH: from now on nothing reaches the device, not even the journal.
_SHUTDOWN = 0x8004587D
_WITHOUT_FLUSHING_THE_LOG = 2


class Volume:
    """An ext4 file system of so many MiB in an image file, mounted at `path` while the block runs."""

    def __init__(self, path: Path, image: Path, mebibytes: int) -> None:
        """Skips the test without root; without loop devices it is skipped too, and fails in CI."""
        if os.geteuid() != 0:
            pytest.skip("NEEDS root: a file system in an image file cannot be mounted")
        self.path = path
        self._image = image
        with image.open("wb") as file:
            file.truncate(mebibytes << 20)
        # No blocks are set aside for root: the server under test is root, too, and has to find the disk full.
        _run("mkfs.ext4", "-q", "-m", "0", str(image))

    def mount(self) -> None:
        """Mount it, which replays the journal after the power was cut."""
        self.path.mkdir(parents=True, exist_ok=True)
        done = subprocess.run(
            ["mount", "-o", "loop", str(self._image), str(self.path)], capture_output=True, text=True, check=False
        )
        if done.returncode == 0:
            return
        if os.environ.get("CI"):
            pytest.fail(f"a loop device cannot be mounted, and CI must not skip: {done.stderr}")
        pytest.skip(f"NEEDS loop devices: {done.stderr}")

    def unmount(self) -> None:
        """Unmount it as soon as nobody has a file open there: a server that was killed may have a process that just ends."""
        until = time.monotonic() + 60
        while True:
            done = subprocess.run(["umount", str(self.path)], capture_output=True, text=True, check=False)
            if done.returncode == 0:
                return
            assert "busy" in done.stderr, done.stderr
            assert time.monotonic() < until, done.stderr
            time.sleep(0.05)

    def cut_power(self) -> None:
        """What was not written to the device until now never will be: neither pages in memory nor the journal.

        The device is the image file. What the file system wrote to it, it wrote because somebody called fsync or because it was
        old enough (5 to 30 seconds); a flush of the device's own cache is not simulated.
        """
        descriptor = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.ioctl(descriptor, _SHUTDOWN, struct.pack("I", _WITHOUT_FLUSHING_THE_LOG))
        finally:
            os.close(descriptor)

    def fill(self) -> Path:
        """A file that takes all the space that is left; whoever removes it frees the space again."""
        ballast = self.path / "ballast"
        with ballast.open("wb", buffering=0) as file:
            try:
                while True:
                    file.write(bytes(4096))
            except OSError as problem:
                assert problem.errno == errno.ENOSPC  # noqa: PT017 (the loop has no other end)
        return ballast

    def __enter__(self) -> Self:
        self.mount()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self.path.is_mount():
            # A test that failed may have left a server running: the mount goes when that ends.
            if error:
                _run("umount", "--lazy", str(self.path))
            else:
                self.unmount()


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(command)}: {done.stderr}"
