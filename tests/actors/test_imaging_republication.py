"""A study that changes after its manifest's metadata did: the new manifest replaces what is in force by then.

Spec: RAD TF-2 4.68.4.1.2 (RPLC); ITI TF-2 3.57.4.1.3 (versions), 3.64.4.1.3 (documents that move).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.archive import CONSUMER, IDENTITY, MODALITY, Archive, image, open_archive
from tests.builders import submission_set
from tests.updates import status_change, update
from xds.actors.document_registry import DocumentRegistry
from xds.actors.document_repository import DocumentRepository
from xds.actors.imaging_document_source import ImagingDocumentSource
from xds.actors.imaging_registrations import RegistryAtHand
from xds.actors.registered_documents import RegisteredDocuments
from xds.model.identifiers import AssigningAuthority, PatientIdentifier
from xds.model.metadata import Association, DocumentEntry, LocalizedString, RegistryObject, Submission
from xds.model.patient_links import LinkChange
from xds.model.stored_queries import RawQuery
from xds.model.vocabulary import AssociationType, AvailabilityStatus, StoredQueryId
from xds.rules.access import AllowAll
from xds.store import affinity_patients
from xds.wire.ebrim import read_fragments

AFFINITY = AssigningAuthority(None, IDENTITY.assigning_authority)
LOCAL = PatientIdentifier("1CT1", AssigningAuthority("HOSP_A", "1.2.3.500"))
PATIENT, OTHER = (PatientIdentifier(value, AFFINITY) for value in ("P1", "P2"))
STUDY = "1.3.6.1.4.1.5962.1.2.1.20040119072730.12322"


@dataclass
class Hospital:
    """An archive whose repository and registry are the real ones."""

    archive: Archive
    registry: DocumentRegistry
    source: ImagingDocumentSource

    def add_image_and_publish(self, number: int) -> None:
        self.archive.store(image(SOPInstanceUID=f"1.2.3.{number}"), MODALITY)
        assert self.source.publish(STUDY) is None, self.source.study(STUDY)

    def ask(self, query: str, **parameters: str) -> list[RegistryObject]:
        slots = tuple((name, (value,)) for name, value in parameters.items())
        answer = self.registry.query(RawQuery(query, "LeafClass", slots), CONSUMER)
        assert answer.response.succeeded, answer.response.errors
        return list(read_fragments(answer.objects))

    def in_force(self, patient: PatientIdentifier) -> list[DocumentEntry]:
        found = self.ask(
            StoredQueryId.FIND_DOCUMENTS,
            XDSDocumentEntryPatientId=f"'{patient.to_cx()}'",
            XDSDocumentEntryStatus=f"('{AvailabilityStatus.APPROVED}')",
        )
        return [item for item in found if isinstance(item, DocumentEntry)]

    def replaced(self, entry: DocumentEntry) -> list[str]:
        links = self.ask(StoredQueryId.GET_ASSOCIATIONS, uuid=f"('{entry.id}')", MetadataLevel="2")
        found = [item for item in links if isinstance(item, Association) and item.association_type == AssociationType.RPLC]
        return [item.target for item in found if item.source == entry.id]


@pytest.fixture
def hospital(tmp_path: Path) -> Iterator[Hospital]:
    with open_archive(tmp_path) as archive:
        registry = DocumentRegistry(archive.database, IDENTITY, AllowAll(), archive.clock)
        repository = DocumentRepository(
            archive.blobs, archive.database, registry, registry, IDENTITY, archive.access, archive.clock
        )
        source = ImagingDocumentSource(
            archive.database,
            archive.blobs,
            IDENTITY,
            archive.patients,
            repository.provide,
            archive.access,
            archive.clock,
            archive.pixels,
            default_authority=LOCAL.authority,
            registry=RegistryAtHand(
                RegisteredDocuments(archive.database).registered,
                registry.update,
                registry.remove,
                repository.remove,
                IDENTITY.repository_unique_id,
            ),
        )
        archive.database.write(lambda connection: affinity_patients.add(connection, PATIENT))
        archive.database.write(lambda connection: affinity_patients.add(connection, OTHER))
        archive.patients.links[LOCAL.key] = PATIENT.value
        it = Hospital(archive, registry, source)
        it.add_image_and_publish(1)
        yield it


def changed(hospital: Hospital, message: Submission) -> None:
    response = hospital.registry.update(message, CONSUMER)
    assert response.succeeded, response.errors


def test_a_manifest_with_updated_metadata_is_replaced_in_its_newest_version(hospital: Hospital) -> None:
    (first,) = hospital.in_force(PATIENT)
    changed(hospital, update(first, description=(LocalizedString("now with a comment"),)))
    (updated,) = hospital.in_force(PATIENT)
    hospital.add_image_and_publish(2)
    (current,) = hospital.in_force(PATIENT)
    assert hospital.replaced(current) == [updated.id]
    hospital.add_image_and_publish(3)
    (newest,) = hospital.in_force(PATIENT)
    assert hospital.replaced(newest) == [current.id]


def test_a_manifest_that_moved_to_another_patient_is_replaced_there(hospital: Hospital) -> None:
    (first,) = hospital.in_force(PATIENT)
    change = LinkChange(LOCAL, OTHER, PATIENT, "1.2.3.4", "HOSP|PIX", "1")
    assert hospital.registry.change_link(change, CONSUMER) == ()
    hospital.archive.patients.links[LOCAL.key] = OTHER.value
    (moved,) = hospital.in_force(OTHER)
    assert moved.logical_id == first.id
    hospital.add_image_and_publish(2)
    (current,) = hospital.in_force(OTHER)
    assert hospital.replaced(current) == [moved.id]
    assert hospital.in_force(PATIENT) == []


def test_a_manifest_that_was_withdrawn_is_announced_anew(hospital: Hospital) -> None:
    (first,) = hospital.in_force(PATIENT)
    package = submission_set(patient_id=PATIENT.to_cx())
    changed(hospital, Submission.of(package, status_change(first)))
    assert hospital.in_force(PATIENT) == []
    hospital.add_image_and_publish(2)
    (current,) = hospital.in_force(PATIENT)
    assert hospital.replaced(current) == []
