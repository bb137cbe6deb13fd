"""ITI-62 Remove Metadata.

Spec: ITI TF-2 3.62 (Remove Metadata and Documents). A Document Administrator has a Document Registry remove objects for good:
`lcm:RemoveObjectsRequest` as simple SOAP, answered by `rs:RegistryResponse`. All of them are removed, or none.

Errors: UnresolvedReferenceException, ReferencesExistException, XDSUnreferencedObjectException, XDSRegistryError (a message that
its schema or the transaction does not allow).
"""

from __future__ import annotations

import ssl
from collections.abc import Iterable

from xds.actors.domain import Domain
from xds.model.caller import Caller
from xds.model.errors import ErrorCode, RegistryError, RegistryResponse, response_to
from xds.transactions.client import post_soap
from xds.transactions.transaction import Transaction, Wire
from xds.wire.ebrs import read_registry_response, write_registry_response
from xds.wire.removal import read_remove_objects, write_remove_objects
from xds.wire.soap import SoapReply, SoapRequest
from xds.wire.xml import LCM

TRANSACTION = Transaction(
    id="ITI-62",
    name="Remove Metadata",
    responder="Document Registry",
    wire=Wire.SOAP,
    path="/services/registry",
    action="urn:ihe:iti:2010:DeleteDocumentSet",
    reply_action="urn:ihe:iti:2010:DeleteDocumentSetResponse",
    body=f"{{{LCM}}}RemoveObjectsRequest",
    wsdl="registry.wsdl",
    operation="DocumentRegistry_DeleteDocumentSet",
)


def respond(request: SoapRequest, domain: Domain, caller: Caller) -> SoapReply:
    """Read, remove, answer."""
    ids, problems = read_remove_objects(request.body)
    if problems:
        response = response_to(RegistryError(ErrorCode.REGISTRY_ERROR, problem) for problem in problems)
    else:
        response = domain.document_registry.remove(ids, caller)
    return SoapReply([write_registry_response(response)])


def send(
    ids: Iterable[str], *, endpoint: str, timeout: float = 60, ssl_context: ssl.SSLContext | None = None
) -> RegistryResponse:
    """Have a Document Registry remove the objects with these entryUUIDs. `timeout` in seconds.

    Errors: SoapFault; ConnectionError, TimeoutError when nobody answers.
    """
    answer = post_soap(endpoint, TRANSACTION, write_remove_objects(ids), timeout=timeout, ssl_context=ssl_context)
    return read_registry_response(answer.body)
