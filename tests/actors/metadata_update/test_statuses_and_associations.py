"""Changes of status, and associations that are submitted later (ITI-57)."""

from __future__ import annotations

import pytest

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
from tests.actors.registry_fixtures import BOTH, Registry
from tests.actors.registry_fixtures import DEPRECATED as ONLY_DEPRECATED
from tests.builders import PATIENT_ID, association, document_entry, submission, uuid_for
from tests.updates import (
    APPROVED,
    DEPRECATED,
    member,
    new_version,
    request,
    status_change,
    submitted,
    update,
)
from xds.model.errors import ErrorCode
from xds.model.metadata import Association, Code, Folder
from xds.model.vocabulary import AssociationType, StoredQueryId

#: What registrations and updates call it.
PATIENTS_DIFFER = {ErrorCode.PATIENT_ID_DOES_NOT_MATCH, ErrorCode.PATIENT_ID_RECONCILIATION}

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
    assert refuse(registry, sent) == PATIENTS_DIFFER


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


def test_a_new_version_is_related_by_hand(registry: Registry) -> None:
    """The Associations of a new version are either those of the one before or those of the request.

    Spec: ITI TF-2 3.57.4.1.3.1.1 (Rules for Update Planning).
    """
    package, (first,) = in_folder(registry)
    second, old = registered(registry), registered(registry)
    changed = new_version(first)
    item = submitted(AssociationType.APND, changed, second.id)
    assert refuse(registry, request(changed, member(changed), *item)) == {ErrorCode.METADATA_UPDATE_OPERATION}
    replacing = submitted(AssociationType.RPLC, changed, old.id, id="Submitted02")
    accept(registry, request(changed, member(changed, propagation="no"), *item, *replacing))
    (shown,) = entry(registry, first.unique_id)
    assert (shown.version, entry(registry, old.unique_id)[0].status) == (2, DEPRECATED)
    found = associations(registry, shown.id, level=1)
    assert ends(found, AssociationType.APND) == {(shown.id, second.id)}
    assert ends(found, AssociationType.RPLC) == {(shown.id, old.id)}
    assert (package.id, shown.id) not in ends(found)


def test_an_association_is_submitted_and_deprecated(registry: Registry) -> None:
    """Spec: ITI TF-2 3.57.4.1.3.1 (a request may hold several operations)."""
    first, second = registered(registry), registered(registry)
    item = submitted(AssociationType.APND, first.id, second.id)
    assert refuse(registry, request(*item, status_change(item[0], DEPRECATED, APPROVED))) == {MUE}
    accept(registry, request(*item, status_change(item[0])))
    (found,) = [each for each in associations(registry, first.id) if each.association_type == AssociationType.APND]
    assert (found.source, found.target, found.status) == (first.id, second.id, DEPRECATED)


def test_ends_of_a_submitted_association(registry: Registry) -> None:
    package, (first,) = in_folder(registry)
    second = registered(registry)
    elsewhere = registered(registry, patient_id=OTHER_PATIENT)
    (of_submission, _member) = registry.ask(StoredQueryId.GET_SUBMISSION_SETS, uuid=quoted([second.id]))

    def codes(kind: str, source: str, target: str) -> set[ErrorCode]:
        return refuse(registry, request(*submitted(kind, source, target)))

    assert codes(AssociationType.APND, first.id, uuid_for(77)) == {ErrorCode.UNRESOLVED_REFERENCE}
    assert codes(AssociationType.APND, first.id, elsewhere.id) == PATIENTS_DIFFER
    assert codes(AssociationType.APND, first.id, package.id) == {MUE}
    assert codes(AssociationType.HAS_MEMBER, first.id, second.id) == {MUE}
    assert codes(AssociationType.HAS_MEMBER, of_submission.id, first.id) == {MUE}
    assert codes(AssociationType.HAS_MEMBER, package.id, first.id) == {MUE}
    assert codes(AssociationType.IS_SNAPSHOT_OF, first.id, second.id) == {RME}
    accept(registry, request(status_change(second)))
    assert codes(AssociationType.APND, first.id, second.id) == {MUE}
