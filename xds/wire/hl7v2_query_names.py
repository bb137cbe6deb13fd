"""Names of HL7 elements in queries (`@PID.5.1`), and the values that are sought under them.

Spec: HL7 v2.5 chapter 2A.59 (QIP); ITI TF-2 3.21.4.1.2.3, 3.22.4.1.2.2.1.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from xds.model.demographics_query import Comparison, TextPattern
from xds.wire.hl7v2 import Condition, Fault, Location, Message

_NAME = re.compile(r"@([A-Z][A-Z0-9]{2})\.([1-9][0-9]?)(?:\.([1-9][0-9]?))?(?:\.([1-9][0-9]?))?\Z")
#: No honest query has more of them.
_MOST_CRITERIA: Final = 100
#: Nor does any sought value have more alternatives (`A&B`).
_MOST_VALUES: Final = 100
#: How many fields a segment has that a query may name, in HL7 2.5.
_FIELDS: Final = {"PID": 39, "PD1": 21, "PV1": 52, "PV2": 49}
#: How many components the data types of PID have.
_TYPES: Final = {"CX": 10, "XPN": 14, "XAD": 14, "XTN": 12, "TS": 2, "CE": 6, "HD": 3, "DLN": 3}
_TYPES_OF_PID: Final[Mapping[int, str]] = {
    **dict.fromkeys((2, 3, 4, 18, 21), "CX"),
    **dict.fromkeys((5, 6, 9), "XPN"),
    **dict.fromkeys((7, 29, 33), "TS"),
    **dict.fromkeys((10, 15, 16, 17, 22, 26, 27, 28, 35, 36, 37, 38, 39), "CE"),
    **dict.fromkeys((13, 14), "XTN"),
    11: "XAD",
    20: "DLN",
    34: "HD",
}
#: How many subcomponents a component has, where it has several.
_SUBCOMPONENTS: Final = {("CX", 4): 3, ("CX", 6): 3, ("CX", 9): 6, ("CX", 10): 6, ("XPN", 1): 5, ("XPN", 9): 6, ("XAD", 1): 3}
#: The last component and subcomponent of a visit that are kept.
_VISIT_PARTS: Final = (24, 4)


@dataclass(frozen=True, slots=True)
class Criterion:
    """One repetition of QPD-3: a value is sought at a place. `number` is the repetition, `values` are alternatives."""

    number: int
    segment: str
    field: int
    component: int
    subcomponent: int
    values: tuple[str, ...]

    @property
    def part(self) -> tuple[int, int]:
        """Component and subcomponent."""
        return self.component, self.subcomponent

    def fault(self, condition: Condition, text: str, component: int = 2) -> Fault:
        """A fault of its value, or of its name (component 1)."""
        return Fault(condition, text, Location("QPD", 1, 3, self.number, component))


def text_pattern(value: str, *, fuzzy: bool = False) -> TextPattern:
    """What a value with `*` for any number of characters asks for."""
    if "*" not in value:
        return TextPattern(value, Comparison.FUZZY if fuzzy else Comparison.EXACT)
    middle = value.strip("*")
    if "*" in middle or not value.endswith("*"):
        return TextPattern(value, Comparison.WILDCARD)
    return TextPattern(middle, Comparison.CONTAINS if value.startswith("*") else Comparison.PREFIX)


def read_criteria(message: Message, field: str, segments: Sequence[str], faults: list[Fault]) -> list[Criterion]:
    """The criteria of QPD-3 (`field` in its wire form) that name elements of these segments.

    Those without a value, or with nothing but `*`, say nothing and are left out. What is wrong is added to `faults`: 102 (no
    name of an element, more than a value, too many criteria or alternatives), 103 (an element that does not exist or is not
    searched here).
    """
    separators = message.separators
    repeated = field.split(separators.repetition) if field else []
    if len(repeated) > _MOST_CRITERIA:
        text = f"QPD-3 holds more than {_MOST_CRITERIA} criteria"
        faults.append(Fault(Condition.DATA_TYPE, text, Location("QPD", 1, 3)))
        return []
    found = []
    for number, item in enumerate(repeated, 1):
        parts = item.split(separators.component)
        values = tuple(value for value in message.subcomponents(parts[1]) if value.strip("*")) if len(parts) > 1 else ()
        if not item.strip(separators.component + separators.subcomponent + " "):
            continue
        criterion, fault = _criterion(number, message.subcomponents(parts[0])[0], values, segments)
        if fault is None and len(values) > _MOST_VALUES:
            text = f"a criterion has at most {_MOST_VALUES} alternatives"
            fault = Fault(Condition.DATA_TYPE, text, Location("QPD", 1, 3, number, 2))
        if fault is None and any(part.strip() for part in parts[2:]):
            fault = Fault(Condition.DATA_TYPE, "a criterion has a name and a value, no more", Location("QPD", 1, 3, number, 3))
        if fault:
            faults.append(fault)
        elif criterion and values:
            found.append(criterion)
    return found


def _criterion(number: int, name: str, values: tuple[str, ...], segments: Sequence[str]) -> tuple[Criterion | None, Fault | None]:
    place = Location("QPD", 1, 3, number, 1)
    match = _NAME.match(name)
    if match is None:
        return None, Fault(Condition.DATA_TYPE, "a criterion begins with the name of an HL7 element (@PID.5.1)", place)
    segment, field, component, subcomponent = match[1], int(match[2]), int(match[3] or 1), int(match[4] or 1)
    if segment not in segments:
        text = f"criteria are elements of {', '.join(segments)}"
        return None, Fault(Condition.TABLE_VALUE, text, place)
    if not _exists(segment, field, component, subcomponent):
        return None, Fault(Condition.TABLE_VALUE, "a criterion names an element that does not exist", place)
    return Criterion(number, segment, field, component, subcomponent, values), None


def _exists(segment: str, field: int, component: int, subcomponent: int) -> bool:
    if field > _FIELDS[segment]:
        return False
    if segment != "PID":
        return component <= _VISIT_PARTS[0] and subcomponent <= _VISIT_PARTS[1]
    kind = _TYPES_OF_PID.get(field, "")
    return component <= _TYPES.get(kind, 1) and subcomponent <= _SUBCOMPONENTS.get((kind, component), 1)
