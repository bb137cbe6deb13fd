"""What keeps the memory of a server bounded when messages are large: few of them at a time, and what they took is given back.

Read into a tree, XML takes ten to forty times its octets, and with the interpreter's lock nothing is won by working on several
large messages at once. The allocator of the C library keeps what one thread has freed for that thread, unless it is asked not to.
"""

from __future__ import annotations

import ctypes
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

#: Messages below this many octets are read and answered without asking.
SMALL: Final = 1 << 20
#: Areas that the threads of a process allocate from. Every thread has one of its own otherwise, up to eight for each processor.
_ARENAS: Final = 4
#: Of the GNU C library.
_M_ARENA_MAX: Final = -8


class TooMuchError(Exception):
    """There are so many large messages that another one must come later."""


def _function(name: str) -> Callable[[int], int] | Callable[[int, int], int] | None:
    """A function of the C library; None where that is another one."""
    return getattr(ctypes.CDLL(None), name, None)


def share_arenas() -> None:
    """Let the threads of this process that are still to come share a few areas of memory."""
    limit = _function("mallopt")
    if limit is not None:
        limit(_M_ARENA_MAX, _ARENAS)  # type: ignore[call-arg]


def give_back() -> None:
    """Give free memory back to the system, wherever it lies."""
    trim = _function("malloc_trim")
    if trim is not None:
        trim(0)  # type: ignore[call-arg]


class LargeMessages:
    """The large messages of one process."""

    def __init__(self, *, held: int, worked_on: int, patience: float) -> None:
        """`held`: octets that may wait in memory together. `worked_on`: octets that may be worked on together; a message that is
        larger by itself is worked on alone. `patience`: seconds that one waits at most."""
        self._limit = held
        self._room = worked_on
        self._patience = patience
        self._held = 0
        self._worked_on = 0
        self._waiting: deque[object] = deque()
        self._changed = threading.Condition()

    def holding(self) -> Holding:
        """What one message will take."""
        return Holding(self)

    def _take(self, octets: int) -> None:
        with self._changed:
            if self._held + octets > self._limit:
                raise TooMuchError
            self._held += octets

    def _leave(self, octets: int) -> None:
        with self._changed:
            self._held -= octets

    @contextmanager
    def turn(self, octets: int) -> Iterator[None]:
        """Within this, a message of so many octets is worked on. They come in the order in which they asked.

        What it took must be let go before the end. Errors: TooMuchError.
        """
        me = object()
        with self._changed:
            self._waiting.append(me)
            try:
                if not self._changed.wait_for(lambda: self._waiting[0] is me and self._has_room(octets), self._patience):
                    raise TooMuchError
                self._worked_on += octets
            finally:
                self._waiting.remove(me)
                self._changed.notify_all()
        try:
            yield
        finally:
            give_back()
            with self._changed:
                self._worked_on -= octets
                self._changed.notify_all()

    def _has_room(self, octets: int) -> bool:
        return not self._worked_on or self._worked_on + octets <= self._room


class Holding:
    """The octets of one message that is being received, as far as they are many."""

    __slots__ = ("_messages", "_octets", "_taken")

    def __init__(self, messages: LargeMessages) -> None:
        self._messages = messages
        self._octets = 0
        self._taken = 0

    def grow(self, octets: int) -> None:
        """So many more have come. Errors: TooMuchError."""
        self._octets += octets
        if self._octets >= SMALL:
            self._messages._take(self._octets - self._taken)
            self._taken = self._octets

    def end(self) -> None:
        """They are no longer in memory. Idempotent."""
        taken, self._taken, self._octets = self._taken, 0, 0
        if taken:
            self._messages._leave(taken)
            give_back()
