"""Clients of ITI-44, ITI-45 and ITI-47 against a running server."""

from __future__ import annotations

import json

import pytest

from tests.cli.commands import Commands
from tests.cli.conftest import AUTHORITY
from tests.running import RunningServer

A, B = "2.999.71", "2.999.72"


@pytest.fixture
def known(xds: Commands, server: RunningServer) -> None:
    """One patient with identifiers of two hospitals."""
    arguments = ("--name", "Weber^Lena", "--birth-date", "19900415", "--sex", "F", "--to", server.http)
    sent = xds("send", "iti44", "--patient", f"L1^^^&{A}&ISO", "--patient", f"L2^^^&{B}&ISO", *arguments)
    assert (sent.code, sent.rows[0][1]) == (0, "CA"), sent.err


@pytest.mark.usefixtures("known")
def test_identifiers(xds: Commands, server: RunningServer) -> None:
    found = xds("send", "iti45", "--patient", f"L1^^^&{A}&ISO", "--domain", B, "--to", server.http)
    assert (found.code, found.rows) == (0, [["", B, "L2", f"L2^^^&{B}&ISO"]])
    whole = xds("send", "iti45", "--patient", f"L1^^^&{A}&ISO", "--to", server.http, "--json")
    facts = json.loads(whole.out)
    assert (facts["status"], {item["oid"] for item in facts["identifiers"]}) == ("OK", {B, AUTHORITY})
    unknown = xds("send", "iti45", "--patient", f"L404^^^&{A}&ISO", "--to", server.http)
    assert (unknown.code, "204" in unknown.err, "patientIdentifier/value" in unknown.err) == (1, True, True)
    assert xds("send", "iti45", "--patient", f"L1^^^&{A}&ISO", "--domain", "HOSP", "--to", server.http).code == 2


@pytest.mark.usefixtures("known")
def test_patients(xds: Commands, server: RunningServer) -> None:
    for arguments in (
        ("--name", "weber^Lena", "--birth-date", "1990"),
        ("--name", "Webr", "--similar", "--sex", "F", "--birth-date", "19900101-19901231"),
        ("--patient", f"L1^^^&{A}&ISO"),
    ):
        found = xds("send", "iti47", *arguments, "--to", server.http, "--json")
        assert found.code == 0, found.err
        (patient,) = json.loads(found.out)["patients"]
        assert (patient["name"], patient["birth_date"], patient["sex"]) == ("Lena Weber", "19900415", "F")
    limited = xds("send", "iti47", "--name", "Weber", "--domain", B, "--limit", "1", "--to", server.http)
    assert (limited.code, limited.rows[0][-1]) == (0, f"L2^^^&{B}&ISO")
    nobody = xds("send", "iti47", "--name", "Nobody^At All", "--to", server.http)
    assert (nobody.code, "no patient" in nobody.err) == (1, True)
    refused = xds("send", "iti47", "--name", "*", "--to", server.http)
    assert (refused.code, "error: SYN" in refused.err) == (1, True)


@pytest.mark.usefixtures("known")
def test_merge(xds: Commands, server: RunningServer) -> None:
    assert xds("send", "iti44", "--patient", f"OLD^^^&{A}&ISO", "--name", "Old^Record", "--to", server.http).code == 0
    merge = ("send", "iti44", "--event", "merge", "--patient", f"L1^^^&{A}&ISO", "--subsumed", f"OLD^^^&{A}&ISO")
    assert xds(*merge, "--to", server.http).code == 0
    again = xds(*merge, "--to", server.http)
    assert (again.code, "error: 204" in again.err) == (1, True)
    assert xds("send", "iti44", "--event", "merge", "--patient", f"L1^^^&{A}&ISO").code == 2


def test_dry_runs_and_wrong_usage(xds: Commands) -> None:
    for command, element in (
        (("iti44", "--patient", f"L1^^^&{A}&ISO", "--name", "Weber^Lena"), "PRPA_IN201301UV02"),
        (("iti45", "--patient", f"L1^^^&{A}&ISO"), "PRPA_IN201309UV02"),
        (("iti47", "--name", "Weber", "--sex", "F"), "PRPA_IN201305UV02"),
    ):
        shown = xds("send", *command, "--dry-run")
        assert (shown.code, shown.out.startswith(f"<{element} ")) == (0, True)
    assert xds("send", "iti47").code == 2
    assert xds("send", "iti47", "--birth-date", "yesterday").code == 2
    assert xds("send", "iti47", "--name", "X", "--to", "127.0.0.1:80").code == 2


def test_nobody_listens(xds: Commands) -> None:
    assert xds("send", "iti45", "--patient", f"L1^^^&{A}&ISO", "--to", "http://127.0.0.1:9", "--timeout", "5").code == 3
