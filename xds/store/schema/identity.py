"""Tables of the PIX Manager. Times are milliseconds since 1970, UTC.

A `person` is a record: what one feed made known. Records that are the same human being share a `cluster_key`, which is the oldest
one of the connected part of `person_link`. Links are ended, never deleted, and an identifier that a merge subsumed keeps its row:
every join can be undone. Rows of the tables that every feed writes are small, and their indexes few: at ten million persons the
pages that an insert touches decide how many feeds a second are taken.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, Column, Float, Index, LargeBinary, Table, UniqueConstraint

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

#: `assigned`: made by this PIX Manager. `subsumed_by`: the value (same domain) that a merge or a change put in its place.
#: `joined_to`: the value under which the registry was told to join an assigned identifier, because its person was linked.
#: `national_state`: how far the source of an identifier that a state issues trusts it; absent for others. `bearer` is the record
#: of such a one, which several may have, and 0 for others: their domain issues each to one.
identity = Table(
    "identity",
    metadata,
    Column("person_key", BigInteger, primary_key=True, autoincrement=False),
    Column("domain_key", BigInteger, primary_key=True, autoincrement=False),
    Column("value", Text, primary_key=True),
    Column("bearer", BigInteger, nullable=False),
    Column("type_code", Text),
    Column("assigned", Boolean, nullable=False),
    Column("subsumed_by", Text),
    Column("joined_to", Text),
    Column("national_state", Text),
    Column("created", BigInteger, nullable=False),
    UniqueConstraint("domain_key", "value", "bearer"),
    sqlite_with_rowid=False,
)

#: What each source states about a person, as JSON; the same folded for searching; and what of it is compared, packed.
#: `messages` holds eight octets of the digest of each of its last messages, so that a resent one has no second effect.
stated_demographics = Table(
    "stated_demographics",
    metadata,
    Column("person_key", BigInteger, primary_key=True, autoincrement=False),
    Column("source", Text, primary_key=True),
    Column("demographics", Text, nullable=False),
    Column("search", Text, nullable=False),
    Column("traits", LargeBinary, nullable=False),
    Column("messages", LargeBinary, nullable=False),
    Column("updated", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)

#: Keys under which records that may be the same person find each other. `glimpse`: what tells strangers apart before the record
#: is fetched, beside keys that many share. `entry`: the key and below it the record, `patients_match_keys.entry_of`.
match_key = Table(
    "match_key",
    metadata,
    Column("entry", Key, primary_key=True, autoincrement=False),
    Column("glimpse", LargeBinary),
)

#: `reason` tells who found it: the rules, a source, or a person (`same`, and its opposite `apart`).
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

#: Everything that was decided about two records, with its evidence (JSON). Rows are never changed but for `undone_by`.
link_decision = Table(
    "link_decision",
    metadata,
    Column("decision_key", Key, primary_key=True),
    Column("lower_key", BigInteger, nullable=False),
    Column("higher_key", BigInteger, nullable=False),
    Column("action", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("weight", Float),
    Column("evidence", Text, nullable=False),
    Column("decided_by", Text, nullable=False),
    Column("note", Text, nullable=False),
    Column("undone_by", BigInteger),
    Column("decided", BigInteger, nullable=False),
    Index("link_decision_pair", "lower_key", "higher_key"),
    Index("link_decision_higher", "higher_key"),
)

#: Open cases for the identity desk: two records that may be one person.
link_review = Table(
    "link_review",
    metadata,
    Column("lower_key", BigInteger, primary_key=True, autoincrement=False),
    Column("higher_key", BigInteger, primary_key=True, autoincrement=False),
    Column("kind", Text, nullable=False),
    Column("weight", Float, nullable=False),
    Column("evidence", Text, nullable=False),
    Column("opened", BigInteger, nullable=False),
    Index("link_review_weight", "weight", "lower_key", "higher_key"),
    Index("link_review_higher", "higher_key"),
    sqlite_with_rowid=False,
)

#: Versions of the weights of linkage (JSON); the one activated last is in force.
linkage_weights = Table(
    "linkage_weights",
    metadata,
    Column("version", Text, primary_key=True),
    Column("weights", Text, nullable=False),
    Column("created", BigInteger, nullable=False),
    Column("activated", BigInteger),
)

#: How often each name occurs among the records; `term` is a hash of its kind and value.
term_frequency = Table(
    "term_frequency",
    metadata,
    Column("term", BigInteger, primary_key=True, autoincrement=False),
    Column("number", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)

#: What the last transactions changed: keys of records and of `match_key`, 64 bits each. Whoever looked before knows by them
#: whether that still holds. Old rows go; only the embedded database has any.
identity_change = Table(
    "identity_change",
    metadata,
    Column("change_key", Key, primary_key=True),
    Column("changed", LargeBinary, nullable=False),
)

#: Notifications that wait for a subscriber, in their order.
identity_notification = Table(
    "identity_notification",
    metadata,
    Column("sequence", Key, primary_key=True),
    Column("subscriber", Text, nullable=False),
    Column("body", Text, nullable=False),
    Index("identity_notification_subscriber", "subscriber", "sequence"),
)
