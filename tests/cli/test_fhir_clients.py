"""`xds send iti104`, `iti83`, `iti78`, `iti119` against a running server."""

from __future__ import annotations

import json
from pathlib import Path

from tests.cli.commands import Commands
from tests.running import RunningServer

PATIENT = "urn:oid:2.999.77|F1"


def test_a_patient_is_fed_found_and_matched(xds: Commands, server: RunningServer, tmp_path: Path) -> None:
    to = ("--to", server.http)
    traits = ("--name", "Quiñones^Íñigo", "--birth-date", "1971-05-06", "--gender", "male")
    fed = xds("send", "iti104", *to, "--patient", PATIENT, *traits)
    assert fed.code == 0, fed.err
    ((status, location),) = fed.rows
    assert (status, location.startswith(f"{server.http}/fhir/Patient/")) == ("201", True)

    found = xds("send", "iti83", *to, "--patient", PATIENT)
    assert found.code == 0, found.err
    assert found.rows[-1][1] == location.partition("/_history")[0]
    assert xds("send", "iti83", *to, "--patient", "urn:oid:2.999.77|nobody").code == 1

    for more in ((), ("--post",)):
        searched = xds("send", "iti78", *to, "family=Quinones", "birthdate=1971-05", *more)
        assert searched.code == 0, searched.err
        ((_, name, born, gender, identifiers, _),) = searched.rows
        assert (name, born, gender, PATIENT in identifiers) == ("Íñigo Quiñones", "1971-05-06", "male", True)

    file = tmp_path / "patient.json"
    file.write_text(
        json.dumps({"resourceType": "Patient", "name": [{"family": "Quinones", "given": ["Inigo"]}], "birthDate": "1971-05-06"})
    )
    matched = xds("send", "iti119", str(file), *to, "--count", "3", "--json")
    assert matched.code == 0, matched.err
    assert json.loads(matched.out)["entry"][0]["resource"]["birthDate"] == "1971-05-06"

    other = xds("send", "iti104", *to, "--patient", "urn:oid:2.999.77|F2", *traits)
    assert other.code == 0, other.err
    merged = xds("send", "iti104", *to, "--patient", "urn:oid:2.999.77|F2", "--replaced-by", PATIENT)
    assert merged.code == 0, merged.err
    assert xds("send", "iti78", *to, "identifier=urn:oid:2.999.77|F2", "--json").out.count("F2") <= 1


def test_a_patient_is_removed(xds: Commands, server: RunningServer) -> None:
    to, patient = ("--to", server.http), ("--patient", "urn:oid:2.999.77|F9")
    assert xds("send", "iti104", *to, *patient, "--name", "Quesnel^Ugo", "--birth-date", "1931-02-03").code == 0
    removed = xds("send", "iti104", *to, *patient, "--remove")
    assert (removed.code, removed.rows) == (0, [["200"]])
    again = xds("send", "iti104", *to, *patient, "--remove")
    assert (again.code, again.err.startswith("warning: not-found")) == (0, True)
    assert xds("send", "iti83", *to, *patient).code == 1
    assert xds("send", "iti104", *to, *patient, "--remove", "--name", "Quesnel").code == 2
    assert xds("send", "iti104", *to, "--remove").code == 2
    assert xds("send", "iti104", *patient, "--remove", "--dry-run").out.startswith("DELETE http://127.0.0.1:8080/fhir/Patient?")


def test_refusals_and_usage(xds: Commands, server: RunningServer, tmp_path: Path) -> None:
    to = ("--to", server.http)
    refused = xds("send", "iti78", *to, "gender=male")
    assert refused.code == 1
    assert "too-costly" in refused.err
    assert xds("send", "iti83", *to, "--patient", "A0001").code == 2
    assert xds("send", "iti104", *to, "--name", "Martin").code == 2
    broken = tmp_path / "patient.json"
    broken.write_text("{")
    assert xds("send", "iti119", str(broken), *to).code == 2
    assert xds("send", "iti78", "--to", "http://127.0.0.1:9", "family=Martin").code == 3


def test_dry_runs(xds: Commands) -> None:
    assert xds("send", "iti78", "family=Müller", "--dry-run").out.strip().endswith("/fhir/Patient?family=M%C3%BCller")
    assert "sourceIdentifier=" in xds("send", "iti83", "--patient", PATIENT, "--dry-run").out
    fed = xds("send", "iti104", "--patient", PATIENT, "--name", "Martin^Lou", "--dry-run").out
    assert fed.startswith(f"PUT http://127.0.0.1:8080/fhir/Patient?identifier={PATIENT.replace('|', '%7C')}")
    assert '"given"' in fed
    assert '"onlyCertainMatches"' in xds("send", "iti119", "--name", "Martin", "--only-certain", "--dry-run").out
