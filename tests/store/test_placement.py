"""Threads that keep to the processor of their process, where each process has one, and interrupt none of the others there.

And those that leave it to all others.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator

import pytest

from xds.store.database import placement

ALLOWED = sorted(os.sched_getaffinity(0))


@pytest.fixture(autouse=True)
def forgotten() -> Iterator[None]:
    yield
    placement.choose(0, 1)


def places(work: Callable[[], object]) -> tuple[list[int], int]:
    """The processors of a thread, and how it is scheduled, after it has done this."""
    found: list[tuple[list[int], int]] = []

    def run() -> None:
        work()
        found.append((sorted(os.sched_getaffinity(0)), os.sched_getscheduler(0)))

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    return found[0]


@pytest.mark.parametrize("number", range(len(ALLOWED)))
def test_each_process_has_its_own_when_there_are_as_many(number: int) -> None:
    placement.choose(number, len(ALLOWED))
    assert places(placement.keep) == ([ALLOWED[number]], os.SCHED_BATCH)
    assert places(lambda: None) == (ALLOWED, os.SCHED_OTHER)


@pytest.mark.parametrize("processes", [1, len(ALLOWED) + 1, len(ALLOWED) + 2])
def test_otherwise_threads_go_wherever_there_is_room(processes: int) -> None:
    placement.choose(0, processes)
    assert places(placement.keep) == (ALLOWED, os.SCHED_OTHER)


def test_a_processor_that_was_taken_away_is_no_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(placement._own, "processor", 4095)
    assert places(placement.keep) == (ALLOWED, os.SCHED_OTHER)


def test_who_gives_way_does_so_alone() -> None:
    assert places(placement.give_way) == (ALLOWED, os.SCHED_IDLE)
    assert places(lambda: None) == (ALLOWED, os.SCHED_OTHER)
