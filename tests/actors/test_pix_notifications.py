"""Who is told that identifiers changed: what is written with the change, and how it is delivered.

Spec: ITI TF-2 3.10.4.1, 3.46.4.1.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.identity import AFFINITY, CALLER, HOSPITAL_A, HOSPITAL_B, MARIE, Region, at
from xds.actors.pix_notifications import NOTIFY_SUBSCRIBER, Courier, read_update, waiting
from xds.model.identifiers import AssigningAuthority
from xds.model.patient import FeedKind, IdentitySubscriber, IdentityUpdate, PersonName
from xds.store import jobs, patients_outbox

A1, A2, B1 = at(HOSPITAL_A, "1"), at(HOSPITAL_A, "2"), at(HOSPITAL_B, "1")
BOTH = IdentitySubscriber("EVERYTHING", "mllp://127.0.0.1:1", domains=(HOSPITAL_A, AssigningAuthority("HOSP_B")))
ONE = IdentitySubscriber("ONE", "mllp://127.0.0.1:2", domains=(AssigningAuthority(None, HOSPITAL_A.oid),))
TWIN = replace(MARIE, names=(PersonName("Lefèvre", "Anne-Sophie", use="L"),))


@pytest.fixture
def region(tmp_path: Path) -> Iterator[Region]:
    region = Region(tmp_path, subscribers=(BOTH, ONE))
    yield region
    region.close()


def sets(region: Region, subscriber: IdentitySubscriber = BOTH) -> list[list[str]]:
    """What waits for a subscriber, which is then taken out."""
    with region.database.read() as connection:
        found = patients_outbox.waiting(connection, subscriber.name, 100)
    if found:
        region.database.write(lambda connection: patients_outbox.remove(connection, subscriber.name, found[-1].sequence))
    named = ([f"{item.authority.namespace}:{item.value}" for item in read_update(each.body).identifiers] for each in found)
    return [sorted(each) for each in named]


class TestWhatIsWritten:
    def test_a_first_identifier(self, region: Region) -> None:
        region.feed(A1)
        assert sets(region) == [["HOSP_A:1"]]

    def test_a_join_is_one_set_and_a_separation_two(self, region: Region) -> None:
        region.feed(A1)
        region.feed(B1, demographics=TWIN, source="HOSP_B|ADT")
        assert sets(region) == [["HOSP_A:1"], ["HOSP_B:1"]]
        one, other = (region.pix.desk.record_of(item) for item in (A1, B1))
        decision = region.pix.desk.link(one, other, CALLER)
        assert sets(region) == [["HOSP_A:1", "HOSP_B:1"]]
        region.pix.desk.undo(decision, CALLER)
        assert sorted(sets(region)) == [["HOSP_A:1"], ["HOSP_B:1"]]

    def test_a_link_of_the_rules(self, region: Region) -> None:
        region.feed(A1)
        region.feed(B1, source="HOSP_B|ADT")
        assert sets(region) == [["HOSP_A:1"], ["HOSP_A:1", "HOSP_B:1"]]

    def test_a_merge_and_its_undoing(self, region: Region) -> None:
        region.feed(A1)
        region.feed(A2, demographics=TWIN)
        sets(region)
        region.merge(A2, A1)
        assert sets(region) == [["HOSP_A:1"]]
        region.pix.undo_merge(A2, CALLER)
        assert sorted(sets(region)) == [["HOSP_A:1"], ["HOSP_A:2"]]

    def test_nothing_when_no_set_changes(self, region: Region) -> None:
        region.feed(A1)
        sets(region)
        region.feed(A1, kind=FeedKind.REVISE, demographics=replace(MARIE, telephones=("0238112233",)))
        assert sets(region) == []

    def test_only_the_domains_of_interest(self, region: Region) -> None:
        region.feed(A1)
        region.feed(B1, source="HOSP_B|ADT")
        assert sets(region, ONE) == [["HOSP_A:1"]]
        region.feed(at(AFFINITY, "X1"), demographics=TWIN, source="MPI|MPI")
        assert sets(region, ONE) == []

    def test_nothing_of_a_message_that_is_refused_or_comes_again(self, region: Region) -> None:
        region.feed(A1, message_id="M1")
        sets(region)
        region.feed(A1, message_id="M1")
        assert region.merge(A2, A1) != ()
        assert sets(region) == []

    def test_there_is_a_job_for_each_subscriber(self, region: Region) -> None:
        region.feed(A1)
        region.feed(A2, demographics=TWIN)
        claimed = region.database.write(
            lambda connection: jobs.claim(connection, region.pix.clock(), 10, kinds=(NOTIFY_SUBSCRIBER,))
        )
        assert sorted(job.key for job in claimed) == ["EVERYTHING", "ONE"]


class Consumer:
    """Takes notifications, or does not."""

    def __init__(self) -> None:
        self.taken: list[IdentityUpdate] = []
        self.tried = 0
        self.is_away = False
        self.refuses: set[str] = set()

    def __call__(self, subscriber: IdentitySubscriber, update: IdentityUpdate) -> bool:
        self.tried += 1
        if self.is_away:
            raise ConnectionRefusedError
        if update.identifiers[0].value in self.refuses:
            return False
        self.taken.append(update)
        return True

    @property
    def values(self) -> list[str]:
        return [item.identifiers[0].value for item in self.taken]


@pytest.fixture
def consumer() -> Consumer:
    return Consumer()


@pytest.fixture
def courier(region: Region, consumer: Consumer) -> Courier:
    return Courier(region.database, (BOTH, ONE), {"v2": consumer})


class TestDelivery:
    def fed(self, region: Region, *values: str) -> None:
        for number, value in enumerate(values):
            person = replace(MARIE, birth_date=f"19{20 + 17 * number}0{1 + number}09")
            region.feed(at(HOSPITAL_A, value), demographics=person)

    def test_one_delivery_at_a_time(self, region: Region) -> None:
        self.fed(region, "1", "2")
        meanwhile: list[str | None] = []

        def send(subscriber: IdentitySubscriber, update: IdentityUpdate) -> bool:
            # As a second worker would, whose job a feed has asked for meanwhile.
            meanwhile.append(courier.deliver(subscriber.name))
            return True

        courier = Courier(region.database, (BOTH, ONE), {"v2": send})
        assert courier.deliver("ONE") is None
        assert meanwhile == ["a delivery to the subscriber is under way"] * 2
        assert courier.deliver("ONE") is None
        assert len(meanwhile) == 2

    def test_in_order_and_once(self, region: Region, courier: Courier, consumer: Consumer) -> None:
        self.fed(region, "1", "2", "3")
        assert courier.deliver("ONE") is None
        assert courier.deliver("ONE") is None
        assert consumer.values == ["1", "2", "3"]
        with region.database.read() as connection:
            assert waiting(connection) == {"EVERYTHING": 3}

    def test_nothing_is_lost_while_a_subscriber_is_away(self, region: Region, courier: Courier, consumer: Consumer) -> None:
        self.fed(region, "1", "2")
        consumer.is_away = True
        assert "ConnectionRefusedError" in courier.deliver("ONE")
        assert consumer.tried == 1
        consumer.is_away = False
        first = courier.deliver("ONE")
        assert first is None
        assert consumer.values == ["1", "2"]

    def test_the_same_notification_keeps_its_message_id(self, region: Region, courier: Courier, consumer: Consumer) -> None:
        self.fed(region, "1")
        with region.database.read() as connection:
            (row,) = patients_outbox.waiting(connection, "ONE", 10)
        courier.deliver("ONE")
        assert consumer.taken[0].message_id == read_update(row.body).message_id

    def test_what_is_refused_for_good_does_not_stop_the_others(
        self, region: Region, courier: Courier, consumer: Consumer
    ) -> None:
        self.fed(region, "1", "2", "3")
        consumer.refuses = {"2"}
        assert courier.deliver("ONE") is None
        assert consumer.values == ["1", "3"]

    def test_a_subscriber_that_is_configured_no_more_keeps_its_notifications(self, region: Region, courier: Courier) -> None:
        assert "configured" in courier.deliver("GONE")
