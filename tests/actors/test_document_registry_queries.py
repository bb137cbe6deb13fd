"""Every stored query of ITI-18 on real submissions. Spec: ITI TF-2 3.18.4.1.2.3.7."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import pytest
from sqlalchemy import text

from tests.actors.registry_fixtures import APPROVED, BOTH, CALLER, DEPRECATED, Registry, open_registry, patient
from tests.builders import (
    PATIENT_ID,
    association,
    document_entry,
    folder,
    fresh_uid,
    has_member,
    submission,
    submission_set,
    uuid_for,
)
from xds.model.caller import Action, Caller, Resource
from xds.model.errors import ErrorCode
from xds.model.fragments import ObjectKind
from xds.model.identifiers import uuid_bytes
from xds.model.metadata import Association, Author, Code, DocumentEntry, Folder, SubmissionSet
from xds.model.stored_queries import RawQuery
from xds.model.vocabulary import ON_DEMAND, STABLE, AssociationType, StoredQueryId
from xds.store import affinity_patients, audit

OTHER_PATIENT = "P2^^^&1.2.3.4.5&ISO"
THIRD_PATIENT = "P3^^^&1.2.3.4.5&ISO"
EVENT = "1.2.840.10008.2.16.4"


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[Registry]:
    opened = open_registry(tmp_path)
    opened.announce(OTHER_PATIENT, THIRD_PATIENT)
    yield opened
    opened.database.close()


def find(registry: Registry, **parameters: str | Sequence[str]) -> list[str]:
    """Titles of the documents of a FindDocuments."""
    given = {"XDSDocumentEntryPatientId": f"'{PATIENT_ID}'", "XDSDocumentEntryStatus": APPROVED, **parameters}
    return [item.title for item in registry.ask(StoredQueryId.FIND_DOCUMENTS, **given)]


def put(registry: Registry, title: str, **attributes) -> DocumentEntry:
    entry = document_entry(title=title, **attributes)
    registry.accept(submission([entry], patient_id=attributes.get("patient_id", PATIENT_ID)))
    return entry


def make_on_demand(registry: Registry, entry_uuid: str) -> None:
    """Mark a stored entry as On-Demand: its registration (ITI-61) is another transaction."""
    statement = text("UPDATE document_entry SET on_demand = 1, creation_time = NULL WHERE entry_uuid = :uuid")
    registry.database.write(lambda connection: connection.execute(statement, {"uuid": uuid_bytes(entry_uuid)}))


def kinds(found: Sequence[object]) -> dict[str, int]:
    names = [type(item).__name__ for item in found]
    return {name: names.count(name) for name in sorted(set(names))}


# --- FindDocuments ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("parameter", "attribute"),
    [
        ("XDSDocumentEntryClassCode", "class_code"),
        ("XDSDocumentEntryTypeCode", "type_code"),
        ("XDSDocumentEntryPracticeSettingCode", "practice_setting_code"),
        ("XDSDocumentEntryHealthcareFacilityTypeCode", "healthcare_facility_type_code"),
        ("XDSDocumentEntryFormatCode", "format_code"),
    ],
)
def test_codes_with_one_value(registry: Registry, parameter: str, attribute: str) -> None:
    put(registry, "a", **{attribute: Code("a", "1.1", "A")})
    put(registry, "b", **{attribute: Code("b", "1.1", "B")})
    put(registry, "other scheme", **{attribute: Code("a", "1.2", "A")})
    assert find(registry, **{parameter: "('a^^1.1')"}) == ["a"]
    assert find(registry, **{parameter: "('a^^1.1','b^^1.1','unheard^^1.1')"}) == ["a", "b"]
    assert find(registry, **{parameter: "('A^^1.1')"}) == []
    assert find(registry, **{parameter: "('unheard^^1.1')"}) == []


@pytest.mark.parametrize(
    ("parameter", "attribute"),
    [("XDSDocumentEntryEventCodeList", "event_codes"), ("XDSDocumentEntryConfidentialityCode", "confidentiality_codes")],
)
def test_codes_with_several_values_are_and_of_or(registry: Registry, parameter: str, attribute: str) -> None:
    a, b, c = (Code(name, "1.1", name) for name in "abc")
    put(registry, "ab", **{attribute: (a, b)})
    put(registry, "bc", **{attribute: (b, c)})
    put(registry, "c", **{attribute: (c,)})
    assert find(registry, **{parameter: "('a^^1.1','c^^1.1')"}) == ["ab", "bc", "c"]
    assert find(registry, **{parameter: ("('a^^1.1','c^^1.1')", "('b^^1.1')")}) == ["ab", "bc"]
    assert find(registry, **{parameter: ("('a^^1.1')", "('c^^1.1')")}) == []


def test_times_from_inclusive_to_exclusive(registry: Registry) -> None:
    for moment in ("2023", "20240101", "202401010830"):
        put(registry, moment, creation_time=moment)
    assert find(registry, XDSDocumentEntryCreationTimeFrom="20240101") == ["20240101", "202401010830"]
    assert find(registry, XDSDocumentEntryCreationTimeTo="20240101") == ["2023"]
    assert find(registry, XDSDocumentEntryCreationTimeFrom="2023", XDSDocumentEntryCreationTimeTo="202401010001") == [
        "2023",
        "20240101",
    ]


@pytest.mark.parametrize(
    ("name", "attribute"), [("ServiceStartTime", "service_start_time"), ("ServiceStopTime", "service_stop_time")]
)
def test_an_absent_service_time_is_not_tested(registry: Registry, name: str, attribute: str) -> None:
    none = {"service_start_time": None, "service_stop_time": None}
    put(registry, "early", **{**none, attribute: "2020"})
    put(registry, "late", **{**none, attribute: "2024"})
    put(registry, "absent", **none)
    assert find(registry, **{f"XDSDocumentEntry{name}From": "2022"}) == ["late", "absent"]
    assert find(registry, **{f"XDSDocumentEntry{name}To": "2022"}) == ["early", "absent"]


@pytest.mark.parametrize(
    ("patterns", "found"),
    [
        ("('%Smitty%')", ["one"]),
        ("('%smitty%')", []),
        ("('^Smitty^G_rald^^^')", ["one"]),
        ("('%Second%')", ["two"]),
        ("('%Smitty%','%Third%')", ["one", "two"]),
        ("('%\\T\\%')", ["three"]),
        ("('Smitty')", []),
    ],
)
def test_author_person_is_a_case_sensitive_pattern(registry: Registry, patterns: str, found: list[str]) -> None:
    def author(person: str) -> Author:
        return Author(person, (), (), (), ())

    put(registry, "one", authors=(author("^Smitty^Gerald^^^"),))
    put(registry, "two", authors=(author("^Second^A"), author("^Third^B")))
    put(registry, "three", authors=(author("^Smith \\T\\ Sons"),))
    assert find(registry, XDSDocumentEntryAuthorPerson=patterns) == found


def test_the_pattern_is_data(registry: Registry) -> None:
    put(registry, "one")
    assert find(registry, XDSDocumentEntryAuthorPerson="('%'' OR 1=1 --')") == []


def test_the_largest_filters_that_are_allowed_are_answered(registry: Registry) -> None:
    put(registry, "one", event_codes=(Code("0", "1.1", "0"),), reference_ids=("0^^^&1.2&ISO^urn:x",))
    codes = ",".join(f"'{number}^^1.1'" for number in range(5))
    persons = ",".join(f"'%{number}%'" for number in range(99))
    numbers = ",".join(f"'{number}^^1.1'" for number in range(500))
    single = {
        f"XDSDocumentEntry{name}": f"({numbers})"
        for name in ("ClassCode", "TypeCode", "PracticeSettingCode", "HealthcareFacilityTypeCode", "FormatCode")
    }
    repeated = {f"XDSDocumentEntry{name}": [f"({codes})"] * 20 for name in ("EventCodeList", "ConfidentialityCode")}
    given = {
        "XDSDocumentEntryPatientId": f"'{PATIENT_ID}'",
        "XDSDocumentEntryStatus": APPROVED,
        "XDSDocumentEntryAuthorPerson": f"('%Smitty%',{persons})",
        "XDSDocumentEntryReferenceIdList": ["('0^^^&1.2&ISO^urn:x')"] * 20,
    }
    query = StoredQueryId.FIND_DOCUMENTS_BY_REFERENCE_ID
    assert registry.ask(query, **given, **single, **repeated) == []
    event_codes = {"XDSDocumentEntryEventCodeList": repeated["XDSDocumentEntryEventCodeList"]}
    assert [item.title for item in registry.ask(query, **given, **event_codes)] == ["one"]
    many = ",".join(f"'{uuid_for(number)}'" for number in range(10_000))
    assert registry.ask(StoredQueryId.GET_DOCUMENTS, XDSDocumentEntryEntryUUID=f"({many})") == []


def test_stable_entries_only_unless_asked(registry: Registry) -> None:
    put(registry, "stable")
    put(registry, "on demand", id=uuid_for(1))
    make_on_demand(registry, uuid_for(1))
    assert find(registry) == ["stable"]
    assert find(registry, XDSDocumentEntryType=f"('{ON_DEMAND}')") == ["on demand"]
    assert find(registry, XDSDocumentEntryType=f"('{ON_DEMAND}','{STABLE}')") == ["stable", "on demand"]
    assert find(registry, XDSDocumentEntryType=f"('{uuid_for(9)}')") == []
    # creationTime does not exist for On-Demand entries, so it cannot exclude them.
    assert find(registry, XDSDocumentEntryType=f"('{ON_DEMAND}')", XDSDocumentEntryCreationTimeFrom="2099") == ["on demand"]


def test_status_decides(registry: Registry) -> None:
    old = put(registry, "old", id=uuid_for(1))
    new = document_entry(title="new")
    registry.accept(submission([new], others=[association(AssociationType.RPLC, new, old.id)]))
    assert find(registry) == ["new"]
    assert find(registry, XDSDocumentEntryStatus=DEPRECATED) == ["old"]
    assert find(registry, XDSDocumentEntryStatus=BOTH) == ["old", "new"]


def test_an_unknown_patient_has_no_documents(registry: Registry) -> None:
    assert find(registry, XDSDocumentEntryPatientId="'nobody^^^&1.2.3.4.5&ISO'") == []
    assert find(registry, XDSDocumentEntryPatientId="'P1^^^&1.9.9&ISO'") == []


def test_references_carry_ids_alone(registry: Registry) -> None:
    entry = put(registry, "one", id=uuid_for(1))
    answer = registry.answer(
        StoredQueryId.FIND_DOCUMENTS,
        return_type="ObjectRef",
        XDSDocumentEntryPatientId=f"'{PATIENT_ID}'",
        XDSDocumentEntryStatus=APPROVED,
    )
    assert answer.as_refs
    assert [(item.id, item.kind) for item in answer.references] == [(entry.id, ObjectKind.DOCUMENT_ENTRY)]


def test_too_many_results(tmp_path: Path) -> None:
    registry = open_registry(tmp_path, max_results=2)
    try:
        registry.accept(submission(3))
        one_patient = {"XDSDocumentEntryPatientId": f"'{PATIENT_ID}'", "XDSDocumentEntryStatus": APPROVED}
        assert registry.errors(StoredQueryId.FIND_DOCUMENTS, **one_patient) == {ErrorCode.TOO_MANY_RESULTS}
        everything = {"XDSSubmissionSetStatus": APPROVED, "XDSFolderStatus": APPROVED, "XDSDocumentEntryStatus": APPROVED}
        assert registry.errors(StoredQueryId.GET_ALL, patientId=f"'{PATIENT_ID}'", **everything) == {ErrorCode.TOO_MANY_RESULTS}
        answer = registry.answer(StoredQueryId.FIND_DOCUMENTS, return_type="ObjectRef", **one_patient)
        assert len(answer.references) == 3
    finally:
        registry.database.close()


# --- FindDocumentsByReferenceId --------------------------------------------------------------------------------------


def test_find_by_reference_id(registry: Registry) -> None:
    accession = "A1^^^&1.2&ISO^urn:ihe:iti:xds:2013:accession"
    study = "1.2.3^^^^urn:ihe:iti:xds:2016:studyInstanceUID"
    put(registry, "both", reference_ids=(accession, study))
    put(registry, "study", reference_ids=(study,))
    put(registry, "none")

    def by(*lists: str) -> list[str | None]:
        return [
            item.title
            for item in registry.ask(
                StoredQueryId.FIND_DOCUMENTS_BY_REFERENCE_ID,
                XDSDocumentEntryPatientId=f"'{PATIENT_ID}'",
                XDSDocumentEntryStatus=APPROVED,
                XDSDocumentEntryReferenceIdList=lists,
            )
        ]

    assert by(f"('{study}')") == ["both", "study"]
    assert by(f"('{study}','{accession}')") == ["both", "study"]
    assert by(f"('{study}')", f"('{accession}')") == ["both"]
    assert by("('A1')") == by("('%')") == []


# --- FindSubmissionSets, FindFolders ---------------------------------------------------------------------------------


def test_find_submission_sets(registry: Registry) -> None:
    first = submission_set(title="first", source_id="1.2.1", submission_time="20240101", content_type_code=Code("a", "1.1", "A"))
    second = submission_set(
        title="second", source_id="1.2.2", submission_time="20250101", authors=(Author("^X^Y", (), (), (), ()),)
    )
    registry.accept(submission(1, submission_set=first))
    registry.accept(submission(1, submission_set=second))

    def by(**parameters: str) -> list[str | None]:
        given = {"XDSSubmissionSetPatientId": f"'{PATIENT_ID}'", "XDSSubmissionSetStatus": APPROVED, **parameters}
        return [item.title for item in registry.ask(StoredQueryId.FIND_SUBMISSION_SETS, **given)]

    assert by() == ["first", "second"]
    assert by(XDSSubmissionSetStatus=DEPRECATED) == []
    assert by(XDSSubmissionSetSourceId="('1.2.1','1.2.9')") == ["first"]
    assert by(XDSSubmissionSetSubmissionTimeFrom="2025") == ["second"]
    assert by(XDSSubmissionSetSubmissionTimeTo="2025") == ["first"]
    assert by(XDSSubmissionSetAuthorPerson="'%Smitty%'") == ["first"]
    assert by(XDSSubmissionSetContentType="('a^^1.1')") == ["first"]
    assert by(XDSSubmissionSetContentType="('unheard^^1.1')") == []


def test_find_folders(registry: Registry) -> None:
    a, b = Code("a", "1.1", "A"), Code("b", "1.1", "B")
    registry.accept(submission(0, folders=[folder(title="both", code_list=(a, b))]))
    registry.accept(submission(0, folders=[folder(title="b", code_list=(b,))]))

    def by(**parameters: str | Sequence[str]) -> list[str | None]:
        given = {"XDSFolderPatientId": f"'{PATIENT_ID}'", "XDSFolderStatus": APPROVED, **parameters}
        return [item.title for item in registry.ask(StoredQueryId.FIND_FOLDERS, **given)]

    assert by() == ["both", "b"]
    assert by(XDSFolderStatus=DEPRECATED) == []
    assert by(XDSFolderCodeList="('a^^1.1','b^^1.1')") == ["both", "b"]
    assert by(XDSFolderCodeList=("('a^^1.1')", "('b^^1.1')")) == ["both"]
    assert by(XDSFolderLastUpdateTimeTo="2020") == []
    assert by(XDSFolderLastUpdateTimeFrom="2026") == ["both", "b"]


# --- by identity -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Filed:
    """Two documents in a folder: the first of format `f1` and normal, the second of `f2` and restricted."""

    package: SubmissionSet
    container: Folder
    first: DocumentEntry
    second: DocumentEntry


@pytest.fixture
def filed(registry: Registry) -> Filed:
    package = submission_set(id=uuid_for(1))
    container = folder(id=uuid_for(2))
    first = document_entry(id=uuid_for(3), format_code=Code("f1", "1.1", "F"))
    second = document_entry(
        id=uuid_for(4),
        format_code=Code("f2", "1.1", "F"),
        confidentiality_codes=(Code("R", "2.16.840.1.113883.5.25", "Restricted"),),
    )
    registry.accept(submission([first, second], folders=[container], submission_set=package))
    return Filed(package, container, first, second)


def test_get_all(registry: Registry, filed: Filed) -> None:
    everything = {
        "patientId": f"'{PATIENT_ID}'",
        "XDSDocumentEntryStatus": APPROVED,
        "XDSSubmissionSetStatus": APPROVED,
        "XDSFolderStatus": APPROVED,
    }
    found = registry.ask(StoredQueryId.GET_ALL, **everything)
    assert kinds(found) == {"Association": 7, "DocumentEntry": 2, "Folder": 1, "SubmissionSet": 1}
    found = registry.ask(StoredQueryId.GET_ALL, **everything, XDSDocumentEntryFormatCode="('f1^^1.1')")
    assert [item.id for item in found if isinstance(item, DocumentEntry)] == [filed.first.id]
    found = registry.ask(
        StoredQueryId.GET_ALL, **{**everything, "XDSSubmissionSetStatus": DEPRECATED, "XDSFolderStatus": DEPRECATED}
    )
    assert kinds(found) == {"Association": 4, "DocumentEntry": 2}
    assert registry.ask(StoredQueryId.GET_ALL, **{**everything, "patientId": f"'{OTHER_PATIENT}'"}) == []


def test_get_documents(registry: Registry, filed: Filed) -> None:
    by_uuid = registry.ask(StoredQueryId.GET_DOCUMENTS, XDSDocumentEntryEntryUUID=f"('{filed.second.id}','{filed.first.id}')")
    assert [item.id for item in by_uuid] == [filed.first.id, filed.second.id]
    by_unique_id = registry.ask(StoredQueryId.GET_DOCUMENTS, XDSDocumentEntryUniqueId=f"('{filed.first.unique_id}','9.9')")
    assert [item.id for item in by_unique_id] == [filed.first.id]
    by_logical_id = registry.ask(
        StoredQueryId.GET_DOCUMENTS, XDSDocumentEntryLogicalID=f"('{filed.first.id}')", MetadataLevel="2"
    )
    assert [item.id for item in by_logical_id] == [filed.first.id]


@pytest.mark.parametrize(
    ("query", "name"), [(StoredQueryId.GET_DOCUMENTS, "XDSDocumentEntry"), (StoredQueryId.GET_FOLDERS, "XDSFolder")]
)
def test_ids_of_another_kind_or_unknown_ones_find_nothing(registry: Registry, filed: Filed, query: str, name: str) -> None:
    other = filed.package
    assert registry.ask(query, **{f"{name}EntryUUID": f"('{other.id}','{uuid_for(99)}')"}) == []
    assert registry.ask(query, **{f"{name}UniqueId": f"('{other.unique_id}')"}) == []


def test_get_folders(registry: Registry, filed: Filed) -> None:
    for name, value in (("EntryUUID", filed.container.id), ("UniqueId", filed.container.unique_id)):
        assert [item.id for item in registry.ask(StoredQueryId.GET_FOLDERS, **{f"XDSFolder{name}": f"('{value}')"})] == [
            filed.container.id
        ]


def test_get_associations(registry: Registry, filed: Filed) -> None:
    found = registry.ask(StoredQueryId.GET_ASSOCIATIONS, uuid=f"('{filed.first.id}')")
    assert {(item.source, item.target) for item in found} == {
        (filed.package.id, filed.first.id),
        (filed.container.id, filed.first.id),
    }
    assert len(registry.ask(StoredQueryId.GET_ASSOCIATIONS, uuid=f"('{filed.package.id}','{filed.container.id}')")) == 7


def test_get_documents_and_associations(registry: Registry, filed: Filed) -> None:
    found = registry.ask(StoredQueryId.GET_DOCUMENTS_AND_ASSOCIATIONS, XDSDocumentEntryUniqueId=f"('{filed.first.unique_id}')")
    assert kinds(found) == {"Association": 2, "DocumentEntry": 1}


def test_get_submission_sets(registry: Registry, filed: Filed) -> None:
    found = registry.ask(StoredQueryId.GET_SUBMISSION_SETS, uuid=f"('{filed.first.id}','{filed.second.id}')")
    assert kinds(found) == {"Association": 2, "SubmissionSet": 1}
    assert kinds(registry.ask(StoredQueryId.GET_SUBMISSION_SETS, uuid=f"('{filed.container.id}')")) == {
        "Association": 1,
        "SubmissionSet": 1,
    }
    assert registry.ask(StoredQueryId.GET_SUBMISSION_SETS, uuid=f"('{filed.package.id}')") == []


def test_get_submission_set_and_contents(registry: Registry, filed: Filed) -> None:
    by_id = {"XDSSubmissionSetUniqueId": f"'{filed.package.unique_id}'"}
    found = registry.ask(StoredQueryId.GET_SUBMISSION_SET_AND_CONTENTS, **by_id)
    assert kinds(found) == {"Association": 7, "DocumentEntry": 2, "Folder": 1, "SubmissionSet": 1}
    for filters in (
        {"XDSDocumentEntryFormatCode": "('f1^^1.1')"},
        {"XDSDocumentEntryConfidentialityCode": "('N^^2.16.840.1.113883.5.25')"},
    ):
        found = registry.ask(StoredQueryId.GET_SUBMISSION_SET_AND_CONTENTS, **by_id, **filters)
        assert kinds(found) == {"Association": 4, "DocumentEntry": 1, "Folder": 1, "SubmissionSet": 1}
        assert all(filed.second.id not in (item.source, item.target) for item in found if isinstance(item, Association))
    found = registry.ask(
        StoredQueryId.GET_SUBMISSION_SET_AND_CONTENTS,
        XDSSubmissionSetEntryUUID=f"'{filed.package.id}'",
        XDSDocumentEntryFormatCode="('unheard^^1.1')",
    )
    assert kinds(found) == {"Association": 1, "Folder": 1, "SubmissionSet": 1}


def test_get_folder_and_contents(registry: Registry, filed: Filed) -> None:
    found = registry.ask(StoredQueryId.GET_FOLDER_AND_CONTENTS, XDSFolderEntryUUID=f"'{filed.container.id}'")
    assert kinds(found) == {"Association": 2, "DocumentEntry": 2, "Folder": 1}
    found = registry.ask(
        StoredQueryId.GET_FOLDER_AND_CONTENTS,
        XDSFolderUniqueId=f"'{filed.container.unique_id}'",
        XDSDocumentEntryConfidentialityCode="('R^^2.16.840.1.113883.5.25')",
    )
    assert [item.id for item in found if isinstance(item, DocumentEntry)] == [filed.second.id]
    assert kinds(found) == {"Association": 1, "DocumentEntry": 1, "Folder": 1}


def test_get_folders_for_document(registry: Registry, filed: Filed) -> None:
    found = registry.ask(StoredQueryId.GET_FOLDERS_FOR_DOCUMENT, XDSDocumentEntryUniqueId=f"'{filed.first.unique_id}'")
    assert [item.id for item in found] == [filed.container.id]
    put(registry, "alone", id=uuid_for(20))
    assert registry.ask(StoredQueryId.GET_FOLDERS_FOR_DOCUMENT, XDSDocumentEntryEntryUUID=f"'{uuid_for(20)}'") == []


def test_get_related_documents(registry: Registry, filed: Filed) -> None:
    appendix = document_entry(id=uuid_for(5))
    registry.accept(submission([appendix], others=[association(AssociationType.APND, appendix, filed.first.id)]))

    def related(entry: DocumentEntry, *types: AssociationType) -> dict[str, int]:
        wanted = ",".join(f"'{item}'" for item in types)
        return kinds(
            registry.ask(
                StoredQueryId.GET_RELATED_DOCUMENTS, XDSDocumentEntryEntryUUID=f"'{entry.id}'", AssociationTypes=f"({wanted})"
            )
        )

    assert related(filed.first, AssociationType.APND) == {"Association": 1, "DocumentEntry": 2}
    assert related(appendix, AssociationType.APND, AssociationType.RPLC) == {"Association": 1, "DocumentEntry": 2}
    assert related(filed.first, AssociationType.RPLC) == {}
    assert related(filed.second, AssociationType.APND) == {}
    assert related(filed.first, AssociationType.HAS_MEMBER) == {}


# --- several patients, merges ----------------------------------------------------------------------------------------


def test_full_metadata_of_several_patients_are_refused(registry: Registry) -> None:
    put(registry, "mine", id=uuid_for(1))
    put(registry, "other's", id=uuid_for(2), patient_id=OTHER_PATIENT)
    both = f"('{uuid_for(1)}','{uuid_for(2)}')"
    for query, name in (
        (StoredQueryId.GET_DOCUMENTS, "XDSDocumentEntryEntryUUID"),
        (StoredQueryId.GET_DOCUMENTS_AND_ASSOCIATIONS, "XDSDocumentEntryEntryUUID"),
        (StoredQueryId.GET_SUBMISSION_SETS, "uuid"),
    ):
        assert registry.errors(query, **{name: both}) == {ErrorCode.RESULT_NOT_SINGLE_PATIENT}
        assert registry.answer(query, return_type="ObjectRef", **{name: both}).response.succeeded


def test_one_unique_id_under_two_patients(registry: Registry) -> None:
    unique_id = fresh_uid()
    put(registry, "mine", unique_id=unique_id)
    put(registry, "other's", unique_id=unique_id, patient_id=OTHER_PATIENT)
    assert registry.errors(StoredQueryId.GET_DOCUMENTS, XDSDocumentEntryUniqueId=f"('{unique_id}')") == {
        ErrorCode.RESULT_NOT_SINGLE_PATIENT
    }
    registry.merge(OTHER_PATIENT, PATIENT_ID)
    assert len(registry.ask(StoredQueryId.GET_DOCUMENTS, XDSDocumentEntryUniqueId=f"('{unique_id}')")) == 2


def test_a_reference_to_a_document_of_another_patient(registry: Registry) -> None:
    put(registry, "other's", id=uuid_for(1), patient_id=OTHER_PATIENT)
    package = submission_set()
    registry.accept(submission(1, submission_set=package, others=[has_member(package, uuid_for(1), status="Reference")]))
    by_id = {"XDSSubmissionSetUniqueId": f"'{package.unique_id}'"}
    assert registry.errors(StoredQueryId.GET_SUBMISSION_SET_AND_CONTENTS, **by_id) == {ErrorCode.RESULT_NOT_SINGLE_PATIENT}
    assert len(registry.answer(StoredQueryId.GET_SUBMISSION_SET_AND_CONTENTS, return_type="ObjectRef", **by_id).references) == 5


def test_a_merge_gathers_the_chain_under_the_surviving_identifier(registry: Registry) -> None:
    container = folder(title="folder", patient_id=THIRD_PATIENT)
    registry.accept(
        submission([document_entry(title="third", patient_id=THIRD_PATIENT)], folders=[container], patient_id=THIRD_PATIENT)
    )
    put(registry, "second", patient_id=OTHER_PATIENT, id=uuid_for(1))
    put(registry, "first")
    assert registry.merge(THIRD_PATIENT, OTHER_PATIENT)
    assert registry.merge(OTHER_PATIENT, PATIENT_ID)
    everything = {"XDSSubmissionSetStatus": APPROVED, "XDSFolderStatus": APPROVED, "XDSDocumentEntryStatus": APPROVED}
    found = registry.ask(StoredQueryId.GET_ALL, patientId=f"'{PATIENT_ID}'", **everything)
    holders = [item for item in found if not isinstance(item, Association)]
    assert kinds(holders) == {"DocumentEntry": 3, "Folder": 1, "SubmissionSet": 3}
    assert {item.patient_id for item in holders} == {PATIENT_ID}
    for subsumed in (OTHER_PATIENT, THIRD_PATIENT):
        assert find(registry, XDSDocumentEntryPatientId=f"'{subsumed}'") == []
    (by_id,) = registry.ask(StoredQueryId.GET_DOCUMENTS, XDSDocumentEntryEntryUUID=f"('{uuid_for(1)}')")
    assert by_id.patient_id == PATIENT_ID


def test_merges_that_change_nothing(registry: Registry) -> None:
    assert not registry.merge(PATIENT_ID, PATIENT_ID)
    assert not registry.merge(PATIENT_ID, "nobody^^^&1.2.3.4.5&ISO")
    assert registry.merge(OTHER_PATIENT, PATIENT_ID)
    assert not registry.merge(OTHER_PATIENT, THIRD_PATIENT)
    assert not registry.merge(THIRD_PATIENT, OTHER_PATIENT)


# --- access, audit, plans --------------------------------------------------------------------------------------------


class OnlyNormal:
    """Permits documents of normal confidentiality, and everything that is not a document; remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[Resource] = []

    def permits(self, caller: Caller, action: Action, resources: Sequence[Resource]) -> Sequence[bool]:
        assert (caller, action) == (CALLER, Action.QUERY)
        self.asked.extend(resources)
        return [not item.confidentiality or item.confidentiality == ("N^^2.16.840.1.113883.5.25",) for item in resources]


