"""FHIR capabilities: what the FHIR service offers, and an OperationOutcome for everything that it does not.

`GET /fhir/metadata`; OPTIONS at any address tells its methods. Spec: FHIR R4 3.1.0.8 (capabilities); PIXm 2:3.104.4.1.3.
Errors: 404 `not-found` (no such address), 405 `not-supported` (no such interaction).
"""

from __future__ import annotations

from xds import __version__
from xds.actors.domain import Domain
from xds.model.caller import Caller
from xds.transactions.fhir_service import PATH, answered, not_offered, options
from xds.transactions.transaction import Transaction, Wire
from xds.wire.fhir import Accepted, FhirError, reply
from xds.wire.fhir_capability import capability_statement
from xds.wire.fhir_structure import Issue
from xds.wire.http import HttpReply, HttpRequest

TRANSACTION = Transaction(
    id="FHIR",
    name="FHIR capabilities",
    responder="PIX Manager, Patient Demographics Supplier",
    wire=Wire.HTTP,
    path=PATH,
    methods=("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"),
    safe=True,
)


def respond(request: HttpRequest, domain: Domain, caller: Caller) -> HttpReply:
    """Answer with the CapabilityStatement or the methods of a path, or say that there is no such thing."""
    if request.method == "OPTIONS" and (reply_to_options := options(request.path)) is not None:
        return reply_to_options
    return answered(request, lambda wanted: _answer(request, domain, wanted))


def _answer(request: HttpRequest, domain: Domain, wanted: Accepted) -> HttpReply:
    path = request.path.strip("/")
    if path == "metadata" and request.method in ("GET", "HEAD"):
        return reply(request, 200, capability_statement(domain.identity.public_url + PATH, __version__), wanted)
    if path.partition("/")[0] in ("Patient", "metadata") and request.method != "OPTIONS":
        raise not_offered(request.method, path)
    raise FhirError(404, [Issue("not-found", "there is nothing at this address; metadata says what is offered")])
