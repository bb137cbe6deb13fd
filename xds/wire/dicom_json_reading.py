"""Data sets in the DICOM JSON model as DICOM: what queries answer becomes a header like that of a file.

Tolerated: numbers written as strings and strings as numbers, a single value in place of an array, names as plain strings,
representations that are unknown (left out). What is given by a URI is left out.

Spec: DICOM PS3.18 F.
"""

from __future__ import annotations

import base64
import binascii
import struct
from collections.abc import Mapping
from typing import Any, Final

from xds.wire.dicom import EXPLICIT_LITTLE, LONG_FORM, DicomError
from xds.wire.dicom_header import Header, read_header
from xds.wire.dicom_values import write_element, write_file_meta

_TEXT: Final = frozenset({"AE", "AS", "CS", "DA", "DS", "DT", "IS", "LO", "LT", "SH", "ST", "TM", "UC", "UI", "UR", "UT"})
_NUMBER: Final = {"US": "<H", "SS": "<h", "UL": "<I", "SL": "<i", "UV": "<Q", "SV": "<q", "FL": "<f", "FD": "<d"}
_CHARACTER_SET: Final = "00080005"
_DEPTH: Final = 16


def header_of(item: Mapping[str, Any]) -> Header:
    """The header that these attributes are. Errors: DicomError for what is no data set in the JSON model."""
    elements = {key: value for key, value in item.items() if key != _CHARACTER_SET}
    meta = write_file_meta(text_of(item, "00080016"), text_of(item, "00080018"), EXPLICIT_LITTLE)
    return read_header((meta + write_data_set({_CHARACTER_SET: {"vr": "CS", "Value": ["ISO_IR 192"]}, **elements}),))


def text_of(item: Mapping[str, Any], tag: str) -> str:
    """The first value of an element as text; empty when there is none."""
    element = item.get(tag)
    values = element.get("Value") if isinstance(element, Mapping) else None
    first = values[0] if isinstance(values, list) and values else None
    return "" if first is None or isinstance(first, Mapping) else str(first).strip(" \0")


def number_of(item: Mapping[str, Any], tag: str) -> int | None:
    """The first value of an element as a number; None when it is none."""
    text = text_of(item, tag)
    return int(text) if text.isascii() and text.isdigit() else None


def write_data_set(item: Mapping[str, Any], depth: int = 0) -> bytes:
    """A data set or item in explicit little endian and UTF-8. Errors: DicomError."""
    if depth > _DEPTH:
        raise DicomError(f"sequences are nested more than {_DEPTH} deep")
    written = []
    for key in sorted(item):
        element = item[key]
        if len(key) != 8 or not isinstance(element, Mapping) or "BulkDataURI" in element:
            continue
        try:
            tag, vr = int(key, 16), str(element.get("vr", ""))
            value = _value(element, vr, depth)
        except (ValueError, TypeError, struct.error, binascii.Error, OverflowError) as problem:
            if isinstance(problem, DicomError):
                raise
            raise DicomError(f"element {key[:8]} has a value that its representation does not permit") from None
        if value is None or (len(value) > 0xFFFE and vr.encode() not in LONG_FORM):
            continue
        written.append(write_element(tag, vr, value))
    return b"".join(written)


def _value(element: Mapping[str, Any], vr: str, depth: int) -> bytes | list[bytes] | None:
    if "InlineBinary" in element:
        return base64.b64decode(element["InlineBinary"], validate=True)
    found = element.get("Value", [])
    values = found if isinstance(found, list) else [found]
    if vr == "SQ":
        return [write_data_set(value, depth + 1) for value in values if isinstance(value, Mapping)]
    if vr == "PN":
        return "\\".join(map(_name, values)).encode()
    if vr in _TEXT:
        return "\\".join("" if value is None else str(value) for value in values).encode()
    if vr in _NUMBER:
        kind = float if vr in ("FL", "FD") else int
        return b"".join(struct.pack(_NUMBER[vr], kind(value)) for value in values if value is not None)
    if vr == "AT":
        pairs = (int(str(value), 16) for value in values if value is not None)
        return b"".join(struct.pack("<HH", pair >> 16, pair & 0xFFFF) for pair in pairs)
    return None


def _name(value: object) -> str:
    if isinstance(value, Mapping):
        groups = [str(value.get(group) or "") for group in ("Alphabetic", "Ideographic", "Phonetic")]
        return "=".join(groups).rstrip("=")
    return "" if value is None else str(value)
