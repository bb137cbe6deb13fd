"""Several server processes fetch images by C-MOVE: what the PACS sends to one address reaches whichever of them asked for it.

Spec: DICOM PS3.4 C.4.2; RAD TF-2 4.16.
"""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path

import httpx
import pydicom

from tests.archive import image
from tests.flows.test_processes import children
from tests.orthanc import Orthanc, running_orthanc
from tests.ports import free_port
from tests.running import RunningServer

STUDIES, SLICES = 40, 2
ANY = 'multipart/related; type="application/dicom"; transfer-syntax=*'


def configuration(orthanc: Orthanc, directory: Path, move_port: int) -> Path:
    path = directory / "xds.toml"
    path.write_text(
        '[server]\nprocesses = 2\n[domain]\nassigning_authority = "1.2.3.100"\n'
        "[registry]\nrequire_known_patient = false\n"
        f"[imaging]\nsettle_seconds = 0\nmove_port = {move_port}\n"
        f'[[pacs]]\nname = "pacs"\nae_title = "ORTHANC"\nhost = "127.0.0.1"\nport = {orthanc.dicom_port}\n'
        'assigning_authority = "1.2.3.100"\nquery = "c-find"\nretrieve = "c-move"\npoll_seconds = 0.5\nlook_back_days = 20000\n'
    )
    return path


def put(orthanc: Orthanc, study: str) -> dict[str, bytes]:
    """A study of a few slices; their pixels."""
    pixels = {}
    for number in range(SLICES):
        uid = f"{study}.1.{number}"
        octets = image(StudyInstanceUID=study, SeriesInstanceUID=f"{study}.1", SOPInstanceUID=uid, InstanceNumber=number)
        orthanc.put(octets)
        pixels[uid] = pydicom.dcmread(BytesIO(octets)).PixelData
    return pixels


def wait_for(server: RunningServer, study: str) -> None:
    until = time.monotonic() + 120
    address = f"{server.http}/dicomweb/studies/{study}/instances"
    while time.monotonic() < until:
        answer = httpx.get(address, headers={"Accept": "application/dicom+json"}, timeout=60)
        if answer.status_code == 200 and len(answer.json()) == SLICES:
            return
        time.sleep(0.2)
    raise AssertionError(f"{study} was not announced")


def test_whichever_process_asks_gets_what_the_pacs_sends(tmp_path: Path) -> None:
    move_port = free_port()
    with running_orthanc(tmp_path / "orthanc", {"us": ("XDS_PULL", move_port)}) as orthanc:
        studies = {f"1.2.70.{number}": put(orthanc, f"1.2.70.{number}") for number in range(STUDIES)}
        with RunningServer(tmp_path / "data", config=configuration(orthanc, tmp_path, move_port)) as server:
            for study in studies:
                wait_for(server, study)

            def read(study: str) -> tuple[int, bytes]:
                answer = httpx.get(f"{server.http}/dicomweb/studies/{study}", headers={"Accept": ANY}, timeout=120)
                return answer.status_code, answer.content

            with ThreadPoolExecutor(3) as readers:
                answers = dict(zip(studies, readers.map(read, studies), strict=True))
            # Each process has waited for images of its own.
            waited = {int(path.name.partition("-")[0]) for path in (tmp_path / "data" / "moving").iterdir()}
            assert waited == set(children(server))
        for study, (status, content) in answers.items():
            assert status == 200
            assert all(pixels in content for pixels in studies[study].values())
        assert not list((tmp_path / "data" / "moving").iterdir())
