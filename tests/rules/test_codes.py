"""Codes of the affinity domain. Spec: ITI TF-2 3.42.4.1.3."""

from __future__ import annotations

import pytest

from tests.builders import association, document_entry, folder, submission
from xds.model.codes import AffinityDomainCodes, ValueSet
from xds.model.errors import ErrorCode, RegistryError, Severity
from xds.model.metadata import Code
from xds.model.vocabulary import ASSOCIATION_DOCUMENTATION, AssociationType, DocumentEntryScheme, FolderScheme
from xds.rules.codes import Strictness, check

CODES = AffinityDomainCodes(
    {
        DocumentEntryScheme.CLASS_CODE.value: ValueSet("classCode", frozenset({("A", "1.2"), ("B", "1.2")})),
        FolderScheme.CODE.value: ValueSet("folderCodeList", frozenset({("F", "1.3")})),
        ASSOCIATION_DOCUMENTATION: ValueSet("associationDocumentation", frozenset({("R", "1.4")})),
    },
    frozenset({"application/pdf"}),
)


def test_known_codes_pass_whatever_their_display_name() -> None:
    relation = association(AssociationType.RPLC, "Document01", "urn:uuid:1", documentation=Code("R", "1.4", "x"))
    sent = submission(
        [document_entry(class_code=Code("A", "1.2", "anything"), mime_type="Application/PDF; version=1.4")],
        folders=[folder(code_list=(Code("F", "1.3"),))],
        others=[relation],
    )
    assert check(sent, CODES, Strictness.STRICT) == []


@pytest.mark.parametrize("code", [Code("C", "1.2"), Code("A", "1.3"), Code("a", "1.2")])
def test_an_unknown_code_is_named(code: Code) -> None:
    expected = f"DocumentEntry Document01: classCode: must be a code of the affinity domain; received '{code}'"
    sent = submission([document_entry(class_code=code)])
    assert check(sent, CODES, Strictness.STRICT) == [RegistryError(ErrorCode.REGISTRY_METADATA_ERROR, expected)]
    assert check(sent, CODES, Strictness.WARN) == [RegistryError(ErrorCode.REGISTRY_METADATA_ERROR, expected, Severity.WARNING)]
    assert check(sent, CODES, Strictness.OFF) == []


def test_every_unknown_code_and_mime_type_is_reported() -> None:
    entry = document_entry(mime_type="text/goofy", class_code=Code("X", "1"))
    sent = submission([entry], folders=[folder(code_list=(Code("Y", "1"), Code("F", "1.3"), Code("Z", "1")))])
    contexts = [error.context.rpartition("; ")[2] for error in check(sent, CODES, Strictness.STRICT)]
    assert contexts == ["received 'X^^1'", "received 'Y^^1'", "received 'Z^^1'", "received 'text/goofy'"]


def test_what_is_not_listed_is_not_restricted() -> None:
    assert check(submission(2, folders=1), AffinityDomainCodes(), Strictness.STRICT) == []
