"""What follows from comparisons: joining, reviewing, and never chaining."""

from __future__ import annotations

from dataclasses import replace

from tests.rules.linkage.people import ELSEWHERE, JEAN, MARIE, decided, identified, member, named
from xds.model.patient import PersonName
from xds.rules.linkage import DEFAULT_WEIGHTS, Member, Register, Veto, decide


class TestLinks:
    def test_the_same_traits_link(self) -> None:
        decision = decided(member(1, JEAN), [member(2, JEAN)])
        assert [(item.group, item.person_key) for item in decision.link] == [(0, 2)]
        assert decision.review == ()

    def test_strangers_are_neither_linked_nor_looked_at(self) -> None:
        decision = decided(member(1, JEAN), [member(2, MARIE)])
        assert (decision.link, decision.review) == ((), ())

    def test_without_traits_there_is_nothing_to_say(self) -> None:
        assert decided(member(1), [member(2, JEAN)]) == decided(member(1), [])

    def test_little_evidence_is_looked_at(self) -> None:
        moved = named(MARIE, "Martin", "Marie", addresses=ELSEWHERE)
        decision = decided(member(1, MARIE), [member(2, moved)])
        assert not decision.link
        assert [item.person_key for item in decision.review] == [2]

    def test_one_veto_in_a_group_keeps_out(self) -> None:
        group = [member(2, JEAN), member(3, replace(JEAN, birth_date="19750308"))]
        decision = decided(member(1, JEAN), group)
        assert not decision.link
        assert [item.person_key for item in decision.review] == [2]

    def test_the_members_own_statements_count_too(self) -> None:
        other = member(2, JEAN, named(JEAN, "Le Goff", "Thomas"))
        assert not decided(member(1, JEAN), [other]).link

    def test_brothers_are_not_looked_at(self) -> None:
        decision = decided(member(1, JEAN), [member(2, named(JEAN, "Le Goff", "Thomas"))])
        assert (decision.link, decision.review) == ((), ())


class TestSlips:
    def test_those_of_the_group_itself_are_no_name_of_others(self) -> None:
        group = [member(2, named(JEAN, "Le Goff", "Soazic")), member(3, named(JEAN, "Le Goff", "Soazic"))]
        record = member(1, named(JEAN, "Le Goff", "Soazig"))
        counts = {("given", "SOAZIG"): 40, ("given", "SOAZIC"): 2}
        assert decide(record, [group], DEFAULT_WEIGHTS, Register(20_000, counts)).link
        others = Register(20_000, {**counts, ("given", "SOAZIC"): 4})
        decision = decide(record, [group], DEFAULT_WEIGHTS, others)
        assert (len(decision.link), len(decision.review)) == (0, 1)


class TestSecondNames:
    LISTED = replace(JEAN, names=(PersonName("Le Goff", "Yann", further_given="Goulven"),))

    def test_who_lists_both_explains_either(self) -> None:
        group = [member(2, self.LISTED), member(3, named(JEAN, "Le Goff", "Yann"))]
        record = member(1, named(JEAN, "Le Goff", "Goulven"))
        assert not decided(record, group[1:]).link
        assert [item.person_key for item in decided(record, group).link] == [2]

    def test_not_those_of_another_day(self) -> None:
        group = [member(2, self.LISTED), member(3, named(JEAN, "Le Goff", "Yann", birth_date="19491226"))]
        assert not decided(member(1, named(JEAN, "Le Goff", "Goulven")), group).link


