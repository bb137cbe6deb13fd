"""Given names: short forms and variants of one name, names that are composed, and words that stand where no name is known yet.

The tables are our own, of names in use in France and of the languages that its patients bring along.
"""

from __future__ import annotations

import re
from functools import lru_cache
from importlib.resources import files

_COMPOSED_WITH = frozenset({"JEAN", "MARIE", "ANNE", "PIERRE", "PAUL", "LOUIS", "CHARLES", "ROSE", "MARIA"})
_NEWBORN = re.compile(
    r"^(?:(?:NOUVEAU|NVEAU|NEW) ?(?:NE|NEE|BORN)?|NN|BB|BEBE|BABY|NEWBORN|ENFANT|CHILD|NOURRISSON|FOETUS|FETUS|PREMATURE|"
    r"(?:BEBE |BABY )?(?:BOY|GIRL|FILLE|GARCON|GARC|MALE|FEMALE)|JUMEAU|JUMELLE|TWIN|TRIPLET|TRIPLE)"
    r"(?: (?:BOY|GIRL|FILLE|GARCON|DE|OF|NE|NEE|JUMEAU|JUMELLE|TWIN|MALE|FEMALE|M|F|MME|MADAME))*(?: ?([1-4A-D]|II?I?))?$"
)
_NOBODY = frozenset(
    {
        *(
            "INCONNU",
            "INCONNUE",
            "ANONYME",
            "UNKNOWN",
            "X",
            "XX",
            "XXX",
            "XXXX",
            "NR",
            "NC",
            "ND",
            "NE",
            "NEE",
            "SANS",
            "AUCUN",
            "NONE",
        ),
        *("NULL", "NA", "TEST", "SP", "SANSPRENOM", "SANSNOM", "PATIENT", "ANONYMOUS", "NOTSPECIFIED", "ADEFINIR", "ADETERMINER"),
        *("NONPRECISE", "NONRENSEIGNE", "PRENOM", "PRENOMINCONNU", "NOMINCONNU", "JOHNDOE", "UNNAMED", "NONAME"),
    }
)
_ORDERS = {"1": 1, "2": 2, "3": 3, "4": 4, "A": 1, "B": 2, "C": 3, "D": 4, "I": 1, "II": 2, "III": 3}


def _tables() -> tuple[dict[str, frozenset[int]], tuple[str, ...], frozenset[str]]:
    """Lines by name, the first name of each line, and the names without other forms."""
    text = files(__package__).joinpath("given_names.txt").read_text(encoding="utf-8")
    _, variants, plain = re.split(r"^\[(?:variants|plain)\]$", text, flags=re.MULTILINE)
    groups: dict[str, set[int]] = {}
    first = []
    for number, line in enumerate(variants.split("\n")[1:-1]):
        names = line.split()
        first.append(names[0])
        for name in names:
            groups.setdefault(name, set()).add(number)
    return {name: frozenset(numbers) for name, numbers in groups.items()}, tuple(first), frozenset(plain.split())


_GROUPS, _FIRST, _PLAIN = _tables()
#: Two letters are initials as often as a name.
_KNOWN = _PLAIN | {name for name in _GROUPS if len(name) > 2}


def is_listed(name: str) -> bool:
    """True for a folded word that the tables know as a given name."""
    return name in _KNOWN


def are_variants(one: str, other: str) -> bool:
    """True when two folded given names are forms of one name."""
    groups = _GROUPS.get(one)
    return groups is not None and not groups.isdisjoint(_GROUPS.get(other, frozenset()))


@lru_cache(1 << 14)
def canonical(name: str) -> str:
    """The name that a form stands for, so that all forms share a key; an ambiguous one stands for the first listed."""
    groups = _GROUPS.get(name)
    if not groups:
        return name
    own = [number for number in groups if _FIRST[number] == name]
    return name if own else _FIRST[min(groups)]


@lru_cache(1 << 14)
def given_words(words: str) -> str:
    """A given name with the parts of a composed one apart: JEANPIERRE is JEAN PIERRE."""
    if " " in words or len(words) < 7:
        return words
    for cut in range(4, len(words) - 2):
        first, rest = words[:cut], words[cut:]
        if first in _COMPOSED_WITH and rest in _KNOWN and words not in _PLAIN:
            return f"{first} {rest}"
    return words


@lru_cache(1 << 12)
def placeholder(words: str) -> tuple[bool, int | None]:
    """Whether folded words stand where the given name is not known, and the order of birth that they tell (JUMEAU 2)."""
    if words.replace(" ", "") in _NOBODY:
        return True, None
    found = _NEWBORN.match(words)
    return (True, _ORDERS.get(found[1] or "")) if found else (False, None)
