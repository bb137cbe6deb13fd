"""The job loop."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.archive import SteppedClock
from tests.databases import fresh_database
from xds.server.worker import Worker
from xds.store import jobs
from xds.store.database import Database
from xds.store.jobs import Job


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    opened = fresh_database(tmp_path)
    yield opened
    opened.close()


@pytest.fixture
def clock() -> SteppedClock:
    return SteppedClock()


def add(database: Database, clock: SteppedClock, key: str, kind: str = "k") -> None:
    database.write(lambda connection: jobs.add(connection, kind, key, {"n": 1}, clock()))


def test_jobs_are_done_once_and_in_order(database: Database, clock: SteppedClock) -> None:
    done: list[str] = []

    def handle(job: Job) -> None:
        done.append(job.key)

    for key in ("a", "b", "c"):
        add(database, clock, key)
        clock.advance(seconds=1)
    worker = Worker(database, {"k": handle}, clock)
    assert worker.run_due() == 3
    assert worker.run_due() == 0
    assert done == ["a", "b", "c"]


@pytest.mark.parametrize("failing", ["reason", "exception", "no handler"])
def test_waits_grow_up_to_the_longest(database: Database, clock: SteppedClock, failing: str) -> None:
    tried: list[int] = []

    def handle(job: Job) -> str | None:
        tried.append(job.attempts)
        if failing == "exception":
            raise ValueError("PATIENT DOE")
        return "not yet"

    handlers: dict[str, Any] = {} if failing == "no handler" else {"k": handle}
    worker = Worker(database, handlers, clock, first_wait=timedelta(seconds=10), longest_wait=timedelta(seconds=30))
    add(database, clock, "a")
    assert worker.run_due() == 1
    for seconds in (10, 20, 30, 30):
        clock.advance(seconds=seconds - 1)
        assert worker.run_due() == 0
        clock.advance(seconds=1)
        assert worker.run_due() == 1
    assert tried == ([] if failing == "no handler" else [1, 2, 3, 4, 5])


def test_it_works_in_the_background_and_finishes_the_job_in_hand(database: Database, clock: SteppedClock) -> None:
    begun, release, ended = threading.Event(), threading.Event(), threading.Event()

    def handle(_job: Job) -> None:
        begun.set()
        assert release.wait(60)
        ended.set()

    worker = Worker(database, {"k": handle}, clock, poll_seconds=0.01)
    worker.start()
    add(database, clock, "a")
    assert begun.wait(60)
    add(database, clock, "b")
    stopper = threading.Thread(target=worker.stop)
    stopper.start()
    # Whoever is done before he is told to stop takes the next job.
    assert worker._stopping.wait(60)
    release.set()
    stopper.join(60)
    assert ended.is_set()
    left: Any = database.write(lambda connection: jobs.claim(connection, clock(), 10))
    assert [job.key for job in left] == ["b"]


def test_a_closed_database_ends_it(tmp_path: Path, clock: SteppedClock) -> None:
    opened = fresh_database(tmp_path)
    worker = Worker(opened, {}, clock, poll_seconds=0.01)
    worker.start()
    opened.close()
    worker.stop(60)
    assert not any(thread.is_alive() for thread in worker._threads)


def test_it_takes_jobs_of_its_kinds_alone(database: Database, clock: SteppedClock) -> None:
    done: list[str] = []
    add(database, clock, "a", kind="other")
    add(database, clock, "b")
    worker = Worker(database, {"k": lambda job: done.append(job.key)}, clock, kinds=["k"])
    assert worker.run_due() == 1
    assert done == ["b"]


def test_threads_work_side_by_side(database: Database, clock: SteppedClock) -> None:
    both = threading.Barrier(2, timeout=60)
    met = threading.Semaphore(0)

    def handle(_job: Job) -> None:
        both.wait()
        met.release()

    add(database, clock, "a")
    add(database, clock, "b")
    worker = Worker(database, {"k": handle}, clock, poll_seconds=0.01, threads=2)
    worker.start()
    assert met.acquire(timeout=60)
    assert met.acquire(timeout=60)
    worker.stop()


def test_a_job_that_takes_long_is_kept_from_others(database: Database, clock: SteppedClock) -> None:
    add(database, clock, "a")
    (job,) = database.write(lambda connection: jobs.claim(connection, clock(), 1))
    clock.advance(minutes=9)
    lease = database.write(lambda connection: jobs.renewed(connection, job, clock()))
    assert lease is not None
    assert database.write(lambda connection: jobs.renewed(connection, job, clock())) is None
    clock.advance(minutes=9)
    assert database.write(lambda connection: jobs.claim(connection, clock(), 1)) == ()
    job.lease = lease
    assert database.write(lambda connection: jobs.finish(connection, job))
    assert not database.write(lambda connection: jobs.finish(connection, job))
