"""National identifiers: keys, states, and domains of test that never meet real ones. Spec: INS."""

from __future__ import annotations

import pytest

from tests.rules.linkage.people import ELSEWHERE, INS, INS_TEST, JEAN, decided, evidence, identified, member, named
from xds.model.identifiers import AssigningAuthority, PatientIdentifier
from xds.rules.linkage import NationalStatus, Veto, has_valid_key, ins_key, is_national, nationals_of, status_of

NIR = "279035121518989"
OTHER = "184127645108946"


class TestKeys:
    @pytest.mark.parametrize(
        "value",
        [NIR, OTHER, "2 79 03 51 215 189 89", f"1850120012345{ins_key('1850120012345'):02d}"],
    )
    def test_valid(self, value: str) -> None:
        assert has_valid_key(value)

    @pytest.mark.parametrize(
        ("department", "digits"),
        [("2A", "19"), ("2B", "18")],
    )
    def test_corsica_counts_as_a_number(self, department: str, digits: str) -> None:
        assert ins_key(f"18501{department}012345") == ins_key(f"18501{digits}012345")
        assert has_valid_key(f"18501{department}012345{ins_key(f'18501{department}012345'):02d}")

    @pytest.mark.parametrize(
        "value", ["279035121518988", "27903512151898", "", "99999999999", "279035C21518989", "979035121518989"]
    )
    def test_invalid(self, value: str) -> None:
        assert not has_valid_key(value)

    def test_one_digit_wrong_is_found(self) -> None:
        for place in range(15):
            for digit in "0123456789":
                changed = NIR[:place] + digit + NIR[place + 1 :]
                assert has_valid_key(changed) == (changed == NIR)


class TestStates:
    @pytest.mark.parametrize(
        ("codes", "status"),
        [
            ((), NationalStatus.STATED),
            (("PROV",), NationalStatus.PROVISIONAL),
            (("RECD",), NationalStatus.RETRIEVED),
            (("VALI",), NationalStatus.QUALIFIED),
            (("QUAL",), NationalStatus.QUALIFIED),
            (("VALI", "DOUT"), NationalStatus.PROVISIONAL),
        ],
    )
    def test_of_the_ins(self, codes: tuple[str, ...], status: NationalStatus) -> None:
        assert status_of("1.2.250.1.213.1.4.8", codes) is status

    def test_another_identifier_is_qualified_by_name_only(self) -> None:
        assert status_of("2.16.840.1.113883.4.1", ("VALI",)) is NationalStatus.VALIDATED

    def test_a_wrong_key_is_never_qualified(self) -> None:
        (found,) = nationals_of(identified(JEAN, "279035121518988", "VALI"))
        assert found.status is NationalStatus.PROVISIONAL

    def test_which_identifiers_a_state_issues(self) -> None:
        assert is_national(PatientIdentifier("1", INS))
        assert is_national(PatientIdentifier("1", AssigningAuthority("X"), "SS"))
        assert not is_national(PatientIdentifier("1", AssigningAuthority("X"), "PI"))

    @pytest.mark.parametrize("value", ["99999999999", "0000", "1"])
    def test_numbers_that_are_none(self, value: str) -> None:
        assert nationals_of(identified(JEAN, value)) == ()


class TestEquality:
    def test_a_qualified_identifier_links_alone(self) -> None:
        one = identified(named(JEAN, "Le Goff", "", birth_date=None, addresses=()), NIR, "VALI")
        other = identified(named(JEAN, "Martin", "Jean", addresses=ELSEWHERE), "2 79 03 51 215 189 89", "QUAL")
        found = evidence(one, other)
        assert (found.rule, found.veto) == ("qualified identifier", None)
        assert [item.group for item in decided(member(1, one), [member(2, other)]).link] == [0]

    @pytest.mark.parametrize("codes", [(), ("PROV",), ("RECD",)])
    def test_any_other_is_ordinary_evidence(self, codes: tuple[str, ...]) -> None:
        one, other = identified(JEAN, NIR, "VALI"), identified(JEAN, NIR, *codes)
        assert evidence(one, other).rule == "weights"
        different = identified(JEAN, OTHER, *codes)
        assert evidence(one, different).veto is None
        assert evidence(one, different).total < evidence(one, JEAN).total

    def test_a_provisional_one_weighs_little(self) -> None:
        totals = [evidence(identified(JEAN, NIR), identified(JEAN, NIR, *codes)).total for codes in ((), ("PROV",))]
        assert totals[1] < totals[0] - 10
        assert totals[1] > evidence(JEAN, JEAN).total

    def test_groups_with_the_same_number_are_all_joined(self) -> None:
        moved = identified(named(JEAN, "Le Goff", "Jean", addresses=ELSEWHERE), NIR)
        decision = decided(member(1, identified(JEAN, NIR)), [member(2, identified(JEAN, NIR))], [member(3, moved)])
        assert sorted(item.group for item in decision.link) == [0, 1]

    def test_a_provisional_one_does_not_link_strangers(self) -> None:
        stranger = identified(named(JEAN, "Martin", "Jean-Noël", birth_date="19600101", addresses=ELSEWHERE), NIR, "PROV")
        assert not decided(member(1, identified(JEAN, NIR, "VALI")), [member(2, stranger)]).link

    def test_a_slip_does_not_contradict_what_the_state_confirmed(self) -> None:
        one, other = named(JEAN, "Le Goff", "Marine"), named(JEAN, "Le Goff", "Marie", birth_date="19491206")
        assert evidence(one, other).veto == Veto.GIVEN_NAME_ALIKE
        assert evidence(identified(one, NIR, "VALI"), identified(other, NIR, "VALI")).veto is None
        assert evidence(identified(one, NIR), identified(other, NIR)).veto == Veto.GIVEN_NAME_ALIKE

    def test_two_qualified_ones_veto(self) -> None:
        assert evidence(identified(JEAN, NIR, "VALI"), identified(JEAN, OTHER, "VALI")).veto == Veto.NATIONAL_IDENTIFIER

    def test_of_test_and_real_domains_never_meet(self) -> None:
        one, other = identified(JEAN, NIR, "VALI"), identified(JEAN, NIR, "VALI", authority=INS_TEST)
        found = evidence(one, other)
        assert "national" not in found.levels
        assert found.rule == "weights"

    def test_the_same_number_under_two_given_names_is_looked_at(self) -> None:
        one, other = identified(JEAN, NIR, "VALI"), identified(named(JEAN, "Le Goff", "Sébastien"), NIR, "VALI")
        decision = decided(member(1, one), [member(2, other)])
        assert not decision.link
        assert [item.evidence.veto for item in decision.review] == [Veto.GIVEN_NAME]
