"""What each source states about a record: as JSON, folded for searching, and packed for comparison.

The last messages of the source stand beside it, so that a message which is sent again is known without a table of its own: ten
million rows under random keys would cost every feed a page.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from sqlalchemy import bindparam, select, text

from xds.model.identifiers import AssigningAuthority, PatientIdentifier
from xds.model.patient import Address, Demographics, PersonName, StatedDemographics
from xds.store.patients_changes import ChangeRows
from xds.store.schema.identity import stated_demographics
from xds.store.statements import Prepared, Row, prepared_insert

#: How many octets of a message's digest are kept, and of how many messages of a source about one record.
DIGEST_OCTETS: Final = 8
_MESSAGES: Final = 64

_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode
_LISTS: Final = ("telephones", "work_telephones", "emails", "reliability")
_IDENTIFIERS: Final = ("national_identifiers", "mother_identifiers")
_PLAIN: Final = (
    "birth_date",
    "sex",
    "mother_maiden_name",
    "multiple_birth",
    "birth_order",
    "death_time",
    "deceased",
    "language",
    "marital_status",
    "religion",
    "birth_place",
    "mother_given_name",
)

_TABLE = stated_demographics
_OF_PERSONS: Final = Prepared(
    select(_TABLE.c.person_key, _TABLE.c.source, _TABLE.c.demographics, _TABLE.c.traits, _TABLE.c.messages, _TABLE.c.updated)
    .where(_TABLE.c.person_key.in_(bindparam("person_keys", expanding=True)))
    .order_by(_TABLE.c.updated, _TABLE.c.source)
)
_TRAITS: Final = Prepared(
    text(
        "SELECT person_key, source, traits FROM stated_demographics WHERE (person_key, source) > (:person_key, :source)"
        " ORDER BY person_key, source LIMIT :most"
    )
)
_INSERT: Final = prepared_insert(stated_demographics)
_UPDATE: Final = Prepared(
    text(
        "UPDATE stated_demographics SET demographics = :demographics, search = :search, traits = :traits, messages = :messages,"
        " updated = :updated WHERE person_key = :person_key AND source = :source"
    )
)
_NOTE: Final = Prepared(
    text("UPDATE stated_demographics SET messages = :messages WHERE person_key = :person_key AND source = :source")
)


@dataclass(frozen=True, slots=True)
class Statement:
    """A row: what one source states about one record. `traits` are packed; `messages` are digests of its last messages."""

    person_key: int
    source: str
    demographics: str
    traits: bytes
    messages: bytes = b""
    updated: int = 0

    def knows(self, digest: bytes) -> bool:
        """True when the message of that digest took effect before."""
        mine = digest[:DIGEST_OCTETS]
        return any(self.messages[at : at + DIGEST_OCTETS] == mine for at in range(0, len(self.messages), DIGEST_OCTETS))

    def after(self, digest: bytes) -> bytes:
        """The digests with that of one more message, the oldest left out when there are too many."""
        return (self.messages + digest[:DIGEST_OCTETS])[-_MESSAGES * DIGEST_OCTETS :]

    def stated(self) -> StatedDemographics:
        """What it says."""
        return StatedDemographics(self.source, read_demographics(self.demographics), self.updated)


def _fields_of(identifier: PatientIdentifier) -> list[str | None]:
    authority = identifier.authority
    return [identifier.value, authority.namespace, authority.oid, identifier.type_code]


def _identifier(fields: Sequence[Any]) -> PatientIdentifier:
    value, namespace, oid, type_code = fields
    return PatientIdentifier(value, AssigningAuthority(namespace, oid), type_code)


def write_demographics(demographics: Demographics) -> str:
    """Demographics as JSON text, without what is absent."""
    fields: dict[str, Any] = {}
    if demographics.names:
        fields["names"] = [
            [item.family, item.given, item.further_given, item.suffix, item.prefix, item.use] for item in demographics.names
        ]
    if demographics.addresses:
        fields["addresses"] = [
            [item.street, item.other, item.city, item.state, item.postal_code, item.country, item.use]
            for item in demographics.addresses
        ]
    for name in _PLAIN:
        value = getattr(demographics, name)
        if value is not None:
            fields[name] = value
    for name in _LISTS:
        value = getattr(demographics, name)
        if value:
            fields[name] = value
    if demographics.account_number:
        fields["account_number"] = _fields_of(demographics.account_number)
    for name in _IDENTIFIERS:
        identifiers = getattr(demographics, name)
        if identifiers:
            fields[name] = [_fields_of(item) for item in identifiers]
    return _encode(fields)


def read_demographics(stored: str) -> Demographics:
    """The inverse of `write_demographics`."""
    fields = json.loads(stored)
    if "names" in fields:
        fields["names"] = tuple(PersonName(*item) for item in fields["names"])
    if "addresses" in fields:
        fields["addresses"] = tuple(Address(*item) for item in fields["addresses"])
    for name in _LISTS:
        if name in fields:
            fields[name] = tuple(fields[name])
    if "account_number" in fields:
        fields["account_number"] = _identifier(fields["account_number"])
    for name in _IDENTIFIERS:
        if name in fields:
            fields[name] = tuple(_identifier(item) for item in fields[name])
    return Demographics(**fields)


class StatementRows(ChangeRows):
    """What sources state, as one transaction sees it. `connection` is that transaction's."""

    def statements(self, person_keys: Collection[int]) -> dict[int, tuple[Statement, ...]]:
        """The rows of those records, the oldest statement of each first."""
        found: dict[int, tuple[Statement, ...]] = {}
        if person_keys:
            for row in _OF_PERSONS.rows(self.connection, {"person_keys": list(person_keys)}):
                found[row[0]] = (*found.get(row[0], ()), Statement(*row))
        return found

    def stated(self, person_keys: Collection[int]) -> dict[int, tuple[StatedDemographics, ...]]:
        """What the sources state about each record."""
        return {key: tuple(item.stated() for item in rows) for key, rows in self.statements(person_keys).items()}

    def packed_traits(self, after: tuple[int, str], limit: int) -> Sequence[Row]:
        """Rows of (record, source, packed traits) in their order, after that record and source."""
        values = {"person_key": after[0], "source": after[1], "most": limit}
        return _TRAITS.rows(self.connection, values)

    def state(self, stated: Statement, search: str, *, is_new: bool) -> None:
        """Store what a source states about a record, in the place of what it stated before."""
        self.note(stated.person_key)
        values = {
            "person_key": stated.person_key,
            "source": stated.source,
            "demographics": stated.demographics,
            "search": search,
            "traits": stated.traits,
            "messages": stated.messages,
            "updated": stated.updated,
        }
        (_INSERT if is_new else _UPDATE).run(self.connection, (values,))

    def note_message(self, stated: Statement, digest: bytes) -> None:
        """Remember that a message of that source took effect which changed nothing of what it states."""
        values = {"messages": stated.after(digest), "person_key": stated.person_key, "source": stated.source}
        _NOTE.run(self.connection, (values,))


def noted(stated: Statement, digest: bytes) -> Statement:
    """The statement, with one more message remembered."""
    return replace(stated, messages=stated.after(digest))
