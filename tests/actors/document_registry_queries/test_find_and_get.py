"""FindSubmissionSets, FindFolders, and the queries by identity."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pytest

from tests.actors.document_registry_queries.asking import OTHER_PATIENT, kinds, put
from tests.actors.registry_fixtures import APPROVED, DEPRECATED, Registry
from tests.builders import (
    PATIENT_ID,
    association,
    document_entry,
    folder,
    submission,
    submission_set,
    uuid_for,
)
from xds.model.metadata import Association, Author, Code, DocumentEntry, Folder, SubmissionSet
from xds.model.vocabulary import AssociationType, StoredQueryId

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
