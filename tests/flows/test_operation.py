"""The life of the process: its log, its restart on the same data, its end in the middle of a request.

Spec: ITI TF-2 3.20 (who may be told about patients: the audit trail alone).
"""

from __future__ import annotations

import json
import re
import signal
import time
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path

import httpx
import pydicom
import pytest

from tests.archive import image
from tests.builders import document_entry, submission
from tests.flows.conftest import AUTHORITY
from tests.flows.partners import (
    APPROVED,
    PROVIDE,
    XDSB,
    XOP,
    ask,
    converse,
    entries,
    envelope,
    exchange,
    mllp,
    provide,
    retrieve,
    store,
    write_package,
)
from tests.running import RunningServer
from xds.model.metadata import DocumentEntry
from xds.model.vocabulary import StoredQueryId
from xds.wire.ebrim import write_submission

QUERY = "urn:ihe:iti:2007:RegistryStoredQuery"
REGISTER = "urn:ihe:iti:2007:RegisterDocumentSet-b"
PLAIN_SOAP = {"Content-Type": "application/soap+xml; charset=UTF-8"}

_ADT = "MSH|^~\\&|A|B|C|D|20260301||ADT^A01|1|P|2.3.1\rEVN|A01|20260301\rPID|||1^^^&1.2.3&ISO||A^B\rPV1||O\r"
PHI = ("Zwetschgenbaum", "Aurelia", "19331122", "ZW-33112299", "ZWACC77", "Quittenweg")


def _with_patient(server: RunningServer) -> DocumentEntry:
    """Everything that a person leaves behind in messages, good and bad ones."""
    patient = f"{PHI[3]}^^^&{AUTHORITY}&ISO"
    person = f"{PHI[0]}^{PHI[1]}||{PHI[2]}|F|||{PHI[5]} 3^^Ulm"
    mllp(server, *_ADT.replace("1^^^&1.2.3&ISO||A^B", f"{patient}||{person}").split("\r")[:-1])
    mllp(server, *_ADT.replace("1^^^&1.2.3&ISO||A^B", f"{patient}^^^||{person}^\xff").replace("A01|1", "A99|2").split("\r")[:-1])
    mllp(
        server, *_ADT.replace("1^^^&1.2.3&ISO", f"{PHI[3]}").replace("A^B", person.replace(PHI[2], PHI[2] + "x")).split("\r")[:-1]
    )
    entry = document_entry(
        patient_id=patient,
        source_patient_info=(f"PID-5|{PHI[0]}^{PHI[1]}",),
        title=f"Letter about {PHI[0]}",
        hash=None,
        size=None,
        repository_unique_id=None,
    )
    provide(server, submission([entry], patient_id=patient), {entry.id: PHI[0].encode()})
    facts = {"PatientName": f"{PHI[0]}^{PHI[1]}", "PatientID": PHI[3], "PatientBirthDate": PHI[2], "AccessionNumber": PHI[4]}
    store(server, pydicom.dcmread(BytesIO(image(**facts))))
    other = pydicom.dcmread(BytesIO(image(**(facts | {"SOPInstanceUID": "1.2.3.4", "PatientID": f"{PHI[3]}-2"}))))
    with pytest.raises(AssertionError):
        store(server, other)
    address = f"{server.http}/services/registry"
    for action in (QUERY, REGISTER, f"urn:{PHI[0]}"):
        for text in (f"<{PHI[0]}/>", f"<x a='{PHI[3]}'>{PHI[0]}</x", f"<!DOCTYPE {PHI[0]}>"):
            httpx.post(address, content=envelope(address, action, text).encode(), headers=PLAIN_SOAP, timeout=60)
    for path in (f"/fhir/Patient/{PHI[3]}", f"/?name={PHI[0]}", f"/dicomweb/studies/{PHI[3]}", f"/wado?studyUID={PHI[0]}"):
        httpx.get(server.http + path, headers={"User-Agent": PHI[0], "Referer": f"http://x/{PHI[3]}"}, timeout=60)
    converse(server.http, f"{PHI[0]} /{PHI[3]}\r\n\r\n".encode())
    converse(server.mllp, f"{PHI[0]}\x0b{PHI[3]}\x1c\r".encode())
    ask(server, StoredQueryId.FIND_DOCUMENTS, XDSDocumentEntryPatientId=f"'{patient}'", XDSDocumentEntryStatus=APPROVED)
    (found,) = entries(ask(server, StoredQueryId.GET_DOCUMENTS, XDSDocumentEntryUniqueId=f"('{entry.unique_id}')").objects)
    return found


