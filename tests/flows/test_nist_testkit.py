"""The part of the NIST XDS Toolkit's tests that this software answers, driven by the independent runner beside the samples."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pydicom
import pytest
from pynetdicom import AE

from tests.flows.conftest import AUTHORITY, IMAGING_SOURCE
from tests.flows.partners import APPROVED, ask, feed
from tests.running import RunningServer
from xds.model.vocabulary import StoredQueryId

REGISTER = ["11990", "11991", "11992", "11996", "11998a", "11999", "12000", "12004"]
QUERY = ["11901", "11903", "11906", "15803"]
REPOSITORY = ["11966", "11983", "12029", "12369"]
REMOVAL = ["30000", "30001", "30002", "50000"]
UPDATE = ["15800", "15800b", "15802", "20000", "20000b", "20001", "20002", "20007", "21001", "40000", "40000b", "40000d"]
LINK_CHANGE = ["16101", "16103"]
IMAGING = ["ids_2018-4801a", "ids_2018-4802a", "ids_2018-4803a", "ids_4801", "ids_4805", "ids_4810"]


def run_testkit(shared: Path, server: RunningServer, out: Path, tests: list[str]) -> dict[str, str]:
    """Run these tests; the verdict on each."""
    testkit = shared / "vectors" / "nist-testkit"
    command = [sys.executable, str(testkit / "runner" / "run.py"), "--testkit", str(testkit), "--out", str(out)]
    command += ["--schemas", str(shared / "official-schemas" / "v3")]
    command += ["--registry", f"{server.http}/services/registry", "--repository", f"{server.http}/services/repository"]
    command += ["--ids", f"{server.http}/services/imaging-source", "--wado", f"{server.http}/wado"]
    command += ["--patient-feed", f"mllp://{server.mllp}", "--assigning-authority", AUTHORITY]
    command += ["--ids-repository", IMAGING_SOURCE, "--play-source", "--quiet"]
    for test in tests:
        command += ["--test", test]
    # The samples are read-only: nothing may be compiled beside them.
    environment = os.environ | {"PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=600, env=environment)
    # The runner names what it submits by the second in which it starts: the next one must start in another.
    time.sleep(1 - time.time() % 1)
    assert (out / "results.json").exists(), done.stderr
    verdicts: dict[str, str] = json.loads((out / "results.json").read_text())["tests"]
    return {test: verdicts[test] for test in tests}


@pytest.mark.parametrize(
    "tests",
    [REGISTER, QUERY, REPOSITORY, REMOVAL, UPDATE, LINK_CHANGE],
    ids=["register", "query", "repository", "removal", "update", "link change"],
)
def test_registry_and_repository(shared: Path, server: RunningServer, tmp_path: Path, tests: list[str]) -> None:
    verdicts = run_testkit(shared, server, tmp_path, tests)
    assert verdicts == dict.fromkeys(tests, "PASS"), (tmp_path / "table.txt").read_text()


#: Whose images are stored under which number, and whom the toolkit asks for.
DEPARTMENT = "1.3.6.1.4.1.21367.1800.13.20.1000"
PATIENT = f"C3L-00277^^^&{DEPARTMENT}&ISO~IDS_2018-4801a^^^&{AUTHORITY}&ISO"


def test_imaging_document_source(shared: Path, server: RunningServer, tmp_path: Path) -> None:
    feed(server, PATIENT, name="ChestXR^TwoViews", more="||19601218|M")
    for image in sorted((shared / "vectors" / "nist-testkit" / "synthetic-images").rglob("*.dcm")):
        store(server, image)
    wait_for_manifest(server, f"IDS_2018-4801a^^^&{AUTHORITY}&ISO")
    verdicts = run_testkit(shared, server, tmp_path, IMAGING)
    assert verdicts == dict.fromkeys(IMAGING, "PASS"), (tmp_path / "table.txt").read_text()


def store(server: RunningServer, image: Path) -> None:
    """C-STORE one file."""
    title, host, port = server.dicom
    dataset = pydicom.dcmread(image)
    entity = AE(ae_title="MODALITY")
    entity.add_requested_context(dataset.SOPClassUID, dataset.file_meta.TransferSyntaxUID)
    association = entity.associate(host, port, ae_title=title)
    assert association.is_established
    status = association.send_c_store(dataset)
    association.release()
    assert status.Status == 0x0000


def wait_for_manifest(server: RunningServer, patient_id: str, seconds: float = 120) -> None:
    slots = {"XDSDocumentEntryPatientId": f"'{patient_id}'", "XDSDocumentEntryStatus": APPROVED}
    end = time.monotonic() + seconds
    while not ask(server, StoredQueryId.FIND_DOCUMENTS, **slots).objects:
        assert time.monotonic() < end, "the study was not published in time"
        time.sleep(0.2)
