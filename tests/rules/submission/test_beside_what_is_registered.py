"""Rules of a submission beside what a registry has already."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tests.builders import (
    PATIENT_ID,
    association,
    document_entry,
    folder,
    has_member,
    submission,
    submission_set,
    uuid_for,
)
from tests.rules.submission.faults import OTHER_PATIENT, REGISTERED, RELATIONS, RME, found, on_demand
from xds.model.errors import ErrorCode
from xds.model.fragments import ObjectKind
from xds.model.known import KnownObject, KnownObjects, KnownPatient
from xds.model.metadata import (
    Submission,
)
from xds.model.vocabulary import (
    ON_DEMAND,
    STABLE,
    AssociationType,
    AvailabilityStatus,
)
from xds.rules.submission import check_against_registry

# --- beside what is registered --------------------------------------------------------------------------------------------------

P1, P2 = ("1.2.3.4.5", "P1"), ("1.2.3.4.5", "P2")


def registered(identifier: str = REGISTERED, **overrides: Any) -> KnownObject:
    """A stable, Approved DocumentEntry of patient 1."""
    return KnownObject(
        **{
            "kind": ObjectKind.DOCUMENT_ENTRY,
            "id": identifier,
            "status": AvailabilityStatus.APPROVED,
            "patient_key": 1,
            "object_type": STABLE,
            **overrides,
        }
    )


def known(*objects: KnownObject, **overrides: Any) -> KnownObjects:
    by_unique_id: dict[str, tuple[KnownObject, ...]] = {}
    for item in objects:
        if item.unique_id:
            by_unique_id[item.unique_id] = (*by_unique_id.get(item.unique_id, ()), item)
    values = {
        "patients": {P1: KnownPatient(1), P2: KnownPatient(2)},
        "objects": {item.id: item for item in objects},
        "by_unique_id": by_unique_id,
    }
    return KnownObjects(**{**values, **overrides})


def conflicts(sent: Submission, what: KnownObjects) -> list[tuple[ErrorCode, str]]:
    return [(code, attribute) for code, _, attribute in found(check_against_registry(sent, what))]


def test_a_submission_that_meets_nothing_is_accepted() -> None:
    assert conflicts(submission(2, folders=1), known()) == []


def test_the_patient_must_be_known() -> None:
    (error,) = check_against_registry(submission(2, folders=1), known(patients={}))
    assert error.code is ErrorCode.UNKNOWN_PATIENT_ID
    assert error.context.startswith("SubmissionSet SubmissionSet01: patientId: ")
    assert error.context.endswith(f"received '{PATIENT_ID}'")


def test_a_patient_that_was_merged_away_counts_as_unknown() -> None:
    assert conflicts(submission(1), known(patients={P1: KnownPatient(1, surviving_key=2)})) == [
        (ErrorCode.UNKNOWN_PATIENT_ID, "patientId")
    ]


def test_each_unknown_patient_is_named() -> None:
    sent = submission([document_entry(patient_id=OTHER_PATIENT)])
    assert conflicts(sent, known(patients={})) == [(ErrorCode.UNKNOWN_PATIENT_ID, "patientId")] * 2


def test_a_patient_id_that_cannot_be_read_is_unknown() -> None:
    sent = submission([document_entry(patient_id="12")])
    assert conflicts(sent, known()) == [(ErrorCode.UNKNOWN_PATIENT_ID, "patientId")]


def test_a_registered_uuid_must_not_be_submitted_again() -> None:
    assert conflicts(submission([document_entry(id=REGISTERED)]), known(registered())) == [(RME, "id")]


@pytest.mark.parametrize("kind", list(ObjectKind)[:3])
def test_unique_ids_of_submission_sets_and_folders_are_new(kind: ObjectKind) -> None:
    sent = submission(0, folders=[folder(unique_id="1.1")], submission_set=submission_set(unique_id="1.2"))
    there = known(registered(kind=kind, unique_id="1.1"), registered(uuid_for(2), kind=kind, unique_id="1.2"))
    assert conflicts(sent, there) == [(ErrorCode.DUPLICATE_UNIQUE_ID_IN_REGISTRY, "uniqueId")] * 2


@pytest.mark.parametrize(
    ("there", "expected"),
    [
        ({"hash": "A" * 40, "size": "12"}, []),
        ({"hash": "b" * 40, "size": "12"}, [ErrorCode.NON_IDENTICAL_HASH]),
        ({"hash": "a" * 40, "size": "13"}, [ErrorCode.NON_IDENTICAL_SIZE]),
        ({"hash": "b" * 40, "size": "13"}, [ErrorCode.NON_IDENTICAL_HASH, ErrorCode.NON_IDENTICAL_SIZE]),
        ({"object_type": ON_DEMAND}, [RME]),
        ({"kind": ObjectKind.FOLDER, "object_type": None}, []),
    ],
)
def test_a_document_may_be_registered_again_when_it_is_the_same(there: dict[str, Any], expected: list[ErrorCode]) -> None:
    sent = submission([document_entry(unique_id="1.1", hash="a" * 40, size="12")])
    assert conflicts(sent, known(registered(unique_id="1.1", **there))) == [(code, "uniqueId") for code in expected]


def test_an_on_demand_entry_may_share_its_unique_id_with_another() -> None:
    """Of a stable one it is refused, but XDSDuplicateUniqueIdInRegistry "cannot be thrown for DocumentEntry".

    Spec: ITI TF-2 3.61.4.1.3; ITI TF-3 Table 4.2.4.1-2.
    """
    sent = submission([on_demand(unique_id="1.1")])
    assert conflicts(sent, known(registered(unique_id="1.1", object_type=ON_DEMAND))) == []
    assert conflicts(sent, known(registered(unique_id="1.1"))) == [(RME, "uniqueId")]


def relating(kind: str) -> Submission:
    return submission(1, others=[association(kind, "Document01", REGISTERED)])


@pytest.mark.parametrize("kind", RELATIONS[:5])
def test_the_target_of_a_relationship(kind: str) -> None:
    sent = relating(kind)
    assert conflicts(sent, known(registered())) == []
    assert conflicts(sent, known()) == [(ErrorCode.UNRESOLVED_REFERENCE, "targetObject")]
    deprecated = registered(status=AvailabilityStatus.DEPRECATED)
    assert conflicts(sent, known(deprecated)) == [(ErrorCode.REGISTRY_DEPRECATED_DOCUMENT, "targetObject")]
    assert conflicts(sent, known(registered(patient_key=2))) == [(ErrorCode.PATIENT_ID_DOES_NOT_MATCH, "targetObject")]
    for kind_of_object in set(ObjectKind) - {ObjectKind.DOCUMENT_ENTRY}:
        other = registered(kind=kind_of_object)
        assert conflicts(sent, known(other)) == [(ErrorCode.UNRESOLVED_REFERENCE, "targetObject")]


def test_every_fault_of_a_relationship_is_reported() -> None:
    there = registered(status=AvailabilityStatus.DEPRECATED, patient_key=2)
    assert {code for code, _ in conflicts(relating(AssociationType.RPLC), known(there))} == {
        ErrorCode.REGISTRY_DEPRECATED_DOCUMENT,
        ErrorCode.PATIENT_ID_DOES_NOT_MATCH,
    }


def test_a_snapshot_is_of_an_on_demand_entry() -> None:
    sent = relating(AssociationType.IS_SNAPSHOT_OF)
    assert conflicts(sent, known(registered(object_type=ON_DEMAND))) == []
    assert conflicts(sent, known(registered())) == [(RME, "targetObject")]
    from_on_demand = submission([on_demand()], others=[association(AssociationType.IS_SNAPSHOT_OF, "Document01", REGISTERED)])
    assert conflicts(from_on_demand, known(registered(object_type=ON_DEMAND))) == [(RME, "sourceObject")]


def test_merged_patients_are_one() -> None:
    """The registered entry of a subsumed patient counts as the surviving one's. Spec: ITI TF-2 3.42.4.1.3."""
    sent = submission(1, patient_id=OTHER_PATIENT, others=[association(AssociationType.RPLC, "Document01", REGISTERED)])
    patients = {P1: KnownPatient(1, surviving_key=2), P2: KnownPatient(2)}
    assert conflicts(sent, known(registered(patient_key=2), patients=patients)) == []


