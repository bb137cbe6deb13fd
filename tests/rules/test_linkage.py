"""Which records describe the same person."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xds.model.identifiers import AssigningAuthority, PatientIdentifier
from xds.model.patient import Address, Demographics, IdentityDomain, PersonName
from xds.rules.identity_domains import DomainTable
from xds.rules.linkage import (
    Link,
    LinkReason,
    Member,
    fold,
    holds,
    is_national,
    is_vetoed,
    links,
    reason_to_link,
    search_text,
    traits,
)

JEAN = Demographics(
    names=(PersonName("Le Goff", "Jean-Noël", use="L"),),
    birth_date="19491225",
    sex="M",
    addresses=(Address(street="12, rue du Port", city="Brest", postal_code="29200"),),
)
ELSEWHERE = (Address(street="1 rue de Siam", city="Rennes", postal_code="35000"),)
INS = AssigningAuthority("INS", "1.2.250.1.213.1.4.8")


def national(value: str, authority: AssigningAuthority = INS) -> tuple[PatientIdentifier, ...]:
    return (PatientIdentifier(value, authority, "INS"),)


def member(key: int, *stated: Demographics, domain: int = 0) -> Member:
    return Member(key, tuple(traits(item) for item in stated), frozenset({domain or key}))


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
        ],
    )
    def test_names(self, text: str, folded: str) -> None:
        assert fold(text) == folded

    @given(st.text())
    def test_folding_twice_changes_nothing(self, text: str) -> None:
        assert fold(fold(text)) == fold(text)


class TestReasons:
    @pytest.mark.parametrize(
        "other",
        [
            JEAN,
            replace(JEAN, addresses=()),
            replace(JEAN, names=(PersonName("LE-GOFF", "JEAN NOEL"),)),
            replace(JEAN, names=(PersonName("Martin", "Jean"), PersonName("Legoff", "Jean Noel", use="M"))),
            replace(JEAN, birth_date="194912250830"),
            replace(JEAN, addresses=(Address(postal_code="29200"),)),
            replace(JEAN, addresses=(*ELSEWHERE, *JEAN.addresses)),
        ],
    )
    def test_the_same_traits(self, other: Demographics) -> None:
        assert reason_to_link(traits(JEAN), traits(other)) is LinkReason.DEMOGRAPHICS
        assert traits(JEAN).match_keys & traits(other).match_keys

    @pytest.mark.parametrize(
        "other",
        [
            replace(JEAN, names=(PersonName("Le Goff", "Jean"),)),
            replace(JEAN, names=(PersonName("Le Goff", "Jean-Noël", use="N"),)),
            replace(JEAN, birth_date="19491224"),
            replace(JEAN, birth_date="194912"),
            replace(JEAN, birth_date=None),
            replace(JEAN, sex="U"),
            replace(JEAN, sex=None),
            replace(JEAN, addresses=ELSEWHERE),
            Demographics(),
        ],
    )
    def test_not_enough(self, other: Demographics) -> None:
        assert reason_to_link(traits(JEAN), traits(other)) is None

    @pytest.mark.parametrize(
        "demographics",
        [
            replace(JEAN, names=(PersonName("Le Goff", "Bébé"),)),
            replace(JEAN, names=(PersonName("Le Goff", ""),)),
            replace(JEAN, birth_date="19000101"),
        ],
    )
    def test_placeholders_link_nobody(self, demographics: Demographics) -> None:
        assert traits(demographics).match_keys == frozenset()
        assert reason_to_link(traits(demographics), traits(demographics)) is None

    def test_the_national_identifier_decides(self) -> None:
        one = Demographics(national_identifiers=national("1 49 12 29 019 042 17"), birth_date="194912")
        other = replace(JEAN, national_identifiers=national("149122901904217"), addresses=ELSEWHERE)
        assert reason_to_link(traits(one), traits(other)) is LinkReason.NATIONAL_IDENTIFIER
        assert not is_vetoed(traits(one), traits(other))

    @pytest.mark.parametrize("value", ["99999999999", "0000", "1"])
    def test_numbers_that_are_none(self, value: str) -> None:
        one = Demographics(national_identifiers=national(value))
        assert reason_to_link(traits(one), traits(one)) is None

    def test_which_identifiers_a_state_issues(self) -> None:
        assert is_national(PatientIdentifier("1", INS))
        assert is_national(PatientIdentifier("1", AssigningAuthority("X"), "SS"))
        assert not is_national(PatientIdentifier("1", AssigningAuthority("X"), "PI"))


class TestVetoes:
    @pytest.mark.parametrize(
        "other",
        [
            replace(JEAN, birth_date="1950"),
            replace(JEAN, sex="F"),
            replace(JEAN, names=(PersonName("Le Goff", "Jean-Noël", suffix="Jr"),)),
            replace(JEAN, birth_order=2),
            replace(JEAN, national_identifiers=national("279035121518989")),
        ],
    )
    def test_two_persons(self, other: Demographics) -> None:
        one = replace(
            JEAN,
            names=(PersonName("Le Goff", "Jean-Noël", suffix="Sr"),),
            birth_order=1,
            national_identifiers=national("149122901904217"),
        )
        assert is_vetoed(traits(one), traits(other))
        assert is_vetoed(traits(other), traits(one))

    def test_what_is_absent_vetoes_nothing(self) -> None:
        assert not is_vetoed(traits(JEAN), traits(Demographics()))
        lab = national("55555-1", AssigningAuthority("LAB"))
        assert not is_vetoed(
            traits(replace(JEAN, national_identifiers=lab)),
            traits(replace(JEAN, national_identifiers=national("149122901904217"))),
        )


class TestLinks:
    def test_a_person_joins_a_group_through_any_of_it(self) -> None:
        group = (member(1, replace(JEAN, names=(PersonName("X", "Y"),))), member(2, JEAN))
        person = member(3, JEAN)
        assert links(person, (person,), [group]) == (Link(3, 2, LinkReason.DEMOGRAPHICS),)

    def test_one_veto_in_the_group_keeps_her_out(self) -> None:
        group = (member(1, replace(JEAN, sex="F")), member(2, JEAN))
        person = member(3, JEAN)
        assert links(person, (person,), [group]) == ()

    def test_two_who_agree_with_each_other_are_both_joined(self) -> None:
        person = member(3, JEAN)
        found = links(person, (person,), [(member(1, JEAN),), (member(2, JEAN),)])
        assert [link.other for link in found] == [1, 2]

    def test_two_who_contradict_each_other_are_not(self) -> None:
        nowhere = replace(JEAN, addresses=())
        person = member(3, nowhere)
        assert links(person, (person,), [(member(1, nowhere, domain=9),), (member(2, nowhere, domain=9),)]) == ()

    def test_records_of_one_domain_need_the_same_street(self) -> None:
        assert holds(member(1, JEAN, domain=9), member(2, JEAN, domain=9)) is LinkReason.DEMOGRAPHICS
        assert holds(member(1, JEAN, domain=9), member(2, replace(JEAN, addresses=()), domain=9)) is None

    def test_exclusive_domains_and_declarations_are_absolute(self) -> None:
        one, other = member(1, JEAN), member(2, JEAN)
        assert holds(one, other)
        assert holds(replace(one, exclusive=frozenset({5})), replace(other, exclusive=frozenset({5}))) is None
        assert holds(replace(one, apart=frozenset({2})), other) is None

    @given(st.lists(st.sampled_from([JEAN, replace(JEAN, sex="F"), replace(JEAN, addresses=ELSEWHERE)]), min_size=2, max_size=4))
    def test_holding_is_symmetric(self, stated: list[Demographics]) -> None:
        one, other = member(1, stated[0]), member(2, *stated[1:])
        assert holds(one, other) == holds(other, one)


def test_search_text() -> None:
    assert search_text(replace(JEAN, telephones=("02 98 00 11 22",))) == "LEGOFF JEANNOEL 19491225 0298001122"


class TestDomains:
    TABLE = DomainTable(
        [
            IdentityDomain(AssigningAuthority("A", "1.1"), ("HA|ADT", "HA|RIS")),
            IdentityDomain(AssigningAuthority("B", "1.2")),
            IdentityDomain(AssigningAuthority("C", "1.3"), ("HA|RIS",)),
        ],
        AssigningAuthority("AFF", "1.9"),
    )

    @pytest.mark.parametrize(
        ("given", "completed"),
        [
            (AssigningAuthority("A"), AssigningAuthority("A", "1.1")),
            (AssigningAuthority(None, "1.1"), AssigningAuthority("A", "1.1")),
            (AssigningAuthority("Hospital A", "1.1"), AssigningAuthority("A", "1.1")),
            (AssigningAuthority("AFF"), AssigningAuthority("AFF", "1.9")),
            (AssigningAuthority("Z"), AssigningAuthority("Z")),
            (AssigningAuthority("A", "7.7"), AssigningAuthority("A", "7.7")),
        ],
    )
    def test_completion(self, given: AssigningAuthority, completed: AssigningAuthority) -> None:
        assert self.TABLE.complete(given) == completed

    def test_contradictions(self) -> None:
        assert self.TABLE.is_contradictory(AssigningAuthority("A", "1.2"))
        assert self.TABLE.is_contradictory(AssigningAuthority("A", "7.7"))
        assert not self.TABLE.is_contradictory(AssigningAuthority("new", "1.2"))

    def test_issuers(self) -> None:
        assert self.TABLE.may_issue(AssigningAuthority("A"), "HA|ADT")
        assert not self.TABLE.may_issue(AssigningAuthority("A"), "HB|ADT")
        assert self.TABLE.may_issue(AssigningAuthority("B"), "HB|ADT")
        assert self.TABLE.may_issue(AssigningAuthority("unlisted"), "HB|ADT")

    def test_the_authority_of_a_source(self) -> None:
        assert self.TABLE.of_source("HA|ADT") == AssigningAuthority("A", "1.1")
        assert self.TABLE.of_source("HA|RIS") is None
        assert self.TABLE.of_source("HB|ADT") is None
