"""How the text of a query key is meant: a value, a list, a wildcard or a range.

Spec: DICOM PS3.4 C.2.2.2.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from xds.model.imaging_query import DicomJson, Form, Matching

#: Value representations that match by range.
_RANGED: Final = frozenset({"DA", "TM", "DT"})
#: Value representations without wildcards: `*` and `?` are no characters of theirs, or it is binary.
_PLAIN: Final = frozenset({"UI", "DA", "TM", "DT", "AT", "DS", "IS", "US", "SS", "UL", "SL", "FL", "FD", "AS"})
#: The 31st of any month: ends of ranges are often written so.
_DATE: Final = re.compile(r"[0-9]{4}(0[1-9]|1[0-2])(0[1-9]|[12][0-9]|3[01])\Z")
#: A leap second has the number 60.
_TIME: Final = re.compile(r"([01][0-9]|2[0-3])([0-5][0-9](([0-5][0-9]|60)(\.[0-9]{1,6})?)?)?\Z")
_UID: Final = re.compile(r"[0-9.]{1,64}\Z")


class MatchingError(ValueError):
    """A query key whose value is none of its value representation. The message names the attribute and the rule."""


def matching(tag: int, vr: str, text: str) -> Matching | None:
    """What the value of a query key asks for; None for universal matching. Several UIDs stand with backslash or comma between.

    Errors: MatchingError.
    """
    text = text.strip(" \0")
    if vr == "UI":
        uids = tuple(part.strip() for part in re.split(r"[\\,]", text) if part.strip())
        wrong = [uid for uid in uids if not _UID.match(uid)]
        if wrong:
            raise MatchingError(f"({tag >> 16:04X},{tag & 0xFFFF:04X}): a value is no UID")
        return Matching(tag, Form.LIST if len(uids) > 1 else Form.EQUAL, uids) if uids else None
    if not text or (vr not in _PLAIN and not text.strip("*")):
        return None
    if vr in _RANGED:
        return _ranged(tag, vr, text)
    if vr not in _PLAIN and ("*" in text or "?" in text):
        return Matching(tag, Form.WILDCARD, (text,))
    return Matching(tag, Form.EQUAL, (text,))


def fits(data_set: DicomJson, wanted: Iterable[Matching]) -> bool:
    """Whether a data set fits all of these; those inside of one sequence must fit the same item of it.

    Spec: PS3.4 C.2.2.2.6 (sequences).
    """
    groups: dict[int, list[Matching]] = {}
    for item in wanted:
        groups.setdefault(item.tag, []).append(item)
    return all(_group_fits(data_set.get(f"{tag:08X}", {}).get("Value", ()), group) for tag, group in groups.items())


def _group_fits(values: Sequence[Any], group: Sequence[Matching]) -> bool:
    if not group[0].inside:
        return all(any(_value_fits(_text(value), item) for value in values) for item in group)
    inner = [replace(item, tag=item.inside[0], inside=item.inside[1:]) for item in group]
    return any(isinstance(value, Mapping) and fits(value, inner) for value in values)


def _text(value: Any) -> str:
    if isinstance(value, Mapping):
        return "=".join(str(value.get(form, "")) for form in ("Alphabetic", "Ideographic", "Phonetic")).rstrip("=")
    return "" if value is None else str(value)


def _value_fits(text: str, item: Matching) -> bool:
    if not text:
        return False
    if item.form is Form.RANGE:
        low, high = item.values
        return low <= text and (not high or text <= high or text.startswith(high))
    if item.form is Form.WILDCARD:
        pattern = "".join({"*": ".*", "?": "."}.get(letter, re.escape(letter)) for letter in re.sub(r"\*+", "*", item.values[0]))
        return re.fullmatch(pattern, text, re.DOTALL) is not None
    return text in item.values


def _ranged(tag: int, vr: str, text: str) -> Matching:
    place = f"({tag >> 16:04X},{tag & 0xFFFF:04X})"
    # The hyphen of a time zone (DT) is no range: it has digits before and four after it.
    low, hyphen, high = text.partition("-")
    if not hyphen:
        return Matching(tag, Form.EQUAL, (_moment(vr, text, place),))
    ends = tuple(_moment(vr, part.strip(), place) if part.strip() else "" for part in (low, high))
    if not any(ends):
        raise MatchingError(f"{place}: a range has at least one end")
    return Matching(tag, Form.RANGE, ends)


def _moment(vr: str, text: str, place: str) -> str:
    plain = text.replace(".", "") if vr == "DA" else text.replace(":", "")
    if vr == "DA" and not _DATE.match(plain):
        raise MatchingError(f"{place}: a date is YYYYMMDD or a range of two with a hyphen between")
    if vr == "TM" and not _TIME.match(plain):
        raise MatchingError(f"{place}: a time is HHMMSS or a range of two with a hyphen between")
    return plain
