"""Demographics queries. Spec: ITI TF-2 3.21, 3.22, 3.47; PDQm."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import insert

from tests.identity import AFFINITY, CALLER, CONFIGURED, HOSPITAL_A, HOSPITAL_B, HOSPITAL_C, INS, MARIE, Refusing, Region, at
from xds.model.caller import Action, Caller, Resource
from xds.model.demographics_query import (
    DEMOGRAPHICS_QUERY,
    Comparison,
    DateRange,
    DemographicsAnswer,
    DemographicsQuery,
    IdentifierPattern,
    NamePattern,
    PageRequest,
    TextPattern,
)
from xds.model.identifiers import AssigningAuthority
from xds.model.patient import Demographics, FeedKind, IdentityProblemKind, IdentityQuery, PersonName
from xds.store.schema.identity import person

pytestmark = pytest.mark.usefixtures("back_end")

SOURCE_B = "HOSP_B|ADT"
DAY = (DateRange("19620314", "19620314"),)


@pytest.fixture
def build(tmp_path: Path) -> Iterator[Callable[..., Region]]:
    regions: list[Region] = []

    def make(**options: object) -> Region:
        regions.append(Region(tmp_path, **options))
        return regions[-1]

    yield make
    for region in regions:
        region.close()


@pytest.fixture
def region(build: Callable[..., Region]) -> Region:
    return build()


def named(family: str = "", given: str = "", how: Comparison = Comparison.EXACT) -> tuple[tuple[NamePattern, ...], ...]:
    return ((NamePattern(*(TextPattern(part, how) if part else None for part in (family, given))),),)


def somebody(family: str, given: str, birth_date: str, **more: object) -> Demographics:
    return Demographics(names=(PersonName(family, given, use="L"),), birth_date=birth_date, **more)


def ask(region: Region, page: PageRequest | None = None, **criteria: object) -> DemographicsAnswer:
    answer = region.supplier.search(DemographicsQuery(**criteria), page or PageRequest(), CALLER)
    assert answer.problems == ()
    return answer


def values(answer: DemographicsAnswer) -> list[list[str]]:
    """The hospitals' identifiers of each match."""
    return [[item.value for item in match.identifiers if item.authority.oid != AFFINITY.oid] for match in answer.matches]


def asking(tag: str = "Q1", source: str = "CLINIC|VIEWER") -> IdentityQuery:
    return IdentityQuery(source, "XDS|PDQ", "M1", tag, "QPD|...", DEMOGRAPHICS_QUERY)


