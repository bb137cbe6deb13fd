"""Turns: one thread after the other, in the order in which they came, and nobody waits for ever."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from xds.store.database import open_database, turns


@contextmanager
def thread(work: object) -> Iterator[threading.Thread]:
    running = threading.Thread(target=work)  # type: ignore[arg-type]
    running.start()
    try:
        yield running
    finally:
        running.join()


def waiting() -> int:
    return len(turns._turns._waiting)


def until_waiting(number: int) -> None:
    deadline = time.monotonic() + 60
    while waiting() < number:
        assert time.monotonic() < deadline
        time.sleep(0.001)


def test_turns_come_in_the_order_of_asking(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns, "PATIENCE_SECONDS", 60)
    done: list[int] = []
    threads = []

    def work(number: int) -> None:
        with turns.taken():
            done.append(number)

    with turns.taken():
        for number in range(5):
            threads.append(threading.Thread(target=work, args=(number,)))
            threads[-1].start()
            until_waiting(number + 1)
        assert done == []
    for each in threads:
        each.join()
    assert done == [0, 1, 2, 3, 4]


def test_who_is_first_overtakes_those_who_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns, "PATIENCE_SECONDS", 60)
    done: list[str] = []

    def work(name: str) -> None:
        with turns.taken(first=name == "writer"):
            done.append(name)

    threads = [threading.Thread(target=work, args=(name,)) for name in ("one", "two", "writer")]
    with turns.taken():
        for number, each in enumerate(threads):
            each.start()
            until_waiting(number + 1)
    for each in threads:
        each.join()
    assert done == ["writer", "one", "two"]


def test_a_turn_inside_a_turn_changes_nothing() -> None:
    with turns.taken(), turns.taken():
        pass
    assert not turns._turns._is_taken


def test_who_waits_for_something_else_lets_others_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns, "PATIENCE_SECONDS", 60)
    came = threading.Event()

    def work() -> None:
        with turns.taken():
            came.set()

    with turns.taken(), thread(work):
        until_waiting(1)
        turns.end()
        assert came.wait(60)
    assert not turns._turns._is_taken


def test_a_long_turn_stops_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns, "PATIENCE_SECONDS", 0.01)
    came = threading.Event()

    def work() -> None:
        with turns.taken():
            came.set()

    with turns.taken(), thread(work):
        assert came.wait(60)
    assert waiting() == 0
    assert not turns._turns._is_taken


def test_an_error_ends_the_turn() -> None:
    with pytest.raises(ValueError, match="x"), turns.taken():
        raise ValueError("x")
    assert not turns._turns._is_taken


def test_a_write_within_a_turn_does_not_wait_for_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns, "PATIENCE_SECONDS", 120)
    database = open_database(f"sqlite:///{tmp_path / 'x.sqlite'}")
    begun = time.monotonic()
    try:
        with turns.taken():
            assert database.write(lambda connection: connection.exec_driver_sql("SELECT 1").scalar_one()) == 1
            with database.read() as connection:
                assert connection.exec_driver_sql("SELECT 2").scalar_one() == 2
    finally:
        database.close()
    assert time.monotonic() - begun < 100
