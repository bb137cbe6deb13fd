"""How the desks of hospitals, laboratories and practices overseas write people down, and what interfaces make of it."""

from __future__ import annotations

import random
from configparser import ConfigParser
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from bench.establishments import INS, plain
from xds.model.identifiers import AssigningAuthority, PatientIdentifier
from xds.model.patient import Address, Demographics, PersonName


@dataclass(frozen=True, slots=True)
class Patient:
    """Somebody as he is. `used` is the name by marriage, `telephone` that of the household, `parent_number` of the insured."""

    number: int
    family: str
    used: str
    givens: tuple[str, ...]
    called: str
    birth_date: str
    sex: str
    address: Address
    telephone: str
    mobile: str
    email: str
    mother: str
    national: str = ""
    order: int | None = None
    parent_number: str = ""
    mother_used: str = ""
    mother_given: str = ""


@dataclass(frozen=True, slots=True)
class Desk:
    """The habits of one desk and of the interface behind it. Rates are shares of its records."""

    marriage: str
    marks: str
    capital: bool
    accents: str
    letters: int
    further: str
    swapped: float
    called: float
    short: float
    titles: float
    telephones: float
    emails: float
    mothers: float
    places: float
    no_day: float
    slips: float
    ear: float
    eye: float
    wrong_number: float


def desk(chance: random.Random) -> Desk:
    """A desk."""
    return Desk(
        marriage=chance.choice(("both", "both", "both", "birth", "birth", "used", "ep", "nee", "joined", "either")),
        marks=chance.choice(("kept", "kept", "kept", "blank", "blank", "joined")),
        capital=chance.random() < 0.75,
        accents=chance.choice(("kept", "plain", "plain", "plain", "plain", "latin", "question")),
        letters=chance.choice((50, 50, 50, 50, 30, 30, 20)),
        further=chance.choice(("none", "none", "field", "field", "field", "all", "comma")),
        swapped=chance.choice((0.001, 0.002, 0.003, 0.02)),
        called=chance.choice((0.1, 0.3, 0.6)),
        short=chance.choice((0.0, 0.0, 0.01, 0.06)),
        titles=chance.choice((0.0, 0.0, 0.002, 0.012)),
        telephones=chance.choice((0.0, 0.6, 0.8, 0.9)),
        emails=chance.choice((0.0, 0.0, 0.3, 0.6)),
        mothers=chance.choice((0.0, 0.0, 0.0, 0.5)),
        places=chance.choice((0.0, 0.0, 0.5, 0.9)),
        no_day=chance.choice((0.0, 0.0, 0.002, 0.008)),
        slips=chance.choice((0.01, 0.02, 0.03, 0.045)),
        ear=chance.choice((0.15, 0.35, 0.6)),
        eye=chance.choice((0.0, 0.0, 0.1, 0.4)),
        wrong_number=chance.choice((0.0, 0.001, 0.004)),
    )


def _tables() -> ConfigParser:
    found = ConfigParser(interpolation=None, delimiters=("=",))
    found.optionxform = str  # type: ignore[method-assign,assignment]
    with Path(__file__).with_name("populations_overseas.ini").open(encoding="utf-8") as file:
        found.read_file(file)
    return found


#: Names, places, short forms and mistakes of the people overseas.
TABLES: Final = _tables()
_SHORT: Final = {name: text.split() for name, text in TABLES["short forms"].items()}
_EAR, _EYE = (tuple(pair.split(">") for pair in TABLES["mistakes"][kind].split()) for kind in ("heard", "misread"))
_ROWS: Final = ("azertyuiop", "qsdfghjklm", "wxcvbn")
_TITLES: Final = ("MME {}", "Mme {}", "M. {}", "MR {}", "DR {}", "{} (DCD)", "ENF {}", "Enfant {}", "{} *HOMONYME*", "{}.")
_NEWBORN: Final = ("BEBE", "Bébé", "NOUVEAU NE", "Nouveau-né", "X", "BB", "NN", "ENFANT", "SANS PRENOM")


