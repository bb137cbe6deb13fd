"""What a stream of moving pictures is, from its beginning: the transfer syntax names the codec, not the container.

Spec: DICOM PS3.5 8.2.5 to 8.2.9 (MPEG2, MPEG-4 AVC/H.264, HEVC/H.265, and what they may be wrapped in); PS3.18 8.7.4.
"""

from __future__ import annotations

from typing import Final

from xds.wire.dicom_frames import VIDEO_TYPES

#: Octets that `media_type_of` wants to see.
SEEN: Final = 512
_PACKET: Final = 188
#: An elementary stream by itself, by the media type of its transfer syntax.
_BARE: Final = {"video/mpeg2": "video/mpeg", "video/mp4": "video/h264", "video/h265": "video/h265"}
_OTHER_NAMES: Final = {"video/mpeg2": "video/mpeg"}


def media_type_of(beginning: bytes, transfer_syntax: str) -> str:
    """The media type by which a player knows what to do with the stream."""
    if beginning[4:8] == b"ftyp":
        return "video/mp4"
    if beginning[:1] == b"\x47" and beginning[_PACKET : _PACKET + 1] == b"\x47":
        return "video/mp2t"
    if beginning[:4] in (b"\0\0\1\xba", b"\0\0\1\xb3"):
        return "video/mpeg"
    return _BARE[VIDEO_TYPES[transfer_syntax]]


def accepted_name(wanted: str) -> str:
    """A media type of an Accept header as it is called here: MPEG2 has two names."""
    return _OTHER_NAMES.get(wanted.lower(), wanted.lower())
