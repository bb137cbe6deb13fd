"""A query for studies, series or instances, whether it came as QIDO-RS or as C-FIND, and its answer.

Spec: DICOM PS3.4 C.2.2.2 (matching), C.6 (keys); PS3.18 10.6 (QIDO-RS); RAD TF-2 4.129.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from typing import Any, Final

_LETTERS: Final = str.maketrans({"Œ": "OE", "Æ": "AE", "Ø": "O", "Ł": "L", "Đ": "D", "Þ": "TH"})

#: A data set in the DICOM JSON model: eight hexadecimal digits -> {"vr": ..., "Value": [...]}.
DicomJson = Mapping[str, Any]


class Level(StrEnum):
    """What is searched for."""

    PATIENT = "PATIENT"
    STUDY = "STUDY"
    SERIES = "SERIES"
    INSTANCE = "IMAGE"


class Form(StrEnum):
    """How a value is compared."""

    EQUAL = "single value"
    LIST = "list of UIDs"
    WILDCARD = "wildcard"
    RANGE = "range"


@dataclass(frozen=True, slots=True)
class Matching:
    """One attribute to be matched: `tag` and, of the forms of PS3.4 C.2.2.2, what fits the value.

    `values` are one text (EQUAL, WILDCARD with `*` and `?`), several UIDs (LIST), or both ends of a RANGE, an open one empty.
    `inside` are the tags that lead from the items of a sequence `tag` to the attribute.

    Universal matching is no Matching: it asks for the attribute only.
    """

    tag: int
    form: Form
    values: tuple[str, ...]
    inside: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class ImagingQuery:
    """What is searched for. `includes` are further attributes to be returned; None: all that are known.

    `limit` None means as many as the service gives at once. `fuzzy`: words of a name are found wherever they stand in it.
    `combined`: ranges of a date and of its time are one range of moments (PS3.4 C.2.2.2.5.4).
    """

    level: Level
    matchings: tuple[Matching, ...] = ()
    includes: tuple[int, ...] | None = ()
    limit: int | None = None
    offset: int = 0
    fuzzy: bool = False
    combined: bool = False

    def value_of(self, tag: int) -> str | None:
        """The single value that an attribute must have; None when it is not asked for so."""
        for item in self.matchings:
            if item.tag == tag and item.form in (Form.EQUAL, Form.LIST) and len(item.values) == 1:
                return item.values[0]
        return None


@dataclass(frozen=True, slots=True)
class ImagingMatch:
    """One match: its attributes, and the UIDs by which it is retrieved, as far as its level has them."""

    attributes: DicomJson
    study_instance_uid: str = ""
    series_instance_uid: str = ""
    sop_instance_uid: str = ""


@dataclass(frozen=True, slots=True)
class ImagingQueryAnswer:
    """The matches. `more`: there are others beyond these. `ignored`: attributes that were asked for and cannot be matched."""

    matches: Sequence[ImagingMatch]
    more: bool = False
    ignored: tuple[int, ...] = ()


@lru_cache(1024)
def fold_name(name: str) -> str:
    """A person name as it is compared: capitals without accents, components kept, trailing delimiters dropped.

    Spec: PS3.4 C.2.2.2.1 (names may match without regard to case and accents).
    """
    upper = unicodedata.normalize("NFKD", name).upper().translate(_LETTERS)
    plain = "".join(character for character in upper if not unicodedata.combining(character))
    groups = [re.sub(r" *\^ *", "^", " ".join(group.split())).rstrip("^ ") for group in plain.split("=")]
    return "=".join(groups).rstrip("=")
