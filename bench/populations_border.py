"""A population of another make than those of `bench.populations`, for rules that fit those too well: a border region, a coast.

Breton, Walloon, Flemish, Comorian and Polish names, their rare ones spelt by chains of letters, so that they look like one
another; households with parents and children, homes for the aged, people who were registered with the first of January; and
software that writes DUPONT EP MARTIN, breaks accents, states a year alone, or puts the house number behind the street.
"""

from __future__ import annotations

import bisect
import itertools
import random
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta

from bench.establishments import plain
from bench.population_names import ORIGINS, Origin
from bench.populations_software import Inhabitant, newborn, software, written
from xds.model.patient import Address, Demographics

_TODAY = date(2026, 1, 1)
_SHARES = (("breton", 0.34), ("walloon", 0.3), ("flemish", 0.14), ("comorian", 0.13), ("polish", 0.09))
_RECORDS = ((1, 0.52), (2, 0.28), (3, 0.13), (4, 0.05), (6, 0.02))


class _Spelling:
    """Names of one origin: those that are given, then ever rarer ones made of the same letters in the same neighbourhoods."""

    def __init__(self, known: Sequence[str], count: int, tail: float, chance: random.Random) -> None:
        follow: dict[str, list[str]] = defaultdict(list)
        for name in known:
            text = f"^^{name.lower()}$"
            for index in range(2, len(text)):
                follow[text[index - 2 : index]].append(text[index])
        found = dict.fromkeys(known)
        for _ in range(count * 6):
            if len(found) >= count:
                break
            text = "^^"
            while not text.endswith("$") and len(text) < 15:
                text += chance.choice(follow[text[-2:]])
            name = text[2:].rstrip("$").strip(" -'").title()
            if 3 <= len(name) <= 12:
                found[name] = None
        self.names = list(found)
        self._weights = list(itertools.accumulate(1 / (index + 18) ** tail for index in range(len(self.names))))

    def draw(self, chance: random.Random) -> str:
        """A name, the frequent ones often."""
        return self.names[bisect.bisect_left(self._weights, chance.random() * self._weights[-1])]

    def near(self, name: str, chance: random.Random) -> str:
        """A name that ends or begins like another one, as brothers and sisters are given."""
        found = [item for item in self.names[:1500] if item != name and (item[:3] == name[:3] or item[-3:] == name[-3:])]
        return chance.choice(found) if found else self.draw(chance)


@dataclass(frozen=True, slots=True)
class _Origin:
    families: _Spelling
    women: _Spelling
    men: _Spelling
    particles: Sequence[str]
    #: Of those born before 1985, so many were registered without a day.
    without_day: float

    @staticmethod
    def of(origin: Origin, chance: random.Random) -> _Origin:
        return _Origin(
            _Spelling(origin.families, 9000, 0.85, chance),
            _Spelling(origin.women, 900, 1.1, chance),
            _Spelling(origin.men, 900, 1.1, chance),
            origin.particles,
            0.3 if origin is ORIGINS["comorian"] else 0.0,
        )

    def family(self, chance: random.Random) -> str:
        name = self.families.draw(chance)
        # The same family always has its particle.
        has_one = self.particles and sum(map(ord, name)) % 6 == 0
        return f"{self.particles[len(name) % len(self.particles)]} {name}" if has_one else name

    def givens(self, sex: str, chance: random.Random) -> tuple[str, ...]:
        listed = self.women if sex == "F" else self.men
        found = [listed.draw(chance) for _ in range(chance.choice((1, 1, 2, 3)))]
        if chance.random() < 0.09:
            found[0] = f"{found[0]}-{listed.draw(chance)}"
        return tuple(dict.fromkeys(found))


