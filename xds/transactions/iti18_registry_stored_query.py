"""ITI-18 Registry Stored Query.

Spec: ITI TF-2 3.18. A Document Consumer asks a Document Registry for metadata: `query:AdhocQueryRequest` as simple SOAP, answered
by `query:AdhocQueryResponse` with whole objects (LeafClass) or their ids (ObjectRef).

Errors: XDSUnknownStoredQuery, XDSStoredQueryMissingParam, XDSStoredQueryParamNumber, XDSTooManyResults,
XDSResultNotSinglePatient, XDSRegistryError (a message that its schema does not allow, a malformed value).
"""

from __future__ import annotations

from dataclasses import dataclass

from xds.actors.domain import Domain
from xds.model.caller import Caller
from xds.model.errors import ErrorCode, RegistryError, RegistryResponse, response_to
from xds.model.metadata import RegistryObject
from xds.model.stored_queries import RawQuery
from xds.transactions.client import post_soap
from xds.transactions.transaction import Transaction, Wire
from xds.wire.ebrs import read_query, read_query_response, write_query, write_query_response, write_references_response
from xds.wire.soap import SoapReply, SoapRequest
from xds.wire.xml import QUERY

TRANSACTION = Transaction(
    id="ITI-18",
    name="Registry Stored Query",
    responder="Document Registry",
    wire=Wire.SOAP,
    path="/services/registry",
    action="urn:ihe:iti:2007:RegistryStoredQuery",
    reply_action="urn:ihe:iti:2007:RegistryStoredQueryResponse",
    body=f"{{{QUERY}}}AdhocQueryRequest",
    wsdl="registry.wsdl",
    operation="DocumentRegistry_RegistryStoredQuery",
    safe=True,
    takes_turns=True,
)


@dataclass(frozen=True, slots=True)
class QueryResult:
    """What a partner answered: whole objects, or ids of objects when references were asked for."""

    response: RegistryResponse
    objects: tuple[RegistryObject, ...]
    references: tuple[str, ...]


def respond(request: SoapRequest, domain: Domain, caller: Caller) -> SoapReply:
    """Read, query, answer."""
    query, problems = read_query(request.body)
    if query is None or problems:
        refused = response_to(RegistryError(ErrorCode.REGISTRY_ERROR, problem) for problem in problems)
        return SoapReply(write_query_response(refused, ()))
    answer = domain.document_registry.query(query, caller)
    if answer.as_refs:
        return SoapReply(write_references_response(answer.response, answer.references))
    return SoapReply(write_query_response(answer.response, answer.objects))


def send(query: RawQuery, *, endpoint: str, timeout: float = 60) -> QueryResult:
    """Ask a Document Registry. `timeout` in seconds.

    Errors: SoapFault; ConnectionError, TimeoutError when nobody answers.
    """
    answer = post_soap(endpoint, TRANSACTION, write_query(query), timeout=timeout)
    response, objects, references = read_query_response(answer.body)
    return QueryResult(response, tuple(objects), tuple(references))
