"""Given names: short forms and variants of one name, names that are composed, and words that stand where no name is known yet.

The tables are our own, of names in use in France and of the languages that its patients bring along.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files

from rapidfuzz import process

from xds.rules.linkage.slips import edits

#: Names to which families add another one for each child: JEAN PAUL and JEAN MARC, MOHAMED AMINE beside MOHAMED, MINH KHOI.
_COMPOSED_WITH = frozenset(
    {
        *("JEAN", "MARIE", "ANNE", "PIERRE", "PAUL", "LOUIS", "CHARLES", "ROSE", "HANS", "KARL"),
        *("MARIA", "JOSE", "JOAO", "LUIS", "ANA", "MINH", "NGOC", "THANH", "XUAN", "HOANG", "QUOC"),
        *("MOHAMED", "MOHAMMED", "MOHAMAD", "MOHAMMAD", "MUHAMMAD", "MUHAMMED", "MOULAY", "SIDI"),
        *("FATIMA", "FATMA", "LALLA", "NOUR"),
    }
)
_NEWBORN = re.compile(
    r"^(?:(?:NOUVEAU|NVEAU|NEW) ?(?:NE|NEE|BORN)?|NN|BB|BEBE|BABY|NEWBORN|ENFANT|CHILD|NOURRISSON|FOETUS|FETUS|PREMATURE|"
    r"(?:BEBE |BABY )?(?:BOY|GIRL|FILLE|FILS|GARCON|GARC|MALE|FEMALE)|JUMEAU|JUMELLE|TWIN|TRIPLET|TRIPLE|"
    r"X{1,4}(?= [1-4A-D]$)|SANS PRENOM)"
    r"(?: (?:BOY|GIRL|FILLE|GARCON|DE|OF|NE|NEE|JUMEAU|JUMELLE|TWIN|MALE|FEMALE|M|F|MME|MADAME))*"
    # A newborn may be called after its mother: FILLE DE FATIMA.
    r"(?:(?<= DE| OF) [A-Z][A-Z ]+?(?: ([1-4]))?|(?: ?([1-4A-D]|II?I?))?)$"
)
#: What stands in the field of the family name of a test, or of somebody whose name nobody knows; real names may follow.
_NO_FAMILY = re.compile(
    r"^(?:X{1,4}|Z*TEST(?:S|INS|ING|EUR)?|ESSAIS?|INCONNUE?|ANONYME|ANONYMOUS|ANONYMISE|UNKNOWN|"
    r"NON (?:COMMUNIQUE|RENSEIGNE|PRECISE)E?|SANS NOM|NOM INCONNU|SOUS X|NULL|NONE|ZZ+[A-Z]*)"
    r"(?: ?\d+)?(?: SE DISANTE?)?(?: (?:X+|TEST|ESSAI|PATIENT|INCONNUE?))*(?: ?\d+)?$"
)
#: Words that stand between given names, or before one, and tell nobody from anybody: THI MAI, MARIA DE FATIMA, EL HASSAN.
_FILLERS = frozenset(
    ("THI", "VAN", "DE", "DA", "DO", "DOS", "DAS", "DU", "DES", "D", "EL", "AL", "UL", "LA", "LE", "LES", "L", "E")
)
#: The servant of one of whose names follows; the two are one name.
_SERVANT = re.compile(r"^ABD(?:[AEU]L|OUL|[AEOU]?R|E[DSTNZ])?$")
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


@dataclass(frozen=True, slots=True)
class _Tables:
    """`lines` by name, the `first` name of each line, the lines that are `spellings`, and names that are `short` or `plain`."""

    lines: Mapping[str, frozenset[int]]
    first: tuple[str, ...]
    spellings: frozenset[int]
    short: frozenset[str]
    plain: frozenset[str]


def _read_tables() -> _Tables:
    text = files(__package__).joinpath("given_names.txt").read_text(encoding="utf-8")
    _, variants, short, plain = re.split(r"^\[(?:variants|short|plain)\]$", text, flags=re.MULTILINE)
    lines: dict[str, set[int]] = {}
    first: list[str] = []
    spellings: set[int] = set()
    for number, line in enumerate(variants.split("\n")[1:-1]):
        marked = line.startswith("~")
        names = line.removeprefix("~").split()
        first.append(names[0])
        if marked:
            spellings.add(number)
        for name in names:
            lines.setdefault(name, set()).add(number)
    found = {name: frozenset(numbers) for name, numbers in lines.items()}
    return _Tables(found, tuple(first), frozenset(spellings), frozenset(short.split()), frozenset(plain.split()))


_TABLES = _read_tables()
#: Two letters are initials as often as a name.
_KNOWN = _TABLES.plain | {name for name in _TABLES.lines if len(name) > 2}


def is_listed(name: str) -> bool:
    """True for a folded word that the tables know as a given name."""
    return name in _KNOWN


@lru_cache(1 << 12)
def is_nearly_listed(name: str) -> bool:
    """True for a folded word that is a given name of the tables but for one letter."""
    return name in _KNOWN or (len(name) > 3 and process.extractOne(name, _KNOWN, scorer=edits, score_cutoff=1) is not None)


def composes(name: str) -> bool:
    """True for a folded name that others are composed with, so that it alone does not tell brothers apart: JEAN, MARIE."""
    return name in _COMPOSED_WITH


def are_related(one: str, other: str) -> bool:
    """True when two folded given names stand in one line, be they forms of one name or a name and its sister."""
    return not _TABLES.lines.get(one, frozenset()).isdisjoint(_TABLES.lines.get(other, frozenset()))


def are_variants(one: str, other: str) -> bool:
    """True when two folded given names are forms that one person goes by: a short form, two spellings of one name."""
    shared = _TABLES.lines.get(one, frozenset()) & _TABLES.lines.get(other, frozenset())
    return bool(shared) and (one in _TABLES.short or other in _TABLES.short or not shared.isdisjoint(_TABLES.spellings))


@lru_cache(1 << 14)
def canonical(name: str) -> str:
    """The name that a form stands for, so that all forms share a key; an ambiguous one stands for the first listed."""
    lines = _TABLES.lines.get(name)
    if not lines or any(_TABLES.first[number] == name for number in lines):
        return name
    return _TABLES.first[min(lines)]


@lru_cache(1 << 14)
def given_words(words: str) -> str:
    """A given name with the parts of composed ones apart and without words that tell nothing: JEANPIERRE is JEAN PIERRE."""
    return " ".join(_parts(word) for word in without_fillers(words.split(" ")))


def without_fillers(words: Sequence[str]) -> Sequence[str]:
    """Given names without the words between them, and with the servant of one joined to it: ABDEL KADER is ABDELKADER."""
    if len(words) < 2:
        return words
    found: list[str] = []
    servant = ""
    for word in words[:-1]:
        if servant:
            servant += word
            if word not in _FILLERS:
                found.append(servant)
                servant = ""
        elif _SERVANT.match(word):
            servant = word
        elif word not in _FILLERS:
            found.append(word)
    return [*found, servant + words[-1]]


@lru_cache(1 << 12)
def names_nobody(family: str) -> bool:
    """True for folded words that stand where the family name of a test or of somebody unknown would: TEST, X SE DISANT."""
    return _NO_FAMILY.match(family) is not None


def _parts(word: str) -> str:
    if word not in _TABLES.plain:
        for cut in range(4, len(word) - 2):
            if word[:cut] in _COMPOSED_WITH and word[cut:] in _KNOWN:
                return f"{word[:cut]} {word[cut:]}"
    return word


@lru_cache(1 << 12)
def placeholder(words: str) -> tuple[bool, int | None]:
    """Whether folded words stand where the given name is not known, and the order of birth that they tell (JUMEAU 2)."""
    if words.replace(" ", "") in _NOBODY:
        return True, None
    found = _NEWBORN.match(words)
    return (True, _ORDERS.get(found[1] or found[2] or "")) if found else (False, None)
