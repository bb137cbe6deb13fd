"""RAD-107 WADO-RS Retrieve: a study, a series or an instance, or their metadata.

Spec: RAD TF-2 4.107; DICOM PS3.18 10.4. `GET /dicomweb/studies/{study}[/series/{series}[/instances/{instance}]][/metadata]`

Answers: Part 10 files as `multipart/related; type="application/dicom"`, a single instance also as `application/dicom`; metadata
as `application/dicom+json`. 206 when some of the instances cannot be given in an acceptable transfer syntax.

Errors: 404 for what is not there, rejected, or not for the caller; 406 when no media type or transfer syntax is acceptable.

Tolerated: `*/*` and no Accept at all mean any transfer syntax, where PS3.18 has explicit little endian; `accept` as a query
parameter.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import structlog

from xds.actors.domain import Domain
from xds.actors.imaging_audit import WADO_RS
from xds.actors.imaging_document_source import ImagingDocumentSource, Obtained, Selection
from xds.model.caller import Caller
from xds.transactions.transaction import Transaction, Wire
from xds.wire.dicom import DicomError
from xds.wire.dicom_study import is_uid
from xds.wire.dicomweb import (
    DICOM,
    DICOM_JSON,
    MediaType,
    Part,
    accepted_syntaxes,
    accepts_json,
    metadata_of,
    read_accept,
    write_json,
    write_multipart,
)
from xds.wire.http import HttpReply, HttpRequest

TRANSACTION = Transaction(
    id="RAD-107",
    name="WADO-RS Retrieve",
    responder="Imaging Document Source",
    wire=Wire.HTTP,
    path="/dicomweb",
    methods=("GET", "HEAD"),
)

_log = structlog.get_logger()

_LEVELS = ("studies", "series", "instances")


def respond(request: HttpRequest, domain: Domain, caller: Caller) -> HttpReply:
    """Find what the path names, agree on how it is written, and stream it."""
    steps = request.path.strip("/").split("/")
    as_metadata = steps[-1] == "metadata"
    uids = _uids(steps[:-1] if as_metadata else steps)
    source = domain.imaging_document_source
    selection = source.select(caller, *uids) if uids else None
    if selection is None:
        if uids:
            source.refuse({uids[0]}, caller, WADO_RS)
        return _plain(404, "there is no such study, series or instance")
    ranges = read_accept(",".join(request.query.get("accept", (request.headers.get("accept", ""),))))
    if as_metadata:
        return _metadata(selection, source, ranges, caller)
    return _objects(selection, source, ranges, caller, single=len(uids or ()) == len(_LEVELS))


def _uids(steps: Sequence[str]) -> tuple[str, ...] | None:
    """The UIDs of a path such as studies/1.2/series/3.4; None when it is no such path."""
    names, uids = tuple(steps[::2]), tuple(steps[1::2])
    if not uids or names != _LEVELS[: len(uids)] or len(names) != len(uids) or not all(map(is_uid, uids)):
        return None
    return uids


def _metadata(selection: Selection, source: ImagingDocumentSource, ranges: Sequence[MediaType], caller: Caller) -> HttpReply:
    if not accepts_json(ranges):
        return _plain(406, f"metadata is given as {DICOM_JSON}")
    obtained = [item for _, instance in selection.instances() if (item := source.obtain(instance, None)) is not None]
    finish = _finish(source, selection, obtained, caller)
    return HttpReply(200, (("Content-Type", DICOM_JSON),), write_json(_readable(obtained)), None, finish)


def _readable(obtained: Sequence[Obtained]) -> Iterator[Mapping[str, Any]]:
    """One data set at a time. An object that is damaged is left out: the others are worth having."""
    for item in obtained:
        try:
            yield metadata_of(item.chunks)
        except DicomError:
            _log.error("wado_rs.unreadable", blob=item.instance.blob)


def _objects(
    selection: Selection, source: ImagingDocumentSource, ranges: Sequence[MediaType], caller: Caller, *, single: bool
) -> HttpReply:
    accepted = accepted_syntaxes(ranges, single=single)
    if accepted is None:
        return _plain(406, f'objects are given as multipart/related; type="{DICOM}"')
    syntaxes, as_multipart = accepted
    found = [source.obtain(instance, syntaxes) for _, instance in selection.instances()]
    obtained = [item for item in found if item is not None]
    if not obtained:
        return _plain(406, "no instance can be given in an acceptable transfer syntax")
    status = 200 if len(obtained) == len(found) else 206
    finish = _finish(source, selection, obtained, caller)
    if not as_multipart:
        item = obtained[0]
        content_type = f"{DICOM}; transfer-syntax={item.transfer_syntax_uid}"
        return HttpReply(status, (("Content-Type", content_type),), item.chunks(), item.size, finish)
    parts = [Part(f"{DICOM}; transfer-syntax={item.transfer_syntax_uid}", item.size, item.chunks) for item in obtained]
    message = write_multipart(parts)
    return HttpReply(status, (("Content-Type", message.content_type),), message.chunks, message.length, finish)


def _finish(
    source: ImagingDocumentSource, selection: Selection, obtained: Sequence[Obtained], caller: Caller
) -> Callable[[bool], None]:
    sent = [(selection, item) for item in obtained]
    return lambda complete: source.finish(sent, complete, caller, WADO_RS)


def _plain(status: int, text: str) -> HttpReply:
    body = f"{text}\n".encode()
    return HttpReply(status, (("Content-Type", "text/plain; charset=utf-8"),), (body,), len(body))
