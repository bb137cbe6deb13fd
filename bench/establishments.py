"""How establishments write down one person: each has habits, and everybody makes mistakes."""

from __future__ import annotations

import random
import unicodedata
from dataclasses import dataclass, replace

from bench.population_names import SHORT_FORMS
from xds.model.identifiers import AssigningAuthority, PatientIdentifier
from xds.model.patient import Address, Demographics, PersonName

INS = AssigningAuthority("INS-NIR", "1.2.250.1.213.1.4.8")
_ROWS = ("azertyuiop", "qsdfghjklm", "wxcvbn")
#: Spellings that sound alike: what is heard, what is written.
_HEARD = tuple(
    (pair.partition(">")[0], pair.partition(">")[2])
    for pair in (
        *(
            "ph>f",
            "f>ph",
            "eau>au",
            "au>o",
            "th>t",
            "t>th",
            "ss>s",
            "nn>n",
            "n>nn",
            "ll>l",
            "l>ll",
            "ck>k",
            "c>k",
            "k>c",
            "y>i",
            "i>y",
        ),
        *("ai>e", "e>ai", "an>en", "en>an", "qu>k", "z>s", "s>z", "x>ks", "ou>w", "v>w", "d>t", "tt>t", "rr>r", "mm>m"),
    )
)
_SHAPES = {"o": "0", "i": "1", "l": "1", "s": "5", "b": "8", "m": "rn", "e": "c", "n": "m", "u": "v", "g": "q", "h": "n"}


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody as she is. `givens` are her given names in the order of the register of births."""

    number: int
    family: str
    used_family: str
    givens: tuple[str, ...]
    calls_herself: str
    birth_date: str
    sex: str
    address: Address
    telephone: str
    email: str
    mother: str
    national: str
    is_newborn: bool = False
    birth_order: int | None = None


@dataclass(frozen=True, slots=True)
class Habits:
    """How one establishment writes. Rates are shares of its records."""

    upper: bool
    accents: bool
    particles: str
    composed: str
    letters: int
    name_kept: str
    further: str
    used_given: float
    short_forms: float
    telephones: float
    emails: float
    mothers: float
    default_dates: float
    slips: float
    slip_kinds: tuple[float, float, float]


def habits(chance: random.Random, slips: float) -> Habits:
    """The habits of one establishment."""
    return Habits(
        upper=chance.random() < 0.6,
        accents=chance.random() < 0.5,
        particles=chance.choice(("keep", "keep", "keep", "join", "drop")),
        composed=chance.choice(("keep", "keep", "blank", "join", "cut", "initials")),
        letters=chance.choice((60, 60, 60, 30, 20, 15, 12, 10)),
        name_kept=chance.choice(("birth", "birth", "both", "both", "used", "either", "double")),
        further=chance.choice(("none", "none", "field", "field", "appended")),
        used_given=chance.choice((0.1, 0.5)),
        short_forms=chance.choice((0.0, 0.0, 0.1, 0.3)),
        telephones=chance.choice((0.0, 0.4, 0.8)),
        emails=chance.choice((0.0, 0.2, 0.4)),
        mothers=chance.choice((0.0, 0.0, 0.5)),
        default_dates=chance.choice((0.0, 0.002, 0.015)),
        slips=slips * chance.choice((0.5, 1.0, 1.5)),
        slip_kinds=chance.choice(((0.6, 0.3, 0.1), (0.3, 0.6, 0.1), (0.3, 0.2, 0.5))),
    )


def plain(text: str) -> str:
    """Text without accents."""
    return "".join(c for c in unicodedata.normalize("NFKD", text.replace("ı", "i")) if not unicodedata.combining(c))


def _keyboard(chance: random.Random, text: str) -> str:
    place = chance.randrange(len(text))
    kind = chance.random()
    if kind < 0.25:
        return text[:place] + text[place + 1 :]
    if kind < 0.45:
        return text[:place] + text[place] + text[place:]
    if kind < 0.65 and place + 1 < len(text):
        return text[:place] + text[place + 1] + text[place] + text[place + 2 :]
    letter = plain(text[place]).lower()
    row = next((row for row in _ROWS if letter in row), "etaoinsr")
    near = row[max(0, min(len(row) - 1, row.find(letter) + chance.choice((-1, 1))))]
    return text[:place] + near + text[place + 1 :]


def slip(chance: random.Random, text: str, kinds: tuple[float, float, float]) -> str:
    """One error of the keyboard, of the ear or of a reader."""
    if len(text) < 3:
        return text
    kind = chance.random()
    lower = text.lower()
    if kind < kinds[0]:
        return _keyboard(chance, text)
    if kind < kinds[0] + kinds[1]:
        found = [(old, new, lower.find(old, 1)) for old, new in _HEARD if lower.find(old, 1) >= 0]
        if found:
            old, new, place = chance.choice(found)
            return text[:place] + new + text[place + len(old) :]
        return _keyboard(chance, text)
    places = [index for index, letter in enumerate(lower) if letter in _SHAPES]
    if not places:
        return _keyboard(chance, text)
    place = chance.choice(places)
    return text[:place] + _SHAPES[lower[place]] + text[place + 1 :]


def _written(text: str, style: Habits) -> str:
    text = text if style.accents else plain(text)
    return (text.upper() if style.upper else text)[: style.letters]


def _family(text: str, style: Habits) -> str:
    first, _, rest = text.partition(" ")
    if not rest or style.particles == "keep":
        return text
    return rest if style.particles == "drop" else (first + rest)


def _given(chance: random.Random, text: str, style: Habits) -> str:
    if chance.random() < style.short_forms and text in SHORT_FORMS:
        return chance.choice(SHORT_FORMS[text])
    if "-" not in text or style.composed == "keep":
        return text
    if style.composed == "blank":
        return text.replace("-", " ")
    if style.composed == "join":
        return text.replace("-", "")
    if style.composed == "cut":
        return text.partition("-")[0]
    return "".join(part[0] for part in text.split("-")) if chance.random() < 0.5 else text


def _names(chance: random.Random, person: Person, style: Habits) -> tuple[PersonName, ...]:
    first = person.givens[0]
    called = person.calls_herself if chance.random() < style.used_given else first
    given = _given(chance, called, style)
    others = [name for name in person.givens if name != called]
    further = " ".join(others) if style.further == "field" else ""
    if style.further == "appended" and others:
        given = f"{given} {' '.join(others)}"
    if person.is_newborn:
        given, further = (
            chance.choice(("Bébé", "Nouveau-né", "BB", "Garçon" if person.sex == "M" else "Fille", "NN", "Bebe de")),
            "",
        )
    kept = style.name_kept
    families: tuple[tuple[str, str | None], ...]
    if kept == "birth" or person.used_family == person.family:
        families = ((person.family, "L"),)
    elif kept == "used" or (kept == "either" and chance.random() < 0.5):
        families = ((person.used_family, None),)
    elif kept == "double":
        families = ((f"{person.family}-{person.used_family}", "L"),)
    elif kept == "both":
        families = ((person.family, "L"), (person.used_family, "D"))
    else:
        families = ((person.family, "L"),)
    found = []
    for family, use in families:
        written = _written(_family(family, style), style)
        if chance.random() < style.slips:
            written = slip(chance, written, style.slip_kinds)
        found.append([written, _written(given, style), _written(further, style), use])
    if chance.random() < style.slips:
        for item in found:
            item[1] = slip(chance, str(item[1]), style.slip_kinds)
    if chance.random() < 0.008:
        found = [[item[1], item[0], item[2], item[3]] for item in found]
    return tuple(PersonName(str(family), str(name), str(more), use=use) for family, name, more, use in found)


def _date(chance: random.Random, date: str, style: Habits) -> str:
    kind = chance.random()
    if kind < style.default_dates:
        return date[:4] + "0101"
    if kind > 0.99 and int(date[6:]) <= 12:
        return date[:4] + date[6:] + date[4:6]
    if 0.975 < kind <= 0.985:
        place = chance.randrange(2, 8)
        return date[:place] + chance.choice("0123456789") + date[place + 1 :]
    return date


def _address(chance: random.Random, address: Address, style: Habits) -> tuple[Address, ...]:
    if chance.random() < 0.05:
        return ()
    street, city = address.street, address.city
    if chance.random() < 0.3:
        street = street.replace(" rue ", " R ").replace(" avenue ", " AV ").replace(" boulevard ", " BD ")
    if chance.random() < style.slips:
        street = slip(chance, street, style.slip_kinds)
    postal = address.postal_code if chance.random() > 0.05 else ""
    street = street if chance.random() > 0.1 else ""
    return (
        Address(
            street=_written(street, replace(style, letters=35)),
            city=_written(city, replace(style, letters=30)),
            postal_code=postal,
        ),
    )


def record(chance: random.Random, person: Person, style: Habits, address: Address, identified: float) -> Demographics:
    """What one establishment writes down about a person who lives at that address now."""
    national: tuple[PatientIdentifier, ...] = ()
    if chance.random() < identified:
        value = person.national
        if chance.random() < 0.002:
            value = value[:3] + chance.choice("0123456789") + value[4:]
        national = (PatientIdentifier(value, INS, "INS"),)
    sex = person.sex if chance.random() > 0.02 else None
    if sex and chance.random() < 0.003:
        sex = "M" if sex == "F" else "F"
    return Demographics(
        names=_names(chance, person, style),
        birth_date=_date(chance, person.birth_date, style),
        sex=sex,
        addresses=_address(chance, address, style),
        telephones=(person.telephone,) if chance.random() < style.telephones else (),
        emails=(person.email,) if person.email and chance.random() < style.emails else (),
        mother_maiden_name=_written(person.mother, style) if chance.random() < style.mothers else None,
        national_identifiers=national,
        birth_order=person.birth_order if person.birth_order and chance.random() < 0.3 else None,
    )
