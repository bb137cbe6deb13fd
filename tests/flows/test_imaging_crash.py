"""Kill -9 while images come in by C-STORE: what was answered is there octet for octet, the rest is whole or absent.

One process of several is killed likewise, while the others go on.

Spec: DICOM PS3.4 B.2.3 (a status of success is a promise); RAD TF-2 4.8, 4.68.
"""

from __future__ import annotations

import hashlib
import os
import signal
import threading
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

import httpx
from pydicom.dataset import Dataset

from tests.archive import image
from tests.flows.conftest import AUTHORITY
from tests.flows.partners import feed
from tests.flows.test_manifests import SETTINGS, cx, documents, listed, wait_for
from tests.flows.test_processes import children
from tests.running import RunningServer
from xds.app import BLOB_DIRECTORY
from xds.pacs.sender import DicomFile, read_file, send_files
from xds.wire.dimse import data_set_start

PATIENT, STUDY = "IMG9", "1.2.826.0.1.9"
SERIES = f"{STUDY}.1"
SOURCES, SLICES = 3, 60
ANSWERED_BEFORE_THE_KILL = 25


def slices(directory: Path) -> list[DicomFile]:
    """Files of one study, each of them another image."""

    def issued(dataset: Dataset) -> None:
        issuer = Dataset()
        issuer.UniversalEntityID, issuer.UniversalEntityIDType = AUTHORITY, "ISO"
        dataset.IssuerOfPatientIDQualifiersSequence = [issuer]

    directory.mkdir()
    uids = {"StudyInstanceUID": STUDY, "SeriesInstanceUID": SERIES, "PatientID": PATIENT}
    for number in range(SOURCES * SLICES):
        octets = image(issued, **uids, SOPInstanceUID=f"{SERIES}.{number}", InstanceNumber=number)
        (directory / f"{number:03d}.dcm").write_bytes(octets)
    return [read_file(path) for path in sorted(directory.iterdir())]


def send(server: RunningServer, files: Sequence[DicomFile], answered: set[str], one_more: threading.Semaphore) -> None:
    """Send until all was sent, or the server dies."""
    title, host, port = server.dicom
    try:
        for file, status in send_files(files, host, port, calling="CT", called=title, seconds=60):
            assert status == 0
            answered.add(file.sop_instance_uid)
            one_more.release()
    except OSError:
        pass


def send_and_kill(server: RunningServer, files: Sequence[DicomFile], answered: set[str], kill: Callable[[], None]) -> None:
    """Several sources send what was not answered; in the middle of it something is killed."""
    left = [file for file in files if file.sop_instance_uid not in answered]
    one_more = threading.Semaphore(0)
    sources = [
        threading.Thread(target=send, args=(server, left[number::SOURCES], answered, one_more)) for number in range(SOURCES)
    ]
    for source in sources:
        source.start()
    for _ in range(ANSWERED_BEFORE_THE_KILL):
        assert one_more.acquire(timeout=60), "the server does not answer"
    kill()
    for source in sources:
        source.join(60)


def held(server: RunningServer, files: Sequence[DicomFile]) -> dict[str, bytes]:
    """The data sets that the server gives, by SOP Instance UID."""
    found: dict[str, bytes] = {}
    accept = {"Accept": "application/dicom; transfer-syntax=*"}
    with httpx.Client(headers=accept, timeout=60) as client:
        for file in files:
            uid = file.sop_instance_uid
            answer = client.get(f"{server.http}/dicomweb/studies/{STUDY}/series/{SERIES}/instances/{uid}")
            assert answer.status_code in (200, 404), answer.status_code
            if answer.status_code == 200:
                found[uid] = answer.content[data_set_start(answer.content) :]
    return found


def check(server: RunningServer, files: Mapping[str, DicomFile], answered: set[str]) -> None:
    """Everything answered is there, and whatever is there is whole and announced once."""
    found = held(server, list(files.values()))
    assert answered <= found.keys()
    for uid, data_set in found.items():
        assert data_set == b"".join(files[uid].octets())
    # What was half done when the server was killed is looked for within a minute.
    (entry,) = wait_for(server, PATIENT, lambda items: len(items) == 1 and listed(server, items[0]) == found.keys(), 300)
    assert [item.id for item in documents(server, PATIENT)] == [entry.id]


def test_images_that_were_answered_survive_being_killed(tmp_path: Path) -> None:
    data = tmp_path / "data"
    files = {file.sop_instance_uid: file for file in slices(tmp_path / "sent")}
    answered: set[str] = set()
    for number in range(2):
        server = RunningServer(data, **SETTINGS | {"IMAGING__SETTLE_SECONDS": "0"}).start()
        try:
            if number == 0:
                feed(server, cx(PATIENT))
            send_and_kill(server, list(files.values()), answered, server.kill)
        finally:
            server.kill()
            server.stop()
    assert len(answered) >= 2 * ANSWERED_BEFORE_THE_KILL
    blobs = data / BLOB_DIRECTORY
    half = list((blobs / "staging").iterdir())
    with RunningServer(data, **SETTINGS) as server:
        assert not any(path.exists() for path in half)
        check(server, files, answered)
        left = [file for uid, file in files.items() if uid not in answered]
        send(server, left, answered, threading.Semaphore(0))
        assert answered == files.keys()
        check(server, files, answered)
        for blob in (blobs / "objects").rglob("*"):
            assert blob.is_dir() or hashlib.sha256(blob.read_bytes()).hexdigest() == blob.name


def test_one_process_of_two_is_killed_while_both_take_images(tmp_path: Path) -> None:
    files = {file.sop_instance_uid: file for file in slices(tmp_path / "sent")}
    answered: set[str] = set()
    settings = SETTINGS | {"IMAGING__SETTLE_SECONDS": "2"}
    with RunningServer(tmp_path / "data", "--processes", "2", **settings) as server:
        feed(server, cx(PATIENT))
        for victim in reversed(children(server)):
            send_and_kill(server, list(files.values()), answered, partial(os.kill, victim, signal.SIGKILL))
        while left := [file for uid, file in files.items() if uid not in answered]:
            send(server, left, answered, threading.Semaphore(0))
        check(server, files, answered)
        assert set(answered) == files.keys()
