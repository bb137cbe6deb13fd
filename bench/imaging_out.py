"""Images out: WADO-RS, RAD-69, rendered slices and QIDO-RS, beside Orthanc and nginx."""

from __future__ import annotations

import http.client
import random
import time
import uuid
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

import pydicom
from sqlalchemy import Connection

from bench.imaging_peers import AbsentError, Peer, nginx, resident_memory
from tests.running import RunningServer
from xds.model.imaging import Instance, Series, Study, StudyPatient
from xds.store import imaging_arrivals
from xds.store.database import open_database

_STUDIES = 100_000
_MULTIPART = 'multipart/related; type="application/dicom"; transfer-syntax=*'


def fetch(url: str, accept: str, body: bytes | None = None) -> tuple[float, int]:
    """One request; seconds and octets of its answer. Errors: RuntimeError for anything but 200."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=600)
    begin = time.perf_counter()
    headers = {"Accept": accept} if body is None else {"Content-Type": accept}
    connection.request("GET" if body is None else "POST", f"{parts.path}?{parts.query}", body, headers)
    answer = connection.getresponse()
    size, buffer = 0, bytearray(1 << 20)
    while number := answer.readinto(buffer):
        size += number
    seconds = time.perf_counter() - begin
    connection.close()
    if answer.status != 200:
        raise RuntimeError(f"{url} answered {answer.status}")
    return seconds, size


def percentile(seconds: Sequence[float], part: float) -> float:
    """In milliseconds."""
    return sorted(seconds)[min(int(len(seconds) * part), len(seconds) - 1)] * 1000


def measure(directory: Path, server: RunningServer, own: Peer, other: Peer | None, folder: Path, rounds: int) -> None:
    """A study by WADO-RS from everybody in turns, by RAD-69, and its slices rendered."""
    images = [pydicom.dcmread(path, stop_before_pixels=True) for path in sorted(folder.iterdir())]
    study, series = str(images[0].StudyInstanceUID), str(images[0].SeriesInstanceUID)
    uids = [str(image.SOPInstanceUID) for image in images]
    source = _location(server)
    envelope = _rad69(server, study, series, uids, source)
    whole = directory / "whole" / "study"
    whole.parent.mkdir()
    with whole.open("wb") as file:
        for path in sorted(folder.iterdir()):
            file.write(path.read_bytes())
    ways: dict[str, Callable[[], tuple[float, int]]] = {
        "xds WADO-RS": lambda: fetch(f"{own.dicomweb}/studies/{study}", _MULTIPART),
        "xds RAD-69": lambda: fetch(f"{server.http}/services/imaging-source", _SOAP, envelope),
    }
    with ExitStack() as stack:
        if other is not None:
            ways["Orthanc WADO-RS"] = lambda: fetch(f"{other.dicomweb}/studies/{study}", _MULTIPART)
        try:
            address = stack.enter_context(nginx(directory, whole.parent))
            ways["nginx, one file"] = lambda: fetch(f"{address}/study", "*/*")
        except AbsentError as problem:
            print(f"  LEFT OUT: {problem}")
        best: dict[str, float] = {}
        memory = resident_memory(server)
        for _ in range(rounds + 1):
            for name, way in ways.items():
                seconds, size = way()
                best[name] = max(best.get(name, 0), size / seconds / 1e6)
    for name, rate in best.items():
        print(f"  {name:18} {rate:7.0f} MB/s   xds WADO-RS / it: {best['xds WADO-RS'] / rate:.2f}")
    print(f"  memory: {memory / 1e6:.0f} MB before, {resident_memory(server) / 1e6:.0f} MB after")
    rendered = [
        fetch(f"{own.dicomweb}/studies/{study}/series/{series}/instances/{uid}/rendered", "image/jpeg")[0] for uid in uids[:100]
    ]
    print(f"  rendered slice: p50 {percentile(rendered, 0.5):.0f} ms  p95 {percentile(rendered, 0.95):.0f} ms")


_SOAP = 'multipart/related; boundary="bench"; type="application/xop+xml"; start="<root@bench>"; start-info="application/soap+xml"'


def _location(server: RunningServer) -> str:
    """The Retrieve Location UID of the server's archive, as its database has it."""
    database = open_database(f"sqlite:///{server.data / 'xds.sqlite'}")
    with database.read() as connection:
        found = connection.exec_driver_sql("SELECT value FROM setting WHERE name = 'domain.imaging_source_unique_id'").scalar()
    database.close()
    return str(found)


