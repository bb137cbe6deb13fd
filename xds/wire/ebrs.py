"""ebRS 3.0 messages around registry objects: stored queries, registry responses, document retrieval.

Tolerated deviations, when reading:

| received | read as |
|---|---|
| blanks around a query id, a parameter value, a uniqueId, a homeCommunityId | dropped |
| a parameter name without `$` | the same name with it |
| a response status or severity in another namespace (`…:Success`) | what its last part says |
| an error code that is no code of the standard, in an answer | XDSRegistryError whose context begins with the code |

Spec: ITI TF-2 3.18.4.1, 3.42.4.2, 3.43.4; ITI TF-3 4.2.4.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from typing import Final, NamedTuple
from urllib.parse import quote, unquote

from lxml import etree

from xds.model.errors import ErrorCode, RegistryError, RegistryResponse, Severity, Status
from xds.model.fragments import Fragment, Reference
from xds.model.metadata import RegistryObject
from xds.model.retrieval import DocumentRequest
from xds.model.stored_queries import RawQuery
from xds.wire.ebrim import escape, parts_of, read_objects, start_tag
from xds.wire.pieces import Pieces, Streamed, around
from xds.wire.xml import QUERY, RIM, RS, XDSB, XOP, schema_errors

_SCHEMA: Final = "xdsb.xsd"
_BLANKS: Final = " \t\r\n"
#: An answer is handed over in pieces of about this size: fewer pieces cost less, larger ones hold more memory.
_PIECE: Final = 1 << 20
#: So many objects are put together at once, whatever they measure: finding that out costs as much.
_FEW: Final = 32

_STATUSES: Final = {status.rpartition(":")[2]: status for status in Status}
_SEVERITIES: Final = {severity.rpartition(":")[2]: severity for severity in Severity}
_CODES: Final[dict[str, ErrorCode]] = {code.value: code for code in ErrorCode}


# --- stored queries --------------------------------------------------------------------------------------------------


def read_query(element: etree._Element) -> tuple[RawQuery | None, list[str]]:
    """A `query:AdhocQueryRequest` as received, and what is wrong with its form, in words; None when it cannot be read.

    Spec: ITI TF-2 3.18.4.1.2.3.
    """
    problems = schema_errors(element, _SCHEMA)
    if problems:
        return None, problems
    option = element.find(f"{{{QUERY}}}ResponseOption")
    query = element.find(f"{{{RIM}}}AdhocQuery")
    if option is None or query is None:
        return None, [f"AdhocQueryRequest: element: must hold ResponseOption and AdhocQuery; received '{element.tag[:100]}'"]
    slots = tuple(
        (
            slot.get("name", "").strip(_BLANKS).removeprefix("$"),
            tuple([(value.text or "").strip(_BLANKS) for values in slot for value in values]),
        )
        for slot in query.iterchildren(f"{{{RIM}}}Slot")
    )
    home = query.get("home")
    return RawQuery(
        query.get("id", "").strip(_BLANKS), option.get("returnType", ""), slots, home.strip(_BLANKS) if home else None
    ), []


def write_query(query: RawQuery) -> bytes:
    """A `query:AdhocQueryRequest` that declares its own namespaces. Spec: ITI TF-2 3.18.4.1.2."""
    home = f' home="{escape(query.home)}"' if query.home else ""
    slots = "".join(
        f'<rim:Slot name="${escape(name)}"><rim:ValueList>'
        + "".join(f"<rim:Value>{escape(value)}</rim:Value>" for value in values)
        + "</rim:ValueList></rim:Slot>"
        for name, values in query.slots
    )
    return (
        f'<query:AdhocQueryRequest xmlns:query="{QUERY}" xmlns:rim="{RIM}">'
        f'<query:ResponseOption returnComposedObjects="true" returnType="{escape(query.return_type)}"/>'
        f'<rim:AdhocQuery id="{escape(query.id)}"{home}>{slots}</rim:AdhocQuery></query:AdhocQueryRequest>'
    ).encode()


def write_query_response(response: RegistryResponse, objects: Iterable[Fragment]) -> Pieces:
    """A `query:AdhocQueryResponse` with whole objects.

    One that is larger than about 1 MiB is made while it is sent, in pieces of about that size.

    Spec: ITI TF-2 3.18.4.1.3; ITI TF-3 4.2.4.2 (the errors stand before the objects, and the list of objects is always there).
    """
    opening = _query_response_opening(response)
    fragments = list(objects)
    if len(fragments) > _FEW:
        size = sum([len(start_tag(item.kind, item.status, item.home)) + item.size for item in fragments])
        if size >= _PIECE:
            return around(opening, Streamed(size, lambda: _joined(fragments)), _QUERY_RESPONSE_CLOSING)
    return [opening, *parts_of(fragments), _QUERY_RESPONSE_CLOSING]


def write_references_response(response: RegistryResponse, references: Iterable[Reference]) -> Pieces:
    """A `query:AdhocQueryResponse` with references. Spec: as `write_query_response`."""
    return [b"".join((_query_response_opening(response), *map(_object_ref, references), _QUERY_RESPONSE_CLOSING))]


def _query_response_opening(response: RegistryResponse) -> bytes:
    if not response.errors:
        return _opening_without_errors(response.status)
    return _QUERY_RESPONSE_OPENING.format(response.status, _error_list(response.errors)).encode()


@lru_cache
def _opening_without_errors(status: Status) -> bytes:
    return _QUERY_RESPONSE_OPENING.format(status, "").encode()


_NAMESPACES: Final = f'xmlns:query="{QUERY}" xmlns:rs="{RS}" xmlns:rim="{RIM}"'
_QUERY_RESPONSE_OPENING: Final = f'<query:AdhocQueryResponse {_NAMESPACES} status="{{}}">{{}}<rim:RegistryObjectList>'
_QUERY_RESPONSE_CLOSING: Final = b"</rim:RegistryObjectList></query:AdhocQueryResponse>"


def _joined(fragments: Sequence[Fragment]) -> Iterator[bytes]:
    """Whole elements, some of them at a time."""
    pending: list[bytes] = []
    size = 0
    for item in fragments:
        xml = item.xml
        pending += (start_tag(item.kind, item.status, item.home), xml)
        size += len(xml)
        if size >= _PIECE:
            yield b"".join(pending)
            pending.clear()
            size = 0
    yield b"".join(pending)


def _object_ref(item: Reference) -> bytes:
    home = item.home
    if home is None:
        return b'<rim:ObjectRef id="%b"/>' % item.id.encode()
    return f'<rim:ObjectRef id="{escape(item.id)}" home="{escape(home)}"/>'.encode()


def read_query_response(element: etree._Element) -> tuple[RegistryResponse, list[RegistryObject], list[str]]:
    """A `query:AdhocQueryResponse`: its outcome, its objects and the ids of its ObjectRefs."""
    objects_list = element.find(f"{{{RIM}}}RegistryObjectList")
    objects, references, _ = read_objects(() if objects_list is None else objects_list)
    return read_registry_response(element), objects, references


# --- registry responses ----------------------------------------------------------------------------------------------


def write_registry_response(response: RegistryResponse) -> bytes:
    """An `rs:RegistryResponse` that declares its own namespaces. Spec: ITI TF-3 4.2.4."""
    return _registry_response(response, f' xmlns:rs="{RS}"').encode()


def _registry_response(response: RegistryResponse, declarations: str = "") -> str:
    errors = _error_list(response.errors)
    return f'<rs:RegistryResponse{declarations} status="{response.status}">{errors}</rs:RegistryResponse>'


def _error_list(errors: Sequence[RegistryError]) -> str:
    if not errors:
        return ""
    worst = Severity.ERROR if any(error.severity is Severity.ERROR for error in errors) else Severity.WARNING
    return f'<rs:RegistryErrorList highestSeverity="{worst}">{"".join(map(_error, errors))}</rs:RegistryErrorList>'


def _error(error: RegistryError) -> str:
    location = f' location="{escape(error.location)}"' if error.location is not None else ""
    return (
        f'<rs:RegistryError errorCode="{error.code}" codeContext="{escape(error.context)}"'
        f' severity="{error.severity}"{location}/>'
    )


def read_registry_response(element: etree._Element) -> RegistryResponse:
    """The outcome that an `rs:RegistryResponse`, or any answer derived from it, states.

    A status that is none of the standard's is a failure and adds an error that says so.
    """
    errors = [
        _read_error(item)
        for found in element.iterchildren(f"{{{RS}}}RegistryErrorList")
        for item in found.iterchildren(f"{{{RS}}}RegistryError")
    ]
    received = element.get("status", "")
    status = _STATUSES.get(received.strip(_BLANKS).rpartition(":")[2])
    if status is None:
        name = etree.QName(element).localname
        context = f"{name}: status: must be Success, PartialSuccess or Failure; received '{received[:100]}'"
        errors.append(RegistryError(ErrorCode.REGISTRY_ERROR, context))
    return RegistryResponse(status or Status.FAILURE, tuple(errors))


def _read_error(element: etree._Element) -> RegistryError:
    name = element.get("errorCode", "").strip(_BLANKS)
    context = element.get("codeContext", "")
    code = _CODES.get(name)
    if code is None:
        code, context = ErrorCode.REGISTRY_ERROR, f"{name}: {context}"
    severity = _SEVERITIES.get(element.get("severity", "").rpartition(":")[2], Severity.ERROR)
    return RegistryError(code, context, severity, element.get("location"))


# --- documents -------------------------------------------------------------------------------------------------------


class SentDocument(NamedTuple):
    """One document of an answer that goes out: what it answers, and the MIME part that holds its octets (None: it has none).

    The new identifiers are those of a document that was made on demand.
    """

    request: DocumentRequest
    mime_type: str
    content_id: str | None
    new_repository_unique_id: str | None = None
    new_document_unique_id: str | None = None


class ReceivedDocument(NamedTuple):
    """One document of an answer: what it answers, and where its octets are.

    They are the MIME part `content_id`, or `inline` when they were in the XML as base64; both are None when neither was readable.
    The new identifiers are those of a document that was made on demand.
    """

    request: DocumentRequest
    mime_type: str
    content_id: str | None
    inline: bytes | None = None
    new_repository_unique_id: str | None = None
    new_document_unique_id: str | None = None


def read_retrieve_request(element: etree._Element) -> tuple[tuple[DocumentRequest, ...], list[str]]:
    """The documents that an `xds:RetrieveDocumentSetRequest` asks for, and what is wrong with its form, in words.

    Spec: ITI TF-2 3.43.4.1.2.
    """
    problems = schema_errors(element, _SCHEMA)
    if problems:
        return (), problems
    return tuple(read_document_request(item) for item in element.iterchildren(f"{{{XDSB}}}DocumentRequest")), []


def read_document_request(element: etree._Element) -> DocumentRequest:
    """One `xds:DocumentRequest`, or the same three elements of a DocumentResponse."""
    return DocumentRequest(
        _child_text(element, "RepositoryUniqueId") or "",
        _child_text(element, "DocumentUniqueId") or "",
        _child_text(element, "HomeCommunityId"),
    )


def _child_text(element: etree._Element, name: str) -> str | None:
    text: str | None = element.findtext(f"{{{XDSB}}}{name}")
    return None if text is None else text.strip(_BLANKS)


def document_request(request: DocumentRequest) -> str:
    """The three elements that name a document, in the order of the schema; the prefix `xds` must be bound around them."""
    home = f"<xds:HomeCommunityId>{escape(request.home)}</xds:HomeCommunityId>" if request.home is not None else ""
    return (
        f"{home}<xds:RepositoryUniqueId>{escape(request.repository_unique_id)}</xds:RepositoryUniqueId>"
        f"<xds:DocumentUniqueId>{escape(request.document_unique_id)}</xds:DocumentUniqueId>"
    )


def write_retrieve_request(requests: Iterable[DocumentRequest]) -> bytes:
    """An `xds:RetrieveDocumentSetRequest` that declares its own namespaces. Spec: ITI TF-2 3.43.4.1.2."""
    items = "".join(f"<xds:DocumentRequest>{document_request(item)}</xds:DocumentRequest>" for item in requests)
    return f'<xds:RetrieveDocumentSetRequest xmlns:xds="{XDSB}">{items}</xds:RetrieveDocumentSetRequest>'.encode()


def write_retrieve_response(response: RegistryResponse, documents: Iterable[SentDocument]) -> bytes:
    """An `xds:RetrieveDocumentSetResponse` with these documents.

    Spec: ITI TF-2 3.43.4.2.2, 3.43.4.2.3; XOP.
    """
    items = "".join(
        f"<xds:DocumentResponse>{document_request(item.request)}"
        f"{_optional('NewRepositoryUniqueId', item.new_repository_unique_id)}"
        f"{_optional('NewDocumentUniqueId', item.new_document_unique_id)}"
        f"<xds:mimeType>{escape(item.mime_type)}</xds:mimeType>"
        f"<xds:Document>{_include(item.content_id)}</xds:Document></xds:DocumentResponse>"
        for item in documents
    )
    declarations = f' xmlns:xds="{XDSB}" xmlns:rs="{RS}"'
    return (
        f"<xds:RetrieveDocumentSetResponse{declarations}>{_registry_response(response)}{items}</xds:RetrieveDocumentSetResponse>"
    ).encode()


def _optional(name: str, value: str | None) -> str:
    return "" if value is None else f"<xds:{name}>{escape(value)}</xds:{name}>"


def _include(content_id: str | None) -> str:
    if content_id is None:
        return ""
    return f'<xop:Include xmlns:xop="{XOP}" href="cid:{escape(quote(content_id, safe="@.!*$+-_="))}"/>'


def read_retrieve_response(element: etree._Element) -> tuple[RegistryResponse, tuple[ReceivedDocument, ...]]:
    """An `xds:RetrieveDocumentSetResponse`: its outcome, and the documents that came."""
    outcome = element.find(f"{{{RS}}}RegistryResponse")
    response = read_registry_response(element if outcome is None else outcome)
    return response, tuple(_read_document(item) for item in element.iterchildren(f"{{{XDSB}}}DocumentResponse"))


def _read_document(element: etree._Element) -> ReceivedDocument:
    content_id, inline = None, None
    document = element.find(f"{{{XDSB}}}Document")
    if document is not None:
        content_id, inline = read_content(document)
    return ReceivedDocument(
        read_document_request(element),
        _child_text(element, "mimeType") or "",
        content_id,
        inline,
        _child_text(element, "NewRepositoryUniqueId"),
        _child_text(element, "NewDocumentUniqueId"),
    )


def read_content(element: etree._Element) -> tuple[str | None, bytes | None]:
    """Where the octets of an `xds:Document` are: (content id of its `xop:Include`, None) or (None, what stands inside as base64).

    (None, None) when it is neither. Spec: XOP 1.0 section 2.1; RFC 2392 (`cid:` URLs are percent-encoded).
    """
    include = element.find(f"{{{XOP}}}Include")
    if include is not None:
        scheme, _, reference = include.get("href", "").strip(_BLANKS).partition(":")
        return (unquote(reference), None) if scheme.lower() == "cid" else (None, None)
    try:
        return None, base64.b64decode("".join((element.text or "").split()), validate=True)
    except binascii.Error:
        return None, None
