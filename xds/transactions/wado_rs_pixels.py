"""Frames, rendered images, thumbnails and bulk data over WADO-RS: the part of RAD-107 that looks inside objects.

Frames go out as they are stored when their codec's media type, or `transfer-syntax=*`, is wanted; else decoded, as octets in
little endian. Spec: DICOM PS3.18 10.4.1.1.6 (bulk data), 10.4.1.1.5 (frames), 10.4.1.1.3 (rendered), 8.7.3.5.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import accumulate, chain
from typing import Final, NamedTuple

from xds.actors.imaging_audit import WADO_RS
from xds.actors.imaging_renditions import Obtained, StoredFrames
from xds.actors.imaging_retrieval import ImageRetrieval
from xds.actors.imaging_selection import Selection
from xds.model.caller import Caller
from xds.model.imaging import Instance
from xds.model.rendering import Rendering
from xds.pixels.jobs import PixelError, PixelTimeoutError
from xds.pixels.pool import Made
from xds.transactions.wado_rs_target import Kind, Target, noted, plain
from xds.transactions.wado_video import is_video, stream
from xds.wire.dicom import EXPLICIT_LITTLE, IMPLICIT_LITTLE, DicomError
from xds.wire.dicom_frames import MEDIA_TYPES
from xds.wire.dicom_header import element_at
from xds.wire.dicomweb import MULTIPART, OCTETS, MediaType, Part, write_multipart
from xds.wire.dicomweb_rendering import (
    THUMBNAIL,
    RenderingError,
    check_region,
    document_headers,
    document_type,
    document_types,
    image_type,
    read_rendering,
)
from xds.wire.http import HttpReply

#: Pixel Data, Float Pixel Data, Double Float Pixel Data.
_PIXELS: Final = frozenset({"7FE00010", "7FE00008", "7FE00009"})
_ENCAPSULATED_DOCUMENT: Final = "00420011"
_NATIVE: Final = (IMPLICIT_LITTLE, EXPLICIT_LITTLE)
#: Classes without images are shown by no picture: what a thumbnail of a study must not be made of.
_MAX_RENDERED: Final = 2000


def respond(
    target: Target,
    selection: Selection,
    source: ImageRetrieval,
    ranges: Sequence[MediaType],
    query: Mapping[str, tuple[str, ...]],
    caller: Caller,
) -> HttpReply:
    """Answer one of these resources. Errors: KeyError when a blob is gone."""
    try:
        match target.kind:
            case Kind.BULK_DATA if target.bulk not in _PIXELS:
                reply = _bulk_data(target, selection, source, ranges)
            case Kind.FRAMES | Kind.BULK_DATA:
                reply = _frames(target, selection, source, ranges)
            case _:
                reply = _rendered(target, selection, source, ranges, query)
    except RenderingError as problem:
        return plain(400, str(problem))
    except PixelTimeoutError as problem:
        return plain(503, str(problem))
    except (PixelError, DicomError) as problem:
        return plain(406, str(problem))
    if reply.status != 200:
        return reply
    sent = [
        (selection, Obtained(instance, instance.transfer_syntax_uid, None, lambda: iter(())))
        for _, instance in selection.instances()
    ]
    return noted(reply, lambda complete: source.finish(sent, complete, caller, WADO_RS))


def _one(selection: Selection) -> Instance:
    return next(selection.instances())[1]


# ---- frames


def _frames(target: Target, selection: Selection, source: ImageRetrieval, ranges: Sequence[MediaType]) -> HttpReply:
    instance = _one(selection)
    # All frames of a video are one stream.
    count = 1 if is_video(instance) else instance.frames
    numbers = target.frames or tuple(range(1, count + 1))
    if any(not 1 <= number <= instance.frames for number in numbers):
        return plain(404, f"the instance has {instance.frames} frames")
    syntax = instance.transfer_syntax_uid
    agreed = _agreed(ranges, syntax)
    if agreed is None:
        return plain(406, f'frames are given as multipart/related; type="{OCTETS}" or in the form they are stored in')
    is_value = target.kind is Kind.BULK_DATA
    stored = _as_stored(source, instance, numbers) if agreed.as_stored or syntax in _NATIVE else None
    if stored is not None and syntax in _NATIVE:
        parts = _joined(stored.parts) if is_value else stored.parts
        return _framed(parts, OCTETS, stored.release, as_multipart=agreed.as_multipart)
    if stored is not None:
        content_type = f"{agreed.media_type}; transfer-syntax={syntax}"
        return _framed(stored.parts, content_type, stored.release, as_multipart=agreed.as_multipart)
    made = source.frames(instance, numbers)
    # Frames of single bits need not begin where octets do: one after the other they are not the value.
    is_octets = min(made.lengths) >= (instance.rows or 0) * (instance.columns or 0)
    parts = _joined(_cut(made)) if is_value and is_octets else _cut(made)
    return _framed(parts, OCTETS, made.release, as_multipart=agreed.as_multipart)


def _as_stored(source: ImageRetrieval, instance: Instance, numbers: Sequence[int]) -> StoredFrames | None:
    """Frames as they are stored; None for those that are no octets of their own, and for values with a fraction."""
    try:
        return source.stored_frames(instance, numbers)
    except DicomError:
        if not instance.rows:
            raise
        return None


def _joined(parts: Sequence[tuple[int, Callable[[], Iterator[bytes]]]]) -> list[tuple[int, Callable[[], Iterator[bytes]]]]:
    """All frames as the one value that they are when nothing is compressed. Spec: PS3.18 8.7.3.3.1."""
    return [(sum(size for size, _ in parts), lambda: chain.from_iterable(chunks() for _, chunks in parts))]


class _Agreed(NamedTuple):
    """Whether frames go out as they are stored, then as which media type, and whether as multipart."""

    as_stored: bool
    as_multipart: bool
    media_type: str = OCTETS


def _agreed(ranges: Sequence[MediaType], stored: str) -> _Agreed | None:
    """What is wanted most of what can be given; None when nothing can. Who takes any transfer syntax gets the stored one."""
    own_type = MEDIA_TYPES.get(stored, OCTETS)
    is_native = stored in _NATIVE
    for item in ranges:
        as_multipart = item.name == MULTIPART
        # JPEG-LS and RLE had other names before they were registered.
        wanted = ((item.part_type or OCTETS) if as_multipart else item.name).replace("image/x-", "image/")
        syntax = item.parameters.get("transfer-syntax", "").strip()
        if wanted in ("*/*", "multipart/*"):
            return _Agreed(not is_native and syntax in ("", "*"), True, own_type)
        if wanted in (OCTETS, "application/*"):
            if syntax in (stored, "*"):
                return _Agreed(True, as_multipart)
            if syntax in ("", EXPLICIT_LITTLE, IMPLICIT_LITTLE):
                return _Agreed(is_native, as_multipart)
        elif wanted in (own_type, own_type.partition("/")[0] + "/*") and not is_native and syntax in ("", "*", stored):
            return _Agreed(True, as_multipart, own_type)
    return None


def _cut(made: Made) -> list[tuple[int, Callable[[], Iterator[bytes]]]]:
    starts = accumulate(made.lengths, initial=0)
    return [(length, partial(made.part, start, length)) for start, length in zip(starts, made.lengths, strict=False)]


def _framed(
    parts: Sequence[tuple[int, Callable[[], Iterator[bytes]]]],
    content_type: str,
    release: Callable[[], None],
    *,
    as_multipart: bool,
) -> HttpReply:
    def finished(_complete: bool) -> None:
        release()

    if not as_multipart and len(parts) == 1:
        size, chunks = parts[0]
        return HttpReply(200, (("Content-Type", content_type),), chunks(), size, finished)
    message = write_multipart([Part(content_type, size, chunks) for size, chunks in parts], content_type.partition(";")[0])
    return HttpReply(200, (("Content-Type", message.content_type),), message.chunks, message.length, finished)


# ---- bulk data


def _bulk_data(target: Target, selection: Selection, source: ImageRetrieval, ranges: Sequence[MediaType]) -> HttpReply:
    value = element_at(source.open(_one(selection)), target.bulk)
    if value is None:
        return plain(404, "the object has no such element")
    own_types = document_types(_one(selection).sop_class_uid) if target.bulk == _ENCAPSULATED_DOCUMENT else ()
    for item in ranges:
        wanted = item.part_type or OCTETS if item.name == MULTIPART else item.name
        if wanted not in {OCTETS, "application/*", "*/*", "multipart/*", *own_types}:
            continue
        content_type = wanted if wanted in own_types else OCTETS
        as_multipart = item.name in (MULTIPART, "multipart/*", "*/*")
        return _framed([(len(value), lambda: iter((value,)))], content_type, lambda: None, as_multipart=as_multipart)
    return plain(406, f"bulk data is given as {' or '.join((OCTETS, *own_types))}")


# ---- rendered images


def _rendered(
    target: Target,
    selection: Selection,
    source: ImageRetrieval,
    ranges: Sequence[MediaType],
    query: Mapping[str, tuple[str, ...]],
) -> HttpReply:
    single = len(target.uids) == 3 or target.kind is Kind.THUMBNAIL
    if target.kind is Kind.RENDERED and single and not target.frames and is_video(_one(selection)):
        return stream(source, _one(selection), ranges)
    if target.kind is Kind.RENDERED and single and not target.frames and document_types(_one(selection).sop_class_uid):
        return _document(_one(selection), source, ranges)
    media_type, only_multipart = _image_type(ranges)
    if media_type is None:
        return plain(406, "images are given as image/jpeg, image/png or image/gif")
    if target.kind is Kind.THUMBNAIL:
        return _thumbnail(target, selection, source, media_type, query)
    if single:
        instance = _one(selection)
        frames = target.frames or (tuple(range(1, instance.frames + 1)) if media_type == "image/gif" else (1,))
        if any(not 1 <= number <= instance.frames for number in frames):
            return plain(404, f"the instance has {instance.frames} frames")
        how = read_rendering(query, media_type, frames)
        check_region(how, instance.columns or 0, instance.rows or 0)
        if not only_multipart and (len(frames) == 1 or media_type == "image/gif"):
            return _picture(source.render(instance, how))
        return _pictures(source, [(instance, replace(how, frames=(number,))) for number in frames], media_type)
    how = read_rendering(query, media_type, (1,))
    images = [instance for _, instance in selection.instances() if instance.rows]
    if not images:
        return plain(406, "there is no image")
    if len(images) > _MAX_RENDERED:
        return plain(413, f"more than {_MAX_RENDERED} images are not rendered at once")
    return _pictures(source, [(instance, how) for instance in images], media_type)


def _document(instance: Instance, source: ImageRetrieval, ranges: Sequence[MediaType]) -> HttpReply:
    """A report or an encapsulated document. Spec: PS3.18 8.7.4."""
    media_type = document_type(ranges, instance.sop_class_uid)
    if media_type is None:
        return plain(406, f"the object is given as {' or '.join(document_types(instance.sop_class_uid))}")
    made = source.render(instance, Rendering(media_type))
    return HttpReply(200, document_headers(media_type), made.chunks(), made.size, lambda _complete: made.release())


def _image_type(ranges: Sequence[MediaType]) -> tuple[str | None, bool]:
    """Which kind of image is wanted most, and whether nothing but multipart is wanted."""
    media_type = image_type(ranges)
    if media_type is not None:
        return media_type, False
    return image_type([MediaType(item.part_type or "*/*") for item in ranges if item.name in (MULTIPART, "multipart/*")]), True


def _thumbnail(
    target: Target, selection: Selection, source: ImageRetrieval, media_type: str, query: Mapping[str, tuple[str, ...]]
) -> HttpReply:
    """One small image: of a series or study that in the middle of its first series with images. Spec: PS3.18 10.4.1.1.4."""
    for series in selection.study.series:
        images = [instance for instance in series.instances if instance.rows]
        if images:
            instance = images[len(images) // 2]
            frame = target.frames[0] if target.frames else (instance.frames + 1) // 2
            if not 1 <= frame <= instance.frames:
                return plain(404, f"the instance has {instance.frames} frames")
            how = read_rendering(query, "image/jpeg" if media_type == "image/gif" else media_type, (frame,))
            return _picture(source.render(instance, replace(how, size=how.size or (THUMBNAIL, THUMBNAIL))))
    return plain(406, "there is no image")


def _picture(made: Made) -> HttpReply:
    return HttpReply(200, (("Content-Type", made.media_type),), made.chunks(), made.size, lambda _complete: made.release())


def _pictures(source: ImageRetrieval, wanted: Sequence[tuple[Instance, Rendering]], media_type: str) -> HttpReply:
    """Several images, each rendered when its turn comes; one that cannot be ends the answer unfinished."""

    def drawn(instance: Instance, how: Rendering) -> Iterator[bytes]:
        made = source.render(instance, how)
        try:
            yield from made.chunks()
        finally:
            made.release()

    parts = [Part(media_type, None, partial(drawn, instance, how)) for instance, how in wanted]
    message = write_multipart(parts, media_type)
    return HttpReply(200, (("Content-Type", message.content_type),), message.chunks, message.length)
