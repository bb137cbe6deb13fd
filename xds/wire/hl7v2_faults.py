"""What can be wrong with an HL7 version 2 message, and where.

Spec: HL7 v2.5 table 0357, chapter 2.15.5 (ERR); ITI TF-2 C.2.3.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum


class Condition(IntEnum):
    """Message error condition codes. Spec: HL7 table 0357."""

    ACCEPTED = 0
    SEGMENT_SEQUENCE = 100
    REQUIRED_MISSING = 101
    DATA_TYPE = 102
    TABLE_VALUE = 103
    UNSUPPORTED_TYPE = 200
    UNSUPPORTED_EVENT = 201
    UNSUPPORTED_PROCESSING_ID = 202
    UNSUPPORTED_VERSION = 203
    UNKNOWN_KEY = 204
    DUPLICATE_KEY = 205
    RECORD_LOCKED = 206
    INTERNAL = 207


@dataclass(frozen=True, slots=True)
class Location:
    """Where in a message a fault lies (ERL); parts that are None are left out. All of them count from 1."""

    segment: str
    sequence: int = 1
    field: int | None = None
    repetition: int | None = None
    component: int | None = None
    subcomponent: int | None = None

    def __str__(self) -> str:
        parts = (self.segment, self.sequence, self.field, self.repetition, self.component, self.subcomponent)
        return "^".join("" if part is None else str(part) for part in parts).rstrip("^")


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that is wrong with a message: what an ERR segment tells. `text` is free of patient data.

    `received` is what stands in the message instead, where no location tells it; only its sender is told. `severity` is E, or W
    of what does not keep a message from its effect. Spec: HL7 table 0516.
    """

    condition: Condition
    text: str
    location: Location | None = None
    received: str = ""
    severity: str = "E"
