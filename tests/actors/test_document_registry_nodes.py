"""Several nodes register at the same moment in one database: the rules of submissions hold between them too.

Spec: ITI TF-2 3.42.4.1.3.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from sqlalchemy import func, select

from tests.actors.registry_fixtures import BOTH, Registry, open_registry
from tests.builders import PATIENT_ID, association, document_entry, fresh_uid, submission, submission_set
from xds.model.errors import ErrorCode, RegistryResponse
from xds.model.metadata import Submission
from xds.model.vocabulary import AssociationType, StoredQueryId
from xds.store.schema.registry import code, patient

RIVALS = 8
OTHER_PATIENT = "P2^^^&1.2.3.4.5&ISO"


@pytest.fixture
def nodes(tmp_path: Path) -> Iterator[tuple[Registry, Registry]]:
    opened = (open_registry(tmp_path), open_registry(tmp_path))
    opened[0].announce(OTHER_PATIENT)
    for node in opened:
        # New codes would make the rivals wait for each other; they are to meet later.
        node.accept(submission(1, patient_id=OTHER_PATIENT))
    yield opened
    for node in opened:
        node.database.close()


def race(nodes: Sequence[Registry], make: Callable[[int], Submission]) -> list[RegistryResponse]:
    """Let the nodes register what `make` gives, all at once."""
    ready = threading.Barrier(RIVALS)

    def register(number: int) -> RegistryResponse:
        made = make(number)
        ready.wait(60)
        return nodes[number % len(nodes)].register(made)

    with ThreadPoolExecutor(RIVALS) as pool:
        return list(pool.map(register, range(RIVALS)))


def errors(responses: Sequence[RegistryResponse]) -> list[set[ErrorCode]]:
    return [{error.code for error in response.errors} for response in responses if not response.succeeded]


def test_one_submission_set_is_registered_once(nodes: tuple[Registry, Registry]) -> None:
    contested = fresh_uid()
    responses = race(nodes, lambda _number: submission(1, submission_set=submission_set(unique_id=contested)))
    assert errors(responses) == [{ErrorCode.DUPLICATE_UNIQUE_ID_IN_REGISTRY}] * (RIVALS - 1)


def test_one_unique_id_has_one_content(nodes: tuple[Registry, Registry]) -> None:
    contested = fresh_uid()
    responses = race(nodes, lambda number: submission([document_entry(unique_id=contested, hash=f"{number:040x}")]))
    assert errors(responses) == [{ErrorCode.NON_IDENTICAL_HASH}] * (RIVALS - 1)


def test_identical_content_may_be_registered_by_all(nodes: tuple[Registry, Registry]) -> None:
    contested = fresh_uid()
    assert errors(race(nodes, lambda _number: submission([document_entry(unique_id=contested)]))) == []
    found = nodes[0].ask(StoredQueryId.GET_DOCUMENTS, XDSDocumentEntryUniqueId=f"('{contested}')")
    assert len(found) == RIVALS


def test_a_document_is_replaced_once(nodes: tuple[Registry, Registry]) -> None:
    old = document_entry(unique_id=fresh_uid())
    nodes[0].accept(submission([old]))
    (registered,) = nodes[1].ask(StoredQueryId.GET_DOCUMENTS, XDSDocumentEntryUniqueId=f"('{old.unique_id}')")

    def replacement(number: int) -> Submission:
        new = document_entry(id=f"new{number}", unique_id=fresh_uid())
        return submission([new], others=[association(AssociationType.RPLC, new, registered.id)])

    assert errors(race(nodes, replacement)) == [{ErrorCode.REGISTRY_DEPRECATED_DOCUMENT}] * (RIVALS - 1)
    found = nodes[0].ask(StoredQueryId.FIND_DOCUMENTS, XDSDocumentEntryPatientId=f"'{PATIENT_ID}'", XDSDocumentEntryStatus=BOTH)
    assert len(found) == 2


def test_a_new_patient_and_new_codes_are_made_known_once(tmp_path: Path) -> None:
    opened = [open_registry(tmp_path, require_known_patient=False) for _ in range(2)]
    try:
        responses = race(opened, lambda _number: submission(1, patient_id=PATIENT_ID))
        assert errors(responses) == []
        with opened[0].database.read() as connection:
            patients = connection.execute(select(func.count()).select_from(patient)).scalar_one()
            pairs = connection.execute(select(code.c.code, code.c.scheme)).all()
        assert patients == 1
        assert len(pairs) == len(set(pairs))
    finally:
        for node in opened:
            node.database.close()
