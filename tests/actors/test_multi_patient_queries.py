"""Stored queries about several patients, and about all of them. Spec: ITI TF-2 3.51.4.1."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from sqlalchemy import event as sqlalchemy_event

from tests.actors.registry_fixtures import APPROVED, CALLER, Registry, open_registry, read_back
from tests.builders import PATIENT_ID, document_entry, folder, submission
from xds.model.errors import ErrorCode
from xds.model.metadata import Code, DocumentEntry, Folder
from xds.model.stored_queries import RawQuery
from xds.model.vocabulary import StoredQueryId
from xds.store import audit

DOCUMENTS = StoredQueryId.FIND_DOCUMENTS_FOR_MULTIPLE_PATIENTS
FOLDERS = StoredQueryId.FIND_FOLDERS_FOR_MULTIPLE_PATIENTS
OTHERS = tuple(f"P{number}^^^&1.2.3.4.5&ISO" for number in range(2, 5))
PATIENTS = (PATIENT_ID, *OTHERS)
ULTRASOUND = Code("US", "1.2.840.10008.2.16.4", "Ultrasound")
LETTER = Code("LETTER", "1.2.3", "Letter")


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[Registry]:
    opened = open_registry(tmp_path, max_results=10)
    opened.announce(*OTHERS)
    yield opened
    opened.database.close()


def ask(registry: Registry, query: str, *slots: tuple[str, Sequence[str]], return_type: str = "LeafClass"):  # type: ignore[no-untyped-def]
    status = "XDSFolderStatus" if query == FOLDERS else "XDSDocumentEntryStatus"
    given = tuple((name, tuple(values)) for name, values in slots)
    return registry.actor.query(RawQuery(query, return_type, ((status, (APPROVED,)), *given)), CALLER, across_patients=True)


def titles(answer) -> list[str]:  # type: ignore[no-untyped-def]
    assert answer.response.succeeded, answer.response.errors
    return [item.title or "" for item in read_back(answer.objects)]


def put(registry: Registry, patient_id: str, title: str, **attributes: object) -> None:
    entry = document_entry(patient_id=patient_id, title=title, **attributes)
    registry.accept(submission([entry], patient_id=patient_id))


def patients(*patient_ids: str) -> tuple[str, Sequence[str]]:
    return ("XDSDocumentEntryPatientId", [f"('{patient_id}')" for patient_id in patient_ids])


def test_documents_of_some_patients_in_one_answer(registry: Registry) -> None:
    for patient_id in PATIENTS:
        put(registry, patient_id, patient_id)
    unheard = "NOBODY^^^&1.2.3.4.5&ISO"
    assert titles(ask(registry, DOCUMENTS, patients(PATIENT_ID, OTHERS[1], unheard))) == [PATIENT_ID, OTHERS[1]]
    assert titles(ask(registry, DOCUMENTS, patients(unheard))) == []
    (entry,) = read_back(ask(registry, DOCUMENTS, patients(OTHERS[2])).objects)
    assert isinstance(entry, DocumentEntry)
    assert entry.patient_id == OTHERS[2]


def test_documents_of_anybody_by_code(registry: Registry) -> None:
    for number, patient_id in enumerate(PATIENTS):
        events = (ULTRASOUND,) if number % 2 else ()
        put(registry, patient_id, patient_id, event_codes=events, class_code=LETTER if number > 1 else Code("X", "1.2.3"))
    event, kind = ("XDSDocumentEntryEventCodeList", [f"('{ULTRASOUND}')"]), ("XDSDocumentEntryClassCode", [f"('{LETTER}')"])
    facility = ("XDSDocumentEntryHealthcareFacilityTypeCode", ["('Outpatient^^1.2.3.20')"])
    assert titles(ask(registry, DOCUMENTS, event)) == [PATIENTS[1], PATIENTS[3]]
    assert titles(ask(registry, DOCUMENTS, kind)) == [PATIENTS[2], PATIENTS[3]]
    assert titles(ask(registry, DOCUMENTS, event, kind)) == [PATIENTS[3]]
    assert titles(ask(registry, DOCUMENTS, facility)) == list(PATIENTS)
    assert titles(ask(registry, DOCUMENTS, facility, ("XDSDocumentEntryAuthorPerson", ["('%nobody%')"]))) == []
    assert titles(ask(registry, DOCUMENTS, event, patients(*PATIENTS[:2]))) == [PATIENTS[1]]
    assert titles(ask(registry, DOCUMENTS, ("XDSDocumentEntryEventCodeList", ["('unheard^^1.2')"]))) == []


def test_folders(registry: Registry) -> None:
    for number, patient_id in enumerate(PATIENTS):
        codes = (Code("A", "1.2", "a"), *((Code("B", "1.2", "b"),) if number else ()))
        item = folder(patient_id=patient_id, title=patient_id, code_list=codes)
        registry.accept(submission(1, folders=[item], patient_id=patient_id))
    several = ("XDSFolderCodeList", ["('A^^1.2')"]), ("XDSFolderCodeList", ["('B^^1.2')"])
    assert titles(ask(registry, FOLDERS, *several)) == list(OTHERS)
    found = read_back(ask(registry, FOLDERS, ("XDSFolderPatientId", [f"('{PATIENT_ID}','{OTHERS[0]}')"])).objects)
    assert [type(item) for item in found] == [Folder, Folder]
    assert [item.title for item in found] == [PATIENT_ID, OTHERS[0]]


@pytest.mark.parametrize("query", [DOCUMENTS, FOLDERS])
def test_nothing_to_search_by_is_refused(registry: Registry, query: str) -> None:
    answer = ask(registry, query, ("XDSDocumentEntryTypeCode", ["('34133-9^^2.16.840.1.113883.6.1')"]))
    assert [error.code for error in answer.response.errors] == [ErrorCode.STORED_QUERY_MISSING_PARAM]
    assert "at least one of" in answer.response.errors[0].context


def test_each_transaction_has_queries_of_its_own(registry: Registry) -> None:
    for query, across_patients in ((DOCUMENTS, False), (FOLDERS, False), (StoredQueryId.FIND_DOCUMENTS, True)):
        answer = registry.actor.query(RawQuery(query, "LeafClass", ()), CALLER, across_patients=across_patients)
        assert [error.code for error in answer.response.errors] == [ErrorCode.UNKNOWN_STORED_QUERY]


def test_too_many_results_are_refused_and_references_are_not(registry: Registry) -> None:
    for number in range(11):
        put(registry, PATIENTS[number % 4], str(number), class_code=LETTER)
    by_code = ("XDSDocumentEntryClassCode", [f"('{LETTER}')"])
    for search in (by_code, patients(*PATIENTS)):
        refused = ask(registry, DOCUMENTS, search)
        assert [error.code for error in refused.response.errors] == [ErrorCode.TOO_MANY_RESULTS]
        assert len(ask(registry, DOCUMENTS, search, return_type="ObjectRef").references) == 11


def test_merged_patients_are_answered_under_the_surviving_one(registry: Registry) -> None:
    put(registry, PATIENT_ID, "old", class_code=LETTER)
    put(registry, OTHERS[0], "own", class_code=LETTER)
    assert registry.merge(PATIENT_ID, OTHERS[0])
    for search in (patients(OTHERS[0]), ("XDSDocumentEntryClassCode", [f"('{LETTER}')"])):
        found = read_back(ask(registry, DOCUMENTS, search).objects)
        assert [(item.title, item.patient_id) for item in found if isinstance(item, DocumentEntry)] == [
            ("old", OTHERS[0]),
            ("own", OTHERS[0]),
        ]
    assert titles(ask(registry, DOCUMENTS, patients(PATIENT_ID))) == []


def test_hundreds_of_patients_in_a_few_statements(registry: Registry) -> None:
    many = [f"M{number}^^^&1.2.3.4.5&ISO" for number in range(150)]
    registry.announce(*many)
    for number in (0, 77, 149):
        put(registry, many[number], many[number])
    assert titles(ask(registry, DOCUMENTS, patients(*many))) == [many[0], many[77], many[149]]


@pytest.mark.parametrize(
    ("query", "slot"),
    [
        (DOCUMENTS, ("XDSDocumentEntryPatientId", [f"('{PATIENT_ID}','{OTHERS[0]}')"])),
        (DOCUMENTS, ("XDSDocumentEntryClassCode", [f"('{LETTER}')"])),
        (DOCUMENTS, ("XDSDocumentEntryHealthcareFacilityTypeCode", ["('a^^1.2','Outpatient^^1.2.3.20')"])),
        (DOCUMENTS, ("XDSDocumentEntryEventCodeList", [f"('{ULTRASOUND}')"])),
        (FOLDERS, ("XDSFolderCodeList", ["('Referrals^^1.2.3.23')"])),
    ],
)
def test_no_query_scans_a_table(registry: Registry, query: str, slot: tuple[str, Sequence[str]]) -> None:
    put(registry, PATIENT_ID, "one", event_codes=(ULTRASOUND,), class_code=LETTER)
    registry.accept(submission(1, folders=1))
    seen: list[tuple[str, object]] = []

    def note(_connection, _cursor, statement, parameters, _context, _many) -> None:  # type: ignore[no-untyped-def]
        seen.append((statement, parameters))

    with registry.database.read() as connection:
        engine = connection.engine
    sqlalchemy_event.listen(engine, "before_cursor_execute", note)
    found = ask(registry, query, slot)
    sqlalchemy_event.remove(engine, "before_cursor_execute", note)
    assert found.objects
    statements = [item for item in seen if item[0].lstrip().upper().startswith("SELECT")]
    with registry.database.read() as connection:
        explain, column = ("EXPLAIN QUERY PLAN", 3) if engine.dialect.name == "sqlite" else ("EXPLAIN", 0)
        if engine.dialect.name != "sqlite":
            # Tables as small as these are scanned unless that is forbidden.
            connection.exec_driver_sql("SET LOCAL enable_seqscan = off")
        plans = [row[column] for text, some in statements for row in connection.exec_driver_sql(f"{explain} {text}", some)]
    scans = [plan for plan in plans if plan.startswith("SCAN") or "Seq Scan" in plan]
    assert [plan for plan in scans if plan != "SCAN CONSTANT ROW"] == []


def test_audit_names_the_transaction_and_every_patient(registry: Registry) -> None:
    ask(registry, DOCUMENTS, patients(*PATIENTS[:2]))
    registry.database.flush()
    with registry.database.read() as connection:
        ((_, event),) = audit.find(connection, limit=1)
    assert (event.event_id.code, event.event_type.code, event.action.value) == ("110112", "ITI-51", "E")
    assert [item.id for item in event.objects] == [*PATIENTS[:2], DOCUMENTS]
