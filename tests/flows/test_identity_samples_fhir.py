"""FHIR samples of other products, and FHIR clients of others, against a running server.

The samples of `shared/vectors/messages` go through their runner. Those of `shared/vectors/identity/fhir` have no verdict of their
own: their Patients are fed by ITI-104, one by one, also those inside a message of another profile (PMIR), and what must come of
that is written here in the words of the OpenHIE cases.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from fhir.resources.R4B import get_fhir_model_class

from tests.flows.conftest import AUTHORITY, IMAGING_SOURCE
from tests.running import RunningServer

WRONG = ("wrong verdict", "wrong code", "invalid answer", "blocked", "parse failed")

CONFIGURATION = """
[identity]
unknown_domains = "refuse"
""" + "".join(
    f"""
[[identity.domains]]
name = "{name}"
oid = "{oid}"
uri = "{uri}"
"""
    for name, oid, uri in (
        ("TEST", "1.3.6.1.4.1.52820.3.72.5.9.1", "http://ohie.org/test/test"),
        ("TEST_A", "1.3.6.1.4.1.52820.3.72.5.9.2", "http://ohie.org/test/test_a"),
        ("TEST_B", "1.3.6.1.4.1.52820.3.72.5.9.3", "http://ohie.org/test/test_b"),
        ("NID", "1.3.6.1.4.1.52820.3.72.5.9.5", "http://ohie.org/test/nid-fhir"),
        ("OPENMRS", "2.999.71.1", "http://clientregistry.org/openmrs"),
        ("DHIS2", "2.999.71.2", "http://clientregistry.org/dhis2"),
        ("LIMS", "2.999.71.3", "http://clientregistry.org/lims"),
        ("NATIONAL", "2.999.71.4", "http://health.go.ug/cr/nationalid"),
        ("SYSTEM1", "2.999.71.5", "http://system1.org"),
        ("SYSTEM2", "2.999.71.6", "http://system2.org"),
        ("SYSTEM3", "2.999.71.7", "http://system3.org"),
        ("CSVID", "2.999.71.8", "http://clientregistry.org/nationalid"),
    )
)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """A server that knows the domains of the samples and no others."""
    directory = tmp_path_factory.mktemp("fhir")
    config = directory / "xds.toml"
    config.write_text(CONFIGURATION)
    with RunningServer(directory / "data", config=config) as running:
        yield running


@pytest.fixture
def client(server: RunningServer) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=f"{server.http}/fhir", event_hooks={"response": [_validate]}, timeout=60) as found:
        yield found


def _validate(response: httpx.Response) -> None:
    response.read()
    resource = response.json()
    get_fhir_model_class(resource["resourceType"]).model_validate(resource)


def test_verdicts(shared: Path, tmp_path: Path) -> None:
    samples = shared / "vectors" / "messages"
    command = [
        sys.executable,
        str(samples / "runner" / "run.py"),
        "--samples",
        str(samples),
        "--plan",
        str(samples / "plan.json"),
    ]
    command += ["--out", str(tmp_path / "out"), "--schemas", str(shared / "official-schemas"), "--imaging-uid", IMAGING_SOURCE]
    with RunningServer(tmp_path / "data", DOMAIN__ASSIGNING_AUTHORITY=AUTHORITY) as server:
        command += ["--fhir", f"{server.http}/fhir", "--mllp", server.mllp, "--assigning-authority", AUTHORITY]
        environment = os.environ | {"PYTHONDONTWRITEBYTECODE": "1"}
        done = subprocess.run(
            [*command, "--tx", "ITI-78", "ITI-83"], check=False, capture_output=True, text=True, timeout=600, env=environment
        )
    assert (tmp_path / "out" / "results.json").exists(), done.stderr
    results: list[dict[str, Any]] = json.loads((tmp_path / "out" / "results.json").read_text())["results"]
    assert [item for item in results if item["category"] in WRONG] == []
    assert len([item for item in results if item["category"] == "as expected"]) == 7


def _patients(resource: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Every Patient of a sample, however deep."""
    if resource.get("resourceType") == "Patient":
        yield resource
    for entry in resource.get("entry", ()):
        yield from _patients(entry.get("resource", {}))


def _samples(shared: Path, product: str) -> dict[str, list[dict[str, Any]]]:
    folder = shared / "vectors" / "identity" / "fhir" / product
    found = {path.stem: json.loads(path.read_text("utf-8-sig")) for path in sorted(folder.glob("*.json"))}
    assert found
    return {name: list(_patients(resource)) for name, resource in found.items()}


def _feed(client: httpx.Client, patient: dict[str, Any]) -> httpx.Response:
    identifier = patient["identifier"][0]
    return client.put("/Patient", params={"identifier": f"{identifier['system']}|{identifier['value']}"}, json=patient)


def _identifiers(client: httpx.Client, source: str) -> set[str]:
    answer = client.get("/Patient/$ihe-pix", params={"sourceIdentifier": source})
    assert answer.status_code == 200, answer.text
    found = (item["valueIdentifier"] for item in answer.json().get("parameter", ()) if item["name"] == "targetIdentifier")
    return {f"{item['system']}|{item['value']}" for item in found}


