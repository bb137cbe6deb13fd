"""A Document Registry on a fresh database, and short words to submit to it and to query it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from lxml import etree

from tests.builders import ASSIGNING_AUTHORITY, PATIENT_ID, REPOSITORY_UNIQUE_ID
from tests.databases import fresh_database
from xds.actors.document_registry import DocumentRegistry, QueryAnswer
from xds.model.caller import Caller
from xds.model.domain_identity import DomainIdentity
from xds.model.errors import ErrorCode, RegistryResponse, response_to
from xds.model.fragments import Fragment
from xds.model.identifiers import PatientIdentifier, read_cx
from xds.model.metadata import RegistryObject, Submission
from xds.model.stored_queries import RawQuery
from xds.model.vocabulary import AvailabilityStatus
from xds.ports import AccessRule
from xds.rules.access import AllowAll
from xds.store import affinity_patients
from xds.store.database import Database
from xds.wire.ebrim import read_objects
from xds.wire.ebrs import write_query_response

CALLER = Caller(address="192.0.2.1", node="urn:test:consumer", user="dr.test")
IDENTITY = DomainIdentity(
    assigning_authority=ASSIGNING_AUTHORITY,
    assigning_authority_namespace="XDS",
    home_community_id="1.2.3.4.9",
    repository_unique_id=REPOSITORY_UNIQUE_ID,
    imaging_source_unique_id="1.2.3.4.10",
    ae_title="XDS",
    public_url="http://127.0.0.1:8080",
)
APPROVED = f"('{AvailabilityStatus.APPROVED}')"
DEPRECATED = f"('{AvailabilityStatus.DEPRECATED}')"
BOTH = f"('{AvailabilityStatus.APPROVED}','{AvailabilityStatus.DEPRECATED}')"


@dataclass
class TestClock:
    """A clock that moves one second at each look, so that every event has its own time."""

    __test__ = False
    now: datetime = field(default_factory=lambda: datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC))

    def __call__(self) -> datetime:
        self.now += timedelta(seconds=1)
        return self.now


@dataclass(frozen=True)
class Registry:
    """A Document Registry with its database."""

    actor: DocumentRegistry
    database: Database
    clock: TestClock

    def announce(self, *patient_ids: str) -> None:
        for text in patient_ids:
            self.database.write(lambda connection, text=text: affinity_patients.add(connection, patient(text)))

    def merge(self, subsumed: str, surviving: str) -> bool:
        return self.database.write(lambda c: affinity_patients.merge(c, patient(subsumed), patient(surviving)))

    def register(self, submission: Submission) -> RegistryResponse:
        return self.actor.register(submission, CALLER)

    def accept(self, submission: Submission) -> None:
        response = self.register(submission)
        assert response.succeeded, response.errors

    def refuse(self, submission: Submission) -> set[ErrorCode]:
        response = self.register(submission)
        assert not response.succeeded
        return {error.code for error in response.errors}

    def answer(self, query: str, *, return_type: str = "LeafClass", **parameters: str | Sequence[str]) -> QueryAnswer:
        """Ask a stored query; a sequence as value stands for repeated slots."""
        slots = tuple(
            (name, (value,))
            for name, values in parameters.items()
            for value in ((values,) if isinstance(values, str) else values)
        )
        return self.actor.query(RawQuery(query, return_type, slots), CALLER)

    def ask(self, query: str, **parameters: str | Sequence[str]) -> list[RegistryObject]:
        """The objects of a successful answer, read back from what goes over the wire."""
        answer = self.answer(query, **parameters)
        assert answer.response.succeeded, answer.response.errors
        return read_back(answer.objects)

    def errors(self, query: str, **parameters: str | Sequence[str]) -> set[ErrorCode]:
        answer = self.answer(query, **parameters)
        assert not answer.response.succeeded
        assert not answer.objects
        return {error.code for error in answer.response.errors}


def patient(text: str) -> PatientIdentifier:
    identifier = read_cx(text)
    assert identifier is not None
    return identifier


def read_back(fragments: Iterable[Fragment]) -> list[RegistryObject]:
    """Fragments as an answer carries them, read again; the answer must obey its schema."""
    element = etree.fromstring(b"".join(write_query_response(response_to(()), fragments)))
    objects, problems, _references = read_objects(element[-1])
    assert not problems
    return objects


def open_registry(
    folder: Path, *, access: AccessRule | None = None, require_known_patient: bool = True, max_results: int = 5000
) -> Registry:
    """A registry in that folder; close its database in the end."""
    database = fresh_database(folder)
    clock = TestClock()
    actor = DocumentRegistry(
        database,
        IDENTITY,
        access or AllowAll(),
        clock,
        require_known_patient=require_known_patient,
        max_results=max_results,
    )
    registry = Registry(actor, database, clock)
    if require_known_patient:
        registry.announce(PATIENT_ID)
    return registry