class TestNoChaining:
    def test_of_two_groups_the_better_one_is_joined(self) -> None:
        stated = named(MARIE, "Kervella", "Soazig")
        both = replace(stated, names=(*stated.names, PersonName("Martin", "Soazig", use="D")))
        bride = named(MARIE, "Martin", "Soazig", birth_date="19800315", addresses=ELSEWHERE)
        assert decided(member(1, both), [member(2, bride)]).link
        decision = decided(member(1, both), [member(2, bride)], [member(3, stated)])
        assert [item.person_key for item in decision.link] == [3]
        assert [item.person_key for item in decision.review] == [2]

    def test_two_groups_that_speak_for_one_another_become_one(self) -> None:
        bride = named(MARIE, "Martin", "Marie", addresses=ELSEWHERE)
        both = replace(MARIE, names=(*MARIE.names, *bride.names))
        assert not decided(member(2, bride), [member(3, MARIE)]).link
        decision = decided(member(1, both), [member(2, bride)], [member(3, MARIE)])
        assert sorted(item.person_key for item in decision.link) == [2, 3]

    def test_of_two_who_fit_alike_and_are_not_one_none_is_joined(self) -> None:
        one, other = named(JEAN, "Le Goff", "Zoltran"), named(JEAN, "Le Goff", "Zaltrin")
        between = named(JEAN, "Le Goff", "Zaltran")
        assert not decided(member(2, one), [member(3, other)]).link
        assert decided(member(1, between), [member(2, one)]).link
        assert decided(member(1, between), [member(3, other)]).link
        decision = decided(member(1, between), [member(2, one)], [member(3, other)])
        assert decision.link == ()
        assert sorted(item.person_key for item in decision.review) == [2, 3]

    def test_a_newborn_of_twins_whose_names_came_first(self) -> None:
        one, other = (named(MARIE, "Kervella", name, birth_date="20260110") for name in ("Rozenn", "Gwenn"))
        decision = decided(
            member(1, named(MARIE, "Kervella", "Bébé", birth_date="20260110")), [member(2, one)], [member(3, other)]
        )
        assert decision.link == ()
        assert sorted(item.person_key for item in decision.review) == [2, 3]

    def test_what_contradicts_those_she_is_one_with_is_not_joined(self) -> None:
        record = member(1, replace(JEAN, names=(PersonName("Le Goff", ""),)))
        own = [record, member(4, named(JEAN, "Le Goff", "Thomas"))]
        group = [member(2, JEAN)]
        assert [item.person_key for item in decided(record, group).link] == [2]
        assert not decided(record, group, own=own).link


