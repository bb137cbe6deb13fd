"""Images of a PACS through us and from the PACS itself, side by side: the first octet, and the whole series.

    python -m bench.pull                 three times 500 slices of 512 x 512, Debian's Orthanc as the PACS
    python -m bench.pull --slices 100

Whatever is asked of us, nobody has asked for before. The PACS is asked by the protocol that its images are fetched with: WADO-RS,
C-GET, or C-MOVE to a listener that does nothing else. HTTP is spoken by the same plain client to the PACS and to us. The first
octet of an object is that of its first fragment, for whom reads it there and through us alike. Each of the times is a median.

cold      PACS: from the request for a connection, and an association, on. Us: the first request of all after a start, from the
          request for a connection on; nothing is open towards the PACS, no statement was ever run.
warm      PACS: on a connection, and an association, that has served a request before. Us: the same of the reader's connection.
stranger  what somebody gets who has nothing open: of the PACS what is called cold, of us in the midst of its work.
alike     the same of somebody who asks us by C-GET or C-MOVE, as the PACS is asked, with the same client.

Cold is compared with cold, warm with warm, and a stranger at our door with a stranger at that of the PACS. The processor time is
our server's until the stranger's first octet was here; its memory is that before, and the most while three readers fetched one
series at once.
"""

from __future__ import annotations

import argparse
import http.client
import shutil
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import numpy as np
import structlog

from tests.archive import image
from tests.orthanc import AE_TITLE, Orthanc, running_orthanc
from tests.ports import free_port
from tests.running import RunningServer
from xds.pacs.dimse import DimseArchive
from xds.pacs.partner import Partner
from xds.pacs.receiver import MoveReceiver

ANY = 'multipart/related; type="application/dicom"; transfer-syntax=*'
WAYS = (("qido", "wado-rs"), ("c-find", "c-get"), ("c-find", "c-move"))
MOVE_TITLE, OWN_TITLE = "XDS_PULL", "BENCH"
#: Seconds in which whoever is asked next ends what is still to be done for the last reader; shorter than associations are kept.
_PAUSE = 1.0
CT = "1.2.840.10008.5.1.4.1.1.2"


def fill(orthanc: Orthanc, study: str, slices: int) -> None:
    """A study of one series."""

    def pixels(dataset: Any) -> None:
        dataset.Rows = dataset.Columns = 512
        dataset.PixelData = np.arange(512 * 512, dtype="<u2").tobytes()

    for number in range(slices):
        uids = {"StudyInstanceUID": study, "SeriesInstanceUID": f"{study}.1", "SOPInstanceUID": f"{study}.1.{number}"}
        orthanc.put(image(pixels, **uids, InstanceNumber=number, PatientID="P1"))


#: Seconds to the first octet, to the last one, and of a processor until the first.
Timed = tuple[float, float, float]


def timed(read: Callable[[], Iterator[bytes]], processor: Callable[[], float] = float) -> Timed:
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


class Reader:
    """A plain client of HTTP with one connection, open from its first request on."""

    def __init__(self, base: str) -> None:
        parts = urlsplit(base)
        self._connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=300)

    def __enter__(self) -> Reader:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def get(self, address: str) -> Iterator[bytes]:
        """The octets of an answer as they arrive."""
        self._connection.request("GET", urlsplit(address).path, headers={"Accept": ANY})
        answer = self._connection.getresponse()
        if answer.status != 200:
            raise RuntimeError(f"{address} answered {answer.status}")
        while piece := answer.read1(1 << 20):
            yield piece
        answer.close()


def over_http(address: str) -> Iterator[bytes]:
    """The same over a connection of its own."""
    with Reader(address) as reader:
        yield from reader.get(address)


