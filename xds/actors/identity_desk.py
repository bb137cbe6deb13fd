"""The identity desk: what people decide about records that may be one person, and how that is undone.

What somebody decides here is permanent: no rule and no source joins two records that were declared two persons, and no rule
separates two that were declared one. Every decision is kept, and each can be undone by another one.

Spec: ITI TF-2 3.9 leaves this to the PIX Manager; HL7 v3 and FHIR know no transaction for it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from xds.actors import pix_audit
from xds.actors.pix_register import Change, Register
from xds.model.caller import Action, Caller, Resource
from xds.model.domain_identity import DomainIdentity
from xds.model.identifiers import PatientIdentifier
from xds.model.identity_review import (
    AUTOMATIC,
    ComparedRecords,
    DecisionAction,
    LinkDecision,
    LinkReason,
    ReviewKind,
    ReviewPage,
    ReviewRecord,
)
from xds.ports import AccessRule, Clock
from xds.store import audit
from xds.store.database import Connection, Database
from xds.store.patients import Identity, Patients, StoredLink

_Result = TypeVar("_Result")
#: How many decisions a history shows.
_HISTORY = 100
_PAGE = 50


class IdentityDesk:
    """A part of the PIX Manager. One object serves all threads.

    Records are named by their keys. Whatever the caller may not see does not exist for him.
    """

    def __init__(
        self, database: Database, register: Register, identity: DomainIdentity, access: AccessRule, clock: Clock
    ) -> None:
        self._database = database
        self._register = register
        self._identity = identity
        self._access = access
        self._clock = clock

    # Looking

    def cases(
        self,
        caller: Caller,
        *,
        kind: ReviewKind | None = None,
        minimum: float | None = None,
        after: str | None = None,
        limit: int = _PAGE,
    ) -> ReviewPage:
        """Open cases, the weightiest first. `minimum` is in log2 odds; `after` is the `next_page` of the page before.

        Errors: ValueError when `after` is no such thing.
        """
        position = _position(after) if after else None
        with self._database.read() as connection:
            patients = Patients(connection)
            found = patients.cases(limit + 1, kind=kind, minimum=minimum, after=position)
            total = patients.count_cases(kind)
            shown = tuple(case for case in found[:limit] if self._may_see(patients, (case.lower, case.higher), caller))
        last = found[limit - 1] if len(found) > limit else None
        return ReviewPage(shown, total, f"{last.weight!r}/{last.lower}/{last.higher}" if last else None)

    def show(self, one: int, other: int, caller: Caller) -> ComparedRecords | None:
        """Two records side by side; None when one of them does not exist. It is audited: traits of two people are read."""
        with self._database.read() as connection:
            patients = Patients(connection)
            if not self._may_see(patients, (one, other), caller):
                return None
            records = [self._record(patients, key) for key in (one, other)]
            clusters = patients.cluster_of((one, other))
            change = self._register.reading(connection, self._clock())
            compared = ComparedRecords(
                records[0],
                records[1],
                clusters[one] == clusters[other],
                patients.case(one, other),
                change.linker.compare(one, other),
                patients.history((one, other), _HISTORY, both=True),
            )
        named = [item.identifiers[0] for item in records if item.identifiers]
        events = pix_audit.desk_events(named, caller, self._identity, self._clock(), is_reading=True)
        self._database.write_later(lambda connection: audit.append_written(connection, [audit.write(item) for item in events]))
        return compared

    def history(self, record: int, caller: Caller, limit: int = _HISTORY) -> tuple[LinkDecision, ...] | None:
        """The newest decisions about one record, the newest first; None when it does not exist."""
        with self._database.read() as connection:
            patients = Patients(connection)
            return patients.history((record,), limit) if self._may_see(patients, (record,), caller) else None

    def record_of(self, identifier: PatientIdentifier) -> int | None:
        """The record of an identifier that its domain issued; None when it was never fed."""
        with self._database.read() as connection:
            patients = Patients(connection)
            key = self._register.domains.key_of(patients, identifier.authority)
            found = patients.identity(key, identifier.value) if key is not None else None
            return patients.surviving(found).person_key if found else None

    # Deciding

    def link(self, one: int, other: int, caller: Caller, note: str = "") -> int | None:
        """Declare that two records are one person, for good. Gives the decision's key; None when one does not exist."""

        def work(change: Change) -> int:
            patients, clusters = change.patients, change.clusters
            for item in patients.links((one,)):
                if item.reason == LinkReason.APART and {item.lower_key, item.higher_key} == {one, other}:
                    patients.end_link(item, clusters.now)
            if clusters.link(one, other, LinkReason.SAME, by=_name(caller), note=note):
                clusters.join_issued(min(one, other))
            return patients.history((one, other), 1, both=True)[0].key

        return self._decide((one, other), caller, work)

    def refuse(self, one: int, other: int, caller: Caller, note: str = "") -> int | None:
        """Declare that two records are two persons, for good: every direct link between them ends."""
        return self._decide(
            (one, other), caller, lambda change: change.clusters.separate(one, other, by=_name(caller), note=note)
        )

    def unlink(self, one: int, other: int, caller: Caller, note: str = "") -> int | None:
        """End what rules and this desk linked; the pair goes back into the queue. None also when nothing links them."""

        def work(change: Change) -> int | None:
            patients, clusters = change.patients, change.clusters
            pair = {one, other}
            ended = {*AUTOMATIC, LinkReason.SAME}
            held = [item for item in patients.links((one,)) if {item.lower_key, item.higher_key} == pair and item.reason in ended]
            if not held:
                return None
            evidence = change.linker.compare(one, other)
            for item in held:
                clusters.unlink(one, other, LinkReason(item.reason), by=_name(caller), note=note)
            patients.open_case(one, other, ReviewKind.CANDIDATE, evidence, clusters.now)
            return patients.history((one, other), 1, both=True)[0].key

        return self._decide((one, other), caller, work)

    def undo(self, decision_key: int, caller: Caller, note: str = "") -> int | None:
        """Undo a decision: what it linked is separated, what it separated is linked again, as far as nobody decided since.

        Gives the key of the decision that undoes it; None when there is none to be undone.
        """
        with self._database.read() as connection:
            decision = Patients(connection).decision(decision_key)
        if decision is None or decision.undone_by is not None:
            return None
        return self._decide(
            (decision.lower, decision.higher), caller, lambda change: _undo(change, decision, _name(caller), note)
        )

    def undo_merge(self, subsumed: PatientIdentifier, caller: Caller) -> bool:
        """Give an identifier that a merge subsumed back to the person it belonged to, in the registry too.

        False, and nothing changes, when no merge subsumed it.
        """

        def work(connection: Connection) -> bool:
            moment = self._clock()
            change = self._register.begin(connection, moment)
            patients, clusters = change.patients, change.clusters
            domain = patients.domain(subsumed.authority)
            prior = patients.identity(domain.domain_key, subsumed.value) if domain else None
            if domain is None or prior is None or prior.subsumed_by is None:
                return False
            survivor = patients.identity(domain.domain_key, prior.subsumed_by)
            clusters.touch((prior.person_key,))
            clusters.restore(prior)
            if survivor and survivor.person_key != prior.person_key:
                clusters.unlink(prior.person_key, survivor.person_key, LinkReason.MERGED, by=_name(caller))
            clusters.regroup([prior.person_key])
            change.finish()
            for event in pix_audit.desk_events((subsumed,), caller, self._identity, moment):
                audit.append(connection, event)
            return True

        return self._database.write(work)

    def _decide(self, keys: tuple[int, int], caller: Caller, work: Callable[[Change], _Result]) -> _Result | None:
        """Change something about two records, and have that audited. None when one of them does not exist."""

        def transaction(connection: Connection) -> _Result | None:
            moment = self._clock()
            change = self._register.begin(connection, moment)
            if keys[0] == keys[1] or not self._may_see(change.patients, keys, caller):
                return None
            named = [self._record(change.patients, key).identifiers for key in keys]
            result = work(change)
            change.finish()
            events = pix_audit.desk_events([items[0] for items in named if items], caller, self._identity, moment)
            audit.append_written(connection, [audit.write(item) for item in events])
            return result

        return self._database.write(transaction)

    def _may_see(self, patients: Patients, keys: Sequence[int], caller: Caller) -> bool:
        clusters = patients.cluster_of(keys)
        if len(clusters) < len(set(keys)):
            return False
        resources = []
        for key in keys:
            cluster = patients.cluster(key)
            if not cluster:
                # Her source removed her.
                return False
            held = [item for item in cluster if item.domain_key == self._register.affinity_key and item.is_active]
            affinity = PatientIdentifier(held[0].value, self._register.affinity).to_cx() if held else ""
            resources.append(Resource(affinity))
        return all(self._access.permits(caller, Action.IDENTITY, resources))

    def _record(self, patients: Patients, key: int) -> ReviewRecord:
        own = patients.identities((key,))
        cluster = patients.cluster(key)
        names = self._register.domains.names(patients, {item.domain_key for item in cluster})

        def named(items: Sequence[Identity]) -> tuple[PatientIdentifier, ...]:
            return tuple(PatientIdentifier(item.value, names[item.domain_key], item.type_code) for item in items)

        issued = [item for item in own if not item.assigned]
        others = [item for item in cluster if item.person_key != key and item.is_active]
        return ReviewRecord(key, named(issued or own), patients.stated((key,)).get(key, ()), named(others))


