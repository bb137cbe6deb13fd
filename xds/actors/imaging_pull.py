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
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from queue import SimpleQueue
from typing import Any, Final

import structlog

from xds.actors.imaging_arrival import Arrival, Place
from xds.actors.imaging_breaker import Breaker
from xds.model.foreign_images import Pulled, PullError, PullProblem
from xds.model.imaging import StudyPatient, StudyState
from xds.ports import ForeignArchive
from xds.store import imaging, imaging_sources
from xds.store.database import Database
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


@dataclass(frozen=True, slots=True)
class _Order:
    """What is fetched at once: instances of one series, by SOP Instance UID."""

    location: str
    study: str
    series: str
    arrivals: Mapping[str, Arrival]
    sop_classes: Mapping[str, str]
    whole_series: bool


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
    ) -> None:
        """`check_seconds` is how long an answer of the source about a series counts."""
        self._database = database
        self._sources = sources
        self._cache = cache
        self._ask = check
        self._check_seconds = check_seconds
        self._breakers = {name: breaker() for name in sources}
        self._lock = threading.Lock()
        self._arriving: dict[Place, Arrival] = {}
        self._checked: dict[tuple[str, str, str], float] = {}

    def close(self) -> None:
        """Remove what was still arriving."""
        self._cache.close()

    def begin(self, places: Sequence[Place]) -> list[Arrival]:
        """Have instances fetched that are neither here nor on their way; one arrival for each, in the same order.

        The caller releases every arrival.
        """
        groups: dict[tuple[str, str, str], list[Place]] = {}
        for place in places:
            groups.setdefault((place.location, place.study, place.series), []).append(place)
        found: dict[Place, Arrival] = {}
        orders = []
        for (location, study, series), wanted in groups.items():
            order = self._group(location, study, series, wanted, found)
            if order is not None:
                orders.append(order)
        if orders:
            threading.Thread(target=self._pull, args=(orders,), name=f"pull-{orders[0].location}", daemon=True).start()
        return [found[place] for place in places]

    def in_order_of_arrival(self, arrivals: Sequence[Arrival]) -> Iterator[Arrival]:
        """The same as they begin, or fail."""
        begun: SimpleQueue[Arrival] = SimpleQueue()
        for arrival in arrivals:
            arrival.tell(begun.put)
        for _ in arrivals:
            yield begun.get()

    # ---- what is here, what is on its way, what has to be fetched

    def _group(
        self, location: str, study: str, series: str, wanted: Sequence[Place], found: dict[Place, Arrival]
    ) -> _Order | None:
        if location not in self._sources:
            failed = PullError(PullProblem.UNKNOWN_SOURCE, location)
            found.update({place: Arrival.failed(failed) for place in wanted})
            return None
        cached: dict[Place, CachedObject] = {}
        kept = self._cache.kept
        try:
            registered = self._registered(study, series)
            cached = self._cached(wanted, registered)
            if cached and self._is_check_due((location, study, series)):
                self._check(location, study, series)
                registered = self._registered(study, series)
                cached = self._cached(wanted, registered)
        except PullError as problem:
            found.update({place: Arrival.failed(problem) for place in wanted})
            return None
        new: dict[str, Arrival] = {}
        classes: dict[str, str] = {}
        with self._lock:
            for place in wanted:
                here = registered.get((series, place.instance))
                if here is None or here.location != location:
                    found[place] = Arrival.failed(PullError(PullProblem.GONE))
                elif place in cached:
                    found[place] = Arrival.complete_in(self._cache, cached[place])
                elif place in self._arriving:
                    found[place] = self._arriving[place].shared()
                elif kept != self._cache.kept and (late := self._found(place, here)) is not None:
                    # It arrived since it was looked for.
                    found[place] = Arrival.complete_in(self._cache, late)
                else:
                    arrival = Arrival(place, lambda here=here: here.digest, self._cache)  # type: ignore[misc]
                    new[place.instance] = self._arriving[place] = arrival
                    classes[place.instance] = here.sop_class_uid
                    found[place] = arrival.shared()
        held = sum(1 for (_, _), item in registered.items() if item.location == location)
        whole = len(new) > 1 and len(new) >= held * _MOST_OF_A_SERIES
        return _Order(location, study, series, new, classes, whole) if new else None

    def _registered(self, study: str, series: str) -> Mapping[tuple[str, str], Registered]:
        with self._database.read() as connection:
            return imaging_sources.registered(connection, study, series)

    def _cached(self, wanted: Sequence[Place], registered: Mapping[tuple[str, str], Registered]) -> dict[Place, CachedObject]:
        found = {}
        for place in wanted:
            here = registered.get((place.series, place.instance))
            cached = self._found(place, here) if here is not None else None
            if cached is not None:
                found[place] = cached
        return found

    def _found(self, place: Place, here: Registered) -> CachedObject | None:
        return self._cache.find(place.key, here.digest) if self._cache.holds(place.key) else None

    def _is_check_due(self, series: tuple[str, str, str]) -> bool:
        with self._lock:
            last = self._checked.get(series)
        return last is None or time.monotonic() - last >= self._check_seconds

    def _check(self, location: str, study: str, series: str) -> None:
        with self._breakers[location].closed():
            self._ask(location, study, series)
        with self._lock:
            if len(self._checked) > 10_000:
                self._checked.clear()
            self._checked[location, study, series] = time.monotonic()

    # ---- fetching, in a thread of its own

    def _pull(self, orders: Sequence[_Order]) -> None:
        try:
            for order in orders:
                self._fetch(order)
        finally:
            # Whatever happened, nobody waits for ever.
            for order in orders:
                self._end(order, PullError(PullProblem.UNREACHABLE, "fetching it ended unexpectedly"))

    def _fetch(self, order: _Order) -> None:
        started = time.monotonic()
        try:
            self._fill(order)
            self._explain(order, PullError(PullProblem.BROKEN, "the source did not send it"))
        except PullError as problem:
            _log.warning("imaging.pull_failed", source=order.location, reason=str(problem))
            self._explain(order, problem)
        except OSError as failure:
            _log.error("imaging.pull_cannot_be_kept", source=order.location, error=type(failure).__name__)
            self._end(order, PullError(PullProblem.BUSY, "it cannot be kept here"))
        arrived = sum(1 for arrival in order.arrivals.values() if arrival.problem is None)
        seconds = round(time.monotonic() - started, 3)
        _log.info("imaging.pulled", source=order.location, instances=arrived, of=len(order.arrivals), seconds=seconds)

    def _fill(self, order: _Order) -> None:
        with self._database.read() as connection:
            patient = imaging_sources.patient(connection, order.study)
        if patient is None:
            raise PullError(PullProblem.GONE)
        source = self._sources[order.location]
        with self._breakers[order.location].closed():
            for pulled in source.fetch(order.study, order.series, order.sop_classes, whole_series=order.whole_series):
                arrival = order.arrivals.get(pulled.sop_instance_uid)
                if arrival is not None and not arrival.is_begun:
                    self._receive(arrival, pulled, patient)

    def _receive(self, arrival: Arrival, pulled: Pulled, patient: StudyPatient) -> None:
        place = arrival.place
        try:
            chunks = _looked_at(pulled, place, patient)
            arrival.receive(chunks, pulled.transfer_syntax_uid)
        except PullError as problem:
            if problem.problem is PullProblem.OTHER_PATIENT:
                self._dispute(place)
            arrival.fail(problem)
        except DicomError:
            arrival.fail(PullError(PullProblem.BROKEN))
        with self._lock:
            self._arriving.pop(place, None)

    def _explain(self, order: _Order, problem: PullError) -> None:
        """Tell those who wait for what did not arrive why: it is gone, or could not be had."""
        missing = [arrival for arrival in order.arrivals.values() if not arrival.is_ended]
        if missing and problem.problem in (PullProblem.REFUSED, PullProblem.BROKEN, PullProblem.GONE):
            try:
                self._check(order.location, order.study, order.series)
                registered = self._registered(order.study, order.series)
            except PullError as failure:
                problem = failure
            else:
                for arrival in missing:
                    if (order.series, arrival.place.instance) not in registered:
                        arrival.fail(PullError(PullProblem.GONE))
        self._end(order, problem)

    def _end(self, order: _Order, problem: PullError) -> None:
        with self._lock:
            for arrival in order.arrivals.values():
                if self._arriving.get(arrival.place) is arrival:
                    del self._arriving[arrival.place]
        for arrival in order.arrivals.values():
            arrival.fail(problem)

    def _dispute(self, place: Place) -> None:
        """Note for a human that an image does not name the patient of its study."""
        _log.error("imaging.other_patient", source=place.location)
        reason = f"an image of {place.location} (instance {place.instance}) names another patient than the study does"

        def work(connection: Any) -> None:
            stored = imaging.find(connection, place.study)
            if stored is not None:
                imaging.set_state(connection, place.study, stored.revision, StudyState.UNRESOLVED, reason)

        self._database.write(work)


def _looked_at(pulled: Pulled, place: Place, patient: StudyPatient) -> Iterator[bytes]:
    """The octets of an object after its head was compared with what was asked for. Errors: PullError, DicomError."""
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
    return chain(held, pulled.chunks)
