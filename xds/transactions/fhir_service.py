"""What the FHIR transactions share: the base of the service, refusals, problems as issues, and the client's request.

Spec: FHIR R4 3.1.0; ITI TF-2 Appendix Z.
"""

from __future__ import annotations

import http.client
import re
import ssl
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote, urlencode, urlsplit

from xds.actors.domain import Domain
from xds.model.caller import Caller
from xds.model.demographics_query import DemographicsQuery, IdentifierPattern, PageRequest, PatientMatch
from xds.model.identifiers import PatientIdentifier
from xds.model.metadata import Code
from xds.model.patient import IdentityProblem, IdentityProblemKind, IdentityQuery
from xds.wire.fhir import JSON, Accepted, FhirError, accepted, refusal
from xds.wire.fhir_identifiers import IdentifierSystems
from xds.wire.fhir_json import JsonError, read_json
from xds.wire.fhir_structure import Element, Issue
from xds.wire.http import HttpReply, HttpRequest

#: Where the service stands below the public address.
PATH: Final = "/fhir"

#: After how long somebody who asks too much asks again.
_RETRY_SECONDS: Final = 60

#: Octets of an answer that a client reads.
_MAX_ANSWER: Final = 64 << 20


#: What may be done at a path below the base; an instance is read.
_METHODS: Final = {
    "metadata": "GET, HEAD",
    "Patient": "DELETE, GET, HEAD, PUT",
    "Patient/_search": "POST",
    "Patient/$ihe-pix": "GET, HEAD, POST",
    "Patient/$match": "POST",
}

_INSTANCE: Final = re.compile(r"Patient/[A-Za-z0-9.-]{1,64}")


def not_offered(method: str, path: str) -> FhirError:
    """That a method is none of those of a path below the base: 405, with those that are."""
    allowed = {"Allow": _METHODS.get(path.strip("/"), "GET, HEAD")}
    return FhirError(405, [Issue("not-supported", f"{method} is not offered here")], allowed)


def options(path: str) -> HttpReply | None:
    """The answer to OPTIONS at a path below the base; None when there is no such path. Spec: RFC 9110 9.3.7."""
    path = path.strip("/")
    methods = _METHODS.get(path, "GET, HEAD" if _INSTANCE.fullmatch(path) else None)
    return HttpReply(204, (("Allow", f"{methods}, OPTIONS"),), ()) if methods else None


def systems_of(domain: Domain) -> IdentifierSystems:
    """The URIs of the assigning authorities, under this server's base."""
    return IdentifierSystems(domain.identity.public_url + PATH, domain.identity_domains)


def answered(request: HttpRequest, work: Callable[[Accepted], HttpReply]) -> HttpReply:
    """The answer in the format that the client accepts, or the OperationOutcome of what is wrong."""
    try:
        return work(accepted(request))
    except FhirError as error:
        return refusal(request, error)


def asked(request: HttpRequest, domain: Domain, caller: Caller, event_type: Code, text: str) -> IdentityQuery:
    """What the audit trail keeps of a query."""
    identifier = request.headers.get("x-request-id", "")[:128] or str(uuid.uuid4())
    return IdentityQuery(
        source=caller.node or caller.address,
        destination=domain.identity.public_url + PATH,
        message_id=identifier,
        tag=identifier,
        text=text,
        event_type=event_type,
    )


def query_text(parameters: Mapping[str, Sequence[str]]) -> str:
    """The parameters of a query as they stand in a URL."""
    return urlencode([(name, value) for name, values in parameters.items() for value in values], quote_via=quote)


def patient_of(domain: Domain, identifier: PatientIdentifier, caller: Caller) -> PatientMatch | None:
    """The Patient resource that has an identifier; None when there is none that the caller may see."""
    query = DemographicsQuery(identifiers=((IdentifierPattern(identifier.value, identifier.authority),),))
    answer = domain.demographics_supplier.search(query, PageRequest(limit=1), caller)
    return answer.matches[0] if answer.matches else None


def refuse_problems(problems: Sequence[IdentityProblem]) -> None:
    """Errors: FhirError for problems of a search or a match. Spec: PDQm 2:3.78.4.1.3 case 4."""
    if not problems:
        return
    if problems[0].kind is IdentityProblemKind.TOO_MANY:
        raise FhirError(429, [Issue("throttled", problems[0].text)], {"Retry-After": str(_RETRY_SECONDS)})
    unknown = [item for item in problems if item.field == "domains"]
    if unknown:
        found = [Issue("not-found", "targetSystem not found", "http.identifier", "warning") for _ in unknown]
        raise FhirError(404, found)
    raise FhirError(400, [Issue(_code_of(item), item.text) for item in problems])


def _code_of(problem: IdentityProblem) -> str:
    if problem.kind is IdentityProblemKind.REQUIRED_MISSING:
        return "too-costly"
    return "exception" if problem.kind is IdentityProblemKind.INTERNAL else "invalid"


@dataclass(frozen=True, slots=True)
class FhirAnswer:
    """What a FHIR server answered. `resource` is None without a body."""

    status: int
    resource: Element | None
    headers: Mapping[str, str]

    @property
    def is_success(self) -> bool:
        """True for a status of success."""
        return 200 <= self.status < 300


def exchange(
    method: str,
    url: str,
    body: bytes | None = None,
    *,
    headers: Mapping[str, str] | None = None,
    timeout: float = 30.0,
    tls: ssl.SSLContext | None = None,
) -> FhirAnswer:
    """One request and its answer as JSON. Redirections are not followed.

    Errors: OSError (ConnectionError, TimeoutError), also for an answer that is no FHIR JSON; ValueError (address).
    """
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("a FHIR server is an absolute http or https URL")
    connection = (
        http.client.HTTPSConnection(parts.hostname, parts.port, timeout=timeout, context=tls)
        if parts.scheme == "https"
        else http.client.HTTPConnection(parts.hostname, parts.port, timeout=timeout)
    )
    sent = {"Accept": JSON, **({"Content-Type": JSON} if body is not None else {}), **(headers or {})}
    try:
        connection.request(method, (parts.path or "/") + (f"?{parts.query}" if parts.query else ""), body=body, headers=sent)
        response = connection.getresponse()
        data = response.read(_MAX_ANSWER)
        received = {name.lower(): value for name, value in response.getheaders()}
        return FhirAnswer(response.status, read_json(data) if data.strip() else None, received)
    except http.client.HTTPException as error:
        raise ConnectionError(f"no answer from {parts.netloc}: {type(error).__name__}") from error
    except JsonError as error:
        raise ConnectionError(f"the answer of {parts.netloc} is no FHIR resource in JSON: {error}") from None
    finally:
        connection.close()
