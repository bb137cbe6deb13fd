"""How instances come in: described by their headers, then durable as a file and a row.

What is written of an instance beside its file follows from its header, so it is made while the rest of the file arrives.

File and row become durable at the same time, because each of them waits for the disk. A row may then be durable without its file
for some milliseconds, and stay so when the power fails in between; nobody has been told that it was stored. Together with the
first such row of a study a job is written, which looks for the files later and forgets the instances that have none. Where a row
takes the place of another, whose file was acknowledged, or is there already without its file, the file comes first.

Spec: RAD TF-2 4.8.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import wait
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from xds.actors import imaging_audit
from xds.actors.imaging_patients import SourcePatients
from xds.actors.imaging_triggers import PUBLISH_STUDY
from xds.model.audit import AuditEvent, EventOutcome
from xds.model.caller import Caller
from xds.model.domain_identity import DomainIdentity
from xds.model.imaging import Addition, Study, StudyPatient
from xds.model.metadata import Code
from xds.model.vocabulary import KEY_OBJECT_SELECTION
from xds.ports import BlobStore, Clock, Staging
from xds.store import audit, imaging, imaging_arrivals, imaging_changes, jobs
from xds.store.database import Database
from xds.store.jobs import Job
from xds.wire import dicom_json, kos
from xds.wire.dicom_header import Header
from xds.wire.dicom_study import study_of
from xds.wire.dicom_whole import check_whole

#: The kind of job that looks for the files of instances; its key is the Study Instance UID.
SETTLE_INSTANCES: Final = "settle-instances"
#: When it does so (longer than the lease of a job, so that one that is asked for again is told from the one in hand), and how
#: old the rows are by then that it looks at.
_LATER: Final = timedelta(minutes=15)
_SETTLED: Final = timedelta(seconds=30)
#: How long after that they are looked at when a process begins.
_SOON: Final = timedelta(seconds=5)
#: A file that took so long is looked at again before anybody is told: the job may have come first.
_LONG_SECONDS: Final = 20.0
#: How long it is remembered who a patient is, and of how many.
_NAME_SECONDS: Final = 10.0
_NAMES: Final = 256

Write = Callable[[Any], Addition]


@dataclass(frozen=True, slots=True)
class Described:
    """What is written of an instance beside its file: its rows and its audit event. `study` has it alone.

    `parsed` is its header as it was read.
    """

    study: Study
    rows: imaging_arrivals.Arriving
    parsed: Header
    event: AuditEvent
    written: audit.Written

    @property
    def uids(self) -> tuple[str, str]:
        """SOP Class and Instance UID."""
        instance = self.study.series[0].instances[0]
        return instance.sop_class_uid, instance.sop_instance_uid


class _FileFirstError(Exception):
    """The row must not be durable before the file is."""


class InstanceIntake:
    """Takes instances in. One object serves all threads."""

    def __init__(
        self,
        database: Database,
        blobs: BlobStore,
        clock: Clock,
        identity: DomainIdentity,
        patients: SourcePatients,
        *,
        settle: timedelta,
        at_once: bool,
    ) -> None:
        """`settle` is how long a study must be quiet before it is published.

        `at_once`: files and rows become durable at the same time; otherwise one after the other.
        """
        self._database = database
        self._blobs = blobs
        self._clock = clock
        self._identity = identity
        self._patients = patients
        self._settle = settle
        self._at_once = at_once
        self._names: dict[tuple[str, StudyPatient], tuple[str, float]] = {}

    def stage(self) -> Staging:
        """Begin an object that arrives."""
        return self._blobs.stage(sha1=False)

    def describe(self, header: Header, caller: Caller, event_type: Code = imaging_audit.STORED) -> Described:
        """What is written of an instance, from its whole header; nothing is stored yet.

        Errors: DicomError, also when an identifier that the object is found by is absent or no UID.
        """
        study = study_of(header, source=caller.node or "")
        sop_class = study.series[0].instances[0].sop_class_uid
        rows = imaging_arrivals.arriving(study, dicom_json.write_header(header))
        patient = self._named(study)
        event = imaging_audit.instance_stored(
            self._identity, caller, event_type, self._clock(), study.study_instance_uid, sop_class, patient
        )
        return Described(study, rows, header, event, audit.write(event))

    def _named(self, study: Study) -> str:
        """The patient as CX, for the audit trail. The images of a study come one after the other, and are of one patient."""
        now, key = time.monotonic(), (study.source, study.patient)
        known = self._names.get(key)
        if known is not None and now < known[1]:
            return known[0]
        if len(self._names) >= _NAMES:
            self._names.clear()
        found = self._patients.source_cx(study)
        self._names[key] = found, now + _NAME_SECONDS
        return found

    def store(self, staging: Staging, described: Described) -> Addition:
        """Keep a Part 10 file; durable when this returns.

        The same SOP Instance UID again: an identical file is accepted silently. Of different content the last wins; the study
        then counts as changed, and its manifest is replaced after it has settled. A file that names another patient than its
        study does is refused (CONFLICT): it would show images of one patient under the name of another. A note that rejects
        instances withholds them, and itself.

        Spec: RAD TF-2 4.8.4.1.3.

        Errors: OSError when the disk is full; DicomError for a file that ends inside its pixels, and for a broken rejection note.
        """
        check_whole(described.parsed, staging.size, staging.open)
        study, (_, sop_instance_uid) = described.study.study_instance_uid, described.uids
        rejected = _rejected(staging, described.study)
        # What `KnowsItsKey` says; to ask for the protocol itself costs as much as a statement.
        blob = getattr(staging, "key", None) or staging.commit()
        rows, now = described.rows.kept_as(blob, staging.size), self._clock()

        def work(connection: Any) -> Addition:
            addition = imaging_arrivals.add_instance(connection, rows, now)
            if addition is Addition.CONFLICT:
                audit.append(connection, replace(described.event, outcome=EventOutcome.SERIOUS_FAILURE))
                return addition
            audit.append_written(connection, (described.written,))
            if rejected:
                imaging.reject(connection, study, rejected[1], rejected[0])
            if addition is not Addition.IDENTICAL:
                jobs.add(connection, PUBLISH_STUDY, study, {}, now + self._settle)
            return addition

        if self._at_once:
            return self._keep(staging, study, sop_instance_uid, blob, now, work)
        staging.commit()
        return self._database.write(work)

    # ---- file and row at the same time

    def _keep(self, staging: Staging, study: str, uid: str, blob: str, now: datetime, write: Write) -> Addition:
        begun = time.monotonic()

        def early(connection: Any) -> Addition:
            addition = write(connection)
            if addition is Addition.REPLACED or (addition is Addition.IDENTICAL and not self._is_here(blob)):
                raise _FileFirstError
            if addition is Addition.NEW:
                # The clocks of other nodes may be somewhat behind.
                payload = {"since": (now - _SETTLED).timestamp()}
                jobs.request(connection, SETTLE_INSTANCES, now + _LATER, study, payload)
            return addition

        row = self._database.begin_write(early)
        try:
            staging.commit()
        except OSError:
            wait((row,))
            if row.exception() is None and row.result() is Addition.NEW:
                self._database.write(lambda connection: self._forget(connection, study, [uid]))
            raise
        try:
            addition = row.result()
        except _FileFirstError:
            return self._database.write(write)
        if addition is Addition.NEW and time.monotonic() - begun > _LONG_SECONDS:
            self._database.write(write)
        return addition

    def _forget(self, connection: Any, study: str, uids: list[str]) -> None:
        """Nobody was told that these are here, but a manifest may have been."""
        imaging_changes.remove_instances(connection, study, uids)
        jobs.add(connection, PUBLISH_STUDY, study, {}, self._clock())

    def resume(self) -> None:
        """A process begins: what another one that is no more left half done is looked at soon."""
        soon = self._clock() + _SETTLED + _SOON
        self._database.write(lambda connection: jobs.hasten(connection, SETTLE_INSTANCES, soon))

    def settle(self, job: Job) -> None:
        """Look for the files of a study's instances: what has none was not seen to its end, and was never acknowledged."""
        study, now = job.key, self._clock()
        since, until = datetime.fromtimestamp(job.payload["since"], UTC), now - _SETTLED
        with self._database.read() as connection:
            stored = imaging_changes.stored_between(connection, study, since, until)
            is_growing = imaging_changes.stored_between(connection, study, until, now + _LATER)
        absent = [uid for uid, blob in stored.items() if not self._is_here(blob)]

        def work(connection: Any) -> None:
            # Whoever sends it again meanwhile makes its file durable first.
            lost = [uid for uid in absent if not self._is_here(stored[uid])]
            if lost:
                self._forget(connection, study, lost)
            if is_growing:
                jobs.add(connection, SETTLE_INSTANCES, study, {"since": until.timestamp()}, now + _LATER)

        if absent or is_growing:
            self._database.write(work)

    def _is_here(self, blob: str) -> bool:
        try:
            self._blobs.size(blob)
        except KeyError:
            return False
        return True


def _rejected(staging: Staging, study: Study) -> tuple[str, list[str]] | None:
    """The title of a note that rejects instances, and which; None for any other object. Errors: DicomError."""
    instance = study.series[0].instances[0]
    if instance.sop_class_uid != KEY_OBJECT_SELECTION:
        return None
    note = kos.read_manifest(staging.open())
    if not kos.is_rejection(note.title):
        return None
    uids = [item.sop_instance_uid for item in note.references if item.study_instance_uid == study.study_instance_uid]
    return note.title.code, [instance.sop_instance_uid, *uids]
