"""Threads that compute take turns.

Only one thread at a time runs Python, and it gives up the interpreter's lock in every call that may wait: SQLite does so at every
row, lxml at every message. When several threads have requests in hand, each of them then waits for the lock at every such call,
and the processors are busy with changing threads: sixteen clients got fewer answers a second than one. A request that takes its
turn first goes through alone, and the others sleep until it is their turn, in the order in which they came.

A turn is a courtesy, no lock: who had to wait too long for it goes on beside the others, so that a long computation stops nobody.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

#: How long a thread waits for its turn.
PATIENCE_SECONDS: Final = 0.05


class _Turns:
    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._is_taken = False
        self._waiting: deque[threading.Lock] = deque()

    def take(self, *, first: bool) -> bool:
        """Wait for the turn, before all who wait already if it is to be the `first`. False: it took too long."""
        with self._lock:
            if not self._is_taken:
                self._is_taken = True
                return True
            called = threading.Lock()
            called.acquire()
            if first:
                self._waiting.appendleft(called)
            else:
                self._waiting.append(called)
        if called.acquire(timeout=PATIENCE_SECONDS):
            return True
        with self._lock:
            if called in self._waiting:
                self._waiting.remove(called)
                return False
        # It was handed over in the last moment.
        return True

    def hand_over(self) -> None:
        """End the turn; the next one is that of who waits in front."""
        with self._lock:
            if self._waiting:
                self._waiting.popleft().release()
            else:
                self._is_taken = False


_turns = _Turns()


class _Own(threading.local):
    has_turn = False


_own = _Own()


@contextmanager
def taken(*, first: bool = False) -> Iterator[None]:
    """Within this, the thread has its turn, unless it had to wait too long. Inside another turn this changes nothing.

    Who holds what all the others wait for is to be `first`.
    """
    if _own.has_turn:
        yield
        return
    _own.has_turn = _turns.take(first=first)
    try:
        yield
    finally:
        end()


def end() -> None:
    """The thread is about to wait for something else than the processor: its turn is over, if it has it."""
    if _own.has_turn:
        _own.has_turn = False
        _turns.hand_over()
