"""How a demographics query is looked up: the one criterion that leaves fewest candidates, which are then looked at one by one.

Spec: ITI TF-2 3.21.4.1.2.2 (the parameters), 3.22.4.1.2.2 (visits).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

from xds.model.demographics_index import (
    FIRST_YEAR,
    LAST_YEAR,
    NO_YEAR,
    NameSearch,
    Plan,
    Search,
    TermKind,
    TermSearch,
    VisitSearch,
    WordKind,
)
from xds.model.demographics_query import Comparison, DateRange, DemographicsQuery, NamePattern, TextPattern
from xds.rules.demographics_index import LONGEST, sex_code, year_of
from xds.rules.demographics_match import days, national_number
from xds.rules.linkage import fold

#: The words of the register that sound or are written like one, the likeliest first.
Alike = Callable[[WordKind, str], Sequence[str]]

_ALL_YEARS: Final = (NO_YEAR, *range(FIRST_YEAR, LAST_YEAR + 1))
#: So many alternatives of a given name are asked of the database; more are looked at afterwards.
_MOST_GIVEN: Final = 40


@dataclass(frozen=True, slots=True)
class _Path:
    """One way to the candidates. `cost` ranks it: how many a register of a large region will give."""

    cost: int
    searches: tuple[Search, ...]
    is_exact: bool = False


def plan(query: DemographicsQuery, alike: Alike) -> Plan:
    """How to find everybody who may meet a query that names no identifier and no key."""
    paths = [*_name_paths(query, alike), *_term_paths(query), *_visit_paths(query), *_birth_paths(query)]
    if not paths:
        return Plan((NameSearch(_ALL_YEARS),), scans=True)
    best = min(paths, key=lambda path: path.cost)
    return Plan(best.searches, best.is_exact and _has_only_names(query))


def simplified(pattern: TextPattern) -> TextPattern:
    """The same pattern without `*` where there is a simpler word for it. What is compared letter by letter is found as any whole
    text, and held against the query then.
    """
    if pattern.comparison is Comparison.LITERAL:
        return TextPattern(pattern.value, Comparison.EXACT)
    if pattern.comparison is not Comparison.WILDCARD:
        return pattern
    first, *others = pattern.value.split("*")
    if not others:
        return TextPattern(pattern.value, Comparison.EXACT)
    if not any(fold(part) for part in others):
        return TextPattern(first, Comparison.PREFIX)
    if not fold(first) and len(others) == 2 and not fold(others[1]):
        return TextPattern(others[0], Comparison.CONTAINS)
    return pattern


def _has_only_names(query: DemographicsQuery) -> bool:
    """True when the searches for one name say everything that the query does."""
    others = (
        query.identifiers,
        query.addresses,
        query.telephones,
        query.mothers_maiden_names,
        query.mothers_given_names,
        query.mother_identifiers,
        query.account_number,
        query.visit,
        query.updated,
        query.minimum_score,
    )
    texts = (text for each in query.names for name in each for text in (name.family, name.given, name.any_part))
    is_literal = any(text is not None and text.comparison is Comparison.LITERAL for text in texts)
    return len(query.names) == 1 and not any(others) and query.active is not False and not is_literal


# Names


def _name_paths(query: DemographicsQuery, alike: Alike) -> Iterator[_Path]:
    for alternatives in query.names:
        found = [path for pattern in alternatives if (path := _name_path(pattern, query, alike))]
        if found and len(found) == len(alternatives):
            searches = tuple(dict.fromkeys(search for path in found for search in path.searches))
            yield _Path(max(path.cost for path in found), searches, all(path.is_exact for path in found))


def _name_path(pattern: NamePattern, query: DemographicsQuery, alike: Alike) -> _Path | None:
    given, given_is_exact = _given(pattern.given, alike)
    is_exact = given_is_exact and pattern.suffix is None and pattern.prefix is None and pattern.any_part is None
    if pattern.family is not None:
        base, family_is_exact, cost = _family(simplified(pattern.family), alike)
        if base is not None:
            searches = tuple(_dated(replace(base, given=given, sexes=_sexes(query)), query.birth_dates))
            is_exact = is_exact and family_is_exact and all(map(_is_exact, query.birth_dates))
            return _Path(cost + (0 if query.birth_dates else 30) - (5 if given else 0), searches, is_exact)
    if pattern.given is not None:
        return _given_path(pattern.given, given, query, alike)
    return _path_of_any_part(pattern.any_part, query, alike) if pattern.any_part is not None else None


def _given_path(pattern: TextPattern, given: tuple[str, ...], query: DemographicsQuery, alike: Alike) -> _Path | None:
    if query.birth_dates and given:
        return _Path(50, tuple(_dated(NameSearch(_ALL_YEARS, given=given, sexes=_sexes(query)), query.birth_dates)))
    term = _given_term(simplified(pattern), alike)
    return _Path(60, (term,)) if term else None


def _path_of_any_part(pattern: TextPattern, query: DemographicsQuery, alike: Alike) -> _Path | None:
    base, _, cost = _family(simplified(pattern), alike)
    term = _given_term(simplified(pattern), alike)
    if base is None or term is None:
        return None
    return _Path(max(cost, 60), (*_dated(replace(base, sexes=_sexes(query)), query.birth_dates), term))


def _family(pattern: TextPattern, alike: Alike) -> tuple[NameSearch | None, bool, int]:
    """The search for a family name, whether it is exact, and its rank. None: the name does not say how it begins."""
    folded = fold(pattern.value)
    whole = len(folded) <= LONGEST
    if pattern.comparison is Comparison.EXACT:
        return NameSearch(_ALL_YEARS, families=(folded[:LONGEST],)), whole, 10
    if pattern.comparison is Comparison.PREFIX:
        return (NameSearch(_ALL_YEARS, family_prefix=folded[:LONGEST]), whole, 25 - min(len(folded), 8)) if folded else _NOTHING
    if pattern.comparison is Comparison.FUZZY:
        return NameSearch(_ALL_YEARS, families=(folded[:LONGEST], *alike(WordKind.FAMILY, pattern.value))), False, 15
    first = fold(pattern.value.split("*")[0]) if pattern.comparison is Comparison.WILDCARD else ""
    return (NameSearch(_ALL_YEARS, family_prefix=first[:LONGEST]), False, 25 - min(len(first), 8)) if first else _NOTHING


_NOTHING: Final = (None, False, 0)


def _given(pattern: TextPattern | None, alike: Alike) -> tuple[tuple[str, ...], bool]:
    """What the text of given names must contain one of, and whether that says all."""
    if pattern is None:
        return (), True
    pattern = simplified(pattern)
    folded = fold(pattern.value)
    whole = len(folded) <= LONGEST
    if pattern.comparison is Comparison.EXACT:
        return (f" {folded[:LONGEST]} ",), whole
    if pattern.comparison is Comparison.PREFIX:
        return ((f" {folded[:LONGEST]}",), whole) if folded else ((), False)
    if pattern.comparison is Comparison.CONTAINS:
        return (folded[:LONGEST],), whole
    if pattern.comparison is Comparison.FUZZY:
        words = alike(WordKind.GIVEN, pattern.value)
        if len(words) >= _MOST_GIVEN or not folded:
            return (), False
        # Its beginning, because it may be a short form.
        return (f" {folded[:LONGEST]}", *(f" {word} " for word in words if word != folded)), False
    first = fold(pattern.value.split("*")[0])
    return ((f" {first[:LONGEST]}",) if first else ()), False


def _given_term(pattern: TextPattern, alike: Alike) -> TermSearch | None:
    folded = fold(pattern.value)[:LONGEST]
    if pattern.comparison is Comparison.EXACT:
        return TermSearch(TermKind.GIVEN, (folded,))
    if pattern.comparison is Comparison.FUZZY:
        return TermSearch(TermKind.GIVEN, (folded, *alike(WordKind.GIVEN, pattern.value)))
    if pattern.comparison is Comparison.WILDCARD:
        folded = fold(pattern.value.split("*")[0])[:LONGEST]
    return TermSearch(TermKind.GIVEN, prefix=folded) if folded and pattern.comparison is not Comparison.CONTAINS else None


# Dates


def _dated(search: NameSearch, ranges: Iterable[DateRange]) -> Iterator[NameSearch]:
    """The search in the years of these ranges, and among those whose birth date is known from another record only."""
    dated = False
    for wanted in ranges:
        dated = True
        low, high = _numbers(wanted)
        yield replace(search, years=tuple(range(year_of(low), year_of(high) + 1)), births=(low, high))
        if wanted.overlaps and wanted.low:
            # The year and the month in which the range begins, known alone, stand before it.
            for known in (int(f"{wanted.low[:4]}0000"), int(f"{wanted.low[:6]}00")):
                yield replace(search, years=(year_of(known),), births=(known, known))
    if not dated:
        yield search
    elif search.families or search.family_prefix:
        yield replace(search, years=(NO_YEAR,), is_otherwise_dated=True)


def _numbers(wanted: DateRange) -> tuple[int, int]:
    """A range as numbers. A year or month that is known alone lies in it when all of its days do."""
    low, high = wanted.low or "00010101", wanted.high or "99991231"
    if low[4:] == "0101" and days(low[:4])[1] <= high:
        low = f"{low[:4]}0000"
    elif low[6:] == "01" and days(low[:6])[1] <= high:
        low = f"{low[:6]}00"
    return int(low), int(high)


def _is_exact(wanted: DateRange) -> bool:
    """Whether no year or month that is known alone stands among the numbers of a range that it does not lie in."""
    low, high = _numbers(wanted)
    last = f"{high:08}"
    alone = (last[:4], last[:6]) if wanted.high is not None and not wanted.overlaps else ()
    return all(int(item.ljust(8, "0")) < low or days(item)[1] <= last for item in alone)


def _birth_paths(query: DemographicsQuery) -> Iterator[_Path]:
    if query.birth_dates and all(item.low and item.high for item in query.birth_dates):
        yield _Path(70, tuple(_dated(NameSearch(_ALL_YEARS, sexes=_sexes(query)), query.birth_dates)))


def _sexes(query: DemographicsQuery) -> tuple[str, ...]:
    return tuple(dict.fromkeys(sex_code(item) for item in query.sexes))


# Others


def _term_paths(query: DemographicsQuery) -> Iterator[_Path]:
    if query.account_number is not None and query.account_number.value:
        yield _Path(1, (TermSearch(TermKind.ACCOUNT, (query.account_number.value,)),))
    for identifiers in query.mother_identifiers:
        if identifiers and all(item.value for item in identifiers):
            yield _Path(1, (TermSearch(TermKind.MOTHER_IDENTIFIER, tuple(item.value or "" for item in identifiers)),))
    for alternatives in query.telephones:
        simple = [simplified(item) for item in alternatives]
        if simple and all(item.comparison is Comparison.EXACT for item in simple):
            values = tuple(national_number(item.value) or fold(item.value) for item in simple)
            yield _Path(2, (TermSearch(TermKind.TELEPHONE, values),))
    mothers = [simplified(item) for item in query.mothers_maiden_names]
    kinds = {item.comparison for item in mothers}
    if mothers and kinds <= {Comparison.EXACT, Comparison.PREFIX}:
        yield _Path(
            20 if kinds == {Comparison.EXACT} else 55,
            tuple(
                TermSearch(TermKind.MOTHER, (fold(item.value)[:LONGEST],))
                if item.comparison is Comparison.EXACT
                else TermSearch(TermKind.MOTHER, prefix=fold(item.value)[:LONGEST])
                for item in mothers
            ),
        )


def _visit_paths(query: DemographicsQuery) -> Iterator[_Path]:
    for name, pattern in query.visit.items():
        simple = simplified(pattern)
        if simple.comparison in (Comparison.EXACT, Comparison.PREFIX) and simple.value.strip():
            prefix = simple.comparison is Comparison.PREFIX
            yield _Path(5 if name.startswith("PV1.19") else 30, (VisitSearch(name, visit_value(simple.value), prefix),))


def visit_value(text: str) -> str:
    """A field of a visit as it is searched by."""
    return text.strip().upper()