class Pacs:
    """The PACS, or our server, as somebody asks it who has it at hand: `kept` seconds for what is open towards it."""

    def __init__(self, orthanc: Orthanc, slices: int, retrieve: str, own_port: int, kept: float, at: tuple[str, int]) -> None:
        """`at` is the title and the port of who is asked over DICOM."""
        self._orthanc = orthanc
        self._slices = slices
        self._receiver = MoveReceiver(OWN_TITLE, "127.0.0.1", own_port, [at[0]]) if retrieve == "c-move" else None
        partner = Partner("pacs", at[0], "127.0.0.1", at[1], calling_ae_title=OWN_TITLE, kept_seconds=kept)
        self._archive = DimseArchive(partner, self._receiver)
        self._reader = Reader(orthanc.dicomweb) if retrieve == "wado-rs" else None

    def __enter__(self) -> Pacs:
        if self._receiver is not None:
            self._receiver.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._archive.close()
        if self._receiver is not None:
            self._receiver.stop()
        if self._reader is not None:
            self._reader.__exit__()

    def series(self, study: str) -> Iterator[bytes]:
        """The octets of its series."""
        if self._reader is not None:
            yield from self._reader.get(f"{self._orthanc.dicomweb}/studies/{study}/series/{study}.1")
            return
        classes = {f"{study}.1.{number}": CT for number in range(self._slices)}
        for pulled in self._archive.fetch(study, f"{study}.1", classes, whole_series=True):
            # Its head is made here, before anything has come.
            next(pulled.chunks)
            yield from pulled.chunks


