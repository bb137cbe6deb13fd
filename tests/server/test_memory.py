"""Large messages: few at a time, in their order, and nothing of them stays."""

from __future__ import annotations

import resource
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from xds.server.memory import SMALL, LargeMessages, TooMuchError, give_back, share_arenas


def messages(**changed: float) -> LargeMessages:
    values = {"held": 10 * SMALL, "worked_on": 4 * SMALL, "patience": 60} | changed
    return LargeMessages(held=int(values["held"]), worked_on=int(values["worked_on"]), patience=values["patience"])


def in_thread(work: Callable[[], object]) -> threading.Thread:
    thread = threading.Thread(target=work)
    thread.start()
    return thread


def test_what_is_in_memory_is_limited() -> None:
    large = messages()
    first, second, third = large.holding(), large.holding(), large.holding()
    for _ in range(6):
        first.grow(SMALL)
    second.grow(4 * SMALL)
    third.grow(SMALL - 1)
    with pytest.raises(TooMuchError):
        third.grow(1)
    first.end()
    first.end()
    third.grow(5 * SMALL)
    with pytest.raises(TooMuchError):
        second.grow(1)


def test_small_messages_are_not_counted() -> None:
    large = messages(held=SMALL)
    large.holding().grow(SMALL)
    large.holding().grow(SMALL - 1)


def wait_for_room(large: LargeMessages, number: int) -> None:
    """Until so many wait."""
    while len(large._waiting) < number:
        threading.Event().wait(0.001)


def test_as_many_are_worked_on_as_there_is_room_for() -> None:
    large = messages()
    done: list[str] = []

    def work(name: str, octets: int) -> None:
        with large.turn(octets):
            done.append(name)

    with large.turn(2 * SMALL), large.turn(2 * SMALL):
        waiting = in_thread(lambda: work("large", 3 * SMALL))
        wait_for_room(large, 1)
        assert done == []
    waiting.join()
    assert done == ["large"]


def test_a_message_beyond_the_room_is_worked_on_alone() -> None:
    large = messages(patience=0.01)
    with large.turn(100 * SMALL), pytest.raises(TooMuchError), large.turn(1):
        pass
    with large.turn(1), pytest.raises(TooMuchError), large.turn(100 * SMALL):
        pass
    with large.turn(100 * SMALL):
        pass


def test_nobody_is_overtaken() -> None:
    large = messages()
    order: list[int] = []

    def work(number: int) -> None:
        # Each needs all the room there is.
        with large.turn(4 * SMALL):
            order.append(number)

    threads = []
    with large.turn(SMALL):
        for number in range(6):
            threads.append(in_thread(partial(work, 5 - number)))
            wait_for_room(large, number + 1)
    for thread in threads:
        thread.join()
    assert order == [5, 4, 3, 2, 1, 0]


def test_an_error_ends_the_turn() -> None:
    large = messages(patience=5)
    with pytest.raises(KeyError), large.turn(9 * SMALL):
        raise KeyError
    with large.turn(9 * SMALL):
        pass


def resident() -> int:
    """Octets of this process in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def test_memory_is_given_back() -> None:
    share_arenas()
    blocks = [b"x" * (2000 + number % 7) for number in range(40_000)]
    last = blocks[-1]
    held = resident()
    # What is freed below the last block stays with the process until it is asked for.
    del blocks
    give_back()
    assert held - resident() > 40 << 20, len(last)
