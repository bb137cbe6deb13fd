"""Data sets in the DICOM JSON model, made from a header without decoding what nobody asked for.

Values longer than a limit are left where they are and named by a URI; so are the pixels. The URI begins with a mark in place of
the service's address, which is not known for ever: `with_address` puts it in.

Written strictly, whatever was read: numbers that are none become strings, characters are UTF-8.

Spec: DICOM PS3.18 F (DICOM JSON model), 8.7.3.4 (bulk data).
"""

from __future__ import annotations

import base64
import json
import math
import struct
from collections.abc import Callable
from functools import lru_cache
from typing import Any, Final

from pydicom.datadict import dictionary_VR

from xds.wire.dicom import DicomError, Elements, Raw
from xds.wire.dicom_header import Header

#: Octets of a binary value that stand in the JSON itself; longer ones are bulk data. Texts are always written out up to the next.
MAX_INLINE: Final = 1024
#: Octets of a text that stand in the JSON itself.
MAX_TEXT: Final = 64 * 1024
#: Stands for the address of the DICOMweb service in stored JSON: no URI that anybody writes begins so.
ADDRESS: Final = "\N{REPLACEMENT CHARACTER}:"
_ADDRESS_OCTETS: Final = f'"BulkDataURI":"{ADDRESS}'.encode()

_SINGLE_TEXT: Final = frozenset({"LT", "ST", "UT", "UR"})
_TEXT: Final = frozenset({"AE", "AS", "CS", "DA", "DT", "LO", "PN", "SH", "TM", "UC", "UI"})
_BINARY_NUMBER: Final = {"US": "H", "SS": "h", "UL": "I", "SL": "i", "UV": "Q", "SV": "q", "FL": "f", "FD": "d"}
_PIXEL_DATA: Final = 0x7FE00010
#: Float Pixel Data and Double Float Pixel Data, by their Bits Allocated.
_FRACTIONS: Final = {32: (0x7FE00008, "OF"), 64: (0x7FE00009, "OD")}
_BITS_ALLOCATED: Final = 0x00280100
_BITS_STORED: Final = 0x00280101
_CHARACTER_SET: Final = 0x00080005
_AVAILABLE_TRANSFER_SYNTAX: Final = 0x00083002
_PIXEL_REPRESENTATION: Final = 0x00280103

#: Octets of a value whose JSON is kept for the next object, and of how many such values.
_SHORT: Final = 64
_REMEMBERED: Final = 4096

Item = dict[str, Any]

_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode


def write_header(header: Header, stored_as: str | None = None) -> bytes:
    """The data set of an object as one JSON object; its pixels and long values as `BulkDataURI` below the mark of the address.

    Available Transfer Syntax UID (0008,3002) tells how the object is stored: viewers choose their decoder by it. `stored_as`
    is what a source outside says of that, for a header that was made from its answer (empty: nothing).

    Errors: DicomError for a sequence that is broken.
    """
    elements = header.elements
    base = instance_path(elements.text(0x0020000D), elements.text(0x0020000E), elements.text(0x00080018))

    def bulk_uri(path: str) -> str:
        return f"{ADDRESS}/{base}/bulkdata/{path}"

    remembered = _remembered(elements.order, elements.encodings, elements.short(_PIXEL_REPRESENTATION))
    found: dict[int, str] = {}
    for tag, raw in elements.raw():
        written = remembered.get((tag, raw)) if len(raw[0]) <= _SHORT else None
        if written is None:
            if _is_left_out(tag):
                continue
            vr = _representation(elements, tag)
            written = _member(tag, _value(elements, tag, vr, bulk_uri, ""))
            if len(raw[0]) <= _SHORT and vr != "SQ":
                _remember(remembered, (tag, raw), written)
        found[tag] = written
    if 0x00280010 in elements:
        tag, vr = _pixels_of(header)
        found[tag] = _member(tag, {"vr": vr, "BulkDataURI": bulk_uri(f"{tag:08X}")})
    syntax = header.transfer_syntax if stored_as is None else stored_as
    if syntax:
        element = {"vr": "UI", "Value": [syntax]}
        found[_AVAILABLE_TRANSFER_SYNTAX] = _member(_AVAILABLE_TRANSFER_SYNTAX, element)
    return f"{{{','.join([found[tag] for tag in sorted(found)])}}}".encode("utf-8", "replace")


def _member(tag: int, element: Item) -> str:
    return f'"{tag:08X}":{_encode(element)}'


@lru_cache(8)
def _remembered(_order: str, _encodings: tuple[str, ...], _pixel_representation: int | None) -> dict[tuple[int, Raw], str]:
    """Short elements that stood in objects before: the slices of a series have most of them in common.

    What they look like in JSON depends on nothing else in their objects.
    """
    return {}


def _remember(remembered: dict[tuple[int, Raw], str], element: tuple[int, Raw], written: str) -> None:
    if len(remembered) >= _REMEMBERED:
        remembered.clear()
    remembered[element] = written


def with_address(stored: bytes, address: str) -> bytes:
    """Stored JSON with the address of the DICOMweb service, such as `https://host/dicomweb`, in every URI."""
    if _ADDRESS_OCTETS not in stored:
        return stored
    return stored.replace(_ADDRESS_OCTETS, b'"BulkDataURI":' + json.dumps(address).encode()[:-1])


def read_header(stored: bytes, address: str) -> Item:
    """Stored JSON as a data set, with the address of the DICOMweb service in its URIs."""
    found: Item = json.loads(with_address(stored, address))
    return found