def _keyed(text: str, chance: random.Random) -> str:
    place, kind = chance.randrange(len(text)), chance.random()
    if kind < 0.3:
        return text[:place] + text[place + 1 :]
    if kind < 0.5:
        return text[:place] + text[place] + text[place:]
    if kind < 0.7:
        return text[:place] + text[place : place + 2][::-1] + text[place + 2 :]
    letter = plain(text[place]).lower()
    row = next((index for index, keys in enumerate(_ROWS) if letter in keys), 0)
    column = max(_ROWS[row].find(letter), 0)
    if chance.random() < 0.25:
        row = min(2, max(0, row + chance.choice((-1, 1))))
    keys = _ROWS[row]
    near = keys[max(0, min(len(keys) - 1, column + chance.choice((-1, 1))))]
    return f"{text[:place]}{near}{'' if chance.random() < 0.75 else text[place]}{text[place + 1 :]}"


def slipped(text: str, where: Desk, chance: random.Random) -> str:
    """One error of the ear, the eye or the keyboard."""
    if len(text) < 3:
        return text
    kind, lower = chance.random(), text.lower()
    pairs = _EAR if kind < where.ear else _EYE if kind < where.ear + where.eye else ()
    found = [(old, new) for old, new in pairs if old in lower]
    if not found:
        return _keyed(text, chance)
    old, new = chance.choice(found)
    place = chance.choice([index for index in range(len(lower)) if lower.startswith(old, index)])
    return text[:place] + new + text[place + len(old) :]


def _lettered(text: str, where: Desk, chance: random.Random) -> str:
    """Marks, letters and length as the desk has them."""
    if where.marks != "kept" and chance.random() < 0.9:
        for mark in "-'":
            text = text.replace(mark, " " if where.marks == "blank" else "")
    elif chance.random() < 0.1:
        text = text.replace("'", "’")
    if where.accents == "plain" or (where.capital and where.accents == "kept" and chance.random() < 0.5):
        text = plain(text)
    text = text.upper() if where.capital else text
    if where.accents == "latin" and chance.random() < 0.4:
        text = text.encode().decode("latin-1")
    elif where.accents == "question" and chance.random() < 0.4:
        text = text.encode("ascii", "replace").decode()
    return text[: where.letters].strip()


def _typed(text: str, where: Desk, chance: random.Random, rate: float = 1.0) -> str:
    if text and chance.random() < where.slips * rate:
        text = slipped(text, where, chance)
    return _lettered(text, where, chance)


def _families(person: Patient, where: Desk, chance: random.Random) -> list[tuple[str, str | None]]:
    birth, used, way = person.family, person.used, where.marriage
    if " " in birth and chance.random() < 0.06:
        birth = birth.replace(" ", "") if chance.random() < 0.7 else birth.split(" ")[-1]
    if not used or way == "birth":
        return [(birth, "L")]
    if way == "used" or (way == "either" and chance.random() < 0.5):
        return [(used, "D" if chance.random() < 0.5 else None)]
    if way == "both":
        return [(birth, "L"), (used, "D")]
    if way == "ep":
        return [(f"{birth} {chance.choice(('EP', 'EP', 'EPSE', 'VVE', 'épouse', 'ép.'))} {used}", None)]
    if way == "nee":
        return [(f"{used} {chance.choice(('NEE', 'NEE', 'née', 'né(e)'))} {birth}", None)]
    if way == "joined":
        pair = (birth, used) if chance.random() < 0.6 else (used, birth)
        return [(chance.choice(("{} {}", "{}-{}")).format(*pair), None)]
    return [(birth, "L")]


def _givens(person: Patient, where: Desk, chance: random.Random) -> tuple[str, str]:
    first = person.called if chance.random() < where.called else person.givens[0]
    if len(person.givens) > 1 and chance.random() < 0.006:
        first = person.givens[1]
    others = [item for item in person.givens if item != first]
    if chance.random() < where.short * 4 and first in _SHORT:
        first = chance.choice(_SHORT[first])
    elif "-" in first and chance.random() < where.short * 3:
        parts = first.split("-")
        first = chance.choice((parts[0], f"{parts[0][0]} {parts[1]}", f"{parts[0][0]}.{parts[1]}", parts[0]))
    elif " " in first and chance.random() < 0.08:
        first = first.partition(" ")[2]
    if where.further == "all":
        return " ".join((first, *others)), ""
    if where.further == "comma" and others:
        return ", ".join((first, *others)), ""
    return first, " ".join(others) if where.further == "field" else ""


