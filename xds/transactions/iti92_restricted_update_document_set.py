"""ITI-92 Restricted Update Document Set.

Spec: ITI TF-2 3.92 (Restricted Metadata Update). An Update Initiator sends new versions of DocumentEntries to an Update
Responder, here the Document Registry: `lcm:SubmitObjectsRequest` as simple SOAP, answered by `rs:RegistryResponse`. Whose
document it is, which one, and where it is kept cannot be changed.

Errors: XDSMetadataAnnotationError, XDSInvalidRequestException, XDSMetadataVersionError, XDSMetadataIdentifierError,
XDSObjectTypeError, UnmodifiableMetadataError, XDSPatientIDReconciliationError, XDSMetadataUpdateError, XDSRegistryMetadataError
(also for a message that its schema does not allow), XDSUnknownPatientId, XDSPatientIdDoesNotMatch,
XDSRegistryDuplicateUniqueIdInMessage, XDSDuplicateUniqueIdInRegistry, UnresolvedReferenceException.
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
    id="ITI-92",
    name="Restricted Update Document Set",
    responder="Document Registry",
    wire=Wire.SOAP,
    path="/services/registry",
    action="urn:ihe:iti:2018:RestrictedUpdateDocumentSet",
    reply_action="urn:ihe:iti:2018:RestrictedUpdateDocumentSetResponse",
    body=f"{{{LCM}}}SubmitObjectsRequest",
    wsdl="registry.wsdl",
    operation="UpdateResponder_RestrictedUpdateDocumentSet",
)


def respond(request: SoapRequest, domain: Domain, caller: Caller) -> SoapReply:
    """Read, update, answer. What is wrong with the form of the message is reported together with what its content breaks."""
    submission, problems = read_submission(request.body)
    found = [RegistryError(ErrorCode.REGISTRY_METADATA_ERROR, problem) for problem in problems]
    registry = domain.document_registry
    response = response_to(found) if submission is None else registry.restricted_update(submission, caller, found=found)
    return SoapReply([write_registry_response(response)])


def send(submission: Submission, *, endpoint: str, timeout: float = 60) -> RegistryResponse:
    """Update metadata of an Update Responder. `timeout` in seconds.

    Errors: SoapFault; ConnectionError, TimeoutError when nobody answers.
    """
    answer = post_soap(endpoint, TRANSACTION, write_submission(submission), timeout=timeout)
    return read_registry_response(answer.body)
