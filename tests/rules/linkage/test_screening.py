"""Whoever is passed over as a stranger would be no link and nobody's case."""

from __future__ import annotations

import math
import random
from dataclasses import replace
from importlib.resources import files

from xds.rules.linkage import (
    DEFAULT_WEIGHTS,
    Given,
    Glimpse,
    Member,
    National,
    NationalStatus,
    Place,
    Register,
    Traits,
    blocking_keys,
    compare,
    compare_members,
    decide,
    glimpse_of,
    home_keys,
    number_keys,
    prior,
)
from xds.rules.linkage.bound import most_odds
from xds.rules.linkage.given_comparison import Bearers, given_level
from xds.rules.linkage.screening import Screen, are_strangers, differ, look_like_strangers

GIVENS = (
    "JEAN",
    "JEAN PAUL",
    "PAUL",
    "MARIE",
    "MARIA",
    "MARIE CLAIRE",
    "CLAIRE",
    "MATHIEU",
    "MATTHIEU",
    "JULIE",
    "JULIA",
    "J",
    "X AE",
    "LEA",
)
FAMILIES = ("MARTIN", "MARTEN", "PAUL", "LE GOFF", "JULIE", "DURAND", "MARTIN DURAND", "BERNARD")
DATES = ("19700101", "19700203", "19700302", "1970", "", "20150203")
MALE = Traits(families=("MARTIN",), givens=("LUC",), birth_date="19700203", sex="M")


def somebody(chance: random.Random) -> Traits:
    names = chance.sample(GIVENS, chance.choice((1, 1, 2, 0)))
    date = chance.choice(DATES)
    number = National("1.2", chance.choice(("1", "2")), chance.choice(list(NationalStatus)))
    return Traits(
        families=tuple(chance.sample(FAMILIES, chance.choice((1, 1, 2, 0)))),
        givens=tuple(names),
        further=frozenset(chance.sample(("PAUL", "ROSE", "LUC"), chance.choice((0, 0, 1)))),
        birth_date=date,
        is_default_date=date.endswith("0101"),
        sex=chance.choice(("F", "M", "")),
        birth_order=chance.choice((None, None, 1, 2)),
        addresses=(Place("1", "LILAS", "PARIS", "75001"),) if chance.random() < 0.7 else (),
        telephones=("123456789",) if chance.random() < 0.5 else (),
        emails=("a@b.fr",) if chance.random() < 0.2 else (),
        mother=chance.choice(("", "DUPONT")),
        nationals=(number,) if chance.random() < 0.2 else (),
    )


HOMES = (Place("1", "LILAS", "PARIS", "75001"), Place("7", "ROSES", "PARIS", "75001"), Place("1", "TULIPES", "LYON", "69003"))


def at_home(chance: random.Random, person: Traits) -> Traits:
    """Somebody who lives anywhere."""
    number = chance.choice(("123456789", "234567891"))
    return replace(
        person,
        addresses=(chance.choice(HOMES),) if chance.random() < 0.8 else (),
        telephones=(number,) if chance.random() < 0.5 else (),
        emails=(),
    )


def seen_of(*records: Traits) -> list[Glimpse]:
    packed = glimpse_of(records)
    assert packed is not None
    seen = Glimpse.unpack(packed)
    assert seen is not None
    return seen


def replaced(home: Place, postal_code: str, city: str) -> Place:
    return home._replace(postal_code=postal_code, city=city)


