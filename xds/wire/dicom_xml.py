"""Data sets in the Native DICOM Model (XML), made from the JSON model.

Spec: DICOM PS3.19 A.1; PS3.18 8.7.3.4.
"""

from __future__ import annotations

from typing import Any, Final

from lxml import etree
from pydicom.datadict import keyword_for_tag

from xds.model.imaging_query import DicomJson

_NAMESPACE: Final = "http://dicom.nema.org/PS3.19/models/NativeDICOM"
_IN: Final = f"{{{_NAMESPACE}}}"
_NAME_PARTS: Final = ("FamilyName", "GivenName", "MiddleName", "NamePrefix", "NameSuffix")
#: Characters that XML 1.0 has not.
_UNWRITABLE: Final = {code: None for code in range(0x20) if code not in (0x09, 0x0A, 0x0D)} | {0xFFFE: None, 0xFFFF: None}


def write_native_model(item: DicomJson) -> bytes:
    """One data set as an XML document."""
    root = etree.Element(f"{_IN}NativeDicomModel", nsmap={None: _NAMESPACE})  # type: ignore[dict-item]
    _attributes(root, item)
    return etree.tostring(root, xml_declaration=True, encoding="UTF-8")


def _attributes(parent: etree._Element, item: DicomJson) -> None:
    for tag, element in item.items():
        node = etree.SubElement(parent, f"{_IN}DicomAttribute", tag=tag, vr=element["vr"])
        keyword = keyword_for_tag(int(tag, 16))
        if keyword:
            node.set("keyword", keyword)
        if "BulkDataURI" in element:
            etree.SubElement(node, f"{_IN}BulkData", uri=element["BulkDataURI"])
        elif "InlineBinary" in element:
            etree.SubElement(node, f"{_IN}InlineBinary").text = element["InlineBinary"]
        else:
            _values(node, element["vr"], element.get("Value", ()))


def _values(node: etree._Element, vr: str, values: Any) -> None:
    for number, value in enumerate(values, 1):
        if vr == "SQ":
            _attributes(etree.SubElement(node, f"{_IN}Item", number=str(number)), value)
        elif vr == "PN":
            _name(etree.SubElement(node, f"{_IN}PersonName", number=str(number)), value or {})
        else:
            etree.SubElement(node, f"{_IN}Value", number=str(number)).text = _text(value)


def _name(node: etree._Element, groups: DicomJson) -> None:
    for group in ("Alphabetic", "Ideographic", "Phonetic"):
        if group in groups:
            part = etree.SubElement(node, _IN + group)
            for name, text in zip(_NAME_PARTS, str(groups[group]).split("^"), strict=False):
                if text:
                    etree.SubElement(part, _IN + name).text = _text(text)


def _text(value: Any) -> str:
    return "" if value is None else str(value).translate(_UNWRITABLE)
