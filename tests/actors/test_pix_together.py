"""Feeds of one transaction have the effect that they have one after another, whatever is asked for beforehand."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.identity import CALLER, HOSPITAL_A, HOSPITAL_B, HOSPITAL_C, Region, at
from xds.model.identifiers import PatientIdentifier
from xds.model.patient import Address, Demographics, FeedKind, IdentityFeed, PersonName

PEOPLE = (
    ("Lefèvre", "Marie-Hélène", "19620314", "F"),
    ("Lefebvre", "Marie", "19620314", "F"),
    ("Dupond", "Paul", "19880501", "M"),
    ("Nguyen", "Anne", "19751130", "F"),
)
SETTLED = (at(HOSPITAL_A, "0"), at(HOSPITAL_B, "0"))


def described(chance: random.Random) -> Demographics:
    family, given, born, sex = chance.choice(PEOPLE)
    return Demographics(
        names=(PersonName(family, given, use="L"),),
        birth_date=born,
        sex=sex,
        addresses=(Address(street=f"{chance.randint(1, 2)} rue des Lilas", city="Orléans", postal_code="45000"),),
        telephones=(f"023811223{chance.randint(0, 2)}",),
    )


def feeds(seed: int) -> list[IdentityFeed]:
    chance = random.Random(seed)
    found = []
    for number in range(14):
        authority = chance.choice((HOSPITAL_A, HOSPITAL_B, HOSPITAL_C))
        kind = chance.choice((FeedKind.ADD, FeedKind.ADD, FeedKind.REVISE))
        patient = at(authority, str(chance.randint(0, 3)))
        found.append(IdentityFeed(kind, f"{authority.namespace}|ADT", f"M{seed}-{number}", (patient,), described(chance)))
    return found


def persons(region: Region) -> set[frozenset[PatientIdentifier]]:
    """Who is one person, by the identifiers that the hospitals issued."""
    own = {HOSPITAL_A.oid, HOSPITAL_B.oid, HOSPITAL_C.oid}
    every = region.pix.persons(CALLER)
    return {frozenset(item for item in each.identifiers if item.authority.oid in own) for each in every}


@pytest.fixture
def regions(tmp_path: Path) -> Iterator[tuple[Region, Region]]:
    one, other = Region(tmp_path / "one"), Region(tmp_path / "other")
    yield one, other
    one.close()
    other.close()


@pytest.mark.usefixtures("back_end")
@pytest.mark.parametrize("seed", range(6))
def test_together_as_one_after_another(regions: tuple[Region, Region], seed: int) -> None:
    together, alone = regions
    for region in regions:
        # The domains are known, and so are some of the patients.
        for patient in (*SETTLED, at(HOSPITAL_C, "9")):
            assert region.feed(patient, demographics=described(random.Random(seed))) == ()
    begun = [together.pix.begin_feed(item, CALLER) for item in feeds(seed)]
    assert [finish() for finish in begun] == [alone.pix.feed(item, CALLER) for item in feeds(seed)]
    assert persons(together) == persons(alone)
    for authority in (HOSPITAL_A, HOSPITAL_B, HOSPITAL_C):
        for value in range(4):
            answers = [region.pix.cross_reference(at(authority, str(value)), (), CALLER) for region in regions]
            assert {len(answer.identifiers) for answer in answers} == {len(answers[0].identifiers)}
