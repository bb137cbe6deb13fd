"""Objects that arrive at a listener of ours, handed over to who asked for them: read by that thread, as they come."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field

from xds.model.foreign_images import Pulled, PullError, PullProblem


@dataclass(slots=True, eq=False)
class _Offer:
    """An object that waits to be read. `is_over` is set when nobody reads it any more."""

    pulled: Pulled
    is_over: threading.Event = field(default_factory=threading.Event)
    is_read: bool = False


class Delivery:
    """Where objects are offered to one reader. It ends with success, or with what went wrong."""

    def __init__(self, ae_title: str, seconds: float) -> None:
        """`ae_title` is that of the source, `seconds` is how long nothing may arrive."""
        self.ae_title = ae_title
        self._seconds = seconds
        self._changed = threading.Condition()
        self._waiting: deque[_Offer] = deque()
        self._problem: PullError | None = None
        self._is_ended = False
        self._is_abandoned = False

    def offer(self, pulled: Pulled) -> bool:
        """Have the reader read an object, and wait until that is done; False when it was not read whole."""
        offer = _Offer(pulled)
        with self._changed:
            if self._is_abandoned:
                return False
            self._waiting.append(offer)
            self._changed.notify()
        offer.is_over.wait()
        return offer.is_read

    def end(self, problem: PullError | None = None) -> None:
        """Nothing follows."""
        with self._changed:
            self._is_ended, self._problem = True, problem
            self._changed.notify()

    def objects(self) -> Iterator[Pulled]:
        """The objects as they are offered. Errors: PullError."""
        try:
            while (offer := self._next()) is not None:
                try:
                    yield offer.pulled
                    with suppress(PullError):
                        for _ in offer.pulled.chunks:
                            pass
                        offer.is_read = True
                finally:
                    offer.is_over.set()
        finally:
            self._abandon()

    def _next(self) -> _Offer | None:
        with self._changed:
            if not self._changed.wait_for(lambda: self._waiting or self._is_ended, self._seconds):
                raise PullError(PullProblem.TIMEOUT)
            if self._waiting:
                return self._waiting.popleft()
            if self._problem is not None:
                raise self._problem
            return None

    def _abandon(self) -> None:
        with self._changed:
            self._is_abandoned = True
            left = list(self._waiting)
        for offer in left:
            offer.is_over.set()
