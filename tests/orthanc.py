"""Debian's Orthanc as the PACS of an establishment: a process of its own, on free ports of the loopback."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.ports import free_port

_PLUGIN = Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")
AE_TITLE = "ORTHANC"


@dataclass
class Orthanc:
    """A running Orthanc."""

    http_port: int
    dicom_port: int
    client: httpx.Client

    @property
    def dicomweb(self) -> str:
        """Base URL of its DICOMweb services."""
        return f"http://127.0.0.1:{self.http_port}/dicom-web"

    def put(self, octets: bytes) -> str:
        """Store a Part 10 file; its identifier in Orthanc."""
        return str(self._json("POST", "/instances", content=octets)["ID"])

    def remove(self, sop_instance_uid: str) -> None:
        """Delete an instance."""
        for key in self._json("POST", "/tools/lookup", content=sop_instance_uid):
            self._json("DELETE", key["Path"])

    def send(self, modality: str, identifiers: list[str]) -> Any:
        """Have it send objects by C-STORE, and give its report."""
        return self._json("POST", f"/modalities/{modality}/store", json=identifiers)

    def _json(self, method: str, path: str, **body: Any) -> Any:
        answer = self.client.request(method, path, **body)
        answer.raise_for_status()
        return answer.json()


@contextmanager
def running_orthanc(
    directory: Path, modalities: Mapping[str, tuple[str, int]] | None = None, **settings: Any
) -> Iterator[Orthanc]:
    """An empty Orthanc; `modalities` are the AE titles and ports that it may send to."""
    program = shutil.which("Orthanc") or "/usr/sbin/Orthanc"
    if not Path(program).exists() or not _PLUGIN.exists():
        if os.environ.get("CI"):
            pytest.fail("Orthanc is absent, and CI must not skip")
        pytest.skip("NEEDS orthanc and orthanc-dicomweb (Debian packages)")
    directory.mkdir(parents=True, exist_ok=True)
    http_port, dicom_port = free_port(), free_port()
    configuration = {
        "Name": AE_TITLE,
        "StorageDirectory": str(directory / "storage"),
        "IndexDirectory": str(directory / "storage"),
        "HttpPort": http_port,
        "RemoteAccessAllowed": False,
        "AuthenticationEnabled": False,
        "DicomPort": dicom_port,
        "DicomAet": AE_TITLE,
        "DicomAlwaysAllowFind": True,
        "DicomAlwaysAllowGet": True,
        "DicomAlwaysAllowMove": True,
        "DicomModalities": {name: [title, "127.0.0.1", port] for name, (title, port) in (modalities or {}).items()},
        "OverwriteInstances": True,
        "Plugins": [str(_PLUGIN)],
        "DicomWeb": {"Enable": True, "Root": "/dicom-web/", "EnableWado": False, "Host": "127.0.0.1", "Ssl": False},
        **settings,
    }
    path = directory / "orthanc.json"
    path.write_text(json.dumps(configuration))
    with (directory / "log").open("wb") as log:
        # Without TCP_NODELAY its packets wait for 40 ms each.
        environment = {**os.environ, "TCP_NODELAY": "1"}
        process = subprocess.Popen([program, str(path)], stdout=log, stderr=log, env=environment)
    try:
        alone = httpx.Limits(max_keepalive_connections=0)
        with httpx.Client(base_url=f"http://127.0.0.1:{http_port}", timeout=60, limits=alone) as client:
            _wait(client, process, directory / "log")
            yield Orthanc(http_port, dicom_port, client)
    finally:
        process.terminate()
        process.wait(60)


def _wait(client: httpx.Client, process: subprocess.Popen[bytes], log: Path) -> None:
    until = time.monotonic() + 120
    while time.monotonic() < until:
        if process.poll() is not None:
            break
        try:
            if client.get("/system").status_code == 200:
                return
        except httpx.TransportError:
            time.sleep(0.1)
    pytest.fail(f"Orthanc did not start: {log.read_text(errors='replace')[-2000:]}")
