"""ITI-86 Remove Documents.

Spec: ITI TF-2 3.86 (Remove Metadata and Documents). A Document Administrator has a Document Repository remove documents for
good: `rmd:RemoveDocumentsRequest` as simple SOAP, answered by `rs:RegistryResponse`. Their metadata are removed by ITI-62.

Errors: XDSUnknownRepositoryId, XDSDocumentUniqueIdError, each with the uniqueId as its location; the other documents are removed
nevertheless (PartialSuccess). XDSRepositoryError for a message that its schema does not allow.
"""

from __future__ import annotations

import ssl
from collections.abc import Iterable

from xds.actors.domain import Domain
from xds.model.caller import Caller
from xds.model.errors import ErrorCode, RegistryError, RegistryResponse, response_to
from xds.model.retrieval import DocumentRequest
from xds.transactions.client import post_soap
from xds.transactions.transaction import Transaction, Wire
from xds.wire.ebrs import read_registry_response, write_registry_response
from xds.wire.removal import read_remove_documents, write_remove_documents
from xds.wire.soap import SoapReply, SoapRequest
from xds.wire.xml import RMD

TRANSACTION = Transaction(
    id="ITI-86",
    name="Remove Documents",
    responder="Document Repository",
    wire=Wire.SOAP,
    path="/services/repository",
    action="urn:ihe:iti:2017:RemoveDocuments",
    reply_action="urn:ihe:iti:2017:RemoveDocumentsResponse",
    body=f"{{{RMD}}}RemoveDocumentsRequest",
    wsdl="repository.wsdl",
    operation="DocumentRepository_RemoveDocuments",
)


def respond(request: SoapRequest, domain: Domain, caller: Caller) -> SoapReply:
    """Read, remove, answer."""
    requests, problems = read_remove_documents(request.body)
    if problems:
        response = response_to(RegistryError(ErrorCode.REPOSITORY_ERROR, problem) for problem in problems)
    else:
        response = domain.document_repository.remove(requests, caller)
    return SoapReply([write_registry_response(response)])


def send(
    requests: Iterable[DocumentRequest], *, endpoint: str, timeout: float = 60, ssl_context: ssl.SSLContext | None = None
) -> RegistryResponse:
    """Have a Document Repository remove documents. `timeout` in seconds.

    Errors: SoapFault; ConnectionError, TimeoutError when nobody answers.
    """
    answer = post_soap(endpoint, TRANSACTION, write_remove_documents(requests), timeout=timeout, ssl_context=ssl_context)
    return read_registry_response(answer.body)
