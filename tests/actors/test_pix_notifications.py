"""Who is told that identifiers changed: what is written with the change, and how it is delivered.

Spec: ITI TF-2 3.10.4.1, 3.46.4.1.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import select

from tests.identity import AFFINITY, CALLER, HOSPITAL_A, HOSPITAL_B, MARIE, Region, at
from xds.actors.pix_notifications import LEASE, NOTIFY_SUBSCRIBER, Courier, Send, read_update, waiting
from xds.model.identifiers import AssigningAuthority
from xds.model.patient import FeedKind, IdentitySubscriber, IdentityUpdate, PersonName
from xds.server.worker import FIRST_WAIT, Worker
from xds.store import jobs, patients_outbox
from xds.store.schema.operations import job

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
        self.dies_at = -1
        self.death: type[BaseException] = ConnectionError

    def __call__(self, subscriber: IdentitySubscriber, update: IdentityUpdate) -> bool:
        self.tried += 1
        if self.is_away:
            raise ConnectionRefusedError
        if len(self.taken) == self.dies_at:
            self.dies_at = -1
            raise self.death
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


class Hosts:
    """Two hosts on one database, each with a worker that sends what waits, and a clock that only tests move."""

    def __init__(self, region: Region, send: Send) -> None:
        self.now = region.pix.clock() + timedelta(days=1)
        self._database = region.database
        couriers = [Courier(region.database, (BOTH, ONE), {"v2": send}, self.clock) for _ in range(2)]
        self.one, self.other = (
            Worker(region.database, {NOTIFY_SUBSCRIBER: each.deliver}, self.clock, kinds={NOTIFY_SUBSCRIBER}) for each in couriers
        )

    def clock(self) -> datetime:
        return self.now

    def jobs(self) -> list[tuple[int, bool]]:
        """Attempts of the job for ONE, and whether it is due."""
        with self._database.read() as connection:
            rows = connection.execute(select(job.c.attempts, job.c.run_at).where(job.c.key == "ONE")).all()
        return [(row[0], row[1] <= int(self.now.timestamp() * 1000)) for row in rows]


@pytest.mark.usefixtures("back_end")
class TestDelivery:
    """To ONE, while EVERYTHING has nothing to wait for."""

    @pytest.fixture
    def region(self, tmp_path: Path) -> Iterator[Region]:
        region = Region(tmp_path, subscribers=(ONE,))
        yield region
        region.close()

    @pytest.fixture
    def hosts(self, region: Region, consumer: Consumer) -> Hosts:
        return Hosts(region, consumer)

    def fed(self, region: Region, *values: str) -> None:
        for value in values:
            person = replace(MARIE, birth_date=f"19{20 + 17 * int(value)}0{1 + int(value)}09")
            assert region.feed(at(HOSPITAL_A, value), demographics=person) == ()

    def test_one_delivery_at_a_time_in_all_hosts(self, region: Region) -> None:
        self.fed(region, "0", "1")
        sent: list[str] = []
        tried: list[int] = []

        def send(subscriber: IdentitySubscriber, update: IdentityUpdate) -> bool:
            if len(sent) < 2:
                # A change during a delivery asks for one; the host that looks for it finds that it is under way.
                self.fed(region, str(len(sent) + 2))
                tried.append(hosts.other.run_due())
            sent.append(update.identifiers[0].value)
            return True

        hosts = Hosts(region, send)
        assert hosts.one.run_due() == 1
        assert tried == [0, 0]
        assert sent == ["0", "1", "2", "3"]
        assert (hosts.jobs(), hosts.other.run_due()) == ([], 0)

    def test_in_order_and_once(self, region: Region, hosts: Hosts, consumer: Consumer) -> None:
        self.fed(region, "0", "1", "2")
        assert (hosts.one.run_due(), hosts.other.run_due()) == (1, 0)
        self.fed(region, "3")
        assert (hosts.one.run_due(), hosts.other.run_due()) == (1, 0)
        assert consumer.values == ["0", "1", "2", "3"]
        with region.database.read() as connection:
            assert waiting(connection) == {}

    def test_a_host_that_dies_leaves_it_to_another_when_its_lease_has_ended(
        self, region: Region, hosts: Hosts, consumer: Consumer
    ) -> None:
        class Died(BaseException):
            """As kill -9 does, this leaves nothing behind but what was written."""

        self.fed(region, "0", "1", "2")
        consumer.dies_at, consumer.death = 1, Died
        with pytest.raises(Died):
            hosts.one.run_due()
        self.fed(region, "3")
        hosts.now += LEASE - timedelta(seconds=1)
        assert hosts.other.run_due() == 0
        hosts.now += timedelta(seconds=2)
        assert hosts.other.run_due() == 1
        assert consumer.values == ["0", "1", "2", "3"]

    def test_a_host_that_slept_longer_than_its_lease_stops(self, region: Region, consumer: Consumer) -> None:
        self.fed(region, "0", "1", "2")
        taken: list[str] = []

        def send(subscriber: IdentitySubscriber, update: IdentityUpdate) -> bool:
            taken.append(update.identifiers[0].value)
            if len(taken) == 1:
                hosts.now += LEASE + timedelta(seconds=1)
                hosts.other.run_due()
            return True

        hosts = Hosts(region, send)
        assert hosts.one.run_due() == 1
        # The first one is sent again, because nobody knew that it had arrived; the others once.
        assert taken == ["0", "0", "1", "2"]
        assert hosts.jobs() == []

    def test_new_changes_do_not_hammer_a_subscriber_that_is_away(self, region: Region, hosts: Hosts, consumer: Consumer) -> None:
        self.fed(region, "0")
        consumer.is_away = True
        for attempt in range(1, 4):
            assert hosts.one.run_due() == 1
            self.fed(region, str(attempt))
            assert (hosts.jobs(), hosts.one.run_due()) == ([(attempt, False)], 0)
            hosts.now += FIRST_WAIT * 2 ** (attempt - 1) - timedelta(seconds=1)
            assert hosts.other.run_due() == 0
            hosts.now += timedelta(seconds=2)
        assert consumer.tried == 3
        consumer.is_away = False
        assert hosts.other.run_due() == 1
        assert consumer.values == ["0", "1", "2", "3"]

    def test_whoever_takes_something_is_tried_again_soon(self, region: Region, hosts: Hosts, consumer: Consumer) -> None:
        self.fed(region, "0", "1")
        consumer.is_away = True
        for _ in range(3):
            hosts.one.run_due()
            hosts.now += timedelta(hours=1)
        consumer.is_away, consumer.dies_at, consumer.death = False, 1, ConnectionResetError
        assert hosts.one.run_due() == 1
        assert consumer.values == ["0"]
        assert hosts.jobs() == [(1, False)]
        hosts.now += FIRST_WAIT
        assert hosts.one.run_due() == 1
        assert consumer.values == ["0", "1"]

    def test_the_same_notification_keeps_its_message_id(self, region: Region, hosts: Hosts, consumer: Consumer) -> None:
        self.fed(region, "1")
        with region.database.read() as connection:
            (row,) = patients_outbox.waiting(connection, "ONE", 10)
        hosts.one.run_due()
        assert consumer.taken[0].message_id == read_update(row.body).message_id

    def test_what_is_refused_for_good_does_not_stop_the_others(self, region: Region, hosts: Hosts, consumer: Consumer) -> None:
        self.fed(region, "1", "2", "3")
        consumer.refuses = {"2"}
        hosts.one.run_due()
        assert consumer.values == ["1", "3"]
        assert hosts.jobs() == []

    def test_a_subscriber_that_is_configured_no_more_keeps_its_notifications(self, region: Region, consumer: Consumer) -> None:
        self.fed(region, "1")
        courier = Courier(region.database, (BOTH,), {"v2": consumer}, region.pix.clock)
        (claimed,) = region.database.write(lambda connection: jobs.claim(connection, region.pix.clock(), 1, {NOTIFY_SUBSCRIBER}))
        assert "configured" in (courier.deliver(claimed) or "")
        with region.database.read() as connection:
            assert waiting(connection) == {"ONE": 1}
