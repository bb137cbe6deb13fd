"""How connections reach threads: of all that are idle, the one that worked last is the next to work.

cheroot's own queue lets its threads take turns. What a thread keeps for itself (a parser, compiled schemas, compression
contexts) is then used once in as many requests as there are threads, and is in no cache of the processor when it is.
"""

from __future__ import annotations

import threading
from collections import deque
from typing import Any


class LastIdleFirst:
    """A queue of connections for the threads that serve them; has what cheroot calls of `queue.Queue`."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: list[_Place] = []
        self._queued: deque[Any] = deque()
        self._own = threading.local()

    @property
    def idle(self) -> int:
        """How many threads wait for work."""
        return len(self._waiting)

    def put(self, item: Any, block: bool = True, timeout: float | None = None) -> None:
        """Wake the thread that became idle last; without one the item waits for the first that does."""
        with self._lock:
            if not self._waiting:
                self._queued.append(item)
                return
            place = self._waiting.pop()
        place.item = item
        place.filled.release()

    def get(self) -> Any:
        """The oldest item that waits, or the next that comes."""
        place = self._place()
        with self._lock:
            if self._queued:
                return self._queued.popleft()
            self._waiting.append(place)
        place.filled.acquire()
        item, place.item = place.item, None
        return item

    def _place(self) -> _Place:
        place: _Place | None = getattr(self._own, "place", None)
        if place is None:
            place = self._own.place = _Place()
        return place


class _Place:
    """Where a thread finds what it was woken for. `filled` is held by the thread until then."""

    __slots__ = ("filled", "item")

    def __init__(self) -> None:
        self.filled = threading.Lock()
        self.filled.acquire()
        self.item: Any = None
