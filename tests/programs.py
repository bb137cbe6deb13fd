"""Programs of other makers that tests and benchmarks run."""

from __future__ import annotations

import os
import shutil
import subprocess
from functools import cache
from typing import Final

import pytest

DCMTK: Final = "dcmtk"


@cache
def found(name: str, maker: str = DCMTK) -> str | None:
    """The path of a program, None when there is none; the first on PATH that says in its version who made it.

    Other packages have scripts of the same names, pynetdicom among them, in any environment that is activated. Without a `maker`
    anybody's will do.
    """
    for directory in os.get_exec_path():
        candidate = shutil.which(name, path=directory)
        if candidate is not None and (not maker or maker in _version(candidate)):
            return candidate
    return None


def program(name: str, maker: str = DCMTK) -> str:
    """The same; without it the test is skipped, and fails in CI."""
    path = found(name, maker)
    if path is None:
        called = f"{maker}'s {name}" if maker else name
        if os.environ.get("CI"):
            pytest.fail(f"{called} is absent, and CI must not skip")
        pytest.skip(f"NEEDS {called}, which is not installed")
    return path


def _version(candidate: str) -> str:
    command = [candidate, "--version"]
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=60, check=False)
    return done.stdout + done.stderr
