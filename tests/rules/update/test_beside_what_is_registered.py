"""Rules of a metadata update beside what is registered, and which associations follow it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tests.builders import (
    ASSIGNING_AUTHORITY,
    PATIENT_ID,
    document_entry,
    uuid_for,
)
from tests.rules.update.faults import FOLDER_LID, KIND, LID, MUE, OPERATION, P1, RME, entry, of, package, read
from tests.updates import APPROVED, DEPRECATED, member, request, status_change, submitted
from xds.model.errors import ErrorCode
from xds.model.fragments import ObjectKind
from xds.model.known import KnownAssociation, KnownObject, KnownObjects, KnownPatient, UpdateSurroundings
from xds.model.metadata import Slot, Submission
from xds.model.vocabulary import ON_DEMAND, STABLE, AssociationType, SlotName
from xds.rules.update import (
    RESTRICTED,
    UNRESTRICTED,
    Dialect,
    check_against_registry,
    operations_of,
    propagated,
)

# --- beside the registry ---------------------------------------------------------------------------------------------


def known(kind: ObjectKind = ObjectKind.DOCUMENT_ENTRY, **attributes: Any) -> KnownObject:
    """A registered object; of DocumentEntries and Folders the newest version."""
    is_entry = kind is ObjectKind.DOCUMENT_ENTRY
    lid = {ObjectKind.DOCUMENT_ENTRY: LID, ObjectKind.FOLDER: FOLDER_LID}.get(kind, uuid_for(30 + kind))
    values: dict[str, Any] = {
        "id": lid,
        "logical_id": lid,
        "status": APPROVED,
        "patient_key": 1,
        "unique_id": "1.2.3.4" if is_entry else "1.2.3.5",
        "object_type": STABLE if is_entry else None,
    }
    return KnownObject(kind, **{**values, **attributes})


def around(*objects: KnownObject, **attributes: Any) -> UpdateSurroundings:
    """Surroundings of these objects, all of which are newest versions."""
    patients = attributes.pop("patients", {P1: KnownPatient(1), (ASSIGNING_AUTHORITY, "P2"): KnownPatient(2)})
    newest = {item.logical_id: item for item in objects if item.kind in (ObjectKind.DOCUMENT_ENTRY, ObjectKind.FOLDER)}
    found = KnownObjects(patients, {item.id: item for item in objects})
    return UpdateSurroundings(found, newest, **attributes)  # type: ignore[arg-type]


def conflicts(sent: Submission, met: UpdateSurroundings, dialect: Dialect = UNRESTRICTED) -> list[tuple[ErrorCode, str]]:
    return read(check_against_registry(sent, met, dialect, "urn:oid:1.2.3"))


def test_what_is_registered_can_be_updated() -> None:
    assert conflicts(of(entry()), around(known())) == []
    assert conflicts(of(package()), around(known(ObjectKind.FOLDER))) == []


def test_there_must_be_a_version_before() -> None:
    assert conflicts(of(entry()), around()) == [(ErrorCode.METADATA_VERSION, "lid")]
    assert conflicts(of(package()), around()) == [(ErrorCode.METADATA_VERSION, "lid")]
    assert conflicts(of(entry(lid=FOLDER_LID)), around(known(ObjectKind.FOLDER))) == [(ErrorCode.METADATA_VERSION, "lid")]
    assert conflicts(of(entry(), previous="3"), around(known(version=2))) == [
        (ErrorCode.METADATA_VERSION, SlotName.PREVIOUS_VERSION)
    ]
    assert conflicts(of(entry(), previous="02"), around(known(version=2))) == []


def test_every_difference_is_told_at_once() -> None:
    there = known(version=2, status=DEPRECATED, unique_id="9.9", object_type=ON_DEMAND)
    assert conflicts(of(entry()), around(there)) == [
        (ErrorCode.METADATA_VERSION, SlotName.PREVIOUS_VERSION),
        (MUE, "lid"),
        (MUE, "uniqueId"),
        (MUE, "objectType"),
    ]


def test_ids_and_patients_of_a_request() -> None:
    assert conflicts(of(entry()), around(known(), patients={})) == [(ErrorCode.UNKNOWN_PATIENT_ID, "patientId")]
    merged = {P1: KnownPatient(1, surviving_key=2)}
    assert conflicts(of(entry()), around(known(patient_key=2), patients=merged)) == [(ErrorCode.UNKNOWN_PATIENT_ID, "patientId")]
    taken = entry(id=uuid_for(31))
    assert conflicts(of(taken), around(known(), known(id=uuid_for(31), logical_id=uuid_for(31)))) == [(RME, "id")]
    sent = of(entry())
    met = around(known())
    used = replace(met.known, by_unique_id={str(sent.submission_set.unique_id): (known(),)})
    assert conflicts(sent, replace(met, known=used)) == [(ErrorCode.DUPLICATE_UNIQUE_ID_IN_REGISTRY, "uniqueId")]


def test_a_restricted_update_compares() -> None:
    registered = document_entry(unique_id="1.2.3.4")
    met = around(known(), contents={LID: registered})
    assert conflicts(of(entry()), met, RESTRICTED) == []
    assert conflicts(of(entry(home="urn:oid:1.2.3", status=APPROVED, version=2)), met, RESTRICTED) == []
    assert conflicts(of(entry(home="urn:oid:1.2.4", status=DEPRECATED, version=7)), met, RESTRICTED) == [
        (ErrorCode.UNMODIFIABLE_METADATA, "availabilityStatus"),
        (ErrorCode.UNMODIFIABLE_METADATA, "homeCommunityId"),
        (ErrorCode.UNKNOWN_COMMUNITY, "homeCommunityId"),
        (ErrorCode.UNMODIFIABLE_METADATA, "version"),
    ]
    assert conflicts(of(entry()), around(known(patient_key=2), contents={LID: registered}), RESTRICTED) == [
        (ErrorCode.PATIENT_ID_RECONCILIATION, "patientId")
    ]
    assert conflicts(of(entry()), around(known(status=DEPRECATED), contents={LID: registered}), RESTRICTED) == []
    other_form = replace(
        registered,
        slots=tuple(
            Slot(slot.name, ("L1^^^NS&1.2.3.4.6&ISO",)) if slot.name == SlotName.SOURCE_PATIENT_ID else slot
            for slot in registered.slots
        ),
    )
    assert conflicts(of(entry()), around(known(), contents={LID: other_form}), RESTRICTED) == []


def test_the_status_is_the_current_one() -> None:
    assert conflicts(request(status_change(LID)), around(known())) == []
    assert conflicts(request(status_change(LID)), around(known(status=DEPRECATED))) == [(MUE, SlotName.ORIGINAL_STATUS)]
    assert conflicts(request(status_change(LID, DEPRECATED, APPROVED)), around(known(status=DEPRECATED))) == []
    assert conflicts(request(status_change(LID)), around()) == [(ErrorCode.UNRESOLVED_REFERENCE, "targetObject")]
    of_submission = known(ObjectKind.SUBMISSION_SET)
    assert conflicts(request(status_change(of_submission.id)), around(of_submission)) == [(MUE, "targetObject")]
    assert conflicts(request(status_change(LID)), around(known(patient_key=2))) == [
        (ErrorCode.PATIENT_ID_DOES_NOT_MATCH, "targetObject"),
        (ErrorCode.PATIENT_ID_RECONCILIATION, "targetObject"),
    ]


def test_the_status_of_a_superseded_version_stays() -> None:
    old = known(superseded=True, status=DEPRECATED)
    met = around(old, known(id=uuid_for(40), version=2))
    assert met.newest[LID].version == 2
    assert conflicts(request(status_change(LID, DEPRECATED, APPROVED)), met) == [(MUE, "targetObject")]


def linked(kind: str, source: KnownObject, target: KnownObject, number: int = 50) -> KnownAssociation:
    return KnownAssociation(uuid_for(number), kind, APPROVED, source, target)


@pytest.mark.parametrize(
    ("kind", "source", "allowed"),
    [
        (AssociationType.HAS_MEMBER, ObjectKind.FOLDER, True),
        (AssociationType.HAS_MEMBER, ObjectKind.SUBMISSION_SET, False),
        (AssociationType.RPLC, ObjectKind.DOCUMENT_ENTRY, True),
        (KIND, ObjectKind.SUBMISSION_SET, False),
    ],
)
def test_the_status_of_an_association(kind: str, source: ObjectKind, allowed: bool) -> None:
    there = linked(kind, known(source, id=uuid_for(41), logical_id=uuid_for(41)), known())
    itself = KnownObject(ObjectKind.ASSOCIATION, there.id, APPROVED)
    met = around(itself, known(), associations={there.id: there})
    assert conflicts(request(status_change(there.id)), met) == ([] if allowed else [(MUE, "targetObject")])


def test_version_and_status_of_one_object() -> None:
    sent = request(entry(), member(entry()), status_change("Update01"))
    assert conflicts(sent, around(known())) == []
    by_the_old_id = request(entry(), member(entry()), status_change(LID))
    assert conflicts(by_the_old_id, around(known())) == []
    twice = request(entry(), member(entry()), status_change("Update01"), status_change(LID))
    assert conflicts(twice, around(known())) == [(OPERATION, "targetObject")]
    not_approved = request(entry(), member(entry()), status_change("Update01", DEPRECATED, APPROVED))
    assert conflicts(not_approved, around(known())) == [(MUE, SlotName.ORIGINAL_STATUS)]


def test_the_ends_of_a_submitted_association() -> None:
    first, second = known(), known(id=uuid_for(41), logical_id=uuid_for(41))
    sent = request(*submitted(AssociationType.APND, first.id, second.id))
    assert conflicts(sent, around(first, second)) == []
    assert conflicts(sent, around(first)) == [(ErrorCode.UNRESOLVED_REFERENCE, "targetObject")]
    assert conflicts(sent, around(first, replace(second, status=DEPRECATED, patient_key=2))) == [
        (MUE, "targetObject"),
        (ErrorCode.PATIENT_ID_DOES_NOT_MATCH, "targetObject"),
        (ErrorCode.PATIENT_ID_RECONCILIATION, "targetObject"),
    ]
    assert conflicts(sent, around(first, second, pairs=frozenset({(first.id, second.id)}))) == [(MUE, "targetObject")]
    assert conflicts(sent, around(first, second, pairs=frozenset({(second.id, first.id)}))) == []
    twice = request(
        *submitted(AssociationType.APND, first.id, second.id), *submitted(AssociationType.XFRM, first.id, second.id, id="Second")
    )
    assert conflicts(twice, around(first, second)) == [(MUE, "targetObject")]


def test_a_submitted_association_of_a_version_of_the_request() -> None:
    """Spec: ITI TF-2 3.57.4.1.3.1.1 (Rules for Update Planning)."""
    first, second = known(), known(id=uuid_for(41), logical_id=uuid_for(41))
    new = entry()
    alone = member(new, propagation="no")
    sent = request(new, alone, *submitted(AssociationType.APND, new, second.id))
    assert conflicts(sent, around(first, second)) == []
    assert conflicts(sent, around(first, replace(second, patient_key=2))) == [
        (ErrorCode.PATIENT_ID_DOES_NOT_MATCH, "targetObject"),
        (ErrorCode.PATIENT_ID_RECONCILIATION, "targetObject"),
    ]
    to_the_old = request(new, alone, *submitted(AssociationType.APND, second.id, first.id))
    assert conflicts(to_the_old, around(first, second)) == [(OPERATION, "targetObject")]
    unknown = request(entry(lid=uuid_for(77)), alone, *submitted(AssociationType.APND, new, second.id))
    assert conflicts(unknown, around(second)) == [(ErrorCode.METADATA_VERSION, "lid")]


# --- propagation -----------------------------------------------------------------------------------------------------


def following(sent: Submission, met: UpdateSurroundings) -> list[tuple[str, str]]:
    return [(item.source, item.target) for item in propagated(operations_of(sent), met)]


def test_which_associations_follow() -> None:
    inside, other = known(ObjectKind.FOLDER), known(id=uuid_for(41), logical_id=uuid_for(41))
    of_submission = known(ObjectKind.SUBMISSION_SET)
    links = (
        linked(AssociationType.HAS_MEMBER, inside, known(), 50),
        linked(AssociationType.APND, other, known(), 51),
        linked(AssociationType.SIGNS, known(), other, 52),
        linked(AssociationType.HAS_MEMBER, of_submission, known(), 53),
        linked(KIND, of_submission, known(), 54),
        replace(linked(AssociationType.XFRM, other, known(), 55), status=DEPRECATED),
        linked(AssociationType.HAS_MEMBER, replace(inside, status=DEPRECATED), known(), 56),
        linked(AssociationType.APND, replace(other, superseded=True), known(), 57),
    )
    met = around(known(), inside, other, links=links)
    assert following(of(entry()), met) == [(FOLDER_LID, "Update01"), (other.id, "Update01"), ("Update01", other.id)]
    assert following(of(entry(), propagation="no"), met) == []
    both = request(entry(), package(), member(entry()), member(package()))
    assert following(both, met)[0] == ("Folder02", "Update01")
    one_says_no = request(entry(), package(), member(entry()), member(package(), propagation="no"))
    assert following(one_says_no, met) == [(other.id, "Update01"), ("Update01", other.id)]


def test_nothing_follows_to_another_patient() -> None:
    inside = known(ObjectKind.FOLDER, patient_key=2)
    met = around(known(patient_key=2), inside, links=(linked(AssociationType.HAS_MEMBER, inside, known(patient_key=2)),))
    assert conflicts(of(entry()), met) == [(ErrorCode.PATIENT_ID_RECONCILIATION, "patientId")]
    assert conflicts(of(entry(), propagation="no"), met) == []
    together = request(entry(), package(), member(entry()), member(package()))
    assert conflicts(together, met) == []
    assert together.submission_set.patient_id == PATIENT_ID
