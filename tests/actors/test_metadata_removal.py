"""Removing metadata. Spec: ITI TF-2 3.62.4.1.3 (Remove Metadata and Documents)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from sqlalchemy import func, select

from tests.actors.registry_fixtures import BOTH, CALLER, Registry, open_registry
from tests.builders import PATIENT_ID, association, document_entry, fresh_uid, has_member, submission, uuid_for
from tests.builders import folder as a_folder
from tests.builders import submission_set as a_submission_set
from xds.model.caller import Action, Caller, Resource
from xds.model.errors import ErrorCode
from xds.model.metadata import Association, RegistryObject, Submission
from xds.model.vocabulary import AssociationType, StoredQueryId
from xds.store import audit
from xds.store.schema.registry import (
    document_entry as document_entry_table,
)
from xds.store.schema.registry import (
    object_code,
    object_text,
    registry_object,
    unique_identifier,
)

OTHER_PATIENT = "P2^^^&1.2.3.4.5&ISO"


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[Registry]:
    opened = open_registry(tmp_path)
    yield opened
    opened.database.close()


def everything(registry: Registry, patient_id: str = PATIENT_ID) -> list[RegistryObject]:
    return registry.ask(
        StoredQueryId.GET_ALL,
        patientId=f"'{patient_id}'",
        XDSDocumentEntryStatus=BOTH,
        XDSSubmissionSetStatus=BOTH,
        XDSFolderStatus=BOTH,
    )


def ids(objects: Sequence[RegistryObject]) -> list[str]:
    return [item.id for item in objects]


def one(number: int, *others: Association) -> Submission:
    """A submission of one document with UUIDs that follow from the number: entry, submission set, membership."""
    entry = document_entry(id=uuid_for(number), unique_id=fresh_uid())
    package = a_submission_set(id=uuid_for(number + 1))
    return Submission.of(package, entry, has_member(package, entry, id=uuid_for(number + 2)), *others)


def test_a_whole_submission_is_removed_with_every_row(registry: Registry) -> None:
    registry.accept(submission([document_entry(reference_ids=("x^^^^urn:x",))], folders=1))
    found = everything(registry)
    assert len(found) == 7
    assert registry.actor.remove(ids(found), CALLER).succeeded
    assert everything(registry) == []
    with registry.database.read() as connection:
        for table in (registry_object, unique_identifier, document_entry_table, object_code, object_text):
            assert connection.execute(select(func.count()).select_from(table)).scalar_one() == 0, table.name


def test_what_was_removed_may_be_submitted_again(registry: Registry) -> None:
    whole = one(1)
    for _ in range(2):
        registry.accept(whole)
        assert registry.actor.remove(ids(whole.objects()), CALLER).succeeded
    registry.accept(whole)
    assert set(ids(everything(registry))) == set(ids(whole.objects()))


def test_every_reason_is_told_at_once_and_nothing_is_removed(registry: Registry) -> None:
    registry.accept(one(1))
    registry.accept(one(11))
    absent = uuid_for(99)
    response = registry.actor.remove([uuid_for(1), absent, uuid_for(13), "not-a-uuid", uuid_for(11)], CALLER)
    codes = [error.code for error in response.errors]
    assert codes == [
        ErrorCode.UNRESOLVED_REFERENCE,
        ErrorCode.UNRESOLVED_REFERENCE,
        ErrorCode.REFERENCES_EXIST,
        ErrorCode.UNREFERENCED_OBJECT,
    ]
    contexts = [error.context for error in response.errors]
    assert absent in contexts[0]
    assert "not-a-uuid" in contexts[1]
    assert uuid_for(1) in contexts[2]
    assert uuid_for(3) in contexts[2]
    assert contexts[3].startswith(f"SubmissionSet {uuid_for(12)}")
    assert len(everything(registry)) == 6


def test_an_object_is_named_once_however_often_it_is_referred_to(registry: Registry) -> None:
    registry.accept(submission(5))
    package = next(item for item in everything(registry) if item.title == "Visit")
    (error,) = registry.actor.remove([package.id], CALLER).errors
    assert error.code is ErrorCode.REFERENCES_EXIST
    assert error.context.endswith("and 2 more would")


@pytest.mark.parametrize("kind", [AssociationType.APND, AssociationType.RPLC, AssociationType.XFRM])
def test_relationships(registry: Registry, kind: AssociationType) -> None:
    registry.accept(one(1))
    link = association(kind, uuid_for(11), uuid_for(1), id=uuid_for(14))
    registry.accept(one(11, link))
    first, second = [uuid_for(number) for number in (1, 2, 3)], [uuid_for(number) for number in (11, 12, 13)]
    for whole in (first, second):
        (error,) = registry.actor.remove(whole, CALLER).errors
        assert (error.code, link.id in error.context) == (ErrorCode.REFERENCES_EXIST, True)
    assert registry.actor.remove([*second, link.id], CALLER).succeeded
    (left,) = [item for item in everything(registry) if item.id == uuid_for(1)]
    # Removing a replacement does not bring back what it replaced.
    assert left.status is not None
    assert left.status.name == ("DEPRECATED" if kind is AssociationType.RPLC else "APPROVED")
    assert registry.actor.remove(first, CALLER).succeeded
    assert everything(registry) == []


def test_membership_of_a_folder_alone(registry: Registry) -> None:
    """The folder stays, referred to by its SubmissionSet; half of a membership is refused."""
    registry.accept(submission([document_entry(id=uuid_for(1))], folders=[a_folder(id=uuid_for(2))]))
    links = [item for item in everything(registry) if isinstance(item, Association)]
    inside = next(item for item in links if item.source == uuid_for(2))
    of_inside = next(item for item in links if item.target == inside.id)
    assert [error.code for error in registry.actor.remove([inside.id], CALLER).errors] == [ErrorCode.REFERENCES_EXIST]
    assert [error.code for error in registry.actor.remove([of_inside.id], CALLER).errors] == [ErrorCode.UNREFERENCED_OBJECT]
    assert registry.actor.remove([of_inside.id, inside.id], CALLER).succeeded
    assert {uuid_for(1), uuid_for(2)} <= set(ids(everything(registry)))


class DenyRemoval:
    """Lets everybody read and nobody remove."""

    def permits(self, caller: Caller, action: Action, resources: Sequence[Resource]) -> Sequence[bool]:
        return [action is not Action.REMOVE for _ in resources]


def test_what_the_caller_may_not_remove_is_as_if_it_did_not_exist(tmp_path: Path) -> None:
    registry = open_registry(tmp_path, access=DenyRemoval())
    try:
        registry.accept(one(1))
        response = registry.actor.remove([uuid_for(number) for number in (1, 2, 3)], CALLER)
        assert {error.code for error in response.errors} == {ErrorCode.UNRESOLVED_REFERENCE}
        assert len(everything(registry)) == 3
    finally:
        registry.database.close()


def test_audit_is_by_patient(registry: Registry) -> None:
    registry.announce(OTHER_PATIENT)
    registry.accept(submission(1))
    registry.accept(submission(1, patient_id=OTHER_PATIENT))
    both = [ids(everything(registry, patient_id)) for patient_id in (PATIENT_ID, OTHER_PATIENT)]
    registry.actor.remove(both[0][:1], CALLER)
    assert registry.actor.remove([*both[0], *both[1]], CALLER).succeeded
    registry.database.flush()
    with registry.database.read() as connection:
        events = [event for _, event in audit.find(connection, limit=20) if event.event_type.code == "ITI-62"]
    assert {(event.event_id.code, event.action.value) for event in events} == {("110110", "D")}
    outcomes = {event.outcome.value: {item.id for item in event.objects} for event in events if event.outcome.value != "0"}
    assert outcomes == {"8": {both[0][0]}}
    removed = [event for event in events if event.outcome.value == "0"]
    assert [{item.id for item in event.objects} for event in sorted(removed, key=lambda event: event.objects[0].id)] == [
        {PATIENT_ID, *both[0]},
        {OTHER_PATIENT, *both[1]},
    ]
    erased = {item.life_cycle for event in removed for item in event.objects if item.id not in (PATIENT_ID, OTHER_PATIENT)}
    assert erased == {"15"}
