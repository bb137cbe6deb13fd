"""ITI-78 Mobile Patient Demographics Query: a Patient Demographics Consumer searches patients by their traits, in FHIR.

`GET /fhir/Patient?…`, `POST /fhir/Patient/_search`, `GET /fhir/Patient/id`. The parameters are those of `xds.wire.fhir_search`;
the answer is a Bundle of type searchset, or one Patient. When nobody has a name that begins as it was asked for, without a
modifier, those are answered whose names sound alike or are one slip of the pen away, each with a score.

Spec: PDQm 3.2 2:3.78; FHIR R4 3.1.0.1 (read), 3.1.1 (search).
Errors: 400 (a parameter that cannot be used; too few criteria: `too-costly`), 404 `not-found` (a domain, or the Patient, is not
known), 405 (a Patient is not created by POST; $match and _search are not asked by GET), 406 `not-supported` (format), 429
`throttled` (too many queries of one caller).
"""

from __future__ import annotations

import ssl
from collections.abc import Mapping, Sequence
from dataclasses import replace
from email.utils import formatdate
from urllib.parse import parse_qsl, quote, urlencode

from xds.actors.domain import Domain
from xds.model.caller import Caller
from xds.model.demographics_query import (
    INCOMPLETE,
    Comparison,
    DemographicsAnswer,
    DemographicsQuery,
    PageRequest,
    PatientMatch,
)
from xds.model.metadata import Code
from xds.rules.demographics_similarity import with_similar_names
from xds.transactions.fhir_service import (
    PATH,
    FhirAnswer,
    answered,
    asked,
    exchange,
    not_offered,
    query_text,
    refuse_problems,
    systems_of,
)
from xds.transactions.transaction import Transaction, Wire
from xds.wire.dicomweb import read_media_type
from xds.wire.fhir import Accepted, FhirError, accepted, preferences, reply
from xds.wire.fhir_bundle import search_bundle
from xds.wire.fhir_identifiers import key_of
from xds.wire.fhir_patient import version_of, write_patient
from xds.wire.fhir_search import read_search
from xds.wire.fhir_structure import Issue
from xds.wire.http import HttpReply, HttpRequest

TRANSACTION = Transaction(
    id="ITI-78",
    name="Mobile Patient Demographics Query",
    responder="Patient Demographics Supplier",
    wire=Wire.HTTP,
    path=f"{PATH}/Patient",
    methods=("GET", "HEAD", "POST"),
    safe=True,
)

EVENT = Code("ITI-78", "IHE Transactions", TRANSACTION.name)

_FORM = "application/x-www-form-urlencoded"
_MAX_FORM = 64 << 10
_MAX_FIELDS = 200


def respond(request: HttpRequest, domain: Domain, caller: Caller) -> HttpReply:
    """Answer a search or a read."""
    return answered(request, lambda wanted: _answer(request, domain, caller, wanted))


def _answer(request: HttpRequest, domain: Domain, caller: Caller, wanted: Accepted) -> HttpReply:
    path = request.path.strip("/")
    if request.method == "POST":
        if path != "_search":
            text = "a Patient is fed by PUT Patient?identifier=system|value (ITI-104)"
            raise FhirError(405, [Issue("not-supported", text)], {"Allow": "GET, HEAD, PUT, DELETE"})
        parameters = _form(request)
        return _search(request, parameters, domain, caller, accepted(replace(request, query=parameters)))
    if path in ("_search", "$match"):
        raise not_offered(request.method, f"Patient/{path}")
    if not path:
        return _search(request, request.query, domain, caller, wanted)
    return _read(request, path, domain, caller, wanted)


