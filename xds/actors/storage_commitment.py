"""Storage commitment: a sender asks whether its images are safe here before it deletes its own, and is told.

Each request is a job until its report was confirmed, so a report survives a crash on either side.

Spec: DICOM PS3.4 J; RAD TF-2 4.10.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

from xds.ports import BlobStore, Clock
from xds.store import imaging_holdings, jobs
from xds.store.database import Database

#: The kind of job that reports the outcome of a request.
REPORT_COMMITMENT: Final = "report-commitment"
#: How long the report may come over the association of its request before another one is made.
_MEANWHILE: Final = timedelta(seconds=5)

#: Failure Reasons. Spec: PS3.3 C.14.1.1.
PROCESSING_FAILURE: Final = 0x0110
NO_SUCH_INSTANCE: Final = 0x0112
CLASS_CONFLICT: Final = 0x0119


@dataclass(frozen=True, slots=True)
class InstanceReference:
    """One object that was asked about."""

    sop_class_uid: str
    sop_instance_uid: str


@dataclass(frozen=True, slots=True)
class CommitmentReport:
    """What of a request is kept safely, and what is not, with the Failure Reason."""

    transaction_uid: str
    ae_title: str
    committed: tuple[InstanceReference, ...]
    failed: tuple[tuple[InstanceReference, int], ...]


class StorageCommitment:
    """What the archive promises. One object serves all threads."""

    def __init__(self, database: Database, blobs: BlobStore, clock: Clock) -> None:
        self._database = database
        self._blobs = blobs
        self._clock = clock

    def request(self, ae_title: str, transaction_uid: str, references: Sequence[InstanceReference]) -> str:
        """Note a request durably; gives its key, by which `confirmed` ends it. The same request again takes its place."""
        key = f"{ae_title}|{transaction_uid}"
        payload = {
            "ae_title": ae_title,
            "transaction": transaction_uid,
            "instances": [[each.sop_class_uid, each.sop_instance_uid] for each in references],
        }
        due = self._clock() + _MEANWHILE
        self._database.write(lambda connection: jobs.add(connection, REPORT_COMMITMENT, key, payload, due))
        return key

    def pending(self, key: str) -> CommitmentReport | None:
        """The report of a request as things are now; None when it was confirmed."""
        with self._database.read() as connection:
            payload = jobs.payload_of(connection, (REPORT_COMMITMENT,), key)
        return self.report(payload) if payload else None

    def report(self, payload: Mapping[str, Any]) -> CommitmentReport:
        """What is told of a request: what is held as it was named is committed, provided that its octets are there."""
        asked = [InstanceReference(sop_class, uid) for sop_class, uid in payload["instances"]]
        with self._database.read() as connection:
            held = imaging_holdings.holdings(connection, [each.sop_instance_uid for each in asked])
        # What the snapshot showed must outlive a power cut before it is promised.
        self._database.flush()
        committed, failed = [], []
        for each in asked:
            reason = self._failure(each, held.get(each.sop_instance_uid))
            if reason is None:
                committed.append(each)
            else:
                failed.append((each, reason))
        return CommitmentReport(payload["transaction"], payload["ae_title"], tuple(committed), tuple(failed))

    def _failure(self, asked: InstanceReference, held: tuple[str, str] | None) -> int | None:
        if held is None:
            return NO_SUCH_INSTANCE
        if held[0] != asked.sop_class_uid:
            return CLASS_CONFLICT
        try:
            self._blobs.size(held[1])
        except KeyError:
            return PROCESSING_FAILURE
        return None

    def confirmed(self, key: str) -> None:
        """The sender has taken its report."""
        self._database.write(lambda connection: jobs.withdraw(connection, REPORT_COMMITMENT, key))
