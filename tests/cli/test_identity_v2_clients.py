"""The commands of HL7 v2 beside ITI-8 and ITI-9, against a real server."""

from __future__ import annotations

import json

import pytest

from tests.cli.commands import Commands
from tests.running import RunningServer
from xds.wire import hl7v2

ONE, TWO, OTHER = "V2A^^^HOSP_V2&2.999.77&ISO", "V2B^^^HOSP_V2&2.999.77&ISO", "V2C^^^HOSP_V2&2.999.77&ISO"


@pytest.mark.parametrize(
    "arguments",
    [
        ("iti10",),
        ("iti21",),
        ("iti21", "--birth-date", "yesterday"),
        ("iti22", "--visit", "389"),
        ("iti30",),
        ("iti30", "--patient", ONE, "--event", "merge"),
        ("iti30", "--patient", ONE, "--other", TWO),
        ("iti31", "--patient", ONE, "--event", "A99"),
        ("iti64", "--local", "x", "--new", ONE, "--previous", TWO, "--system", "1.2.3"),
    ],
)
def test_wrong_usage(xds: Commands, arguments: tuple[str, ...]) -> None:
    outcome = xds("send", *arguments)
    assert (outcome.code, outcome.out) == (2, "")
    assert "Traceback" not in outcome.err


@pytest.mark.parametrize(
    ("arguments", "message_type", "path", "value"),
    [
        (("iti10", "--patient", ONE, "--patient", TWO), "ADT^A31^ADT_A05", "PID-3.4.2", "2.999.77"),
        (("iti21", "--name", "Web*^L", "--birth-date", "1990", "--similar", "60"), "QBP^Q22^QBP_Q21", "QPD-4", "60"),
        (("iti22", "--visit", "PV1.3.2=12", "--limit", "5"), "QBP^ZV1^QBP_Q21", "QPD-3.2", "12"),
        (("iti30", "--event", "link", "--patient", ONE, "--other", TWO), "ADT^A24^ADT_A24", "PID-3", "V2A"),
        (("iti31", "--event", "A12", "--patient", ONE, "--visit", "PV1.2=I"), "ADT^A12^ADT_A12", "PV1-2", "I"),
        (("iti64", "--local", ONE, "--new", TWO, "--previous", OTHER, "--system", "1.2.3"), "ADT^A43^ADT_A43", "MSH-3", "1.2.3"),
    ],
)
def test_messages(xds: Commands, arguments: tuple[str, ...], message_type: str, path: str, value: str) -> None:
    message = hl7v2.read(xds("send", *arguments, "--dry-run").out.replace("\n", "\r").encode())
    assert (message.field("MSH-9"), message.get(path)) == (message_type, value)


def test_a_patient_comes_changes_and_is_found(xds: Commands, server: RunningServer) -> None:
    to = ("--to", server.mllp)
    described = ("--name", "Vervoort^Lena", "--birth-date", "19900415", "--sex", "F")
    assert xds("send", "iti30", *to, "--patient", ONE, *described).code == 0
    visit = ("--visit", "PV1.2=I", "--visit", "PV1.3.2=V2-389")
    assert xds("send", "iti31", *to, "--event", "A02", "--patient", ONE, *described, *visit).code == 0
    assert xds("send", "iti30", *to, "--event", "change", "--patient", TWO, "--other", ONE, *described).code == 0
    found = json.loads(xds("send", "iti22", *to, "--visit", "PV1.3.2=V2-389", "--json").out)
    (patient,) = found["patients"]
    assert (patient["family"], patient["visit"]["PV1.3.2"]) == ("Vervoort", "V2-389")
    table = xds("send", "iti21", *to, "--name", "Verv*^Lena", "--domain", "2.999.77")
    assert table.out.split("\t")[:5] == ["Vervoort", "Lena", "19900415", "F", "V2B@HOSP_V2"]
    assert xds("send", "iti21", *to, "--name", "Nobody^Nowhere").code == 1
