"""RAD-107 WADO-RS Retrieve: studies, series and instances, their metadata, frames, rendered images and bulk data.

Spec: RAD TF-2 4.107; DICOM PS3.18 10.4. `GET /dicomweb/studies/{study}[/series/{series}[/instances/{instance}[/frames/{list}]]]`,
each with `/metadata`, `/rendered`, `/thumbnail` and `/bulkdata/{path}` where PS3.18 Table 10.4.1-1 to 10.4.1-5 has them.

Answers: Part 10 files as `multipart/related; type="application/dicom"`, one instance also as `application/dicom`, any of them
as `application/zip`; metadata as `application/dicom+json` or XML; frames as octets or as their codec's images; rendered images as
JPEG, PNG or GIF, video as the stream that is stored. A single body also in parts (Range). 206 when some of the instances cannot
be given in an acceptable transfer syntax.

Errors: 400 for a senseless parameter; 404 for what is not there, rejected, or not for the caller; 406 when no media type or
transfer syntax is acceptable; 503 when too many images are being decoded. Of what a source outside holds: 410 when it is gone
there, 502 when the source does not give it, 504 when it takes too long, 503 when too much is asked of it. An answer that has
begun and cannot be completed ends without its last boundary.

Tolerated: `*/*` and no Accept at all mean any transfer syntax, where PS3.18 has explicit little endian; `accept` as a query
parameter.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from typing import Final

from xds.actors.domain import Domain
from xds.actors.imaging_audit import WADO_RS
from xds.actors.imaging_renditions import Obtained
from xds.actors.imaging_retrieval import ImageRetrieval
from xds.actors.imaging_selection import Selection
from xds.model.caller import Caller
from xds.model.foreign_images import PullError
from xds.model.imaging import Instance
from xds.transactions import wado_rs_pixels
from xds.transactions.byte_range import ranged
from xds.transactions.transaction import Transaction, Wire
from xds.transactions.wado_rs_target import Kind, Target, not_pulled, plain
from xds.wire import dicom_json
from xds.wire.dicom_xml import write_native_model
from xds.wire.dicomweb import (
    DICOM,
    DICOM_JSON,
    DICOM_XML,
    MULTIPART,
    ZIP,
    AcceptedObjects,
    MediaType,
    Part,
    accepted_objects,
    accepts_json,
    prefers_xml,
    read_accept,
    stream_parts,
    write_documents,
    write_multipart,
)
from xds.wire.http import HttpReply, HttpRequest
from xds.wire.zip_stream import Entry, write_zip

_UID: Final = r"[0-9.]{1,64}"
_PATH: Final = re.compile(
    rf"/studies/(?P<study>{_UID})(/series/(?P<series>{_UID})(/instances/(?P<instance>{_UID})(/frames/(?P<frames>[0-9,]+))?)?)?"
    r"(/(?P<kind>metadata|rendered|thumbnail)|/bulkdata/(?P<bulk>[0-9A-Fa-f/]+))?/?"
)

TRANSACTION = Transaction(
    id="RAD-107",
    name="WADO-RS Retrieve",
    responder="Imaging Document Source",
    wire=Wire.HTTP,
    path="/dicomweb",
    pattern=_PATH.pattern,
    methods=("GET", "HEAD"),
)


def respond(request: HttpRequest, domain: Domain, caller: Caller) -> HttpReply:
    """Find what the path names, agree on how it is written, and stream it."""
    try:
        target = _target(request)
    except ValueError:
        return plain(400, "frames are numbers from 1 with a comma between any two")
    if target is None:
        return plain(404, "there is no such resource")
    source = domain.imaging_document_source.retrieval
    ranges = read_accept(",".join(request.query.get("accept", (request.headers.get("accept", ""),))))
    selection = source.select(caller, *target.uids, ahead=target.kind is Kind.OBJECTS and _is_streamed(ranges))
    if selection is None:
        source.refuse({target.uids[0]}, caller, WADO_RS)
        return plain(404, "there is no such study, series or instance")
    try:
        if target.kind is Kind.METADATA:
            return _metadata(selection, source, ranges, caller, f"{domain.identity.public_url}/dicomweb")
        if target.kind is Kind.OBJECTS:
            return ranged(request, _objects(selection, source, ranges, caller, single=len(target.uids) == 3))
        return ranged(request, wado_rs_pixels.respond(target, selection, source, ranges, request.query, caller))
    except PullError as problem:
        return not_pulled(problem)
    except KeyError:
        return plain(404, "the object is not there any more")


def _target(request: HttpRequest) -> Target | None:
    found = _PATH.fullmatch(request.path)
    if found is None:
        return None
    uids = tuple(uid for name in ("study", "series", "instance") if (uid := found[name]))
    frames = tuple(map(int, found["frames"].split(","))) if found["frames"] else ()
    if found["bulk"]:
        return Target(Kind.BULK_DATA, uids, frames, found["bulk"].strip("/").upper()) if len(uids) == 3 and not frames else None
    if frames:
        kind = Kind(found["kind"]) if found["kind"] else Kind.FRAMES
        return Target(kind, uids, frames) if kind is not Kind.METADATA else None
    return Target(Kind(found["kind"]) if found["kind"] else Kind.OBJECTS, uids)


def _is_streamed(ranges: Sequence[MediaType]) -> bool:
    """Whether objects go out one by one as they come."""
    accepted = accepted_objects(ranges, single=False)
    return accepted is not None and accepted.as_multipart and not (ranges and ranges[0].name == ZIP)


def _metadata(
    selection: Selection, source: ImageRetrieval, ranges: Sequence[MediaType], caller: Caller, address: str
) -> HttpReply:
    sent = [(selection, Obtained(item, item.transfer_syntax_uid, 0, lambda: iter(()))) for _, item in selection.instances()]

    def finished(complete: bool) -> None:
        source.finish(sent, complete, caller, WADO_RS)

    if prefers_xml(ranges):
        documents = [write_native_model(dicom_json.read_header(header, address)) for header in source.headers(selection)]
        message = write_documents(documents, DICOM_XML)
        return HttpReply(200, (("Content-Type", message.content_type),), message.chunks, message.length, finished)
    if not accepts_json(ranges):
        return plain(406, f'metadata is given as {DICOM_JSON} or {MULTIPART}; type="{DICOM_XML}"')
    return HttpReply(200, (("Content-Type", DICOM_JSON),), _array(source.headers(selection), address), None, finished)


def _array(headers: Iterator[bytes], address: str) -> Iterator[bytes]:
    """The headers as a JSON array, in pieces of some size."""
    held, separator = bytearray(b"["), b""
    for header in headers:
        held += separator + dicom_json.with_address(header, address)
        separator = b","
        if len(held) > 256 * 1024:
            yield bytes(held)
            held.clear()
    yield bytes(held) + b"]"


def _objects(
    selection: Selection, source: ImageRetrieval, ranges: Sequence[MediaType], caller: Caller, *, single: bool
) -> HttpReply:
    accepted = accepted_objects(ranges, single=single)
    if ranges and ranges[0].name == ZIP:
        return _zip(selection, source, caller)
    if accepted is None:
        return plain(406, f'objects are given as multipart/related; type="{DICOM}" or as {ZIP}')
    if accepted.as_multipart and selection.is_held_outside:
        return _arriving(selection, source, accepted.every, caller)
    found = [_obtained(source, instance, accepted, at_once=single) for _, instance in selection.instances()]
    obtained = [item for item in found if item is not None]
    if not obtained:
        return plain(406, "no instance can be given in an acceptable transfer syntax")
    status = 200 if len(obtained) == len(found) else 206
    finish = _finish(source, selection, obtained, caller)
    if not accepted.as_multipart:
        item = obtained[0]
        content_type = f"{DICOM}; transfer-syntax={item.transfer_syntax_uid}"
        return HttpReply(status, (("Content-Type", content_type),), item.chunks(), item.size, finish)
    parts = [Part(f"{DICOM}; transfer-syntax={item.transfer_syntax_uid}", item.size, item.chunks) for item in obtained]
    message = write_multipart(parts)
    return HttpReply(status, (("Content-Type", message.content_type),), message.chunks, message.length, finish)


def _obtained(source: ImageRetrieval, instance: Instance, accepted: AcceptedObjects, *, at_once: bool) -> Obtained | None:
    """In the most wanted transfer syntax that is possible; among those that are wanted equally, the stored one."""
    for syntaxes in accepted.tiers:
        obtained = source.obtain(instance, syntaxes, at_once=at_once)
        if obtained is not None:
            return obtained
    return None


def _arriving(selection: Selection, source: ImageRetrieval, syntaxes: Sequence[str] | None, caller: Caller) -> HttpReply:
    """Objects of which some are fetched first: each goes out as soon as it begins to arrive. Errors: PullError for the first."""
    objects = source.arriving(selection, syntaxes)
    first = next(objects, None)
    if first is None:
        return plain(406, "no instance can be given in an acceptable transfer syntax")
    sent: list[tuple[Selection, Obtained]] = []

    def parts() -> Iterator[Part]:
        for item in chain((first,), objects):
            sent.append((selection, item))
            yield Part(f"{DICOM}; transfer-syntax={item.transfer_syntax_uid}", item.size, item.chunks)

    message = stream_parts(parts())

    def finished(complete: bool) -> None:
        objects.close()
        source.finish(sent, complete, caller, WADO_RS)

    return HttpReply(200, (("Content-Type", message.content_type),), message.chunks, None, finished)


def _zip(selection: Selection, source: ImageRetrieval, caller: Caller) -> HttpReply:
    """Everything as it is stored, a folder for each series. Spec: PS3.18 8.7.3.1 (application/zip)."""
    entries, obtained = [], []
    for number, series in enumerate(selection.study.series, 1):
        for place, instance in enumerate(series.instances, 1):
            item = source.obtain(instance, None)
            if item is not None:
                obtained.append(item)
                entries.append(Entry(f"SER{number:05d}/IMG{place:05d}.dcm", item.chunks))
    headers = (("Content-Type", ZIP), ("Content-Disposition", f'attachment; filename="{selection.study.study_instance_uid}.zip"'))
    return HttpReply(200, headers, write_zip(entries), None, _finish(source, selection, obtained, caller))


def _finish(source: ImageRetrieval, selection: Selection, obtained: Sequence[Obtained], caller: Caller) -> Callable[[bool], None]:
    sent = [(selection, item) for item in obtained]
    return lambda complete: source.finish(sent, complete, caller, WADO_RS)
