"""Codes as numbers: each pair of code and coding scheme is stored once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Set

from sqlalchemy import Connection, insert, select, tuple_

from xds.model.metadata import Code
from xds.store.schema.registry import code

#: What identifies a code: code and scheme.
CodeKey = tuple[str, str]


class CodeTable:
    """The interned codes of one database, remembered in memory once they are committed.

    Codes are never removed, so that what is remembered stays true; two processes may each have a table of their own.
    """

    def __init__(self) -> None:
        self._ids: dict[CodeKey, int] = {}
        self._codes: dict[int, str] = {}

    def intern(self, connection: Connection, wanted: Set[CodeKey]) -> Mapping[CodeKey, int]:
        """The numbers of these codes; unknown ones are added. Call `remember` with the result after the commit."""
        found = {key: self._ids[key] for key in wanted if key in self._ids}
        missing = wanted - found.keys()
        if missing:
            found |= _read(connection, missing)
            for key in sorted(missing - found.keys()):
                statement = insert(code).values(code=key[0], scheme=key[1]).returning(code.c.code_id)
                found[key] = connection.execute(statement).scalar_one()
        return found

    def remember(self, committed: Mapping[CodeKey, int]) -> None:
        """Keep in memory what a committed transaction interned."""
        for key, number in committed.items():
            if key not in self._ids:
                self._codes[number] = f"{key[0]}^^{key[1]}"
                self._ids[key] = number

    def find(self, connection: Connection, codes: Iterable[Code]) -> list[int]:
        """The numbers of those of these codes that exist."""
        wanted = {(item.code, item.scheme) for item in codes}
        missing = wanted - self._ids.keys()
        if missing:
            self.remember(_read(connection, missing))
        return [self._ids[key] for key in wanted if key in self._ids]

    def text(self, connection: Connection, number: int) -> str:
        """The code of that number as `code^^scheme`. Errors: KeyError when there is none."""
        if number not in self._codes:
            rows = connection.execute(select(code.c.code, code.c.scheme, code.c.code_id).where(code.c.code_id == number))
            self.remember({(row[0], row[1]): row[2] for row in rows})
        return self._codes[number]


def _read(connection: Connection, keys: Iterable[CodeKey]) -> dict[CodeKey, int]:
    statement = select(code.c.code, code.c.scheme, code.c.code_id).where(tuple_(code.c.code, code.c.scheme).in_(list(keys)))
    return {(row[0], row[1]): row[2] for row in connection.execute(statement)}