def _rad69(server: RunningServer, study: str, series: str, uids: Sequence[str], source: str) -> bytes:
    documents = "".join(
        f"<x:DocumentRequest><x:RepositoryUniqueId>{source}</x:RepositoryUniqueId>"
        f"<x:DocumentUniqueId>{uid}</x:DocumentUniqueId></x:DocumentRequest>"
        for uid in uids
    ).replace("x:", "b:")
    body = (
        '<r:RetrieveImagingDocumentSetRequest xmlns:r="urn:ihe:rad:xdsi-b:2009" xmlns:b="urn:ihe:iti:xds-b:2007">'
        f'<r:StudyRequest studyInstanceUID="{study}"><r:SeriesRequest seriesInstanceUID="{series}">{documents}'
        "</r:SeriesRequest></r:StudyRequest><r:TransferSyntaxUIDList><r:TransferSyntaxUID>1.2.840.10008.1.2.1"
        "</r:TransferSyntaxUID></r:TransferSyntaxUIDList></r:RetrieveImagingDocumentSetRequest>"
    )
    envelope = (
        '<s:Envelope xmlns:s="http://www.w3.org/2003/05/soap-envelope" xmlns:a="http://www.w3.org/2005/08/addressing"><s:Header>'
        '<a:Action s:mustUnderstand="1">urn:ihe:rad:2009:RetrieveImagingDocumentSet</a:Action>'
        f"<a:MessageID>urn:uuid:{uuid.uuid4()}</a:MessageID>"
        f"<a:To>{server.http}/services/imaging-source</a:To></s:Header><s:Body>{body}</s:Body></s:Envelope>"
    )
    head = (
        '--bench\r\nContent-Type: application/xop+xml; charset=UTF-8; type="application/soap+xml"\r\n'
        "Content-Transfer-Encoding: binary\r\nContent-ID: <root@bench>\r\n\r\n"
    )
    return f"{head}{envelope}\r\n--bench--\r\n".encode()


def fill(directory: Path, studies: int) -> None:
    """An archive's index of so many studies of one image each, without the images."""
    directory.mkdir(parents=True)
    database = open_database(f"sqlite:///{directory / 'xds.sqlite'}")
    database.create_schema()
    now = datetime(2026, 1, 10, tzinfo=UTC)

    def some(start: int) -> Callable[[Connection], None]:
        def work(connection: Connection) -> None:
            for number in range(start, min(start + 5000, studies)):
                imaging_arrivals.add_instance(connection, imaging_arrivals.arriving(_study(number), b"{}"), now)

        return work

    for start in range(0, studies, 5000):
        database.write(some(start))
    database.close()


def _study(number: int) -> Study:
    uid = f"2.25.{10**20 + number}"
    instance = Instance(f"{uid}.1.1", "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.1.2.1", 500_000, f"{number:064x}", 1)
    patient = StudyPatient(f"P{number // 4:06d}", "1.2.3", None, f"NAME{number // 4:06d}^GIVEN", "19610412", "F")
    draw = random.Random(number)
    day = f"20{draw.randrange(10, 26)}{draw.randrange(1, 13):02d}{draw.randrange(1, 29):02d}"
    modality = draw.choice(("CT", "MR", "US", "CR"))
    return Study(
        uid,
        patient,
        (Series(f"{uid}.1", modality, (instance,), 1),),
        accession_number=f"A{number}",
        study_date=day,
        study_time="101500",
        description="Thorax",
        source="BENCH",
    )


def measure_queries(directory: Path) -> None:
    """QIDO-RS for studies by patient, name, date and modality, accession number, in an archive of 100 000."""
    begin = time.perf_counter()
    fill(directory / "xds", _STUDIES)
    print(f"  {_STUDIES} studies in {time.perf_counter() - begin:.0f} s", flush=True)
    draw = random.Random(1)
    patients = _STUDIES // 4
    kinds: dict[str, Callable[[], str]] = {
        "patient": lambda: f"studies?PatientID=P{draw.randrange(patients):06d}",
        "name*": lambda: f"studies?PatientName=NAME{draw.randrange(patients):06d}*&limit=25",
        "date, modality": lambda: f"studies?StudyDate=20{10 + draw.randrange(16)}0103-&ModalitiesInStudy=MR&limit=25",
        "accession": lambda: f"studies?AccessionNumber=A{draw.randrange(_STUDIES)}",
        "series of a study": lambda: f"studies/2.25.{10**20 + draw.randrange(_STUDIES)}/series",
    }
    with RunningServer(directory / "xds", config=None, SERVER__LOG_LEVEL="warning") as server:
        for name, kind in kinds.items():
            times = [fetch(f"{server.http}/dicomweb/{kind()}", "application/dicom+json")[0] for _ in range(200)]
            print(f"  QIDO-RS, {name:18} p50 {percentile(times, 0.5):5.1f} ms  p95 {percentile(times, 0.95):5.1f} ms", flush=True)