def test_what_is_not_permitted_is_left_out(tmp_path: Path) -> None:
    rule = OnlyNormal()
    registry = open_registry(tmp_path, access=rule)
    try:
        open_one = put(registry, "normal")
        put(registry, "secret", confidentiality_codes=(Code("R", "2.16.840.1.113883.5.25", "Restricted"),))
        assert find(registry) == ["normal"]
        assert rule.asked[0] == Resource(
            PATIENT_ID, open_one.unique_id, ("N^^2.16.840.1.113883.5.25",), "DEMO-Consult^^1.3.6.1.4.1.21367.100.1"
        )
    finally:
        registry.database.close()


def test_each_query_leaves_one_audit_event(registry: Registry) -> None:
    find(registry)
    registry.actor.query(RawQuery("unknown", "LeafClass", (), "urn:oid:1.2"), CALLER)
    registry.database.flush()
    with registry.database.read() as connection:
        refused, answered = (event for _sequence, event in audit.find(connection, limit=2))
    assert (answered.event_id.code, answered.event_type.code, answered.outcome) == ("110112", "ITI-18", "0")
    assert [item.id for item in answered.objects] == [PATIENT_ID, StoredQueryId.FIND_DOCUMENTS]
    assert "$XDSDocumentEntryPatientId" in (answered.objects[1].query or "")
    assert refused.outcome == "8"
    assert refused.objects[0].details == (("QueryEncoding", "UTF-8"), ("urn:ihe:iti:xca:2010:homeCommunityId", "urn:oid:1.2"))


