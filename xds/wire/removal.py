"""Requests to remove: registry objects by ITI-62, documents by ITI-86. Both are answered by an `rs:RegistryResponse`.

Tolerated deviations, when reading:

| received | read as |
|---|---|
| blanks around the id of an ObjectRef, a uniqueId or a repositoryUniqueId | dropped |
| `deletionScope` DeleteAll, which is the schema's default | absent |

Spec: ITI TF-2 3.62.4.1, 3.86.4.1 (Remove Metadata and Documents).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from lxml import etree

from xds.model.retrieval import DocumentRequest
from xds.wire.ebrim import escape
from xds.wire.ebrs import document_request, read_document_request
from xds.wire.xml import LCM, RIM, RMD, XDSB, schema_errors

_BLANKS: Final = " \t\r\n"
_DELETE_ALL: Final = "urn:oasis:names:tc:ebxml-regrep:DeletionScopeType:DeleteAll"


def read_remove_objects(element: etree._Element) -> tuple[tuple[str, ...], list[str]]:
    """The ids that an `lcm:RemoveObjectsRequest` names, each once, and what is wrong with its form, in words.

    Spec: ITI TF-2 3.62.4.1.2.
    """
    problems = schema_errors(element, "lcm.xsd")
    if problems:
        return (), problems
    if element.find(f"{{{RIM}}}AdhocQuery") is not None:
        problems.append("RemoveObjectsRequest: AdhocQuery: must be absent; received one")
    scope = element.get("deletionScope", _DELETE_ALL)
    if scope.strip(_BLANKS) != _DELETE_ALL:
        problems.append(f"RemoveObjectsRequest: deletionScope: must be absent; received '{scope[:100]}'")
    references = element.iterfind(f"{{{RIM}}}ObjectRefList/{{{RIM}}}ObjectRef")
    ids = tuple(dict.fromkeys(item.get("id", "").strip(_BLANKS) for item in references))
    if not ids:
        problems.append("RemoveObjectsRequest: ObjectRefList: must name at least one object; received none")
    return ids, problems


def write_remove_objects(ids: Iterable[str]) -> bytes:
    """An `lcm:RemoveObjectsRequest` that declares its own namespaces. Spec: ITI TF-2 3.62.4.1.2."""
    references = "".join(f'<rim:ObjectRef id="{escape(item)}"/>' for item in ids)
    return (
        f'<lcm:RemoveObjectsRequest xmlns:lcm="{LCM}" xmlns:rim="{RIM}">'
        f"<rim:ObjectRefList>{references}</rim:ObjectRefList></lcm:RemoveObjectsRequest>"
    ).encode()


def read_remove_documents(element: etree._Element) -> tuple[tuple[DocumentRequest, ...], list[str]]:
    """The documents that an `rmd:RemoveDocumentsRequest` names, each once, and what is wrong with its form, in words.

    Spec: ITI TF-2 3.86.4.1.2.
    """
    problems = schema_errors(element, "rmd.xsd")
    if problems:
        return (), problems
    requests = (read_document_request(item) for item in element.iterchildren(f"{{{XDSB}}}DocumentRequest"))
    return tuple(dict.fromkeys(requests)), []


def write_remove_documents(requests: Iterable[DocumentRequest]) -> bytes:
    """An `rmd:RemoveDocumentsRequest` that declares its own namespaces. Spec: ITI TF-2 3.86.4.1.2."""
    items = "".join(f"<xds:DocumentRequest>{document_request(item)}</xds:DocumentRequest>" for item in requests)
    return f'<rmd:RemoveDocumentsRequest xmlns:rmd="{RMD}" xmlns:xds="{XDSB}">{items}</rmd:RemoveDocumentsRequest>'.encode()
