"""FHIR resources as XML, from and into the shape of their JSON.

Tolerated: elements in another order than the schema's, `xsi:schemaLocation`.

Spec: FHIR R4 2.6.1.
"""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from typing import Any, Final

from lxml import etree

from xds.wire.fhir_structure import MAX_ISSUES, PRIMITIVES, RESOURCES, Element, Issue, fields_of
from xds.wire.xml import XmlError, parse

FHIR: Final = "http://hl7.org/fhir"
_XHTML: Final = "http://www.w3.org/1999/xhtml"
_BOOLEANS: Final = {"true": True, "false": False}


def read_xml(data: bytes) -> tuple[Element, list[Issue]]:
    """The resource, and what of it could not be brought into the shape of JSON. Errors: XmlError."""
    root = parse(data)
    name = etree.QName(root)
    if name.namespace != FHIR:
        raise XmlError(f"the document element is not in the namespace {FHIR}")
    reading = _Reading()
    return reading.resource(root, name.localname), reading.issues


class _Reading:
    def __init__(self) -> None:
        self.issues: list[Issue] = []

    def _add(self, text: str, path: str) -> None:
        if len(self.issues) < MAX_ISSUES:
            self.issues.append(Issue("structure", text, path))

    def resource(self, element: etree._Element, path: str) -> Element:
        kind = etree.QName(element).localname
        if kind not in RESOURCES:
            return {"resourceType": kind}
        return {"resourceType": kind, **self._complex(element, kind, path)}

    def _complex(self, element: etree._Element, kind: str, path: str) -> Element:
        fields = fields_of(kind)
        found: Element = {name: str(element.attrib[name]) for name in ("id", "url") if name in element.attrib and name in fields}
        for child in element:
            tag = etree.QName(child)
            known = fields.get(tag.localname)
            is_narrative = known is not None and known[1] == "xhtml"
            if known is None or tag.namespace != (_XHTML if is_narrative else FHIR):
                self._add(f"{path}: there is no element {tag.localname[:40]!r}", path)
                continue
            field, each = known
            name = tag.localname
            repetition = len(found.get(name, ())) if field.is_list else 0
            where = f"{path}.{field.name}" + (f"[{repetition}]" if field.is_list else "")
            value, companion = self._value(child, each, where)
            if field.is_list:
                self._append(found, name, value, companion)
            elif name in found or f"_{name}" in found:
                self._add(f"{where}: one element is allowed", where)
            else:
                found |= {key: item for key, item in ((name, value), (f"_{name}", companion)) if item is not None}
        return found

    @staticmethod
    def _append(found: Element, name: str, value: Any, companion: Element | None) -> None:
        values = found.setdefault(name, [])
        values.append(value)
        if companion is not None:
            companions = found.setdefault(f"_{name}", [])
            companions += [None] * (len(values) - 1 - len(companions))
            companions.append(companion)

    def _value(self, element: etree._Element, kind: str, path: str) -> tuple[Any, Element | None]:
        """(value, id and extensions of a primitive)."""
        if kind == "xhtml":
            return etree.tostring(element, encoding="unicode", with_tail=False), None
        if kind in PRIMITIVES:
            companion = self._complex(element, "Element", path) if len(element) or "id" in element.attrib else None
            return _primitive(element.get("value"), kind), companion
        if kind == "Resource":
            inner = next(iter(element), None)
            return (self.resource(inner, path) if inner is not None else {}), None
        return self._complex(element, kind, path), None


def _primitive(text: str | None, kind: str) -> Any:
    """What JSON would hold. Text that does not fit its type stays text, and the check of the type finds it."""
    if text is None:
        return None
    if kind == "boolean":
        return _BOOLEANS.get(text, text)
    if kind in ("integer", "positiveInt", "unsignedInt"):
        digits = text.removeprefix("-")
        return int(text) if digits.isascii() and digits.isdigit() and len(digits) < 12 else text
    if kind == "decimal" and len(text) < 60:
        try:
            return Decimal(text)
        except InvalidOperation:
            return text
    return text


def write_xml(resource: Element, *, pretty: bool = False) -> bytes:
    """The resource in UTF-8. Its elements must stand in the order of the schema."""
    root = etree.Element(f"{{{FHIR}}}{resource['resourceType']}", nsmap={None: FHIR})  # type: ignore[dict-item]
    _write_members(root, resource, is_resource=True)
    if pretty:
        etree.indent(root)
    return etree.tostring(root, xml_declaration=True, encoding="UTF-8")


def _write_members(parent: etree._Element, members: Element, *, is_resource: bool = False) -> None:
    for name, value in members.items():
        if name == "resourceType":
            continue
        if not is_resource and (name == "id" or (name == "url" and _is_extension(parent))):
            parent.set(name, value)
        elif name.startswith("_"):
            if name[1:] not in members:
                _write(parent, name[1:], None, value)
        elif isinstance(value, list):
            companions = members.get(f"_{name}") or []
            for number, each in enumerate(value):
                _write(parent, name, each, companions[number] if number < len(companions) else None)
        else:
            _write(parent, name, value, members.get(f"_{name}"))


def _is_extension(element: etree._Element) -> bool:
    return etree.QName(element).localname in ("extension", "modifierExtension")


def _write(parent: etree._Element, name: str, value: Any, companion: Element | None) -> None:
    if name == "div" and isinstance(value, str):
        parent.append(parse(value.encode()))
        return
    element = etree.SubElement(parent, f"{{{FHIR}}}{name}")
    if isinstance(value, dict):
        if "resourceType" in value:
            element = etree.SubElement(element, f"{{{FHIR}}}{value['resourceType']}")
        _write_members(element, value, is_resource="resourceType" in value)
        return
    if companion:
        _write_members(element, companion)
    if value is not None:
        element.set("value", str(value).lower() if isinstance(value, bool) else str(value))
