"""Kill -9 while images are fetched from a PACS: afterwards there is no half entry in the cache, and every image is whole."""

from __future__ import annotations

import threading
import time
from email.parser import BytesParser
from io import BytesIO
from pathlib import Path
from typing import Any

import httpx
import pydicom

from tests.archive import image
from tests.orthanc import Orthanc, running_orthanc
from tests.running import RunningServer

STUDY, SERIES = "1.2.50", "1.2.50.1"
SLICES = 80
ANY = 'multipart/related; type="application/dicom"; transfer-syntax=*'


def configuration(orthanc: Orthanc, directory: Path) -> Path:
    path = directory / "xds.toml"
    path.write_text(
        '[domain]\nassigning_authority = "1.2.3.100"\n'
        "[registry]\nrequire_known_patient = false\n"
        "[imaging]\nsettle_seconds = 0\ncache_check_seconds = 0\n"
        f'[[pacs]]\nname = "pacs"\nae_title = "ORTHANC"\nhost = "127.0.0.1"\nport = {orthanc.dicom_port}\n'
        'repository_unique_id = "1.2.3.777"\nassigning_authority = "1.2.3.100"\n'
        'query = "c-find"\nretrieve = "c-get"\npoll_seconds = 0.5\nlook_back_days = 20000\n'
    )
    return path


def announced(server: RunningServer) -> int:
    """How many instances of the study are known, after some time to learn of them."""
    found = 0
    until = time.monotonic() + 120
    while found < SLICES and time.monotonic() < until:
        answer = httpx.get(
            f"{server.http}/dicomweb/studies/{STUDY}/instances", headers={"Accept": "application/dicom+json"}, timeout=60
        )
        found = len(answer.json()) if answer.status_code == 200 and answer.content else 0
        time.sleep(0.2)
    return found


def read_some(server: RunningServer, begun: threading.Event) -> None:
    """Read the series until the server dies."""
    try:
        with httpx.stream(
            "GET", f"{server.http}/dicomweb/studies/{STUDY}/series/{SERIES}", headers={"Accept": ANY}, timeout=60
        ) as answer:
            for _ in answer.iter_raw():
                begun.set()
    except httpx.TransportError:
        pass
    finally:
        begun.set()


def test_nothing_half_is_left(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with running_orthanc(tmp_path / "orthanc") as orthanc:
        pixels: dict[str, bytes] = {}
        for number in range(SLICES):
            uid = f"{SERIES}.{number}"
            octets = image(StudyInstanceUID=STUDY, SeriesInstanceUID=SERIES, SOPInstanceUID=uid, InstanceNumber=number)
            orthanc.put(octets)
            pixels[uid] = pydicom.dcmread(BytesIO(octets)).PixelData
        config = configuration(orthanc, tmp_path)
        server = RunningServer(data, config=config).start()
        try:
            assert announced(server) == SLICES
            begun = threading.Event()
            reader = threading.Thread(target=read_some, args=(server, begun))
            reader.start()
            assert begun.wait(120)
        finally:
            server.kill()
            server.stop()
        reader.join(120)
        # What the next start finds: descriptions whose objects are whole.
        server = RunningServer(data, config=config).start()
        try:
            answer = httpx.get(f"{server.http}/dicomweb/studies/{STUDY}/series/{SERIES}", headers={"Accept": ANY}, timeout=60)
            assert answer.status_code == 200
            head = f"Content-Type: {answer.headers['content-type']}\r\n\r\n".encode()
            parts: list[Any] = list(BytesParser().parsebytes(head + answer.content).get_payload())
            found = [pydicom.dcmread(BytesIO(part.get_payload(decode=True))) for part in parts]
            assert {str(item.SOPInstanceUID): item.PixelData for item in found} == pixels
            assert [path.name for path in (data / "pulled").glob("arriving-*")] == [f"arriving-{server.process.pid}"]
        finally:
            server.stop()
