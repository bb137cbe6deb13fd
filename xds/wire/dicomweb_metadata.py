"""Objects that arrive as metadata (JSON or XML) with their bulk data in parts of their own: made into Part 10 files.

What is compressed is encapsulated, a fragment for each part. The pixels pass through; other bulk data is short, or refused.

Tolerated: one data set in place of an array of them.

Spec: DICOM PS3.18 10.5.1, 8.7.3.2, 8.7.3.3; PS3.5 A.4.
"""

from __future__ import annotations

import base64
import json
import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from xds.wire.dicom import EXPLICIT_LITTLE, IMPLICIT_LITTLE, MAX_DEPTH, DicomError
from xds.wire.dicom_frames import MEDIA_TYPES
from xds.wire.dicom_json_reading import text_of, write_data_set
from xds.wire.dicom_values import write_file_meta
from xds.wire.dicomweb import OCTETS, MediaType

#: Octets of metadata in one request, and of one value that is no pixels.
MAX_METADATA: Final = 64 * 1024 * 1024
MAX_VALUE: Final = 16 * 1024 * 1024

_PIXELS: Final = ("7FE00008", "7FE00009", "7FE00010")
_FIRST_PIXELS: Final = _PIXELS[0]
_AVAILABLE_TRANSFER_SYNTAX: Final = "00083002"
_NATIVE: Final = frozenset({EXPLICIT_LITTLE, IMPLICIT_LITTLE})
_MAX_NATIVE: Final = 0xFFFFFFFE
#: What a media type alone stands for. Spec: PS3.18 Table 8.7.3-5 (defaults).
_SYNTAXES: Final = {
    OCTETS: EXPLICIT_LITTLE,
    "image/jpeg": "1.2.840.10008.1.2.4.70",
    "image/dicom-rle": "1.2.840.10008.1.2.5",
    "image/jls": "1.2.840.10008.1.2.4.80",
    "image/jp2": "1.2.840.10008.1.2.4.90",
    "image/jpx": "1.2.840.10008.1.2.4.92",
}


@dataclass(frozen=True, slots=True)
class BulkPart:
    """A part with bulk data: exactly `size` octets come from `chunks()`."""

    media_type: MediaType
    size: int
    chunks: Callable[[], Iterator[bytes]]

    def transfer_syntax_or(self, told: str) -> str:
        """How its pixels are written: as the part says, or else as the metadata `told`, where both fit each other.

        Errors: DicomError when nobody says.
        """
        stated = self.media_type.parameters.get("transfer-syntax", "").strip()
        fits = MEDIA_TYPES.get(told) == self.media_type.name
        found = stated or (told if fits else _SYNTAXES.get(self.media_type.name))
        if not found:
            raise DicomError("the transfer syntax of the pixels is not stated")
        return found


def read_json(octets: bytes) -> list[Mapping[str, Any]]:
    """The data sets of a JSON part. Errors: DicomError."""
    try:
        found = json.loads(octets)
    except (ValueError, RecursionError):
        raise DicomError("the metadata is no JSON") from None
    items = found if isinstance(found, list) else [found]
    if not all(isinstance(item, dict) for item in items):
        raise DicomError("the metadata is no array of data sets")
    return items


def write_object(item: Mapping[str, Any], bulk: Mapping[str, Sequence[BulkPart]]) -> Iterator[bytes]:
    """The Part 10 file of a data set; `bulk` are the parts by what names them.

    Errors: DicomError for what is no data set, and for bulk data that did not come with it.
    """
    pixels = [tag for tag in _PIXELS if tag in item]
    if len(pixels) > 1:
        raise DicomError("an object has one kind of pixels")
    parts = _pixel_parts(item[pixels[0]], bulk) if pixels else ()
    stated = text_of(item, _AVAILABLE_TRANSFER_SYNTAX) or text_of(item, "00020010")
    syntaxes = {part.transfer_syntax_or(stated) for part in parts} or {EXPLICIT_LITTLE}
    if len(syntaxes) > 1:
        raise DicomError("the parts of the pixels differ in their transfer syntax")
    syntax = syntaxes.pop()
    # Native pixels are little endian either way; the data set around them is written explicit.
    syntax = EXPLICIT_LITTLE if syntax in _NATIVE else syntax
    yield write_file_meta(text_of(item, "00080016"), text_of(item, "00080018"), syntax)
    inner = {tag: _whole(element, bulk) for tag, element in item.items() if tag not in _PIXELS and not _is_meta(tag)}
    before = {tag: element for tag, element in inner.items() if tag < _FIRST_PIXELS and tag != "00080005"}
    yield write_data_set({"00080005": {"vr": "CS", "Value": ["ISO_IR 192"]}, **before})
    if pixels:
        yield from _written(pixels[0], item, parts, is_native=syntax == EXPLICIT_LITTLE)
    yield write_data_set({tag: element for tag, element in inner.items() if tag > _FIRST_PIXELS})


