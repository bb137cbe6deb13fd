"""Other partners of a pull: dcmtk's dcmqrscp as the PACS, a PACS that fails, a PACS that sends by itself, priors.

Spec: DICOM PS3.4 C; RAD TF-2 4.8, 4.14, 4.16.
"""

from __future__ import annotations

import os
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.archive import image
from tests.orthanc import running_orthanc
from tests.ports import free_port
from tests.programs import program
from tests.pull_through import pacs_of, pulling, settings_for
from tests.transactions.test_pull_through import Establishment, data_set, parts
from xds.model.foreign_images import PullError, PullProblem
from xds.model.imaging import StudyState
from xds.server.dimse import DimseServer


@contextmanager
def dcmqrscp(directory: Path, move_port: int) -> Iterator[int]:
    """dcmtk's query/retrieve server on a free port, empty."""
    server = program("dcmqrscp")
    storage = directory / "QRSCP"
    storage.mkdir(parents=True)
    port = free_port()
    configuration = directory / "dcmqrscp.cfg"
    configuration.write_text(
        f"NetworkTCPPort = {port}\nMaxPDUSize = 16384\nMaxAssociations = 16\n"
        f"HostTable BEGIN\nus = (XDS_PULL, 127.0.0.1, {move_port})\nHostTable END\n"
        "VendorTable BEGIN\nVendorTable END\n"
        f"AETable BEGIN\nQRSCP {storage} RW (200, 1024mb) ANY\nAETable END\n"
    )
    with (directory / "log").open("wb") as log:
        process = subprocess.Popen(
            [server, "-c", str(configuration)], stdout=log, stderr=log, env={**os.environ, "TCP_NODELAY": "1"}
        )
    try:
        until = time.monotonic() + 60
        while time.monotonic() < until:
            with socket.socket() as trial:
                if trial.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.05)
        yield port
    finally:
        process.terminate()
        process.wait(60)


def send(files: list[bytes], directory: Path, port: int, title: str) -> None:
    """By dcmtk's storescu."""
    paths = []
    for number, octets in enumerate(files):
        paths.append(directory / f"{number}.dcm")
        paths[-1].write_bytes(octets)
    subprocess.run(
        ["storescu", "-aec", title, "127.0.0.1", str(port), *map(str, paths)], check=True, capture_output=True, timeout=60
    )


@pytest.mark.parametrize("retrieve", ["c-get", "c-move"])
def test_dcmqrscp_as_the_pacs(tmp_path: Path, retrieve: str) -> None:
    move_port = free_port()
    slices = [
        image(StudyInstanceUID="1.2.40", SeriesInstanceUID="1.2.40.1", SOPInstanceUID=f"1.2.40.1.{number}", InstanceNumber=number)
        for number in range(1, 5)
    ]
    with dcmqrscp(tmp_path / "pacs", move_port) as port:
        send(slices, tmp_path, port, "QRSCP")
        settings = settings_for(tmp_path / "domain", [pacs_of(port, ae_title="QRSCP", retrieve=retrieve)], move_port=move_port)
        with pulling(settings) as domain:
            assert domain.poll() == 1
            stored = domain.study("1.2.40")
            assert stored is not None
            assert stored.state is StudyState.PUBLISHED
            assert stored.study.instance_count == 4
            answer = httpx.get(
                f"{domain.url}/dicomweb/studies/1.2.40",
                headers={"Accept": 'multipart/related; type="application/dicom"; transfer-syntax=*'},
                timeout=60,
            )
            given = {str(found.SOPInstanceUID): found for found in map(data_set, parts(answer))}
            assert given == {str(found.SOPInstanceUID): found for found in map(data_set, slices)}


def test_orthanc_sends_by_itself_and_is_archived(tmp_path: Path) -> None:
    listening = free_port()
    with (
        running_orthanc(tmp_path / "orthanc", {"us": ("XDS", listening)}) as orthanc,
        pulling(settings_for(tmp_path / "domain", [pacs_of(orthanc.dicom_port)])) as domain,
    ):
        source = domain.app.domain.imaging_document_source
        listener = DimseServer(source, "XDS", "127.0.0.1", listening)
        listener.start()
        try:
            octets = image(StudyInstanceUID="1.2.41", SeriesInstanceUID="1.2.41.1", SOPInstanceUID="1.2.41.1.1", PatientID="P1")
            report = orthanc.send("us", [orthanc.put(octets)])
            assert report["FailedInstancesCount"] == 0
        finally:
            listener.stop()
        domain.publish()
        # What the own archive has stays its own, also when its sender is asked and shows it, too.
        domain.poll()
        stored = domain.study("1.2.41")
        assert stored is not None
        assert stored.state is StudyState.PUBLISHED
        (instance,) = stored.study.series[0].instances
        assert instance.blob
        assert not instance.location


