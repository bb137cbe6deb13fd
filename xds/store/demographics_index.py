"""What records are searched by: kept beside every feed, and read by the searches of a demographics query.

Everything works on the connection of one transaction. What is kept of a record, and what a search looks for, is decided in
`xds.rules`; whoever is found is looked at again before she is answered, so that a row too many does no harm.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

from sqlalchemy import Connection, bindparam, func, select, text

from xds.model.demographics_index import FIRST_YEAR, LAST_YEAR, NO_YEAR, IndexEntries, NameSearch, Search, TermSearch, VisitSearch
from xds.store.dialects import every_column, insert_rows, put
from xds.store.schema.demographics import (
    demographic_name,
    demographic_term,
    name_sound,
    name_word,
    patient_visit,
    patient_visit_field,
)
from xds.store.schema.identity import person
from xds.store.statements import Prepared, Row

#: Gives words that the register has.
KnownWords = Callable[[], frozenset[tuple[str, str]]]

#: Records of one person are found one by one: one row in so many is a second one, as a rule.
_SPARE: Final = 4
_HIGHEST: Final = "\U0010ffff"
_EVERY_YEAR: Final = (NO_YEAR, *range(FIRST_YEAR, LAST_YEAR + 1))
_ALL_YEARS: Final = ", ".join(map(str, _EVERY_YEAR))


def _deletion(table: Any) -> Prepared:
    where = " AND ".join(f"{name} = :{name}" for name in [column.name for column in table.columns])
    return Prepared(text(f"DELETE FROM {table.name} WHERE {where}"))


_NAMES: Final = every_column(demographic_name, skips_known=True)
_REMOVE_NAMES: Final = _deletion(demographic_name)
_TERMS: Final = every_column(demographic_term, skips_known=True)
_REMOVE_TERMS: Final = _deletion(demographic_term)
_WORDS: Final = every_column(name_word, skips_known=True)
_SOUNDS: Final = every_column(name_sound, skips_known=True)
_ALIKE: Final = Prepared(
    select(name_sound.c.word)
    .where(name_sound.c.code.in_(bindparam("codes", expanding=True)), name_sound.c.kind == bindparam("kind"))
    .group_by(name_sound.c.word)
    .order_by(func.count().desc(), name_sound.c.word)
    .limit(bindparam("most"))
)
_VISITS: Final = Prepared(
    select(patient_visit.c.person_key, patient_visit.c.updated, patient_visit.c.fields).where(
        patient_visit.c.person_key.in_(bindparam("person_keys", expanding=True))
    )
)
_FIELDS: Final = every_column(patient_visit_field, skips_known=True)
_REMOVE_FIELDS: Final = _deletion(patient_visit_field)
_KNOWN_WORDS: Final = Prepared(
    select(name_word.c.kind, name_word.c.word).where(
        name_word.c.kind.in_(bindparam("kinds", expanding=True)), name_word.c.word.in_(bindparam("words", expanding=True))
    )
)


def replace(
    connection: Connection,
    person_key: int,
    before: IndexEntries,
    after: IndexEntries,
    sound_codes: Callable[[str], Iterable[int]],
    known_words: KnownWords | None = None,
) -> None:
    """Let a record be found by these entries, and no more by those that it had before and has lost.

    `sound_codes` gives the codes of a name that is new to the register. `known_words` is the answer to `ask_words` for `after`.
    """
    come = []
    for columns, old, new, remove in (
        (_NAMES, before.names, after.names, _REMOVE_NAMES),
        (_TERMS, before.terms, after.terms, _REMOVE_TERMS),
    ):
        gone = old - new
        if gone:
            remove.run(connection, [dict(zip(columns.names, _row(item, person_key), strict=True)) for item in gone])
        come.append((columns, [_row(item, person_key) for item in new - old]))
    insert_rows(connection, come)
    words = {key: written for key, written in after.words.items() if key not in before.words}
    if words:
        _learn(connection, words, sound_codes, known_words or ask_words(connection, words))


def _row(entry: Any, person_key: int) -> Row:
    if isinstance(entry, tuple):
        return (entry[0], entry[1], person_key)
    return (entry.birth_year, entry.family, entry.birth, entry.given, entry.sex, person_key)


def ask_words(connection: Connection, words: Collection[tuple[str, str]]) -> KnownWords:
    """Which of these words the register has, without waiting for it: it comes from what this returns, once."""
    if not words:
        return frozenset
    asked = {"kinds": sorted({str(kind) for kind, _ in words}), "words": sorted({word for _, word in words})}
    rows = _KNOWN_WORDS.ask(connection, asked)
    return lambda: frozenset((row[0], row[1]) for row in rows())


def _learn(
    connection: Connection,
    words: Mapping[tuple[str, str], str],
    sound_codes: Callable[[str], Iterable[int]],
    known_words: KnownWords,
) -> None:
    """Words that are new to the register are found by their sound from now on."""
    known = known_words()
    new = {(str(kind), word): written for (kind, word), written in words.items() if (str(kind), word) not in known}
    sounds = [(code, kind, word) for (kind, word), written in new.items() for code in sound_codes(written)]
    insert_rows(connection, [(_WORDS, list(new)), (_SOUNDS, sounds)])


def alike(connection: Connection, kind: str, codes: Collection[int], limit: int) -> tuple[str, ...]:
    """Words of the register that have one of these codes, those with most of them first."""
    rows = _ALIKE.rows(connection, {"codes": list(codes), "kind": kind, "most": limit})
    return tuple(row[0] for row in rows)


# Visits


def put_visit(connection: Connection, person_key: int, visit: Mapping[str, str], now: int) -> None:
    """Remember the last visit that a feed told of a record: HL7 fields by their names (`PV1.3.2`)."""
    fields = {name: value for name, value in visit.items() if value}
    _, before = visit_of(connection, [person_key]).get(person_key, (0, {}))
    values = {"person_key": person_key, "fields": json.dumps(fields, ensure_ascii=False), "updated": now}
    put(connection, patient_visit, ("person_key",), values)
    gone, come = _searchable(before) - _searchable(fields), _searchable(fields) - _searchable(before)
    if gone:
        _REMOVE_FIELDS.run(connection, [{"name": name, "value": value, "person_key": person_key} for name, value in gone])
    insert_rows(connection, [(_FIELDS, [(name, value, person_key) for name, value in come])])


def _searchable(fields: Mapping[str, str]) -> set[tuple[str, str]]:
    return {(name, value.strip().upper()) for name, value in fields.items()}


def visit_of(connection: Connection, person_keys: Sequence[int]) -> dict[int, tuple[int, dict[str, str]]]:
    """The last visit of each of these records that has one, with the time at which a feed told of it."""
    rows = _VISITS.rows(connection, {"person_keys": list(person_keys)}) if person_keys else ()
    return {row[0]: (row[1], json.loads(row[2])) for row in rows}


# Searches


def find(connection: Connection, searches: Sequence[Search], limit: int) -> dict[int, bool]:
    """The persons whom any of these searches finds, about `limit` of them at most, and whether each is found for certain.

    Somebody is not certain when what was searched by is unknown of the record that was found.
    """
    found: dict[int, bool] = {}
    for search in searches:
        for key, is_certain in _rows(connection, search, limit):
            found[key] = found.get(key, False) or is_certain
            if len(found) >= limit:
                return found
    return found


def _rows(connection: Connection, search: Search, limit: int) -> Iterable[tuple[int, bool]]:
    """The persons whom one search finds, `limit` of them or a few more when there are so many; each record is a row."""
    statement, values = statement_of(search)
    most = limit + limit // _SPARE
    rows = statement.rows(connection, {**values, "most": most})
    while len(rows) == most and len({row[0] for row in rows}) < limit:
        most *= 4
        rows = statement.rows(connection, {**values, "most": most})
    if isinstance(search, NameSearch):
        certain = frozenset(search.sexes)
        return ((row[0], not search.is_otherwise_dated and (not certain or row[1] in certain)) for row in rows)
    return ((row[0], True) for row in rows)


def statement_of(search: Search) -> tuple[Prepared, dict[str, Any]]:
    """The statement of a search (`most` is its limit), and its values. Its rows begin with the key of a person."""
    if isinstance(search, TermSearch):
        values: dict[str, Any] = {"kind": search.kind.value, **_texts("value", search.values, search.prefix)}
        return _term_statement(len(search.values)), values
    if isinstance(search, VisitSearch):
        exact = () if search.is_prefix else (search.value,)
        return _visit_statement(len(exact)), {"name": search.name, **_texts("value", exact, search.value)}
    has_births = search.births is not None and not search.is_otherwise_dated
    shape = _Shape(
        years=len(search.years) if len(search.years) < len(_EVERY_YEAR) else -1,
        families=len(search.families),
        has_prefix=bool(search.family_prefix),
        has_births=has_births,
        given=len(search.given),
        sexes=len(search.sexes),
        is_otherwise_dated=search.is_otherwise_dated,
    )
    values = {f"year{number}": year for number, year in enumerate(search.years)} if shape.years >= 0 else {}
    if search.families or search.family_prefix:
        values |= _texts("family", search.families, search.family_prefix)
    if search.births is not None and has_births:
        values |= {"first_birth": search.births[0], "last_birth": search.births[1]}
    values |= {f"given{number}": f"%{item}%" for number, item in enumerate(search.given)}
    values |= {f"sex{number}": item for number, item in enumerate(search.sexes)}
    return _name_statement(shape), values


@dataclass(frozen=True, slots=True)
class _Shape:
    """What a search by name asks for, without the values: searches of one shape have one text. `years` -1: every one."""

    years: int
    families: int
    has_prefix: bool
    has_births: bool
    given: int
    sexes: int
    is_otherwise_dated: bool


def _texts(column: str, values: Sequence[str], prefix: str) -> dict[str, str]:
    if values:
        return {f"{column}{number}": item for number, item in enumerate(values)}
    return {f"{column}_low": prefix, f"{column}_high": prefix + _HIGHEST}


def _is_text(column: str, number: int) -> str:
    """The condition that a column has one of so many values, or begins like one when there is none."""
    if number:
        return f"n.{column} IN ({_places(column, number)})"
    return f"n.{column} >= :{column}_low AND n.{column} < :{column}_high"


def _places(name: str, number: int) -> str:
    return ", ".join(f":{name}{each}" for each in range(number))


@lru_cache(maxsize=256)
def _name_statement(shape: _Shape) -> Prepared:
    # Years are named one by one: each is a place of the index, where the family name is looked up.
    where = [f"n.birth_year IN ({_places('year', shape.years) if shape.years >= 0 else _ALL_YEARS})"]
    if shape.families or shape.has_prefix:
        where.append(_is_text("family", shape.families))
    if shape.has_births:
        where.append("n.birth >= :first_birth AND n.birth <= :last_birth")
    if shape.given:
        where.append("(" + " OR ".join(f"n.given LIKE :given{number}" for number in range(shape.given)) + ")")
    if shape.sexes:
        where.append(f"n.sex IN ({_places('sex', shape.sexes)}, 'U')")
    if shape.is_otherwise_dated:
        other = "SELECT 1 FROM person o WHERE o.cluster_key = p.cluster_key AND o.person_key <> p.person_key"
        where.append(f"EXISTS ({other})")
    return _in_use("p.cluster_key, n.sex", "demographic_name", where)


@lru_cache(maxsize=64)
def _term_statement(values: int) -> Prepared:
    return _in_use("p.cluster_key", "demographic_term", ["n.kind = :kind", _is_text("value", values)])


@lru_cache(maxsize=2)
def _visit_statement(values: int) -> Prepared:
    return _in_use("p.cluster_key", "patient_visit_field", ["n.name = :name", _is_text("value", values)])


def _in_use(columns: str, table: str, where: Sequence[str]) -> Prepared:
    """Of records that have an identifier of their own left: what was said of the others is history."""
    own = "SELECT 1 FROM identity i WHERE i.person_key = n.person_key AND i.subsumed_by IS NULL AND NOT i.assigned"
    joined = f"{table} n JOIN person p ON p.person_key = n.person_key"
    conditions = " AND ".join([*where, f"EXISTS ({own})"])
    return Prepared(text(f"SELECT {columns} FROM {joined} WHERE {conditions} LIMIT :most"))


def last_record(connection: Connection) -> int:
    """The number of records that there are, about: the key of the last one."""
    return int(connection.execute(select(func.coalesce(func.max(person.c.person_key), 0))).scalar_one())
