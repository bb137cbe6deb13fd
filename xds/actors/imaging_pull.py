"""Images that a source outside holds, on their way to whoever wants them: fetched once for all, given on while they arrive.

What was fetched stays in a bounded cache. Before it is given again, the source is asked whether it still has it and says the
same of it; what has changed is fetched anew, what is gone is not given.

Every object is looked at before its first octet goes out: another object than was asked for, or the image of another patient
than the study's, goes to nobody.

Spec: RAD TF-2 4.55, 4.69, 4.107 (retrieval), 4.16 (Retrieve Images); DICOM PS3.4 C.4.2, C.4.3; PS3.18 10.4.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from functools import partial
from itertools import chain
from queue import SimpleQueue
from typing import Any, Final

import structlog

from xds.actors.imaging_arrival import Arrival, Place
from xds.actors.imaging_breaker import Breaker
from xds.actors.imaging_pull_orders import Ahead, Begun, Fetch, Order, SeriesPlace
from xds.actors.imaging_waiting import about_to_wait
from xds.model.foreign_images import Pulled, PullError, PullProblem
from xds.model.imaging import StudyPatient, StudyState
from xds.model.series_classes import SeriesClasses
from xds.ports import ForeignArchive
from xds.store import imaging, imaging_sources
from xds.store.database import Database, DatabaseUnavailableError
from xds.store.imaging_heads import Outside
from xds.store.imaging_sources import Registered
from xds.store.pull_cache import CachedObject, PullCache
from xds.wire.dicom import DicomError
from xds.wire.dicom_header import read_header
from xds.wire.dicom_study import read_patient

#: Sees whether a series is still as it is registered: name of the source, study, series. Errors: PullError.
Check = Callable[[str, str, str], bool]
#: The part of a series from which on it is fetched whole.
_MOST_OF_A_SERIES: Final = 0.5

_log = structlog.get_logger()


class PullThrough:
    """Fetches what others hold. One object serves all threads."""

    def __init__(
        self,
        database: Database,
        sources: Mapping[str, ForeignArchive],
        cache: PullCache,
        check: Check,
        *,
        check_seconds: float = 10.0,
        breaker: Callable[[], Breaker] = Breaker,
        ended: Callable[[], object] = object,
    ) -> None:
        """`check_seconds` is how long an answer of the source about a series counts, `ended` is called by `close`."""
        self._database = database
        self._sources = sources
        self._cache = cache
        self._ask = check
        self._check_seconds = check_seconds
        self._ended = ended
        self._breakers = {name: breaker() for name in sources}
        self._lock = threading.Lock()
        self._orders: dict[SeriesPlace, list[Order]] = {}
        self._checked: dict[SeriesPlace, float] = {}

    def close(self) -> None:
        """Remove what was still arriving, and end what is open towards the sources."""
        self._cache.close()
        self._ended()

    def ahead(
        self, study: str, patient: StudyPatient, series: str | None, held: Outside, asking: Callable[[], object] = object
    ) -> Ahead | None:
        """Have a study or series fetched, of whose series nothing is here or on its way, before anybody looks closer at it.

        `held` is what sources outside hold of it. Returns when the first object has begun or none will; None when there is
        nothing to fetch. `asking` is called before anything is asked for. `begin` takes what is returned, the caller closes it.
        """
        instances = self._instances_of(study, series)
        orders = []
        with self._lock:
            for (location, series_uid), numbers in held.items():
                place = SeriesPlace(location, study, series_uid)
                if location not in self._sources or place in self._orders or self._cache.holds_any(place.group):
                    continue
                kinds = tuple(dict.fromkeys(sop_class for sop_class, _ in numbers))
                classes = SeriesClasses(kinds, partial(instances, place), partial(self._instance_of, place))
                whole = sum(numbers.values()) > 1
                order = Order(place, classes, self._cache, self._digests, whole_series=whole, patient=patient, is_ahead=True)
                self._orders[place] = [order]
                orders.append(order)
            fetch = self._fetching(orders, is_ahead=True) if orders else None
        if fetch is None:
            return None
        asking()
        return Ahead(orders, fetch)

    def _instances_of(self, study: str, series: str | None) -> Callable[[SeriesPlace], Mapping[str, str]]:
        """Which instances sources outside hold of the series of that study, read for all of them when it is asked of one."""

        held: list[Mapping[tuple[str, str], Mapping[str, str]]] = []

        def instances(place: SeriesPlace) -> Mapping[str, str]:
            if not held:
                held.append(self._held(study, series))
            return held[0].get((place.location, place.series), {})

        return instances

    def _instance_of(self, place: SeriesPlace, sop_instance_uid: str) -> Mapping[str, str]:
        """The same of one instance of a series, which nothing else is read for."""
        return self._held(place.study, place.series, sop_instance_uid).get((place.location, place.series), {})

    def _held(self, study: str, series: str | None, instance: str | None = None) -> Mapping[tuple[str, str], Mapping[str, str]]:
        try:
            with self._database.read() as connection:
                return imaging_sources.held_outside(connection, study, series, instance)
        except DatabaseUnavailableError as problem:
            # It is no fault of the source, in whose midst this is asked.
            raise PullError(PullProblem.BUSY, "the database does not answer now") from problem

    def begin(self, places: Sequence[Place], ahead: Ahead | None = None, *, whole: bool = False) -> list[Arrival]:
        """Have instances fetched that are neither here nor on their way; one arrival for each, in the same order.

        With `whole` that is over when this returns, and the caller's own thread does it. The caller releases every arrival.
        """
        groups: dict[SeriesPlace, list[Place]] = {}
        for place in places:
            groups.setdefault(SeriesPlace(place.location, place.study, place.series), []).append(place)
        found: dict[Place, Arrival] = {}
        orders = []
        try:
            for series, wanted in groups.items():
                promised = ahead.of(series) if ahead is not None else None
                if promised is not None:
                    taken = ((place, promised.promised(place.instance)) for place in wanted)
                    found.update((place, arrival) for place, arrival in taken if arrival is not None)
                left = [place for place in wanted if place not in found]
                order = self._group(series, left, found) if left else None
                if order is not None:
                    orders.append(order)
        finally:
            # Others may wait already for what is noted as on its way.
            if orders:
                fetch = self._fetching(orders)
                fetch.run() if whole else fetch.go_on()
            if ahead is not None:
                ahead.go_on()
        return [found[place] for place in places]

    def _fetching(self, orders: Sequence[Order], *, is_ahead: bool = False) -> Fetch:
        def busy() -> None:
            for order in orders:
                self._end(order, PullError(PullProblem.BUSY, "nothing more can be fetched at once"))

        return Fetch(self._pull(orders), orders, busy, is_ahead=is_ahead)

    def in_order_of_arrival(self, arrivals: Sequence[Arrival]) -> Iterator[Arrival]:
        """The same as they begin, or fail."""
        begun: SimpleQueue[Arrival] = SimpleQueue()
        for arrival in arrivals:
            arrival.tell(begun.put)
        for _ in arrivals:
            if begun.empty():
                about_to_wait()
            yield begun.get()

    # ---- what is here, what is on its way, what has to be fetched

    def _group(self, series: SeriesPlace, wanted: Sequence[Place], found: dict[Place, Arrival]) -> Order | None:
        if series.location not in self._sources:
            failed = PullError(PullProblem.UNKNOWN_SOURCE, series.location)
            found.update({place: Arrival.failed(failed) for place in wanted})
            return None
        kept = self._cache.kept
        try:
            cached = self._cached(series, wanted)
            if cached and self._is_check_due(series):
                self._check(series)
                cached = self._cached(series, wanted)
        except PullError as problem:
            found.update({place: Arrival.failed(problem) for place in wanted})
            return None
        with self._database.read() as connection:
            held = imaging_sources.held_outside(connection, series.study, series.series, _single(wanted))
        classes = held.get((series.location, series.series), {})
        new: list[Place] = []
        joined: set[Order] = set()
        with self._lock:
            for place in wanted:
                if place.instance not in classes:
                    found[place] = Arrival.failed(PullError(PullProblem.GONE))
                elif place in cached:
                    found[place] = Arrival.complete_in(self._cache, cached[place])
                elif (awaited := self._awaited(series, place.instance)) is not None:
                    found[place] = awaited[0]
                    joined.add(awaited[1])
                else:
                    new.append(place)
            if new and kept != self._cache.kept:
                # It may have arrived since it was looked for.
                late = self._cached(series, new)
                found.update({place: Arrival.complete_in(self._cache, here) for place, here in late.items()})
                new = [place for place in new if place not in late]
            order = self._ordered(series, new, classes, found) if new else None
        for other in joined:
            other.go_on()
        return order

    def _ordered(
        self, series: SeriesPlace, new: Sequence[Place], classes: Mapping[str, str], found: dict[Place, Arrival]
    ) -> Order:
        """What has to be fetched, noted as on its way."""
        whole = len(new) > 1 and len(new) >= len(classes) * _MOST_OF_A_SERIES
        named = {place.instance: classes[place.instance] for place in new}
        order = Order(series, named, self._cache, self._digests, whole_series=whole)
        for place in new:
            awaited = order.awaited(place.instance)
            assert awaited is not None
            found[place] = awaited
        self._orders.setdefault(series, []).append(order)
        return order

    def _awaited(self, series: SeriesPlace, sop_instance_uid: str) -> tuple[Arrival, Order] | None:
        """What is on its way, and with what."""
        orders = self._orders.get(series, ())
        return next(((found, order) for order in orders if (found := order.awaited(sop_instance_uid)) is not None), None)

    def _registered(self, series: SeriesPlace, sop_instance_uid: str | None = None) -> Mapping[tuple[str, str], Registered]:
        with self._database.read() as connection:
            return imaging_sources.registered(connection, series.study, series.series, sop_instance_uid)

    def _digests(self, series: SeriesPlace, sop_instance_uid: str | None) -> Callable[[str], str]:
        registered = self._registered(series, sop_instance_uid)

        def digest(sop_instance_uid: str) -> str:
            here = registered.get((series.series, sop_instance_uid))
            return here.digest if here is not None else ""

        return digest

    def _cached(self, series: SeriesPlace, wanted: Sequence[Place]) -> dict[Place, CachedObject]:
        names = self._cache.held(series.group, (place.instance for place in wanted))
        if not names:
            return {}
        registered, found = self._registered(series, _single(wanted)), {}
        for place in wanted:
            here = registered.get((series.series, place.instance))
            if place.instance in names and here is not None and here.location == series.location:
                cached = self._cache.find(place.cache_key, here.digest)
                if cached is not None:
                    found[place] = cached
        return found

    def _is_check_due(self, series: SeriesPlace) -> bool:
        with self._lock:
            last = self._checked.get(series)
        return last is None or time.monotonic() - last >= self._check_seconds

    def _check(self, series: SeriesPlace) -> None:
        with self._breakers[series.location].closed():
            self._ask(*series)
        with self._lock:
            if len(self._checked) > 10_000:
                self._checked.clear()
            self._checked[series] = time.monotonic()

    # ---- fetching, step by step: each is an object that begins

    def _pull(self, orders: Sequence[Order]) -> Generator[Begun, None, None]:
        try:
            for order in orders:
                yield from self._fetch(order)
        finally:
            # Whatever happened, nobody waits for ever.
            for order in orders:
                self._end(order, PullError(PullProblem.UNREACHABLE, "fetching it ended unexpectedly"))

    def _fetch(self, order: Order) -> Generator[Begun, None, None]:
        started, source = time.monotonic(), order.place.location
        try:
            yield from self._fill(order)
            self._explain(order, PullError(PullProblem.BROKEN, "the source did not send it"))
        except PullError as problem:
            _log.warning("imaging.pull_failed", source=source, reason=str(problem))
            self._explain(order, problem)
        except OSError as failure:
            _log.error("imaging.pull_cannot_be_kept", source=source, error=type(failure).__name__)
            self._end(order, PullError(PullProblem.BUSY, "it cannot be kept here"))
        seconds = round(time.monotonic() - started, 3)
        _log.info("imaging.pulled", source=source, instances=order.count(), of=len(order.sop_classes), seconds=seconds)

    def _fill(self, order: Order) -> Generator[Begun, None, None]:
        location, study, series = order.place
        patient = order.patient or self._patient(study)
        with self._breakers[location].closed():
            for pulled in self._sources[location].fetch(study, series, order.sop_classes, whole_series=order.whole_series):
                arrival = order.next(pulled.sop_instance_uid)
                if arrival is not None:
                    yield from self._receive(arrival, pulled, patient)

    def _patient(self, study: str) -> StudyPatient:
        with self._database.read() as connection:
            patient = imaging_sources.patient(connection, study)
        if patient is None:
            raise PullError(PullProblem.GONE)
        return patient

    def _receive(self, arrival: Arrival, pulled: Pulled, patient: StudyPatient) -> Generator[Begun, None, None]:
        place = arrival.place
        try:
            head = _looked_at(pulled, place, patient)
            yield Begun(arrival, head, pulled.transfer_syntax_uid)
            arrival.receive(chain((head,), pulled.chunks), pulled.transfer_syntax_uid)
        except PullError as problem:
            if problem.problem is PullProblem.OTHER_PATIENT:
                self._dispute(place)
            arrival.fail(problem)
        except DicomError:
            arrival.fail(PullError(PullProblem.BROKEN))

    def _explain(self, order: Order, problem: PullError) -> None:
        """Tell those who wait for what did not arrive why: it is gone, or could not be had."""
        if problem.problem in (PullProblem.REFUSED, PullProblem.BROKEN, PullProblem.GONE):
            try:
                missing = order.missing()
                if missing:
                    self._check(order.place)
                    registered = self._registered(order.place)
                    for arrival in missing:
                        if (order.place.series, arrival.place.instance) not in registered:
                            arrival.fail(PullError(PullProblem.GONE))
            except PullError as failure:
                problem = failure
        self._end(order, problem)

    def _end(self, order: Order, problem: PullError) -> None:
        with self._lock:
            left = [other for other in self._orders.get(order.place, ()) if other is not order]
            if left:
                self._orders[order.place] = left
            else:
                self._orders.pop(order.place, None)
        order.end(problem)

    def _dispute(self, place: Place) -> None:
        """Note for a human that an image does not name the patient of its study."""
        _log.error("imaging.other_patient", source=place.location)
        reason = f"an image of {place.location} (instance {place.instance}) names another patient than the study does"

        def work(connection: Any) -> None:
            stored = imaging.find(connection, place.study)
            if stored is not None:
                imaging.set_state(connection, place.study, stored.revision, StudyState.UNRESOLVED, reason)

        self._database.write(work)


def _single(wanted: Sequence[Place]) -> str | None:
    """The instance, when it is one alone: then nothing is read of the others of its series."""
    return wanted[0].instance if len(wanted) == 1 else None


def _looked_at(pulled: Pulled, place: Place, patient: StudyPatient) -> bytes:
    """The first octets of an object after its head was compared with what was asked for. Errors: PullError, DicomError."""
    held: list[bytes] = []

    def kept() -> Iterator[bytes]:
        for chunk in pulled.chunks:
            held.append(chunk)
            yield chunk

    elements = read_header(kept(), until=0x00200010).elements
    uids = (elements.text(0x0020000D), elements.text(0x0020000E), elements.text(0x00080018))
    if uids != (place.study, place.series, place.instance):
        raise PullError(PullProblem.BROKEN, "it is another object than was asked for")
    shown = read_patient(elements)
    other = bool(shown.patient_id and patient.patient_id and shown.patient_id != patient.patient_id)
    if other or bool(shown.issuer_oid and patient.issuer_oid and shown.issuer_oid != patient.issuer_oid):
        raise PullError(PullProblem.OTHER_PATIENT)
    # In one piece: its reader sends it before he asks for more.
    return b"".join(held)
