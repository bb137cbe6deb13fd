"""What updating does. Spec: ITI TF-2 3.57.4.1.3, 3.92.4.1.3."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import func, select

from tests.actors.registry_fixtures import APPROVED as ONLY_APPROVED
from tests.actors.registry_fixtures import BOTH, CALLER, Registry, open_registry
from tests.actors.registry_fixtures import DEPRECATED as ONLY_DEPRECATED
from tests.builders import PATIENT_ID, association, document_entry, submission, uuid_for
from tests.updates import (
    APPROVED,
    DEPRECATED,
    member,
    new_version,
    of_patient,
    request,
    status_change,
    submitted,
    update,
)
from xds.model.audit import IMPORT, EventAction, EventOutcome
from xds.model.caller import Action, Caller, Resource
from xds.model.errors import ErrorCode
from xds.model.metadata import Association, Code, DocumentEntry, Folder, LocalizedString, Slot, Submission, SubmissionSet
from xds.model.vocabulary import ON_DEMAND, AssociationType, DocumentAvailability, SlotName, StoredQueryId
from xds.store import audit
from xds.store.schema.registry import registry_object

OTHER_PATIENT = "P2^^^&1.2.3.4.5&ISO"
MUE, RME = ErrorCode.METADATA_UPDATE, ErrorCode.REGISTRY_METADATA_ERROR


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[Registry]:
    opened = open_registry(tmp_path)
    opened.announce(OTHER_PATIENT)
    yield opened
    opened.database.close()


def accept(registry: Registry, sent: Submission, *, restricted: bool = False) -> None:
    response = (registry.actor.restricted_update if restricted else registry.actor.update)(sent, CALLER)
    assert response.succeeded, response.errors


def refuse(registry: Registry, sent: Submission, *, restricted: bool = False) -> set[ErrorCode]:
    """The codes of a refusal, after which everything is as it was."""
    before = count(registry)
    response = (registry.actor.restricted_update if restricted else registry.actor.update)(sent, CALLER)
    assert not response.succeeded
    assert count(registry) == before
    return {error.code for error in response.errors}


def count(registry: Registry) -> int:
    with registry.database.read() as connection:
        return connection.execute(select(func.count()).select_from(registry_object)).scalar_one()


def quoted(values: Sequence[str]) -> str:
    return "({})".format(",".join(f"'{value}'" for value in values))


def entry(registry: Registry, unique_id: str | None, level: int = 1) -> list[DocumentEntry]:
    """The versions of a document, oldest first."""
    return registry.ask(StoredQueryId.GET_DOCUMENTS, XDSDocumentEntryUniqueId=quoted([str(unique_id)]), MetadataLevel=str(level))  # type: ignore[return-value]


def folders(registry: Registry, unique_id: str | None, level: int = 1) -> list[Folder]:
    return registry.ask(StoredQueryId.GET_FOLDERS, XDSFolderUniqueId=quoted([str(unique_id)]), MetadataLevel=str(level))  # type: ignore[return-value]


def associations(registry: Registry, *uuids: str, level: int = 2, status: str = BOTH) -> list[Association]:
    return registry.ask(StoredQueryId.GET_ASSOCIATIONS, uuid=quoted(uuids), MetadataLevel=str(level), XDSAssociationStatus=status)  # type: ignore[return-value]


def ends(found: Sequence[Association], kind: str = AssociationType.HAS_MEMBER) -> set[tuple[str, str]]:
    return {(item.source, item.target) for item in found if item.association_type == kind}


def registered(registry: Registry, **attributes) -> DocumentEntry:
    new = document_entry(**attributes)
    registry.accept(submission([new], patient_id=new.patient_id or PATIENT_ID))
    (found,) = entry(registry, new.unique_id)
    return found


def in_folder(registry: Registry, entries: int = 1) -> tuple[Folder, list[DocumentEntry]]:
    """A registered Folder with documents in it."""
    sent = submission(entries, folders=1)
    registry.accept(sent)
    (package,) = folders(registry, sent.folders[0].unique_id)
    return package, [entry(registry, item.unique_id)[0] for item in sent.document_entries]


# --- new versions ----------------------------------------------------------------------------------------------------


def test_a_new_version_takes_the_place_of_the_one_before(registry: Registry) -> None:
    first = registered(registry)
    accept(registry, update(first, name=(LocalizedString("Corrected"),)))
    old, new = entry(registry, first.unique_id, level=2)
    assert (old.id, old.lid, old.version, old.status, old.title) == (first.id, first.id, 1, DEPRECATED, "Physical")
    assert (new.lid, new.version, new.status, new.title) == (first.id, 2, APPROVED, "Corrected")
    assert new.id != first.id
    accept(registry, update(new, "2"))
    assert [(item.version, item.status) for item in entry(registry, first.unique_id, level=2)] == [
        (1, DEPRECATED),
        (2, DEPRECATED),
        (3, APPROVED),
    ]
    (shown,) = entry(registry, first.unique_id)
    assert shown.version == 3


def test_what_an_update_changes_is_found_by_it(registry: Registry) -> None:
    first = registered(registry)
    code = Code("Other-Class", "1.2.3", "Other")
    changed = new_version(document_entry(unique_id=first.unique_id, class_code=code, hash="0" * 40, size="4"), lid=first.id)
    accept(registry, request(changed, member(changed)))
    parameters = {"XDSDocumentEntryPatientId": f"'{PATIENT_ID}'", "XDSDocumentEntryStatus": ONLY_APPROVED}
    (found,) = registry.ask(StoredQueryId.FIND_DOCUMENTS, XDSDocumentEntryClassCode=f"('{code}')", **parameters)
    assert isinstance(found, DocumentEntry)
    assert (found.class_code, found.hash, found.version) == (code, "0" * 40, 2)
    assert registry.ask(StoredQueryId.FIND_DOCUMENTS, XDSDocumentEntryClassCode=f"('{first.class_code}')", **parameters) == []


def test_an_update_is_stored_with_its_submission_set(registry: Registry) -> None:
    first = registered(registry)
    sent = update(first)
    accept(registry, sent)
    (package, has_member) = registry.ask(StoredQueryId.GET_SUBMISSION_SETS, uuid=quoted([entry(registry, first.unique_id)[0].id]))
    assert isinstance(package, SubmissionSet)
    assert isinstance(has_member, Association)
    assert package.unique_id == sent.submission_set.unique_id
    assert has_member.slot(SlotName.PREVIOUS_VERSION) == ("1",)


def test_a_folder_is_updated(registry: Registry) -> None:
    package, (first, second) = in_folder(registry, 2)
    accept(registry, update(package, name=(LocalizedString("Renamed"),)))
    old, new = folders(registry, package.unique_id, level=2)
    assert [(item.version, item.status, item.title) for item in (old, new)] == [
        (1, DEPRECATED, "Episode"),
        (2, APPROVED, "Renamed"),
    ]
    assert new.lid == package.id
    assert str(new.last_update_time) > str(old.last_update_time)
    members = {(new.id, first.id), (new.id, second.id)}
    assert ends(associations(registry, new.id)) >= members
    inside = registry.ask(StoredQueryId.GET_FOLDER_AND_CONTENTS, XDSFolderUniqueId=f"'{package.unique_id}'")
    assert [item.id for item in inside if isinstance(item, Folder)] == [new.id]
    assert ends([item for item in inside if isinstance(item, Association)]) == members


def test_memberships_and_relationships_follow_a_new_version(registry: Registry) -> None:
    package, (first,) = in_folder(registry)
    reason = Code("addendum", "1.2.3", "Addendum")
    appendix = document_entry(id="Appendix")
    relation = association(AssociationType.APND, appendix, first.id, documentation=reason)
    registry.accept(submission([appendix], others=[relation]))
    appended = entry(registry, appendix.unique_id)[0]
    accept(registry, update(first))
    old, new = entry(registry, first.unique_id, level=2)
    found = associations(registry, old.id, new.id)
    assert ends(found, AssociationType.APND) == {(appended.id, old.id), (appended.id, new.id)}
    assert {(package.id, old.id), (package.id, new.id)} <= ends(found)
    copied = next(item for item in found if item.target == new.id and item.association_type == AssociationType.APND)
    assert (copied.status, copied.codes(copied.classifications[0].scheme or "")) == (APPROVED, (reason,))
    assert copied.classifications[0].classified_object == copied.id
    assert all(item.status is APPROVED for item in found)
    assert folders(registry, package.unique_id)[0].last_update_time > package.last_update_time  # type: ignore[operator]


def test_associations_stay_behind_when_they_are_told_to(registry: Registry) -> None:
    package, (first,) = in_folder(registry)
    accept(registry, update(first, propagation="no"))
    old, new = entry(registry, first.unique_id, level=2)
    assert (package.id, new.id) not in ends(associations(registry, new.id))
    assert (package.id, old.id) in ends(associations(registry, old.id))
    assert folders(registry, package.unique_id)[0].last_update_time == package.last_update_time
    inside = registry.ask(StoredQueryId.GET_FOLDER_AND_CONTENTS, XDSFolderEntryUUID=f"'{package.id}'")
    assert [type(item) for item in inside] == [Folder]


def test_both_ends_of_a_membership_are_updated_at_once(registry: Registry) -> None:
    package, (first,) = in_folder(registry)
    new_folder, new_entry = new_version(package, id="Folder02"), new_version(first, id="Document02")
    accept(registry, request(new_folder, new_entry, member(new_folder), member(new_entry)))
    (folder_now,), (entry_now,) = folders(registry, package.unique_id), entry(registry, first.unique_id)
    members = ends(associations(registry, folder_now.id, entry_now.id))
    assert (folder_now.id, entry_now.id) in members
    assert {(package.id, entry_now.id), (folder_now.id, first.id)}.isdisjoint(members)


def test_a_second_update_propagates_what_leads_to_newest_versions_alone(registry: Registry) -> None:
    package, (first,) = in_folder(registry)
    accept(registry, update(package))
    (folder_now,) = folders(registry, package.unique_id)
    accept(registry, update(first))
    (entry_now,) = entry(registry, first.unique_id)
    members = {pair for pair in ends(associations(registry, entry_now.id)) if pair[0] in (package.id, folder_now.id)}
    assert members == {(folder_now.id, entry_now.id)}


def test_a_patient_is_corrected(registry: Registry) -> None:
    """The new version stands under the right patient, the old one stays, Deprecated, under the wrong one."""
    first = registered(registry)
    corrected = of_patient(new_version(first), OTHER_PATIENT)
    accept(registry, request(corrected, member(corrected), patient_id=OTHER_PATIENT))

    def found(patient_id: str, status: str, level: str) -> list[int | None]:
        parameters = {"XDSDocumentEntryPatientId": f"'{patient_id}'", "XDSDocumentEntryStatus": status, "MetadataLevel": level}
        return [item.version for item in registry.ask(StoredQueryId.FIND_DOCUMENTS, **parameters)]

    assert (found(PATIENT_ID, BOTH, "1"), found(PATIENT_ID, BOTH, "2")) == ([], [1])
    assert found(OTHER_PATIENT, ONLY_APPROVED, "1") == [2]
    parameters = {"XDSDocumentEntryLogicalID": quoted([first.id]), "MetadataLevel": "2"}
    assert registry.errors(StoredQueryId.GET_DOCUMENTS, **parameters) == {ErrorCode.RESULT_NOT_SINGLE_PATIENT}
    assert len(registry.answer(StoredQueryId.GET_DOCUMENTS, return_type="ObjectRef", **parameters).references) == 2


def test_a_patient_is_not_corrected_while_it_would_tear_records_apart(registry: Registry) -> None:
    package, (first,) = in_folder(registry)
    corrected = of_patient(new_version(first), OTHER_PATIENT)
    assert refuse(registry, request(corrected, member(corrected), patient_id=OTHER_PATIENT)) == {
        ErrorCode.PATIENT_ID_RECONCILIATION
    }
    together = of_patient(new_version(package, id="Folder02"), OTHER_PATIENT)
    accept(registry, request(together, corrected, member(together), member(corrected), patient_id=OTHER_PATIENT))
    (folder_now,), (entry_now,) = folders(registry, package.unique_id), entry(registry, first.unique_id)
    assert (folder_now.id, entry_now.id) in ends(associations(registry, folder_now.id))


def test_a_patient_is_corrected_without_the_associations(registry: Registry) -> None:
    _package, (first,) = in_folder(registry)
    corrected = of_patient(new_version(first), OTHER_PATIENT)
    accept(registry, request(corrected, member(corrected, propagation="no"), patient_id=OTHER_PATIENT))
    assert entry(registry, first.unique_id)[0].patient_id == OTHER_PATIENT


def test_the_version_must_be_the_newest(registry: Registry) -> None:
    first = registered(registry)
    assert refuse(registry, update(first, "2")) == {ErrorCode.METADATA_VERSION}
    accept(registry, update(first))
    assert refuse(registry, update(first)) == {ErrorCode.METADATA_VERSION}
    assert refuse(registry, update(first, lid=entry(registry, first.unique_id)[0].id)) == {ErrorCode.METADATA_VERSION}


def test_of_many_updates_of_one_version_one_succeeds(registry: Registry) -> None:
    first = registered(registry)
    with ThreadPoolExecutor(8) as threads:
        responses = list(threads.map(lambda _: registry.actor.update(update(first), CALLER), range(8)))
    assert sum(response.succeeded for response in responses) == 1
    codes = {error.code for response in responses for error in response.errors}
    assert codes == {ErrorCode.METADATA_VERSION}
    assert [item.version for item in entry(registry, first.unique_id, level=2)] == [1, 2]


def test_a_deprecated_entry_is_not_updated(registry: Registry) -> None:
    first = registered(registry)
    accept(registry, request(status_change(first)))
    assert refuse(registry, update(first)) == {MUE}


def test_a_document_is_registered_again_with_what_its_newest_version_says_of_it(registry: Registry) -> None:
    first = registered(registry, size="0")
    content = new_version(document_entry(unique_id=first.unique_id, size="12", hash="1" * 40), lid=first.id)
    accept(registry, request(content, member(content)))
    assert registry.refuse(submission([document_entry(unique_id=first.unique_id, size="0")])) == {
        ErrorCode.NON_IDENTICAL_HASH,
        ErrorCode.NON_IDENTICAL_SIZE,
    }
    registry.accept(submission([document_entry(unique_id=first.unique_id, size="12", hash="1" * 40)]))


def test_an_on_demand_entry_is_updated(registry: Registry) -> None:
    new = document_entry(object_type=ON_DEMAND, creation_time=None, hash=None, size=None)
    assert registry.actor.register(submission([new]), CALLER, on_demand=True).succeeded
    (first,) = entry(registry, new.unique_id)
    accept(registry, update(first))
    assert refuse(registry, update(replace(first, object_type=document_entry().object_type), "2")) >= {MUE}
    with_content = replace(first, slots=(*first.slots, Slot(SlotName.SIZE, ("4",))))
    assert refuse(registry, update(with_content, "2")) == {RME}


# --- statuses --------------------------------------------------------------------------------------------------------


def test_the_status_of_an_entry_goes_back_and_forth(registry: Registry) -> None:
    first = registered(registry)
    accept(registry, request(status_change(first)))
    assert [(item.version, item.status) for item in entry(registry, first.unique_id)] == [(1, DEPRECATED)]
    assert refuse(registry, request(status_change(first))) == {MUE}
    accept(registry, request(status_change(first, DEPRECATED, APPROVED)))
    assert [(item.version, item.status) for item in entry(registry, first.unique_id)] == [(1, APPROVED)]


def test_a_deprecated_folder_is_hidden(registry: Registry) -> None:
    package, (first,) = in_folder(registry)
    accept(registry, request(status_change(package)))
    assert folders(registry, package.unique_id) == []
    assert [item.status for item in folders(registry, package.unique_id, level=2)] == [DEPRECATED]
    assert registry.ask(StoredQueryId.GET_FOLDERS_FOR_DOCUMENT, XDSDocumentEntryEntryUUID=f"'{first.id}'") == []
    assert ends(associations(registry, first.id, level=1, status=BOTH)).isdisjoint({(package.id, first.id)})
    parameters = {"XDSFolderPatientId": f"'{PATIENT_ID}'", "XDSFolderStatus": BOTH}
    assert registry.ask(StoredQueryId.FIND_FOLDERS, **parameters) == []
    assert len(registry.ask(StoredQueryId.FIND_FOLDERS, MetadataLevel="2", **parameters)) == 1


def test_the_status_of_a_membership(registry: Registry) -> None:
    package, (first,) = in_folder(registry)
    (membership,) = [item for item in associations(registry, first.id) if item.source == package.id]
    accept(registry, request(status_change(membership)))
    assert ends(associations(registry, first.id, level=1, status=BOTH)).isdisjoint({(package.id, first.id)})
    assert ends(associations(registry, first.id, status=ONLY_DEPRECATED)) == {(package.id, first.id)}
    inside = registry.ask(StoredQueryId.GET_FOLDER_AND_CONTENTS, XDSFolderEntryUUID=f"'{package.id}'")
    assert [type(item) for item in inside] == [Folder]
    accept(registry, update(first))
    assert (package.id, entry(registry, first.unique_id)[0].id) not in ends(associations(registry, package.id))
    accept(registry, request(status_change(membership, DEPRECATED, APPROVED)))
    assert (package.id, first.id) in ends(associations(registry, package.id, status=ONLY_APPROVED))


def test_what_has_no_status_to_change(registry: Registry) -> None:
    first = registered(registry)
    (package, has_member) = registry.ask(StoredQueryId.GET_SUBMISSION_SETS, uuid=quoted([first.id]))
    assert refuse(registry, request(status_change(package))) == {MUE}
    assert refuse(registry, request(status_change(has_member))) == {MUE}
    assert refuse(registry, request(status_change(uuid_for(77)))) == {ErrorCode.UNRESOLVED_REFERENCE}
    accept(registry, update(first))
    assert refuse(registry, request(status_change(first, DEPRECATED, APPROVED))) == {MUE}


def test_a_status_is_changed_for_the_patient_of_the_request(registry: Registry) -> None:
    first = registered(registry)
    sent = request(status_change(first), patient_id=OTHER_PATIENT)
    assert refuse(registry, sent) == {ErrorCode.PATIENT_ID_DOES_NOT_MATCH}


@pytest.mark.parametrize("named", ["new", "registered"])
def test_version_and_status_change_together(registry: Registry, named: str) -> None:
    """The new version gets the status; the version before is superseded and nothing else."""
    first = registered(registry)
    changed = new_version(first)
    target = changed.id if named == "new" else first.id
    accept(registry, request(changed, member(changed), status_change(target)))
    assert [(item.version, item.status) for item in entry(registry, first.unique_id, level=2)] == [
        (1, DEPRECATED),
        (2, DEPRECATED),
    ]
    (shown,) = entry(registry, first.unique_id)
    assert shown.version == 2
    accept(registry, request(status_change(shown, DEPRECATED, APPROVED)))
    assert [(item.version, item.status) for item in entry(registry, first.unique_id, level=2)] == [(1, DEPRECATED), (2, APPROVED)]


def test_version_and_status_of_a_status_that_the_new_version_has_not(registry: Registry) -> None:
    first = registered(registry)
    changed = new_version(first)
    sent = request(changed, member(changed), status_change(changed, DEPRECATED, APPROVED))
    assert refuse(registry, sent) == {MUE}
    twice = request(changed, member(changed), status_change(changed), status_change(first.id))
    assert refuse(registry, twice) == {ErrorCode.METADATA_UPDATE_OPERATION}


# --- associations ----------------------------------------------------------------------------------------------------


def test_an_association_is_submitted_later(registry: Registry) -> None:
    first, second = registered(registry), registered(registry)
    reason = Code("addendum", "1.2.3", "Addendum")
    accept(registry, request(*submitted(AssociationType.APND, first.id, second.id, documentation=reason)))
    related = registry.ask(
        StoredQueryId.GET_RELATED_DOCUMENTS,
        XDSDocumentEntryEntryUUID=f"'{first.id}'",
        AssociationTypes=f"('{AssociationType.APND}')",
    )
    (found,) = [item for item in related if isinstance(item, Association)]
    assert (found.source, found.target, found.status, found.lid) == (first.id, second.id, APPROVED, found.id)
    assert found.codes(found.classifications[0].scheme or "") == (reason,)
    triggers = [item.association_type for item in associations(registry, found.id)]
    assert triggers == [AssociationType.SUBMIT_ASSOCIATION]
    assert associations(registry, found.id, level=1) == []
    assert refuse(registry, request(*submitted(AssociationType.APND, first.id, second.id))) == {MUE}


def test_a_document_is_put_into_a_folder_later(registry: Registry) -> None:
    package, _inside = in_folder(registry)
    first = registered(registry)
    accept(registry, request(*submitted(AssociationType.HAS_MEMBER, package.id, first.id)))
    assert (package.id, first.id) in ends(associations(registry, first.id, level=1))
    assert folders(registry, package.unique_id)[0].last_update_time > package.last_update_time  # type: ignore[operator]
    (again,) = [item for item in associations(registry, first.id) if item.source == package.id]
    accept(registry, request(status_change(again)))
    accept(registry, request(*submitted(AssociationType.HAS_MEMBER, package.id, first.id)))


def test_a_replacement_that_is_submitted_later_replaces(registry: Registry) -> None:
    package, (old,) = in_folder(registry)
    appendix = document_entry(id="Appendix")
    registry.accept(submission([appendix], others=[association(AssociationType.APND, appendix, old.id)]))
    new = registered(registry)
    accept(registry, request(*submitted(AssociationType.RPLC, new.id, old.id)))
    assert [entry(registry, item.unique_id)[0].status for item in (old, new, appendix)] == [DEPRECATED, APPROVED, DEPRECATED]
    assert (package.id, new.id) in ends(associations(registry, new.id))


def test_ends_of_a_submitted_association(registry: Registry) -> None:
    package, (first,) = in_folder(registry)
    second = registered(registry)
    elsewhere = registered(registry, patient_id=OTHER_PATIENT)
    (of_submission, _member) = registry.ask(StoredQueryId.GET_SUBMISSION_SETS, uuid=quoted([second.id]))

    def codes(kind: str, source: str, target: str) -> set[ErrorCode]:
        return refuse(registry, request(*submitted(kind, source, target)))

    assert codes(AssociationType.APND, first.id, uuid_for(77)) == {ErrorCode.UNRESOLVED_REFERENCE}
    assert codes(AssociationType.APND, first.id, elsewhere.id) == {ErrorCode.PATIENT_ID_DOES_NOT_MATCH}
    assert codes(AssociationType.APND, first.id, package.id) == {MUE}
    assert codes(AssociationType.HAS_MEMBER, first.id, second.id) == {MUE}
    assert codes(AssociationType.HAS_MEMBER, of_submission.id, first.id) == {MUE}
    assert codes(AssociationType.HAS_MEMBER, package.id, first.id) == {MUE}
    assert codes(AssociationType.IS_SNAPSHOT_OF, first.id, second.id) == {RME}
    accept(registry, request(status_change(second)))
    assert codes(AssociationType.APND, first.id, second.id) == {MUE}


# --- all or nothing, audit, access -----------------------------------------------------------------------------------


def test_one_fault_undoes_everything_and_every_fault_is_told(registry: Registry) -> None:
    first, second = registered(registry), registered(registry)
    good, bad = new_version(first, id="Good"), new_version(second, id="Bad")
    sent = request(
        good,
        member(good),
        bad,
        member(bad, "4"),
        status_change(uuid_for(77)),
        status_change(first.id, None),
        patient_id="X^^^&1.2&ISO",
    )
    assert refuse(registry, sent) >= {
        ErrorCode.METADATA_VERSION,
        ErrorCode.UNRESOLVED_REFERENCE,
        ErrorCode.METADATA_UPDATE_OPERATION,
        ErrorCode.UNKNOWN_PATIENT_ID,
        ErrorCode.PATIENT_ID_DOES_NOT_MATCH,
    }
    assert [item.version for item in entry(registry, first.unique_id, level=2)] == [1]
    assert first.status is APPROVED


def test_the_same_request_twice(registry: Registry) -> None:
    sent = update(registered(registry))
    accept(registry, sent)
    assert refuse(registry, sent) == {ErrorCode.DUPLICATE_UNIQUE_ID_IN_REGISTRY, ErrorCode.METADATA_VERSION}


def test_a_merged_patient_is_updated_under_the_surviving_one(registry: Registry) -> None:
    first = registered(registry)
    registry.merge(PATIENT_ID, OTHER_PATIENT)
    assert refuse(registry, update(first)) == {ErrorCode.UNKNOWN_PATIENT_ID}
    (today,) = entry(registry, first.unique_id)
    assert today.patient_id == OTHER_PATIENT
    accept(registry, update(today), restricted=True)
    assert [item.version for item in entry(registry, first.unique_id, level=2)] == [1, 2]


@pytest.mark.parametrize(("restricted", "name"), [(False, "ITI-57"), (True, "ITI-92")])
def test_updates_are_audited(registry: Registry, restricted: bool, name: str) -> None:
    first = registered(registry)
    good, bad = update(first), update(first, "7")
    accept(registry, good, restricted=restricted)
    refuse(registry, bad, restricted=restricted)
    registry.database.flush()
    with registry.database.read() as connection:
        events = [event for _sequence, event in audit.find(connection)]
        events = sorted((event for event in events if event.event_id == IMPORT), key=lambda event: event.occurred)[-2:]
    assert [(event.event_id, event.action, event.event_type.code) for event in events] == [(IMPORT, EventAction.UPDATE, name)] * 2
    assert [event.outcome for event in events] == [EventOutcome.SUCCESS, EventOutcome.SERIOUS_FAILURE]
    assert [[item.id for item in event.objects] for event in events] == [
        [PATIENT_ID, sent.submission_set.unique_id] for sent in (good, bad)
    ]


class _Blind:
    """Hides one document from everybody."""

    def __init__(self) -> None:
        self.hidden: str | None = None
        self.asked: list[Action] = []

    def permits(self, caller: Caller, action: Action, resources: Sequence[Resource]) -> Sequence[bool]:
        self.asked.append(action)
        return [item.unique_id is None or item.unique_id != self.hidden for item in resources]


def test_what_a_caller_may_not_see_does_not_exist(tmp_path: Path) -> None:
    access = _Blind()
    registry = open_registry(tmp_path, access=access)
    first, second = registered(registry), registered(registry)
    access.hidden = first.unique_id
    assert refuse(registry, update(first)) == {ErrorCode.METADATA_VERSION}
    assert refuse(registry, request(status_change(first))) == {ErrorCode.UNRESOLVED_REFERENCE}
    assert refuse(registry, request(*submitted(AssociationType.APND, second.id, first.id))) == {ErrorCode.UNRESOLVED_REFERENCE}
    assert Action.UPDATE in access.asked
    registry.database.close()


def test_patients_need_not_be_announced_where_they_are_not_required(tmp_path: Path) -> None:
    registry = open_registry(tmp_path, require_known_patient=False)
    first = registered(registry)
    corrected = of_patient(new_version(first), OTHER_PATIENT)
    accept(registry, request(corrected, member(corrected), patient_id=OTHER_PATIENT))
    assert entry(registry, first.unique_id)[0].patient_id == OTHER_PATIENT
    registry.database.close()


# --- ITI-92 ----------------------------------------------------------------------------------------------------------


def test_a_restricted_update(registry: Registry) -> None:
    package, (first,) = in_folder(registry)
    accept(registry, update(first, name=(LocalizedString("Corrected"),)), restricted=True)
    assert [(item.version, item.status, item.title) for item in entry(registry, first.unique_id, level=2)] == [
        (1, DEPRECATED, "Physical"),
        (2, APPROVED, "Corrected"),
    ]
    assert (package.id, entry(registry, first.unique_id)[0].id) in ends(associations(registry, package.id))


def test_a_restricted_update_of_a_deprecated_entry_stays_deprecated(registry: Registry) -> None:
    first = registered(registry)
    accept(registry, request(status_change(first)))
    accept(registry, update(first, status=DEPRECATED, version=1), restricted=True)
    assert [(item.version, item.status) for item in entry(registry, first.unique_id)] == [(2, DEPRECATED)]
    assert len(entry(registry, first.unique_id, level=2)) == 2
    accept(registry, request(status_change(entry(registry, first.unique_id)[0], DEPRECATED, APPROVED)))


def test_a_restricted_update_keeps_the_community(registry: Registry) -> None:
    first = registered(registry, home="urn:oid:1.2.3.999")
    accept(registry, update(first, home=None), restricted=True)
    assert entry(registry, first.unique_id)[0].home == "urn:oid:1.2.3.999"
    assert refuse(registry, update(first, "2", home="urn:oid:1.2.3.4.9"), restricted=True) == {ErrorCode.UNMODIFIABLE_METADATA}
    own = registered(registry)
    accept(registry, update(own, home="urn:oid:1.2.3.4.9"), restricted=True)


def test_what_a_restricted_update_leaves_alone(registry: Registry) -> None:
    first = registered(registry)
    unmodifiable = {ErrorCode.UNMODIFIABLE_METADATA}

    def codes(**attributes) -> set[ErrorCode]:
        changed = new_version(document_entry(**{"unique_id": first.unique_id, **attributes}), lid=first.id)
        sent = request(changed, member(changed), patient_id=changed.patient_id or PATIENT_ID)
        return refuse(registry, sent, restricted=True)

    assert codes(repository_unique_id="1.2.3.4.77") == unmodifiable
    assert codes(source_patient_id="L2^^^&1.2.3.4.6&ISO") == unmodifiable
    offline = Slot(SlotName.DOCUMENT_AVAILABILITY, (DocumentAvailability.OFFLINE,))
    assert codes(extra_slots=(offline,)) == unmodifiable
    assert codes(unique_id="1.2.3.4.78") == {ErrorCode.METADATA_IDENTIFIER}
    assert codes(patient_id=OTHER_PATIENT) == {ErrorCode.PATIENT_ID_RECONCILIATION}
    assert codes(object_type=ON_DEMAND, creation_time=None, hash=None, size=None) == {
        ErrorCode.OBJECT_TYPE,
        ErrorCode.UNMODIFIABLE_METADATA,
    }
    for attributes in ({"status": DEPRECATED}, {"version": 3}):
        assert refuse(registry, update(first, **attributes), restricted=True) == unmodifiable
    accept(registry, update(first, status=APPROVED, version=2), restricted=True)


def test_a_restricted_update_does_nothing_else(registry: Registry) -> None:
    package, (first,) = in_folder(registry)
    second = registered(registry)
    assert refuse(registry, update(package), restricted=True) == {MUE}
    assert refuse(registry, request(status_change(first)), restricted=True) == {MUE}
    assert refuse(registry, request(*submitted(AssociationType.APND, first.id, second.id)), restricted=True) == {MUE}


# --- queries ---------------------------------------------------------------------------------------------------------


def test_level_one_shows_newest_versions_alone(registry: Registry) -> None:
    first = registered(registry)
    accept(registry, update(first))
    (new,) = entry(registry, first.unique_id)
    parameters = {"XDSDocumentEntryPatientId": f"'{PATIENT_ID}'"}

    def found(status: str, level: str) -> list[str]:
        objects = registry.ask(StoredQueryId.FIND_DOCUMENTS, XDSDocumentEntryStatus=status, MetadataLevel=level, **parameters)
        return [item.id for item in objects]

    assert [found(status, "1") for status in (ONLY_APPROVED, ONLY_DEPRECATED, BOTH)] == [[new.id], [], [new.id]]
    assert [found(status, "2") for status in (ONLY_APPROVED, ONLY_DEPRECATED, BOTH)] == [[new.id], [first.id], [first.id, new.id]]
    assert registry.ask(StoredQueryId.GET_DOCUMENTS, XDSDocumentEntryEntryUUID=quoted([first.id])) == []
    named = {"XDSDocumentEntryEntryUUID": quoted([first.id]), "MetadataLevel": "2"}
    assert [item.id for item in registry.ask(StoredQueryId.GET_DOCUMENTS, **named)] == [first.id]
    versions = registry.ask(StoredQueryId.GET_DOCUMENTS, XDSDocumentEntryLogicalID=quoted([first.id]), MetadataLevel="2")
    assert [item.id for item in versions] == [first.id, new.id]
    assert registry.ask(StoredQueryId.GET_SUBMISSION_SETS, uuid=quoted([first.id])) == []
    assert len(registry.ask(StoredQueryId.GET_SUBMISSION_SETS, uuid=quoted([first.id]), MetadataLevel="2")) == 2


def test_every_version_of_everything_at_level_two(registry: Registry) -> None:
    package, (first,) = in_folder(registry)
    accept(registry, update(package))
    accept(registry, update(first))
    accept(registry, request(status_change(entry(registry, first.unique_id)[0])))
    everything = {"patientId": f"'{PATIENT_ID}'", "XDSSubmissionSetStatus": BOTH}
    everything |= {"XDSDocumentEntryStatus": BOTH, "XDSFolderStatus": BOTH}
    seen = registry.ask(StoredQueryId.GET_ALL, **everything)
    all_of_it = registry.ask(StoredQueryId.GET_ALL, MetadataLevel="2", XDSAssociationStatus=BOTH, **everything)
    assert len(all_of_it) == count(registry)

    def kinds(objects, kind) -> int:
        return sum(isinstance(item, kind) for item in objects)

    assert [kinds(seen, kind) for kind in (DocumentEntry, Folder, SubmissionSet)] == [1, 1, 4]
    assert [kinds(all_of_it, kind) for kind in (DocumentEntry, Folder, SubmissionSet)] == [2, 2, 4]
    shown = {item.id for item in seen}
    links = [item for item in seen if isinstance(item, Association)]
    assert len(links) == 3
    assert all(item.source in shown and item.target in shown for item in links)


def test_contents_of_a_submission_whose_document_was_updated(registry: Registry) -> None:
    sent = submission(1)
    registry.accept(sent)
    first = entry(registry, sent.document_entries[0].unique_id)[0]
    accept(registry, update(first))
    named = {"XDSSubmissionSetUniqueId": f"'{sent.submission_set.unique_id}'"}
    assert len(registry.ask(StoredQueryId.GET_SUBMISSION_SET_AND_CONTENTS, **named)) == 1
    assert len(registry.ask(StoredQueryId.GET_SUBMISSION_SET_AND_CONTENTS, MetadataLevel="2", **named)) == 3


def test_logical_ids_belong_to_level_two(registry: Registry) -> None:
    named = {"XDSDocumentEntryLogicalID": quoted([uuid_for(1)])}
    assert registry.errors(StoredQueryId.GET_DOCUMENTS, **named) == {ErrorCode.REGISTRY_ERROR}
    assert registry.errors(StoredQueryId.GET_FOLDERS, XDSFolderLogicalID=quoted([uuid_for(1)])) == {ErrorCode.REGISTRY_ERROR}
    assert registry.errors(StoredQueryId.GET_DOCUMENTS, MetadataLevel="3", **named) == {ErrorCode.REGISTRY_ERROR}
    assert registry.ask(StoredQueryId.GET_DOCUMENTS, MetadataLevel="2", **named) == []


def test_documents_that_are_not_online(registry: Registry) -> None:
    online, offline = (Slot(SlotName.DOCUMENT_AVAILABILITY, (value,)) for value in DocumentAvailability)
    said, unsaid = registered(registry, extra_slots=(online,)), registered(registry)
    away = registered(registry, extra_slots=(offline,))
    parameters = {"XDSDocumentEntryPatientId": f"'{PATIENT_ID}'", "XDSDocumentEntryStatus": ONLY_APPROVED}

    def found(*values: str) -> list[str]:
        wanted = quoted(values)
        return [
            item.id
            for item in registry.ask(StoredQueryId.FIND_DOCUMENTS, XDSDocumentEntryDocumentAvailability=wanted, **parameters)
        ]

    assert found(DocumentAvailability.ONLINE) == [said.id, unsaid.id]
    assert found(DocumentAvailability.OFFLINE) == [away.id]
    assert found(*DocumentAvailability) == [said.id, unsaid.id, away.id]
    assert found("urn:nowhere") == []


def test_the_repository_is_told_of_the_newest_version(registry: Registry) -> None:
    secret = Code("V", "2.16.840.1.113883.5.25", "Very restricted")
    first = registered(registry)
    hidden = new_version(document_entry(unique_id=first.unique_id, confidentiality_codes=(secret,)), lid=first.id)
    accept(registry, request(hidden, member(hidden)))
    facts = registry.actor.documents([str(first.unique_id)], str(first.repository_unique_id))
    assert facts[str(first.unique_id)].confidentiality == (str(secret),)


def test_a_new_submission_cannot_build_on_what_is_superseded(registry: Registry) -> None:
    package, (first,) = in_folder(registry)
    accept(registry, update(first))
    late = document_entry(id="Late")
    for kind in (AssociationType.RPLC, AssociationType.APND):
        assert registry.refuse(submission([late], others=[association(kind, late, first.id)])) == {
            ErrorCode.REGISTRY_DEPRECATED_DOCUMENT
        }
    (now,) = entry(registry, first.unique_id)
    registry.accept(submission([late], others=[association(AssociationType.RPLC, late, now.id)]))
    assert [(item.version, item.status) for item in entry(registry, first.unique_id, level=2)] == [
        (1, DEPRECATED),
        (2, DEPRECATED),
    ]
    assert [item.version for item in entry(registry, first.unique_id)] == [2]
    assert (package.id, entry(registry, late.unique_id)[0].id) in ends(associations(registry, package.id))


def test_the_version_before_is_the_newest_again_when_its_successor_is_removed(registry: Registry) -> None:
    first = registered(registry)
    accept(registry, update(first))
    (new,) = entry(registry, first.unique_id)
    submitted_with = registry.ask(StoredQueryId.GET_SUBMISSION_SETS, uuid=quoted([new.id]))
    removed = registry.actor.remove([new.id, *(item.id for item in submitted_with)], CALLER)
    assert removed.succeeded, removed.errors
    assert [(item.id, item.status) for item in entry(registry, first.unique_id)] == [(first.id, DEPRECATED)]
    accept(registry, request(status_change(first, DEPRECATED, APPROVED)))
    accept(registry, update(first))
    assert [item.version for item in entry(registry, first.unique_id, level=2)] == [1, 2]


def test_a_first_version_has_the_number_one(registry: Registry) -> None:
    first = registered(registry, version=7)
    assert first.version == 1
    accept(registry, update(first))
