"""RAD-129 QIDO-RS Query: studies, series and instances by their attributes.

Spec: RAD TF-2 4.129; DICOM PS3.18 10.6. `GET /dicomweb/{studies | series | instances}`, `/dicomweb/studies/{study}/{series |
instances}`, `/dicomweb/studies/{study}/series/{series}/instances`, with attributes as `{tag}`, `{keyword}` or a path of them,
`includefield`, `limit`, `offset`, `fuzzymatching`. Ranges of Study Date and Study Time are one range of moments. The answer is
`application/dicom+json`, or a part of `multipart/related; type="application/dicom+xml"` for each match.

Errors: 400 for a parameter that is no attribute or whose value is none of its kind, all of them named; 406.
A Warning header (299) tells of attributes that are not matched, and that there is more than the answer holds.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from xds.actors import imaging_audit
from xds.actors.domain import Domain
from xds.actors.imaging_query import matching_uids
from xds.model.caller import Caller
from xds.model.imaging_query import DicomJson, ImagingQuery, ImagingQueryAnswer, Level, Matching
from xds.rules.imaging_matching import MatchingError, matching
from xds.transactions.transaction import Transaction, Wire
from xds.wire.dicom_names import UnknownAttributeError, path_of, tag_of, vr_of
from xds.wire.dicom_xml import write_native_model
from xds.wire.dicomweb import DICOM_JSON, DICOM_XML, MULTIPART, accepts_json, prefers_xml, read_accept, write_documents
from xds.wire.http import HttpReply, HttpRequest

_UID: Final = r"[0-9.]{1,64}"

TRANSACTION = Transaction(
    id="RAD-129",
    name="QIDO-RS Query",
    responder="Imaging Document Source",
    wire=Wire.HTTP,
    path="/dicomweb",
    pattern=rf"/(studies|series|instances|studies/{_UID}/(series|instances)|studies/{_UID}/series/{_UID}/instances)/?",
    methods=("GET", "HEAD"),
    safe=True,
)

_LEVELS: Final = {"studies": Level.STUDY, "series": Level.SERIES, "instances": Level.INSTANCE}
_CHARACTER_SET: Final[DicomJson] = {"00080005": {"vr": "CS", "Value": ["ISO_IR 192"]}}
_encode: Final = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode
_CONTROLS: Final = frozenset({"includefield", "limit", "offset", "fuzzymatching", "accept", "charset", "emptyvaluematching"})


def respond(request: HttpRequest, domain: Domain, caller: Caller) -> HttpReply:
    """Read the query, ask, and write the matches as JSON."""
    ranges = read_accept(",".join(request.query.get("accept", (request.headers.get("accept", ""),))))
    as_xml = prefers_xml(ranges)
    if not as_xml and not accepts_json(ranges):
        return _plain(406, f'matches are given as {DICOM_JSON} or {MULTIPART}; type="{DICOM_XML}"')
    query = _read(request)
    if not isinstance(query, ImagingQuery):
        return _plain(400, "; ".join(query))
    source = domain.imaging_document_source
    text = "&".join(f"{name}={value}" for name, values in request.query.items() for value in values)
    asked = f"{request.path}?{text}" if text else request.path
    address = f"{domain.identity.public_url}/dicomweb"
    answer = source.query(query, caller, address, imaging_audit.QIDO_RS, asked)
    warnings = tuple(("Warning", text) for text in _warnings(answer, address))
    if as_xml:
        documents = [write_native_model(_with_character_set(match.attributes)) for match in answer.matches]
        message = write_documents(documents, DICOM_XML)
        return HttpReply(200, (("Content-Type", message.content_type), *warnings), message.chunks, message.length)
    body = f"[{','.join([_written(match.attributes) for match in answer.matches])}]".encode()
    return HttpReply(200, (("Content-Type", DICOM_JSON), *warnings), (body,), len(body))


def _read(request: HttpRequest) -> ImagingQuery | list[str]:
    """The query, or everything that is wrong with it."""
    steps = request.path.strip("/").split("/")
    uids = dict(zip(steps[::2], steps[1::2], strict=False))
    problems: list[str] = []
    matchings: list[Matching] = [*matching_uids(uids.get("studies"), uids.get("series"))]
    includes: list[int] = []
    for name, values in request.query.items():
        if name.lower() in _CONTROLS:
            continue
        try:
            tag, *inside = path_of(name)
            found = matching((tag, *inside)[-1], vr_of((tag, *inside)[-1]), "\\".join(values))
        except (UnknownAttributeError, MatchingError) as problem:
            problems.append(str(problem))
            continue
        includes.append(tag)
        if found is not None:
            matchings.append(replace(found, tag=tag, inside=tuple(inside)))
    fields = [name.strip() for name in ",".join(request.query.get("includefield", ())).split(",")]
    for name in fields:
        try:
            includes += [tag_of(name)] if name and name.lower() != "all" else []
        except UnknownAttributeError as problem:
            problems.append(str(problem))
    limit, offset = (_number(request, name, problems) for name in ("limit", "offset"))
    fuzzy = request.query.get("fuzzymatching", ("false",))[-1].lower()
    if fuzzy not in ("true", "false"):
        problems.append("fuzzymatching is true or false")
    if problems:
        return problems
    wanted = None if "all" in map(str.lower, fields) else tuple(includes)
    return ImagingQuery(_LEVELS[steps[-1]], tuple(matchings), wanted, limit, offset or 0, fuzzy == "true", combined=True)


def _with_character_set(attributes: DicomJson) -> DicomJson:
    """With (0008,0005) where characters are not those of the default repertoire. Spec: PS3.18 Table 10.6.3-3, F.2.2."""
    return attributes if _encode(attributes).isascii() else {**_CHARACTER_SET, **attributes}


def _written(attributes: DicomJson) -> str:
    """One match in JSON, as `_with_character_set` has it."""
    text = _encode(attributes)
    if text.isascii() or _CHARACTER_SET.keys() <= attributes.keys():
        return text
    return f"{_encode(_CHARACTER_SET)[:-1]},{text[1:]}"


def _number(request: HttpRequest, name: str, problems: list[str]) -> int | None:
    text = request.query.get(name, ("",))[-1].strip()
    if not text:
        return None
    if not (text.isascii() and text.isdecimal() and len(text) < 19):
        problems.append(f"{name} is a number of matches")
        return None
    return int(text)


def _warnings(answer: ImagingQueryAnswer, address: str) -> Sequence[str]:
    """Spec: PS3.18 8.3.4.3, 10.6.3.1."""
    found = []
    if answer.ignored:
        names = ", ".join(f"{tag:08X}" for tag in answer.ignored)
        found.append(f'299 {address} "These attributes are not matched here: {names}"')
    if answer.more:
        found.append(f'299 {address} "There are more matches: ask again with an offset"')
    return found


def _plain(status: int, text: str) -> HttpReply:
    body = f"{text}\n".encode()
    return HttpReply(status, (("Content-Type", "text/plain; charset=utf-8"),), (body,), len(body))
