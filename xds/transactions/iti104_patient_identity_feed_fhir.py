"""ITI-104 Patient Identity Feed FHIR: a Patient Identity Source tells the PIX Manager of patients, each by her identifier.

`PUT /fhir/Patient?identifier=system|value` adds or revises; with `link.type` replaced-by and `active` false it merges that
patient into the one of `link.other`. The Patient replaces what its source stated before: traits that it does not name are not
stated any more. A source is what the client certificate says, or else `meta.source`, or else the system of the identifier; a
domain that lists its sources takes no other.

`DELETE /fhir/Patient?identifier=system|value` (option Remove Patient) removes what is known under that identifier; where nothing
is, the answer is a success, too, with a warning.

Spec: PIXm 3.1 2:3.104; FHIR R4 3.1.0.4.3 (conditional update), 3.1.0.7.1 (conditional delete).
Errors: 400 (query, syntax of the resource), 403 `forbidden` (not the source of that domain), 405 (no condition), 409
`conflict` (a merge that cannot be, a revision of a merged patient), 412 (If-Match, If-None-Match), 415, 422 (profile, unknown
domain): every issue with its FHIRPath.

Tolerated: identifiers without a system or a value beside the one that counts are left out; `active` may be absent in a merge; a
patient without a name (the profile requires one), because newborns have none.
"""

from __future__ import annotations

import ssl
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final
from urllib.parse import quote

from xds.actors.domain import Domain
from xds.model.caller import Caller
from xds.model.demographics_query import PatientMatch
from xds.model.identifiers import AssigningAuthority, PatientIdentifier
from xds.model.metadata import Code
from xds.model.patient import Demographics, FeedKind, IdentityFeed, IdentityProblem, IdentityProblemKind
from xds.rules import linkage
from xds.transactions.fhir_service import PATH, FhirAnswer, answered, exchange, patient_of, systems_of
from xds.transactions.transaction import Transaction, Wire
from xds.wire.fhir import Accepted, FhirError, operation_outcome, preferences, read_resource, reply
from xds.wire.fhir_identifiers import IdentifierSystems, is_impossible, is_trait
from xds.wire.fhir_json import write_json
from xds.wire.fhir_patient import profile_issues, read_demographics, unstated, version_of, write_patient
from xds.wire.fhir_search import NO_TEXT, alternatives_of, is_text, read_token
from xds.wire.fhir_structure import Element, Issue
from xds.wire.http import HttpReply, HttpRequest

TRANSACTION = Transaction(
    id="ITI-104",
    name="Patient Identity Feed FHIR",
    responder="PIX Manager, Document Registry",
    wire=Wire.HTTP,
    path=f"{PATH}/Patient",
    methods=("PUT", "DELETE"),
)

EVENT: Final = Code("ITI-104", "IHE Transactions", TRANSACTION.name)

_CONDITION: Final = "http.identifier"


@dataclass(frozen=True, slots=True)
class _Condition:
    """Whom `?identifier=` names. `is_logical`: by the id of a Patient resource on the source's own server."""

    identifier: PatientIdentifier
    system: str
    is_logical: bool


def respond(request: HttpRequest, domain: Domain, caller: Caller) -> HttpReply:
    """Let the feed take effect and answer after the commit."""
    return answered(request, lambda wanted: _answer(request, domain, caller, wanted))


def _answer(request: HttpRequest, domain: Domain, caller: Caller, wanted: Accepted) -> HttpReply:
    systems = systems_of(domain)
    if request.path.strip("/"):
        text = f"a Patient is fed and removed by its identifier: {request.method} Patient?identifier=system|value"
        raise FhirError(405, [Issue("not-supported", text)], {"Allow": "GET, HEAD"})
    condition = _condition(request, systems)
    if request.method == "DELETE":
        return _remove(request, condition, domain, caller, wanted)
    patient = read_resource(request, ("Patient",))
    if {"if-match", "if-none-match"} & request.headers.keys():
        _check_preconditions(request, patient_of(domain, condition.identifier, caller))
    is_new = domain.pix_manager.affinity_identifier(condition.identifier) is None
    feed, places, notes, issues = _feed(patient, condition, domain, caller, is_new=is_new, systems=systems)
    if issues:
        objections = domain.pix_manager.objections(feed, caller) if feed.identifiers else ()
        raise _refusal(objections, places, issues, _received(patient))
    if feed.kind is FeedKind.REVISE and _is_subsumed(condition.identifier, domain, caller):
        text = "the identifier was replaced by another one in a merge: what is said of it now would be said of the survivor"
        raise FhirError(409, [Issue("conflict", f"{_CONDITION}: {text}", _CONDITION)])
    problems = domain.pix_manager.feed(feed, caller)
    if problems and not _is_merged_already(feed, domain, caller):
        raise _refusal(problems, places, (), _received(patient))
    named = feed.identifiers[0] if feed.kind is FeedKind.MERGE else condition.identifier
    return _done(request, patient_of(domain, named, caller), systems, wanted, is_new=is_new, notes=notes)


