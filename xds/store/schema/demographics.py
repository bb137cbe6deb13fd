"""Tables of the Patient Demographics Supplier: what records are searched by, visits, and answers that are not yet all delivered.

Every feed writes here, so that a record has few and small rows. Times are milliseconds since 1970, UTC.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Index, Integer, LargeBinary, Table

from xds.store.schema import Key, Text, metadata

#: One row for each name of a record. The table is its own index: the year comes first, so that a family name (or its beginning)
#: together with a year or a day is one place, and a family name alone is as many places as there are years.
demographic_name = Table(
    "demographic_name",
    metadata,
    Column("birth_year", Integer, primary_key=True, autoincrement=False),
    Column("family", Text, primary_key=True),
    Column("birth", Integer, primary_key=True, autoincrement=False),
    Column("given", Text, primary_key=True),
    Column("sex", Text, primary_key=True),
    Column("person_key", BigInteger, primary_key=True, autoincrement=False),
    sqlite_with_rowid=False,
)

#: Given names, telephone numbers and the like, each of which may be searched by alone.
demographic_term = Table(
    "demographic_term",
    metadata,
    Column("kind", Text, primary_key=True),
    Column("value", Text, primary_key=True),
    Column("person_key", BigInteger, primary_key=True, autoincrement=False),
    sqlite_with_rowid=False,
)

#: Every word that occurs in names, once.
name_word = Table(
    "name_word",
    metadata,
    Column("kind", Text, primary_key=True),
    Column("word", Text, primary_key=True),
    sqlite_with_rowid=False,
)

#: Codes that a word has in common with those that sound or are written like it.
name_sound = Table(
    "name_sound",
    metadata,
    Column("code", BigInteger, primary_key=True, autoincrement=False),
    Column("kind", Text, primary_key=True),
    Column("word", Text, primary_key=True),
    sqlite_with_rowid=False,
)

#: The last visit that feeds told of a record: HL7 fields as JSON.
patient_visit = Table(
    "patient_visit",
    metadata,
    Column("person_key", BigInteger, primary_key=True, autoincrement=False),
    Column("fields", Text, nullable=False),
    Column("updated", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)

#: The same, by field.
patient_visit_field = Table(
    "patient_visit_field",
    metadata,
    Column("name", Text, primary_key=True),
    Column("value", Text, primary_key=True),
    Column("person_key", BigInteger, primary_key=True, autoincrement=False),
    sqlite_with_rowid=False,
)

#: Answers of which pages are left: the keys of all patients found (64 bits each) and what the asker wanted of them (JSON).
demographics_result = Table(
    "demographics_result",
    metadata,
    Column("result_key", Key, primary_key=True),
    Column("pointer", Text, nullable=False, unique=True),
    Column("source", Text, nullable=False),
    Column("query_tag", Text, nullable=False),
    Column("found", LargeBinary, nullable=False),
    Column("wanted", Text, nullable=False),
    Column("created", BigInteger, nullable=False, index=True),
    Index("demographics_result_query", "query_tag", "source"),
)
