"""How long demographics queries take in a register of millions: `python -m bench.demographics 1000000 10000000`.

The database itself makes up the people and writes what feeds would have written, so that ten millions take minutes. `timings` can
be asked about any other register, too.
"""

from __future__ import annotations

import argparse
import random
import re
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg

from bench.databases import chosen
from xds.actors.patient_demographics_supplier import PatientDemographicsSupplier
from xds.model.caller import SYSTEM
from xds.model.demographics_query import Comparison, DateRange, DemographicsQuery, NamePattern, PageRequest, TextPattern
from xds.model.domain_identity import DomainIdentity
from xds.model.patient import PersonName
from xds.rules.access import AllowAll
from xds.rules.demographics_index import sound_codes
from xds.rules.linkage import fold
from xds.store.database import open_database

IDENTITY = DomainIdentity("1.2.250.1.71.9.1", "BENCH", "1.2.250.1.71.9.2", "1.2.250.1.71.9.3", "1.2.250.1.71.9.4", "BENCH", "")
FAMILIES, GIVENS, YEARS = 60_000, 4_000, 95
_ONSETS = ["B", "C", "CH", "D", "F", "G", "J", "L", "M", "N", "P", "R", "S", "T", "V", "BR", "CR", "DR", "GR", "TR", "PL", "BL"]
_VOWELS = ["A", "E", "I", "O", "U", "AU", "EAU", "OU", "OI", "AN", "IN", "ON"]


@dataclass(frozen=True, slots=True)
class Somebody:
    """A person of the register."""

    name: PersonName
    birth_date: str


@dataclass(frozen=True, slots=True)
class Timing:
    """How long a kind of query takes, in milliseconds, how much of that its thread computes (p95), and how many it finds."""

    query: str
    median: float
    p95: float
    p99: float
    computing: float
    found: float


def words(number: int, syllables: int, seed: int) -> list[str]:
    """Names that can be pronounced, without repetition."""
    chance = random.Random(seed)
    found: dict[str, None] = {}
    while len(found) < number:
        parts = chance.randint(2, syllables)
        found["".join(chance.choice(_ONSETS) + chance.choice(_VOWELS) for _ in range(parts)).capitalize()] = None
    return list(found)


def queries(person: Somebody) -> Mapping[str, DemographicsQuery]:
    """The questions that somebody is looked for by."""
    family, given, day = person.name.family, person.name.given, person.birth_date

    def named(family: TextPattern, given: TextPattern | None = None) -> tuple[tuple[NamePattern, ...], ...]:
        return ((NamePattern(family, given),),)

    exact, fuzzy, prefix = (TextPattern(family, how) for how in (Comparison.EXACT, Comparison.FUZZY, Comparison.PREFIX))
    born = (DateRange(day, day),)
    year = (DateRange(f"{day[:4]}0101", f"{day[:4]}1231"),)
    return {
        "name and birth date": DemographicsQuery(names=named(exact, TextPattern(given)), birth_dates=born),
        "family name and birth date": DemographicsQuery(names=named(exact), birth_dates=born),
        "3 letters and year": DemographicsQuery(names=named(TextPattern(family[:3], prefix.comparison)), birth_dates=year),
        "4 letters and year": DemographicsQuery(names=named(TextPattern(family[:4], prefix.comparison)), birth_dates=year),
        "misspelled name and birth date": DemographicsQuery(
            names=named(TextPattern(family[:2] + family[3:], fuzzy.comparison)), birth_dates=born
        ),
        "family and given name": DemographicsQuery(names=named(exact, TextPattern(given))),
        "misspelled names": DemographicsQuery(
            names=named(TextPattern(family[:2] + family[3:], fuzzy.comparison), TextPattern(given, fuzzy.comparison))
        ),
        "birth date": DemographicsQuery(birth_dates=born, sexes=("F",)),
    }


def timings(supplier: PatientDemographicsSupplier, people: Sequence[Somebody], page: PageRequest) -> list[Timing]:
    """Ask about all of these people in one way after the other."""
    taken: dict[str, list[float]] = {}
    computing: dict[str, list[float]] = {}
    found: dict[str, list[int]] = {}
    asked = [queries(person) for person in people]
    for title, query in ((title, each[title]) for title in asked[0] for each in asked):
        started, before = time.perf_counter(), time.thread_time()
        answer = supplier.search(query, page, SYSTEM)
        taken.setdefault(title, []).append(1000 * (time.perf_counter() - started))
        computing.setdefault(title, []).append(1000 * (time.thread_time() - before))
        if answer.problems:
            raise RuntimeError(f"{title}: {answer.problems}")
        found.setdefault(title, []).append(answer.total if answer.total is not None else 1000)
    return [_timing(title, values, computing[title], found[title]) for title, values in taken.items()]


