"""Rules of metadata update. Spec: ITI TF-2 3.57.4.1.3, 3.92.4.1.3."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tests.builders import (
    ASSIGNING_AUTHORITY,
    PATIENT_ID,
    association,
    document_entry,
    folder,
    has_member,
    submission_set,
    uuid_for,
)
from tests.updates import APPROVED, DEPRECATED, member, new_version, request, status_change, submitted
from xds.model.errors import ErrorCode, RegistryError
from xds.model.fragments import ObjectKind
from xds.model.known import KnownAssociation, KnownObject, KnownObjects, KnownPatient, UpdateSurroundings
from xds.model.metadata import Association, Code, DocumentEntry, Folder, Slot, Submission
from xds.model.vocabulary import ON_DEMAND, STABLE, AssociationType, SlotName
from xds.rules.update import (
    RESTRICTED,
    UNRESTRICTED,
    Dialect,
    check,
    check_against_registry,
    operations_of,
    propagated,
)

MUE, OPERATION, RME = ErrorCode.METADATA_UPDATE, ErrorCode.METADATA_UPDATE_OPERATION, ErrorCode.REGISTRY_METADATA_ERROR
ANNOTATION = ErrorCode.METADATA_ANNOTATION
LID, FOLDER_LID = uuid_for(1), uuid_for(2)
P1 = (ASSIGNING_AUTHORITY, "P1")
KIND = AssociationType.UPDATE_AVAILABILITY_STATUS


def read(errors: list[RegistryError]) -> list[tuple[ErrorCode, str]]:
    """Code and attribute of each error."""
    return [(error.code, error.context.split(": ")[1]) for error in errors]


def faults(sent: Submission, dialect: Dialect = UNRESTRICTED) -> list[tuple[ErrorCode, str]]:
    return read(check(sent, dialect))


def entry(**attributes: Any) -> DocumentEntry:
    """A new version of the registered DocumentEntry."""
    found = new_version(document_entry(unique_id="1.2.3.4"), **{"lid": LID, **attributes})
    assert isinstance(found, DocumentEntry)
    return found


def package(**attributes: Any) -> Folder:
    """A new version of the registered Folder."""
    found = new_version(folder(unique_id="1.2.3.5"), **{"id": "Folder02", "lid": FOLDER_LID, **attributes})
    assert isinstance(found, Folder)
    return found


def of(obj: DocumentEntry | Folder, **attributes: Any) -> Submission:
    return request(obj, member(obj, **attributes))


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
    assert faults(sent) == [(ErrorCode.PATIENT_ID_DOES_NOT_MATCH, "patientId")]


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
    assert faults(request(*new, status_change(new[0]))) == [(MUE, "targetObject")]


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
    same_end = request(entry(id=uuid_for(9)), member(entry(id=uuid_for(9))), item, trigger)
    assert faults(same_end) == [(ErrorCode.UNRESOLVED_REFERENCE, "targetObject")]


def test_a_restricted_update_holds_new_versions_of_entries_only() -> None:
    sent = request(
        package(), member(package()), status_change(uuid_for(7)), *submitted(AssociationType.APND, uuid_for(8), uuid_for(9))
    )
    assert faults(sent) == []
    assert faults(sent, RESTRICTED) == [(MUE, "content"), (MUE, "associationType"), (MUE, "associationType")]


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
        (ErrorCode.UNMODIFIABLE_METADATA, name) for name in ("availabilityStatus", "homeCommunityId", "version")
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
        (ErrorCode.PATIENT_ID_DOES_NOT_MATCH, "targetObject")
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
    ]
    assert conflicts(sent, around(first, second, pairs=frozenset({(first.id, second.id)}))) == [(MUE, "targetObject")]
    assert conflicts(sent, around(first, second, pairs=frozenset({(second.id, first.id)}))) == []


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
