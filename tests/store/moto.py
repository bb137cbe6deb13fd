"""moto's S3 server: quick to start, keeps objects in memory, honours `If-None-Match: *`; does not check signatures."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.ports import free_port
from tests.store.servers import ObjectServer, absent, await_port, end

#: Few, so that a listing soon has several pages.
KEYS_PER_PAGE = 50


@contextmanager
def running_moto(directory: Path, port: int | None = None) -> Iterator[ObjectServer]:
    """The server in a process of its own; its log is `directory/moto.log`."""
    for package in ("moto", "flask_cors"):
        if importlib.util.find_spec(package) is None:
            absent(f"{package}: an S3 server for tests is not installed")
    port = port or free_port()
    log = directory / "moto.log"
    with log.open("ab") as stream:
        process = subprocess.Popen(
            [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)],
            stdout=stream,
            stderr=stream,
            env=os.environ | {"MOTO_S3_DEFAULT_MAX_KEYS": str(KEYS_PER_PAGE)},
        )
    try:
        await_port(port, process, log)
        yield ObjectServer(f"http://127.0.0.1:{port}", "key", "not-a-secret")
    finally:
        end(process)
