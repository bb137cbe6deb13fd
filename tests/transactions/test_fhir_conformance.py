"""Sentences of FHIR R4, PIXm and PDQm that clients of other makers rely on, each with what an answer must have."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.fhir import HOSPITAL_A, HOSPITAL_B, FhirService, a_patient, fhir_service, issues
from tests.hl7v3 import ask, ii, message, parameter, pix, query

PAUL: dict[str, Any] = {
    "name": [{"family": "Martin", "given": ["Paul"]}],
    "gender": "male",
    "birthDate": "1980-07-31",
    "address": [{"line": ["1 place du Martroi"], "city": "Blois", "postalCode": "41000"}],
    "telecom": [{"system": "phone", "value": "0611223344"}],
}
DESCRIBED: dict[str, Any] = {key: value for key, value in a_patient().items() if key != "identifier"}


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FhirService]:
    """Marie in two hospitals, Paul in one."""
    with fhir_service(tmp_path_factory.mktemp("conformance")) as found:
        found.put(a_patient("A1"))
        found.put(a_patient("B1", HOSPITAL_B))
        found.put(a_patient("A2", **PAUL))
        yield found


def _match(service: FhirService, patient: dict[str, Any], query: str = "", **parameters: Any) -> list[tuple[str, float, str]]:
    """(identifier, score, grade) of each match."""
    more = [{"name": name, ("valueInteger" if name == "count" else "valueBoolean"): value} for name, value in parameters.items()]
    body = {"resourceType": "Parameters", "parameter": [{"name": "resource", "resource": patient}, *more]}
    answer = service.client.post(f"/Patient/$match{query}", json=patient if query else body)
    assert answer.status_code == 200, answer.text
    found = []
    for entry in answer.json().get("entry", ()):
        (value,) = (item["value"] for item in entry["resource"]["identifier"] if item["system"] == HOSPITAL_A)
        found.append((value, entry["search"]["score"], entry["search"]["extension"][0]["valueCode"]))
    return found


def test_matches_are_ordered_by_likelihood_whoever_has_the_identifier(service: FhirService) -> None:
    """PDQm 2:3.119.4.1.3 case 2: the results are ordered from most likely to least likely."""
    marie_with_the_number_of_paul = {**DESCRIBED, "identifier": [{"system": HOSPITAL_A, "value": "A2"}]}
    found = _match(service, marie_with_the_number_of_paul)
    assert [value for value, _, _ in found] == ["A1", "A2"]
    assert found[0][1] > found[1][1]
    assert _match(service, marie_with_the_number_of_paul, count=1)[0][0] == "A1"


def test_a_number_of_somebody_else_leaves_nobody_certain(service: FhirService) -> None:
    """PDQm 2:3.119.4.1.3 case 5: nobody is answered when it cannot be said who is meant."""
    contradictory = {**DESCRIBED, "identifier": [{"system": HOSPITAL_A, "value": "A2"}]}
    assert [grade for _, _, grade in _match(service, contradictory)] == ["probable", "possible"]
    assert _match(service, contradictory, onlyCertainMatches=True) == []
    assert [grade for _, _, grade in _match(service, DESCRIBED)] == ["certain"]


@pytest.mark.parametrize("family", ["李", "Zzz"])
def test_a_name_without_sound_finds_nobody(service: FhirService, family: str) -> None:
    """PDQm 2:3.119.4.1.3 case 7: 200 and an empty Bundle when no record matches."""
    assert _match(service, {"resourceType": "Patient", "name": [{"family": family}], "birthDate": "1990-01-01"}) == []


def test_any_number_of_matches_may_be_wanted(service: FhirService) -> None:
    """PDQm 2:3.119.4.1.2: the supplier returns up to `count` results."""
    assert len(_match(service, DESCRIBED, count=2_000_000)) == 1


def test_parameters_beside_a_bare_patient(service: FhirService) -> None:
    """FHIR R4 3.2.0.2: the one resource may be the body, with the other parameters in the URL."""
    contradictory = {**DESCRIBED, "identifier": [{"system": HOSPITAL_A, "value": "A2"}]}
    assert len(_match(service, contradictory, "?count=2")) == 2
    assert len(_match(service, contradictory, "?count=1")) == 1
    assert _match(service, contradictory, "?onlyCertainMatches=true") == []
    wrong = service.client.post("/Patient/$match?count=many&onlyCertainMatches=yes", json=DESCRIBED)
    assert (wrong.status_code, issues(wrong)) == (
        400,
        [("error", "value", "http.count"), ("error", "value", "http.onlyCertainMatches")],
    )


def test_an_outcome_among_the_matches_has_a_full_url(service: FhirService) -> None:
    """FHIR R4 2.36.4: entries of a Bundle have a fullUrl, unless it is a transaction or a batch."""
    bundle = service.search(family="Martin", nonsense="1")
    assert [entry["search"]["mode"] for entry in bundle["entry"]] == ["match", "outcome"]
    urls = [entry["fullUrl"] for entry in bundle["entry"]]
    assert urls[1].startswith("urn:uuid:")
    assert len(set(urls)) == 2


@pytest.mark.parametrize("element", ["valueUri", "valueUrl", "valueCanonical", "valueString"])
def test_a_target_system_of_any_type_restricts_the_answer(service: FhirService, element: str) -> None:
    """PIXm 2:3.83.4.1.2.1: targetSystem restricts the domains of the identifiers that are returned."""
    source = {"name": "sourceIdentifier", "valueIdentifier": {"system": HOSPITAL_A, "value": "A1"}}
    asked = {"resourceType": "Parameters", "parameter": [source, {"name": "targetSystem", element: HOSPITAL_B}]}
    found = service.client.post("/Patient/$ihe-pix", json=asked).json()["parameter"]
    assert [item["valueIdentifier"]["value"] for item in found] == ["B1"]


def test_a_target_system_that_is_none_is_refused(service: FhirService) -> None:
    """PIXm 2:3.83.4.1.2.1: what cannot be read as a targetSystem does not widen the answer."""
    source = {"name": "sourceIdentifier", "valueIdentifier": {"system": HOSPITAL_A, "value": "A1"}}
    target = {"name": "targetSystem", "valueIdentifier": {"system": HOSPITAL_B}}
    answer = service.client.post("/Patient/$ihe-pix", json={"resourceType": "Parameters", "parameter": [source, target]})
    path = "Parameters.parameter.where(name = 'targetSystem')[0].value"
    assert (answer.status_code, issues(answer)) == (400, [("error", "invalid", path)])


@pytest.mark.parametrize(
    ("query", "received"),
    [
        ("birthdate=15/02/1950", "'15/02/1950'"),
        ("family=Martin&_count=many", "'many'"),
        ("family=Martin&_summary=brief", "'brief'"),
        ("family=Martin&active=yes", "'yes'"),
        ("family:sounds=Martin", "exact and contains are"),
    ],
)
def test_a_refusal_says_what_was_received(service: FhirService, query: str, received: str) -> None:
    answer = service.client.get(f"/Patient?{query}")
    assert answer.status_code == 400
    assert received in answer.json()["issue"][0]["diagnostics"]


@pytest.mark.parametrize("octet", ["%00", "%01", "%C3", "%0A"])
def test_an_identifier_is_text(service: FhirService, octet: str) -> None:
    """FHIR R4 2.24.0.1: a string has no control characters below U+0020; a URL is in UTF-8 (3.1.0.1.4)."""
    for method, address in (("GET", "/Patient/$ihe-pix?sourceIdentifier"), ("DELETE", "/Patient?identifier")):
        answer = service.client.request(method, f"{address}={HOSPITAL_A}|A1{octet}x")
        assert (answer.status_code, issues(answer)[0][1]) == (400, "value")


@pytest.mark.parametrize("system", ["http://hl7.org/fhir/sid/us-ssn", "urn:oid:2.16.840.1.113883.4.1"])
def test_a_social_security_number_is_a_trait(tmp_path: Path, system: str) -> None:
    """ITI TF-2 3.44.4.1.2.1: an id of a driver's licence or of social security is no id of the patient in a domain (PID-19)."""
    number = {"system": system, "value": "100-09-1234"}
    with fhir_service(tmp_path) as service:
        fed = service.put(a_patient("A1", identifier=[{"system": HOSPITAL_A, "value": "A1"}, number]))
        assert fed.status_code == 201, fed.text
        (found,) = (entry["resource"] for entry in service.search(family="Lefevre")["entry"])
        told = [item["value"] for item in found["identifier"] if item["system"] == "http://hl7.org/fhir/sid/us-ssn"]
        assert told == ["100-09-1234"]
        asked = ask(service.region, pix(ii("A1", tag="value")))
        assert "100-09-1234" not in [value for _, value in asked.ids]
        in_v3 = ask(
            service.region,
            message(
                "PRPA_IN201305UV02",
                query(
                    parameter("livingSubjectId", ii("A1", tag="value")),
                    head='<responseModalityCode code="R"/><responsePriorityCode code="I"/>',
                ),
            ),
        )
        assert ("2.16.840.1.113883.4.1", "100-09-1234") in in_v3.ids
        refused = service.client.put(f"/Patient?identifier={system}|100-09-1234", json=a_patient(identifier=[number]))
        assert (refused.status_code, issues(refused)) == (400, [("error", "not-supported", "http.identifier")])
        # An update replaces.
        assert service.put(a_patient("A1")).status_code == 200
        (found,) = (entry["resource"] for entry in service.search(family="Lefevre")["entry"])
        assert "100-09-1234" not in [item["value"] for item in found["identifier"]]


