"""RAD-69 Retrieve Imaging Document Set.

Spec: RAD TF-2 4.69. An Imaging Document Consumer asks an Imaging Document Source for DICOM instances:
`iherad:RetrieveImagingDocumentSetRequest`, answered by `xds:RetrieveDocumentSetResponse` as MTOM, each instance as a Part 10
file.

Errors: XDSUnknownRepositoryId; XDSDocumentUniqueIdError for an instance that is not there, not in that series or study, or not
for the caller; XDSRepositoryError for empty identifiers and for transfer syntaxes that are not possible.
"""

from __future__ import annotations

import ssl
from collections.abc import Sequence

from xds.actors.domain import Domain
from xds.model.caller import Caller
from xds.model.errors import ErrorCode, RegistryError, RegistryResponse, Status
from xds.model.retrieval import ImagingDocumentRequest
from xds.transactions.client import SoapAnswer, post_soap
from xds.transactions.iti43_retrieve_document_set import reply_with
from xds.transactions.transaction import Transaction, Wire
from xds.wire.ebrs import write_retrieve_response
from xds.wire.soap import SoapReply, SoapRequest
from xds.wire.xdsi import read_imaging_retrieve_request, write_imaging_retrieve_request
from xds.wire.xml import IHERAD

TRANSACTION = Transaction(
    id="RAD-69",
    name="Retrieve Imaging Document Set",
    responder="Imaging Document Source",
    wire=Wire.SOAP,
    path="/services/imaging-source",
    action="urn:ihe:rad:2009:RetrieveImagingDocumentSet",
    reply_action="urn:ihe:iti:2007:RetrieveDocumentSetResponse",
    body=f"{{{IHERAD}}}RetrieveImagingDocumentSetRequest",
    mtom=True,
    wsdl="imaging-source.wsdl",
    operation="ImagingDocumentSource_RetrieveImagingDocumentSet",
    safe=True,
)


def respond(request: SoapRequest, domain: Domain, caller: Caller) -> SoapReply:
    """Read, retrieve, answer: the envelope with the outcome, then each instance as a MIME part that is read while it is sent."""
    requests, transfer_syntaxes, problems = read_imaging_retrieve_request(request.body)
    if problems:
        errors = tuple(RegistryError(ErrorCode.REPOSITORY_ERROR, problem) for problem in problems)
        return SoapReply([write_retrieve_response(RegistryResponse(Status.FAILURE, errors), ())])
    return reply_with(domain.imaging_document_source.document_sets.retrieve(requests, transfer_syntaxes, caller))


def send(
    requests: Sequence[ImagingDocumentRequest],
    transfer_syntaxes: Sequence[str],
    *,
    endpoint: str,
    timeout: float = 60,
    ssl_context: ssl.SSLContext | None = None,
) -> SoapAnswer:
    """Ask an Imaging Document Source for instances in one of these transfer syntaxes. `timeout` in seconds.

    `ebrs.read_retrieve_response` reads the answer's body; its content ids name the answer's parts, which the caller discards.

    Errors: SoapFault; ConnectionError when nobody gives a usable answer.
    """
    body = write_imaging_retrieve_request(requests, transfer_syntaxes)
    return post_soap(endpoint, TRANSACTION, body, timeout=timeout, ssl_context=ssl_context)