class TestScreening:
    def test_strangers_are_never_linked_and_never_looked_at(self) -> None:
        chance = random.Random(5)
        register = Register(5_000, {("given", name): chance.randint(0, 300) for name in GIVENS})
        strangers = 0
        for _ in range(6_000):
            own = [somebody(chance) for _ in range(chance.choice((1, 1, 2)))]
            other = somebody(chance)
            glimpse = glimpse_of([other])
            assert glimpse is None or look_like_strangers(own, seen_of(other)) == are_strangers(own, other)
            if are_strangers(own, other):
                strangers += 1
                assert glimpse is not None
                record, candidate = Member(1, tuple(own)), Member(2, (other,))
                decision = decide(record, [(candidate,)], DEFAULT_WEIGHTS, register)
                evidence = compare_members(record, candidate, DEFAULT_WEIGHTS, register)
                assert (decision.link, decision.review) == ((), ()), (own, other)
                assert evidence is not None
                assert evidence.is_certainly_two
        assert strangers > 500

    def test_who_is_far_from_one_is_never_linked_and_never_looked_at(self) -> None:
        chance = random.Random(11)
        passed_over = nearly = compared = 0
        for _ in range(8_000):
            size = chance.choice((5_000, 1_000_000, 20_000_000))
            register = Register(size, {("given", name.split(" ")[0]): chance.choice((3, size // 200)) for name in GIVENS})
            own = [somebody(chance) for _ in range(chance.choice((1, 1, 2)))]
            group = [[somebody(chance) for _ in range(chance.choice((1, 1, 2)))] for _ in range(chance.choice((1, 1, 2, 3)))]
            if chance.random() < 0.5:
                one = own[0]
                group[0][0] = replace(
                    group[0][0], givens=one.givens, birth_date=one.birth_date, is_default_date=one.is_default_date
                )
            every = [item for stated in group for item in stated]
            for item in own:
                most = most_odds(item, every[0], DEFAULT_WEIGHTS, register, prior(DEFAULT_WEIGHTS, register))
                total = compare(item, every[0], DEFAULT_WEIGHTS, register).total
                assert most >= total - 1e-6, (item, every[0])
                nearly += most < total + 1e-6
                compared += most == math.inf
            are_all = chance.random() < 0.8
            if Screen(DEFAULT_WEIGHTS, register).rules_out(own, every, are_all=are_all):
                passed_over += 1
                members = [Member(2 + number, tuple(stated)) for number, stated in enumerate(group)]
                further = () if are_all else (Member(100, (somebody(chance),)),)
                decision = decide(Member(1, tuple(own)), [members], DEFAULT_WEIGHTS, register, further)
                assert (decision.link, decision.review) == ((), ()), (own, group)
        assert passed_over > 1_000
        assert nearly > 1_000
        assert compared > 1_000

    def test_nobody_is_far_from_one_unseen(self) -> None:
        assert not Screen(DEFAULT_WEIGHTS, Register(10_000_000)).rules_out([], [MALE], are_all=True)

    def test_what_may_speak_against_two_given_names_keeps_a_candidate(self) -> None:
        other = replace(MALE, givens=("MATHIEU",))
        assert are_strangers([MALE], other)
        for near in (
            replace(other, sex=""),
            replace(other, givens=()),
            replace(other, givens=("MATHIEU", "LUK")),
            replace(other, families=("LUC",)),
            replace(other, further=frozenset({"LUC"})),
        ):
            assert not are_strangers([MALE], near)
        number = (National("1.2", "1", NationalStatus.QUALIFIED),)
        assert not are_strangers([replace(MALE, nationals=number)], replace(other, nationals=number))
        assert not are_strangers([replace(MALE, emails=("a@b",))], replace(other, emails=("a@b",)))
        assert not are_strangers([], other)

    def test_a_glimpse_shows_all_that_is_stated_of_a_record_or_nothing(self) -> None:
        other, like = replace(MALE, givens=("MATHIEU",)), replace(MALE, givens=("LUK",))
        both = seen_of(other, replace(other, families=("DURAND",)))
        assert look_like_strangers([MALE], both)
        assert not look_like_strangers([MALE], seen_of(other, like))
        assert not look_like_strangers([], both)
        assert glimpse_of([]) is None
        assert glimpse_of([other, replace(other, sex="")]) is None
        assert glimpse_of([replace(other, givens=())]) is None
        assert glimpse_of([replace(other, families=("X" * 300,))]) is None

    def test_a_glimpse_of_another_version_tells_nothing(self) -> None:
        assert Glimpse.unpack(b"MARTIN\x1eMATHIEU\x1e\x1eM\x1e\x1e") is None
        assert Glimpse.unpack(b"3\x1cMARTIN") is None

    def test_who_is_far_from_one_at_a_glimpse_is_never_linked_and_never_looked_at(self) -> None:
        chance = random.Random(17)
        passed_over = shared = 0
        for _ in range(12_000):
            size = chance.choice((1_000_000, 20_000_000))
            register = Register(size, {("given", name.split(" ")[0]): chance.choice((3, size // 200)) for name in GIVENS})
            screen = Screen(DEFAULT_WEIGHTS, register)
            assert screen.is_of_many
            own = [at_home(chance, somebody(chance)) for _ in range(chance.choice((1, 1, 1, 2)))]
            other = at_home(chance, somebody(chance))
            if chance.random() < 0.7:
                one = own[0]
                other = replace(other, givens=one.givens, birth_date=one.birth_date, is_default_date=one.is_default_date)
            glimpse = glimpse_of([other])
            keys = set(blocking_keys(other))
            is_near, has_number = (
                any(not keys.isdisjoint(kind(blocking_keys(item))) for item in own) for kind in (home_keys, number_keys)
            )
            if glimpse and screen.looks_far(own, seen_of(other), is_near=is_near, has_number=has_number):
                passed_over += 1
                shared += any(not keys.isdisjoint(blocking_keys(item)) for item in own)
                decision = decide(Member(1, tuple(own)), [(Member(2, (other,)),)], DEFAULT_WEIGHTS, register)
                assert (decision.link, decision.review) == ((), ()), (own, other)
        assert passed_over > 700
        assert shared > 200

    def test_an_address_or_a_number_in_common_keeps_who_has_another_name(self) -> None:
        screen = Screen(DEFAULT_WEIGHTS, Register(10_000_000, {("given", "LUC"): 50_000}))
        home = Place("1", "LILAS", "PARIS", "75001")
        own = replace(MALE, addresses=(home,), telephones=("123456789",))
        other = replace(own, families=("DUBREUIL",), addresses=(replaced(home, "13001", "MARSEILLE"),), telephones=("987654321",))
        seen = seen_of(other)
        assert screen.looks_far([own], seen, is_near=False, has_number=False)
        assert not screen.looks_far([own], seen, is_near=True, has_number=False)
        assert not screen.looks_far([own], seen, is_near=False, has_number=True)
        assert not screen.looks_far([own], seen_of(own), is_near=False, has_number=False)
        assert not screen.looks_far([], seen, is_near=False, has_number=False)
        several = replace(own, addresses=(home, replaced(home, "69001", "LYON")))
        assert not screen.looks_far([several], seen, is_near=False, has_number=False)
        assert not Screen(DEFAULT_WEIGHTS, Register(100_000)).is_of_many

    def test_a_quick_look_at_given_names_says_what_comparing_them_says(self) -> None:
        chance = random.Random(7)
        letters = "AEIOUBCDHJLMNRSTX1 "
        table = files("xds.rules.linkage").joinpath("given_names.txt").read_text(encoding="utf-8")
        names = chance.sample(sorted({word for word in table.split() if word.isalpha() and word.isupper()}), 300)
        slips = []
        for name in names:
            place = chance.randrange(len(name))
            kept = chance.choice((0, 1))
            slips.append((name[:place] + chance.choice(letters) + name[place + kept :]).strip() or name)
            slips.append(name[:place] + name[place + 1 :] or name)
        words = [" ".join(word.split()) for word in (*names, *slips)]
        bearers = Bearers(Register())
        apart = 0
        for one in words:
            for other in chance.sample(words, 60):
                said = differ(one, other)
                apart += said
                assert said == (given_level(one, other, frozenset(), frozenset(), bearers) <= Given.DIFFERENT), (one, other)
        for name, slip in zip(names, slips[::2], strict=True):
            one, other = " ".join(name.split()), " ".join(slip.split())
            assert differ(one, other) == (given_level(one, other, frozenset(), frozenset(), bearers) <= Given.DIFFERENT)
        assert apart > 10_000
