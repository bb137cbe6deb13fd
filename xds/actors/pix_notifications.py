"""Who is told that the identifiers of a person changed: rows written in the transaction of the change, delivered in their order.

Spec: ITI TF-2 3.10 (HL7 v2), 3.46 (HL7 v3): one message for each set of identifiers that a join, a separation or a first
identifier leaves behind, limited to the domains that the consumer is interested in.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from typing import Final

import structlog

from xds.model.identifiers import AssigningAuthority, PatientIdentifier
from xds.model.patient import IdentitySubscriber, IdentityUpdate
from xds.ports import Clock
from xds.rules.identity_domains import DomainTable
from xds.store import jobs, patients_outbox
from xds.store.database import Connection, Database
from xds.store.jobs import Job
from xds.store.patients import Identity, Patients

#: The kind of job that sends what waits for one subscriber; its key is the subscriber's name.
NOTIFY_SUBSCRIBER: Final = "identity-notification"
#: How many notifications are read at once.
_PORTION: Final = 100
#: How long a subscriber is one worker's: longer than sending one notification takes. The clocks of hosts must not differ by more.
LEASE: Final = timedelta(minutes=2)

#: Sends one notification. False when the subscriber refuses it for good. Errors: OSError when it is to be sent again later.
Send = Callable[[IdentitySubscriber, IdentityUpdate], bool]

_LOST: Final = "the delivery took so long that another one has begun"

_log = structlog.get_logger()

_Set = tuple[tuple[int, str], ...]
_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


def told(identities: Iterable[Identity]) -> list[Identity]:
    """The identifiers that others are told, grouped by domain in the order in which the domains became known."""
    return sorted((item for item in identities if item.is_told), key=lambda item: item.domain_key)


@dataclass(frozen=True, slots=True)
class _Cluster:
    """Records that are, or were, one person, and the identifiers that others are told."""

    records: frozenset[int]
    identifiers: _Set


class ChangedSets:
    """Notices in one transaction which sets of identifiers change, and has the subscribers told at its end."""

    def __init__(self, subscribers: Sequence[IdentitySubscriber], table: DomainTable) -> None:
        self._subscribers = subscribers
        self._table = table
        self._before: dict[int, _Cluster] = {}
        self._touched: set[int] = set()

    def before(self, patients: Patients, person_keys: Collection[int]) -> None:
        """These records are about to change."""
        new = set(person_keys) - self._touched
        for cluster, keys in patients.clusters_around(new).items():
            self._before.setdefault(cluster, _Cluster(frozenset(keys), _set(patients.identities(keys))))
            self._touched.update(keys)

    def tell(self, patients: Patients, names: Callable[[Iterable[int]], Mapping[int, AssigningAuthority]], now: datetime) -> None:
        """Write what the subscribers are to be told."""
        if not self._touched:
            return
        clusters = patients.clusters_around(self._touched)
        after = [_Cluster(frozenset(keys), _set(patients.identities(keys))) for keys in clusters.values()]
        known = names(key for item in (*self._before.values(), *after) for key, _ in item.identifiers)
        for subscriber in self._subscribers:
            wanted = self._interesting(subscriber, known)
            bodies = [_body(some, known, now) for some in self._changed(after, wanted)]
            if bodies:
                patients_outbox.add(patients.connection, subscriber.name, bodies)
                jobs.call(patients.connection, NOTIFY_SUBSCRIBER, subscriber.name, now)

    def _changed(self, after: Sequence[_Cluster], wanted: Collection[int]) -> Iterator[_Set]:
        """The sets that somebody who is interested in these domains does not know: joined, separated, or of other identifiers."""
        before = [(item.records, _of(item.identifiers, wanted)) for item in self._before.values()]
        earlier = [(records, some) for records, some in before if some]
        later = [(item.records, some) for item in after if (some := _of(item.identifiers, wanted))]
        for records, some in later:
            sources = [(others, known) for others, known in earlier if others & records]
            is_alone = len(sources) == 1 and sum(bool(sources[0][0] & others) for others, _ in later) == 1
            if not (is_alone and sources[0][1] == some):
                yield some

    def _interesting(self, subscriber: IdentitySubscriber, known: Mapping[int, AssigningAuthority]) -> set[int]:
        if not subscriber.domains:
            return set(known)
        wanted = [self._table.complete(item) for item in subscriber.domains]
        return {key for key, name in known.items() if any(_same(name, item) for item in wanted)}


def _same(one: AssigningAuthority, other: AssigningAuthority) -> bool:
    return one.oid == other.oid if one.oid and other.oid else one.namespace is not None and one.namespace == other.namespace


def _set(identities: Iterable[Identity]) -> _Set:
    return tuple(dict.fromkeys((item.domain_key, item.value) for item in told(identities)))


def _of(some: _Set, wanted: Collection[int]) -> _Set:
    return tuple(item for item in some if item[0] in wanted)


def _body(some: _Set, names: Mapping[int, AssigningAuthority], now: datetime) -> str:
    fields = [[value, names[key].namespace, names[key].oid] for key, value in some]
    return _encode({"id": uuid.uuid4().hex[:20], "at": int(now.timestamp() * 1000), "identifiers": fields})


def read_update(body: str) -> IdentityUpdate:
    """A notification as it waited."""
    fields = json.loads(body)
    identifiers = (PatientIdentifier(value, AssigningAuthority(name, oid)) for value, name, oid in fields["identifiers"])
    return IdentityUpdate(tuple(identifiers), fields["id"], fields["at"])


class Courier:
    """Sends what waits for the subscribers. Each has a job of its own, so that one who does not answer delays nobody else.

    Whoever holds the job is the only one that sends to its subscriber, in whatever process or host, and renews its lease before
    each notification. When it dies, another goes on as soon as the lease has ended.
    """

    def __init__(
        self, database: Database, subscribers: Iterable[IdentitySubscriber], senders: Mapping[str, Send], clock: Clock
    ) -> None:
        """`senders` are by wire: `v2`, `v3`."""
        self._database = database
        self._subscribers = {item.name: item for item in subscribers}
        self._senders = senders
        self._clock = clock

    def deliver(self, job: Job) -> str | None:
        """Send what waits for the subscriber of a claimed job, in its order, and end the job when nothing does any more.

        Gives why it has to be tried again; nothing is lost meanwhile. A notification that the subscriber refuses for good is
        passed over: sent again it would be refused again.
        """
        subscriber = self._subscribers.get(job.key)
        if subscriber is None:
            return "the subscriber is not configured any more"
        send = self._senders[subscriber.wire]
        done: int | None = None
        while waiting := self._next(job, done):
            for item in waiting:
                if done is not None and not self._went_on(job, done):
                    return _LOST
                try:
                    is_taken = send(subscriber, read_update(item.body))
                except (OSError, ValueError) as error:
                    return f"the subscriber could not be notified ({type(error).__name__})"
                if not is_taken:
                    _log.error("identity.notification_refused", subscriber=job.key, sequence=item.sequence)
                done = item.sequence
        return None

    def _next(self, job: Job, done: int | None) -> tuple[patients_outbox.Waiting, ...]:
        """What is to be sent next, once what is `done` was forgotten. When there is nothing the job has ended, or was lost."""

        def work(connection: Connection) -> tuple[int | None, tuple[patients_outbox.Waiting, ...]]:
            # First of all the job: until this is durable, nobody adds to what waits without being seen here.
            lease = self._renew(connection, job, done)
            waiting = patients_outbox.waiting(connection, job.key, _PORTION) if lease is not None else ()
            if lease is not None and not waiting:
                jobs.finish(connection, replace(job, lease=lease))
            return lease, waiting

        lease, waiting = self._database.write(work)
        self._hold(job, lease, done)
        return waiting

    def _went_on(self, job: Job, done: int) -> bool:
        """Forget what is done, and keep others from the job. False when it was lost to another."""
        lease = self._database.write(partial(self._renew, job=job, done=done))
        self._hold(job, lease, done)
        return lease is not None

    def _renew(self, connection: Connection, job: Job, done: int | None) -> int | None:
        lease = jobs.renewed(connection, job, self._clock(), LEASE, None if done is None else 1)
        if done is not None:
            patients_outbox.remove(connection, job.key, done)
        return lease

    def _hold(self, job: Job, lease: int | None, done: int | None) -> None:
        if lease is not None:
            job.lease = lease
        if done is not None:
            # It has got somewhere: what fails now fails for the first time.
            job.attempts = 1


def waiting(connection: Connection) -> dict[str, int]:
    """How many notifications wait for each subscriber."""
    return patients_outbox.count(connection)
