"""ITI-104 Patient Identity Feed FHIR. Spec: PIXm 3.1 2:3.104."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.fhir import AFFINITY, BASE, CLINIC, DOMAINS, HOSPITAL_A, HOSPITAL_B, FhirService, a_patient, fhir_service, issues
from xds.model.audit import EventAction, EventOutcome
from xds.model.identifiers import AssigningAuthority, PatientIdentifier
from xds.model.patient import IdentityDomain
from xds.wire.fhir_xml import write_xml


@pytest.fixture
def service(tmp_path: Path) -> Iterator[FhirService]:
    with fhir_service(tmp_path) as found:
        yield found


def test_add_then_revise(service: FhirService) -> None:
    added = service.put(a_patient())
    assert added.status_code == 201
    location = added.headers["location"]
    assert location.startswith(f"{BASE}/Patient/")
    assert added.headers["etag"].startswith('W/"')
    read = service.client.get(location)
    assert read.json()["name"] == [{"use": "official", "family": "Lefèvre", "given": ["Marie-Hélène", "Anne"]}]
    revised = service.put(a_patient(name=[{"family": "Lefebvre", "given": ["Marie"]}]))
    assert revised.status_code == 200
    assert revised.headers["etag"] != added.headers["etag"]
    assert service.client.get(revised.headers["location"]).json()["name"] == [{"family": "Lefebvre", "given": ["Marie"]}]


def test_an_update_replaces(service: FhirService) -> None:
    """What a Patient no longer says, its source no longer states: a PUT is not a message of HL7 v2."""
    service.put(
        a_patient(maritalStatus={"coding": [{"system": "http://terminology.hl7.org/CodeSystem/v3-MaritalStatus", "code": "M"}]})
    )
    minimal = {"resourceType": "Patient", "identifier": [{"system": HOSPITAL_A, "value": "A1"}], "name": [{"family": "Lefèvre"}]}
    read = service.client.get(service.put(minimal).headers["location"]).json()
    assert {"telecom", "gender", "birthDate", "address", "maritalStatus"} & read.keys() == set()


def test_xml(service: FhirService) -> None:
    content = write_xml(a_patient())
    condition = {"identifier": f"{HOSPITAL_A}|A1"}
    headers = {"Content-Type": "application/fhir+xml", "Accept": "application/fhir+xml", "Prefer": "return=representation"}
    answer = service.client.put("/Patient", params=condition, content=content, headers=headers)
    assert answer.status_code == 201
    assert answer.headers["content-type"].startswith("application/fhir+xml")
    assert "Lefèvre" in answer.text
    as_json = service.client.get(answer.headers["location"]).json()
    service.put(a_patient())
    again = service.client.get("/Patient", params={"identifier": f"{HOSPITAL_A}|A1"}).json()["entry"][0]["resource"]
    assert {**as_json, "meta": None} == {**again, "meta": None}


@pytest.mark.parametrize(
    ("preference", "content"),
    [("return=minimal", ""), ("return=representation", "Patient"), ("return=OperationOutcome", "OperationOutcome")],
)
def test_preference(service: FhirService, preference: str, content: str) -> None:
    answer = service.put(a_patient(), Prefer=preference)
    assert answer.status_code == 201
    assert (answer.json()["resourceType"] if answer.content else "") == content


def test_merge(service: FhirService) -> None:
    service.put(a_patient("A1"))
    service.put(a_patient("A2", name=[{"family": "Lefebvre"}], birthDate="1962-03-15"))
    link = {"other": {"identifier": {"system": HOSPITAL_A, "value": "A1"}}, "type": "replaced-by"}
    merge = a_patient("A2", active=False, name=[{"family": "Wrong"}], link=[link])
    assert service.put(merge).status_code == 200
    found = service.search(identifier=f"{HOSPITAL_A}|A1")["entry"][0]["resource"]
    assert [item["value"] for item in found["identifier"] if item["system"] == HOSPITAL_A] == ["A1"]
    # What is said of the subsumed record says nothing of the surviving one.
    assert "Wrong" not in str(found["name"])
    pix = service.client.get("/Patient/$ihe-pix", params={"sourceIdentifier": f"{HOSPITAL_A}|A2", "targetSystem": HOSPITAL_A})
    assert pix.status_code == 404, "what was subsumed is not known any more"
    merged = [event for event in service.region.audited() if event.event_type.code == "ITI-104"][-2:]
    assert [(event.action, event.objects[0].id.partition("^")[0]) for event in merged] == [
        (EventAction.DELETE, "A2"),
        (EventAction.UPDATE, "A1"),
    ]
    assert service.put(merge).status_code == 200, "the same PUT again"


def test_a_merged_patient_is_not_revised(service: FhirService) -> None:
    """An update that comes too late must not change the survivor."""
    service.put(a_patient("A1"))
    other = {"name": [{"family": "Autre", "given": ["Zoé"]}], "birthDate": "2001-02-03", "address": [], "telecom": []}
    service.put(a_patient("A2", **other))
    link = {"other": {"identifier": {"system": HOSPITAL_A, "value": "A1"}}, "type": "replaced-by"}
    assert service.put(a_patient("A2", active=False, link=[link])).status_code == 200
    late = service.put(a_patient("A2", **other))
    assert (late.status_code, issues(late)) == (409, [("error", "conflict", "http.identifier")])
    assert service.search(identifier=f"{HOSPITAL_A}|A1")["entry"][0]["resource"]["birthDate"] == "1962-03-14"


def test_parallel_feeds_of_one_patient(service: FhirService) -> None:
    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(lambda _: service.put(a_patient("P1")), range(12)))
    assert {answer.status_code for answer in answers} <= {200, 201}
    assert len({answer.headers["location"].split("/_history")[0] for answer in answers}) == 1
    assert service.search(family="Lefèvre")["total"] == 1


def test_merge_by_reference(service: FhirService) -> None:
    surviving = service.put(a_patient("A1")).headers["location"].split("/_history")[0]
    service.put(a_patient("A2"))
    for reference in (surviving, surviving.removeprefix(f"{BASE}/")):
        merge = a_patient("A2", active=False, link=[{"other": {"reference": reference}, "type": "replaced-by"}])
        assert service.put(merge).status_code == 200


def test_merges_that_cannot_be(service: FhirService) -> None:
    service.put(a_patient("A1"))
    service.put(a_patient("A2"))
    link: dict[str, Any] = {"other": {"identifier": {"system": HOSPITAL_A, "value": "A1"}}, "type": "replaced-by"}
    cases = {
        "active": (a_patient("A2", link=[link]), 422),
        "two": (a_patient("A2", active=False, link=[link, link]), 422),
        "nobody": (a_patient("A2", active=False, link=[{**link, "other": {"display": "somebody"}}]), 422),
        "elsewhere": (
            a_patient("A2", active=False, link=[{**link, "other": {"reference": "http://other.example/Patient/1"}}]),
            422,
        ),
        "foreign": (
            a_patient("A2", active=False, link=[{**link, "other": {"identifier": {"system": HOSPITAL_B, "value": "B"}}}]),
            422,
        ),
        "itself": (a_patient("A1", active=False, link=[link]), 409),
        "inactive": (a_patient("A1", active=False), 422),
    }
    assert {name: service.put(patient).status_code for name, (patient, _) in cases.items()} == {
        name: status for name, (_, status) in cases.items()
    }
    assert service.found(f"identifier={HOSPITAL_A}|A2") == ["A2"]


def test_link_of_another_type_merges_nothing(service: FhirService) -> None:
    service.put(a_patient("A1"))
    link = {"other": {"identifier": {"system": HOSPITAL_A, "value": "A1"}}, "type": "seealso"}
    assert service.put(a_patient("A2", name=[{"family": "Autre"}], birthDate="2001-01-01", link=[link])).status_code == 201
    assert service.found("family=Autre") == ["A2"]


def test_domain_with_a_url(service: FhirService) -> None:
    service.put(a_patient("C1", CLINIC))
    found = service.search(identifier=f"{CLINIC}|C1")["entry"][0]["resource"]["identifier"]
    assert {"system": CLINIC, "value": "C1", "assigner": {"display": "CLINIC"}} in found
    # The OID of the same domain finds it, too.
    assert service.found("identifier=urn:oid:1.2.250.1.71.9|C1") == ["C1"]
    identifier = PatientIdentifier("C1", AssigningAuthority(oid="1.2.250.1.71.9"))
    assert service.region.pix.affinity_identifier(identifier) is not None


def test_logical_id_as_identifier(tmp_path: Path) -> None:
    """Spec: 2:3.104.4.1.2: `identifier=http://fhir.mydomain.com|Patient/123`."""
    with fhir_service(tmp_path, unknown_domains="create") as service:
        condition = {"identifier": "http://fhir.mydomain.com|Patient/123"}
        answer = service.client.put("/Patient", params=condition, json=a_patient("A1", id="123"))
        assert answer.status_code == 201
        pix = service.client.get(
            "/Patient/$ihe-pix", params={"sourceIdentifier": condition["identifier"], "targetSystem": HOSPITAL_A}
        )
        assert [item["valueIdentifier"]["value"] for item in pix.json()["parameter"]] == ["A1"]


def test_registry_learns_of_an_affinity_identifier(service: FhirService) -> None:
    service.put(a_patient("PAT1", AFFINITY))
    identifier = PatientIdentifier("PAT1", AssigningAuthority(oid=AFFINITY.removeprefix("urn:oid:")))
    registered = service.region.registered(identifier)
    assert registered is not None
    assert registered.is_active


def test_only_its_sources_may_write_a_domain(tmp_path: Path) -> None:
    mine = IdentityDomain(AssigningAuthority("HOSP_A", HOSPITAL_A.removeprefix("urn:oid:")), ("https://adt.hosp-a.example",))
    with fhir_service(tmp_path, domains=(mine, *DOMAINS[1:])) as service:
        refused = service.put(a_patient())
        assert refused.status_code == 403
        assert issues(refused) == [("error", "forbidden", "Patient.identifier[0].system")]
        assert service.found("family=Lef") == []
        assert service.put(a_patient(meta={"source": "https://adt.hosp-a.example"})).status_code == 201
        events = [event for event in service.region.audited() if event.event_type.code == "ITI-104"]
        assert {event.outcome for event in events} == {EventOutcome.SUCCESS, EventOutcome.MINOR_FAILURE}


def test_what_the_profile_forbids_hides_nothing_that_is_refused(service: FhirService) -> None:
    unknown = {"system": "urn:oid:2.999.77", "value": "7"}
    wrong = a_patient(implicitRules="http://example.org/rules", identifier=[{"system": HOSPITAL_A, "value": "A1"}, unknown])
    answer = service.put(wrong)
    assert (answer.status_code, issues(answer)) == (
        422,
        [("error", "business-rule", "Patient.implicitRules"), ("error", "code-invalid", "Patient.identifier[1].system")],
    )
    service.put(a_patient("A1"))
    service.put(a_patient("A2", name=[{"family": "Autre"}], birthDate="2001-02-03"))
    link = {"other": {"identifier": {"system": HOSPITAL_A, "value": "A1"}}, "type": "replaced-by"}
    assert service.put(a_patient("A2", active=False, link=[link])).status_code == 200
    late = service.put(a_patient("A2", implicitRules="http://example.org/rules"))
    assert issues(late) == [
        ("error", "business-rule", "Patient.implicitRules"),
        ("error", "conflict", "Patient.identifier[0].value"),
    ]


def test_unknown_domain(service: FhirService) -> None:
    """OpenHIE CR-03: an assigning authority that is not known."""
    for system in ("http://ohie.org/test/test_block", "urn:oid:1.3.6.1.4.1.52820.3.72.5.9.4"):
        refused = service.put(a_patient("X1", system))
        assert refused.status_code == 422
        assert issues(refused) == [("error", "code-invalid", "Patient.identifier[0].system")]


def test_preconditions(service: FhirService) -> None:
    assert service.put(a_patient(), **{"If-Match": 'W/"1"'}).status_code == 412, "nothing there to match"
    tag = service.put(a_patient(), **{"If-None-Match": "*"}).headers["etag"]
    assert service.put(a_patient(), **{"If-None-Match": "*"}).status_code == 412
    newer = service.put(a_patient(gender="unknown"), **{"If-Match": tag})
    assert newer.status_code == 200
    refused = service.put(a_patient(name=[{"family": "Lost"}]), **{"If-Match": tag})
    assert (refused.status_code, issues(refused)) == (412, [("error", "conflict", None)])
    assert service.found("family=Lost") == []


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("", 400),
        ("identifier=A1", 400),
        (f"identifier={HOSPITAL_A}|", 400),
        ("identifier=|A1", 400),
        (f"identifier={HOSPITAL_A}|A1&identifier={HOSPITAL_B}|B1", 400),
        (f"identifier={HOSPITAL_A}|A1,{HOSPITAL_A}|A2", 400),
        (f"identifier={HOSPITAL_A}|A1&family=Lef", 400),
        ("identifier=urn:oid:9.9.9|A1", 400),
        ("identifier=urn:oid:|A1", 400),
        (f"identifier={BASE}|Patient/1", 400),
        (f"identifier={HOSPITAL_A}|other", 422),
    ],
)
def test_conditions(service: FhirService, query: str, status: int) -> None:
    answer = service.client.put(f"/Patient?{query}", json=a_patient())
    assert answer.status_code == status, answer.text
    assert service.found("family=Lef") == []


def test_all_faults_at_once(service: FhirService) -> None:
    patient = {
        "resourceType": "Patient",
        "implicitRules": "http://rules.example",
        "modifierExtension": [{"url": "http://x.example", "valueBoolean": True}],
        "identifier": [{"system": "urn:oid:1.02", "value": "A1"}, {"system": HOSPITAL_A, "value": "other"}],
        "address": [{"text": "x" * 10_001, "line": ["y" * 10_001]}],
    }
    answer = service.client.put("/Patient", params={"identifier": f"{HOSPITAL_A}|A1"}, json=patient)
    assert answer.status_code == 422
    assert {path for _, _, path in issues(answer)} == {
        "Patient",
        "Patient.modifierExtension",
        "Patient.implicitRules",
        "Patient.identifier[0].system",
        "Patient.identifier",
    }


def test_newborn_without_a_name(service: FhirService) -> None:
    """OpenHIE CR-05: an identifier, a sex and a birth date; the name comes later."""
    newborn = {
        "resourceType": "Patient",
        "identifier": [{"system": HOSPITAL_A, "value": "N1"}],
        "gender": "female",
        "birthDate": "2026-01-02",
        "multipleBirthInteger": 2,
    }
    read = service.client.get(service.put(newborn).headers["location"]).json()
    assert ("name" in read, read["multipleBirthInteger"]) == (False, 2)
    assert service.put({**newborn, "name": [{"family": "Martin", "given": ["Lou"]}]}).status_code == 200
    assert service.found("family=Martin&birthdate=2026-01-02") == ["N1"]


def test_identifiers_that_identify_nothing_are_left_out(service: FhirService) -> None:
    more = [{"system": HOSPITAL_B, "value": ""}, {"value": "lonely"}, {"system": HOSPITAL_B}]
    patient = a_patient()
    patient["identifier"] += more
    answer = service.put(patient)
    assert answer.status_code == 201
    assert [path for _, code, path in issues(answer) if code == "incomplete"] == [f"Patient.identifier[{n}]" for n in (1, 2, 3)]


def test_other_interactions(service: FhirService) -> None:
    client, patient = service.client, a_patient()
    answers: list[httpx.Response] = [
        client.post("/Patient", json=patient),
        client.put("/Patient/1", json=patient),
        client.delete("/Patient/1"),
        client.patch("/Patient/1", json={}),
    ]
    assert [item.status_code for item in answers] == [405] * 4
    assert all(item.headers["allow"] for item in answers)
    allowed = {
        "Patient/1": "GET, HEAD",
        "Patient": "DELETE, GET, HEAD, PUT",
        "Patient/$ihe-pix": "GET, HEAD, POST",
        "Patient/$match": "POST",
        "Patient/_search": "POST",
        "metadata": "GET, HEAD",
    }
    for path, methods in allowed.items():
        assert client.patch(f"/{path}", json={}).headers["allow"] == methods
        told = client.options(f"/{path}", headers={"Accept": "text/html"})
        assert (told.status_code, told.content, told.headers["allow"]) == (204, b"", f"{methods}, OPTIONS")
    for path in ("", "/Observation", "/Patient/1/2", "/metadata/1"):
        assert client.options(path).status_code == 404
    for path in ("Patient/$match", "Patient/_search?family=Lef"):
        answer = client.get(f"/{path}")
        assert (answer.status_code, answer.headers["allow"]) == (405, "POST")
    assert client.post("", json={"resourceType": "Bundle", "type": "message"}).status_code == 404
    assert client.get("/Observation?code=1").status_code == 404
    assert service.found("family=Lef") == []


def test_removal(service: FhirService) -> None:
    """Spec: 2:3.104.4.3, option Remove Patient."""
    added = service.put(a_patient())
    service.put(a_patient("A2", name=[{"family": "Autre", "given": ["Zoé"]}], birthDate="2001-02-03", address=[], telecom=[]))

    def remove(value: str, **headers: str) -> httpx.Response:
        return service.client.delete("/Patient", params={"identifier": f"{HOSPITAL_A}|{value}"}, headers=headers)

    refused = remove("A1", **{"If-Match": 'W/"another"'})
    assert (refused.status_code, issues(refused)) == (412, [("error", "conflict", None)])
    removed = remove("A1", **{"If-Match": added.headers["etag"]})
    assert (removed.status_code, issues(removed)) == (200, [("information", "informational", None)])
    again = remove("A1")
    assert (again.status_code, issues(again)) == (200, [("warning", "not-found", "http.identifier")])
    pix = service.client.get("/Patient/$ihe-pix", params={"sourceIdentifier": f"{HOSPITAL_A}|A1"})
    assert pix.status_code == 404
    assert service.client.get(added.headers["location"]).status_code == 404
    assert service.found("family=Lef") == []
    silent = remove("A2", Prefer="return=minimal")
    assert (silent.status_code, silent.content) == (204, b"")
    assert service.put(a_patient()).status_code == 201, "whoever comes again is a new patient"


@pytest.mark.parametrize(
    ("condition", "status"),
    [
        ({}, 400),
        ({"identifier": "A1"}, 400),
        ({"identifier": f"{HOSPITAL_A}|"}, 400),
        ({"identifier": f"{HOSPITAL_A}|A1", "family": "Lef"}, 400),
        ({"identifier": "urn:oid:1.2.9|A1"}, 422),
        ({"identifier": f"{BASE}|Patient/1"}, 400),
    ],
)
def test_nobody_is_removed(service: FhirService, condition: dict[str, str], status: int) -> None:
    service.put(a_patient())
    assert service.client.delete("/Patient", params=condition).status_code == status
    assert service.found("family=Lef") == ["A1"]


def test_only_its_source_removes(tmp_path: Path) -> None:
    domains = (IdentityDomain(AssigningAuthority("HOSP_A", HOSPITAL_A.removeprefix("urn:oid:")), ("HOSP_A|ADT",)),)
    with fhir_service(tmp_path, domains=domains) as service:
        service.put(a_patient(meta={"source": "HOSP_A|ADT"}))
        answer = service.client.delete("/Patient", params={"identifier": f"{HOSPITAL_A}|A1"})
        assert (answer.status_code, issues(answer)) == (403, [("error", "forbidden", "http.identifier")])


INS = "urn:oid:1.2.250.1.213.1.4.8"


def _reliability(code: str) -> dict[str, Any]:
    """The French core profile's extension, which is PID-32."""
    coding = {"system": "https://hl7.fr/ig/fhir/core/CodeSystem/fr-core-cs-v2-0445", "code": code}
    parts = [{"url": "identityStatus", "valueCoding": coding}]
    return {"url": "https://hl7.fr/ig/fhir/core/StructureDefinition/fr-core-identity-reliability", "extension": parts}


@pytest.mark.parametrize(("status", "leaves"), [("QUAL", True), ("PROV", False)])
def test_national_identifier(tmp_path: Path, status: str, leaves: bool) -> None:
    """An INS is told to others when its source says that it is qualified, and then it means one person in two hospitals."""
    with fhir_service(tmp_path, unknown_domains="create") as service:
        ins = {"system": INS, "value": "262034523400123", "use": "official"}
        there = a_patient("B1", HOSPITAL_B, name=[{"family": "Dubois"}], birthDate="1962", extension=[_reliability(status)])
        for patient in (a_patient("A1", extension=[_reliability(status)]), there):
            patient["identifier"].append(ins)
            answer = service.put(patient, Prefer="return=representation")
            assert answer.status_code == 201
            assert (INS in {item["system"] for item in answer.json()["identifier"]}) is leaves
            assert answer.json()["extension"] == [_reliability(status)]
        if leaves:
            pix = service.client.get(
                "/Patient/$ihe-pix", params={"sourceIdentifier": f"{HOSPITAL_A}|A1", "targetSystem": HOSPITAL_B}
            )
            assert [item["valueIdentifier"]["value"] for item in pix.json()["parameter"]] == ["B1"]
