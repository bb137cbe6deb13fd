"""Patient identifiers in HL7 v2: CX fields, the systems that talk, and where in a message a problem of an actor lies.

Spec: ITI TF-2 Appendix E.1 (CX, HD), C.2.3 (ERR).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache
from typing import Final

from xds.model.identifiers import AssigningAuthority, PatientIdentifier
from xds.model.patient import IdentityProblem, IdentityProblemKind
from xds.wire.hl7v2 import DELETED, Condition, Fault, Location, Message, Separators, unescape

NO_AUTHORITY: Final = AssigningAuthority()
#: The subcomponent of CX.4 that holds the type of the universal id.
_WRONG_TYPE: Final = 3


@lru_cache(maxsize=4096)
def _authority(text: str, separators: Separators, codec: str) -> tuple[AssigningAuthority, int]:
    """An authority (CX.4), and which of its subcomponents is wrong: 3, another type than ISO; 2, ISO and no number; or 0."""
    parts = [unescape(part, separators, codec).strip() for part in text.split(separators.subcomponent)]
    namespace, oid, kind = ["" if part == DELETED else part for part in (*parts, "", "")[:3]]
    wrong = 3 if kind not in ("", "ISO") else 2 if kind and oid and not oid.replace(".", "").isdecimal() else 0
    return AssigningAuthority(namespace or None, oid or None), wrong


def asked_authority(message: Message, text: str) -> AssigningAuthority:
    """An authority (CX.4) that is asked for; what is deleted or absent counts as nothing.

    One whose universal id is not of type ISO is none that anybody here can have.
    """
    found, wrong = _authority(text, message.separators, message.codec)
    if wrong != _WRONG_TYPE:
        return found
    return replace(found, oid=f"{message.subcomponents(text)[2]}:{found.oid}")


def _value(message: Message, text: str) -> str:
    """The first subcomponent of a component."""
    if text.isalnum():
        return text
    separators = message.separators
    return unescape(text.split(separators.subcomponent, 1)[0], separators, message.codec).strip()


def _read(message: Message, text: str) -> tuple[PatientIdentifier | None, int, str]:
    """A CX from its wire form, the subcomponent of CX.4 that is wrong (or 0), and CX.4."""
    parts = text.split(message.separators.component)
    value = _value(message, parts[0])
    if not value or value == DELETED:
        return None, 0, ""
    whole = parts[3] if len(parts) > 3 else ""
    named, wrong = _authority(whole, message.separators, message.codec) if whole else (NO_AUTHORITY, 0)
    kind = _value(message, parts[4]) if len(parts) > 4 else ""
    return PatientIdentifier(value, named, kind if kind and kind != DELETED else None), wrong, whole


def read_identifier(message: Message, text: str) -> PatientIdentifier | None:
    """A CX from its wire form, None when it is empty or deleted."""
    return _read(message, text)[0]


def read_asked_identifier(message: Message, text: str) -> PatientIdentifier | None:
    """A CX that is asked for."""
    found, wrong, whole = _read(message, text)
    if found is None or wrong != _WRONG_TYPE:
        return found
    return replace(found, authority=asked_authority(message, whole))


def _wrong_part(message: Message, text: str) -> int:
    """The subcomponent of CX.4 that is wrong, or 0."""
    parts = text.split(message.separators.component)
    if len(parts) < 4 or _value(message, parts[0]) == DELETED:
        return 0
    return _authority(parts[3], message.separators, message.codec)[1]


#: What is wrong with a subcomponent of CX.4.
_UNIVERSAL_ID_FAULTS: Final = {
    2: (Condition.DATA_TYPE, "the universal id of an assigning authority must be an OID when its type is ISO"),
    3: (Condition.TABLE_VALUE, "the universal id of an assigning authority must be of type ISO"),
}


def identifiers(message: Message, text: str) -> tuple[PatientIdentifier, ...]:
    """The identifiers of a CX field in its wire form; empty repetitions are left out."""
    if not text:
        return ()
    found = [read_identifier(message, item) for item in text.split(message.separators.repetition)]
    return tuple([item for item in found if item])


def universal_id_faults(message: Message, text: str, place: Location) -> list[Fault]:
    """What is wrong with the universal ids in a CX field and their types; `place` is that of the field."""
    if not text:
        return []
    return [
        Fault(*_UNIVERSAL_ID_FAULTS[wrong], Location(place.segment, place.sequence, place.field, number, 4, wrong))
        for number, item in enumerate(text.split(message.separators.repetition), 1)
        if (wrong := _wrong_part(message, item))
    ]


def read_identifiers(message: Message, path: str, occurrence: int = 1) -> tuple[PatientIdentifier, ...]:
    """The identifiers of a CX field in the n-th segment of its name; empty repetitions are left out."""
    return identifiers(message, message.field(path, occurrence))


def positions(message: Message, path: str, occurrence: int = 1) -> tuple[int, ...]:
    """Which repetitions of a CX field hold something: where the identifiers, or the domains, of a request came from."""
    given = message.field(path, occurrence).split(message.separators.repetition)
    return tuple(number for number, item in enumerate(given, 1) if read_identifier(message, item))


def sending_system(message: Message) -> str:
    """`MSH-4|MSH-3`: facility and application of the sender."""
    return f"{_hierarchic(message, 4)}|{_hierarchic(message, 3)}"


def receiving_system(message: Message) -> str:
    """`MSH-6|MSH-5`: facility and application that the message is addressed to."""
    return f"{_hierarchic(message, 6)}|{_hierarchic(message, 5)}"


def _hierarchic(message: Message, field: int) -> str:
    return message.header(field).strip() or message.header(field, 2).strip()


def system(text: str) -> tuple[str, str]:
    """(application, facility) of `facility|application`: how a header names a system."""
    facility, _, application = text.partition("|")
    return application, facility


#: Which field an argument of an actor came from: in feeds and in queries of the PIX Manager.
_FIELDS: Final = {
    "identifiers": ("PID", 1, 3),
    "linked": ("PID", 2, 3),
    "subsumed": ("MRG", 1, 1),
    "identifier": ("QPD", 1, 3),
    "domains": ("QPD", 1, 4),
    "visit": ("PV1", 1, None),
    "demographics": ("PID", 1, None),
}
#: The same in demographics queries.
DEMOGRAPHICS_QUERY_FIELDS: Final = {
    "criteria": ("QPD", 1, 3),
    "identifiers": ("QPD", 1, 3),
    "domains": ("QPD", 1, 8),
    "page": ("DSC", 1, 1),
    "limit": ("RCP", 1, 2),
}
#: Arguments whose problems are those of a whole repetition, of which no component is named.
_WHOLE: Final = frozenset({"domains", "criteria", "page", "limit", "visit", "demographics"})
#: Arguments of which each repetition is one item. Of the others the field as a whole is named.
_REPEATED: Final = frozenset({"identifiers", "linked", "subsumed", "identifier", "domains"})
_CONDITIONS: Final = {
    IdentityProblemKind.REQUIRED_MISSING: Condition.REQUIRED_MISSING,
    IdentityProblemKind.UNKNOWN_IDENTIFIER: Condition.UNKNOWN_KEY,
    IdentityProblemKind.UNKNOWN_DOMAIN: Condition.UNKNOWN_KEY,
    # Table 0357 has no code for a sender without the right to an authority: it is not in that authority's table.
    IdentityProblemKind.NOT_ISSUER: Condition.TABLE_VALUE,
    IdentityProblemKind.DUPLICATE: Condition.DUPLICATE_KEY,
    IdentityProblemKind.INVALID: Condition.DATA_TYPE,
    # Nor has it one for a partner who asks too much: the application does not process it.
    IdentityProblemKind.TOO_MANY: Condition.INTERNAL,
    IdentityProblemKind.INTERNAL: Condition.INTERNAL,
}


def fault_of(problem: IdentityProblem, message: Message, fields: Mapping[str, tuple[str, int, int | None]] = _FIELDS) -> Fault:
    """A problem of an actor at its place in the message. Spec: ITI TF-2 3.9.4.2.2.6, 3.21.4.2.2.8."""
    condition = _CONDITIONS[problem.kind]
    if problem.field not in fields:
        return Fault(condition, problem.text)
    name, occurrence, number = fields[problem.field]
    if number is None or problem.field not in _REPEATED:
        return Fault(condition, problem.text, Location(name, occurrence, number))
    given = positions(message, f"{name}-{number}", occurrence)
    repetition = given[problem.repetition - 1] if problem.repetition <= len(given) else problem.repetition
    component = None if problem.field in _WHOLE else problem.component
    return Fault(condition, problem.text, Location(name, occurrence, number, repetition, component))