def _form(request: HttpRequest) -> Mapping[str, tuple[str, ...]]:
    """The parameters of `_search`: those of the body, and those of the URL."""
    if read_media_type(request.headers.get("content-type", "")).name not in ("", _FORM):
        raise FhirError(415, [Issue("not-supported", f"the body of _search is {_FORM}")])
    data = request.stream.read(_MAX_FORM + 1)
    if len(data) > _MAX_FORM:
        raise FhirError(413, [Issue("too-long", f"a search may have at most {_MAX_FORM} octets")])
    found = dict(request.query)
    try:
        pairs = parse_qsl(data.decode("utf-8"), keep_blank_values=True, max_num_fields=_MAX_FIELDS)
    except ValueError as error:
        what = "octets that are not UTF-8" if isinstance(error, UnicodeDecodeError) else f"more than {_MAX_FIELDS} parameters"
        raise FhirError(400, [Issue("invalid", f"the search has {what}")]) from None
    for name, value in pairs:
        found[name] = (*found.get(name, ()), value)
    return found


def _search(
    request: HttpRequest, parameters: Mapping[str, tuple[str, ...]], domain: Domain, caller: Caller, wanted: Accepted
) -> HttpReply:
    systems = systems_of(domain)
    search, issues = read_search(parameters, systems, strict=preferences(request).get("handling") == "strict")
    if issues:
        raise FhirError(400, issues)
    known = asked(request, domain, caller, EVENT, query_text(parameters))
    if search.finds_nobody:
        answer = DemographicsAnswer(total=0)
    else:
        similar = with_similar_names(search.query, Comparison.PREFIX)
        answer = domain.demographics_supplier.search(search.query, search.page, caller, known, instead=similar)
    refuse_problems(answer.problems)
    notes = [
        Issue("not-supported", f"the parameter {name[:60]!r} is not supported and was left out", None, "warning")
        for name in search.ignored
    ]
    if answer.incomplete:
        notes.append(Issue("too-costly", INCOMPLETE, None, "warning"))
    bundle = search_bundle(answer.matches, search, systems, total=answer.total, next_page=answer.next_page, issues=notes)
    return reply(request, 200, bundle, wanted)


def _read(request: HttpRequest, path: str, domain: Domain, caller: Caller, wanted: Accepted) -> HttpReply:
    identifier, history, version = path.partition("/_history/")
    key = key_of(identifier)
    found = _person(request, key, domain, caller) if key is not None else None
    if found is None or (history and version != version_of(found)):
        raise FhirError(404, [Issue("not-found", "there is no such Patient here")])
    tag = f'W/"{version_of(found)}"'
    headers = {"ETag": tag, "Last-Modified": formatdate(found.updated / 1000, usegmt=True)}
    if _is_known(request.headers.get("if-none-match", ""), tag):
        return reply(request, 304, None, wanted, headers)
    return reply(request, 200, write_patient(found, systems_of(domain)), wanted, headers)


def _is_known(known: str, tag: str) -> bool:
    """Whether If-None-Match names a version, by a weak comparison, or any. Spec: RFC 9110 13.1.2."""
    versions = {item.strip().removeprefix("W/") for item in known.split(",")}
    return "*" in versions or tag.removeprefix("W/") in versions


def _person(request: HttpRequest, key: int, domain: Domain, caller: Caller) -> PatientMatch | None:
    """The person of that key. It is a query of one patient, and stands in the audit trail as one."""
    known = asked(request, domain, caller, EVENT, f"Patient/{key}")
    supplier = domain.demographics_supplier
    answer = supplier.search(DemographicsQuery(keys=(key,)), PageRequest(), caller, known)
    refuse_problems(answer.problems)
    current = answer.matches
    # Whoever is part of another person by now is read as the record that was.
    return current[0] if current and current[0].key == key else supplier.person(key, caller)


def send(
    parameters: Sequence[tuple[str, str]],
    endpoint: str,
    *,
    post: bool = False,
    timeout: float = 30.0,
    tls: ssl.SSLContext | None = None,
) -> FhirAnswer:
    """Search at the FHIR server with the base `endpoint`, by GET or by POST (which keeps names out of the logs on the way).

    Errors: OSError, ValueError as those of `fhir_service.exchange`.
    """
    query = urlencode(parameters, quote_via=quote, safe=":/")
    base = f"{endpoint.rstrip('/')}/Patient"
    if post:
        return exchange("POST", f"{base}/_search", query.encode(), headers={"Content-Type": _FORM}, timeout=timeout, tls=tls)
    return exchange("GET", f"{base}?{query}", timeout=timeout, tls=tls)