def _remove(request: HttpRequest, condition: _Condition, domain: Domain, caller: Caller, wanted: Accepted) -> HttpReply:
    """Spec: PIXm 2:3.104.4.3; FHIR R4 3.1.0.7 (what does not exist is deleted all the same)."""
    if {"if-match", "if-none-match"} & request.headers.keys():
        _check_preconditions(request, patient_of(domain, condition.identifier, caller))
    feed = IdentityFeed(
        kind=FeedKind.REMOVE,
        source=caller.node or condition.system,
        message_id=str(uuid.uuid4()),
        identifiers=(condition.identifier,),
        destination=domain.identity.public_url + PATH,
        event_type=EVENT,
    )
    done = Issue("informational", "nothing is known of the identifier any more", None, "information")
    problems = domain.pix_manager.feed(feed, caller)
    if problems and all(item.kind is IdentityProblemKind.UNKNOWN_IDENTIFIER for item in problems):
        done = Issue("not-found", "nothing was known of the identifier", _CONDITION, "warning")
    elif problems:
        raise _refusal(problems, (_CONDITION,))
    if preferences(request).get("return") == "minimal":
        return reply(request, 204, None, wanted)
    return reply(request, 200, operation_outcome([done]), wanted)


def _condition(request: HttpRequest, systems: IdentifierSystems) -> _Condition:
    """Spec: PIXm 2:3.104.4.1.2."""
    others = sorted(name for name in request.query if name not in ("identifier", "_format", "_pretty"))
    issues = [
        Issue("not-supported", f"the condition is ?identifier=system|value alone, without {name[:40]!r}") for name in others
    ]
    given = [read_token(item) for each in request.query.get("identifier", ()) for item in alternatives_of(each)]
    system, value = (given[0][0] or "", given[0][1].strip()) if given else ("", "")
    if len(given) != 1 or not system or not value:
        issues.append(Issue("required", "the condition is one identifier with its domain: ?identifier=system|value", _CONDITION))
    authority = systems.authority(system)
    if not is_text(system + value):
        issues.append(Issue("value", f"identifier: {NO_TEXT}", _CONDITION))
    elif is_impossible(authority):
        issues.append(Issue("value", "the system is urn:oid: without an OID", _CONDITION))
    elif is_trait(authority):
        text = "a social security number is a trait: a patient is fed by an identifier of a patient identification domain"
        issues.append(Issue("not-supported", text, _CONDITION))
    elif systems.own_key(system, value) is not None:
        issues.append(Issue("not-supported", "the domain of this server's own ids is not fed", _CONDITION))
    if issues:
        raise FhirError(400, issues)
    return _Condition(PatientIdentifier(value, authority), system, value.startswith("Patient/"))


def _check_preconditions(request: HttpRequest, current: PatientMatch | None) -> None:
    """Spec: FHIR R4 3.1.0.5 (If-Match), RFC 9110 13.1."""
    wanted = request.headers.get("if-match", "").strip()
    tag = f'W/"{version_of(current)}"' if current else None
    if wanted and (tag is None or (wanted != "*" and tag not in [item.strip() for item in wanted.split(",")])):
        here = f"its version is {tag}" if tag else "there is none"
        text = f"the Patient has another version than If-Match says: {here}, not {wanted[:80]}"
        raise FhirError(412, [Issue("conflict", text)])
    if request.headers.get("if-none-match", "").strip() == "*" and current:
        raise FhirError(412, [Issue("conflict", "the Patient exists, which If-None-Match forbids")])


def _source(patient: Element, condition: _Condition, caller: Caller) -> str:
    return caller.node or patient.get("meta", {}).get("source") or condition.system