def _timing(title: str, values: Sequence[float], computing: Sequence[float], found: Sequence[int]) -> Timing:
    cuts = statistics.quantiles(values, n=100, method="inclusive")
    busy = statistics.quantiles(computing, n=100, method="inclusive")
    return Timing(title, cuts[49], cuts[94], cuts[98], busy[94], statistics.fmean(found))


# A register


def fill(
    execute: Callable[[str, Sequence[Any]], object], many: Callable[[str, list[tuple[Any, ...]]], object], people: int
) -> None:
    """Make up so many people in an empty database with today's tables, each with one record."""
    families, givens = words(FAMILIES, 4, 1), words(GIVENS, 3, 2)
    for table, names in (("bench_family", families), ("bench_given", givens)):
        execute(f"CREATE TABLE {table} (i INTEGER PRIMARY KEY, written TEXT, folded TEXT)", ())
        many(f"INSERT INTO {table} VALUES (?, ?, ?)", [(i, name, fold(name)) for i, name in enumerate(names)])
    for kind, names in (("f", families), ("g", givens)):
        many("INSERT INTO name_word VALUES (?, ?)", [(kind, fold(name)) for name in names])
        codes = {(code, kind, fold(name)) for name in names for code in sound_codes(name)}
        many("INSERT INTO name_sound VALUES (?, ?, ?)", sorted(codes))
    for statement in _statements(people):
        execute(statement, ())


def _statements(people: int) -> Iterator[str]:
    """What makes people of names. `:random` is a number from 0 to below 1, `:people` a table of numbers from 1."""
    born = f"({2026 - YEARS} + CAST({YEARS} * a AS INTEGER)) * 10000 + (1 + CAST(12 * b AS INTEGER)) * 100 + 1"
    made = f"CAST({FAMILIES} * u * u AS INTEGER) AS f, CAST({GIVENS} * w * w AS INTEGER) AS g"
    drawn = ", ".join(f":random AS {name}" for name in "uwabcd")
    yield (
        f"CREATE TABLE bench_person AS SELECT i, {made}, {born} + CAST(28 * c AS INTEGER) AS born,"
        f" CASE WHEN d < 0.5 THEN 'F' ELSE 'M' END AS sex FROM (SELECT i, {drawn} FROM {{series:{people}}})"
    )
    yield "INSERT INTO identity_domain VALUES (1, 'BENCH', '1.2.250.1.71.9.1'), (2, 'HOSP', '1.2.250.1.71.9.9')"
    yield "INSERT INTO person SELECT i, i, 0 FROM bench_person"
    for domain, assigned, value in ((1, ":true", "'P' || i"), (2, ":false", "'H' || i")):
        columns = "person_key, domain_key, value, bearer, assigned, created"
        yield f"INSERT INTO identity ({columns}) SELECT i, {domain}, {value}, 0, {assigned}, 0 FROM bench_person"
    joined = "FROM bench_person p JOIN bench_family f ON f.i = p.f JOIN bench_given g ON g.i = p.g"
    stated = (
        """'{"names":[["' || f.written || '","' || g.written || '","","","","L"]],"birth_date":"' || born"""
        """ || '","sex":"' || sex || '"}'"""
    )
    columns = "person_key, source, demographics, search, traits, messages, updated"
    values = f"p.i, 'HOSP|ADT', {stated}, '', :empty, :empty, 0"
    yield f"INSERT INTO stated_demographics ({columns}) SELECT {values} {joined} ORDER BY p.i"
    names = "p.born / 10000 AS birth_year, f.folded, p.born AS birth, ' ' || g.folded || ' ' AS given, p.sex, p.i"
    yield f"INSERT INTO demographic_name SELECT {names} {joined} ORDER BY 1, 2, 3, 4"
    yield f"INSERT INTO demographic_term SELECT 'g', g.folded, p.i {joined} ORDER BY 2, 3"


