"""ITI-42 Register Document Set-b.

Spec: ITI TF-2 3.42. A Document Repository registers metadata with a Document Registry: `lcm:SubmitObjectsRequest` as simple SOAP,
answered by `rs:RegistryResponse`.

Errors: XDSRegistryMetadataError (also for a message that its schema does not allow), XDSUnknownPatientId,
XDSPatientIdDoesNotMatch, XDSRegistryDuplicateUniqueIdInMessage, XDSDuplicateUniqueIdInRegistry, XDSNonIdenticalHash,
XDSNonIdenticalSize, XDSRegistryDeprecatedDocumentError, UnresolvedReferenceException.
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
    id="ITI-42",
    name="Register Document Set-b",
    responder="Document Registry",
    wire=Wire.SOAP,
    path="/services/registry",
    action="urn:ihe:iti:2007:RegisterDocumentSet-b",
    reply_action="urn:ihe:iti:2007:RegisterDocumentSet-bResponse",
    body=f"{{{LCM}}}SubmitObjectsRequest",
    wsdl="registry.wsdl",
    operation="DocumentRegistry_RegisterDocumentSet-b",
    takes_turns=True,
)


def respond(request: SoapRequest, domain: Domain, caller: Caller) -> SoapReply:
    """Read, register, answer. What is wrong with the form of the message is reported together with what its content breaks."""
    submission, problems = read_submission(request.body)
    found = [RegistryError(ErrorCode.REGISTRY_METADATA_ERROR, problem) for problem in problems]
    response = response_to(found) if submission is None else domain.document_registry.register(submission, caller, found=found)
    return SoapReply([write_registry_response(response)])


def send(submission: Submission, *, endpoint: str, timeout: float = 60) -> RegistryResponse:
    """Register a submission with a Document Registry. `timeout` in seconds.

    Errors: SoapFault; ConnectionError, TimeoutError when nobody answers.
    """
    answer = post_soap(endpoint, TRANSACTION, write_submission(submission), timeout=timeout)
    return read_registry_response(answer.body)
