"""Several patients and merges; access, audit, and that no query reads a whole table."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import pytest

from tests.actors.document_registry_queries.asking import EVENT, OTHER_PATIENT, THIRD_PATIENT, find, kinds, put
from tests.actors.registry_fixtures import APPROVED, CALLER, Registry, open_registry, patient
from tests.builders import (
    PATIENT_ID,
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
from xds.model.metadata import Association, Code
from xds.model.stored_queries import RawQuery
from xds.model.vocabulary import StoredQueryId
from xds.store import affinity_patients, audit

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
