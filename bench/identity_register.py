"""A register of millions of people, fast: `python -m bench.identity_register DIRECTORY PEOPLE`.

Traits, keys and texts are those that the PIX Manager's own rules make of each person; several processes make them, and the
database sorts the rows once. Everything depends on the number of the person alone, so that load can be made for anybody.
"""

from __future__ import annotations

import argparse
import bisect
import itertools
import multiprocessing
import random
import sqlite3
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import psycopg

from xds.actors.pix_linking import counted_record
from xds.actors.pix_preparation import prepare_demographics
from xds.app import DATABASE_FILE
from xds.model.identifiers import AssigningAuthority
from xds.model.patient import Address, Demographics, PersonName
from xds.rules.demographics_index import sound_codes
from xds.store.database import open_database
from xds.store.patients import Patients
from xds.store.patients_match_keys import entry_of

AFFINITY: Final = AssigningAuthority("XDS", "1.2.250.1.71.9.1")
HOSPITALS: Final = tuple(AssigningAuthority(f"HOSP_{letter}", f"1.2.250.1.71.8.{n}") for n, letter in enumerate("ABCDEFGH", 1))
_FAMILIES, _GIVENS, _CITIES, _STREETS = 200_000, 6_000, 3_000, 4_000
_SYLLABLES: Final = [
    *(
        "ba",
        "be",
        "bo",
        "bri",
        "ca",
        "cha",
        "che",
        "clo",
        "co",
        "da",
        "de",
        "do",
        "du",
        "fa",
        "fe",
        "fou",
        "ga",
        "ge",
        "go",
        "gui",
    ),
    *("he", "ju", "la", "le", "li", "lo", "ma", "mar", "me", "mo", "na", "ni", "no", "pa", "pe", "pi", "po", "qua", "ra", "re"),
    *("ri", "ro", "sa", "se", "so", "ta", "te", "thi", "to", "va", "ve", "vi", "vo"),
]
_ENDS: Final = ("rd", "nd", "lle", "t", "ier", "eau", "on", "in", "et", "ot", "ard", "aud", "ois", "ez", "y", "s", "x", "nt", "l")
_PORTION: Final = 20_000
_TABLES: Final = {
    "person": ("person_key", "cluster_key", "created"),
    "patient": ("patient_key", "authority", "value"),
    "identity": ("person_key", "domain_key", "value", "bearer", "assigned", "created"),
    "stated_demographics": ("person_key", "source", "demographics", "search", "traits", "messages", "updated"),
    "match_key": ("entry", "glimpse"),
    "demographic_name": ("birth_year", "family", "birth", "given", "sex", "person_key"),
    "demographic_term": ("kind", "value", "person_key"),
    "name_word": ("kind", "word"),
    "name_sound": ("code", "kind", "word"),
}
#: Tables of words: several parts have the same.
_OF_WORDS: Final = ("name_word", "name_sound")
_NOW: Final = 1_770_000_000_000


@lru_cache(1)
def _pools() -> tuple[Sequence[str], Sequence[str], Sequence[str], Sequence[str]]:
    chance = random.Random(11)

    def names(number: int) -> list[str]:
        found: dict[str, None] = {}
        while len(found) < number:
            found["".join(chance.choice(_SYLLABLES) for _ in range(chance.randint(1, 3))) + chance.choice(_ENDS)] = None
        return [name.upper() for name in found]

    return names(_FAMILIES), names(_GIVENS), names(_CITIES), names(_STREETS)


@lru_cache(8)
def _shares(number: int, exponent: float, offset: int) -> Sequence[float]:
    """Cumulated shares of a long-tailed distribution."""
    return list(itertools.accumulate((rank + offset) ** -exponent for rank in range(1, number + 1)))


def _drawn(chance: random.Random, pool: Sequence[str], exponent: float, offset: int) -> str:
    shares = _shares(len(pool), exponent, offset)
    return pool[bisect.bisect(shares, chance.random() * shares[-1])]


