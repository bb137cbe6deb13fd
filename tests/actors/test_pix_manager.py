"""The PIX Manager: feeds, cross-reference, merges, and the registry's list of patients that follows.

Spec: ITI TF-2 3.8.4, 3.9.4.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.identity import (
    AFFINITY,
    CALLER,
    CONFIGURED,
    HOSPITAL_A,
    HOSPITAL_B,
    HOSPITAL_C,
    INS,
    MARIE,
    Refusing,
    Region,
    at,
)
from xds.model.audit import EventAction, EventOutcome
from xds.model.identifiers import AssigningAuthority, PatientIdentifier
from xds.model.patient import Demographics, FeedKind, IdentityDomain, IdentityProblemKind, PersonName

A1, A2, B1, C1 = at(HOSPITAL_A, "1"), at(HOSPITAL_A, "2"), at(HOSPITAL_B, "1"), at(HOSPITAL_C, "1")
X1, X2 = at(AFFINITY, "X1"), at(AFFINITY, "X2")
PAUL = Demographics(names=(PersonName("MARTIN", "Paul"),), birth_date="19500102", sex="M")
NOBODY = Demographics()


@pytest.fixture
def region(tmp_path: Path) -> Iterator[Region]:
    region = Region(tmp_path)
    yield region
    region.close()


@pytest.fixture
def configured(tmp_path: Path) -> Iterator[Region]:
    region = Region(tmp_path, domains=CONFIGURED, unknown_domains="refuse")
    yield region
    region.close()


def kinds(problems: tuple) -> list[tuple[IdentityProblemKind, str, int, int]]:
    return [(item.kind, item.field, item.repetition, item.component) for item in problems]


class TestFeed:
    def test_a_new_person_gets_an_identifier_of_the_affinity_domain_that_the_registry_knows(self, region: Region) -> None:
        assert region.feed(A1) == ()
        affinity = region.affinity(A1)
        assert affinity.authority == AFFINITY
        assert affinity.value.startswith("P")
        assert len(affinity.value) == 14
        assert region.registered(affinity).is_active

    def test_an_identifier_of_the_affinity_domain_is_used_as_it_is(self, region: Region) -> None:
        region.feed(at(AssigningAuthority(None, AFFINITY.oid), "NIST-1"))
        assert region.affinity(at(AFFINITY, "NIST-1")).value == "NIST-1"
        assert region.registered(at(AFFINITY, "NIST-1")).is_active
        assert region.others(at(AFFINITY, "NIST-1")) == []

    def test_patients_fed_alike_in_the_affinity_domain_stay_apart(self, region: Region) -> None:
        """A test tool registers patient after patient with one and the same name."""
        for number in range(4):
            region.feed(at(AFFINITY, f"NIST-{number}"))
        for number in range(4):
            assert region.registered(at(AFFINITY, f"NIST-{number}")).is_active
            assert region.affinity(at(AFFINITY, f"NIST-{number}")).value == f"NIST-{number}"

    def test_the_registry_ignores_a08(self, region: Region) -> None:
        assert region.feed(X1, kind=FeedKind.REVISE) == ()
        assert region.registered(X1) is None
        region.feed(X1)
        assert region.registered(X1).is_active

    def test_two_hospitals_feed_one_woman(self, region: Region) -> None:
        region.feed(A1)
        spelled = replace(MARIE, names=(PersonName("LEFEVRE", "Marie Helene"),), addresses=())
        region.feed(B1, demographics=spelled, source="HOSP_B|ADT")
        assert region.others(A1, HOSPITAL_B) == ["1"]
        assert region.others(B1, HOSPITAL_A) == ["1"]
        assert region.affinity(A1) == region.affinity(B1)
        assert region.registered(region.affinity(A1)).is_active

    def test_an_older_feed_is_found_by_a_later_one_that_corrects_the_name(self, region: Region) -> None:
        region.feed(A1)
        region.feed(B1, demographics=replace(MARIE, names=(PersonName("Moreau", "Josiane"),)), source="HOSP_B|ADT")
        first, second = region.affinity(A1), region.affinity(B1)
        assert first != second
        region.feed(B1, kind=FeedKind.REVISE, demographics=Demographics(names=MARIE.names), source="HOSP_B|ADT")
        assert region.affinity(B1) == first
        joined = region.registered(second)
        assert joined.surviving_key == region.registered(first).patient_key

    def test_what_a_correction_joined_another_one_separates(self, region: Region) -> None:
        region.feed(A1)
        region.feed(B1, demographics=PAUL, source="HOSP_B|ADT")
        second = region.affinity(B1)
        region.feed(B1, kind=FeedKind.REVISE, demographics=MARIE, source="HOSP_B|ADT")
        assert region.others(A1, HOSPITAL_B) == ["1"]
        assert not region.registered(second).is_active
        region.feed(B1, kind=FeedKind.REVISE, demographics=PAUL, source="HOSP_B|ADT")
        assert region.others(A1, HOSPITAL_B) == []
        assert region.affinity(B1) == second
        assert region.registered(second).is_active

    def test_persons_who_never_had_an_identifier_of_their_own_get_one_when_they_separate(self, region: Region) -> None:
        region.feed(A1)
        region.feed(B1, source="HOSP_B|ADT")
        region.feed(B1, kind=FeedKind.REVISE, demographics=PAUL, source="HOSP_B|ADT")
        assert region.affinity(A1) != region.affinity(B1)
        assert region.registered(region.affinity(B1)).is_active

    def test_an_assigned_identifier_gives_way_to_the_one_that_is_fed(self, region: Region) -> None:
        region.feed(A1)
        assigned = region.affinity(A1)
        region.feed(X1, source="MPI|MPI")
        assert region.affinity(A1).value == "X1"
        assert region.registered(assigned).surviving_key == region.registered(X1).patient_key

    def test_absent_fields_stay_and_deleted_ones_go(self, region: Region) -> None:
        region.feed(A1)
        region.feed(A1, kind=FeedKind.REVISE, demographics=Demographics(telephones=("0238",)), deleted=("addresses",))
        (person,) = region.pix.persons(CALLER)
        (stated,) = person.stated
        assert stated.demographics == replace(MARIE, addresses=(), telephones=("0238",))

    def test_a_resent_message_has_no_second_effect(self, region: Region) -> None:
        region.feed(A1, message_id="M1")
        region.feed(A1, kind=FeedKind.REVISE, demographics=Demographics(sex="M"), message_id="M2")
        assert region.feed(A1, message_id="M1") == ()
        (person,) = region.pix.persons(CALLER)
        assert person.stated[0].demographics.sex == "M"
        assert len(region.audited()) == 2

    def test_the_same_control_id_with_other_content_is_another_message(self, region: Region) -> None:
        region.feed(A1, message_id="HL7MSG00001")
        region.feed(B1, demographics=PAUL, message_id="HL7MSG00001")
        assert region.affinity(A1) != region.affinity(B1)

    def test_several_identifiers_in_one_message_are_one_person(self, region: Region) -> None:
        region.feed(A1, B1, C1)
        assert region.others(B1) == [region.affinity(A1).value, "1", "1"]
        assert region.others(B1, HOSPITAL_A) == ["1"]
        assert region.others(B1, HOSPITAL_C) == ["1"]

    def test_one_identifier_may_be_stated_twice(self, region: Region) -> None:
        assert region.feed(at(HOSPITAL_A, "1", "PI"), at(HOSPITAL_A, "1", "MR"), at(AssigningAuthority("HOSP_A"), "1")) == ()
        assert region.others(region.affinity(A1), HOSPITAL_A) == ["1"]

    def test_a_source_may_join_two_records_of_its_own(self, region: Region) -> None:
        region.feed(A1, demographics=NOBODY)
        region.feed(A2, demographics=NOBODY)
        region.feed(A1, A2, kind=FeedKind.REVISE, demographics=NOBODY)
        assert region.others(A1, HOSPITAL_A) == ["2"]
        assert region.affinity(A1) == region.affinity(A2)

    def test_a_shared_national_identifier_joins_and_a_contradiction_keeps_apart(self, region: Region) -> None:
        ins = at(INS, "279035121518989", "INS")
        region.feed(A1, ins, demographics=replace(MARIE, reliability=("VALI",)))
        region.feed(B1, ins, demographics=Demographics(birth_date="196203"), source="HOSP_B|ADT")
        assert region.others(A1, HOSPITAL_B) == ["1"]
        assert region.others(A1, INS) == ["279035121518989"]
        region.feed(C1, ins, demographics=PAUL, source="HOSP_C|ADT")
        assert region.others(A1, HOSPITAL_C) == []

    def test_a_number_that_everybody_has_joins_a_bounded_group(self, region: Region) -> None:
        placeholder = at(INS, "199000001111111", "INS")
        named = replace(MARIE, national_identifiers=(placeholder,))
        for number in range(60):
            region.feed(at(HOSPITAL_A, f"A{number}"), demographics=named, source="HOSP_A|ADT")
        sizes = [len(person.identifiers) for person in region.pix.persons(CALLER)]
        assert max(sizes) < 60

    def test_parallel_feeds_of_one_new_identifier_make_one_person(self, region: Region) -> None:
        problems = []
        threads = [
            threading.Thread(target=lambda number=number: problems.append(region.feed(A1, message_id=f"P{number}")))
            for number in range(16)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert problems == [()] * 16
        assert len(list(region.pix.persons(CALLER))) == 1


class TestDomains:
    def test_namespace_and_oid_are_the_same_domain(self, configured: Region) -> None:
        assert configured.feed(at(AssigningAuthority("HOSP_A"), "1")) == ()
        oid_only = at(AssigningAuthority(None, HOSPITAL_A.oid), "1")
        assert configured.pix.affinity_identifier(oid_only) is not None
        answer = configured.pix.cross_reference(
            at(AFFINITY, configured.affinity(A1).value), (AssigningAuthority("HOSP_A"),), CALLER
        )
        assert answer.identifiers == (A1,)

    def test_a_missing_authority_is_that_of_the_source(self, configured: Region) -> None:
        assert configured.feed(at(AssigningAuthority(), "7")) == ()
        assert configured.pix.affinity_identifier(at(HOSPITAL_A, "7")) is not None
        problems = configured.feed(at(AssigningAuthority(), "7"), source="NOWHERE|ADT")
        assert kinds(problems) == [(IdentityProblemKind.REQUIRED_MISSING, "identifiers", 1, 4)]

    def test_everything_wrong_is_told_at_once_and_nothing_is_stored(self, configured: Region) -> None:
        problems = configured.feed(A1, C1, B1, at(AssigningAuthority("HOSP_A", "9.9"), "1"))
        assert kinds(problems) == [
            (IdentityProblemKind.UNKNOWN_DOMAIN, "identifiers", 2, 4),
            (IdentityProblemKind.NOT_ISSUER, "identifiers", 3, 4),
            (IdentityProblemKind.INVALID, "identifiers", 4, 4),
        ]
        assert list(configured.pix.persons(CALLER)) == []
        assert [event.outcome for event in configured.audited()] == [EventOutcome.MINOR_FAILURE]

    def test_a_domain_that_was_created_learns_its_other_name(self, region: Region) -> None:
        region.feed(at(AssigningAuthority("LAB"), "5"), demographics=NOBODY)
        region.feed(at(AssigningAuthority("LAB", "1.9.9"), "6"), demographics=NOBODY)
        assert region.affinity(at(AssigningAuthority(None, "1.9.9"), "5"))
        assert region.affinity(at(AssigningAuthority("LAB"), "6"))

    def test_an_identifier_with_a_namespace_of_another_authority_keeps_its_oid(self, region: Region) -> None:
        region.feed(at(AssigningAuthority("LAB", "1.9.1"), "5"), demographics=NOBODY)
        assert region.feed(at(AssigningAuthority("LAB", "1.9.2"), "5"), demographics=PAUL) == ()
        assert region.affinity(at(AssigningAuthority(None, "1.9.1"), "5")) != region.affinity(
            at(AssigningAuthority(None, "1.9.2"), "5")
        )

    def test_the_affinity_domain_may_have_sources_too(self, tmp_path: Path) -> None:
        region = Region(tmp_path, domains=(IdentityDomain(AFFINITY, ("MPI|MPI",)),))
        assert kinds(region.feed(X1))[0][0] is IdentityProblemKind.NOT_ISSUER
        assert region.feed(X1, source="MPI|MPI") == ()
        region.close()


class TestCrossReference:
    """The six cases of ITI TF-2 3.9.4.2.2.6."""

    def test_without_domains_all_but_the_queried_one(self, region: Region) -> None:
        region.feed(A1, A2)
        region.feed(B1, source="HOSP_B|ADT")
        assert sorted(region.others(A1)) == sorted(["1", region.affinity(A1).value])

    def test_known_without_identifier_in_the_domain(self, region: Region) -> None:
        region.feed(A1)
        region.feed(B1, demographics=PAUL, source="HOSP_B|ADT")
        assert region.others(A1, HOSPITAL_B) == []

    def test_unknown_identifier_and_unknown_domains_all_at_once(self, region: Region) -> None:
        region.feed(A1)
        answer = region.pix.cross_reference(A2, (HOSPITAL_B, AFFINITY, HOSPITAL_C), CALLER)
        assert kinds(answer.problems) == [
            (IdentityProblemKind.UNKNOWN_IDENTIFIER, "identifier", 1, 1),
            (IdentityProblemKind.UNKNOWN_DOMAIN, "domains", 1, 4),
            (IdentityProblemKind.UNKNOWN_DOMAIN, "domains", 3, 4),
        ]

    def test_a_query_does_not_create_a_domain(self, region: Region) -> None:
        for _ in range(2):
            answer = region.pix.cross_reference(C1, (), CALLER)
            assert kinds(answer.problems) == [(IdentityProblemKind.UNKNOWN_DOMAIN, "identifier", 1, 4)]

    def test_a_configured_domain_is_known_before_anything_was_fed(self, configured: Region) -> None:
        answer = configured.pix.cross_reference(A1, (HOSPITAL_B,), CALLER)
        assert kinds(answer.problems) == [(IdentityProblemKind.UNKNOWN_IDENTIFIER, "identifier", 1, 1)]

    def test_several_identifiers_in_one_domain_stand_together(self, region: Region) -> None:
        region.feed(A1, B1, A2)
        answer = region.pix.cross_reference(B1, (HOSPITAL_A,), CALLER)
        assert answer.identifiers == (A1, A2)

    def test_the_access_rule_hides_the_patient(self, tmp_path: Path) -> None:
        region = Region(tmp_path, access=Refusing())
        region.feed(A1)
        answer = region.pix.cross_reference(A1, (), CALLER)
        assert kinds(answer.problems) == [(IdentityProblemKind.UNKNOWN_IDENTIFIER, "identifier", 1, 1)]
        assert list(region.pix.persons(CALLER)) == []
        region.close()


class TestMerge:
    def test_local_identifiers(self, region: Region) -> None:
        region.feed(A1)
        region.feed(A2, demographics=PAUL)
        region.feed(B1, demographics=PAUL, source="HOSP_B|ADT")
        first, second = region.affinity(A1), region.affinity(A2)
        assert region.others(B1, HOSPITAL_A) == ["2"]
        assert region.merge(A2, A1) == ()
        assert region.others(B1, HOSPITAL_A) == ["1"]
        assert region.affinity(A2) == first
        assert region.registered(second).surviving_key == region.registered(first).patient_key

    def test_what_was_subsumed_is_unknown_to_those_who_ask(self, region: Region) -> None:
        """Inside it goes on leading to the survivor: images and documents carry it."""
        unknown = [(IdentityProblemKind.UNKNOWN_IDENTIFIER, "identifier", 1, 1)]
        region.feed(A1)
        region.feed(A2, demographics=PAUL)
        region.merge(A2, A1)
        assert kinds(region.pix.cross_reference(A2, (), CALLER).problems) == unknown
        assert region.affinity(A2) == region.affinity(A1)
        region.feed(at(HOSPITAL_A, "3"), kind=FeedKind.CHANGE, subsumed=(A1,))
        assert kinds(region.pix.cross_reference(A1, (AFFINITY,), CALLER).problems) == unknown
        assert region.affinity(A1) == region.affinity(at(HOSPITAL_A, "3"))
        assert region.pix.undo_merge(A2, CALLER)
        assert region.others(A2, AFFINITY) == [region.affinity(A2).value]

    def test_of_a_local_identifier_undone(self, region: Region) -> None:
        region.feed(A1)
        region.feed(A2, demographics=PAUL)
        second = region.affinity(A2)
        region.merge(A2, A1, NOBODY)
        assert region.pix.undo_merge(A2, CALLER)
        assert not region.pix.undo_merge(A2, CALLER)
        assert region.affinity(A2) == second
        assert region.registered(second).is_active
        assert region.others(A1, HOSPITAL_A) == []

    def test_of_the_affinity_domain(self, region: Region) -> None:
        region.feed(X1)
        region.feed(X2, demographics=PAUL)
        assert region.merge(X1, X2, PAUL) == ()
        assert region.registered(X1).surviving_key == region.registered(X2).patient_key
        assert region.affinity(X1).value == "X2"
        assert region.pix.undo_merge(X1, CALLER)
        assert region.registered(X1).is_active

    def test_an_assigned_identifier_follows_the_survivor_of_the_affinity_domain(self, region: Region) -> None:
        region.feed(A1)
        assigned = region.affinity(A1)
        region.feed(X1, source="MPI|MPI")
        region.feed(X2, demographics=PAUL, source="MPI|MPI")
        region.merge(X1, X2, PAUL)
        assert region.affinity(A1).value == "X2"
        assert region.registered(assigned).surviving_key == region.registered(X2).patient_key

    @pytest.mark.parametrize(
        ("prior", "surviving"),
        [(X1, X1), (at(AFFINITY, "?"), X1), (X1, at(AFFINITY, "?")), (at(AFFINITY, "gone"), X1), (X1, at(AFFINITY, "gone"))],
    )
    def test_of_the_affinity_domain_that_cannot_be(self, region: Region, prior: object, surviving: object) -> None:
        """Spec: ITI TF-2 3.8.4.2.4, when the registry's state stays as it is."""
        region.feed(X1, demographics=NOBODY)
        region.feed(at(AFFINITY, "gone"), demographics=NOBODY)
        region.feed(X2, demographics=NOBODY)
        region.merge(at(AFFINITY, "gone"), X2, NOBODY)
        assert kinds(region.merge(prior, surviving, NOBODY)) == [(IdentityProblemKind.UNKNOWN_IDENTIFIER, "subsumed", 1, 1)]
        assert region.registered(X1).is_active
        assert region.registered(at(AFFINITY, "?")) is None

    def test_of_an_unknown_prior_identifier(self, region: Region) -> None:
        region.feed(A1)
        assert kinds(region.merge(A2, A1)) == [(IdentityProblemKind.UNKNOWN_IDENTIFIER, "subsumed", 1, 1)]

    def test_of_which_nothing_is_known_is_learned(self, region: Region) -> None:
        assert region.merge(A2, A1) == ()
        assert region.affinity(A2) == region.affinity(A1)

    def test_into_a_new_identifier(self, region: Region) -> None:
        region.feed(A1)
        first = region.affinity(A1)
        assert region.merge(A1, A2) == ()
        assert region.affinity(A2) == first
        assert region.others(first, HOSPITAL_A) == ["2"]

    def test_across_domains_is_refused(self, region: Region) -> None:
        region.feed(A1)
        region.feed(B1, source="HOSP_B|ADT")
        assert kinds(region.merge(A1, B1)) == [(IdentityProblemKind.INVALID, "subsumed", 1, 4)]

    def test_every_prior_identifier_meets_that_of_its_own_domain(self, region: Region) -> None:
        region.feed(A1, B1)
        region.feed(A2, at(HOSPITAL_B, "2"), demographics=PAUL)
        problems = region.feed(A2, at(HOSPITAL_B, "2"), kind=FeedKind.MERGE, demographics=PAUL, subsumed=(B1, A1))
        assert problems == ()
        assert region.others(at(HOSPITAL_B, "2"), HOSPITAL_A, HOSPITAL_B) == ["2"]

    @pytest.mark.parametrize("kind", [FeedKind.ADD, FeedKind.REVISE])
    def test_what_is_said_of_a_subsumed_identifier_does_not_touch_the_survivor(self, region: Region, kind: FeedKind) -> None:
        region.feed(A1)
        region.feed(A2, demographics=PAUL, message_id="before")
        region.merge(A2, A1)
        before = list(region.pix.persons(CALLER))
        telephone = replace(PAUL, telephones=("1",))
        assert kinds(region.feed(A2, kind=kind, demographics=telephone)) == [
            (IdentityProblemKind.UNKNOWN_IDENTIFIER, "identifiers", 1, 1)
        ]
        assert kinds(region.feed(B1, A2, kind=kind, demographics=telephone)) == [
            (IdentityProblemKind.UNKNOWN_IDENTIFIER, "identifiers", 2, 1)
        ]
        assert list(region.pix.persons(CALLER)) == before
        assert region.feed(A2, demographics=PAUL, message_id="before") == ()
        assert list(region.pix.persons(CALLER)) == before
        assert region.feed(A1, A2, kind=kind, demographics=replace(MARIE, telephones=("2",))) == ()

    @pytest.mark.parametrize(
        ("kind", "identifier", "other", "field"),
        [
            (FeedKind.MERGE, A2, B1, "subsumed"),
            (FeedKind.MERGE, A1, A2, "subsumed"),
            (FeedKind.MERGE, A2, at(HOSPITAL_A, "3"), "subsumed"),
            (FeedKind.CHANGE, at(HOSPITAL_A, "9"), A2, "subsumed"),
            (FeedKind.LINK, A2, B1, "identifiers"),
            (FeedKind.LINK, B1, A2, "linked"),
        ],
    )
    def test_nothing_is_done_with_a_subsumed_identifier(
        self, region: Region, kind: FeedKind, identifier: PatientIdentifier, other: PatientIdentifier, field: str
    ) -> None:
        region.feed(A1)
        region.feed(A2, demographics=PAUL)
        region.feed(at(HOSPITAL_A, "3"), demographics=PAUL)
        region.merge(A2, A1)
        before = list(region.pix.persons(CALLER))
        others = {"linked": (other,)} if kind is FeedKind.LINK else {"subsumed": (other,)}
        (problem,) = region.feed(identifier, kind=kind, demographics=PAUL, **others)
        assert problem.field == field
        assert list(region.pix.persons(CALLER)) == before