def _feed(
    patient: Element, condition: _Condition, domain: Domain, caller: Caller, *, is_new: bool, systems: IdentifierSystems
) -> tuple[IdentityFeed, tuple[str, ...], list[Issue], list[Issue]]:
    """The feed, the FHIRPath of each of its identifiers, what of the Patient did not count, and all that is wrong with it.

    The feed is what can be read of a Patient with issues: without identifiers when nothing else can be said of it.
    """
    issues = profile_issues(patient)
    named, notes, more = _identifiers(patient, condition, systems)
    links = [(number, item) for number, item in enumerate(patient.get("link", ())) if item.get("type") == "replaced-by"]
    survivors, others = _survivors(patient, links, condition, systems, domain, caller)
    issues += more + others
    if not survivors and not links and patient.get("active") is False:
        text = "Patient.active: an inactive patient is one that a link of type replaced-by merges into another"
        issues.append(Issue("business-rule", text, "Patient.active"))
    demographics = Demographics() if links or issues else read_demographics(patient, systems)
    concerned = survivors if links else named
    kind = FeedKind.MERGE if links else FeedKind.ADD if is_new else FeedKind.REVISE
    feed = IdentityFeed(
        kind=kind,
        source=_source(patient, condition, caller),
        message_id=str(uuid.uuid4()),
        identifiers=tuple(item for _, item in concerned),
        demographics=demographics,
        subsumed=(condition.identifier,) if links else (),
        destination=domain.identity.public_url + PATH,
        deleted=() if links else unstated(demographics),
        event_type=EVENT,
    )
    return feed, tuple(path for path, _ in concerned), notes, issues


_Placed = list[tuple[str, PatientIdentifier]]


def _identifiers(patient: Element, condition: _Condition, systems: IdentifierSystems) -> tuple[_Placed, list[Issue], list[Issue]]:
    """The identifiers with their FHIRPaths, the one of the condition first; notes about those left out; issues."""
    named: _Placed = []
    notes: list[Issue] = []
    issues: list[Issue] = []
    for number, item in enumerate(patient.get("identifier", ())):
        path = f"Patient.identifier[{number}]"
        found = systems.read(item)
        if found is None:
            text = f"{path}: an identifier without a system or a value was left out"
            notes.append(Issue("incomplete", text, path, "information"))
        elif is_impossible(found.authority):
            issues.append(Issue("value", f"{path}.system: urn:oid: without an OID", f"{path}.system"))
        elif (
            item.get("use") != "old" and systems.own_key(item["system"], item["value"]) is None and not is_trait(found.authority)
        ):
            named.append((path, found))
    own = [place for place in named if _is_same(place[1], condition.identifier)]
    if not own and not condition.is_logical:
        text = "Patient.identifier: the identifier of the condition is not among those of the Patient"
        issues.append(Issue("required" if not named else "business-rule", text, "Patient.identifier"))
    first = own[:1] or [(_CONDITION, condition.identifier)]
    return [*first, *(place for place in named if place not in first)], notes, issues


def _is_same(one: PatientIdentifier, other: PatientIdentifier) -> bool:
    return one.value == other.value and (one.authority == other.authority or _is_of(one, other.authority))


def _survivors(
    patient: Element,
    links: Sequence[tuple[int, Element]],
    condition: _Condition,
    systems: IdentifierSystems,
    domain: Domain,
    caller: Caller,
) -> tuple[_Placed, list[Issue]]:
    """The identifier that survives a merge, in the domain of the one that does not. Spec: PIXm 2:3.104.4.2.2."""
    if not links:
        return [], []
    issues: list[Issue] = []
    if patient.get("active") is True:
        text = "Patient.active: a patient that is replaced by another one is not active"
        issues.append(Issue("business-rule", text, "Patient.active"))
    if len(links) > 1:
        text = "Patient.link: a patient is replaced by one other patient"
        issues.append(Issue("business-rule", text, "Patient.link"))
    number, link = links[0]
    path = f"Patient.link[{number}].other"
    found = systems.read(link["other"].get("identifier", {}))
    if found is None:
        key = systems.own_reference(link["other"].get("reference", ""))
        person = domain.demographics_supplier.person(key, caller) if key is not None else None
        own = (item for item in (person.identifiers if person else ()) if _is_of(item, condition.identifier.authority))
        found = next(own, None)
    if found is None:
        text = f"{path}: it names no identifier of the surviving patient in the domain of the one that is replaced"
        return [], [*issues, Issue("required", text, f"{path}.identifier")]
    if is_impossible(found.authority):
        issues.append(Issue("value", f"{path}.identifier.system: urn:oid: without an OID", f"{path}.identifier.system"))
    return [(f"{path}.identifier", found)], issues


def _is_of(identifier: PatientIdentifier, authority: AssigningAuthority) -> bool:
    if authority.oid and identifier.authority.oid:
        return identifier.authority.oid == authority.oid
    return authority.namespace is not None and identifier.authority.namespace == authority.namespace


def _is_subsumed(identifier: PatientIdentifier, domain: Domain, caller: Caller) -> bool:
    """True for an identifier that a merge took away: it leads to a person and is none of hers.

    A national identifier may be kept from others although it is hers.
    """
    person = patient_of(domain, identifier, caller)
    if person is None or linkage.is_national(identifier):
        return False
    return not any(_is_same(item, identifier) for item in person.identifiers)