def test_a_refused_feed_is_told_what_was_received(service: FhirService) -> None:
    """FHIR R4 2.28: diagnostics tell what is wrong; expression tells where."""
    unknown = {"system": "urn:oid:1.2.3.4.5", "value": "9"}
    answer = service.put(a_patient("A9", identifier=[{"system": HOSPITAL_A, "value": "A9"}, unknown]))
    assert (answer.status_code, issues(answer)) == (422, [("error", "code-invalid", "Patient.identifier[1].system")])
    assert "'urn:oid:1.2.3.4.5'" in answer.json()["issue"][0]["diagnostics"]


@pytest.mark.parametrize("known", ["{}", '"other", {}', "*", "strong"])
def test_a_version_that_is_known_is_not_sent_again(service: FhirService, known: str) -> None:
    """FHIR R4 3.1.0.1.2 (conditional read); RFC 9110 13.1.2: a list of versions, compared weakly, or any."""
    address = f"/Patient/{service.search(family='Martin')['entry'][0]['resource']['id']}"
    tag = service.client.get(address).headers["ETag"]
    given = tag.removeprefix("W/") if known == "strong" else known.format(tag)
    assert service.client.get(address, headers={"If-None-Match": given}).status_code == 304
    assert service.client.get(address, headers={"If-None-Match": 'W/"other"'}).status_code == 200
