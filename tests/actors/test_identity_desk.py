"""The identity desk: cases, decisions for good, history and undoing; what rules decide is kept with its evidence."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.identity import CALLER, HOSPITAL_A, HOSPITAL_B, HOSPITAL_C, INS, MARIE, Refusing, Region, at
from xds.model.identity_review import DecisionAction, LinkReason, ReviewKind
from xds.model.patient import Address, Demographics, FeedKind, PersonName

A1, A2, B1, C1 = at(HOSPITAL_A, "1"), at(HOSPITAL_A, "2"), at(HOSPITAL_B, "1"), at(HOSPITAL_C, "1")
#: She may be Marie: another spelling of the day of birth, another town.
ALIKE = replace(
    MARIE,
    names=(PersonName("Lefèvre", "Marie", use="L"),),
    birth_date="19620341",
    addresses=(Address(street="9 quai Sud", city="Lille", postal_code="59000"),),
)
TWIN = replace(MARIE, names=(PersonName("Lefèvre", "Anne-Sophie", use="L"),))


@pytest.fixture
def region(tmp_path: Path) -> Iterator[Region]:
    region = Region(tmp_path)
    yield region
    region.close()


def records(region: Region, *identifiers: object) -> list[int]:
    found = [region.pix.desk.record_of(item) for item in identifiers]
    assert None not in found
    return found


def are_one(region: Region) -> bool:
    return region.affinity(A1) == region.affinity(B1)


@pytest.fixture
def linked(region: Region) -> tuple[int, int]:
    """The records of one woman whom the rules linked."""
    region.feed(A1)
    region.feed(B1, source="HOSP_B|ADT")
    assert are_one(region)
    one, other = records(region, A1, B1)
    return one, other


@pytest.fixture
def apart(region: Region) -> tuple[int, int]:
    """The records of two women."""
    region.feed(A1)
    region.feed(B1, demographics=TWIN, source="HOSP_B|ADT")
    assert not are_one(region)
    one, other = records(region, A1, B1)
    return one, other


class TestEvidence:
    def test_a_link_of_the_rules_is_kept_with_what_it_was_decided_on(self, region: Region, linked: tuple[int, int]) -> None:
        (decision,) = region.pix.desk.history(linked[0], CALLER)
        assert (decision.action, decision.reason, decision.by) == (DecisionAction.LINK, LinkReason.DEMOGRAPHICS, "")
        evidence = decision.evidence
        assert evidence.levels["sex"] == 1
        assert evidence.total == pytest.approx(sum(evidence.weights.values()), abs=0.02)
        assert evidence.version
        assert evidence.rule == "weights"

    def test_a_correction_withdraws_a_link_with_its_evidence(self, region: Region, linked: tuple[int, int]) -> None:
        region.feed(B1, kind=FeedKind.REVISE, demographics=TWIN, source="HOSP_B|ADT")
        assert not are_one(region)
        newest = region.pix.desk.history(linked[1], CALLER)[0]
        assert newest.action in (DecisionAction.UNLINK, DecisionAction.REVIEW)
        assert any(item.evidence.veto for item in region.pix.desk.history(linked[1], CALLER))

    def test_a_revision_of_one_of_several_given_names_withdraws_nothing(self, region: Region) -> None:
        """Marie and Claire are one person because a third record lists both names: she stays so."""

        def called(given: str, further: str = "", **stated: object) -> Demographics:
            return replace(MARIE, names=(PersonName("Lefèvre", given, further, use="L"),), **stated)

        region.feed(C1, demographics=called("Marie", "Claire"), source="HOSP_C|ADT")
        region.feed(A1, demographics=called("Marie"))
        region.feed(B1, demographics=called("Claire"), source="HOSP_B|ADT")
        assert are_one(region)
        for identifier, given, source in ((A1, "Marie", "HOSP_A|ADT"), (B1, "Claire", "HOSP_B|ADT")):
            revised = called(given, telephones=("0611223344",))
            region.feed(identifier, kind=FeedKind.REVISE, demographics=revised, source=source)
        assert are_one(region)
        history = [item for record in records(region, A1, B1, C1) for item in region.pix.desk.history(record, CALLER)]
        assert {item.action for item in history} == {DecisionAction.LINK}

    def test_those_whom_only_a_corrected_record_joined_find_each_other_anew(self, region: Region) -> None:
        for identifier, source in ((A1, "HOSP_A|ADT"), (B1, "HOSP_B|ADT"), (C1, "HOSP_C|ADT")):
            region.feed(identifier, source=source)
        region.feed(A1, kind=FeedKind.REVISE, demographics=TWIN)
        assert region.others(B1, HOSPITAL_C) == ["1"]
        assert region.others(A1, HOSPITAL_B, HOSPITAL_C) == []


class TestCases:
    def test_records_that_may_be_one_wait_for_a_person(self, region: Region) -> None:
        region.feed(A1, demographics=replace(MARIE, addresses=()))
        region.feed(A2, demographics=replace(MARIE, addresses=()))
        region.pix.desk.refuse(*records(region, A1, A2), CALLER)
        region.feed(B1, demographics=replace(MARIE, addresses=()), source="HOSP_B|ADT")
        page = region.pix.desk.cases(CALLER)
        assert page.total == len(page.cases) >= 1
        case = page.cases[0]
        assert case.kind is ReviewKind.CANDIDATE
        compared = region.pix.desk.show(case.lower, case.higher, CALLER)
        assert compared.case == case
        assert compared.evidence.total == pytest.approx(case.weight, abs=2)
        assert {item.identifiers[0].value for item in (compared.one, compared.other)} <= {"1", "2"}

    def test_cases_come_in_pages(self, region: Region) -> None:
        for number in range(5):
            one, other = number * 2 + 1, number * 2 + 2
            person = replace(MARIE, birth_date=f"19{30 + 11 * number}0{number + 1}14", addresses=())
            for key, authority in ((one, HOSPITAL_A), (other, HOSPITAL_A)):
                region.feed(at(authority, f"{key}"), demographics=person)
            region.pix.desk.unlink(*records(region, at(HOSPITAL_A, f"{one}"), at(HOSPITAL_A, f"{other}")), CALLER)
        seen, after = [], None
        while True:
            page = region.pix.desk.cases(CALLER, limit=2, after=after)
            seen += [(case.lower, case.higher) for case in page.cases]
            if page.next_page is None:
                break
            after = page.next_page
        assert len(seen) == len(set(seen)) == page.total
        with pytest.raises(ValueError, match="unpack"):
            region.pix.desk.cases(CALLER, after="x")

    def test_the_access_rule_hides_everything(self, tmp_path: Path) -> None:
        region = Region(tmp_path, access=Refusing())
        region.feed(A1)
        region.feed(A2)
        assert region.pix.desk.cases(CALLER).cases == ()
        assert region.pix.desk.show(1, 2, CALLER) is None
        assert region.pix.desk.link(1, 2, CALLER) is None
        assert region.pix.desk.history(1, CALLER) is None
        region.close()

    def test_looking_and_deciding_are_audited(self, region: Region, linked: tuple[int, int]) -> None:
        before = len(region.audited())
        region.pix.desk.show(*linked, CALLER)
        region.pix.desk.refuse(*linked, CALLER)
        actions = [event.action for event in region.audited()[before:]]
        assert sorted(actions) == ["R", "R", "U", "U"]


class TestDecisions:
    def test_two_that_were_declared_two_stay_so_whatever_is_fed(self, region: Region, linked: tuple[int, int]) -> None:
        assert region.pix.desk.refuse(*linked, CALLER, "twins")
        region.feed(B1, kind=FeedKind.REVISE, demographics=replace(MARIE, telephones=("0238112233",)), source="HOSP_B|ADT")
        region.feed(A1, kind=FeedKind.REVISE, demographics=replace(MARIE, telephones=("0238112233",)))
        assert not are_one(region)
        assert region.feed(A1, kind=FeedKind.LINK, linked=(B1,), source="MPI|MPI") == ()
        assert not are_one(region)

    def test_and_survive_a_merge(self, region: Region, linked: tuple[int, int]) -> None:
        region.pix.desk.refuse(*linked, CALLER)
        region.feed(A2)
        region.merge(A1, A2)
        region.feed(A2, kind=FeedKind.REVISE, demographics=replace(MARIE, telephones=("0238112233",)))
        assert region.others(B1, HOSPITAL_A) == []

    def test_two_that_were_declared_one_stay_so_whatever_is_fed(self, region: Region, apart: tuple[int, int]) -> None:
        assert region.pix.desk.link(*apart, CALLER)
        assert are_one(region)
        region.feed(B1, kind=FeedKind.REVISE, demographics=replace(TWIN, birth_date="19991231"), source="HOSP_B|ADT")
        assert are_one(region)

    def test_unlinked_records_wait_for_a_decision(self, region: Region, linked: tuple[int, int]) -> None:
        assert region.pix.desk.unlink(*linked, CALLER)
        assert not are_one(region)
        assert [(case.lower, case.higher) for case in region.pix.desk.cases(CALLER).cases] == [linked]
        assert region.pix.desk.unlink(*linked, CALLER) is None

    def test_every_decision_can_be_undone_once(self, region: Region, linked: tuple[int, int]) -> None:
        desk = region.pix.desk
        refused = desk.refuse(*linked, CALLER)
        assert desk.undo(refused, CALLER)
        assert desk.undo(refused, CALLER) is None
        joined = desk.link(*linked, CALLER)
        assert are_one(region)
        undone = desk.undo(joined, CALLER, "wrong")
        assert not are_one(region)
        history = {item.key: item for item in desk.history(linked[0], CALLER)}
        assert history[joined].undone_by == undone
        assert history[undone].note == "wrong"
        assert history[undone].by == "HOSP_A|ADT"

    def test_a_link_of_the_rules_that_is_undone_does_not_come_back(self, region: Region, linked: tuple[int, int]) -> None:
        (decision,) = region.pix.desk.history(linked[0], CALLER)
        assert region.pix.desk.undo(decision.key, CALLER)
        region.feed(B1, kind=FeedKind.REVISE, demographics=replace(MARIE, telephones=("0238112233",)), source="HOSP_B|ADT")
        assert not are_one(region)

    @pytest.mark.parametrize("pair", [(1, 1), (1, 99)])
    def test_what_does_not_exist_cannot_be_decided(self, region: Region, linked: tuple[int, int], pair: tuple[int, int]) -> None:
        desk = region.pix.desk
        assert desk.link(*pair, CALLER) is None
        assert desk.refuse(*pair, CALLER) is None
        assert desk.undo(99, CALLER) is None

    def test_the_registry_follows_and_turns_back(self, region: Region, apart: tuple[int, int]) -> None:
        first, second = region.affinity(A1), region.affinity(B1)
        decision = region.pix.desk.link(*apart, CALLER)
        assert region.registered(second).surviving_key == region.registered(first).patient_key
        region.pix.desk.undo(decision, CALLER)
        assert region.registered(second).is_active
        assert region.affinity(B1) == second


class TestChangedIdentifiers:
    """Spec: ITI TF-2 3.30 (A47, and A40 of what is not known)."""

    def change(self, region: Region, prior: object, new: object, **more: object) -> tuple:
        return region.feed(new, kind=FeedKind.CHANGE, subsumed=(prior,), **more)

    def test_one_patient_under_another_identifier(self, region: Region) -> None:
        region.feed(A1)
        affinity = region.affinity(A1)
        assert self.change(region, A1, A2) == ()
        assert region.others(affinity, HOSPITAL_A) == ["2"]
        assert region.affinity(A1) == affinity
        assert region.pix.undo_merge(A1, CALLER)
        assert sorted(region.others(affinity, HOSPITAL_A)) == ["1", "2"]

    def test_not_into_an_identifier_of_another_patient(self, region: Region) -> None:
        region.feed(A1)
        region.feed(A2, demographics=TWIN)
        (problem,) = self.change(region, A1, A2)
        assert problem.kind == "duplicate"
        assert region.others(region.affinity(A1), HOSPITAL_A) == ["1"]

    def test_of_an_unknown_one_nothing(self, region: Region) -> None:
        region.feed(A1)
        assert self.change(region, A2, at(HOSPITAL_A, "3")) == ()
        assert len(list(region.pix.persons(CALLER))) == 1

    def test_a_lenient_merge_into_an_unknown_identifier_is_a_change(self, region: Region) -> None:
        region.feed(A1)
        assert region.feed(A2, kind=FeedKind.MERGE, subsumed=(A1,), is_lenient=True) == ()
        assert len(list(region.pix.persons(CALLER))) == 1
        assert region.others(region.affinity(A1), HOSPITAL_A) == ["2"]

    def test_a_lenient_merge_of_an_unknown_identifier_is_nothing(self, region: Region) -> None:
        region.feed(A1)
        assert region.feed(A1, kind=FeedKind.MERGE, subsumed=(A2,), is_lenient=True) == ()
        assert region.pix.affinity_identifier(A2) is None

    def test_sent_again_nothing_happens(self, region: Region) -> None:
        region.feed(A1)
        for _ in range(2):
            assert self.change(region, A1, A2, message_id="C1") == ()
        assert len(region.audited()) == 1 + 2


def test_what_is_too_long_for_an_index_is_refused_by_name(region: Region) -> None:
    (problem,) = region.feed(at(HOSPITAL_A, "1" * 256))
    assert (problem.kind, problem.field, problem.component) == ("invalid", "identifiers", 1)
    assert "255" in problem.text
    assert region.feed(at(HOSPITAL_A, "1" * 255)) == ()


class TestNationalIdentifiers:
    INS = at(HOSPITAL_C.__class__("INS-NIR", "1.2.250.1.213.1.4.8"), "279035121518989", "INS")

    def fed(self, region: Region, *codes: str, identifier: object = None, number: str = "1") -> None:
        region.feed(at(HOSPITAL_A, number), identifier or self.INS, demographics=replace(MARIE, reliability=codes))

    @pytest.mark.parametrize(("codes", "told"), [(("VALI",), True), ((), False), (("PROV",), False), (("DOUT",), False)])
    def test_only_a_qualified_one_leaves_the_house(self, region: Region, codes: tuple[str, ...], told: bool) -> None:
        self.fed(region, *codes)
        assert region.others(A1, self.INS.authority) == (["279035121518989"] if told else [])
        answer = region.pix.cross_reference(self.INS, (HOSPITAL_A,), CALLER)
        assert bool(answer.problems) is not told

    def test_one_of_another_state_leaves_it_unless_its_source_is_in_doubt(self, region: Region) -> None:
        number = at(HOSPITAL_C.__class__("USSSA", "2.16.840.1.113883.4.1"), "078051120", "SS")
        self.fed(region, identifier=number)
        assert region.others(A1, number.authority) == ["078051120"]
        self.fed(region, "DOUT", identifier=number)
        assert region.others(A1, number.authority) == []

    def test_a_wrong_key_is_never_told(self, region: Region) -> None:
        self.fed(region, "VALI", identifier=at(self.INS.authority, "279035121518900", "INS"))
        assert region.others(A1, self.INS.authority) == []

    def test_a_state_that_changes_is_followed(self, region: Region) -> None:
        self.fed(region, "PROV")
        assert region.others(A1, self.INS.authority) == []
        self.fed(region, "VALI")
        assert region.others(A1, self.INS.authority) == ["279035121518989"]

    def test_one_of_a_test_never_equals_a_real_one(self, region: Region) -> None:
        self.fed(region, "VALI")
        test = at(HOSPITAL_C.__class__("INS-TEST", "1.2.250.1.213.1.4.10"), "279035121518989", "INS")
        someone = Demographics(names=(PersonName("ESSAI", "Léa"),), birth_date="19790312", sex="F", reliability=("VALI",))
        region.feed(B1, test, demographics=someone, source="HOSP_B|ADT")
        assert region.others(A1, HOSPITAL_B) == []

    def test_one_that_two_persons_have_means_nobody(self, region: Region) -> None:
        self.fed(region, "VALI")
        region.feed(B1, self.INS, demographics=replace(TWIN, reliability=("VALI",), birth_date="19330101"), source="HOSP_B|ADT")
        if not are_one(region):
            answer = region.pix.cross_reference(self.INS, (), CALLER)
            assert [problem.kind for problem in answer.problems] == ["unknown identifier"]


class TestDuplicates:
    """What one establishment filed twice and the rules joined waits for somebody all the same."""

    @pytest.fixture
    def pair(self, region: Region) -> tuple[int, int]:
        region.feed(A1)
        region.feed(A2)
        assert region.affinity(A1) == region.affinity(A2)
        one, other = records(region, A1, A2)
        return one, other

    def open(self, region: Region) -> list[tuple[int, int]]:
        return [(item.lower, item.higher) for item in region.pix.desk.cases(CALLER, kind=ReviewKind.DUPLICATE).cases]

    def test_it_stands_in_the_queue(self, region: Region, pair: tuple[int, int]) -> None:
        assert self.open(region) == [pair]
        assert region.pix.desk.cases(CALLER, kind=ReviewKind.CANDIDATE).cases == ()
        compared = region.pix.desk.show(*pair, CALLER)
        assert compared is not None
        assert (compared.are_linked, compared.case is not None) == (True, True)

    def test_the_same_qualified_identifier_is_no_exception(self, region: Region) -> None:
        number = at(INS, "149122901900173")
        qualified = replace(MARIE, national_identifiers=(number,), reliability=("QUAL",))
        region.feed(A1, demographics=qualified)
        region.feed(A2, demographics=replace(qualified, addresses=ALIKE.addresses))
        assert region.affinity(A1) == region.affinity(A2)
        assert self.open(region) == [tuple(records(region, A1, A2))]
        region.feed(B1, demographics=replace(qualified, addresses=()), source="HOSP_B|ADT")
        assert region.others(B1, HOSPITAL_A) == ["1", "2"]

    def test_further_messages_do_not_close_it(self, region: Region, pair: tuple[int, int]) -> None:
        for number, identifier in enumerate((A1, A2, A1)):
            told = replace(MARIE, telephones=(f"023811223{number}",))
            region.feed(identifier, kind=FeedKind.REVISE, demographics=told)
        assert region.affinity(A1) == region.affinity(A2)
        assert self.open(region) == [pair]

    def test_a_correction_that_separates_them_closes_it(self, region: Region, pair: tuple[int, int]) -> None:
        region.feed(A2, kind=FeedKind.REVISE, demographics=replace(TWIN, birth_date="19991231"))
        assert region.affinity(A1) != region.affinity(A2)
        assert self.open(region) == []

    @pytest.mark.parametrize("closed_by", ["merge", "link", "refuse"])
    def test_what_closes_it(self, region: Region, pair: tuple[int, int], closed_by: str) -> None:
        if closed_by == "merge":
            assert region.merge(A2, A1) == ()
        else:
            assert getattr(region.pix.desk, closed_by)(*pair, CALLER)
        told = replace(MARIE, telephones=("0238112233",))
        region.feed(A1, kind=FeedKind.REVISE, demographics=told)
        assert self.open(region) == []
        assert (region.affinity(A1) == region.affinity(A2)) is (closed_by != "refuse")

    def test_what_is_separated_waits_on(self, region: Region, pair: tuple[int, int]) -> None:
        assert region.pix.desk.unlink(*pair, CALLER)
        assert [(item.lower, item.higher) for item in region.pix.desk.cases(CALLER).cases] == [pair]
