"""ITI-83, ITI-78, ITI-119 and the CapabilityStatement. Spec: PIXm 3.1 2:3.83, PDQm 3.2 2:3.78 and 2:3.119."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.fhir import AFFINITY, BASE, CLINIC, HOSPITAL_A, HOSPITAL_B, FhirService, a_patient, fhir_service, issues
from tests.identity import Refusing

MAIDEN = {"url": "http://hl7.org/fhir/StructureDefinition/patient-mothersMaidenName", "valueString": "Dubois"}
MARTIN = {
    "name": [{"use": "official", "family": "Martin", "given": ["Paul"]}, {"use": "usual", "family": "Durand"}],
    "gender": "male",
    "birthDate": "1980-07-31",
    "telecom": [{"system": "phone", "value": "0611223344", "use": "mobile"}, {"system": "email", "value": "p@m.fr"}],
    "address": [{"line": ["1, place du Martroi"], "city": "Blois", "postalCode": "41000", "country": "FRA"}],
    "extension": [MAIDEN],
}


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FhirService]:
    """Two persons: Marie (A1) and Paul (B2, C2)."""
    with fhir_service(tmp_path_factory.mktemp("fhir")) as found:
        found.put(a_patient("A1"))
        paul = a_patient("B2", HOSPITAL_B, **MARTIN)
        paul["identifier"].append({"system": CLINIC, "value": "C2"})
        found.put(paul)
        yield found


# ITI-83


def _pix(service: FhirService, query: str) -> list[Any]:
    answer = service.client.get(f"/Patient/$ihe-pix?{query}")
    assert answer.status_code == 200, answer.text
    found = answer.json()
    assert found["resourceType"] == "Parameters"
    return [next(value for name, value in item.items() if name.startswith("value")) for item in found.get("parameter", ())]


def test_pix_query(service: FhirService) -> None:
    key = service.search(identifier=f"{HOSPITAL_B}|B2")["entry"][0]["resource"]["id"]
    affinity, clinic, resource = _pix(service, f"sourceIdentifier={HOSPITAL_B}|B2")
    assert affinity["system"] == AFFINITY
    assert clinic == {"system": CLINIC, "value": "C2", "assigner": {"display": "CLINIC"}}
    assert resource == {"reference": f"{BASE}/Patient/{key}"}
    assert _pix(service, f"sourceIdentifier={HOSPITAL_B}|B2&targetSystem={CLINIC}") == [clinic]
    assert _pix(service, f"sourceIdentifier={HOSPITAL_B}|B2&targetSystem={HOSPITAL_A}") == []
    assert _pix(service, f"sourceIdentifier={HOSPITAL_B}|B2&targetSystem={BASE}") == [resource]
    both = _pix(service, f"sourceIdentifier={HOSPITAL_B}|B2&targetSystem={CLINIC}&targetSystem={AFFINITY}")
    assert {item["system"] for item in both} == {CLINIC, AFFINITY}
    # The id of the Patient resource is an identifier, too.
    own = _pix(service, f"sourceIdentifier={BASE}|Patient/{key}")
    assert {item["system"] for item in own} == {AFFINITY, HOSPITAL_B, CLINIC}
    assert _pix(service, f"sourceIdentifier={BASE}|Patient/{key}&targetSystem={HOSPITAL_B}")[0]["value"] == "B2"


def test_every_other_identifier_of_the_patient(tmp_path: Path) -> None:
    """Spec: 2:3.83.4.2.2.1: each business identifier but the one that was given."""
    with fhir_service(tmp_path) as service:
        patient = a_patient("A1")
        patient["identifier"] += [{"system": HOSPITAL_A, "value": "A2"}, {"system": HOSPITAL_B, "value": "B1"}]
        service.put(patient)
        affinity, *local, _ = _pix(service, f"sourceIdentifier={HOSPITAL_A}|A1")
        assert affinity["system"] == AFFINITY
        assert sorted((item["system"], item["value"]) for item in local) == [(HOSPITAL_A, "A2"), (HOSPITAL_B, "B1")]


def test_pix_query_by_post(service: FhirService) -> None:
    parameters = [
        {"name": "sourceIdentifier", "valueIdentifier": {"system": HOSPITAL_B, "value": "B2"}},
        {"name": "targetSystem", "valueUri": CLINIC},
    ]
    for source in (parameters[0], {"name": "sourceIdentifier", "valueString": f"{HOSPITAL_B}|B2"}):
        asked = {"resourceType": "Parameters", "parameter": [source, parameters[1]]}
        answer = service.client.post("/Patient/$ihe-pix", json=asked)
        assert answer.json()["parameter"][0]["valueIdentifier"]["value"] == "C2"


@pytest.mark.parametrize(
    ("query", "status", "expected"),
    [
        (f"sourceIdentifier={HOSPITAL_A}|nobody", 404, [("not-found", "sourceIdentifier Patient Identifier not found")]),
        ("sourceIdentifier=urn:oid:9.9.9.9.9|1", 400, [("code-invalid", "sourceIdentifier Assigning Authority not found")]),
        (f"sourceIdentifier={HOSPITAL_A}|A1&targetSystem=urn:oid:1.2.9", 403, [("code-invalid", "targetSystem not found")]),
        (
            f"sourceIdentifier=urn:oid:1.2.9|1&targetSystem=urn:oid:1.2.8&targetSystem={HOSPITAL_A}&targetSystem=http://x.example",
            400,
            [
                ("code-invalid", "sourceIdentifier Assigning Authority not found"),
                ("code-invalid", "targetSystem not found"),
                ("code-invalid", "targetSystem not found"),
            ],
        ),
        (f"targetSystem={HOSPITAL_A}", 400, [("required", "sourceIdentifier is required")]),
        ("sourceIdentifier=A1", 400, [("invalid", "sourceIdentifier is a system and a value: system|value")]),
        (f"sourceIdentifier={BASE}|Patient/4711", 404, [("not-found", "sourceIdentifier Patient Identifier not found")]),
    ],
)
def test_pix_refusals(service: FhirService, query: str, status: int, expected: list[tuple[str, str]]) -> None:
    """Spec: 2:3.83.4.2.2.2 to 2:3.83.4.2.2.4."""
    answer = service.client.get(f"/Patient/$ihe-pix?{query}")
    assert answer.status_code == status
    assert [(item["code"], item["diagnostics"]) for item in answer.json()["issue"]] == expected


def test_two_sources(service: FhirService) -> None:
    source = f"sourceIdentifier={HOSPITAL_A}|A1"
    assert service.client.get(f"/Patient/$ihe-pix?{source}&{source}").status_code == 400


# ITI-78


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("family=lefevre", ["A1"]),
        ("family=LEF", ["A1"]),
        ("family:exact=Lefèvre", ["A1"]),
        ("family:exact=Lef", []),
        ("family:exact=lefèvre", []),
        ("family:exact=Lefevre", []),
        ("family:exact=Lefe\u0300vre", ["A1"]),
        ("family:exact=Lefèvre&given=paul", []),
        ("family:contains=fev", ["A1"]),
        ("family=Durand", ["C2"]),
        ("family=Lefèvre,Martin", ["A1", "C2"]),
        ("family=Lefèvre&family=Martin", []),
        ("family=Martin&family=Durand", ["C2"]),
        ("given=Paul", ["C2"]),
        ("name=Martin", ["C2"]),
        ("name=Paul", ["C2"]),
        ("family=Martin&given=Paul&gender=male&birthdate=1980-07-31", ["C2"]),
        ("family=Martin&gender=female", []),
        ("family=Martin&gender=male,female", ["C2"]),
        ("family=Martin&gender=nonsense", []),
        ("family=Martin&gender=http://hl7.org/fhir/administrative-gender|male", ["C2"]),
        ("birthdate=1980-07-31", ["C2"]),
        ("family=Martin&birthdate=1980", ["C2"]),
        ("family=Martin&birthdate=1980-07", ["C2"]),
        ("family=Martin&birthdate=eq1980-08", []),
        ("family=Martin&birthdate=ge1980-07-31&birthdate=lt1980-08", ["C2"]),
        ("family=Martin&birthdate=gt1980-07", []),
        ("family=Martin&birthdate=sa1980-07-30&birthdate=eb1980-08-01", ["C2"]),
        ("family=Martin&birthdate=lt1980", []),
        ("family=Martin&birthdate=le1980", ["C2"]),
        ("family=Martin&birthdate=ne1980-07-31", []),
        ("family=Martin&birthdate=ne1980-07-30", ["C2"]),
        ("family=Martin&birthdate=1979,1980-07-31", ["C2"]),
        ("family=Martin&birthdate=1979&birthdate=1980", []),
        (f"identifier={HOSPITAL_B}|B2", ["C2"]),
        ("identifier=B2", ["C2"]),
        (f"identifier={HOSPITAL_A}|B2", []),
        (f"identifier={HOSPITAL_B}|B2&identifier={CLINIC}|C2", ["C2"]),
        (f"identifier={HOSPITAL_B}|B2&identifier={HOSPITAL_A}|A1", []),
        (f"identifier={HOSPITAL_B}|B2,{HOSPITAL_A}|A1", ["A1", "C2"]),
        ("identifier=urn:oid:1.2.9|B2", []),
        ("telecom=0611223344", ["C2"]),
        ("phone=0611223344", ["C2"]),
        ("telecom=phone|0611223344", ["C2"]),
        ("telecom=email|0611223344", []),
        ("telecom=fax|0611223344", []),
        ("email=0611223344", []),
        ("email=p@m.fr", ["C2"]),
        ("telecom=p@m.fr", ["C2"]),
        ("telecom=email|p@m.fr", ["C2"]),
        ("phone=p@m.fr", []),
        ("telecom=phone|p@m.fr,email|p@m.fr", ["C2"]),
        ("phonetic=Martain", ["C2"]),
        ("phonetic=Lefaivre,Martain", ["A1", "C2"]),
        ("phonetic=Xyzzy", []),
        ("family=Martain", ["C2"]),
        ("family=Martain&given=Pol", ["C2"]),
        ("name=Martain", ["C2"]),
        ("family=Martain&gender=female", []),
        ("family:exact=Martain", []),
        ("family:contains=Martain", []),
        ("family=Xyzzy", []),
        ("family=Martin&_total=accurate", ["C2"]),
        ("family=Martin&_lastUpdated=2026", ["C2"]),
        ("family=Martin&_lastUpdated=ge2026-01-15T10:00:00Z&_lastUpdated=lt2026-01-15T12:00%2B01:00", ["C2"]),
        ("family=Martin&_lastUpdated=gt2026-01", []),
        ("family=Martin&_lastUpdated=lt2026-01-15,gt2026-01-16", []),
        ("family=Martin&_lastUpdated=ne2025", ["C2"]),
        ("family=Martin&address-city=Blois", ["C2"]),
        ("family=Martin&address-city=Orléans", []),
        ("family=Martin&address-postalcode=41", ["C2"]),
        ("family=Martin&address-country=FRA", ["C2"]),
        ("family=Martin&address=Martroi", []),
        ("family=Martin&address:contains=Martroi", ["C2"]),
        ("family=Martin&address=Blois", ["C2"]),
        ("mothersMaidenName=Dubois", ["C2"]),
        ("family=Martin&active=true", ["C2"]),
        ("family=Martin&active=false", []),
        ("_id=nonsense", []),
        ("_id=4711", []),
        ("family:exact=Martin\\,Paul", []),
    ],
)
def test_search(service: FhirService, query: str, found: list[str]) -> None:
    assert sorted(service.found(query)) == found
    assert service.client.get(f"/Patient?{query}").json()["total"] == len(found)


def test_search_by_post(service: FhirService) -> None:
    answer = service.client.post("/Patient/_search", data={"family": "Lefèvre", "birthdate": "1962-03-14"})
    assert answer.json()["total"] == 1
    refused = service.client.post("/Patient/_search", json={"family": "Lefèvre"})
    assert refused.status_code == 415


def test_similar_names_have_a_score(service: FhirService) -> None:
    """Spec: 2:3.78.4.1.3: at least all exact matches."""
    (similar,) = service.search(family="Martain")["entry"]
    assert 0 < similar["search"]["score"] < 1
    (exact,) = service.search(family="Martin")["entry"]
    assert "score" not in exact["search"]


def test_read_by_id(service: FhirService) -> None:
    (entry,) = service.search(family="Martin")["entry"]
    found = service.client.get(entry["fullUrl"])
    assert found.json() == entry["resource"]
    assert entry["resource"]["extension"] == [MAIDEN]
    assert service.found(f"_id={entry['resource']['id']}") == ["C2"]
    assert service.client.get(entry["fullUrl"], headers={"If-None-Match": found.headers["etag"]}).status_code == 304
    for path in ("/Patient/4711", "/Patient/x", "/Patient/1/x", f"/Patient/{entry['resource']['id']}/_history/0"):
        missing = service.client.get(path)
        assert (missing.status_code, issues(missing)) == (404, [("error", "not-found", None)])


def test_domain_restriction(service: FhirService) -> None:
    """Spec: 2:3.78.4.1.2.3 and case 2."""
    (entry,) = service.search(family="Martin", identifier=f"{HOSPITAL_B}|,{CLINIC}|")["entry"]
    assert [item["system"] for item in entry["resource"]["identifier"]] == [HOSPITAL_B, CLINIC]
    assert "versionId" not in entry["resource"]["meta"]
    assert service.search(family="Martin", identifier=f"{HOSPITAL_A}|")["total"] == 0
    unknown = service.client.get("/Patient", params={"family": "Martin", "identifier": f"{HOSPITAL_B}|,urn:oid:1.2.9|"})
    assert unknown.status_code == 404
    (issue,) = unknown.json()["issue"]
    assert (issue["severity"], issue["code"], issue["diagnostics"]) == ("warning", "not-found", "targetSystem not found")


def test_too_few_criteria(service: FhirService) -> None:
    for query in (
        "",
        "_lastUpdated=2026",
        "gender=male",
        "active=true",
        f"identifier={HOSPITAL_B}|",
        "birthdate=ge1900",
        "family=M",
    ):
        refused = service.client.get(f"/Patient?{query}")
        assert (refused.status_code, issues(refused)[0][1]) == (400, "too-costly"), query


@pytest.mark.parametrize(
    "query",
    [
        "family:missing=true",
        "family:fuzzy=x",
        "gender:not=male",
        "birthdate=1980-13",
        "birthdate=1980-02-30",
        "birthdate=about1980",
        "birthdate=31/07/1980",
        "_lastUpdated=yesterday",
        "_lastUpdated=2026-01-15T25:00:00Z",
        "active=perhaps",
        "_count=many",
        "_summary=some",
        "identifier=|",
        "family=%00",
        "family=" + ",".join("abcdefgh" * 30),
    ],
)
def test_parameters_that_cannot_be_used(service: FhirService, query: str) -> None:
    answer = service.client.get(f"/Patient?name=Martin&{query}")
    assert answer.status_code == 400
    assert {severity for severity, _, _ in issues(answer)} == {"error"}


def test_faults_of_a_search_come_together(service: FhirService) -> None:
    answer = service.client.get("/Patient?family:missing=true&birthdate=x&_count=y&active=z")
    assert {path for _, _, path in issues(answer)} == {"http.family", "http.birthdate", "http._count", "http.active"}


def test_unknown_parameters(service: FhirService) -> None:
    lenient = service.client.get("/Patient?family=Martin&shoesize=44&_sort=family").json()
    assert lenient["total"] == 1
    assert lenient["link"][0]["url"] == f"{BASE}/Patient?family=Martin"
    warnings = [item["resource"] for item in lenient["entry"] if item["search"]["mode"] == "outcome"]
    assert len(warnings[0]["issue"]) == 2
    strict = service.client.get("/Patient?family=Martin&shoesize=44", headers={"Prefer": "handling=strict"})
    assert (strict.status_code, issues(strict)) == (400, [("error", "not-supported", "http.shoesize")])


def test_self_link_has_the_public_address(service: FhirService) -> None:
    answer = service.client.get("/Patient?family=Lef%C3%A8vre", headers={"Host": "evil.example"})
    assert answer.json()["link"] == [{"relation": "self", "url": f"{BASE}/Patient?family=Lef%C3%A8vre"}]


def test_summaries(service: FhirService) -> None:
    count = service.search(family="Martin", _summary="count")
    assert (count["total"], "entry" in count) == (1, False)
    assert "entry" not in service.search(family="Martin", _count="0")
    (entry,) = service.search(family="Martin", _elements="birthDate,gender")["entry"]
    assert {"id", "meta", "gender", "birthDate", "resourceType"} == entry["resource"].keys()
    assert entry["resource"]["meta"]["tag"][0]["code"] == "SUBSETTED"
    (entry,) = service.search(family="Martin", _summary="true")["entry"]
    assert "extension" not in entry["resource"]


def test_pages(tmp_path: Path) -> None:
    with fhir_service(tmp_path) as service:
        for number, given in enumerate(("Alice", "Bruno", "Chantal", "Denis", "Estelle")):
            names = [{"family": "Martin", "given": [given]}]
            service.put(
                a_patient(
                    f"A{number}", name=names, birthDate=f"19{5 + number}{number}-0{number + 2}-1{number}", address=[], telecom=[]
                )
            )
        url: str | None = f"{BASE}/Patient?family=Martin&_count=2"
        seen, totals = [], []
        while url:
            bundle = service.client.get(url).json()
            seen += [entry["resource"]["identifier"][-1]["value"] for entry in bundle["entry"]]
            totals.append(bundle.get("total"))
            links = {item["relation"]: item["url"] for item in bundle["link"]}
            assert parse_qs(urlsplit(links["self"]).query)["_count"] == ["2"]
            url = links.get("next")
        assert seen == [f"A{number}" for number in range(5)]
        assert totals == [5, 5, 5]
        wrong = service.client.get("/Patient?family=Martin&_page=nonsense")
        assert wrong.status_code == 400


def test_access_rule(tmp_path: Path) -> None:
    with fhir_service(tmp_path, access=Refusing()) as service:
        service.put(a_patient())
        assert service.search(family="Lefevre")["total"] == 0
        assert service.client.get("/Patient/1").status_code == 404
        assert service.client.get(f"/Patient/$ihe-pix?sourceIdentifier={HOSPITAL_A}|A1").status_code == 404
        assert "location" not in service.put(a_patient()).headers


def test_audit(service: FhirService) -> None:
    service.client.get("/Patient?family=Martin", headers={"X-Request-Id": "req-1"})
    service.client.get(f"/Patient/$ihe-pix?sourceIdentifier={HOSPITAL_B}|B2", headers={"X-Request-Id": "req-2"})
    service.client.post("/Patient/$match", json=a_patient("A1"), headers={"X-Request-Id": "req-3"})
    events = {event.event_type.code: event for event in service.region.audited()}
    for code, request_id in (("ITI-78", "req-1"), ("ITI-83", "req-2"), ("ITI-119", "req-3")):
        event = events[code]
        assert (event.event_id.code, event.action) == ("110112", "E")
        query = next(item for item in event.objects if item.role == "24")
        assert query.id == request_id
        assert query.query
    assert "family=Martin" in str(events["ITI-78"].objects)


def test_request_id_is_echoed(service: FhirService) -> None:
    assert service.client.get("/metadata", headers={"X-Request-Id": "abc-1"}).headers["x-request-id"] == "abc-1"
    assert "x-request-id" not in service.client.get("/metadata", headers={"X-Request-Id": "a b"}).headers


# ITI-119


def _match(service: FhirService, patient: dict[str, Any], *more: dict[str, Any]) -> dict[str, Any]:
    body = {"resourceType": "Parameters", "parameter": [{"name": "resource", "resource": patient}, *more]}
    answer = service.client.post("/Patient/$match", json=body)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


ONLY_CERTAIN = {"name": "onlyCertainMatches", "valueBoolean": True}


def test_match(service: FhirService) -> None:
    bundle = _match(service, {"resourceType": "Patient", **MARTIN}, {"name": "count", "valueInteger": 3})
    first = bundle["entry"][0]
    assert first["search"]["mode"] == "match"
    assert 0 < first["search"]["score"] <= 1
    assert first["search"]["extension"][0]["url"] == "http://hl7.org/fhir/StructureDefinition/match-grade"
    assert first["search"]["extension"][0]["valueCode"] in ("certain", "probable", "possible")
    assert first["resource"]["name"][0]["family"] == "Martin"
    scores = [entry["search"]["score"] for entry in bundle["entry"]]
    assert scores == sorted(scores, reverse=True)
    bare = service.client.post("/Patient/$match", json={"resourceType": "Patient", **MARTIN}).json()
    assert bare["entry"][0]["resource"] == first["resource"]


def test_grades_agree_with_only_certain_matches(service: FhirService) -> None:
    described = {name: value for name, value in MARTIN.items() if name != "extension"}
    for patient in (described, {**described, "telecom": [], "address": []}, {"name": MARTIN["name"][:1], "birthDate": "1980"}):
        graded = _match(service, {"resourceType": "Patient", **patient}).get("entry", ())
        certain = [entry["resource"]["id"] for entry in graded if entry["search"]["extension"][0]["valueCode"] == "certain"]
        only = _match(service, {"resourceType": "Patient", **patient}, ONLY_CERTAIN).get("entry", ())
        assert [entry["resource"]["id"] for entry in only] == certain
        assert {entry["search"]["extension"][0]["valueCode"] for entry in only} <= {"certain"}


def test_what_a_merge_subsumed_does_not_speak_in_a_match(tmp_path: Path) -> None:
    with fhir_service(tmp_path) as service:
        service.put(a_patient("A1"))
        wrong = {"name": [{"family": "Autre", "given": ["Zoé"]}], "birthDate": "2001-02-03", "gender": "male"}
        service.put(a_patient("A2", **wrong, address=[], telecom=[]))
        link = {"other": {"identifier": {"system": HOSPITAL_A, "value": "A1"}}, "type": "replaced-by"}
        assert service.put(a_patient("A2", active=False, link=[link])).status_code == 200
        described = {key: value for key, value in a_patient().items() if key != "identifier"}
        (entry,) = _match(service, described)["entry"]
        assert entry["search"]["score"] > 0.9
        assert "entry" not in _match(service, {"resourceType": "Patient", **wrong})


def test_match_finds_nobody(service: FhirService) -> None:
    nobody = {"resourceType": "Patient", "name": [{"family": "Zwillinge", "given": ["Xaver"]}], "birthDate": "2003-03-03"}
    bundle = _match(service, nobody)
    assert (bundle["total"], "entry" in bundle) == (0, False)
    assert _match(service, nobody, ONLY_CERTAIN)["total"] == 0


@pytest.mark.parametrize(
    ("parameters", "code"),
    [
        ([], "required"),
        ([{"name": "resource", "valueString": "x"}], "required"),
        ([{"name": "resource", "resource": {"resourceType": "Observation"}}], "invalid"),
        ([{"name": "resource", "resource": {"resourceType": "Patient", "gender": "x"}}], "code-invalid"),
        ([{"name": "resource", "resource": a_patient()}, {"name": "count", "valueInteger": 0}], "value"),
        ([{"name": "resource", "resource": a_patient()}, {"name": "onlyCertainMatch", "valueBoolean": True}], "not-supported"),
        ([{"name": "resource", "resource": a_patient()}, ONLY_CERTAIN, ONLY_CERTAIN], "structure"),
    ],
)
def test_match_parameters(service: FhirService, parameters: list[Any], code: str) -> None:
    answer = service.client.post("/Patient/$match", json={"resourceType": "Parameters", "parameter": parameters})
    assert (answer.status_code, issues(answer)[0][1]) == (400, code)


def test_match_with_too_little(service: FhirService) -> None:
    answer = service.client.post("/Patient/$match", json={"resourceType": "Patient", "gender": "male"})
    assert answer.status_code == 400


def test_match_profile(service: FhirService) -> None:
    answer = service.client.post("/Patient/$match", json=a_patient(implicitRules="http://x.example"))
    assert (answer.status_code, issues(answer)) == (422, [("error", "business-rule", "Patient.implicitRules")])


# Capabilities and formats


def test_capability_statement(service: FhirService) -> None:
    found = service.client.get("/metadata").json()
    assert found["implementation"]["url"] == BASE
    (patient,) = found["rest"][0]["resource"]
    assert patient["conditionalUpdate"] is True
    assert {item["name"] for item in patient["operation"]} == {"ihe-pix", "match"}
    wanted = "_id active family given identifier telecom birthdate address address-city address-country address-postalcode"
    assert set(wanted.split()) | {"address-state", "gender", "mothersMaidenName"} <= {
        item["name"] for item in patient["searchParam"]
    }


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        ("", "application/fhir+json"),
        ("*/*", "application/fhir+json"),
        ("application/*", "application/fhir+json"),
        ("application/fhir+xml", "application/fhir+xml"),
        ("application/fhir+xml;q=0.5, application/fhir+json;q=0.4", "application/fhir+xml"),
        ("application/fhir+xml;q=0.4, application/fhir+json", "application/fhir+json"),
        ("application/fhir+json;q=0, */*", "application/json"),
        ("application/json, */*;q=0.1", "application/json"),
        ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", "application/xml"),
        ("application/fhir+json; fhirVersion=4.0", "application/fhir+json"),
        ("application/fhir+json; fhirVersion=3.0, application/fhir+xml", "application/fhir+xml"),
    ],
)
def test_accept(service: FhirService, accept: str, kind: str) -> None:
    answer = service.client.get("/Patient?family=Martin", headers={"Accept": accept})
    assert (answer.status_code, answer.headers["content-type"].partition(";")[0]) == (200, kind)


@pytest.mark.parametrize(
    ("query", "accept", "status", "kind"),
    [
        ("&_format=json", "application/fhir+xml", 200, "application/fhir+json"),
        ("&_format=xml", "", 200, "application/fhir+xml"),
        ("&_format=application/fhir%2Bxml", "", 200, "application/fhir+xml"),
        ("&_format=application/fhir+xml", "", 200, "application/fhir+xml"),
        ("&_format=application/fhir%2Bxml", "text/turtle", 200, "application/fhir+xml"),
        ("&_format=ttl", "", 406, "application/fhir+json"),
        ("", "text/turtle", 406, "application/fhir+json"),
        ("", "application/fhir+json; fhirVersion=3.0", 406, "application/fhir+json"),
    ],
)
def test_format(service: FhirService, query: str, accept: str, status: int, kind: str) -> None:
    """Spec: PDQm case 5."""
    answer = service.client.get(f"/Patient?family=Martin{query}", headers={"Accept": accept})
    assert (answer.status_code, answer.headers["content-type"].partition(";")[0]) == (status, kind)
    if status == 406:
        assert issues(answer) == [("error", "not-supported", None)]


def test_refusals_in_xml(service: FhirService) -> None:
    answer = service.client.get("/Patient?family:missing=true", headers={"Accept": "application/fhir+xml"})
    assert (answer.status_code, issues(answer)) == (400, [("error", "not-supported", "http.family")])


def test_reading_is_audited(service: FhirService) -> None:
    key = service.search(family="Martin")["entry"][0]["resource"]["id"]
    service.client.get(f"/Patient/{key}", headers={"X-Request-Id": "read-1"})
    event = service.region.audited()[-1]
    assert event.event_type.code == "ITI-78"
    assert {item.role for item in event.objects} == {"1", "24"}
    assert "read-1" in {item.id for item in event.objects}


def test_format_of_a_posted_search(service: FhirService) -> None:
    answer = service.client.post("/Patient/_search", data={"family": "Martin", "_format": "xml"})
    assert answer.headers["content-type"].startswith("application/fhir+xml")


def test_parameters_in_another_encoding(service: FhirService) -> None:
    answer = service.client.get("/Patient?family=Lef%E8vre")
    assert (answer.status_code, issues(answer)) == (400, [("error", "value", "http.family")])


def test_head(service: FhirService) -> None:
    answer = service.client.head("/Patient?family=Martin")
    assert (answer.status_code, answer.content) == (200, b"")


def test_a_record_that_was_merged(tmp_path: Path) -> None:
    """Spec: PDQm 2:3.78.4.3.3 case 3: it is read with `active` false, and leads to the survivor."""
    with fhir_service(tmp_path) as service:
        survivor = service.put(a_patient("A1")).headers["location"].split("/_history")[0]
        names = [{"family": "Autre", "given": ["Personne"]}]
        old = service.put(a_patient("A2", name=names, birthDate="2001-02-03", address=[], telecom=[])).headers["location"]
        old = old.split("/_history")[0]
        link = {"other": {"reference": survivor}, "type": "replaced-by"}
        assert service.put(a_patient("A2", active=False, link=[link])).status_code == 200
        read = service.client.get(old).json()
        assert read["active"] is False
        assert f"{BASE}/{read['link'][0]['other']['reference']}" == survivor
        assert read["identifier"] == [{"system": "urn:ietf:rfc:3986", "value": old}]
        found = service.search(_id=old.rpartition("/")[2])
        assert [entry["resource"]["active"] for entry in found["entry"]] == [False]
        assert service.search(_id=old.rpartition("/")[2], active="true")["total"] == 0