class _Region:
    """The people of the region, household by household."""

    def __init__(self, count: int, chance: random.Random) -> None:
        self.chance = chance
        self.people: list[Inhabitant] = []
        self._origins = {name: _Origin.of(ORIGINS[name], chance) for name, _ in _SHARES}
        streets = [self._origins[name].families.names[25:900] for name in ("breton", "walloon", "flemish")]
        self._streets = [item for pair in zip(*streets, strict=False) for item in pair]
        before, areas = ("", "", "Saint-", "Plou", "Ker", "Mont-sur-"), ("29", "56", "59", "7", "8")
        self._towns = [
            (chance.choice(before) + name, chance.choice(areas)) for name in self._origins["walloon"].families.names[40:1240]
        ]
        self._homes = [self.address() for _ in range(max(2, count // 6000))]
        while len(self.people) < count:
            self._household()

    def address(self) -> Address:
        """Somewhere to live."""
        chance = self.chance
        index = min(int(len(self._towns) * chance.random() ** 2.2), len(self._towns) - 1)
        town, area = self._towns[index]
        code = f"{area}{index:03d}"
        if chance.random() < 0.06:
            return Address(street=f"Lieu-dit Ker {chance.choice(self._streets)}", city=town, postal_code=code)
        kind = chance.choice(("rue", "rue", "rue de", "rue du", "avenue", "place", "chemin", "hent", "chaussée de", "résidence"))
        return Address(street=f"{chance.randrange(1, 150)} {kind} {chance.choice(self._streets)}", city=town, postal_code=code)

    def _born(self, youngest: int, oldest: int) -> date:
        return _TODAY - timedelta(days=self.chance.randrange(int(youngest * 365.25), int(oldest * 365.25)))

    def _origin(self) -> _Origin:
        return self._origins[self.chance.choices([name for name, _ in _SHARES], [share for _, share in _SHARES])[0]]

    def _household(self) -> None:
        chance, origin, address = self.chance, self._origin(), self.address()
        kind = chance.random()
        if kind < 0.3:
            sex = chance.choice("FM")
            born = self._born(18, 95)
            home = chance.choice(self._homes) if born.year < 1943 and chance.random() < 0.2 else address
            self._add(origin, origin.family(chance), origin.family(chance), sex, born, home, "")
            return
        his, hers = origin.family(chance), self._origin().family(chance)
        born = self._born(24, 88)
        landline = self._telephone() if chance.random() < 0.7 else ""
        father = self._add(origin, his, "", "M", born, address, landline)
        self._add(origin, hers, his, "F", born + timedelta(days=chance.randrange(-900, 1800)), address, landline)
        if kind > 0.5:
            self._children(origin, father, hers, born, landline)

    def _children(self, origin: _Origin, father: Inhabitant, mother: str, born: date, landline: str) -> None:
        chance = self.chance
        family = chance.choices((father.family, mother, f"{father.family}-{mother}"), (0.72, 0.1, 0.18))[0]
        day = born + timedelta(days=chance.randrange(8000, 13000))
        before: Inhabitant | None = None
        for _ in range(chance.choice((1, 1, 2, 2, 3, 4))):
            is_twin = before is not None and before.order is None and chance.random() < 0.035
            day = day if is_twin else day + timedelta(days=chance.randrange(330, 2200))
            if day >= _TODAY:
                return
            at_home = (_TODAY - day).days < 20 * 365
            sex = before.sex if before and is_twin and chance.random() < 0.62 else chance.choice("FM")
            child = self._add(
                origin, family, "", sex, day, father.address if at_home else self.address(), landline if at_home else "", mother
            )
            if before is not None and chance.random() < (0.3 if is_twin else 0.12):
                listed = origin.women if sex == "F" else origin.men
                givens = (listed.near(before.givens[0], chance), *child.givens[1:])
                child = replace(child, givens=givens, called=givens[0])
            elif sex == "M" and chance.random() < 0.02:
                child = replace(child, givens=father.givens, called=father.called)
            if is_twin and before is not None:
                if child.givens[0] == before.givens[0]:
                    child = replace(child, givens=(origin.men.draw(chance) + "ig", *child.givens[1:]))
                self.people[-2], child = replace(before, order=1), replace(child, order=2)
            self.people[-1] = before = child

    def _telephone(self) -> str:
        return f"0{self.chance.choice('123456')}{self.chance.randrange(10**8):08d}"

    def _add(
        self, origin: _Origin, family: str, married: str, sex: str, born: date, address: Address, landline: str, mother: str = ""
    ) -> Inhabitant:
        chance = self.chance
        givens = origin.givens(sex, chance)
        stated = born.strftime("%Y%m%d")
        if born.year < 1985 and chance.random() < origin.without_day:
            stated = f"{born.year}0101"
        own = chance.random() < 0.45 or not landline
        person = Inhabitant(
            number=len(self.people),
            family=family,
            married=married if sex == "F" and married and born.year < 2003 and chance.random() < 0.6 else "",
            givens=givens,
            called=givens[1] if len(givens) > 1 and chance.random() < 0.06 else givens[0],
            birth_date=stated,
            sex=sex,
            address=address,
            telephone=self._telephone() if own else landline,
            email=f"{plain(givens[0]).lower()}{chance.randrange(10**6)}@example.net" if chance.random() < 0.4 else "",
            mother=mother or origin.family(chance),
            national=f"{'12'[sex == 'F']}{stated[2:6]}{chance.randrange(10**8):08d}",
        )
        self.people.append(person)
        return person


def records(people: int, seed: int, identified: float) -> Iterator[tuple[str, int, Demographics]]:
    """Records as they arrive: whose each is, the number of its domain, what it says."""
    chance = random.Random(f"border {seed}")
    region = _Region(people, chance)
    systems = [software(chance) for _ in range(26)]
    counts, shares = [count for count, _ in _RECORDS], [share for _, share in _RECORDS]
    found: list[tuple[float, tuple[str, int, Demographics]]] = []
    for person in region.people:
        count = chance.choices(counts, shares)[0]
        is_new = person.birth_date >= "20251001" and chance.random() < 0.5
        married_at = chance.uniform(-1.5, 1.0)
        moved_at = chance.random() * 4.0
        moved = region.address()
        for index, place in enumerate(chance.sample(range(len(systems)), max(count, 2 if is_new else 1))):
            when = chance.random()
            now = person if when > married_at else replace(person, married="")
            if is_new and index == 0:
                now, when = newborn(person, person.mother, chance), 0.0
            address = moved if when > moved_at else person.address
            share = 0.0 if is_new and index == 0 else identified
            found.append((when, (str(person.number), place, written(now, address, systems[place], share, chance))))
    found.sort(key=lambda item: item[0])
    yield from (item for _, item in found)
