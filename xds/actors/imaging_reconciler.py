"""Whether published manifests are still true: each is compared with its study and with the registry, and put right.

Spec: RAD TF-2 4.68.4.1.2 (a manifest lists what can be retrieved); RAD TF-1 18.2.5.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Any, Final

import structlog

from xds.actors.imaging_patients import SourcePatients
from xds.actors.imaging_publication import StudyPublisher
from xds.actors.imaging_registrations import ManifestRegistry
from xds.actors.imaging_triggers import PUBLISH_STUDY
from xds.model.imaging import ManifestForm, PublishedManifest, StoredStudy, StudyState
from xds.ports import BlobStore, Clock
from xds.store import imaging, imaging_changes, jobs
from xds.store.database import Database
from xds.wire import kos
from xds.wire.dicom import DicomError

#: The job that compares manifests and asks for itself again, and that for one study; the key of the latter is its UID.
RECONCILE_MANIFESTS: Final = "reconcile-manifests"
RECONCILE_STUDY: Final = "reconcile-study"
#: Studies of one round of the job; the next round follows at once when more are due, else after a while.
_ROUND: Final = 50
_PAUSE: Final = timedelta(seconds=5)
_LONGEST: Final = timedelta(hours=1)

_log = structlog.get_logger()


class Drift(StrEnum):
    """How a manifest differs. All but WITHDRAWN_ELSEWHERE and PATIENT are put right without anybody."""

    NOT_REGISTERED = "the registry does not have the manifest"
    WITHDRAWN_ELSEWHERE = "somebody deprecated the manifest"
    CONTENT = "the manifest lists other instances than are there"
    LOST = "the manifest is not readable"
    STILL_IN_FORCE = "the manifest of a study without instances is in force"
    MISSING = "there is no manifest of that form"
    PATIENT = "the manifest is in the record of another patient"


@dataclass(frozen=True, slots=True)
class Reconciled:
    """What a comparison of one study found; `is_repaired` when its manifest is on its way."""

    study_instance_uid: str
    drift: Drift | None
    is_repaired: bool = False


class Reconciler:
    """A part of the Imaging Document Source. One object serves all threads."""

    def __init__(
        self,
        database: Database,
        blobs: BlobStore,
        patients: SourcePatients,
        registry: ManifestRegistry,
        publisher: StudyPublisher,
        clock: Clock,
        forms: Sequence[ManifestForm],
    ) -> None:
        self._database = database
        self._blobs = blobs
        self._patients = patients
        self._registry = registry
        self._publisher = publisher
        self._clock = clock
        self._forms = forms

    def reconcile(self, study_instance_uid: str, *, repair: bool = True) -> Reconciled | None:
        """Compare one study; None when there is nothing to compare: it is unknown, or on its way.

        Errors: ConnectionError, TimeoutError when the registry does not tell.
        """
        with self._database.read() as connection:
            stored = imaging.find(connection, study_instance_uid)
        if stored is None or stored.state not in (StudyState.PUBLISHED, StudyState.WITHDRAWN, StudyState.DISPUTED):
            return None
        drift = self._compare(stored)
        is_repaired = repair and drift not in (None, Drift.WITHDRAWN_ELSEWHERE, Drift.PATIENT)
        now = self._clock()

        def work(connection: Any) -> None:
            if is_repaired:
                imaging_changes.touch(connection, study_instance_uid)
                jobs.add(connection, PUBLISH_STUDY, study_instance_uid, {"reason": "drift"}, now)
            noted = None if is_repaired else drift
            imaging_changes.note_reconciliation(connection, study_instance_uid, now, noted.value if noted else None)

        self._database.write(work)
        if drift is not None:
            _log.warning("imaging.drift", drift=drift.name.lower(), repaired=is_repaired)
        return Reconciled(study_instance_uid, drift, is_repaired)

    def due(self, older_than: timedelta, limit: int = _ROUND) -> tuple[str, ...]:
        """Studies that were compared longer ago than that, or never."""
        with self._database.read() as connection:
            return imaging_changes.due_for_reconciliation(connection, self._clock() - older_than, limit)

    def drifts(self) -> dict[str, int]:
        """How many published manifests differ from their studies at present and wait for a human, by kind."""
        with self._database.read() as connection:
            found = imaging_changes.drifts(connection)
        return {kind.name.lower(): found.get(kind.value, 0) for kind in Drift}

    def run(self, every: timedelta) -> str | None:
        """One round of the job; the next one is asked for. None when it was done, else why not."""
        for uid in self.due(every):
            try:
                self.reconcile(uid)
            except (ConnectionError, TimeoutError):
                return "the Document Registry did not answer"
        pause = _PAUSE if self.due(every, 1) else min(every, _LONGEST)
        due = self._clock() + pause
        self._database.write(lambda connection: jobs.add(connection, RECONCILE_MANIFESTS, "", {}, due))
        return None

    def _compare(self, stored: StoredStudy) -> Drift | None:
        latest = [manifest for form in ManifestForm if (manifest := stored.published_as(form))]
        if not stored.study.series:
            return Drift.STILL_IN_FORCE if any(self._is_in_force(item) for item in latest) else None
        if self._publisher.is_disputed(stored, self._patients.affinity(stored.study)):
            return Drift.PATIENT
        for form in self._forms:
            manifest = stored.published_as(form)
            drift = Drift.MISSING if manifest is None else self._differs(stored, manifest)
            if drift is not None:
                return drift
        return None

    def _is_in_force(self, manifest: PublishedManifest) -> bool:
        found = self._registry.registered(manifest.unique_id, manifest.entry_uuid)
        return found is not None and found.is_approved

    def _differs(self, stored: StoredStudy, manifest: PublishedManifest) -> Drift | None:
        found = self._registry.registered(manifest.unique_id, manifest.entry_uuid)
        if found is None:
            return Drift.NOT_REGISTERED
        if not found.is_approved:
            return Drift.WITHDRAWN_ELSEWHERE
        try:
            listed = kos.read_manifest(self._blobs.open(manifest.blob)).references
        except (KeyError, DicomError):
            return Drift.LOST
        there = {
            (series.series_instance_uid, instance.sop_instance_uid)
            for series in stored.study.series
            for instance in series.instances
        }
        same = there == {(item.series_instance_uid, item.sop_instance_uid) for item in listed}
        return None if same else Drift.CONTENT
