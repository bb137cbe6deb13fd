"""The collected messages of other products and toolkits, driven by the independent runner beside them, and their verdicts.

Samples whose verdict the runner itself calls doubtful, and those that it cannot drive (gateways, recipients), say nothing here.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.flows.conftest import AUTHORITY, IMAGING_SOURCE
from tests.running import RunningServer

REGISTRY = ["ITI-18", "ITI-42", "ITI-51", "ITI-61", "ITI-62"]
UPDATES = ["ITI-57", "ITI-92"]
REPOSITORY = ["ITI-41", "ITI-43", "ITI-86", "RAD-68"]
IDENTITY_V3 = ["ITI-44", "ITI-45", "ITI-47"]
IDENTITY = ["ITI-8", "ITI-9", "ITI-21", "ITI-22", "ITI-30", "ITI-31", "ITI-64"]

WRONG = ("wrong verdict", "wrong code", "invalid answer", "blocked", "parse failed")

#: Samples that are to be accepted and break a rule of the standard, with the rule.
AGAINST_THE_STANDARD = {
    "ITI-42/tk2-12022-submit1-submit.xml": "a Folder without codeList, which Table 4.2.3.4-1 requires, and a Folder membership "
    "that is no member of the SubmissionSet (ITI TF-3 4.2.1.4)",
    "ITI-42/tk2-12346-main-submit_doc.xml": "languageCode twice: slot names are unique in an object (ITI TF-3 4.2.3.1.6), "
    "for which derived-37-duplicate-slot.xml is to be refused",
    "ITI-42/tk2-16102c-submit-load_two_de_fd.xml": "a Folder that is no member of the SubmissionSet (ITI TF-3 4.2.1.4)",
    "ITI-18/tk2-16102c-verify_move-FD_for_Initial_XAD-PID.xml": "needs the submission above",
    "ITI-64/ipfinline-ITI-64-ok-1.hl7": "identifiers of an authority that is not the affinity domain (ITI TF-2 3.64.4.1.2)",
    "ITI-8/ipf-translated-PIX_FEED_MERGE_Maximal_Request.hl7": "MRG-1 and PID-3 are of different authorities "
    "(ITI TF-2 3.8.4.2.2)",
    "ITI-8/santedb-ADT_MRG.hl7": "sent before the messages that prepare it: the prior identifier is unknown, for which "
    "ohie-OHIE-CR-17-50.hl7 is to be refused",
}

#: The domains that the stories of the identity samples presume.
IDENTITY_DOMAINS = """
[identity]
unknown_domains = "create"
[[identity.domains]]
name = "TEST"
oid = "2.16.840.1.113883.3.72.5.9.1"
[[identity.domains]]
name = "TEST_A"
oid = "2.16.840.1.113883.3.72.5.9.2"
sources = ["TEST|TEST_HARNESS_A"]
[[identity.domains]]
name = "TEST_B"
oid = "2.16.840.1.113883.3.72.5.9.3"
sources = ["TEST|TEST_HARNESS_B"]
[[identity.domains]]
name = "KEY"
oid = "2.16.840.1.113883.3.72.5.9.8"
[[identity.domains]]
name = "NID"
oid = "2.16.840.1.113883.3.72.5.9.9"
[[identity.domains]]
name = "IHE_1"
oid = "1.3.6.1.4.1.21367.2005.1.1"
[[identity.domains]]
name = "IHE_2"
oid = "1.3.6.1.4.1.21367.2005.1.2"
"""


def run_samples(shared: Path, server: RunningServer, out: Path, transactions: list[str]) -> list[dict[str, Any]]:
    """Send the samples of these transactions; what became of each."""
    samples = shared / "vectors" / "messages"
    command = [
        sys.executable,
        str(samples / "runner" / "run.py"),
        "--samples",
        str(samples),
        "--plan",
        str(samples / "plan.json"),
    ]
    command += ["--out", str(out), "--schemas", str(shared / "official-schemas")]
    command += ["--registry", f"{server.http}/services/registry", "--repository", f"{server.http}/services/repository"]
    command += ["--imaging-source", f"{server.http}/services/imaging-source", "--imaging-uid", IMAGING_SOURCE]
    command += ["--pix-manager", f"{server.http}/services/pix-manager", "--pdq-supplier", f"{server.http}/services/pdq-supplier"]
    command += ["--mllp", server.mllp, "--dicomweb", f"{server.http}/dicomweb", "--assigning-authority", AUTHORITY]
    command += ["--tx", *transactions]
    # The samples are read-only: nothing may be compiled beside them.
    environment = os.environ | {"PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=600, env=environment)
    assert (out / "results.json").exists(), done.stderr
    results: list[dict[str, Any]] = json.loads((out / "results.json").read_text())["results"]
    return results


@pytest.fixture(scope="module")
def identity_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """A server with the domains of the identity samples."""
    data = tmp_path_factory.mktemp("identity")
    config = data / "xds.toml"
    config.write_text(IDENTITY_DOMAINS)
    with RunningServer(data / "data", config=config, DOMAIN__ASSIGNING_AUTHORITY=AUTHORITY) as running:
        yield running


@pytest.mark.parametrize("transactions", [REGISTRY, UPDATES, REPOSITORY], ids=["registry", "updates", "repository"])
def test_verdicts(shared: Path, server: RunningServer, tmp_path: Path, transactions: list[str]) -> None:
    check(shared, server, tmp_path, transactions)


def test_verdicts_of_identity_in_hl7_v2(shared: Path, identity_server: RunningServer, tmp_path: Path) -> None:
    check(shared, identity_server, tmp_path, IDENTITY)


def test_verdicts_of_identity_in_hl7_v3(shared: Path, server: RunningServer, tmp_path: Path) -> None:
    check(shared, server, tmp_path, IDENTITY_V3)


def check(shared: Path, server: RunningServer, tmp_path: Path, transactions: list[str]) -> None:
    results = run_samples(shared, server, tmp_path, transactions)
    expected = [item["file"] for item in results if item["category"] == "as expected"]
    assert {item.partition("/")[0] for item in expected} == set(transactions)
    wrong = {item["file"]: item for item in results if item["category"] in WRONG}
    unforeseen = [
        f"{file}: {item['category']}: wanted {item['verdict']} {item['codes']}, "
        f"got {item['got']} {item['got_codes']} {item['note']} {item['faults']}"
        for file, item in wrong.items()
        if file not in AGAINST_THE_STANDARD
    ]
    assert unforeseen == []
    assert [file for file in AGAINST_THE_STANDARD if file.partition("/")[0] in transactions and file not in wrong] == []
