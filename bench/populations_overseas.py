"""People overseas: a department with a harbour, whose households come from thirteen parts of the world.

Households, not single persons, are made: couples, children born near one another, twins, cousins of one name, fathers and sons of
one name, homes for the old, shelters and prisons. `bench.populations_desks` writes them down.
"""

from __future__ import annotations

import bisect
import itertools
import random
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from typing import Final

from bench.establishments import plain
from bench.populations_desks import TABLES, Patient, desk, nameless, nobody, written
from xds.model.patient import Address, Demographics
from xds.rules.linkage import ins_key

_TODAY: Final = date(2026, 1, 1)
_RECORDS: Final = ((1, 0.5), (2, 0.28), (3, 0.14), (4, 0.06), (5, 0.02))
_DESKS: Final = 14


_PLACES: Final = {key: [item.strip() for item in text.split(";")] for key, text in TABLES["establishments"].items()}


class _Chain:
    """Names that nobody listed: letters follow one another as they do in the listed ones, so that many are nearly alike."""

    def __init__(self, known: Sequence[str], chance: random.Random) -> None:
        self._chance = chance
        self._next: dict[str, list[str]] = defaultdict(list)
        for name in known:
            for place, letter in enumerate(f"{name.lower()}$"):
                self._next[f"^^{name.lower()}"[place : place + 2]].append(letter)

    def name(self) -> str:
        """A name of 4 to 14 letters."""
        while True:
            text = "^^"
            while len(text) < 18 and (letter := self._chance.choice(self._next[text[-2:]])) != "$":
                text += letter
            if 6 <= len(text) <= 16 and text[-1].isalpha() and text[2].isalpha():
                return text[2:].title().replace("'S", "'s")


class _Drawn:
    """Names with their frequencies."""

    def __init__(self, known: Sequence[str], count: int, steepness: float, shift: int, chance: random.Random) -> None:
        chain = _Chain(known, chance)
        found = dict.fromkeys(known)
        for _ in range(count):
            found[chain.name()] = None
        self.names = list(found)
        self._chance = chance
        self._cumulated = list(itertools.accumulate(1 / (index + shift) ** steepness for index in range(len(self.names))))

    def one(self) -> str:
        """A name, frequent ones more often."""
        return self.names[bisect.bisect_left(self._cumulated, self._chance.random() * self._cumulated[-1])]

    def alike(self, name: str) -> str:
        """Another name that begins or ends as this one does."""
        found = [item for item in self.names[:250] if item != name and (item[:3] == name[:3] or item[-4:] == name[-4:])]
        return self._chance.choice(found) if found else self.one()


class _Origin:
    """The names of one part of the world, and its customs."""

    def __init__(self, section: str, chance: random.Random) -> None:
        table = TABLES[section]
        self.is_patronym = table.getboolean("patronym", False)
        self.is_gendered = table.getboolean("gendered", False)
        self.unknown_day = table.getfloat("unknown_day", 0.01)
        self.share = table.getfloat("share")
        heavy = section in ("vietnamese", "african", "comorian", "creole")
        lists = {key: [item.replace("_", " ") for item in table[key].split()] for key in table if key.endswith(("women", "men"))}
        families = [item.replace("_", " ") for item in table["families"].split()]
        self.families = _Drawn(families, 60 if section == "vietnamese" else 5000, 1.15 if heavy else 0.85, 4, chance)
        self.givens = {key: _Drawn(listed, 400, 1.8, 6, chance) for key, listed in lists.items()}

    def given(self, sex: str, born: str, alike: str = "") -> str:
        """A given name of that generation."""
        drawn = self.givens[("old" if born < "1975" else "young") + ("women" if sex == "F" else "men")]
        return drawn.alike(alike) if alike else drawn.one()

    def family(self, name: str, sex: str) -> str:
        """The name as a woman or a man of the family bears it."""
        return name[:-1] + "a" if self.is_gendered and sex == "F" and name.endswith("ski") else name


def _days_before(day: date, days: float) -> str:
    return (day - timedelta(days=int(days))).strftime("%Y%m%d")


