"""Keys under which records that may be one person meet."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from functools import lru_cache
from typing import Final

from sqlalchemy import text

from xds.store.dialects import every_column, insert_rows
from xds.store.patients_changes import ChangeRows
from xds.store.schema.identity import match_key
from xds.store.statements import Prepared

_KEYS: Final = every_column(match_key, skips_known=True)
_LOOK: Final = Prepared(text("UPDATE match_key SET glimpse = :glimpse WHERE key = :key AND person_key = :person_key"))
_DELETE_KEY: Final = Prepared(text("DELETE FROM match_key WHERE key = :key AND person_key = :person_key"))


@lru_cache(maxsize=64)
def _candidates(number: int) -> tuple[Prepared, Sequence[str]]:
    """At most `most` records under each of so many keys, whose names are given: a hot key must not be read to its end."""
    names = [f"key{n}" for n in range(number)]
    each = (
        f"SELECT * FROM (SELECT key, person_key, glimpse FROM match_key WHERE key = :{name} LIMIT :most) AS of_{name}"
        for name in names
    )
    return Prepared(text(" UNION ALL ".join(each))), names


class MatchKeyRows(ChangeRows):
    """The keys as one transaction sees them. `connection` is that transaction's."""

    def add_keys(self, person_key: int, keys: Mapping[int, bytes | None]) -> None:
        """Have a record found under these keys, each with what is to be seen of it there at a glimpse."""
        self.note(person_key, *keys)
        insert_rows(self.connection, [(_KEYS, [(key, person_key, glimpse) for key, glimpse in keys.items()])])

    def show(self, person_key: int, keys: Mapping[int, bytes | None]) -> None:
        """Have something else seen of a record at a glimpse, beside keys under which it is found."""
        self.note(person_key)
        _LOOK.run(self.connection, [{"glimpse": glimpse, "key": key, "person_key": person_key} for key, glimpse in keys.items()])

    def remove_keys(self, person_key: int, keys: Collection[int]) -> None:
        """Have a record not found under these keys any more."""
        self.note(person_key, *keys)
        _DELETE_KEY.run(self.connection, [{"key": key, "person_key": person_key} for key in keys])

    def candidates(self, keys: Collection[int], most: int) -> dict[int, dict[int, bytes | None]]:
        """The records under each key, at most so many of each, with what is seen of them at a glimpse."""
        found: dict[int, dict[int, bytes | None]] = {}
        if keys:
            statement, names = _candidates(len(keys))
            for key, person_key, glimpse in statement.rows(self.connection, dict(zip(names, keys, strict=True), most=most)):
                found.setdefault(key, {})[person_key] = glimpse
        return found