def test_the_given_name_of_a_mother_goes_with_her_family_name(region: Region) -> None:
    named = replace(MARIE, mother_maiden_name="PETIT", mother_given_name="ODILE")
    for changes, expected in (
        ({}, ("PETIT", "ODILE")),
        ({"mother_given_name": None}, ("PETIT", "ODILE")),
        ({"mother_maiden_name": "DURAND", "mother_given_name": None}, ("DURAND", None)),
    ):
        region.feed(A1, kind=FeedKind.REVISE, demographics=replace(named, **changes))
        (person,) = region.pix.persons(CALLER)
        stated = person.stated[0].demographics
        assert (stated.mother_maiden_name, stated.mother_given_name) == expected


class TestDesk:
    def test_persons_come_in_pages_and_are_found_by_words(self, region: Region) -> None:
        givens = ("Zoé", "Hugues", "Béatrice", "Norbert", "Prénom", "Solange", "Firmin")
        for number, given in enumerate(givens):
            named = replace(PAUL, names=(PersonName("Durand", given),), birth_date=f"19{30 + 7 * number}0{1 + number}11")
            region.feed(at(HOSPITAL_A, str(number)), demographics=named)
        everybody = list(region.pix.persons(CALLER, page=3))
        assert [person.key for person in everybody] == sorted(person.key for person in everybody)
        assert len(everybody) == len({person.key for person in everybody}) == 7
        (found,) = region.pix.persons(CALLER, search="prenom DÙRAND")
        assert found.stated[0].demographics.names[0].given == "Prénom"
        assert list(region.pix.persons(CALLER, search="nobody")) == []

    def test_separated_persons_stay_separate(self, region: Region) -> None:
        region.feed(A1)
        region.feed(B1, source="HOSP_B|ADT")
        assert region.pix.separate(A1, B1, CALLER)
        assert region.others(A1, HOSPITAL_B) == []
        region.feed(B1, kind=FeedKind.REVISE, source="HOSP_B|ADT")
        assert region.others(A1, HOSPITAL_B) == []
        assert not region.pix.separate(A1, C1, CALLER)

    def test_a_person_who_fits_two_that_contradict_each_other_joins_none(self, region: Region) -> None:
        """Two women of one name and birthday, who were declared two: which of them is meant cannot be told."""
        nowhere = replace(MARIE, addresses=())
        region.feed(A1, demographics=nowhere)
        region.feed(A2, demographics=nowhere)
        assert region.pix.separate(A1, A2, CALLER)
        region.feed(B1, demographics=nowhere, source="HOSP_B|ADT")
        assert len(region.others(B1, HOSPITAL_A)) <= 1
        assert len(region.pix.desk.cases(CALLER).cases) >= 1

    def test_duplicates_of_one_hospital_join_when_the_address_agrees(self, region: Region) -> None:
        region.feed(A1)
        region.feed(A2)
        region.feed(B1, source="HOSP_B|ADT")
        assert region.others(B1, HOSPITAL_A) == ["1", "2"]

    def test_twins_are_not_joined(self, region: Region) -> None:
        region.feed(A1)
        twin = replace(MARIE, names=(PersonName("Lefèvre", "Anne-Sophie", use="L"),))
        region.feed(B1, demographics=twin, source="HOSP_B|ADT")
        assert region.others(A1, HOSPITAL_B) == []


class TestAudit:
    def test_feed_update_and_merge(self, region: Region) -> None:
        region.feed(A1)
        region.feed(A2, kind=FeedKind.REVISE, demographics=PAUL)
        region.merge(A2, A1)
        events = region.audited()
        assert [(event.action, event.objects[0].id) for event in events] == [
            (EventAction.CREATE, A1.to_cx()),
            (EventAction.UPDATE, A2.to_cx()),
            (EventAction.DELETE, A2.to_cx()),
            (EventAction.UPDATE, A1.to_cx()),
        ]
        assert {event.event_type.code for event in events} == {"ITI-8"}
        assert events[0].objects[0].details == (("MSH-10", "M1"),)
        assert events[0].participants[0].user_id == "HOSP_A|ADT"
