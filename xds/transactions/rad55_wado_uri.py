"""RAD-55 WADO Retrieve: one DICOM object, or an image made of it, by three UIDs in a URL.

Spec: RAD TF-2 4.55; DICOM PS3.18 9. `GET /wado?requestType=WADO&studyUID=…&seriesUID=…&objectUID=…`, with
`contentType=application/dicom` and then also `transferSyntax`, `anonymize`; or with `contentType=image/jpeg` (`image/png`,
`image/gif`) and then also `frameNumber`, `rows`, `columns`, `region`, `windowCenter`, `windowWidth`, `imageQuality`,
`annotation`, `presentationUID` with `presentationSeriesUID`. Structured reports are given as `text/html` and `text/plain`,
encapsulated documents as what they are, videos as the stream that they hold (`video/mp4`, `video/mpeg`).

Errors: 400 for a missing or senseless parameter; 404 for an object that is not there, not in that series or study (an empty UID
names none), rejected, or not for the caller; 406 for a content type or transfer syntax
that is not possible; 410, 502, 503, 504 when a source outside does not give the object.

Tolerated: no contentType (the Accept header then decides); parameter names in any case.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final

from xds.actors.domain import Domain
from xds.actors.imaging_audit import WADO_URI
from xds.actors.imaging_renditions import Obtained
from xds.actors.imaging_retrieval import ImageRetrieval
from xds.actors.imaging_selection import Selection
from xds.model.caller import Caller
from xds.model.foreign_images import PullError
from xds.model.rendering import Rendering
from xds.pixels.jobs import PixelError, PixelTimeoutError
from xds.transactions.byte_range import ranged
from xds.transactions.transaction import Transaction, Wire
from xds.transactions.wado_rs_target import not_pulled, noted
from xds.transactions.wado_video import is_video, stream, wants_video
from xds.wire.dicom import EXPLICIT_LITTLE, DicomError
from xds.wire.dicom_study import is_uid
from xds.wire.dicomweb import DICOM, MediaType, read_accept
from xds.wire.dicomweb_rendering import (
    DOCUMENT_TYPES,
    RenderingError,
    document_headers,
    document_type,
    document_types,
    image_type,
    read_wado_uri,
)
from xds.wire.http import HttpReply, HttpRequest

TRANSACTION = Transaction(
    id="RAD-55",
    name="WADO Retrieve",
    responder="Imaging Document Source",
    wire=Wire.HTTP,
    path="/wado",
    methods=("GET", "HEAD"),
)

_UIDS = ("studyUID", "seriesUID", "objectUID")
_PRESENTATION: Final = ("presentationseriesuid", "presentationuid")
_MAX_STATE: Final = 16 * 1024 * 1024
_ACCEPTABLE = frozenset({DICOM, "application/*", "*/*"})


def respond(request: HttpRequest, domain: Domain, caller: Caller) -> HttpReply:
    """Check the parameters, then give the object as it is stored, or in the transfer syntax that is asked for."""
    parameters = {name.lower(): values for name, values in request.query.items()}
    problems = _problems(parameters)
    if problems:
        return _refusal(400, "; ".join(problems))
    accept = read_accept(",".join(parameters.get("contenttype", (request.headers.get("accept", ""),))))
    known = {*_ACCEPTABLE, *DOCUMENT_TYPES, "text/*"}
    if not wants_video(accept) and not any(item.name in known or image_type((item,)) is not None for item in accept):
        return _refusal(406, f"this source gives objects as {DICOM}, and images as image/jpeg, image/png or image/gif")
    source = domain.imaging_document_source.retrieval
    uids = [parameters[name.lower()][0].strip() for name in _UIDS]
    selection = source.select(caller, *uids) if all(map(is_uid, uids)) else None
    if selection is None:
        source.refuse({uids[0]}, caller, WADO_URI)
        return _refusal(404, "there is no such object in that series and study")
    instance = next(selection.instances())[1]
    if is_video(instance) and wants_video(accept):
        return ranged(request, _video(source, selection, accept, caller))
    media_type = _media_type(accept, instance.sop_class_uid)
    if media_type is None:
        return _refusal(406, "the object has no such form")
    try:
        if media_type == DICOM:
            if any(parameters.get(name, ("",))[0].strip() for name in _PRESENTATION):
                # The object without what the state says of it would be another image than was asked for.
                return _refusal(400, f"a presentation state is for pictures, not for {DICOM}")
            return _object(source, selection, parameters, caller)
        if parameters.get("anonymize", ("",))[0].strip():
            return _refusal(400, f"anonymize is for {DICOM}")
        state = _state(source, caller, parameters)
        if state is None:
            return _refusal(404, "there is no such presentation state in that study")
        return _rendered(source, selection, parameters, media_type, state, caller)
    except PullError as problem:
        return not_pulled(problem)


def _media_type(accept: Sequence[MediaType], sop_class_uid: str) -> str | None:
    """What is wanted most of what there is of the object."""
    is_document = bool(document_types(sop_class_uid))
    for item in accept:
        if item.name in _ACCEPTABLE:
            return DICOM
        found = document_type((item,), sop_class_uid) if is_document else image_type((item,))
        if found is not None:
            return found
    return None


def _state(source: ImageRetrieval, caller: Caller, parameters: Mapping[str, tuple[str, ...]]) -> bytes | None:
    """The presentation state that is asked for, empty when none is; None when it is not there. Errors: PullError."""
    uids = [parameters.get(name, ("",))[0].strip() for name in ("studyuid", *_PRESENTATION)]
    if not any(uids[1:]):
        return b""
    found = source.select(caller, *uids) if all(map(is_uid, uids)) else None
    if found is None:
        return None
    _, instance = next(found.instances())
    return b"".join(source.open(instance)) if instance.size <= _MAX_STATE else None


def _video(source: ImageRetrieval, selection: Selection, accept: Sequence[MediaType], caller: Caller) -> HttpReply:
    """Moving pictures as they are stored. Spec: PS3.18 8.7.4."""
    _, instance = next(selection.instances())
    try:
        reply = stream(source, instance, accept)
    except PullError as problem:
        return not_pulled(problem)
    except (PixelError, DicomError) as problem:
        return _refusal(406, str(problem))
    if reply.status != 200:
        return reply
    sent = ((selection, Obtained(instance, instance.transfer_syntax_uid, reply.length, lambda: iter(()))),)
    return noted(reply, lambda complete: source.finish(sent, complete, caller, WADO_URI))


def _object(source: ImageRetrieval, selection: Selection, parameters: Mapping[str, tuple[str, ...]], caller: Caller) -> HttpReply:
    """The object itself. Errors: PullError when a source outside does not give it."""
    _, found = next(selection.instances())
    wanted = parameters.get("transfersyntax", ("",))[0].strip()
    if parameters.get("anonymize", ("",))[0].strip():
        return _anonymous(source, selection, wanted or EXPLICIT_LITTLE, caller)
    obtained = source.obtain(found, (wanted or EXPLICIT_LITTLE,))
    if obtained is None and not wanted:
        obtained = source.obtain(found, None)
    if obtained is None:
        return _refusal(406, "the object cannot be given in that transfer syntax")
    return _given(source, selection, obtained, caller)


def _given(source: ImageRetrieval, selection: Selection, obtained: Obtained, caller: Caller) -> HttpReply:
    sent = ((selection, obtained),)
    return HttpReply(
        200,
        (("Content-Type", DICOM),),
        obtained.chunks(),
        obtained.size,
        lambda complete: source.finish(sent, complete, caller, WADO_URI),
    )


def _anonymous(source: ImageRetrieval, selection: Selection, transfer_syntax: str, caller: Caller) -> HttpReply:
    """The object without whose it is. Spec: PS3.18 9.4.1.2.1."""
    _, instance = next(selection.instances())
    try:
        made = source.anonymous(instance, transfer_syntax)
    except PixelTimeoutError as problem:
        return _refusal(503, str(problem))
    except PixelError as problem:
        return _refusal(406, str(problem))
    return _given(source, selection, Obtained(instance, transfer_syntax, made.size, made.chunks, made.release), caller)


def _rendered(
    source: ImageRetrieval,
    selection: Selection,
    parameters: Mapping[str, tuple[str, ...]],
    media_type: str,
    state: bytes,
    caller: Caller,
) -> HttpReply:
    """The object as a picture, or as a text. Spec: PS3.18 9.5."""
    _, instance = next(selection.instances())
    is_document = media_type in DOCUMENT_TYPES
    try:
        how = Rendering(media_type) if is_document else read_wado_uri(parameters, media_type, instance.frames)
        made = source.render(instance, replace(how, presentation_state=state))
    except RenderingError as problem:
        return _refusal(400, str(problem))
    except PixelTimeoutError as problem:
        return _refusal(503, str(problem))
    except PixelError as problem:
        return _refusal(406, str(problem))
    sent = ((selection, Obtained(instance, instance.transfer_syntax_uid, made.size, made.chunks, made.release)),)
    return HttpReply(
        200,
        document_headers(media_type) if is_document else (("Content-Type", media_type),),
        made.chunks(),
        made.size,
        lambda complete: source.finish(sent, complete, caller, WADO_URI),
    )


def _problems(parameters: Mapping[str, tuple[str, ...]]) -> list[str]:
    """What makes the request senseless, all of it. Spec: PS3.18 9.1.2."""
    problems = []
    if parameters.get("requesttype", ("",))[0] != "WADO":
        problems.append("requestType must be WADO")
    problems += [f"{name} is missing" for name in _UIDS if name.lower() not in parameters]
    if parameters.get("anonymize", ("",))[0].strip() not in ("", "yes"):
        # To give the object as it is would betray who asked for it without names.
        problems.append("anonymize is yes")
    given = {name for name, values in parameters.items() if values[0].strip()}
    if len(given & set(_PRESENTATION)) == 1:
        problems.append("presentationUID and presentationSeriesUID belong together")
    if given & set(_PRESENTATION) and given & {"windowcenter", "windowwidth"}:
        problems.append("a window and a presentation state exclude each other")
    wanted = parameters.get("transfersyntax", ("",))[0].strip()
    if wanted and not is_uid(wanted):
        problems.append("transferSyntax must be a UID")
    return problems


def _refusal(status: int, text: str) -> HttpReply:
    body = f"{text}\n".encode()
    return HttpReply(status, (("Content-Type", "text/plain; charset=utf-8"),), (body,), len(body))
