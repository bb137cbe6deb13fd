"""Manifests of a running server: orders and reports over MLLP, both forms, operators' commands, and `kill -9` in between.

Spec: RAD TF-2 4.4, 4.68, 4.128.
"""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import pydicom
import pytest
from pydicom.dataset import Dataset

from tests.archive import image
from tests.flows.conftest import AUTHORITY, IMAGING_SOURCE
from tests.flows.partners import APPROVED, ask, entries, feed, mllp, retrieve, store
from tests.running import RunningServer
from xds.model.metadata import DocumentEntry
from xds.model.vocabulary import AssociationType, StoredQueryId

SETTINGS = {
    "DOMAIN__ASSIGNING_AUTHORITY": AUTHORITY,
    "DOMAIN__IMAGING_SOURCE_UNIQUE_ID": IMAGING_SOURCE,
    "IMAGING__SETTLE_SECONDS": "0.5",
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """A server that publishes both forms."""
    data = tmp_path_factory.mktemp("manifests")
    with RunningServer(data, IMAGING__MANIFESTS='["xds-i", "mado"]', **SETTINGS) as running:
        yield running


def picture(patient: str, study: str, number: int) -> Dataset:
    def issued(dataset: Any) -> None:
        issuer = Dataset()
        issuer.UniversalEntityID, issuer.UniversalEntityIDType = AUTHORITY, "ISO"
        dataset.IssuerOfPatientIDQualifiersSequence = [issuer]

    attributes = {"StudyInstanceUID": study, "SeriesInstanceUID": f"{study}.1", "SOPInstanceUID": f"{study}.1.{number}"}
    return pydicom.dcmread(BytesIO(image(issued, PatientID=patient, **attributes)))


def documents(server: RunningServer, patient: str) -> list[DocumentEntry]:
    slots = {"XDSDocumentEntryPatientId": f"'{cx(patient)}'", "XDSDocumentEntryStatus": APPROVED}
    return entries(ask(server, StoredQueryId.FIND_DOCUMENTS, **slots).objects)


def cx(patient: str) -> str:
    return f"{patient}^^^&{AUTHORITY}&ISO"


def wait_for(server: RunningServer, patient: str, what: Any, seconds: float = 120) -> list[DocumentEntry]:
    """Look until the documents of the patient are as they shall be."""
    end = time.monotonic() + seconds
    while not what(found := documents(server, patient)):
        assert time.monotonic() < end, [item.title for item in found]
        time.sleep(0.2)
    return found


def listed(server: RunningServer, entry: DocumentEntry) -> set[str]:
    unique_id, repository = entry.unique_id or "", entry.repository_unique_id or ""
    dataset = pydicom.dcmread(BytesIO(retrieve(server, repository, unique_id)[unique_id]))
    evidence = dataset.CurrentRequestedProcedureEvidenceSequence[0].ReferencedSeriesSequence
    return {item.ReferencedSOPInstanceUID for one in evidence for item in one.ReferencedSOPSequence}


def admin(server: RunningServer, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "xds", "admin", *arguments, "--data", str(server.data)]
    environment = os.environ | {f"XDS__{name}": value for name, value in SETTINGS.items()}
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, env=environment)


def hl7(kind: str, patient: str, *segments: str, number: str) -> tuple[str, ...]:
    header = f"MSH|^~\\&|RIS|HOSP|XDS|XDS|20260301120000||{kind}|{number}|P|2.5"
    return header, f"PID|||{cx(patient)}||Doe^Jane||19700101|F", *segments


