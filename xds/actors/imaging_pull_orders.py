"""What is being fetched from a source at once, and what somebody waits for of it or has been promised."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from queue import SimpleQueue
from typing import Final, NamedTuple

from xds.actors.imaging_arrival import Arrival, Place
from xds.model.foreign_images import PullError
from xds.model.imaging import StudyPatient
from xds.store.pull_cache import PullCache


class SeriesPlace(NamedTuple):
    """A series at its source."""

    location: str
    study: str
    series: str

    @property
    def group(self) -> str:
        """What the cache knows it by."""
        return "/".join(self)


#: What the source says, in short, of an instance (by its SOP Instance UID), or of every one of a series (None).
Digests = Callable[[SeriesPlace, str | None], Callable[[str], str]]


#: How long the one who fetches waits for the first octets to go out, at most.
_PACE_SECONDS: Final = 0.02


@dataclass(frozen=True, slots=True)
class FirstReader:
    """For whom something is fetched ahead: told of what begins, and of the end (None)."""

    begun: SimpleQueue[Arrival | None] = field(default_factory=SimpleQueue)
    is_served: threading.Event = field(default_factory=threading.Event)


class Order:
    """Instances of one series. The thread that fetches them asks for each as it comes, readers for those that they want."""

    def __init__(
        self,
        place: SeriesPlace,
        sop_classes: Mapping[str, str],
        cache: PullCache,
        digests: Digests,
        *,
        whole_series: bool,
        patient: StudyPatient | None = None,
        reader: FirstReader | None = None,
    ) -> None:
        """`sop_classes` are those of the instances by SOP Instance UID; `digests` gives what the source says of them.

        With `reader` it was given ahead: everything that comes is kept for that one. `patient` is the study's, as far as it is
        known already.
        """
        self.place = place
        self.sop_classes = sop_classes
        self.whole_series = whole_series
        self.patient = patient
        self._cache = cache
        self._digests = digests
        self._digest: Callable[[str], str] | None = None
        self._is_one_kept = False
        self._reader = reader
        #: That of all its arrivals, and of what is known of them.
        self._condition = threading.Condition()
        self._arrivals: dict[str, Arrival] = {}
        self._promised: set[str] = set()
        self._is_followed = reader is not None
        self._is_over = False

    # ---- readers

    def awaited(self, sop_instance_uid: str) -> Arrival | None:
        """One that is still to come or on its way, for one reader, who releases it; None for any other."""
        with self._condition:
            if sop_instance_uid not in self.sop_classes or self._is_over:
                return None
            found = self._arrival(sop_instance_uid)
            return None if found.is_ended else found.shared()

    def promised(self, sop_instance_uid: str) -> Arrival | None:
        """The same for the reader whom it was given ahead for: also what has come already, or failed."""
        with self._condition:
            if sop_instance_uid not in self.sop_classes:
                return None
            found = self._arrival(sop_instance_uid)
            if sop_instance_uid not in self._promised:
                return found.shared()
            self._promised.remove(sop_instance_uid)
            return found

    def leave(self) -> None:
        """The reader whom it was given ahead for wants nothing more than he was handed. Idempotent."""
        with self._condition:
            self._is_followed = False
            left, self._promised = self._promised, set()
        for uid in left:
            self._arrivals[uid].release()

    # ---- the one who fetches

    def next(self, sop_instance_uid: str) -> Arrival | None:
        """The arrival of what comes now; None when nobody wants it, or not again."""
        with self._condition:
            if sop_instance_uid not in self.sop_classes:
                return None
            found = self._arrival(sop_instance_uid)
            return None if found.is_begun else found

    def missing(self) -> list[Arrival]:
        """Everything that has not come whole, nor failed."""
        with self._condition:
            return [found for uid in self.sop_classes if not (found := self._arrival(uid)).is_ended]

    def end(self, problem: PullError) -> None:
        """Nothing more comes. What has not come has this problem."""
        with self._condition:
            missing = self.missing()
            self._is_over = True
        for arrival in missing:
            arrival.fail(problem)
        if self._reader is not None:
            self._reader.begun.put(None)

    def paced(self, chunks: Iterator[bytes]) -> Iterator[bytes]:
        """The rest of an object whose head was looked at. Whom it was given ahead for sends the head first.

        Both threads share one interpreter: the one that fetches, which never waits for long, would keep it to itself.
        """
        if self._reader is not None:
            self._reader.is_served.wait(_PACE_SECONDS)
            self._reader.is_served.set()
        yield from chunks

    def count(self) -> int:
        """How many have come."""
        with self._condition:
            return sum(arrival.is_ended and arrival.problem is None for arrival in self._arrivals.values())

    def _arrival(self, uid: str) -> Arrival:
        found = self._arrivals.get(uid)
        if found is None:
            place = Place(*self.place, uid)
            found = self._arrivals[uid] = Arrival(place, lambda: self._digest_of(uid), self._cache, self._condition)
            if self._is_followed and self._reader is not None:
                self._promised.add(uid)
                found.shared().tell(self._reader.begun.put)
        return found

    def _digest_of(self, uid: str) -> str:
        if not self._is_one_kept:
            # Those of all others are read when the first object is on its way to its reader.
            self._is_one_kept = True
            return self._digests(self.place, uid)(uid)
        if self._digest is None:
            self._digest = self._digests(self.place, None)
        return self._digest(uid)


class Ahead:
    """What is fetched for one reader before he has looked at it piece by piece. He closes it."""

    def __init__(self, orders: Sequence[Order], reader: FirstReader) -> None:
        self._orders = {order.place: order for order in orders}
        self._reader = reader

    def first(self) -> tuple[Arrival, str] | None:
        """Wait for the first that begins, to be released: it and its SOP Class UID; None when none comes, or not that one."""
        for order in self._orders.values():
            # Which instances there are is read here while the source is looking for them.
            len(order.sop_classes)
        arrival = self._reader.begun.get()
        if arrival is None or arrival.problem is not None:
            return None
        place = arrival.place
        order = self._orders[SeriesPlace(place.location, place.study, place.series)]
        taken = order.promised(place.instance)
        assert taken is arrival
        return arrival, order.sop_classes[place.instance]

    def chunks(self, arrival: Arrival) -> Iterator[bytes]:
        """The octets of the first."""
        for chunk in arrival.chunks():
            yield chunk
            self._reader.is_served.set()

    def of(self, place: SeriesPlace) -> Order | None:
        """What is fetched of a series."""
        return self._orders.get(place)

    def close(self) -> None:
        """Let go of what was not taken."""
        for order in self._orders.values():
            order.leave()
