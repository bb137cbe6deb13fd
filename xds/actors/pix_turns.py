"""Feeds in the one turn in which they are applied, and what is found out for them before it.

One transaction at a time applies feeds, of all processes: everybody waits for whatever is done in it. Candidates are looked up
and compared before, in a snapshot. In its turn a feed learns whether anything that this depends on was changed since; as a rule
nothing was, and what is left to do is to write.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Final

from xds.actors.pix_batches import Waiting
from xds.actors.pix_description import Effects
from xds.actors.pix_feed import FeedTransaction
from xds.actors.pix_preparation import Foreseen, PreparedFeed, is_upsert, own_identifiers, restated
from xds.actors.pix_register import Change, Register
from xds.ports import Clock
from xds.store import audit, jobs
from xds.store.audit import Written
from xds.store.patients import Identity, Transaction

#: The kind of job that follows every feed: whatever waits for a patient to become known is looked at again.
IDENTITIES_CHANGED: Final = "identities-changed"
#: How long that job lets feeds gather: done after each of them it took a tenth of the machine while they poured in.
_GATHERING: Final = timedelta(milliseconds=250)


class FeedTurns:
    """Applies feeds to a register. One object serves all threads."""

    def __init__(self, register: Register, clock: Clock) -> None:
        self._register = register
        self._clock = clock

    def foresee(self, connection: Transaction, feeds: Sequence[Waiting]) -> None:
        """Let feeds know what would become of them now. What cannot be told of a feed without more ado is left to its turn."""
        reading = self._register.reading(connection, self._clock())
        since = reading.patients.last_change()
        for item in feeds:
            if is_upsert(item.prepared.feed):
                item.prepared = replace(item.prepared, foreseen=_foreseen(reading, item.prepared, since))

    def apply(self, connection: Transaction, feeds: Sequence[Waiting]) -> list[Effects]:
        """Apply feeds one after another in one transaction. What each of them writes alike is written once."""
        moment = self._clock()
        patients = self._register.take_turn(connection)
        foreseen = [item.prepared.foreseen for item in feeds if item.prepared.foreseen]
        if foreseen:
            patients.recall(min(item.since for item in foreseen))
            for known in foreseen:
                patients.remember(known.bearers, known.since)
        elif len(feeds) > 1:
            patients.foresee(dict.fromkeys(each for item in feeds for each in own_identifiers(item.prepared)))
        found: list[Effects] = []
        events: list[Written] = []
        change = self._register.change(patients, moment)
        for item in feeds:
            if found and change.changed_sets is not None:
                # What one feed changed is told apart from what the next one does.
                change = self._register.change(patients, moment)
            transaction = FeedTransaction(change.clusters, change.linker, item.prepared.domain_keys, self._register.words)
            effects = transaction.apply(item.prepared)
            if not effects.is_repeated:
                change.notify()
                events += item.events
            found.append(effects)
        patients.tell_changes()
        if events:
            audit.append_written(connection, events)
            jobs.request(connection, IDENTITIES_CHANGED, moment + _GATHERING)
        return found


def _foreseen(reading: Change, prepared: PreparedFeed, since: int) -> Foreseen:
    stated, patients = prepared.stated, reading.patients
    bearers = {item: patients.rows_of(*item) for item in own_identifiers(prepared)}
    if not bearers or len(bearers) < len(prepared.feed.identifiers):
        # National identifiers, and domains that are new, are looked at in the turn.
        return Foreseen(since, bearers)
    identities = [Identity(*row) for rows in bearers.values() for row in rows]
    if not identities:
        domains = frozenset(key for key, _ in bearers)
        return Foreseen(since, bearers, reading.linker.place(stated.kinds, stated.traits, domains))
    if len(identities) == len(bearers) == 1 and identities[0].subsumed_by is None and identities[0].national_state is None:
        person = identities[0].person_key
        mine = patients.statements((person,)).get(person, ())
        if len(mine) == 1 and mine[0].source == prepared.feed.source and mine[0].demographics != stated.text:
            after = restated(mine[0].stated().demographics, prepared)
            if after.packed != mine[0].traits:
                placement = reading.linker.place_again(person, after.kinds, after.traits, after.packed)
                return Foreseen(since, bearers, placement, after)
    return Foreseen(since, bearers)
