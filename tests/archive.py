"""An Imaging Document Source on a real database and real files, and images to put into it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from io import BytesIO
from pathlib import Path
from typing import Any

import pydicom
from pydicom.data import get_testdata_file

from tests.databases import fresh_database
from xds.actors.imaging_document_source import ImagingDocumentSource
from xds.actors.provided_document import ProvidedDocument
from xds.model.caller import Action, Caller, Resource
from xds.model.domain_identity import DomainIdentity
from xds.model.errors import RegistryError, RegistryResponse, response_to
from xds.model.identifiers import AssigningAuthority, PatientIdentifier
from xds.model.imaging import Addition
from xds.model.metadata import Submission
from xds.model.patient import Demographics
from xds.pixels.pool import Pool
from xds.store.blobs.local import LocalBlobStore
from xds.store.database import Database

IDENTITY = DomainIdentity(
    assigning_authority="1.2.3.100",
    assigning_authority_namespace="AFFINITY",
    home_community_id="1.2.3.200",
    repository_unique_id="1.2.3.300",
    imaging_source_unique_id="1.2.3.400",
    ae_title="XDS",
    public_url="http://127.0.0.1:8080",
)
HOSPITAL = AssigningAuthority("HOSP_A", "1.2.3.500")
MODALITY = Caller("127.0.0.1", node="CT_ROOM_1")
CONSUMER = Caller("127.0.0.1", node="VIEWER")


class SteppedClock:
    """A clock that moves when told to."""

    def __init__(self) -> None:
        self.now = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now

    def advance(self, **delta: float) -> None:
        self.now += timedelta(**delta)


@dataclass
class CrossReference:
    """Which local identifiers are linked to which patient of the affinity domain, and which authorities were heard of."""

    links: dict[tuple[str, str], str] = field(default_factory=dict)
    authorities: dict[str, AssigningAuthority] = field(default_factory=dict)

    def authority(self, namespace: str) -> AssigningAuthority | None:
        return self.authorities.get(namespace)

    def issuer_of(self, value: str, demographics: Demographics) -> AssigningAuthority | None:
        return None

    def affinity_identifier(self, identifier: PatientIdentifier) -> PatientIdentifier | None:
        value = self.links.get(identifier.key)
        return PatientIdentifier(value, AssigningAuthority("AFFINITY", IDENTITY.assigning_authority)) if value else None


@dataclass
class PartnerRepository:
    """A Document Repository elsewhere, as far as its partner sees it: what it was given, and what it answers next."""

    submissions: list[Submission] = field(default_factory=list)
    documents: list[bytes] = field(default_factory=list)
    answers: list[tuple[RegistryError, ...] | Exception] = field(default_factory=list)

    def provide(self, submission: Submission, documents: Mapping[str, ProvidedDocument], caller: Caller) -> RegistryResponse:
        answer = self.answers.pop(0) if self.answers else ()
        self.submissions.append(submission)
        self.documents.extend(b"".join(document.staging.open()) for document in documents.values())
        if isinstance(answer, Exception):
            raise answer
        return response_to(answer)


@dataclass
class ChosenPatients:
    """An access rule that hides some patients."""

    hidden: set[str] = field(default_factory=set)

    def permits(self, caller: Caller, action: Action, resources: Any) -> list[bool]:
        assert action is Action.RETRIEVE
        return [self._permits(resource) for resource in resources]

    def _permits(self, resource: Resource) -> bool:
        return resource.patient_id not in self.hidden


@dataclass
class Archive:
    """The source and everything around it."""

    source: ImagingDocumentSource
    database: Database
    blobs: LocalBlobStore
    clock: SteppedClock
    patients: CrossReference
    repository: PartnerRepository
    access: ChosenPatients
    pixels: Pool

    def store(self, octets: bytes, caller: Caller = MODALITY) -> Addition:
        """Put a Part 10 file in as a transaction does."""
        staging = self.source.stage()
        try:
            staging.write(octets)
            return self.source.store_instance(staging, caller)
        finally:
            staging.discard()


@contextmanager
def open_archive(directory: Path, **settings: Any) -> Iterator[Archive]:
    """An archive below a directory; settings as `ImagingDocumentSource` takes them."""
    database = fresh_database(directory)
    blobs = LocalBlobStore(directory / "blobs")
    clock, patients, repository, access = SteppedClock(), CrossReference(), PartnerRepository(), ChosenPatients()
    given: dict[str, Any] = {"settle_seconds": 60, "store_at_once": True, "default_authority": HOSPITAL} | settings
    pixels = Pool(directory / "pixels")
    source = ImagingDocumentSource(database, blobs, IDENTITY, patients, repository.provide, access, clock, pixels, **given)
    try:
        yield Archive(source, database, blobs, clock, patients, repository, access, pixels)
    finally:
        source.close()
        database.close()


def packaged(name: str) -> bytes:
    """A DICOM file that comes with pydicom."""
    return Path(str(get_testdata_file(name))).read_bytes()


def image(change: Callable[[Any], None] | None = None, name: str = "CT_small.dcm", **attributes: Any) -> bytes:
    """A packaged image with other attributes (by keyword), as a Part 10 file; its meta information follows."""
    dataset = pydicom.dcmread(BytesIO(packaged(name)))
    for keyword, value in attributes.items():
        setattr(dataset, keyword, value)
    if change:
        change(dataset)
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    written = BytesIO()
    dataset.save_as(written, enforce_file_format=True)
    return written.getvalue()
