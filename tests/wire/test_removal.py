"""Requests to remove metadata and documents. Spec: ITI TF-2 3.62.4.1, 3.86.4.1."""

from __future__ import annotations

import pytest

from tests.builders import uuid_for
from xds.model.retrieval import DocumentRequest
from xds.wire.removal import read_remove_documents, read_remove_objects, write_remove_documents, write_remove_objects
from xds.wire.xml import LCM, RIM, RMD, XDSB, parse, schema_errors

IDS = (uuid_for(1), uuid_for(2))
DELETE_ALL = "urn:oasis:names:tc:ebxml-regrep:DeletionScopeType:DeleteAll"


def objects(content: str, attributes: str = "") -> bytes:
    start = f'<lcm:RemoveObjectsRequest xmlns:lcm="{LCM}" xmlns:rim="{RIM}"{attributes}>'
    return f"{start}{content}</lcm:RemoveObjectsRequest>".encode()


def references(*ids: str) -> str:
    items = "".join(f'<rim:ObjectRef id="{item}"/>' for item in ids)
    return f"<rim:ObjectRefList>{items}</rim:ObjectRefList>"


def test_what_is_written_is_read() -> None:
    element = parse(write_remove_objects(IDS))
    assert schema_errors(element, "lcm.xsd") == []
    assert read_remove_objects(element) == (IDS, [])


def test_blanks_repetitions_and_the_default_scope_are_tolerated() -> None:
    element = parse(objects(references(f" {IDS[0]} ", IDS[1], IDS[0]), f' deletionScope="{DELETE_ALL}"'))
    assert read_remove_objects(element) == (IDS, [])


@pytest.mark.parametrize(
    ("message", "named"),
    [
        (objects(""), ["ObjectRefList"]),
        (objects(references()), ["ObjectRefList"]),
        (objects(references(IDS[0]), ' deletionScope="urn:x:DeleteRepositoryItemOnly"'), ["deletionScope"]),
        (objects(f'<rim:AdhocQuery id="{IDS[0]}"/>', ' deletionScope="urn:x"'), ["AdhocQuery", "deletionScope", "ObjectRefList"]),
        (objects("<rim:ObjectRefList><rim:ObjectRef/></rim:ObjectRefList>"), ["id"]),
        (objects("<rim:Slot/>"), ["Slot"]),
    ],
)
def test_every_breach_of_form_is_named(message: bytes, named: list[str]) -> None:
    _, problems = read_remove_objects(parse(message))
    assert len(problems) == len(named)
    assert all(name in problem for name, problem in zip(named, problems, strict=True))


def test_documents_are_read_as_they_were_written() -> None:
    requests = (DocumentRequest("1.2.3", "4.5&6"), DocumentRequest("1.2.3", "7", "urn:oid:1.2"))
    element = parse(write_remove_documents([*requests, requests[0]]))
    assert schema_errors(element, "rmd.xsd") == []
    assert read_remove_documents(element) == (requests, [])


def test_a_request_for_no_document_is_refused() -> None:
    requests, problems = read_remove_documents(parse(f'<rmd:RemoveDocumentsRequest xmlns:rmd="{RMD}"/>'.encode()))
    assert (requests, len(problems)) == ((), 1)
    wrong = f'<rmd:RemoveDocumentsRequest xmlns:rmd="{RMD}"><x:DocumentRequest xmlns:x="{XDSB}"/></rmd:RemoveDocumentsRequest>'
    assert read_remove_documents(parse(wrong.encode()))[1] != []
