"""Which instances a series has, for who can begin before that is known."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping


class SeriesClasses(Mapping[str, str]):
    """The SOP Class UIDs of the instances of a series, by SOP Instance UID.

    The classes are known; the instances, of which there may be thousands, are read once, when somebody needs them. One object
    serves all threads. Errors: of whatever needs them, those of `read`.
    """

    def __init__(self, classes: tuple[str, ...], read: Callable[[], Mapping[str, str]]) -> None:
        self.classes = classes
        self._read = read
        self._lock = threading.Lock()
        self._instances: Mapping[str, str] | None = None

    def instances(self) -> Mapping[str, str]:
        """All of them."""
        with self._lock:
            if self._instances is None:
                self._instances = self._read()
            return self._instances

    def __getitem__(self, sop_instance_uid: str) -> str:
        return self.instances()[sop_instance_uid]

    def __contains__(self, sop_instance_uid: object) -> bool:
        return sop_instance_uid in self.instances()

    def __iter__(self) -> Iterator[str]:
        return iter(self.instances())

    def __len__(self) -> int:
        return len(self.instances())


def distinct_classes(sop_classes: Mapping[str, str]) -> tuple[str, ...]:
    """The SOP Class UIDs among these, each once, without reading what need not be read."""
    return sop_classes.classes if isinstance(sop_classes, SeriesClasses) else tuple(dict.fromkeys(sop_classes.values()))
