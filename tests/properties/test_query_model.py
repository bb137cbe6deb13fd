"""Every stored query of ITI-18 answers what the model of the standard answers, whatever was submitted and merged before.

Spec: ITI TF-2 3.18.4.1.2.3, 3.42.4.1.3.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.actors.registry_fixtures import CALLER, IDENTITY, Registry, TestClock, read_back
from tests.databases import fresh_database
from tests.properties.histories import CODES, PATTERNS, PERSONS, REFERENCES, SOURCES, TIMES, FixedClock, History, fresh_uuid
from xds.actors.document_registry import DocumentRegistry
from xds.model.errors import ErrorCode
from xds.model.metadata import Association, DocumentEntry, Folder, RegistryObject, SubmissionSet
from xds.model.stored_queries import RawQuery
from xds.model.vocabulary import ON_DEMAND, STABLE, AssociationType, AvailabilityStatus, StoredQueryId
from xds.rules.access import AllowAll

STATUSES = [str(status) for status in AvailabilityStatus] + ["urn:oasis:names:tc:ebxml-regrep:StatusType:Submitted"]


@dataclass(frozen=True, eq=False)
class Parameter:
    """A parameter of a query: where its values come from and how it is written.

    `most`, `least`: values of one group, which the sweep takes one by one when one is enough; `groups`: how often the slot may
    be repeated; `quoted`: as text.
    """

    name: str
    values: Callable[[History], Sequence[str]]
    most: int = 3
    least: int = 1
    groups: int = 1
    required: bool = False
    quoted: bool = True


#: A parameter with the values of one slot.
Asked = tuple[Parameter, Sequence[str]]


def codes(_history: History) -> list[str]:
    return [*map(str, CODES), "none^^1.2.1"]


def times(_history: History) -> Sequence[str]:
    return TIMES


def code(name: str, groups: int = 1) -> Parameter:
    return Parameter(name, codes, groups=groups)


def time(name: str, values: Callable[[History], Sequence[str]] = times) -> tuple[Parameter, Parameter]:
    return Parameter(f"{name}From", values, 1, quoted=False), Parameter(f"{name}To", values, 1, quoted=False)


def patient(name: str) -> Parameter:
    return Parameter(
        name, lambda history: [*history.active(), *history.patients[1:], "nobody^^^&1.2.3.4.5&ISO"], 1, required=True
    )


def status(name: str) -> Parameter:
    return Parameter(name, lambda _: STATUSES, least=2, required=True)


def patterns(name: str, most: int = 3) -> Parameter:
    return Parameter(name, lambda _: [*PATTERNS, *filter(None, PERSONS)], most)


def references(name: str) -> Parameter:
    return Parameter(name, lambda _: [*REFERENCES, "R1^%", "%:accession", "_1^^^&1.2.3&ISO%"], groups=2, required=True)


def uuids(name: str, *kinds: type[RegistryObject], most: int = 4) -> Parameter:
    """entryUUIDs of objects of these kinds, one of another kind, and one that nobody has."""

    def values(history: History) -> list[str]:
        objects = [item.object for item in history.model.objects.values()]
        others = [item.id for item in objects if not isinstance(item, (*kinds, Association))]
        return [*(item.id for item in objects if isinstance(item, kinds)), *others[:1], fresh_uuid()]

    return Parameter(name, values, most, required=True)


def unique_ids(name: str, kind: type[DocumentEntry | SubmissionSet | Folder], most: int = 4) -> Parameter:
    def values(history: History) -> list[str]:
        objects = [item.object for item in history.model.objects.values() if not isinstance(item.object, Association)]
        others = [item.unique_id for item in objects if not isinstance(item, kind)]
        return [*dict.fromkeys(item.unique_id for item in objects if isinstance(item, kind)), *others[:1], "1.2.3.404"]

    return Parameter(name, values, most, required=True)


def named(kind: type[DocumentEntry | SubmissionSet | Folder], most: int = 4) -> list[Parameter]:
    """Either of the two ways to name objects."""
    prefix = f"XDS{kind.__name__}"
    return [uuids(f"{prefix}EntryUUID", kind, most=most), unique_ids(f"{prefix}UniqueId", kind, most)]


def update_times(history: History) -> list[str]:
    return [*(item[:length] for item in history.times for length in (12, 14)), "2026"]


TYPE = Parameter("XDSDocumentEntryType", lambda _: [STABLE, ON_DEMAND])
BOTH_TYPES: list[Asked] = [(TYPE, [STABLE, ON_DEMAND])]
LEVEL = Parameter("MetadataLevel", lambda _: ["1", "2"], 1, quoted=False)
ASSOCIATION_STATUS = Parameter("XDSAssociationStatus", lambda _: STATUSES[:2])
CONTENT = (code("XDSDocumentEntryFormatCode"), code("XDSDocumentEntryConfidentialityCode", groups=2), TYPE, LEVEL)
FIND_DOCUMENTS = (
    patient("XDSDocumentEntryPatientId"),
    status("XDSDocumentEntryStatus"),
    code("XDSDocumentEntryClassCode"),
    code("XDSDocumentEntryTypeCode"),
    code("XDSDocumentEntryPracticeSettingCode"),
    code("XDSDocumentEntryHealthcareFacilityTypeCode"),
    code("XDSDocumentEntryEventCodeList", groups=2),
    *time("XDSDocumentEntryCreationTime"),
    *time("XDSDocumentEntryServiceStartTime"),
    *time("XDSDocumentEntryServiceStopTime"),
    patterns("XDSDocumentEntryAuthorPerson"),
    *CONTENT,
)
GET_ALL = (
    patient("patientId"),
    status("XDSDocumentEntryStatus"),
    status("XDSSubmissionSetStatus"),
    status("XDSFolderStatus"),
    ASSOCIATION_STATUS,
    *CONTENT,
)
ASSOCIATION_TYPES = Parameter("AssociationTypes", lambda _: [*map(str, AssociationType)], 9, 4, required=True)

#: Parameters of each query; of those in an inner list exactly one is given.
QUERIES: Mapping[StoredQueryId, tuple[str, tuple[Parameter | list[Parameter], ...]]] = {
    StoredQueryId.FIND_DOCUMENTS: ("FindDocuments", FIND_DOCUMENTS),
    StoredQueryId.FIND_DOCUMENTS_BY_REFERENCE_ID: (
        "FindDocumentsByReferenceId",
        (*FIND_DOCUMENTS, references("XDSDocumentEntryReferenceIdList")),
    ),
    StoredQueryId.FIND_SUBMISSION_SETS: (
        "FindSubmissionSets",
        (
            patient("XDSSubmissionSetPatientId"),
            status("XDSSubmissionSetStatus"),
            Parameter("XDSSubmissionSetSourceId", lambda _: [*SOURCES, "1.2.3.4"]),
            *time("XDSSubmissionSetSubmissionTime"),
            patterns("XDSSubmissionSetAuthorPerson", most=1),
            code("XDSSubmissionSetContentType"),
        ),
    ),
    StoredQueryId.FIND_FOLDERS: (
        "FindFolders",
        (
            patient("XDSFolderPatientId"),
            status("XDSFolderStatus"),
            *time("XDSFolderLastUpdateTime", update_times),
            code("XDSFolderCodeList", groups=2),
            LEVEL,
        ),
    ),
    StoredQueryId.GET_ALL: ("GetAll", GET_ALL),
    StoredQueryId.GET_DOCUMENTS: (
        "GetDocuments",
        (named(DocumentEntry), LEVEL),
    ),
    StoredQueryId.GET_FOLDERS: ("GetFolders", (named(Folder), LEVEL)),
    StoredQueryId.GET_ASSOCIATIONS: ("GetAssociations", (uuids("uuid", RegistryObject), ASSOCIATION_STATUS, LEVEL)),
    StoredQueryId.GET_DOCUMENTS_AND_ASSOCIATIONS: (
        "GetDocumentsAndAssociations",
        (named(DocumentEntry), ASSOCIATION_STATUS, LEVEL),
    ),
    StoredQueryId.GET_SUBMISSION_SETS: ("GetSubmissionSets", (uuids("uuid", DocumentEntry, Folder), LEVEL)),
    StoredQueryId.GET_SUBMISSION_SET_AND_CONTENTS: (
        "GetSubmissionSetAndContents",
        (named(SubmissionSet, 1), *CONTENT),
    ),
    StoredQueryId.GET_FOLDER_AND_CONTENTS: (
        "GetFolderAndContents",
        (named(Folder, 1), *CONTENT),
    ),
    StoredQueryId.GET_FOLDERS_FOR_DOCUMENT: (
        "GetFoldersForDocument",
        (named(DocumentEntry, 1), LEVEL),
    ),
    StoredQueryId.GET_RELATED_DOCUMENTS: (
        "GetRelatedDocuments",
        (named(DocumentEntry, 1), ASSOCIATION_TYPES, TYPE, LEVEL),
    ),
}


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Registry, FixedClock]]:
    """A registry whose clock stands still; every example has patients of its own in it."""
    database = fresh_database(tmp_path_factory.mktemp("registry"))
    clock = FixedClock()
    yield Registry(DocumentRegistry(database, IDENTITY, AllowAll(), clock), database, TestClock()), clock
    database.close()


def chosen(history: History, parameters: Sequence[Parameter | list[Parameter]]) -> list[Asked]:
    """Random groups of values for all parameters that must be given and for some of the rest."""
    optional = [item for item in parameters if isinstance(item, Parameter) and not item.required]
    wanted = history.some(optional, 3)
    asked: list[Asked] = []
    for item in parameters:
        parameter = history.pick(item) if isinstance(item, list) else item
        if parameter.required or parameter in wanted:
            groups = range(history.draw(st.integers(1, parameter.groups)))
            values = parameter.values(history)
            asked += [(parameter, history.some(values, parameter.most, parameter.least)) for _ in groups]
    return asked


def sweep(history: History, query: StoredQueryId) -> None:
    """Every value of what must be given; where that finds something, also with every single value of each other parameter."""
    parameters = QUERIES[query][1]
    required = [item if isinstance(item, list) else [item] for item in parameters if isinstance(item, list) or item.required]
    optional = [item for item in parameters if isinstance(item, Parameter) and not item.required]
    both = BOTH_TYPES if TYPE in optional else []
    for asked in itertools.product(*([each for item in items for each in each_value(history, item)] for items in required)):
        found = compare(history, query, [*asked, *both], full=True)
        if found and all(parameter is items[0] for (parameter, _), items in zip(asked, required, strict=True)):
            compare(history, query, asked, full=True)
            for parameter in optional:
                for one in each_value(history, parameter):
                    compare(history, query, [*asked, *(both if parameter is not TYPE else ()), one], full=False)


def each_value(history: History, parameter: Parameter) -> list[Asked]:
    values = list(dict.fromkeys(parameter.values(history)))
    return [(parameter, [value]) for value in values] if parameter.least == 1 else [(parameter, values)]


def written(asked: Asked, cut: int = 0) -> tuple[str, ...]:
    """The values of one slot. A list may be spread over several: the first one has `cut` elements."""
    parameter, group = asked
    texts = ["'" + value.replace("'", "''") + "'" if parameter.quoted else value for value in group]
    if parameter.most == 1:
        return tuple(texts)
    return tuple(f"({','.join(part)})" for part in (texts[:cut], texts[cut:]) if part)


def compare(history: History, query: StoredQueryId, asked: Sequence[Asked], *, full: bool, cut: int = 0) -> bool:
    """Registry and model agree; True when they found something."""
    name = QUERIES[query][0]
    values: dict[str, list[Sequence[str]]] = {}
    for parameter, group in asked:
        values.setdefault(parameter.name, []).append(group)
    slots = tuple((parameter.name, written((parameter, group), cut)) for parameter, group in asked)
    model = history.model
    answer = history.registry.actor.query(RawQuery(query, "LeafClass" if full else "ObjectRef", slots), CALLER)
    expected = model.answer(name, values, full=full)
    if isinstance(expected, ErrorCode):
        assert {error.code for error in answer.response.errors} == {expected}, (name, values)
        return True
    assert answer.response.succeeded, (name, values, answer.response.errors)
    found = [item.id for item in (answer.references if answer.as_refs else answer.objects)]
    assert len(found) == len(set(found)), (name, values)
    assert set(found) == expected, (name, values)
    for item in read_back(answer.objects) if full else ():
        wanted = model.objects[item.id]
        assert item.status is wanted.status
        assert getattr(item, "patient_id", None) == model.patient_of(wanted.object)
        if isinstance(item, Folder):
            assert item.last_update_time == wanted.last_update_time
    return bool(expected)


PROFILE = settings(
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
    phases=[Phase.generate, Phase.shrink],
)


@settings(PROFILE, max_examples=50)
@given(st.data())
def test_submissions_do_what_they_do_in_the_model(registry: tuple[Registry, FixedClock], data: st.DataObject) -> None:
    """Everything of every patient is the same in the end: statuses, folders and their times, and associations."""
    history = History(data.draw, *registry)
    for _ in range(data.draw(st.integers(10, 18))):
        history.act()
    everything = [(parameter, parameter.values(history)) for parameter in GET_ALL if parameter.least > 1] + BOTH_TYPES
    for cx in history.patients:
        compare(history, StoredQueryId.GET_ALL, [(GET_ALL[0], [cx]), *everything], full=True)


@settings(PROFILE, max_examples=8)
@given(st.data())
def test_queries_answer_what_the_model_answers(registry: tuple[Registry, FixedClock], data: st.DataObject) -> None:
    history = History(data.draw, *registry)
    for _ in range(data.draw(st.integers(6, 12))):
        history.act()
    for query in QUERIES:
        sweep(history, query)
    for query in data.draw(st.lists(st.sampled_from(list(QUERIES)), min_size=6, max_size=18)):
        asked = chosen(history, QUERIES[query][1])
        compare(history, query, asked, full=data.draw(st.booleans()), cut=data.draw(st.integers(0, 2)))
