"""Rules of the attributes of entries, submission sets and folders. Spec: ITI TF-3 4.2.3."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tests.builders import (
    PATIENT_ID,
    author_classification,
    classification,
    document_entry,
    external_identifier,
    folder,
    label,
    submission,
    submission_set,
    uuid_for,
)
from tests.rules.submission.faults import RME, entry_faults, faults
from xds.model.errors import ErrorCode
from xds.model.metadata import (
    Author,
    Code,
    Slot,
)
from xds.model.vocabulary import (
    FOLDER_NODE,
    ON_DEMAND,
    AvailabilityStatus,
    DocumentEntryScheme,
    SlotName,
    SubmissionSetScheme,
)
from xds.rules.submission.datatypes import is_dtm

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
        ({"unique_id": " 1.2.3"}, "uniqueId"),
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
        ({"title": "x" * 256}, "title"),
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
