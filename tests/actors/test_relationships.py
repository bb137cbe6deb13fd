"""What relates to registered objects, and must not. Spec: ITI TF-3 4.2.2.1.4, 4.2.2.2.1."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.actors.registry_fixtures import CALLER, Registry, open_registry
from tests.builders import (
    association,
    document_entry,
    external_identifier,
    folder,
    has_member,
    submission,
    submission_set,
    uuid_for,
)
from tests.updates import request, status_change
from xds.model.errors import ErrorCode
from xds.model.metadata import Association, Submission
from xds.model.vocabulary import AssociationType, AvailabilityStatus, DocumentEntryScheme

OTHER_PATIENT = "P2^^^&1.2.3.4.5&ISO"
ORIGINAL, TRANSFORMATION, FOLDER, RELATION = uuid_for(1), uuid_for(2), uuid_for(3), uuid_for(4)
APND, XFRM, SUBMIT = AssociationType.APND, AssociationType.XFRM, AssociationType.SUBMIT_ASSOCIATION
RME = ErrorCode.REGISTRY_METADATA_ERROR


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[Registry]:
    """With an entry and its transformation."""
    opened = open_registry(tmp_path)
    opened.announce(OTHER_PATIENT)
    relation = association(XFRM, TRANSFORMATION, ORIGINAL, id=RELATION)
    opened.accept(submission([document_entry(id=ORIGINAL)]))
    opened.accept(submission([document_entry(id=TRANSFORMATION)], others=[relation]))
    yield opened
    opened.database.close()


def appending_to(target: str, *others: Association) -> Submission:
    return submission(1, others=[association(APND, "Document01", target), *others])


def test_a_transformation_is_not_appended_to(registry: Registry) -> None:
    response = registry.register(appending_to(TRANSFORMATION))
    (error,) = response.errors
    assert error.code is RME
    assert ": targetObject: a transformation (XFRM) is another form of its original" in error.context
    assert error.context.endswith(f"received '{TRANSFORMATION}'")
    registry.accept(appending_to(ORIGINAL))
    registry.accept(submission(1, others=[association(AssociationType.RPLC, "Document01", TRANSFORMATION)]))


def test_nor_one_of_the_same_submission(registry: Registry) -> None:
    relations = [association(XFRM, "Document01", ORIGINAL), association(APND, "Document02", "Document01")]
    assert registry.refuse(submission(2, others=relations)) == {RME}


def test_nor_by_a_later_association(registry: Registry) -> None:
    registry.accept(submission([document_entry(id=uuid_for(9))]))
    added = association(APND, uuid_for(9), TRANSFORMATION, id="added")
    response = registry.actor.update(request(added, association(SUBMIT, "SubmissionSet01", "added")), CALLER)
    assert {error.code for error in response.errors} == {ErrorCode.METADATA_UPDATE}


def test_what_is_no_transformation_any_more_may_be_appended_to(registry: Registry) -> None:
    change = status_change(RELATION, AvailabilityStatus.APPROVED, AvailabilityStatus.DEPRECATED)
    response = registry.actor.update(request(change), CALLER)
    assert response.succeeded, response.errors
    registry.accept(appending_to(TRANSFORMATION))


def test_a_folder_is_filled_for_its_own_patient(registry: Registry) -> None:
    """SubmissionSet, Folder and DocumentEntry of a membership have one patientId. Spec: ITI TF-3 4.2.2.1.4."""
    entry = document_entry(id=uuid_for(5), patient_id=OTHER_PATIENT)
    package = folder(id=FOLDER, patient_id=OTHER_PATIENT)
    registry.accept(submission([entry], folders=[package], patient_id=OTHER_PATIENT, in_folders=False))
    inside = has_member(FOLDER, uuid_for(5), id="inside")

    def put_inside(patient_id: str) -> Submission:
        mine = submission_set(patient_id=patient_id)
        return Submission.of(mine, inside, has_member(mine, inside))

    assert registry.refuse(put_inside("P1^^^&1.2.3.4.5&ISO")) == {ErrorCode.PATIENT_ID_DOES_NOT_MATCH}
    registry.accept(put_inside(OTHER_PATIENT))


def test_an_association_has_no_external_identifier(registry: Registry) -> None:
    member = has_member("SubmissionSet01", ORIGINAL, status="Reference", id="member")
    named = replace(member, external_identifiers=(external_identifier("member", DocumentEntryScheme.UNIQUE_ID, "1.2.3"),))
    assert registry.refuse(submission(1, others=[named])) == {RME}
