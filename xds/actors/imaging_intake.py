"""How an instance becomes durable: its file and its row at the same time, because each of them waits for the disk.

A row may then be durable without its file for some milliseconds, and stay so when the power fails in between; nobody has been
told that it was stored. Together with such a row a job is written that looks for the file later, and forgets the instance when
there is none. Where a row takes the place of another, whose file was acknowledged, the file comes first.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from datetime import timedelta
from typing import Any, Final

from xds.model.imaging import Addition
from xds.ports import BlobStore, Clock, Staging
from xds.store import imaging_changes, jobs
from xds.store.database import Database
from xds.store.jobs import Job

#: The kind of job that looks for the file of an instance; its key is the SOP Instance UID.
SETTLE_INSTANCE: Final = "settle-instance"
_LATER: Final = timedelta(minutes=10)
#: A file that took so long is looked at again before anybody is told: its job may have come first.
_LONG_SECONDS: Final = 240.0
#: Files that are made durable at a time.
_AT_A_TIME: Final = 32

Write = Callable[[Any], Addition]


class _ReplacesError(Exception):
    """The instance takes the place of one that was acknowledged."""


class InstanceIntake:
    """Stores instances. One object serves all threads."""

    def __init__(self, database: Database, blobs: BlobStore, clock: Clock, *, at_once: bool) -> None:
        """`at_once`: files and rows become durable at the same time; otherwise one after the other."""
        self._database = database
        self._blobs = blobs
        self._clock = clock
        self._at_once = at_once
        self._files = ThreadPoolExecutor(_AT_A_TIME, thread_name_prefix="images")

    def commit(self, staging: Staging) -> Future[str]:
        """Begin to make the file durable."""
        return self._files.submit(staging.commit)

    def store(self, study: str, sop_instance_uid: str, blob: str, file: Future[str], write: Write) -> Addition:
        """Have `write` add the row of an instance whose file is on its way; both are durable when this returns.

        Errors: those of the file and of the write; nothing is kept then.
        """
        if not self._at_once:
            file.result()
            return self._database.write(write)
        begun = time.monotonic()
        try:
            addition = self._database.write(lambda connection: self._early(connection, study, sop_instance_uid, blob, write))
        except _ReplacesError:
            file.result()
            return self._database.write(write)
        finally:
            wait((file,))
        try:
            file.result()
        except OSError:
            if addition is Addition.NEW:
                self._forget(study, sop_instance_uid)
            raise
        if addition is Addition.NEW:
            if time.monotonic() - begun > _LONG_SECONDS:
                self._database.write(write)
            self._database.write_later(lambda connection: jobs.withdraw(connection, SETTLE_INSTANCE, sop_instance_uid))
        return addition

    def _early(self, connection: Any, study: str, uid: str, blob: str, write: Write) -> Addition:
        addition = write(connection)
        if addition is Addition.REPLACED:
            raise _ReplacesError
        if addition is Addition.NEW:
            jobs.add(connection, SETTLE_INSTANCE, uid, {"study": study, "blob": blob}, self._clock() + _LATER)
        return addition

    def _forget(self, study: str, uid: str) -> None:
        def work(connection: Any) -> None:
            imaging_changes.remove_instances(connection, study, [uid])
            jobs.withdraw(connection, SETTLE_INSTANCE, uid)

        self._database.write(work)

    def settle(self, job: Job) -> None:
        """The job of an instance that was not seen to its end: without its file it was never stored."""
        try:
            self._blobs.size(job.payload["blob"])
        except KeyError:
            self._forget(job.payload["study"], job.key)

    def close(self) -> None:
        """Finish the files in hand."""
        self._files.shutdown()
