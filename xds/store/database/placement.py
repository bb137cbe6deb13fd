"""Threads that hand each message on to one another stay on one processor.

A feed goes from the thread of its connection to the writer and back. These threads seldom compute at the same time, as only one
of them has the interpreter, and to wake one of them on another processor, whose caches know nothing of what it needs, costs more
than it gives: on two processors, two processes took a seventh more feeds with this (14 %), and the slowest of a hundred answers
came an eighth sooner.

None of them interrupts another there either (`SCHED_BATCH`): a message that arrives waits until the thread that computes waits
for something itself. It could not go on before that anyway, and two changes of thread for nothing cost another tenth.

Only where a server has as many processes as it may use processors, so that each has one to itself and none is left over. Threads
that leave the interpreter to others for long, as those of HTTP and DICOM do, go wherever there is room.
"""

from __future__ import annotations

import os
from contextlib import suppress


class _Own:
    """What this process has."""

    processor: int | None = None


_own = _Own()


def choose(number: int, processes: int) -> None:
    """To be called in process `number` (from 0) of a server of so many, before its threads begin."""
    allowed = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    _own.processor = allowed[number] if 1 < len(allowed) == processes else None


def keep() -> None:
    """Stay on the processor of this process, if it has one, and interrupt no other thread there.

    A thread calls it for itself; those that it starts follow it.
    """
    if _own.processor is not None:
        # Whoever runs the machine may have taken it away since.
        with suppress(OSError):
            os.sched_setaffinity(0, {_own.processor})
            os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))


def give_way() -> None:
    """Leave the processor to whoever wants it. For the thread that calls it, which stays so until it ends."""
    if hasattr(os, "SCHED_IDLE"):
        with suppress(OSError):
            os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
