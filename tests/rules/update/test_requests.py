"""Rules of a metadata update by itself. Spec: ITI TF-2 3.57, 3.92."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tests.builders import (
    association,
    document_entry,
    has_member,
    submission_set,
    uuid_for,
)
from tests.rules.update.faults import ANNOTATION, KIND, LID, MUE, OPERATION, RME, entry, faults, of, package
from tests.updates import APPROVED, DEPRECATED, member, new_version, request, status_change, submitted
from xds.model.errors import ErrorCode
from xds.model.metadata import Association, Code, Slot, Submission
from xds.model.vocabulary import ON_DEMAND, AssociationType, SlotName
from xds.rules.update import (
    RESTRICTED,
    UNRESTRICTED,
    Dialect,
    operations_of,
)

# --- the request alone -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dialect", [UNRESTRICTED, RESTRICTED])
def test_a_new_version_passes(dialect: Dialect) -> None:
    assert faults(of(entry()), dialect) == []
    assert faults(of(entry(), propagation="no"), dialect) == []
    on_demand = document_entry(object_type=ON_DEMAND, creation_time=None, hash=None, size=None)
    assert faults(of(new_version(on_demand, lid=LID)), dialect) == []  # type: ignore[arg-type]


def test_every_operation_in_one_request() -> None:
    sent = request(
        entry(),
        package(),
        member(entry()),
        member(package()),
        status_change(uuid_for(7)),
        status_change(entry(), APPROVED, DEPRECATED),
        *submitted(AssociationType.APND, uuid_for(8), uuid_for(9), documentation=Code("a", "1.2", "A")),
    )
    assert faults(sent) == []
    found = operations_of(sent)
    assert [item.obj.id for item in found.versions] == ["Update01", "Folder02"]
    assert [(item.target, item.original, item.new) for item in found.statuses] == [
        (uuid_for(7), APPROVED, DEPRECATED),
        ("Update01", APPROVED, DEPRECATED),
    ]
    assert [item.submitted.id for item in found.associations] == ["Submitted01"]
    assert found.unrecognised == ()


@pytest.mark.parametrize(
    ("lid", "unrestricted", "restricted"),
    [
        (None, MUE, ErrorCode.INVALID_REQUEST),
        ("Update01", MUE, ErrorCode.INVALID_REQUEST),
        ("symbolic", MUE, ErrorCode.INVALID_REQUEST),
    ],
)
def test_a_first_version_is_no_update(lid: str | None, unrestricted: ErrorCode, restricted: ErrorCode) -> None:
    assert faults(of(entry(lid=lid))) == [(unrestricted, "lid")]
    assert faults(of(package(lid=lid))) == [(unrestricted, "lid")]
    assert faults(of(entry(lid=lid)), RESTRICTED) == [(restricted, "lid")]
    assert faults(of(entry(id=uuid_for(5), lid=uuid_for(5)))) == [(MUE, "lid")]


def test_an_id_that_is_no_uuid() -> None:
    assert (RME, "lid") in faults(of(entry(lid="urn:uuid:ABC")))


@pytest.mark.parametrize("previous", [None, "", "first", "-1", "1.0", "١", "1234567890"])
def test_the_previous_version_is_a_number(previous: str | None) -> None:
    sent = of(entry(), previous=previous)
    assert (MUE, SlotName.PREVIOUS_VERSION) in faults(sent)
    assert (ANNOTATION, SlotName.PREVIOUS_VERSION) in faults(sent, RESTRICTED)


def test_the_previous_version_is_one() -> None:
    both = (Slot(SlotName.PREVIOUS_VERSION, ("1", "2")),)
    sent = request(entry(), has_member("SubmissionSet01", entry(), status="Original", extra_slots=both))
    assert faults(sent) == [(MUE, SlotName.PREVIOUS_VERSION)]


@pytest.mark.parametrize(("value", "accepted"), [("yes", True), ("no", True), ("maybe", False), ("Yes", False)])
def test_association_propagation(value: str, accepted: bool) -> None:
    expected = [] if accepted else [(MUE, SlotName.ASSOCIATION_PROPAGATION)]
    assert faults(of(entry(), propagation=value)) == expected
    assert faults(of(package(), propagation=value)) == expected


def test_an_entry_is_original_and_a_folder_needs_not_say_so() -> None:
    for status in (None, "Reference"):
        assert faults(of(entry(), status=status)) == [(MUE, SlotName.SUBMISSION_SET_STATUS)]
        assert faults(of(entry(), status=status), RESTRICTED) == [(ANNOTATION, SlotName.SUBMISSION_SET_STATUS)]
    assert faults(of(package(), status="Original")) == []


def test_slots_of_other_operations() -> None:
    slots = (Slot(SlotName.PREVIOUS_VERSION, ("1",)), Slot(SlotName.NEW_STATUS, (DEPRECATED,)))
    sent = request(entry(), has_member("SubmissionSet01", entry(), status="Original", extra_slots=slots))
    assert faults(sent) == [(MUE, SlotName.NEW_STATUS)]
    unknown = request(
        entry(), has_member("SubmissionSet01", entry(), status="Original", extra_slots=(*slots[:1], Slot("x", ("y",))))
    )
    assert faults(unknown) == [(RME, "Slot")]


def test_each_object_is_a_member_once() -> None:
    assert faults(request(entry())) == [(MUE, "HasMember")]
    assert faults(request(entry()), RESTRICTED) == [(ANNOTATION, "HasMember")]
    assert faults(request(package(), member(package()), member(package()))) == [(MUE, "HasMember")]
    from_elsewhere = has_member(uuid_for(3), entry(), extra_slots=member(entry()).slots)
    assert faults(request(entry(), from_elsewhere)) == [(MUE, "HasMember"), (OPERATION, "associationType")]


def test_attributes_are_checked_as_in_a_registration() -> None:
    incomplete = new_version(document_entry(class_code=None, repository_unique_id=None), lid=LID)
    assert set(faults(of(incomplete))) == {(RME, "classCode"), (RME, "repositoryUniqueId")}  # type: ignore[arg-type]
    assert faults(of(replace(package(), classifications=()))) == [(RME, "codeList")]
    assert faults(of(replace(entry(), object_type=None))) == [(RME, "objectType")]
    assert faults(of(replace(entry(), object_type=ON_DEMAND))) == [
        (RME, SlotName.CREATION_TIME),
        (RME, SlotName.HASH),
        (RME, SlotName.SIZE),
    ]


def test_a_request_has_one_submission_set_and_an_operation() -> None:
    assert faults(request()) == [(RME, "content"), (OPERATION, "content")]
    assert faults(Submission.of(entry(), member(entry()))) == [(RME, "SubmissionSet"), (OPERATION, "associationType")]
    two = Submission.of(submission_set(), submission_set(id="SubmissionSet02"), entry(), member(entry()))
    assert (RME, "SubmissionSet") in faults(two)


def test_one_object_is_updated_once() -> None:
    again = replace(
        entry(id="Update02"),
        external_identifiers=new_version(document_entry(unique_id="1.9"), id="Update02").external_identifiers,
    )
    sent = request(entry(), again, member(entry()), member(again))
    assert faults(sent) == [(OPERATION, "lid")]
    assert faults(sent, RESTRICTED) == [(MUE, "lid")]


def test_one_patient() -> None:
    sent = Submission.of(submission_set(patient_id="P2^^^&1.2.3.4.5&ISO"), entry(), member(entry()))
    assert faults(sent) == [
        (ErrorCode.PATIENT_ID_DOES_NOT_MATCH, "patientId"),
        (ErrorCode.PATIENT_ID_RECONCILIATION, "patientId"),
    ]


@pytest.mark.parametrize(
    "item",
    [
        has_member("SubmissionSet01", uuid_for(7), status="Reference"),
        has_member("SubmissionSet01", uuid_for(7), extra_slots=(Slot(SlotName.PREVIOUS_VERSION, ("1",)),)),
        has_member(uuid_for(6), uuid_for(7)),
        association(AssociationType.RPLC, uuid_for(6), uuid_for(7)),
        association(AssociationType.SUBMIT_ASSOCIATION, "SubmissionSet01", uuid_for(7)),
        association(AssociationType.SUBMIT_ASSOCIATION, "SubmissionSet01", "SubmissionSet01"),
        association(KIND, uuid_for(6), uuid_for(7)),
        association("urn:x:Loves", "SubmissionSet01", uuid_for(7)),
    ],
)
def test_what_is_no_operation(item: Association) -> None:
    assert faults(request(item)) == [(OPERATION, "associationType")]


@pytest.mark.parametrize(
    ("item", "expected"),
    [
        (status_change(uuid_for(7), None), [SlotName.ORIGINAL_STATUS]),
        (status_change(uuid_for(7), APPROVED, None), [SlotName.NEW_STATUS]),
        (status_change(uuid_for(7), "urn:oasis:names:tc:ebxml-regrep:StatusType:Withdrawn"), [SlotName.ORIGINAL_STATUS]),
        (status_change(uuid_for(7), APPROVED, "Deprecated"), [SlotName.NEW_STATUS]),
        (status_change(uuid_for(7), APPROVED, APPROVED), [SlotName.NEW_STATUS]),
        (status_change(uuid_for(7), extra_slots=(Slot(SlotName.PREVIOUS_VERSION, ("1",)),)), [SlotName.PREVIOUS_VERSION]),
        (association(KIND, "SubmissionSet01", uuid_for(7)), [SlotName.ORIGINAL_STATUS, SlotName.NEW_STATUS]),
        (
            association(
                KIND,
                "SubmissionSet01",
                uuid_for(7),
                slots=(Slot(SlotName.ORIGINAL_STATUS, (APPROVED, DEPRECATED)), Slot(SlotName.NEW_STATUS, (DEPRECATED,))),
            ),
            [SlotName.ORIGINAL_STATUS],
        ),
    ],
)
def test_a_status_change_says_from_what_to_what(item: Association, expected: list[SlotName]) -> None:
    assert faults(request(item)) == [(OPERATION, name) for name in expected]


def test_the_target_of_a_status_change() -> None:
    assert faults(request(status_change("nothing"))) == [(ErrorCode.UNRESOLVED_REFERENCE, "targetObject")]
    assert faults(request(status_change("SubmissionSet01"))) == [(MUE, "targetObject")]
    new = submitted(AssociationType.APND, uuid_for(8), uuid_for(9))
    assert faults(request(*new, status_change(new[0]))) == []
    assert faults(request(*new, status_change(new[1]))) == [(MUE, "targetObject")]


def test_a_submitted_association() -> None:
    def of_kind(
        kind: str, source: str = uuid_for(8), target: str = uuid_for(9), **attributes: Any
    ) -> list[tuple[ErrorCode, str]]:
        return faults(request(*submitted(kind, source, target, **attributes)))

    assert of_kind(AssociationType.HAS_MEMBER) == []
    assert of_kind(AssociationType.SIGNS) == []
    assert of_kind("urn:ihe:iti:2007:AssociationType:APND_TXFM") == [(RME, "associationType")]
    assert of_kind(KIND) == [(RME, "associationType")]
    assert of_kind(AssociationType.APND, target=uuid_for(8)) == [(RME, "targetObject")]
    assert of_kind(AssociationType.APND, "SubmissionSet01", "nothing") == [
        (ErrorCode.UNRESOLVED_REFERENCE, "sourceObject"),
        (ErrorCode.UNRESOLVED_REFERENCE, "targetObject"),
    ]
    reason = Code("a", "1.2", "A")
    assert of_kind(AssociationType.HAS_MEMBER, documentation=reason) == [(RME, "classificationScheme")]
    original = (Slot(SlotName.SUBMISSION_SET_STATUS, ("Original",)),)
    assert of_kind(AssociationType.HAS_MEMBER, slots=original) == [(RME, "Slot")]
    item, trigger = submitted(AssociationType.APND, uuid_for(8), uuid_for(9))
    assert faults(request(item, replace(trigger, slots=original))) == [(OPERATION, SlotName.SUBMISSION_SET_STATUS)]
    # ITI TF-2 3.57.4.1.3.1.1: no Association by hand beside those that follow the same new version.
    new = entry(id=uuid_for(9), lid=uuid_for(7))
    assert faults(request(new, member(new), item, trigger)) == [(OPERATION, "targetObject")]
    alone = member(new, propagation="no")
    assert faults(request(new, alone, item, trigger)) == []
    assert faults(request(new, alone, *submitted(AssociationType.RPLC, new, uuid_for(8)))) == []
    unresolved = [(ErrorCode.UNRESOLVED_REFERENCE, "targetObject")]
    assert faults(request(new, alone, *submitted(AssociationType.RPLC, uuid_for(8), new))) == unresolved
    assert faults(request(item, trigger, *submitted(AssociationType.APND, uuid_for(8), trigger, id="Other"))) == unresolved


def test_a_restricted_update_holds_new_versions_of_entries_only() -> None:
    sent = request(
        package(), member(package()), status_change(uuid_for(7)), *submitted(AssociationType.APND, uuid_for(8), uuid_for(9))
    )
    assert faults(sent) == []
    assert faults(sent, RESTRICTED) == [(MUE, "content"), (MUE, "associationType"), (MUE, "associationType")]
