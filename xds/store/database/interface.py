"""What a database does for the actors, whichever it is: snapshots to read, durable transactions, work that nobody waits for."""

from __future__ import annotations

import errno
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import AbstractContextManager

from sqlalchemy import Connection

from xds.store.database.joint import Joint, Result, Work

__all__ = [
    "Database",
    "DatabaseClosedError",
    "DatabaseFullError",
    "DatabaseUnavailableError",
    "DatabaseUrlError",
    "Joint",
    "Result",
    "Work",
]


class DatabaseUrlError(ValueError):
    """The URL names no database that can be used. The message tells an operator why, without the password."""


class DatabaseClosedError(RuntimeError):
    """The database was closed; nothing of what was asked happened."""


class DatabaseUnavailableError(ConnectionError):
    """The database does not answer now, or has too much to do: the same request may succeed later.

    Nothing that was asked is acknowledged. Only when the connection broke during the COMMIT itself may it have taken effect.
    """


class DatabaseFullError(OSError):
    """The disk has no space left for the database. Nothing of what was asked happened; `errno` is ENOSPC, as for a file."""

    def __init__(self) -> None:
        super().__init__(errno.ENOSPC, "no space left for the database")


class Database(ABC):
    """One database of this process. `open_database` makes it."""

    def __init__(self) -> None:
        self._joints = threading.local()

    @abstractmethod
    def create_schema(self) -> None:
        """Bring the tables of a new or an older database to what this version needs.

        Errors: SchemaError for a database of a newer version; DatabaseUnavailableError.
        """

    @abstractmethod
    def read(self) -> AbstractContextManager[Connection]:
        """A connection that sees one snapshot until the block ends. It must not write.

        What others committed in the last moment may be in it before it is durable: who promises or destroys something because of
        what it has only read calls `flush` first.
        Errors: DatabaseUnavailableError, also from inside the block; DatabaseClosedError.
        """

    @abstractmethod
    def write(self, work: Work[Result], *, beforehand: Work[bool] | None = None) -> Result:
        """Run `work` inside a transaction and return its result once it is durable.

        `work` must not open another transaction, must not wait for anything, and must bear being run again from its beginning,
        because what collides with the work of others is undone and tried once more. `beforehand` is run before it, where all
        processes wait for one another to write: in a snapshot that it only reads, while others write, and again until it finds
        nothing more to do. Elsewhere it is not run.
        Errors: whatever either raised (nothing of it is stored then); DatabaseUnavailableError, DatabaseFullError,
        DatabaseClosedError; SQLAlchemyError when the commit failed.
        """

    @abstractmethod
    def begin_write(self, work: Work[Result]) -> Future[Result]:
        """Begin what `write` does, for who has something else to wait for meanwhile; not inside `together`.

        Errors: DatabaseClosedError; the future raises what `write` does.
        """

    @abstractmethod
    def write_later(self, work: Work[object]) -> None:
        """Run `work` like `write` does, without waiting for it. Callers wait when too much of it has piled up.

        Errors: DatabaseUnavailableError when it piles up because the database does not answer; DatabaseClosedError.
        """

    @abstractmethod
    def flush(self) -> None:
        """Wait until what was to be written later, and all that a snapshot has shown, is durable."""

    def warm_up(self, patience: float) -> None:  # noqa: B027 - a server of databases sees to its own memory
        """Bring the database into memory, in the background, where that is a matter of this process.

        Wait for it, but for no more than `patience` seconds.
        """

    @abstractmethod
    def close(self) -> None:
        """Finish what was submitted, then release the database. Idempotent."""

    def together(self, body: Callable[[], Result], conclude: Callable[[Connection, Result], object]) -> Result:
        """Run `body` in this thread, then `conclude`: what both write becomes durable in one transaction, or nothing of it.

        What `body` writes by `write` and `write_later` is part of that transaction, which begins with the first of it; what it
        reads by `read` is the database without it. Others may have to wait from then on: `body` must not, and nothing of it is
        run again when it collides with the work of others.
        Errors: whatever `body` or `conclude` raised, and as `write`.
        """
        if self._joint is not None:
            raise RuntimeError("a piece of work must not open another transaction")
        joint = self._joints.current = self._open_joint()
        try:
            try:
                result = body()
                joint.run(lambda connection: conclude(connection, result))
            except BaseException as error:
                joint.undo(error)
                raise
            joint.commit()
        finally:
            self._joints.current = None
        for action in joint.afterwards:
            action()
        return result

    def when_durable(self, action: Callable[[], object]) -> None:
        """Do what must follow a commit: now, after a `write`; inside `together` when its transaction was committed."""
        joint = self._joint
        if joint is None:
            action()
        else:
            joint.afterwards.append(action)

    @property
    def _joint(self) -> Joint | None:
        """The transaction that this thread's writes are part of, inside `together`."""
        return getattr(self._joints, "current", None)

    @abstractmethod
    def _open_joint(self) -> Joint:
        """A transaction for `together`."""
