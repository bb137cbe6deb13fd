"""Documents that are made when they are retrieved. Spec: ITI TF-2 3.43.4.1.3, 3.61.4.1.3; ITI TF-1 10.2.7."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from lxml import etree

from tests.actors.registry_fixtures import APPROVED, BOTH, read_back
from tests.builders import CONTENT, PATIENT_ID, REPOSITORY_UNIQUE_ID, document_entry, fresh_uid, submission, uuid_for
from tests.repository import CALLER, IDENTITY, NOW, DenyUniqueIds, World, world
from xds.actors.document_repository import DocumentRepository
from xds.actors.on_demand_documents import OnDemandDocuments
from xds.actors.record_index import FORMAT, RecordIndexProducer
from xds.actors.registered_documents import RegisteredDocuments
from xds.model.caller import Resource
from xds.model.errors import ErrorCode, RegistryError, RegistryResponse, Status
from xds.model.identifiers import read_cx
from xds.model.metadata import Association, Code, DocumentEntry, RegistryObject
from xds.model.on_demand import ProducedDocument
from xds.model.retrieval import DocumentRequest, RetrieveAnswer
from xds.model.stored_queries import RawQuery
from xds.model.vocabulary import ON_DEMAND, STABLE, AssociationType, StoredQueryId
from xds.ports import AccessRule, OnDemandProducer
from xds.rules.access import AllowAll
from xds.store import affinity_patients

ABSENT = dict.fromkeys(("creation_time", "hash", "size"))
RESTRICTED = Code("R", "2.16.840.1.113883.5.25", "Restricted")


@dataclass
class Counter:
    """Makes a text of its own for every entry with the format `counter`; `failure` is raised instead."""

    text: str = "one"
    failure: OSError | None = None
    made: list[str] = field(default_factory=list)

    def accepts(self, entry: DocumentEntry) -> bool:
        return entry.format_code is not None and entry.format_code.code == "counter"

    def produce(self, entry: DocumentEntry) -> ProducedDocument:
        if self.failure is not None:
            raise self.failure
        self.made.append(entry.unique_id or "")
        return ProducedDocument(f"1.2.3.77.{sum(self.text.encode())}", "text/plain", self.text.encode())


def counted(**attributes: Any) -> DocumentEntry:
    facts = ABSENT | {"object_type": ON_DEMAND, "mime_type": "text/plain", "format_code": Code("counter", "1.2.3", "Counter")}
    return document_entry(**(facts | attributes))


def index_entry(**attributes: Any) -> DocumentEntry:
    return counted(**({"format_code": FORMAT, "mime_type": "text/xml", "title": "Index"} | attributes))


@dataclass
class OnDemandWorld:
    """A repository with producers, on the registry of a world."""

    world: World
    repository: DocumentRepository
    counter: Counter

    def register(self, entry: DocumentEntry) -> str:
        message = submission([entry], patient_id=entry.patient_id or "")
        response = self.world.registry.register(message, CALLER, on_demand=True)
        assert response.succeeded, response.errors
        return entry.unique_id or ""

    def provide(self, **attributes: Any) -> str:
        entry = document_entry(**({"hash": None, "size": None} | attributes))
        response = self.repository.provide(submission([entry]), self.world.staged_all({entry.id: CONTENT}), CALLER)
        assert response.succeeded, response.errors
        return entry.unique_id or ""

    def retrieve(self, *unique_ids: str) -> RetrieveAnswer:
        return self.repository.retrieve([DocumentRequest(REPOSITORY_UNIQUE_ID, item) for item in unique_ids], CALLER)

    def documents(self, status: str = APPROVED, kind: str = STABLE) -> list[DocumentEntry]:
        found = self.ask(
            StoredQueryId.FIND_DOCUMENTS,
            XDSDocumentEntryPatientId=f"'{PATIENT_ID}'",
            XDSDocumentEntryStatus=status,
            XDSDocumentEntryType=f"('{kind}')",
        )
        return [item for item in found if isinstance(item, DocumentEntry)]

    def ask(self, query: str, **parameters: str) -> list[RegistryObject]:
        slots = tuple((name, (value,)) for name, value in parameters.items())
        answer = self.world.registry.query(RawQuery(query, "LeafClass", slots), CALLER)
        assert answer.response.succeeded, answer.response.errors
        return read_back(answer.objects)


def build(
    here: World, *, persist: bool = False, access: AccessRule | None = None, counter: Counter | None = None
) -> OnDemandWorld:
    registered, counter = RegisteredDocuments(here.database), counter or Counter()
    producers: Sequence[OnDemandProducer] = (counter, RecordIndexProducer(registered))
    rule = access or AllowAll()
    made = OnDemandDocuments(registered, producers, IDENTITY, rule, lambda: NOW, persist=persist)
    repository = DocumentRepository(here.blobs, here.database, here.registry, here.registry, IDENTITY, rule, lambda: NOW, made)
    return OnDemandWorld(here, repository, counter)


@pytest.fixture
def here(tmp_path: Path) -> Iterator[OnDemandWorld]:
    with world(tmp_path) as it:
        yield build(it)


@pytest.fixture
def persisting(tmp_path: Path) -> Iterator[OnDemandWorld]:
    with world(tmp_path) as it:
        yield build(it, persist=True)


def octets(answer: RetrieveAnswer) -> list[bytes]:
    return [b"".join(document.chunks()) for document in answer.documents]


# --- ITI-61 ----------------------------------------------------------------------------------------------------------


def codes(response: RegistryResponse) -> set[str]:
    return {error.code.value for error in response.errors}


def test_an_on_demand_entry_is_found_when_it_is_asked_for(here: OnDemandWorld) -> None:
    unique_id = here.register(counted())
    assert here.documents() == []
    (found,) = here.documents(kind=ON_DEMAND)
    assert (found.unique_id, found.object_type) == (unique_id, ON_DEMAND)
    assert (found.creation_time, found.hash, found.size) == (None, None, None)
    event = here.world.events()[0]
    assert (event.event_type.code, event.event_id.code, event.action.value) == ("ITI-61", "110107", "C")


@pytest.mark.parametrize("attribute", ["creation_time", "hash", "size"])
def test_what_only_a_document_has_is_refused(here: OnDemandWorld, attribute: str) -> None:
    values = {"creation_time": "2024", "hash": "0" * 40, "size": "12"}
    response = here.world.registry.register(submission([counted(**{attribute: values[attribute]})]), CALLER, on_demand=True)
    assert codes(response) == {"XDSRegistryMetadataError"}
    assert attribute.partition("_")[0] in response.errors[0].context


def test_stable_and_on_demand_entries_have_transactions_of_their_own(here: OnDemandWorld) -> None:
    registry = here.world.registry
    assert codes(registry.register(submission(1), CALLER, on_demand=True)) == {"XDSRegistryMetadataError"}
    assert "XDSRegistryMetadataError" in codes(registry.register(submission([counted()]), CALLER))
    event = next(event for event in here.world.events() if event.outcome.value == "8")
    assert event.event_type.code == "ITI-61"


def test_unique_ids(here: OnDemandWorld) -> None:
    stable = here.provide()
    first = here.register(counted())
    response = here.world.registry.register(submission([counted(unique_id=stable)]), CALLER, on_demand=True)
    assert codes(response) == {"XDSRegistryMetadataError"}
    here.register(counted(unique_id=first))
    assert len(here.documents(kind=ON_DEMAND)) == 2


# --- ITI-43 ----------------------------------------------------------------------------------------------------------


def test_a_document_is_made_for_each_answer(here: OnDemandWorld) -> None:
    unique_id, stable = here.register(counted()), here.provide()
    answer = here.retrieve(unique_id, stable, unique_id)
    assert answer.response.status is Status.SUCCESS
    assert octets(answer) == [b"one", CONTENT, b"one"]
    made, kept, again = answer.documents
    assert (made.mime_type, made.size, made.request.document_unique_id) == ("text/plain", 3, unique_id)
    assert made.new_document_unique_id == again.new_document_unique_id
    assert made.new_document_unique_id not in (None, unique_id)
    assert made.new_repository_unique_id is None
    assert (kept.new_document_unique_id, kept.new_repository_unique_id) == (None, None)
    here.counter.text = "two"
    (changed,) = here.retrieve(unique_id).documents
    assert changed.new_document_unique_id != made.new_document_unique_id
    assert len(here.documents()) == 1
    answer.finished(True)
    event = here.world.events()[-1]
    assert [item.id for item in event.objects] == [PATIENT_ID, unique_id, stable, unique_id]


def test_what_cannot_be_made_is_an_error_for_itself(here: OnDemandWorld) -> None:
    foreign = here.register(counted(repository_unique_id="1.2.3.99"))
    strange = here.register(counted(format_code=Code("other", "1.2.3", "Other")))
    good = here.register(counted())
    answer = here.retrieve(foreign, strange, good)
    assert answer.response.status is Status.PARTIAL_SUCCESS
    assert [(error.code, error.location) for error in answer.response.errors] == [
        (ErrorCode.DOCUMENT_UNIQUE_ID_ERROR, foreign),
        (ErrorCode.DOCUMENT_UNIQUE_ID_ERROR, strange),
    ]
    here.counter.failure = ConnectionRefusedError()
    (error,) = here.retrieve(good).response.errors
    assert error.code is ErrorCode.REPOSITORY_ERROR


def test_a_deprecated_entry_is_not_made_any_more(here: OnDemandWorld) -> None:
    old = counted(id=uuid_for(1))
    here.register(old)
    entry = counted()
    replaced = submission([entry])
    link = Association("rplc", association_type=AssociationType.RPLC.value, source=entry.id, target=old.id)
    replaced = replace(replaced, associations=(*replaced.associations, link))
    assert here.world.registry.register(replaced, CALLER, on_demand=True).succeeded
    answer = here.retrieve(old.unique_id or "", entry.unique_id or "")
    assert [(error.code, error.location) for error in answer.response.errors] == [
        (ErrorCode.DOCUMENT_UNIQUE_ID_ERROR, old.unique_id)
    ]
    assert len(answer.documents) == 1


def test_what_the_caller_may_not_see_is_as_if_it_did_not_exist(tmp_path: Path) -> None:
    rule = DenyUniqueIds()
    with world(tmp_path, access=rule) as it:
        here = build(it, access=rule)
        unique_id = here.register(counted())
        rule.denied = (unique_id,)
        (error,) = here.retrieve(unique_id).response.errors
        assert error.code is ErrorCode.DOCUMENT_UNIQUE_ID_ERROR
        asked = [item for item in rule.asked if item.unique_id == unique_id]
        assert asked == [Resource(PATIENT_ID, unique_id, ("N^^2.16.840.1.113883.5.25",), "DEMO-Consult^^1.3.6.1.4.1.21367.100.1")]
        assert here.counter.made == []


# --- Persistence of Retrieved Documents ------------------------------------------------------------------------------


def test_what_was_answered_stays_retrievable_as_a_snapshot(persisting: OnDemandWorld) -> None:
    here = persisting
    unique_id = here.register(counted(id=uuid_for(1), title="Count"))
    (made,) = here.retrieve(unique_id).documents
    assert made.new_repository_unique_id == REPOSITORY_UNIQUE_ID
    (snapshot,) = here.documents()
    assert (snapshot.unique_id, snapshot.object_type, snapshot.size) == (made.new_document_unique_id, STABLE, "3")
    assert (snapshot.title, snapshot.mime_type, snapshot.creation_time) == ("Count", "text/plain", "20240506070809")
    links = here.ask(StoredQueryId.GET_ASSOCIATIONS, uuid=f"('{snapshot.id}')")
    assert {(item.association_type, item.source, item.target) for item in links if isinstance(item, Association)} >= {
        (AssociationType.IS_SNAPSHOT_OF.value, snapshot.id, uuid_for(1))
    }
    assert octets(here.retrieve(snapshot.unique_id or "")) == [b"one"]


def test_the_same_document_is_kept_once_and_a_new_one_replaces_it(persisting: OnDemandWorld) -> None:
    here = persisting
    unique_id = here.register(counted())
    first = here.retrieve(unique_id).documents[0].new_document_unique_id
    assert here.retrieve(unique_id, unique_id).documents[1].new_document_unique_id == first
    assert len(here.documents(BOTH)) == 1
    here.counter.text = "two"
    second = here.retrieve(unique_id).documents[0].new_document_unique_id
    assert [item.unique_id for item in here.documents()] == [second]
    assert {item.unique_id for item in here.documents(BOTH)} == {first, second}
    assert octets(here.retrieve(first or "", second or "")) == [b"one", b"two"]


def at_once(*actions: Callable[[], object]) -> None:
    """Do these at the same moment."""
    threads = [threading.Thread(target=action) for action in actions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


@dataclass
class Together(Counter):
    """A counter that answers two requests at the same moment."""

    barrier: threading.Barrier = field(default_factory=lambda: threading.Barrier(2))

    def produce(self, entry: DocumentEntry) -> ProducedDocument:
        made = super().produce(entry)
        self.barrier.wait(60)
        return made


def test_two_processes_that_make_the_same_document_register_it_once(persisting: OnDemandWorld) -> None:
    here = persisting
    others = [build(here.world, persist=True, counter=counter) for counter in [Together()] * 2]
    unique_id = here.register(counted(id=uuid_for(1)))
    answers: list[RetrieveAnswer] = []
    for text in ("one", "two", "three", "four"):
        others[0].counter.text = text
        at_once(*(lambda other=other: answers.append(other.retrieve(unique_id)) for other in others))
        assert [octets(answer) for answer in answers[-2:]] == [[text.encode()]] * 2
        assert len(here.documents()) == 1
    assert len(here.documents(BOTH)) == 4


def test_two_processes_that_make_different_documents_keep_both_in_a_row(persisting: OnDemandWorld) -> None:
    here = persisting
    barrier = threading.Barrier(2)
    others = [build(here.world, persist=True, counter=Together(text, barrier=barrier)) for text in ("two", "three")]
    unique_id = here.register(counted(id=uuid_for(1)))
    here.retrieve(unique_id)
    answers: list[RetrieveAnswer] = []
    at_once(*(lambda other=other: answers.append(other.retrieve(unique_id)) for other in others))
    assert [answer.response.status for answer in answers] == [Status.SUCCESS] * 2
    assert (len(here.documents()), len(here.documents(BOTH))) == (1, 3)


def test_without_its_snapshot_a_document_is_not_answered(persisting: OnDemandWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    here = persisting
    unique_id = here.register(counted())
    refused = RegistryResponse(Status.FAILURE, (RegistryError(ErrorCode.REGISTRY_NOT_AVAILABLE, "not today"),))
    with monkeypatch.context() as patched:
        patched.setattr(here.repository._registration, "register", lambda *_, **__: refused)
        (error,) = here.retrieve(unique_id).response.errors
    assert (error.code, error.location) == (ErrorCode.REPOSITORY_ERROR, unique_id)
    assert here.documents() == []
    assert here.retrieve(unique_id).response.succeeded


def test_a_merged_patient(persisting: OnDemandWorld) -> None:
    here = persisting
    survivor = "P9^^^&1.2.3.4.5&ISO"
    unique_id = here.register(counted())
    here.world.add_patient(survivor)
    identifiers = [read_cx(text) for text in (PATIENT_ID, survivor)]
    assert here.world.database.write(lambda connection: affinity_patients.merge(connection, *identifiers))  # type: ignore[arg-type]
    assert here.retrieve(unique_id).response.succeeded
    found = here.ask(StoredQueryId.FIND_DOCUMENTS, XDSDocumentEntryPatientId=f"'{survivor}'", XDSDocumentEntryStatus=APPROVED)
    assert [item.patient_id for item in found if isinstance(item, DocumentEntry)] == [survivor]


# --- the index of a record -------------------------------------------------------------------------------------------

V3 = {"v": "urn:hl7-org:v3"}


def test_the_index_lists_what_its_confidentiality_allows(here: OnDemandWorld) -> None:
    here.provide(title="Chest & more", creation_time="20240102", service_start_time="202401020800")
    here.provide(title="Newer", service_start_time="202402", service_stop_time=None)
    here.provide(title="Secret", confidentiality_codes=(RESTRICTED,))
    unique_id = here.register(index_entry(source_patient_info=("PID-5|Doe^Jane", "PID-7|19560527", "PID-8|F")))
    answer = here.retrieve(unique_id)
    (document,) = octets(answer)
    root = etree.fromstring(document)
    assert root.xpath("string(v:id/@root)", namespaces=V3) == answer.documents[0].new_document_unique_id
    rows = root.xpath("//v:tbody/v:tr", namespaces=V3)
    assert [[cell.text for cell in row][0:3] for row in rows] == [
        ["2024-02", "Summarization of Episode Note", "Newer"],
        ["2024-01-02 08:00", "Summarization of Episode Note", "Chest & more"],
    ]
    assert root.xpath("string(//v:patientRole/v:id/@extension)", namespaces=V3) == "P1"
    assert root.xpath("string(//v:patient/v:name/v:family)", namespaces=V3) == "Doe"
    assert root.xpath("string(//v:administrativeGenderCode/@code)", namespaces=V3) == "F"
    assert root.xpath("string(v:effectiveTime/@value)", namespaces=V3) == "202402"
    open_to_all = here.register(index_entry(confidentiality_codes=(Code("N", RESTRICTED.scheme, "Normal"), RESTRICTED)))
    assert len(etree.fromstring(octets(here.retrieve(open_to_all))[0]).xpath("//v:tbody/v:tr", namespaces=V3)) == 3


def test_the_index_changes_with_the_record_alone(persisting: OnDemandWorld) -> None:
    here = persisting
    unique_id = here.register(index_entry())
    empty = here.retrieve(unique_id).documents[0]
    assert here.retrieve(unique_id).documents[0].new_document_unique_id == empty.new_document_unique_id
    here.provide(title="New")
    filled = here.retrieve(unique_id).documents[0]
    assert filled.new_document_unique_id != empty.new_document_unique_id
    # Its own snapshots are no part of it.
    assert here.retrieve(unique_id).documents[0].new_document_unique_id == filled.new_document_unique_id
    assert b"<tr>" in b"".join(filled.chunks())


def test_the_index_as_text(here: OnDemandWorld) -> None:
    stored = here.provide(title="Chest")
    unique_id = here.register(index_entry(mime_type="text/plain"))
    (text,) = octets(here.retrieve(unique_id))
    assert text.decode().splitlines() == [
        "Index",
        "P1 (1.2.3.4.5)",
        "",
        "2024-01-02 08:00 | Summarization of Episode Note | Chest | Gerald Smitty, Cleveland Clinic"
        f" | application/pdf | {stored}",
    ]
    (error,) = here.retrieve(here.register(index_entry(mime_type="image/png", unique_id=fresh_uid()))).response.errors
    assert error.code is ErrorCode.DOCUMENT_UNIQUE_ID_ERROR