def somebody(number: int) -> Demographics:
    """The person of that number."""
    chance = random.Random(number)
    families, givens, cities, streets = _pools()
    city = _drawn(chance, cities, 1.0, 5)
    area = f"{10_000 + cities.index(city) * 37 % 85_000:05d}" if city in cities[:50] else f"{10_000 + hash_of(city) % 85_000:05d}"
    birth = f"{chance.randint(1928, 2025)}{chance.randint(1, 12):02d}{chance.randint(1, 28):02d}"
    return Demographics(
        names=(PersonName(_drawn(chance, families, 0.82, 30), _drawn(chance, givens, 1.05, 12), use="L"),),
        birth_date=birth,
        sex=chance.choice("FM"),
        addresses=(Address(f"{chance.randint(1, 120)} RUE {chance.choice(streets)}", "", city, "", area, "FRA"),),
        telephones=(f"0{chance.randint(100_000_000, 799_999_999)}",),
    )


def hash_of(text: str) -> int:
    """The same number for the same text in every process."""
    return sum(ord(letter) * 131**place for place, letter in enumerate(text)) & 0x7FFFFFFF


def identifier(number: int) -> tuple[int, str]:
    """The hospital (its place in HOSPITALS) and the number under which it knows that person."""
    return number % len(HOSPITALS), f"{number:09d}"


def source(hospital: int) -> str:
    """`MSH-4|MSH-3` of a hospital."""
    return f"{HOSPITALS[hospital].namespace}|ADT"


def _rows(
    number: int, keys: Sequence[int], terms: Counter[int], words: set[tuple[str, str]]
) -> Iterator[tuple[str, tuple[Any, ...]]]:
    """Everything that is stored of one person; `keys` are those of the affinity domain and of the hospitals.

    `words` of names are stored once.
    """
    prepared = prepare_demographics(somebody(number))
    hospital, value = identifier(number)
    terms.update((counted_record(), *prepared.terms))
    yield "person", (number, number, _NOW)
    yield "patient", (number, AFFINITY.oid, f"P{number:013d}")
    yield "identity", (number, keys[0], f"P{number:013d}", 0, True, _NOW)
    yield "identity", (number, keys[1 + hospital], value, 0, False, _NOW)
    yield (
        "stated_demographics",
        (number, source(hospital), prepared.text, prepared.search, prepared.packed, number.to_bytes(8, "big"), _NOW),
    )
    for key, glimpse in prepared.keys.items():
        yield "match_key", (entry_of(key, number), glimpse)
    for name in prepared.entries.names:
        yield "demographic_name", (name.birth_year, name.family, name.birth, name.given, name.sex, number)
    for kind, word in prepared.entries.terms:
        yield "demographic_term", (kind, word, number)
    for (kind, word), written in prepared.entries.words.items():
        if (kind, word) not in words:
            words.add((kind, word))
            yield "name_word", (str(kind), word)
            for code in sound_codes(written):
                yield "name_sound", (code, str(kind), word)


def _make(task: tuple[Path, int, int, Sequence[int]]) -> Path:
    """Write the rows of some persons into a file of their own."""
    path, first, last, keys = task
    connection = sqlite3.connect(path, isolation_level=None)
    for pragma in ("journal_mode = OFF", "synchronous = OFF", "cache_size = -200000"):
        connection.execute(f"PRAGMA {pragma}")
    connection.execute("BEGIN")
    for table, columns in {**_TABLES, "term_frequency": ("term", "number")}.items():
        connection.execute(f"CREATE TABLE {table} ({', '.join(columns)})")
    terms: Counter[int] = Counter()
    words: set[tuple[str, str]] = set()
    for start in range(first, last, _PORTION):
        rows: dict[str, list[tuple[Any, ...]]] = {table: [] for table in _TABLES}
        for number in range(start, min(start + _PORTION, last)):
            for table, row in _rows(number, keys, terms, words):
                rows[table].append(row)
        for table, some in rows.items():
            connection.executemany(f"INSERT INTO {table} VALUES ({', '.join('?' * len(_TABLES[table]))})", some)
    connection.executemany("INSERT INTO term_frequency VALUES (?, ?)", terms.items())
    connection.execute("COMMIT")
    connection.close()
    return path


