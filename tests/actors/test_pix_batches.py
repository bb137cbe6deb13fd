"""Feeds that arrive together share a transaction, and each has its own outcome."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from tests.identity import HOSPITAL_A, MARIE, Region, at
from tests.store.other_process import turn_held
from xds.actors.pix_batches import MOST_TOGETHER, FeedBatches
from xds.actors.pix_description import Effects
from xds.actors.pix_preparation import PreparedFeed, prepare
from xds.model.patient import FeedKind, IdentityFeed
from xds.store import settings
from xds.store.database import DatabaseClosedError, open_database, sqlite_turns, turns


def together(work: list[Callable[[], object]]) -> None:
    threads = [threading.Thread(target=each) for each in work]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()


def test_many_feeds_at_once_are_all_there_and_refusals_are_told_to_those_who_are_refused(tmp_path: Path) -> None:
    region = Region(tmp_path)
    outcomes: dict[int, tuple] = {}

    def feed(number: int) -> None:
        person = replace(MARIE, birth_date=f"19{10 + number % 80}{1 + number % 12:02d}{1 + number % 28:02d}", addresses=())
        identifier = at(HOSPITAL_A, str(number))
        if number % 10 == 7:
            outcomes[number] = region.feed(identifier, kind=FeedKind.MERGE, subsumed=(identifier,), message_id=f"M{number}")
        else:
            outcomes[number] = region.feed(identifier, demographics=person, message_id=f"M{number}")

    together([lambda number=number: feed(number) for number in range(60)])
    assert {number for number, problems in outcomes.items() if problems} == set(range(7, 60, 10))
    for number in range(60):
        known = region.pix.affinity_identifier(at(HOSPITAL_A, str(number)))
        assert (known is None) == (number % 10 == 7)
    assert len({event.objects[0].id for event in region.audited()}) == 60
    region.close()


def foresee(_connection: object, _feeds: object) -> None:
    """Nothing can be told beforehand."""


def test_who_comes_while_another_process_has_its_turn_comes_along(tmp_path: Path) -> None:
    path = tmp_path / "xds.sqlite"
    database, other = (open_database(f"sqlite:///{path}") for _ in range(2))
    database.create_schema()
    for number in range(2 * sqlite_turns.WRITTEN_BY_OTHERS):
        for each in (other, database):
            each.write(lambda connection, number=number: settings.keep(connection, "newest", str(number)))
    other.close()
    looked: list[list[str]] = []
    applied: list[int] = []

    def look(_connection: object, feeds: list) -> None:
        looked.append([item.prepared.feed.message_id for item in feeds])
        if len(looked) == 1:
            threads[1].start()
            while not batches._waiting:
                time.sleep(0.001)
        else:
            end()

    def apply(_connection: object, feeds: list) -> list[Effects]:
        applied.append(len(feeds))
        return [Effects() for _ in feeds]

    batches = FeedBatches(database, apply, look)

    def submit(number: int) -> None:
        feed = IdentityFeed(FeedKind.ADD, "HOSP_A|ADT", f"M{number}", (at(HOSPITAL_A, str(number)),), MARIE)
        batches.submit(prepare(feed, {}), ())

    threads = [threading.Thread(target=submit, args=(number,)) for number in range(2)]
    with turn_held(path) as end:
        threads[0].start()
        for thread in reversed(threads):
            while thread.ident is None:
                time.sleep(0.001)
            thread.join(60)
    assert looked == [["M0"], ["M1"]]
    assert applied == [2]
    database.close()


def test_who_has_a_message_in_hand_comes_along(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever leads lets those begin who wait for their turn to compute: one transaction carries all of them."""
    monkeypatch.setattr(turns, "PATIENCE_SECONDS", 60)
    region = Region(tmp_path)
    sizes = []

    def apply(_connection: object, feeds: list) -> list[Effects]:
        sizes.append(len(feeds))
        return [Effects() for _ in feeds]

    batches = FeedBatches(region.database, apply, foresee)

    def prepared(number: int) -> PreparedFeed:
        return prepare(IdentityFeed(FeedKind.ADD, "HOSP_A|ADT", f"M{number}", (at(HOSPITAL_A, str(number)),), MARIE), {})

    def submit(number: int) -> None:
        with turns.taken():
            batches.submit(prepared(number), ())

    threads = [threading.Thread(target=submit, args=(number,)) for number in range(3)]
    with turns.taken():
        leader = batches.begin(prepared(3), ())
        for thread in threads:
            thread.start()
        until = time.monotonic() + 60
        while len(turns._turns._waiting) < len(threads) and time.monotonic() < until:
            time.sleep(0.01)
        batches.wait(leader)
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()
    assert sizes == [4]
    region.close()


