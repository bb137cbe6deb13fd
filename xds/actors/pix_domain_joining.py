"""A domain that became known twice, once by its namespace and once by its OID, made one.

Feeds create domains by the names that they state. A source that names its authority by a namespace at first and by an OID later
has two, until somebody who knows says that they are one: namespaces are unique locally, so that no message can decide it.

Spec: ITI TF-2 Appendix E.1 (all names that are present name one authority).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from xds.actors import pix_audit
from xds.actors.pix_domains import INCOMPLETE_SECONDS
from xds.actors.pix_register import Change, Register
from xds.model.caller import Caller
from xds.model.domain_identity import DomainIdentity
from xds.model.identifiers import AssigningAuthority, PatientIdentifier
from xds.model.identity_review import LinkReason
from xds.ports import Clock
from xds.store import audit, patients_domain_joining
from xds.store.database import Connection, Database
from xds.store.patients import Identity

#: How many of the numbers that two patients have are named.
_MOST_NAMED: Final = 20
#: What the name of a domain ends with whose identifiers are in another one by now.
_JOINED: Final = " (joined)"


class CannotJoinError(Exception):
    """Two domains cannot be one. The text says why, `values` are identifiers that mean two different patients."""

    def __init__(self, text: str, values: tuple[str, ...] = ()) -> None:
        super().__init__(text)
        self.values = values


@dataclass
class Joined:
    """What became of the identifiers of the domain that is gone: `moved` ones, and `same` ones which both domains had.

    `contradictory` ones mean two different patients. `patients` are the numbers of those whose records were joined.
    """

    moved: int = 0
    same: int = 0
    contradictory: list[str] = field(default_factory=list)
    patients: list[str] = field(default_factory=list)


def join_domains(
    database: Database,
    register: Register,
    identity: DomainIdentity,
    clock: Clock,
    authority: AssigningAuthority,
    caller: Caller,
    *,
    wait: Callable[[float], None] = time.sleep,
) -> Joined:
    """Make one domain of that known by the namespace of `authority` alone and that known by its OID alone.

    Records that have one number in both are one patient. Everything happens in one transaction; feeds wait meanwhile. Servers
    beside this process learn of it within seconds: what they file under the former name until then is moved, too.

    Errors: CannotJoinError, after which nothing has changed.
    """

    def join(connection: Connection) -> tuple[int, int, Joined]:
        change = register.begin(connection, clock())
        gone, kept = _domains(change, authority, register.affinity_key)
        done = _move_all(change, gone, kept)
        if done.contradictory:
            text = f"{len(done.contradictory)} identifiers mean two different patients, one in each domain"
            raise CannotJoinError(text, tuple(done.contradictory[:_MOST_NAMED]))
        former = AssigningAuthority(f"{authority.namespace}{_JOINED}")
        patients_domain_joining.rename(change.patients, gone, former)
        patients_domain_joining.rename(change.patients, kept, authority)
        change.finish()
        record(connection, done)
        return gone, kept, done

    def finish(connection: Connection) -> Joined:
        change = register.begin(connection, clock())
        late = _move_all(change, gone_key, kept_key)
        if not late.contradictory:
            patients_domain_joining.remove(change.patients, gone_key)
        change.finish()
        record(connection, late)
        return late

    def record(connection: Connection, done: Joined) -> None:
        named = [PatientIdentifier(value, authority) for value in done.patients]
        events = pix_audit.desk_events(named, caller, identity, clock())
        audit.append_written(connection, [audit.write(item) for item in events])

    gone_key, kept_key, done = database.write(join)
    register.domains.forget()
    wait(2 * INCOMPLETE_SECONDS)
    late = database.write(finish)
    return Joined(done.moved + late.moved, done.same + late.same, late.contradictory, [*done.patients, *late.patients])


def _domains(change: Change, authority: AssigningAuthority, affinity_key: int) -> tuple[int, int]:
    """The keys of the domain that is to go and of the one that stays. Errors: CannotJoinError."""
    by_namespace, by_oid = AssigningAuthority(authority.namespace), AssigningAuthority(oid=authority.oid)
    gone, kept = (change.patients.domain(item) for item in (by_namespace, by_oid))
    if gone is None or kept is None:
        missing = f"namespace {authority.namespace}" if gone is None else f"OID {authority.oid}"
        raise CannotJoinError(f"no domain is known by the {missing}")
    if gone.domain_key == kept.domain_key:
        raise CannotJoinError("the two names are those of one domain already")
    if gone.authority.oid or kept.authority.namespace:
        raise CannotJoinError("one of the two domains has both names: it is another one")
    if affinity_key in (gone.domain_key, kept.domain_key):
        raise CannotJoinError("the affinity domain is known by its configuration alone")
    return gone.domain_key, kept.domain_key


def _move_all(change: Change, gone_key: int, kept_key: int) -> Joined:
    done = Joined()
    for item in patients_domain_joining.identities_of(change.patients, gone_key):
        others = change.patients.bearers(kept_key, item.value)
        same = next((each for each in others if each.person_key == item.person_key), None)
        issued = next((each for each in others if each.national_state is None), None)
        if same is None and (issued is None or item.national_state is not None):
            patients_domain_joining.move(change.patients, item, kept_key)
            done.moved += 1
        elif _is_same(change, item, same or issued):
            change.patients.remove_identity(item)
            done.same += 1
            if same is None:
                done.patients.append(item.value)
        else:
            done.contradictory.append(item.value)
    return done


def _is_same(change: Change, one: Identity, other: Identity | None) -> bool:
    """Whether two records with one number are one patient: they are joined then, unless that contradicts what is known."""
    if other is None:
        return False
    if one.person_key == other.person_key:
        return True
    evidence = change.linker.compare(one.person_key, other.person_key)
    if evidence.veto is not None:
        return False
    change.clusters.touch((one.person_key, other.person_key))
    return change.clusters.link(other.person_key, one.person_key, LinkReason.STATED)
