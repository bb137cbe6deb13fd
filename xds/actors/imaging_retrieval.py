"""Images out: what of a study a caller may have, and each instance in a form that the caller can read.

An instance goes out as it is stored whenever that is acceptable. Another transfer syntax is written as it is sent; pixels are
decoded and encoded by processes of their own (`xds.pixels`).

Spec: RAD TF-2 4.55, 4.69, 4.107; DICOM PS3.18 8.7.3.5 (transfer syntaxes), 10.4 (retrieve).
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import replace
from functools import partial

import structlog

from xds.actors import imaging_audit
from xds.actors.imaging_arrival import Arrival, Place, place_of
from xds.actors.imaging_holdings import Holdings, with_places
from xds.actors.imaging_metadata import PublicationDefaults
from xds.actors.imaging_patients import SourcePatients
from xds.actors.imaging_pull import PullThrough
from xds.actors.imaging_pull_orders import Ahead, Begun
from xds.actors.imaging_renditions import Obtained, Renditions, StoredFrames
from xds.actors.imaging_selection import Selection, by_patient
from xds.model.audit import AuditEvent, EventOutcome
from xds.model.caller import Action, Caller, Resource
from xds.model.domain_identity import DomainIdentity
from xds.model.foreign_images import PullError, PullProblem
from xds.model.identifiers import PatientIdentifier
from xds.model.imaging import Instance, StoredStudy, Study, StudyPatient, StudyState
from xds.model.metadata import Code
from xds.model.rendering import Rendering
from xds.pixels.pool import Made, Pool
from xds.ports import AccessRule, BlobStore, Clock
from xds.store import audit, imaging, imaging_headers, imaging_heads
from xds.store.database import Database
from xds.wire import dicom_json
from xds.wire.dicom import DicomError
from xds.wire.dicom_header import read_header

_log = structlog.get_logger()


#: An instance in one of these transfer syntaxes.
Give = Callable[[Sequence[str]], Obtained | None]
#: Whether a study is published in the record of another patient than this one; notes it.
IsDisputed = Callable[[StoredStudy, PatientIdentifier | None], bool]


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
    ) -> None:
        """`pull` fetches what sources outside hold."""
        self._database = database
        self._blobs = Holdings(blobs, pull)
        self._identity = identity
        self._patients = patients
        self._access = access
        self._clock = clock
        self._defaults = defaults
        self._renditions = Renditions(self._blobs, pixels)
        self._is_disputed = is_disputed
        self._wanted = wanted

    def select(
        self,
        caller: Caller,
        study_instance_uid: str,
        series_instance_uid: str | None = None,
        sop_instance_uid: str | None = None,
        *,
        ahead: bool = False,
        asking: Callable[[Iterable[tuple[str, str]]], object] = lambda _: None,
    ) -> Selection | None:
        """What there is of a study, one of its series or one instance; None for nothing, or nothing that the caller may see.

        With `ahead` the caller is about to ask for the objects (`arriving`): what sources outside hold of them, and nobody asked
        for before, is asked for as soon as it is known that the caller may have it, before every instance was looked at. Right
        before that `asking` is told the SOP classes and, where they are known, the transfer syntaxes of it all. It must not wait.
        """
        ahead = ahead and sop_instance_uid is None and self._blobs.has_sources
        uids = study_instance_uid, series_instance_uid, sop_instance_uid
        outside: imaging_heads.Outside = {}
        with self._database.read() as connection:
            stored = imaging_heads.head(connection, study_instance_uid) if ahead else imaging.find(connection, *uids)
            if ahead and stored is not None:
                outside = imaging_heads.outside(connection, study_instance_uid, series_instance_uid)
        if stored is None or not (ahead or stored.study.series):
            return None
        patient = self._patients.affinity(stored.study)
        if self._is_refused(stored, patient):
            return None
        patient_id = patient.to_cx() if patient else ""
        manifest = stored.published.unique_id if stored.published else None
        confidentiality = tuple(str(code) for code in self._defaults.confidentiality)
        resource = Resource(patient_id, manifest, confidentiality, str(self._defaults.class_code))
        is_permitted = self._access.permits(caller, Action.RETRIEVE, (resource,))[0]
        begun = None
        if outside and is_permitted:
            kinds = dict.fromkeys(kind for numbers in outside.values() for kind in numbers)
            asked = study_instance_uid, stored.study.patient, series_instance_uid, outside
            begun = self._blobs.ahead(*asked, partial(asking, kinds))
        if begun is not None:
            return Selection(lambda: self._looked_at(stored, series_instance_uid), patient_id, begun)
        self._wanted(stored)
        if not is_permitted:
            return None
        selection = Selection(with_places(self._read(*uids) if ahead else stored.study), patient_id)
        return selection if selection.study.series else None

    def _looked_at(self, head: StoredStudy, series_instance_uid: str | None) -> Study:
        """What was selected of a study whose first object is on its way already."""
        self._wanted(head)
        return self._read(head.study.study_instance_uid, series_instance_uid, None)

    def _read(self, study: str, series: str | None, instance: str | None) -> Study:
        with self._database.read() as connection:
            stored = imaging.find(connection, study, series, instance)
        return with_places(stored.study) if stored is not None else Study(study, StudyPatient(""), ())

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
            return self._fetched(instance, place, transfer_syntaxes)
        stored = instance.transfer_syntax_uid
        if transfer_syntaxes is None or stored in transfer_syntaxes:
            return Obtained(instance, stored, self._blobs.size(instance.blob), lambda: self._blobs.open(instance.blob))
        return self._renditions.made(instance, transfer_syntaxes, at_once=at_once)

    def _fetched(self, instance: Instance, place: Place, transfer_syntaxes: Sequence[str] | None) -> Obtained | None:
        arrival = self._blobs.arrival(place)
        with ExitStack() as stack:
            stack.callback(arrival.release)
            obtained = self._whole(instance, arrival, transfer_syntaxes)
            if obtained is None or obtained.transfer_syntax_uid != arrival.transfer_syntax_uid:
                return obtained
            # Its octets are read from the arrival itself.
            stack.pop_all()
            return replace(obtained, release=arrival.release)

    def _whole(self, instance: Instance, arrival: Arrival, transfer_syntaxes: Sequence[str] | None) -> Obtained | None:
        """An instance of which all has arrived. Errors: PullError."""
        found = arrival.complete()
        known = replace(instance, transfer_syntax_uid=found.transfer_syntax_uid, size=found.size)
        if transfer_syntaxes is None or found.transfer_syntax_uid in transfer_syntaxes:
            return Obtained(known, found.transfer_syntax_uid, found.size, arrival.chunks)
        return self._renditions.made(known, transfer_syntaxes)

    def arriving(self, selection: Selection, transfer_syntaxes: Sequence[str] | None) -> Generator[Obtained, None, None]:
        """Everything of a selection in one of these transfer syntaxes, in the order in which it can be had; none has a size.

        What a source outside sends goes out while it arrives. Each is to be sent and released before the next is asked for.
        Errors: PullError, DicomError, PixelError for the first that cannot be given, after all the others.
        """
        done = ""
        try:
            ahead = selection.ahead
            if ahead is not None and (begun := ahead.first()) is not None:
                arrival = begun[0].arrival
                try:
                    first = _as_it_comes(ahead, *begun, transfer_syntaxes)
                    if first is not None:
                        done = arrival.place.instance
                        yield first
                finally:
                    arrival.release()
            yield from self._others(selection, transfer_syntaxes, done)
        finally:
            if selection.ahead is not None:
                selection.ahead.close()

    def _others(
        self, selection: Selection, transfer_syntaxes: Sequence[str] | None, done: str
    ) -> Generator[Obtained, None, None]:
        instances = [instance for _, instance in selection.instances() if instance.sop_instance_uid != done]
        failure: PullError | None = None
        with closing(self._in_turn(instances, selection.ahead)) as turns:
            for instance, arrival in turns:
                try:
                    if arrival is not None:
                        yield self._begun(instance, arrival, transfer_syntaxes)
                    elif (obtained := self.obtain(instance, transfer_syntaxes, at_once=False)) is not None:
                        yield obtained
                except PullError as problem:
                    failure = failure or problem
        if failure is not None:
            raise failure

    def _in_turn(
        self, instances: Iterable[Instance], ahead: Ahead | None
    ) -> Generator[tuple[Instance, Arrival | None], None, None]:
        """Instances in the order in which they can be had; those of sources outside with their arrival, until the next."""
        places = [(place_of(instance.blob), instance) for instance in instances]
        placed = {place: instance for place, instance in places if place is not None}
        arrivals = self._blobs.arrivals(list(placed), ahead) if placed else []
        left = {id(arrival): (arrival, instance) for arrival, instance in zip(arrivals, placed.values(), strict=True)}
        try:
            yield from ((instance, None) for place, instance in places if place is None)
            for arrival in self._blobs.in_order_of_arrival(arrivals):
                yield left[id(arrival)][1], arrival
                # What was sent need not be kept any longer.
                left.pop(id(arrival))[0].release()
        finally:
            for arrival, _ in left.values():
                arrival.release()

    def _begun(self, instance: Instance, arrival: Arrival, transfer_syntaxes: Sequence[str] | None) -> Obtained:
        syntax = arrival.begun()
        if transfer_syntaxes is None or syntax in transfer_syntaxes:
            return Obtained(replace(instance, transfer_syntax_uid=syntax), syntax, None, arrival.chunks)
        made = self._whole(instance, arrival, transfer_syntaxes)
        if made is None:
            raise PullError(PullProblem.REFUSED, "it cannot be given in an acceptable transfer syntax")
        return made

    @contextmanager
    def begun(self, selection: Selection) -> Iterator[tuple[Instance, Give] | None]:
        """What came first of a selection that is fetched ahead, for as long as the context lasts, and what gives it as it comes.

        It may be sent before anybody looks at what else there is: the others are those of `one_by_one`. None when nothing came.
        """
        ahead = selection.ahead
        if ahead is None or (found := ahead.first()) is None:
            yield None
            return
        begun, sop_class = found
        try:
            yield _instance(begun, sop_class), partial(self._given_ahead, ahead, begun, sop_class)
        finally:
            begun.arrival.release()

    def _given_ahead(self, ahead: Ahead, begun: Begun, sop_class: str, transfer_syntaxes: Sequence[str]) -> Obtained | None:
        obtained = _as_it_comes(ahead, begun, sop_class, transfer_syntaxes)
        if obtained is not None:
            return obtained
        # It is converted when all of it is here.
        ahead.go_on()
        return self._whole(_instance(begun, sop_class), begun.arrival, transfer_syntaxes)

    def one_by_one(self, selection: Selection, instances: Iterable[Instance]) -> Generator[tuple[Instance, Give], None, None]:
        """Instances of a selection in the order in which they can be had, and what gives each, whole: as `obtain` does.

        Each is to be sent before the next is asked for.
        """
        with closing(self._in_turn(instances, selection.ahead)) as turns:
            for instance, arrival in turns:
                yield instance, partial(self.obtain, instance) if arrival is None else partial(self._whole, instance, arrival)

    def prepare(self, selection: Selection) -> Callable[[], None]:
        """Have everything of a selection fetched that sources outside hold; what is returned is called when that is over."""
        return self.fetch(instance for _, instance in selection.instances())

    def fetch(self, instances: Iterable[Instance]) -> Callable[[], None]:
        """The same of single instances, fetched together."""
        places = dict.fromkeys(place for instance in instances if (place := place_of(instance.blob)) is not None)
        arrivals = self._blobs.arrivals(list(places)) if places else []

        def release() -> None:
            for arrival in arrivals:
                arrival.release()

        return release

    def frames(self, instance: Instance, numbers: Sequence[int]) -> Made:
        """Frames (from 1), decoded, one after the other. Errors: PixelError; KeyError when the blob is gone."""
        return self._renditions.frames(instance, numbers)

    def stored_frames(self, instance: Instance, numbers: Sequence[int]) -> StoredFrames | None:
        """Frames (from 1) as they are stored; None when they are no octets of their own. Errors: DicomError; KeyError."""
        return self._renditions.stored_frames(instance, numbers)

    def render(self, instance: Instance, how: Rendering) -> Made:
        """An image that a browser can show. Errors: PixelError; KeyError when the blob is gone."""
        return self._renditions.render(instance, how)

    def anonymous(self, instance: Instance, transfer_syntax: str) -> Made:
        """The image without whose it is, in that transfer syntax. Its UIDs are other ones, the same each time.

        Errors: PixelError, also when it cannot be known that nothing is left of whose it is; KeyError when the blob is gone.
        """
        return self._renditions.anonymous(instance, transfer_syntax, self._identity.imaging_source_unique_id)

    def open(self, instance: Instance) -> Iterator[bytes]:
        """The Part 10 file as it is stored. Errors: KeyError when the blob is gone."""
        return self._blobs.open(instance.blob)

    def begin(self, selected: Iterable[tuple[Selection, Instance]], receiver: Caller, event_type: Code, requestor: str) -> None:
        """To be called before instances are pushed to a receiver: audits for each patient. `requestor` is who asked for it."""
        now = self._clock()
        for patient_id, studies in by_patient(selected).items():
            self._audit_later(
                imaging_audit.transfer_begun(self._identity, receiver, event_type, now, studies, patient_id, requestor)
            )

    def finish(self, sent: Sequence[tuple[Selection, Obtained]], complete: bool, caller: Caller, event_type: Code) -> None:
        """To be called once after the last octet (True), or when the reader went away: releases, and audits for each patient."""
        for _, obtained in sent:
            obtained.release()
        patients = by_patient((selection, obtained.instance) for selection, obtained in sent)
        outcome = EventOutcome.SUCCESS if complete else EventOutcome.MINOR_FAILURE
        description = None if complete else "the consumer went away before the last octet"
        now = self._clock()
        for patient_id, studies in patients.items():
            self._audit_later(
                imaging_audit.instances_sent(self._identity, caller, event_type, now, studies, patient_id, outcome, description)
            )

    def refuse(self, study_instance_uids: set[str], caller: Caller, event_type: Code) -> None:
        """Audit that instances of these studies were asked for and not given."""
        studies: dict[str, dict[str, int]] = {uid: {} for uid in sorted(study_instance_uids)}
        event = imaging_audit.instances_sent(
            self._identity, caller, event_type, self._clock(), studies, "", EventOutcome.SERIOUS_FAILURE, "not available"
        )
        self._audit_later(event)

    def _audit_later(self, event: AuditEvent) -> None:
        self._database.write_later(lambda connection: audit.append(connection, event))


def _as_it_comes(ahead: Ahead, begun: Begun, sop_class: str, transfer_syntaxes: Sequence[str] | None) -> Obtained | None:
    """An object that nothing more is known of than what came; None when it has to be converted."""
    syntax = begun.transfer_syntax_uid
    if transfer_syntaxes is not None and syntax not in transfer_syntaxes:
        return None
    return Obtained(_instance(begun, sop_class), syntax, None, partial(ahead.chunks, begun))


def _instance(begun: Begun, sop_class: str) -> Instance:
    place = begun.arrival.place
    return Instance(place.instance, sop_class, begun.transfer_syntax_uid, 0, place.key, location=place.location)
