"""The WSDLs and XML Schemas as a server hands them out, with its own address in them.

Spec: ITI TF-2 Appendix V.2 (WSDL); WSDL 1.1; WS-I Basic Profile 2.0.
"""

from __future__ import annotations

import functools
from urllib.parse import urlsplit

from lxml import etree

from xds.resources import schema_path, wsdl_path

_WSOAP12 = "http://schemas.xmlsoap.org/wsdl/soap12/"
_XS = "http://www.w3.org/2001/XMLSchema"

#: The contracts by the name that a transaction's record gives them.
WSDLS = (
    "registry.wsdl",
    "repository.wsdl",
    "imaging-source.wsdl",
    "pix-manager.wsdl",
    "pix-consumer.wsdl",
    "pdq-supplier.wsdl",
)

#: The schemas that the contracts and each other import; no other file is handed out.
SCHEMAS = (
    "hl7v3.xsd",
    "hl7v3-datatypes.xsd",
    "lcm.xsd",
    "query.xsd",
    "rim.xsd",
    "rmd.xsd",
    "rs.xsd",
    "xdsb.xsd",
    "xdsi.xsd",
    "xml.xsd",
)


def wsdl_document(name: str, address: str) -> bytes:
    """A WSDL whose service stands at `address`, its schemas at `address?xsd=NAME`.

    `name` is a file name of `WSDLS`, with or without its ending; `address` an absolute http or https URL without query.

    Errors: ValueError for an address that is no such URL, FileNotFoundError for a name that is not in the list.
    """
    known = _known(name, ".wsdl", WSDLS)
    _check(address)
    root = etree.fromstring(_wsdl(known))
    for element in root.iter(f"{{{_WSOAP12}}}address"):
        element.set("location", address)
    return _served(root, address)


def schema_document(name: str, address: str) -> bytes:
    """A schema whose imports point to `address?xsd=NAME`.

    `name` is a file name of `SCHEMAS`, with or without its ending; `address` as for `wsdl_document`. Errors: likewise.
    """
    known = _known(name, ".xsd", SCHEMAS)
    _check(address)
    return _served(etree.fromstring(_schema(known)), address)


def _known(name: str, ending: str, names: tuple[str, ...]) -> str:
    """The file name out of the fixed list; what a client sent never becomes part of a path."""
    wanted = name if name.endswith(ending) else name + ending
    if wanted not in names:
        raise FileNotFoundError(f"there is no such document; these are: {', '.join(names)}")
    return wanted


def _check(address: str) -> None:
    try:
        parts = urlsplit(address)
    except ValueError:
        raise ValueError("the address of a service is not a URL") from None
    if parts.scheme not in ("http", "https") or not parts.netloc or parts.query or parts.fragment:
        raise ValueError("the address of a service is an absolute http or https URL without query")
    if not address.isascii() or not address.isprintable() or any(character in address for character in " <>\"'&"):
        raise ValueError("the address of a service has characters that a URL cannot have")


def _served(root: etree._Element, address: str) -> bytes:
    for element in root.iter(f"{{{_XS}}}import", f"{{{_XS}}}include"):
        location = element.get("schemaLocation")
        if location is not None:
            element.set("schemaLocation", f"{address}?xsd={location.rpartition('/')[2]}")
    return etree.tostring(root, xml_declaration=True, encoding="UTF-8")


@functools.cache
def _wsdl(name: str) -> bytes:
    return wsdl_path(name).read_bytes()


@functools.cache
def _schema(name: str) -> bytes:
    return schema_path(name).read_bytes()
