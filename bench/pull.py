"""Images of a PACS through us and from the PACS itself, side by side: the first octet, and the whole series.

    python -m bench.pull                 three times 500 slices of 512 x 512, Debian's Orthanc as the PACS
    python -m bench.pull --slices 100

Each way of fetching has series that nobody asked for before. What the PACS itself needs is measured right before each, from the
request for a connection on, by the protocol that its images are fetched with: WADO-RS, C-GET, or C-MOVE to a listener that does
nothing else. HTTP is spoken by the same plain client to the PACS and to us, and nobody has a connection open from before. The
first octet of an object is that of its first fragment, for whom reads it there and through us alike. The processor time is our
server's until the first octet was here; its memory is that before, and the most while three readers fetched one series at once.
"""

from __future__ import annotations

import argparse
import http.client
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import numpy as np
import structlog

from tests.archive import image
from tests.orthanc import AE_TITLE, Orthanc, free_port, running_orthanc
from tests.running import RunningServer
from xds.pacs.dimse import DimseArchive
from xds.pacs.partner import Partner
from xds.pacs.receiver import MoveReceiver

ANY = 'multipart/related; type="application/dicom"; transfer-syntax=*'
WAYS = (("qido", "wado-rs"), ("c-find", "c-get"), ("c-find", "c-move"))
MOVE_TITLE, OWN_TITLE = "XDS_PULL", "BENCH"
CT = "1.2.840.10008.5.1.4.1.1.2"


def fill(orthanc: Orthanc, study: str, slices: int) -> None:
    """A study of one series."""

    def pixels(dataset: Any) -> None:
        dataset.Rows = dataset.Columns = 512
        dataset.PixelData = np.arange(512 * 512, dtype="<u2").tobytes()

    for number in range(slices):
        uids = {"StudyInstanceUID": study, "SeriesInstanceUID": f"{study}.1", "SOPInstanceUID": f"{study}.1.{number}"}
        orthanc.put(image(pixels, **uids, InstanceNumber=number, PatientID="P1"))


def timed(read: Callable[[], Iterator[bytes]], processor: Callable[[], float] = float) -> tuple[float, float, float]:
    """Seconds to the first octet and to the last, and those of the `processor` until the first."""
    before, start, first, spent = processor(), time.perf_counter(), 0.0, 0.0
    for _ in read():
        if not first:
            first = time.perf_counter() - start
            spent = processor() - before
    return first, time.perf_counter() - start, spent


def processor_time(process: int) -> float:
    """Seconds that the threads of a process that are alive have run."""
    seconds = 0
    for task in Path(f"/proc/{process}/task").iterdir():
        with suppress(FileNotFoundError, ProcessLookupError):
            seconds += int((task / "schedstat").read_text().split()[0])
    return seconds / 1e9


def memory_of_three(server: RunningServer, address: str) -> tuple[int, int]:
    """Resident octets of the server before three readers fetch a series at once, and the most meanwhile."""

    def read() -> None:
        for _ in over_http(address):
            pass

    before = most = server.resident_memory()
    readers = [threading.Thread(target=read) for _ in range(3)]
    for reader in readers:
        reader.start()
    while any(reader.is_alive() for reader in readers):
        most = max(most, server.resident_memory())
        readers[0].join(0.05)
        time.sleep(0.01)
    return before, most


def over_http(address: str) -> Iterator[bytes]:
    parts = urlsplit(address)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=300)
    try:
        connection.request("GET", parts.path, headers={"Accept": ANY})
        answer = connection.getresponse()
        if answer.status != 200:
            raise RuntimeError(f"{address} answered {answer.status}")
        while piece := answer.read1(1 << 20):
            yield piece
    finally:
        connection.close()


def over_dicom(orthanc: Orthanc, study: str, slices: int, receiver: MoveReceiver | None = None) -> Iterator[bytes]:
    archive = DimseArchive(Partner("pacs", AE_TITLE, "127.0.0.1", orthanc.dicom_port), receiver)
    classes = {f"{study}.1.{number}": CT for number in range(slices)}
    for pulled in archive.fetch(study, f"{study}.1", classes, whole_series=True):
        # Its head is made here, before anything has come.
        next(pulled.chunks)
        yield from pulled.chunks


