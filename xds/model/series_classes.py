"""Which instances a series has, for who can begin before that is known."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping


class SeriesClasses(Mapping[str, str]):
    """The SOP Class UIDs of the instances of a series, by SOP Instance UID.

    The classes are known; the instances, of which there may be thousands, are read once, when somebody needs them. The first
    that is asked for is looked up alone: a reader waits for its octets, and for the others later. One object serves all threads.
    Errors: of whatever needs them, those of `read` and `read_one`.
    """

    def __init__(
        self, classes: tuple[str, ...], read: Callable[[], Mapping[str, str]], read_one: Callable[[str], Mapping[str, str]]
    ) -> None:
        """`read` gives all of them, `read_one` the one with that SOP Instance UID, if there is one."""
        self.classes = classes
        self._read = read
        self._read_one = read_one
        self._lock = threading.Lock()
        self._first: tuple[str, Mapping[str, str]] | None = None
        self._instances: Mapping[str, str] | None = None

    def __getitem__(self, sop_instance_uid: str) -> str:
        return self._with(sop_instance_uid)[sop_instance_uid]

    def __contains__(self, sop_instance_uid: object) -> bool:
        return isinstance(sop_instance_uid, str) and sop_instance_uid in self._with(sop_instance_uid)

    def __iter__(self) -> Iterator[str]:
        return iter(self._all())

    def __len__(self) -> int:
        return len(self._all())

    def _all(self) -> Mapping[str, str]:
        with self._lock:
            if self._instances is None:
                self._instances = self._read()
            return self._instances

    def _with(self, sop_instance_uid: str) -> Mapping[str, str]:
        """As many of them as tell of that one."""
        with self._lock:
            if self._instances is None:
                if self._first is None:
                    self._first = sop_instance_uid, self._read_one(sop_instance_uid)
                if self._first[0] == sop_instance_uid:
                    return self._first[1]
        return self._all()


def distinct_classes(sop_classes: Mapping[str, str]) -> tuple[str, ...]:
    """The SOP Class UIDs among these, each once, without reading what need not be read."""
    return sop_classes.classes if isinstance(sop_classes, SeriesClasses) else tuple(dict.fromkeys(sop_classes.values()))
