"""Counters for operators, in Prometheus text format. No label holds anything of a patient."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.multiprocess import MultiProcessCollector

from xds.store.database import DatabaseUnavailableError

#: The library's own name for where processes keep what they count together. It is read when the library is first imported.
SHARED_DIRECTORY = "PROMETHEUS_MULTIPROC_DIR"

#: Upper bounds of the duration histogram, in seconds.
_BUCKETS = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60, 300)


#: Told of an answer: its transaction, its outcome (`ok`; `fault`: the partner's; `failure`: ours), and the seconds it took.
Served = Callable[[str, str, float], None]


def unnoted(_transaction: str, _outcome: str, _seconds: float) -> None:
    """Where nobody counts."""


@dataclass(frozen=True, slots=True)
class Counted:
    """Numbers by the values of one label that are looked up whenever somebody asks, the same in every process."""

    name: str
    description: str
    label: str
    counts: Callable[[], Mapping[str, int]]

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """The numbers as Prometheus wants them; nothing while the database does not answer."""
        try:
            counts = self.counts()
        except DatabaseUnavailableError:
            return
        family = GaugeMetricFamily(self.name, self.description, labels=(self.label,))
        for value, number in sorted(counts.items()):
            family.add_metric((value,), number)
        yield family


class Metrics:
    """The metrics of one server process, in `registry`, or of all that share `SHARED_DIRECTORY`."""

    content_type = CONTENT_TYPE_LATEST

    def __init__(self, counted: Sequence[Counted] = ()) -> None:
        self._counted = tuple(counted)
        self.registry = CollectorRegistry()
        self._requests = Counter(
            "xds_requests", "Requests answered, by transaction and outcome", ("transaction", "outcome"), registry=self.registry
        )
        self._seconds = Histogram(
            "xds_request_seconds",
            "From the header to the last octet of the answer; of HL7 v2 and DICOM, until the answer is decided",
            ("transaction",),
            buckets=_BUCKETS,
            registry=self.registry,
        )
        self._received = Counter("xds_received_bytes", "Octets of request bodies", ("transaction",), registry=self.registry)
        self._sent = Counter("xds_sent_bytes", "Octets of answer bodies", ("transaction",), registry=self.registry)
        self._in_flight = Gauge(
            "xds_requests_in_flight", "Requests being answered now", registry=self.registry, multiprocess_mode="livesum"
        )
        self._labelled: dict[tuple[str, str], tuple[Counter, Histogram, Counter, Counter]] = {}

    def began(self) -> None:
        """A request arrived."""
        self._in_flight.inc()

    def ended(self, transaction: str, outcome: str, seconds: float, received: int, sent: int) -> None:
        """A request was answered, or its client went away (outcome `aborted`)."""
        self._in_flight.dec()
        counted, timed, counted_in, counted_out = self._labelled.get((transaction, outcome)) or self._label(transaction, outcome)
        counted.inc()
        timed.observe(seconds)
        counted_in.inc(received)
        counted_out.inc(sent)

    def served(self, transaction: str, outcome: str, seconds: float) -> None:
        """A message of HL7 v2 or a request of DIMSE was answered."""
        counted, timed, _, _ = self._labelled.get((transaction, outcome)) or self._label(transaction, outcome)
        counted.inc()
        timed.observe(seconds)

    def _label(self, transaction: str, outcome: str) -> tuple[Counter, Histogram, Counter, Counter]:
        """The metrics of these labels, kept: finding them costs more than counting."""
        found = self._labelled[transaction, outcome] = (
            self._requests.labels(transaction, outcome),
            self._seconds.labels(transaction),
            self._received.labels(transaction),
            self._sent.labels(transaction),
        )
        return found

    def render(self) -> bytes:
        """Everything, as `/metrics` shows it."""
        looked_up = CollectorRegistry()
        for each in self._counted:
            looked_up.register(each)
        if SHARED_DIRECTORY not in os.environ:
            return generate_latest(self.registry) + generate_latest(looked_up)
        everybody = CollectorRegistry()
        MultiProcessCollector(everybody)  # type: ignore[no-untyped-call]
        return generate_latest(everybody) + generate_latest(looked_up)