def directly(orthanc: Orthanc, study: str, slices: int, retrieve: str, own_port: int) -> tuple[float, float, float]:
    """The series from the PACS itself."""
    if retrieve == "wado-rs":
        return timed(lambda: over_http(f"{orthanc.dicomweb}/studies/{study}/series/{study}.1"))
    if retrieve == "c-get":
        return timed(lambda: over_dicom(orthanc, study, slices))
    receiver = MoveReceiver(OWN_TITLE, "127.0.0.1", own_port, [AE_TITLE])
    receiver.start()
    try:
        return timed(lambda: over_dicom(orthanc, study, slices, receiver))
    finally:
        receiver.stop()


def configuration(path: Path, orthanc: Orthanc, query: str, retrieve: str, move_port: int) -> Path:
    """The settings of a domain with this PACS."""
    path.write_text(
        '[server]\nlog_level = "error"\n[domain]\nassigning_authority = "1.2.3.100"\n[registry]\nrequire_known_patient = false\n'
        f"[imaging]\nsettle_seconds = 0\nmove_port = {move_port}\n"
        f'[[pacs]]\nname = "pacs"\nae_title = "{AE_TITLE}"\nhost = "127.0.0.1"\nport = {orthanc.dicom_port}\n'
        f'dicomweb = "{orthanc.dicomweb}"\nassigning_authority = "1.2.3.100"\nlook_back_days = 20000\n'
        f'query = "{query}"\nretrieve = "{retrieve}"\npoll_seconds = 3600\n'
    )
    return path


def wait_for(server: RunningServer, study: str, slices: int) -> None:
    """Until the study is known with all its slices."""
    address = f"{server.http}/dicomweb/studies/{study}/instances?limit={slices}"
    until = time.monotonic() + 300
    while time.monotonic() < until:
        answer = httpx.get(address, headers={"Accept": "application/dicom+json"}, timeout=60)
        if answer.status_code == 200 and len(answer.json()) == slices:
            return
        time.sleep(0.5)
    raise TimeoutError(f"study {study} is not known after five minutes")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--slices", type=int, default=500)
    parser.add_argument("--times", type=int, default=3)
    given = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(40))
    move_port, own_port = free_port(), free_port()
    modalities = {"us": (MOVE_TITLE, move_port), "bench": (OWN_TITLE, own_port)}
    with (
        tempfile.TemporaryDirectory() as name,
        running_orthanc(Path(name) / "orthanc", modalities) as orthanc,
    ):
        studies = [f"1.2.826.{number}" for number in range(given.times + 1)]
        for study in studies:
            fill(orthanc, study, given.slices)
        print(
            "| fetched by | PACS: first octet ms | all ms | through us: first octet ms | all ms | ratio of first | CPU ms | MB |"
        )
        print("|---|---|---|---|---|---|---|---|")
        for query, retrieve in WAYS:
            config = configuration(Path(name) / f"{retrieve}.toml", orthanc, query, retrieve, move_port)
            with RunningServer(Path(name) / retrieve, config=config) as server:
                for study in studies:
                    wait_for(server, study, given.slices)
                # Their manifests are still being written.
                time.sleep(5)
                assert server.process is not None
                spent = partial(processor_time, server.process.pid)
                rows = []
                *some, last = [(study, f"{server.http}/dicomweb/studies/{study}/series/{study}.1") for study in studies]
                for study, address in some:
                    direct = directly(orthanc, study, given.slices, retrieve, own_port)
                    rows.append((*direct[:2], *timed(partial(over_http, address), spent)))
                found = [1000 * statistics.median(column) for column in zip(*rows, strict=True)]
                before, most = memory_of_three(server, last[1])
                ratio, shown = found[2] / found[0], " | ".join(f"{value:.0f}" for value in found[:4])
                print(f"| {retrieve} | {shown} | {ratio:.2f} | {found[4]:.1f} | {before >> 20}, {most >> 20} |", flush=True)


if __name__ == "__main__":
    main()