class TestSearch:
    def test_one_patient_with_all_her_identifiers_and_names(self, region: Region) -> None:
        region.feed(at(HOSPITAL_A, "a1"))
        married = replace(MARIE, names=(*MARIE.names, PersonName("Durand", "Marie-Hélène", use="D")), telephones=("0238112233",))
        region.feed(at(HOSPITAL_B, "b1"), demographics=married, source=SOURCE_B)
        for criteria in (
            {"names": named("lefevre"), "birth_dates": DAY},
            {"names": named("DURAND", "marie helene")},
            {"names": named("lef", how=Comparison.PREFIX), "birth_dates": (DateRange("19620101", "19621231"),)},
            {"telephones": ((TextPattern("+33238112233"),),)},
            {"identifiers": ((IdentifierPattern("b1", AssigningAuthority("HOSP_B")),),)},
            {"birth_dates": DAY, "sexes": ("F",)},
            {"names": named("Lephaivre", how=Comparison.FUZZY)},
        ):
            answer = ask(region, **criteria)
            assert values(answer) == [["a1", "b1"]], criteria
            assert answer.total == 1
            assert [name.family for name in answer.matches[0].demographics.names] == ["Lefèvre", "Durand"]

    def test_nobody(self, region: Region) -> None:
        region.feed(at(HOSPITAL_A, "a1"))
        answer = ask(region, names=named("Martin"))
        assert (answer.matches, answer.total, answer.next_page) == ((), 0, None)
        assert ask(region, identifiers=((IdentifierPattern("a1", HOSPITAL_C),),)).matches == ()

    def test_traits_of_different_sources_meet_one_query(self, region: Region) -> None:
        region.feed(at(HOSPITAL_A, "a1"), demographics=replace(MARIE, telephones=("0238112233",)))
        region.feed(at(HOSPITAL_B, "b1"), demographics=replace(MARIE, sex="F", mother_maiden_name="Petit"), source=SOURCE_B)
        both = ask(region, telephones=((TextPattern("0238112233"),),), mothers_maiden_names=(TextPattern("petit"),))
        assert values(both) == [["a1", "b1"]]

    def test_a_correction_counts_at_once(self, region: Region) -> None:
        region.feed(at(HOSPITAL_A, "a1"))
        region.feed(
            at(HOSPITAL_A, "a1"), kind=FeedKind.REVISE, demographics=replace(MARIE, names=(PersonName("Durand", "Marie"),))
        )
        assert ask(region, names=named("lefevre")).matches == ()
        assert values(ask(region, names=named("durand"))) == [["a1"]]

    def test_a_merge_leaves_the_surviving_patient(self, region: Region) -> None:
        region.feed(at(HOSPITAL_A, "a1"))
        region.feed(at(HOSPITAL_A, "a2"), demographics=somebody("Martin", "Paule", "19700101"))
        assert region.merge(at(HOSPITAL_A, "a2"), at(HOSPITAL_A, "a1")) == ()
        assert ask(region, names=named("martin")).matches == ()
        for value in ("a1", "a2"):
            assert values(ask(region, identifiers=((IdentifierPattern(value, HOSPITAL_A),),))) == [["a1"]]

    def test_a_fuzzy_query_gives_confidences_the_best_first(self, region: Region) -> None:
        region.feed(at(HOSPITAL_A, "a1"), demographics=somebody("Dupond", "Jean", "19700101"))
        region.feed(at(HOSPITAL_A, "a2"), demographics=somebody("Dupont", "Jean", "19800101"))
        answer = ask(region, names=named("Dupont", "Jean", Comparison.FUZZY))
        assert values(answer) == [["a2"], ["a1"]]
        scores = [match.score or 0 for match in answer.matches]
        assert scores[0] == 100 > scores[1] > 0
        assert values(ask(region, names=named("Dupont", "Jean", Comparison.FUZZY), minimum_score=100)) == [["a2"]]
        assert ask(region, names=named("Dupont")).matches[0].score is None

    def test_the_last_visit(self, region: Region) -> None:
        region.feed(at(HOSPITAL_A, "a1"), visit={"PV1.2": "I", "PV1.3.2": "389", "PV1.3.3": "1"})
        region.feed(at(HOSPITAL_A, "a1"), kind=FeedKind.REVISE, visit={"PV1.2": "I", "PV1.3.2": "389", "PV1.3.3": "2"})
        asked = {"PV1.3.2": TextPattern("389"), "PV1.3.3": TextPattern("2")}
        (match,) = ask(region, visit=asked).matches
        assert match.visit == {"PV1.2": "I", "PV1.3.2": "389", "PV1.3.3": "2"}
        assert ask(region, visit={**asked, "PV1.3.3": TextPattern("1")}).matches == ()

    def test_the_identifier_of_a_state_stays_inside_until_it_is_qualified(self, region: Region) -> None:
        number = at(INS, "262034500100129", "NH")
        region.feed(at(HOSPITAL_A, "a1"), number, demographics=replace(MARIE, reliability=("PROV",)))
        assert values(ask(region, names=named("lefevre"))) == [["a1"]]
        assert ask(region, names=named("lefevre")).matches[0].demographics.national_identifiers == ()
        assert ask(region, identifiers=((IdentifierPattern(number.value, INS),),)).matches == ()
        region.feed(at(HOSPITAL_A, "a1"), number, kind=FeedKind.REVISE, demographics=replace(MARIE, reliability=("VALI",)))
        assert len(ask(region, identifiers=((IdentifierPattern(number.value, INS),),)).matches) == 1
        assert len(values(ask(region, names=named("lefevre")))[0]) == 2

    def test_the_middle_of_a_name_is_looked_for_in_a_small_register_alone(self, region: Region) -> None:
        region.feed(at(HOSPITAL_A, "a1"))
        middle = named("*fevr*", how=Comparison.WILDCARD)
        assert values(ask(region, names=middle)) == [["a1"]]
        region.database.write(
            lambda connection: connection.execute(insert(person).values(person_key=10**6, cluster_key=10**6, created=0))
        )
        answer = region.supplier.search(DemographicsQuery(names=middle), PageRequest(), CALLER)
        assert [(item.field, item.kind) for item in answer.problems] == [("criteria", IdentityProblemKind.INVALID)]
        assert values(ask(region, names=middle, birth_dates=DAY)) == [["a1"]]


