"""ITI-119 Patient Demographics Match: a Patient Demographics Consumer asks who a described patient may be, in FHIR.

`POST /fhir/Patient/$match` with a Parameters resource (`resource`, `onlyCertainMatches`, `count`) or a bare Patient. The answer
is a Bundle of type searchset, the likeliest first, each entry with a score and a match-grade.

Spec: PDQm 3.2 2:3.119; FHIR R4 Patient/$match.
Errors: 400 (syntax, parameters, `too-costly` for too few traits), 413, 415, 422 (profile), 429 `throttled` (too many queries of
one caller).
"""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from xds.actors.domain import Domain
from xds.model.caller import Caller
from xds.model.metadata import Code
from xds.transactions.fhir_service import PATH, FhirAnswer, answered, asked, exchange, refuse_problems, systems_of
from xds.transactions.transaction import Transaction, Wire
from xds.wire.fhir import Accepted, FhirError, read_resource, reply
from xds.wire.fhir_bundle import match_bundle, may_be_certain
from xds.wire.fhir_identifiers import is_trait
from xds.wire.fhir_json import write_json
from xds.wire.fhir_patient import profile_issues, read_demographics
from xds.wire.fhir_structure import Element, Issue, checked
from xds.wire.http import HttpReply, HttpRequest

TRANSACTION = Transaction(
    id="ITI-119",
    name="Patient Demographics Match",
    responder="Patient Demographics Supplier",
    wire=Wire.HTTP,
    path=f"{PATH}/Patient/$match",
    methods=("POST",),
    safe=True,
)

EVENT = Code("ITI-119", "IHE Transactions", TRANSACTION.name)

_MAX_COUNT = 1000


@dataclass(frozen=True, slots=True)
class _Question:
    patient: Element
    only_certain: bool = False
    count: int | None = None


def respond(request: HttpRequest, domain: Domain, caller: Caller) -> HttpReply:
    """Answer a match."""
    return answered(request, lambda wanted: _answer(request, domain, caller, wanted))


def _answer(request: HttpRequest, domain: Domain, caller: Caller, wanted: Accepted) -> HttpReply:
    if request.path.strip("/"):
        raise FhirError(404, [Issue("not-found", "there is nothing at this address")])
    question = _read(read_resource(request, ("Parameters", "Patient")), request)
    issues = profile_issues(question.patient)
    if issues:
        raise FhirError(422, issues)
    systems = systems_of(domain)
    described = read_demographics(question.patient, systems)
    named = (found for item in question.patient.get("identifier", ()) if (found := systems.read(item)))
    identifiers = [item for item in named if not is_trait(item.authority)]
    text = urlencode({"onlyCertainMatches": question.only_certain, "count": question.count or ""})
    supplier = domain.demographics_supplier
    answer = supplier.match(
        described,
        identifiers,
        caller,
        count=question.count,
        only_certain=question.only_certain,
        asked=asked(request, domain, caller, EVENT, f"Patient/$match?{text}"),
    )
    refuse_problems(answer.problems)
    certain = answer.matches if question.only_certain else ()
    if not question.only_certain and any(map(may_be_certain, answer.matches)):
        certain = supplier.match(described, identifiers, caller, only_certain=True).matches
    bundle = match_bundle(answer.matches, systems, {item.key for item in certain}, total=answer.total)
    return reply(request, 200, bundle, wanted)


def _read(body: Element, request: HttpRequest) -> _Question:
    """Spec: PDQm MatchParametersIn; FHIR R4 3.2.0.2 (the resource as the body, the other parameters in the URL)."""
    issues: list[Issue] = []
    if body["resourceType"] == "Patient":
        body = {"parameter": [{"name": "resource", "resource": body}, *_of_url(request, issues)]}
    given: dict[str, Any] = {}
    for number, item in enumerate(body.get("parameter", ())):
        name, path = item["name"], f"Parameters.parameter[{number}]"
        element = {"resource": "resource", "onlyCertainMatches": "valueBoolean", "count": "valueInteger"}.get(name)
        if element is None:
            issues.append(Issue("not-supported", f"{path}: there is no parameter {name[:40]!r}", path))
        elif name in given:
            issues.append(Issue("structure", f"{path}: the parameter {name} is given twice", path))
        elif element not in item:
            issues.append(Issue("required", f"{path}: the parameter {name} has its {element}", path))
        else:
            given[name] = item[element]
    count = given.get("count")
    if count is not None and count < 1:
        text = f"count: 1 or more is expected, not {count}"
        issues.append(Issue("value", text, "Parameters.parameter.where(name = 'count')"))
    patient = given.get("resource")
    if patient is None:
        text = "the parameter resource, a Patient, is required"
        issues.append(Issue("required", text, "Parameters.parameter.where(name = 'resource')"))
    elif patient.get("resourceType") != "Patient":
        text = "the parameter resource is a Patient"
        issues.append(Issue("invalid", text, "Parameters.parameter.where(name = 'resource').resource"))
    else:
        patient, more = checked(patient, "Patient")
        issues += more
    if issues or patient is None:
        raise FhirError(400, issues)
    return _Question(patient, bool(given.get("onlyCertainMatches")), min(count, _MAX_COUNT) if count else None)


def _of_url(request: HttpRequest, issues: list[Issue]) -> Iterator[Element]:
    """The parameters beside the resource when it is the body itself."""
    for name, values in request.query.items():
        for value in values:
            if name == "onlyCertainMatches" and value in ("true", "false"):
                yield {"name": name, "valueBoolean": value == "true"}
            elif name == "count" and value.isascii() and value.isdigit() and len(value) < 10:
                yield {"name": name, "valueInteger": int(value)}
            elif name in ("onlyCertainMatches", "count"):
                expected = "a whole number" if name == "count" else "true or false"
                issues.append(Issue("value", f"{name}: {expected} is expected, not {value[:40]!r}", f"http.{name}"))


def send(
    patient: Element,
    endpoint: str,
    *,
    count: int | None = None,
    only_certain: bool = False,
    timeout: float = 30.0,
    tls: ssl.SSLContext | None = None,
) -> FhirAnswer:
    """Ask the FHIR server with the base `endpoint` who a Patient may be.

    Errors: OSError, ValueError as those of `fhir_service.exchange`.
    """
    body = write_json(match_parameters(patient, count=count, only_certain=only_certain))
    return exchange("POST", f"{endpoint.rstrip('/')}/Patient/$match", body, timeout=timeout, tls=tls)


def match_parameters(patient: Element, *, count: int | None = None, only_certain: bool = False) -> Element:
    """The Parameters resource of the request."""
    parameters: list[Element] = [{"name": "resource", "resource": patient}]
    if only_certain:
        parameters.append({"name": "onlyCertainMatches", "valueBoolean": True})
    if count is not None:
        parameters.append({"name": "count", "valueInteger": count})
    return {"resourceType": "Parameters", "parameter": parameters}
