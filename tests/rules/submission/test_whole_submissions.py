"""Rules of a submission as a whole: composition, ids, and that every fault is told."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

import pytest

from tests.builders import (
    association,
    document_entry,
    folder,
    label,
    submission,
    submission_set,
    uuid_for,
)
from tests.rules.submission.faults import OTHER_PATIENT, REGISTERED, RME, entry_faults, faults
from xds.model.errors import ErrorCode, RegistryError
from xds.model.identifiers import is_uuid_urn
from xds.model.metadata import (
    Slot,
    Submission,
    UnlabelledPackage,
)
from xds.model.vocabulary import (
    AssociationType,
)
from xds.rules.submission import assign_identifiers, check

# --- valid submissions ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "sent",
    [
        submission(1),
        submission(20, folders=2),
        submission(0, folders=1),
        submission([document_entry(authors=())]),
        submission([document_entry(service_start_time=None, service_stop_time=None, title=None)]),
        submission([document_entry(service_start_time="202401020800", service_stop_time="20240102")]),
        submission([document_entry(hash="ABCDEF0123ABCDEF0123ABCDEF0123ABCDEF0123", uri="http://")]),
        submission([document_entry(unique_id="1.2.3^ext", mime_type="text/goofy", language_code="fr")]),
        submission(
            [document_entry(unique_id="urn:uuid:11111111-2222-3333-4444-555555555555", mime_type="text/xml; charset=utf-8")]
        ),
        submission([document_entry(extra_slots=(Slot("urn:example:extra", ("a", "b")),), size="4")]),
        submission([document_entry(extra_slots=(Slot("urn:extra", ("a",)),), source_patient_id="12^^^HOSPITAL")]),
        submission([document_entry(legal_authenticator="899^Dupont^Anne^^^^^^&1.2.250.1.71.4.2.1&ISO^D^^^IDNPS")]),
        submission(
            [document_entry(lid="Document01", reference_ids=("a^^^&1.2&ISO^urn:ihe:iti:xds:2013:accession", "1.2^^^^urn:x"))]
        ),
        submission(
            submission_set=submission_set(intended_recipients=("Hosp^^^^^&1.2&ISO^^^^45|1^Doe|^^Internet^a@b.c", "|^Doe"))
        ),
    ],
)
def test_a_valid_submission_has_no_fault(sent: Submission) -> None:
    assert check(sent, registering=True) == []


def test_a_repository_does_not_need_what_it_adds_itself() -> None:
    sent = submission([document_entry(hash=None, size=None, repository_unique_id=None)])
    assert faults(sent, registering=False) == []
    assert sorted(attribute for _, _, attribute in faults(sent)) == ["hash", "repositoryUniqueId", "size"]


def test_an_error_tells_object_attribute_rule_and_what_was_received() -> None:
    (error,) = check(submission([document_entry(size="four" * 50)]), registering=True)
    expected = f"DocumentEntry Document01: size: must be a number of octets in decimal digits; received '{'four' * 25}'"
    assert error == RegistryError(RME, expected)
    (error,) = check(submission([document_entry(creation_time=None)]), registering=True)
    assert error.context == "DocumentEntry Document01: creationTime: must be present; received nothing"


def test_all_faults_are_reported_at_once() -> None:
    assert entry_faults(hash="xyz", class_code=None, mime_type=None, patient_id=None) == [
        (RME, "hash"),
        (RME, "classCode"),
        (RME, "patientId"),
        (RME, "mimeType"),
    ]


# --- composition: 4.2.1.4 ---------------------------------------------------------------------------------------------------


def test_a_submission_has_exactly_one_submission_set() -> None:
    sent = submission(1)
    for count, packages in ((0, ()), (2, (sent.submission_set, submission_set(id="SubmissionSet02")))):
        (error, *_) = check(replace(sent, submission_sets=packages), registering=True)
        assert error.context.startswith("SubmitObjectsRequest: SubmissionSet: ")
        assert error.context.endswith(f"received '{count} SubmissionSets'")


def test_a_submission_set_alone_is_not_a_submission() -> None:
    assert faults(submission(0)) == [(RME, "SubmissionSet SubmissionSet01", "content")]


def test_every_package_is_labelled() -> None:
    sent = replace(submission(1), unlabelled=(UnlabelledPackage("p", classifications=(label("p", uuid_for(5)),)),))
    (error,) = check(sent, registering=True)
    assert error.context == (
        "RegistryPackage p: classificationNode: a RegistryPackage must be classified as SubmissionSet or Folder; "
        f"received '{uuid_for(5)}'"
    )


def test_ids_are_unique_and_well_formed() -> None:
    entries = [document_entry(id="Document01"), document_entry(id="Document01")]
    assert (RME, "DocumentEntry Document01", "id") in faults(submission(entries))
    upper = uuid_for(10).upper().replace("URN:UUID:", "urn:uuid:")
    assert (RME, f"DocumentEntry {upper}", "id") in faults(submission([document_entry(id=upper)]))


def test_unique_ids_are_unique_in_the_message() -> None:
    sent = submission([document_entry(unique_id="1.2.3")], submission_set=submission_set(unique_id="1.2.3"))
    assert faults(sent) == [(ErrorCode.REGISTRY_DUPLICATE_UNIQUE_ID_IN_MESSAGE, "DocumentEntry Document01", "uniqueId")]


def test_all_objects_belong_to_one_patient() -> None:
    sent = submission([document_entry(patient_id=OTHER_PATIENT)], folders=[folder()])
    assert faults(sent) == [(ErrorCode.PATIENT_ID_DOES_NOT_MATCH, "DocumentEntry Document01", "patientId")]


# --- ids ---------------------------------------------------------------------------------------------------------------------


def counted() -> Any:
    numbers = itertools.count(100)
    return lambda: uuid_for(next(numbers))


def test_symbolic_ids_become_uuids_everywhere() -> None:
    sent = submission(2, folders=1, others=[association(AssociationType.RPLC, "Document01", REGISTERED)])
    stored = assign_identifiers(sent, counted())
    ids = [obj.id for obj in stored.objects()]
    assert all(is_uuid_urn(identifier) for identifier in ids)
    assert len(set(ids)) == len(ids)
    for obj in stored.objects():
        assert obj.lid == obj.id
        assert {item.classified_object for item in obj.classifications} <= {obj.id}
        assert {item.registry_object for item in obj.external_identifiers} <= {obj.id}
        assert all(is_uuid_urn(item.id) for item in (*obj.classifications, *obj.external_identifiers))
    for before, after in zip(sent.associations, stored.associations, strict=True):
        assert (before.source in ids) is False
        assert after.source in ids
        assert after.target in (*ids, REGISTERED)
    assert check(stored, registering=True) == []


def test_uuids_stay_and_nothing_else_changes() -> None:
    entry = document_entry(id=uuid_for(50))
    stored = assign_identifiers(submission([entry]), counted()).document_entries[0]
    assert stored.id == stored.lid == entry.id
    assert (stored.slots, stored.name, stored.mime_type, stored.unique_id) == (
        entry.slots,
        entry.name,
        entry.mime_type,
        entry.unique_id,
    )
    once = assign_identifiers(submission(2, folders=1), counted())
    assert assign_identifiers(once, counted()) == once


def test_parts_that_share_a_symbolic_id_get_one_each() -> None:
    entry = document_entry()
    same = replace(entry, classifications=tuple(replace(item, id="cl") for item in entry.classifications))
    stored = assign_identifiers(submission([same]), counted()).document_entries[0]
    assert len({item.id for item in stored.classifications}) == len(entry.classifications)
