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
from collections.abc import Callable, Hashable
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
from xds.model.imaging import Addition, Study
from xds.model.metadata import Code
from xds.model.vocabulary import KEY_OBJECT_SELECTION
from xds.ports import BlobStore, Clock, Staging
from xds.store import audit, imaging, imaging_arrivals, imaging_changes, jobs
from xds.store.database import Database
from xds.store.jobs import Job
from xds.wire import dicom_json, kos
from xds.wire.dicom_header import Header
from xds.wire.dicom_study import SHARED, instance_of, shared_of
from xds.wire.dicom_whole import check_whole

#: The kind of job that looks for the files of instances; its key is the Study Instance UID.
SETTLE_INSTANCES: Final = "settle-instances"
#: When it does so (longer than the lease of a job, so that one that is asked for again is told from the one in hand), and how
#: old the rows are by then that it looks at.
_LATER: Final = timedelta(minutes=15)
_SETTLED: Final = timedelta(seconds=30)
#: What a study may wait longer after several images, at most and as a share of its quiet time: each would move its job otherwise.
_LEEWAY: Final = timedelta(seconds=1)
_LEEWAY_SHARE: Final = 0.05
#: How long after that they are looked at when a process begins.
_SOON: Final = timedelta(seconds=5)
#: A file that took so long is looked at again before anybody is told: the job may have come first.
_LONG_SECONDS: Final = 20.0
#: How long what the instances of a series have in common is remembered (who the patient is may change), of how many series, and
#: of how long a header.
_SHARED_SECONDS: Final = 10.0
_SERIES: Final = 64
_LONGEST_SHARED: Final = 64 * 1024

Write = Callable[[Any], Addition]


@dataclass(frozen=True, slots=True)
class Described:
    """What is written of an instance beside its file: its rows and its audit event.

    `study` is its study with its series alone, without it. `parsed` is its header as it was read.
    """

    study: Study
    rows: imaging_arrivals.Arriving
    parsed: Header
    event: AuditEvent
    written: audit.Written

    @property
    def uids(self) -> tuple[str, str]:
        """SOP Class and Instance UID."""
        return self.rows.instance["sop_class_uid"], self.rows.instance["sop_instance_uid"]


@dataclass(frozen=True, slots=True)
class _Shared:
    """What is written of every instance of a series that comes from one partner. The time of its audit event is any."""

    study: Study
    rows: imaging_arrivals.Arriving
    event: AuditEvent
    written: audit.Written
    until: float


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
        self._leeway = min(settle * _LEEWAY_SHARE, _LEEWAY)
        self._at_once = at_once
        self._shared: dict[Hashable, _Shared] = {}

    def stage(self) -> Staging:
        """Begin an object that arrives."""
        return self._blobs.stage(sha1=False)

    def arrived(self, staging: Staging) -> None:
        """An object is there as a whole: while it is described, its disk may be busy. Errors: OSError."""
        # As in `store`: not every store can, and to ask for a protocol costs as much as a statement.
        if begin_commit := getattr(staging, "begin_commit", None):
            begin_commit()

    def describe(self, header: Header, caller: Caller, event_type: Code = imaging_audit.STORED) -> Described:
        """What is written of an instance, from its whole header; nothing is stored yet.

        Errors: DicomError, also when an identifier that the object is found by is absent or no UID.
        """
        instance, now = instance_of(header), self._clock()
        shared = self._shared_of(header, instance.sop_class_uid, caller, event_type, now)
        rows = shared.rows.with_instance(instance, dicom_json.write_header(header))
        return Described(shared.study, rows, header, shared.event, shared.written.at(now))

    def _shared_of(self, header: Header, sop_class: str, caller: Caller, event_type: Code, now: datetime) -> _Shared:
        """The images of a series come one after the other."""
        key = header.elements.same(SHARED), sop_class, caller, event_type
        known = self._shared.get(key)
        if known is not None and time.monotonic() < known.until:
            return known
        study = shared_of(header, caller.node or "")
        patient = self._patients.source_cx(study)
        event = imaging_audit.instance_stored(
            self._identity, caller, event_type, now, study.study_instance_uid, sop_class, patient
        )
        found = _Shared(study, imaging_arrivals.shared(study), event, audit.write(event), time.monotonic() + _SHARED_SECONDS)
        if len(self._shared) >= _SERIES:
            self._shared.clear()
        if header.end <= _LONGEST_SHARED:
            self._shared[key] = found
        return found

    def store(self, staging: Staging, described: Described) -> Addition:
        """Keep a Part 10 file; durable when this returns.

        The same SOP Instance UID again: an identical file is accepted silently. Of different content the last wins; the study
        then counts as changed, and its manifest is replaced after it has settled. A file that names another patient than its
        study does is refused (CONFLICT): it would show images of one patient under the name of another. A note that rejects
        instances withholds them, those of other studies of the patient among them, and itself.

        Spec: RAD TF-2 4.8.4.1.3.

        Errors: OSError when the disk is full; DicomError for a file that ends inside its pixels, and for a broken rejection note.
        """
        check_whole(described.parsed, staging.size, staging.open)
        study, (_, sop_instance_uid) = described.study.study_instance_uid, described.uids
        rejected = _rejected(staging, study, described.uids)
        # What `KnowsItsKey` says; to ask for the protocol itself costs as much as a statement.
        blob = getattr(staging, "key", None) or staging.commit()
        rows, now = described.rows.kept_as(blob, staging.size), self._clock()

        def work(connection: Any) -> Addition:
            addition = imaging_arrivals.add_instance(connection, rows, now)
            if addition is Addition.CONFLICT:
                failed = replace(described.event, occurred=now, outcome=EventOutcome.SERIOUS_FAILURE)
                audit.append(connection, failed)
                return addition
            audit.append_written(connection, (described.written,))
            changed = [study]
            if rejected:
                title, named = rejected
                changed = [study, *imaging.of_the_same_patient(connection, study, named.keys() - {study})]
                for each in changed:
                    imaging.reject(connection, each, named[each], title)
            if addition is not Addition.IDENTICAL:
                for each in changed:
                    jobs.put_off(connection, PUBLISH_STUDY, each, now + self._settle, self._leeway)
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


def _rejected(staging: Staging, study: str, uids: tuple[str, str]) -> tuple[str, dict[str, list[str]]] | None:
    """The title of a note that rejects instances, and which of each study, itself among them; None for any other object.

    Errors: DicomError.
    """
    if uids[0] != KEY_OBJECT_SELECTION:
        return None
    note = kos.read_manifest(staging.open())
    if not kos.is_rejection(note.title):
        return None
    named = {study: [uids[1]]}
    for item in note.references:
        named.setdefault(item.study_instance_uid, []).append(item.sop_instance_uid)
    return note.title.code, named
