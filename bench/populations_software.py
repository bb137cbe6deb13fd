"""How the software of the border region has people written down, and what its users make of them."""

from __future__ import annotations

import random
from dataclasses import dataclass, replace

from bench.establishments import INS, plain
from bench.population_names import MISTAKES
from xds.model.identifiers import PatientIdentifier
from xds.model.patient import Address, Demographics, PersonName


@dataclass(frozen=True, slots=True)
class Inhabitant:
    """Somebody as he is."""

    number: int
    family: str
    married: str
    givens: tuple[str, ...]
    called: str
    birth_date: str
    sex: str
    address: Address
    telephone: str
    email: str
    mother: str
    national: str
    order: int | None = None


@dataclass(frozen=True, slots=True)
class Software:
    """How one system has people written down."""

    marriage: str
    upper: bool
    accents: str
    letters: int
    hyphens: str
    further: str
    number_behind: bool
    telephones: float
    mothers: float
    care: float
    no_day: float
    year_alone: float
    misread: float


def software(chance: random.Random) -> Software:
    """One system."""
    return Software(
        marriage=chance.choice(("birth", "birth", "used", "both", "both", "ep", "nee", "joined", "asked")),
        upper=chance.random() < 0.7,
        accents=chance.choice(("kept", "plain", "plain", "plain", "broken")),
        letters=chance.choice((50, 50, 50, 24, 20, 16)),
        hyphens=chance.choice(("kept", "kept", "blank", "nothing", "first")),
        further=chance.choice(("none", "field", "field", "blank")),
        number_behind=chance.random() < 0.3,
        telephones=chance.choice((0.0, 0.5, 0.85)),
        mothers=chance.choice((0.0, 0.0, 0.6)),
        care=chance.choice((0.5, 1.0, 1.0, 1.8)),
        no_day=chance.choice((0.0, 0.003, 0.01)),
        year_alone=chance.choice((0.0, 0.0, 0.004)),
        misread=chance.choice((0.0, 0.0, 0.5)),
    )


_KEYS = ("qwertyuiop", "asdfghjkl", "zxcvbnm")
_EAR = tuple(pair.split(">") for pair in MISTAKES["heard"])
_EYE = tuple(pair.split(">") for pair in MISTAKES["misread"])


def _mistake(text: str, software: Software, chance: random.Random) -> str:
    """One error of a hand, an ear or a scanner."""
    if len(text) < 3:
        return text
    kind, lower = chance.random(), text.lower()
    table = _EYE if kind < software.misread else _EAR if kind > 0.6 else ()
    found = [(old, new, lower.find(old)) for old, new in table if lower.find(old) >= 0]
    if found:
        old, new, place = chance.choice(found)
        return text[:place] + new + text[place + len(old) :]
    place = chance.randrange(len(text))
    kind = chance.random()
    if kind < 0.3:
        return text[:place] + text[place + 1 :]
    if kind < 0.5:
        return text[:place] + text[place : place + 1] + text[place:]
    if kind < 0.7:
        return text[:place] + text[place : place + 2][::-1] + text[place + 2 :]
    if kind < 0.75:
        return f"{text[:place]} {text[place:]}".strip()
    row = next((row for row in _KEYS if lower[place] in row), "e")
    near = row[min(len(row) - 1, max(0, row.find(lower[place]) + chance.choice((-1, 1))))]
    return text[:place] + near + text[place + 1 :]


def _typed(text: str, software: Software, chance: random.Random, rate: float = 0.025) -> str:
    if chance.random() < rate * software.care:
        text = _mistake(text, software, chance)
    if software.accents == "plain":
        text = plain(text)
    elif software.accents == "broken" and chance.random() < 0.3:
        # Letters in UTF-8 that were taken for Latin-1, or for nothing at all.
        text = text.encode().decode("latin-1") if chance.random() < 0.3 else text.encode("ascii", "replace").decode()
    return (text.upper() if software.upper else text)[: software.letters]


def _family(person: Inhabitant, software: Software, chance: random.Random) -> tuple[tuple[str, str | None], ...]:
    birth, used = person.family, person.married
    if birth.count(" ") and chance.random() < 0.12:
        birth = birth.replace(" ", "") if chance.random() < 0.6 else birth.rpartition(" ")[2]
    if not used or software.marriage == "birth":
        return ((birth, "L"),)
    if software.marriage == "used" or (software.marriage == "asked" and chance.random() < 0.5):
        return ((used, None),)
    if software.marriage == "both":
        return ((birth, "L"), (used, "D"))
    if software.marriage == "ep":
        return ((f"{birth} {chance.choice(('EP', 'EPOUSE', 'ép.'))} {used}", None),)
    if software.marriage == "nee":
        return ((f"{used} {chance.choice(('NEE', 'née'))} {birth}", None),)
    return ((f"{used}-{birth}" if software.marriage == "joined" else birth, None),)


