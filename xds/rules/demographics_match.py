"""Whether a person meets a demographics query, and how well.

A person is looked at as a whole: she is found by whatever any of her sources states. Texts compare without case, accents and
punctuation, unless the query wants them letter by letter.

Spec: ITI TF-2 3.21.4.1.2.2 (query parameters), 3.47.4.1.2.3; PDQm 2:3.78.4.1.2.
"""

from __future__ import annotations

import re
import unicodedata
from calendar import monthrange
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import TypeVar

from xds.model.demographics_query import (
    AddressPattern,
    Comparison,
    DateRange,
    DemographicsQuery,
    IdentifierPattern,
    NamePattern,
    TextPattern,
)
from xds.model.identifiers import PatientIdentifier
from xds.model.patient import Address, Demographics, PersonName
from xds.rules.linkage import fold
from xds.rules.linkage.given_names import are_variants

#: How well a text fits, 0..1. What sounds alike counts less than what is written alike.
_SOUND = 0.85
_SLIP = 0.9
_VARIANT = 0.8
#: Shorter words than this are too easily a slip away from another one.
LEAST_FOR_SLIPS = 4
_SHORTEST_NAMES = 4
#: The length of a phonetic code of one sound.
_ONE_SOUND = 2
#: A given name that is cut short says something from this length on.
_LEAST_FOR_SHORT_FORMS = 3

_Pattern = TypeVar("_Pattern")
_Value = TypeVar("_Value")
Phonetics = Callable[[str], frozenset[str]]


def no_phonetics(_name: str) -> frozenset[str]:
    """Names sound like nothing else."""
    return frozenset()


@dataclass(frozen=True, slots=True)
class Sought:
    """Everything that a person can be found by, from all of her sources. `identifiers` include those that merges subsumed.

    `mothers` are the names of her mother that the mother's own record tells.
    """

    key: int
    stated: tuple[Demographics, ...]
    identifiers: tuple[PatientIdentifier, ...] = ()
    visit: Mapping[str, str] = field(default_factory=dict)
    active: bool = True
    updated: int = 0
    mothers: tuple[PersonName, ...] = ()


def quality(query: DemographicsQuery, person: Sought, phonetics: Phonetics = no_phonetics) -> float | None:
    """How well a person meets every criterion of a query, above 0 up to 1 for exactly; None when she does not meet one."""
    stated = person.stated
    names = tuple(dict.fromkeys(name for item in stated for name in item.names))
    parts: list[float] = []
    checks: list[Iterable[float]] = [
        (float(_identified(each, person.identifiers)) for each in query.identifiers),
        _traits(query, person, phonetics),
        (_best(each, names, phonetics, _name) for each in query.names),
        _mothers(query, person, phonetics),
        _addresses(query, stated, phonetics),
        _telephones(query, stated),
        (_visited(pattern, person.visit.get(name)) for name, pattern in query.visit.items()),
    ]
    for check in checks:
        for found in check:
            if found <= 0:
                return None
            parts.append(found)
    return sum(parts) / len(parts) if parts else 1.0


def is_graded(query: DemographicsQuery) -> bool:
    """True when patients can meet the query more or less well."""
    patterns: list[NamePattern | AddressPattern] = [item for names in query.names for item in names]
    patterns += [item for addresses in query.addresses for item in addresses]
    texts = (getattr(pattern, item.name) for pattern in patterns for item in fields(pattern))
    mothers = (*query.mothers_maiden_names, *query.mothers_given_names)
    others = (*(one for alternatives in query.telephones for one in alternatives), *mothers)
    return any(text is not None and text.comparison is Comparison.FUZZY for text in (*texts, *others))


def text_quality(pattern: TextPattern, value: str, phonetics: Phonetics = no_phonetics) -> float:
    """How well a value fits a pattern, 0..1."""
    if pattern.comparison is Comparison.LITERAL:
        return float(bool(value) and _composed(value) == _composed(pattern.value))
    found = fold(value)
    if pattern.comparison is Comparison.WILDCARD:
        return float(bool(found) and _fits_wildcard(pattern.value, found))
    wanted = fold(pattern.value)
    if not wanted or not found:
        return 0.0
    if wanted == found:
        return 1.0
    if pattern.comparison is Comparison.PREFIX:
        return float(found.startswith(wanted))
    if pattern.comparison is Comparison.CONTAINS:
        return float(wanted in found)
    if pattern.comparison is Comparison.FUZZY:
        return _fuzzy(pattern.value, wanted, value, found, phonetics)
    return 0.0


def _composed(text: str) -> str:
    return unicodedata.normalize("NFC", text.strip())


