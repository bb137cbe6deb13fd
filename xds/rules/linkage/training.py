"""Learning the weights from a register's own records, without anybody telling which of them are one person.

How often levels agree by chance is counted on random pairs. How often they agree within one person is estimated by expectation
maximisation on pairs that share something: in one session those born on one day, in another those of one name, and so on, each
session leaving out what its pairs share. Levels that are seen too rarely, and those that are vetoes, keep the weights given.
"""

from __future__ import annotations

import math
import random
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Final

from xds.rules.linkage.comparison import compare, frequency_values, place_name
from xds.rules.linkage.folding import joined
from xds.rules.linkage.traits import Traits
from xds.rules.linkage.weights import DEFAULT_WEIGHTS, LEVELS, BirthDate, Family, Given, Register, Weights

_TRAITS: Final = tuple(LEVELS)
_RANDOM_PAIRS: Final = 150_000
_SESSION_PAIRS: Final = 30_000
_LARGEST_BLOCK: Final = 200
_ROUNDS: Final = 40
_FEWEST_PAIRS: Final = 200
_FEWEST_SEEN: Final = 10
#: So many observations weigh as much as the weight that was given.
_SHRINKAGE: Final = 50
_MOST_CHANGE: Final = 3.0
_YEARS_OF_CHILDHOOD: Final = 16
#: Levels that veto: whoever has them is no match for the estimate, so that it cannot say how often matches do.
_NOT_LEARNED: Final[Mapping[str, frozenset[int]]] = {
    "given": frozenset({Given.DIFFERENT_KNOWN, Given.DIFFERENT, Given.ALIKE_KNOWN, Given.ALIKE, Given.SWAPPED}),
    "family": frozenset({Family.SWAPPED}),
    "birth_date": frozenset({BirthDate.DIFFERENT, BirthDate.SAME_YEAR, BirthDate.TWO_DIGITS}),
}
#: The level whose chance follows from how often the values occur.
_EXACT: Final = {"family": int(Family.EXACT), "given": int(Given.EXACT)}

Pattern = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class _Session:
    """Pairs that share a key, and the traits that are left out because of it."""

    key: Callable[[Traits], tuple[str, ...]]
    left_out: frozenset[str]


def _by_date(traits: Traits) -> tuple[str, ...]:
    return (traits.birth_date,) if len(traits.birth_date) == 8 and not traits.is_default_date else ()


def _by_names(traits: Traits) -> tuple[str, ...]:
    return tuple(f"{joined(family)}|{given}" for family in traits.families for given in traits.givens)


def _by_given_and_place(traits: Traits) -> tuple[str, ...]:
    return tuple(f"{given}|{place_name(place)}" for given in traits.givens for place in traits.addresses if place_name(place))


def _by_family_and_place(traits: Traits) -> tuple[str, ...]:
    return tuple(f"{family}|{place_name(place)}" for family in traits.families for place in traits.addresses if place_name(place))


_CONTACTS: Final = frozenset({"address", "telephone", "email"})
_SESSIONS: Final = (
    _Session(_by_date, frozenset({"birth_date"})),
    _Session(_by_names, frozenset({"family", "given"})),
    _Session(_by_given_and_place, frozenset({"given"}) | _CONTACTS),
    _Session(_by_family_and_place, frozenset({"family"}) | _CONTACTS),
)


def _shared_pairs(
    sample: Sequence[Traits], key: Callable[[Traits], tuple[str, ...]], chance: random.Random
) -> list[tuple[int, int]]:
    """Pairs that share a key, at most `_SESSION_PAIRS` of them drawn evenly."""
    blocks: dict[str, list[int]] = defaultdict(list)
    for number, item in enumerate(sample):
        for value in key(item):
            blocks[value].append(number)
    kept: list[tuple[int, int]] = []
    seen = 0
    for block in blocks.values():
        for pair in combinations(block, 2) if len(block) <= _LARGEST_BLOCK else ():
            seen += 1
            if len(kept) < _SESSION_PAIRS:
                kept.append(pair)
            elif (place := chance.randrange(seen)) < _SESSION_PAIRS:
                kept[place] = pair
    return kept


def _pattern(levels: Mapping[str, int]) -> Pattern:
    return tuple(levels.get(trait, -1) for trait in _TRAITS)


@dataclass(slots=True)
class _Learner:
    sample: Sequence[Traits]
    given: Weights
    register: Register
    chance: random.Random

    def by_chance(self) -> dict[str, list[float]]:
        """How often each level was seen in random pairs."""
        counts = {trait: [0.0] * LEVELS[trait] for trait in _TRAITS}
        for _ in range(min(_RANDOM_PAIRS, 20 * len(self.sample))):
            one, other = self.chance.choice(self.sample), self.chance.choice(self.sample)
            evidence = compare(one, other, self.given, self.register)
            # Even random pairs are one person now and then, which would outnumber rare chance agreement.
            if one is not other and evidence.total < 0:
                for trait, level in evidence.levels.items():
                    counts[trait][level] += 1
        return counts

    def patterns(self, session: _Session) -> tuple[Counter[Pattern], Counter[Pattern]]:
        """Agreement patterns of a session's pairs: those that may be matches, and those that a veto forbids."""
        free: Counter[Pattern] = Counter()
        vetoed: Counter[Pattern] = Counter()
        for a, b in _shared_pairs(self.sample, session.key, self.chance):
            evidence = compare(self.sample[a], self.sample[b], self.given, self.register)
            (free if evidence.veto is None else vetoed)[_pattern(evidence.levels)] += 1
        return free, vetoed