def _is_meta(tag: str) -> bool:
    """The transfer syntax is that of the file, whatever the object was before."""
    return tag.startswith(("0000", "0002")) or tag == _AVAILABLE_TRANSFER_SYNTAX


def _pixel_parts(element: Any, bulk: Mapping[str, Sequence[BulkPart]]) -> Sequence[BulkPart]:
    if isinstance(element, Mapping) and "InlineBinary" in element:
        octets = _inline(element)
        return (BulkPart(MediaType(OCTETS), len(octets), lambda: iter((octets,))),)
    return _named(element, bulk)


def _named(element: Any, bulk: Mapping[str, Sequence[BulkPart]]) -> Sequence[BulkPart]:
    uri = element.get("BulkDataURI") if isinstance(element, Mapping) else None
    parts = bulk.get(str(uri), ()) if uri else ()
    if not parts:
        raise DicomError("bulk data is named that did not come with the metadata")
    return parts


def _inline(element: Mapping[str, Any]) -> bytes:
    try:
        return base64.b64decode(str(element["InlineBinary"]), validate=True)
    except ValueError:
        raise DicomError("an InlineBinary is no base64") from None


def _whole(element: Any, bulk: Mapping[str, Sequence[BulkPart]], depth: int = 0) -> Any:
    """The element with its bulk data, and that of its items, inside."""
    if not isinstance(element, Mapping) or depth > MAX_DEPTH:
        raise DicomError("the metadata is no data set")
    vr = element.get("vr")
    if not (isinstance(vr, str) and len(vr) == 2 and vr.isalpha() and vr.isupper()):
        raise DicomError("an element has no value representation")
    if vr == "SQ":
        items = element.get("Value", [])
        if not isinstance(items, list) or not all(isinstance(item, Mapping) for item in items):
            raise DicomError("a sequence holds something that is not an item")
        return {"vr": vr, "Value": [{tag: _whole(inner, bulk, depth + 1) for tag, inner in item.items()} for item in items]}
    if "BulkDataURI" not in element:
        return element
    parts = _named(element, bulk)
    if len(parts) > 1 or parts[0].size > MAX_VALUE:
        raise DicomError(f"a value has more than {MAX_VALUE} octets, or several parts")
    return {"vr": vr, "InlineBinary": base64.b64encode(b"".join(parts[0].chunks())).decode()}


def _written(tag: str, item: Mapping[str, Any], parts: Sequence[BulkPart], *, is_native: bool) -> Iterator[bytes]:
    number = int(tag, 16)
    size = sum(part.size for part in parts)
    if is_native:
        if size > _MAX_NATIVE:
            raise DicomError("native pixels have less than 4 GiB")
        stated = item[tag].get("vr") if isinstance(item[tag], Mapping) else None
        vr = {"7FE00008": "OF", "7FE00009": "OD"}.get(tag) or ("OB" if stated == "OB" else "OW")
        yield struct.pack("<HH2sHI", number >> 16, number & 0xFFFF, vr.encode(), 0, size + size % 2)
        for part in parts:
            yield from part.chunks()
        yield b"\0" * (size % 2)
        return
    yield struct.pack("<HH2sHI", number >> 16, number & 0xFFFF, b"OB", 0, 0xFFFFFFFF)
    yield struct.pack("<HHI", 0xFFFE, 0xE000, 0)
    for part in parts:
        if part.size > _MAX_NATIVE:
            raise DicomError("a fragment has less than 4 GiB")
        yield struct.pack("<HHI", 0xFFFE, 0xE000, part.size + part.size % 2)
        yield from part.chunks()
        yield b"\0" * (part.size % 2)
    yield struct.pack("<HHI", 0xFFFE, 0xE0DD, 0)
