"""Which statement about a person wins, attribute by attribute."""

from __future__ import annotations

import itertools
from dataclasses import replace

from hypothesis import given

from tests.wire.test_hl7v2_identity import DEMOGRAPHICS
from xds.model.patient import Address, Demographics, PersonName, StatedDemographics
from xds.rules.golden_record import golden_record, reliability

MARRIED = PersonName("Durand", "Marie", use="D")
BORN = PersonName("Lefèvre", "Marie", use="L")


def stated(source: str, updated: int = 0, **traits: object) -> StatedDemographics:
    return StatedDemographics(source, Demographics(**traits), updated)


def test_what_a_source_validated_wins_over_what_is_newer() -> None:
    old = stated("A", 1, birth_date="19620314", sex="F", reliability=("VALI",))
    new = stated("B", 9, birth_date="19620413", sex="F", language="fr")
    golden = golden_record((new, old))
    assert (golden.demographics.birth_date, golden.sources["birth_date"]) == ("19620314", "A")
    assert (golden.demographics.language, golden.sources["language"]) == ("fr", "B")


def test_a_newer_statement_wins_over_an_older_one_of_the_same_reliability() -> None:
    golden = golden_record((stated("A", 1, sex="F"), stated("B", 2, sex="M")))
    assert (golden.demographics.sex, golden.sources["sex"]) == ("M", "B")


def test_the_order_of_sources_decides_between_equals() -> None:
    both = (stated("B", 1, religion="x"), stated("A", 1, religion="y"))
    assert golden_record(both).sources["religion"] == "A"
    assert golden_record(both, ("B", "A")).sources["religion"] == "B"


def test_a_vague_value_never_hides_a_full_one() -> None:
    day, month, year = (
        stated(s, n, birth_date=d) for s, n, d in (("A", 1, "19620314"), ("B", 2, "196203"), ("C", 3, "19620000"))
    )
    assert golden_record((day, month, year)).demographics.birth_date == "19620314"
    assert golden_record((month, year)).demographics.birth_date == "196203"
    default = stated("D", 9, birth_date="19000101")
    assert golden_record((default, year)).demographics.birth_date == "19620000"
    town, street = (
        stated("A", 2, addresses=(Address(city="Nantes"),)),
        stated("B", 1, addresses=(Address("1 rue A", city="Lyon"),)),
    )
    assert golden_record((town, street)).demographics.addresses[0].city == "Lyon"
    assert golden_record((stated("A", 2, sex="U"), stated("B", 1, sex="F"))).demographics.sex == "F"


def test_all_names_are_kept_and_each_once() -> None:
    one = stated("A", 1, names=(BORN,), reliability=("VALI",))
    other = stated("B", 2, names=(MARRIED, PersonName("LEFEVRE", "MARIE")))
    assert golden_record((other, one)).demographics.names == (BORN, MARRIED)


def test_a_source_that_doubts_itself_comes_last() -> None:
    assert reliability(Demographics(reliability=("VALI", "DOUB"))) < reliability(Demographics(reliability=("PROV",)))
    assert reliability(Demographics(reliability=("US",))) < reliability(Demographics(reliability=("PROV",)))
    assert reliability(Demographics()) > reliability(Demographics(reliability=("PROV",)))
    assert reliability(Demographics(reliability=("vali",))) == 4


def test_whoever_died_for_one_source_died() -> None:
    golden = golden_record((stated("A", 9, deceased=False), stated("B", 1, death_time="20250101")))
    assert golden.demographics.deceased is True
    assert golden.demographics.death_time == "20250101"


def test_the_order_of_statements_does_not_matter() -> None:
    many = (
        stated("A", 1, names=(BORN,), sex="F", birth_date="1962"),
        stated("B", 2, names=(MARRIED,), birth_date="19620314", reliability=("PROV",)),
        stated("C", 2, sex="U", mother_maiden_name="Petit"),
    )
    results = {repr(golden_record(some)) for some in itertools.permutations(many)}
    assert len(results) == 1


@given(DEMOGRAPHICS)
def test_one_statement_stays_what_it_is_beside_one_that_says_nothing(demographics: Demographics) -> None:
    alone = golden_record((StatedDemographics("A", demographics, 1),))
    beside = golden_record((StatedDemographics("A", demographics, 1), StatedDemographics("B", Demographics(), 2)))
    assert alone.sources == beside.sources
    assert replace(alone.demographics, names=()) == replace(beside.demographics, names=())


def test_nobody_states_anything() -> None:
    assert golden_record(()).demographics == Demographics()
    assert golden_record((stated("A"),)).sources == {}


def test_the_name_of_a_mother_is_not_put_together() -> None:
    old = stated("A", 1, mother_maiden_name="Petit", mother_given_name="Odile")
    new = stated("B", 2, mother_maiden_name="Durand")
    found = golden_record((old, new))
    assert (found.demographics.mother_maiden_name, found.demographics.mother_given_name) == ("Durand", None)
    assert "mother_given_name" not in found.sources