def test_logs_are_json_without_patients_and_data_outlive_the_process(tmp_path: Path) -> None:
    data, log = tmp_path / "data", tmp_path / "data" / "server.log"
    settings = {"DOMAIN__ASSIGNING_AUTHORITY": AUTHORITY, "SERVER__LOG_LEVEL": "debug", "IMAGING__SETTLE_SECONDS": "0"}
    with RunningServer(data, **settings) as server:
        entry = _with_patient(server)
        assert server.stop() == 0
    with RunningServer(data, **settings) as server:
        again = ask(server, StoredQueryId.GET_DOCUMENTS, XDSDocumentEntryUniqueId=f"('{entry.unique_id}')")
        assert again.objects == (entry,)
        documents = retrieve(server, str(entry.repository_unique_id), str(entry.unique_id))
        assert documents == {entry.unique_id: PHI[0].encode()}
        exchange(server)
        assert server.stop() == 0
    lines = log.read_text().splitlines()
    events = [json.loads(line) for line in lines]
    assert len(events) > 20
    assert all({"event", "level", "timestamp"} <= event.keys() for event in events)
    assert [(word, line) for line in lines for word in PHI if word.lower() in line.lower()] == []


def wait_until(condition: Callable[[], bool], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.02)


def requests_in_flight(server: RunningServer) -> int:
    """Among them the one that asks."""
    found = re.search(r"^xds_requests_in_flight ([0-9]+)", httpx.get(f"{server.http}/metrics", timeout=60).text, re.MULTILINE)
    assert found
    return int(found[1])


def test_the_end_waits_for_the_request_in_flight(tmp_path: Path) -> None:
    """SIGTERM in the middle of a submission: it is finished and acknowledged, and the exit code is 0."""
    settings = {"DOMAIN__ASSIGNING_AUTHORITY": AUTHORITY, "REGISTRY__REQUIRE_KNOWN_PATIENT": "false"}
    patient = f"INFLIGHT^^^&{AUTHORITY}&ISO"
    entry = document_entry(patient_id=patient, hash=None, size=None, repository_unique_id=None)
    with RunningServer(tmp_path / "data", **settings) as server:
        address = f"{server.http}/services/repository"
        metadata = write_submission(submission([entry], patient_id=patient)).decode()
        body = (
            f'<x:ProvideAndRegisterDocumentSetRequest xmlns:x="{XDSB}">{metadata}'
            f'<x:Document id="{entry.id}"><i:Include xmlns:i="{XOP}" href="cid:a@b"/></x:Document>'
            "</x:ProvideAndRegisterDocumentSetRequest>"
        )
        content_type, octets = write_package(address, PROVIDE, body, {"a@b": ("application/pdf", b"x" * 100_000)})

        def halves() -> Iterator[bytes]:
            yield octets[: len(octets) // 2]
            wait_until(lambda: requests_in_flight(server) >= 2)
            assert server.process is not None
            server.process.send_signal(signal.SIGTERM)
            time.sleep(0.5)
            yield octets[len(octets) // 2 :]

        headers = {"Content-Type": content_type, "Content-Length": str(len(octets))}
        answer = httpx.post(address, content=halves(), headers=headers, timeout=60)
        assert "ResponseStatusType:Success" in answer.text
        assert server.stop() == 0
    with RunningServer(tmp_path / "data", **settings) as server:
        found = ask(server, StoredQueryId.GET_DOCUMENTS, XDSDocumentEntryUniqueId=f"('{entry.unique_id}')")
        assert [item.unique_id for item in entries(found.objects)] == [entry.unique_id]
