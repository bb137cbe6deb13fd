"""Documents that arrive while the store may be full: the message is read to its end, so that its sender gets a proper answer."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator

from xds.ports import Staging


class Intake:
    """A `xds.ports.Staging` that does not fail while it is written: `failure` and `commit` tell what the store failed at."""

    def __init__(self, stage: Callable[[], Staging]) -> None:
        """`stage` is the store's."""
        self.failure: OSError | None = None
        self._staging: Staging | None = None
        self._lost = 0
        try:
            self._staging = stage()
        except OSError as problem:
            self.failure = problem

    @property
    def size(self) -> int:
        """Octets written so far."""
        return self._lost if self._staging is None else self._staging.size

    @property
    def sha1(self) -> str:
        """SHA-1 of the octets so far, lower-case hex; after a failure that of none."""
        return hashlib.sha1(usedforsecurity=False).hexdigest() if self._staging is None else self._staging.sha1

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Append; what comes after a failure is counted alone."""
        if self._staging is not None:
            before = self._staging.size
            try:
                self._staging.write(data)
                return
            except OSError as problem:
                self.failure, self._lost = problem, before
                self._staging.discard()
                self._staging = None
        self._lost += len(data)

    def open(self) -> Iterator[bytes]:
        """The octets written so far. Errors: KeyError after a failure."""
        if self._staging is None:
            raise KeyError("the store failed")
        return self._staging.open()

    def commit(self) -> str:
        """As the store's. Errors: OSError, also an earlier one."""
        if self._staging is None:
            raise self.failure or OSError
        return self._staging.commit()

    def discard(self) -> None:
        """Forget it, unless it was committed. Idempotent."""
        if self._staging is not None:
            self._staging.discard()
