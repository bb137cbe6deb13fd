"""One server in several processes: a parent that starts them, replaces those that die, and ends them.

The parent forks, and therefore must have no threads. Through a pipe each child tells when it serves, or why it cannot; the end of
that pipe tells the parent that the child is gone, and the end of another one tells the children that the parent is.
"""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

import structlog

from xds.server import failures
from xds.store.database import placement

#: Seconds before a child is replaced: the first time, doubled for each successor that dies young, and at most.
FIRST_WAIT: Final = 0.1
LONGEST_WAIT: Final = 10.0
#: Seconds after which a child's death is no longer held against its successor.
OLD_AGE: Final = 60.0
#: Seconds that the children have for what is in hand, before they are killed.
GRACE: Final = 90.0

_log = structlog.get_logger()

#: What the first child tells the others.
Told = Mapping[str, Any]


class StartError(Exception):
    """It cannot serve. The message is for the operator; `is_absent`: something that it needs does not answer now."""

    def __init__(self, message: str, *, is_absent: bool = False) -> None:
        super().__init__(message)
        self.is_absent = is_absent


class Serving(Protocol):
    """What runs in a child."""

    def start(self) -> None:
        """Begin to serve. Errors: StartError."""

    def complete(self) -> Told:
        """Do what belongs to the start and may take long, while a signal can end it; then tell what others must know."""

    def stop(self) -> None:
        """Finish what is in hand, and end."""


def signals() -> int:
    """The end of a pipe from which an octet can be read for every SIGTERM and SIGINT from now on.

    A pipe, because a handler may interrupt the main thread while it holds whatever lock a condition would need; and written to
    when the signal comes, not by a handler, because those run in the main thread alone, which nothing wakes when another thread
    gets the signal.
    """
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda _number, _frame: None)
    signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    return reader


