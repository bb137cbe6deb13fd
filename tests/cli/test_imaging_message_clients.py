"""`xds send rad04` and `rad128`, by themselves and against a real server."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.commands import Commands
from tests.running import RunningServer
from xds.wire import hl7v2

PATIENT = "RAD4^^^HOSP_R&2.999.78&ISO"


@pytest.mark.parametrize(
    "arguments",
    [
        ("rad04",),
        ("rad04", "--patient", PATIENT, "--accession", "A^B^C^D"),
        ("rad04", "--patient", PATIENT, "--study", "../1"),
        ("rad04", "--patient", PATIENT, "--procedure", "^CT^LN"),
        ("rad128", "--patient", PATIENT),
        ("rad128", "--patient", PATIENT, "--number", "R1", "--document", "/nowhere.pdf"),
    ],
)
def test_wrong_usage(xds: Commands, arguments: tuple[str, ...]) -> None:
    outcome = xds("send", *arguments)
    assert (outcome.code, outcome.out) == (2, "")
    assert "Traceback" not in outcome.err


@pytest.mark.parametrize(
    ("arguments", "message_type", "path", "value"),
    [
        (("rad04", "--accession", "A7^RIS^2.999.7"), "OMI^O23^OMI_O23", "IPC-1.3", "2.999.7"),
        (("rad04", "--placer", "P7", "--state", "cancelled"), "OMI^O23^OMI_O23", "ORC-1", "CA"),
        (("rad04", "--procedure", "24627-2^CT chest^LN"), "OMI^O23^OMI_O23", "OBR-4.2", "CT chest"),
        (("rad128", "--number", "R7", "--study", "1.2.3"), "ORU^R01^ORU_R01", "OBR-25", "X"),
    ],
)
def test_messages(xds: Commands, arguments: tuple[str, ...], message_type: str, path: str, value: str) -> None:
    printed = xds("send", *arguments, "--patient", PATIENT, "--dry-run").out
    message = hl7v2.read(printed.replace("\n", "\r").encode())
    assert (message.field("MSH-9"), message.get(path)) == (message_type, value)


def test_an_order_and_its_report_are_accepted(xds: Commands, server: RunningServer, tmp_path: Path) -> None:
    to = ("--to", server.mllp, "--patient", PATIENT, "--json")
    order = xds("send", "rad04", *to, "--accession", "A7", "--placer", "P7", "--study", "1.2.3.77")
    assert (order.code, json.loads(order.out)["code"]) == (0, "AA")
    report = tmp_path / "report.txt"
    report.write_text("No finding.\n")
    sent = xds("send", "rad128", *to, "--number", "R7", "--accession", "A7", "--document", str(report))
    assert (sent.code, json.loads(sent.out)["code"]) == (0, "AA")
    refused = xds("send", "rad04", *to)
    assert refused.code == 1
