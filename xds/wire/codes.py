"""The codes of an affinity domain as XML, in the form in which the NIST XDS Toolkit keeps them (`codes.xml`).

Tolerated deviations: attributes and elements that this software does not need (`system`, `display`, `AssigningAuthority`);
a CodeType without codes restricts nothing.
"""

from __future__ import annotations

from lxml import etree

from xds.model.codes import AffinityDomainCodes, ValueSet
from xds.wire.xml import XmlError, parse


def read_codes(data: bytes) -> AffinityDomainCodes:
    """The value sets of a `codes.xml`.

    Errors: XmlError when it is not XML, or names a code type without saying which classificationScheme it belongs to.
    """
    root = parse(data)
    if root.tag != "Codes":
        raise XmlError("not a codes file: the root element must be Codes")
    value_sets: dict[str, ValueSet] = {}
    mime_types: frozenset[str] = frozenset()
    for code_type in root.iterchildren("CodeType"):
        name = code_type.get("name", "")
        if name == "mimeType":
            mime_types = frozenset(code.get("code", "").lower() for code in code_type.iterchildren("Code"))
            continue
        scheme = code_type.get("classScheme")
        if not scheme:
            raise XmlError(f"not a codes file: the CodeType {name[:64]} must have a classScheme")
        codes = _codes(code_type)
        if codes:
            value_sets[scheme] = ValueSet(name, codes)
    return AffinityDomainCodes(value_sets, mime_types)


def _codes(code_type: etree._Element) -> frozenset[tuple[str, str]]:
    return frozenset((code.get("code", ""), code.get("codingScheme", "")) for code in code_type.iterchildren("Code"))
