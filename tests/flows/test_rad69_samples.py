"""The NIST toolkit's requests for images (RAD-69), driven by the independent runner: given, or refused with the right code.

The toolkit's own images are not to be had: those that its requests name are made. Spec: RAD TF-2 4.69.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import httpx
from lxml import etree

from tests.archive import image
from tests.flows.conftest import AUTHORITY, IMAGING_SOURCE
from tests.running import RunningServer

#: What the requests that are to succeed ask for.
NAMED = ("ids_2018-4803a", "ids_2018-4803b", "ids_2018-4820", "ids_4820", "ids_4812-case-0")
#: The runner's own code for it is one of the toolkit alone.
DOUBTFUL = "ids_2018-4811-case-05"


def load_images(samples: Path, server: RunningServer) -> None:
    """Store every instance that these requests name, by STOW-RS."""
    named = set()
    for path in samples.glob("RAD-69/*.xml"):
        if any(name in path.name for name in NAMED):
            for series in etree.parse(path).iterfind(".//{*}SeriesRequest"):
                study = series.getparent()
                assert study is not None
                uids = (study.get("studyInstanceUID"), series.get("seriesInstanceUID"))
                named |= {(*uids, node.text) for node in series.iterfind(".//{*}DocumentUniqueId")}
    assert len(named) > 10
    for study_uid, series_uid, uid in sorted(named):
        octets = image(StudyInstanceUID=study_uid, SeriesInstanceUID=series_uid, SOPInstanceUID=uid)
        answer = httpx.post(
            f"{server.http}/dicomweb/studies", content=octets, headers={"Content-Type": "application/dicom"}, timeout=60
        )
        assert answer.status_code == 200, answer.text


def test_every_sample(shared: Path, server: RunningServer, tmp_path: Path) -> None:
    samples = shared / "vectors" / "messages"
    load_images(samples, server)
    command = [sys.executable, str(samples / "runner" / "run.py"), "--samples", str(samples), "--out", str(tmp_path)]
    command += ["--plan", str(samples / "plan.json"), "--schemas", str(shared / "official-schemas")]
    command += ["--registry", f"{server.http}/services/registry", "--repository", f"{server.http}/services/repository"]
    command += ["--imaging-source", f"{server.http}/services/imaging-source", "--imaging-uid", IMAGING_SOURCE]
    command += ["--mllp", server.mllp, "--assigning-authority", AUTHORITY, "--images-loaded", "--tx", "RAD-69"]
    # The samples are read-only: nothing may be compiled beside them.
    environment = os.environ | {"PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=600, env=environment)
    assert (tmp_path / "results.json").exists(), done.stderr
    results = json.loads((tmp_path / "results.json").read_text())["results"]
    driven = {item["file"]: item for item in results if item["category"] != "not drivable"}
    assert len(driven) == 20
    wrong = {
        file: (item["category"], item["verdict"], item["got"], item["got_codes"])
        for file, item in driven.items()
        if item["category"] != "as expected" and DOUBTFUL not in file
    }
    assert wrong == {}
