"""The few seams that have, or will have, two or more real implementations."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from xds.model.caller import Action, Caller, Resource
from xds.model.errors import RegistryResponse
from xds.model.foreign_images import FoundInstance, InstanceOutline, Pulled, StudySummary
from xds.model.metadata import DocumentEntry, Submission
from xds.model.on_demand import ProducedDocument

#: The current time, aware and in UTC. Passed in, so that tests decide what time it is.
Clock = Callable[[], datetime]


class Staging(Protocol):
    """A blob while it arrives: not yet visible, hashed without being read again, gone unless committed."""

    @property
    def size(self) -> int:
        """Octets written so far."""

    @property
    def sha1(self) -> str:
        """SHA-1 of the octets so far, lower-case hex: the `hash` attribute of XDS metadata."""

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Append. Errors: OSError when the disk is full, which `commit` alone may tell."""

    def open(self) -> Iterator[bytes]:
        """The octets written so far, in chunks of at most 1 MiB."""

    def commit(self) -> str:
        """Make the blob durable (file and directory fsynced) under its content hash and return its key. Idempotent.

        Errors: OSError when the disk refuses or is full.
        """

    def discard(self) -> None:
        """Forget it, unless it was committed. Idempotent."""


@runtime_checkable
class KnowsItsKey(Protocol):
    """A staging that can tell its key before it is committed."""

    @property
    def key(self) -> str:
        """What `commit` returns for the octets so far."""


class BlobStore(Protocol):
    """Immutable octets, addressed by their content.

    What the store itself fails at is an OSError everywhere; ConnectionError and TimeoutError say that it could not be reached.
    """

    def stage(self, *, sha1: bool = True) -> Staging:
        """Begin a blob; without `sha1`, nobody is expected to ask for that."""

    def open(self, key: str, offset: int = 0, length: int | None = None) -> Iterator[bytes]:
        """The octets in chunks of at most 1 MiB, opened before this returns. Errors: KeyError when there is no such blob."""

    def file(self, key: str) -> Path | None:
        """Where the octets lie as a local file, to be read only; None for a store that has none.

        Errors: KeyError when there is no such blob.
        """

    def size(self, key: str) -> int:
        """Errors: KeyError when there is no such blob."""

    def committed_at(self, key: str) -> datetime:
        """When it was committed last, by the clock of the store. Errors: KeyError when there is no such blob."""

    def delete(self, key: str, *, unless_committed_since: datetime | None = None) -> bool:
        """Remove it, unless it was committed (perhaps once more) at that time or later; tells whether this removed it."""

    def keys(self) -> Iterator[str]:
        """Every committed blob, in no particular order."""


class RegisterDocuments(Protocol):
    """How a repository registers: the registry in this process (`RegisterDocumentsAlong`), or another one by ITI-42
    (`RegisterDocumentsElsewhere`)."""

    def register(self, submission: Submission, caller: Caller) -> RegistryResponse:
        """Validate and store; all or nothing, durable when it succeeded."""


class RegisterDocumentsAlong(RegisterDocuments, Protocol):
    """A registry on the database of its repository: documents and metadata become durable in one transaction."""

    def register(
        self, submission: Submission, caller: Caller, *, along: Callable[[Any], object] | None = None
    ) -> RegistryResponse:
        """As above. `along` runs last in the same transaction, with its connection; what it raises undoes everything."""


@runtime_checkable
class RegisterDocumentsElsewhere(RegisterDocuments, Protocol):
    """A registry with a database of its own, behind a network on which an answer can be lost.

    Errors of `register`: ConnectionRefusedError when the registry was not reached, so that it knows nothing of the submission;
    any other ConnectionError or TimeoutError when nobody knows what became of it.
    """

    def registered(self, submission_unique_id: str) -> frozenset[str] | None:
        """The uniqueIds of the documents in the SubmissionSet of that uniqueId; None when the registry has no such one.

        Errors: ConnectionError, TimeoutError when it does not say.
        """


class AccessRule(Protocol):
    """Asked on every read path. The decision is made for each resource alone."""

    def permits(self, caller: Caller, action: Action, resources: Sequence[Resource]) -> Sequence[bool]:
        """One verdict for each resource, in their order."""


class OnDemandProducer(Protocol):
    """Makes the documents of on-demand entries when they are retrieved."""

    def accepts(self, entry: DocumentEntry) -> bool:
        """True when this one makes the document of that entry."""

    def produce(self, entry: DocumentEntry) -> ProducedDocument:
        """The document as of now. What it is made from has not changed as long as its uniqueId is the same.

        Errors: OSError (also ConnectionError, TimeoutError) when what it is made from cannot be reached.
        """


class ForeignArchive(Protocol):
    """A PACS that shares its images without giving them away. One object serves all threads.

    Errors of every method, also while its answer is iterated: PullError.
    """

    @property
    def name(self) -> str:
        """Its name in the settings, and `location` of its instances."""

    def studies(self, first_date: str, last_date: str) -> Iterator[StudySummary]:
        """The studies of these days (`YYYYMMDD`, both included)."""

    def study(self, study_instance_uid: str) -> StudySummary | None:
        """One study; None when it has none."""

    def instances(self, study_instance_uid: str, series_instance_uid: str | None = None) -> Iterator[FoundInstance]:
        """The instances of a study, or of one of its series."""

    def outline(self, study_instance_uid: str, series_instance_uid: str) -> Iterator[InstanceOutline]:
        """The instances of a series in few words, which every source has at hand."""

    def fetch(
        self, study_instance_uid: str, series_instance_uid: str, sop_classes: Mapping[str, str], *, whole_series: bool
    ) -> Iterator[Pulled]:
        """The objects as they arrive, in any order; what the source does not have is left out.

        `sop_classes` maps the SOP Instance UIDs that are wanted to their SOP Class UIDs (empty: unknown). `whole_series` says
        that the source knows no others in that series, so that the series may be asked for as one.
        """