class TestDomains:
    def test_a_namespace_that_becomes_known_is_asked_by_at_once(self, build: Callable[..., Region]) -> None:
        region = build()
        only_oid = AssigningAuthority(None, HOSPITAL_C.oid)
        region.feed(at(only_oid, "c1"))
        assert len(ask(region, identifiers=((IdentifierPattern("c1", only_oid),),)).matches) == 1
        region.feed(at(HOSPITAL_C, "c1"), kind=FeedKind.REVISE)
        by_name = IdentifierPattern("c1", AssigningAuthority(HOSPITAL_C.namespace))
        assert len(ask(region, identifiers=((by_name,),)).matches) == 1

    def test_a_namespace_that_becomes_known_is_answered_at_once(self, region: Region) -> None:
        region.feed(at(AssigningAuthority(None, HOSPITAL_C.oid), "c7"))
        query = DemographicsQuery(names=named("lefevre"))
        assert (
            at(AssigningAuthority(None, HOSPITAL_C.oid), "c7")
            in region.supplier.search(query, PageRequest(), CALLER).matches[0].identifiers
        )
        region.feed(at(HOSPITAL_C, "c8"), demographics=somebody("Martin", "Jeanne", "19700101"))
        assert at(HOSPITAL_C, "c7") in region.supplier.search(query, PageRequest(), CALLER).matches[0].identifiers

    def test_only_those_asked_for_are_answered(self, region: Region) -> None:
        region.feed(at(HOSPITAL_A, "a1"))
        region.feed(at(HOSPITAL_B, "b1"), source=SOURCE_B)
        region.feed(at(HOSPITAL_C, "c1"), demographics=somebody("Martin", "Paul", "19500505"), source="HOSP_C|ADT")
        (match,) = ask(region, names=named("lefevre"), domains=(AssigningAuthority(oid=HOSPITAL_B.oid), HOSPITAL_C)).matches
        assert match.identifiers == (at(HOSPITAL_B, "b1"),)
        assert match.missing == (HOSPITAL_C,)

    def test_all_that_is_wrong_is_told_at_once(self, region: Region) -> None:
        region.feed(at(HOSPITAL_A, "a1"))
        unknown = [AssigningAuthority("X"), HOSPITAL_A, AssigningAuthority(None, "1.9")]
        answer = region.supplier.search(DemographicsQuery(domains=tuple(unknown), sexes=("F",)), PageRequest(), CALLER)
        told = [(item.field, item.kind, item.repetition) for item in answer.problems]
        assert told == [
            ("criteria", IdentityProblemKind.REQUIRED_MISSING, 1),
            ("domains", IdentityProblemKind.UNKNOWN_DOMAIN, 1),
            ("domains", IdentityProblemKind.UNKNOWN_DOMAIN, 3),
        ]
        assert answer.matches == ()

    def test_a_configured_domain_without_patients_is_known(self, build: Callable[..., Region]) -> None:
        region = build(domains=CONFIGURED)
        region.feed(at(HOSPITAL_A, "a1"))
        (match,) = ask(region, names=named("lefevre"), domains=(HOSPITAL_B,)).matches
        assert (match.identifiers, match.missing) == ((), (HOSPITAL_B,))


