"""People for the tests of linkage."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from xds.model.identifiers import AssigningAuthority, PatientIdentifier
from xds.model.patient import Address, Demographics, PersonName
from xds.rules.linkage import DEFAULT_WEIGHTS, Decision, Evidence, Group, Member, Register, compare, decide, traits

INS = AssigningAuthority("INS-NIR", "1.2.250.1.213.1.4.8")
INS_TEST = AssigningAuthority("INS-NIR-TEST", "1.2.250.1.213.1.4.10")
JEAN = Demographics(
    names=(PersonName("Le Goff", "Jean-Noël", use="L"),),
    birth_date="19491225",
    sex="M",
    addresses=(Address(street="12, rue du Port", city="Brest", postal_code="29200"),),
)
MARIE = Demographics(
    names=(PersonName("Kervella", "Marie"),),
    birth_date="19800314",
    sex="F",
    addresses=(Address(street="3 place de la Liberté", city="Quimper", postal_code="29000"),),
)
ELSEWHERE = (Address(street="1 rue de Siam", city="Rennes", postal_code="35000"),)
#: A register of some size, of whose names only one is known to be frequent.
REGISTER = Register(20_000, {("given", "MARIE"): 300})


def named(person: Demographics, family: str, given: str, **changes: Any) -> Demographics:
    """A person under one other name."""
    return replace(person, names=(PersonName(family, given),), **changes)


def identified(person: Demographics, value: str, *reliability: str, authority: AssigningAuthority = INS) -> Demographics:
    """A person with a national identifier and codes of PID-32."""
    return replace(person, national_identifiers=(PatientIdentifier(value, authority, "INS"),), reliability=reliability)


def evidence(one: Demographics, other: Demographics, register: Register = REGISTER) -> Evidence:
    """The evidence between two records."""
    return compare(traits(one), traits(other), DEFAULT_WEIGHTS, register)


def member(key: int, *stated: Demographics, domain: int = 0, **changes: Any) -> Member:
    """A person in a domain of her own."""
    return Member(key, tuple(traits(item) for item in stated), frozenset({domain or key}), **changes)


def decided(record: Member, *groups: Group, own: Group = ()) -> Decision:
    """What follows for a record."""
    return decide(record, groups, DEFAULT_WEIGHTS, REGISTER, own)
