"""Links between two records (ITI-30 A24, A37), and merges that are undone, in PIX Manager and registry. Spec: ITI TF-2 3.30."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.identity import AFFINITY, CALLER, HOSPITAL_A, HOSPITAL_B, HOSPITAL_C, Region, at
from xds.model.audit import EventAction
from xds.model.identifiers import PatientIdentifier
from xds.model.patient import PATIENT_IDENTITY_MANAGEMENT, Demographics, FeedKind, PersonName
from xds.store import affinity_patients

NOBODY = Demographics()
A1, B1, C1 = at(HOSPITAL_A, "A-1"), at(HOSPITAL_B, "B-1"), at(HOSPITAL_C, "C-1")
X1, X2, X3 = (at(AFFINITY, f"X-{number}") for number in (1, 2, 3))


@pytest.fixture
def region(tmp_path: Path) -> Iterator[Region]:
    opened = Region(tmp_path)
    yield opened
    opened.close()


def person(name: str, born: str) -> Demographics:
    return Demographics(names=(PersonName(name, name),), birth_date=born, sex="F")


def link(region: Region, one: PatientIdentifier, other: PatientIdentifier, kind: FeedKind = FeedKind.LINK) -> tuple:
    return region.feed(one, kind=kind, demographics=NOBODY, linked=(other,), event_type=PATIENT_IDENTITY_MANAGEMENT)


def unlink(region: Region, one: PatientIdentifier, other: PatientIdentifier) -> tuple:
    return link(region, one, other, FeedKind.UNLINK)


def feed_two(region: Region, one: PatientIdentifier, other: PatientIdentifier) -> None:
    """Two records that no rule joins."""
    assert region.feed(one, demographics=person("ALPHA", "19500101")) == ()
    assert region.feed(other, demographics=person("BETA", "19600202")) == ()


def in_use(region: Region, identifier: PatientIdentifier) -> bool:
    found = region.registered(identifier)
    return found is not None and found.is_active


def test_linked_records_are_one_person_and_two_again_when_unlinked(region: Region) -> None:
    feed_two(region, A1, B1)
    assert region.others(A1, HOSPITAL_B) == []
    assert link(region, A1, B1) == ()
    assert region.others(A1, HOSPITAL_B) == ["B-1"]
    assert region.affinity(A1) == region.affinity(B1)
    assert unlink(region, A1, B1) == ()
    assert region.others(A1, HOSPITAL_B) == []
    assert region.affinity(A1) != region.affinity(B1)


@pytest.mark.parametrize("turned", [False, True])
def test_either_order_ends_a_link(region: Region, turned: bool) -> None:
    feed_two(region, X1, X2)
    assert link(region, X1, X2) == ()
    assert unlink(region, *((X2, X1) if turned else (X1, X2))) == ()
    assert in_use(region, X1)
    assert in_use(region, X2)
    assert region.others(X1, AFFINITY) == []


def test_linked_identifiers_of_the_affinity_domain_are_one_patient_in_the_registry(region: Region) -> None:
    feed_two(region, X1, X2)
    assert link(region, X1, X2) == ()
    assert in_use(region, X1)
    assert not in_use(region, X2)
    with region.database.read() as connection:
        found = affinity_patients.find_active(connection, X1)
    assert found is not None
    assert len(found[1]) == 2
    assert region.affinity(X2).value == "X-1"


def test_a_link_that_is_sent_again_is_one_link(region: Region) -> None:
    feed_two(region, X1, X2)
    assert link(region, X1, X2) == link(region, X1, X2) == ()
    assert unlink(region, X1, X2) == ()
    assert in_use(region, X2)


def test_unlinking_leaves_a_merge_alone(region: Region) -> None:
    feed_two(region, X1, X2)
    assert region.merge(X2, X1, NOBODY) == ()
    assert unlink(region, X1, X2) == ()
    assert not in_use(region, X2)


def test_unlinking_what_nobody_linked_changes_nothing(region: Region) -> None:
    feed_two(region, A1, B1)
    before = region.affinity(A1)
    assert unlink(region, A1, B1) == ()
    assert unlink(region, A1, C1) == ()
    assert region.affinity(A1) == before
    assert region.pix.affinity_identifier(C1) is None


def test_unknown_identifiers_can_be_linked_before_they_are_fed(region: Region) -> None:
    assert link(region, A1, B1) == ()
    feed_two(region, A1, B1)
    assert region.others(A1, HOSPITAL_B) == ["B-1"]


def test_the_assigned_identifier_follows_the_one_that_was_fed(region: Region) -> None:
    feed_two(region, X1, A1)
    assigned = region.affinity(A1)
    assert link(region, A1, X1) == ()
    assert region.affinity(A1).value == "X-1"
    assert not in_use(region, assigned)
    assert unlink(region, A1, X1) == ()
    assert region.affinity(A1) == assigned
    assert in_use(region, assigned)


def test_every_change_of_a_link_is_audited_for_both_patients(region: Region) -> None:
    feed_two(region, A1, B1)
    assert link(region, A1, B1) == ()
    events = [item for item in region.audited() if item.event_type == PATIENT_IDENTITY_MANAGEMENT]
    assert [item.action for item in events] == [EventAction.UPDATE] * 2
    assert [item.objects[0].id.partition("^")[0] for item in events] == ["A-1", "B-1"]


def test_a_merge_of_the_affinity_domain_can_be_undone_in_the_registry(region: Region) -> None:
    feed_two(region, X1, X2)
    assert region.feed(X3, demographics=person("GAMMA", "19700303")) == ()
    assert region.merge(X3, X2, NOBODY) == ()
    assert region.merge(X2, X1, NOBODY) == ()
    assert region.pix.undo_merge(X2, CALLER)
    assert in_use(region, X2)
    assert not in_use(region, X3)
    with region.database.read() as connection:
        found = affinity_patients.find_active(connection, X2)
        alone = affinity_patients.find_active(connection, X1)
    assert found is not None
    assert alone is not None
    assert (len(found[1]), len(alone[1])) == (2, 1)


def test_undoing_a_merge_that_was_none_changes_nothing(region: Region) -> None:
    assert region.feed(X1) == ()
    assert region.database.write(lambda connection: affinity_patients.unmerge(connection, X1)) is False
    assert not region.pix.undo_merge(X1, CALLER)
    assert in_use(region, X1)


class TestDecisionsOfTheDesk:
    """The registry follows what the desk says of patients to whom the affinity domain's own source gave identifiers."""

    def records(self, region: Region) -> tuple[int, int]:
        one, other = (region.pix.desk.record_of(item) for item in (X1, X2))
        assert one is not None
        assert other is not None
        return one, other

    def newest(self, region: Region, record: int) -> int:
        return region.pix.desk.history(record, CALLER)[0].key

    def are_two(self, region: Region) -> bool:
        alone = in_use(region, X1) and in_use(region, X2)
        return alone and (region.affinity(X1), region.affinity(X2)) == (X1, X2)

    def test_one_person_has_one_identifier(self, region: Region) -> None:
        feed_two(region, X2, X1)
        one, other = self.records(region)
        decision = region.pix.desk.link(one, other, CALLER)
        assert (in_use(region, X2), in_use(region, X1)) == (True, False)
        assert region.affinity(X1).value == "X-2"
        assert region.pix.desk.undo(decision or 0, CALLER)
        assert self.are_two(region)

    def test_unlinked_they_are_two(self, region: Region) -> None:
        feed_two(region, X1, X2)
        pair = self.records(region)
        assert region.pix.desk.link(*pair, CALLER)
        assert region.pix.desk.unlink(*pair, CALLER)
        assert self.are_two(region)
        assert region.pix.desk.undo(self.newest(region, pair[0]), CALLER)
        assert not in_use(region, X2)

    @pytest.mark.parametrize("ends", ["refuse", "undo"])
    def test_what_a_source_linked_is_released(self, region: Region, ends: str) -> None:
        feed_two(region, X1, X2)
        assert link(region, X1, X2) == ()
        pair = self.records(region)
        if ends == "refuse":
            assert region.pix.desk.refuse(*pair, CALLER)
        else:
            assert region.pix.desk.undo(self.newest(region, pair[0]), CALLER)
        assert self.are_two(region)

    @pytest.mark.parametrize("ends", ["refuse", "undo"])
    def test_a_merge_is_undone_with_its_identifier(self, region: Region, ends: str) -> None:
        feed_two(region, X1, X2)
        pair = self.records(region)
        assert region.merge(X2, X1, NOBODY) == ()
        if ends == "refuse":
            assert region.pix.desk.refuse(*pair, CALLER)
        else:
            assert region.pix.desk.undo(self.newest(region, pair[1]), CALLER)
        assert self.are_two(region)

    def test_a_merge_in_a_hospital_is_undone_with_its_identifier(self, region: Region) -> None:
        other = at(HOSPITAL_A, "A-2")
        feed_two(region, A1, other)
        record = region.pix.desk.record_of(other)
        assert region.merge(other, A1, NOBODY) == ()
        assert region.pix.desk.undo(self.newest(region, record or 0), CALLER)
        assert region.affinity(other) != region.affinity(A1)
        assert region.others(region.affinity(other), HOSPITAL_A) == ["A-2"]

    def test_a_merge_of_two_who_were_declared_two_waits_for_the_desk(self, region: Region) -> None:
        feed_two(region, X1, X2)
        pair = self.records(region)
        assert region.pix.desk.refuse(*pair, CALLER)
        assert region.merge(X2, X1, NOBODY) == ()
        assert self.are_two(region)
        assert [(item.lower, item.higher) for item in region.pix.desk.cases(CALLER).cases] == [pair]
        assert region.pix.desk.link(*pair, CALLER)
        assert not in_use(region, X2)


