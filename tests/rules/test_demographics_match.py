"""Whether a person meets a query."""

from __future__ import annotations

import pytest

from xds.model.demographics_query import (
    AddressPattern,
    Comparison,
    DateRange,
    DemographicsQuery,
    IdentifierPattern,
    NamePattern,
    TextPattern,
)
from xds.model.identifiers import AssigningAuthority, PatientIdentifier
from xds.model.patient import Address, Demographics, PersonName
from xds.rules.demographics_match import Sought, days, is_graded, national_number, quality, within_one_slip
from xds.rules.linkage import phonetic_codes

HOSPITAL = AssigningAuthority("HOSP", "1.2.3")
MARIE = Demographics(
    names=(PersonName("Lefèvre", "Marie-Hélène", "Anne Sophie", prefix="Dr", use="L"), PersonName("Durand", "Marie")),
    birth_date="19620314",
    sex="F",
    addresses=(Address("4 rue des Lilas", city="Orléans", postal_code="45000", country="FRA"),),
    telephones=("02 38 11 22 33",),
    mother_maiden_name="Le Goff",
    account_number=PatientIdentifier("ACC1", HOSPITAL),
)
PERSON = Sought(7, (MARIE,), (PatientIdentifier("4711", HOSPITAL),), {"PV1.3.2": "389", "PV1.3.3": "2"})


def text(value: str, comparison: str = "exact") -> TextPattern:
    return TextPattern(value, Comparison(comparison))


def meets(**criteria: object) -> bool:
    return quality(DemographicsQuery(**criteria), PERSON, phonetic_codes) is not None


def named(**parts: TextPattern) -> tuple[tuple[NamePattern, ...], ...]:
    return ((NamePattern(**parts),),)


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        ({"family": text("LEFEVRE")}, True),
        ({"family": text("lefevr")}, False),
        ({"family": text("lefevr", "prefix")}, True),
        ({"family": text("fèv", "contains")}, True),
        ({"family": text("L*VRE", "wildcard")}, True),
        ({"family": text("L*VR", "wildcard")}, False),
        ({"family": text("*", "wildcard")}, True),
        ({"family": text("*E*E*E*", "wildcard")}, True),
        ({"family": text("*E*E*E*E*", "wildcard")}, False),
        ({"family": text("LEFEV*EVRE", "wildcard")}, False),
        ({"family": text("Lefevre", "wildcard")}, True),
        ({"family": text("Lefebvre", "fuzzy")}, True),
        ({"family": text("Lefèvvre", "fuzzy")}, True),
        ({"family": text("Martin", "fuzzy")}, False),
        ({"given": text("marie helene")}, True),
        ({"given": text("Sophie")}, True),
        ({"given": text("Hélène")}, False),
        ({"prefix": text("Dr")}, True),
        ({"any_part": text("Anne")}, True),
        ({"any_part": text("Durand")}, True),
        ({"family": text("Durand"), "given": text("Sophie")}, False),
        ({"family": text("Durand"), "given": text("Marie")}, True),
    ],
)
def test_names(parts: dict[str, TextPattern], expected: bool) -> None:
    assert meets(names=named(**parts)) is expected


@pytest.mark.parametrize(
    ("asked", "stated", "expected"),
    [
        ("Jenn", "Jennifer", True),
        ("Bob", "Robert", True),
        ("Robert", "Bob", True),
        ("Je", "Jennifer", False),
        ("Jennifer", "Jenn", False),
    ],
)
def test_forms_of_given_names(asked: str, stated: str, expected: bool) -> None:
    person = Sought(1, (Demographics(names=(PersonName("Jones", stated),)),))
    fuzzy = DemographicsQuery(names=named(family=text("Jones"), given=text(asked, "fuzzy")))
    found = quality(fuzzy, person, phonetic_codes)
    assert (found is not None) is expected
    assert found is None or found < 1
    assert quality(DemographicsQuery(names=named(given=text(asked))), person, phonetic_codes) is None


def test_every_criterion_and_one_of_its_alternatives_must_be_met() -> None:
    durand, martin = NamePattern(text("Durand")), NamePattern(text("Martin"))
    assert meets(names=((martin, durand),))
    assert not meets(names=((martin,), (durand,)))
    assert meets(names=((durand,), (NamePattern(text("Lefevre")),)), sexes=("M", "F"))
    assert not meets(names=((durand,),), sexes=("M",))


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        ("19620314", "19620314", True),
        ("19620101", "19621231", True),
        (None, "19620314", True),
        ("19620315", None, False),
        ("19620401", "19620430", False),
    ],
)
def test_birth_dates(low: str | None, high: str | None, expected: bool) -> None:
    assert meets(birth_dates=(DateRange(low, high),)) is expected


