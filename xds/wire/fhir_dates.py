"""Dates and instants as search parameters: the days, or the milliseconds, that a prefix and a date of any precision mean.

Spec: FHIR R4 3.1.1.4.5 (prefixes), 3.1.1.4.7 (date).
"""

from __future__ import annotations

import re
from calendar import monthrange
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from typing import Final, TypeVar

_DATE: Final = re.compile(
    r"(eq|ne|gt|lt|ge|le|sa|eb|ap)?((\d{4})(?:-(\d\d)(?:-(\d\d)(T\d\d:\d\d(:\d\d(\.\d+)?)?(?:Z|[+-]\d\d:\d\d)?)?)?)?)\Z"
)
_DAY: Final = 24 * 60 * 60 * 1000
_FIRST, _LAST = 0, 2**53
#: Prefixes by which a date that is known in part is found as soon as it may be meant. By the others all of it must be meant.
_OVERLAPPING: Final = frozenset({"ne", "gt", "lt", "ge", "le", "ap"})
#: How far from a date or an instant `ap` is still about it, at both ends: half a year, a day.
_ABOUT_A_DATE: Final = timedelta(182)
_ABOUT_AN_INSTANT: Final = _DAY
_Point = TypeVar("_Point", date, int)


def days_meant(text: str) -> list[tuple[date, date, bool]] | None:
    """The ranges of days, both inclusive, that a date after a prefix means, and whether it is enough to overlap one of them.

    A time is left out. None when it is no date.
    """
    found = _DATE.match(text.strip())
    days = _days(found[3], found[4], found[5]) if found else None
    if found is None or days is None:
        return None
    first, last = days
    before = (date.min, first - timedelta(1)) if first > date.min else None
    after = (last + timedelta(1), date.max) if last < date.max else None
    prefix = found[1] or "eq"
    if prefix == "ap":
        first -= min(_ABOUT_A_DATE, first - date.min)
        last += min(_ABOUT_A_DATE, date.max - last)
    ranges = _meant(prefix, (first, last), (date.min, last), (first, date.max), before, after)
    return [(low, high, prefix in _OVERLAPPING) for low, high in ranges]


def instants_meant(text: str) -> list[tuple[int, int]] | None:
    """The same in milliseconds since 1970; a date without a zone is one in UTC."""
    found = _DATE.match(text.strip())
    if found is None:
        return None
    span = _instant(found[2], found[7], found[8]) if found[6] else _span(_days(found[3], found[4], found[5]))
    if span is None:
        return None
    first, last = span
    if found[1] == "ap":
        span = (first - _ABOUT_AN_INSTANT, last + _ABOUT_AN_INSTANT)
    return _meant(found[1] or "eq", span, (_FIRST, last), (first, _LAST), (_FIRST, first - 1), (last + 1, _LAST))


def _meant(
    prefix: str,
    exactly: tuple[_Point, _Point],
    up_to: tuple[_Point, _Point],
    since: tuple[_Point, _Point],
    before: tuple[_Point, _Point] | None,
    after: tuple[_Point, _Point] | None,
) -> list[tuple[_Point, _Point]]:
    wanted: Mapping[str, tuple[tuple[_Point, _Point] | None, ...]] = {
        "eq": (exactly,),
        "ap": (exactly,),
        "ne": (before, after),
        "gt": (after,),
        "sa": (after,),
        "lt": (before,),
        "eb": (before,),
        "ge": (since,),
        "le": (up_to,),
    }
    return [item for item in wanted[prefix] if item is not None]


def _days(year: str, month: str | None, day: str | None) -> tuple[date, date] | None:
    """The first and the last day of a date of any precision; None when there is no such day."""
    try:
        first = date(int(year), int(month or 1), int(day or 1))
        if day:
            return first, first
        last_month = int(month or 12)
        return first, date(first.year, last_month, monthrange(first.year, last_month)[1])
    except ValueError:
        return None


def _span(days: tuple[date, date] | None) -> tuple[int, int] | None:
    if days is None:
        return None
    first, last = ((day - date(1970, 1, 1)).days * _DAY for day in days)
    return first, last + _DAY - 1


def _instant(text: str, seconds: str | None, fraction: str | None) -> tuple[int, int] | None:
    """The first and the last millisecond of a time to the minute, to the second, or to a fraction of it."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    low = int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1000)
    return low, low + (0 if fraction else 999 if seconds else 59_999)
