"""What is being fetched from a source at once, and what somebody waits for of it or has been promised."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
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


#: Octets that go out before anything else is done: no more than a connection takes without its reader.
_FIRST: Final = 32 * 1024


class Begun(NamedTuple):
    """An object whose head has come and was looked at: its first octets, and the transfer syntax that it comes in."""

    arrival: Arrival
    head: bytes
    transfer_syntax_uid: str


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
        is_ahead: bool = False,
    ) -> None:
        """`sop_classes` are those of the instances by SOP Instance UID; `digests` gives what the source says of them.

        With `is_ahead` it is for one reader: everything that comes is kept for that one. `patient` is the study's, as far as it
        is known already.
        """
        self.place = place
        self.sop_classes = sop_classes
        self.whole_series = whole_series
        self.patient = patient
        self._cache = cache
        self._digests = digests
        self._digest: Callable[[str], str] | None = None
        self._is_one_kept = False
        #: Has it fetched to its end.
        self.go_on: Callable[[], object] = object
        #: That of all its arrivals, and of what is known of them.
        self._condition = threading.Condition()
        self._arrivals: dict[str, Arrival] = {}
        self._promised: set[str] = set()
        self._is_followed = is_ahead
        #: Why nothing more comes; None while something may.
        self._problem: PullError | None = None

    # ---- readers

    def awaited(self, sop_instance_uid: str) -> Arrival | None:
        """One that is still to come or on its way, for one reader, who releases it; None for any other."""
        with self._condition:
            if sop_instance_uid not in self.sop_classes or self._problem is not None:
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
            self._problem = self._problem or problem
            arrivals = tuple(self._arrivals.values())
        for arrival in arrivals:
            arrival.fail(problem)

    def count(self) -> int:
        """How many have come."""
        with self._condition:
            return sum(arrival.is_ended and arrival.problem is None for arrival in self._arrivals.values())

    def _arrival(self, uid: str) -> Arrival:
        found = self._arrivals.get(uid)
        if found is None:
            place = Place(*self.place, uid)
            found = self._arrivals[uid] = Arrival(place, lambda: self._digest_of(uid), self._cache, self._condition)
            if self._is_followed:
                self._promised.add(uid)
                found.shared()
            if self._problem is not None:
                found.fail(self._problem)
        return found

    def _digest_of(self, uid: str) -> str:
        if not self._is_one_kept:
            # Those of all others are read when the first object is on its way to its reader.
            self._is_one_kept = True
            return self._digests(self.place, uid)(uid)
        if self._digest is None:
            self._digest = self._digests(self.place, None)
        return self._digest(uid)


class Fetch:
    """What fetches some orders, one step after the other: first the thread of a reader for whom it is, then one of its own.

    A thread of its own from the beginning would share the interpreter with the reader, and take longer until the first octet.
    """

    def __init__(
        self, steps: Generator[Begun, None, None], orders: Sequence[Order], busy: Callable[[], None], *, is_ahead: bool
    ) -> None:
        """Each of the `steps` is an object that begins. `busy` is called when no thread can be had.

        With `is_ahead` nobody goes on before `first` was called.
        """
        self._steps = steps
        self._busy = busy
        self._name = f"pull-{orders[0].place.location}"
        self._lock = threading.Lock()
        self._is_held = is_ahead
        self._is_awaited = False
        self._is_handed_over = False
        for order in orders:
            order.go_on = self.go_on

    def first(self) -> Begun | None:
        """Fetch in this thread until the first object begins; None when none does."""
        found: Begun | None = None
        try:
            found = next(self._steps, None)
        finally:
            with self._lock:
                self._is_held = False
                self._is_handed_over = found is None
                is_awaited = self._is_awaited
        if is_awaited:
            self.go_on()
        return found

    def go_on(self) -> None:
        """Have a thread of its own do the rest. Idempotent; whoever waits for more than the first object calls this before."""
        with self._lock:
            self._is_awaited = True
            if self._is_held or self._is_handed_over:
                return
            self._is_handed_over = True
        try:
            threading.Thread(target=self._run, name=self._name, daemon=True).start()
        except RuntimeError:
            # There are too many threads. Nobody may wait for what nobody fetches.
            self._busy()
            self._steps.close()

    def run(self) -> None:
        """Do all of it in this thread: for one who begins with nothing before it is over."""
        with self._lock:
            self._is_handed_over = True
        self._run()

    def _run(self) -> None:
        for _ in self._steps:
            pass


class Ahead:
    """What is fetched for one reader before he has looked at it piece by piece. He closes it."""

    def __init__(self, orders: Sequence[Order], fetch: Fetch) -> None:
        self._orders = {order.place: order for order in orders}
        self._fetch = fetch
        self._begun = fetch.first()

    def first(self) -> tuple[Begun, str] | None:
        """The first that began, whose arrival is to be released, and its SOP Class UID; None when none came."""
        if self._begun is None:
            return None
        place = self._begun.arrival.place
        order = self._orders[SeriesPlace(place.location, place.study, place.series)]
        taken = order.promised(place.instance)
        assert taken is self._begun.arrival
        return self._begun, order.sop_classes[place.instance]

    def chunks(self, begun: Begun) -> Iterator[bytes]:
        """The octets of the first."""
        yield begun.head[:_FIRST]
        # What fetches the rest does not disturb the way of the first octets, nor does it wait for a slow reader.
        self._fetch.go_on()
        if len(begun.head) > _FIRST:
            yield begun.head[_FIRST:]
        yield from begun.arrival.chunks(len(begun.head))

    def go_on(self) -> None:
        """Have the rest fetched."""
        self._fetch.go_on()

    def of(self, place: SeriesPlace) -> Order | None:
        """What is fetched of a series."""
        return self._orders.get(place)

    def close(self) -> None:
        """Let go of what was not taken; it is fetched all the same. Idempotent."""
        for order in self._orders.values():
            order.leave()
        self._fetch.go_on()
