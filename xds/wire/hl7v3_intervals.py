"""Intervals of time in HL7 version 3 (IVL<TS>), as ranges of days.

Spec: HL7 V3 data types R1, IVL and TS.
"""

from __future__ import annotations

from datetime import date, timedelta
from typing import Final

from lxml import etree

from xds.model.demographics_query import DateRange
from xds.wire.hl7v3 import attribute, child
from xds.wire.hl7v3_person import read_date

#: Days of the units that a width may have (UCUM). A month and a year are what they are at least.
_UNITS: Final = {"d": 1, "wk": 7, "mo": 30, "a": 365}
_MOST_DAYS: Final = 100_000


def read_range(value: etree._Element) -> DateRange | None:
    """An IVL<TS> as days: a value of any precision, low and high, either with a width, or a centre with a width.

    None when it is no interval. Spec: HL7 V3 data types R1, IVL.
    """
    if attribute(value, "value"):
        return days_of(attribute(value, "value"))
    bounds = {name: child(value, name) for name in ("low", "high", "center", "width")}
    times = {name: _days(attribute(bounds[name], "value")) for name in ("low", "high", "center")}
    if any(times[name] is None and attribute(bounds[name], "value") for name in times):
        return None
    width = _width(bounds["width"])
    if bounds["width"] is not None and width is None:
        return None
    try:
        low, high = _bounds(times, width)
    except OverflowError:
        # Before the first or after the last year that there is.
        return None
    if low and attribute(bounds["low"], "inclusive") in ("false", "0") and times["low"]:
        low = times["low"][1] + timedelta(days=1)
    if high and attribute(bounds["high"], "inclusive") in ("false", "0") and times["high"]:
        high = times["high"][0] - timedelta(days=1)
    if (low is None and high is None) or (low and high and low > high):
        return None
    return DateRange(_written(low) if low else None, _written(high) if high else None)


def days_of(text: str) -> DateRange | None:
    """The days that a time of any precision means; None when it is no time."""
    days = _days(text)
    return DateRange(_written(days[0]), _written(days[1])) if days else None


def _bounds(times: dict[str, tuple[date, date] | None], width: timedelta | None) -> tuple[date | None, date | None]:
    low, high, center = times["low"], times["high"], times["center"]
    if center is not None:
        half = (width or timedelta()) / 2
        return center[0] - half, center[1] + half
    first, last = (low[0] if low else None), (high[1] if high else None)
    if width is not None and first is not None and last is None:
        last = first + width
    elif width is not None and last is not None and first is None:
        first = last - width
    return first, last


def _days(value: str) -> tuple[date, date] | None:
    """The first and the last day that a time of any precision means."""
    found = read_date(value)
    if found is None:
        return None
    year, month, day = int(found[:4]), int(found[4:6] or 0), int(found[6:8] or 0)
    if not 1 <= year <= 9998:
        return None
    if not month:
        return date(year, 1, 1), date(year, 12, 31)
    if not day:
        following = date(year + month // 12, month % 12 + 1, 1)
        return date(year, month, 1), following - timedelta(days=1)
    return date(year, month, day), date(year, month, day)


def _width(element: etree._Element | None) -> timedelta | None:
    """A width in whole days; None when it has no unit of days or more, or is out of all proportion."""
    days = _UNITS.get(attribute(element, "unit") or "d")
    try:
        value = float(attribute(element, "value"))
    except ValueError:
        return None
    return timedelta(days=value * days) if days and 0 <= value * days < _MOST_DAYS else None


def _written(day: date) -> str:
    return f"{day.year:04}{day.month:02}{day.day:02}"
