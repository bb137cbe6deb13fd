"""Where images are pushed to: configured applications, and the associations with one of them.

Spec: DICOM PS3.4 C.4.2 (C-MOVE), J.3 (storage commitment); PS3.8 7.1 (associations).
"""

from __future__ import annotations

import threading
from collections.abc import Iterable
from concurrent.futures import Future
from dataclasses import dataclass

from xds.pacs.association import Association, connect

#: An abstract syntax with transfer syntaxes for it.
Kind = tuple[str, tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class Destination:
    """An application that images may be sent to."""

    ae_title: str
    host: str
    port: int


class Elsewhere:
    """Associations with one destination, one after the other, in the hands of one thread.

    The first may be opened while that thread waits for something else.
    """

    def __init__(self, destination: Destination, calling: str, seconds: float) -> None:
        """`calling` is our own AE title, `seconds` is how long the destination may keep silent."""
        self._destination = destination
        self._calling = calling
        self._seconds = seconds
        self._proposed: frozenset[Kind] = frozenset()
        self._opening: Future[Association] | None = None
        self._association: Association | None = None

    @property
    def ae_title(self) -> str:
        """That of the destination."""
        return self._destination.ae_title

    @property
    def is_open(self) -> bool:
        """Whether there is an association that need not be waited for."""
        return self._association is not None or (self._opening is not None and self._opening.done())

    def begin(self, kinds: Iterable[Kind]) -> None:
        """Open an association for these, without waiting for it."""
        proposed, opening = list(dict.fromkeys(kinds)), Future[Association]()
        self._proposed = frozenset(proposed)

        def work() -> None:
            try:
                opening.set_result(self._opened(proposed))
            except BaseException as problem:
                # Whatever it is belongs to who waits for the association.
                opening.set_exception(problem)

        try:
            threading.Thread(target=work, name="dimse-destination", daemon=True).start()
        except RuntimeError:
            # There are too many threads: it is opened when it is needed.
            return
        self._opening = opening

    def association(self, kinds: Iterable[Kind] = ()) -> Association:
        """One for these, or for those of `begin`.

        Errors: OSError when the destination cannot be reached, AssociationError when it refuses.
        """
        needed = list(dict.fromkeys(kinds)) or list(self._proposed)
        if self._opening is not None:
            opening, self._opening = self._opening, None
            self._association = opening.result()
        if self._association is not None and not self._proposed.issuperset(needed):
            self._association.release()
            self._association = None
        if self._association is None:
            self._association, self._proposed = self._opened(needed), frozenset(needed)
        return self._association

    def drop(self) -> None:
        """The association at hand is of no use any more."""
        if self._association is not None:
            self._association.abort()
            self._association = None

    def close(self) -> None:
        """Nothing more is sent there. Idempotent."""
        if self._opening is not None:
            self._opening.add_done_callback(_release)
            self._opening = None
        if self._association is not None:
            self._association.release()
            self._association = None

    def _opened(self, kinds: list[Kind]) -> Association:
        association = connect(self._destination.host, self._destination.port, self._seconds)
        association.request(self._calling, self._destination.ae_title, kinds)
        return association


def _release(opening: Future[Association]) -> None:
    if opening.exception() is None:
        opening.result().release()
