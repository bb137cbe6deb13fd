"""Fetching what others hold: one fetch for all readers, whatever becomes of it meanwhile.

Spec: RAD TF-2 4.16 (Retrieve Images), 4.107.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import Connection

from tests.archive import SteppedClock, image
from tests.databases import fresh_database
from xds.actors.imaging_arrival import Arrival, Place
from xds.actors.imaging_pull import PullThrough
from xds.actors.imaging_pull_orders import Ahead
from xds.model.foreign_images import FoundInstance, InstanceOutline, Pulled, PullError, PullProblem, StudySummary
from xds.model.imaging import Instance, Series, Study, StudyPatient
from xds.store import imaging_arrivals, imaging_heads
from xds.store.database import Database
from xds.store.pull_cache import PullCache
from xds.wire.dicom import EXPLICIT_LITTLE

STUDY, SERIES, CT = "1.2.60", "1.2.60.1", "1.2.840.10008.5.1.4.1.1.2"
PATIENT = StudyPatient("P1")
SECONDS = 60


def octets(number: int, patient: str = "P1") -> bytes:
    return image(
        StudyInstanceUID=STUDY, SeriesInstanceUID=SERIES, SOPInstanceUID=f"{SERIES}.{number}", PatientID=patient, SOPClassUID=CT
    )


@dataclass
class Source:
    """A PACS of a few objects that gives each when the test lets it."""

    objects: dict[str, bytes]
    name: str = "pacs"
    fetches: list[tuple[str, ...]] = field(default_factory=list)
    asked: threading.Event = field(default_factory=threading.Event)
    gate: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(1000))
    #: The object in whose middle the connection breaks.
    breaks_in: str = ""
    #: The object of which the rest comes when the test lets it.
    held_in: str = ""
    rest: threading.Event = field(default_factory=threading.Event)

    def studies(self, first_date: str, last_date: str) -> Iterator[StudySummary]:
        return iter(())

    def study(self, study_instance_uid: str) -> StudySummary | None:
        return None

    def instances(self, study_instance_uid: str, series_instance_uid: str | None = None) -> Iterator[FoundInstance]:
        return iter(())

    def outline(self, study_instance_uid: str, series_instance_uid: str) -> Iterator[InstanceOutline]:
        return iter(())

    def fetch(
        self, study_instance_uid: str, series_instance_uid: str, sop_classes: Mapping[str, str], *, whole_series: bool
    ) -> Iterator[Pulled]:
        self.fetches.append(tuple(sorted(sop_classes)))
        self.asked.set()
        for uid, content in self.objects.items():
            if whole_series or uid in sop_classes:
                assert self.gate.acquire(timeout=SECONDS)
                yield Pulled(uid, EXPLICIT_LITTLE, self._chunks(uid, content))

    def _chunks(self, uid: str, content: bytes) -> Iterator[bytes]:
        yield content[:-100]
        if uid == self.breaks_in:
            raise PullError(PullProblem.UNREACHABLE, "the association broke")
        if uid == self.held_in:
            assert self.rest.wait(SECONDS)
        yield content[-100:]


@dataclass
class Bench:
    pull: PullThrough
    source: Source
    cache: PullCache
    database: Database
    checks: list[tuple[str, str, str]]

    def places(self, *numbers: int) -> list[Place]:
        return [Place("pacs", STUDY, SERIES, f"{SERIES}.{number}") for number in numbers]

    def ahead(self) -> Ahead | None:
        """The series fetched ahead, as who asks for it does who has read what sources hold of it."""
        with self.database.read() as connection:
            held = imaging_heads.outside(connection, STUDY, SERIES)
        return self.pull.ahead(STUDY, PATIENT, SERIES, held)

    def settled(self) -> None:
        """Wait until nothing is being fetched any more."""
        for thread in fetching():
            thread.join(SECONDS)


def registered(number: int) -> Study:
    instance = Instance(f"{SERIES}.{number}", CT, EXPLICIT_LITTLE, 0, "", number, location="pacs")
    return Study(STUDY, PATIENT, (Series(SERIES, "CT", (instance,), 1),), source="pacs")


@contextmanager
def opened(tmp_path: Path, source: Source, *, size: int = 100 << 20) -> Iterator[Bench]:
    database = fresh_database(tmp_path)
    cache = PullCache(tmp_path / "pulled", size, timedelta(hours=1), SteppedClock())
    checks: list[tuple[str, str, str]] = []

    def check(location: str, study: str, series: str) -> bool:
        checks.append((location, study, series))
        return True

    def work(connection: Connection) -> None:
        for number in (1, 2, 3):
            imaging_arrivals.add_instance(connection, imaging_arrivals.arriving(registered(number), b"{}"), datetime.now(UTC))

    database.write(work)
    bench = Bench(PullThrough(database, {"pacs": source}, cache, check, check_seconds=0), source, cache, database, checks)
    try:
        yield bench
    finally:
        bench.settled()
        bench.pull.close()
        database.close()


def source_of(*numbers: int, gate: int = 1000, **settings: str) -> Source:
    return Source({f"{SERIES}.{number}": octets(number) for number in numbers}, gate=threading.Semaphore(gate), **settings)


def read(arrival: Arrival) -> bytes:
    try:
        return b"".join(arrival.chunks())
    finally:
        arrival.release()


def test_a_reader_who_joins_a_fetch_ahead_shares_it(tmp_path: Path) -> None:
    with opened(tmp_path, source_of(1, 2, 3, gate=1)) as bench:
        ahead = bench.ahead()
        assert ahead is not None
        # Who comes second finds the series on its way.
        assert bench.ahead() is None
        first = ahead.first()
        assert first is not None
        begun, sop_class = first
        assert sop_class == CT
        joined = bench.pull.begin(bench.places(2, 3))
        bench.source.gate.release(2)
        assert b"".join(ahead.chunks(begun)) == octets(1)
        begun.arrival.release()
        own = bench.pull.begin(bench.places(2, 3), ahead)
        assert [read(each) for each in (*own, *joined)] == [octets(2), octets(3)] * 2
        ahead.close()
        assert len(bench.source.fetches) == 1
        assert not bench.checks


def test_a_reader_who_joins_as_the_fetch_ends_gets_everything_once_fetched(tmp_path: Path) -> None:
    with opened(tmp_path, source_of(1, 2, 3)) as bench:
        ahead = bench.ahead()
        assert ahead is not None
        ahead.go_on()
        bench.settled()
        # Whom it was fetched for needs no question: he waited for it. Anybody else has the source asked first.
        own = bench.pull.begin(bench.places(1, 2, 3), ahead)
        assert not bench.checks
        others = bench.pull.begin(bench.places(1, 2, 3))
        assert bench.checks == [("pacs", STUDY, SERIES)]
        assert [read(each) for each in (*own, *others)] == [octets(1), octets(2), octets(3)] * 2
        ahead.close()
        assert len(bench.source.fetches) == 1


def test_many_readers_that_come_and_go_while_it_arrives(tmp_path: Path) -> None:
    with opened(tmp_path, source_of(1, 2, 3, gate=0)) as bench:
        failures: list[object] = []

        def reader(number: int) -> None:
            ahead = bench.ahead()
            arrivals = bench.pull.begin(bench.places(1, 2, 3), ahead)
            try:
                if number % 4:
                    found = [b"".join(arrival.chunks()) for arrival in arrivals]
                    if found != [octets(1), octets(2), octets(3)]:
                        failures.append(number)
            except PullError as problem:
                failures.append(problem)
            finally:
                for arrival in arrivals:
                    arrival.release()
                if ahead is not None:
                    ahead.close()

        readers = [threading.Thread(target=reader, args=(number,)) for number in range(12)]
        for thread in readers:
            thread.start()
            bench.source.gate.release()
        for thread in readers:
            thread.join(SECONDS)
        bench.settled()
        assert not failures
        assert sum(map(len, bench.source.fetches)) == 3


def test_a_source_that_dies_in_the_middle_of_an_object(tmp_path: Path) -> None:
    with opened(tmp_path, source_of(1, 2, 3, breaks_in=f"{SERIES}.2")) as bench:
        ahead = bench.ahead()
        assert ahead is not None
        whole, cut, never = bench.pull.begin(bench.places(1, 2, 3), ahead)
        assert read(whole) == octets(1)
        with pytest.raises(PullError):
            read(cut)
        # What follows came whole: the connection of this source survived.
        assert read(never) == octets(3)
        ahead.close()
        bench.settled()
        assert not bench.cache.held(f"pacs/{STUDY}/{SERIES}", [f"{SERIES}.2"])
        # Nothing half is left, and whoever asks again has it fetched again.
        bench.source.breaks_in = ""
        assert [read(each) for each in bench.pull.begin(bench.places(2))] == [octets(2)]


def test_a_source_that_does_not_have_it_all(tmp_path: Path) -> None:
    with opened(tmp_path, source_of(1)) as bench:
        ahead = bench.ahead()
        assert ahead is not None
        found = bench.pull.begin(bench.places(1, 2), ahead)
        assert read(found[0]) == octets(1)
        with pytest.raises(PullError) as raised:
            read(found[1])
        assert raised.value.problem is PullProblem.BROKEN
        ahead.close()
        # It was asked once, and not again for the same reader.
        assert len(bench.source.fetches) == 1


def test_an_image_of_somebody_else_is_not_the_first(tmp_path: Path) -> None:
    source = Source({f"{SERIES}.1": octets(1, "P2"), f"{SERIES}.2": octets(2)})
    with opened(tmp_path, source) as bench:
        ahead = bench.ahead()
        assert ahead is not None
        first = ahead.first()
        assert first is not None
        assert first[0].arrival.place == bench.places(2)[0]
        first[0].arrival.release()
        other, own = bench.pull.begin(bench.places(1, 2), ahead)
        with pytest.raises(PullError) as raised:
            read(other)
        assert raised.value.problem is PullProblem.OTHER_PATIENT
        assert read(own) == octets(2)
        ahead.close()


def test_what_is_promised_is_kept_in_a_full_cache_until_it_was_read(tmp_path: Path) -> None:
    with opened(tmp_path, source_of(1, 2, 3), size=1) as bench:
        ahead = bench.ahead()
        assert ahead is not None
        ahead.go_on()
        bench.settled()
        arrivals = bench.pull.begin(bench.places(1, 2, 3), ahead)
        assert [read(arrival) for arrival in arrivals] == [octets(1), octets(2), octets(3)]
        ahead.close()
        ahead.close()
        # The next one that is kept makes room.
        last = bench.cache.new_file()
        last.write_bytes(b"octets")
        bench.cache.keep(bench.places(9)[0].cache_key, last, EXPLICIT_LITTLE, "")
        assert bench.cache.used == len(b"octets")


def test_the_first_object_waits_for_its_reader_alone(tmp_path: Path) -> None:
    """Nothing runs beside the reader until his first octets went out: then the rest comes, whether he stays or not."""
    with opened(tmp_path, source_of(1, 2, 3)) as bench:
        ahead = bench.ahead()
        assert ahead is not None
        assert not fetching()
        first = ahead.first()
        assert first is not None
        octets_of_first = ahead.chunks(first[0])
        head = next(octets_of_first)
        assert octets(1).startswith(head)
        assert not fetching()
        assert head + b"".join(octets_of_first) == octets(1)
        octets_of_first.close()
        first[0].arrival.release()
        ahead.close()
        bench.settled()
        assert bench.cache.holds_any(f"pacs/{STUDY}/{SERIES}")


def test_a_reader_who_goes_away_before_the_first_octet_leaves_the_rest_to_others(tmp_path: Path) -> None:
    with opened(tmp_path, source_of(1, 2, 3)) as bench:
        ahead = bench.ahead()
        assert ahead is not None
        ahead.close()
        bench.settled()
        assert [read(each) for each in bench.pull.begin(bench.places(1, 2, 3))] == [octets(1), octets(2), octets(3)]
        assert len(bench.source.fetches) == 1


def test_others_do_not_wait_for_a_first_reader_who_takes_nothing(tmp_path: Path) -> None:
    with opened(tmp_path, source_of(1, 2, 3)) as bench:
        ahead = bench.ahead()
        assert ahead is not None
        first = ahead.first()
        assert first is not None
        assert [read(each) for each in bench.pull.begin(bench.places(1, 2, 3))] == [octets(1), octets(2), octets(3)]
        # He still gets his.
        assert b"".join(ahead.chunks(first[0])) == octets(1)
        first[0].arrival.release()
        ahead.close()
        assert len(bench.source.fetches) == 1


def test_others_who_come_before_the_first_object_have_the_rest_fetched(tmp_path: Path) -> None:
    with opened(tmp_path, source_of(1, 2, 3, gate=0)) as bench:
        taken: list[Ahead | None] = []
        reader = threading.Thread(target=lambda: taken.append(bench.ahead()))
        reader.start()
        assert bench.source.asked.wait(SECONDS)
        arrivals = bench.pull.begin(bench.places(1, 2, 3))
        bench.source.gate.release(3)
        assert [read(each) for each in arrivals] == [octets(1), octets(2), octets(3)]
        reader.join(SECONDS)
        (ahead,) = taken
        assert ahead is not None
        ahead.close()
        assert len(bench.source.fetches) == 1


def test_a_source_that_gives_nothing_is_known_before_the_reader_looks(tmp_path: Path) -> None:
    with opened(tmp_path, source_of()) as bench:
        ahead = bench.ahead()
        assert ahead is not None
        assert ahead.first() is None
        assert not fetching()
        for arrival in bench.pull.begin(bench.places(1, 2, 3), ahead):
            with pytest.raises(PullError):
                read(arrival)
        ahead.close()
        assert len(bench.source.fetches) == 1


def test_without_a_thread_for_the_rest_nobody_waits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with opened(tmp_path, source_of(1, 2, 3)) as bench:
        ahead = bench.ahead()
        assert ahead is not None
        with monkeypatch.context() as patched:
            patched.setattr(threading.Thread, "start", _no_more_threads)
            arrivals = bench.pull.begin(bench.places(1, 2, 3))
        for arrival in arrivals:
            with pytest.raises(PullError) as raised:
                read(arrival)
            assert raised.value.problem is PullProblem.BUSY
        ahead.close()
        # Whoever asks again has it fetched again.
        assert [read(each) for each in bench.pull.begin(bench.places(1))] == [octets(1)]


def test_a_long_head_does_not_keep_the_rest_from_being_fetched(tmp_path: Path) -> None:
    long = Source({f"{SERIES}.1": octets(1) + bytes(200_000)})
    with opened(tmp_path, long) as bench:
        ahead = bench.ahead()
        assert ahead is not None
        first = ahead.first()
        assert first is not None
        octets_of_first = ahead.chunks(first[0])
        given = next(octets_of_first) + next(octets_of_first)
        # The reader has not taken all of the head yet.
        bench.settled()
        assert bench.cache.holds_any(f"pacs/{STUDY}/{SERIES}")
        assert given + b"".join(octets_of_first) == long.objects[f"{SERIES}.1"]
        first[0].arrival.release()
        ahead.close()


def _no_more_threads(_thread: threading.Thread) -> None:
    raise RuntimeError("can't start new thread")


def fetching() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "pull-pacs"]


def test_a_single_object_that_is_needed_whole_is_fetched_by_who_needs_it(tmp_path: Path) -> None:
    with opened(tmp_path, source_of(1, 2, 3)) as bench:
        (arrival,) = bench.pull.begin(bench.places(1), whole=True)
        assert arrival.is_ended
        assert not fetching()
        assert read(arrival) == octets(1)
        bench.source.breaks_in = f"{SERIES}.2"
        (broken,) = bench.pull.begin(bench.places(2), whole=True)
        with pytest.raises(PullError) as raised:
            read(broken)
        assert raised.value.problem is PullProblem.UNREACHABLE


def test_others_share_what_one_fetches_for_himself(tmp_path: Path) -> None:
    with opened(tmp_path, source_of(1, gate=0)) as bench:
        own: list[bytes] = []
        reader = threading.Thread(target=lambda: own.extend(map(read, bench.pull.begin(bench.places(1), whole=True))))
        reader.start()
        assert bench.source.asked.wait(SECONDS)
        (joined,) = bench.pull.begin(bench.places(1), whole=True)
        bench.source.gate.release()
        assert read(joined) == octets(1)
        reader.join(SECONDS)
        assert own == [octets(1)]
        assert len(bench.source.fetches) == 1
