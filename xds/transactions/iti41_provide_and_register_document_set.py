"""ITI-41 Provide and Register Document Set-b, and RAD-68, which is the same message with a manifest of images in it.

Spec: ITI TF-2 3.41; RAD TF-2 4.68. A Document Source (or Imaging Document Source) sends documents with their metadata to a
Document Repository: `xds:ProvideAndRegisterDocumentSetRequest` as MTOM, answered by `rs:RegistryResponse`.

Errors: XDSRepositoryMetadataError, XDSMissingDocument, XDSMissingDocumentMetadata, XDSRepositoryDuplicateUniqueIdInMessage,
XDSNonIdenticalHash, XDSNonIdenticalSize, XDSRepositoryError, XDSRepositoryOutOfResources, XDSRegistryNotAvailable, and every
error and warning of the Registry.

Tolerated: documents inline as base64 (up to a limit), white space around `xop:Include` and the ids of documents, attributes of
other namespaces, MIME parts that nothing refers to.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from secrets import token_hex
from typing import TYPE_CHECKING

from lxml import etree

from xds.actors.domain import Domain
from xds.actors.provided_document import ProvidedDocument
from xds.model.caller import Caller
from xds.model.errors import ErrorCode, RegistryError, RegistryResponse, response_to
from xds.model.metadata import Submission
from xds.ports import Staging
from xds.transactions.client import post_soap
from xds.transactions.transaction import Transaction, Wire
from xds.wire.ebrim import escape, read_submission, write_submission
from xds.wire.ebrs import read_content, read_registry_response, write_registry_response
from xds.wire.mtom import plain_content_id
from xds.wire.soap import ReceivedPart, SentPart, SoapReply, SoapRequest
from xds.wire.xml import LCM, XDSB, XOP

if TYPE_CHECKING:
    from xds.actors.document_repository import DocumentRepository

TRANSACTION = Transaction(
    id="ITI-41",
    name="Provide and Register Document Set-b",
    responder="Document Repository",
    wire=Wire.SOAP,
    path="/services/repository",
    action="urn:ihe:iti:2007:ProvideAndRegisterDocumentSet-b",
    reply_action="urn:ihe:iti:2007:ProvideAndRegisterDocumentSet-bResponse",
    body=f"{{{XDSB}}}ProvideAndRegisterDocumentSetRequest",
    mtom=True,
    wsdl="repository.wsdl",
    operation="DocumentRepository_ProvideAndRegisterDocumentSet-b",
)

#: Characters of base64 that one message may hold in place of MIME parts: they stand in memory several times over.
INLINE_CHARACTERS = 10_000_000

#: Documents that one message may hold: each of them is an open file until the message was answered.
MAX_DOCUMENTS = 2000

_SUBMIT_OBJECTS_REQUEST = f"{{{LCM}}}SubmitObjectsRequest"
_DOCUMENT = f"{{{XDSB}}}Document"
_INCLUDE = f"{{{XOP}}}Include"


@dataclass(frozen=True, slots=True)
class DocumentToSend:
    """One document of a message that goes out: `id` is that of its DocumentEntry, exactly `size` octets come from `chunks()`."""

    id: str
    content_type: str
    size: int
    chunks: Callable[[], Iterator[bytes]]


def respond(request: SoapRequest, domain: Domain, caller: Caller) -> SoapReply:
    """Read, provide, answer. Whatever is wrong with the form of the message is reported together with what its content breaks."""
    repository = domain.document_repository
    inline: list[Staging] = []
    try:
        provided, errors = _take_documents(request, repository, inline)
        submission, problems = _read_submission(request.body)
        errors += (RegistryError(ErrorCode.REPOSITORY_METADATA_ERROR, problem) for problem in problems)
        response = repository.provide(submission, provided, caller, errors) if submission is not None else response_to(errors)
    finally:
        for staging in inline:
            staging.discard()
    return SoapReply([write_registry_response(response)])


def send(
    submission: Submission,
    documents: Sequence[DocumentToSend],
    *,
    endpoint: str,
    timeout: float = 60,
    ssl_context: ssl.SSLContext | None = None,
) -> RegistryResponse:
    """Send a submission with its documents to a Document Repository. `timeout` in seconds.

    Errors: SoapFault; ConnectionError when nobody gives a usable answer.
    """
    parts = [SentPart(f"{token_hex(12)}@xds", item.content_type, item.size, item.chunks) for item in documents]
    body = write_request(submission, [(item.id, part.content_id) for item, part in zip(documents, parts, strict=True)])
    answer = post_soap(endpoint, TRANSACTION, body, parts, timeout=timeout, ssl_context=ssl_context)
    answer.discard()
    return read_registry_response(answer.body)


def write_request(submission: Submission, documents: Sequence[tuple[str, str]]) -> list[bytes]:
    """The body of a request; each document is (id of its DocumentEntry, Content-ID of its MIME part)."""
    items = "".join(
        f'<xds:Document id="{escape(name)}"><xop:Include xmlns:xop="{XOP}" href="cid:{escape(content_id)}"/></xds:Document>'
        for name, content_id in documents
    )
    return [
        f'<xds:ProvideAndRegisterDocumentSetRequest xmlns:xds="{XDSB}">'.encode(),
        write_submission(submission),
        f"{items}</xds:ProvideAndRegisterDocumentSetRequest>".encode(),
    ]


def _read_submission(body: etree._Element) -> tuple[Submission | None, list[str]]:
    children = [child for child in body if isinstance(child.tag, str)]
    problems = [
        f"ProvideAndRegisterDocumentSetRequest: child: must be xds:Document after lcm:SubmitObjectsRequest; received '{tag}'"
        for tag in dict.fromkeys(child.tag[:100] for child in children[1:] if child.tag != _DOCUMENT)
    ]
    if not children or children[0].tag != _SUBMIT_OBJECTS_REQUEST:
        problems.append("ProvideAndRegisterDocumentSetRequest: first child: must be lcm:SubmitObjectsRequest; received none")
        return None, problems
    submission, more = read_submission(children[0])
    return submission, problems + more


def _take_documents(
    request: SoapRequest, repository: DocumentRepository, inline: list[Staging]
) -> tuple[Mapping[str, ProvidedDocument], list[RegistryError]]:
    """Every `xds:Document` by its id. What had to be staged here is added to `inline`."""
    provided: dict[str, ProvidedDocument] = {}
    errors: list[RegistryError] = []
    allowance = INLINE_CHARACTERS
    for number, element in enumerate(request.body.iterchildren(_DOCUMENT), 1):
        if number > MAX_DOCUMENTS:
            errors.append(_error(f"documents: at most {MAX_DOCUMENTS} may stand in one message; received more"))
            break
        # Of type xs:anyURI, as the id of the DocumentEntry is.
        name = element.get("id", "").strip()
        label = f"document {name}" if name else f"document number {number}"
        allowance -= len(element.text or "")
        content = _content(element, request.parts, allowance)
        if not name:
            errors.append(_error(f"{label}: id: must be the id of a DocumentEntry; received none"))
        elif name in provided:
            errors.append(_error(f"{label}: id: must be unique in the message; received it twice"))
        elif isinstance(content, str):
            errors.append(_error(f"{label}: {content}"))
        if not name or name in provided:
            continue
        if isinstance(content, ReceivedPart):
            provided[name] = ProvidedDocument(content.staging, content.content_type)
        elif isinstance(content, bytes):
            inline.append(repository.stage())
            inline[-1].write(content)
            provided[name] = ProvidedDocument(inline[-1])
    return provided, errors


def _content(element: etree._Element, parts: Mapping[str, ReceivedPart], allowance: int) -> ReceivedPart | bytes | str:
    """What a Document holds: a MIME part, octets from base64, or in words why it holds nothing. Spec: XOP 1.0 section 2.1."""
    children = [child.tag for child in element]
    text = (element.text or "") + "".join(child.tail or "" for child in element)
    if children and (children != [_INCLUDE] or text.strip()):
        return f"content: must be one xop:Include or base64; received {len(children)} elements"
    if allowance < 0:
        return f"content: must be a MIME part when base64 in the message exceeds {INLINE_CHARACTERS} characters"
    content_id, octets = read_content(element)
    if content_id is not None:
        # A Content-ID with percent signs of its own was read as one that is encoded: so is what names it.
        named = parts.get(content_id) or parts.get(plain_content_id(content_id))
        return named or "xop:Include: href: must name a MIME part of the message; there is no such part"
    if octets is None:
        return "content: must be a xop:Include with a cid: URL, or base64; received neither"
    return octets


def _error(context: str) -> RegistryError:
    return RegistryError(ErrorCode.REPOSITORY_ERROR, context)
