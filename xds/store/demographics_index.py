"""What records are searched by: kept beside every feed, and read by the searches of a demographics query.

Everything works on the connection of one transaction. What is kept of a record, and what a search looks for, is decided in
`xds.rules`; whoever is found is looked at again before she is answered, so that a row too many does no harm.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, Select, bindparam, exists, func, or_, select, text

from xds.model.demographics_index import IndexEntries, NameSearch, Search, TermSearch, VisitSearch
from xds.store.dialects import put
from xds.store.schema.demographics import (
    demographic_name,
    demographic_term,
    name_sound,
    name_word,
    patient_visit,
    patient_visit_field,
)
from xds.store.schema.identity import identity, person
from xds.store.statements import Prepared

#: Records of one person are found one by one; so many of them are read for each person that is wanted.
_ROWS_PER_PERSON: Final = 4
_HIGHEST: Final = "\U0010ffff"


def _insertion(table: Any) -> Prepared:
    names = [column.name for column in table.columns]
    places = ", ".join(f":{name}" for name in names)
    return Prepared(text(f"INSERT INTO {table.name} ({', '.join(names)}) VALUES ({places}) ON CONFLICT DO NOTHING"))


def _deletion(table: Any) -> Prepared:
    where = " AND ".join(f"{name} = :{name}" for name in [column.name for column in table.columns])
    return Prepared(text(f"DELETE FROM {table.name} WHERE {where}"))


_ADD_NAMES: Final = _insertion(demographic_name)
_REMOVE_NAMES: Final = _deletion(demographic_name)
_ADD_TERMS: Final = _insertion(demographic_term)
_REMOVE_TERMS: Final = _deletion(demographic_term)
_ADD_WORDS: Final = _insertion(name_word)
_ADD_SOUNDS: Final = _insertion(name_sound)
_ADD_FIELDS: Final = _insertion(patient_visit_field)
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
) -> None:
    """Let a record be found by these entries, and no more by those that it had before and has lost.

    `sound_codes` gives the codes of a name that is new to the register.
    """
    for old, new, remove, add in (
        (before.names, after.names, _REMOVE_NAMES, _ADD_NAMES),
        (before.terms, after.terms, _REMOVE_TERMS, _ADD_TERMS),
    ):
        gone, come = old - new, new - old
        if gone:
            remove.run(connection, [_row(item, person_key) for item in gone])
        if come:
            add.run(connection, [_row(item, person_key) for item in come])
    words = {key: written for key, written in after.words.items() if key not in before.words}
    if words:
        _learn(connection, words, sound_codes)


def _row(entry: Any, person_key: int) -> dict[str, Any]:
    if isinstance(entry, tuple):
        return {"kind": entry[0], "value": entry[1], "person_key": person_key}
    return {
        "birth_year": entry.birth_year,
        "family": entry.family,
        "birth": entry.birth,
        "given": entry.given,
        "sex": entry.sex,
        "person_key": person_key,
    }


def _learn(connection: Connection, words: Mapping[tuple[str, str], str], sound_codes: Callable[[str], Iterable[int]]) -> None:
    """Words that are new to the register are found by their sound from now on."""
    asked = {"kinds": sorted({str(kind) for kind, _ in words}), "words": sorted({word for _, word in words})}
    known = {(row[0], row[1]) for row in _KNOWN_WORDS.rows(connection, asked)}
    new = {(str(kind), word): written for (kind, word), written in words.items() if (str(kind), word) not in known}
    if new:
        _ADD_WORDS.run(connection, [{"kind": kind, "word": word} for kind, word in new])
        rows = [
            {"code": code, "kind": kind, "word": word} for (kind, word), written in new.items() for code in sound_codes(written)
        ]
        _ADD_SOUNDS.run(connection, rows)


def alike(connection: Connection, kind: str, codes: Collection[int], limit: int) -> tuple[str, ...]:
    """Words of the register that have one of these codes, those with most of them first."""
    table = name_sound
    statement = select(table.c.word).where(table.c.code.in_(list(codes)), table.c.kind == kind).group_by(table.c.word)
    rows = connection.execute(statement.order_by(func.count().desc(), table.c.word).limit(limit))
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
    if come:
        _ADD_FIELDS.run(connection, [{"name": name, "value": value, "person_key": person_key} for name, value in come])


def _searchable(fields: Mapping[str, str]) -> set[tuple[str, str]]:
    return {(name, value.strip().upper()) for name, value in fields.items()}


def visit_of(connection: Connection, person_keys: Sequence[int]) -> dict[int, tuple[int, dict[str, str]]]:
    """The last visit of each of these records that has one, with the time at which a feed told of it."""
    columns = select(patient_visit.c.person_key, patient_visit.c.updated, patient_visit.c.fields)
    rows = connection.execute(columns.where(patient_visit.c.person_key.in_(person_keys)))
    return {row[0]: (row[1], json.loads(row[2])) for row in rows}


# Searches


def find(connection: Connection, searches: Sequence[Search], limit: int) -> dict[int, bool]:
    """The persons whom any of these searches finds, about `limit` of them at most, and whether each is found for certain.

    Somebody is not certain when what was searched by is unknown of the record that was found.
    """
    found: dict[int, bool] = {}
    for search in searches:
        for key, is_certain in _rows(connection, search, limit * _ROWS_PER_PERSON):
            found[key] = found.get(key, False) or is_certain
            if len(found) >= limit:
                return found
    return found


def _rows(connection: Connection, search: Search, limit: int) -> Iterable[tuple[int, bool]]:
    if isinstance(search, NameSearch):
        certain = frozenset(search.sexes)
        rows = connection.execute(name_statement(search).limit(limit))
        return ((row[0], not search.is_otherwise_dated and (not certain or row[1] in certain)) for row in rows)
    statement = term_statement(search) if isinstance(search, TermSearch) else visit_statement(search)
    return ((row[0], True) for row in connection.execute(statement.limit(limit)))


def name_statement(search: NameSearch) -> Select[Any]:
    """The persons whom a search by name finds, with the sex of the record that was found."""
    table = demographic_name
    where: list[ColumnElement[bool]] = [table.c.birth_year.in_(search.years)]
    if search.families:
        where.append(table.c.family.in_(search.families))
    elif search.family_prefix:
        where += _begins(table.c.family, search.family_prefix)
    if search.births and not search.is_otherwise_dated:
        where += [table.c.birth >= search.births[0], table.c.birth <= search.births[1]]
    if search.given:
        where.append(or_(*(table.c.given.contains(item) for item in search.given)))
    if search.sexes:
        where.append(table.c.sex.in_((*search.sexes, "U")))
    statement = _in_use(select(person.c.cluster_key, table.c.sex), table.c.person_key).where(*where)
    if search.is_otherwise_dated:
        other = person.alias("other")
        others = (other.c.cluster_key == person.c.cluster_key, other.c.person_key != person.c.person_key)
        statement = statement.where(exists().where(*others))
    return statement


def term_statement(search: TermSearch) -> Select[Any]:
    """The persons whom a search by a term finds."""
    table = demographic_term
    value = [table.c.value.in_(search.values)] if search.values else _begins(table.c.value, search.prefix)
    return _in_use(select(person.c.cluster_key), table.c.person_key).where(table.c.kind == search.kind.value, *value)


def visit_statement(search: VisitSearch) -> Select[Any]:
    """The persons whom a search by their last visit finds."""
    table = patient_visit_field
    value = _begins(table.c.value, search.value) if search.is_prefix else [table.c.value == search.value]
    return _in_use(select(person.c.cluster_key), table.c.person_key).where(table.c.name == search.name, *value)


def _begins(column: ColumnElement[str], prefix: str) -> list[ColumnElement[bool]]:
    return [column >= prefix, column < prefix + _HIGHEST]


def _in_use(columns: Select[Any], person_key: ColumnElement[int]) -> Select[Any]:
    """Of records that have an identifier of their own left: what was said of the others is history."""
    own = exists().where(identity.c.person_key == person_key, identity.c.subsumed_by.is_(None), ~identity.c.assigned)
    return columns.join_from(person_key.table, person, person.c.person_key == person_key).where(own)


def last_record(connection: Connection) -> int:
    """The number of records that there are, about: the key of the last one."""
    return int(connection.execute(select(func.coalesce(func.max(person.c.person_key), 0))).scalar_one())
