"""Feeds that arrive together are applied in one transaction.

Whoever comes first leads: what waits when its transaction begins is applied in it, and those whose feeds were among it are woken
when that is durable; the next ones gather meanwhile, and are applied while the disk takes its time. One commit carries several
feeds then, also on a database server, where feeds take turns anyway; what all of them write alike is written once.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from queue import SimpleQueue
from typing import Final

from xds.actors.pix_description import Effects
from xds.actors.pix_preparation import PreparedFeed, is_upsert
from xds.store.audit import Written
from xds.store.database import Connection, Database, turns
from xds.store.statements import server_driver

#: How many feeds one transaction carries at most: those behind it wait until it is durable.
MOST_TOGETHER: Final = 16


@dataclass(slots=True)
class Waiting:
    """A feed that waits, with the audit events that belong to it, and what became of it.

    `awake` gets something when it is done, or is to lead: a queue costs a tenth of what an event does.
    """

    prepared: PreparedFeed
    events: Sequence[Written]
    effects: Effects | None = None
    failure: BaseException | None = None
    leads: bool = False
    awake: SimpleQueue[None] = field(default_factory=SimpleQueue)

    @property
    def is_done(self) -> bool:
        """True when it was applied or refused."""
        return self.effects is not None or self.failure is not None


#: Applies feeds in a transaction; gives the effects of each. What it raises undoes all of them.
Apply = Callable[[Connection, Sequence[Waiting]], list[Effects]]
#: Prepares them in a snapshot that is read before the transaction.
Foresee = Callable[[Connection, Sequence[Waiting]], None]


class FeedBatches:
    """The feeds of one PIX Manager on their way into the database. One object serves all threads."""

    def __init__(self, database: Database, apply: Apply, foresee: Foresee) -> None:
        self._database = database
        self._apply = apply
        self._foresee = foresee
        self._lock = threading.Lock()
        self._waiting: deque[Waiting] = deque()
        self._has_leader = False

    def submit(self, prepared: PreparedFeed, events: Sequence[Written]) -> Effects:
        """Have a feed applied, durably. Errors: whatever applying it raised."""
        return self.wait(self.begin(prepared, events))

    def begin(self, prepared: PreparedFeed, events: Sequence[Written]) -> Waiting:
        """Put a feed among those that wait. `wait` must follow in the same thread, and soon: the others may wait for it."""
        mine = Waiting(prepared, events)
        with self._lock:
            self._waiting.append(mine)
            mine.leads, self._has_leader = not self._has_leader, True
        return mine

    def wait(self, mine: Waiting) -> Effects:
        """Wait until a feed is applied, durably. Feeds are waited for in the order in which they were begun.

        Errors: whatever applying it raised.
        """
        if not (mine.leads or mine.is_done):
            turns.end()
            mine.awake.get()
        if not mine.is_done:
            self._lead()
        if mine.failure is not None:
            raise mine.failure
        if mine.effects is None:
            raise RuntimeError("a feed was neither applied nor refused")
        return mine.effects

    def _lead(self) -> None:
        """Apply what waits, the own feed first, and hand over to whoever waits longest then."""
        turns.end()
        with turns.taken():
            # Whoever had a message in hand has begun with it by now: one transaction costs less than one for each.
            batch = _Batch(self._take)
        try:
            self._run(batch)
        finally:
            self._hand_over(batch)
            for item in batch.taken()[1:]:
                item.awake.put(None)

    def _take(self, batch: list[Waiting]) -> list[Waiting]:
        """Those that wait and go together with these: those that merge or link may be refused, which would undo the others."""
        together = list(batch)
        with self._lock:
            while self._waiting and len(together) < MOST_TOGETHER:
                if together and not all(is_upsert(item.prepared.feed) for item in (together[0], self._waiting[0])):
                    break
                together.append(self._waiting.popleft())
        return together[len(batch) :]

    def _hand_over(self, batch: _Batch) -> None:
        """Let the next lead, once."""
        if batch.is_handed_over:
            return
        # Without this its own leader would be called to lead again.
        batch.taken()
        batch.is_handed_over = True
        with self._lock:
            self._has_leader = bool(self._waiting)
            if self._waiting:
                self._waiting[0].awake.put(None)

    def _run(self, batch: _Batch) -> None:
        def work(connection: Connection) -> list[Effects]:
            # What came until the writer had time for it goes together.
            found = self._apply(connection, batch.taken())
            if server_driver(connection) is None:
                # The writer goes on while the disk takes its time; on a server the next feeds would only wait for its lock.
                self._hand_over(batch)
            return found

        def beforehand(connection: Connection) -> bool:
            if more := batch.take():
                self._foresee(connection, more)
            return bool(more)

        try:
            found = self._database.write(work, beforehand=beforehand)
        except BaseException as failure:
            # It belongs to those who wait. One feed that fails must not take the others with it.
            if len(batch.taken()) == 1 or batch.is_handed_over:
                # When others have gone on already, applying it again could put an older message after a newer one.
                for item in batch.taken():
                    item.failure = failure
                return
            for item in batch.taken():
                self._run_alone(item)
            return
        for item, effects in zip(batch.taken(), found, strict=True):
            item.effects = effects

    def _run_alone(self, item: Waiting) -> None:
        try:
            (item.effects,) = self._database.write(lambda connection: self._apply(connection, (item,)))
        except BaseException as failure:
            item.failure = failure


class _Batch:
    """Feeds that go together: the first ones are taken when its transaction is about to begin."""

    def __init__(self, take: Callable[[list[Waiting]], list[Waiting]]) -> None:
        self._take = take
        self._taken: list[Waiting] = []
        self.is_handed_over = False

    def take(self) -> list[Waiting]:
        """Those that have come since, who are taken, too."""
        more = self._take(self._taken)
        self._taken = self._taken + more
        return more

    def taken(self) -> list[Waiting]:
        """Those that were taken, the first ones now if there are none."""
        if not self._taken:
            self.take()
        return self._taken