def sample(rows: Callable[[str], Sequence[Any]], people: int, number: int) -> list[Somebody]:
    """Some of the people, as often as they are, that is, the bearers of frequent names most."""
    chance = random.Random(3)
    keys = ",".join(str(chance.randint(1, people)) for _ in range(number))
    joined = "FROM bench_person p JOIN bench_family f ON f.i = p.f JOIN bench_given g ON g.i = p.g"
    found = rows(f"SELECT f.written, g.written, p.born {joined} WHERE p.i IN ({keys})")
    return [Somebody(PersonName(family, given), str(born)) for family, given, born in found]


@contextmanager
def register(url: str, people: int, number: int) -> Iterator[list[Somebody]]:
    """Some of the people of a database, which is filled first when it does not exist."""
    is_made = url.startswith("sqlite") and Path(url.removeprefix("sqlite:///")).exists()
    database = open_database(url)
    database.create_schema()
    database.close()
    if url.startswith("sqlite"):
        connection = sqlite3.connect(url.removeprefix("sqlite:///"), isolation_level=None)
        if is_made:
            yield sample(lambda text: connection.execute(text).fetchall(), people, number)
            connection.close()
            return
        connection.execute("PRAGMA synchronous = OFF")
        connection.execute("PRAGMA cache_size = -400000")
        fill(lambda text, _: connection.execute(_sqlite(text)), connection.executemany, people)
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        yield sample(lambda text: connection.execute(text).fetchall(), people, number)
        connection.close()
        return
    with psycopg.connect(url.replace("+psycopg", "", 1), autocommit=True) as server, server.cursor() as cursor:
        fill(
            lambda text, _: cursor.execute(_postgresql(text)),
            lambda text, rows: cursor.executemany(_postgresql(text), rows),
            people,
        )
        cursor.execute("VACUUM ANALYZE")
        yield sample(lambda text: cursor.execute(text).fetchall(), people, number)


def _sqlite(text: str) -> str:
    before, marked, rest = text.partition("{series:")
    if marked:
        people, _, after = rest.partition("}")
        series = f"(WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {people}) SELECT i FROM n)"
        text = before + series + after
    for mark, value in ((":random", "abs(random() % 1000000) / 1000000.0"), (":true", "1"), (":false", "0"), (":empty", "x''")):
        text = text.replace(mark, value)
    return text


def _postgresql(text: str) -> str:
    before, marked, rest = text.partition("{series:")
    if marked:
        people, _, after = rest.partition("}")
        text = f"{before}generate_series(1, {people}) AS n(i){after} AS made"
    # It rounds where SQLite cuts off.
    text = re.sub(r"CAST\((.*?) AS INTEGER\)", r"CAST(FLOOR(\1) AS INTEGER)", text)
    for mark, value in ((":random", "random()"), (":true", "true"), (":false", "false"), (":empty", "''"), ("?", "%s")):
        text = text.replace(mark, value)
    return text


def main() -> None:
    """Print a line for each kind of query."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("people", nargs="*", type=int, default=[1_000_000])
    parser.add_argument("--database", default="", help="empty: SQLite; postgresql: a server is started; or the URL of one")
    parser.add_argument("--directory", help="where SQLite keeps what was made, for the next time")
    parser.add_argument("--samples", type=int, default=200)
    given = parser.parse_args()
    with chosen(given.database) as databases, tempfile.TemporaryDirectory() as directory:
        for people in given.people:
            url = databases.fresh(f"people{people}")
            url = url or f"sqlite:///{Path(given.directory or directory).resolve() / f'{people}.sqlite'}"
            _measure(url, people, given.samples)


def _measure(url: str, people: int, number: int) -> None:
    started = time.perf_counter()
    with register(url, people, number) as somebody:
        print(f"{people} people made in {time.perf_counter() - started:.0f} s, {url.partition(':')[0]}")
        database = open_database(url)
        supplier = PatientDemographicsSupplier(database, IDENTITY, AllowAll(), lambda: datetime.now(UTC))
        print(f"{'query':34}{'median':>9}{'p95':>9}{'p99':>9} ms {'CPU p95':>9} ms {'found':>8}")
        for item in timings(supplier, somebody, PageRequest(limit=10)):
            print(
                f"{item.query:34}{item.median:9.2f}{item.p95:9.2f}{item.p99:9.2f}    {item.computing:9.2f}    {item.found:8.1f}"
            )
        database.close()


if __name__ == "__main__":
    main()