def _fits_wildcard(pattern: str, value: str) -> bool:
    """True when a folded value is what the pattern says, `*` being any number of characters. It takes one pass."""
    first, *others = (fold(part) for part in pattern.split("*"))
    if not others:
        return value == first
    *middle, last = others
    if not value.startswith(first) or len(value) < len(first) + len(last) or not value.endswith(last):
        return False
    place, end = len(first), len(value) - len(last)
    for part in middle:
        found = value.find(part, place, end)
        if found < 0:
            return False
        place = found + len(part)
    return True


def given_names(name: PersonName) -> tuple[str, ...]:
    """What somebody's given name may be called: the first one whole, each word of it, the further ones, all together."""
    words = (*name.given.split(), *name.further_given.split())
    return tuple(dict.fromkeys(item for item in (name.given, *words, f"{name.given} {name.further_given}") if item.strip()))


def is_within(birth_date: str, wanted: DateRange) -> bool:
    """True when the days that a (partial) birth date may mean lie in a range: all of them, or one where that is enough."""
    low, high = days(birth_date)
    if wanted.overlaps:
        low, high = high, low
    return (wanted.low is None or low >= wanted.low) and (wanted.high is None or high <= wanted.high)


def days(birth_date: str) -> tuple[str, str]:
    """The first and the last day, as YYYYMMDD, that a DTM of any precision may mean. Zeros stand for what is not known."""
    year, month, day = birth_date[:4].ljust(4, "0"), birth_date[4:6], birth_date[6:8]
    if not month.strip("0"):
        return f"{year}0101", f"{year}1231"
    if not day.strip("0"):
        last = monthrange(int(year), int(month))[1] if "01" <= month <= "12" else 31
        return f"{year}{month}01", f"{year}{month}{last}"
    return f"{year}{month}{day}", f"{year}{month}{day}"


def within_one_slip(one: str, other: str) -> bool:
    """True when one letter too many, too few, wrong, or changed with its neighbour is all that lies between two words."""
    if min(len(one), len(other)) < LEAST_FOR_SLIPS or abs(len(one) - len(other)) > 1:
        return False
    start = next((number for number, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))
    a, b = one[start:], other[start:]
    return a[1:] == b[1:] or a[1:] == b or a == b[1:] or (a[:2] == b[1::-1] and a[2:] == b[2:])


def _fuzzy(wanted_name: str, wanted: str, name: str, found: str, phonetics: Phonetics) -> float:
    if within_one_slip(wanted, found):
        return _SLIP
    sounds = phonetics(wanted_name) & phonetics(name)
    # One sound alone (after the language that a code begins with) tells something of the shortest names only.
    is_short = min(len(wanted), len(found)) > 1 and max(len(wanted), len(found)) <= _SHORTEST_NAMES
    return _SOUND if any(is_short or len(code) > _ONE_SOUND for code in sounds) else 0.0


def _best(
    alternatives: Sequence[_Pattern],
    values: Iterable[_Value],
    phonetics: Phonetics,
    compare: Callable[[_Pattern, _Value, Phonetics], float],
) -> float:
    values = tuple(values)
    return max((compare(pattern, value, phonetics) for pattern in alternatives for value in values), default=0.0)


def _all_parts(
    pairs: Iterable[tuple[TextPattern | None, Sequence[str]]],
    phonetics: Phonetics,
    compare: Callable[[TextPattern, str, Phonetics], float] = text_quality,
) -> float:
    """How well every given pattern fits one of its values: the mean, or 0 when one does not."""
    found = [
        max((compare(pattern, value, phonetics) for value in values), default=0.0)
        for pattern, values in pairs
        if pattern is not None
    ]
    return sum(found) / len(found) if found and all(found) else 0.0


def given_quality(pattern: TextPattern, value: str, phonetics: Phonetics = no_phonetics) -> float:
    """How well a given name fits a pattern: like any text, and in a fuzzy comparison also as another form of it."""
    found = text_quality(pattern, value, phonetics)
    if found or pattern.comparison is not Comparison.FUZZY:
        return found
    wanted, name = fold(pattern.value), fold(value)
    is_short = len(wanted) >= _LEAST_FOR_SHORT_FORMS and name.startswith(wanted)
    return _VARIANT if is_short or are_variants(wanted, name) else 0.0


def _name(pattern: NamePattern, name: PersonName, phonetics: Phonetics) -> float:
    given = given_names(name)
    parts = (
        (pattern.family, (name.family,)),
        (pattern.suffix, (name.suffix,)),
        (pattern.prefix, (name.prefix,)),
        (pattern.any_part, (name.family, *given)),
    )
    others = sum(part is not None for part, _ in parts)
    found = _all_parts(parts, phonetics) if others else 1.0
    if pattern.given is None or not found:
        return found if others else 0.0
    fits = _all_parts(((pattern.given, given),), phonetics, given_quality)
    return (found * others + fits) / (others + 1) if fits else 0.0


