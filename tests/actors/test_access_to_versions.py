"""Who may see an older version of a document: whoever may see it as it is labelled now.

Spec: ITI TF-2 3.57.4.1.3 (versions); ITI TF-3 4.2.3.2.5 (confidentialityCode).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from tests.actors.registry_fixtures import BOTH, CALLER
from tests.builders import CONTENT, PATIENT_ID, REPOSITORY_UNIQUE_ID, classification, document_entry, submission
from tests.repository import IDENTITY, NOW, World, world
from tests.updates import update
from xds.actors.document_registry import DocumentRegistry
from xds.model.caller import Action, Caller, Resource
from xds.model.metadata import Code, DocumentEntry
from xds.model.retrieval import DocumentRequest
from xds.model.stored_queries import RawQuery
from xds.model.vocabulary import DocumentEntryScheme, StoredQueryId
from xds.wire.ebrim import read_fragments

NORMAL, RESTRICTED = (Code(value, "2.16.840.1.113883.5.25", value) for value in "NR")


@dataclass
class NothingRestricted:
    """Denies what is labelled R."""

    asked: list[Resource] = field(default_factory=list)

    def permits(self, caller: Caller, action: Action, resources: Sequence[Resource]) -> Sequence[bool]:
        self.asked += resources
        return [str(RESTRICTED) not in resource.confidentiality for resource in resources]


@dataclass
class Versions:
    """A document that was published and relabelled, and what a consumer sees of it."""

    world: World
    registry: DocumentRegistry
    unique_id: str
    logical_id: str

    def seen(self, query: str, return_type: str = "LeafClass", **parameters: str) -> int:
        slots = tuple((name, (value,)) for name, value in parameters.items())
        answer = self.registry.query(RawQuery(query, return_type, (*slots, ("MetadataLevel", ("2",)))), CALLER)
        assert answer.response.succeeded, answer.response.errors
        return len(answer.references if answer.as_refs else answer.objects)

    def retrieved(self) -> int:
        return len(self.world.repository.retrieve([DocumentRequest(REPOSITORY_UNIQUE_ID, self.unique_id)], CALLER).documents)


def relabelled(here: World, rule: NothingRestricted, before: Code, after: Code) -> Versions:
    entry = document_entry(confidentiality_codes=(before,), hash=None, size=None, repository_unique_id=None)
    staged = here.staged_all({entry.id: CONTENT})
    assert here.repository.provide(submission([entry]), staged, CALLER).succeeded
    query = RawQuery(StoredQueryId.GET_DOCUMENTS, "LeafClass", (("XDSDocumentEntryUniqueId", (f"('{entry.unique_id}')",)),))
    (first,) = read_fragments(here.registry.query(query, CALLER).objects)
    assert isinstance(first, DocumentEntry)
    scheme = DocumentEntryScheme.CONFIDENTIALITY_CODE
    others = tuple(item for item in first.classifications if item.scheme != scheme)
    labelled = replace(first, classifications=(*others, classification(first.id, scheme, after)))
    assert here.registry.update(update(labelled), CALLER).succeeded
    registry = DocumentRegistry(here.database, IDENTITY, rule, lambda: NOW)
    return Versions(here, registry, entry.unique_id or "", first.id)


@pytest.fixture
def rule() -> NothingRestricted:
    return NothingRestricted()


@pytest.fixture
def here(tmp_path: Path, rule: NothingRestricted) -> Iterator[World]:
    with world(tmp_path, access=rule) as it:
        yield it


@pytest.mark.parametrize(("before", "after", "versions"), [(NORMAL, RESTRICTED, 0), (RESTRICTED, NORMAL, 2)])
def test_the_newest_version_decides_about_all_of_them(
    here: World, rule: NothingRestricted, before: Code, after: Code, versions: int
) -> None:
    it = relabelled(here, rule, before, after)
    patient = {"XDSDocumentEntryPatientId": f"'{PATIENT_ID}'", "XDSDocumentEntryStatus": BOTH}
    assert it.seen(StoredQueryId.FIND_DOCUMENTS, **patient) == versions
    assert it.seen(StoredQueryId.FIND_DOCUMENTS, "ObjectRef", **patient) == versions
    assert it.seen(StoredQueryId.GET_DOCUMENTS, XDSDocumentEntryLogicalID=f"('{it.logical_id}')") == versions
    assert it.seen(StoredQueryId.GET_DOCUMENTS, XDSDocumentEntryEntryUUID=f"('{it.logical_id}')") == versions // 2
    assert it.retrieved() == versions // 2
