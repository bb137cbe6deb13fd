"""Images out: what of a study a caller may have, and each instance in a form that the caller can read.

An instance goes out as it is stored whenever that is acceptable. Another transfer syntax is written as it is sent; pixels are
decoded and encoded by processes of their own (`xds.pixels`).

Spec: RAD TF-2 4.55, 4.69, 4.107; DICOM PS3.18 8.7.3.5 (transfer syntaxes), 10.4 (retrieve).
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Final

import structlog

from xds.actors import imaging_audit
from xds.actors.imaging_arrival import Arrival, place_of
from xds.actors.imaging_holdings import Holdings, with_places
from xds.actors.imaging_metadata import MIME_TYPE, PublicationDefaults
from xds.actors.imaging_patients import SourcePatients
from xds.actors.imaging_pull import PullThrough
from xds.model.audit import AuditEvent, EventOutcome
from xds.model.caller import Action, Caller, Resource
from xds.model.domain_identity import DomainIdentity
from xds.model.errors import ErrorCode, RegistryError, RegistryResponse, Status
from xds.model.foreign_images import PullError, PullProblem
from xds.model.identifiers import PatientIdentifier
from xds.model.imaging import Instance, StoredStudy, Study, StudyState
from xds.model.metadata import Code
from xds.model.rendering import Rendering
from xds.model.retrieval import ImagingDocumentRequest, RetrieveAnswer, RetrievedDocument
from xds.pixels.jobs import DECODED, ENCODED, PixelError
from xds.pixels.pool import Made, Pool
from xds.ports import AccessRule, BlobStore, Clock
from xds.store import audit, imaging, imaging_headers
from xds.store.database import Database
from xds.wire import dicom_json
from xds.wire.dicom import DEFLATED_LITTLE, EXPLICIT_LITTLE, IMPLICIT_LITTLE, DicomError
from xds.wire.dicom_frames import frame_chunks, stored_frames
from xds.wire.dicom_header import read_header
from xds.wire.dicom_transcoding import can_convert, convert

#: Transfer syntaxes that no codec writes.
_NATIVE: Final = frozenset({IMPLICIT_LITTLE, EXPLICIT_LITTLE, DEFLATED_LITTLE})

_log = structlog.get_logger()


#: Whether a study is published in the record of another patient than this one; notes it.
IsDisputed = Callable[[StoredStudy, PatientIdentifier | None], bool]


def _nothing() -> None:
    """Nothing is to be released."""


@dataclass(frozen=True, slots=True)
class Selection:
    """Instances that a caller may have: a study, reduced to what was asked for, and whose it is (CX; empty: nobody known)."""

    study: Study
    patient_id: str

    @property
    def is_held_outside(self) -> bool:
        """True when a source outside holds some of it."""
        return any(place_of(instance.blob) is not None for _, instance in self.instances())

    def instances(self) -> Iterator[tuple[str, Instance]]:
        """Series Instance UID and instance, in order."""
        for series in self.study.series:
            for instance in series.instances:
                yield series.series_instance_uid, instance


@dataclass(frozen=True, slots=True)
class Obtained:
    """One instance ready to go out as a Part 10 file. `size` is None while nobody knows it before it is written.

    `chunks()` raise DicomError or PixelError when the object is broken after all. `release` it in the end.
    """

    instance: Instance
    transfer_syntax_uid: str
    size: int | None
    chunks: Callable[[], Iterator[bytes]]
    release: Callable[[], None] = field(default=_nothing)


@dataclass(frozen=True, slots=True)
class StoredFrames:
    """Frames as they are stored: of each its octets and how to read them. `release` them in the end."""

    parts: tuple[tuple[int, Callable[[], Iterator[bytes]]], ...]
    release: Callable[[], None]


class ImageRetrieval:
    """What the Imaging Document Source gives out. One object serves all threads."""

    def __init__(
        self,
        database: Database,
        blobs: BlobStore,
        identity: DomainIdentity,
        patients: SourcePatients,
        access: AccessRule,
        clock: Clock,
        defaults: PublicationDefaults,
        pixels: Pool,
        is_disputed: IsDisputed = lambda _stored, _patient: False,
        wanted: Callable[[StoredStudy], None] = lambda _stored: None,
        *,
        pull: PullThrough | None = None,
        locations: Mapping[str, str] | None = None,
    ) -> None:
        """`pull` fetches what sources outside hold; `locations` are their Retrieve Location UIDs by their names."""
        self._database = database
        self._blobs = Holdings(blobs, pull)
        self._locations = locations or {}
        self._identity = identity
        self._patients = patients
        self._access = access
        self._clock = clock
        self._defaults = defaults
        self._pixels = pixels
        self._is_disputed = is_disputed
        self._wanted = wanted

    def select(
        self, caller: Caller, study_instance_uid: str, series_instance_uid: str | None = None, sop_instance_uid: str | None = None
    ) -> Selection | None:
        """What there is of a study, one of its series or one instance; None for nothing, or nothing that the caller may see."""
        with self._database.read() as connection:
            stored = imaging.find(connection, study_instance_uid, series_instance_uid, sop_instance_uid)
        if stored is None or not stored.study.series:
            return None
        patient = self._patients.affinity(stored.study)
        if self._is_refused(stored, patient):
            return None
        self._wanted(stored)
        patient_id = patient.to_cx() if patient else ""
        manifest = stored.published.unique_id if stored.published else None
        confidentiality = tuple(str(code) for code in self._defaults.confidentiality)
        resource = Resource(patient_id, manifest, confidentiality, str(self._defaults.class_code))
        if not self._access.permits(caller, Action.RETRIEVE, (resource,))[0]:
            return None
        return Selection(with_places(stored.study), patient_id)

    def _is_refused(self, stored: StoredStudy, patient: PatientIdentifier | None) -> bool:
        """Whether manifest and cross-reference name different patients: then nobody gets anything before a human has looked."""
        published = stored.published
        if published is None or (stored.state is not StudyState.DISPUTED and patient and patient.to_cx() == published.patient_id):
            return False
        try:
            return self._is_disputed(stored, patient)
        except (ConnectionError, TimeoutError) as problem:
            _log.warning("imaging.registry_unreachable", error=type(problem).__name__)
            return True

    def headers(self, selection: Selection) -> Iterator[bytes]:
        """The headers of what was selected in the DICOM JSON model, with the mark of the address in their URIs."""
        study = selection.study
        series = study.series[0].series_instance_uid if len(study.series) == 1 else None
        instances = study.series[0].instances
        instance = instances[0].sop_instance_uid if series and len(instances) == 1 else None
        wanted = {(uid, item.sop_instance_uid): item for uid, item in selection.instances()}
        # The database is not held up by a reader who is slow.
        with self._database.read() as connection:
            found = imaging_headers.headers(connection, study.study_instance_uid, series, instance)
        kept = ((wanted[series_uid, uid], packed) for series_uid, uid, packed in found if (series_uid, uid) in wanted)
        if selection.is_held_outside:
            return self._whole_headers(selection, kept)
        return (imaging_headers.unpack(packed) for _, packed in kept)

    def _whole_headers(self, selection: Selection, kept: Iterator[tuple[Instance, bytes]]) -> Iterator[bytes]:
        """A source says little in its answers: the objects themselves tell all. One that cannot be had has that little."""
        release = self.prepare(selection)
        try:
            for instance, packed in kept:
                try:
                    yield dicom_json.write_header(read_header(self._blobs.open(instance.blob)))
                except (PullError, DicomError):
                    yield imaging_headers.unpack(packed)
        finally:
            release()

    def obtain(self, instance: Instance, transfer_syntaxes: Sequence[str] | None, *, at_once: bool = True) -> Obtained | None:
        """An instance in one of these transfer syntaxes (None: as it is stored); None when that is not possible.

        The stored one is preferred. A conversion is made before this returns, so that its size is known and a broken object is
        noticed; without `at_once` it is made when the chunks are asked for. What a source outside holds is fetched first.
        Errors: KeyError when the blob is gone, PullError when a source does not give it.
        """
        place = place_of(instance.blob)
        if place is not None:
            arrival = self._blobs.arrival(place)
            try:
                return self._arrived(instance, arrival, transfer_syntaxes)
            except PullError:
                arrival.release()
                raise
        stored = instance.transfer_syntax_uid
        if transfer_syntaxes is None or stored in transfer_syntaxes:
            return Obtained(instance, stored, self._blobs.size(instance.blob), lambda: self._blobs.open(instance.blob))
        return self._made(instance, transfer_syntaxes, at_once=at_once)

    def _made(self, instance: Instance, transfer_syntaxes: Sequence[str], *, at_once: bool = True) -> Obtained | None:
        stored = instance.transfer_syntax_uid
        # What is least work first: the list states no preference (RAD TF-2 4.69.4.1.2).
        for target in sorted(
            transfer_syntaxes, key=lambda one: (not can_convert(stored, one, instance.size), one not in _NATIVE)
        ):
            if can_convert(stored, target, instance.size):
                make = self._convert
            elif stored in DECODED and target in ENCODED:
                make = self._transcode
            else:
                continue
            if not at_once:
                return Obtained(instance, target, None, partial(_streamed, make, instance, target))
            try:
                made = make(instance, target)
            except (DicomError, PixelError):
                continue
            return Obtained(instance, target, made.size, made.chunks, made.release)
        return None

    def _arrived(self, instance: Instance, arrival: Arrival, transfer_syntaxes: Sequence[str] | None) -> Obtained | None:
        """The same of an instance that was fetched, all of it. Errors: PullError."""
        found = arrival.complete()
        if transfer_syntaxes is None or found.transfer_syntax_uid in transfer_syntaxes:
            known = replace(instance, transfer_syntax_uid=found.transfer_syntax_uid, size=found.size)
            return Obtained(known, found.transfer_syntax_uid, found.size, arrival.chunks, arrival.release)
        made = self._made(replace(instance, transfer_syntax_uid=found.transfer_syntax_uid, size=found.size), transfer_syntaxes)
        arrival.release()
        return made

    def arriving(self, selection: Selection, transfer_syntaxes: Sequence[str] | None) -> Generator[Obtained, None, None]:
        """Everything of a selection in one of these transfer syntaxes, in the order in which it can be had; none has a size.

        What a source outside sends goes out while it arrives. Each is to be sent and released before the next is asked for.
        Errors: PullError, DicomError, PixelError for the first that cannot be given, after all the others.
        """
        instances = [instance for _, instance in selection.instances()]
        failure: PullError | None = None
        for instance in instances:
            if place_of(instance.blob) is None:
                obtained = self.obtain(instance, transfer_syntaxes, at_once=False)
                if obtained is not None:
                    yield obtained
        placed = {place: instance for instance in instances if (place := place_of(instance.blob)) is not None}
        arrivals = self._blobs.arrivals(list(placed))
        by_arrival = {id(arrival): instance for arrival, instance in zip(arrivals, placed.values(), strict=True)}
        try:
            for arrival in self._blobs.in_order_of_arrival(arrivals):
                instance = by_arrival[id(arrival)]
                try:
                    obtained = self._begun(instance, arrival, transfer_syntaxes)
                except PullError as problem:
                    failure = failure or problem
                    continue
                yield obtained
        finally:
            for arrival in arrivals:
                arrival.release()
        if failure is not None:
            raise failure

    def _begun(self, instance: Instance, arrival: Arrival, transfer_syntaxes: Sequence[str] | None) -> Obtained:
        syntax = arrival.begun()
        known = replace(instance, transfer_syntax_uid=syntax)
        if transfer_syntaxes is None or syntax in transfer_syntaxes:
            return Obtained(known, syntax, None, arrival.chunks)
        found = arrival.complete()
        made = self._made(replace(known, size=found.size), transfer_syntaxes)
        if made is None:
            raise PullError(PullProblem.REFUSED, "it cannot be given in an acceptable transfer syntax")
        return made

    def prepare(self, selection: Selection) -> Callable[[], None]:
        """Have everything of a selection fetched that sources outside hold; what is returned is called when that is over."""
        places = [place for _, instance in selection.instances() if (place := place_of(instance.blob)) is not None]
        arrivals = self._blobs.arrivals(places) if places else []

        def release() -> None:
            for arrival in arrivals:
                arrival.release()

        return release

    def _convert(self, instance: Instance, target: str) -> Made:
        with self._pixels.new_file() as path:
            with path.open("wb") as file:
                for chunk in convert(lambda: self._blobs.open(instance.blob), target):
                    file.write(chunk)
            return Made(path, path.stat().st_size, MIME_TYPE, target)

    def _transcode(self, instance: Instance, target: str) -> Made:
        with self._at_hand(instance) as source:
            return self._pixels.transcode(source, target)

    def frames(self, instance: Instance, numbers: Sequence[int]) -> Made:
        """Frames (from 1), decoded, one after the other. Errors: PixelError; KeyError when the blob is gone."""
        with self._at_hand(instance) as source:
            return self._pixels.frames(source, numbers)

    def stored_frames(self, instance: Instance, numbers: Sequence[int]) -> StoredFrames | None:
        """Frames (from 1) as they are stored; None when they are no octets of their own. Errors: DicomError; KeyError."""
        path, release = self._blobs.file(instance.blob), _nothing
        if path is None:
            path = self._pixels.spool(self._blobs.open(instance.blob))
            release = partial(path.unlink, missing_ok=True)
        try:
            found = stored_frames(path)
        except DicomError:
            release()
            raise
        if found is None or any(number > len(found) for number in numbers):
            release()
            return None
        frames = [found[number - 1] for number in numbers]
        return StoredFrames(tuple((frame.size, partial(frame_chunks, path, frame)) for frame in frames), release)

    def render(self, instance: Instance, how: Rendering) -> Made:
        """An image that a browser can show. Errors: PixelError; KeyError when the blob is gone."""
        with self._at_hand(instance) as source:
            return self._pixels.render(source, how)

    def open(self, instance: Instance) -> Iterator[bytes]:
        """The Part 10 file as it is stored. Errors: KeyError when the blob is gone."""
        return self._blobs.open(instance.blob)

    @contextmanager
    def _at_hand(self, instance: Instance) -> Iterator[Path]:
        """The object as a file that another process can read."""
        path = self._blobs.file(instance.blob)
        if path is not None:
            yield path
            return
        with self._pixels.spooled(self._blobs.open(instance.blob)) as spooled:
            yield spooled

    def retrieve(
        self, requests: Sequence[ImagingDocumentRequest], transfer_syntaxes: Sequence[str], caller: Caller
    ) -> RetrieveAnswer:
        """The requested instances as Part 10 files in one of the requested transfer syntaxes, or an error for each that fails.

        Study, series and instance must fit together. What the caller may not see is answered like what does not exist.

        Spec: RAD TF-2 4.69.4.1.3. Errors: returned: XDSUnknownRepositoryId, XDSDocumentUniqueIdError, XDSRepositoryError.
        """
        studies = {item.study_instance_uid for item in requests if item.study_instance_uid}
        selections = {uid: selection for uid in studies if (selection := self.select(caller, uid)) is not None}
        indexes = {uid: _index(selection) for uid, selection in selections.items()}
        found: list[tuple[ImagingDocumentRequest, Obtained]] = []
        errors: list[RegistryError] = []
        release = self._prepare(requests, indexes)
        for request in requests:
            obtained = self._requested(request, transfer_syntaxes, indexes)
            if isinstance(obtained, RegistryError):
                errors.append(obtained)
            else:
                found.append((request, obtained))
        release()
        status = Status.SUCCESS if not errors else Status.PARTIAL_SUCCESS if found else Status.FAILURE
        documents = tuple(RetrievedDocument(item.document, MIME_TYPE, got.size or 0, got.chunks) for item, got in found)
        sent = [(selections[item.study_instance_uid], got) for item, got in found]

        def finished(complete: bool) -> None:
            self.finish(sent, complete, caller, imaging_audit.RETRIEVED)
            self._audit_refused([item for item in requests if item not in {one for one, _ in found}], caller)

        return RetrieveAnswer(RegistryResponse(status, tuple(errors)), documents, finished)

    def _prepare(
        self, requests: Sequence[ImagingDocumentRequest], indexes: Mapping[str, Mapping[tuple[str, str], Instance]]
    ) -> Callable[[], None]:
        """Have fetched at once what of these is held outside: the answer begins with what became of each."""
        places = []
        for request in requests:
            key = (request.series_instance_uid, request.document.document_unique_id)
            instance = indexes.get(request.study_instance_uid, {}).get(key)
            place = place_of(instance.blob) if instance is not None else None
            if place is not None:
                places.append(place)
        arrivals = self._blobs.arrivals(list(dict.fromkeys(places))) if places else []

        def release() -> None:
            for arrival in arrivals:
                arrival.release()

        return release

    def _requested(
        self, request: ImagingDocumentRequest, wanted: Sequence[str], indexes: Mapping[str, Mapping[tuple[str, str], Instance]]
    ) -> Obtained | RegistryError:
        document = request.document
        uid = document.document_unique_id
        ours = self._identity.imaging_source_unique_id
        if document.repository_unique_id not in (ours, *self._locations.values()):
            context = f"RepositoryUniqueId {document.repository_unique_id}: this Imaging Document Source is {ours}"
            return RegistryError(ErrorCode.UNKNOWN_REPOSITORY_ID, context, location=uid)
        instance = indexes.get(request.study_instance_uid, {}).get((request.series_instance_uid, uid))
        if instance is None:
            context = (
                f"DocumentUniqueId {uid}: no such instance in series {request.series_instance_uid}"
                f" of study {request.study_instance_uid}"
            )
            return RegistryError(ErrorCode.DOCUMENT_UNIQUE_ID_ERROR, context, location=uid)
        try:
            obtained = self.obtain(instance, wanted)
        except PullError as problem:
            gone = problem.problem is PullProblem.GONE
            code = ErrorCode.DOCUMENT_UNIQUE_ID_ERROR if gone else ErrorCode.REPOSITORY_ERROR
            return RegistryError(code, f"DocumentUniqueId {uid}: {problem}", location=uid)
        except KeyError:
            _log.error("imaging.blob_missing", blob=instance.blob)
            context = f"DocumentUniqueId {uid}: the instance cannot be read"
            return RegistryError(ErrorCode.REPOSITORY_ERROR, context, location=uid)
        if obtained is None:
            context = (
                f"DocumentUniqueId {uid}: stored in transfer syntax {instance.transfer_syntax_uid},"
                f" which cannot be given as {', '.join(wanted)}"
            )
            return RegistryError(ErrorCode.REPOSITORY_ERROR, context, location=uid)
        return obtained

    def finish(self, sent: Sequence[tuple[Selection, Obtained]], complete: bool, caller: Caller, event_type: Code) -> None:
        """To be called once after the last octet (True), or when the reader went away: releases, and audits for each patient."""
        patients: dict[str, dict[str, dict[str, int]]] = {}
        for selection, obtained in sent:
            obtained.release()
            classes = patients.setdefault(selection.patient_id, {}).setdefault(selection.study.study_instance_uid, {})
            sop_class = obtained.instance.sop_class_uid
            classes[sop_class] = classes.get(sop_class, 0) + 1
        outcome = EventOutcome.SUCCESS if complete else EventOutcome.MINOR_FAILURE
        description = None if complete else "the consumer went away before the last octet"
        now = self._clock()
        for patient_id, studies in patients.items():
            self._audit_later(
                imaging_audit.instances_sent(self._identity, caller, event_type, now, studies, patient_id, outcome, description)
            )

    def _audit_refused(self, refused: Sequence[ImagingDocumentRequest], caller: Caller) -> None:
        if refused:
            self.refuse({item.study_instance_uid for item in refused}, caller, imaging_audit.RETRIEVED)

    def refuse(self, study_instance_uids: set[str], caller: Caller, event_type: Code) -> None:
        """Audit that instances of these studies were asked for and not given."""
        studies: dict[str, dict[str, int]] = {uid: {} for uid in sorted(study_instance_uids)}
        event = imaging_audit.instances_sent(
            self._identity, caller, event_type, self._clock(), studies, "", EventOutcome.SERIOUS_FAILURE, "not available"
        )
        self._audit_later(event)

    def _audit_later(self, event: AuditEvent) -> None:
        self._database.write_later(lambda connection: audit.append(connection, event))


def _streamed(make: Callable[[Instance, str], Made], instance: Instance, target: str) -> Iterator[bytes]:
    made = make(instance, target)
    try:
        yield from made.chunks()
    finally:
        made.release()


def _index(selection: Selection) -> Mapping[tuple[str, str], Instance]:
    return {(series, instance.sop_instance_uid): instance for series, instance in selection.instances()}
