"""Identifiers that a state issues: which they are, their check keys, and how far they are to be trusted.

Spec: French national identity of health (INS): matricule NIR or NIA of 13 characters and a key of two digits.
"""

from __future__ import annotations

from collections.abc import Collection
from enum import IntEnum
from typing import Final, NamedTuple

from xds.model.identifiers import PatientIdentifier
from xds.model.vocabulary import US_SOCIAL_SECURITY
from xds.rules.linkage.folding import fold

#: CX.5 of identifiers that a state issues, and that several sources therefore send about one person.
NATIONAL_TYPES: Final = frozenset({"NI", "NNFRA", "SS", "INS", "INS-NIR", "INS-NIA", "INS-C", "INS-A", "NH"})
INS_NIR: Final = "1.2.250.1.213.1.4.8"
INS_NIA: Final = "1.2.250.1.213.1.4.9"
#: Matricules of test and of demonstration. They are domains of their own: never compared with real ones.
INS_TEST: Final = frozenset({"1.2.250.1.213.1.4.10", "1.2.250.1.213.1.4.11"})
INS_OIDS: Final = frozenset({INS_NIR, INS_NIA}) | INS_TEST
NATIONAL_OIDS: Final = INS_OIDS | {US_SOCIAL_SECURITY}
_KEY_MODULUS = 97
_SHORTEST = 5


class NationalStatus(IntEnum):
    """How far an identity that carries a national identifier was checked. Values are stored."""

    #: The source says nothing about it.
    STATED = 0
    PROVISIONAL = 1
    #: Obtained from the national service, the person's papers not seen.
    RETRIEVED = 2
    #: Papers seen, the identifier not confirmed by the national service.
    VALIDATED = 3
    #: Both: the only state in which equality links.
    QUALIFIED = 4


class National(NamedTuple):
    """One national identifier, comparable."""

    authority: str
    value: str
    status: NationalStatus = NationalStatus.STATED

    @property
    def is_qualified(self) -> bool:
        """True when equality alone says that two records are one person."""
        return self.status is NationalStatus.QUALIFIED

    @property
    def is_told(self) -> bool:
        """True when others may be told it: an INS only when it is qualified, another one unless its source is in doubt."""
        return self.is_qualified or (self.status is NationalStatus.STATED and self.authority not in INS_OIDS)


def is_national(identifier: PatientIdentifier) -> bool:
    """True for an identifier that a state issues."""
    return identifier.type_code in NATIONAL_TYPES or identifier.authority.oid in NATIONAL_OIDS


def ins_key(matricule: str) -> int | None:
    """The key that belongs to the 13 characters of a NIR or NIA; None when they cannot be one.

    Corsican departments count as numbers: 2A as 19, 2B as 18.
    """
    if len(matricule) != 13 or not matricule.isascii():
        return None
    department = matricule[5:7]
    replaced = {"2A": "19", "2B": "18"}.get(department, department)
    number = matricule[:5] + replaced + matricule[7:]
    if not number.isdigit() or number[0] not in "12345678":
        return None
    return _KEY_MODULUS - int(number) % _KEY_MODULUS


def has_valid_key(value: str) -> bool:
    """True for a matricule with its key, 15 characters, whose key is right. Blanks between groups do not count."""
    folded = fold(value)
    return len(folded) == 15 and folded[13:].isdigit() and ins_key(folded[:13]) == int(folded[13:])


def comparable(value: str, authority: str, status: NationalStatus = NationalStatus.STATED) -> National | None:
    """A national identifier as it compares: an INS without its key. None for what is no number at all.

    A run of one character is what people type when they have no number. An INS whose key is wrong was mistyped somewhere: it
    counts as provisional, whatever its status.
    """
    folded = fold(value)
    if len(folded) < _SHORTEST or len(set(folded)) == 1:
        return None
    if authority in INS_OIDS and len(folded) == 15:
        return National(authority, folded[:13], status if has_valid_key(folded) else NationalStatus.PROVISIONAL)
    return National(authority, folded, status)


def status_of(authority: str, reliability: Collection[str]) -> NationalStatus:
    """The status of an identity that carries an identifier of that authority, from its codes of HL7 table 0445 (PID-32).

    The French table has no code for "qualified": a validated identity that carries an INS is one.
    """
    codes = {code.upper() for code in reliability}
    if codes & {"PROV", "VIDE", "DOUT", "FICT", "USUR", "INVA", "ANOM", "CACH", "DESA"}:
        return NationalStatus.PROVISIONAL
    if "QUAL" in codes or ("VALI" in codes and authority in INS_OIDS):
        return NationalStatus.QUALIFIED
    if "VALI" in codes:
        return NationalStatus.VALIDATED
    if codes & {"RECD", "RECUP", "RECU"}:
        return NationalStatus.RETRIEVED
    return NationalStatus.STATED
