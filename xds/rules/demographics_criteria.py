"""Which demographics queries are answered at all: the register is searched for somebody, and never read page by page.

Spec: ITI TF-2 3.21.4.1.3 (a supplier decides what it accepts); GDPR article 5 (data minimisation).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import fields
from datetime import date

from xds.model.demographics_query import (
    AddressPattern,
    Comparison,
    DateRange,
    DemographicsQuery,
    IdentifierPattern,
    NamePattern,
    TextPattern,
)
from xds.model.patient import IdentityProblem, IdentityProblemKind
from xds.rules.linkage import fold

#: Letters and digits that a text must give to tell anything of a person.
_LEAST_LETTERS = 2
_LEAST_DIGITS = 6
_LEAST_OF_AN_EMAIL = 4
#: A range of more days than this is a part of life rather than a birth date.
_MOST_DAYS = 366

#: Each alternative is a search of its own.
_MOST_ALTERNATIVES = 100

TOO_FEW = (
    "the query must name at least {number} of these: an identifier, a name (two letters), a birth date (a year or less), "
    "a telephone number, the mother's maiden name or identifier, an account number, a visit, or a street with its town"
)


def check(query: DemographicsQuery, minimum: int = 1) -> tuple[IdentityProblem, ...]:
    """What forbids a query; `minimum` is how many traits it must name. An identifier is always enough, and so
    is the mother's.

    Errors: problems with `criteria`.
    """
    problems = [
        IdentityProblem(IdentityProblemKind.INVALID, "criteria", text)
        for text in dict.fromkeys(
            (*_wrong_dates(query.birth_dates), *_empty_texts(query), *_wrong_score(query), *_too_many(query))
        )
    ]
    if not problems and not _names_an_identifier(query) and len(set(_traits(query))) < minimum:
        text = TOO_FEW.format(number="one" if minimum == 1 else minimum)
        problems.append(IdentityProblem(IdentityProblemKind.REQUIRED_MISSING, "criteria", text))
    return tuple(problems)


def texts_of(pattern: NamePattern | AddressPattern) -> Iterator[tuple[str, TextPattern]]:
    """The parts of a pattern that are given, with their names."""
    for item in fields(pattern):
        text = getattr(pattern, item.name)
        if text is not None:
            yield item.name, text


def letters(text: TextPattern) -> int:
    """How much a text tells: the letters and digits of it that have to be found. A character of a large script counts twice."""
    return sum(1 if item.isascii() else 2 for item in fold(text.value))


def _tells_a_name(text: TextPattern) -> bool:
    """True for two letters, and for a whole name of one: there are such."""
    return letters(text) >= (1 if text.comparison in (Comparison.EXACT, Comparison.LITERAL) else _LEAST_LETTERS)


def _names_an_identifier(query: DemographicsQuery) -> bool:
    """True when a criterion can be met by few patients only, because all of its alternatives name a number."""
    named = (*query.identifiers, *query.mother_identifiers)
    return bool(query.keys) or any(each and all(item.value for item in each) for each in named)


def _traits(query: DemographicsQuery) -> Iterator[str]:
    # A criterion tells as much as the weakest of its alternatives.
    for names in query.names:
        yield from set.intersection(*(set(_told_by_name(item)) for item in names)) if names else ()
    if query.birth_dates and all(_days(item) <= _MOST_DAYS for item in query.birth_dates):
        yield "birth date"
    for telephones in query.telephones:
        if telephones and all(
            letters(item) >= (_LEAST_OF_AN_EMAIL if "@" in item.value else _LEAST_DIGITS) for item in telephones
        ):
            yield "telephone"
    if query.mothers_maiden_names and all(letters(item) >= _LEAST_LETTERS for item in query.mothers_maiden_names):
        yield "mother"
    if query.account_number is not None and query.account_number.value:
        yield "account"
    if any(letters(item) for name, item in query.visit.items() if name not in _VAGUE_VISIT_FIELDS):
        yield "visit"
    for addresses in query.addresses:
        if addresses and all(_tells_a_place(item) for item in addresses):
            yield "address"


#: The class of a patient, the service and the like put half the register into one drawer.
_VAGUE_VISIT_FIELDS = frozenset({"PV1.2", "PV1.2.1", "PV1.4", "PV1.10", "PV1.10.1", "PV1.18"})


def _told_by_name(pattern: NamePattern) -> Iterator[str]:
    for part, text in texts_of(pattern):
        if part not in ("suffix", "prefix") and _tells_a_name(text):
            yield "name"
            if part == "given" and pattern.family is not None:
                yield "given name"


def _tells_a_place(pattern: AddressPattern) -> bool:
    told = {part for part, text in texts_of(pattern) if letters(text) >= _LEAST_LETTERS}
    return "any_part" in told or ("street" in told and bool(told & {"city", "postal_code"}))


def _days(wanted: DateRange) -> int:
    if wanted.low is None or wanted.high is None:
        return _MOST_DAYS + 1
    low, high = _day(wanted.low), _day(wanted.high)
    return (high - low).days + 1 if low and high else _MOST_DAYS + 1


def _day(text: str) -> date | None:
    """A day; the last one of a month may be written as any up to the 31st."""
    if len(text) != 8 or not text.isascii() or not text.isdigit():
        return None
    year, month, day = int(text[:4]), int(text[4:6]), int(text[6:])
    for last in range(day, max(day - 4, 0), -1):
        try:
            return date(year, month, last)
        except ValueError:
            if not 28 < day <= 31:
                return None
    return None


def _wrong_dates(ranges: Iterable[DateRange]) -> Iterator[str]:
    for wanted in ranges:
        given = [item for item in (wanted.low, wanted.high) if item is not None]
        if any(_day(item) is None for item in given):
            yield "a birth date is no date"
        elif len(given) == 2 and given[0] > given[1]:
            yield "a range of birth dates ends before it begins"


def _empty_texts(query: DemographicsQuery) -> Iterator[str]:
    texts = [text for names in query.names for pattern in names for _, text in texts_of(pattern)]
    texts += [text for addresses in query.addresses for place in addresses for _, text in texts_of(place)]
    texts += [text for each in query.telephones for text in each]
    texts += [*query.mothers_maiden_names, *query.mothers_given_names]
    if any(not fold(item.value) and "*" not in item.value for item in texts):
        yield "a name, address or telephone number has neither a letter nor a digit"
    patterns: list[IdentifierPattern] = [item for each in (*query.identifiers, *query.mother_identifiers) for item in each]
    if any(item.value is None and item.authority is None for item in patterns):
        yield "an identifier has neither a value nor an assigning authority"


def _wrong_score(query: DemographicsQuery) -> Iterator[str]:
    if query.minimum_score is not None and not 0 <= query.minimum_score <= 100:
        yield "the minimum degree of match is not between 0 and 100"


def _too_many(query: DemographicsQuery) -> Iterator[str]:
    lists = (*query.names, *query.addresses, *query.identifiers, *query.telephones, *query.mother_identifiers)
    flat = (query.birth_dates, query.sexes, query.mothers_maiden_names, query.mothers_given_names, query.keys)
    if sum(map(len, lists)) + sum(map(len, flat)) + len(query.visit) > _MOST_ALTERNATIVES:
        yield f"the query has more than {_MOST_ALTERNATIVES} criteria and alternatives"
