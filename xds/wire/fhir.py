"""FHIR over HTTP: formats and their negotiation, bodies, OperationOutcomes, replies.

Tolerated: `_format=application/fhir+xml` whose plus became a space; a body without Content-Type; the media types of JSON and XML
that are not FHIR's own.

Spec: FHIR R4 3.1.0 (HTTP), 3.1.0.1.10 (content negotiation), 2.28 (OperationOutcome); ITI TF-2 Appendix Z.6.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Final

from xds.wire.dicomweb import MediaType, read_media_type
from xds.wire.fhir_json import JsonError, read_json, write_json
from xds.wire.fhir_structure import MAX_ISSUES, RESOURCES, Element, Issue, checked
from xds.wire.fhir_xml import read_xml, write_xml
from xds.wire.http import HttpReply, HttpRequest
from xds.wire.xml import XmlError

#: Octets of one resource that is sent here.
MAX_BODY: Final = 1 << 20

_REQUEST_ID = re.compile(r"[A-Za-z0-9._:/+=-]{1,128}\Z")
_VERSIONS: Final = ("", "4.0", "4.0.1")


class Format(Enum):
    """How a resource is written."""

    JSON = "json"
    XML = "xml"


JSON: Final = "application/fhir+json"
XML: Final = "application/fhir+xml"
_MEDIA_TYPES: Final[Mapping[str, Format]] = {
    JSON: Format.JSON,
    "application/json": Format.JSON,
    "text/json": Format.JSON,
    XML: Format.XML,
    "application/xml": Format.XML,
    "text/xml": Format.XML,
}
_SHORT: Final = {"json": JSON, "xml": XML}


class FhirError(Exception):
    """The request is refused with this HTTP status and these issues."""

    def __init__(self, status: int, issues: Sequence[Issue], headers: Mapping[str, str] | None = None) -> None:
        super().__init__("; ".join(issue.diagnostics for issue in issues))
        self.status = status
        self.issues = tuple(issues)
        self.headers = dict(headers or {})


@dataclass(frozen=True, slots=True)
class Accepted:
    """What the client wants: a format, under which media type, indented or not."""

    format: Format = Format.JSON
    media_type: str = JSON
    pretty: bool = False


def accepted(request: HttpRequest) -> Accepted:
    """What `_format`, or else the Accept header, asks for.

    Errors: FhirError 406. Spec: PDQm 2:3.78.4.1.3 case 5.
    """
    pretty = request.query.get("_pretty", ("",))[-1] == "true"
    asked = request.query.get("_format", ("",))[-1].strip()
    if asked:
        kind = read_media_type(asked.replace(" ", "+"))
        name = _SHORT.get(kind.name, kind.name)
        if name in _MEDIA_TYPES and _is_our_version(kind):
            return Accepted(_MEDIA_TYPES[name], name, pretty)
        raise _not_acceptable("_format")
    text = request.headers.get("accept", "").strip()
    if not text:
        return Accepted(pretty=pretty)
    ranges = [read_media_type(part) for part in text.split(",")[:64]]
    best = _best([item for item in ranges if _is_our_version(item)])
    if best is None:
        raise _not_acceptable("Accept")
    return Accepted(_MEDIA_TYPES[best], best, pretty)


def _best(ranges: Sequence[MediaType]) -> str | None:
    """The media type with the highest quality; among equals the one whose range comes first."""
    ranked = []
    for number, name in enumerate(_MEDIA_TYPES):
        exact, partial, everything = (
            next(((item.quality, -place) for place, item in enumerate(ranges) if item.name == pattern), None)
            for pattern in (name, name.partition("/")[0] + "/*", "*/*")
        )
        quality, place = exact or partial or everything or (0.0, 0)
        if quality > 0:
            ranked.append((quality, place, -number, name))
    return max(ranked)[3] if ranked else None


def _is_our_version(kind: MediaType) -> bool:
    return kind.parameters.get("fhirversion", "") in _VERSIONS


def _not_acceptable(where: str) -> FhirError:
    text = f"{where} asks for a format that is not produced here: {JSON} and {XML} of FHIR 4.0 are"
    return FhirError(406, [Issue("not-supported", text)])


def read_resource(request: HttpRequest, kinds: Iterable[str]) -> Element:
    """The resource in the body of a request, of one of these kinds, checked and without what is empty.

    Errors: FhirError 400, 413, 415 with everything that was found.
    """
    encoding = request.headers.get("content-encoding", "identity").strip().lower()
    if encoding != "identity":
        raise FhirError(415, [Issue("not-supported", f"a body is sent as it is, not as {encoding[:40]!r}")])
    data = request.stream.read(MAX_BODY + 1)
    if len(data) > MAX_BODY:
        raise FhirError(413, [Issue("too-long", f"a resource may have at most {MAX_BODY} octets")])
    return read_bytes(data, request.headers.get("content-type", ""), kinds)


def read_bytes(data: bytes, content_type: str, kinds: Iterable[str]) -> Element:
    """As `read_resource`, of octets that are at hand."""
    issues: list[Issue] = []
    try:
        if _body_format(data, content_type) is Format.JSON:
            resource = read_json(data)
        else:
            resource, issues = read_xml(data)
    except (JsonError, XmlError) as error:
        raise FhirError(400, [Issue("structure", str(error))]) from None
    wanted = tuple(kinds)
    kind = resource.get("resourceType")
    if kind not in wanted or kind not in RESOURCES:
        text = f"the resourceType must be {' or '.join(wanted)}, not {str(kind)[:40]!r}"
        raise FhirError(400, [Issue("invalid", text, "resourceType")])
    found, more = checked(resource, kind)
    if issues or more:
        raise FhirError(400, [*issues, *more][:MAX_ISSUES])
    return {"resourceType": kind, **found}


def _body_format(data: bytes, content_type: str) -> Format:
    kind = read_media_type(content_type)
    if not kind.name:
        return Format.XML if data.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"<") else Format.JSON
    if kind.name not in _MEDIA_TYPES or not _is_our_version(kind):
        text = f"the body is {kind.name[:60]!r}; {JSON} and {XML} of FHIR 4.0 are read"
        raise FhirError(415, [Issue("not-supported", text)])
    return _MEDIA_TYPES[kind.name]


def write_resource(resource: Element, wanted: Accepted = Accepted()) -> bytes:
    """A resource as octets."""
    if wanted.format is Format.XML:
        return write_xml(resource, pretty=wanted.pretty)
    return write_json(resource, pretty=wanted.pretty)


def operation_outcome(issues: Sequence[Issue]) -> Element:
    """An OperationOutcome."""
    return {"resourceType": "OperationOutcome", "issue": [_issue(item) for item in issues]}


def _issue(item: Issue) -> Element:
    found: Element = {"severity": item.severity, "code": item.code, "diagnostics": item.diagnostics}
    return found | ({"expression": [item.expression]} if item.expression else {})


def reply(
    request: HttpRequest, status: int, resource: Element | None, wanted: Accepted, headers: Mapping[str, str] | None = None
) -> HttpReply:
    """An answer; without a resource it has no body."""
    found = dict(headers or {})
    request_id = request.headers.get("x-request-id", "")
    if _REQUEST_ID.match(request_id):
        found["X-Request-Id"] = request_id
    # An answer speaks of patients: nobody on the way may keep it.
    found.setdefault("Cache-Control", "no-store")
    if resource is None:
        return HttpReply(status, tuple(found.items()), (), 0)
    body = write_resource(resource, wanted)
    found["Content-Type"] = f"{wanted.media_type}; charset=utf-8"
    return HttpReply(status, tuple(found.items()), (body,), len(body))


def refusal(request: HttpRequest, error: FhirError) -> HttpReply:
    """The answer that refuses a request, in the format that it asks for, or else in JSON."""
    try:
        wanted = accepted(request)
    except FhirError:
        wanted = Accepted()
    return reply(request, error.status, operation_outcome(error.issues), wanted, error.headers)


def preferences(request: HttpRequest) -> Mapping[str, str]:
    """The Prefer header: `handling`, `return`. Spec: RFC 7240; FHIR R4 3.1.1.1.1."""
    found: dict[str, str] = {}
    for part in re.split("[,;]", request.headers.get("prefer", "")):
        name, _, value = part.partition("=")
        found.setdefault(name.strip().lower(), value.strip().strip('"').lower())
    return found