def instance_path(study_instance_uid: str, series_instance_uid: str, sop_instance_uid: str) -> str:
    """The path of an instance below the address of a DICOMweb service."""
    return f"studies/{study_instance_uid}/series/{series_instance_uid}/instances/{sop_instance_uid}"


def read_item(elements: Elements, bulk_uri: Callable[[str], str], path: str = "") -> Item:
    """A data set or item in the JSON model. `bulk_uri` makes the URI of a long value from its path, such as `00420011`.

    The path of an element inside sequences is `SEQUENCETAG/item/TAG`, items counted from 0.
    Errors: DicomError for a sequence that is broken.
    """
    return {
        f"{tag:08X}": _value(elements, tag, _representation(elements, tag), bulk_uri, path)
        for tag in sorted(elements)
        if not _is_left_out(tag)
    }


def _is_left_out(tag: int) -> bool:
    """Group lengths are retired, and the file meta information belongs to the file."""
    return tag & 0xFFFF == 0 or tag >> 16 <= 2


def _value(elements: Elements, tag: int, vr: str, bulk_uri: Callable[[str], str], path: str) -> Item:
    if tag == _CHARACTER_SET:
        return {"vr": "CS", "Value": ["ISO_IR 192"]}
    place = f"{path}{tag:08X}"
    if vr == "SQ":
        try:
            items = [read_item(item, bulk_uri, f"{place}/{number}/") for number, item in enumerate(elements.items(tag))]
        except DicomError:
            # Whoever wrote UN did not know what it is: it may be anything.
            if elements.vr(tag) != "UN":
                raise
            vr = "UN"
        else:
            return {"vr": vr, "Value": items} if items else {"vr": vr}
    return _element(elements, tag, vr, lambda: bulk_uri(place))


def _element(elements: Elements, tag: int, vr: str, bulk_uri: Callable[[], str]) -> Item:
    octets = elements.value(tag)
    if not octets:
        return {"vr": vr}
    is_text = vr in _TEXT or vr in _SINGLE_TEXT or vr in ("IS", "DS")
    if len(octets) > (MAX_TEXT if is_text else MAX_INLINE):
        return {"vr": vr, "BulkDataURI": bulk_uri()}
    if vr in _SINGLE_TEXT:
        text = elements.whole_text(tag)
        return {"vr": vr, "Value": [text]} if text else {"vr": vr}
    if is_text:
        return _values(vr, [_text_value(vr, part) for part in elements.texts(tag)])
    if vr in _BINARY_NUMBER:
        return _values(vr, _numbers(octets, elements.order + _BINARY_NUMBER[vr]))
    if vr == "AT":
        pairs = struct.iter_unpack(elements.order + "HH", octets[: len(octets) // 4 * 4])
        return _values(vr, [f"{group:04X}{number:04X}" for group, number in pairs])
    return {"vr": vr, "InlineBinary": base64.b64encode(octets).decode()}


def _values(vr: str, values: list[Any]) -> Item:
    # Empty values keep their place among others. Spec: PS3.18 F.2.5.
    return {"vr": vr, "Value": values} if any(value is not None for value in values) else {"vr": vr}


def _text_value(vr: str, text: str) -> Any:
    if not text:
        return None
    if vr == "PN":
        groups = zip(("Alphabetic", "Ideographic", "Phonetic"), text.split("="), strict=False)
        return {name: part.rstrip("^ ") or part for name, part in groups if part.strip("^ ")} or None
    if vr == "IS":
        try:
            return int(text)
        except ValueError:
            return text
    if vr == "DS":
        return _decimal(text)
    return text


def _decimal(text: str) -> float | int | str:
    try:
        number = float(text)
    except ValueError:
        return text
    if not math.isfinite(number):
        return text
    return int(number) if number.is_integer() and abs(number) < 2**53 and "." not in text and "e" not in text.lower() else number


def _numbers(octets: bytes, form: str) -> list[Any]:
    size = struct.calcsize(form)
    found = [value for (value,) in struct.iter_unpack(form, octets[: len(octets) // size * size])]
    # JSON has no such numbers. Spec: PS3.18 F.2.3.
    return [str(value) if isinstance(value, float) and not math.isfinite(value) else value for value in found]


def _representation(elements: Elements, tag: int) -> str:
    stated = elements.vr(tag)
    if stated and stated != "UN":
        return stated
    if tag >> 16 & 1:
        # What reserves a block of private elements is a text, whoever wrote it unknown. Spec: PS3.5 7.8.1.
        return "LO" if 0x10 <= tag & 0xFFFF <= 0xFF else "UN"
    found = _known(tag)
    if found is None:
        return "UN"
    if " or " not in found:
        return found
    if found.startswith("US or SS"):
        return "SS" if elements.short(_PIXEL_REPRESENTATION) == 1 else "US"
    return "OW"


@lru_cache(8192)
def _known(tag: int) -> str | None:
    try:
        return str(dictionary_VR(tag))
    except KeyError:
        return None


def _pixels_of(header: Header) -> tuple[int, str]:
    """The element that holds the pixels: values with a fraction have no Bits Stored. Spec: PS3.3 C.7.6.24, C.7.6.25."""
    is_fraction = _BITS_STORED not in header.elements
    found = _FRACTIONS.get(header.elements.short(_BITS_ALLOCATED) or 16) if is_fraction else None
    return found or (_PIXEL_DATA, _pixel_vr(header))


def _pixel_vr(header: Header) -> str:
    compressed = header.transfer_syntax not in ("1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2")
    bits = header.elements.short(_BITS_ALLOCATED) or 16
    return "OB" if compressed or (bits <= 8 and header.transfer_syntax == "1.2.840.10008.1.2.1") else "OW"
