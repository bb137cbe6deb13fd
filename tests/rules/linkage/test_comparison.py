"""Evidence between two records: levels, weights, vetoes; the cases in which prototypes failed."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given

from tests.rules.linkage.people import ELSEWHERE, JEAN, MARIE, REGISTER, evidence, identified, named
from tests.rules.linkage.test_traits import PEOPLE
from xds.model.patient import Demographics, PersonName
from xds.rules.linkage import (
    DEFAULT_WEIGHTS,
    BirthDate,
    Family,
    Given,
    Register,
    Veto,
    Weights,
    compare,
    confirms,
    frequency_values,
    prior,
    traits,
)
from xds.rules.linkage.weights import LEVELS

#: Names that many bear, so that one is no slip of the other.
ESTABLISHED = Register(20_000, {("given", "SOAZIG"): 40, ("given", "SOAZIC"): 35, ("given", "MAIWENN"): 20})


def family(one: str, other: str, sex: str = "M") -> int:
    return evidence(named(JEAN, one, "Jean", sex=sex), named(JEAN, other, "Jean", sex=sex)).levels["family"]


def first(one: str, other: str, register: Register = REGISTER) -> int:
    return evidence(named(JEAN, "Le Goff", one), named(JEAN, "Le Goff", other), register).levels["given"]


class TestFamilyNames:
    @pytest.mark.parametrize(
        ("one", "other", "level"),
        [
            ("Le Goff", "LEGOFF", Family.EXACT),
            ("Le Goff", "Goff", Family.PART),
            ("de la Tour", "LATOUR", Family.PART),
            ("Ben Amar", "BENAMAR", Family.EXACT),
            ("dos Santos Silva", "Silva", Family.PART),
            ("Martin-Dupont", "Martin", Family.PART),
            ("Vandenberghe", "Vandenbergh", Family.SLIP),
            ("Przybyszewski", "Przybysz", Family.SLIP),
            ("Martin", "Martim", Family.SLIP),
            ("O'Connor", "0CONNOR", Family.SLIP),
            ("Martin", "Bernard", Family.DIFFERENT),
        ],
    )
    def test_levels(self, one: str, other: str, level: Family) -> None:
        assert family(one, other) == family(other, one) == level

    def test_a_woman_may_have_another(self) -> None:
        assert family("Martin", "Bernard", sex="F") == Family.DIFFERENT_WOMAN

    def test_a_girl_has_not(self) -> None:
        one, other = (
            named(MARIE, "Martin", "Marie", birth_date="20180314"),
            named(MARIE, "Bernard", "Marie", birth_date="20180314"),
        )
        assert evidence(one, other).levels["family"] == Family.DIFFERENT

    def test_birth_and_used_name_both_count(self) -> None:
        both = replace(MARIE, names=(PersonName("Kervella", "Marie", use="L"), PersonName("Martin", "Marie", use="D")))
        assert evidence(both, named(MARIE, "MARTIN", "Marie")).levels["family"] == Family.EXACT

    def test_exchanged_fields(self) -> None:
        found = evidence(JEAN, named(JEAN, "Jean-Noël", "Le Goff"))
        assert (found.levels["family"], found.levels["given"], found.veto) == (Family.SWAPPED, Given.SWAPPED, None)


class TestGivenNames:
    @pytest.mark.parametrize(
        ("one", "other", "level"),
        [
            ("Jean-Pierre", "JEANPIERRE", Given.EXACT),
            ("Jean-Pierre", "Jean", Given.ALIKE),
            ("Luc-Pierre", "Luc", Given.PART),
            ("Jean-Pierre", "Pierre", Given.OTHER),
            ("Jean-Pierre", "JP", Given.VARIANT),
            ("Jean-Baptiste", "JB", Given.VARIANT),
            ("Jean", "JB", Given.ALIKE),
            ("Alexandre", "Alex", Given.VARIANT),
            ("Katherine", "Kate", Given.VARIANT),
            ("Mohamed", "Mohammed", Given.VARIANT),
            ("Jean-Pierre", "Jean-Paul", Given.ALIKE_KNOWN),
            ("Marie", "Marine", Given.ALIKE_KNOWN),
            ("Céline", "Célina", Given.ALIKE_KNOWN),
            ("Sébastien", "Sébastiem", Given.SLIP),
            ("Tom", "Torn", Given.SLIP),
            ("Julien", "Thomas", Given.DIFFERENT_KNOWN),
            ("Julien", "Zorglub", Given.DIFFERENT),
            ("Marie-Anne Claude", "MARIE-ANN", Given.PART),
            ("Loïc Erwan", "Loïc Yann", Given.OTHER),
            ("Bernard Mot", "Motéan", Given.OTHER),
            ("Lez", "Leez", Given.SLIP),
            ("Lez", "Lex", Given.ALIKE),
            ("Boulaelle", "Bounoelle", Given.ALIKE),
            ("Zoltravoin", "Zoltravo", Given.SLIP),
            ("Zoltra", "Zoltrake", Given.ALIKE),
            ("Jean Piere", "Jean", Given.ALIKE),
        ],
    )
    def test_levels(self, one: str, other: str, level: Given) -> None:
        assert first(one, other) == first(other, one) == level

    def test_a_second_name_used_first(self) -> None:
        listed = replace(JEAN, names=(PersonName("Le Goff", "Yann", further_given="Erwan Loïc"),))
        found = evidence(listed, named(JEAN, "Le Goff", "Erwan"))
        assert (found.levels["given"], found.veto) == (Given.OTHER, None)

    def test_a_twin_has_the_name_as_a_further_one(self) -> None:
        listed = replace(JEAN, names=(PersonName("Le Goff", "Alexis", further_given="Alain Yann"),))
        twin = replace(JEAN, names=(PersonName("Le Goff", "Alain", further_given="Louis Erwan"),))
        found = evidence(listed, twin)
        assert (found.levels["given"], found.veto) == (Given.ALIKE_KNOWN, Veto.GIVEN_NAME_ALIKE)

    @pytest.mark.parametrize(("second", "level"), [("Jean", Given.ALIKE_KNOWN), ("Goulven", Given.OTHER)])
    def test_a_frequent_second_name_is_that_of_brothers(self, second: str, level: Given) -> None:
        listed = replace(JEAN, names=(PersonName("Le Goff", "Yann", further_given=second),))
        assert evidence(listed, named(JEAN, "Le Goff", second)).levels["given"] == level

    def test_what_is_frequent_the_register_tells(self) -> None:
        listed = replace(JEAN, names=(PersonName("Le Goff", "Yann", further_given="Goulven"),))
        often = Register(20_000, {("given", "GOULVEN"): 200})
        assert evidence(listed, named(JEAN, "Le Goff", "Goulven"), often).levels["given"] == Given.ALIKE_KNOWN

    def test_lists_in_another_order_are_one(self) -> None:
        listed = replace(JEAN, names=(PersonName("Le Goff", "Alexis", further_given="Alain Yann"),))
        used = replace(JEAN, names=(PersonName("Le Goff", "Alain", further_given="Alexi"),))
        assert evidence(listed, used).levels["given"] == Given.OTHER

    def test_misheard_with_the_same_further_names(self) -> None:
        heard = replace(JEAN, names=(PersonName("Le Goff", "Zeldraie", further_given="Falo"),))
        stated = replace(JEAN, names=(PersonName("Le Goff", "Zaldraye", further_given="Falo"),))
        assert evidence(heard, stated).levels["given"] == Given.SOUND
        assert first("Zeldraie", "Zaldraye") == Given.ALIKE

    def test_a_bride_whose_given_name_stands_in_the_wrong_field(self) -> None:
        stated, exchanged = named(MARIE, "Kervella", "Marie"), named(MARIE, "Marie", "Martin")
        found = evidence(stated, exchanged)
        assert (found.levels["family"], found.levels["given"], found.veto) == (Family.DIFFERENT_WOMAN, Given.EXACT, None)

    def test_the_family_name_of_twins_is_no_given_name(self) -> None:
        twin, exchanged = named(MARIE, "Kervella", "Zoltrane"), named(MARIE, "Fanchon", "Kervella")
        assert evidence(twin, exchanged).veto == Veto.GIVEN_NAME

    def test_what_many_bear_is_no_slip(self) -> None:
        assert first("Soazig", "Soazic") == Given.SLIP
        assert first("Soazig", "Soazic", ESTABLISHED) == Given.ALIKE_KNOWN

    def test_what_the_two_bear_themselves_does_not_count(self) -> None:
        one, other = traits(named(JEAN, "Le Goff", "Soazig")), traits(named(JEAN, "Le Goff", "Soazic"))
        register = Register(20_000, {("given", "SOAZIG"): 3, ("given", "SOAZIC"): 3})
        assert compare(one, other, DEFAULT_WEIGHTS, register, {"SOAZIG": 2, "SOAZIC": 1}).levels["given"] == Given.SLIP
        assert compare(one, other, DEFAULT_WEIGHTS, register, {"SOAZIG": 1, "SOAZIC": 1}).levels["given"] == Given.ALIKE_KNOWN

    def test_a_frequent_slip_is_no_name(self) -> None:
        register = Register(10_000_000, {("given", "SOAZIG"): 50_000, ("given", "SOAZIC"): 40})
        assert first("Soazig", "Soazic", register) == Given.SLIP


class TestBirthDates:
    @pytest.mark.parametrize(
        ("one", "other", "level"),
        [
            ("19491225", "194912250830", BirthDate.EXACT),
            ("19490101", "19490101", BirthDate.EXACT_DEFAULT),
            ("19490101", "19491225", BirthDate.COMPATIBLE),
            ("1949", "19491225", BirthDate.COMPATIBLE),
            ("194912", "19491225", BirthDate.COMPATIBLE),
            ("19490512", "19491205", BirthDate.SLIP),
            ("19491225", "19491226", BirthDate.SLIP),
            ("19491225", "19491252", BirthDate.SLIP),
            ("19491225", "19490125", BirthDate.TWO_DIGITS),
            ("19491225", "19490308", BirthDate.SAME_YEAR),
            ("19491225", "19750308", BirthDate.DIFFERENT),
            ("1950", "19491225", BirthDate.DIFFERENT),
        ],
    )
    def test_levels(self, one: str, other: str, level: BirthDate) -> None:
        found = evidence(replace(JEAN, birth_date=one), replace(JEAN, birth_date=other))
        assert found.levels["birth_date"] == level

    def test_a_date_for_want_of_one_says_nothing(self) -> None:
        assert "birth_date" not in evidence(JEAN, replace(JEAN, birth_date="19000101")).levels


class TestVetoes:
    @pytest.mark.parametrize(
        ("other", "veto"),
        [
            (named(JEAN, "Le Goff", "Thomas"), Veto.GIVEN_NAME),
            (named(JEAN, "Le Goff", "Jean-Marc"), Veto.GIVEN_NAME_ALIKE),
            (replace(JEAN, birth_date="19750308"), Veto.BIRTH_DATE),
            (replace(JEAN, birth_order=2), Veto.BIRTH_ORDER),
            (replace(JEAN, names=(PersonName("Le Goff", "Jean-Noël", suffix="Jr"),)), Veto.SUFFIX),
        ],
    )
    def test_two_persons(self, other: Demographics, veto: str) -> None:
        one = replace(JEAN, names=(PersonName("Le Goff", "Jean-Noël", suffix="Sr"),), birth_order=1)
        assert evidence(one, other).veto == evidence(other, one).veto == veto
        assert evidence(one, other).rule == "veto"

    def test_alike_on_the_first_of_january(self) -> None:
        one, other = (named(JEAN, "Le Goff", name, birth_date="19490101") for name in ("Zoltran", "Zoltrin"))
        assert evidence(one, other).veto == Veto.GIVEN_NAME_ALIKE
        assert evidence(replace(one, birth_date="19490203"), replace(other, birth_date="19490203")).veto is None

    @pytest.mark.parametrize(
        ("given_name", "veto"), [("Sébastiem", Veto.GIVEN_NAME_ALIKE), ("Sébastien", None), ("Sébastien Yann", None)]
    )
    def test_of_twins_only_the_same_name_is_the_same(self, given_name: str, veto: str | None) -> None:
        twin, other = named(JEAN, "Le Goff", "Sébastien", birth_order=1), named(JEAN, "Le Goff", given_name)
        assert evidence(twin, other).veto == evidence(other, twin).veto == veto
        assert evidence(twin, replace(other, birth_order=1)).veto is None

    def test_one_child_born_first_is_no_twin(self) -> None:
        only = named(JEAN, "Le Goff", "Sébastien", birth_order=1, multiple_birth=False)
        assert evidence(only, named(JEAN, "Le Goff", "Sébastiem")).veto is None

    def test_one_number_and_one_day_make_a_slip_of_what_is_alike(self) -> None:
        one, other = (identified(named(JEAN, "Le Goff", name), "279035121518989") for name in ("Alain", "Alan"))
        assert evidence(replace(one, national_identifiers=()), other).veto == Veto.GIVEN_NAME_ALIKE
        assert evidence(one, other).veto is None
        assert evidence(one, replace(other, birth_date="19491226")).veto == Veto.GIVEN_NAME_ALIKE

    def test_jean_may_be_jean_paul_and_jean_pierre(self) -> None:
        twin = named(JEAN, "Le Goff", "Jean", multiple_birth=True)
        assert evidence(twin, named(JEAN, "Le Goff", "Jean")).veto == Veto.GIVEN_NAME_ALIKE

    def test_exchanged_fields_do_not_make_jean_of_jean_pierre(self) -> None:
        assert evidence(named(JEAN, "Kervella", "Jean"), named(JEAN, "Jean-Pierre", "Kervella")).veto is not None

    def test_two_newborns_without_a_name(self) -> None:
        assert evidence(named(MARIE, "Kervella", "Bébé"), named(MARIE, "Kervella", "BB")).veto == Veto.UNNAMED

    def test_a_newborn_of_several_waits_for_a_name(self) -> None:
        assert evidence(named(MARIE, "Kervella", "Bébé", multiple_birth=True), MARIE).veto == Veto.UNNAMED
        assert evidence(named(MARIE, "Kervella", "Bébé"), MARIE).veto is None

    def test_what_is_absent_vetoes_nothing(self) -> None:
        assert evidence(JEAN, Demographics()).veto is None

    def test_nobody_by_name_is_not_joined_by_house_and_day(self) -> None:
        assert evidence(JEAN, named(JEAN, "TEST", "Pierre")).veto == Veto.UNNAMED

    def test_brothers_are_certain_where_the_sex_is_stated(self) -> None:
        brother = named(JEAN, "Le Goff", "Thomas")
        assert evidence(JEAN, brother).is_certainly_two
        assert not evidence(replace(JEAN, sex=None), brother).is_certainly_two


class TestWeights:
    def test_the_whole_address_is_one_comparison(self) -> None:
        found = evidence(JEAN, JEAN)
        assert set(found.levels) == {"family", "given", "birth_date", "sex", "address"}

    def test_contacts_of_a_household_count_once(self) -> None:
        one = replace(JEAN, telephones=("0298001122",), emails=("a@example.org",))
        alone = evidence(
            replace(JEAN, telephones=("0298001122",), addresses=()), replace(JEAN, telephones=("0298001122",), addresses=())
        )
        together = evidence(one, one)
        assert together.weights["telephone"] < alone.weights["telephone"]
        assert together.weights["address"] == DEFAULT_WEIGHTS.bits["address"][5]

    def test_rare_names_count_more(self) -> None:
        common = Register(20_000, {("family", "LEGOFF"): 600})
        assert evidence(JEAN, JEAN).total > evidence(JEAN, JEAN, common).total

    def test_a_large_town_counts_less(self) -> None:
        one, other = replace(JEAN, addresses=(replace(JEAN.addresses[0], street=""),)), replace(JEAN, addresses=JEAN.addresses)
        city = Register(20_000, {("place", "29200"): 9_000})
        assert evidence(one, other, city).weights["address"] < evidence(one, other).weights["address"]

    def test_without_a_birth_date_fathers_and_sons_are_one_name(self) -> None:
        found = evidence(JEAN, replace(JEAN, birth_date=None))
        assert found.weights["no_birth_date"] < 0
        assert found.total < evidence(JEAN, JEAN).total - DEFAULT_WEIGHTS.bits["birth_date"][BirthDate.EXACT]

    def test_a_larger_register_needs_more(self) -> None:
        assert prior(DEFAULT_WEIGHTS, Register(10_000_000)) < prior(DEFAULT_WEIGHTS, Register(10_000))

    def test_the_total_is_the_sum(self) -> None:
        found = evidence(JEAN, replace(JEAN, addresses=ELSEWHERE))
        assert found.total == pytest.approx(sum(found.weights.values()))

    @given(PEOPLE, PEOPLE)
    def test_comparing_is_symmetric(self, one: Demographics, other: Demographics) -> None:
        there, back = evidence(one, other), evidence(other, one)
        assert there.levels == back.levels
        assert there.veto == back.veto
        assert there.rule == back.rule
        assert there.total == pytest.approx(back.total)

    @given(PEOPLE)
    def test_no_record_contradicts_itself_by_its_weights(self, person: Demographics) -> None:
        found = evidence(person, person)
        assert all(bits >= 0 for trait, bits in found.weights.items() if trait in LEVELS)

    def test_what_a_register_counts(self) -> None:
        assert frequency_values(traits(JEAN)) == (("family", "LEGOFF"), ("given", "JEAN"), ("place", "29200"))

    def test_stored_form(self) -> None:
        assert Weights.from_json(DEFAULT_WEIGHTS.to_json()) == DEFAULT_WEIGHTS

    @pytest.mark.parametrize("text", ["{}", '{"bits": 1}', DEFAULT_WEIGHTS.to_json().replace('"family": [', '"family": [1.0, ')])
    def test_what_is_no_weights(self, text: str) -> None:
        with pytest.raises(ValueError, match="weights of linkage"):
            Weights.from_json(text)

    def test_every_level_has_a_weight(self) -> None:
        assert {trait: len(bits) for trait, bits in DEFAULT_WEIGHTS.bits.items()} == dict(LEVELS)


class TestImages:
    def test_names_and_day_confirm(self) -> None:
        assert confirms(traits(named(JEAN, "LE GOFF", "JEAN NOEL", addresses=())), traits(JEAN))

    @pytest.mark.parametrize(
        "other",
        [
            named(JEAN, "LE GOFF", "JEAN"),
            replace(JEAN, birth_date="194912"),
            replace(JEAN, birth_date="19491224"),
            replace(JEAN, sex="F"),
            replace(JEAN, names=()),
        ],
    )
    def test_less_does_not(self, other: Demographics) -> None:
        assert not confirms(traits(other), traits(JEAN))


def test_comparing_needs_no_register() -> None:
    assert compare(traits(JEAN), traits(JEAN), DEFAULT_WEIGHTS, Register()).total > DEFAULT_WEIGHTS.link