def _undo(change: Change, decision: LinkDecision, by: str, note: str) -> int | None:
    """Undo a decision in a transaction."""
    patients, clusters = change.patients, change.clusters
    one, other = decision.lower, decision.higher
    reason = LinkReason(decision.reason) if decision.reason in {*LinkReason} else None
    if decision.action is DecisionAction.LINK and reason:
        clusters.touch((one, other))
        patients.end_link(StoredLink(one, other, reason), clusters.now)
        if reason is LinkReason.MERGED:
            clusters.give_back(one, other)
        if reason in AUTOMATIC:
            # The rules would join them again at the next message of either.
            patients.add_link(one, other, LinkReason.APART, clusters.now)
    elif decision.action is DecisionAction.REFUSE:
        clusters.touch((one, other))
        patients.end_link(StoredLink(one, other, LinkReason.APART), clusters.now)
        patients.open_case(one, other, ReviewKind.CANDIDATE, change.linker.compare(one, other), clusters.now)
    elif decision.action is DecisionAction.UNLINK and reason and reason is not LinkReason.MERGED:
        # What a merge did can be done again by a merge alone.
        clusters.touch((one, other))
        patients.add_link(one, other, reason, clusters.now)
        patients.close_case(one, other)
    else:
        return None
    key = patients.decide(one, other, DecisionAction.UNDO, decision.reason, clusters.now, by=by, note=note)
    patients.set_undone(decision.key, key)
    clusters.regroup([one, other])
    if decision.action is DecisionAction.UNLINK and reason not in AUTOMATIC:
        clusters.join_issued(one)
    return key


def _name(caller: Caller) -> str:
    return caller.user or caller.node or caller.address


def _position(after: str) -> tuple[float, int, int]:
    weight, lower, higher = after.split("/")
    return float(weight), int(lower), int(higher)