def test_orders_images_and_reports_come_together(server: RunningServer) -> None:
    patient, study = "IMG1", "1.2.826.0.1.1"
    feed(server, cx(patient))
    order = ("ORC|NW|PL1^RIS^1.2.3.7^ISO|FI1", "OBR|1|PL1|FI1|24627-2^CT chest^LN", f"IPC|ACC1^RIS^1.2.3.8^ISO|RP1|{study}")
    assert mllp(server, *hl7("OMI^O23^OMI_O23", patient, *order, number="O1"))[1][1] == "AA"
    store(server, picture(patient, study, 1))
    found = wait_for(server, patient, lambda items: len(items) == 2)
    reference = "ACC1^^^&1.2.3.8&ISO^urn:ihe:iti:xds:2013:accession"
    for entry in found:
        assert reference in entry.slot("urn:ihe:iti:xds:2013:referenceIdList")
        assert listed(server, entry) == {f"{study}.1.1"}
    store(server, picture(patient, study, 2))
    newest = wait_for(
        server, patient, lambda items: len(items) == 2 and {item.id for item in items}.isdisjoint(e.id for e in found)
    )
    assert all(listed(server, entry) == {f"{study}.1.1", f"{study}.1.2"} for entry in newest)
    pdf = base64.b64encode(b"%PDF-1.4 report").decode()
    result = (
        "OBR|1|PL1|FI1|24627-2^CT chest^LN",
        f"OBX|1|ED|||RIS^AP^PDF^Base64^{pdf}||||||F",
        f"ZDS|{study}^RIS^Application^DICOM",
    )
    assert mllp(server, *hl7("ORU^R01^ORU_R01", patient, *result, number="R1"))[1][1] == "AA"
    reports = wait_for(server, patient, lambda items: any(item.mime_type == "application/pdf" for item in items))
    (report,) = [item for item in reports if item.mime_type == "application/pdf"]
    assert f"{study}^^^^urn:ihe:iti:xds:2016:studyInstanceUID" in report.slot("urn:ihe:iti:xds:2013:referenceIdList")
    links = ask(server, StoredQueryId.GET_ASSOCIATIONS, uuid=f"('{newest[0].id}','{newest[1].id}')").objects
    kinds = {getattr(item, "association_type", "") for item in links}
    assert AssociationType.XFRM in kinds


def test_a_message_that_says_too_little_is_refused(server: RunningServer) -> None:
    answer = mllp(server, *hl7("ORU^R01^ORU_R01", "IMG1", "OBR|1", number="R9"))
    assert answer[1][1] == "AE"
    assert sum(fields[0] == "ERR" for fields in answer) == 2


def test_operators_look_reconcile_and_publish(server: RunningServer) -> None:
    patient, study = "IMG2", "1.2.826.0.1.2"
    store(server, picture(patient, study, 1))
    end = time.monotonic() + 120
    while study not in (done := admin(server, "studies", "--json")).stdout:
        assert time.monotonic() < end, done
    row = next(item for item in map(json.loads, done.stdout.splitlines()) if item.get("study") == study)
    assert row["state"] == "unresolved"
    feed(server, cx(patient))
    assert admin(server, "publish", study).returncode == 0
    assert admin(server, "publish", "1.2.404").returncode == 1
    wait_for(server, patient, lambda items: len(items) == 2)
    compared = admin(server, "reconcile", study)
    assert compared.returncode == 0, compared
    assert "1 studies were compared" in compared.stdout
    assert admin(server, "accept", study).returncode == 1


def test_a_server_that_is_killed_publishes_each_study_once(tmp_path: Path) -> None:
    patient, study = "IMG3", "1.2.826.0.1.3"
    sent = 0
    for number in range(4):
        with RunningServer(tmp_path, **SETTINGS | {"IMAGING__SETTLE_SECONDS": "0"}) as server:
            if number == 0:
                feed(server, cx(patient))
            for _ in range(3):
                sent += 1
                store(server, picture(patient, study, sent))
            time.sleep(number * 0.15)
            server.kill()
            server.stop()
    with RunningServer(tmp_path, **SETTINGS) as server:
        everything = {f"{study}.1.{number}" for number in range(1, sent + 1)}
        (entry,) = wait_for(server, patient, lambda items: len(items) == 1 and listed(server, items[0]) == everything)
        time.sleep(1)
        assert [item.id for item in documents(server, patient)] == [entry.id]