def reserve(host: str, port: int) -> socket.socket:
    """Hold a TCP port, 0 for any, that children listen on together; it is free again when the socket is closed.

    Errors: OSError when somebody has it.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as alone:
        # Without this anybody's server that shares its port, too, would get a part of our requests.
        alone.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        alone.bind((host, port))
    held = socket.socket(family)
    held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    held.bind((host, port))
    return held


@dataclass(slots=True)
class _Child:
    number: int
    pid: int = 0
    #: The pipe from which it is heard; None while there is no process.
    pipe: int | None = None
    started: float = 0.0
    is_serving: bool = False
    wait: float = FIRST_WAIT
    #: When a process is to be started.
    due: float | None = None
    received: bytearray = field(default_factory=bytearray)


class Processes:
    """The parent. The first child is alone until it serves; the others, and its own successors, get what it told."""

    def __init__(
        self, number: int, make: Callable[[int, Told], Serving], signalled: int, *, ended: Callable[[int], object] = int
    ) -> None:
        """`make` builds, inside the child of that number (from 0), what serves there; `signalled` is what `signals` gave.

        `ended` gets the id of a process that is no more.
        """
        self._make = make
        self._signalled = signalled
        self._ended = ended
        self._children = [_Child(each) for each in range(number)]
        self._told: Told = {}
        self._has_started = False
        self._is_ending = False
        # The children hold the reading end, and nobody writes: it ends when the parent does.
        self._parent_is_alive, self._alive = os.pipe()

    def start(self) -> Told | None:
        """Start all of them and return what the first one told; None when a signal came before.

        Errors: StartError, after which nothing runs.
        """
        try:
            for together in (self._children[:1], self._children[1:]):
                for child in together:
                    self._fork(child)
                while not all(child.is_serving for child in together):
                    if self._wait(None):
                        return None
            self._has_started = True
        except StartError:
            self.stop()
            raise
        return self._told

    def run(self) -> None:
        """Replace those that die, until a signal comes."""
        while not self._wait(self._next_wait()):
            for child in self._children:
                if child.due is not None and time.monotonic() >= child.due:
                    self._fork(child)

    def stop(self) -> None:
        """Ask all of them to end, and wait until they have. Idempotent."""
        self._is_ending = True
        for child in self._running():
            os.kill(child.pid, signal.SIGTERM)
        until = time.monotonic() + GRACE
        while self._running() and time.monotonic() < until:
            self._hear(self._poll(until - time.monotonic()))
        for child in self._running():
            _log.error("process.killed", number=child.number)
            os.kill(child.pid, signal.SIGKILL)
            self._bury(child)

    def _running(self) -> list[_Child]:
        return [child for child in self._children if child.pipe is not None]

    def _fork(self, child: _Child) -> None:
        pipe, said = os.pipe()
        child.started, child.due, child.is_serving, child.pipe = time.monotonic(), None, False, pipe
        child.received.clear()
        # Until it has handlers of its own, a signal to the child would be taken for one to the parent.
        signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGTERM, signal.SIGINT))
        child.pid = os.fork()
        if not child.pid:
            for other in self._running():
                os.close(other.pipe or 0)
            os.close(self._alive)
            placement.choose(child.number, len(self._children))
            _run_child(lambda: self._make(child.number, self._told), said, self._parent_is_alive)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, (signal.SIGTERM, signal.SIGINT))
        os.close(said)

    def _wait(self, timeout: float | None) -> bool:
        """Wait for news, which are dealt with. True: a signal came. Errors: StartError, until all of them serve."""
        ready = self._poll(timeout)
        if self._signalled in ready:
            return True
        self._hear(ready)
        return False

    def _poll(self, timeout: float | None) -> set[int]:
        poll = select.poll()
        for descriptor in (self._signalled, *(child.pipe for child in self._running() if child.pipe is not None)):
            poll.register(descriptor, select.POLLIN)
        if self._is_ending:
            poll.unregister(self._signalled)
        return {descriptor for descriptor, _ in poll.poll(None if timeout is None else max(timeout, 0) * 1000)}

    def _hear(self, ready: set[int]) -> None:
        for child in self._running():
            if child.pipe not in ready or child.pipe is None:
                continue
            data = os.read(child.pipe, 1 << 16)
            child.received += data
            if not data:
                self._bury(child)
            elif child.received.endswith(b"\n"):
                self._heed(child, json.loads(child.received))

    def _heed(self, child: _Child, message: dict[str, Any]) -> None:
        child.received.clear()
        if "problem" not in message:
            child.is_serving = True
            self._told = self._told or message["told"]
        elif not self._has_started:
            raise StartError(message["problem"], is_absent=message["is_absent"])
        else:
            _log.error("process.problem", number=child.number, problem=message["problem"])

    def _bury(self, child: _Child) -> None:
        if child.pipe is not None:
            os.close(child.pipe)
        child.pipe = None
        code = os.waitstatus_to_exitcode(os.waitpid(child.pid, 0)[1])
        self._ended(child.pid)
        if self._is_ending:
            return
        _log.error("process.ended", number=child.number, code=code)
        if not self._has_started:
            raise StartError("a process ended before all of them could serve; the log says why")
        now = time.monotonic()
        wait = FIRST_WAIT if now - child.started > OLD_AGE else child.wait
        child.due, child.wait = now + wait, min(wait * 2, LONGEST_WAIT)

    def _next_wait(self) -> float | None:
        due = [child.due for child in self._children if child.due is not None]
        return min(due) - time.monotonic() if due else None


def _run_child(make: Callable[[], Serving], said: int, parent_is_alive: int) -> None:
    """The life of a child; does not return."""
    code = 1
    try:
        code = _serve(make, said, parent_is_alive)
    except Exception as error:
        failures.report("process.failure", error)
    finally:
        # Nothing of the parent's must be run on the way out.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _serve(make: Callable[[], Serving], said: int, parent_is_alive: int) -> int:
    signalled = signals()
    signal.pthread_sigmask(signal.SIG_UNBLOCK, (signal.SIGTERM, signal.SIGINT))
    try:
        serving = make()
        serving.start()
    except StartError as error:
        os.write(said, json.dumps({"problem": str(error), "is_absent": error.is_absent}).encode() + b"\n")
        return 2

    def complete() -> None:
        os.write(said, json.dumps({"told": dict(serving.complete())}).encode() + b"\n")

    threading.Thread(target=complete, name="complete", daemon=True).start()
    poll = select.poll()
    poll.register(signalled, select.POLLIN)
    poll.register(parent_is_alive, select.POLLIN)
    poll.poll()
    serving.stop()
    return 0