def configuration(path: Path, orthanc: Orthanc, query: str, retrieve: str, ports: tuple[int, int]) -> Path:
    """The settings of a domain with this PACS. `ports` are where it, and who asks us, get images by C-MOVE."""
    path.write_text(
        '[server]\nlog_level = "error"\n[domain]\nassigning_authority = "1.2.3.100"\n[registry]\nrequire_known_patient = false\n'
        f"[imaging]\nsettle_seconds = 0\nmove_port = {ports[0]}\n"
        f'[[pacs]]\nname = "pacs"\nae_title = "{AE_TITLE}"\nhost = "127.0.0.1"\nport = {orthanc.dicom_port}\n'
        f'dicomweb = "{orthanc.dicomweb}"\nassigning_authority = "1.2.3.100"\nlook_back_days = 20000\n'
        f'query = "{query}"\nretrieve = "{retrieve}"\npoll_seconds = 3600\n'
        f'[[destinations]]\nae_title = "{OWN_TITLE}"\nhost = "127.0.0.1"\nport = {ports[1]}\n'
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


@dataclass(frozen=True, slots=True)
class Way:
    """One way of fetching, with all that is needed to measure it."""

    orthanc: Orthanc
    slices: int
    times: int
    query: str
    retrieve: str
    ports: tuple[int, int]
    directory: Path

    def server(self) -> RunningServer:
        """A server that shares the PACS; each one finds the data of the last."""
        self.directory.mkdir(exist_ok=True)
        config = configuration(self.directory / "xds.toml", self.orthanc, self.query, self.retrieve, self.ports)
        return RunningServer(self.directory / "data", config=config)

    def pacs(self, kept: float) -> Pacs:
        at = AE_TITLE, self.orthanc.dicom_port
        return Pacs(self.orthanc, self.slices, self.retrieve, self.ports[1], kept, at)

    def kept(self, server: RunningServer, study: str) -> float:
        """Seconds to the first octet of the series from us, on a connection that has served a request before."""
        with Reader(server.http) as reader:
            for _ in reader.get(f"{server.http}/health/live"):
                pass
            time.sleep(_PAUSE)
            return timed(partial(reader.get, address_of(server, study)))[0]

    def alike(self, server: RunningServer, study: str) -> float:
        """Seconds to the first octet of the series from us, asked as the PACS is."""
        title, _, port = server.dicom
        with Pacs(self.orthanc, self.slices, self.retrieve, self.ports[1], 0, (title, port)) as us:
            time.sleep(_PAUSE)
            return timed(lambda: us.series(study))[0]

    def directly(self, study: str) -> tuple[Timed, Timed]:
        """The series from the PACS itself, cold and warm, each after the same pause as ours."""
        with self.pacs(0) as pacs:
            time.sleep(_PAUSE)
            cold = timed(lambda: pacs.series(study))
        with self.pacs(60) as pacs:
            timed(lambda: pacs.series(study))
            time.sleep(_PAUSE)
            return cold, timed(lambda: pacs.series(study))

    def cold(self, studies: list[str]) -> float:
        """Seconds to the first octet of the first request after a start."""
        found = []
        for study in studies:
            with self.server() as server:
                # It asks the PACS for news, and looks after what the last one left.
                time.sleep(5)
                found.append(timed(partial(over_http, address_of(server, study)))[0])
        return statistics.median(found)

    def measure(self, studies: list[str]) -> str:
        """A row of the table."""
        cold_ones, strange, warm, dicom = (studies[place : 4 * self.times + 4 : 4] for place in range(4))
        pairs, rows = [], []
        with self.server() as server:
            for study in studies:
                wait_for(server, study, self.slices)
            # Their manifests are still being written.
            time.sleep(5)
            assert server.process is not None
            spent = partial(processor_time, server.process.pid)
            # By turns, so that what else the machine does falls on both. Nobody has read before what is asked of either.
            for number, (own, study, other, further) in enumerate(zip(cold_ones, strange, warm, dicom, strict=True)):
                pair = self.directly(own)
                time.sleep(_PAUSE)
                stranger = timed(partial(over_http, address_of(server, study)), spent)
                kept = self.kept(server, other)
                alike = stranger[0] if self.retrieve == "wado-rs" else self.alike(server, further)
                if number:
                    pairs.append(pair)
                    rows.append((*stranger, kept, alike))
            before, most = memory_of_three(server, address_of(server, studies[-1]))
        pacs_cold, pacs_all = (statistics.median(pair[0][place] for pair in pairs) for place in (0, 1))
        pacs_warm = statistics.median(pair[1][0] for pair in pairs)
        first, everything, processor, us_warm, us_alike = (statistics.median(column) for column in zip(*rows, strict=True))
        us_cold = self.cold(cold_ones[1:])
        seconds = (pacs_cold, us_cold, pacs_warm, us_warm, first, us_alike)
        shown = " | ".join(f"{1000 * value:.1f}" for value in seconds)
        ratios = f"{us_cold / pacs_cold:.2f} | {us_warm / pacs_warm:.2f} | {first / pacs_cold:.2f} | {us_alike / pacs_cold:.2f}"
        return (
            f"| {self.retrieve} | {shown} | {ratios} | {1000 * pacs_all:.0f} | {1000 * everything:.0f} | {1000 * processor:.1f} "
            f"| {before >> 20}, {most >> 20} |"
        )


HEAD = (
    "| fetched by | cold: PACS ms | us ms | warm: PACS ms | us ms | stranger at us ms | alike ms | cold/cold | warm/warm "
    "| stranger | alike | all: PACS ms | us ms | CPU ms | MB |"
)


def address_of(server: RunningServer, study: str) -> str:
    return f"{server.http}/dicomweb/studies/{study}/series/{study}.1"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--slices", type=int, default=500)
    parser.add_argument("--times", type=int, default=3)
    parser.add_argument("--retrieve", choices=[retrieve for _, retrieve in WAYS], help="one way of fetching alone")
    given = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(40))
    ports = free_port(), free_port()
    modalities = {"us": (MOVE_TITLE, ports[0]), "bench": (OWN_TITLE, ports[1])}
    with (
        tempfile.TemporaryDirectory() as name,
        running_orthanc(Path(name) / "orthanc", modalities) as orthanc,
    ):
        # Those of each kind, one more to become warm with, and one for three readers.
        studies = [f"1.2.826.{number}" for number in range(4 * (given.times + 1) + 1)]
        for study in studies:
            fill(orthanc, study, given.slices)
        print(HEAD)
        print("|---" * (HEAD.count("|") - 1) + "|")
        for query, retrieve in WAYS:
            if given.retrieve in (None, retrieve):
                directory = Path(name) / retrieve
                print(Way(orthanc, given.slices, given.times, query, retrieve, ports, directory).measure(studies), flush=True)
                shutil.rmtree(directory)


if __name__ == "__main__":
    main()
