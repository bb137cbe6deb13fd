"""Who the PACS is, how it is asked, and how much at once."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from xds.model.foreign_images import PullError, PullProblem


@dataclass(frozen=True, slots=True)
class Partner:
    """A PACS. `dicomweb` is the base URL of its web services, `calling_ae_title` our name towards it.

    `seconds` is how long it may be silent, `patience` how long one of us waits for another to be done with it. At most
    `kept_associations` stay open for `kept_seconds` when nobody uses them.
    """

    name: str
    ae_title: str
    host: str
    port: int
    dicomweb: str = ""
    calling_ae_title: str = "XDS"
    seconds: float = 30.0
    patience: float = 60.0
    associations: int = 4
    requests: int = 8
    kept_associations: int = 1
    kept_seconds: float = 30.0


class Places:
    """So many may use a PACS at once; others wait for their turn."""

    def __init__(self, number: int, patience: float) -> None:
        self._free = threading.BoundedSemaphore(number)
        self._patience = patience
        self._lock = threading.Lock()
        #: How many there are now who use it.
        self.used = 0

    @contextmanager
    def one(self) -> Iterator[None]:
        """A place, for as long as the context lasts. Errors: PullError (BUSY)."""
        if not self._free.acquire(timeout=self._patience):
            raise PullError(PullProblem.BUSY)
        with self._lock:
            self.used += 1
        try:
            yield
        finally:
            with self._lock:
                self.used -= 1
            self._free.release()