def _maximise(
    patterns: Counter[Pattern],
    vetoed: int,
    traits: Sequence[int],
    start: Mapping[int, list[float]],
    by_chance: Mapping[int, list[float]],
) -> dict[int, list[float]]:
    """Expected counts of levels within one person, for the traits at those places of a pattern."""
    total = sum(patterns.values()) + vetoed
    within = {place: list(start[place]) for place in traits}
    share = 0.3
    counts: dict[int, list[float]] = {}
    for _ in range(_ROUNDS):
        ratios = {
            place: [math.log(max(m, 1e-9) / max(u, 1e-9)) for m, u in zip(within[place], by_chance[place], strict=True)]
            for place in traits
        }
        base = math.log(share / (1 - share))
        counts = {place: [0.0] * len(within[place]) for place in traits}
        matches = 0.0
        for pattern, times in patterns.items():
            odds = base + sum(ratios[place][pattern[place]] for place in traits if pattern[place] >= 0)
            expected = times / (1 + math.exp(-max(-60.0, min(60.0, odds))))
            matches += expected
            for place in traits:
                if pattern[place] >= 0:
                    counts[place][pattern[place]] += expected
        share = min(max(matches / total, 1e-6), 1 - 1e-6)
        for place in traits:
            summed = sum(counts[place]) + 0.1 * len(counts[place])
            within[place] = [(count + 0.1) / summed for count in counts[place]]
    return counts


def _shares(counts: Sequence[float], smallest: float = 0.5) -> list[float]:
    total = sum(counts) + smallest * len(counts)
    return [(count + smallest) / total for count in counts]


def _equal_share(counts: Counter[tuple[str, str]], kind: str) -> float:
    """How often two records of different persons have the same value of a kind."""
    values = [count for (found, _), count in counts.items() if found == kind]
    total = sum(values)
    equal = sum(count * (count - 1) for count in values)
    return max(equal / (total * (total - 1)), 1e-7) if total > 1 else 0.0


def _chances(counts: Counter[tuple[str, str]], given: Weights) -> dict[str, float]:
    return {kind: _equal_share(counts, kind) or chance for kind, chance in given.chance.items()}


def _starts(given: Weights, by_chance: Mapping[str, list[float]]) -> Iterator[tuple[str, list[float]]]:
    """What the given weights say of levels within one person."""
    for trait in _TRAITS:
        weighed = [u * 2.0**bits for u, bits in zip(by_chance[trait], given.bits[trait], strict=True)]
        total = sum(weighed)
        yield trait, [value / total for value in weighed]


def _bits(trait: str, seen: Sequence[float], counted: Sequence[float], exact: float, given: Weights) -> tuple[float, ...]:
    """New weights of a trait: what was learned, drawn towards what was given where little was seen."""
    within, by_chance = _shares(seen, 0.1), _shares(counted)
    found = []
    for level, old in enumerate(given.bits[trait]):
        is_exact = _EXACT.get(trait) == level and exact > 0
        enough = seen[level] >= _FEWEST_SEEN and (counted[level] >= _FEWEST_SEEN or is_exact)
        if not enough or level in _NOT_LEARNED.get(trait, frozenset()):
            found.append(old)
            continue
        new = math.log2(within[level] / (exact if is_exact else by_chance[level]))
        trust = seen[level] / (seen[level] + _SHRINKAGE)
        found.append(old + max(-_MOST_CHANGE, min(_MOST_CHANGE, trust * (new - old))))
    return tuple(found)


def train(sample: Sequence[Traits], given: Weights = DEFAULT_WEIGHTS) -> Weights:
    """Weights learned from records of one register, the same for the same records.

    `given` are the weights to begin with; its thresholds stay. Too few records leave it unchanged but for its version.
    """
    counts: Counter[tuple[str, str]] = Counter(value for item in sample for value in frequency_values(item))
    register = Register(len(sample), counts)
    learner = _Learner(sample, given, register, random.Random(1))
    counted = learner.by_chance()
    by_chance = {trait: _shares(counted[trait]) for trait in _TRAITS}
    starts = dict(_starts(given, by_chance))
    seen = {trait: [0.0] * LEVELS[trait] for trait in _TRAITS}
    for session in _SESSIONS:
        free, vetoed = learner.patterns(session)
        if sum(free.values()) < _FEWEST_PAIRS:
            continue
        places = [place for place, trait in enumerate(_TRAITS) if trait not in session.left_out]
        found = _maximise(
            free,
            sum(vetoed.values()),
            places,
            {place: starts[_TRAITS[place]] for place in places},
            {place: by_chance[_TRAITS[place]] for place in places},
        )
        for place, expected in found.items():
            seen[_TRAITS[place]] = [a + b for a, b in zip(seen[_TRAITS[place]], expected, strict=True)]
    chances = _chances(counts, given)
    bits = {trait: _bits(trait, seen[trait], counted[trait], chances.get(trait, 0.0), given) for trait in _TRAITS}
    years = sorted(int(item.birth_date[:4]) for item in sample if item.birth_date)
    children = years[int(len(years) * 0.999)] - _YEARS_OF_CHILDHOOD if len(years) >= _FEWEST_PAIRS else given.children_since
    return replace(given, version=f"{given.version}+{len(sample)}", bits=bits, chance=chances, children_since=children)