class Silent:
    """A server that takes connections and says nothing."""

    def __init__(self) -> None:
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._socket.getsockname()[1]
        self._taken: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                self._taken.append(self._socket.accept()[0])
            except OSError:
                return

    def close(self) -> None:
        self._socket.close()
        for each in self._taken:
            each.close()


def test_a_pacs_that_says_nothing_costs_its_own_requests_only(tmp_path: Path) -> None:
    silent = Silent()
    with running_orthanc(tmp_path / "orthanc") as orthanc:
        both: list[dict[str, Any]] = [
            pacs_of(orthanc.dicom_port),
            pacs_of(silent.port, f"http://127.0.0.1:{silent.port}", name="silent", query="qido", silence_seconds=0.5),
        ]
        with pulling(settings_for(tmp_path / "domain", both)) as domain:
            establishment = Establishment(orthanc, domain)
            establishment.put("1.2.42", 1)
            with pytest.raises(PullError) as raised:
                domain.poll("silent")
            assert raised.value.problem is PullProblem.TIMEOUT
            domain.poll()
            assert establishment.instance("1.2.42", 1).status_code == 200
    silent.close()


# pynetdicom lets go of a socket that could not be connected without closing it.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_pacs_that_is_away_is_soon_left_alone(tmp_path: Path) -> None:
    with running_orthanc(tmp_path / "orthanc") as orthanc:
        settings = settings_for(tmp_path / "domain", [pacs_of(orthanc.dicom_port, silence_seconds=30)])
        domain_context = pulling(settings)
        domain = domain_context.__enter__()
        establishment = Establishment(orthanc, domain)
        establishment.put("1.2.43", 1)
        establishment.put("1.2.43", 2)
        domain.poll()
        assert establishment.instance("1.2.43", 1).status_code == 200
    try:
        # What is in the cache is not given unasked, either: it may have been withdrawn.
        for _ in range(4):
            assert establishment.instance("1.2.43", 1).status_code == 502
        answer = establishment.instance("1.2.43", 2)
        assert answer.status_code == 502
        assert "left alone" in answer.text
        response, _ = establishment.set("1.2.43", 1, 2)
        assert [error.location for error in response.errors] == ["1.2.43.1.1", "1.2.43.1.2"]
    finally:
        domain_context.__exit__(None, None, None)


def test_priors_are_fetched_when_a_study_is_announced(tmp_path: Path) -> None:
    with running_orthanc(tmp_path / "orthanc") as orthanc:
        settings = settings_for(tmp_path / "domain", [pacs_of(orthanc.dicom_port)], prefetch=True, prefetch_studies=2)
        with pulling(settings) as domain:
            establishment = Establishment(orthanc, domain)
            for number, day in enumerate(("20200101", "20210101", "20220101"), 1):
                establishment.put(f"1.2.44.{number}", 1, StudyDate=day)
            establishment.put("1.2.44.9", 1, StudyDate="20230101", Modality="US")
            domain.poll()
            until = time.monotonic() + 60
            while len(domain.cached()) < 3 and time.monotonic() < until:
                time.sleep(0.05)
            # Each of the three has the two others, and the ultrasound none of them.
            assert len(domain.cached()) == 3


def test_dcmtk_gets_images_of_a_pacs_from_us(tmp_path: Path) -> None:
    listening = free_port()
    with (
        running_orthanc(tmp_path / "orthanc") as orthanc,
        pulling(settings_for(tmp_path / "domain", [pacs_of(orthanc.dicom_port)])) as domain,
    ):
        establishment = Establishment(orthanc, domain)
        stored = [establishment.put("1.2.45", number) for number in (1, 2, 3)]
        domain.poll()
        listener = DimseServer(domain.app.domain.imaging_document_source, "XDS", "127.0.0.1", listening)
        listener.start()
        try:
            keys = ["-k", "QueryRetrieveLevel=STUDY", "-k", "StudyInstanceUID=1.2.45"]
            received = tmp_path / "received"
            received.mkdir()
            subprocess.run(
                ["getscu", "-S", "-aec", "XDS", "-od", str(received), "127.0.0.1", str(listening), *keys],
                check=True,
                capture_output=True,
                timeout=60,
            )
        finally:
            listener.stop()
        given = {str(found.SOPInstanceUID): found for found in (data_set(path.read_bytes()) for path in received.iterdir())}
        assert given == {str(found.SOPInstanceUID): found for found in map(data_set, stored)}
