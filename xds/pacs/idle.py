"""Connections with a PACS that nobody uses: they stay open for a moment, for whoever comes next.

What the PACS ends meanwhile is let go at once.
"""

from __future__ import annotations

import os
import selectors
import socket
import threading
import time
from collections.abc import Callable
from typing import Generic, Protocol, TypeVar


class Kept(Protocol):
    """A connection that nobody uses. `due` is when it is let go."""

    due: float

    @property
    def connection(self) -> socket.socket:
        """The socket beneath."""

    def has_input(self) -> bool:
        """Whether the PACS has said something, or has gone."""

    def release(self) -> None:
        """Nobody needs it any more."""

    def ended(self) -> None:
        """The PACS has said something while nobody used it: it ends it, or what it says has no place."""


AnyKept = TypeVar("AnyKept", bound=Kept)


class Idle(Generic[AnyKept]):
    """Connections that nobody uses. A thread of its own lets those go whose time is over, or which the PACS ends."""

    def __init__(self, most: int, seconds: float, name: str) -> None:
        """At most so many are kept, for so many seconds. `name` is that of the PACS."""
        self._most = most if seconds > 0 else 0
        self._seconds = seconds
        self._name = name
        self._lock = threading.Lock()
        self._kept: list[AnyKept] = []
        self._selector: selectors.BaseSelector | None = None
        self._wake = (-1, -1)
        self._thread: threading.Thread | None = None
        self._is_closed = False

    def put(self, kept: AnyKept, most: int | None = None) -> None:
        """Keep it, in place of the oldest when there are as many as there may be; `most` is a further limit of that."""
        most = self._most if most is None else min(self._most, most)
        surplus = [kept]
        with self._lock:
            if not self._is_closed and most > 0:
                surplus = self._kept[: max(len(self._kept) + 1 - most, 0)]
                for each in surplus:
                    self._forget(each)
                kept.due = time.monotonic() + self._seconds
                self._watched().register(kept.connection, selectors.EVENT_READ, kept)
                self._kept.append(kept)
                if len(self._kept) == 1:
                    # The thread waits without an end.
                    os.write(self._wake[1], b".")
        for each in surplus:
            each.release()

    def take(self, fits: Callable[[AnyKept], bool] = lambda _: True) -> AnyKept | None:
        """One that fits, the last that was put; None when there is none."""
        while True:
            with self._lock:
                found = next((kept for kept in reversed(self._kept) if fits(kept)), None)
                if found is None:
                    return None
                self._forget(found)
            if not found.has_input():
                return found
            found.ended()

    def leave(self, number: int) -> bool:
        """Release all but so many, the oldest first; False when there was nothing to release."""
        with self._lock:
            surplus = self._kept[: max(len(self._kept) - max(number, 0), 0)]
            for kept in surplus:
                self._forget(kept)
        for kept in surplus:
            kept.release()
        return bool(surplus)

    def close(self) -> None:
        """Release all of them, and keep no more. Idempotent."""
        with self._lock:
            self._is_closed = True
            thread, self._thread = self._thread, None
        if thread is not None:
            os.write(self._wake[1], b".")
            thread.join()
            for end in self._wake:
                os.close(end)
        self.leave(0)
        if self._selector is not None:
            self._selector.close()

    def _forget(self, kept: AnyKept) -> None:
        self._kept.remove(kept)
        if self._selector is not None:
            self._selector.unregister(kept.connection)

    def _watched(self) -> selectors.BaseSelector:
        if self._selector is None:
            self._selector = selectors.DefaultSelector()
            self._wake = os.pipe()
            self._selector.register(self._wake[0], selectors.EVENT_READ)
            self._thread = threading.Thread(target=self._watch, args=(self._selector,), name=f"idle-{self._name}", daemon=True)
            self._thread.start()
        return self._selector

    def _watch(self, selector: selectors.BaseSelector) -> None:
        while True:
            with self._lock:
                if self._is_closed:
                    return
                now = time.monotonic()
                over = [kept for kept in self._kept if kept.due <= now]
                for kept in over:
                    self._forget(kept)
                wait = self._kept[0].due - now if self._kept else None
            for kept in over:
                kept.release()
            for key, _ in [] if over else selector.select(wait):
                if key.fileobj == self._wake[0]:
                    os.read(self._wake[0], 64)
                    continue
                with self._lock:
                    is_idle = key.data in self._kept
                    if is_idle:
                        self._forget(key.data)
                if is_idle:
                    key.data.ended()