def _names(person: Patient, where: Desk, chance: random.Random) -> tuple[PersonName, ...]:
    given, further = _givens(person, where, chance)
    typed, more = _typed(given, where, chance), _typed(further, where, chance)
    names = [PersonName(_typed(family, where, chance), typed, more, use=use) for family, use in _families(person, where, chance)]
    if chance.random() < where.titles:
        title = chance.choice(_TITLES)
        names = [replace(name, family=title.format(name.family)[: where.letters]) for name in names]
    kind = chance.random()
    if kind < where.swapped:
        names = [replace(name, family=name.given, given=name.family) for name in names]
    elif kind < where.swapped + 0.002:
        names = [replace(name, family=f"{name.family} {name.given}", given="") for name in names]
    return tuple(names)


def _date(day: str, where: Desk, chance: random.Random) -> str | None:
    kind = chance.random()
    if kind < 0.005 and int(day[6:]) <= 12:
        return day[:4] + day[6:] + day[4:6]
    if kind < 0.0115:
        place = chance.randrange(2, 8)
        return day[:place] + chance.choice("0123456789") + day[place + 1 :]
    if kind < 0.014:
        return f"{int(day[:4]) + chance.choice((-1, 1, 1, -1, 10, -10))}{day[4:]}"
    if kind < 0.0145:
        return "19000101"
    if kind < 0.0145 + where.no_day:
        return day[:4] + chance.choice(("0101", "0101", "0101", "0715"))
    return None if kind > 0.9985 else day


def _addresses(person: Patient, where: Desk, chance: random.Random) -> tuple[Address, ...]:
    home = person.address
    birth = Address(city=f"Commune {person.national[5:10]}", postal_code=person.national[5:10], use="BDL")
    found = (birth,) if chance.random() < where.places else ()
    kind = chance.random()
    if kind < 0.05:
        return found
    if kind < 0.065:
        return (Address(street="8 rue du Centre Hospitalier", city="Saint-Denis", postal_code="97400", use="H"), *found)
    street, city, other = home.street, home.city, home.other
    for word, short in (
        ("avenue", "AV"),
        ("boulevard", "BD"),
        ("rue", "R"),
        ("chemin", "CHE"),
        ("impasse", "IMP"),
        ("allée", "ALL"),
    ):
        street = street.replace(f" {word} ", f" {short} ") if chance.random() < 0.3 else street
    if chance.random() < 0.15:
        street, other = f"{other} {street}".strip(), ""
    elif chance.random() < 0.3:
        other = ""
    city = city.replace("Saint-", "ST ").replace("Sainte-", "STE ") if chance.random() < 0.4 else city
    city = f"{city} CEDEX" if chance.random() < 0.02 else city
    written_home = Address(
        street=_typed(street, where, chance, 1.5) if chance.random() > 0.08 else "",
        other=_typed(other, where, chance) if other else "",
        city=_typed(city, where, chance),
        postal_code=home.postal_code if chance.random() > 0.04 else "",
        use="H" if found else None,
    )
    return (written_home, *found)


def _telephones(person: Patient, where: Desk, chance: random.Random) -> tuple[str, ...]:
    if chance.random() >= where.telephones:
        return ()
    if chance.random() < 0.006:
        return (chance.choice(("0000000000", "0262905050", "0600000000", "99")),)
    numbers = [item for item in (person.telephone, person.mobile) if item]
    numbers = numbers if chance.random() < 0.4 else numbers[-1:]
    return tuple(_dialled(number, chance) for number in dict.fromkeys(numbers))


