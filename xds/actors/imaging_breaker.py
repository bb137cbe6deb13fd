"""A source that does not answer is left alone for a while, so that each request fails at once instead of waiting again."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from xds.model.foreign_images import PullError, PullProblem

_COUNTED = (PullProblem.UNREACHABLE, PullProblem.TIMEOUT)


class Breaker:
    """Counts failures in a row of one source. One object serves all threads."""

    def __init__(self, failures: int = 3, seconds: float = 30.0) -> None:
        """After so many failures nothing is tried for so many seconds; then one request is let through to try."""
        self._failures = failures
        self._seconds = seconds
        self._lock = threading.Lock()
        self._counted = 0
        self._open_until = 0.0

    @contextmanager
    def closed(self) -> Iterator[None]:
        """Within it the source is used. Errors: PullError at once while the source is left alone."""
        with self._lock:
            now = time.monotonic()
            if now < self._open_until:
                raise PullError(PullProblem.UNREACHABLE, f"it has failed {self._counted} times and is left alone for a while")
            if self._counted >= self._failures:
                # Others are refused until the one that tries knows more.
                self._open_until = now + self._seconds
        try:
            yield
        except PullError as problem:
            if problem.problem in _COUNTED:
                self._failed()
            else:
                self._succeeded()
            raise
        self._succeeded()

    def _failed(self) -> None:
        with self._lock:
            self._counted += 1
            if self._counted >= self._failures:
                self._open_until = time.monotonic() + self._seconds

    def _succeeded(self) -> None:
        with self._lock:
            self._counted = 0
            self._open_until = 0.0
