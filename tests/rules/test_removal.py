"""When objects may be removed. Spec: ITI TF-2 3.62.4.1.3 (Remove Metadata and Documents)."""

from __future__ import annotations

import pytest

from xds.model.errors import ErrorCode
from xds.model.fragments import ObjectKind
from xds.model.removal import Reference, RemovalSurroundings
from xds.rules.removal import check

#: A submission set S with the entries A and B, B replacing nothing; links are named by their ends.
KINDS = {
    "S": ObjectKind.SUBMISSION_SET,
    "A": ObjectKind.DOCUMENT_ENTRY,
    "B": ObjectKind.DOCUMENT_ENTRY,
    **dict.fromkeys(("SA", "SB", "BA"), ObjectKind.ASSOCIATION),
}
LINKS = tuple(Reference(name, name[0], name[1]) for name in ("SA", "SB", "BA"))


def codes(*ids: str) -> list[tuple[ErrorCode, str]]:
    met = RemovalSurroundings(frozenset(ids) & KINDS.keys(), KINDS, LINKS)
    return [(error.code, error.context.split(":")[0]) for error in check(ids, met)]


@pytest.mark.parametrize("ids", [("S", "A", "B", "SA", "SB", "BA"), ("BA",), ("B", "SB", "BA"), ()])
def test_nothing_dangling_is_left(ids: tuple[str, ...]) -> None:
    assert codes(*ids) == []


def test_references_that_stay() -> None:
    assert codes("A", "SA") == [(ErrorCode.REFERENCES_EXIST, "DocumentEntry A")]
    assert codes("S") == [(ErrorCode.REFERENCES_EXIST, "SubmissionSet S")]


def test_objects_that_nothing_refers_to_any_more() -> None:
    assert codes("A", "B", "SA", "SB", "BA") == [(ErrorCode.UNREFERENCED_OBJECT, "SubmissionSet S")]
    assert codes("S", "SA", "SB", "BA") == [
        (ErrorCode.UNREFERENCED_OBJECT, "DocumentEntry A"),
        (ErrorCode.UNREFERENCED_OBJECT, "DocumentEntry B"),
    ]


def test_everything_is_told() -> None:
    assert codes("X", "A", "SB", "Y", "BA", "B") == [
        (ErrorCode.UNRESOLVED_REFERENCE, "ObjectRef X"),
        (ErrorCode.UNRESOLVED_REFERENCE, "ObjectRef Y"),
        (ErrorCode.REFERENCES_EXIST, "DocumentEntry A"),
    ]
