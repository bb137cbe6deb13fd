"""The Native DICOM Model (XML) as a data set in the JSON model.

Spec: DICOM PS3.19 A.1; PS3.18 F.
"""

from __future__ import annotations

from typing import Any, Final

from lxml import etree

from xds.wire.dicom import MAX_DEPTH, DicomError
from xds.wire.xml import XmlError, parse

_IN: Final = "{http://dicom.nema.org/PS3.19/models/NativeDICOM}"
_GROUPS: Final = ("Alphabetic", "Ideographic", "Phonetic")
_NAME_PARTS: Final = ("FamilyName", "GivenName", "MiddleName", "NamePrefix", "NameSuffix")


def read_native_model(octets: bytes) -> dict[str, Any]:
    """The data set of an XML document. Errors: DicomError when it is none."""
    try:
        root = parse(octets)
    except XmlError as problem:
        raise DicomError(str(problem)) from None
    if root.tag != f"{_IN}NativeDicomModel":
        raise DicomError("the document is no NativeDicomModel")
    return _attributes(root, 0)


def _attributes(parent: etree._Element, depth: int) -> dict[str, Any]:
    if depth > MAX_DEPTH:
        raise DicomError(f"sequences are nested more than {MAX_DEPTH} deep")
    return {node.get("tag", "").upper(): _element(node, depth) for node in parent.iterchildren(f"{_IN}DicomAttribute")}


def _element(node: etree._Element, depth: int) -> dict[str, Any]:
    element: dict[str, Any] = {"vr": node.get("vr", "")}
    bulk, inline = node.find(f"{_IN}BulkData"), node.find(f"{_IN}InlineBinary")
    if bulk is not None:
        element["BulkDataURI"] = bulk.get("uri") or bulk.get("uuid") or ""
    elif inline is not None:
        element["InlineBinary"] = "".join((inline.text or "").split())
    elif element["vr"] == "SQ":
        element["Value"] = [_attributes(item, depth + 1) for item in node.iterchildren(f"{_IN}Item")]
    elif element["vr"] == "PN":
        element["Value"] = [_name(name) for name in node.iterchildren(f"{_IN}PersonName")]
    else:
        element["Value"] = [value.text or None for value in node.iterchildren(f"{_IN}Value")]
    return element


def _name(node: etree._Element) -> dict[str, str]:
    found = {}
    for group in _GROUPS:
        part = node.find(_IN + group)
        if part is not None:
            found[group] = "^".join(part.findtext(_IN + name) or "" for name in _NAME_PARTS).rstrip("^")
    return found
