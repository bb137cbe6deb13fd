"""How many demographics queries one caller may ask, in every wire form."""

from __future__ import annotations

from pathlib import Path

from tests.fhir import HOSPITAL_A, a_patient, fhir_service, issues
from tests.hl7v3 import ask, message, parameter, query
from tests.identity import CALLER, MARIE, Region, at
from tests.identity import HOSPITAL_A as AUTHORITY
from xds.actors.demographics_rate import QueryRate
from xds.model.audit import EventOutcome
from xds.model.caller import Caller
from xds.transactions import iti21_patient_demographics_query as iti21
from xds.wire import hl7v2

ANOTHER = Caller("10.0.0.2")
QBP = "MSH|^~\\&|VIEWER|CLINIC|XDS|XDS|20260115||QBP^Q22^QBP_Q21|1|P|2.5\rQPD|IHE PDQ Query|T|@PID.5.1^LEFEVRE\rRCP|I"
HEAD = '<responseModalityCode code="R"/><responsePriorityCode code="I"/>'
NAME = parameter("livingSubjectName", "<value><family>Lefevre</family></value>")


def test_a_minute_brings_what_a_minute_allows() -> None:
    rate = QueryRate(6)
    assert [bool(rate.refusal(CALLER, 100.0)) for _ in range(8)] == [False] * 6 + [True] * 2
    assert not rate.refusal(ANOTHER, 100.0)
    assert rate.refusal(CALLER, 109.0)
    assert not rate.refusal(CALLER, 111.0)
    assert rate.refusal(CALLER, 111.0)
    assert not any(rate.refusal(CALLER, 500.0) for _ in range(6))
    assert rate.refusal(CALLER, 500.0), "what was not asked for is not saved up"


def test_a_user_is_one_caller_wherever_she_sits() -> None:
    rate = QueryRate(1)
    assert not rate.refusal(Caller("10.0.0.1", user="dr"), 0.0)
    assert rate.refusal(Caller("10.0.0.2", user="dr"), 0.0)


def test_numbers_that_are_tried_out_count_one_by_one() -> None:
    rate = QueryRate(10)
    assert not rate.refusal(CALLER, 0.0, 9)
    assert rate.refusal(CALLER, 0.0, 2)
    assert not rate.refusal(ANOTHER, 0.0, 50), "it is asked once, and then pays for a while"
    assert rate.refusal(ANOTHER, 120.0)


def test_without_a_limit() -> None:
    assert not any(QueryRate(0).refusal(CALLER, 0.0) for _ in range(1000))


def test_in_hl7(tmp_path: Path) -> None:
    region = Region(tmp_path, supplier={"queries_per_minute": 1})
    region.feed(at(AUTHORITY, "A1"), demographics=MARIE)
    asked = hl7v2.read(QBP.encode())
    assert iti21.respond(asked, region.domain, CALLER).get("QAK-2") == "OK"
    refused = iti21.respond(asked, region.domain, CALLER)
    assert (refused.get("MSA-1"), refused.get("QAK-2"), refused.get("ERR-3"), refused.get("ERR-2")) == ("AE", "AE", "207", "")
    assert "more than 1 demographics queries in a minute" in refused.get("ERR-8")
    assert refused.count("PID") == 0
    assert iti21.respond(asked, region.domain, ANOTHER).get("QAK-2") == "OK"
    answer = ask(region, message("PRPA_IN201305UV02", query(NAME, head=HEAD)))
    assert (answer.kind, answer.status, answer.details) == ("AE", "AE", [("INTERR", "")])
    last = [event for event in region.audited() if event.event_type.code == "ITI-47"][-1]
    assert last.outcome is EventOutcome.MINOR_FAILURE
    assert "more than 1" in (last.outcome_description or "")
    region.close()


def test_in_fhir(tmp_path: Path) -> None:
    with fhir_service(tmp_path, supplier={"queries_per_minute": 2}) as service:
        # What a feed looks up itself does not count.
        for number in range(6):
            assert service.put(a_patient(f"A{number}")).status_code in (200, 201)
        assert service.found("family=Lefevre")
        assert service.client.get("/Patient?_id=1,2,3,4").status_code == 429
        assert service.client.get("/Patient/1").status_code == 200
        for answer in (
            service.client.get("/Patient/1"),
            service.client.get(f"/Patient?identifier={HOSPITAL_A}|A1"),
            service.client.post("/Patient/$match", json=a_patient()),
        ):
            assert (answer.status_code, issues(answer)) == (429, [("error", "throttled", None)])
            assert int(answer.headers["retry-after"]) > 0
