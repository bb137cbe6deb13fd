"""Traits, their stored form, and the keys by which candidates are found."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.rules.linkage.people import ELSEWHERE, JEAN, MARIE, identified, named
from xds.model.patient import Address, Demographics, PersonName
from xds.rules.linkage import Traits, blocking_keys, home_keys, number_keys, traits
from xds.rules.linkage.blocking import MAX_KEYS
from xds.rules.linkage.traits import place_of, telephone_of

NAMES = st.builds(
    PersonName,
    family=st.text(max_size=12),
    given=st.text(max_size=12),
    further_given=st.text(max_size=12),
    suffix=st.sampled_from(["", "Jr"]),
    use=st.sampled_from([None, "L", "D", "A"]),
)
PEOPLE = st.builds(
    Demographics,
    names=st.tuples(NAMES) | st.tuples(NAMES, NAMES),
    birth_date=st.sampled_from([None, "", "1980", "198003", "19800314", "19800101", "19000101", "x"]),
    sex=st.sampled_from([None, "F", "M", "U"]),
    addresses=st.lists(
        st.builds(Address, street=st.text(max_size=9), city=st.text(max_size=9), postal_code=st.text(max_size=5)), max_size=2
    ).map(tuple),
    telephones=st.lists(st.text(alphabet="0123456789 +.", max_size=14), max_size=2).map(tuple),
    multiple_birth=st.sampled_from([None, True, False]),
    birth_order=st.sampled_from([None, 1, 2]),
)

#: The smallest keys of JEAN, as every register holds them.
STORED = [-7021507593, -2913165719]


class TestTraits:
    def test_of_a_record(self) -> None:
        found = traits(replace(JEAN, telephones=("+33 2 98 00 11 22",), emails=("Jean@Example.org", "none")))
        assert found.families == ("LE GOFF",)
        assert found.givens == ("JEAN NOEL",)
        assert found.telephones == ("298001122",)
        assert found.emails == ("jean@example.org",)
        assert found.addresses[0] == ("12", "PORT", "BREST", "29200")

    @pytest.mark.parametrize("date", ["19000101", "x", None, "0000"])
    def test_dates_that_are_none(self, date: str | None) -> None:
        assert traits(replace(JEAN, birth_date=date)).birth_date in ("", "0000")

    def test_newborns_have_no_given_name(self) -> None:
        found = traits(named(MARIE, "Kervella", "JUMEAU 2"))
        assert (found.givens, found.is_unnamed, found.birth_order) == ((), True, 2)

    def test_nicknames_are_not_names(self) -> None:
        assert traits(replace(JEAN, names=(*JEAN.names, PersonName("X", "Nono", use="N")))).givens == ("JEAN NOEL",)

    @pytest.mark.parametrize(
        ("street", "place"),
        [
            ("12, rue du Port", ("12", "PORT")),
            ("12 bis avenue des Lilas", ("12", "LILAS")),
            ("Le Bourg", ("", "BOURG")),
            ("012 BD Voltaire", ("12", "VOLTAIRE")),
            ("5 Main Street", ("5", "MAIN")),
            ("Rue du Port 12", ("12", "PORT")),
            ("Rue du Port 12 bte 3", ("12", "PORT")),
            ("Résidence du Port Bât 3", ("", "RESIDENCE PORT BAT 3")),
            ("Rue du 8 mai 1945", ("", "8 MAI 1945")),
        ],
    )
    def test_streets(self, street: str, place: tuple[str, str]) -> None:
        assert place_of(Address(street=street))[:2] == place

    @pytest.mark.parametrize("city", ["Saint-Malo", "ST MALO", "St-Malo Cedex 2"])
    def test_towns(self, city: str) -> None:
        assert place_of(Address(city=city)).city == "SAINT MALO"

    @pytest.mark.parametrize(
        ("text", "digits"), [("+33 2 98 00 11 22", "298001122"), ("02.98.00.11.22", "298001122"), ("0000000000", ""), ("12", "")]
    )
    def test_telephones(self, text: str, digits: str) -> None:
        assert telephone_of(text) == digits

    @given(PEOPLE)
    def test_packing_loses_nothing(self, person: Demographics) -> None:
        found = traits(person)
        assert Traits.unpack(found.pack()) == found

    def test_packing_keeps_identifiers(self) -> None:
        found = traits(identified(JEAN, "279035121518989", "VALI"))
        assert Traits.unpack(found.pack()).nationals == found.nationals != ()

    def test_other_bytes_are_refused(self) -> None:
        with pytest.raises(ValueError, match="packed traits"):
            Traits.unpack(b"something")


class TestKeys:
    @given(PEOPLE)
    def test_are_bounded_and_the_same_each_time(self, person: Demographics) -> None:
        keys = blocking_keys(traits(person))
        assert keys == blocking_keys(Traits.unpack(traits(person).pack()))
        assert len(set(keys)) == len(keys) <= MAX_KEYS
        assert all(-(2**33) <= key < 2**33 for key in keys)
        assert set(home_keys(keys)) | set(number_keys(keys)) <= set(keys)

    def test_stay_as_they_are_for_what_is_stored(self) -> None:
        # A changed key finds none of the records stored before: that needs a migration.
        assert sorted(blocking_keys(traits(JEAN)))[:2] == STORED

    def test_with_something_in_common_are_neighbours(self) -> None:
        # The day of birth, the pairs of names and the street: fourteen keys that stand at five places of the store.
        keys = blocking_keys(traits(JEAN))
        assert len(keys) == 14
        assert len({key >> 14 for key in keys}) == 5

    @pytest.mark.parametrize(
        "other",
        [
            named(JEAN, "LEGOFF", "JEAN", addresses=ELSEWHERE),
            named(JEAN, "GOFF", "J-N", addresses=ELSEWHERE, birth_date="19491225"),
            named(JEAN, "Jean-Noël", "Le Goff", addresses=ELSEWHERE),
            named(JEAN, "Le Gof", "Jean Noel", birth_date="19501225", addresses=ELSEWHERE),
            named(JEAN, "Le Goff", "Jean Noel", birth_date="19490101", addresses=ELSEWHERE),
            named(JEAN, "Martin", "Noël", addresses=ELSEWHERE),
            named(JEAN, "Le Goff", "Bébé"),
        ],
    )
    def test_meet_in_spite_of_differences(self, other: Demographics) -> None:
        assert set(blocking_keys(traits(JEAN))) & set(blocking_keys(traits(other)))

    def test_of_strangers_do_not(self) -> None:
        assert not set(blocking_keys(traits(JEAN))) & set(blocking_keys(traits(MARIE)))