def _is_merged_already(feed: IdentityFeed, domain: Domain, caller: Caller) -> bool:
    """True for a merge that took effect before: the same PUT again is no error (RFC 9110 9.2.2)."""
    if feed.kind is not FeedKind.MERGE:
        return False
    (prior,), survivor = feed.subsumed, feed.identifiers[0]
    person = patient_of(domain, survivor, caller)
    active = person.identifiers if person else ()
    if prior == survivor or any(_is_same(item, prior) for item in active) or not any(_is_same(item, survivor) for item in active):
        return False
    meant = domain.pix_manager.affinity_identifier(prior)
    return meant is not None and meant == domain.pix_manager.affinity_identifier(survivor)


def _received(patient: Element) -> Mapping[str, str]:
    """What a Patient has at the places of its identifiers."""
    placed = {f"Patient.identifier[{number}]": item for number, item in enumerate(patient.get("identifier", ()))}
    for number, link in enumerate(patient.get("link", ())):
        placed[f"Patient.link[{number}].other.identifier"] = link["other"].get("identifier", {})
    return {f"{path}.{part}": item[part] for path, item in placed.items() for part in ("system", "value") if part in item}


def _refusal(
    problems: Sequence[IdentityProblem],
    places: Sequence[str],
    issues: Sequence[Issue] = (),
    received: Mapping[str, str] = MappingProxyType({}),
) -> FhirError:
    """What the PIX Manager refuses of a feed, after the issues of the Patient that tells of it."""
    kinds = IdentityProblemKind
    table = {
        kinds.REQUIRED_MISSING: (422, "required"),
        kinds.UNKNOWN_IDENTIFIER: (409, "conflict"),
        kinds.UNKNOWN_DOMAIN: (422, "code-invalid"),
        kinds.NOT_ISSUER: (403, "forbidden"),
        kinds.INVALID: (422, "business-rule"),
        kinds.INTERNAL: (500, "exception"),
    }
    told = list(issues)
    for item in problems:
        path = _CONDITION if item.field == "subsumed" else places[min(item.repetition, len(places)) - 1]
        if item.field == "identifiers" and path != _CONDITION:
            path += ".system" if item.component == 4 else ".value"
        if path not in [each.expression for each in issues]:
            quoted = f": {received[path][:60]!r}" if path in received else ""
            told.append(Issue(table[item.kind][1], f"{path}: {item.text}{quoted}", path))
    return FhirError(min([*([422] if issues else []), *(table[item.kind][0] for item in problems)]), told)


def _done(
    request: HttpRequest,
    person: PatientMatch | None,
    systems: IdentifierSystems,
    wanted: Accepted,
    *,
    is_new: bool,
    notes: Sequence[Issue],
) -> HttpReply:
    """Spec: FHIR R4 3.1.0.4 (update), 3.1.1.1.1 (Prefer: return)."""
    headers = {}
    if person is not None:
        version = version_of(person)
        headers = {"ETag": f'W/"{version}"', "Location": f"{systems.base}/Patient/{person.key}/_history/{version}"}
    status = 201 if is_new else 200
    kind = preferences(request).get("return")
    if kind == "minimal":
        return reply(request, status, None, wanted, headers)
    if kind == "representation" and person is not None:
        return reply(request, status, write_patient(person, systems), wanted, headers)
    done = Issue("informational", "the feed took effect", None, "information")
    return reply(request, status, operation_outcome([done, *notes]), wanted, headers)


def send(
    patient: Element,
    identifier: tuple[str, str],
    endpoint: str,
    *,
    timeout: float = 30.0,
    tls: ssl.SSLContext | None = None,
) -> FhirAnswer:
    """Feed a Patient to the FHIR server with the base `endpoint`, on the condition of its identifier `(system, value)`.

    Errors: OSError, ValueError as those of `fhir_service.exchange`.
    """
    return exchange("PUT", _address(identifier, endpoint), write_json(patient), timeout=timeout, tls=tls)


def send_removal(
    identifier: tuple[str, str], endpoint: str, *, timeout: float = 30.0, tls: ssl.SSLContext | None = None
) -> FhirAnswer:
    """Tell the FHIR server with the base `endpoint` that the patient of an identifier `(system, value)` was removed.

    Errors: OSError, ValueError as those of `fhir_service.exchange`.
    """
    return exchange("DELETE", _address(identifier, endpoint), timeout=timeout, tls=tls)


def _address(identifier: tuple[str, str], endpoint: str) -> str:
    return f"{endpoint.rstrip('/')}/Patient?identifier={quote('|'.join(identifier), safe=':/')}"