def _dialled(number: str, chance: random.Random) -> str:
    if chance.random() < 0.01:
        place = chance.randrange(2, len(number))
        number = number[:place] + chance.choice("0123456789") + number[place + 1 :]
    kind = chance.random()
    if kind < 0.5:
        return number
    if kind < 0.75:
        return " ".join(number[place : place + 2] for place in range(0, 10, 2))
    return f"+33{number[1:]}" if kind < 0.9 else ".".join(number[place : place + 2] for place in range(0, 10, 2))


def _number(person: Patient, where: Desk, chance: random.Random) -> tuple[PatientIdentifier, ...]:
    value = person.national
    if person.parent_number and chance.random() < 0.04:
        value = person.parent_number
    elif chance.random() < where.wrong_number:
        place = chance.randrange(len(value))
        value = value[:place] + chance.choice("0123456789") + value[place + 1 :]
    return (PatientIdentifier(value, INS, "INS"),)


def written(person: Patient, where: Desk, identified: float, chance: random.Random) -> Demographics:
    """What a desk writes down; `identified` is the share of national identifiers."""
    numbers = _number(person, where, chance) if chance.random() < identified else ()
    if identified and person.national[5:7] == "99" and chance.random() < 0.1:
        numbers = (PatientIdentifier(person.national[::-1][:11], AssigningAuthority("NISS"), "NI"),)
    sex = person.sex if chance.random() > 0.004 else "FM"[person.sex == "F"]
    unknown = chance.random()
    return Demographics(
        names=_names(person, where, chance),
        birth_date=_date(person.birth_date, where, chance),
        sex=sex if unknown > 0.025 else chance.choice((None, "U")),
        addresses=_addresses(person, where, chance),
        telephones=_telephones(person, where, chance),
        emails=(person.email,) if person.email and chance.random() < where.emails else (),
        mother_maiden_name=_typed(person.mother, where, chance) if chance.random() < where.mothers else None,
        national_identifiers=numbers,
        birth_order=person.order if person.order and chance.random() < 0.3 else None,
        multiple_birth=True if person.order and chance.random() < 0.3 else None,
    )


def nameless(person: Patient, chance: random.Random) -> Patient:
    """A newborn as the maternity knows it: with the name of the mother, and without one of its own."""
    given = chance.choice(_NEWBORN)
    kind = chance.random()
    if kind < 0.2 and person.mother_given:
        given = f"{chance.choice(('BEBE', 'FILLE' if person.sex == 'F' else 'FILS', 'Enfant'))} DE {person.mother_given}"
    elif kind < 0.3:
        given = "Fille" if person.sex == "F" else "Garçon"
    if person.order and chance.random() < 0.85:
        given = f"{given} {chance.choice((person.order, 'AB'[min(person.order, 2) - 1]))}"
    kind = chance.random()
    family = person.mother if kind < 0.35 else (person.mother_used or person.family) if kind < 0.5 else person.family
    return replace(person, givens=(given,), called=given, family=family, used="")


def nobody(chance: random.Random) -> Demographics:
    """A test, or somebody whose name nobody knows; each of them is one of his own."""
    family, given = chance.choice(
        (
            ("TEST", "TEST"),
            ("TEST", "PATIENT"),
            ("ZZTEST", "PIERRE"),
            ("ESSAI", "Essai"),
            ("TESTINS", "Marie"),
            ("INCONNU", "X"),
            ("X", "X"),
            ("X SE DISANT", "MOHAMED"),
            ("ANONYME", f"{chance.randrange(1, 30)}"),
            (f"ANONYME {chance.randrange(1, 30)}", ""),
            ("NON COMMUNIQUE", "INCONNU"),
        )
    )
    return Demographics(
        names=(PersonName(family, given),),
        birth_date=chance.choice(("19000101", "19800101", "20000101", "19700101", f"19{chance.randrange(30, 99)}0101")),
        sex=chance.choice(("M", "F", "U", None)),
        addresses=(Address(street="8 rue du Centre Hospitalier", city="Saint-Denis", postal_code="97400"),)
        if chance.random() < 0.5
        else (),
    )
