"""What a database does for the actors, whichever it is: snapshots to read, durable transactions, work that nobody waits for."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import TypeVar

from sqlalchemy import Connection

Result = TypeVar("Result")
Work = Callable[[Connection], Result]


class DatabaseClosedError(RuntimeError):
    """The database was closed; nothing of what was asked happened."""


class DatabaseUnavailableError(ConnectionError):
    """The database does not answer now, or has too much to do: the same request may succeed later.

    Nothing that was asked is acknowledged. Only when the connection broke during the COMMIT itself may it have taken effect.
    """


class SchemaError(RuntimeError):
    """The tables in the database are not for this version of the software. The message tells an operator what to do."""


class Database(ABC):
    """One database of this process. `open_database` makes it."""

    @abstractmethod
    def create_schema(self) -> None:
        """Bring the tables of a new or an older database to what this version needs.

        Errors: SchemaError for a database of a newer version; DatabaseUnavailableError.
        """

    @abstractmethod
    def read(self) -> AbstractContextManager[Connection]:
        """A connection that sees one snapshot until the block ends. It must not write.

        Errors: DatabaseUnavailableError, also from inside the block; DatabaseClosedError.
        """

    @abstractmethod
    def write(self, work: Work[Result]) -> Result:
        """Run `work` inside a transaction and return its result once it is durable.

        `work` must not open another transaction, must not wait for anything, and must bear being run again from its beginning,
        because what collides with the work of others is undone and tried once more.
        Errors: whatever `work` raised (nothing of it is stored then); DatabaseUnavailableError, DatabaseClosedError,
        SQLAlchemyError when the commit failed.
        """

    @abstractmethod
    def write_later(self, work: Work[object]) -> None:
        """Run `work` like `write` does, without waiting for it. Callers wait when too much of it has piled up.

        Errors: DatabaseUnavailableError when it piles up because the database does not answer; DatabaseClosedError.
        """

    @abstractmethod
    def close(self) -> None:
        """Finish what was submitted, then release the database. Idempotent."""
