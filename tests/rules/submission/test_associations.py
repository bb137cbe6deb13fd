"""Rules of associations and of on-demand entries. Spec: ITI TF-3 4.2.2, TF-2 3.61."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.builders import (
    association,
    document_entry,
    folder,
    has_member,
    submission,
    submission_set,
    uuid_for,
)
from tests.rules.submission.faults import REGISTERED, RELATIONS, RME, faults, on_demand
from xds.model.errors import ErrorCode
from xds.model.metadata import (
    Association,
    Code,
    Slot,
    Submission,
)
from xds.model.vocabulary import (
    STABLE,
    AssociationType,
    SlotName,
)

# --- associations: 4.2.2 ----------------------------------------------------------------------------------------------------


def association_faults(*others: Association, entries: int = 1) -> list[tuple[ErrorCode, str]]:
    """(code, attribute) of what is wrong with associations put into a valid submission."""
    return [(code, attribute) for code, _, attribute in faults(submission(entries, others=others))]


@pytest.mark.parametrize("status", [None, "Reference", "original"])
def test_a_submitted_entry_is_an_original_member(status: str | None) -> None:
    package, entry = submission_set(), document_entry()
    sent = Submission.of(package, entry, has_member(package, entry, status=status))
    assert {attribute for _, _, attribute in faults(sent)} == {SlotName.SUBMISSION_SET_STATUS}


def test_an_entry_of_the_registry_is_a_reference() -> None:
    assert association_faults(has_member("SubmissionSet01", REGISTERED, status="Reference")) == []
    assert association_faults(has_member("SubmissionSet01", REGISTERED, status="Original")) == [
        (RME, SlotName.SUBMISSION_SET_STATUS)
    ]
    twice = [has_member("SubmissionSet01", REGISTERED, status="Reference") for _ in range(2)]
    assert association_faults(*twice) == [(RME, "HasMember")]


def test_every_object_is_a_member_of_the_submission_set_once() -> None:
    sent = submission(1, folders=1)
    memberships = [item for item in sent.associations if item.source == "SubmissionSet01"]
    for left_out in memberships:
        rest = tuple(item for item in sent.associations if item is not left_out)
        assert [attribute for _, _, attribute in faults(replace(sent, associations=rest))] == ["HasMember"]
    again = replace(memberships[0], id="again")
    assert [attribute for _, _, attribute in faults(replace(sent, associations=(*sent.associations, again)))] == ["HasMember"]


def test_a_registered_entry_can_be_put_into_a_registered_folder() -> None:
    inside = has_member(uuid_for(2), REGISTERED, id="inside")
    assert association_faults(inside, has_member("SubmissionSet01", inside), entries=0) == []
    assert association_faults(inside, entries=0) == [(RME, "HasMember")]


def test_members_of_a_folder_are_document_entries() -> None:
    packages = [folder(id="F1"), folder(id="F2")]
    nested = has_member("F1", "F2", id="nested")
    sent = submission(0, folders=packages, others=(nested, has_member("SubmissionSet01", nested)))
    assert faults(sent) == [(RME, "Association nested", "targetObject")]


def test_the_submission_set_holds_no_relationship() -> None:
    relation = association(AssociationType.RPLC, "Document01", REGISTERED, id="relation")
    assert association_faults(relation, has_member("SubmissionSet01", relation)) == [(RME, "targetObject")]


@pytest.mark.parametrize("kind", RELATIONS)
def test_a_relationship_leads_from_a_new_entry_to_a_registered_one(kind: str) -> None:
    assert association_faults(association(kind, "Document01", REGISTERED)) == []
    unresolved = [(ErrorCode.UNRESOLVED_REFERENCE, "sourceObject")]
    assert association_faults(association(kind, REGISTERED, uuid_for(2))) == unresolved
    assert association_faults(association(kind, "nobody", REGISTERED)) == unresolved
    assert association_faults(association(kind, "Document01", "nobody")) == [(ErrorCode.UNRESOLVED_REFERENCE, "targetObject")]


@pytest.mark.parametrize("kind", RELATIONS)
def test_the_ends_of_a_relationship_are_document_entries(kind: str) -> None:
    """Spec: ITI TF-2 3.42.4.1.3.5: "the sourceObject references a DocumentEntry in the submission", "that the targetObject
    references a DocumentEntry"; otherwise UnresolvedReferenceException.
    """
    source, target = (ErrorCode.UNRESOLVED_REFERENCE, "sourceObject"), (ErrorCode.UNRESOLVED_REFERENCE, "targetObject")
    assert association_faults(association(kind, "SubmissionSet01", REGISTERED)) == [source]
    assert association_faults(association(kind, "Document01", "SubmissionSet01")) == [target]
    member = has_member("SubmissionSet01", "Document01", id="Member01")
    assert target in association_faults(association(kind, "Document01", "Member01"), member)
    assert source in association_faults(association(kind, "Member01", REGISTERED), member)


@pytest.mark.parametrize("kind", RELATIONS)
def test_a_relationship_has_two_ends(kind: str) -> None:
    """What must be in the Registry already is not the entry that is submitted, on top. Spec: ITI TF-2 3.42.4.1.3.5."""
    inside = kind in (AssociationType.APND, AssociationType.XFRM, AssociationType.SIGNS)
    unresolved = [] if inside else [(ErrorCode.UNRESOLVED_REFERENCE, "targetObject")]
    found = association_faults(association(kind, "Document01", "Document01"))
    assert [fault for fault in found if fault != (RME, "targetObject")] == unresolved
    assert (RME, "targetObject") in found


@pytest.mark.parametrize("kind", RELATIONS)
def test_only_some_relationships_may_stay_inside_a_submission(kind: str) -> None:
    """Spec: ITI TF-3 4.2.2.2."""
    inside = association_faults(association(kind, "Document01", "Document02"), entries=2)
    allowed = kind in (AssociationType.APND, AssociationType.XFRM, AssociationType.SIGNS)
    assert inside == ([] if allowed else [(ErrorCode.UNRESOLVED_REFERENCE, "targetObject")])


@pytest.mark.parametrize(
    "kind",
    ["urn:x:Loves", "HasMember", AssociationType.UPDATE_AVAILABILITY_STATUS, AssociationType.SUBMIT_ASSOCIATION],
)
def test_other_association_types_are_refused(kind: str) -> None:
    assert association_faults(association(kind, "Document01", REGISTERED)) == [(RME, "associationType")]


def test_the_slots_of_a_metadata_update_are_refused() -> None:
    package, entry = submission_set(), document_entry()
    update = has_member(package, entry, extra_slots=(Slot(SlotName.PREVIOUS_VERSION, ("1",)),), id="a")
    assert faults(Submission.of(package, entry, update)) == [(RME, "Association a", "Slot")]


def test_association_documentation() -> None:
    """A reason may be given once, and for relationships only. Spec: ITI TF-3 4.2.2.2."""
    code = Code("1", "2.3", "reason")
    relation = association(AssociationType.RPLC, "Document01", REGISTERED, documentation=code)
    assert association_faults(relation) == []
    twice = replace(relation, classifications=relation.classifications * 2)
    assert association_faults(twice) == [(RME, "associationDocumentation")]
    member = has_member("SubmissionSet01", REGISTERED, status="Reference", documentation=code)
    assert association_faults(member) == [(RME, "classificationScheme")]


def test_a_registration_of_on_demand_entries_has_one() -> None:
    """Spec: ITI TF-2 3.61.4.1.2: "it shall include at least one On-Demand DocumentEntry"."""
    assert faults(submission(0, folders=[folder()])) == []
    assert faults(submission(0, folders=[folder()]), on_demand=True) == [(RME, "SubmitObjectsRequest", "DocumentEntry")]


def test_an_on_demand_entry_has_no_content_yet() -> None:
    assert faults(submission([on_demand()]), on_demand=True) == []
    assert faults(submission([on_demand()])) != []
    given_anyway = faults(submission([on_demand(size="4", hash="a" * 40, creation_time="2024")]), on_demand=True)
    assert [attribute for _, _, attribute in given_anyway] == ["creationTime", "hash", "size"]
    assert faults(submission([on_demand(object_type=STABLE)]), on_demand=True) == [
        (RME, "DocumentEntry Document01", "objectType")
    ]
    missing = faults(submission([on_demand(repository_unique_id=None)]), on_demand=True)
    assert missing == [(RME, "DocumentEntry Document01", "repositoryUniqueId")]
