"""Submissions whose relationships lead in circles, or are very many. Spec: ITI TF-3 4.2.2.2."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.actors.registry_fixtures import APPROVED, BOTH, Registry, open_registry
from tests.builders import PATIENT_ID, association, document_entry, has_member, submission, uuid_for
from xds.model.errors import MAX_LISTED_ERRORS, ErrorCode
from xds.model.metadata import DocumentEntry, RegistryObject, Submission
from xds.model.vocabulary import AssociationType, StoredQueryId

MANY = 2000


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[Registry]:
    opened = open_registry(tmp_path)
    yield opened
    opened.database.close()


def with_more(message: Submission, *more: RegistryObject) -> Submission:
    return Submission.of(*message.objects(), *more)


def ids(registry: Registry, status: str) -> set[str]:
    found = registry.ask(StoredQueryId.FIND_DOCUMENTS, XDSDocumentEntryPatientId=f"'{PATIENT_ID}'", XDSDocumentEntryStatus=status)
    return {item.id for item in found if isinstance(item, DocumentEntry)}


@pytest.mark.parametrize("size", [2, 3, 40])
def test_replacing_one_of_a_circle_of_appended_documents_deprecates_the_circle(registry: Registry, size: int) -> None:
    entries = [document_entry(id=uuid_for(number)) for number in range(size)]
    circle = [
        association(AssociationType.APND, entry, entries[(number + 1) % size], id=f"link{number}")
        for number, entry in enumerate(entries)
    ]
    registry.accept(with_more(submission(entries), *circle))
    new = document_entry(id=uuid_for(1000))
    registry.accept(with_more(submission([new]), association(AssociationType.RPLC, new, entries[0].id)))
    assert ids(registry, APPROVED) == {new.id}
    assert len(ids(registry, BOTH)) == size + 1
    related = registry.ask(
        StoredQueryId.GET_RELATED_DOCUMENTS,
        XDSDocumentEntryEntryUUID=f"'{entries[0].id}'",
        AssociationTypes=f"('{AssociationType.APND}','{AssociationType.RPLC}')",
    )
    assert {item.id for item in related if isinstance(item, DocumentEntry)} == {
        new.id,
        *(entries[number].id for number in (0, 1, size - 1)),
    }


def test_very_many_relationships_are_told_one_by_one_and_soon(registry: Registry) -> None:
    entry = document_entry()
    loops = [association(AssociationType.SIGNS, entry, entry, id=f"loop{number}") for number in range(MANY)]
    dangling = [association(AssociationType.APND, entry, uuid_for(number), id=f"end{number}") for number in range(MANY)]
    began = time.process_time()
    response = registry.register(with_more(submission([entry]), *loops, *dangling))
    assert time.process_time() - began < 30
    codes = [error.code for error in response.errors]
    assert codes.count(ErrorCode.REGISTRY_METADATA_ERROR) == MANY
    assert codes.count(ErrorCode.UNRESOLVED_REFERENCE) == MANY


def test_one_id_for_everything_is_refused(registry: Registry) -> None:
    message = submission([document_entry(id="same")])
    members = [has_member(message.submission_set, "same", id="same") for _ in range(50)]
    assert ErrorCode.REGISTRY_METADATA_ERROR in registry.refuse(with_more(message, *members))


def test_very_many_errors_are_counted_and_the_first_of_each_code_is_told(registry: Registry) -> None:
    """Nobody reads a million errors: an answer lists some, and says how many more there are."""
    message = submission([document_entry()])
    broken = [
        association(AssociationType.HAS_MEMBER, uuid_for(10_000 + number), f"nothing{number}", id=f"a{number}")
        for number in range(4 * MANY)
    ]
    late = document_entry(id=uuid_for(5), patient_id="other^^^&1.2.3&ISO")
    response = registry.register(with_more(message, *broken, late))
    assert not response.succeeded
    assert MAX_LISTED_ERRORS < len(response.errors) < 2 * MAX_LISTED_ERRORS + 10
    assert {error.code for error in response.errors} >= {ErrorCode.UNRESOLVED_REFERENCE, ErrorCode.PATIENT_ID_DOES_NOT_MATCH}
    assert any(error.context.endswith("more errors are not listed") for error in response.errors)