def test_a_partial_birth_date_lies_in_a_range_when_all_of_its_days_do() -> None:
    assert days("1962") == days("19620000") == ("19620101", "19621231")
    assert days("196203") == days("19620300") == ("19620301", "19620331")
    assert days("196202") == days("19620200") == ("19620201", "19620228")
    assert days("196402") == ("19640201", "19640229")
    year = Sought(1, (Demographics(birth_date="1962"),))
    assert quality(DemographicsQuery(birth_dates=(DateRange("19620101", "19621231"),)), year)
    assert quality(DemographicsQuery(birth_dates=(DateRange("19620101", "19620101"),)), year) is None


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        ("19620210", None, True),
        (None, "19620210", True),
        ("19620228", "19620228", True),
        ("19620301", None, False),
        (None, "19620131", False),
    ],
)
def test_a_partial_birth_date_overlaps_a_range_when_one_of_its_days_may(
    low: str | None, high: str | None, expected: bool
) -> None:
    """FHIR R4 3.1.1.4.5: gt, lt, ge, le, ne compare by whether the ranges of two dates overlap."""
    born = Sought(1, (Demographics(birth_date="196202"),))
    assert (quality(DemographicsQuery(birth_dates=(DateRange(low, high, True),)), born) is not None) is expected


def test_addresses() -> None:
    def at(**parts: TextPattern) -> bool:
        return meets(addresses=((AddressPattern(**parts),),))

    assert at(street=text("4 Rue des Lilas"), city=text("ORLEANS"))
    assert not at(street=text("4 Rue des Lilas"), city=text("Tours"))
    assert at(postal_code=text("45", "prefix"), country=text("fra"))
    assert at(any_part=text("lilas", "contains"))


def test_telephones_compare_by_their_digits() -> None:
    def reached(value: str, comparison: str = "exact") -> bool:
        return meets(telephones=((text(value, comparison),),))

    assert reached("+33 2 38 11 22 33")
    assert reached("0238112233")
    assert reached("0238", "prefix")
    assert reached("1122", "contains")
    assert not reached("0238112234")
    assert national_number("0033238112233") == national_number("02.38.11.22.33") == "238112233"
    assert national_number("a@b.fr") == ""


def test_other_traits() -> None:
    assert meets(mothers_maiden_names=(text("LE GOFF"),))
    assert meets(mothers_maiden_names=(text("goff"),))
    assert not meets(mothers_maiden_names=(text("Martin"),))
    assert meets(account_number=IdentifierPattern("ACC1", AssigningAuthority(oid="1.2.3")))
    assert not meets(account_number=IdentifierPattern("ACC1", AssigningAuthority(oid="1.2.4")))
    assert meets(visit={"PV1.3.2": text("389"), "PV1.3.3": text("2")})
    assert not meets(visit={"PV1.3.2": text("390")})
    assert meets(keys=(6, 7))
    assert not meets(keys=(6,))
    assert meets(active=True)
    assert not meets(active=False)


def test_identifiers_with_and_without_an_authority() -> None:
    def has(*patterns: IdentifierPattern) -> bool:
        return meets(identifiers=(patterns,))

    assert has(IdentifierPattern("4711"))
    assert has(IdentifierPattern("4711", AssigningAuthority("HOSP")))
    assert has(IdentifierPattern(None, HOSPITAL))
    assert has(IdentifierPattern("x"), IdentifierPattern("4711", HOSPITAL))
    assert not has(IdentifierPattern("4711", AssigningAuthority("HOSP", "1.2.4")))
    assert not has(IdentifierPattern("x", HOSPITAL))


def test_what_fits_worse_counts_less() -> None:
    def score(family: TextPattern) -> float:
        return quality(DemographicsQuery(names=named(family=family)), PERSON, phonetic_codes) or 0.0

    exact, slip, sound = (score(text(name, "fuzzy")) for name in ("lefevre", "lefevrr", "lephaivre"))
    assert exact == 1.0 > slip > sound > 0
    assert is_graded(DemographicsQuery(names=named(family=text("x", "fuzzy"))))
    assert not is_graded(DemographicsQuery(names=named(family=text("x", "prefix"))))


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ("MARTIN", "MARTIN", True),
        ("MARTIN", "MARTEN", True),
        ("MARTIN", "MARTI", True),
        ("MARTI", "MARTIN", True),
        ("MARTIN", "MATRIN", True),
        ("MARTIN", "MATRIM", False),
        ("MARTIN", "MRTINE", False),
        ("ROY", "ROI", False),
    ],
)
def test_a_slip_of_the_pen(one: str, other: str, expected: bool) -> None:
    assert within_one_slip(one, other) is expected
    assert within_one_slip(other, one) is expected
