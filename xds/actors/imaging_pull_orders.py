"""What is being fetched from a source at once, and what somebody waits for of it or has been promised."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from queue import SimpleQueue
from typing import NamedTuple

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


class Order:
    """Instances of one series. The thread that fetches them asks for each as it comes, readers for those that they want."""

    def __init__(
        self,
        place: SeriesPlace,
        sop_classes: Mapping[str, str],
        cache: PullCache,
        digests: Callable[[SeriesPlace], Callable[[str], str]],
        *,
        whole_series: bool,
        patient: StudyPatient | None = None,
        begun: SimpleQueue[Arrival | None] | None = None,
    ) -> None:
        """`sop_classes` are those of the instances by SOP Instance UID; `digests` gives what the source says of each.

        With `begun` it was given ahead: everything that comes is kept for one reader, who is told here of what begins, and of
        the end (None). `patient` is the study's, as far as it is known already.
        """
        self.place = place
        self.sop_classes = sop_classes
        self.whole_series = whole_series
        self.patient = patient
        self._cache = cache
        self._digests = digests
        self._digest: Callable[[str], str] | None = None
        self._begun = begun
        #: That of all its arrivals, and of what is known of them.
        self._condition = threading.Condition()
        self._arrivals: dict[str, Arrival] = {}
        self._promised: set[str] = set()
        self._is_followed = begun is not None
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
        if self._begun is not None:
            self._begun.put(None)

    def count(self) -> int:
        """How many have come."""
        with self._condition:
            return sum(arrival.is_ended and arrival.problem is None for arrival in self._arrivals.values())

    def _arrival(self, uid: str) -> Arrival:
        found = self._arrivals.get(uid)
        if found is None:
            place = Place(*self.place, uid)
            found = self._arrivals[uid] = Arrival(place, lambda: self._digest_of(uid), self._cache, self._condition)
            if self._is_followed and self._begun is not None:
                self._promised.add(uid)
                found.shared().tell(self._begun.put)
        return found

    def _digest_of(self, uid: str) -> str:
        # Nothing of it is needed before the first object is here.
        if self._digest is None:
            self._digest = self._digests(self.place)
        return self._digest(uid)


class Ahead:
    """What is fetched for one reader before he has looked at it piece by piece. He closes it."""

    def __init__(self, orders: Sequence[Order], begun: SimpleQueue[Arrival | None]) -> None:
        self._orders = {order.place: order for order in orders}
        self._begun = begun

    def first(self) -> tuple[Arrival, str] | None:
        """Wait for the first that begins, to be released: it and its SOP Class UID; None when none comes, or not that one."""
        arrival = self._begun.get()
        if arrival is None or arrival.problem is not None:
            return None
        place = arrival.place
        order = self._orders[SeriesPlace(place.location, place.study, place.series)]
        taken = order.promised(place.instance)
        assert taken is arrival
        return arrival, order.sop_classes[place.instance]

    def of(self, place: SeriesPlace) -> Order | None:
        """What is fetched of a series."""
        return self._orders.get(place)

    def close(self) -> None:
        """Let go of what was not taken."""
        for order in self._orders.values():
            order.leave()
