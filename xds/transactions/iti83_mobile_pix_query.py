"""ITI-83 Mobile Patient Identifier Cross-reference Query: a PIX Consumer asks for the other identifiers of a patient, in FHIR.

`GET /fhir/Patient/$ihe-pix?sourceIdentifier=system|value{&targetSystem=uri}`; also POST with a Parameters resource. The answer is
a Parameters resource with `targetIdentifier` for each identifier and `targetId` for the Patient resource of this server.

Spec: PIXm 3.1 2:3.83.
Errors: 400 `required` or `invalid` (sourceIdentifier), 400 `code-invalid` (its domain is unknown), 404 `not-found` (the
identifier is unknown), 403 `code-invalid` (a targetSystem is unknown); all of them in one OperationOutcome.
"""

from __future__ import annotations

import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import quote, urlencode

from xds.actors.domain import Domain
from xds.model.caller import Caller
from xds.model.demographics_query import PatientMatch
from xds.model.identifiers import AssigningAuthority, PatientIdentifier
from xds.model.metadata import Code
from xds.model.patient import IdentityProblem
from xds.transactions.fhir_service import PATH, FhirAnswer, answered, asked, exchange, patient_of, query_text, systems_of
from xds.transactions.transaction import Transaction, Wire
from xds.wire.fhir import Accepted, FhirError, read_resource, reply
from xds.wire.fhir_identifiers import IdentifierSystems
from xds.wire.fhir_search import NO_TEXT, alternatives_of, is_text, read_token
from xds.wire.fhir_structure import Element, Issue
from xds.wire.http import HttpReply, HttpRequest

TRANSACTION = Transaction(
    id="ITI-83",
    name="Mobile Patient Identifier Cross-reference Query",
    responder="PIX Manager",
    wire=Wire.HTTP,
    path=f"{PATH}/Patient/$ihe-pix",
    methods=("GET", "HEAD", "POST"),
    safe=True,
)

EVENT = Code("ITI-83", "IHE Transactions", TRANSACTION.name)

_SOURCE = "sourceIdentifier"
_TARGET = "targetSystem"
#: Where it is in a Parameters resource; the definition says `uri`, some say a string.
_URIS = ("valueUri", "valueUrl", "valueCanonical", "valueString")
_SOURCE_PATH = "Parameters.parameter.where(name = 'sourceIdentifier').value"
_TARGET_PATH = "Parameters.parameter.where(name = 'targetSystem')[{number}].value"


@dataclass(frozen=True, slots=True)
class _Question:
    """Whose identifiers in which domains; `key` when the source is a Patient resource of this server."""

    identifier: PatientIdentifier | None
    key: int | None
    domains: tuple[AssigningAuthority, ...]
    wants_identifiers: bool
    wants_resources: bool


def respond(request: HttpRequest, domain: Domain, caller: Caller) -> HttpReply:
    """Answer a PIX query."""
    return answered(request, lambda wanted: _answer(request, domain, caller, wanted))


def _answer(request: HttpRequest, domain: Domain, caller: Caller, wanted: Accepted) -> HttpReply:
    systems = systems_of(domain)
    if request.path.strip("/"):
        raise FhirError(404, [Issue("not-found", "there is nothing at this address")])
    sources, targets = _from_body(request) if request.method == "POST" else _from_query(request)
    question = _read(sources, targets, systems)
    text = query_text({_SOURCE: [f"{system}|{value}" for system, value in sources], _TARGET: targets})
    person = domain.demographics_supplier.person(question.key, caller) if question.key is not None else None
    identifier = question.identifier or (person.identifiers[0] if person and person.identifiers else None)
    if identifier is None:
        raise FhirError(404, [_not_found()])
    known = asked(request, domain, caller, EVENT, text)
    answer = domain.pix_manager.cross_reference(identifier, question.domains, caller, known)
    if answer.problems:
        raise _refusal(answer.problems)
    found = answer.identifiers if question.wants_identifiers else ()
    if question.wants_identifiers and not question.domains:
        # Every identifier of the patient but the one given, so those of its own domain, too. Spec: PIXm 2:3.83.4.2.2.1.
        found = (*found, *domain.pix_manager.cross_reference(identifier, (identifier.authority,), caller).identifiers)
    if person is not None:
        found = _identifiers_of(person, found, question.domains)
        person = None
    elif question.wants_resources:
        person = patient_of(domain, identifier, caller)
    return reply(request, 200, _parameters(found, person, systems), wanted)


def _identifiers_of(
    person: PatientMatch, found: Sequence[PatientIdentifier], domains: Sequence[AssigningAuthority]
) -> tuple[PatientIdentifier, ...]:
    """Of a person of this server: all, or those in the domains that were asked for."""
    if not domains:
        return person.identifiers
    oids, namespaces = {item.oid for item in domains if item.oid}, {item.namespace for item in domains if item.namespace}
    named = (item for item in person.identifiers if item.authority.oid in oids or item.authority.namespace in namespaces)
    return tuple(dict.fromkeys((*named, *found)))


