"""What registering does. Spec: ITI TF-2 3.42.4.1.3."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import func, select

from tests.actors.registry_fixtures import APPROVED, BOTH, CALLER, DEPRECATED, Registry, open_registry
from tests.builders import (
    CONTENT,
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
from xds.model.errors import ErrorCode
from xds.model.metadata import Association, Code, DocumentEntry, Folder, SubmissionSet
from xds.model.vocabulary import AssociationType, AvailabilityStatus, StoredQueryId
from xds.store import audit
from xds.store.schema.registry import document_entry as document_entry_table
from xds.store.schema.registry import registry_object

OTHER_PATIENT = "P2^^^&1.2.3.4.5&ISO"


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[Registry]:
    opened = open_registry(tmp_path)
    yield opened
    opened.database.close()


def entries(registry: Registry, status: str = APPROVED, patient_id: str = PATIENT_ID) -> list[DocumentEntry]:
    found = registry.ask(StoredQueryId.FIND_DOCUMENTS, XDSDocumentEntryPatientId=f"'{patient_id}'", XDSDocumentEntryStatus=status)
    assert all(isinstance(item, DocumentEntry) for item in found)
    return found


def objects_of(registry: Registry) -> int:
    with registry.database.read() as connection:
        return connection.execute(select(func.count()).select_from(registry_object)).scalar_one()


def events(registry: Registry):
    registry.database.flush()
    with registry.database.read() as connection:
        return [event for _sequence, event in audit.find(connection)]


def registered(registry: Registry, **attributes) -> DocumentEntry:
    """Register one document and give back what the registry made of it."""
    entry = document_entry(**attributes)
    registry.accept(submission([entry]))
    (found,) = registry.ask(StoredQueryId.GET_DOCUMENTS, XDSDocumentEntryUniqueId=f"('{entry.unique_id}')")
    return found


def replacing(old: DocumentEntry, kind: AssociationType = AssociationType.RPLC, **attributes):
    new = document_entry(id="new", **attributes)
    return new, submission([new], others=[association(kind, new, old.id)])


def test_what_comes_in_goes_out_with_its_status_and_version(registry: Registry) -> None:
    sent = document_entry(id=uuid_for(1), title='Lettre d\'été & "Œuvre"', comments="<b>", reference_ids=("1^^^&1.2&ISO^urn:x",))
    registry.accept(submission([sent]))
    (found,) = entries(registry)
    assert (found.status, found.version, found.lid, found.id) == (AvailabilityStatus.APPROVED, 1, sent.id, sent.id)
    assert (found.slots, found.name, found.description) == (sent.slots, sent.name, sent.description)
    assert [item.code for item in found.classifications] == [item.code for item in sent.classifications]
    assert (found.authors, found.unique_id, found.patient_id) == (sent.authors, sent.unique_id, sent.patient_id)


def test_symbolic_ids_become_uuids_everywhere(registry: Registry) -> None:
    registry.accept(submission(2, folders=1))
    found = registry.ask(
        StoredQueryId.GET_ALL,
        patientId=f"'{PATIENT_ID}'",
        XDSDocumentEntryStatus=APPROVED,
        XDSSubmissionSetStatus=APPROVED,
        XDSFolderStatus=APPROVED,
    )
    ids = {item.id for item in found}
    kinds = [type(item) for item in found]
    assert [kinds.count(kind) for kind in (SubmissionSet, DocumentEntry, Folder, Association)] == [1, 2, 1, 7]
    assert all(identifier.startswith("urn:uuid:") for identifier in ids)
    assert all({item.source, item.target} <= ids for item in found if isinstance(item, Association))


def test_a_refused_submission_leaves_nothing_and_reports_every_error(registry: Registry) -> None:
    entry = document_entry(hash=None, patient_id="unknown^^^&1.2.3.4.5&ISO")
    bad = submission([entry], others=[association(AssociationType.RPLC, entry, uuid_for(7))])
    assert registry.refuse(bad) >= {
        ErrorCode.REGISTRY_METADATA_ERROR,
        ErrorCode.UNKNOWN_PATIENT_ID,
        ErrorCode.UNRESOLVED_REFERENCE,
        ErrorCode.PATIENT_ID_DOES_NOT_MATCH,
    }
    assert objects_of(registry) == 0
    assert entries(registry) == []


def test_an_unknown_patient(registry: Registry, tmp_path: Path) -> None:
    assert registry.refuse(submission(1, patient_id=OTHER_PATIENT)) == {ErrorCode.UNKNOWN_PATIENT_ID}


def test_without_the_check_a_submission_makes_its_patient_known(tmp_path: Path) -> None:
    registry = open_registry(tmp_path, require_known_patient=False)
    try:
        registry.accept(submission(1, patient_id=OTHER_PATIENT))
        registry.accept(submission(1, patient_id=OTHER_PATIENT))
        assert len(entries(registry, patient_id=OTHER_PATIENT)) == 2
        assert registry.refuse(submission([document_entry(hash=None)])) == {ErrorCode.REGISTRY_METADATA_ERROR}
    finally:
        registry.database.close()


def test_the_same_document_may_be_registered_again(registry: Registry) -> None:
    unique_id = fresh_uid()
    registry.accept(submission([document_entry(unique_id=unique_id)]))
    registry.accept(submission([document_entry(unique_id=unique_id)]))
    found = registry.ask(StoredQueryId.GET_DOCUMENTS, XDSDocumentEntryUniqueId=f"('{unique_id}')")
    assert len(found) == 2


def test_other_content_under_the_same_unique_id_is_refused(registry: Registry) -> None:
    first = registered(registry)
    other = submission([document_entry(unique_id=first.unique_id, hash="0" * 40, size=str(len(CONTENT) + 1))])
    assert registry.refuse(other) == {ErrorCode.NON_IDENTICAL_HASH, ErrorCode.NON_IDENTICAL_SIZE}


def test_unique_ids_of_packages_are_used_once(registry: Registry) -> None:
    package, container = submission_set(), folder()
    registry.accept(submission(1, folders=[container], submission_set=package))
    again = submission(1, folders=[folder(unique_id=container.unique_id)], submission_set=replace(package))
    assert registry.refuse(again) == {ErrorCode.DUPLICATE_UNIQUE_ID_IN_REGISTRY}


def test_a_uuid_is_used_once(registry: Registry) -> None:
    registry.accept(submission([document_entry(id=uuid_for(1))]))
    assert registry.refuse(submission([document_entry(id=uuid_for(1))])) == {ErrorCode.REGISTRY_METADATA_ERROR}


@pytest.mark.parametrize("kind", [AssociationType.RPLC, AssociationType.XFRM_RPLC])
def test_a_replacement_deprecates_what_it_replaces(registry: Registry, kind: AssociationType) -> None:
    old = registered(registry)
    new, message = replacing(old, kind)
    registry.accept(message)
    assert [item.unique_id for item in entries(registry)] == [new.unique_id]
    assert [item.id for item in entries(registry, DEPRECATED)] == [old.id]


@pytest.mark.parametrize("kind", [AssociationType.APND, AssociationType.XFRM])
def test_an_addition_leaves_its_parent_as_it_is(registry: Registry, kind: AssociationType) -> None:
    old = registered(registry)
    registry.accept(replacing(old, kind)[1])
    assert len(entries(registry)) == 2


def test_a_replacement_deprecates_additions_and_theirs_in_turn(registry: Registry) -> None:
    old = registered(registry)
    addendum, message = replacing(old, AssociationType.APND, unique_id=fresh_uid())
    registry.accept(message)
    (child,) = [item for item in entries(registry) if item.unique_id == addendum.unique_id]
    registry.accept(replacing(child, AssociationType.XFRM)[1])
    new, message = replacing(old)
    registry.accept(message)
    assert [item.unique_id for item in entries(registry)] == [new.unique_id]
    assert len(entries(registry, BOTH)) == 4


def test_what_is_deprecated_cannot_be_replaced_again(registry: Registry) -> None:
    old = registered(registry)
    registry.accept(replacing(old)[1])
    assert registry.refuse(replacing(old)[1]) == {ErrorCode.REGISTRY_DEPRECATED_DOCUMENT}


def test_a_replacement_takes_the_place_in_the_folder(registry: Registry) -> None:
    container, old = folder(), document_entry()
    registry.accept(submission([old], folders=[container]))
    (before,) = registry.ask(StoredQueryId.GET_FOLDERS, XDSFolderUniqueId=f"('{container.unique_id}')")
    (stored,) = entries(registry)
    new, message = replacing(stored)
    registry.accept(message)
    contents = registry.ask(StoredQueryId.GET_FOLDER_AND_CONTENTS, XDSFolderUniqueId=f"'{container.unique_id}'")
    after = next(item for item in contents if isinstance(item, Folder))
    members = [item for item in contents if isinstance(item, Association)]
    assert {item.unique_id for item in contents if isinstance(item, DocumentEntry)} == {old.unique_id, new.unique_id}
    assert {item.source for item in members} == {after.id}
    assert before.last_update_time is not None
    assert after.last_update_time is not None
    assert after.last_update_time > before.last_update_time
    # The new membership belongs to the submission that caused it.
    sets = registry.ask(
        StoredQueryId.GET_SUBMISSION_SET_AND_CONTENTS, XDSSubmissionSetUniqueId=f"'{message.submission_set.unique_id}'"
    )
    assert {item.id for item in members} & {item.id for item in sets} == set()
    links = registry.ask(StoredQueryId.GET_ASSOCIATIONS, uuid=f"('{message_set(registry, message).id}')")
    assert {item.target for item in links} & {item.id for item in members}


def message_set(registry: Registry, message) -> SubmissionSet:
    found = registry.ask(
        StoredQueryId.GET_SUBMISSION_SET_AND_CONTENTS, XDSSubmissionSetUniqueId=f"'{message.submission_set.unique_id}'"
    )
    return next(item for item in found if isinstance(item, SubmissionSet))


def test_a_membership_that_the_submission_states_itself_is_not_made_twice(registry: Registry) -> None:
    container = folder(id=uuid_for(1))
    registry.accept(submission([document_entry(id=uuid_for(2))], folders=[container]))
    new = document_entry(id="new")
    package = submission_set()
    inside = has_member(container, new)
    registry.accept(
        submission(
            [new],
            submission_set=package,
            others=[association(AssociationType.RPLC, new, uuid_for(2)), inside, has_member(package, inside)],
        )
    )
    contents = registry.ask(StoredQueryId.GET_FOLDER_AND_CONTENTS, XDSFolderEntryUUID=f"'{container.id}'")
    assert len([item for item in contents if isinstance(item, Association)]) == 2


def test_what_replaces_two_documents_of_a_folder_is_in_it_once(registry: Registry) -> None:
    container = folder(id=uuid_for(1))
    registry.accept(submission([document_entry(id=uuid_for(number)) for number in (2, 3)], folders=[container]))
    new = document_entry(id=uuid_for(4))
    registry.accept(submission([new], others=[association(AssociationType.RPLC, new, uuid_for(number)) for number in (2, 3)]))
    contents = registry.ask(StoredQueryId.GET_FOLDER_AND_CONTENTS, XDSFolderEntryUUID=f"'{container.id}'")
    assert [item.target for item in contents if isinstance(item, Association)].count(new.id) == 1


def test_the_registry_decides_when_a_folder_was_updated(registry: Registry) -> None:
    container = folder(id=uuid_for(1), last_update_time="19990101000000")
    registry.accept(submission(0, folders=[container]))
    (first,) = registry.ask(StoredQueryId.GET_FOLDERS, XDSFolderEntryUUID=f"('{container.id}')")
    assert first.last_update_time == registry_time(registry, first)
    entry, package = document_entry(), submission_set()
    inside = has_member(container.id, entry)
    registry.accept(submission([entry], submission_set=package, others=[inside, has_member(package, inside)]))
    (second,) = registry.ask(StoredQueryId.GET_FOLDERS, XDSFolderEntryUUID=f"('{container.id}')")
    assert second.last_update_time > first.last_update_time > "2026"


def registry_time(registry: Registry, container: Folder) -> str:
    """The time that queries compare with."""
    found = registry.ask(
        StoredQueryId.FIND_FOLDERS,
        XDSFolderPatientId=f"'{PATIENT_ID}'",
        XDSFolderStatus=APPROVED,
        XDSFolderLastUpdateTimeFrom=container.last_update_time or "",
    )
    assert [item.id for item in found] == [container.id]
    return container.last_update_time or ""


def test_a_merged_patient_takes_no_more_documents(registry: Registry) -> None:
    registry.announce(OTHER_PATIENT)
    assert registry.merge(OTHER_PATIENT, PATIENT_ID)
    assert registry.refuse(submission(1, patient_id=OTHER_PATIENT)) == {ErrorCode.UNKNOWN_PATIENT_ID}


def test_documents_from_before_a_merge_can_be_replaced_under_the_surviving_patient(registry: Registry) -> None:
    registry.announce(OTHER_PATIENT)
    old = document_entry(id=uuid_for(1), patient_id=OTHER_PATIENT)
    registry.accept(submission([old], patient_id=OTHER_PATIENT))
    registry.merge(OTHER_PATIENT, PATIENT_ID)
    new, message = replacing(old)
    registry.accept(message)
    assert [item.unique_id for item in entries(registry)] == [new.unique_id]


def test_each_registration_leaves_one_audit_event(registry: Registry) -> None:
    message = submission(1)
    registry.accept(message)
    registry.refuse(submission(1, patient_id=OTHER_PATIENT))
    refused, accepted = events(registry)
    assert (accepted.event_id.code, accepted.action, accepted.outcome) == ("110107", "C", "0")
    assert (refused.event_type.code, refused.outcome) == ("ITI-42", "8")
    assert [item.id for item in accepted.objects] == [PATIENT_ID, message.submission_set.unique_id]
    assert [item.user_id for item in accepted.participants] == [
        "urn:test:consumer",
        "dr.test",
        "http://127.0.0.1:8080/services/registry",
    ]


def test_work_along_a_registration_shares_its_fate(registry: Registry) -> None:
    def fail(_connection: object) -> None:
        raise LookupError("along")

    with pytest.raises(LookupError, match="along"):
        registry.actor.register(submission(1), CALLER, along=fail)
    assert objects_of(registry) == 0
    seen = []
    assert registry.actor.register(submission(1), CALLER, along=seen.append).succeeded
    assert len(seen) == 1


def test_codes_of_an_undone_registration_are_not_remembered(registry: Registry) -> None:
    def fail(_connection: object) -> None:
        raise LookupError("along")

    strange = document_entry(class_code=Code("new", "9.9", "New"))
    with pytest.raises(LookupError):
        registry.actor.register(submission([strange]), CALLER, along=fail)
    registry.accept(submission([document_entry(class_code=Code("other", "9.9", "Other"))]))
    registry.accept(submission([strange]))
    found = registry.ask(
        StoredQueryId.FIND_DOCUMENTS,
        XDSDocumentEntryPatientId=f"'{PATIENT_ID}'",
        XDSDocumentEntryStatus=APPROVED,
        XDSDocumentEntryClassCode="('new^^9.9')",
    )
    assert [item.unique_id for item in found] == [strange.unique_id]


def test_many_threads_register_at_once(registry: Registry) -> None:
    """Every acknowledged document is there, and of one uniqueId of a package exactly one submission wins."""
    contested = [fresh_uid() for _ in range(10)]

    def work(thread: int) -> tuple[list[str], int]:
        acknowledged, won = [], 0
        for unique_id in contested:
            message = submission(1)
            registry.accept(message)
            acknowledged.append(message.document_entries[0].unique_id)
            race = submission(1, submission_set=submission_set(unique_id=unique_id))
            won += registry.register(race).succeeded
        return acknowledged, won

    with ThreadPoolExecutor(8) as pool:
        outcomes = list(pool.map(work, range(8)))
    assert sum(won for _acknowledged, won in outcomes) == len(contested)
    wanted = {unique_id for acknowledged, _won in outcomes for unique_id in acknowledged}
    assert wanted <= {item.unique_id for item in entries(registry)}
    with registry.database.read() as connection:
        stored = connection.execute(select(func.count()).select_from(document_entry_table)).scalar_one()
    assert stored == len(wanted) + len(contested)


def test_facts_for_a_repository(registry: Registry) -> None:
    old = registered(registry, unique_id="1.2.9.1")
    facts = registry.actor.documents(["1.2.9.1", "1.2.9.2"], "1.2.3.4.7")
    assert set(facts) == {"1.2.9.1"}
    found = facts["1.2.9.1"]
    assert (found.patient_id, found.mime_type, found.size) == (PATIENT_ID, old.mime_type, old.size)
    assert (found.class_code, found.confidentiality) == (str(old.class_code), ("N^^2.16.840.1.113883.5.25",))
    assert registry.actor.documents(["1.2.9.1"], "9.9") == {}