def test_openhie_cases(shared: Path, client: httpx.Client) -> None:
    samples = _samples(shared, "santedb+santempi")
    statuses: dict[str, list[int]] = {}
    for name, patients in samples.items():
        statuses[name] = [_feed(client, patient).status_code for patient in patients if patient.get("identifier")]
    # CR-02: an assigning authority by its OID and by its URL is one authority.
    assert statuses["OHIE-CR-02-10"] == statuses["OHIE-CR-02-30"] == [201]
    for system in ("http://ohie.org/test/test", "urn:oid:1.3.6.1.4.1.52820.3.72.5.9.1"):
        found = client.get("/Patient", params={"identifier": f"{system}|FHR-403"}).json()
        assert found["total"] == 1
        assert {"system": "http://ohie.org/test/test", "value": "FHR-403", "assigner": {"display": "TEST"}} in found["entry"][0][
            "resource"
        ]["identifier"]
    # CR-03: an authority that is not known, by URL and by OID.
    assert statuses["OHIE-CR-03-10"] == statuses["OHIE-CR-03-20"] == [422]
    # CR-04: two patients of domain A; a third message of domain B names the first one by both identifiers.
    assert [statuses[f"OHIE-CR-04-{number}"] for number in (10, 20)] == [[201], [201]]
    assert statuses["OHIE-CR-04-30"] in ([200], [201])
    assert "http://ohie.org/test/test_a|FHRA-0392" in _identifiers(client, "http://ohie.org/test/test_b|FHRB-4736")
    assert "http://ohie.org/test/test_b|FHRB-4736" not in _identifiers(client, "http://ohie.org/test/test_a|FHRA-4938")
    # CR-05: newborns of whom little is known, one without a name; the mother's record stays her own.
    assert statuses["OHIE-CR-05-10"] == [201]
    assert statuses["OHIE-CR-05-20"] == [201, 201]
    assert "http://ohie.org/test/test|FHR-0844" not in _identifiers(client, "http://ohie.org/test/test|FHR-4837")
    # CR-08: two patients of one domain, the second one then replaced by the first.
    assert [statuses[f"OHIE-CR-08-{number}"] for number in (10, 20, 30)] == [[201], [201], [200]]
    replaced = client.get("/Patient/$ihe-pix", params={"sourceIdentifier": "http://ohie.org/test/test_a|FHRA-081"})
    # By policy (PIXm 2:3.83.4.2.2): whoever was replaced is not known any more.
    assert replaced.status_code == 404
    found = client.get("/Patient", params={"family": "SMITH", "birthdate": "1986-05-25"}).json()
    assert found["total"] == 1
    assert "FHRA-081" not in str(found["entry"][0]["resource"]["identifier"])


def test_messages_of_another_profile_are_refused(shared: Path, client: httpx.Client) -> None:
    folder = shared / "vectors" / "identity" / "fhir" / "santedb+santempi"
    for path in sorted(folder.glob("*.json")):
        for address in ("", "/Bundle", "/$process-message", "/Patient"):
            assert client.post(address, content=path.read_bytes()).status_code in (404, 405)


def test_patients_of_openclientregistry(shared: Path, client: httpx.Client) -> None:
    for name, patients in _samples(shared, "intrahealth+client-registry").items():
        for patient in patients:
            if "identifier" in patient:
                fed = {key: value for key, value in patient.items() if key != "link"}
                assert _feed(client, fed).status_code in (200, 201), name
    found = client.get("/Patient", params={"identifier": "http://clientregistry.org/openmrs|431211"}).json()
    assert {"use": "official", "family": "Gideon", "given": ["Namaalwa", "Emmanuel"]} in found["entry"][0]["resource"]["name"]
    assert _identifiers(client, "http://clientregistry.org/openmrs|431211") >= {"http://system1.org|12349"}


def test_resources_that_are_no_patients(shared: Path, client: httpx.Client) -> None:
    """Definitions, documents and answers of other transactions: each is refused with a reason, in whatever form it comes."""
    folder = shared / "vectors" / "identity" / "fhir" / "oehf+ipf"
    seen = 0
    for path in sorted(folder.iterdir()):
        kind = "application/fhir+xml" if path.suffix == ".xml" else "application/fhir+json"
        for method, address in (("PUT", "/Patient?identifier=http://system1.org|1"), ("POST", "/Patient/$match")):
            answer = client.request(method, address, content=path.read_bytes(), headers={"Content-Type": kind})
            assert answer.status_code == 400, path.name
            seen += 1
    assert seen > 20


def test_a_client_of_smart_health_it(server: RunningServer, client: httpx.Client) -> None:
    """`fhirclient` reads the capabilities, searches page by page, and reads what it found."""
    from fhirclient.client import FHIRClient
    from fhirclient.models.patient import Patient

    for number in range(5):
        patient = {
            "resourceType": "Patient",
            "identifier": [{"system": "http://system2.org", "value": f"S{number}"}],
            "name": [{"family": "Vasseur", "given": [f"Zoé{'abcde'[number]}"]}],
            "birthDate": f"19{50 + 9 * number}-0{number + 1}-11",
        }
        assert _feed(client, patient).status_code == 201
    smart = FHIRClient(settings={"app_id": "test", "api_base": f"{server.http}/fhir"})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        smart.prepare()
        search = Patient.where({"family": "Vasseur", "_count": "2"})
        found = list(search.perform_resources_iter(smart.server))
    assert sorted(item.name[0].given[0] for item in found) == ["Zoéa", "Zoéb", "Zoéc", "Zoéd", "Zoée"]
    again = Patient.read(found[0].id, smart.server)
    assert again.birthDate.isostring == found[0].birthDate.isostring
    smart.server.session.close()
