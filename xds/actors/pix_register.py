"""The register that the PIX Manager and the identity desk share: its domains, weights and counts, and how a change begins.

Spec: ITI TF-2 3.9 (cross-referencing).
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Final

import structlog

from xds.actors.pix_clusters import Clusters, NewValue
from xds.actors.pix_description import Effects
from xds.actors.pix_domains import Domains
from xds.actors.pix_linking import Linker
from xds.actors.pix_notifications import ChangedSets
from xds.model.identifiers import AssigningAuthority
from xds.model.patient import IdentitySubscriber
from xds.rules import linkage
from xds.rules.identity_domains import DomainTable
from xds.rules.linkage import DEFAULT_WEIGHTS, BirthDate, Family, Given, Traits, Weights
from xds.store import patients_terms
from xds.store.database import Connection, Database
from xds.store.patients import Patients
from xds.store.patients_terms import TermCounts

#: How many counted terms gather, and how long in seconds, before they are stored: frequent names are counted again and again.
_GATHERED_TERMS: Final = 8192
_GATHERING_SECONDS: Final = 10.0
#: How long feeds go on between two portions of them, in seconds.
_PAUSE_SECONDS: Final = 0.02
#: How often weights and counts are read again: other processes train and count, too. In seconds.
_REFRESH_SECONDS: Final = 60.0
#: How many words are kept in memory.
_KEPT_WORDS: Final = 500_000

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Change:
    """One transaction that changes who is who."""

    patients: Patients
    clusters: Clusters
    linker: Linker
    register: Register
    moment: datetime
    changed_sets: ChangedSets | None

    def notify(self) -> None:
        """Write what subscribers are to be told of the change."""
        if self.changed_sets is not None:
            self.changed_sets.tell(self.patients, lambda keys: self.register.domains.names(self.patients, keys), self.moment)

    def finish(self) -> None:
        """Write what follows from the change, in its transaction."""
        self.notify()
        self.patients.tell_changes()


class Register:
    """Who is who, as one database knows it. One object serves all threads."""

    def __init__(
        self,
        database: Database,
        table: DomainTable,
        affinity: AssigningAuthority,
        *,
        creates: bool,
        new_value: NewValue,
    ) -> None:
        """`affinity` is the complete name of the affinity domain; `creates`: see `Domains`."""
        self._database = database
        self._table = table
        self._new_value = new_value
        self.affinity = affinity
        self.affinity_key = database.write(lambda connection: Patients(connection).add_domain(affinity).domain_key)
        self.domains = Domains(table, creates=creates)
        self.subscribers: Sequence[IdentitySubscriber] = ()
        self.counts = TermCounts()
        self.weights: Weights = DEFAULT_WEIGHTS
        #: Words by which names are searched, that the register has for certain.
        self.words: set[tuple[str, str]] = set()
        self._lock = threading.Lock()
        self._released_at = self._stored_at = time.monotonic()
        self._refreshed_at = -_REFRESH_SECONDS

    def refresh(self) -> None:
        """Read the weights in force, if that was not done lately."""
        now = time.monotonic()
        if now - self._refreshed_at < _REFRESH_SECONDS:
            return
        self._refreshed_at = now
        self.counts.forget()
        self.current_weights()

    def current_weights(self) -> Weights:
        """The weights in force, read now."""
        with self._database.read() as connection:
            stored = patients_terms.weights(connection)
        in_force = stored[0] if stored and stored[0].activated is not None else None
        if in_force is not None and in_force.version != self.weights.version:
            try:
                self.weights = Weights.from_json(in_force.weights)
            except ValueError:
                # Those of another version of this software: what was in force before stays.
                _log.error("identity.weights_unreadable", version=in_force.version)
        return self.weights

    def confirms(self, image: Traits, stated: Traits) -> bool:
        """True when the patient named in an image and a known one share a name and the full day of birth, without a veto."""
        evidence = linkage.compare(image, stated, self.weights, linkage.Register())
        levels = evidence.levels
        named = (levels.get("family"), levels.get("given")) == (Family.EXACT, Given.EXACT)
        dated = levels.get("birth_date") in (BirthDate.EXACT, BirthDate.EXACT_DEFAULT)
        return evidence.veto is None and named and dated and levels.get("sex", 1) == 1

    def begin(self, connection: Connection, moment: datetime) -> Change:
        """Begin to change who is who, in a transaction."""
        return self.change(self.take_turn(connection), moment)

    def take_turn(self, connection: Connection) -> Patients:
        """The tables, once nobody else changes who is who until the transaction ends."""
        patients = Patients(connection)
        patients.take_turn()
        return patients

    def change(self, patients: Patients, moment: datetime) -> Change:
        """One change among those of a transaction that has its turn."""
        now = int(moment.timestamp() * 1000)
        changed = ChangedSets(self.subscribers, self._table) if self.subscribers else None
        clusters = Clusters(patients, self.affinity, self.affinity_key, now, self._new_value, changed)
        return Change(patients, clusters, Linker(clusters, self.weights, self.counts), self, moment, changed)

    def reading(self, connection: Connection, moment: datetime) -> Change:
        """The same for a snapshot that nothing is written to."""
        patients = Patients(connection)
        now = int(moment.timestamp() * 1000)
        clusters = Clusters(patients, self.affinity, self.affinity_key, now, self._new_value)
        return Change(patients, clusters, Linker(clusters, self.weights, self.counts), self, moment, None)

    def follow(self, effects: Effects) -> None:
        """Remember what a transaction did, now that it is durable."""
        if effects.domain_keys:
            self.domains.learn(effects.domain_keys)
        if effects.words:
            if len(self.words) > _KEPT_WORDS:
                self.words = set()
            self.words |= effects.words
        gathered = self.counts.count(effects.counted)
        if effects.uncounted:
            gathered = self.counts.count(effects.uncounted, -1)
        self._store_some_counts(gathered)

    def _store_some_counts(self, gathered: int) -> None:
        """Have a portion of what was counted stored, if it is time for one."""
        now = time.monotonic()
        with self._lock:
            if gathered >= _GATHERED_TERMS or now - self._released_at > _GATHERING_SECONDS:
                self._released_at = now
                self.counts.release()
            if now - self._stored_at < _PAUSE_SECONDS:
                return
            self._stored_at = now
            portion = self.counts.portion()
        self._store(portion)

    def store_counts(self) -> None:
        """Have stored all that was counted."""
        self.counts.release()
        while portion := self.counts.portion():
            self._store(portion)

    def _store(self, portion: Mapping[int, int]) -> None:
        if portion:
            self._database.write_later(partial(patients_terms.add_terms, numbers=portion))