def fill(data: Path, people: int, *, url: str = "", processes: int = 2) -> None:
    """Make a database with that many people in a data directory, or at a PostgreSQL URL."""
    data.mkdir(parents=True, exist_ok=True)
    path = data / DATABASE_FILE
    database = open_database(url or f"sqlite:///{path}")
    database.create_schema()
    keys = database.write(
        lambda connection: [Patients(connection).add_domain(item).domain_key for item in (AFFINITY, *HOSPITALS)]
    )
    database.close()
    share = -(-people // processes)
    tasks = [(data / f"part-{n}.sqlite", 1 + n * share, min(1 + (n + 1) * share, people + 1), keys) for n in range(processes)]
    with multiprocessing.get_context("spawn").Pool(processes) as pool:
        parts = pool.map(_make, tasks)
    (_into_postgresql if url else _into_sqlite)(url or str(path), parts)
    for part in parts:
        part.unlink()


_SORTED: Final = {
    "match_key": "entry",
    "demographic_name": "birth_year, family, birth, given, sex, person_key",
    "demographic_term": "kind, value, person_key",
    "name_word": "kind, word",
    "name_sound": "code, kind, word",
}
#: Rows that all come in their order fill every page, and each that comes later splits one. Those of a register that has grown are
#: nine tenths full, and so are these when the rest comes after most.
_SHARES: Final = ("rowid % 10 < 7", "rowid % 10 >= 7")


def _into_sqlite(path: str, parts: Sequence[Path]) -> None:
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA temp_store_directory = '" + str(Path(path).parent) + "'")
    for pragma in ("journal_mode = OFF", "synchronous = OFF", "cache_size = -2000000", "locking_mode = EXCLUSIVE"):
        connection.execute(f"PRAGMA {pragma}")
    for number, part in enumerate(parts):
        connection.execute(f"ATTACH '{part}' AS part{number}")
    connection.execute("BEGIN")
    for table, columns in _TABLES.items():
        names = ", ".join(columns)
        order = f" ORDER BY {_SORTED[table]}" if table in _SORTED else ""
        for share in _SHARES if order else ("true",):
            some = (f"SELECT {names} FROM part{number}.{table} WHERE {share}" for number in range(len(parts)))
            connection.execute(
                f"INSERT OR IGNORE INTO main.{table} ({names}) SELECT {names} FROM ({' UNION ALL '.join(some)}){order}"
            )
    every = " UNION ALL ".join(f"SELECT * FROM part{number}.term_frequency" for number in range(len(parts)))
    connection.execute(f"INSERT INTO term_frequency SELECT term, sum(number) FROM ({every}) GROUP BY term ORDER BY term")
    connection.execute("COMMIT")
    connection.execute("PRAGMA journal_mode = WAL")
    connection.close()


def _into_postgresql(url: str, parts: Sequence[Path]) -> None:
    with psycopg.connect(url.replace("postgresql+psycopg", "postgresql")) as server:
        terms: Counter[int] = Counter()
        known: set[tuple[Any, ...]] = set()
        for part in parts:
            rows = sqlite3.connect(part)
            for table, columns in _TABLES.items():
                order = f" ORDER BY {_SORTED[table]}" if table in _SORTED else ""
                flags = [place for place, name in enumerate(columns) if name == "assigned"]
                with server.cursor().copy(f"COPY {table} ({', '.join(columns)}) FROM STDIN") as copy:
                    for row in rows.execute(f"SELECT DISTINCT {', '.join(columns)} FROM {table}{order}"):
                        if table in _OF_WORDS:
                            if row in known:
                                continue
                            known.add(row)
                        copy.write_row([bool(value) if place in flags else value for place, value in enumerate(row)])
            for term, number in rows.execute("SELECT term, number FROM term_frequency"):
                terms[term] += number
            rows.close()
        with server.cursor().copy("COPY term_frequency (term, number) FROM STDIN") as copy:
            for row in terms.items():
                copy.write_row(row)
        for table, column in (("person", "person_key"), ("patient", "patient_key")):
            server.execute(f"SELECT setval('{table}_{column}_seq', (SELECT max({column}) FROM {table}))")
    with psycopg.connect(url.replace("postgresql+psycopg", "postgresql"), autocommit=True) as server:
        server.execute("VACUUM ANALYZE")


def main() -> int:
    """Parse the command line and run."""
    parser = argparse.ArgumentParser(prog="python -m bench.identity_register", description=__doc__)
    parser.add_argument("directory", type=Path)
    parser.add_argument("people", type=int)
    parser.add_argument("--url", default="", help="a PostgreSQL database without people")
    parser.add_argument("--processes", type=int, default=2)
    arguments = parser.parse_args()
    begin = time.perf_counter()
    fill(arguments.directory, arguments.people, url=arguments.url, processes=arguments.processes)
    print(f"{arguments.people} people in {time.perf_counter() - begin:.0f} s")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
