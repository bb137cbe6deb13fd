"""What queries tell of versions, and what later transactions make of them."""

from __future__ import annotations

from tests.actors.metadata_update.updating import accept, associations, count, ends, entry, in_folder, quoted, registered
from tests.actors.registry_fixtures import APPROVED as ONLY_APPROVED
from tests.actors.registry_fixtures import BOTH, CALLER, Registry
from tests.actors.registry_fixtures import DEPRECATED as ONLY_DEPRECATED
from tests.builders import PATIENT_ID, association, document_entry, submission, uuid_for
from tests.updates import (
    APPROVED,
    DEPRECATED,
    member,
    new_version,
    request,
    status_change,
    update,
)
from xds.model.errors import ErrorCode
from xds.model.metadata import Association, Code, DocumentEntry, Folder, Slot, SubmissionSet
from xds.model.vocabulary import AssociationType, DocumentAvailability, SlotName, StoredQueryId

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
