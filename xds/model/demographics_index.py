"""How patients are found by their traits: what is kept of a record for searching, and how a query reads it.

Texts are folded: letters and digits in upper case, without accents. A birth date is the number YYYYMMDD with zeros for what is
not known of it, 0 when nothing is; the year of a birth date is that number's, within the years that a register may hold.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

#: Years under which names are kept. Whatever lies outside counts as the nearest of them.
FIRST_YEAR: Final = 1880
LAST_YEAR: Final = 2060
#: The year of those whose birth date nobody knows.
NO_YEAR: Final = 0


class TermKind(StrEnum):
    """What a term is about. The values are stored."""

    GIVEN = "g"
    TELEPHONE = "t"
    ACCOUNT = "a"
    MOTHER = "m"
    MOTHER_IDENTIFIER = "i"


class WordKind(StrEnum):
    """Of which kind of name a word is. The values are stored."""

    FAMILY = "f"
    GIVEN = "g"


@dataclass(frozen=True, slots=True)
class NameEntry:
    """One name of one record with her birth date. `given` are the words of her given names, each between blanks."""

    birth_year: int
    family: str
    birth: int
    given: str
    sex: str


@dataclass(frozen=True, slots=True)
class IndexEntries:
    """What is kept of one record. `words` are those of her names, with the codes under which words like them are found."""

    names: frozenset[NameEntry] = frozenset()
    terms: frozenset[tuple[str, str]] = frozenset()
    words: Mapping[tuple[str, str], str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class NameSearch:
    """Records with a name that meets all of this.

    `families` are whole names, `family_prefix` a beginning, neither: any. `births` are numbers, both inclusive. `given` are
    alternatives of what the text of given names contains. `sexes` (empty: any): who has an unknown one is found, too.
    `is_otherwise_dated`: those without a birth date, who have another record that may tell it.
    """

    years: tuple[int, ...]
    births: tuple[int, int] | None = None
    families: tuple[str, ...] = ()
    family_prefix: str = ""
    given: tuple[str, ...] = ()
    sexes: tuple[str, ...] = ()
    is_otherwise_dated: bool = False


@dataclass(frozen=True, slots=True)
class TermSearch:
    """Records with one of these terms, or with one that begins like `prefix`."""

    kind: TermKind
    values: tuple[str, ...] = ()
    prefix: str = ""


@dataclass(frozen=True, slots=True)
class VisitSearch:
    """Records whose last visit has this value in this field, or (`is_prefix`) one that begins like it."""

    name: str
    value: str
    is_prefix: bool = False


Search = NameSearch | TermSearch | VisitSearch


@dataclass(frozen=True, slots=True)
class Plan:
    """Searches that together find everybody who may meet a query.

    `is_exact`: whoever a search finds for certain meets the query, and nothing of it is left to be looked at. `scans`: the
    searches read the whole register.
    """

    searches: tuple[Search, ...]
    is_exact: bool = False
    scans: bool = False