def test_a_reference_may_be_to_another_patient_but_must_be_an_approved_entry() -> None:
    sent = submission(1, others=[has_member("SubmissionSet01", REGISTERED, status="Reference")])
    assert conflicts(sent, known(registered(patient_key=2))) == []
    assert conflicts(sent, known()) == [(ErrorCode.UNRESOLVED_REFERENCE, "targetObject")]
    assert conflicts(sent, known(registered(kind=ObjectKind.FOLDER))) == [(RME, "targetObject")]
    deprecated = registered(status=AvailabilityStatus.DEPRECATED)
    assert conflicts(sent, known(deprecated)) == [(ErrorCode.REGISTRY_DEPRECATED_DOCUMENT, "targetObject")]


def into_folder(source: str, target: str, entries: int = 0) -> Submission:
    inside = has_member(source, target, id="inside")
    return submission(entries, others=[inside, has_member("SubmissionSet01", inside)])


def test_members_of_registered_folders() -> None:
    package = registered(uuid_for(2), kind=ObjectKind.FOLDER, object_type=None)
    both = into_folder(package.id, REGISTERED)
    assert conflicts(both, known(package, registered())) == []
    assert conflicts(both, known()) == [
        (ErrorCode.UNRESOLVED_REFERENCE, "sourceObject"),
        (ErrorCode.UNRESOLVED_REFERENCE, "targetObject"),
    ]
    assert conflicts(both, known(package, registered(patient_key=2))) == [(ErrorCode.PATIENT_ID_DOES_NOT_MATCH, "targetObject")]
    deprecated = AvailabilityStatus.DEPRECATED
    assert conflicts(both, known(package, registered(status=deprecated))) == [
        (ErrorCode.REGISTRY_DEPRECATED_DOCUMENT, "targetObject")
    ]
    assert conflicts(both, known(replace(package, status=deprecated), registered())) == [(RME, "sourceObject")]
    swapped = into_folder(REGISTERED, package.id)
    assert conflicts(swapped, known(package, registered())) == [(RME, "sourceObject"), (RME, "targetObject")]
    new_entry = into_folder(package.id, "Document01", entries=1)
    assert conflicts(new_entry, known(package)) == []
    assert conflicts(new_entry, known(replace(package, patient_key=2))) == [(ErrorCode.PATIENT_ID_DOES_NOT_MATCH, "targetObject")]
