"""Keys under which records that may be one person meet.

Key and record are one number in the table, since the embedded database finds a row by its number on fewer pages than by anything
else, and pages are what a feed waits for in a large register.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from functools import lru_cache
from typing import Final

from sqlalchemy import text

from xds.store.dialects import every_column, insert_rows
from xds.store.patients_changes import ChangeRows
from xds.store.schema.identity import match_key
from xds.store.statements import Prepared

#: How many bits of an entry number the record; those above are the key.
PERSON_BITS: Final = 30
_PERSONS: Final = 1 << PERSON_BITS

_ENTRIES: Final = every_column(match_key, skips_known=True)
_LOOK: Final = Prepared(text("UPDATE match_key SET glimpse = :glimpse WHERE entry = :entry"))
_DELETE: Final = Prepared(text("DELETE FROM match_key WHERE entry = :entry"))


def entry_of(key: int, person_key: int) -> int:
    """The number under which a record stands beside a key, which is a signed number of 34 bits.

    Errors: OverflowError for a record beyond the 2^30 that have room.
    """
    if person_key >= _PERSONS:
        raise OverflowError(f"record {person_key} of the register has no room beside its keys: there is room for {_PERSONS}")
    return key << PERSON_BITS | person_key


@lru_cache(maxsize=64)
def _candidates(number: int) -> tuple[Prepared, Sequence[str]]:
    """At most `most` records under each of so many keys, whose first entries are given: a hot key must not be read to its end."""
    names = [f"entry{n}" for n in range(number)]
    each = (
        f"SELECT * FROM (SELECT entry, glimpse FROM match_key WHERE entry BETWEEN :{name} AND :{name} + {_PERSONS - 1}"
        f" ORDER BY entry LIMIT :most) AS of_{name}"
        for name in names
    )
    return Prepared(text(" UNION ALL ".join(each))), names


class MatchKeyRows(ChangeRows):
    """The keys as one transaction sees them. `connection` is that transaction's."""

    def add_keys(self, person_key: int, keys: Mapping[int, bytes | None]) -> None:
        """Have a record found under these keys, each with what is to be seen of it there at a glimpse."""
        self.note(person_key, *keys)
        insert_rows(self.connection, [(_ENTRIES, [(entry_of(key, person_key), glimpse) for key, glimpse in keys.items()])])

    def show(self, person_key: int, keys: Mapping[int, bytes | None]) -> None:
        """Have something else seen of a record at a glimpse, beside keys under which it is found."""
        self.note(person_key)
        _LOOK.run(self.connection, [{"glimpse": glimpse, "entry": entry_of(key, person_key)} for key, glimpse in keys.items()])

    def remove_keys(self, person_key: int, keys: Collection[int]) -> None:
        """Have a record not found under these keys any more."""
        self.note(person_key, *keys)
        _DELETE.run(self.connection, [{"entry": entry_of(key, person_key)} for key in keys])

    def candidates(self, keys: Collection[int], most: int) -> dict[int, dict[int, bytes | None]]:
        """The records under each key, at most so many of each, with what is seen of them at a glimpse."""
        found: dict[int, dict[int, bytes | None]] = {}
        if keys:
            statement, names = _candidates(len(keys))
            firsts = (entry_of(key, 0) for key in keys)
            for entry, glimpse in statement.rows(self.connection, dict(zip(names, firsts, strict=True), most=most)):
                found.setdefault(entry >> PERSON_BITS, {})[entry & _PERSONS - 1] = glimpse
        return found
