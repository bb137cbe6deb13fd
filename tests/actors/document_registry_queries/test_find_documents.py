"""FindDocuments and FindDocumentsByReferenceId: each parameter, and how much is answered."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest

from tests.actors.document_registry_queries.asking import find, make_on_demand, put
from tests.actors.registry_fixtures import APPROVED, BOTH, DEPRECATED, Registry, open_registry
from tests.builders import (
    PATIENT_ID,
    association,
    document_entry,
    submission,
    uuid_for,
)
from xds.model.errors import ErrorCode
from xds.model.fragments import ObjectKind
from xds.model.metadata import Author, Code
from xds.model.vocabulary import ON_DEMAND, STABLE, AssociationType, StoredQueryId

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


def by_reference(registry: Registry, *lists: str) -> list[str | None]:
    """The titles of what FindDocumentsByReferenceId finds; each list is a slot."""
    found = registry.ask(
        StoredQueryId.FIND_DOCUMENTS_BY_REFERENCE_ID,
        XDSDocumentEntryPatientId=f"'{PATIENT_ID}'",
        XDSDocumentEntryStatus=APPROVED,
        XDSDocumentEntryReferenceIdList=lists,
    )
    return [item.title for item in found]


def test_find_by_reference_id(registry: Registry) -> None:
    accession = "A1^^^&1.2&ISO^urn:ihe:iti:xds:2013:accession"
    study = "1.2.3^^^^urn:ihe:iti:xds:2016:studyInstanceUID"
    put(registry, "both", reference_ids=(accession, study))
    put(registry, "study", reference_ids=(study,))
    put(registry, "none")

    by = partial(by_reference, registry)
    assert by(f"('{study}')") == ["both", "study"]
    assert by(f"('{study}','{accession}')") == ["both", "study"]
    assert by(f"('{study}')", f"('{accession}')") == ["both"]
    assert by("('A1')") == by("('A_^^^&1.2&ISO^urn:ihe:iti:xds:2013:accession')") == []


def test_a_reference_id_with_a_percent_sign_is_a_pattern(registry: Registry) -> None:
    """ITI TF-2 3.18.4.1.2.3.7.14: the parameter's footnote refers to LIKE."""
    put(registry, "one", reference_ids=("A_1^^^&1.2&ISO^urn:x", "7^^^&1.2&ISO^urn:x"))
    put(registry, "other", reference_ids=("AB1^^^&1.2&ISO^urn:x", "a_1^^^&1.2&ISO^urn:y"))
    put(registry, "none")

    by = partial(by_reference, registry)
    assert by("('%')") == by("('A_1^^^%')") == ["one", "other"]
    assert by("('7%')") == by("('%7^%')") == ["one"]
    assert by("('A_1^^^&1.2&ISO^urn:x','nobody%')") == ["one"], "beside a pattern, others are exact still"
    assert by("('a%')") == ["other"], "case counts"
    assert by("('%:y')", "('A%')") == ["other"], "slots that are repeated mean AND"
    assert by("('A1%','%:z')") == []
