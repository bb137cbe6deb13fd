"""The job loop: takes what transactions left to be done, and does it, again and again until it succeeds.

A handler says None when its job is done, or in words free of patient data why it is not; the job then waits, each time longer.
Nobody's request is waiting here, so a handler that raises is logged and its job tried again like any other.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Mapping
from datetime import timedelta
from typing import Final

import structlog

from xds.ports import Clock
from xds.store import jobs
from xds.store.database import Database, DatabaseClosedError
from xds.store.jobs import Job

Handler = Callable[[Job], str | None]

#: The first wait, doubled after each attempt up to the longest.
FIRST_WAIT: Final = timedelta(seconds=5)
LONGEST_WAIT: Final = timedelta(hours=1)

_log = structlog.get_logger()


class Worker:
    """Runs jobs, one at a time in each of its threads. Several workers, also in several processes, share the work."""

    def __init__(
        self,
        database: Database,
        handlers: Mapping[str, Handler],
        clock: Clock,
        *,
        poll_seconds: float = 1.0,
        first_wait: timedelta = FIRST_WAIT,
        longest_wait: timedelta = LONGEST_WAIT,
        kinds: Collection[str] | None = None,
        threads: int = 1,
    ) -> None:
        """`handlers` maps a kind of job to what does it; `poll_seconds` is how often it looks for jobs that became due.

        It takes jobs of these `kinds`, or of any: then what has no handler is tried again and again, and seen in the log.
        """
        self._kinds = kinds
        self._database = database
        self._handlers = handlers
        self._clock = clock
        self._poll = poll_seconds
        self._first_wait = first_wait
        self._longest_wait = longest_wait
        self._stopping = threading.Event()
        self._wanted = threading.Event()
        self._threads = [threading.Thread(target=self._run, name=f"worker-{number}", daemon=True) for number in range(threads)]

    def start(self) -> None:
        """Begin to work in the background."""
        for thread in self._threads:
            thread.start()

    def stop(self, timeout: float = 30.0) -> None:
        """Finish the jobs in hand, then end. Jobs that are due stay for the next worker. `timeout` is in seconds."""
        self._stopping.set()
        self._wanted.set()
        until = time.monotonic() + timeout
        for thread in self._threads:
            if thread.ident is not None:
                thread.join(max(until - time.monotonic(), 0))

    def wake(self) -> None:
        """Look for due jobs now instead of at the next poll."""
        self._wanted.set()

    def run_due(self) -> int:
        """Do every job that is due now, in this thread, and tell how many were tried."""
        done = 0
        while not self._stopping.is_set():
            claimed = self._database.write(lambda connection: jobs.claim(connection, self._clock(), 1, self._kinds))
            if not claimed:
                break
            for job in claimed:
                self._do(job)
                done += 1
        return done

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                self.run_due()
            except DatabaseClosedError:
                return
            except Exception as problem:
                # The database may be full or locked for a while; the loop outlives it.
                _log.error("worker.loop", error=type(problem).__name__)
            self._wanted.wait(self._poll)
            self._wanted.clear()

    def _do(self, job: Job) -> None:
        handler = self._handlers.get(job.kind)
        if handler is None:
            problem: str | None = "no handler for this kind of job"
        else:
            try:
                problem = handler(job)
            except Exception as failure:
                # What a handler raises may quote its data: the log gets the kind of error alone.
                problem = f"failed with {type(failure).__name__}"
                _log.error("worker.job_failed", kind=job.kind, job=job.job_id, error=type(failure).__name__)
        if problem is None:
            self._database.write(lambda connection: jobs.finish(connection, job))
            return
        again = self._clock() + self._wait(job.attempts)
        self._database.write(lambda connection: jobs.fail(connection, job, again, problem))
        _log.info("worker.job_again", kind=job.kind, job=job.job_id, attempts=job.attempts, reason=problem)

    def _wait(self, attempts: int) -> timedelta:
        return min(self._first_wait * float(2 ** min(attempts - 1, 30)), self._longest_wait)
