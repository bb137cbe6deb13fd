"""New versions of entries and folders, and what follows them (ITI-57)."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from tests.actors.metadata_update.updating import (
    MUE,
    OTHER_PATIENT,
    RME,
    accept,
    associations,
    ends,
    entry,
    folders,
    in_folder,
    quoted,
    refuse,
    registered,
)
from tests.actors.registry_fixtures import APPROVED as ONLY_APPROVED
from tests.actors.registry_fixtures import BOTH, CALLER, Registry
from tests.builders import PATIENT_ID, association, document_entry, submission
from tests.updates import (
    APPROVED,
    DEPRECATED,
    member,
    new_version,
    of_patient,
    request,
    status_change,
    update,
)
from xds.model.errors import ErrorCode
from xds.model.metadata import Association, Code, DocumentEntry, Folder, LocalizedString, Slot, SubmissionSet
from xds.model.vocabulary import ON_DEMAND, AssociationType, SlotName, StoredQueryId

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