@pytest.fixture
def crowd(region: Region) -> Region:
    """Seven people of one name."""
    for number in range(7):
        region.feed(at(HOSPITAL_A, f"a{number}"), demographics=somebody("Martin", f"Anne{number}", f"19{number}00101"))
    return region


def follow(
    region: Region, first: DemographicsAnswer, page: PageRequest, query: DemographicsQuery
) -> Iterator[DemographicsAnswer]:
    answer = first
    while answer.next_page:
        answer = region.supplier.search(query, replace(page, after=answer.next_page), CALLER, asking())
        yield answer


class TestPages:
    query = DemographicsQuery(names=named("martin"))
    page = PageRequest(3, query_tag="Q1")

    def test_every_patient_stands_on_one_page(self, crowd: Region) -> None:
        first = crowd.supplier.search(self.query, self.page, CALLER, asking())
        pages = [first, *follow(crowd, first, self.page, self.query)]
        assert [len(page.matches) for page in pages] == [3, 3, 1]
        assert {page.total for page in pages} == {7}
        assert sorted(value for page in pages for (value,) in values(page)) == [f"a{number}" for number in range(7)]

    def test_pages_stay_together_when_the_register_changes(self, crowd: Region) -> None:
        first = crowd.supplier.search(self.query, self.page, CALLER, asking())
        crowd.feed(at(HOSPITAL_A, "a9"), demographics=somebody("Martin", "Zoé", "19990101"))
        crowd.merge(at(HOSPITAL_A, "a5"), at(HOSPITAL_A, "a0"), demographics=somebody("Martin", "Anne0", "19000101"))
        rest = list(follow(crowd, first, self.page, self.query))
        assert [value for page in rest for (value,) in values(page)] == ["a3", "a4", "a6"]

    def test_a_pointer_that_nobody_gave(self, crowd: Region) -> None:
        first = crowd.supplier.search(self.query, self.page, CALLER, asking())
        pointer = first.next_page or ""
        wrong = [
            (replace(self.page, after="x"), asking()),
            (replace(self.page, after=f"{pointer}9"), asking()),
            (replace(self.page, after=pointer.replace(".", ".-")), asking()),
            (replace(self.page, after=pointer), asking(source="OTHER|SYSTEM")),
            (replace(self.page, after=pointer, query_tag="Q2"), asking()),
        ]
        for page, asked in wrong:
            answer = crowd.supplier.search(self.query, page, CALLER, asked)
            assert [item.field for item in answer.problems] == ["page"]
        assert crowd.supplier.search(self.query, replace(self.page, after=pointer), CALLER, asking()).problems == ()

    def test_a_cancelled_query_is_forgotten(self, crowd: Region) -> None:
        first = crowd.supplier.search(self.query, self.page, CALLER, asking())
        assert not crowd.supplier.cancel("Q1", "OTHER|SYSTEM", CALLER)
        assert crowd.supplier.cancel("Q1", asking().source, CALLER)
        assert not crowd.supplier.cancel("Q1", asking().source, CALLER)
        answer = crowd.supplier.search(self.query, replace(self.page, after=first.next_page), CALLER, asking())
        assert [item.field for item in answer.problems] == ["page"]

    def test_going_on_without_the_query(self, crowd: Region) -> None:
        crowd.supplier.search(self.query, self.page, CALLER, asking())
        answer = crowd.supplier.resume(PageRequest(2, query_tag="Q1"), CALLER, asking(), start=5)
        assert values(answer) == [["a5"], ["a6"]]
        assert (answer.total, answer.next_page) == (7, None)
        following = crowd.supplier.resume(PageRequest(2, query_tag="Q1"), CALLER, asking(), start=3).next_page
        assert values(crowd.supplier.resume(PageRequest(2, following, "Q1"), CALLER, asking())) == [["a5"], ["a6"]]
        unknown = crowd.supplier.resume(PageRequest(2, query_tag="Q9"), CALLER, asking("Q9"), start=5)
        assert [item.field for item in unknown.problems] == ["page"]

    def test_an_answer_is_kept_for_an_hour(self, crowd: Region) -> None:
        first = crowd.supplier.search(self.query, self.page, CALLER, asking())
        for _ in range(3700):
            crowd.clock()
        answer = crowd.supplier.search(self.query, replace(self.page, after=first.next_page), CALLER, asking())
        assert [item.field for item in answer.problems] == ["page"]

    def test_more_than_is_ever_answered(self, build: Callable[..., Region]) -> None:
        region = build(supplier={"max_results": 4, "page_size": 2})
        for number in range(6):
            region.feed(at(HOSPITAL_A, f"a{number}"), demographics=somebody("Martin", f"Anne{number}", f"19{number}00101"))
        first = ask(region, names=named("martin"))
        assert (len(first.matches), first.total, first.incomplete) == (2, None, True)
        last = ask(region, PageRequest(after=first.next_page), names=named("martin"))
        assert (len(last.matches), last.next_page, last.incomplete) == (2, None, True)