def _address_quality(pattern: AddressPattern, address: Address, phonetics: Phonetics) -> float:
    streets = (address.street, address.other, f"{address.street} {address.other}")
    parts = (
        (pattern.street, streets),
        (pattern.city, (address.city,)),
        (pattern.state, (address.state,)),
        (pattern.postal_code, (address.postal_code,)),
        (pattern.country, (address.country,)),
        (pattern.any_part, (*streets, address.city, address.state, address.postal_code, address.country)),
    )
    return _all_parts(parts, phonetics)


def _addresses(query: DemographicsQuery, stated: Sequence[Demographics], phonetics: Phonetics) -> Iterable[float]:
    addresses = tuple(dict.fromkeys(address for item in stated for address in item.addresses))
    return (_best(each, addresses, phonetics, _address_quality) for each in query.addresses)


def _telephones(query: DemographicsQuery, stated: Sequence[Demographics]) -> Iterable[float]:
    known = {value for item in stated for value in (*item.telephones, *item.work_telephones, *item.emails)}
    return (max((_telephone(pattern, value) for pattern in each for value in known), default=0.0) for each in query.telephones)


def _telephone(pattern: TextPattern, value: str) -> float:
    """Numbers compare by their digits, without the code of the country or its zero; other addresses as texts."""
    wanted, found = national_number(pattern.value), national_number(value)
    if pattern.comparison is Comparison.WILDCARD or not wanted or not found:
        return text_quality(pattern, value)
    if wanted == found:
        return 1.0
    if pattern.comparison in (Comparison.PREFIX, Comparison.CONTAINS):
        digits = "".join(filter(str.isdigit, pattern.value))
        everything = "".join(filter(str.isdigit, value))
        return float(digits in everything if pattern.comparison is Comparison.CONTAINS else everything.startswith(digits))
    return float(within_one_slip(wanted, found)) * _SLIP if pattern.comparison is Comparison.FUZZY else 0.0


def national_number(text: str) -> str:
    """The significant digits of a telephone number; empty for what is none."""
    if "@" in text:
        return ""
    digits = "".join(filter(str.isdigit, text))
    return digits[-9:] if len(digits) >= 10 else digits


def _identified(alternatives: Iterable[IdentifierPattern], identifiers: Sequence[PatientIdentifier]) -> bool:
    return any(is_identified(pattern, item) for pattern in alternatives for item in identifiers)


def is_identified(pattern: IdentifierPattern, identifier: PatientIdentifier) -> bool:
    """True when an identifier is the one asked for; authorities compare by OID, by namespace when one of them has no OID."""
    if pattern.value is not None and pattern.value != identifier.value:
        return False
    if pattern.authority is None:
        return True
    wanted, own = pattern.authority, identifier.authority
    if wanted.oid and own.oid:
        return wanted.oid == own.oid
    return wanted.namespace is not None and wanted.namespace == own.namespace


def _traits(query: DemographicsQuery, person: Sought, phonetics: Phonetics) -> Iterable[float]:
    stated = person.stated
    if query.birth_dates:
        dates = {item.birth_date for item in stated if item.birth_date}
        yield float(any(is_within(date, wanted) for date in dates for wanted in query.birth_dates))
    if query.sexes:
        yield float(any((item.sex or "U") in query.sexes for item in stated))
    if query.account_number is not None:
        accounts = [item.account_number for item in stated if item.account_number]
        yield float(_identified((query.account_number,), accounts))
    if query.keys:
        yield float(person.key in query.keys)
    if query.active is not None:
        yield float(person.active == query.active)
    yield from (float(any(low <= person.updated <= high for low, high in spans)) for spans in query.updated)


def _mothers(query: DemographicsQuery, person: Sought, phonetics: Phonetics) -> Iterable[float]:
    stated = person.stated
    if query.mothers_maiden_names:
        maiden = {item.mother_maiden_name for item in stated if item.mother_maiden_name}
        maiden |= {name.family for name in person.mothers if name.family}
        yield max((_mother(pattern, name, phonetics) for pattern in query.mothers_maiden_names for name in maiden), default=0.0)
    if query.mothers_given_names:
        told = (PersonName("", item.mother_given_name) for item in stated if item.mother_given_name)
        given = {part for name in (*told, *person.mothers) for part in given_names(name)}
        fits = (given_quality(pattern, name, phonetics) for pattern in query.mothers_given_names for name in given)
        yield max(fits, default=0.0)
    known = [item for each in stated for item in each.mother_identifiers]
    yield from (float(_identified(each, known)) for each in query.mother_identifiers)


def _mother(pattern: TextPattern, name: str, phonetics: Phonetics) -> float:
    """The mother's name may be kept whole, or with her given names after it."""
    return max(text_quality(pattern, part, phonetics) for part in (name, *re.split(r"[\s,^]+", name)))


def _visited(pattern: TextPattern, value: str | None) -> float:
    return text_quality(pattern, value) if value else 0.0