def _given(person: Inhabitant, software: Software, chance: random.Random) -> tuple[str, str]:
    first = person.called if chance.random() < 0.35 else person.givens[0]
    others = " ".join(item for item in person.givens if item != first)
    if "-" in first and software.hyphens != "kept":
        parts = first.split("-")
        first = {"blank": " ".join(parts), "nothing": "".join(parts), "first": parts[0]}[software.hyphens]
    elif len(first) > 6 and chance.random() < 0.006:
        first = first[: chance.choice((3, 4))]
    if software.further == "blank" and others:
        return f"{first} {others}", ""
    return first, others if software.further == "field" else ""


def _date(person: Inhabitant, software: Software, chance: random.Random) -> str | None:
    day, kind = person.birth_date, chance.random()
    if kind < 0.006 and int(day[6:]) <= 12:
        return day[:4] + day[6:] + day[4:6]
    if kind < 0.014:
        place = chance.randrange(2, 8)
        return day[:place] + chance.choice("0123456789") + day[place + 1 :]
    if kind < 0.016:
        return f"{int(day[:4]) + chance.choice((-1, 1, 10, -10))}{day[4:]}"
    if kind < 0.016 + software.no_day:
        return f"{day[:4]}0101"
    if kind < 0.016 + software.no_day + software.year_alone:
        return day[:4]
    return None if kind > 0.998 else day


def _address(address: Address, software: Software, chance: random.Random) -> tuple[Address, ...]:
    if chance.random() < 0.06:
        return ()
    street, city = address.street, address.city
    number, _, rest = street.partition(" ")
    if number.isdigit() and software.number_behind:
        street = f"{rest} {number}" + (f" bte {chance.randrange(1, 9)}" if chance.random() < 0.2 else "")
    elif number.isdigit() and chance.random() < 0.2:
        street = f"{number}, {rest}"
    street = street.replace("avenue ", "AV. ") if chance.random() < 0.4 else street
    city = city.replace("Saint-", "ST ") if chance.random() < 0.3 else city
    city = f"{city} CEDEX" if chance.random() < 0.02 else city
    return (
        Address(
            street=_typed(street, software, chance, 0.06) if chance.random() > 0.09 else "",
            city=_typed(city, software, chance, 0.03),
            postal_code=address.postal_code if chance.random() > 0.05 else "",
        ),
    )


def written(person: Inhabitant, address: Address, software: Software, identified: float, chance: random.Random) -> Demographics:
    """What one system states of a person who lives at that address now; `identified` is the share of national identifiers."""
    given, further = _given(person, software, chance)
    typed = _typed(given, software, chance)
    names = [
        PersonName(_typed(family, software, chance), typed, _typed(further, software, chance), use=use)
        for family, use in _family(person, software, chance)
    ]
    if chance.random() < 0.006:
        names = [replace(name, family=name.given, given=name.family) for name in names]
    national: tuple[PatientIdentifier, ...] = ()
    if chance.random() < identified:
        value = person.national if chance.random() > 0.003 else _mistake(person.national, software, chance)
        national = (PatientIdentifier(value, INS, "INS"),)
    sex = person.sex if chance.random() > 0.004 else "FM"[person.sex == "F"]
    return Demographics(
        names=tuple(names),
        birth_date=_date(person, software, chance),
        sex=sex if chance.random() > 0.03 else None,
        addresses=_address(address, software, chance),
        telephones=(person.telephone,) if chance.random() < software.telephones else (),
        emails=(person.email,) if person.email and chance.random() < 0.25 else (),
        mother_maiden_name=_typed(person.mother, software, chance) if chance.random() < software.mothers else None,
        national_identifiers=national,
        birth_order=person.order if person.order and chance.random() < 0.2 else None,
    )


def newborn(person: Inhabitant, mother: str, chance: random.Random) -> Inhabitant:
    """A person before she had a name, under that of her mother perhaps."""
    stated = "Bébé garçon" if person.sex == "M" else "Bébé fille"
    given = chance.choice(("Bébé", "BB", "Nouveau-né", "NN", "Enfant", stated, "RN"))
    if person.order and chance.random() < 0.7:
        given = f"{given} {person.order}"
    family = mother if chance.random() < 0.4 else person.family
    return replace(person, givens=(given,), called=given, family=family, order=None)
