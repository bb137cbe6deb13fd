"""Moving pictures as a player takes them: the stream that is stored, without decoding it.

Spec: DICOM PS3.18 8.7.4 (rendered media types of video), 9.5 (WADO-URI), 10.4.1.1.3 (rendered instances).
"""

from __future__ import annotations

from collections.abc import Sequence

from xds.actors.imaging_retrieval import ImageRetrieval
from xds.model.imaging import Instance
from xds.pixels.jobs import PixelError
from xds.transactions.wado_rs_target import plain
from xds.wire import video
from xds.wire.dicom_frames import VIDEO_TYPES
from xds.wire.dicomweb import MediaType
from xds.wire.http import HttpReply


def is_video(instance: Instance) -> bool:
    """Whether the frames of an object are one stream."""
    return instance.transfer_syntax_uid in VIDEO_TYPES


def wants_video(ranges: Sequence[MediaType]) -> bool:
    """Whether one of the ranges asks for moving pictures by name."""
    return any(item.name.startswith("video/") for item in ranges)


def stream(source: ImageRetrieval, instance: Instance, ranges: Sequence[MediaType]) -> HttpReply:
    """The stream; 406 when its media type is not wanted. Errors: DicomError, PixelError; KeyError when the blob is gone."""
    stored = source.stored_frames(instance, (1,))
    if stored is None:
        raise PixelError("the stream of the object is not whole octets of it")
    ((size, chunks),) = stored.parts
    media_type = video.media_type_of(next(chunks(), b"")[: video.SEEN], instance.transfer_syntax_uid)
    if not any(video.accepted_name(item.name) in (media_type, "video/*", "*/*") for item in ranges):
        stored.release()
        return plain(406, f"the object is moving pictures, given as {media_type}")
    return HttpReply(200, (("Content-Type", media_type),), chunks(), size, lambda _complete: stored.release())