def statements_of(registry: Registry, query: str, parameters: dict[str, str]) -> list[tuple[str, object]]:
    """What the database is asked for a query, with the values."""
    statements: list[tuple[str, object]] = []

    # The driver itself runs them; the query takes the connection that became idle last, which is this one.
    with registry.database.read() as connection:
        dialect, driver = connection.dialect.name, cast(Any, connection.connection.driver_connection)
    if dialect == "sqlite":
        driver.set_trace_callback(lambda statement: statements.append((statement, ())))
        registry.answer(query, **parameters)
        driver.set_trace_callback(None)
        return statements

    def seen(text: str, values: object) -> object:
        statements.append((text, values))
        return type(driver).rows(driver, text, values)

    driver.rows = seen
    registry.answer(query, **parameters)
    del driver.rows
    return statements


@pytest.mark.parametrize(
    ("query", "parameters"),
    [
        (StoredQueryId.FIND_DOCUMENTS, {"XDSDocumentEntryClassCode": "('DEMO-Consult^^1.3.6.1.4.1.21367.100.1')"}),
        (StoredQueryId.FIND_DOCUMENTS, {"XDSDocumentEntryEventCodeList": f"('CT^^{EVENT}')"}),
        (StoredQueryId.FIND_DOCUMENTS, {"XDSDocumentEntryAuthorPerson": "('%Smitty%')"}),
        (StoredQueryId.FIND_DOCUMENTS_BY_REFERENCE_ID, {"XDSDocumentEntryReferenceIdList": "('x^^^^urn:x')"}),
        (StoredQueryId.GET_DOCUMENTS, {"XDSDocumentEntryEntryUUID": f"('{uuid_for(1)}','{uuid_for(2)}')"}),
        (StoredQueryId.GET_DOCUMENTS, {"XDSDocumentEntryUniqueId": "('1.2.3','1.2.4')"}),
        (StoredQueryId.GET_ASSOCIATIONS, {"uuid": f"('{uuid_for(1)}','{uuid_for(2)}')"}),
        (StoredQueryId.GET_SUBMISSION_SET_AND_CONTENTS, {"XDSSubmissionSetUniqueId": "'1.2.3'"}),
        (StoredQueryId.GET_FOLDER_AND_CONTENTS, {"XDSFolderUniqueId": "'1.2.3'"}),
        (StoredQueryId.GET_RELATED_DOCUMENTS, {"XDSDocumentEntryUniqueId": "'1.2.3'", "AssociationTypes": "('x')"}),
        (StoredQueryId.GET_SUBMISSION_SETS, {"uuid": f"('{uuid_for(1)}')"}),
    ],
)
def test_no_query_scans_a_table(registry: Registry, query: str, parameters: dict[str, str]) -> None:
    """Run the query's own statements through the planner: each table must be searched by an index that a row's identity leads."""
    put(registry, "one", id=uuid_for(1), reference_ids=("x^^^^urn:x",))
    if query in (StoredQueryId.FIND_DOCUMENTS, StoredQueryId.FIND_DOCUMENTS_BY_REFERENCE_ID):
        parameters = {"XDSDocumentEntryPatientId": f"'{PATIENT_ID}'", "XDSDocumentEntryStatus": APPROVED, **parameters}
    selects = [item for item in statements_of(registry, query, parameters) if item[0].lstrip().upper().startswith("SELECT")]
    assert selects
    with registry.database.read() as connection:
        if connection.dialect.name == "sqlite":
            plans = [
                (row[3], text) for text, some in selects for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {text}", some)
            ]
        else:
            # Tables as small as these are scanned unless that is forbidden.
            connection.exec_driver_sql("SET LOCAL enable_seqscan = off")
            driver = cast(Any, connection.connection.driver_connection)
            plans = [(row[0], text) for text, some in selects for row in driver.rows(f"EXPLAIN {text}", some)]
    assert [plan for plan in plans if plan[0].startswith("SCAN") or "Seq Scan" in plan[0]] == []


def test_patients_are_found_by_their_identifier(registry: Registry) -> None:
    with registry.database.read() as connection:
        found = affinity_patients.find(connection, patient(PATIENT_ID))
        assert found is not None
        assert found.identifier.to_cx() == PATIENT_ID
        assert affinity_patients.find(connection, patient("p1^^^&1.2.3.4.5&ISO")) is None