def _from_query(request: HttpRequest) -> tuple[list[tuple[str, str]], list[str]]:
    tokens = [read_token(item) for each in request.query.get(_SOURCE, ()) for item in alternatives_of(each)]
    return [(system or "", value) for system, value in tokens], [item for item in request.query.get(_TARGET, ()) if item]


def _from_body(request: HttpRequest) -> tuple[list[tuple[str, str]], list[str]]:
    parameters = read_resource(request, ("Parameters",)).get("parameter", ())
    sources = [item for item in parameters if item["name"] == _SOURCE]
    # The operation's definition calls it a string that is searched as a token; an Identifier says the same.
    tokens = [read_token(item["valueString"]) if "valueString" in item else (None, "") for item in sources]
    identifiers = [
        item.get("valueIdentifier", {"system": system or "", "value": value})
        for item, (system, value) in zip(sources, tokens, strict=True)
    ]
    given = [item for item in parameters if item["name"] == _TARGET]
    targets = [next((item[name] for name in _URIS if name in item), "") for item in given]
    if not all(targets):
        # To leave it out would answer identifiers that were not asked for.
        issues = [
            Issue("invalid", "targetSystem has a valueUri", _TARGET_PATH.format(number=number))
            for number, target in enumerate(targets)
            if not target
        ]
        raise FhirError(400, issues)
    return [(item.get("system", ""), item.get("value", "")) for item in identifiers], targets


def _read(sources: Sequence[tuple[str, str]], targets: Sequence[str], systems: IdentifierSystems) -> _Question:
    if len(sources) != 1:
        text = "sourceIdentifier is required" if not sources else "sourceIdentifier may be given once only"
        raise FhirError(400, [Issue("invalid" if sources else "required", text, _SOURCE_PATH)])
    ((system, value),) = sources
    if not system or not value.strip():
        raise FhirError(400, [Issue("invalid", "sourceIdentifier is a system and a value: system|value", _SOURCE_PATH)])
    unreadable = [] if is_text(system + value) else [Issue("value", f"sourceIdentifier: {NO_TEXT}", _SOURCE_PATH)]
    for number, item in enumerate(targets):
        if not is_text(item):
            unreadable.append(Issue("value", f"targetSystem: {NO_TEXT}", _TARGET_PATH.format(number=number)))
    if unreadable:
        raise FhirError(400, unreadable)
    key = systems.own_key(system, value.strip())
    own = [item for item in targets if item.rstrip("/") == systems.base]
    return _Question(
        identifier=None if key is not None else PatientIdentifier(value.strip(), systems.authority(system)),
        key=key,
        domains=tuple(systems.authority(item) for item in targets if item not in own),
        wants_identifiers=len(own) < len(targets) or not targets,
        wants_resources=bool(own) or not targets,
    )


def _not_found() -> Issue:
    return Issue("not-found", "sourceIdentifier Patient Identifier not found", _SOURCE_PATH)


def _refusal(problems: Sequence[IdentityProblem]) -> FhirError:
    """Spec: PIXm 2:3.83.4.2.2.2 to 2:3.83.4.2.2.4."""
    found: list[tuple[int, Issue]] = []
    for item in problems:
        if item.field == "domains":
            path = _TARGET_PATH.format(number=item.repetition - 1)
            found.append((403, Issue("code-invalid", "targetSystem not found", path)))
        elif item.component == 4:
            found.append((400, Issue("code-invalid", "sourceIdentifier Assigning Authority not found", _SOURCE_PATH)))
        else:
            found.append((404, _not_found()))
    return FhirError(found[0][0], [issue for _, issue in found])


def _parameters(identifiers: Sequence[PatientIdentifier], person: PatientMatch | None, systems: IdentifierSystems) -> Element:
    found: list[Element] = [{"name": "targetIdentifier", "valueIdentifier": systems.write(item)} for item in identifiers]
    if person is not None:
        reference = f"{systems.base}/Patient/{person.key}"
        found.append({"name": "targetId", "valueReference": {"reference": reference}})
    return {"resourceType": "Parameters"} | ({"parameter": found} if found else {})


def send(
    source: tuple[str, str],
    targets: Sequence[str],
    endpoint: str,
    *,
    timeout: float = 30.0,
    tls: ssl.SSLContext | None = None,
) -> FhirAnswer:
    """Ask the FHIR server with the base `endpoint` for the identifiers of the patient `(system, value)`.

    Errors: OSError, ValueError as those of `fhir_service.exchange`.
    """
    pairs = [(_SOURCE, "|".join(source)), *((_TARGET, item) for item in targets)]
    url = f"{endpoint.rstrip('/')}/Patient/$ihe-pix?{urlencode(pairs, quote_via=quote, safe=':/')}"
    return exchange("GET", url, timeout=timeout, tls=tls)