@dataclass(slots=True)
class _Department:
    chance: random.Random
    origins: list[_Origin] = field(default_factory=list)
    streets: list[str] = field(default_factory=list)
    cities: list[tuple[str, str]] = field(default_factory=list)
    collective: list[tuple[Address, str]] = field(default_factory=list)
    people: list[Patient] = field(default_factory=list)
    households: list[tuple[_Origin, str, Address]] = field(default_factory=list)

    def build(self, count: int) -> None:
        """That many people."""
        chance = self.chance
        sections = [name for name in TABLES.sections() if "share" in TABLES[name]]
        self.origins = [_Origin(name, chance) for name in sections]
        names = [origin.families for origin in self.origins[:3]]
        kinds = ("rue", "rue", "rue", "chemin", "avenue", "impasse", "allée", "boulevard", "ruelle", "lotissement", "cité")
        links = ("des ", "du ", "de l'", "", "", "de la ")
        self.streets = [
            f"{chance.choice(kinds)} {chance.choice(links)}{chance.choice(names).one()}" for _ in range(max(400, count // 20))
        ]
        saints = ("", "Saint-", "Sainte-", "Le ", "La ")
        self.cities = [
            (f"{chance.choice(saints)}{chance.choice(names).one()}", f"{chance.choice((974, 971, 976, 133))}{index % 100:02d}")
            for index in range(140)
        ]
        for kind, telephone in (("homes", 1.0), ("shelters", 0.4), ("prisons", 0.0), ("homes", 1.0), ("shelters", 0.4)):
            for place in _PLACES[kind]:
                number = f"0262{chance.randrange(10**6):06d}" if chance.random() < telephone else ""
                self.collective.append((replace(self.address(), street=place), number))
        while len(self.people) < count:
            self._household()

    def address(self) -> Address:
        """Somebody's home; some cities are large."""
        chance = self.chance
        city, postal = self.cities[min(int(chance.paretovariate(0.7)) - 1, len(self.cities) - 1)]
        street = f"{chance.randrange(1, 180)} {chance.choice(self.streets)}"
        kind = chance.random()
        other = f"Apt {chance.randrange(1, 60)} Bât {chance.choice('ABCDEF')}" if kind < 0.2 else ""
        return Address(street=street, other=other, city=city, postal_code=postal)

    def _household(self) -> None:
        chance = self.chance
        origin = chance.choices(self.origins, [item.share for item in self.origins])[0]
        family, address = origin.families.one(), self.address()
        if self.households and chance.random() < 0.05:
            # Relatives who live in the same town, next door perhaps.
            origin, family, near = chance.choice(self.households[-300:])
            address = replace(address, city=near.city, postal_code=near.postal_code)
            address = near if chance.random() < 0.1 else address
        self.households.append((origin, family, address))
        age = 18 + 78 * chance.betavariate(1.2, 1.3)
        telephone = f"0{chance.choice('1249')}{chance.randrange(10**8):08d}" if chance.random() < 0.5 else ""
        sex = chance.choice("FM")
        first = self._person(origin, family, sex, _days_before(_TODAY, age * 365.25), address, telephone)
        if age > 74 and chance.random() < 0.18:
            first = self._inmate(first, "EHPAD")
        elif 18 < age < 60 and sex == "M" and chance.random() < 0.03:
            first = self._inmate(first, "")
        adults = [first]
        if chance.random() < 0.5:
            other = chance.choices(self.origins, [item.share for item in self.origins])[0] if chance.random() < 0.2 else origin
            born = _days_before(_TODAY, max(18.0, age + chance.gauss(0, 4)) * 365.25)
            adults.append(self._person(other, other.families.one(), "FM"[sex == "F"], born, address, telephone))
            adults = self._married(adults)
        numbers = [self._append(adult) for adult in adults]
        if 19 < age < 72 and chance.random() < 0.62:
            self._children(origin, [self.people[number] for number in numbers], address, telephone)

    def _inmate(self, person: Patient, kind: str) -> Patient:
        found = [item for item in self.collective if item[0].street.startswith("EHPAD") == bool(kind)]
        address, telephone = self.chance.choice(found)
        return replace(person, address=address, telephone=telephone)

    def _married(self, adults: Sequence[Patient]) -> list[Patient]:
        wife = next((item for item in adults if item.sex == "F"), None)
        husband = next((item for item in adults if item.sex == "M"), None)
        if not wife or not husband or self.chance.random() > 0.62:
            return list(adults)
        used = husband.family if self.chance.random() < 0.9 else f"{wife.family}-{husband.family}"
        return [replace(item, used=used) if item is wife else item for item in adults]

    def _person(
        self, origin: _Origin, family: str, sex: str, born: str, address: Address, telephone: str, alike: str = ""
    ) -> Patient:
        chance = self.chance
        count = chance.choice((1, 1, 2, 2, 3))
        givens = tuple(dict.fromkeys(origin.given(sex, born, alike if index == 0 else "") for index in range(count)))
        called = givens[1] if len(givens) > 1 and chance.random() < 0.05 else givens[0]
        if chance.random() < origin.unknown_day:
            born = born[:4] + chance.choice(("0101", "0101", "0101", "1231", "0701"))
        own = f"06{chance.randrange(10**8):08d}" if chance.random() < 0.8 and born < "2012" else telephone
        word = plain(family).lower().replace(" ", "").replace("'", "")
        email = f"{plain(givens[0])[:1].lower()}{word}{chance.randrange(100)}@example.org" if chance.random() < 0.35 else ""
        return Patient(
            0, origin.family(family, sex), "", givens, called, born, sex, address, telephone, own, email, origin.families.one()
        )

    def _children(self, origin: _Origin, parents: Sequence[Patient], address: Address, telephone: str) -> None:
        chance = self.chance
        mother = next((item for item in parents if item.sex == "F"), None)
        father = next((item for item in parents if item.sex == "M"), None)
        family = father.givens[0] if origin.is_patronym and father else (father or parents[0]).family
        if father and mother and chance.random() < 0.12:
            family = f"{father.family} {mother.family}"
        eldest = parents[0]
        born = date(int(eldest.birth_date[:4]), 1, 1) + timedelta(days=int(365.25 * chance.uniform(18, 36)))
        grown: list[Patient] = []
        for _ in range(chance.choice((1, 1, 2, 2, 2, 3, 3, 4, 5))):
            if born >= _TODAY:
                break
            day = born.strftime("%Y%m%d")
            sex, same = chance.choice("FM"), [item for item in grown if item.birth_date == day]
            alike = next((item.givens[0] for item in grown if item.sex == sex and chance.random() < (0.25 if same else 0.08)), "")
            child = self._person(origin, family, sex, day, address, telephone, alike)
            if father and sex == "M" and chance.random() < 0.012:
                child = replace(child, givens=father.givens, called=father.called)
            if child.givens[0] not in {item.givens[0] for item in grown}:
                order = len(same) + 1
                grown.append(self._child(child, mother, parents, day, order if same else None))
            born += timedelta(days=0 if chance.random() < 0.018 else int(365.25 * chance.uniform(1, 4.5)))
        for child in grown:
            twins = sum(item.birth_date == child.birth_date for item in grown)
            self._append(replace(child, order=child.order or (1 if twins > 1 else None)))

    def _child(self, child: Patient, mother: Patient | None, parents: Sequence[Patient], day: str, order: int | None) -> Patient:
        grown_up = day < "2004" and self.chance.random() < 0.75
        child = replace(child, birth_date=day, order=order, mother=mother.family if mother else child.mother)
        if grown_up:
            return replace(child, address=self.address(), telephone="")
        parent = parents[0]
        return replace(
            child,
            email=parent.email,
            mobile=child.mobile or parent.mobile,
            parent_number=parent.national if day > "2008" else "",
            mother_used=mother.used if mother else "",
            mother_given=mother.givens[0] if mother else "",
        )

    def _append(self, person: Patient) -> int:
        number = len(self.people)
        self.people.append(replace(person, number=number, national=self._nir(person)))
        return number

    def _nir(self, person: Patient) -> str:
        chance = self.chance
        place = chance.choice(("974", "974", "972", "971", "976", "751", "132", "993", "993"))
        sex = "1" if person.sex == "M" else "2"
        number = f"{sex}{person.birth_date[2:6]}{place}{chance.randrange(1, 99):02d}{chance.randrange(1, 400):03d}"
        return f"{number}{ins_key(number):02d}"


def records(people: int, seed: int, identified: float) -> Iterator[tuple[str, int, Demographics]]:
    """Person, domain and what was written down, as it arrives; `identified` of the records carry a national identifier."""
    chance = random.Random(f"overseas {seed}")
    department = _Department(chance)
    department.build(people)
    desks = [desk(chance) for _ in range(_DESKS)]
    found: list[tuple[float, tuple[str, int, Demographics]]] = []
    for person in department.people:
        count = chance.choices([number for number, _ in _RECORDS], [share for _, share in _RECORDS])[0]
        is_new = person.birth_date >= "20250901" and chance.random() < 0.8
        count = max(count, 2) if is_new else count
        places = chance.sample(range(_DESKS), count)
        if count > 1 and chance.random() < 0.01:
            places[-1] = places[0]
        now = person
        for index, place in enumerate(places):
            if chance.random() < 0.12:
                now = replace(now, address=department.address(), telephone="")
            if chance.random() < 0.1:
                now = replace(now, mobile=f"06{chance.randrange(10**8):08d}" if now.mobile else "")
            known = nameless(now, chance) if is_new and index == 0 else now
            stated = written(known, desks[place], 0.0 if known is not now else identified, chance)
            found.append((chance.random() + index * (1.0 if is_new else 0.001), (str(person.number), place, stated)))
    found += [(chance.random(), (f"nobody {index}", chance.randrange(_DESKS), nobody(chance))) for index in range(people // 700)]
    found.sort(key=lambda item: item[0])
    yield from (item for _, item in found)