class TestLargeRegisters:
    def test_a_day_and_a_frequent_given_name_are_a_case_in_a_small_register_alone(self) -> None:
        married = named(MARIE, "Abgrall", "Marie", addresses=ELSEWHERE)
        for records, waits in ((20_000, True), (200_000, True), (2_000_000, False), (10_000_000, False)):
            register = Register(records, {("given", "MARIE"): records // 60})
            decision = decide(member(1, MARIE), [(member(2, married),)], DEFAULT_WEIGHTS, register)
            assert not decision.link
            assert bool(decision.review) is waits, records

    def test_who_agrees_in_more_than_chance_explains_is_a_case_in_any(self) -> None:
        married = named(MARIE, "Abgrall", "Marie")
        for records in (20_000, 1_000_000, 10_000_000, 100_000_000):
            register = Register(records, {("given", "MARIE"): records // 60})
            decision = decide(member(1, MARIE), [(member(2, married),)], DEFAULT_WEIGHTS, register)
            assert decision.link or decision.review, records


class TestDeclarations:
    def test_persons_apart_are_neither_linked_nor_looked_at(self) -> None:
        apart = member(1, JEAN, apart=frozenset({2}))
        for decision in (decided(apart, [member(2, JEAN)]), decided(member(2, JEAN), [apart])):
            assert (decision.link, decision.review) == ((), ())

    def test_identifiers_of_an_exclusive_domain_are_never_joined(self) -> None:
        one, other = (member(key, JEAN, exclusive=frozenset({5})) for key in (1, 2))
        decision = decided(one, [other])
        assert not decision.link
        assert [item.person_key for item in decision.review] == [2]

    def test_records_of_one_domain_need_more(self) -> None:
        moved = replace(JEAN, addresses=())
        here, there = (
            decided(member(1, JEAN, domain=9), [member(2, moved, domain=9)]),
            decided(member(1, JEAN), [member(2, moved)]),
        )
        totals = [(*item.link, *item.review)[0].evidence.total for item in (here, there)]
        assert totals[0] < totals[1]
        assert there.link

    def test_records_of_one_domain_agree_in_everything_or_wait(self) -> None:
        written = replace(JEAN, names=(PersonName("Le Goff", "Jean-Noal"),), telephones=("0298001122",))
        for stated, joins in ((JEAN, True), (written, False), (replace(JEAN, addresses=()), False)):
            decision = decided(member(1, JEAN, domain=9), [member(2, stated, domain=9)])
            assert bool(decision.link) is joins
            assert [item.person_key for item in decision.review] == [2]
            assert decided(member(1, JEAN), [member(2, stated)]).link
            assert not decided(member(1, JEAN), [member(2, JEAN)]).review

    def test_a_duplicate_that_is_joined_through_somebody_else_is_looked_at(self) -> None:
        decision = decided(member(1, JEAN, domain=9), [member(2, JEAN, domain=4), member(3, JEAN, domain=9)])
        assert [item.group for item in decision.link] == [0]
        assert [item.person_key for item in decision.review] == [3]

    def test_a_group_with_a_record_of_the_same_domain_waits_too(self) -> None:
        moved = replace(JEAN, addresses=ELSEWHERE)
        decision = decided(member(1, JEAN, domain=9), [member(2, JEAN, domain=4), member(3, moved, domain=9)])
        assert not decision.link
        assert [item.person_key for item in decision.review] == [2]

    def test_a_qualified_identifier_joins_records_of_one_domain(self) -> None:
        one, other = (
            identified(JEAN, "1491229019001", "QUAL"),
            identified(replace(JEAN, addresses=ELSEWHERE), "1491229019001", "QUAL"),
        )
        assert decided(member(1, one, domain=9), [member(2, other, domain=9)]).link

    def test_siblings_of_one_domain_without_a_day_of_birth(self) -> None:
        home = replace(JEAN, birth_date="19800101", telephones=("0298001122",))
        names = ("Zoltran", "Zoltrin", "Zaltran", "Zoltron", "Zortran")
        people = [named(home, "Le Goff", name) for name in names]
        for number, person in enumerate(people[1:], start=2):
            decision = decided(member(1, people[0], domain=9), [member(number, person, domain=9)])
            assert not decision.link
            assert not decided(member(1, people[0]), [member(number, person)]).link


class TestFamilies:
    """People whom a careless rule mixes up."""

    def test_twins(self) -> None:
        twin = named(JEAN, "Le Goff", "Loïc")
        assert not decided(member(1, JEAN), [member(2, twin)]).link

    def test_twins_whose_names_are_alike(self) -> None:
        one, other = named(MARIE, "Kervella", "Julie"), named(MARIE, "Kervella", "Juliette")
        decision = decided(member(1, one), [member(2, other)])
        assert not decision.link
        assert decision.review[0].evidence.veto == Veto.GIVEN_NAME_ALIKE

    def test_twice_each_is_no_slip(self) -> None:
        one, other = named(JEAN, "Le Goff", "Zoltran"), named(JEAN, "Le Goff", "Zoltrin")
        assert decided(member(1, one), [member(2, one), member(3, other)]).link
        decision = decided(member(1, one), [member(2, one), member(3, other), member(4, other)])
        assert not decision.link
        assert decision.review
        decision = decided(member(1, one), [member(2, one), member(5, one)], [member(3, other), member(4, other)])
        assert [item.person_key for item in decision.link] == [2]

    def test_father_and_son_of_one_name(self) -> None:
        assert not decided(member(1, JEAN), [member(2, replace(JEAN, birth_date="19751225"))]).link

    def test_a_newborn_who_is_named_later(self) -> None:
        born = named(MARIE, "Kervella", "Bébé", birth_date="20260110")
        called = named(MARIE, "Kervella", "Rozenn", birth_date="20260110")
        assert decided(member(1, called), [member(2, born)]).link

    def test_twins_who_are_named_later(self) -> None:
        born = named(MARIE, "Kervella", "Jumelle 1", birth_date="20260110")
        called = named(MARIE, "Kervella", "Rozenn", birth_date="20260110", birth_order=2)
        assert not decided(member(1, called), [member(2, born)]).link

    def test_a_married_woman_at_her_address(self) -> None:
        assert decided(member(1, MARIE), [member(2, named(MARIE, "Martin", "Marie"))]).link

    def test_namesakes_elsewhere(self) -> None:
        other = named(JEAN, "Le Goff", "Jean-Noël", birth_date="19520308", addresses=ELSEWHERE)
        assert not decided(member(1, JEAN), [member(2, other)]).link


def test_a_member_has_no_traits_by_default() -> None:
    assert Member(1).traits == ()
