"""ITI-61 Register On-Demand Document Entry.

Spec: ITI TF-2 3.61. An On-Demand Document Source registers entries whose documents are made when they are retrieved (ITI-43):
`lcm:SubmitObjectsRequest` as simple SOAP, answered by `rs:RegistryResponse`.

Errors: XDSRegistryMetadataError (also for a message that its schema does not allow, without an entry, for a stable entry, for
creationTime, hash or size, and for the uniqueId of a stable entry), and the others of ITI-42.
"""

from __future__ import annotations

from xds.actors.domain import Domain
from xds.model.caller import Caller
from xds.model.errors import ErrorCode, RegistryError, RegistryResponse, response_to
from xds.model.metadata import Submission
from xds.transactions.client import post_soap
from xds.transactions.transaction import Transaction, Wire
from xds.wire.ebrim import read_submission, write_submission
from xds.wire.ebrs import read_registry_response, write_registry_response
from xds.wire.soap import SoapReply, SoapRequest
from xds.wire.xml import LCM

TRANSACTION = Transaction(
    id="ITI-61",
    name="Register On-Demand Document Entry",
    responder="Document Registry",
    wire=Wire.SOAP,
    path="/services/registry",
    action="urn:ihe:iti:2010:RegisterOnDemandDocumentEntry",
    reply_action="urn:ihe:iti:2010:RegisterOnDemandDocumentResponse",
    body=f"{{{LCM}}}SubmitObjectsRequest",
    wsdl="registry.wsdl",
    operation="DocumentRegistry_RegisterOnDemandDocumentEntry",
)


def respond(request: SoapRequest, domain: Domain, caller: Caller) -> SoapReply:
    """Read, register, answer. What is wrong with the form of the message is reported together with what its content breaks."""
    submission, problems = read_submission(request.body)
    found = [RegistryError(ErrorCode.REGISTRY_METADATA_ERROR, problem) for problem in problems]
    registry = domain.document_registry
    response = response_to(found) if submission is None else registry.register(submission, caller, found=found, on_demand=True)
    return SoapReply([write_registry_response(response)])


def send(submission: Submission, *, endpoint: str, timeout: float = 60) -> RegistryResponse:
    """Register a submission of on-demand entries with a Document Registry. `timeout` in seconds.

    Errors: SoapFault; ConnectionError, TimeoutError when nobody answers.
    """
    answer = post_soap(endpoint, TRANSACTION, write_submission(submission), timeout=timeout)
    return read_registry_response(answer.body)