def test_one_that_fails_does_not_take_the_others_with_it(tmp_path: Path) -> None:
    """Whatever the reason: those beside it are applied once more without it."""
    region = Region(tmp_path)
    sizes = []

    def apply(_connection: object, feeds: list) -> list[Effects]:
        # Meanwhile all the others come.
        until = time.monotonic() + 60
        while not sizes and len(batches._waiting) + len(feeds) < len(work) and time.monotonic() < until:
            time.sleep(0.001)
        sizes.append(len(feeds))
        if any(item.prepared.feed.message_id == "M13" for item in feeds):
            raise ValueError("13")
        return [Effects() for _ in feeds]

    batches = FeedBatches(region.database, apply, foresee)
    failed = []

    def submit(number: int) -> None:
        feed = IdentityFeed(FeedKind.ADD, "HOSP_A|ADT", f"M{number}", (at(HOSPITAL_A, str(number)),), MARIE)
        try:
            batches.submit(prepare(feed, {}), ())
        except ValueError:
            failed.append(number)

    work = [lambda number=number: submit(number) for number in range(40)]
    together(work)
    assert failed == [13]
    assert max(sizes) <= MOST_TOGETHER
    assert len(sizes) < 40
    region.close()


def test_the_next_are_applied_while_the_disk_takes_its_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, back_end: str
) -> None:
    region = Region(tmp_path)
    applied = {number: threading.Event() for number in range(2)}
    done: list[int] = []

    def apply(_connection: object, feeds: list) -> list[Effects]:
        for item in feeds:
            applied[int(item.prepared.feed.message_id)].set()
        return [Effects() for _ in feeds]

    batches = FeedBatches(region.database, apply, foresee)
    is_written = threading.Event()
    force = os.fdatasync

    def slowly(file: int) -> None:
        assert is_written.wait(60)
        force(file)

    def submit(number: int) -> None:
        feed = IdentityFeed(FeedKind.ADD, "HOSP_A|ADT", str(number), (at(HOSPITAL_A, str(number)),), MARIE)
        batches.submit(prepare(feed, {}), ())
        done.append(number)

    monkeypatch.setattr(os, "fdatasync", slowly)
    threads = [threading.Thread(target=submit, args=(number,)) for number in applied]
    for number, thread in enumerate(threads):
        thread.start()
        assert applied[number].wait(60)
    # A server forces its disk by itself, and its feeds wait for its lock.
    assert not done or back_end == "postgresql"
    is_written.set()
    for thread in threads:
        thread.join(60)
    assert sorted(done) == [0, 1]
    region.close()


def test_who_cannot_be_applied_is_told_and_the_next_go_on(tmp_path: Path) -> None:
    region = Region(tmp_path)
    batches = FeedBatches(region.database, lambda _connection, feeds: [Effects() for _ in feeds], foresee)
    region.close()
    feed = IdentityFeed(FeedKind.ADD, "HOSP_A|ADT", "M", (at(HOSPITAL_A, "1"),), MARIE)
    for _ in range(2):
        with pytest.raises(DatabaseClosedError):
            batches.submit(prepare(feed, {}), ())
