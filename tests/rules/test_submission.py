"""Rules of a submission. Spec: ITI TF-2 3.42.4.1.3; ITI TF-3 4.2."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

import pytest

from tests.builders import (
    PATIENT_ID,
    association,
    author_classification,
    classification,
    document_entry,
    external_identifier,
    folder,
    has_member,
    label,
    submission,
    submission_set,
    uuid_for,
)
from xds.model.errors import ErrorCode, RegistryError
from xds.model.fragments import ObjectKind
from xds.model.identifiers import is_uuid_urn
from xds.model.known import KnownObject, KnownObjects, KnownPatient
from xds.model.metadata import (
    Association,
    Author,
    Code,
    DocumentEntry,
    Slot,
    Submission,
    UnlabelledPackage,
)
from xds.model.vocabulary import (
    FOLDER_NODE,
    ON_DEMAND,
    STABLE,
    AssociationType,
    AvailabilityStatus,
    DocumentEntryScheme,
    SlotName,
    SubmissionSetScheme,
)
from xds.rules.submission import assign_identifiers, check, check_against_registry
from xds.rules.submission.datatypes import is_dtm

RME = ErrorCode.REGISTRY_METADATA_ERROR
REGISTERED = uuid_for(1)
OTHER_PATIENT = "P2^^^&1.2.3.4.5&ISO"


def found(errors: list[RegistryError]) -> list[tuple[ErrorCode, str, str]]:
    """(code, object, attribute) of each error, whose context always has the same form."""
    parts = [(error.code, *error.context.split(": ", 2)) for error in errors]
    assert all("; received " in rest for *_, rest in parts)
    return [(code, obj, attribute) for code, obj, attribute, _ in parts]


def faults(sent: Submission, **options: Any) -> list[tuple[ErrorCode, str, str]]:
    return found(check(sent, **{"registering": True, **options}))


def entry_faults(**overrides: Any) -> list[tuple[ErrorCode, str]]:
    """(code, attribute) of what is wrong in a submission of one entry with these attributes."""
    return [(code, attribute) for code, _, attribute in faults(submission([document_entry(**overrides)]))]


# --- valid submissions ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "sent",
    [
        submission(1),
        submission(20, folders=2),
        submission(0, folders=1),
        submission([document_entry(authors=())]),
        submission([document_entry(service_start_time=None, service_stop_time=None, title=None)]),
        submission([document_entry(service_start_time="202401020800", service_stop_time="20240102")]),
        submission([document_entry(hash="ABCDEF0123ABCDEF0123ABCDEF0123ABCDEF0123", uri="http://")]),
        submission([document_entry(unique_id="1.2.3^ext", mime_type="text/goofy", language_code="fr")]),
        submission(
            [document_entry(unique_id="urn:uuid:11111111-2222-3333-4444-555555555555", mime_type="text/xml; charset=utf-8")]
        ),
        submission([document_entry(extra_slots=(Slot("urn:example:extra", ("a", "b")),), size="4")]),
        submission([document_entry(extra_slots=(Slot("urn:extra", ("a",)),), source_patient_id="12^^^HOSPITAL")]),
        submission([document_entry(legal_authenticator="899^Dupont^Anne^^^^^^&1.2.250.1.71.4.2.1&ISO^D^^^IDNPS")]),
        submission(
            [document_entry(lid="Document01", reference_ids=("a^^^&1.2&ISO^urn:ihe:iti:xds:2013:accession", "1.2^^^^urn:x"))]
        ),
        submission(
            submission_set=submission_set(intended_recipients=("Hosp^^^^^&1.2&ISO^^^^45|1^Doe|^^Internet^a@b.c", "|^Doe"))
        ),
    ],
)
def test_a_valid_submission_has_no_fault(sent: Submission) -> None:
    assert check(sent, registering=True) == []


def test_a_repository_does_not_need_what_it_adds_itself() -> None:
    sent = submission([document_entry(hash=None, size=None, repository_unique_id=None)])
    assert faults(sent, registering=False) == []
    assert sorted(attribute for _, _, attribute in faults(sent)) == ["hash", "repositoryUniqueId", "size"]


def test_an_error_tells_object_attribute_rule_and_what_was_received() -> None:
    (error,) = check(submission([document_entry(size="four" * 50)]), registering=True)
    expected = f"DocumentEntry Document01: size: must be a number of octets in decimal digits; received '{'four' * 25}'"
    assert error == RegistryError(RME, expected)
    (error,) = check(submission([document_entry(creation_time=None)]), registering=True)
    assert error.context == "DocumentEntry Document01: creationTime: must be present; received nothing"


def test_all_faults_are_reported_at_once() -> None:
    assert entry_faults(hash="xyz", class_code=None, mime_type=None, patient_id=None) == [
        (RME, "hash"),
        (RME, "classCode"),
        (RME, "patientId"),
        (RME, "mimeType"),
    ]


# --- DocumentEntry: Table 4.2.3.2-1 ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("overrides", "attribute"),
    [
        ({"creation_time": None}, "creationTime"),
        ({"hash": None}, "hash"),
        ({"language_code": None}, "languageCode"),
        ({"repository_unique_id": None}, "repositoryUniqueId"),
        ({"size": None}, "size"),
        ({"source_patient_id": None}, "sourcePatientId"),
        ({"patient_id": None}, "patientId"),
        ({"unique_id": None}, "uniqueId"),
        ({"class_code": None}, "classCode"),
        ({"type_code": None}, "typeCode"),
        ({"format_code": None}, "formatCode"),
        ({"practice_setting_code": None}, "practiceSettingCode"),
        ({"healthcare_facility_type_code": None}, "healthcareFacilityTypeCode"),
        ({"confidentiality_codes": ()}, "confidentialityCode"),
        ({"mime_type": None}, "mimeType"),
        ({"object_type": None}, "objectType"),
    ],
)
def test_what_a_document_entry_must_have(overrides: dict[str, Any], attribute: str) -> None:
    assert entry_faults(**overrides) == [(RME, attribute)]


@pytest.mark.parametrize(
    ("overrides", "attribute"),
    [
        ({"creation_time": "2005122"}, "creationTime"),
        ({"creation_time": "20051324"}, "creationTime"),
        ({"creation_time": "20050229"}, "creationTime"),
        ({"creation_time": "20050101120000.5"}, "creationTime"),
        ({"creation_time": ("2005", "2006")}, "creationTime"),
        ({"creation_time": ()}, "creationTime"),
        ({"hash": "12"}, "hash"),
        ({"size": "-4"}, "size"),
        ({"language_code": "123lol"}, "languageCode"),
        ({"repository_unique_id": "urn:oid:1.2"}, "repositoryUniqueId"),
        ({"repository_unique_id": "1.02.3"}, "repositoryUniqueId"),
        ({"repository_unique_id": "1." + "2" * 63}, "repositoryUniqueId"),
        ({"source_patient_id": "12^^^HOSP&1.2.3&ISO"}, "sourcePatientId"),
        ({"source_patient_id": "12"}, "sourcePatientId"),
        ({"unique_id": "1.2.3 4"}, "uniqueId"),
        ({"unique_id": "x" * 129}, "uniqueId"),
        ({"unique_id": ""}, "uniqueId"),
        ({"service_start_time": "2024010209", "service_stop_time": "2024010208"}, "serviceStopTime"),
        ({"source_patient_info": ("PID-2|x",)}, "sourcePatientInfo"),
        ({"source_patient_info": ("Doe^John",)}, "sourcePatientInfo"),
        ({"source_patient_info": ("PID-8|M", "PID-8|F")}, "sourcePatientInfo"),
        ({"legal_authenticator": "^^"}, "legalAuthenticator"),
        ({"legal_authenticator": "1^Doe^^^^^^^&1.2&DNS"}, "legalAuthenticator"),
        ({"reference_ids": ("123^^^&1.2.3&ISO",)}, "urn:ihe:iti:xds:2013:referenceIdList"),
        ({"reference_ids": ("123^^^&1.2.3&DNS^urn:x",)}, "urn:ihe:iti:xds:2013:referenceIdList"),
        ({"uri": "a b"}, "URI"),
        ({"mime_type": "pdf"}, "mimeType"),
        ({"object_type": "urn:uuid:00000000-0000-4000-8000-000000000000"}, "objectType"),
        ({"object_type": ON_DEMAND}, "objectType"),
        ({"title": "x" * 129}, "title"),
        ({"home": "1.2.3"}, "homeCommunityId"),
        ({"extra_slots": (Slot("urn:ihe:iti:unknown", ("x",)),)}, "Slot"),
        ({"extra_slots": (Slot("urn:", ("x",)),)}, "Slot"),
        ({"extra_slots": (Slot("myslot", ("x",)),)}, "Slot"),
        ({"extra_slots": (Slot("urn:a:b", ("x" * 257,)),)}, "urn:a:b"),
        ({"extra_slots": (Slot("creationTime", ("2005",)),)}, "creationTime"),
        ({"extra_slots": (Slot("documentAvailability", ("Online",)),)}, "documentAvailability"),
        ({"extra_slots": (Slot(SlotName.PREVIOUS_VERSION, ("1",)),)}, "Slot"),
        ({"lid": uuid_for(9)}, "lid"),
    ],
)
def test_what_the_attributes_of_a_document_entry_must_look_like(overrides: dict[str, Any], attribute: str) -> None:
    assert entry_faults(**overrides) == [(RME, attribute)]


@pytest.mark.parametrize(
    "value", ["12", "12^^^", "12^^^&&ISO", "12^^^ns&1.2.3&ISO", "12^^^&1.2.3&DNS", "12^^^&1.2.3&ISO^PI", "^^^&1.2&ISO"]
)
def test_a_patient_id_is_a_strict_cx(value: str) -> None:
    """Spec: ITI TF-3 Table 4.2.3.1.7-2."""
    package = submission_set(patient_id=value)
    sent = submission([document_entry(patient_id=value)], submission_set=package)
    assert faults(sent) == [(RME, "SubmissionSet SubmissionSet01", "patientId"), (RME, "DocumentEntry Document01", "patientId")]


@pytest.mark.parametrize(
    ("author", "attribute"),
    [
        (Author(None, (), ("role",), (), ()), "author"),
        (Author("^^", (), (), (), ()), "author.authorPerson"),
        (Author("1^Doe", ("^^^^^^^^^1.2.3",), (), (), ()), "author.authorInstitution"),
        (Author("1^Doe", ("Hosp^^^^^^^^^45",), (), (), ()), "author.authorInstitution"),
        (Author("1^Doe", (), (" ",), (), ()), "author.authorRole"),
        (Author("1^Doe", (), (), (), ("a@b.c",)), "author.authorTelecommunication"),
    ],
)
def test_what_an_author_must_have(author: Author, attribute: str) -> None:
    """Spec: ITI TF-3 4.2.3.1.4."""
    assert entry_faults(authors=(author,)) == [(RME, attribute)]


def test_an_author_with_every_kind_of_address_is_valid() -> None:
    author = Author(
        "1^Doe^J^^^^^^&1.2&ISO", ("A^^^^^&1.2&ISO^^^^45", "B^^^^^^^^^1.2.3"), (), (), ("^^Internet^a@b.c", "^PRS^PH^^^^+31 42")
    )
    assert entry_faults(authors=(author, Author(None, (), (), (), ("^NET^Internet^x@y.z",)))) == []


def with_part(**parts: Any) -> list[tuple[ErrorCode, str]]:
    """What is wrong when something is put into the entry beside what it has."""
    entry = document_entry()
    changed = replace(
        entry,
        classifications=(*entry.classifications, *parts.get("classifications", ())),
        external_identifiers=(*entry.external_identifiers, *parts.get("identifiers", ())),
    )
    return [(code, attribute) for code, _, attribute in faults(submission([changed]))]


def test_attributes_that_may_occur_once() -> None:
    code = Code("c", "s", "d")
    twice = [
        classification("Document01", scheme, code, 9)
        for scheme in (DocumentEntryScheme.FORMAT_CODE, DocumentEntryScheme.TYPE_CODE)
    ]
    assert with_part(classifications=twice) == [(RME, "formatCode"), (RME, "typeCode")]
    assert with_part(classifications=[classification("Document01", DocumentEntryScheme.CONFIDENTIALITY_CODE, code, 9)]) == []
    again = external_identifier("Document01", DocumentEntryScheme.PATIENT_ID, PATIENT_ID)
    assert with_part(identifiers=[again]) == [(RME, "patientId")]


def test_parts_of_other_objects_and_unknown_schemes_are_refused() -> None:
    code = Code("c", "s", "d")
    event = DocumentEntryScheme.EVENT_CODE
    assert with_part(classifications=[classification("Other", event, code)]) == [(RME, "classifiedObject")]
    assert with_part(classifications=[classification("Document01", uuid_for(7), code)]) == [(RME, "classificationScheme")]
    assert with_part(classifications=[label("Document01", FOLDER_NODE)]) == [(RME, "classificationNode")]
    unknown = replace(external_identifier("Document01", DocumentEntryScheme.PATIENT_ID, "x"), scheme=uuid_for(7))
    assert with_part(identifiers=[unknown]) == [(RME, "identificationScheme")]
    assert with_part(identifiers=[replace(unknown, registry_object="Other")]) == [
        (RME, "registryObject"),
        (RME, "identificationScheme"),
    ]


def test_what_a_code_must_have() -> None:
    """Spec: ITI TF-3 4.2.3.1.2."""
    valid = classification("Document01", DocumentEntryScheme.EVENT_CODE, Code("c", "s", "d"))
    for broken in (
        replace(valid, node_representation=" "),
        replace(valid, slots=()),
        replace(valid, slots=(Slot("codingScheme", ("a", "b")),)),
        replace(valid, slots=(Slot("codingScheme", ("",)),)),
        replace(valid, slots=valid.slots * 2),
        replace(valid, name=()),
    ):
        assert with_part(classifications=[broken]) == [(RME, "eventCodeList")]


def test_a_missing_name_of_an_identifier_is_an_error() -> None:
    entry = document_entry()
    changed = replace(entry, external_identifiers=tuple(replace(item, name=()) for item in entry.external_identifiers))
    assert faults(submission([changed])) == [(RME, "DocumentEntry Document01", name) for name in ("patientId", "uniqueId")]


# --- SubmissionSet and Folder: Tables 4.2.3.3-1 and 4.2.3.4-1 --------------------------------------------------------------


@pytest.mark.parametrize(
    ("overrides", "attribute"),
    [
        ({"submission_time": None}, "submissionTime"),
        ({"submission_time": "now"}, "submissionTime"),
        ({"content_type_code": None}, "contentTypeCode"),
        ({"patient_id": None}, "patientId"),
        ({"source_id": None}, "sourceId"),
        ({"source_id": "3670984664"}, "sourceId"),
        ({"unique_id": None}, "uniqueId"),
        ({"unique_id": "1.2.3^4"}, "uniqueId"),
        ({"intended_recipients": ("",)}, "intendedRecipient"),
        ({"intended_recipients": ("^x|1^Doe|",)}, "intendedRecipient"),
        ({"title": "x" * 257}, "title"),
        ({"status": AvailabilityStatus.DEPRECATED}, "availabilityStatus"),
    ],
)
def test_what_a_submission_set_must_be(overrides: dict[str, Any], attribute: str) -> None:
    assert faults(submission(submission_set=submission_set(**overrides))) == [(RME, "SubmissionSet SubmissionSet01", attribute)]


@pytest.mark.parametrize(
    ("overrides", "attribute"),
    [
        ({"code_list": ()}, "codeList"),
        ({"patient_id": None}, "patientId"),
        ({"unique_id": None}, "uniqueId"),
        ({"unique_id": "folder"}, "uniqueId"),
        ({"last_update_time": "x"}, "lastUpdateTime"),
    ],
)
def test_what_a_folder_must_be(overrides: dict[str, Any], attribute: str) -> None:
    assert faults(submission(0, folders=[folder(**overrides)])) == [(RME, "Folder Folder01", attribute)]


# --- composition: 4.2.1.4 ---------------------------------------------------------------------------------------------------


def test_a_submission_has_exactly_one_submission_set() -> None:
    sent = submission(1)
    for count, packages in ((0, ()), (2, (sent.submission_set, submission_set(id="SubmissionSet02")))):
        (error, *_) = check(replace(sent, submission_sets=packages), registering=True)
        assert error.context.startswith("SubmitObjectsRequest: SubmissionSet: ")
        assert error.context.endswith(f"received '{count} SubmissionSets'")


def test_a_submission_set_alone_is_not_a_submission() -> None:
    assert faults(submission(0)) == [(RME, "SubmissionSet SubmissionSet01", "content")]


def test_every_package_is_labelled() -> None:
    sent = replace(submission(1), unlabelled=(UnlabelledPackage("p", classifications=(label("p", uuid_for(5)),)),))
    (error,) = check(sent, registering=True)
    assert error.context == (
        "RegistryPackage p: classificationNode: a RegistryPackage must be classified as SubmissionSet or Folder; "
        f"received '{uuid_for(5)}'"
    )


def test_ids_are_unique_and_well_formed() -> None:
    entries = [document_entry(id="Document01"), document_entry(id="Document01")]
    assert (RME, "DocumentEntry Document01", "id") in faults(submission(entries))
    upper = uuid_for(10).upper().replace("URN:UUID:", "urn:uuid:")
    assert (RME, f"DocumentEntry {upper}", "id") in faults(submission([document_entry(id=upper)]))


def test_unique_ids_are_unique_in_the_message() -> None:
    sent = submission([document_entry(unique_id="1.2.3")], submission_set=submission_set(unique_id="1.2.3"))
    assert faults(sent) == [(ErrorCode.REGISTRY_DUPLICATE_UNIQUE_ID_IN_MESSAGE, "DocumentEntry Document01", "uniqueId")]


def test_all_objects_belong_to_one_patient() -> None:
    sent = submission([document_entry(patient_id=OTHER_PATIENT)], folders=[folder()])
    assert faults(sent) == [(ErrorCode.PATIENT_ID_DOES_NOT_MATCH, "DocumentEntry Document01", "patientId")]


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


RELATIONS = [
    AssociationType.RPLC,
    AssociationType.APND,
    AssociationType.XFRM,
    AssociationType.XFRM_RPLC,
    AssociationType.SIGNS,
    AssociationType.IS_SNAPSHOT_OF,
]


@pytest.mark.parametrize("kind", RELATIONS)
def test_a_relationship_leads_from_a_new_entry_to_a_registered_one(kind: str) -> None:
    assert association_faults(association(kind, "Document01", REGISTERED)) == []
    unresolved = [(ErrorCode.UNRESOLVED_REFERENCE, "sourceObject")]
    assert association_faults(association(kind, REGISTERED, uuid_for(2))) == unresolved
    assert association_faults(association(kind, "nobody", REGISTERED)) == unresolved
    assert association_faults(association(kind, "Document01", "nobody")) == [(ErrorCode.UNRESOLVED_REFERENCE, "targetObject")]
    assert association_faults(association(kind, "SubmissionSet01", REGISTERED)) == [(RME, "associationType")]
    assert association_faults(association(kind, "Document01", "SubmissionSet01")) == [(RME, "targetObject")]
    assert association_faults(association(kind, "Document01", "Document01")) == [(RME, "targetObject")]


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


# --- on-demand entries: ITI TF-2 3.61 -----------------------------------------------------------------------------------------


def on_demand(**overrides: Any) -> DocumentEntry:
    return document_entry(**{"object_type": ON_DEMAND, "creation_time": None, "hash": None, "size": None, **overrides})


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


# --- ids ---------------------------------------------------------------------------------------------------------------------


def counted() -> Any:
    numbers = itertools.count(100)
    return lambda: uuid_for(next(numbers))


def test_symbolic_ids_become_uuids_everywhere() -> None:
    sent = submission(2, folders=1, others=[association(AssociationType.RPLC, "Document01", REGISTERED)])
    stored = assign_identifiers(sent, counted())
    ids = [obj.id for obj in stored.objects()]
    assert all(is_uuid_urn(identifier) for identifier in ids)
    assert len(set(ids)) == len(ids)
    for obj in stored.objects():
        assert obj.lid == obj.id
        assert {item.classified_object for item in obj.classifications} <= {obj.id}
        assert {item.registry_object for item in obj.external_identifiers} <= {obj.id}
        assert all(is_uuid_urn(item.id) for item in (*obj.classifications, *obj.external_identifiers))
    for before, after in zip(sent.associations, stored.associations, strict=True):
        assert (before.source in ids) is False
        assert after.source in ids
        assert after.target in (*ids, REGISTERED)
    assert check(stored, registering=True) == []


def test_uuids_stay_and_nothing_else_changes() -> None:
    entry = document_entry(id=uuid_for(50))
    stored = assign_identifiers(submission([entry]), counted()).document_entries[0]
    assert stored.id == stored.lid == entry.id
    assert (stored.slots, stored.name, stored.mime_type, stored.unique_id) == (
        entry.slots,
        entry.name,
        entry.mime_type,
        entry.unique_id,
    )
    once = assign_identifiers(submission(2, folders=1), counted())
    assert assign_identifiers(once, counted()) == once


def test_parts_that_share_a_symbolic_id_get_one_each() -> None:
    entry = document_entry()
    same = replace(entry, classifications=tuple(replace(item, id="cl") for item in entry.classifications))
    stored = assign_identifiers(submission([same]), counted()).document_entries[0]
    assert len({item.id for item in stored.classifications}) == len(entry.classifications)


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
        ({"object_type": ON_DEMAND}, [ErrorCode.DUPLICATE_UNIQUE_ID_IN_REGISTRY]),
        ({"kind": ObjectKind.FOLDER, "object_type": None}, []),
    ],
)
def test_a_document_may_be_registered_again_when_it_is_the_same(there: dict[str, Any], expected: list[ErrorCode]) -> None:
    sent = submission([document_entry(unique_id="1.1", hash="a" * 40, size="12")])
    assert conflicts(sent, known(registered(unique_id="1.1", **there))) == [(code, "uniqueId") for code in expected]


def test_an_on_demand_entry_may_share_its_unique_id_with_another() -> None:
    sent = submission([on_demand(unique_id="1.1")])
    assert conflicts(sent, known(registered(unique_id="1.1", object_type=ON_DEMAND))) == []
    assert conflicts(sent, known(registered(unique_id="1.1"))) == [(ErrorCode.DUPLICATE_UNIQUE_ID_IN_REGISTRY, "uniqueId")]


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
    assert conflicts(sent, known(registered(kind=ObjectKind.FOLDER))) == [(RME, "targetObject")]


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


# --- data types --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2024", True),
        ("202402", True),
        ("20240229", True),
        ("20230229", False),
        ("20240431", False),
        ("2024043023", True),
        ("2024043024", False),
        ("202404302359", True),
        ("20240430235959", True),
        ("20240430235960", False),
        ("0000", False),
        ("20245", False),
        ("", False),
        ("2024013", False),
        ("20240230", False),
    ],
)
def test_dates_and_times(text: str, expected: bool) -> None:
    assert is_dtm(text) is expected


def test_authors_of_a_submission_set_follow_the_same_rules() -> None:
    package = submission_set(authors=())
    empty = author_classification("SubmissionSet01", SubmissionSetScheme.AUTHOR, Author(None, (), (), (), ()))
    sent = submission(submission_set=replace(package, classifications=(*package.classifications, empty)))
    assert faults(sent) == [(RME, "SubmissionSet SubmissionSet01", "author")]
