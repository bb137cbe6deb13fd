"""Folding, sounds and given names."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.rules.linkage.people import JEAN
from xds.model.patient import PersonName
from xds.rules.linkage import fold, fold_words, phonetic_codes, search_text
from xds.rules.linkage.folding import core_words
from xds.rules.linkage.given_names import are_related, are_variants, canonical, given_words, is_listed, placeholder
from xds.rules.linkage.phonetics import sound_alike, sound_the_same


class TestFolding:
    @pytest.mark.parametrize(
        ("text", "folded"),
        [
            ("Jean-Noël", "JEANNOEL"),
            ("d'Œuvray", "DOEUVRAY"),
            ("Straße", "STRASSE"),
            ("Łukasz Ørsted", "LUKASZORSTED"),
            ("  ", ""),
            ("Андрей", "АНДРЕИ"),
            ("Yıldız İnce", "YILDIZINCE"),
            ("HÃ©lÃ¨ne", "HELENE"),
            ("Ã‰ric", "ERIC"),
            ("JOÃO", "JOAO"),
        ],
    )
    def test_names(self, text: str, folded: str) -> None:
        assert fold(text) == folded

    @given(st.text())
    def test_folding_twice_changes_nothing(self, text: str) -> None:
        assert fold(fold(text)) == fold(text)
        assert fold_words(fold_words(text)) == fold_words(text)

    @given(st.text())
    def test_words_hold_what_folding_holds(self, text: str) -> None:
        assert fold_words(text).replace(" ", "") == fold(text)

    @pytest.mark.parametrize(
        ("words", "core"),
        [
            ("LE GOFF", ("GOFF",)),
            ("LEGOFF", ("GOFF",)),
            ("DE LA TOUR", ("TOUR",)),
            ("MARTIN DUPONT", ("MARTIN", "PONT")),
            ("LE", ("LE",)),
            ("DURY", ("DURY",)),
            ("", ()),
        ],
    )
    def test_particles(self, words: str, core: tuple[str, ...]) -> None:
        assert core_words(words) == core

    @pytest.mark.parametrize("text", ["IN?S", "IN\ufffdS"])
    def test_a_letter_that_is_lost_separates_nothing(self, text: str) -> None:
        assert fold_words(text) == "INS"

    @pytest.mark.parametrize("text", ["Martin ép. Durard", "MARTIN EPOUSE DURARD", "Martin née Durard"])
    def test_words_of_marriage_are_no_name(self, text: str) -> None:
        assert core_words(fold_words(text)) == core_words("MARTIN DURARD")


class TestSounds:
    @pytest.mark.parametrize(
        ("one", "other"),
        [
            ("DUPONT", "DUPOND"),
            ("LEFEBVRE", "LEFEVRE"),
            ("PHILIPPE", "FILIP"),
            ("GAUTHIER", "GOTIER"),
            ("MOHAMED", "MOHAMMED"),
            ("KATHERINE", "CATHERINE"),
            ("RENAULT", "RENAUD"),
            ("SMITH", "SMYTH"),
            ("KNIGHT", "NITE"),
        ],
    )
    def test_alike(self, one: str, other: str) -> None:
        assert sound_alike(one, other)
        assert phonetic_codes(one) & phonetic_codes(other)

    @pytest.mark.parametrize(("one", "other"), [("MARTIN", "BERNARD"), ("DUBOIS", "DUMAS"), ("SMITH", "JONES")])
    def test_different(self, one: str, other: str) -> None:
        assert not sound_alike(one, other)
        assert not phonetic_codes(one) & phonetic_codes(other)

    def test_vowels_tell_names_apart(self) -> None:
        assert sound_alike("JULIE", "JULIA")
        assert not sound_the_same("JULIE", "JULIA")
        assert sound_the_same("MATHIEU", "MATTHIEU")

    def test_particles_have_no_sound(self) -> None:
        assert phonetic_codes("Le Goff") == phonetic_codes("Goff")

    @given(st.text(alphabet="ABCDEFGHIJKLMNOPQRSTUVWXYZ", min_size=1, max_size=12))
    def test_every_name_has_codes(self, name: str) -> None:
        assert phonetic_codes(name)
        assert all(len(code) > 1 for code in phonetic_codes(name))

    def test_other_scripts_stand_for_themselves(self) -> None:
        assert phonetic_codes("李") == {"f李", "e李"}


class TestGivenNames:
    @pytest.mark.parametrize(
        ("one", "other"),
        [
            ("ALEX", "ALEXANDRE"),
            ("KATE", "KATHERINE"),
            ("JB", "JEANBAPTISTE"),
            ("MED", "MOHAMED"),
            ("MATHIEU", "MATTHIEU"),
            ("BOB", "ROBERT"),
        ],
    )
    def test_variants(self, one: str, other: str) -> None:
        assert are_variants(one, other)
        assert are_variants(other, one)

    @pytest.mark.parametrize(("one", "other"), [("CELINE", "CELINA"), ("FRANCOIS", "FRANCK"), ("JULIEN", "JULES")])
    def test_related_names_are_of_two_people_as_often(self, one: str, other: str) -> None:
        assert are_related(one, other)
        assert not are_variants(one, other)

    def test_unlisted_names_have_no_forms(self) -> None:
        assert not are_related("ZORGLUB", "ZORGLUB2")
        assert canonical("ZORGLUB") == "ZORGLUB"
        assert not is_listed("ZORGLUB")

    def test_all_forms_have_one_key(self) -> None:
        assert canonical("KATE") == canonical("CATHY") == "CATHERINE"

    @pytest.mark.parametrize(
        ("written", "words"),
        [
            ("JEANPIERRE", "JEAN PIERRE"),
            ("ANNESOPHIE D", "ANNE SOPHIE D"),
            ("MARIANNE", "MARIANNE"),
            ("MARIE", "MARIE"),
            ("CHARLOTTE", "CHARLOTTE"),
        ],
    )
    def test_composed_names(self, written: str, words: str) -> None:
        assert given_words(written) == words

    @pytest.mark.parametrize(
        ("words", "expected"),
        [
            ("BEBE", (True, None)),
            ("NOUVEAU NE", (True, None)),
            ("JUMEAU 2", (True, 2)),
            ("BABY BOY", (True, None)),
            ("BB B", (True, 2)),
            ("X", (True, None)),
            ("BEBERT", (False, None)),
            ("FILLEAU", (False, None)),
        ],
    )
    def test_newborns(self, words: str, expected: tuple[bool, int | None]) -> None:
        assert placeholder(words) == expected


def test_search_text() -> None:
    from dataclasses import replace

    person = replace(JEAN, names=(PersonName("Le Goff", "Jean-Noël"),), telephones=("02 98 00 11 22",))
    assert search_text(person) == "LEGOFF JEANNOEL 19491225 0298001122"
