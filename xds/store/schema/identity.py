"""Tables of the PIX Manager. Times are milliseconds since 1970, UTC.

A `person` is what one feed made known; persons that are the same human being share a `cluster_key`, which is the oldest person of
the connected part of `person_link`. Links are ended, never deleted, and an identifier that a merge subsumed keeps its row: every
join can be undone.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, Column, Index, LargeBinary, Table, UniqueConstraint

from xds.store.schema import Key, Text, metadata

identity_domain = Table(
    "identity_domain",
    metadata,
    Column("domain_key", Key, primary_key=True),
    Column("namespace", Text, unique=True),
    Column("oid", Text, unique=True),
)

person = Table(
    "person",
    metadata,
    Column("person_key", Key, primary_key=True),
    Column("cluster_key", BigInteger, nullable=False, index=True),
    Column("created", BigInteger, nullable=False),
)

#: `assigned`: made by this PIX Manager. `subsumed_by`: the surviving value (same domain) after a merge.
#: `joined_to`: the value under which the registry was told to join an assigned identifier, because its person was linked.
identity = Table(
    "identity",
    metadata,
    Column("person_key", BigInteger, primary_key=True, autoincrement=False),
    Column("domain_key", BigInteger, primary_key=True, autoincrement=False),
    Column("value", Text, primary_key=True),
    Column("type_code", Text),
    Column("assigned", Boolean, nullable=False),
    Column("subsumed_by", Text),
    Column("joined_to", Text),
    Column("created", BigInteger, nullable=False),
    UniqueConstraint("domain_key", "value"),
    sqlite_with_rowid=False,
)

#: What each source states about a person, as JSON, and the same folded for searching.
stated_demographics = Table(
    "stated_demographics",
    metadata,
    Column("person_key", BigInteger, primary_key=True, autoincrement=False),
    Column("source", Text, primary_key=True),
    Column("demographics", Text, nullable=False),
    Column("search", Text, nullable=False),
    Column("updated", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)

#: Keys under which records that may be the same person find each other.
match_key = Table(
    "match_key",
    metadata,
    Column("person_key", BigInteger, primary_key=True, autoincrement=False),
    Column("source", Text, primary_key=True),
    Column("key", Text, primary_key=True),
    Index("match_key_key", "key", "person_key"),
    sqlite_with_rowid=False,
)

person_link = Table(
    "person_link",
    metadata,
    Column("lower_key", BigInteger, primary_key=True, autoincrement=False),
    Column("higher_key", BigInteger, primary_key=True, autoincrement=False),
    Column("reason", Text, primary_key=True),
    Column("created", BigInteger, nullable=False),
    Column("ended", BigInteger),
    Index("person_link_higher", "higher_key"),
    sqlite_with_rowid=False,
)

#: Feed messages that took effect, so that a resent one is answered without a second effect.
feed_message = Table(
    "feed_message",
    metadata,
    Column("source", Text, primary_key=True),
    Column("message_id", Text, primary_key=True),
    Column("digest", LargeBinary(32), primary_key=True),
    Column("received", BigInteger, nullable=False, index=True),
    sqlite_with_rowid=False,
)