@pytest.mark.parametrize(("first", "second"), [(X1, X2), (X2, X1)])
def test_a_merge_after_a_link_counts_in_its_own_direction(
    region: Region, first: PatientIdentifier, second: PatientIdentifier
) -> None:
    feed_two(region, X1, X2)
    assert link(region, first, second) == ()
    assert region.merge(X2, X1, NOBODY) == ()
    assert (in_use(region, X1), in_use(region, X2)) == (True, False)
    assert unlink(region, X1, X2) == ()
    assert region.affinity(X2) == X1
    assert region.pix.undo_merge(X2, CALLER)
    assert (in_use(region, X1), in_use(region, X2)) == (True, True)


def test_a_merge_into_a_linked_identifier_follows_the_link(region: Region) -> None:
    feed_two(region, X1, X2)
    assert region.feed(X3, demographics=person("GAMMA", "19700303")) == ()
    assert link(region, X1, X2) == ()
    assert region.merge(X3, X2, NOBODY) == ()
    with region.database.read() as connection:
        found = affinity_patients.find_active(connection, X1)
    assert found is not None
    assert len(found[1]) == 3
    assert unlink(region, X1, X2) == ()
    with region.database.read() as connection:
        found = affinity_patients.find_active(connection, X2)
    assert found is not None
    assert len(found[1]) == 2


def test_a_third_linked_record_keeps_the_identifiers_joined(region: Region) -> None:
    feed_two(region, X1, X2)
    assert region.feed(B1, demographics=person("GAMMA", "19700303")) == ()
    for one, other in ((X1, X2), (X1, B1), (B1, X2)):
        assert link(region, one, other) == ()
    assert unlink(region, X1, X2) == ()
    assert region.affinity(X2) == region.affinity(B1) == X1
    assert not in_use(region, X2)
    assert unlink(region, B1, X2) == ()
    assert in_use(region, X2)
