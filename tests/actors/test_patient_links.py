"""What the registry does when a local identifier changes its place in the affinity domain. Spec: ITI TF-2 3.64.4.1.3."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.actors.registry_fixtures import APPROVED as ONLY_APPROVED
from tests.actors.registry_fixtures import BOTH, CALLER, Registry, open_registry, patient
from tests.builders import PATIENT_ID, SOURCE_PATIENT_ID, association, document_entry, has_member, submission
from tests.updates import APPROVED, DEPRECATED, update
from xds.model.audit import PATIENT_RECORD, AuditEvent, EventAction, EventOutcome
from xds.model.metadata import Association, DocumentEntry, Folder, SubmissionSet
from xds.model.patient import IdentityProblem, IdentityProblemKind
from xds.model.patient_links import LinkChange
from xds.model.vocabulary import AssociationType, SlotName, StoredQueryId
from xds.store import audit

NEW = "P2^^^&1.2.3.4.5&ISO"
OTHER_LOCAL = "L2^^^&1.2.3.4.6&ISO"
SYSTEM = "1.2.3.4.77"
KINDS = IdentityProblemKind
_numbers = itertools.count(1)


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[Registry]:
    opened = open_registry(tmp_path)
    opened.announce(NEW)
    yield opened
    opened.database.close()


def change(
    registry: Registry,
    *,
    local: str = SOURCE_PATIENT_ID,
    new: str = NEW,
    previous: str = PATIENT_ID,
    subsumed: str | None = None,
) -> tuple[IdentityProblem, ...]:
    return registry.actor.change_link(
        LinkChange(
            local=patient(local),
            new=patient(new),
            previous=patient(previous),
            subsumed=patient(subsumed) if subsumed else None,
            source_id=SYSTEM,
            source="HOSP|PIX",
            destination="XDS|XDS",
            message_id=f"M{next(_numbers)}",
        ),
        CALLER,
    )


def of(registry: Registry, patient_id: str, status: str = ONLY_APPROVED, level: str = "1") -> list[DocumentEntry]:
    found = registry.ask(
        StoredQueryId.FIND_DOCUMENTS,
        XDSDocumentEntryPatientId=f"'{patient_id}'",
        XDSDocumentEntryStatus=status,
        MetadataLevel=level,
    )
    return [item for item in found if isinstance(item, DocumentEntry)]


def folders_of(registry: Registry, patient_id: str, status: str = ONLY_APPROVED, level: str = "1") -> list[Folder]:
    found = registry.ask(
        StoredQueryId.FIND_FOLDERS, XDSFolderPatientId=f"'{patient_id}'", XDSFolderStatus=status, MetadataLevel=level
    )
    return [item for item in found if isinstance(item, Folder)]


def packages_of(registry: Registry, patient_id: str) -> list[SubmissionSet]:
    found = registry.ask(
        StoredQueryId.FIND_SUBMISSION_SETS, XDSSubmissionSetPatientId=f"'{patient_id}'", XDSSubmissionSetStatus=ONLY_APPROVED
    )
    return [item for item in found if isinstance(item, SubmissionSet)]


def associations(registry: Registry, *uuids: str, level: str = "2", status: str = ONLY_APPROVED) -> list[Association]:
    listed = "({})".format(",".join(f"'{item}'" for item in uuids))
    found = registry.ask(StoredQueryId.GET_ASSOCIATIONS, uuid=listed, MetadataLevel=level, XDSAssociationStatus=status)
    return [item for item in found if isinstance(item, Association)]


def pairs(found: Sequence[Association], kind: str = AssociationType.HAS_MEMBER) -> set[tuple[str, str]]:
    return {(item.source, item.target) for item in found if item.association_type == kind}


def audited(registry: Registry) -> AuditEvent:
    """The newest event of a link change."""
    registry.database.flush()
    with registry.database.read() as connection:
        return next(event for _, event in audit.find(connection) if event.event_type.code == "ITI-64")


def registered(registry: Registry, *entries: DocumentEntry, **options) -> None:
    registry.accept(submission(list(entries) or [document_entry()], **options))


# --- documents -------------------------------------------------------------------------------------------------------


def test_documents_of_the_local_identifier_get_new_versions_under_the_new_patient(registry: Registry) -> None:
    registered(registry, document_entry(title="Moves"))
    registered(registry, document_entry(source_patient_id=OTHER_LOCAL, title="Stays"))
    (before,) = [item for item in of(registry, PATIENT_ID) if item.title == "Moves"]
    assert change(registry) == ()
    (moved,) = of(registry, NEW)
    assert (moved.lid, moved.version, moved.patient_id, moved.status) == (before.id, 2, NEW, APPROVED)
    assert (moved.unique_id, moved.source_patient_id, moved.title) == (before.unique_id, SOURCE_PATIENT_ID, "Moves")
    assert moved.id != before.id
    assert {item.id for item in moved.classifications}.isdisjoint(item.id for item in before.classifications)
    assert [item.title for item in of(registry, PATIENT_ID, BOTH)] == ["Stays"]
    (old,) = [item for item in of(registry, PATIENT_ID, BOTH, "2") if item.title == "Moves"]
    assert (old.id, old.version, old.status, old.patient_id) == (before.id, 1, DEPRECATED, PATIENT_ID)


def test_a_change_is_registered_in_a_submission_set_of_its_own(registry: Registry) -> None:
    registered(registry)
    registered(registry)
    assert change(registry) == ()
    (package,) = packages_of(registry, NEW)
    assert (package.source_id, package.patient_id, package.authors) == (SYSTEM, NEW, ())
    assert package.home is None
    assert not package.slot(SlotName.INTENDED_RECIPIENT)
    assert package.submission_time is not None
    assert package.content_type_code is not None
    members = associations(registry, package.id)
    assert pairs(members) == {(package.id, item.id) for item in of(registry, NEW)}
    assert {item.slot_value(SlotName.PREVIOUS_VERSION) for item in members} == {"1"}
    assert {item.submission_set_status for item in members} == {"Original"}


def test_moving_back_counts_versions_on(registry: Registry) -> None:
    registered(registry)
    assert change(registry) == ()
    assert change(registry, new=PATIENT_ID, previous=NEW) == ()
    (entry,) = of(registry, PATIENT_ID)
    assert entry.version == 3
    assert of(registry, NEW, BOTH) == []


def test_what_is_deprecated_stays(registry: Registry) -> None:
    first = document_entry()
    registered(registry, first)
    (old,) = of(registry, PATIENT_ID)
    replacing = document_entry(id="Document02")
    relation = association(AssociationType.RPLC, replacing, old.id)
    registry.accept(submission([replacing], others=[relation]))
    assert change(registry) == ()
    (moved,) = of(registry, NEW, BOTH)
    assert moved.unique_id == replacing.unique_id
    assert [item.id for item in of(registry, PATIENT_ID, BOTH)] == [old.id]
    assert pairs(associations(registry, moved.id), AssociationType.RPLC) == set()


def test_an_updated_document_moves_in_its_newest_version(registry: Registry) -> None:
    registered(registry)
    (first,) = of(registry, PATIENT_ID)
    assert registry.actor.update(update(first), CALLER).succeeded
    assert change(registry) == ()
    (moved,) = of(registry, NEW)
    assert (moved.version, moved.lid) == (3, first.id)


@pytest.mark.parametrize("spelling", ["L1^^^&1.2.3.4.6&ISO", "L1^^^HOSP&1.2.3.4.6&ISO"])
def test_a_local_identifier_is_found_however_its_authority_is_written(registry: Registry, spelling: str) -> None:
    registered(registry)
    assert change(registry, local=spelling) == ()
    assert len(of(registry, NEW)) == 1


def test_documents_of_a_merged_patient_move_with_those_of_the_surviving_one(registry: Registry) -> None:
    survivor = "P3^^^&1.2.3.4.5&ISO"
    registry.announce(survivor)
    registered(registry)
    assert registry.merge(PATIENT_ID, survivor)
    assert change(registry, previous=survivor) == ()
    assert len(of(registry, NEW)) == 1
    assert of(registry, survivor, BOTH) == []


def test_a_repeated_message_has_no_second_effect(registry: Registry) -> None:
    registered(registry)
    assert change(registry) == change(registry) == ()
    assert [item.version for item in of(registry, NEW)] == [2]
    assert len(packages_of(registry, NEW)) == 1


# --- local merges ----------------------------------------------------------------------------------------------------


def test_a_local_merge_rewrites_the_source_patient_id(registry: Registry) -> None:
    registered(registry, document_entry(source_patient_id=OTHER_LOCAL, title="Subsumed"))
    registered(registry, document_entry(title="Surviving"))
    assert change(registry, new=PATIENT_ID, subsumed=OTHER_LOCAL) == ()
    found = {item.title: item for item in of(registry, PATIENT_ID)}
    assert {title: (item.source_patient_id, item.version) for title, item in found.items()} == {
        "Subsumed": (SOURCE_PATIENT_ID, 2),
        "Surviving": (SOURCE_PATIENT_ID, 1),
    }
    assert change(registry) == ()
    assert len(of(registry, NEW)) == 2


def test_a_local_merge_can_move_at_the_same_time(registry: Registry) -> None:
    registered(registry, document_entry(source_patient_id=OTHER_LOCAL))
    registered(registry)
    assert change(registry, subsumed=OTHER_LOCAL) == ()
    assert [item.source_patient_id for item in of(registry, NEW)] == [SOURCE_PATIENT_ID] * 2
    assert of(registry, PATIENT_ID, BOTH) == []


def test_a_local_merge_keeps_folders_and_relationships(registry: Registry) -> None:
    inside = document_entry(source_patient_id=OTHER_LOCAL)
    other = document_entry(id="Document02")
    registry.accept(submission([inside, other], folders=1))
    (package,) = folders_of(registry, PATIENT_ID)
    found = {item.source_patient_id: item for item in of(registry, PATIENT_ID)}
    added = document_entry(id="Document03")
    relation = association(AssociationType.APND, added, found[OTHER_LOCAL].id)
    registry.accept(submission([added], others=[relation]))
    assert change(registry, new=PATIENT_ID, subsumed=OTHER_LOCAL) == ()
    (kept,) = folders_of(registry, PATIENT_ID)
    assert (kept.id, kept.version) == (package.id, 1)
    assert kept.last_update_time > package.last_update_time
    (moved,) = [item for item in of(registry, PATIENT_ID) if item.version == 2]
    (appended,) = [item for item in of(registry, PATIENT_ID) if item.unique_id == added.unique_id]
    links = associations(registry, moved.id, level="1")
    assert (package.id, moved.id) in pairs(links)
    assert pairs(links, AssociationType.APND) == {(appended.id, moved.id)}


# --- what follows documents ------------------------------------------------------------------------------------------


def test_a_folder_of_one_local_identifier_moves(registry: Registry) -> None:
    registry.accept(submission(2, folders=1))
    (before,) = folders_of(registry, PATIENT_ID)
    assert change(registry) == ()
    (after,) = folders_of(registry, NEW)
    assert (after.lid, after.version, after.unique_id, after.patient_id) == (before.id, 2, before.unique_id, NEW)
    assert folders_of(registry, PATIENT_ID) == []
    assert [item.status for item in folders_of(registry, PATIENT_ID, BOTH, "2")] == [DEPRECATED]
    moved = {item.id for item in of(registry, NEW)}
    assert len(moved) == 2
    assert pairs(associations(registry, after.id, level="1")) >= {(after.id, item) for item in moved}
    (package,) = packages_of(registry, NEW)
    assert (package.id, after.id) in pairs(associations(registry, package.id))


def test_a_folder_with_documents_of_others_stays_without_what_moves(registry: Registry) -> None:
    registry.accept(submission([document_entry(), document_entry(id="Document02", source_patient_id=OTHER_LOCAL)], folders=1))
    (before,) = folders_of(registry, PATIENT_ID)
    assert change(registry) == ()
    (after,) = folders_of(registry, PATIENT_ID)
    assert (after.id, after.version) == (before.id, 1)
    assert folders_of(registry, NEW) == []
    (left,) = of(registry, PATIENT_ID)
    found = registry.ask(StoredQueryId.GET_FOLDER_AND_CONTENTS, XDSFolderEntryUUID=f"'{before.id}'")
    assert [item.id for item in found if isinstance(item, DocumentEntry)] == [left.id]


def test_a_folder_is_divided_by_what_belongs_to_a_document_that_moves(registry: Registry) -> None:
    registry.accept(submission(1, folders=1))
    ((package,), (first,)) = folders_of(registry, PATIENT_ID), of(registry, PATIENT_ID)
    added = document_entry(id="Document02", source_patient_id=OTHER_LOCAL)
    inside = has_member(package.id, added)
    others = [association(AssociationType.APND, added, first.id), inside, has_member("SubmissionSet01", inside)]
    registry.accept(submission([added], others=others))
    assert change(registry) == ()
    assert [item.id for item in folders_of(registry, PATIENT_ID)] == [package.id]


def test_a_replaced_document_does_not_divide_a_folder(registry: Registry) -> None:
    registry.accept(submission(1, folders=1))
    ((package,), (first,)) = folders_of(registry, PATIENT_ID), of(registry, PATIENT_ID)
    replacing = document_entry(id="Document02")
    registry.accept(submission([replacing], others=[association(AssociationType.RPLC, replacing, first.id)]))
    assert change(registry) == ()
    (after,) = folders_of(registry, NEW)
    assert after.lid == package.id
    (moved,) = of(registry, NEW)
    assert [item for _, item in pairs(associations(registry, after.id, level="1")) if item == moved.id] == [moved.id]


def test_a_relationship_follows_when_both_documents_do(registry: Registry) -> None:
    registered(registry)
    (first,) = of(registry, PATIENT_ID)
    added = document_entry(id="Document02")
    registry.accept(submission([added], others=[association(AssociationType.APND, added, first.id)]))
    assert change(registry) == ()
    moved = {item.unique_id: item.id for item in of(registry, NEW)}
    links = associations(registry, *moved.values())
    assert pairs(links, AssociationType.APND) == {(moved[added.unique_id], moved[first.unique_id])}


def test_a_relationship_with_a_document_that_stays_is_not_carried_over(registry: Registry) -> None:
    registered(registry)
    (first,) = of(registry, PATIENT_ID)
    added = document_entry(id="Document02", source_patient_id=OTHER_LOCAL)
    registry.accept(submission([added], others=[association(AssociationType.APND, added, first.id)]))
    assert change(registry) == ()
    (moved,) = of(registry, NEW)
    assert pairs(associations(registry, moved.id), AssociationType.APND) == set()


def test_a_reference_of_a_submission_set_leads_to_the_new_version(registry: Registry) -> None:
    registered(registry)
    (first,) = of(registry, PATIENT_ID)
    mention = has_member("SubmissionSet01", first.id, status="Reference")
    registry.accept(submission([document_entry(source_patient_id=OTHER_LOCAL)], others=[mention]))
    (old,) = [item for item in associations(registry, first.id) if item.submission_set_status == "Reference"]
    assert change(registry) == ()
    (moved,) = of(registry, NEW)
    (new,) = [item for item in associations(registry, moved.id) if item.submission_set_status == "Reference"]
    assert (new.source, new.target) == (old.source, moved.id)
    assert [item.id for item in associations(registry, first.id, status=BOTH) if item.status is DEPRECATED] == [old.id]


# --- refusals and the audit trail ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wrong", "expected"),
    [
        ({"new": "P9^^^&1.2.3.4.5&ISO"}, [(KINDS.UNKNOWN_IDENTIFIER, "identifiers", 1)]),
        ({"previous": "P9^^^&1.2.3.4.5&ISO"}, [(KINDS.UNKNOWN_IDENTIFIER, "subsumed", 1)]),
        ({"new": PATIENT_ID}, [(KINDS.REQUIRED_MISSING, "subsumed", 2)]),
        ({"subsumed": "L2^^^&1.2.3.4.99&ISO"}, [(KINDS.INVALID, "subsumed", 2)]),
        ({"subsumed": SOURCE_PATIENT_ID}, [(KINDS.INVALID, "subsumed", 2)]),
    ],
)
def test_what_cannot_be_done_is_refused_and_changes_nothing(registry: Registry, wrong: dict, expected: list) -> None:
    registered(registry)
    problems = change(registry, **wrong)
    assert [(item.kind, item.field, item.repetition) for item in problems] == expected
    assert [item.version for item in of(registry, PATIENT_ID)] == [1]
    event = audited(registry)
    assert (event.outcome, bool(event.outcome_description)) == (EventOutcome.MINOR_FAILURE, True)


def test_a_subsumed_patient_takes_no_documents(registry: Registry) -> None:
    registered(registry)
    assert registry.merge(NEW, PATIENT_ID)
    assert [item.kind for item in change(registry)] == [KINDS.UNKNOWN_IDENTIFIER]


def test_the_audit_trail_names_every_identifier_and_the_submission_set(registry: Registry) -> None:
    registered(registry, document_entry(source_patient_id=OTHER_LOCAL))
    assert change(registry, subsumed=OTHER_LOCAL) == ()
    event = audited(registry)
    assert (event.event_id, event.action, event.outcome) == (PATIENT_RECORD, EventAction.UPDATE, EventOutcome.SUCCESS)
    (package,) = packages_of(registry, NEW)
    assert [item.id for item in event.objects] == [SOURCE_PATIENT_ID, OTHER_LOCAL, NEW, PATIENT_ID, package.unique_id]
    assert event.participants[0].user_id == "HOSP|PIX"


def test_without_documents_nothing_is_registered(registry: Registry) -> None:
    assert change(registry) == ()
    assert packages_of(registry, NEW) == []
    assert audited(registry).outcome is EventOutcome.SUCCESS


def test_unannounced_patients_become_known_where_that_is_allowed(tmp_path: Path) -> None:
    registry = open_registry(tmp_path, require_known_patient=False)
    registered(registry)
    assert change(registry) == ()
    assert len(of(registry, NEW)) == 1
    registry.database.close()


def test_simultaneous_changes_move_every_document_once(registry: Registry) -> None:
    """Documents are registered and moved to and fro at the same time: none is lost, none is in two places."""
    entries = [document_entry() for _ in range(12)]

    def arrive(entry: DocumentEntry) -> None:
        registered(registry, entry)

    def move(back: bool) -> None:
        assert change(registry, **({"new": PATIENT_ID, "previous": NEW} if back else {})) == ()

    with ThreadPoolExecutor(6) as pool:
        arrivals = [pool.submit(arrive, entry) for entry in entries]
        moves = [pool.submit(move, number % 2 == 1) for number in range(8)]
        for task in (*arrivals, *moves):
            task.result()
    assert change(registry) == ()
    assert sorted(item.unique_id for item in of(registry, NEW)) == sorted(item.unique_id for item in entries)
    assert of(registry, PATIENT_ID) == []
    for entry in entries:
        unique_id = f"('{entry.unique_id}')"
        found = registry.answer(
            StoredQueryId.GET_DOCUMENTS, return_type="ObjectRef", XDSDocumentEntryUniqueId=unique_id, MetadataLevel="2"
        ).references
        assert [item.status for item in found].count(APPROVED) == 1
