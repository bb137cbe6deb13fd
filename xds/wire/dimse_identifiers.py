"""Identifiers of queries: keys read from a data set, and matches in the DICOM JSON model written as one.

Spec: DICOM PS3.4 C.4.1.1.3 (identifiers), C.2.2.2 (keys); PS3.5 6.2, 7.1; PS3.18 F.2 (JSON model).
"""

from __future__ import annotations

import base64
import struct
from collections.abc import Iterable, Mapping
from typing import Any, Final

from pydicom import charset

from xds.model.imaging_query import DicomJson
from xds.wire.dicom import IMPLICIT_LITTLE, LONG_FORM, Elements
from xds.wire.dicom_names import vr_of

QUERY_RETRIEVE_LEVEL: Final = 0x00080052
CHARACTER_SET: Final = 0x00080005
_UTF_8: Final = "ISO_IR 192"
_NUMBERS: Final = {"US": "H", "SS": "h", "UL": "I", "SL": "i", "UV": "Q", "SV": "q", "FL": "f", "FD": "d"}
_SINGLE: Final = frozenset({"LT", "ST", "UT", "UR"})


def read_keys(elements: Elements) -> dict[int, tuple[str, str]]:
    """The keys of an identifier: tag -> (value representation, text), without level, character set and group lengths.

    A sequence has no text: it asks for what is in it.
    """
    found: dict[int, tuple[str, str]] = {}
    for tag in elements:
        if tag in (QUERY_RETRIEVE_LEVEL, CHARACTER_SET) or tag & 0xFFFF == 0 or tag >> 16 <= 2:
            continue
        vr = elements.vr(tag)
        vr = vr if vr not in ("", "UN") else vr_of(tag)
        if vr in _NUMBERS or vr == "AT":
            found[tag] = (vr, _binary(elements, tag, vr))
        elif vr in ("SQ", "OB", "OW", "OF", "OD", "OL", "OV", "UN"):
            found[tag] = (vr, "")
        else:
            found[tag] = (vr, elements.whole_text(tag) if vr in _SINGLE else "\\".join(elements.texts(tag)))
    return found


def _binary(elements: Elements, tag: int, vr: str) -> str:
    value = elements.value(tag)
    form = elements.order + ("I" if vr == "AT" else _NUMBERS[vr])
    size = struct.calcsize(form)
    return "\\".join(str(number) for (number,) in struct.iter_unpack(form, value[: len(value) // size * size]))


def write_identifier(attributes: DicomJson, transfer_syntax: str, character_set: str = "") -> bytes:
    """A data set of a match. It is written in `character_set` (a defined term) where that has every character, else in UTF-8."""
    term, codec = _repertoire(attributes, character_set)
    said = {name: item for name, item in attributes.items() if name != "00080005"}
    if term:
        said["00080005"] = {"vr": "CS", "Value": [term]}
    return _data_set(said, codec, implicit=transfer_syntax == IMPLICIT_LITTLE)


def _repertoire(attributes: DicomJson, wanted: str) -> tuple[str, str]:
    text = "".join(_texts(attributes.values()))
    if text.isascii():
        return wanted if charset.python_encoding.get(wanted) else "", "ascii"
    codec = charset.python_encoding.get(wanted)
    if codec is not None and wanted.startswith("ISO_IR"):
        try:
            text.encode(codec)
        except (UnicodeEncodeError, LookupError):
            return _UTF_8, "utf-8"
        return wanted, codec
    return _UTF_8, "utf-8"


def _texts(values: Iterable[Any]) -> Iterable[str]:
    for value in values:
        if isinstance(value, str):
            yield value
        elif isinstance(value, Mapping):
            yield from _texts(value.values())
        elif isinstance(value, (list, tuple)):
            yield from _texts(value)


def _data_set(attributes: DicomJson, codec: str, *, implicit: bool) -> bytes:
    return b"".join(_element(name, item, codec, implicit=implicit) for name, item in sorted(attributes.items()))


def _element(name: str, item: Mapping[str, Any], codec: str, *, implicit: bool) -> bytes:
    vr = str(item["vr"])
    octets = _value(vr, item, codec, implicit=implicit)
    if len(octets) % 2:
        octets += b"\0" if vr in ("UI", "OB", "UN") else b" "
    place = struct.pack("<HH", int(name[:4], 16), int(name[4:], 16))
    if implicit:
        return place + struct.pack("<I", len(octets)) + octets
    if vr.encode() in LONG_FORM:
        return place + vr.encode() + struct.pack("<HI", 0, len(octets)) + octets
    if len(octets) > 0xFFFF:
        # There is no room for its length: it goes as what no length is too long for. Spec: PS3.5 6.2.2.
        return place + b"UN" + struct.pack("<HI", 0, len(octets)) + octets
    return place + vr.encode() + struct.pack("<H", len(octets)) + octets


def _value(vr: str, item: Mapping[str, Any], codec: str, *, implicit: bool) -> bytes:
    if "InlineBinary" in item:
        return base64.b64decode(item["InlineBinary"])
    values = item.get("Value", ())
    if vr == "SQ":
        items = (_data_set(each, codec, implicit=implicit) for each in values)
        return b"".join(struct.pack("<HHI", 0xFFFE, 0xE000, len(each)) + each for each in items)
    if vr in _NUMBERS:
        return b"".join(struct.pack("<" + _NUMBERS[vr], _number(vr, value)) for value in values if value is not None)
    if vr == "AT":
        return b"".join(struct.pack("<HH", int(value[:4], 16), int(value[4:], 16)) for value in values if value)
    if vr == "PN":
        return "\\".join(_name(value) for value in values).encode(codec, "replace")
    return "\\".join("" if value is None else str(value) for value in values).encode(codec, "replace")


def _number(vr: str, value: Any) -> float:
    return float(value) if vr in ("FL", "FD") else int(value)


def _name(value: Mapping[str, str] | None) -> str:
    groups = (value or {}).get
    return "=".join(groups(form, "") for form in ("Alphabetic", "Ideographic", "Phonetic")).rstrip("=")
