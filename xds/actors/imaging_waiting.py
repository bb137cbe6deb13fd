"""Whoever reads what is still arriving from a source says so before it waits: what there is by then can be sent on.

Answers are gathered before they are sent, so that many small pieces cost one call of the system. An image of which the rest takes
its time would stay with us otherwise, until there is enough of it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class _Reader(threading.local):
    told: Callable[[], object] | None = None


_reader = _Reader()


@contextmanager
def telling(action: Callable[[], object]) -> Iterator[None]:
    """Within this, `action` is called whenever this thread is about to wait for a source. It must not raise."""
    former, _reader.told = _reader.told, action
    try:
        yield
    finally:
        _reader.told = former


def about_to_wait() -> None:
    """To be called before this thread waits for a source, outside of every lock."""
    if _reader.told is not None:
        _reader.told()