class Selecting:
    """An access rule that hides a patient."""

    def __init__(self) -> None:
        self.hidden = ""
        self.asked: list[str] = []

    def permits(self, caller: Caller, action: Action, resources: Sequence[Resource]) -> Sequence[bool]:
        """Everything but that one."""
        self.asked += [item.patient_id for item in resources]
        return [item.patient_id != self.hidden for item in resources]


class TestAccess:
    def test_the_rule_is_asked_for_each_match(self, build: Callable[..., Region]) -> None:
        rule = Selecting()
        region = build(access=rule)
        for number in range(3):
            region.feed(at(HOSPITAL_A, f"a{number}"), demographics=somebody("Martin", f"Anne{number}", f"19{number}00101"))
        hidden = region.affinity(at(HOSPITAL_A, "a1"))
        rule.hidden, rule.asked = hidden.to_cx(), []
        answer = ask(region, names=named("martin"))
        assert (values(answer), answer.total) == ([["a0"], ["a2"]], 2)
        assert len(set(rule.asked)) == 3
        assert values(ask(region, PageRequest(1), names=named("martin"))) == [["a0"]]
        match = region.supplier.match(somebody("Martin", "Anne1", "19100101"), (at(HOSPITAL_A, "a1"),), CALLER)
        assert ["a1"] not in values(match)

    def test_nobody_is_seen_whom_the_caller_may_not_see(self, build: Callable[..., Region]) -> None:
        region = build(access=Refusing())
        region.feed(at(HOSPITAL_A, "a1"))
        answer = ask(region, names=named("lefevre"))
        assert (answer.matches, answer.total) == ((), 0)
        assert region.supplier.person(1, CALLER) is None


class TestAudit:
    def test_a_query_with_those_who_were_answered(self, region: Region) -> None:
        region.feed(at(HOSPITAL_A, "a1"))
        region.supplier.search(DemographicsQuery(names=named("lefevre")), PageRequest(), CALLER, asking())
        event = region.audited()[-1]
        assert (event.event_type.code, event.outcome) == ("ITI-21", "0")
        assert [item.role for item in event.objects] == ["1", "24"]
        assert event.objects[1].query == "QPD|..."

    def test_a_refusal(self, region: Region) -> None:
        region.supplier.search(DemographicsQuery(sexes=("F",)), PageRequest(), CALLER, asking())
        event = region.audited()[-1]
        assert (event.outcome, [item.role for item in event.objects]) == ("4", ["24"])


