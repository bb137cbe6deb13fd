"""ITI-51 Multi-Patient Stored Query.

Spec: ITI TF-2 3.51. A Document Consumer asks a Document Registry about several patients, or about all of them: the messages are
those of ITI-18, the queries FindDocumentsForMultiplePatients and FindFoldersForMultiplePatients.

Errors: XDSUnknownStoredQuery (also for a query of ITI-18), XDSStoredQueryMissingParam, XDSStoredQueryParamNumber,
XDSTooManyResults, XDSRegistryError (a message that its schema does not allow, a malformed value).
"""

from __future__ import annotations

import ssl

from xds.actors.domain import Domain
from xds.model.caller import Caller
from xds.model.errors import ErrorCode, RegistryError, response_to
from xds.model.stored_queries import RawQuery
from xds.transactions.client import post_soap
from xds.transactions.iti18_registry_stored_query import QueryResult
from xds.transactions.transaction import Transaction, Wire
from xds.wire.ebrs import read_query, read_query_response, write_query, write_query_response, write_references_response
from xds.wire.soap import SoapReply, SoapRequest
from xds.wire.xml import QUERY

TRANSACTION = Transaction(
    id="ITI-51",
    name="Multi-Patient Stored Query",
    responder="Document Registry",
    wire=Wire.SOAP,
    path="/services/registry",
    action="urn:ihe:iti:2009:MultiPatientStoredQuery",
    reply_action="urn:ihe:iti:2009:MultiPatientStoredQueryResponse",
    body=f"{{{QUERY}}}AdhocQueryRequest",
    wsdl="registry.wsdl",
    operation="DocumentRegistry_MultiPatientStoredQuery",
    safe=True,
    takes_turns=True,
)


def respond(request: SoapRequest, domain: Domain, caller: Caller) -> SoapReply:
    """Read, query, answer."""
    query, problems = read_query(request.body)
    if query is None or problems:
        refused = response_to(RegistryError(ErrorCode.REGISTRY_ERROR, problem) for problem in problems)
        return SoapReply(write_query_response(refused, ()))
    answer = domain.document_registry.query(query, caller, across_patients=True)
    if answer.as_refs:
        return SoapReply(write_references_response(answer.response, answer.references))
    return SoapReply(write_query_response(answer.response, answer.objects))


def send(query: RawQuery, *, endpoint: str, timeout: float = 60, ssl_context: ssl.SSLContext | None = None) -> QueryResult:
    """Ask a Document Registry about several patients. `timeout` in seconds.

    Errors: SoapFault; ConnectionError, TimeoutError when nobody answers.
    """
    answer = post_soap(endpoint, TRANSACTION, write_query(query), timeout=timeout, ssl_context=ssl_context)
    response, objects, references = read_query_response(answer.body)
    return QueryResult(response, tuple(objects), tuple(references))
