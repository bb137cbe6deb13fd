"""The servers that images are sent to in `make bench-imaging`: this one, Orthanc and dcmtk's storescp, on free ports."""

from __future__ import annotations

import getpass
import json
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from tests.programs import DCMTK, found
from tests.running import RunningServer

#: Without it the last packet of every image waits for an acknowledgement, on either side.
_AT_ONCE = {"TCP_NODELAY": "1"}
#: pynetdicom has scripts of the same names.
_DCMTK = ("storescu", "storescp")


@dataclass(frozen=True, slots=True)
class Peer:
    """A DICOM application, and the base of its DICOMweb service if it has one."""

    name: str
    ae_title: str
    port: int
    dicomweb: str = ""


class AbsentError(Exception):
    """A program that is compared with is not installed."""


def program(name: str) -> str:
    """The path of a program. Errors: AbsentError."""
    path = found(name, DCMTK if name in _DCMTK else "") or shutil.which(name, path="/usr/sbin:/usr/local/sbin")
    if path is None:
        raise AbsentError(f"{name} is not installed")
    return path


def free_port() -> int:
    """A port that nobody listens at."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def running(command: Sequence[str], port: int, log: Path, seconds: float = 30) -> Iterator[int]:
    """A process that listens at that port; ended at the end. Gives its process id."""
    with log.open("ab") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, env=os.environ | _AT_ONCE, cwd=log.parent)
    try:
        until = time.monotonic() + seconds
        while not _listens(port):
            if process.poll() is not None or time.monotonic() > until:
                raise RuntimeError(f"{command[0]} did not start: {log.read_text()[-1000:]}")
            time.sleep(0.05)
        yield process.pid
    finally:
        process.terminate()
        process.wait(30)


def resident_memory(server: RunningServer) -> int:
    """Resident memory of this server's processes, in octets. What they have in common counts for each of them."""
    assert server.process is not None
    pid = server.process.pid
    pages = 0
    for each in (str(pid), *Path(f"/proc/{pid}/task/{pid}/children").read_text().split()):
        with suppress(FileNotFoundError):
            pages += int(Path(f"/proc/{each}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@contextmanager
def orthanc(directory: Path) -> Iterator[Peer]:
    """Debian's Orthanc with its DICOMweb plugin. Errors: AbsentError."""
    dicom, http = free_port(), free_port()
    storage = directory / "orthanc"
    storage.mkdir(parents=True)
    settings = {
        "Name": "bench",
        "StorageDirectory": str(storage),
        "IndexDirectory": str(storage),
        "DicomAet": "ORTHANC",
        "DicomPort": dicom,
        "HttpPort": http,
        "RemoteAccessAllowed": False,
        "AuthenticationEnabled": False,
        "DicomAlwaysAllowStore": True,
        "StableAge": 3600,
        "Plugins": [str(path) for path in Path("/usr/share/orthanc/plugins").glob("*DicomWeb*")],
    }
    configuration = storage / "orthanc.json"
    configuration.write_text(json.dumps(settings))
    with running([program("Orthanc"), str(configuration)], dicom, directory / "orthanc.log"):
        yield Peer("Orthanc", "ORTHANC", dicom, f"http://127.0.0.1:{http}/dicom-web")


@contextmanager
def storescp(directory: Path) -> Iterator[Peer]:
    """dcmtk's storescp, a process for each association, nothing made durable. Errors: AbsentError."""
    port, output = free_port(), directory / "storescp"
    output.mkdir()
    command = [program("storescp"), "--fork", "+xa", "-pdu", "131072", "-od", str(output), str(port)]
    with running(command, port, directory / "storescp.log"):
        yield Peer("storescp", "STORESCP", port)


@contextmanager
def nginx(directory: Path, root: Path) -> Iterator[str]:
    """nginx that gives the files below `root`; the address. Errors: AbsentError."""
    port, home = free_port(), directory / "nginx"
    home.mkdir()
    configuration = home / "nginx.conf"
    configuration.write_text(
        # Started by root, its workers would be somebody who may not read a temporary directory.
        f"user {getpass.getuser()}; daemon off; pid {home}/pid; error_log stderr; events {{}} "
        f"http {{ access_log off; sendfile on; "
        + "".join(f"{kind}_temp_path {home}/{kind}; " for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
        + f"server {{ listen 127.0.0.1:{port}; root {root}; }} }}"
    )
    command = [program("nginx"), "-e", "stderr", "-p", str(home), "-c", str(configuration)]
    with running(command, port, directory / "nginx.log"):
        yield f"http://127.0.0.1:{port}"