class TestPerson:
    def test_by_her_key(self, region: Region) -> None:
        region.feed(at(HOSPITAL_A, "a1"))
        (match,) = ask(region, names=named("lefevre")).matches
        assert region.supplier.person(match.key, CALLER) == match
        assert ask(region, keys=(match.key,)).matches == (match,)
        assert region.supplier.person(match.key + 1, CALLER) is None

    def test_which_source_each_attribute_came_from(self, build: Callable[..., Region]) -> None:
        region = build(domains=CONFIGURED)
        region.feed(at(HOSPITAL_A, "a1"), demographics=replace(MARIE, reliability=("VALI",)))
        region.feed(at(HOSPITAL_B, "b1"), demographics=replace(MARIE, language="fr"), source=SOURCE_B)
        (match,) = ask(region, names=named("lefevre")).matches
        golden = region.supplier.golden(match.key, CALLER)
        assert golden is not None
        assert golden.demographics == match.demographics
        assert (golden.sources["names"], golden.sources["language"]) == ("HOSP_A|ADT", "HOSP_B|ADT")
        assert region.supplier.golden(match.key + 9, CALLER) is None

    def test_the_key_of_somebody_who_was_merged_away(self, region: Region) -> None:
        region.feed(at(HOSPITAL_A, "a1"))
        region.feed(at(HOSPITAL_A, "a2"), demographics=somebody("Martin", "Paule", "19700101"))
        (survivor,), (prior,) = ask(region, names=named("lefevre")).matches, ask(region, names=named("martin")).matches
        region.merge(at(HOSPITAL_A, "a2"), at(HOSPITAL_A, "a1"))
        gone = region.supplier.person(prior.key, CALLER)
        assert gone is not None
        assert (gone.key, gone.active, gone.replaced_by, gone.identifiers) == (prior.key, False, survivor.key, ())
        both = (prior.key, survivor.key)
        assert [match.key for match in ask(region, keys=both).matches] == list(both)
        assert [match.key for match in ask(region, keys=both, active=True).matches] == [survivor.key]
        assert ask(region, keys=both, active=False).matches == (gone,)
        assert ask(region, keys=both, names=named("martin")).matches == ()


class TestMatch:
    def match(self, region: Region, described: Demographics, *identifiers: object, **options: object) -> DemographicsAnswer:
        answer = region.supplier.match(described, identifiers, CALLER, **options)
        assert answer.problems == ()
        return answer

    def test_the_likeliest_first(self, region: Region) -> None:
        region.feed(at(HOSPITAL_A, "a1"))
        twin = replace(MARIE, names=(PersonName("Lefèvre", "Anne"),))
        region.feed(at(HOSPITAL_A, "a2"), demographics=twin)
        answer = self.match(region, MARIE)
        assert values(answer)[0] == ["a1"]
        scores = [item.score or 0 for item in answer.matches]
        assert scores == sorted(scores, reverse=True)
        assert scores[0] >= 95

    def test_who_has_the_identifier_goes_first(self, region: Region) -> None:
        region.feed(at(HOSPITAL_A, "a1"))
        region.feed(at(HOSPITAL_A, "a2"), demographics=somebody("Martin", "Paule", "19700101"))
        answer = self.match(region, Demographics(), at(HOSPITAL_A, "a2"))
        assert (values(answer), answer.matches[0].score) == ([["a2"]], 100)

    def test_only_a_certain_match(self, region: Region) -> None:
        region.feed(at(HOSPITAL_A, "a1"))
        assert values(self.match(region, MARIE, only_certain=True)) == [["a1"]]
        # The affinity domain's own source says that they are two.
        region.feed(at(AFFINITY, "p1"), at(HOSPITAL_A, "a1"))
        region.feed(at(AFFINITY, "p2"), at(HOSPITAL_A, "a2"))
        assert values(self.match(region, MARIE)) == [["a1"], ["a2"]]
        assert self.match(region, MARIE, only_certain=True).matches == ()

    def test_how_many(self, region: Region) -> None:
        for number in range(3):
            region.feed(at(AFFINITY, f"p{number}"), at(HOSPITAL_A, f"a{number}"))
        assert len(self.match(region, MARIE).matches) == 3
        answer = self.match(region, MARIE, count=2)
        assert (len(answer.matches), answer.total) == (2, 3)

    def test_a_record_that_says_too_little(self, region: Region) -> None:
        answer = region.supplier.match(Demographics(sex="F"), (), CALLER)
        assert [(item.field, item.kind) for item in answer.problems] == [("criteria", IdentityProblemKind.REQUIRED_MISSING)]
