"""Random histories of an affinity domain, lived through by the real Document Registry and by its model alike.

Values come from small pools, so that they meet: codes that differ in their scheme or in case alone, times of every precision
around the same moments, names with the characters that patterns and quotes are made of.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol, TypeVar

from hypothesis import strategies as st

from tests.actors.registry_fixtures import CALLER, Registry, read_back
from tests.builders import association, document_entry, folder, fresh_uid, has_member, submission_set
from tests.properties.model import APPROVED, DEPENDING, DEPRECATED, REPLACING, RegistryModel
from xds.model.errors import ErrorCode
from xds.model.identifiers import to_dtm
from xds.model.metadata import Association, Author, Code, DocumentEntry, Folder, RegistryObject, Submission
from xds.model.stored_queries import RawQuery
from xds.model.vocabulary import ON_DEMAND, AssociationType, StoredQueryId

T = TypeVar("T")

CODES = (
    Code("A", "1.2.1", "a"),
    Code("A", "1.2.2", "a"),
    Code("B", "1.2.1", "b"),
    Code("a", "1.2.1", "a"),
    Code("it's", "1.2.1", "it's"),
)
PERSONS = ("^Smith^John", "^SMITH^John", "^Sm%th^J_", "^O'Brien^Pat", "^Müller^É", "^A\\T\\B^C", "7^Smith^^^^^^^&1.2.3&ISO", None)
PATTERNS = (
    "%Smith%",
    "%smith%",
    "^Sm_th^%",
    "%",
    "%'%",
    "^M_ller^_",
    "%\\T\\%",
    "^Sm%th^J_",
    "Smith",
    "%^J_hn",
    "%[S]%",
    "_____%",
)
REFERENCES = (
    "R1^^^&1.2.3&ISO^urn:ihe:iti:xds:2013:accession",
    "r1^^^&1.2.3&ISO^urn:ihe:iti:xds:2013:accession",
    "R1^^^&1.2.3&ISO^urn:ihe:iti:xds:2013:order",
    "1.2.3.4^^^^urn:ihe:iti:xds:2016:studyInstanceUID",
)
SOURCES = ("1.2.3.4.8", "1.2.3.4.80")
TIMES = ("2023", "20231231235959", "2024", "20240101", "2024010100", "20240101000001", "202402")
BEGIN = datetime(2026, 1, 2, 3, 4, 50, tzinfo=UTC)

_numbers = itertools.count(1)


class Draw(Protocol):
    """Draws an example of a strategy."""

    def __call__(self, strategy: st.SearchStrategy[T]) -> T: ...


class FixedClock:
    """A clock that moves when told to."""

    def __init__(self) -> None:
        self.now = BEGIN

    def __call__(self) -> datetime:
        return self.now


def fresh_uuid() -> str:
    return f"urn:uuid:5f1c1a2e-0000-4000-8000-{next(_numbers):012x}"


class History:
    """What has happened to the patients of one example; other examples share the database, not the patients."""

    def __init__(self, draw: Draw, registry: Registry, clock: FixedClock) -> None:
        self.draw = draw
        self.registry = registry
        self.model = RegistryModel()
        self.times: list[str] = []
        self._clock = clock
        name = f"P{next(_numbers)}"
        #: Two identifiers that differ in their authority alone, and one that has to be quoted.
        self.patients = [f"{name}^^^&1.2.3.4.5&ISO", f"{name}^^^&1.2.3.4.50&ISO", f"{name}'s^^^&1.2.3.4.5&ISO"]
        for patient in self.patients:
            registry.announce(patient)
            self.model.announce(patient)

    def act(self) -> None:
        """One thing happens, a second or a few after the one before."""
        self._clock.now += timedelta(seconds=self.pick((1, 1, 15)))
        self.times.append(to_dtm(self._clock.now))
        self.pick((self.submit, self.submit, self.submit, self.submit, self.submit_on_demand, self.be_refused, self.merge))()

    def active(self) -> list[str]:
        """Patients that were not subsumed."""
        return [item for item in self.patients if self.model.is_active(item)]

    def pick(self, options: Sequence[T]) -> T:
        return self.draw(st.sampled_from(options))

    def some(self, options: Sequence[T], most: int, least: int = 0) -> list[T]:
        """A few of them, none twice; fewer than `least` only when there are not so many."""
        if not options:
            return []
        numbers = st.integers(0, len(options) - 1)
        least, most = min(least, len(options)), min(most, len(options))
        return [options[number] for number in self.draw(st.lists(numbers, min_size=least, max_size=most, unique=True))]

    # --- what happens

    def merge(self) -> None:
        subsumed, surviving = self.pick(self.patients), self.pick(self.patients)
        self.registry.merge(subsumed, surviving)
        self.model.merge(subsumed, surviving)

    def submit(self) -> None:
        self._submit(on_demand=False)

    def submit_on_demand(self) -> None:
        self._submit(on_demand=True)

    def be_refused(self) -> None:
        """A submission that breaks one rule: it must name it and change nothing."""
        wrong = self.pick((self._for_nobody, self._about_deprecated, self._of_another_patient, self._used_before))()
        if wrong is None:
            return
        code, submission = wrong
        response = self.registry.register(submission)
        assert not response.succeeded
        assert code in {error.code for error in response.errors}

    def _submit(self, *, on_demand: bool) -> None:
        active = self.active()
        patient = self.pick([active[0], active[0], *active])
        documents: list[DocumentEntry] = []
        for _ in range(self.pick((1, 2, 3)) if on_demand else self.pick((1, 1, 2, 3, 0))):
            documents.append(self._document(patient, on_demand, beside=documents))
        folders = [self._folder(patient) for _ in range(self.draw(st.integers(0 if documents else 1, 2)))]
        relationships, going = self._relationships(patient, documents, on_demand)
        inside = self._memberships(patient, documents, folders, going)
        package = submission_set(
            id=fresh_uuid(),
            patient_id=patient,
            source_id=self.pick(SOURCES),
            submission_time=self.pick(TIMES),
            content_type_code=self.pick(CODES),
            authors=self._authors(),
        )
        there = [item for item in self._documents(APPROVED) if item.id not in going]
        members = [_member(package, item) for item in (*documents, *folders, *inside)]
        members += [_member(package, item.id, status="Reference") for item in self.some(there, 1)]
        submission = Submission.of(package, *documents, *folders, *members, *inside, *relationships)
        response = self.registry.actor.register(submission, CALLER, on_demand=on_demand)
        assert response.succeeded, response.errors
        self.model.register(submission, self.times[-1], self._id_of)

    def _id_of(self, source: str, target: str) -> str:
        """The entryUUID of a HasMember that the Registry must have made."""
        query = RawQuery(StoredQueryId.GET_ASSOCIATIONS, "LeafClass", (("uuid", (f"('{source}')",)),))
        found = [
            item.id
            for item in read_back(self.registry.actor.query(query, CALLER).objects)
            if isinstance(item, Association) and (item.source, item.target) == (source, target)
        ]
        assert len(found) == 1, (source, target, found)
        return found[0]

    # --- submissions that must be refused

    def _for_nobody(self) -> tuple[ErrorCode, Submission]:
        gone = [patient for patient in self.patients if not self.model.is_active(patient)]
        patient = self.pick([*gone, "nobody^^^&1.2.3.4.5&ISO"])
        return ErrorCode.UNKNOWN_PATIENT_ID, _simple(self._document(patient), patient)

    def _about_deprecated(self) -> tuple[ErrorCode, Submission] | None:
        targets = self._documents(DEPRECATED)
        if not targets:
            return None
        target = self.pick(targets)
        patient = self.model.patient_of(target) or ""
        new = self._document(patient)
        kind = self.pick((AssociationType.RPLC, AssociationType.APND, AssociationType.XFRM, AssociationType.XFRM_RPLC))
        return ErrorCode.REGISTRY_DEPRECATED_DOCUMENT, _simple(new, patient, association(kind, new, target, id=fresh_uuid()))

    def _of_another_patient(self) -> tuple[ErrorCode, Submission] | None:
        targets = [item for item in self._documents(APPROVED) if not item.is_on_demand]
        if not targets:
            return None
        target = self.pick(targets)
        others = [item for item in self.active() if item != self.model.patient_of(target)]
        if not others:
            return None
        patient = self.pick(others)
        new = self._document(patient)
        return ErrorCode.PATIENT_ID_DOES_NOT_MATCH, _simple(
            new, patient, association(AssociationType.RPLC, new, target, id=fresh_uuid())
        )

    def _used_before(self) -> tuple[ErrorCode, Submission] | None:
        there = [item for item in self._documents() if not item.is_on_demand]
        sets = self.model.submission_sets()
        if not there or not sets:
            return None
        patient = self.pick(self.active())
        if self.draw(st.booleans()):
            other = document_entry(id=fresh_uuid(), patient_id=patient, unique_id=self.pick(there).unique_id, hash="0" * 40)
            return ErrorCode.NON_IDENTICAL_HASH, _simple(other, patient)
        package = submission_set(id=fresh_uuid(), patient_id=patient, unique_id=self.pick(sets).unique_id)
        new = self._document(patient)
        return ErrorCode.DUPLICATE_UNIQUE_ID_IN_REGISTRY, Submission.of(package, new, _member(package, new))

    # --- parts of submissions

    def _documents(self, *statuses: Any, patient: str | None = None) -> list[DocumentEntry]:
        return [
            item
            for item in self.model.documents()
            if (not statuses or self.model.objects[item.id].status in statuses)
            and (patient is None or self.model.patient_of(item) == patient)
        ]

    def _codes(self, most: int, least: int = 0) -> tuple[Code, ...]:
        return tuple(self.some(CODES, most, least))

    def _authors(self) -> tuple[Author, ...]:
        persons = self.draw(st.lists(st.sampled_from(PERSONS), max_size=2))
        return tuple(Author(person, ("Hospital",), (), (), ()) for person in persons)

    def _document(self, patient: str, on_demand: bool = False, beside: Sequence[DocumentEntry] = ()) -> DocumentEntry:
        taken = {item.unique_id for item in beside}
        times = sorted(self.draw(st.lists(st.sampled_from(TIMES), min_size=2, max_size=2)), key=lambda time: time.ljust(14, "0"))
        known = (
            []
            if on_demand
            else [item.unique_id for item in self._documents() if not item.is_on_demand and item.unique_id not in taken]
        )
        again = known and self.draw(st.integers(0, 5)) == 5
        facts = {"object_type": ON_DEMAND, "creation_time": None, "hash": None, "size": None} if on_demand else {}
        facts = {"creation_time": self.pick(TIMES)} | facts
        return document_entry(
            id=fresh_uuid(),
            patient_id=patient,
            unique_id=self.pick(known) if again else fresh_uid(),
            authors=self._authors(),
            class_code=self.pick(CODES),
            type_code=self.pick(CODES),
            format_code=self.pick(CODES),
            practice_setting_code=self.pick(CODES),
            healthcare_facility_type_code=self.pick(CODES),
            confidentiality_codes=self._codes(2, least=1),
            event_codes=self._codes(3),
            reference_ids=tuple(self.some(REFERENCES, 2)) or None,
            service_start_time=self.pick((None, times[0])),
            service_stop_time=self.pick((None, times[1])),
            **facts,
        )

    def _folder(self, patient: str) -> Folder:
        return folder(id=fresh_uuid(), patient_id=patient, code_list=self._codes(2, least=1), last_update_time="2020")

    def _relationships(
        self, patient: str, documents: Sequence[DocumentEntry], on_demand: bool
    ) -> tuple[list[Association], set[str]]:
        """Relationships of some of the new documents, and the documents that will be deprecated by them."""
        kinds = [
            AssociationType.APND,
            AssociationType.APND,
            AssociationType.XFRM,
            AssociationType.RPLC,
            AssociationType.XFRM_RPLC,
        ]
        kinds += [] if on_demand else [AssociationType.SIGNS, AssociationType.IS_SNAPSHOT_OF]
        made: list[Association] = []
        going: set[str] = set()
        for document in documents:
            kind = self.pick((*kinds, None))
            for _ in range(self.pick((1, 2, 2)) if kind else 0):
                targets = self._targets(kind, patient, {item.target for item in made}, going)
                if targets:
                    made.append(association(kind, document, self.pick(targets), id=fresh_uuid()))
                if targets and kind in REPLACING:
                    going |= self.model.depending_on(made[-1].target)
        return made, going

    def _targets(self, kind: AssociationType, patient: str, used: set[str], going: set[str]) -> list[str]:
        """What a relationship may point to; often only those for which more follows from it."""
        targets = [
            item.id
            for item in self._documents(APPROVED, patient=patient)
            if item.is_on_demand == (kind is AssociationType.IS_SNAPSHOT_OF) and item.id not in going | used
        ]
        if kind in REPLACING:
            targets = [item for item in targets if not self.model.depending_on(item) & used]
        if kind is AssociationType.APND:
            transformations = self.model.transformations()
            targets = [item for item in targets if item not in transformations]
        preferred = {
            "with parts": [item for item in targets if len(self.model.depending_on(item)) > 1],
            "in folders": [item for item in targets if self.model.folders_of(item)],
            "parts": [
                item.source for item in self.model.associations() if item.association_type in DEPENDING and item.source in targets
            ],
            "all": targets,
        }
        return preferred[self.pick(list(preferred))] or targets

    def _memberships(
        self, patient: str, documents: Sequence[DocumentEntry], folders: Sequence[Folder], going: set[str]
    ) -> list[Association]:
        """Memberships in new and old folders of some documents that are new or there already."""
        there = [item for item in self.model.folders() if self.model.patient_of(item) == patient]
        known = {(item.source, item.target) for item in self.model.associations()}
        old = [item for item in self._documents(APPROVED, patient=patient) if item.id not in going]
        pairs = [
            (package, document)
            for package in self.some([*folders, *there], 2, least=1)
            for document in (*self.some(documents, 2, least=1), *self.some(old, 1))
        ]
        return [has_member(*pair, id=fresh_uuid()) for pair in pairs if (pair[0].id, pair[1].id) not in known]


def _member(source: RegistryObject | str, target: RegistryObject | str, **more: Any) -> Association:
    return has_member(source, target, id=fresh_uuid(), **more)


def _simple(document: DocumentEntry, patient: str, *others: Association) -> Submission:
    package = submission_set(id=fresh_uuid(), patient_id=patient)
    return Submission.of(package, document, _member(package, document), *others)
