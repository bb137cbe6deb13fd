"""The FHIR service in process, behind its HTTP application. Every answer is held against the models of `fhir.resources`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
from fhir.resources.R4B import get_fhir_model_class

from tests.identity import CONFIGURED, IDENTITY, Region
from xds.model.identifiers import AssigningAuthority
from xds.model.patient import IdentityDomain
from xds.server.http import HttpApplication
from xds.transactions import (
    fhir_capabilities,
    iti78_mobile_patient_demographics_query,
    iti83_mobile_pix_query,
    iti104_patient_identity_feed_fhir,
    iti119_patient_demographics_match,
)

MODULES: list[Any] = [
    iti78_mobile_patient_demographics_query,
    iti83_mobile_pix_query,
    iti104_patient_identity_feed_fhir,
    iti119_patient_demographics_match,
    fhir_capabilities,
]

BASE = f"{IDENTITY.public_url}/fhir"
AFFINITY = "urn:oid:1.3.6.1.4.1.21367.13.20.1000"
HOSPITAL_A = "urn:oid:1.2.250.1.71.1"
HOSPITAL_B = "urn:oid:1.2.250.1.71.2"
#: A domain that has a URL for a name.
CLINIC = "https://clinic.example/patients"

DOMAINS = (
    *(replace(item, sources=()) for item in CONFIGURED),
    IdentityDomain(AssigningAuthority("CLINIC", "1.2.250.1.71.9"), (), CLINIC),
)


class FhirService:
    """A region whose FHIR service is asked by `client`."""

    def __init__(
        self, directory: Path, domains: tuple[IdentityDomain, ...] = DOMAINS, public_url: str = "", **options: Any
    ) -> None:
        options.setdefault("unknown_domains", "refuse")
        self.region = Region(directory, domains=domains, **options)
        identity = replace(IDENTITY, public_url=public_url or IDENTITY.public_url)
        self.domain = replace(self.region.domain, identity=identity, identity_domains=domains)
        self.application = HttpApplication(self.domain, MODULES, stage=_no_staging)
        self.client = httpx.Client(
            transport=httpx.WSGITransport(app=self.application),
            base_url=f"{identity.public_url}/fhir",
            event_hooks={"response": [_validate]},
        )

    def put(self, patient: dict[str, Any], number: int = 0, **headers: str) -> httpx.Response:
        """Feed a Patient on the condition of one of its identifiers."""
        identifier = patient["identifier"][number]
        condition = {"identifier": f"{identifier['system']}|{identifier['value']}"}
        return self.client.put("/Patient", params=condition, json=patient, headers=headers)

    def search(self, **parameters: Any) -> dict[str, Any]:
        """The Bundle of a search that succeeds."""
        answer = self.client.get("/Patient", params={name.replace("__", "-"): value for name, value in parameters.items()})
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        assert found["type"] == "searchset"
        return found

    def found(self, query: str) -> list[str]:
        """The last identifier of each patient whom a query finds."""
        answer = self.client.get(f"/Patient?{query}")
        assert answer.status_code == 200, answer.text
        entries = [item["resource"] for item in answer.json().get("entry", ()) if item["search"]["mode"] == "match"]
        return [item["identifier"][-1]["value"] for item in entries]


def _no_staging() -> Any:
    raise AssertionError("FHIR stages nothing")


@contextmanager
def fhir_service(directory: Path, **options: Any) -> Iterator[FhirService]:
    """The service on a database in that directory."""
    service = FhirService(directory, **options)
    try:
        yield service
    finally:
        service.client.close()
        service.region.close()


def _validate(response: httpx.Response) -> None:
    response.read()
    if not response.content:
        return
    kind = response.headers["content-type"].partition(";")[0]
    if kind.endswith("json"):
        valid(response.json())
    else:
        name = response.text.split("<", 2)[2].split(" ", 1)[0]
        get_fhir_model_class(name).model_validate_xml(response.content)
    if response.status_code >= 400:
        assert issues(response)


def valid(resource: dict[str, Any]) -> None:
    """Errors: ValidationError when a resource is none."""
    get_fhir_model_class(resource["resourceType"]).model_validate(resource)


def issues(response: httpx.Response) -> list[tuple[str, str, str | None]]:
    """(severity, code, FHIRPath) of an OperationOutcome."""
    if "xml" in response.headers["content-type"]:
        found = json.loads(get_fhir_model_class("OperationOutcome").model_validate_xml(response.content).model_dump_json())
    else:
        found = response.json()
    assert found["resourceType"] == "OperationOutcome"
    return [(item["severity"], item["code"], item.get("expression", [None])[0]) for item in found["issue"]]


def a_patient(value: str = "A1", system: str = HOSPITAL_A, **more: Any) -> dict[str, Any]:
    """A Patient of a hospital."""
    return {
        "resourceType": "Patient",
        "identifier": [{"system": system, "value": value}],
        "active": True,
        "name": [{"use": "official", "family": "Lefèvre", "given": ["Marie-Hélène", "Anne"]}],
        "telecom": [{"system": "phone", "value": "+33 2 38 00 00 01", "use": "home"}],
        "gender": "female",
        "birthDate": "1962-03-14",
        "address": [{"use": "home", "line": ["4 rue des Lilas"], "city": "Orléans", "postalCode": "45000", "country": "FRA"}],
        **more,
    }
