"""ITI-43 Retrieve Document Set.

Spec: ITI TF-2 3.43. A Document Consumer asks a Document Repository for documents: `xds:RetrieveDocumentSetRequest`, answered by
`xds:RetrieveDocumentSetResponse` as MTOM. The document of an on-demand entry is made for the answer, under a uniqueId of its own.

Errors: XDSUnknownRepositoryId, XDSDocumentUniqueIdError (also for a document that the caller may not see), XDSRepositoryError.
"""

from __future__ import annotations

import ssl
from collections.abc import Sequence
from secrets import token_hex

from xds.actors.domain import Domain
from xds.model.caller import Caller
from xds.model.errors import ErrorCode, RegistryError, RegistryResponse, Status
from xds.model.retrieval import DocumentRequest, RetrieveAnswer
from xds.transactions.client import SoapAnswer, post_soap
from xds.transactions.transaction import Transaction, Wire
from xds.wire.ebrs import SentDocument, read_retrieve_request, write_retrieve_request, write_retrieve_response
from xds.wire.soap import SentPart, SoapReply, SoapRequest
from xds.wire.xml import XDSB

TRANSACTION = Transaction(
    id="ITI-43",
    name="Retrieve Document Set",
    responder="Document Repository",
    wire=Wire.SOAP,
    path="/services/repository",
    action="urn:ihe:iti:2007:RetrieveDocumentSet",
    reply_action="urn:ihe:iti:2007:RetrieveDocumentSetResponse",
    body=f"{{{XDSB}}}RetrieveDocumentSetRequest",
    mtom=True,
    wsdl="repository.wsdl",
    operation="DocumentRepository_RetrieveDocumentSet",
    safe=True,
)


def respond(request: SoapRequest, domain: Domain, caller: Caller) -> SoapReply:
    """Read, retrieve, answer: the envelope with the outcome, then each document as a MIME part that is read while it is sent."""
    requests, problems = read_retrieve_request(request.body)
    if problems:
        errors = tuple(RegistryError(ErrorCode.REPOSITORY_ERROR, problem) for problem in problems)
        return SoapReply([write_retrieve_response(RegistryResponse(Status.FAILURE, errors), ())])
    return reply_with(domain.document_repository.retrieve(requests, caller))


def reply_with(answer: RetrieveAnswer) -> SoapReply:
    """The reply that carries an answer."""
    message = token_hex(12)
    parts = [
        SentPart(f"{number}.{message}@xds", item.mime_type, item.size, item.chunks)
        for number, item in enumerate(answer.documents, 1)
    ]
    documents = [
        SentDocument(item.request, item.mime_type, part.content_id, item.new_repository_unique_id, item.new_document_unique_id)
        for item, part in zip(answer.documents, parts, strict=True)
    ]
    return SoapReply([write_retrieve_response(answer.response, documents)], parts, answer.finished)


def send(
    requests: Sequence[DocumentRequest],
    *,
    endpoint: str,
    timeout: float = 60,
    ssl_context: ssl.SSLContext | None = None,
) -> SoapAnswer:
    """Ask a Document Repository for documents. `timeout` in seconds.

    `ebrs.read_retrieve_response` reads the answer's body; its content ids name the answer's parts, which the caller discards.

    Errors: SoapFault; ConnectionError when nobody gives a usable answer.
    """
    body = write_retrieve_request(requests)
    return post_soap(endpoint, TRANSACTION, body, timeout=timeout, ssl_context=ssl_context)
